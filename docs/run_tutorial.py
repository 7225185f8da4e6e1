"""Run every command of the tutorial, and keep the pictures that it shows.

    python docs/run_tutorial.py FOLDER

works in FOLDER and copies each picture that ``tutorial.md`` links to from there into
``docs/tutorial/``, under the path that the commands gave it.
"""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

TUTORIAL = Path(__file__).with_name("tutorial.md")
PICTURES = TUTORIAL.with_suffix("")


def blocks(text: str) -> Iterator[tuple[str, str]]:
    """The fenced blocks as (language, code), in order."""
    for match in re.finditer(r"^```(\w+)\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE):
        yield match[1], match[2]


def commands(code: str) -> list[list[str]]:
    """The words of each command of a shell block; a line may go on after a backslash."""
    lines = code.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def linked_pictures(text: str) -> list[Path]:
    """The pictures that the text shows, as paths below the folder that the commands run in."""
    links = re.findall(r"!\[[^]]*\]\(([^)]+)\)", text)
    return [Path(link).relative_to(PICTURES.name) for link in links]


def run(text: str) -> None:
    """Run the blocks in the current folder; Python code in this process, as are the commands.

    Raises:
        RuntimeError: a command failed, or is none that is known here.
    """
    from fastjvae.cli import main

    files: dict[str, str] = {}  # a Python block that begins with the name of its file
    for language, code in blocks(text):
        if language == "python":
            files[code.split("\n", maxsplit=1)[0].lstrip("# ")] = code
            continue
        for program, *words in commands(code):
            if program == "python" and words[0] in files:
                exec(compile(files[words[0]], words[0], "exec"), {})
            elif program != "fastjvae" or main(words) != 0:
                raise RuntimeError(f"failed: {shlex.join([program, *words])}")


if __name__ == "__main__":
    import os

    (folder,) = sys.argv[1:]
    Path(folder).mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    text = TUTORIAL.read_text()
    run(text)
    for picture in linked_pictures(text):
        kept = PICTURES / picture
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(picture, kept)
        print(f"{kept}: {kept.stat().st_size:,} bytes")
