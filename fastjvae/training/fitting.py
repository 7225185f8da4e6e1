"""``fit``: from images in Python to a trained model, its history and its evaluation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.utils.data import DataLoader

from fastjvae.data import ImageData
from fastjvae.data.given import gathered, image_data, items_of
from fastjvae.data.held_out import SHARE, divided
from fastjvae.data.known_labels import given_labels
from fastjvae.errors import ArgumentError
from fastjvae.files import parse_json, to_json
from fastjvae.model import JointVAE
from fastjvae.model.likelihood import Likelihood
from fastjvae.model.own_networks import Network
from fastjvae.training.callbacks import Callback
from fastjvae.training.evaluated import evaluated
from fastjvae.training.held_out import images_of_test
from fastjvae.training.labelled import check_some_left
from fastjvae.training.lengthened import in_folder
from fastjvae.training.run_folder import RunFolder, read_metrics
from fastjvae.training.settings.for_images import Images
from fastjvae.training.settings.from_python import (
    as_keywords,
    check_heeded_of_loader,
    checked,
    in_python,
    settings_for,
)
from fastjvae.training.settings.late_capacities import late_capacities
from fastjvae.training.settings.own_networks import can_share, fitting, own_encoder
from fastjvae.training.settings.train import TrainConfig
from fastjvae.training.trainer import Trainer

_Given = ImageData | DataLoader[Any]


class _Form(NamedTuple):
    """The form of images that are given as arrays."""

    image_size: Any  # to resize to
    value_range: Any  # of what are no bytes


@dataclass(frozen=True, repr=False)
class Fit:
    """What a training gave.

    Attributes:
        model: in evaluation mode, on the device that it was trained on.
        history: the records of ``metrics.jsonl``: losses, KL in nats, speed, every ``log_every``
            steps.
        evaluation: what ``evaluation.json`` has, of the held-out images where there are some.
        run: the run folder; None where nothing was written.
    """

    model: JointVAE
    history: list[dict[str, Any]]
    evaluation: dict[str, Any]
    run: Path | None

    def __repr__(self) -> str:
        steps = self.history[-1]["step"] if self.history else 0
        error = self.evaluation["reconstruction"]
        told = "not a number" if error is None else f"{error:.1f} nats"
        return f"Fit({steps:,} steps, reconstruction {told}, run {self.run})"


@in_python()
def fit(
    images: Any,
    *,
    cont: int | None = None,
    disc: Sequence[int] | None = None,
    steps: int | None = None,
    recipe: str | TrainConfig | None = None,
    labels: Any = None,
    known_labels: Any = None,
    validation: Any = None,
    encoder: Network | None = None,
    decoder: Network | None = None,
    likelihood: Likelihood | None = None,
    out: str | Path | None = None,
    seed: int = 0,
    device: str | torch.device = "auto",
    precision: str = "fp32",
    callbacks: Sequence[Callback] = (),
    **settings: Any,
) -> Fit:
    """Train a JointVAE on images.

    >>> import numpy as np
    >>> images = np.random.default_rng(0).integers(0, 256, (40, 16, 16), dtype=np.uint8)
    >>> fitted = fit(images, cont=2, disc=[3], steps=2)
    >>> fitted.model.encode_categories(images[:5, None]).shape
    torch.Size([5, 1])

    Ctrl-C, in a notebook the button that interrupts, ends the training after the step at hand, and
    what was learned until then is returned.

    Args:
        images: (N, C, H, W), (N, H, W, C) or (N, H, W), numpy or torch: bytes or integers 0..255,
            booleans, or floats 0..1; a list of PIL images; :class:`fastjvae.data.ImageData`, as
            ``fastjvae.data.load`` gives them; or a DataLoader of images or (images, ...).
        cont: continuous units; by default 10, or as the recipe has them.
        disc: categories of each discrete variable; by default one of 10, or as the recipe has them.
        steps: training steps; by default by the number of images.
        recipe: settings to begin with: a name, such as "paper"; or a :class:`TrainConfig`, such as
            ``fastjvae.training.recipe("mnist", "fast")``. By default they are made for the images.
        labels: (N,) integers or strings, for the evaluation alone.
        known_labels: (N,) integers, -1 where unknown, or strings, None where unknown: labels that
            training sees, by which categories become the classes. Their images are trained on and
            never evaluated. ``labelled=100`` chooses as many of ``labels`` in their place. Of a
            DataLoader they are by the numbers of its dataset's images, and need ``validation``.
        validation: images in any of these forms, or (images, labels), that the evaluation is of. By
            default those of the data set's own test split; of other images a tenth is held out.
        encoder, decoder: own networks, see :class:`fastjvae.JointVAE`: modules, which are trained
            themselves, or names of classes, with ``encoder_args`` and ``decoder_args`` among the
            settings.
        likelihood: "bernoulli", cross-entropy, or "gaussian", with ``scale=`` a standard deviation
            or "learned" and, where floats do not lie in 0..1, ``value_range=(lowest, highest)``;
            by default as the recipe has it, or Bernoulli.
        out: run folder, from which the same call goes on, with other ``steps`` to that many, which
            a last phase takes; by default nothing is written.
        seed: of initialisation, order and noise.
        device: "auto", "cpu", "cuda", "cuda:1", ...
        precision: "fp32", "tf32" or "bf16".
        callbacks: see :class:`fastjvae.training.callbacks.Callback`.
        settings: any field of :class:`TrainConfig`, such as ``lr=1e-3``, ``held_out=0.2``,
            ``image_size=(32, 32)`` of arrays, ``cont_capacity={"hi": 20}``; and of a phase,
            ``types={"lr": 1e-4}``.

    Raises:
        ArgumentError: there is no such setting or recipe, or a setting is out of range.
        DataError: the images, labels or validation images have another form.
        NonFiniteLossError: a loss or parameter is not finite.
        RunError: ``out`` holds another run, or cannot be written.
    """
    if settings.get("animate_every") and out is None:
        raise ArgumentError("animate_every draws frames into the run folder: give out, too")
    given: dict[str, Any] = {"cont": cont, "disc": disc, "steps": steps, "seed": seed}
    given |= {"device": None if device is None else str(device)}
    given |= {"precision": precision, "likelihood": likelihood, **settings}
    networks = {"encoder": encoder, "decoder": decoder}
    given |= {w: n for w, n in networks.items() if isinstance(n, str)}
    objects: Any = {w: n for w, n in networks.items() if not isinstance(n, str)}
    _check_heeded(images, validation, given)
    size = checked("image_size", given.pop("image_size", None))
    form = _Form(size, _value_range(recipe, settings))
    data, labelled = _with_known_labels(_given(images, labels, form), known_labels)
    if labelled is not None and validation is None:
        raise ArgumentError(
            "known_labels of a DataLoader need validation images: which of its images an evaluation"
            " would have to leave out it does not say"
        )
    sentences: list[str] = []  # which the run's progress says
    share = _share(recipe, settings)
    train, held_out = _parts(data, validation, share, form, sentences.append)

    def made_for(steps: int | None) -> tuple[TrainConfig, str]:
        wanted = {**given, "steps": steps}
        config = _settings(train, recipe, wanted, own_encoder(encoder), form)
        if held_out is not None and validation is not None:
            config = replace(config, held_out=0.0)  # given, and not a share
        return fitting(config, own_encoder(config.encoder if encoder is None else encoder))

    config, left_out = made_for(steps)
    sentences += [left_out] if left_out else []
    if held_out is None:
        check_some_left(train, config)
    run = None if out is None else RunFolder(out)
    resuming = False
    if run is not None and steps is not None:
        config, resuming = in_folder(run, config, lambda begun: made_for(begun)[0])
    trainer = Trainer(
        config,
        train,
        run,
        resuming=resuming,
        held_out=held_out,
        callbacks=callbacks,
        labelled=labelled,
        **objects,
    )
    for sentence in (*sentences, *late_capacities(config, trainer.total_steps)):
        trainer.progress.say(as_keywords(sentence))
    trainer.train()
    evaluation = evaluated(trainer, held_out)
    return Fit(
        model=trainer.model.eval(),
        history=trainer.history if run is None else read_metrics(run),
        evaluation=parse_json(to_json(evaluation.to_dict())),
        run=None if run is None else run.path,
    )


def _check_heeded(images: Any, validation: Any, given: dict[str, Any]) -> None:
    """Refuse settings that these images would leave without an effect."""
    if validation is not None and given.get("held_out"):
        raise ArgumentError(
            f"validation images are evaluated, so none are held out: give validation or"
            f" held_out, got held_out {given['held_out']} as well"
        )
    if isinstance(images, DataLoader):
        in_array = validation is not None and not isinstance(validation, DataLoader)
        of_array = {"image_size"} if in_array else set()  # which it resizes
        check_heeded_of_loader({n: v for n, v in given.items() if n not in of_array})


def _settings(
    train: _Given, recipe: str | TrainConfig | None, given: Any, encoder: Any, form: _Form
) -> TrainConfig:
    """The settings, made for the training images where no recipe has them."""
    if isinstance(train, ImageData):
        _, height, width = train.img_size
        made_for = Images(len(train), height * width)
        return settings_for(made_for, train.source, recipe, given, compared=can_share(encoder))
    _, height, width = gathered(train, 1, form.value_range).img_size
    number = len(train.dataset)  # type: ignore[arg-type]
    return settings_for(Images(number, height * width), None, recipe, given, compared=False)


def _given(images: Any, labels: Any, form: _Form) -> _Given:
    """Images as they train: ImageData, or the DataLoader that they come from."""
    if isinstance(images, DataLoader) and labels is None:
        return images
    if isinstance(images, DataLoader):
        raise ArgumentError(
            "labels belong to images in an array, got a DataLoader: give validation=(images,"
            " labels) for the evaluation"
        )
    if not isinstance(images, ImageData):
        return image_data(images, labels, **form._asdict())
    image_size = form.image_size
    if image_size is not None and tuple(image_size) != images.img_size[1:]:
        raise ArgumentError(
            f"image_size is for arrays, got images of {images.img_size[1:]}: load them in the size"
            f" that they are wanted in, fastjvae.data.DataSource(..., image_size={image_size})"
        )
    if labels is None:
        return images
    labelled = image_data(images.images, labels)
    return replace(images, labels=labelled.labels, label_names=labelled.label_names)


def _with_known_labels(data: _Given, known_labels: Any) -> tuple[_Given, ImageData | None]:
    """The images with the labels that training may see; of a DataLoader these are apart."""
    if known_labels is None:
        return data, None
    if isinstance(data, ImageData):
        known = given_labels(known_labels, len(data), data.label_names)
        return data.with_known_labels(*known), None
    numbers, names = given_labels(known_labels, len(data.dataset))  # type: ignore[arg-type]
    rows = (numbers >= 0).nonzero().squeeze(1)
    return data, items_of(data, rows).with_known_labels(numbers[rows], names)


def _share(recipe: Any, settings: dict[str, Any]) -> float:
    """The share of the images that is held out."""
    share = settings.get("held_out", recipe.held_out if isinstance(recipe, TrainConfig) else SHARE)
    return float(checked("held_out", share))


def _value_range(recipe: Any, settings: dict[str, Any]) -> Any:
    """The lowest and the highest value of a pixel of arrays, as they are given."""
    other = recipe.value_range if isinstance(recipe, TrainConfig) else (0.0, 1.0)
    return settings.get("value_range") or other


def _parts(
    data: _Given, validation: Any, share: float, form: _Form, say: Callable[[str], None]
) -> tuple[_Given, ImageData | None]:
    """The images to train on, and those to evaluate."""
    if validation is not None:
        pair = isinstance(validation, tuple) and len(validation) == 2
        images, labels = validation if pair else (validation, None)
        found = _given(images, labels, form)
        if isinstance(found, DataLoader):
            return data, gathered(found, value_range=form.value_range)
        return data, found
    if isinstance(data, DataLoader):
        return data, None
    if data.source is not None:
        is_train = data.source.split == "train"
        return data, images_of_test(data, data.source, say) if is_train else None
    return divided(data, share)
