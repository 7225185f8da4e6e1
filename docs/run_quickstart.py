"""Run the notebook of the docs and keep its pictures in it: ``python docs/run_quickstart.py``."""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

QUICKSTART = Path(__file__).with_name("quickstart.ipynb")
_LARGEST_KEPT = 1_000_000  # characters of an output; the explorer's page has 2 million


def source_hash(notebook: Any) -> str:
    """The hash of a notebook's code, of which its outputs are."""
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256("\n\n".join(code).encode()).hexdigest()


def keep_what_is_small(notebook: Any) -> None:
    """Leave out the progress of the training, the times, and what is too large to be committed."""
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if _is_kept(output)]
    notebook.metadata = {
        "kernelspec": notebook.metadata.kernelspec,
        "language_info": {"name": "python"},
        "outputs_of": source_hash(notebook),
    }


def _is_kept(output: Any) -> bool:
    return output.get("name") != "stderr" and len(str(output)) < _LARGEST_KEPT


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("notebook", nargs="?", type=Path, default=QUICKSTART)
    parser.add_argument("--whole", type=Path, help="write it here too, with every output")
    args = parser.parse_args()
    notebook = nbformat.read(args.notebook, as_version=4)
    NotebookClient(
        notebook, timeout=600, resources={"metadata": {"path": QUICKSTART.parent}}
    ).execute()
    if args.whole:
        nbformat.write(notebook, args.whole)
    keep_what_is_small(notebook)
    nbformat.write(notebook, args.notebook)


if __name__ == "__main__":
    main()
