"""Add the pages that are generated to the site: a hook of MkDocs, see mkdocs.yml. Diagrams are drawn here as well."""

from typing import Any

import command_reference
import configuration_reference
import mmdr
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

_PAGES = {
    "reference/configuration.md": configuration_reference.page,
    "reference/commands.md": command_reference.page,
}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Draw diagrams now, so that no page needs a script from elsewhere to do it."""
    fences = [{"name": "mermaid", "class": "mermaid", "format": _drawn}]
    config.mdx_configs["pymdownx.superfences"] = {"custom_fences": fences}
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Generate the pages."""
    for path, page in _PAGES.items():
        files.append(File.generated(config, path, content=page()))
    return files


def _drawn(source: str, *_: Any, **__: Any) -> str:
    return f'<figure class="diagram">{mmdr.render(source).svg()}</figure>'
