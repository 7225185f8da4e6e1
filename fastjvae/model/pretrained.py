"""Saved models: a folder with ``config.json`` and ``model.safetensors``, local or on the Hub."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from fastjvae._numbers import shown
from fastjvae.errors import ArgumentError, CheckpointError, first_sentence
from fastjvae.files import read_json, write_bytes, write_json
from fastjvae.functional.latents import LatentSpec
from fastjvae.model.hub import fetch, upload
from fastjvae.model.likelihood import Likelihood, Scale
from fastjvae.model.own_networks import NETWORKS, GivenNetworks, Network

if TYPE_CHECKING:
    from typing_extensions import Self

CONFIG, WEIGHTS = "config.json", "model.safetensors"
MODEL_FORMAT = "fastjvae-model-1"
_LIKELIHOOD = ("likelihood", "scale", "value_range")
_LONGEST_REASON = 400  # characters of what torch says of a state dict, which names every tensor

_FLOATS = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16)
}


class Saved(nn.Module):
    """A model that is written into a folder and built again from it.

    Its class is called with ``img_size``, ``latent_spec``, ``temperature`` and what
    :func:`likelihood_config` names, and with its own networks where it has some.
    """

    img_size: tuple[int, int, int]
    spec: LatentSpec
    temperature: float | Tensor
    likelihood: Likelihood
    scale: Scale
    value_range: tuple[float, float]
    own_networks: Mapping[str, dict[str, Any]]  # how config.json describes those it has

    @property
    def has_own_modules(self) -> bool:
        """Whether encoder or decoder are not the standard ones."""
        return bool(self.own_networks)

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of the parameters."""
        for parameter in self.parameters():  # a loop: PyTorch 2.8 compiles no next() with a default
            if parameter.is_floating_point():
                return parameter.dtype
        return torch.float32

    @property
    def device(self) -> torch.device:
        """The device of the parameters."""
        return next((p.device for p in self.parameters()), torch.device("cpu"))

    def save_pretrained(
        self,
        directory: str | Path,
        *,
        repo_id: str | None = None,
        push_to_hub: bool = False,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        """Write ``config.json`` and ``model.safetensors`` into ``directory``.

        Args:
            directory: made if it does not exist.
            repo_id: Hub repository for ``push_to_hub``, by default the folder's name.
            push_to_hub: upload the folder as well; needs the ``hub`` extra.
            extra: further entries for ``config.json``, such as how the model was trained.

        Own networks are saved by their names and arguments, and those that were given as objects by
        their weights alone.

        Raises:
            ArgumentError: the model's temperature is a tensor.
            RunError: the folder cannot be written.
        """
        from safetensors.torch import save

        directory = Path(directory)
        config = {"format": MODEL_FORMAT, "model": model_config(self), **(extra or {})}
        tensors = {key: tensor.cpu().contiguous() for key, tensor in self.state_dict().items()}
        if self.has_own_modules:  # whose layers may share weights, which the format has not
            tensors = {key: tensor.clone() for key, tensor in tensors.items()}
        write_bytes(directory / WEIGHTS, save(tensors, metadata={"format": "pt"}))
        write_json(directory / CONFIG, config)
        if push_to_hub:
            upload(directory, [CONFIG, WEIGHTS], repo_id or directory.name)

    @classmethod
    def from_pretrained(
        cls,
        directory: str | Path,
        *,
        hub: bool = False,
        revision: str | None = None,
        encoder: Network | None = None,
        decoder: Network | None = None,
        encoder_args: Mapping[str, Any] | None = None,
        decoder_args: Mapping[str, Any] | None = None,
        trust_imports: bool = False,
    ) -> Self:
        """Read what :meth:`save_pretrained` wrote, in evaluation mode; every tensor must be there.

        Args:
            directory: the folder, or the id of a Hub repository.
            hub: whether ``directory`` is the id of a repository, ``user/name``, where no such
                folder exists; needs the ``hub`` extra.
            revision: of the Hub repository.
            encoder, decoder, encoder_args, decoder_args, trust_imports: own networks, see
                :func:`fastjvae.load`.

        Raises:
            ArgumentError: a revision is asked for without the Hub; own networks are needed that
                were not given, or others were given.
            CheckpointError: the files are missing, damaged, of another format or of another model.
        """
        folder = _folder(directory, hub, revision)
        config = read_json(folder / CONFIG)
        if not isinstance(config, dict) or config.get("format") != MODEL_FORMAT:
            found = config.get("format") if isinstance(config, dict) else type(config).__name__
            raise CheckpointError(
                f"{folder / CONFIG} must say format {MODEL_FORMAT!r}, got {shown(found)}"
            )
        tensors = _read_weights(folder / WEIGHTS)
        given = GivenNetworks(encoder, decoder, encoder_args, decoder_args, trust_imports)
        return cls.rebuilt(config.get("model"), tensors, folder / CONFIG, folder / WEIGHTS, given)

    @classmethod
    def rebuilt(
        cls,
        config: Any,
        state: Mapping[str, Tensor],
        source: Path,
        weights: Path,
        given: GivenNetworks | None = None,
    ) -> Self:
        """Build a model from :func:`model_config`'s form, and give it its weights; evaluation mode.

        The sizes that the configuration names take no memory before they are found in the weights,
        unless own networks were given or trusted.

        Args:
            config: as read.
            state: the parameters by name.
            source, weights: where both were read, for messages.
            given: own networks, where there are some.

        Raises:
            ArgumentError: own networks are needed that were not given, or others were given.
            CheckpointError: the configuration describes no model, or the weights are of another
                one.
        """
        own = (given or GivenNetworks()).for_model(config, source)
        try:
            arguments = (config["img_size"], config["latent_spec"], config["temperature"])
            options = {name: config[name] for name in _LIKELIHOOD if name in config}
            if not own:
                check_weights(lambda: cls(*arguments, **options), state, weights)
            model = cls(*arguments, **options, **own).to(_FLOATS[config["dtype"]])
        except (KeyError, TypeError, AttributeError, ArgumentError) as error:
            if own and isinstance(error, ArgumentError):
                raise ArgumentError(f"the model of {source} cannot be made: {error}") from error
            raise CheckpointError(
                f"{source} describes no JointVAE: {first_sentence(error)}"
            ) from error
        load_strict(model, state, weights)
        return model.eval()


def model_config(model: Saved) -> dict[str, Any]:
    """Return what :meth:`Saved.rebuilt` needs to build the model again; JSON types only."""
    if isinstance(model.temperature, Tensor):
        raise ArgumentError("a temperature that is a tensor cannot be saved; set a float first")
    return {
        "img_size": list(model.img_size),
        "latent_spec": model.spec.to_dict(),
        "temperature": model.temperature,
        "dtype": str(model.dtype).removeprefix("torch."),
        **model.own_networks,
        **likelihood_config(model),
    }


def is_same_model(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two models have the same form; the weights tell networks given as objects apart."""

    def without_names(config: Mapping[str, Any]) -> dict[str, Any]:
        return {k: "object" if k in NETWORKS and "object" in v else v for k, v in config.items()}

    return without_names(one) == without_names(other)


def likelihood_config(model: Saved) -> dict[str, Any]:
    """A Gaussian likelihood in JSON types; nothing of a Bernoulli, which old files do not name."""
    if model.likelihood == "bernoulli":
        return {}
    value_range = list(model.value_range)
    return dict(zip(_LIKELIHOOD, (model.likelihood, model.scale, value_range), strict=True))


def check_weights(make: Callable[[], nn.Module], state: Mapping[str, Tensor], source: Path) -> None:
    """Raise CheckpointError unless the weights fit the model, which takes no memory here."""
    with torch.device("meta"):
        template = make()
    load_strict(template, state, source, assign=True)


def load_strict(
    model: nn.Module, state: Mapping[str, Tensor], source: Path, assign: bool = False
) -> None:
    """Give a model its weights; CheckpointError names the file that they are from."""
    try:
        model.load_state_dict(state, assign=assign)
    except (RuntimeError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split()).replace(". ", "; ").rstrip(".")[:_LONGEST_REASON]
        raise CheckpointError(f"{source} holds the weights of another model: {reason}") from error


def _folder(directory: str | Path, hub: bool, revision: str | None) -> Path:
    """The folder of that name, or what the Hub has under it."""
    folder = Path(directory)
    if revision is not None and not hub:
        raise ArgumentError(f"a revision is of a Hub repository: give hub=True, got {revision!r}")
    if folder.is_dir():
        return folder
    if not hub:
        raise CheckpointError(
            f"{folder} is no folder; to load a repository of that name from the Hub give hub=True"
        )
    return fetch(folder.as_posix(), [CONFIG, WEIGHTS], revision)


def _read_weights(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load

    if not path.is_file():
        raise CheckpointError(f"{path} is missing")
    try:
        # Its own reader of files takes no names that are not UTF-8.
        return load(path.read_bytes())  # type: ignore[no-any-return]
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        raise CheckpointError(
            f"{path} cannot be read or is damaged: {first_sentence(error)}"
        ) from error
