"""``fastjvae evaluate``: what a model has learned."""

from typing import Literal

from fastjvae.cli.command import ModelCommand
from fastjvae.cli.summary import assumption
from fastjvae.files import to_json
from fastjvae.metrics.scores import Scores


class Evaluate(ModelCommand):
    """Print what a model has learned, as a table or as JSON."""

    split: Literal["train", "test"] = "test"
    """which part of the data set, where it has two; of images and arrays that the run held some
    out of, test are these"""
    scores: Scores = "fast"
    """data with factors: fast are Kim & Mnih's score, the beta-VAE metric, MIG and SAP; all are
    also DCI, which grows 100 trees for every value of every factor"""
    json: bool = False
    """print JSON instead of a table"""

    def run(self) -> int:
        if self.split == "test":
            evaluation = self.evaluation(self.data, self.scores, self.training_images)
        else:
            evaluation = self.evaluation(self.images_of("train"), self.scores)
        if self.json:
            print(to_json(evaluation.to_dict(), indent=2))
            return 0
        print(evaluation.table())
        if self.config is not None and (assumed := assumption(self.config)):
            print(f"  {assumed}")
        return 0
