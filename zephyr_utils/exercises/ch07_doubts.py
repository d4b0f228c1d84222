"""Check of chapter 07: the reasons not to take a figure at face value."""

from collections.abc import Callable
from typing import Any

from zephyr_utils.exercises.core import Wrong, attempt, exercise

Figure = dict[str, Any]
Reasons = list[str]


def _above_chance(figure: Figure, errors: float = 1.96) -> bool:
    return figure["chance"] is None or figure["rate"] - errors * figure["error"] > figure["chance"]


def _other_scale(figure: Figure, beside: Figure) -> bool:
    return any(figure[name] != beside[name] for name in ("judge", "baseline"))


def _reasons(
    figure: Figure,
    beside: Figure,
    failed: Callable[[Figure], bool] = lambda figure: figure["failed"] > 0.1 * figure["asked"],
    above: Callable[[Figure], bool] = _above_chance,
    scale: Callable[[Figure, Figure], bool] = _other_scale,
) -> Reasons:
    holds = {
        "seen": figure["seen"],
        "failed": failed(figure),
        "chance": not above(figure),
        "scale": scale(figure, beside),
    }
    return [word for word, held in holds.items() if held]


# --- what readers write instead -------------------------------------------------------------------


def _without_error(figure: Figure) -> bool:
    return figure["chance"] is None or figure["rate"] > figure["chance"]


def _interval_without_chance(figure: Figure) -> bool:
    """Not above chance only where the interval holds it."""
    return figure["chance"] is None or (
        abs(figure["rate"] - figure["chance"]) > 1.96 * figure["error"]
    )


def _if_truthy(figure: Figure) -> bool:
    return not figure["chance"] or _above_chance(figure)


def _family(name: str | None) -> str | None:
    return name and "-".join(name.split("-")[:2])


_SLIPS: dict[str, Callable[[Figure, Figure], Any]] = {
    "The interval is missing: a rate above chance by less than 1.96 standard errors may be "
    "chance.": lambda f, b: _reasons(f, b, above=_without_error),
    "One standard error is a 68 % interval; take 1.96.": lambda f, b: _reasons(
        f, b, above=lambda figure: _above_chance(figure, 1.0)
    ),
    "A rate far *below* chance is no better: whoever knows nothing guesses, so the runner read the "
    "answers wrongly. Ask whether the interval lies above chance.": lambda f, b: _reasons(
        f, b, above=_interval_without_chance
    ),
    "A chance of 0 is a chance, too; only None says that nobody can guess.": lambda f, b: _reasons(
        f, b, above=_if_truthy
    ),
    "A few failures are left out and counted; only above 10 % of the questions do they spoil a "
    "figure.": lambda f, b: _reasons(f, b, failed=lambda figure: figure["failed"] > 0),
    "Ten failures of fifty questions are many, of a thousand few: take their share of the "
    "questions.": lambda f, b: _reasons(f, b, failed=lambda figure: figure["failed"] > 10),
    "Two versions of a judge are two judges: compare the whole name.": lambda f, b: _reasons(
        f,
        b,
        scale=lambda figure, beside: (
            _family(figure["judge"]) != _family(beside["judge"])
            or figure["baseline"] != beside["baseline"]
        ),
    ),
    "The same judge gives another win rate against another baseline: compare both names.": (
        lambda f, b: _reasons(f, b, scale=lambda figure, beside: figure["judge"] != beside["judge"])
    ),
    "The same baseline under another judge is another scale: compare both names.": lambda f, b: (
        _reasons(f, b, scale=lambda figure, beside: figure["baseline"] != beside["baseline"])
    ),
    "Judge *or* baseline: one of the two that differs is enough.": lambda f, b: _reasons(
        f,
        b,
        scale=lambda figure, beside: all(
            figure[name] != beside[name] for name in ("judge", "baseline")
        ),
    ),
    "You stop at the first reason; a figure can have several.": lambda f, b: _reasons(f, b)[:1],
    "These are the reasons that do not hold.": lambda f, b: [
        word for word in ("seen", "failed", "chance", "scale") if word not in _reasons(f, b)
    ],
    "You look at the figure that it stands beside; the first argument is in doubt.": lambda f, b: (
        _reasons(b, f)
    ),
}


