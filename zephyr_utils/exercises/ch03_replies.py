"""Checks of chapter 03: reading a judge's reply, and the calls that a resumed run has to make."""

import re
from collections.abc import Callable, Collection, Sequence

from zephyr_utils.exercises.core import Wrong, attempt, exercise

# --- a judge's reply ------------------------------------------------------------------------------

_VALID = ("1", "2", "3", "4", "5", "N/A")
Ratings = list[str] | None


def _blocks(text: str) -> list[tuple[int, str]]:
    parts = re.split(r"^Answer (\d+)$", text, flags=re.M)
    return [(int(n), block) for n, block in zip(parts[1::2], parts[2::2], strict=True)]


def _found(block: str) -> list[str]:
    return re.findall(r"^Rating: (.*)$", block, flags=re.M)


def _read(text: str, count: int) -> Ratings:
    blocks = _blocks(text)
    if sorted(n for n, _ in blocks) != list(range(1, count + 1)):
        return None
    ratings = {n: _found(block) for n, block in blocks}
    if any(len(r) != 1 or r[0] not in _VALID for r in ratings.values()):
        return None
    return [ratings[n][0] for n in range(1, count + 1)]


def _as_shown(text: str, count: int) -> Ratings:
    right = _read(text, count)
    return right and [_found(block)[0] for _, block in _blocks(text)]


def _any_rating(text: str, count: int) -> Ratings:
    found = [r for r in _found(text) if r in _VALID]
    return _read(text, count) or (found if len(found) == count else None)


def _what_is_there(text: str, count: int) -> Ratings:
    kept = {n: _found(b)[0] for n, b in _blocks(text) if len(_found(b)) == 1}
    return [kept[n] for n in sorted(kept)] if set(kept.values()) <= set(_VALID) else None


def _any_number(text: str, count: int) -> Ratings:
    rows = [(n, _found(b)) for n, b in _blocks(text)]
    if [n for n, _ in sorted(rows)] != list(range(1, count + 1)):
        return None
    return [r[0] for _, r in sorted(rows)] if all(len(r) == 1 for _, r in rows) else None


def _first_of_two(text: str, count: int) -> Ratings:
    firsts = re.sub(r"^(Rating: .*)\n(Rating: .*)$", r"\1", text, flags=re.M)
    return _read(firsts, count)


def _over_the_whole(text: str, count: int) -> Ratings:
    numbers, ratings = [n for n, _ in _blocks(text)], _found(text)
    if sorted(numbers) != list(range(1, count + 1)) or len(ratings) != count:
        return None
    if not set(ratings) <= set(_VALID):
        return None
    return [r for _, r in sorted(zip(numbers, ratings, strict=True))]


def _numbers(text: str, count: int) -> list | None:
    right = _read(text, count)
    return right and [float(r) if r != "N/A" else None for r in right]


