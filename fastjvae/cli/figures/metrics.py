"""``fastjvae figures metrics``."""

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from fastjvae.cli.figures.command import Drawn, FigureCommand
from fastjvae.errors import DataError
from fastjvae.figures.metrics import metric_comparison, read_scores
from fastjvae.files import printable
from fastjvae.training.run_folder import RunFolder


class Metrics(FigureCommand):
    """One metric of several methods with its spread over seeds, from their evaluations."""

    methods: Positional[Annotated[tuple[str, ...], arg(metavar="METHOD=PATH")]]
    """a name and the JSON of fastjvae evaluate --json, a run folder, or a folder of --seeds; a name
    may be given again with further paths"""
    metric: str
    """name of a number in the evaluations, such as reconstruction or accuracy_majority"""
    out: str | None = None
    """file, or folder for it; by default the current folder"""

    def draw(self) -> Drawn:
        files: dict[str, list[Path]] = {}
        for word in self.methods:
            method, path = _method(word)
            files.setdefault(method, []).extend(_evaluations(path))
        scores = read_scores(files, self.metric)
        return self.metric, metric_comparison(scores, metric=self.metric)


def _method(word: str) -> tuple[str, Path]:
    """METHOD=PATH, or a path alone, whose name is then the method's."""
    name, equals, rest = word.partition("=")
    if equals and name and rest:
        return printable(name), Path(rest)
    path = Path(word)
    folder = path.parent if path.name == "evaluation.json" else path
    return printable(folder.resolve().name), path


def _evaluations(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    own = RunFolder(path).evaluation_file
    found = [own] if own.is_file() else list(path.glob(f"*/{own.name}"))
    if not found:
        raise DataError(
            f"{path} holds no {own.name}, and no folder in it does: name a run that has finished"
        )
    # Seed 10 behind seed 9.
    return sorted(found, key=lambda file: (len(file.parent.name), file.parent.name))
