"""Checks of chapter 13: the first evaluation in nats, a log beside a healthy one, and the fault of
a log.
"""

import math
from collections.abc import Callable
from typing import Any

from zephyr_utils.diagnostics.broken_runs import LETTERS, RUN_BETA, RUN_RATE, broken_run
from zephyr_utils.exercises.core import Wrong, attempt, compare, exercise

CHAPTER = "13_break_my_run"
Rows = list[dict[str, Any]]
Nats = tuple[float, float]
SIDES = ("chosen", "rejected")


def _held_out(rows: Rows) -> Rows:
    return [row for row in rows if "eval_loss" in row]


def _in_training(rows: Rows) -> Rows:
    return [row for row in rows if "loss" in row]


# --- the first evaluation in nats -----------------------------------------------------------------


def _nats_at_start(rows: Rows, beta: float) -> tuple[float, ...]:
    first = next(row for row in rows if "eval_rewards/chosen" in row and row["step"] == 0)
    return tuple(first[f"eval_rewards/{side}"] / beta for side in SIDES)


def _training_nats(rows: Rows, beta: float) -> tuple[float, ...]:
    return tuple(_in_training(rows)[0][f"rewards/{side}"] / beta for side in SIDES)


def _row(step: int, chosen: float, rejected: float) -> dict[str, Any]:
    rewards = {"eval_rewards/chosen": chosen, "eval_rewards/rejected": rejected}
    logps = {"eval_logps/chosen": -40.0 + chosen, "eval_logps/rejected": -52.0 + rejected}
    return {"eval_loss": 0.7, **rewards, **logps, "step": step, "epoch": step / 40}


_OUT_OF_ORDER: Rows = [
    {"loss": 0.71, "rewards/chosen": 0.9, "rewards/rejected": 0.4, "step": 1, "epoch": 0.02},
    _row(40, 0.3, -0.6),
    _row(0, 0.62, 0.34),
    _row(20, 0.5, -0.2),
]


@exercise(
    CHAPTER,
    right="Nats can be compared between runs of any beta; rewards cannot.",
    solution=_nats_at_start,
    wrong={
        "rewards themselves": lambda rows, beta: _nats_at_start(rows, 1.0),
        "a reward is beta times": lambda rows, beta: _nats_at_start(rows, 1 / beta),
        "not the first row": lambda rows, beta: _nats_at_start(
            [{**row, "step": 40 - row["step"]} for row in rows], beta
        ),
        "training row": _training_nats,
        "log-probabilities, not": lambda rows, beta: (-39.38, -51.66),
        "other order": lambda rows, beta: _nats_at_start(rows, beta)[::-1],
    },
)
def check_nats_at_start(fn: Callable[[Rows, float], tuple[float, ...]]) -> None:
    """``fn(rows, beta) -> (chosen, rejected)``: how far the policy is above its reference before
    the first step, in nats, on held-out pairs.
    """
    for beta in (0.1, 0.02):
        right = _nats_at_start(_OUT_OF_ORDER, beta)
        mistakes = {
            "These are the rewards themselves; a nat of difference is worth beta of them.": (
                _nats_at_start(_OUT_OF_ORDER, 1.0)
            ),
            "You multiply by beta; a reward is beta times the difference, so divide.": (
                _nats_at_start(_OUT_OF_ORDER, 1 / beta)
            ),
            "This is the last evaluation. Rows need not be in order, so the one before any step "
            "is not the first row of the list: look for step 0.": (0.3 / beta, -0.6 / beta),
            "This is a training row: it averages over other pairs every time.": _training_nats(
                _OUT_OF_ORDER, beta
            ),
            "These are log-probabilities, not what the policy has gained over its reference.": (
                -39.38,
                -51.66,
            ),
            "The two are in the other order: chosen first.": right[::-1],
        }
        compare(
            attempt(fn, _OUT_OF_ORDER, beta),
            right,
            mistakes,
            "Of the held-out row at step 0, the two rewards divided by beta.",
        )


# --- beside a healthy run -------------------------------------------------------------------------


def _near(a: float, b: float) -> bool:
    return abs(a - b) <= 0.2


def _beside(own: Nats, healthy: Nats) -> str:
    if _near(own[0], healthy[0]) and _near(own[1], healthy[1]):
        return "same"
    if _near(own[0], healthy[1]) and _near(own[1], healthy[0]):
        return "swapped"
    return "mask" if _near(own[0] - healthy[0], own[1] - healthy[1]) else "text"


