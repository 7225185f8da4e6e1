"""Which versions of other packages the tests run with."""

from importlib.metadata import version

from packaging.version import Version


def installed(package: str) -> tuple[int, ...]:
    """The numbers of a package's version, such as (2, 14, 1)."""
    return Version(version(package)).release
