"""A setting that is an object of JSON, such as the arguments of a network."""

from typing import Annotated, Any

from tyro.constructors import PrimitiveConstructorSpec

from fastjvae.files import parse_json, to_json


def _json_of_flag(text: str) -> Any:
    """What is no JSON stays a text, which the check of the settings refuses."""
    try:
        return parse_json(text)
    except ValueError:
        return text


# Arguments by name.
Arguments = Annotated[
    dict[str, Any] | None,
    PrimitiveConstructorSpec(
        nargs=1,
        metavar="JSON",
        instance_from_str=lambda words: _json_of_flag(words[0]),
        is_instance=lambda value: value is None or isinstance(value, dict),
        str_from_instance=lambda value: ["None" if value is None else to_json(value)],
    ),
]
