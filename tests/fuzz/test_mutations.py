"""The fuzzers' own tools: faults repeat, and a reader that misbehaves is found."""

from __future__ import annotations

import mmap

import pytest
from mutations import assert_read_or_refused, mutated

from fastjvae.errors import DataError

VALID = bytes(range(64)) + b"{'descr': '|u1', 'shape': (4, 8, 8)}" * 4


def refuse(sentence: str) -> None:
    raise DataError(sentence)


def test_a_seed_gives_the_same_damage_and_others_give_other() -> None:
    damaged = [mutated(VALID, seed) for seed in range(50)]
    assert damaged == [mutated(VALID, seed) for seed in range(50)]
    assert len(set(damaged)) > 45
    assert mutated(b"", 3) == mutated(b"", 3)


def test_what_a_reader_may_do() -> None:
    assert assert_read_or_refused(lambda: None, "a.npy")
    assert not assert_read_or_refused(lambda: refuse("a.npy is truncated"), "b.npy", "a.npy")


@pytest.mark.parametrize("sentence", ["it is truncated", "a.npy is\nbad", "a.npy. Bad", "a.npy."])
def test_what_is_no_sentence_about_the_file(sentence: str) -> None:
    with pytest.raises(AssertionError):
        assert_read_or_refused(lambda: refuse(sentence), "a.npy")


def test_other_errors_come_out() -> None:
    with pytest.raises(ZeroDivisionError):
        assert_read_or_refused(lambda: 1 // 0, "a.npy")


def test_memory_is_bounded() -> None:
    def take() -> None:
        size = 2**27
        with mmap.mmap(-1, size) as memory:  # never of what the process has freed and keeps
            for page in range(0, size, mmap.PAGESIZE):
                memory[page] = 1

    with pytest.raises(AssertionError, match="MiB for a small file"):
        assert_read_or_refused(take, "a.npy")