_HEALTHY: Nats = (-14.0, -21.0)
_STARTS: dict[str, Nats] = {
    "the healthy run once more, in another batch": (-14.1, -20.95),
    "both answers swapped": (-21.05, -13.9),
    "a prompt of 33 nats counted": (-47.0, -54.05),
    "another template": (-19.5, -23.0),
    "one answer cut off": (-14.0, -12.0),
    "both answers likelier by the same amount": (-10.0, -17.0),
    "the mean of both unchanged": (-17.0, -18.0),
}


def _mean_alone(own: Nats, healthy: Nats) -> str:
    return "same" if _near(sum(own) / 2, sum(healthy) / 2) else _beside(own, healthy)


def _only_chosen(own: Nats, healthy: Nats) -> str:
    return "same" if _near(own[0], healthy[0]) else _beside(own, healthy)


def _only_lower(own: Nats, healthy: Nats) -> str:
    found = _beside(own, healthy)
    return "text" if found == "mask" and own[0] > healthy[0] else found


def _mask_first(own: Nats, healthy: Nats) -> str:
    if _near(own[0] - healthy[0], own[1] - healthy[1]):
        return "mask"
    return _beside(own, healthy)


_BESIDE_SLIPS: dict[str, Callable[[Nats, Nats], str]] = {
    "only the chosen answer": _only_chosen,
    "a mean hides": _mean_alone,
    "no difference at all": _mask_first,
    "turned round": lambda own, healthy: _beside(own, healthy).replace("swapped", "text"),
    "in either direction": _only_lower,
}


@exercise(
    CHAPTER,
    right="One trusted log makes three faults visible that cancel in every reward.",
    solution=_beside,
    wrong=_BESIDE_SLIPS,
)
def check_beside_healthy(fn: Callable[[Nats, Nats], str]) -> None:
    """``fn(own, healthy) -> str``: "same", "swapped", "mask" or "text", from held-out
    log-probabilities (chosen, rejected) before the first step.
    """
    explained = {
        "only the chosen answer": "You compare only the chosen answer; a rejected answer that is "
        "cut off changes the other one.",
        "a mean hides": "You compare means, and a mean hides that one answer rose by what the "
        "other fell.",
        "no difference at all": "Two equal runs differ by the same amount too, no difference at "
        'all: ask for "same" first.',
        "turned round": "With one of the two turned round they agree: the pairs are swapped.",
        "in either direction": "The same amount for both answers, in either direction, is what "
        "both share.",
    }
    answers = {words: attempt(fn, own, _HEALTHY) for words, own in _STARTS.items()}
    expected = {words: _beside(own, _HEALTHY) for words, own in _STARTS.items()}
    if answers == expected:
        return
    for words, slip in _BESIDE_SLIPS.items():
        if answers == {name: slip(own, _HEALTHY) for name, own in _STARTS.items()}:
            raise Wrong(explained[words])
    _refuse_first(answers, expected)


def _refuse_first(answers: dict[str, Any], expected: dict[str, str]) -> None:
    wrong = next(words for words in expected if answers[words] != expected[words])
    raise Wrong(f"For {wrong} the answer is {expected[wrong]!r}, not {str(answers[wrong])[:40]!r}.")


# --- the fault of a log ---------------------------------------------------------------------------

SHOWN = ("half precision", "learning rate", "reference", "bos", "beta", "swapped")
Rule = Callable[[Rows, float, float], bool]
Finder = Callable[[Rows, float, float], str]


def _off(rows: Rows, beta: float) -> float:
    first = _held_out(rows)[0]
    return max(abs(first[f"eval_rewards/{side}"]) for side in SIDES) / beta


def _slope(rows: Rows) -> float:
    first, last = _held_out(rows)[0], _held_out(rows)[-1]
    rise = last["eval_rewards/rejected"] - first["eval_rewards/rejected"]
    return rise / (last["eval_logps/rejected"] - first["eval_logps/rejected"])


def _diverged(rows: Rows) -> bool:
    return max(row["loss"] for row in _in_training(rows)) > 2 * math.log(2)


def _too_fast(rows: Rows, rate: float) -> bool:
    return max(row["learning_rate"] for row in _in_training(rows)) > 3 * rate


