"""Hooks of mkdocs: the repository's pages, and what they link to, become the site's files."""

from __future__ import annotations

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
# What pages show or link to, beside the pages themselves.
GLOBS = (
    "*.md",
    "LICENSE",
    "benchmarks/README.md",
    "benchmarks/results/*.png",
    "docs/*.md",
    "docs/*.png",
    "docs/api/*.md",
    "docs/examples/*.py",
    "docs/paper/*",
    "docs/results/*",
    "docs/tutorial/**/*",
    "kernels/*.md",
)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the repository's files under the paths that they have there: links need no change."""
    for path in sorted({found for pattern in GLOBS for found in ROOT.glob(pattern)}):
        if path.is_file():
            place = path.relative_to(ROOT).as_posix()
            files.append(File(place, str(ROOT), config.site_dir, config.use_directory_urls))
    return files
