"""``fastjvae figures RUN``: the figures that training ends with, in one command."""

from pathlib import Path

from fastjvae.cli.command import ModelCommand
from fastjvae.cli.figures import FIGURES
from fastjvae.cli.figures.animation import animation_of
from fastjvae.cli.figures.command import is_file, save_pages
from fastjvae.cli.figures.kl_growth import growth_in
from fastjvae.cli.figures.overview import overview_of
from fastjvae.data import ImageData
from fastjvae.errors import ArgumentError
from fastjvae.figures.animation import save_animation
from fastjvae.figures.frames import frame_files
from fastjvae.figures.reconstructions import reconstructions
from fastjvae.figures.samples import samples_by_category
from fastjvae.figures.saving import check_dpi, save
from fastjvae.figures.traversals import traversals
from fastjvae.metrics.evaluation import Evaluation
from fastjvae.model import JointVAE
from fastjvae.training.run_folder import RunFolder

_NAMES = " or ".join([", ".join(each.name for each in FIGURES[:-1]), FIGURES[-1].name])


class Figures(ModelCommand):
    __doc__ = f"""Draw reconstructions, traversals, samples per category and the growth of KL.

    To draw one figure: fastjvae figures FIGURE --help, where FIGURE is {_NAMES}
    """

    out: str | None = None
    """folder for the figures, or a .pdf with a page for each; by default figures/ in the run
    folder"""
    dpi: float | None = None
    """dots per inch of the figures, by default 150; of the images inside a .pdf, by default 600"""

    def run(self) -> int:
        check_dpi(self.dpi)
        model, out = self.model, self._target()
        data, run = self.data, self.run_folder
        draw_all(model, data, self.evaluation(data, "none"), out, run, self.dpi)
        return 0

    def _target(self) -> Path:
        if self.out is None:
            return self.run_folder.figures
        path = Path(self.out)
        if is_file(path) and path.suffix.lower() != ".pdf":
            raise ArgumentError(
                f"--out is a folder or a .pdf for all figures of the run, got the file {self.out};"
                f" for one figure name it, as in: fastjvae figures ranked {self.run_folder}"
                f" --out {self.out}"
            )
        return path


def draw_all(
    model: JointVAE,
    data: ImageData,
    evaluation: Evaluation,
    out: Path,
    run: RunFolder,
    dpi: float | None = None,
) -> None:
    """Draw every figure of a trained model into a folder or one .pdf, and print their names."""
    drawn = {
        "overview": overview_of(model, data, evaluation),
        "reconstructions": reconstructions(model, data.images),
    }
    drawn["traversals"] = traversals(model)  # as the command of that name draws them
    for number, variable in enumerate(evaluation.variables):
        drawn[f"categories-c{number}"] = samples_by_category(
            model, variable=number, shares=variable.shares
        )
    if (growth := growth_in(run)) is not None:
        drawn["kl-growth"] = growth
    if is_file(out):  # which holds no animation
        save_pages(drawn, out, dpi)
        return
    for name, figure in drawn.items():
        save(figure, out / f"{name}.png", dpi=dpi)
    files = [f"{name}.png" for name in drawn]
    if frame_files(run.frames):
        save_animation(animation_of(run, model, dpi=dpi), out / "animation.gif")
        files.append("animation.gif")
    print(f"figures: {', '.join(files)} in {out}")
