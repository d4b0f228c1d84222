"""The checks of chapter 00: the likelihood of a text, the chance of a preference, the steps of a
run.
"""

import math
from collections.abc import Callable

from zephyr_utils.exercises.core import attempt, compare, exercise


def _loss(probabilities: list[float]) -> float:
    return -sum(math.log(p) for p in probabilities)


@exercise(
    "00_overview",
    right="What dSFT makes small: the surprise at the teacher's words, in nats, added up token by "
    "token.",
    solution=_loss,
    wrong={
        "minus sign": lambda probabilities: -_loss(probabilities),
        "probability itself": math.prod,
        "mean": lambda probabilities: _loss(probabilities) / len(probabilities),
        "bits": lambda probabilities: _loss(probabilities) / math.log(2),
        "base 10": lambda probabilities: -math.log10(math.prod(probabilities)),
        "sum of the probabilities": lambda probabilities: -math.log(sum(probabilities)),
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
            "This is the mean a token; the whole text is asked: add up.": right
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
            "The sigmoid is missing: a difference of rewards is no chance, it may lie below 0 or "
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
        # In the first run accumulation is 1, so that to forget it is no mistake yet.
        mistakes = {words: value for words, value in mistakes.items() if value != right}
        compare(
            attempt(fn, *run),
            right,
            mistakes,
            "Rows over the global batch, rounded up, times the epochs.",
        )
