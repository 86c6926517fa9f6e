"""Which versions of a library are known, and what the operator is told of others."""

import pytest

from streamfea.core.known_versions import KnownVersions


def _versions(installed: str) -> KnownVersions:
    return KnownVersions("Library", installed, (2, 1, 7), (2, 2), "it is slow")


@pytest.mark.parametrize("version", ["2.1.7", "2.1.9.post1", "2.1.99"])
def test_a_version_within_the_bounds_is_known(version: str) -> None:
    assert _versions(version).has_installed
    assert _versions(version).advice() is None


@pytest.mark.parametrize("version", ["2.1.6", "2.0.50", "2.2.0b1", "2.2.0", "3.0", "unreleased"])
def test_any_other_is_not_and_the_remedy_names_the_bounds(version: str) -> None:
    assert not _versions(version).has_installed
    assert str(_versions(version).advice()) == (
        f"Library {version} is not known: it is slow: install Library 2.1.7 or later, below 2.2"
    )
