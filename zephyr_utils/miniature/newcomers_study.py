"""The protocol's third outcome over replications: which of the newcomers' questions dSFT and dDPO
answer sensibly, and what may be said of it.

``python -m zephyr_utils.miniature.newcomers_study`` is one process of `parallel.run_in_parallel`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from zephyr_utils.ablations.measurements import print_measurements
from zephyr_utils.ablations.results import provenance
from zephyr_utils.ablations.statistics import Effect, measure_effect
from zephyr_utils.ablations.verdicts import Measured
from zephyr_utils.chat import load_model
from zephyr_utils.miniature.newcomers import NEWCOMERS, are_sensible, ask_newcomers
from zephyr_utils.pipeline.artefacts import fingerprint
from zephyr_utils.pipeline.pipeline import Pipeline
from zephyr_utils.tables import markdown_table

STAGES = ("dsft", "ddpo")
NOTHING_TO_COMPARE = "Fewer than two replications of both stages are measured: `make newcomers`."
AIM = 0.8  # of all eighty, after either stage; benchmarks/protocol.md says when it was written down


def newcomers_provenance() -> dict[str, str]:
    """Fingerprints of what the shares rest on: base model, records, pairs, recipes, the questions;
    and the exam, whose questions are kept out of the pairs.
    """
    rests_on = provenance()
    asked = [[one.text, one.truth.required, sorted(one.truth.rivals)] for one in NEWCOMERS]
    return {
        **{name: rests_on[name] for name in ("base_model", "world", "pairing", "exam", "recipes")},
        "questions": fingerprint(asked),
    }


def measure_newcomers(pipeline: Pipeline, stage: str) -> dict[str, Any]:
    """Whether the stage's model answers each of the questions sensibly, greedily: 1 or 0 each."""
    model, tokenizer = load_model(pipeline.model_directory(stage), dtype="float32")
    return {"sensible": [int(good) for good in are_sensible(ask_newcomers(model, tokenizer))]}


def newcomer_shares(measured: Measured) -> dict[str, dict[str, Effect]]:
    """Share answered sensibly after each stage, and their difference, over the replications that
    have both: of all questions, of those inside the world and of those outside.

    Returns:
        part of the questions -> ``dsft``, ``ddpo`` or ``difference`` -> the effect; empty if fewer
        than two replications have both stages.
    """
    whole = [rows for rows in measured.values() if set(STAGES) <= rows.keys()]
    if len(whole) < 2:
        return {}
    inside = np.array([asked.inside for asked in NEWCOMERS])
    parts = {
        f"all {len(inside)}": np.full(len(inside), True),
        f"{inside.sum()} inside": inside,
        f"{(~inside).sum()} outside": ~inside,
    }
    return {name: _effects(whole, part) for name, part in parts.items()}


def _effects(whole: Sequence[Mapping[str, Any]], part: np.ndarray) -> dict[str, Effect]:
    answered = {
        stage: [np.array(rows[stage]["sensible"])[part] for rows in whole] for stage in STAGES
    }
    difference = [y - x for x, y in zip(answered["dsft"], answered["ddpo"], strict=True)]
    return {
        name: measure_effect(values, same_questions=True)
        for name, values in (answered | {"difference": difference}).items()
    }


def newcomers_table(measured: Measured) -> str:
    """`newcomer_shares` in percent, the difference in points, with 95 % intervals: Markdown; a
    sentence where there are none.
    """
    if not (found := newcomer_shares(measured)):
        return NOTHING_TO_COMPARE
    lines = [
        (
            name,
            *(_points(effects[stage], "") for stage in STAGES),
            _points(effects["difference"], "+"),
        )
        for name, effects in found.items()
    ]
    head = ("questions", "dSFT, % [95 %]", "dDPO, % [95 %]", "difference, points [95 %]")
    return markdown_table(head, lines)


def _points(effect: Effect, sign: str) -> str:
    interval = effect.interval()
    mean, low, high = (
        f"{100 * number:{sign}.1f}".replace("-", "−")
        for number in (interval.estimate, interval.low, interval.high)
    )
    return f"{mean} [{low}, {high}]"


def main() -> None:
    """Ask the newcomers' questions of one pipeline's models."""
    print_measurements(
        measure_newcomers, {"dsft": "dSFT", "ddpo": "dDPO"}.__getitem__, lambda name: ""
    )


if __name__ == "__main__":
    main()
