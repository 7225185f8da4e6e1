"""The model card of a run for the Hugging Face Hub: what was trained, on what, and what it learned.

It has what the run folder says, and no more. Of paths it has their last part: the rest is about
somebody's machine.
"""

import json
from collections.abc import Mapping
from pathlib import PureWindowsPath

from fastjvae._version import __version__
from fastjvae.errors import RunError
from fastjvae.files import read_json, to_json
from fastjvae.metrics.evaluation import Evaluation
from fastjvae.metrics.saved_evaluation import evaluation_from_dict
from fastjvae.model import JointVAE, pretrained
from fastjvae.training.run_folder import RunFolder, last_record

UNKNOWN = "unknown"  # the Hub's own word for a license that nobody has named

_PATHS = ("data_root", "labels", "start_from")
_PAPER = "[JointVAE](https://arxiv.org/abs/1804.00104)"


def saved_evaluation(run: RunFolder) -> Evaluation | None:
    """The evaluation of the model that a run has ended with; None where there is none of it.

    One from before the run went on is of another model.

    Raises:
        RunError: ``evaluation.json`` cannot be read.
    """
    if not run.evaluation_file.is_file() or not (run.path / pretrained.WEIGHTS).is_file():
        return None
    values = read_json(run.evaluation_file, RunError)
    try:
        evaluation = evaluation_from_dict(values)
    except ValueError as error:
        raise RunError(f"{run.evaluation_file} cannot be taken up: {error}") from error
    last = last_record(run) or {}
    return evaluation if last.get("step") in (None, evaluation.steps) else None


def model_card(
    model: JointVAE,
    run: RunFolder,
    evaluation: Evaluation | None,
    *,
    name: str,
    repository: str | None = None,
    figure: str | None = None,
    license_id: str = UNKNOWN,
) -> str:
    """The content of ``README.md``: a YAML header that the Hub reads, and Markdown.

    Args:
        model: what is described.
        run: where it comes from; a folder that is no run says nothing of data and settings.
        evaluation: of the model; None where there is none.
        name: the title.
        repository: id on the Hub, ``user/name``, where it is known.
        figure: file of the traversals beside the card, where there is one.
        license_id: the Hub's word for the license, such as ``mit``.
    """
    networks = model.own_networks
    arguments = [json.dumps(repository or f"USER/{name}"), "hub=True"]
    for which, own in networks.items():  # by its name, or the module itself, which the reader makes
        arguments.append(f"{which}={json.dumps(own['import']) if 'import' in own else which}")
    spec = model.spec
    size = ", ".join(map(str, model.img_size))
    lines = [
        "---",
        f"license: {json.dumps(license_id)}",  # quoted: `no` would be a truth value
        "library_name: fastjvae",
        "tags:",
        *(f"- {tag}" for tag in ("jointvae", "vae", "disentanglement")),
        "---",
        "",
        f"# {_inline(name)}",
        "",
        f"A {_PAPER} in the form of fastjvae {__version__}.",
        "",
        "| | |",
        "|---|---|",
        f"| images (channels, height, width) | {size} |",
        f"| continuous units | {spec.cont} |",
        f"| categories of each discrete variable | {', '.join(map(str, spec.disc)) or 'none'} |",
        *(f"| its own {which} | {_inline(to_json(own))} |" for which, own in networks.items()),
    ]
    if figure is not None:
        lines += ["", f"![In each row one latent variable changes, all others stay]({figure})"]
    lines += [
        *_section("Use"),
        "```python",
        "import fastjvae  # pip install 'fastjvae[hub]'",
        "",
        f"model = fastjvae.load({', '.join(arguments)})",
        f"model.encode_mean(images)  # (N, {spec.cont}) of images (N, {size})",
        f"model.encode_categories(images)  # (N, {len(spec.disc)})",
        "```",
        *(["", "The code of its own networks is not in this repository."] if networks else []),
        *_section("Data"),
        _data(run),
        *_section("Evaluation"),
    ]
    if evaluation is None:
        lines.append("No evaluation of this very model is known.")
    else:
        lines += ["What `fastjvae evaluate` says:", "", *_block(evaluation.table())]
    lines += [*_section("Training"), *_training(run)]
    if license_id == UNKNOWN:
        lines += [*_section("License"), "Nobody has said under which license it may be used."]
    return "\n".join(lines) + "\n"


def _section(title: str) -> list[str]:
    return ["", f"## {title}", ""]


def _block(text: str, language: str = "text") -> list[str]:
    """Text as it is; a fence that no name inside can close."""
    fence = "`" * 3
    while fence in text:
        fence += "`"
    return [f"{fence}{language}", text, fence]


def _inline(text: str) -> str:
    """A name in a line of Markdown, which means nothing there."""
    return "".join(f"\\{c}" if c in "\\`*_[]<>#|" else c for c in " ".join(text.split()))


def _data(run: RunFolder) -> str:
    data = run.entry("data")
    if "name" not in data:
        return "What the model was trained on is not known."
    words = f"Trained on {_inline(str(data['name']))}"
    if isinstance(data.get("images"), int):
        words += f", images: {data['images']:,}"
    held_out = data.get("held_out")
    if isinstance(held_out, Mapping) and isinstance(held_out.get("images"), int):
        words += f", held out beside them: {held_out['images']:,}"
    return f"{words}."


def _training(run: RunFolder) -> list[str]:
    if not run.is_run():
        return ["How the model was trained is not known."]
    settings = run.read_config().to_dict()
    for name in _PATHS:
        if isinstance(settings.get(name), str):
            settings[name] = _last_part(settings[name])
    versions = read_json(run.config_file, RunError).get("versions")
    by = ""
    if isinstance(versions, Mapping):
        by = ", by " + ", ".join(f"{name} {version}" for name, version in versions.items())
    return [
        f"<details><summary>The settings of <code>fastjvae train</code>{by}</summary>",
        "",
        *_block(to_json(settings, 2), "json"),
        "",
        "</details>",
    ]


def _last_part(path: str) -> str:
    """The last part of a path of any system: a run folder may have been moved to another one."""
    return PureWindowsPath(path).name