# In the order in which they are asked: the first that holds is the diagnosis.
RULES: dict[str, tuple[str, Rule]] = {
    "null": ("half precision", lambda rows, beta, rate: any(None in r.values() for r in rows)),
    "reference": ("reference", lambda rows, beta, rate: _off(rows, beta) > 10),
    "bos": ("bos", lambda rows, beta, rate: _off(rows, beta) > 0.1),
    "rate": ("learning rate", lambda rows, beta, rate: _diverged(rows) and _too_fast(rows, rate)),
    "diverged": ("half precision", lambda rows, beta, rate: _diverged(rows)),
    "beta": ("beta", lambda rows, beta, rate: not 0.5 < _slope(rows) / beta < 2),
    "swapped": (
        "swapped",
        lambda rows, beta, rate: (
            _held_out(rows)[-1]["eval_rewards/margins"]
            < 0
            < _in_training(rows)[-1]["rewards/margins"]
        ),
    ),
}


def _finder(**instead: Rule) -> Finder:
    """A diagnosis in which some rules are others."""
    rules = [(fault, instead.get(name, rule)) for name, (fault, rule) in RULES.items()]

    def find(rows: Rows, beta: float, rate: float) -> str:
        return next((fault for fault, rule in rules if rule(rows, beta, rate)), "none")

    return find


def _never(rows: Rows, beta: float, rate: float) -> bool:
    return False


_FINDER_SLIPS: dict[str, Finder] = {
    "too little for another model": _finder(
        reference=lambda rows, beta, rate: _off(rows, beta) > 0.1
    ),
    "near ln 2 by chance": _finder(
        reference=lambda rows, beta, rate: abs(_held_out(rows)[0]["eval_loss"] - math.log(2)) > 0.1,
        bos=lambda rows, beta, rate: 0.1 < _off(rows, beta) < 10,
    ),
    "with the held-out rows": _finder(
        swapped=lambda rows, beta, rate: _in_training(rows)[-1]["rewards/margins"] < 0
    ),
    "slope": _finder(beta=_never),
    "falls below 0 in healthy runs": _finder(
        swapped=lambda rows, beta, rate: _held_out(rows)[-1]["eval_rewards/rejected"] < 0
    ),
    "at the recipe's own learning rate": _finder(
        rate=lambda rows, beta, rate: _diverged(rows),
    ),
}
_WHY = {
    "half precision": "it diverges at the recipe's learning rate, and values that were NaN are "
    "None in its last rows",
    "learning rate": "its loss goes far above ln 2, and its learning rate is a hundred times the "
    "recipe's",
    "reference": "its first rewards, divided by beta, are tens of nats",
    "bos": "its first rewards, divided by beta, are a part of a nat and not 0",
    "beta": "its rewards are not beta times the change of its log-probabilities",
    "swapped": "its last margins are above 0 in training and below 0 on held-out pairs",
    "none": "nothing in its rows proves a fault",
}


@exercise(
    CHAPTER,
    right="Six rules name six faults, and leave the healthy run and the two that hide in peace.",
    solution=_finder(),
    wrong=_FINDER_SLIPS,
)
def check_find_fault(fn: Finder) -> None:
    """``fn(rows, beta, rate) -> str``: the fault that the rows of a log prove, one of
    "half precision", "learning rate", "reference", "bos", "beta" and "swapped", or "none".
    """
    logs = {}
    for letter in LETTERS:
        rows = broken_run(letter)
        logs[f"run {letter}"] = rows
        logs[f"run {letter}, cut off"] = [row for row in rows if row["step"] <= 30]
    answers = {name: attempt(fn, rows, RUN_BETA, RUN_RATE) for name, rows in logs.items()}
    planted = {name: LETTERS[name[4]] for name in logs}
    expected = {name: fault if fault in SHOWN else "none" for name, fault in planted.items()}
    if answers == expected:
        return
    explained = {
        "too little for another model": "A part of a nat is too little for another model, which is "
        "off by tens: run D reads another text.",
        "near ln 2 by chance": "The first loss of run F is near ln 2 by chance; its first rewards "
        "are not near 0.",
        "with the held-out rows": "Swapped training pairs are learned as they stand, so training "
        "rows look right: compare them with the held-out rows.",
        "slope": "The slope of rewards over log-probabilities gives beta away, and nothing asks "
        "for it.",
        "falls below 0 in healthy runs": "The rejected reward falls below 0 in healthy runs too; "
        "it is the margin that must not.",
        "at the recipe's own learning rate": "Run B diverges too, at the recipe's own learning "
        "rate.",
    }
    for words, slip in _FINDER_SLIPS.items():
        if answers == {name: slip(rows, RUN_BETA, RUN_RATE) for name, rows in logs.items()}:
            raise Wrong(explained[words])
    wrong = next(name for name in logs if answers[name] != expected[name])
    raise Wrong(
        f"For {wrong} the answer is {expected[wrong]!r}, not {str(answers[wrong])[:40]!r}: "
        f"{_WHY[expected[wrong]]}."
    )
