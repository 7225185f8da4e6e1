"""``fastjvae figures overview``."""

from fastjvae.cli.figures.command import Drawn, ModelFigure
from fastjvae.data import ImageData
from fastjvae.figures.overview import overview
from fastjvae.figures.page import Figure
from fastjvae.files import printable
from fastjvae.metrics.evaluation import Evaluation
from fastjvae.model import JointVAE


class Overview(ModelFigure):
    """Everything in one picture: categories, the strongest units, reconstructions."""

    def draw(self) -> Drawn:
        return "overview", overview_of(self.model, self.data, self.evaluation(self.data, "none"))


def overview_of(
    model: JointVAE, data: ImageData, evaluation: Evaluation, title: str | None = None
) -> Figure:
    """The picture of a model that was evaluated on these images."""
    if (number := evaluation.most_telling) is None:
        return overview(model, data.images, evaluation.kl_cont, title=title)
    variable = evaluation.variables[number]
    names = variable.names and [
        None if name is None else printable(name) for name in variable.names
    ]
    return overview(
        model,
        data.images,
        evaluation.kl_cont,
        variable=number,
        shares=variable.shares,
        names=names,
        title=title,
    )
