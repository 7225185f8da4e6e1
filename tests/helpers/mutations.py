"""Damaged copies of valid files, and what a reader may do with one.

A reader's fuzzer is a loop over seeds::

    for seed in range(examples(300, least=30)):
        path.write_bytes(mutated(valid, seed))
        assert_read_or_refused(lambda: read(path), path)
"""

from __future__ import annotations

import re
import resource
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random

from fastjvae.errors import FastJVAEError

# What goes wrong at the edges of a number: as bytes and as text.
_INTEGERS = (0, 1, 2, 3, 7, 8, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**31 - 1, 2**32 - 1)
_WORDS = (
    *(b"-1", b"0", b"99999999999999999999", b"1e400", b"NaN", b"-Infinity", b"True", b"None"),
    *(b"null", b'""', b"[]", b"{}", b"[" * 3000, b"\xff\xfe", b"\n", b"\0", b"..", b"/", b"O"),
)


def mutated(data: bytes, seed: int) -> bytes:
    """Valid bytes with one to three faults; a seed always gives the same ones."""
    random = Random(seed)
    for _ in range(random.choice((1, 1, 2, 3))):
        data = random.choice(_FAULTS)(data, random)
    return data


def assert_read_or_refused(
    read: Callable[[], object], *names: str | Path, most_mib: int = 64
) -> bool:
    """Whether ``read`` returns; if not, it raises one sentence that names the file.

    Args:
        read: reads the damaged file.
        names: one of them stands in the sentence.
        most_mib: memory that the reader may take meanwhile, MiB; measured on Linux.
    """
    before = _peak_mib(reset=True)
    try:
        read()
        answered = True
    except FastJVAEError as error:
        sentence = str(error)
        assert "\n" not in sentence, sentence
        assert ". " not in re.sub("'[^']*'|\"[^\"]*\"", "", sentence), sentence
        assert not sentence.endswith("."), sentence
        assert any(str(name) in sentence for name in names), sentence
        answered = False
    taken = _peak_mib() - before
    assert taken <= most_mib, f"{taken:.0f} MiB for a small file"
    return answered


def _peak_mib(reset: bool = False) -> float:
    """The largest memory of this process, on Linux since the last reset."""
    if sys.platform != "linux":
        return 0.0
    if reset:
        with suppress(OSError):  # a sandbox may not allow it: then it is the largest ever
            Path("/proc/self/clear_refs").write_text("5")
    found = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    kib = int(found[1]) if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kib / 1024


# --- faults ---------------------------------------------------------------------------------------

_Fault = Callable[[bytes, Random], bytes]


def _place(data: bytes, random: Random) -> int:
    """Half of all faults are in the first 128 bytes, where headers are."""
    end = len(data) if random.random() < 0.5 else min(len(data), 128)
    return random.randint(0, end)


def _flip(data: bytes, random: Random) -> bytes:
    at = _place(data, random)
    return (
        data[:at]
        + bytes(b ^ (1 << random.randrange(8)) for b in data[at : at + 1])
        + data[at + 1 :]
    )


def _overwrite(data: bytes, random: Random) -> bytes:
    at = _place(data, random)
    new = random.randbytes(random.choice((1, 2, 4, 16)))
    return data[:at] + new + data[at + len(new) :]


def _integer(data: bytes, random: Random) -> bytes:
    at, size = _place(data, random), random.choice((1, 2, 4, 8))
    value = random.choice(_INTEGERS) % 2 ** (8 * size)
    if random.random() < 0.2:
        value = 2 ** (8 * size) - 1 - value
    new = value.to_bytes(size, random.choice(("big", "little")))
    return data[:at] + new + data[at + size :]


def _truncate(data: bytes, random: Random) -> bytes:
    return data[: _place(data, random)]


def _remove(data: bytes, random: Random) -> bytes:
    at = _place(data, random)
    return data[:at] + data[at + random.choice((1, 2, 4, 8, 64)) :]


def _insert(data: bytes, random: Random) -> bytes:
    at = _place(data, random)
    return data[:at] + random.randbytes(random.choice((1, 2, 4, 8, 64))) + data[at:]


def _repeat(data: bytes, random: Random) -> bytes:
    first, second = sorted((_place(data, random), _place(data, random)))
    return data[:second] + data[first:second] * random.choice((1, 2, 8)) + data[second:]


def _word(data: bytes, random: Random) -> bytes:
    """Another word in the place of one of the text, such as a number of a header."""
    words = [*re.finditer(rb"[A-Za-z0-9_.|<>+-]+", data)]
    if not words:
        return data
    word = random.choice(words)
    return data[: word.start()] + random.choice(_WORDS) + data[word.end() :]


def _swap_words(data: bytes, random: Random) -> bytes:
    words = [*re.finditer(rb"[A-Za-z0-9_.]{2,}", data)]
    if len(words) < 2:
        return data
    first, second = sorted(random.sample(words, 2), key=lambda word: word.start())
    between = data[first.end() : second.start()]
    return data[: first.start()] + second[0] + between + first[0] + data[second.end() :]


_FAULTS: tuple[_Fault, ...] = (
    *(_flip, _overwrite, _integer, _truncate, _remove),
    *(_insert, _repeat, _word, _swap_words),
)
