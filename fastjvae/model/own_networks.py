"""Encoders and decoders of one's own: made by name, checked, and described for ``config.json``.

A class is named by the module that it is imported from, as in ``nets:ResNet``. An import runs
that module, so that a name which a file brings is imported only where somebody says so.
"""

import importlib
import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from fastjvae._numbers import shown
from fastjvae.errors import ArgumentError, CheckpointError, did_you_mean, first_sentence
from fastjvae.files import json_object, to_json
from fastjvae.functional.latents import LatentSpec
from fastjvae.model.evaluating import evaluating

Which = Literal["encoder", "decoder"]
Network = nn.Module | str  # itself, or the name of its class
Size = tuple[int, int, int]  # of an image: channels, height, width
NETWORKS: tuple[Which, ...] = ("encoder", "decoder")

_NAME = re.compile(r"(?:[^\W\d]\w*\.)*[^\W\d]\w*:[^\W\d]\w*")
_EXAMPLES = 2  # images that a network is tried with


# --- made -----------------------------------------------------------------------------------------


class OwnNetworks(NamedTuple):
    """Networks that stand in for the standard ones, which are None here."""

    encoder: nn.Module | None
    decoder: nn.Module | None
    entries: dict[str, dict[str, Any]]  # how config.json describes those that are there


def own_networks(
    img_size: Size,
    spec: LatentSpec,
    encoder: Network | None = None,
    decoder: Network | None = None,
    encoder_args: Mapping[str, Any] | None = None,
    decoder_args: Mapping[str, Any] | None = None,
) -> OwnNetworks:
    """The networks that were given or named, tried on two images.

    Raises:
        ArgumentError: one is neither a module nor the name of a class of modules, cannot be made
            with its arguments, fails, or returns another shape than it must.
    """
    first = _own_network("encoder", encoder, encoder_args, img_size, spec)
    second = _own_network("decoder", decoder, decoder_args, img_size, spec)
    entries: dict[str, dict[str, Any]] = {}
    for which, network, given, args in (
        ("encoder", first, encoder, encoder_args),
        ("decoder", second, decoder, decoder_args),
    ):
        if given is not None and network is not None:
            CHECKS[which](network, img_size, spec)
            entries[which] = _entry(given, args)
    return OwnNetworks(first, second, entries)


def _own_network(
    which: Which, given: Any, args: Mapping[str, Any] | None, img_size: Size, spec: LatentSpec
) -> nn.Module | None:
    """The network that was given, or made by its name; None where there is none."""
    if isinstance(given, str):
        return _made(which, given, json_object(args or {}, f"{which}_args"), img_size, spec)
    if args is not None:
        raise ArgumentError(
            f"{which}_args are for a class by its name, such as {which}='nets:Net', got"
            f" {shown(dict(args))} for {'no ' + which if given is None else _kind(given)}"
        )
    if given is not None and not isinstance(given, nn.Module):
        raise ArgumentError(
            f"{which} must be a torch.nn.Module or the name of its class, such as 'nets:Net', got"
            f" {f'the class {given.__name__} itself' if isinstance(given, type) else shown(given)}"
        )
    return given


def imported(which: Which, name: str) -> type[nn.Module]:
    """The class of a name such as ``nets:ResNetEncoder``; its module is imported.

    Raises:
        ArgumentError: the name has another form, there is no such module or class, or the class is
            no torch.nn.Module.
    """
    check_name(which, name)
    module, _, attribute = name.partition(":")
    try:
        found = importlib.import_module(module)
    except Exception as error:  # a module can raise anything
        if isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}."):
            raise ArgumentError(
                f"there is no module {error.name} for the {which} {name}, neither installed nor"
                f" in a folder of sys.path, such as the one that the command was called in"
            ) from None
        raise ArgumentError(
            f"the module of the {which} {name} cannot be imported:"
            f" {type(error).__name__}: {first_sentence(error)}"
        ) from error
    kind = getattr(found, attribute, None)
    if kind is None:
        raise ArgumentError(
            f"the module {module} has no {attribute}{did_you_mean(attribute, dir(found))}, which is"
            f" to be the {which}"
        )
    if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
        raise ArgumentError(
            f"the {which} {name} must be a class of torch.nn.Module, it is {_kind(kind)}"
        )
    return kind


def check_name(which: Which, name: str) -> None:
    """Refuse what cannot be a module and a class in it; imports nothing."""
    if not _NAME.fullmatch(name):
        raise ArgumentError(
            f"the {which} is named by module and class, such as nets:Net, got {shown(name)}"
        )


