"""The checks of the workshop find what they are there to find."""

import subprocess
from pathlib import Path

import pytest

from tests.support.workshop import run

_ROOT = Path(__file__).parents[2]


def test_a_registrys_host_name_is_found(tmp_path: Path) -> None:
    file = tmp_path / "notes"
    file.write_text("fine: example.org\nnot so: https://" + "pypi" + ".org/simple\n")
    result = run("hosts.py", file)
    assert result.returncode == 1
    assert result.stdout == f"{file}:2: a package registry's host name\n"


def test_a_path_of_this_machine_is_found(tmp_path: Path) -> None:
    file = tmp_path / "notes"
    file.write_text(f"see {_ROOT}/streamfea\n")
    assert run("hosts.py", file).stdout == f"{file}:1: a path of this machine\n"


def test_broken_links_and_anchors_are_found(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# A heading, with `code`\n")
    file = tmp_path / "page.md"
    file.write_text("[a](other.md#a-heading-with-code) [b](gone.md) [c](other.md#no-such) `[d](gone.md)`\n")
    result = run("links.py", file)
    assert result.returncode == 1
    assert [line.rpartition(" ")[2] for line in result.stdout.splitlines()] == ["gone.md", "#no-such"]


def test_versions_of_the_lock_file_are_pinned(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "mine"  # kept\n')
    (tmp_path / "uv.lock").write_text(
        '[[package]]\nname = "mine"\nversion = "1"\nsource = { editable = "." }\n'
        '[[package]]\nname = "b"\nversion = "2"\nsource = { registry = "x" }\n'
        '[[package]]\nname = "a"\nversion = "3"\nsource = { registry = "x" }\n'
    )
    assert run("pin.py", tmp_path).returncode == 0
    text = (tmp_path / "pyproject.toml").read_text()
    assert "# kept" in text
    assert text.index('"a==3"') < text.index('"b==2"')
    assert "mine==" not in text


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "1.2.0"\n')
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## [Unreleased]\n\n- New.\n")
    git(tmp_path, "init")
    commit(tmp_path)
    return tmp_path


def test_a_release_needs_all_committed_a_date_and_a_new_version(repository: Path) -> None:
    changelog = repository / "CHANGELOG.md"
    refused = run("release.py", repository)
    assert (refused.returncode, "has no `## [1.2.0] - YYYY-MM-DD`" in refused.stderr) == (1, True)
    changelog.write_text(changelog.read_text().replace("[Unreleased]", "[1.2.0] - 2026-11-30"))
    refused = run("release.py", repository)
    assert (refused.returncode, refused.stderr) == (1, "These files are not committed:\nM CHANGELOG.md\n")
    commit(repository)
    git(repository, "tag", "v1.2.0")
    refused = run("release.py", repository)
    assert (refused.returncode, refused.stderr) == (
        1,
        "The tag v1.2.0 is there already: raise `version` in pyproject.toml.\n",
    )


def test_what_is_too_long_is_found(tmp_path: Path) -> None:
    file = tmp_path / "long.py"
    body = "        pass\n" * 49
    file.write_text(
        f"class C:\n    def at_most(self):\n{body}\n    def too_long(self):\n{body}        pass\n" + "\n" * 198
    )
    result = run("sizes.py", file)
    assert (result.returncode, result.stdout.split(":")[0]) == (1, f"{file} has 301 lines, more than 300")
    assert f"{file}::C.too_long has 51 lines" in result.stdout
    assert "at_most" not in result.stdout


def git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.org")
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def commit(folder: Path) -> None:
    git(folder, "add", "--all")
    git(folder, "commit", "--message", "All of it")
