"""Rows that learn from comparisons and demonstrations in other ways than dDPO (chapter 12).

Each function trains one row and returns its model.
"""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from zephyr_utils.ablations.methods.replication import (
    SIDES,
    STEPS,
    Replication,
    enough,
    one_turn,
    places,
)
from zephyr_utils.objectives import distillation_loss, extrapolate_weights
from zephyr_utils.rewards import preference_strengths, strength_cuts
from zephyr_utils.training.scoring import Row

Settings = Mapping[str, Any]
RATE = "learning_rate"
MARGIN = 0.3  # of the margin, in logits, for each unit of a strength whose mean is 1


def train_strength(replication: Replication, settings: Settings) -> PreTrainedModel:
    """DPO on the same pairs, with the strength of each preference left out, as a margin or as a
    weight (HelpSteer2-Preference, arXiv 2410.01257). Weights are divided by their mean.
    """
    train, kind = replication.pairs[0], settings["kind"]
    weights = preference_strengths(replication.few, strength_cuts(train))
    weight = torch.tensor(weights / weights.mean()).float()
    strength = {"regular": None, "margin": MARGIN * weight, "scaled": weight}[kind]
    pairs = replication.sides(replication.few)
    loss = replication.pair_loss(pairs, kind=kind, strength=strength)
    return replication.fit(loss, settings[RATE])


def demonstrations(replication: Replication) -> dict[str, str]:
    """Prompt -> answer of the first turns of dialogues, none of whose prompts measures the KL
    divergence.
    """
    shown: dict[str, str] = {}
    for row in replication.pipeline.split_dialogues()[0]:
        first, second = row["messages"][:2]
        if first["role"] == "user" and first["content"] not in replication.asked:
            shown.setdefault(first["content"], second["content"])
    return dict(enough(list(shown.items()), "demonstrations"))


def train_self_play(replication: Replication, settings: Settings) -> PreTrainedModel:
    """IRFT (arXiv 2405.17888): DPO with demonstrations chosen over the model's own answers, in
    rounds, each against the last round's model. One round is SPIN's first (arXiv 2401.01335).

    A demonstration that the model gave itself makes no pair.
    """
    shown, rounds = list(demonstrations(replication).items()), settings["rounds"]
    policy, share = replication.reference, len(shown) // rounds
    for number in range(rounds):
        part = shown[number * share : (number + 1) * share]
        prompts = [prompt for prompt, _ in part]
        answers = replication.sample(policy, prompts, 1, replication.seed + 4)
        pairs: dict[str, list[Row]] = {side: [] for side in SIDES}
        for (prompt, demonstration), [own] in zip(part, answers, strict=True):
            if own.text not in ("", demonstration):
                pairs["chosen"].append(replication.row(one_turn(prompt, demonstration)))
                pairs["rejected"].append(replication.row(one_turn(prompt, own.text)))
        loss = replication.pair_loss(pairs, policy)
        policy = replication.fit(loss, settings[RATE], policy, STEPS // rounds)
    return policy


def train_on_demonstrations(replication: Replication, settings: Settings) -> PreTrainedModel:
    """As many more updates of dSFT on the demonstrations of `train_self_play`."""
    rows = [replication.row(one_turn(*one)) for one in demonstrations(replication).items()]
    return replication.fit(replication.text_loss(rows), settings[RATE])


def train_on_chosen(replication: Replication, settings: Settings) -> PreTrainedModel:
    """As many updates of dSFT on the chosen answers of the pairs: a short dSFT-2."""
    rows = replication.sides(replication.few)["chosen"]
    return replication.fit(replication.text_loss(rows), settings[RATE])


def lectures(replication: Replication) -> list[Row]:
    """The dDPO model's answers to the prompts of training pairs: what a student is taught with."""
    prompts = enough(list(dict.fromkeys(row["prompt"] for row in replication.pairs[0])), "prompts")
    answers = replication.sample(replication.aligned, prompts, 1, replication.seed + 2)
    return replication.sampled_rows(prompts, answers)


def train_on_texts(replication: Replication, settings: Settings) -> PreTrainedModel:
    """Distillation as Zephyr has it: the teacher's texts, token by token."""
    return replication.fit(replication.text_loss(lectures(replication)), settings[RATE])


def train_on_logits(replication: Replication, settings: Settings) -> PreTrainedModel:
    """Distillation of logits: on the same texts, KL(teacher || student) at each token."""
    rows = lectures(replication)

    def loss(policy: Any, step: int) -> Tensor:
        ids, labels = replication.padded([rows[n] for n in places(len(rows), step)])
        with torch.no_grad():
            theirs = replication.aligned(input_ids=ids).logits
        return distillation_loss(policy(input_ids=ids).logits, theirs, labels)

    return replication.fit(loss, settings[RATE])


def extrapolate(
    replication: Replication, end: PreTrainedModel, settings: Settings
) -> PreTrainedModel:
    """ExPO (arXiv 2404.16792): beyond a trained model on the line from dSFT, without training."""
    model = copy.deepcopy(end)
    start = replication.reference.state_dict()
    model.load_state_dict(extrapolate_weights(start, end.state_dict(), settings["amount"]))
    return model