def _figure(**changed: Any) -> Figure:
    usual = {"rate": 62.0, "error": 1.4, "chance": 25.0, "asked": 1172, "failed": 0}
    return {**usual, "seen": False, "judge": None, "baseline": None, **changed}


_PLAIN = _figure()
_GRADE = _figure(rate=7.3, error=None, chance=None, asked=80, judge="gpt-4-0613")
_WIN_RATE = _figure(
    rate=60.0, error=1.7, chance=None, asked=805, judge="gpt-4-0613", baseline="gpt-3.5"
)
_CASES: dict[str, tuple[Figure, Figure]] = {
    "a plain accuracy": (_PLAIN, _PLAIN),
    "questions that were trained on": (_figure(seen=True), _PLAIN),
    "40 failures of 1,172 questions": (_figure(failed=40), _PLAIN),
    "8 failures of 50 questions": (_figure(asked=50, failed=8), _PLAIN),
    "25.8 with an error of 1.3": (_figure(rate=25.8, error=1.3), _PLAIN),
    "26.4 with an error of 1.3": (_figure(rate=26.4, error=1.3), _PLAIN),
    "28.0 with an error of 1.3": (_figure(rate=28.0, error=1.3), _PLAIN),
    "12.0 where chance has 25": (_figure(rate=12.0, error=0.9), _PLAIN),
    "0.5 where chance has 0": (_figure(rate=0.5, error=0.4, chance=0.0), _PLAIN),
    "a clean figure beside one at chance": (_PLAIN, _figure(rate=26.4, error=1.3)),
    "two grades of one judge": (_GRADE, _GRADE),
    "two versions of a judge": (_GRADE, {**_GRADE, "judge": "gpt-4-1106-preview"}),
    "two judges": (_GRADE, {**_GRADE, "judge": "checks"}),
    "two baselines": (_WIN_RATE, {**_WIN_RATE, "baseline": "gpt-4-1106-preview"}),
    "all four": (
        _figure(rate=24.0, asked=100, failed=30, seen=True, judge="gpt-4-0613", baseline="a"),
        _figure(judge="checks", baseline="b"),
    ),
}


@exercise(
    "07_evaluation",
    right="Four questions, and none of them is about the model: ask them before you compare.",
    solution=lambda figure, beside: _reasons(figure, beside),
    wrong=_SLIPS | {"list of words": lambda figure, beside: bool(_reasons(figure, beside))},
)
def check_doubts(fn: Callable[[Figure, Figure], Reasons]) -> None:
    """``fn(figure, beside) -> list``: the words among "seen", "failed", "chance" and "scale" that
    are reasons to doubt `figure` beside another one, in any order.

    Each figure is a dictionary: `rate` with its standard `error` and the rate of guessing,
    `chance`, in percent, `error` and `chance` None for what cannot be guessed; `asked` and `failed`
    questions; `seen`, whether some were in training data; `judge` and `baseline`, names or None.
    """
    given: dict[str, list[str]] = {}
    for name, case in _CASES.items():
        answer = attempt(fn, *case)
        if not isinstance(answer, list | tuple | set) or not all(
            isinstance(word, str) for word in answer
        ):
            raise Wrong('Return a list of words, such as ["seen", "scale"]; empty without doubts.')
        given[name] = sorted(answer)
    expected = {name: sorted(_reasons(*case)) for name, case in _CASES.items()}
    if given == expected:
        return
    for message, slip in _SLIPS.items():
        if given == {name: sorted(slip(*case)) for name, case in _CASES.items()}:
            raise Wrong(message)
    name = next(name for name in _CASES if given[name] != expected[name])
    raise Wrong(f"For {name} expected {expected[name]}, got {given[name]}.")
