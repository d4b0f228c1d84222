"""How well dDPO of a real model ranks pairs that it was not trained on: those held out, and those
that were too long to be trained on; close pairs and clear ones apart. Part of ``smol.py``.

A pair is *clear* if its ratings lie at least as far apart as those of the median training pair, and
*close* otherwise: how far they lie apart is the teacher's own word on how sure the label is.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zephyr_utils.chat import load_tokenizer, prepare_tokenizer
from zephyr_utils.data.records import load_records
from zephyr_utils.diagnostics import reward_margins
from zephyr_utils.evaluation import wilson_interval
from zephyr_utils.pipeline.pipeline import Pipeline
from zephyr_utils.pipeline.steps.margins import HELD_OUT_PAIRS, LOG_PROBS, pair_log_probs
from zephyr_utils.pipeline.steps.pairs import PAIRS_FILE
from zephyr_utils.training.rows import fit_pairs

LONGEST = 768  # tokens of the longest that are measured; twenty minutes on two cores


def ranked(pipeline: Pipeline) -> dict[str, Any]:
    """Shares of pairs that the margins rank as their ratings do, with 95 % intervals (Wilson): of
    the pairs held out, of those from the recipe's limit up to `LONGEST` tokens, and of both.
    """
    trained_on, _, _ = pipeline.split_pairs()
    median = float(np.median(differences(trained_on)))
    measured = pipeline.margins().folder
    held_out = load_records(measured / HELD_OUT_PAIRS, "preference").records
    with np.load(measured / LOG_PROBS) as sums:
        right = ranked_rightly(dict(sums))
    longer = too_long_to_train_on(pipeline, {pair["prompt"] for pair in trained_on + held_out})
    reference, policy = (Path(pipeline.model_directory(name)) for name in ("dsft", "ddpo"))
    right_longer = ranked_rightly(pair_log_probs(reference, policy, longer))
    parts = {
        "held_out": (differences(held_out), right),
        "longer": (differences(longer), right_longer),
        "together": (differences(held_out + longer), np.concatenate([right, right_longer])),
    }
    return {
        "longest": LONGEST,
        "median_difference": median,
        **{name: by_difference(*part, median) for name, part in parts.items()},
    }


def too_long_to_train_on(pipeline: Pipeline, known: set[str]) -> list[Any]:
    """Pairs of up to `LONGEST` tokens whose prompts are not among `known`."""
    tokenizer = load_tokenizer(pipeline.base_model_address)
    prepare_tokenizer(tokenizer, pipeline.chat_template)
    pairs = load_records(pipeline.pairs().folder / PAIRS_FILE, "preference").records
    return [
        pair for pair in fit_pairs(tokenizer, pairs, LONGEST).rows if pair["prompt"] not in known
    ]


def differences(pairs: Sequence[Any]) -> np.ndarray:
    """By how much each pair's chosen answer is rated above the rejected one: (pairs,)."""
    return np.array([pair["score_chosen"] - pair["score_rejected"] for pair in pairs])


def ranked_rightly(sums: dict[str, Any]) -> np.ndarray:
    """Whether each margin is above zero: (pairs,); no beta changes that."""
    return reward_margins(**sums, beta=1.0).margins > 0


def by_difference(of_ratings: np.ndarray, right: np.ndarray, median: float) -> dict[str, Any]:
    """Accuracy of all pairs, of the close ones and of the clear ones, with intervals."""
    clear = of_ratings >= median
    return {
        name: {"pairs": int(part.sum()), **accuracy(right[part])}
        for name, part in (("all", np.full(len(right), True)), ("close", ~clear), ("clear", clear))
    }


def accuracy(right: np.ndarray) -> dict[str, float]:
    share = wilson_interval(int(right.sum()), len(right))
    return {"accuracy": share.estimate, "low": share.low, "high": share.high}
