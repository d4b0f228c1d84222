"""The claims: the paper's, others', and our own, each with the family that it is decided in.

The first eighteen (`FIRST`) are the ones that the handbook began with; their wording stays.
"""

import functools
from typing import Any

from zephyr_utils.ablations import reasons
from zephyr_utils.ablations.outcomes import RIGHT
from zephyr_utils.ablations.tables import findings_table, models_table
from zephyr_utils.ablations.verdicts import Claim, ClaimResult, Measured, judge_together

FIRST = 18
ADDED = "beyond the protocol"
LAST = "controls"  # added when all else was known; decided apart, so that no other verdict moves


def score(results: dict[str, Any]) -> float:
    """The mean grade of both turns, 1 to 10."""
    number: float = results["exam"]["score"]
    return number


def judge_all(measured: Measured) -> list[ClaimResult]:
    """Every claim of `CLAIMS`, in order."""
    return judge_together(CLAIMS, measured, reasons.explain)


def train_accuracy(row: str, epoch: int, rows: dict[str, Any]) -> float:
    """The training accuracy of a row's epoch, counted from 0."""
    accuracy: float = rows[row]["accuracies"]["train"][epoch]
    return accuracy


def final_accuracy(row: str, rows: dict[str, Any]) -> float:
    """The share of its training pairs that a row's finished model ranks rightly."""
    accuracy: float = rows[row][reasons.FINISHED]
    return accuracy


def _by_heart(row: str, what: str, again: str) -> tuple[Claim, ...]:
    """Of a row that may learn its pairs by heart: whether it does, and what becomes of its model.

    Args:
        row: its key; what, again: what it is called first, and then.
    """
    return (
        Claim(
            f"{row}_is_reached",
            f"{what}, at a rate chosen to memorise, ranks its training pairs nearly perfectly in "
            "the third epoch",
            "figure 3, left: near perfect",
            ADDED,
            number=functools.partial(train_accuracy, row, 2),
            against=0.95,
            why=dict.fromkeys(("holds", "does not hold", "undecided"), reasons.accuracies(row)),
        ),
        Claim(
            f"{row}_helps",
            f"with {again} at that rate, three epochs beat one",
            "figure 3, right",
            ADDED,
            f"{row}@3",
            f"{row}@1",
        ),
        Claim(
            f"{row}_beats_dsft",
            f"with {again} at that rate, dDPO beats dSFT-1 after three epochs",
            "figure 3, right",
            ADDED,
            f"{row}@3",
            "dsft",
        ),
    )


def _relative(key: str, name: str, source: str) -> Claim:
    text = f"{name} beats the sigmoid loss on the same pairs"
    return Claim(f"{key}_beats_sigmoid", text, source, "losses", key, "few")


