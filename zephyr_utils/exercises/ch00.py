"""The checks of chapter 00: the likelihood of a text, the chance of a preference, the steps of a
run, the loss of a rated row, grades that rose and fell.
"""

import math
from collections.abc import Callable, Sequence

from zephyr_utils.exercises.core import Wrong, attempt, compare, exercise


def _loss(probabilities: list[float]) -> float:
    return -sum(math.log(p) for p in probabilities)


@exercise(
    "00_overview",
    right="What dSFT makes small: the surprise at the teacher's words, in nats, summed over the "
    "tokens.",
    solution=_loss,
    wrong={
        "minus sign": lambda probabilities: -_loss(probabilities),
        "probability itself": math.prod,
        "mean": lambda probabilities: _loss(probabilities) / len(probabilities),
        "bits": lambda probabilities: _loss(probabilities) / math.log(2),
        "base 10": lambda probabilities: -math.log10(math.prod(probabilities)),
        "sum of the probabilities": lambda probabilities: -math.log(sum(probabilities)),
        "product underflows": lambda probabilities: -math.log(math.prod(probabilities)),
    },
)
def check_text_loss(fn: Callable[[list[float]], float]) -> None:
    """``fn(probabilities) -> loss``: minus the log-probability of a text (nats), from the
    probability of each token.
    """
    for probabilities in ([0.5, 0.9, 0.2, 0.7], [0.8, 0.1]):
        right = _loss(probabilities)
        mistakes = {
            "The minus sign is missing: a loss is to be made small, a log-probability is below "
            "zero.": -right,
            "This is the probability itself; take minus its logarithm.": math.prod(probabilities),
            "This is the mean per token; the whole text is asked for: sum.": right
            / len(probabilities),
            "These are bits (logarithm to base 2); the book counts in nats, the natural "
            "logarithm.": right / math.log(2),
            "This is the logarithm to base 10; the book takes the natural one.": right
            / math.log(10),
            "This takes the logarithm of the sum of the probabilities; a text needs all its "
            "tokens, so they multiply.": (-math.log(sum(probabilities))),
        }
        compare(
            attempt(fn, probabilities),
            right,
            mistakes,
            "Not minus the sum of the tokens' log-probabilities.",
        )
    _check_long_text(fn)


def _check_long_text(fn: Callable[[list[float]], float]) -> None:
    long = [0.5] * 2000
    try:
        loss = attempt(fn, long)
    except Wrong as reason:
        if not isinstance(reason.__cause__, ValueError):  # of Python's logarithm of 0
            raise
        loss = math.inf
    compare(
        loss,
        _loss(long),
        {"Of 2,000 tokens at 0.5 the product underflows to 0: sum the logarithms.": math.inf},
        "2,000 tokens at 0.5.",
        tolerance=0.01,  # of sums in single precision
    )


def _sigmoid(margin: float) -> float:
    return 1 / (1 + math.exp(-margin))


@exercise(
    "00_overview",
    right="Only the difference counts: add the same to both rewards and nothing changes.",
    solution=lambda chosen, rejected: _sigmoid(chosen - rejected),
    wrong={
        "swapped": lambda chosen, rejected: _sigmoid(rejected - chosen),
        "sigmoid is missing": lambda chosen, rejected: chosen - rejected,
        "ratio": lambda chosen, rejected: chosen / (chosen + rejected),
        "loss": lambda chosen, rejected: -math.log(_sigmoid(chosen - rejected)),
        "coin that never errs": lambda chosen, rejected: float(chosen > rejected),
        "chosen one alone": lambda chosen, rejected: _sigmoid(chosen),
    },
)
def check_preference_probability(fn: Callable[[float, float], float]) -> None:
    """``fn(reward_chosen, reward_rejected) -> float``: the chance that the chosen answer is
    preferred (Bradley-Terry).
    """
    for chosen, rejected in ((2.0, 0.5), (0.3, 1.7)):
        right = _sigmoid(chosen - rejected)
        mistakes = {
            "Chosen and rejected are swapped: the chance has to rise with the chosen answer's "
            "reward.": 1 - right,
            "The sigmoid is missing: a difference of rewards is not a chance, it may be below 0 or "
            "above 1.": chosen - rejected,
            "This is a ratio of rewards, which may be below zero; the model takes exponentials "
            "first.": (chosen / (chosen + rejected)),
            "This is the loss, minus the logarithm of the chance that is asked.": -math.log(right),
            "This is a coin that never errs: a little better wins a little more often, not "
            "always.": float(chosen > rejected),
            "This looks at the chosen one alone; a preference is between two.": _sigmoid(chosen),
        }
        compare(
            attempt(fn, chosen, rejected),
            right,
            mistakes,
            "Not the sigmoid of the difference of the two rewards.",
        )


