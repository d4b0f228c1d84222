"""Every check knows its solution, names each known misconception, and leaves an untouched stub in
peace.
"""

import numpy as np
import pytest

from zephyr_utils import exercises
from zephyr_utils.exercises.core import REGISTRY, Wrong, attempt, compare

CHECKS = list(REGISTRY)
WRONG = [(name, words) for name, exercise in REGISTRY.items() for words in exercise.wrong]


def not_implemented(*_):
    raise NotImplementedError


STUBS = {
    "dots": lambda *_: ...,
    "nothing": lambda *_: None,
    "the bare dots": ...,
    "not implemented": not_implemented,
}


@pytest.mark.parametrize("name", CHECKS)
def test_the_solution_is_right(name):
    verdict = REGISTRY[name].verdict(REGISTRY[name].solution)
    assert (verdict.status, verdict.message) == ("right", REGISTRY[name].right)


@pytest.mark.parametrize(("name", "words"), WRONG)
def test_a_known_wrong_answer_is_told_its_misconception(name, words):
    verdict = REGISTRY[name].verdict(REGISTRY[name].wrong[words])
    assert verdict.status == "wrong"
    assert words in verdict.message


@pytest.mark.parametrize("stub", STUBS)
@pytest.mark.parametrize("name", CHECKS)
def test_an_untouched_stub_is_not_attempted_and_lets_the_run_go_on(name, stub, capsys):
    getattr(exercises, name)(STUBS[stub], strict=True)
    assert capsys.readouterr().out.startswith("Not attempted yet.")


@pytest.mark.parametrize("name", CHECKS)
def test_an_answer_that_is_no_number_no_text_and_no_list_is_wrong_and_does_not_break_the_check(
    name,
):
    assert REGISTRY[name].verdict(lambda *_: object()).status == "wrong"


@pytest.mark.parametrize("name", CHECKS)
def test_each_check_is_offered_by_the_module_and_says_what_it_wants(name):
    check = getattr(exercises, name)
    assert name in exercises.__all__
    assert check.__doc__.startswith("``fn(")
    assert len(REGISTRY[name].wrong) >= 4


def test_a_wrong_answer_is_printed_and_raised_only_on_request(capsys):
    swapped = REGISTRY["check_dpo_loss"].wrong["swapped"]
    assert exercises.check_dpo_loss(swapped) is None
    assert capsys.readouterr().out.startswith("Not quite. Chosen and rejected are swapped")
    with pytest.raises(exercises.WrongAnswer, match="swapped"):
        exercises.check_dpo_loss(swapped, strict=True)


def test_a_right_answer_is_told_so_in_a_sentence(capsys):
    exercises.check_win_rate(REGISTRY["check_win_rate"].solution)
    assert (
        capsys.readouterr().out
        == "Right. Half a point for a draw keeps two equal models at one half.\n"
    )


def test_a_function_that_was_called_already_is_asked_for_itself():
    verdict = REGISTRY["check_win_rate"].verdict(0.6)
    assert verdict.status == "wrong" and "leave out the brackets" in verdict.message


def test_an_error_of_the_readers_code_is_reported_with_what_it_was_given():
    with pytest.raises(Wrong, match=r"Given \[1, 2\], your function stopped with KeyError: 'x'"):
        attempt(lambda numbers: {}["x"], [1, 2])


def test_a_function_that_changes_its_input_does_not_spoil_the_check():
    numbers = [3, 1, 2]
    assert attempt(sorted, numbers) == attempt(lambda n: n.sort() or n, numbers) == [1, 2, 3]
    assert numbers == [3, 1, 2]


def test_an_answer_off_by_a_trifle_is_right_and_by_more_is_wrong():
    compare(np.float32(0.1), 0.1, {}, "Wrong.")
    with pytest.raises(Wrong, match=r"Wrong\. Expected 0\.1, got 0\.1001"):
        compare(0.1001, 0.1, {}, "Wrong.")
    with pytest.raises(Wrong):
        compare([0.1], 0.1, {}, "A list is no number.")
    with pytest.raises(Wrong):
        compare(float("nan"), 0.1, {}, "Not a number.")
