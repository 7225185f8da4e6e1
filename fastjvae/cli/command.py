"""The base class of every command, and of the commands about a model and its data."""

import dataclasses
import re
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from typing_extensions import Self, dataclass_transform
from tyro.conf import Positional, arg

from fastjvae.data import SPLIT_DATASETS, DatasetName, DataSource, ImageData
from fastjvae.data import load as load_data
from fastjvae.data.datasets.images import begins_in_colour
from fastjvae.data.held_out import SHARE, folders_of_splits
from fastjvae.errors import ArgumentError, DataError
from fastjvae.metrics.evaluation import Evaluation, evaluate
from fastjvae.metrics.scores import Scores
from fastjvae.model import JointVAE, load
from fastjvae.model.encoding import Encoding, encode
from fastjvae.model.own_networks import GivenNetworks
from fastjvae.training.labelled import labels_of_run, with_seen_labels
from fastjvae.training.run_folder import RunFolder, capacity_of, last_record, run_of
from fastjvae.training.settings.fields import flag
from fastjvae.training.settings.json_flag import Arguments
from fastjvae.training.settings.recipes import RECIPES
from fastjvae.training.settings.run import RunConfig

RunPath = Positional[Annotated[str, arg(metavar="RUN")]]


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field,))
class Command:
    """A command: its fields are its flags, its docstring is its help, and ``run`` does its work.

    Every subclass becomes a frozen dataclass.

    Attributes:
        name: the word that calls it. It is made of the class's name, so that ``KLGrowth`` is
            kl-growth, unless the class gives one: ``class InfoGAN(Command, name="infogan")``.
    """

    name: ClassVar[str]

    def __init_subclass__(cls, *, name: str | None = None) -> None:
        super().__init_subclass__()
        dataclass(frozen=True)(cls)
        words = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", cls.__name__)
        cls.name = name or words.lower()

    @classmethod
    def flags(cls) -> type:
        """The dataclass whose fields are the flags."""
        return cls

    @classmethod
    def flag_names(cls) -> list[str]:
        """Every flag that the command may have, as the command line has them."""
        return [flag(field.name) for field in dataclasses.fields(cls.flags())]

    @classmethod
    def grammar(cls, words: Sequence[str]) -> Any:
        """The type that tyro reads; another than the class where the words decide on defaults."""
        return cls

    def settled(self, given: Collection[str]) -> Self:
        """The command, once it is known which flags were ``given``, such as --seed.

        Raises:
            ArgumentError: flags were given that do not go together.
        """
        return self

    def run(self) -> int:
        """Do the command's work; returns the exit code."""
        raise NotImplementedError


class LoadsModel(Command):
    """A command that loads a model, which may have networks of its own."""

    encoder: Annotated[str | None, arg(metavar="MODULE:CLASS")] = field(default=None, kw_only=True)
    """the own encoder of the model, by module and class; given again, it may be imported"""
    encoder_args: Arguments = field(default=None, kw_only=True)
    """its arguments, where the model was saved without them"""
    decoder: Annotated[str | None, arg(metavar="MODULE:CLASS")] = field(default=None, kw_only=True)
    """the own decoder of the model, likewise"""
    decoder_args: Arguments = field(default=None, kw_only=True)
    """its arguments"""
    trust_imports: bool = field(default=False, kw_only=True)
    """import the modules of the networks that the model names, which runs them; of a file that came
    from elsewhere it is better to read the name first"""

    @property
    def networks(self) -> GivenNetworks:
        """What the flags say of the model's own networks."""
        given = GivenNetworks(**{f.name: getattr(self, f.name) for f in fields(GivenNetworks)})
        if given != GivenNetworks():
            import_from_here()
        return given

    def loaded(self, path: str, device: str = "cpu") -> JointVAE:
        """The model of a path on a device, as --device names it."""
        return load(path, device=device, **vars(self.networks))


def import_from_here() -> None:
    """Let modules lie in the folder that the command was called in, behind installed ones."""
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)


