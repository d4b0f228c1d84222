"""How an exercise is checked: right, wrong with the misconception named, or not attempted yet.

A check is a function that takes the reader's answer. It prints its verdict and lets the run of a
notebook go on whatever the verdict is. Each is registered together with a reference solution and
with the wrong answers that readers are known to give, and one test runs every check against all of
them.
"""

import copy
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from zephyr_utils.exercises.guard import Stopped, run_guarded


class NotAttempted(Exception):
    """The stub has not been touched."""


class Wrong(Exception):
    """What a grader raises for a wrong answer; the message names the misconception."""


class WrongAnswer(AssertionError):
    """What a check raises for a wrong answer when it is called with ``strict=True``."""


@dataclass(frozen=True)
class CheckResult:
    """The status of an answer and the message about it."""

    status: Literal["right", "wrong", "not attempted"]
    message: str

    def __str__(self) -> str:
        opening = {"right": "Right.", "wrong": "Not quite.", "not attempted": "Not attempted yet."}
        return f"{opening[self.status]} {self.message}"


@dataclass(frozen=True)
class Exercise:
    """One exercise: how it is graded, and answers whose verdict is known.

    Attributes:
        name: the name of its check, such as "check_dpo_loss".
        chapter: the notebook that sets it.
        grader: takes an answer; raises Wrong or NotAttempted, returns nothing for a right one.
        right: one sentence for a right answer, that says what it is good for.
        solution: a right answer.
        wrong: answers known to be wrong, by words that the message about them has to contain.
    """

    name: str
    chapter: str
    grader: Callable[[Any], None]
    right: str
    solution: Any
    wrong: Mapping[str, Any]

    def verdict(self, answer: Any) -> CheckResult:
        """Grade an answer."""
        try:
            if answer is None or answer is ...:
                raise NotAttempted("Fill in the stub above, then run this cell again.")
            self.grader(answer)
        except NotAttempted as reason:
            return CheckResult("not attempted", str(reason))
        except Wrong as reason:
            return CheckResult("wrong", str(reason))
        return CheckResult("right", self.right)


REGISTRY: dict[str, Exercise] = {}


def exercise(chapter: str, *, right: str, solution: Any, wrong: Mapping[str, Any]):
    """Make the decorated grader a check, and register it. See :class:`Exercise` for the arguments.

    The check takes ``strict=True`` to raise WrongAnswer for a wrong answer instead of printing it.
    """

    def register(grader: Callable[[Any], None]) -> Callable[..., None]:
        REGISTRY[grader.__name__] = Exercise(
            grader.__name__, chapter, grader, right, solution, wrong
        )

        @functools.wraps(grader)
        def check(answer: Any, *, strict: bool = False) -> None:
            verdict = REGISTRY[grader.__name__].verdict(answer)
            if strict and verdict.status == "wrong":
                raise WrongAnswer(verdict.message)
            print(verdict)

        return check

    return register


def yours(answer: Any, check: Callable[..., None]) -> Any:
    """What the rest of a chapter runs on: the reader's answer where it is right, else the reference
    solution. Says which in a line.

    Args:
        answer: what the reader wrote under a stub.
        check: the check of that exercise, such as ``exercises.check_merge``.
    """
    registered = REGISTRY[check.__name__]
    if registered.verdict(answer).status == "right":
        print("The chapter goes on with your function.")
        return answer
    print("The chapter goes on with the reference solution.")
    return registered.solution


# --- for graders ----------------------------------------------------------------------------------


def attempt(function: Callable, *arguments: Any, none_is_an_answer: bool = False) -> Any:
    """Call the reader's function on copies of the arguments.

    Raises:
        NotAttempted: it returned ``...`` or None, or raised NotImplementedError, as stubs do.
        Wrong: it is not a function, stopped with another error, changed its arguments, did not
            return in time, or printed too much (see :mod:`zephyr_utils.exercises.guard`).
    """
    if not callable(function):
        raise Wrong(
            f"The check wants your function itself, not {_short(function)}: leave out the brackets."
        )
    given = copy.deepcopy(arguments)
    try:
        result = run_guarded(function, given)
    except NotImplementedError:
        result = ...
    except Stopped as reason:
        raise Wrong(str(reason)) from reason
    except Exception as error:  # whatever a reader's code may raise
        shown = ", ".join(map(_short, arguments))
        raise Wrong(
            f"Given {shown}, your function stopped with {type(error).__name__}: {error}"
        ) from error
    if result is ... or (result is None and not none_is_an_answer):
        raise NotAttempted(
            "Your function returns nothing. If you have written it, does it end with return?"
        )
    for before, after in zip(arguments, given, strict=True):
        if _changed(before, after):
            raise Wrong(
                f"Your function changes its argument: {_short(before)} became {_short(after)}. "
                "Work on a copy, since the chapter goes on with the original."
            )
    return result


def _changed(before: Any, after: Any) -> bool:
    if isinstance(before, dict):
        return before.keys() != after.keys() or any(_changed(before[k], after[k]) for k in before)
    if isinstance(before, list | tuple):
        return len(before) != len(after) or any(map(_changed, before, after))
    if type(before).__eq__ is object.__eq__:  # such as a generator, which every draw changes
        return False
    # NaN is unequal to itself, and unchanged all the same
    different = (before != after) & ((before == before) | (after == after))
    return bool(different.any() if hasattr(different, "any") else different)


def compare(
    got: Any, expected: Any, mistakes: Mapping[str, Any], otherwise: str, tolerance: float = 1e-6
) -> None:
    """Compare numbers, or lists of them, with the right ones; if they differ, say why where that
    is known.

    Args:
        mistakes: what each misconception yields here, by the message that explains it.
        otherwise: the message where none of them fits.
    """
    if _close(got, expected, tolerance):
        return
    for message, value in mistakes.items():
        if _close(got, value, tolerance):
            raise Wrong(message)
    raise Wrong(f"{otherwise} Expected {_short(expected)}, got {_short(got)}.")


def _close(got: Any, expected: Any, tolerance: float) -> bool:
    try:
        left, right = _numbers(got), _numbers(expected)
    except (TypeError, ValueError):  # words, or lists of unequal lengths
        return False
    if left.dtype.kind == "b" != right.dtype.kind:  # True is not a number, though float() takes it
        return False
    return left.shape == right.shape and bool(
        np.allclose(left.astype(float), right.astype(float), rtol=0, atol=tolerance)
    )


def _numbers(value: Any) -> np.ndarray:
    value = value.detach().cpu() if hasattr(value, "detach") else value
    array = np.asarray(value)
    if array.dtype.kind in "US":  # "7" is not a number, though float() takes it
        raise TypeError
    return array if array.dtype.kind == "b" else array.astype(float)


def _short(value: Any) -> str:
    text = repr(_plain(value))
    return text if len(text) <= 120 else text[:117] + "..."


def _plain(value: Any) -> Any:
    """The value without NumPy's own number types, whose repr is np.float64(0.5)."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, list | tuple) and type(value) in (list, tuple):
        return type(value)(map(_plain, value))
    return value
