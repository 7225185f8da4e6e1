"""Words of a command line as people type them."""

from __future__ import annotations

import pwd
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastjvae.cli.parser import parse
from fastjvae.cli.spellings import as_tyro_reads
from fastjvae.errors import ArgumentError

NUMBERS = st.lists(st.integers(0, 10**6), min_size=1, max_size=5)
FORMS = st.sampled_from(["{}", "[{}]", "({})", "[{} ]", "{},"])


@given(NUMBERS, FORMS, st.sampled_from([",", ", ", "x", " "]), st.booleans())
def test_a_list_of_numbers_is_read_in_every_form(
    numbers: list[int], form: str, separator: str, equals: bool
):
    word = form.format(separator.join(map(str, numbers)))
    words = [f"--disc={word}"] if equals else ["--disc", word]
    read = ["--disc", *map(str, numbers), "--seed", "1"]
    assert as_tyro_reads([*words, "--seed", "1"]) == read
    assert as_tyro_reads(read) == read
    apart = ["--disc", *(f"{number}," for number in numbers), "--seed", "1"]
    assert as_tyro_reads(apart) == read


@pytest.mark.parametrize(
    ("words", "size"),
    [
        (["64"], (64, 64)),
        (["64x48"], (64, 48)),
        (["64", "48"], (64, 48)),
        (["[64,", "48]"], (64, 48)),
    ],
)
def test_an_image_size(words: list[str], size: tuple[int, int]):
    assert parse(["train", "images", "--image-size", *words]).config.image_size == size


@pytest.mark.parametrize(
    "words",
    [["--discrete-capacity", "kl"], ["--discrete-capacity=kl"], ["--discrete_capacity", "kl"]],
)
def test_a_flag_by_its_former_name(words: list[str], capsys: pytest.CaptureFixture[str]):
    flags = ["--overclusters", "0", "--refits"]
    assert parse(["train", "digits", *words, *flags]).config.disc_measure == "kl"
    assert capsys.readouterr() == ("", "")


def test_other_lists_and_none():
    config = parse(["train", "images", "--disc", "[]", "--cont=3"]).config
    assert (config.disc, config.cont) == ((), 3)
    assert parse(["edit", "run", "a.png", "--unit", "1", "--to", "-1.5,0"]).to == (-1.5, 0.0)
    assert parse(["edit", "run", "a.png", "--variable=0", "--category=[1,2]"]).category == (1, 2)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--image-size", "big"], "--image-size takes .* pixels, such as 64 64, got big; see"),
        (["--image-size", "1,2,3"], "--image-size takes .*, got 1 2 3"),
        (["--image-size"], "--image-size takes .*, got none"),
        (["--disc", "ten"], "--disc takes .*, such as 10 or 10 10, got ten; see fastjvae train"),
    ],
)
def test_a_list_that_cannot_be_says_the_right_form(words: list[str], message: str):
    with pytest.raises(ArgumentError, match=message):
        parse(["train", "images", *words])


def test_a_size_that_lacks_a_number_is_no_size():
    assert as_tyro_reads(["--image-size", "64x"]) == ["--image-size", "64x"]


def test_home_in_every_path(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", "/home/ada")
    expected = {
        "~/a": "/home/ada/a",
        "--out=~/b": "--out=/home/ada/b",
        "~": "/home/ada",
        "joint=~/runs": "joint=/home/ada/runs",
        "a/~/b": "a/~/b",
        "x~": "x~",
        "~nobody-here/c": "~nobody-here/c",  # as a shell does
    }
    assert as_tyro_reads([*expected]) == [*expected.values()]


@pytest.mark.parametrize("word", ["~/a", "--out=~/a", "~"])
def test_a_user_without_a_home_folder(word: str, monkeypatch: pytest.MonkeyPatch):
    def unknown(_: int) -> None:
        raise KeyError

    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with pytest.raises(ArgumentError, match=f"{word} cannot be found: .* no home folder"):
        as_tyro_reads(["figures", "run", word])
    assert as_tyro_reads(["figures", str(Path("/a"))]) == ["figures", "/a"]