class ModelCommand(LoadsModel):
    """A command about one model and perhaps data; both are read when they are first asked for."""

    model_path: RunPath
    """a run folder, or any model that fastjvae or the published code saved"""
    dataset: Positional[DatasetName | None] = None
    """data set, where one is needed; by default the run's own"""
    data_root: str | None = None
    """folder or file of the data"""
    grid: tuple[str, ...] = ()
    """sprites, shapes3d and mpi3d: the part of the grid to take; by default the run's own"""
    device: str = "auto"
    """cpu, cuda, ...; auto takes a GPU where there is one"""

    @property
    def run_folder(self) -> RunFolder:
        return run_of(self.model_path)

    @cached_property
    def config(self) -> RunConfig | None:
        """The settings of the run that the model is of; None where it is of none."""
        run = self.run_folder
        return run.read_config() if run.is_run() else None

    @cached_property
    def model(self) -> JointVAE:
        return self.loaded(self.model_path, self.device)

    @cached_property
    def data(self) -> ImageData:
        """The test images, or all where the data set is not split; ArgumentError if none known."""
        return self.images_of("test")

    def images_of(self, split: Literal["train", "test"]) -> ImageData:
        """The images of a split, or all where the data set is not split.

        Of images that were divided by number, only those of the run are divided as they were then.

        Raises:
            ArgumentError: the model takes images of other channels.
        """
        source = self.source(split)
        if source.channels == 1 and getattr(self.config, "channels", None) != 1:
            _ = self._loses_colour
        data = self._images_of(split, source)
        takes, has = self.model.img_size[0], data.img_size[0]
        if takes != has:
            height, width = data.img_size[1:]
            raise ArgumentError(
                f"{self.model_path} takes {_in_words(takes)} images of {height}x{width},"
                f" {data.name} has {_in_words(has)} ones"
            )
        return data

    def _images_of(self, split: Literal["train", "test"], source: DataSource) -> ImageData:
        if not source.held_out or folders_of_splits(source):
            return load_data(source)
        if self._divided_train is None:
            return load_data(dataclasses.replace(source, split="train", held_out=0.0))
        return self._divided_train if split == "train" else load_data(source)

    @cached_property
    def _loses_colour(self) -> bool:
        """Whether pictures in colour are made grey for the model, which is said once."""
        source = self.source("train")
        if found := begins_in_colour(source):
            print(
                f"fastjvae: {self.model_path} takes grey images, the pictures of {source.root} are"
                f" in colour: they are made grey",
                file=sys.stderr,
            )
        return found

    @cached_property
    def _divided_train(self) -> ImageData | None:
        """The training part of images that were divided by number; None of other images."""
        source = self.source("train")
        train = load_data(source)
        if self.run_folder.trained_on(train):
            return train
        print(
            f"fastjvae: the images of {source.root} are not those of {self.run_folder}, which held"
            f" some of its own out: all of them are taken",
            file=sys.stderr,
        )
        return None

    @property
    def training_images(self) -> ImageData | None:
        """The training images beside :attr:`data` where they are the other part of the run's own.

        None too where they cannot be read.
        """
        if self.config is None or self.dataset not in (None, self.config.dataset):
            return None
        try:
            train = self.images_of("train")
        except DataError:
            return None
        return None if train.name == self.data.name else train

    @cached_property
    def encoding(self) -> Encoding:
        return encode(self.model, self.data.images)

    def evaluation(
        self, data: ImageData, scores: Scores, train: ImageData | None = None
    ) -> Evaluation:
        """Evaluate the model with what its run says of it, where it has one."""
        if self.config is None:
            return evaluate(self.model, data, scores=scores)
        record = last_record(self.run_folder) or {}
        return evaluate(
            self.model,
            with_seen_labels(data, self.run_folder),
            self.config.channel_reduction,
            scores,
            record.get("step"),
            None if train is None else train.images,
            capacity_of(record),
            labels_of_run(self.run_folder),
        )

    def source(self, split: Literal["train", "test"]) -> DataSource:
        """The data that were named, by default the run's, in the size that the model takes.

        Raises:
            ArgumentError: no data were named, and the run has none that can be loaded again.
        """
        channels, height, width = self.model.img_size
        run = self.run_folder
        own = run.own_data()
        if self.dataset is None and own is not None:
            raise ArgumentError(
                f"{run} was trained on images that were given in Python ({own}): name a data set,"
                f" one of {', '.join(RECIPES)}, or call"
                f" fastjvae.metrics.evaluation.evaluate(model, data)"
            )
        config = self.config if own is None else None
        if self.dataset is None or (config and config.dataset == self.dataset):
            source = self._own_source(split)
        else:
            source = DataSource(name=self.dataset, root=self.data_root)
            if folders_of_splits(source):
                source = dataclasses.replace(source, split=split, held_out=SHARE)
            elif self.dataset in SPLIT_DATASETS:
                source = dataclasses.replace(source, split=split)
        if self.grid:
            source = dataclasses.replace(source, grid=self.grid)
        if source.name == "images" and channels in (1, 3):
            source = dataclasses.replace(source, channels=channels)  # type: ignore[arg-type]
        if source.name == "arrays":
            source = dataclasses.replace(source, value_range=self.model.value_range)
        return dataclasses.replace(source, image_size=(height, width))

    def _own_source(self, split: Literal["train", "test"]) -> DataSource:
        config = self.config
        if config is None:
            raise ArgumentError(
                f"{self.model_path} does not say what it was trained on: name a data set,"
                f" one of {', '.join(RECIPES)}"
            )
        if self.data_root is not None:
            config = dataclasses.replace(config, data_root=self.data_root, labels=None)
        try:
            return config.source(split)
        except ArgumentError as error:
            raise ArgumentError(f"{self.run_folder.config_file}: {error}") from None


def _in_words(channels: int) -> str:
    return {1: "grey", 3: "RGB"}.get(channels, f"{channels}-channel")