def _made(
    which: Which, name: str, args: Mapping[str, Any], img_size: Size, spec: LatentSpec
) -> nn.Module:
    kind = imported(which, name)
    sizes = {
        "img_size": img_size,
        "latent_spec": spec.to_dict(),
        "num_params": spec.num_params,
        "sample_dim": spec.sample_dim,
    }
    signature = inspect.signature(kind)
    given = {**{k: v for k, v in sizes.items() if k in signature.parameters}, **args}
    try:
        signature.bind(**given)
        return kind(**given)
    except Exception as error:  # a constructor can raise anything
        raise ArgumentError(
            f"the {which} {name} cannot be made with {to_json(given)}: {first_sentence(error)}"
        ) from error


# --- checked --------------------------------------------------------------------------------------


def check_encoder(encoder: nn.Module, img_size: Size, spec: LatentSpec) -> None:
    """Try an encoder on two images; nothing of it changes by that.

    Raises:
        ArgumentError: it fails, or returns another shape than it must.
    """
    images, rows = (_EXAMPLES, *img_size), (_EXAMPLES, spec.num_params)
    _check("encoder", encoder, images, rows, f"parameters of {spec.to_dict()}")
    if offers_head(encoder):
        _check_head(encoder, images, spec)


def check_decoder(decoder: nn.Module, img_size: Size, spec: LatentSpec) -> None:
    """Try a decoder on two sample rows, as :func:`check_encoder` does."""
    sample, images = (_EXAMPLES, spec.sample_dim), (_EXAMPLES, *img_size)
    _check("decoder", decoder, sample, images, "logits of the pixels")


CHECKS = {"encoder": check_encoder, "decoder": check_decoder}


def _check(
    which: Which, network: nn.Module, takes: tuple[int, ...], gives: tuple[int, ...], what: str
) -> None:
    found = _tried(which, network, network, takes)
    if found is None or (isinstance(found, Tensor) and tuple(found.shape) == gives):
        return
    returned = tuple(found.shape) if isinstance(found, Tensor) else f"a {type(found).__name__}"
    raise ArgumentError(
        f"the {which} must return {what} of shape {gives} for an input of shape {takes},"
        f" {_kind(network)} returned {returned}"
    )


def _check_head(encoder: Any, images: tuple[int, ...], spec: LatentSpec) -> None:
    head: Any = getattr(encoder, "head", None)
    fits = isinstance(head, nn.Linear) and head.bias is not None
    if fits:
        hidden = _tried("encoder", encoder, encoder.hidden_features, images)
        expected = (_EXAMPLES, head.in_features)
        fits = head.out_features == spec.num_params and (
            hidden is None or getattr(hidden, "shape", None) == expected
        )
    if not fits:
        raise ArgumentError(
            f"an encoder with hidden_features, as {_kind(encoder)}, needs a head that reads them,"
            f" nn.Linear(features, {spec.num_params}) with a bias, got {_first_line(head)}"
        )


def _tried(which: Which, network: nn.Module, call: Any, takes: tuple[int, ...]) -> Any:
    """What a network gives for zeros, in evaluation mode; None where it has no numbers to try."""
    tensors = [*network.parameters(), *network.buffers()]
    first = next((t for t in tensors if t.is_floating_point()), torch.zeros(()))
    if first.is_meta:
        return None
    devices = [first.device] if first.is_cuda else []
    try:
        with evaluating(network), torch.random.fork_rng(devices=devices):
            return call(torch.zeros(takes, device=first.device, dtype=first.dtype))
    except Exception as error:  # a network can raise anything
        raise ArgumentError(
            f"the {which}, {_kind(network)}, fails for an input of shape {takes}:"
            f" {first_sentence(error)}"
        ) from error


def offers_head(encoder: object) -> bool:
    """Whether an encoder, or its class, tells what its head reads.

    It has ``hidden_features(images)``, (N, C, H, W) -> (N, F), and ``head``, an ``nn.Linear`` that
    makes parameter rows of them. Settings that fit heads anew or add one need that.
    """
    return callable(getattr(encoder, "hidden_features", None))


# --- saved, and made again ------------------------------------------------------------------------


