"""The evaluation at the end of a training."""

from fastjvae.data import ImageData
from fastjvae.data.given import gathered
from fastjvae.files import write_json
from fastjvae.metrics.evaluation import Evaluation, evaluate
from fastjvae.training.labelled import labelled_of
from fastjvae.training.loop import TrainingLoop
from fastjvae.training.run_folder import capacity_of, last_record


def evaluated(trainer: TrainingLoop, held_out: ImageData | None) -> Evaluation:
    """Evaluate what a training has learned, and keep it in its run folder, where it has one.

    Args:
        trainer: its model is in evaluation mode afterwards.
        held_out: the images to evaluate; by default those that were trained on, of a DataLoader the
            first 10,000.
    """
    given = trainer.data
    train = given if isinstance(given, ImageData) else None
    value_range = trainer.config.value_range
    data = held_out or train or gathered(given, value_range=value_range)  # type: ignore[arg-type]
    record = trainer.history[-1] if trainer.history else None
    if record is None and trainer.run is not None:  # of a run that had ended before
        record = last_record(trainer.run)
    evaluation = evaluate(
        trainer.model.eval(),
        data,
        trainer.config.channel_reduction,
        steps=trainer.step,
        train=None if train is None or data is train else train.images,
        capacity=capacity_of(record or {}),
        labelled=labelled_of(trainer.labelled, trainer.model.spec),
    )
    if trainer.run is not None:
        trainer.run.check_is_there()
        write_json(trainer.run.evaluation_file, evaluation.to_dict())
    return evaluation
