"""Reading the documentation's pages: blocks of code, commands, links."""

from __future__ import annotations

import re
import shlex
from pathlib import Path


def blocks(text: str, language: str) -> list[str]:
    """The code of each fenced block in the language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)


def inline_code(text: str) -> list[str]:
    """What stands between single backticks, outside the fenced blocks."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"`([^`]+)`", text)


def fastjvae_commands(code: str) -> list[list[str]]:
    """The words behind ``fastjvae`` of each such command; a line may go on after a backslash."""
    commands = []
    for line in code.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if "fastjvae" in words:  # perhaps behind torchrun and its flags
            commands.append(words[words.index("fastjvae") + 1 :])
    return commands


def broken_links(page: Path) -> list[str]:
    """The links and pictures of a page that lead to no file of the project, or to no heading."""
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.is_file() or (anchor and anchor not in _anchors(target.read_text())):
            broken.append(link)
    return broken


def _anchors(text: str) -> set[str]:
    """The names that GitHub gives the headings."""
    titles = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