@exercise(
    "03_ai_feedback",
    right="All or nothing: a reply that leaves a doubt is counted as unreadable, not guessed at.",
    solution=_read,
    wrong={
        "order of the answers": _as_shown,
        "stands twice": _any_rating,
        "one answer is missing": _what_is_there,
        "out of range": _any_number,
        "two ratings": _first_of_two,
        "over the whole reply": _over_the_whole,
        "Keep the ratings as texts": _numbers,
        "more than two answers": lambda text, count: _read(text, count) if count == 2 else None,
        "not a rating": lambda text, count: _read(
            re.sub(r"^(Rating: \d).*$", r"\1", text, flags=re.M), count
        ),
        "None, not": lambda text, count: _read(text, count) or [],
    },
)
def check_read_reply(fn: Callable[[str, int], Ratings]) -> None:
    """``fn(text, count) -> list | None``: the ratings of `count` answers, as texts and in the order
    of the answers; None for a reply that is not of the form asked for.
    """
    good = "Answer 1\nRating: 4\nRationale: right\n\nAnswer 2\nRating: N/A\nRationale: none"
    swapped = "Answer 2\nRating: 2\nRationale: b\n\nAnswer 1\nRating: 5\nRationale: a"
    three = good + "\n\nAnswer 3\nRating: 1\nRationale: Rating: I would say 1"
    cases = [
        (good, 2, "This reply leaves no doubt; N/A is a rating, the aspect does not apply."),
        (swapped, 2, "Return the ratings in the order of the answers, not of the reply."),
        (three, 3, "There may be more than two answers, and only lines that begin with Rating: "
                   "count."),
        (good.partition("Answer 2")[0], 2, "Here one answer is missing, and nobody knows which."),
        (good.replace("Answer 2", "Answer 1"), 2, "Here one answer stands twice."),
        (good.replace("4", "9"), 2, "A 9 is out of range: the judge may be on another scale."),
        (good.replace("Rating: 4", "Rating: 4\nRating: 1"), 2, "Answer 1 has two ratings."),
        (good.replace("Rating: 4", "Rating: 4.5"), 2, "4.5 is not a rating from 1 to 5."),
        ("Both are lovely; the first is perhaps a 4.", 2, "Prose has no form to read."),
        ("", 2, "An empty reply has no ratings."),
        (good, 3, "Three answers were asked about, and one answer is missing."),
        ("Answer 1\nRationale: a\nAnswer 2\nRating: 4\nRating: 1", 2,
         "Answer 1 has no rating and answer 2 has two: count them in each block, not over the "
         "whole reply."),
    ]  # fmt: skip
    attempt(fn, good, 2)  # an untouched stub says None to everything
    for text, count, hint in cases:
        got, expected = attempt(fn, text, count, none_is_an_answer=True), _read(text, count)
        if isinstance(got, tuple):
            got = list(got)
        if got == expected:
            continue
        if expected and isinstance(got, list) and not all(isinstance(r, str) for r in got):
            raise Wrong('Keep the ratings as texts, since "N/A" is one of them.')
        if expected is None and not got and got is not None:
            raise Wrong(f"{hint} Return None, not {got!r}: it has to be told from an answer.")
        raise Wrong(f"{hint} For {text!r} and {count} answers: {expected}, not {got!r}.")


# --- what a resumed run still has to ask ----------------------------------------------------------

Call = tuple[str, str]


def _missing(prompts: Sequence[str], models: Sequence[str], done: Collection[Call]) -> list[Call]:
    calls = dict.fromkeys((model, prompt) for prompt in prompts for model in models)
    return [call for call in calls if call not in done]


@exercise(
    "03_ai_feedback",
    right="A journal and this line are what a resumed run needs: nothing is lost or asked twice.",
    solution=_missing,
    wrong={
        "all calls": lambda prompts, models, done: _missing(prompts, models, ()),
        "asked before": lambda prompts, models, done: [
            (m, p) for p in prompts for m in models if (m, p) not in done
        ],
        "any of the models": lambda prompts, models, done: _missing(
            [p for p in prompts if p not in {prompt for _, prompt in done}], models, done
        ),
        "model first": lambda prompts, models, done: [
            (p, m) for m, p in _missing(prompts, models, done)
        ],
        "which they are": lambda prompts, models, done: len(_missing(prompts, models, done)),
        "done already": lambda prompts, models, done: sorted(done),
    },
)
def check_missing_calls(
    fn: Callable[[list[str], list[str], set[Call]], list[Call]],
) -> None:
    """``fn(prompts, models, done) -> list``: the calls, (model, prompt), that are not in `done`,
    each once.
    """
    prompts, models = ["a", "b", "a", "c"], ["m1", "m2"]
    done = {("m1", "a"), ("m2", "a"), ("m2", "b")}
    expected = _missing(prompts, models, done)
    got = attempt(fn, prompts, models, done)
    if not isinstance(got, list | tuple | set | dict):
        raise Wrong(f"Return the calls, (model, prompt): which they are, not {got}.")
    calls = list(got)
    if sorted(map(str, calls)) == sorted(str((p, m)) for m, p in expected):
        raise Wrong("The model first: a call is (model, prompt).")
    if set(calls) == done:
        raise Wrong("These are done already; the others are asked for.")
    if len(calls) == 6 and set(calls) > done:
        raise Wrong("These are all calls; those in done have been answered, and paid for.")
    if set(calls) == {("m1", "c"), ("m2", "c")}:
        raise Wrong(
            "Prompt b has an answer from one model alone; that any of the models answered "
            "it does not mean that all did."
        )
    if sorted(calls) != sorted(expected):
        raise Wrong(f"The calls are {expected}, not {calls}.")
    if sorted(fn(["a", "a"], ["m"], set())) != [("m", "a")]:
        raise Wrong("A prompt that repeats was asked before: each call once.")