def _entry(given: Network, args: Mapping[str, Any] | None) -> dict[str, Any]:
    """How ``config.json`` describes an own network; JSON types only."""
    if isinstance(given, str):
        return {"import": given, "args": json_object(args or {}, "arguments")}
    return {"object": f"{type(given).__module__}.{type(given).__qualname__}"}


@dataclass(frozen=True)
class GivenNetworks:
    """What somebody who loads a model gives of its networks, see :func:`fastjvae.load`."""

    encoder: Network | None = None
    decoder: Network | None = None
    encoder_args: Mapping[str, Any] | None = None
    decoder_args: Mapping[str, Any] | None = None
    trust_imports: bool = False

    def __post_init__(self) -> None:
        for name in ("encoder_args", "decoder_args"):
            args: object = getattr(self, name)
            if not (args is None or isinstance(args, Mapping)):
                raise ArgumentError(
                    f'{name} must be a JSON object such as {{"width": 64}}, got {shown(args)}'
                )

    def for_model(self, config: Any, source: Path) -> dict[str, Any]:
        """Arguments of JointVAE by which a saved model's networks are made; imports nothing.

        Args:
            config: the description of the model, as read.
            source: where it was read.

        Raises:
            ArgumentError: networks are needed that were not given, or others were given.
            CheckpointError: the description of a network has another form.
        """
        made: dict[str, Any] = {}
        to_import: dict[Which, str] = {}
        for which in NETWORKS:
            entry: Any = config.get(which) if isinstance(config, dict) else None
            made |= self._made_by(which, entry, source)
            named = isinstance(made.get(which), str) and "import" in entry
            if named and getattr(self, which) is None and not self.trust_imports:
                to_import[which] = made[which]
        if to_import:
            raise ArgumentError(_asked_for_trust(to_import, source))
        return made

    def _made_by(self, which: Which, entry: Any, source: Path) -> dict[str, Any]:
        """The arguments of JointVAE for one network, none for the standard one."""
        given, args = getattr(self, which), getattr(self, f"{which}_args")
        if entry is None:
            if given is not None or args is not None:
                raise ArgumentError(
                    f"{source} has the standard {which}, got {which}={_told(given or args)}"
                )
            return {}
        name, saved_args = _read_entry(which, entry, source)
        if name is None and given is None:
            raise ArgumentError(_asked_for_object(which, entry, source))
        if name is None or isinstance(given, nn.Module):
            return {which: given, f"{which}_args": args}
        wanted = saved_args if args is None else json_object(args, f"{which}_args")
        if given not in (None, name) or wanted != saved_args:
            raise ArgumentError(
                f"{source} has the {which} {name} with {to_json(saved_args)}, got"
                f" {_told(given or name)} with {to_json(wanted)}"
            )
        return {which: name, f"{which}_args": saved_args}


def _read_entry(which: Which, entry: Any, source: Path) -> tuple[str | None, dict[str, Any]]:
    """Name and arguments of a saved network; no name of one that was given as an object."""
    if isinstance(entry, dict) and isinstance(entry.get("object"), str):
        return None, {}
    name, args = (
        (entry.get(k) for k in ("import", "args")) if isinstance(entry, dict) else (None, None)
    )
    if not isinstance(name, str) or not _NAME.fullmatch(name) or not isinstance(args, dict):
        raise CheckpointError(f"{source} describes no {which}: {shown(entry)}")
    return name, args


def _asked_for_trust(to_import: Mapping[Which, str], source: Path) -> str:
    names = " and ".join(f"{name} as its {which}" for which, name in to_import.items())
    python = ", ".join(f"{which}={name!r}" for which, name in to_import.items())
    flags = " ".join(f"--{which} {name}" for which, name in to_import.items())
    return (
        f"loading {source} would import {names}, which is done only if you say so: give {python} or"
        f" trust_imports=True, on the command line {flags} or --trust-imports"
    )


def _asked_for_object(which: Which, entry: Mapping[str, str], source: Path) -> str:
    return (
        f"{source} has the weights of an own {which} that was given as an object, a"
        f" {shown(entry['object'])}: give it again, {which}=..., on the command line by its class,"
        f" --{which} MODULE:CLASS with --{which}-args"
    )


def _kind(given: object) -> str:
    kind = type(given).__name__
    return f"{'an' if kind[0] in 'AEIOUaeiou' else 'a'} {kind}"


def _told(given: object) -> str:
    return shown(given) if isinstance(given, (str, Mapping)) else _kind(given)


def _first_line(given: object) -> str:
    return str(given).splitlines()[0]
