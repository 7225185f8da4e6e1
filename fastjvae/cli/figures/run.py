"""``fastjvae figures RUN``: the figures that training ends with, in one command."""

from pathlib import Path

from fastjvae.cli.command import ModelCommand
from fastjvae.cli.figures import FIGURES
from fastjvae.cli.figures.animation import animation_of
from fastjvae.cli.figures.kl_growth import growth_in
from fastjvae.cli.figures.overview import overview_of
from fastjvae.data import ImageData
from fastjvae.errors import ArgumentError
from fastjvae.figures.animation import save_animation
from fastjvae.figures.frames import frame_files
from fastjvae.figures.reconstructions import reconstructions
from fastjvae.figures.samples import samples_by_category
from fastjvae.figures.saving import FORMATS, save
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
    """folder for the figures; by default figures/ in the run folder"""

    def run(self) -> int:
        model, folder = self.model, self._folder()
        data = self.data
        draw_all(model, data, self.evaluation(data, "none"), folder, self.run_folder)
        return 0

    def _folder(self) -> Path:
        if self.out is None:
            return self.run_folder.figures
        path = Path(self.out)
        if path.suffix.lower()[1:] in FORMATS and not path.is_dir():
            raise ArgumentError(
                f"--out is a folder for all figures of the run, got the file {self.out}; for one"
                f" figure name it, as in: fastjvae figures ranked {self.run_folder}"
                f" --out {self.out}"
            )
        return path


def draw_all(
    model: JointVAE, data: ImageData, evaluation: Evaluation, folder: Path, run: RunFolder
) -> None:
    """Draw every figure of a trained model into a folder, and print their names."""
    drawn = {
        "overview": overview_of(model, data, evaluation),
        "reconstructions": reconstructions(model, data.images),
    }
    kl_disc = [variable.kl for variable in evaluation.variables]
    drawn["traversals"] = traversals(
        model, evaluation.kl_cont, kl_disc=kl_disc, max_units=max(model.spec.cont, 1)
    )
    for number, variable in enumerate(evaluation.variables):
        drawn[f"categories-c{number}"] = samples_by_category(
            model, variable=number, shares=variable.shares
        )
    if (growth := growth_in(run)) is not None:
        drawn["kl-growth"] = growth
    for name, figure in drawn.items():
        save(figure, folder / f"{name}.png")
    files = [f"{name}.png" for name in drawn]
    if frame_files(run.frames):
        save_animation(animation_of(run, model), folder / "animation.gif")
        files.append("animation.gif")
    print(f"figures: {', '.join(files)} in {folder}")
