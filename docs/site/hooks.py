"""Hooks of mkdocs: the repository's pages, and what they link to, become the site's files."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
# The pages, and what they show or link to.
GLOBS = (
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "README.md",
    "benchmarks/README.md",
    "benchmarks/results/*.png",
    "docs/*.md",
    "docs/*.png",
    "docs/api/*.md",
    "docs/*.ipynb",
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
            if path.suffix == ".ipynb":
                page = _page(json.loads(path.read_text(encoding="utf-8")))
                page += f'\n\n<a href="{path.name}" download>The notebook itself</a>\n'
                files.append(File.generated(config, _as_page(place), content=page))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Links to a notebook lead to its page."""
    return re.sub(r"\]\([^)]+\.ipynb\)", lambda link: _as_page(link[0]), markdown)


def _as_page(notebook: str) -> str:
    return notebook.replace(".ipynb", ".md")


def _page(notebook: dict[str, Any]) -> str:
    """A notebook as Markdown: its text, its code, and the outputs that it is committed with."""
    parts: list[str] = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        parts += map(_shown, cell.get("outputs", []))
    return "\n\n".join(parts)


def _shown(output: dict[str, Any]) -> str:
    data = output.get("data", {})
    if "image/png" in data:
        return f'<img alt="output" src="data:image/png;base64,{data["image/png"].strip()}">'
    return f"```text\n{''.join(output.get('text') or data['text/plain']).strip()}\n```"
