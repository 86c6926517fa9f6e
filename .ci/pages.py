"""Add the pages that are generated to the site: a hook of MkDocs, see mkdocs.yml. Diagrams are drawn here as well."""

import re
from pathlib import Path
from typing import Any

import command_reference
import configuration_reference
import mmdr
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

_GENERATED = {
    "reference/configuration.md": configuration_reference.page,
    "reference/commands.md": command_reference.page,
}
_ROOT = Path(__file__).parents[1]
# Files of the repository that are pages of the site as well.
_FROM_ROOT = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "reporting.md",
    "CODE_OF_CONDUCT.md": "conduct.md",
}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Draw diagrams now, so that no page needs a script from elsewhere to do it."""
    fences = [{"name": "mermaid", "class": "mermaid", "format": _drawn}]
    config.mdx_configs["pymdownx.superfences"] = {"custom_fences": fences}
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are not in docs/."""
    for path, page in _GENERATED.items():
        files.append(File.generated(config, path, content=page()))
    for name, path in _FROM_ROOT.items():
        files.append(File.generated(config, path, content=_of_the_site((_ROOT / name).read_text(encoding="utf-8"))))
    return files


def _of_the_site(text: str) -> str:
    """Return a page with links as they are seen from docs/; what is not in the site is named without a link."""

    def link(found: re.Match[str]) -> str:
        label, target = found.groups()
        if target in _FROM_ROOT:
            return f"[{label}]({_FROM_ROOT[target]})"
        if target.startswith("docs/"):
            return f"[{label}]({target.removeprefix('docs/')})"
        return found[0] if ":" in target or target.startswith("#") else label

    return re.sub(r"\[([^\]]+)\]\(([^)\s]+)\)", link, text)


def _drawn(source: str, *_: Any, **__: Any) -> str:
    return f'<figure class="diagram">{mmdr.render(source).svg()}</figure>'
