"""Rows that sample again (chapter 11): rounds of own answers, and the offline control of as many
updates.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zephyr_utils.ablations.methods.replication import Replication
from zephyr_utils.data.write import save_records
from zephyr_utils.online.pairs import SamplingSettings
from zephyr_utils.online.round_training import OnlineObjective, train_round
from zephyr_utils.online.rounds import OnlineSettings, round_recipe, run_rounds, split_prompts
from zephyr_utils.pipeline.pipeline import Pipeline
from zephyr_utils.training.save import MODEL

Settings = Mapping[str, Any]
RATE = "learning_rate"
ROUNDS, PROMPTS, SAMPLES = 3, 192, 5


def _with_rate(pipeline: Pipeline, settings: Settings) -> Pipeline:
    """A pipeline whose rounds take this learning rate."""
    changes = {**pipeline.changes.get("ddpo", {}), RATE: settings[RATE]}
    return dataclasses.replace(pipeline, changes={**pipeline.changes, "ddpo": changes})


def run_method(replication: Replication, settings: Settings) -> Path:
    """The model directory after the last of three rounds, each on own answers to prompts of its
    own, with the last round's model as reference.
    """
    pipeline = _with_rate(replication.pipeline, settings)
    sampling = SamplingSettings(
        SAMPLES, max_new_tokens=pipeline.setting.exam.max_new_tokens, seed=pipeline.seed
    )
    objective = OnlineObjective(settings["method"])
    plan = OnlineSettings(objective, ROUNDS, sampling, PROMPTS)
    *_, last = run_rounds(pipeline, plan)
    return last.training.folder / MODEL


def train_offline(replication: Replication, folder: Path, settings: Settings) -> dict[str, Any]:
    """DPO on the best and the worst of the *feedback's* answers to the prompts of all rounds, in
    one run against dSFT; leaves ``model/`` in `folder`, and returns what `train_round` does.
    """
    pipeline = replication.pipeline
    feedback = pipeline.load("feedback", "feedback").records
    asked = [question["turns"][0] for question in pipeline.questions()]
    prompts = [row["instruction"] for row in feedback]
    shares = split_prompts(prompts, ROUNDS, pipeline.seed, asked, PROMPTS)
    by_prompt = {row["instruction"]: row for row in feedback}
    records = [by_prompt[prompt] for share in shares.rounds for prompt in share]
    rated = save_records(records, folder / "feedback.jsonl")
    return train_round(
        folder,
        replication.start[0],
        rated,
        OnlineObjective(),
        round_recipe(_with_rate(pipeline, settings)),
        pipeline.setting.exam.max_new_tokens,
    )
