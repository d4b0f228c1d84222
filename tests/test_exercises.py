"""Every check knows its solution, names each known misconception, and leaves an untouched stub in
peace.
"""

import contextlib
import signal

import numpy as np
import pytest
import torch

from zephyr_utils import exercises
from zephyr_utils.exercises import guard
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
def test_an_answer_that_is_not_a_number_text_or_list_is_wrong_and_does_not_break_the_check(
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


def test_a_function_that_changes_its_input_is_told_so_and_does_not_spoil_the_check():
    for numbers in ([3, 1, 2], np.array([3.0, 1, 2]), torch.tensor([3, 1, 2])):
        with pytest.raises(Wrong, match=r"changes its argument: .*3.*1.*2.* became"):
            attempt(lambda n: n.__setitem__(0, 7) or n, numbers)
        assert list(numbers) == [3, 1, 2]
        assert list(attempt(lambda n: n, numbers)) == [3, 1, 2]
    log = {"loss": np.array([0.7, 0.5])}
    assert attempt(lambda log: log["loss"][0], log) == 0.7
    with pytest.raises(Wrong, match="changes its argument"):
        attempt(lambda log: log["loss"].sort() or 1, log)


def test_a_loop_without_end_is_stopped_and_named(monkeypatch):
    def endless(numbers):
        while True:
            with contextlib.suppress(Exception):
                sum(numbers)

    monkeypatch.setattr(guard, "LIMIT_SECONDS", 0.2)
    with pytest.raises(Wrong, match=r"had not returned after 0\.2 seconds"):
        attempt(endless, [1])
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0), "no alarm is left behind"


def test_a_few_printed_lines_are_shown_and_thousands_are_refused(capsys):
    assert attempt(lambda n: print("seen") or n, 3) == 3
    assert capsys.readouterr().out == "seen\n"
    with pytest.raises(Wrong, match="prints more than 50 lines"):
        attempt(lambda n: [print(n) for _ in range(10_000)], 3)
    assert len(capsys.readouterr().out.splitlines()) <= 51


def test_the_chapter_goes_on_with_a_right_answer_and_with_the_reference_otherwise(capsys):
    check, reference = exercises.check_win_rate, REGISTRY["check_win_rate"].solution

    def mine(*arguments):
        return reference(*arguments)

    assert exercises.yours(mine, check) is mine
    assert capsys.readouterr().out == "The chapter goes on with your function.\n"
    for answer in (..., lambda *_: ..., *REGISTRY["check_win_rate"].wrong.values()):
        assert exercises.yours(answer, check) is reference
    assert "reference solution" in capsys.readouterr().out


@pytest.mark.parametrize("name", CHECKS)
def test_no_message_shows_numpys_own_types(name):
    for answer in REGISTRY[name].wrong.values():
        assert "np." not in REGISTRY[name].verdict(answer).message


def test_an_answer_off_by_a_trifle_is_right_and_by_more_is_wrong():
    compare(np.float32(0.1), 0.1, {}, "Wrong.")
    with pytest.raises(Wrong, match=r"Wrong\. Expected 0\.1, got 0\.1001"):
        compare(0.1001, 0.1, {}, "Wrong.")
    with pytest.raises(Wrong):
        compare([0.1], 0.1, {}, "A list is not a number.")
    with pytest.raises(Wrong):
        compare(float("nan"), 0.1, {}, "Not a number.")


@pytest.mark.parametrize("impostor", ["7", True, ["7"], np.True_, None])
def test_words_and_booleans_are_not_numbers(impostor):
    expected = [7.0] if isinstance(impostor, list) else float(impostor or 0)
    with pytest.raises(Wrong):
        compare(impostor, expected, {}, "No number.")


def test_a_message_names_numbers_as_python_writes_them():
    with pytest.raises(Wrong, match=r"Expected 4\.25, got \[1\.5, \(2, 3\)\]"):
        compare([np.float64(1.5), (np.int64(2), 3)], np.float64(4.25), {}, "Wrong.")