def _steps(rows: int, epochs: int, per_device: int, accumulation: int, devices: int) -> int:
    return math.ceil(rows / (per_device * accumulation * devices)) * epochs


@exercise(
    "00_overview",
    right="With the authors' numbers this is 5,811, the length of the run on Zephyr-7B-beta's "
    "model card.",
    solution=_steps,
    wrong={
        "once": lambda rows, epochs, per_device, accumulation, devices: _steps(
            rows, 1, per_device, accumulation, devices
        ),
        "every device": lambda rows, epochs, per_device, accumulation, devices: _steps(
            rows, epochs, per_device, accumulation, 1
        ),
        "Accumulated": lambda rows, epochs, per_device, accumulation, devices: _steps(
            rows, epochs, per_device, 1, devices
        ),
        "smaller batch": lambda rows, epochs, per_device, accumulation, devices: (
            rows // (per_device * accumulation * devices) * epochs
        ),
        "each epoch": lambda rows, epochs, per_device, accumulation, devices: math.ceil(
            rows * epochs / (per_device * accumulation * devices)
        ),
    },
)
def check_steps(fn: Callable[[int, int, int, int, int], int]) -> None:
    """``fn(rows, epochs, per_device_batch, accumulation, devices) -> int``: the optimiser's steps
    of a whole run.
    """
    for run in ((61_966, 3, 2, 1, 16), (61_966, 3, 4, 2, 8)):
        rows, epochs, per_device, accumulation, devices = run
        batch = per_device * accumulation * devices
        mistakes = {
            "These are the steps of one epoch; the rows are gone through more than once.": _steps(
                rows, 1, per_device, accumulation, devices
            ),
            "A step takes rows on every device at once: the batch is that many times "
            "larger.": _steps(rows, epochs, per_device, accumulation, 1),
            "Accumulated batches make one step together: multiply the batch by them.": _steps(
                rows, epochs, per_device, 1, devices
            ),
            "The last rows of an epoch make a smaller batch, and a step of their own: round "
            "up.": rows // batch * epochs,
            "Round up in each epoch, and multiply then: every epoch ends with a batch that is not "
            "full.": math.ceil(rows * epochs / batch),
        }
        right = _steps(*run)
        # In the first run accumulation is 1, so that to forget it is not a mistake yet.
        mistakes = {words: value for words, value in mistakes.items() if value != right}
        compare(
            attempt(fn, *run),
            right,
            mistakes,
            "Rows over the global batch, rounded up, times the epochs.",
        )


# --- steps 2 and 3 in one function ----------------------------------------------------------------

Row = tuple[list[float], list[float], list[float], float]  # scores, policy, reference, beta


def _lower(scores: list[float]) -> tuple[int, list[int]]:
    best = scores.index(max(scores))
    return best, [n for n, score in enumerate(scores) if score < scores[best]]


def _row_loss(
    scores: list[float], policy: list[float], reference: list[float], beta: float
) -> float | None:
    best, lower = _lower(scores)
    gain = [now - before for now, before in zip(policy, reference, strict=True)]
    losses = [math.log1p(math.exp(-beta * (gain[best] - gain[n]))) for n in lower]
    return sum(losses) / len(losses) if losses else None


def _worst_only(scores: list[float], policy: list[float], reference: list[float], beta: float):
    worst = scores.index(min(scores))
    best, _ = _lower(scores)
    keep = sorted({best, worst})
    kept = [[values[n] for n in keep] for values in (scores, policy, reference)]
    return _row_loss(kept[0], kept[1], kept[2], beta)


def _all_others(scores: list[float], policy: list[float], reference: list[float], beta: float):
    best, _ = _lower(scores)
    ranked = [float(n == best) for n in range(len(scores))]
    return _row_loss(ranked, policy, reference, beta)


def _last_best(scores: list[float], policy: list[float], reference: list[float], beta: float):
    return _row_loss(scores[::-1], policy[::-1], reference[::-1], beta)


def _mean_margin(scores: list[float], policy: list[float], reference: list[float], beta: float):
    best, lower = _lower(scores)
    gain = [now - before for now, before in zip(policy, reference, strict=True)]
    margin = beta * (gain[best] - sum(gain[n] for n in lower) / len(lower))
    return math.log1p(math.exp(-margin))


def _summed(scores: list[float], policy: list[float], reference: list[float], beta: float) -> float:
    loss = _row_loss(scores, policy, reference, beta)
    return 0.0 if loss is None else loss * len(_lower(scores)[1])


