"""An error of the data is one sentence that names what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from fastjvae.errors import DataError


@contextmanager
def one_sentence_with(*parts: str) -> Iterator[pytest.ExceptionInfo[DataError]]:
    """The block raises a DataError whose sentence has all these parts."""
    with pytest.raises(DataError) as caught:
        yield caught
    message = str(caught.value)
    assert "\n" not in message
    assert ". " not in message
    assert not message.endswith(".")
    for part in parts:
        assert part in message
