"""The explorer's page: the files of ``web/``, what is known of a model and its weights in one file.

The page asks nothing of any network. Its content security policy allows the one script and the one
style that stand in it, by their hashes, and no request.
"""

import base64
import hashlib
import html
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

from fastjvae.errors import ArgumentError
from fastjvae.figures.explorer.contents import contents
from fastjvae.figures.explorer.weights import networks_of
from fastjvae.files import to_json
from fastjvae.model import JointVAE
from fastjvae.model.latent_moves import Span

_WEB = Path(__file__).parent / "web"
# In the order in which they stand in the page: what a file calls at once stands before it.
_SCRIPTS = (
    "networks.js",
    "model.js",
    "pictures.js",
    "painter.js",
    "state.js",
    "elements.js",
    "controls.js",
    "tables.js",
    "own_picture.js",
    "page.js",
)
_STYLES = ("page.css", "controls.css", "widths.css")  # later rules win


def explorer_page(
    model: JointVAE,
    evaluation: Mapping[str, Any] | None = None,
    *,
    span: Span | None = None,
    title: str = "JointVAE",
) -> str:
    """The HTML of a page in which a model's latent variables are moved and seen, offline.

    The page has a slider for every continuous unit, a button for every category, traversals, and
    takes pictures to encode. Encoder and decoder run in the browser, in half precision of their
    weights; scripts find them as ``fastjvae.encode`` and ``fastjvae.decode``.

    >>> from fastjvae import JointVAE, figures
    >>> model = JointVAE(img_size=(1, 32, 32), latent_spec={"cont": 2, "disc": [10]})
    >>> page = figures.explorer_page(model)
    >>> len(page) < 2_000_000
    True

    Args:
        model: a JointVAE of grey or RGB images with the standard encoder and decoder; used in
            evaluation mode, its own mode is restored.
        evaluation: what ``evaluation.json`` has, such as ``fit(...).evaluation``. Without it KL,
            shares and names of categories are not shown, and effects are of samples of the prior.
        span: first and last value of a unit, in standard deviations of its prior; by default the
            5 % and the 95 % quantile.
        title: of the page, such as the name of a run.

    Raises:
        ArgumentError: the model has networks of its own, or images of other channels than 1 or 3;
            the evaluation does not fit it; ``span`` is no range.
    """
    channels = model.img_size[0]
    if channels not in (1, 3):
        raise ArgumentError(
            f"the explorer shows images of 1 channel (grey) or 3 (RGB), the model's have {channels}"
        )
    encoder, decoder = networks_of(model)
    facts = contents(model, evaluation, span, title)
    facts["encoder"] = [layer._asdict() for layer in encoder.layers]
    facts["decoder"] = [layer._asdict() for layer in decoder.layers]
    script = "\n".join(map(_source, _SCRIPTS))
    style = "\n".join(map(_source, _STYLES))
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)};"
        " img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
    return Template(_source("page.html")).substitute(
        policy=policy,
        title=html.escape(title),
        style=style,
        script=script,
        facts=to_json(facts).replace("<", "\\u003c"),  # no end of the element within a name
        encoder=_base64(encoder.numbers.tobytes()),
        decoder=_base64(decoder.numbers.tobytes()),
    )


def _source(name: str) -> str:
    return (_WEB / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """The source expression of an inline script or style in a content security policy."""
    return f"'sha256-{_base64(hashlib.sha256(text.encode()).digest())}'"


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