@exercise(
    "00_overview",
    right="This is steps 2 and 3: the expectation of equation 1 over the random rejected answer.",
    solution=_row_loss,
    wrong={
        "swapped": lambda scores, policy, reference, beta: _row_loss(
            scores, policy, reference, -beta
        ),
        "reference is missing": lambda scores, policy, reference, beta: _row_loss(
            scores, policy, [0.0] * len(policy), beta
        ),
        "beta is missing": lambda scores, policy, reference, beta: _row_loss(
            scores, policy, reference, 1.0
        ),
        "against the worst": _worst_only,
        "ties with the best": _all_others,
        "mean of the margins": _mean_margin,
        "their sum": _summed,
        "takes the last": _last_best,
        "return None": lambda *row: 0.0 if _row_loss(*row) is None else _row_loss(*row),
    },
)
def check_row_loss(
    fn: Callable[[list[float], list[float], list[float], float], float | None],
) -> None:
    """``fn(scores, policy, reference, beta) -> float | None``: the mean dDPO loss of the best
    answer against each lower one, from the answers' log-probabilities; None where none scores
    lower.
    """
    rows: list[Row] = [
        ([3.0, 4.5, 2.0, 4.5], [-9.0, -4.0, -8.0, -7.5], [-6.0, -7.0, -5.5, -8.0], 0.5),
        ([4.75, 1.0, 2.5, 3.0], [-12.0, -19.0, -10.0, -14.0], [-15.0, -16.0, -12.5, -13.0], 0.2),
    ]
    for row in rows:
        right = _row_loss(*row)
        mistakes = {
            "Chosen and rejected are swapped: the loss has to fall as the chosen answer becomes "
            "likelier.": _row_loss(*row[:3], -row[3]),
            "The reference is missing: what counts is the change since dSFT.": _row_loss(
                row[0], row[1], [0.0] * 4, row[3]
            ),
            "beta is missing.": _row_loss(*row[:3], 1.0),
            "This sets the best against the worst answer alone; the paper draws any lower "
            "one.": _worst_only(*row),
            "An answer that ties with the best is taken as rejected; it must score "
            "lower.": _all_others(*row),
            "This is the loss of the mean of the margins; take the mean of the "
            "losses.": _mean_margin(*row),
            "This is their sum; the expectation over a random rejected answer is the "
            "mean.": _summed(*row),
            "Of answers with the same highest score the first is chosen; this takes the "
            "last.": _last_best(*row),
        }
        mistakes = {words: value for words, value in mistakes.items() if value != right}
        compare(attempt(fn, *row), right, mistakes, "Not the mean loss against the lower answers.")
    if attempt(fn, [2.0, 2.0], [-1.0, -2.0], [-1.0, -2.0], 0.1, none_is_an_answer=True) is not None:
        raise Wrong("Where no answer scores lower there is no pair: return None.")


# --- what a mean hides ----------------------------------------------------------------------------


def _changed(before: Sequence[float], after: Sequence[float]) -> tuple[int, int, int]:
    gains = [new - old for old, new in zip(before, after, strict=True)]
    return sum(g > 0 for g in gains), sum(g == 0 for g in gains), sum(g < 0 for g in gains)


@exercise(
    "00_overview",
    right="A mean gain can come from a few questions while most stay as they were.",
    solution=_changed,
    wrong={
        "other way round": lambda before, after: _changed(after, before),
        "as shares": lambda before, after: tuple(n / len(before) for n in _changed(before, after)),
        "how much": lambda before, after: tuple(
            sum(d for b, a in zip(before, after, strict=True) if sign * (d := a - b) > 0)
            if sign
            else 0
            for sign in (1, 0, -1)
        ),
        "order asked for": lambda before, after: tuple(
            _changed(before, after)[n] for n in (0, 2, 1)
        ),
    },
)
def check_changed_grades(fn: Callable[[list[float], list[float]], tuple[int, int, int]]) -> None:
    """``fn(before, after) -> (rose, same, fell)``: in how many questions the grade rose, stayed and
    fell.
    """
    for before, after in (
        ([3, 5, 5, 8, 1, 2, 7], [5, 5, 4, 9, 1, 2, 10]),
        ([1, 1, 6], [4, 2, 3]),
    ):
        rose, same, fell = right = _changed(before, after)
        gains = [a - b for b, a in zip(before, after, strict=True)]
        mistakes = {
            "The other way round: the second list is the later one.": (fell, same, rose),
            "These are counts as shares; numbers of questions are wanted.": tuple(
                n / len(gains) for n in right
            ),
            "This says how much the grades changed; count the questions.": (
                sum(g for g in gains if g > 0),
                0,
                sum(g for g in gains if g < 0),
            ),
            "The order asked for is rose, same, fell.": (rose, fell, same),
        }
        mistakes = {words: value for words, value in mistakes.items() if value != right}
        compare(attempt(fn, before, after), right, mistakes, f"From {before} to {after}.")
