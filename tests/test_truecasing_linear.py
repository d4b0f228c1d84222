"""Hostile repetitions: the work grows with the length of a text and not with its square."""

import time
from collections.abc import Callable

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from truecasing_corpus import fitted

from zephyr_utils.truecasing import (
    corrupt_case,
    detect_case_noise,
    protected_spans,
    truecasing_scores,
)

LENGTH, FACTOR = 5_000, 4
LIMIT = 10  # linear work gives a ratio of 4, quadratic work one of 16
ATTEMPTS = 4

UNITS = (
    "a.",
    "a.a ",
    "a.a~",
    "e.g. ",
    "a..",
    "...a",
    "~~~~/",
    "/.a",
    "../",
    "a/b ",
    "<pre>",
    "<pre> x",
    "<script>",
    "</",
    "<a",
    "<!--",
    "$",
    "$$ ",
    "$a ",
    "\\[",
    "\\(",
    "\\begin{a}",
    "\\begin{ab}x",
    "\\a{",
    "`",
    "``",
    "`a` b. c ",
    "```",
    "\n~~~",
    "\n---",
    "\n---\na: b",
    "\na: b",
    "{",
    "{}",
    "]: ",
    "](a",
    "a(a,",
    "a=",
    "=",
    "a^",
    "--a",
    " -a",
    "@a",
    "#a.",
    "&a",
    "_a.",
    "a_",
    ":",
    "a:",
    "://",
    "http://",
    "mailto:",
    "12!",
    "7",
    "'",
    "a'",
    '"',
    '. "a ',
    "“a”",
    "(lit. ",
    "(a. ",
    "[a. ",
    "1. a: ",
    "\n1. a: A ",
    "mia_7: a. b\n",
    "<k> a. b\n",
    "[12:03] k: a.\n",
    "by A. ",
    "\n\na",
    "\n",
    "\n\n",
    "\t",
    " ",
    "\r\n",
    "é. ",
    "😀. ",
    "\u2028",
    "\x00",
    "! ",
    "?!",
    "a! is a ",
    "select a ",
    "if (",
    ") {",
    ";",
    '"a": ',
    "[",
    "{[",
    "\na = b",
    "\na.b(",
    "\na.b",
    "a[",
    "\nputs 'a",
    "\nif a == b",
    "\n  a",
    "\n# a",
    "\nx = []",
    "\nx = []\n# a\n\n",
    "a b = ",
    "npm install a",
    "(a, ",
)


def seconds(work: Callable[[str], object], text: str) -> float:
    """Processor time of one call, which other processes do not count towards."""
    begin = time.process_time()
    work(text)
    return time.process_time() - begin


def look_everywhere(text: str) -> None:
    """Everything that reads a text: each path of the truecaser, the labels, the scores, the
    faults.
    """
    fitted().truecase("The garden in Paris. " + text)
    fitted().truecase(text)
    fitted().recase([text])
    protected_spans(text)
    detect_case_noise(pa.array([text]))
    truecasing_scores(text, text, text, prose_only=True)
    corrupt_case(text, "sentence")


def is_linear(make: Callable[[int], str]) -> bool:
    """Whether four times the text takes much less than sixteen times the work; a disturbed
    measurement is repeated.
    """
    short, long = make(LENGTH), make(LENGTH * FACTOR)
    for _ in range(ATTEMPTS):
        first = min(seconds(look_everywhere, short) for _ in range(2))
        if seconds(look_everywhere, long) < LIMIT * max(first, 0.002):
            return True
    return False


@pytest.fixture(scope="module", autouse=True)
def warmed_up() -> None:
    look_everywhere("a. b " * LENGTH * FACTOR)


@pytest.mark.parametrize("unit", UNITS)
def test_a_repetition_takes_work_in_proportion_to_its_length(unit):
    assert is_linear(lambda length: (unit * length)[:length])


@settings(max_examples=12, deadline=None)
@given(st.lists(st.sampled_from(UNITS), min_size=2, max_size=4), st.booleans())
@example(["~~~~/", "/.a"], False)
@example(["`a` b. c ", "a. b "], True)
@example(["a.", "~~~~/"], False)
def test_repetitions_of_several_units_do_so_too(units, mixed):
    def make(length: int) -> str:
        if mixed:
            return ("".join(units) * length)[:length]
        share = length // len(units)
        return "".join((unit * share)[:share] for unit in units)

    assert is_linear(make)


def test_a_long_abbreviation_is_read_once_however_many_full_stops_it_has(monkeypatch):
    from zephyr_utils.truecasing import protect

    class Counting:
        calls = 0

        def fullmatch(self, *arguments):
            Counting.calls += 1
            return abbreviation.fullmatch(*arguments)

    abbreviation = protect.ABBREVIATION
    monkeypatch.setattr(protect, "ABBREVIATION", Counting())
    assert protected_spans("a." * 1000) == []
    assert Counting.calls == 1