CLAIMS = (
    Claim(
        "dsft_teaches",
        "dSFT lifts the base model",
        "section 3: the first step",
        "table 3",
        "dsft",
        "base",
    ),
    Claim("ddpo_adds", "dDPO + dSFT beats dSFT-1", "7.00 against 6.64", "table 3", "ddpo", "dsft"),
    Claim(
        "ddpo_needs_dsft",
        "dDPO without dSFT falls behind dSFT-1",
        "4.76 against 6.64",
        "table 3",
        "ddpo_without_dsft",
        "dsft",
        expected="below",
    ),
    Claim(
        "dsft_2_no_gain",
        "a second dSFT on the chosen answers gains nothing over dSFT-1",
        "6.19 against 6.64",
        "table 3",
        "dsft_2",
        "dsft",
        expected="no gain",
    ),
    Claim(
        "ddpo_beats_dsft_2",
        "dDPO + dSFT beats dSFT-2",
        "7.00 against 6.19",
        "table 3",
        "ddpo",
        "dsft_2",
    ),
    Claim(
        "train_accuracy_saturates",
        "training accuracy is near 1 from the second epoch of dDPO on",
        "figure 3, left: near perfect",
        "epochs",
        number=functools.partial(train_accuracy, "epochs", 1),
        against=0.95,
        why=dict.fromkeys(("holds", "does not hold", "undecided"), reasons.accuracies("epochs", 1)),
    ),
    Claim(
        "longer_ddpo_helps",
        "after one epoch of dSFT, three epochs of dDPO beat one",
        "figure 3, right; 7.34 against 7.00",
        "epochs",
        "epochs_after_one@3",
        "epochs_after_one@1",
    ),
    Claim(
        "long_dsft_spoils",
        "after two epochs of dSFT, longer dDPO makes the model worse",
        "figure 3, right, in words",
        "epochs",
        "epochs@3",
        "epochs@1",
        expected="below",
    ),
    Claim(
        "random_beats_worst",
        "a random rejected answer is better than the worst one",
        "section 4.1, a reason and no number",
        "pairings",
        "few",
        "lowest",
    ),
    Claim(
        "dropping_ties_helps",
        "dropping ties is better than keeping them",
        "it says both",
        "pairings",
        "few",
        "ties_kept",
    ),
    Claim(
        "mean_beats_overall",
        "the mean of four aspects is a better score than the overall grade",
        "the paper takes the mean, the published set the overall grade",
        "pairings",
        "few",
        "overall",
    ),
    Claim(
        "small_beta_better",
        "β 0.01 is better than β 0.1",
        "the paper used 0.1, the later handbook 0.01",
        "beta",
        "beta_0.01",
        "few",
    ),
    Claim(
        "large_beta_worse",
        "β 0.5 is worse than β 0.1",
        "not tried",
        "beta",
        "beta_0.5",
        "few",
        expected="below",
    ),
    _relative("ipo", "IPO", "arXiv 2310.12036"),
    _relative("hinge", "the hinge loss", "arXiv 2305.10425, 2309.06657"),
    _relative("robust", "robust DPO", "arXiv 2403.00409"),
    _relative("sppo_hard", "SPPO's loss, offline,", "arXiv 2405.00675"),
    _relative("apo_zero", "APO-zero", "arXiv 2408.06266"),
    Claim(
        "dsft_2_beats_more_dsft",
        "a second dSFT on the chosen answers beats as many more updates on dialogues",
        "not tried",
        ADDED,
        "dsft_2",
        "dsft_more",
    ),
    *_by_heart("by_heart", "a larger adapter", "the larger adapter"),
    *_by_heart("all_weights", "a training of all weights", "all weights trained"),
    Claim(
        "own_answers_add",
        "dDPO on the model's own answers, a random one rejected, beats dSFT-1",
        "not tried",
        ADDED,
        "own_random",
        "dsft",
    ),
    Claim(
        "own_answers_beat_others",
        "pairs of the model's own answers, a random one rejected, make more answers right than as "
        "many of other models'",
        "not tried; arXiv 2404.14367",
        "on-policy pairs",
        "own_random",
        "few",
        primary=RIGHT,
    ),
    Claim(
        "own_random_beats_worst",
        "of the model's own answers, too, a random rejected one is better than the worst",
        "section 4.1, of other models' answers",
        ADDED,
        "own_random",
        "own_worst",
    ),
    Claim(
        "own_answers_beat_best_of_4",
        "pairs of the model's own answers, a random one rejected, make more answers right than "
        "dSFT on the best of them",
        "not tried",
        "on-policy pairs",
        "own_random",
        "best_of_4",
        primary=RIGHT,
    ),
    Claim(
        "ddpo_beats_more_dsft",
        "dDPO + dSFT beats as many more updates of dSFT on dialogues",
        "not tried",
        LAST,
        "ddpo",
        "dsft_more",
    ),
    Claim(
        "three_beat_one_after_one",
        "after one epoch of dSFT, three epochs of dDPO beat one that has a rate of its own",
        "figure 3, right",
        LAST,
        "epochs_after_one@3",
        "few_after_one",
    ),
    Claim(
        "three_beat_one_after_two",
        "after two epochs of dSFT, three epochs of dDPO beat one that has a rate of its own",
        "figure 3, right",
        LAST,
        "epochs@3",
        "few",
    ),
    Claim(
        "own_random_at_equal_rate",
        "at an equal rate pairs of the model's own answers, a random one rejected, make more "
        "answers right than as many of other models'",
        "not tried; arXiv 2404.14367",
        LAST,
        "own_random_at_few",
        "few",
        primary=RIGHT,
    ),
    Claim(
        "own_worst_beat_others",
        "with the worst answer rejected, pairs of the model's own answers make more answers right "
        "than as many of other models'",
        "not tried; arXiv 2404.14367",
        LAST,
        "own_worst",
        "lowest",
        primary=RIGHT,
    ),
    Claim(
        "own_worst_add",
        "dDPO on the model's own answers, the worst rejected, makes more answers right than dSFT-1",
        "not tried",
        LAST,
        "own_worst",
        "dsft",
        primary=RIGHT,
    ),
    Claim(
        "all_weights_know_their_pairs",
        "once trained, all weights rank their training pairs nearly perfectly",
        "figure 3, left: near perfect",
        LAST,
        number=functools.partial(final_accuracy, "all_weights"),
        against=0.95,
        why=dict.fromkeys(
            ("holds", "does not hold", "undecided"), reasons.accuracies("all_weights", once=True)
        ),
    ),
)

__all__ = ["CLAIMS", "FIRST", "findings_table", "judge_all", "models_table", "score"]
