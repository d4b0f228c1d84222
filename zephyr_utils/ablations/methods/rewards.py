"""Rows with a reward model (chapter 10): best of n, RLOO, and DPO up to the same distance."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from zephyr_utils.ablations.methods.replication import STEPS, Replication, one_turn
from zephyr_utils.chat import Conversation, Message
from zephyr_utils.evaluation.exam import answer_record
from zephyr_utils.evaluation.types import MTBenchAnswer
from zephyr_utils.objectives import clipped_policy_loss, kl_estimate, rloo_advantages
from zephyr_utils.online import Sample, sample_answers
from zephyr_utils.rewards import (
    RewardRecipe,
    best_of_n,
    load_reward_model,
    score_answers,
    train_reward_model,
)
from zephyr_utils.training.save import MODEL
from zephyr_utils.training.scoring import Row, batch_log_probs

Settings = Mapping[str, Any]
RATE = "learning_rate"
PROMPTS, SAMPLES = 8, 4  # of RLOO: prompts sampled at once, and answers to each
PRICE = 0.05  # of a nat of KL divergence, in the reward
CHECKED_EVERY = 3  # steps between two estimates of the KL divergence


def train_rewards(replication: Replication, folder: Path, settings: Settings) -> dict[str, Any]:
    """A reward model on all training pairs, in `folder`; after a regression on the ratings of the
    same pairs where ``after_rating`` asks for it, as in HelpSteer2-Preference.
    """
    start: Path = replication.start[0]
    pairs = replication.pairs[0]
    rate, objective = settings[RATE], settings["objective"]
    if settings.get("after_rating"):
        recipe = RewardRecipe("rating", rate, seed=replication.seed)
        train_reward_model(start, pairs, folder / "rating", recipe)
        start, rate = folder / "rating" / MODEL, rate / 2
    train_reward_model(start, pairs, folder, RewardRecipe(objective, rate, seed=replication.seed))
    return {"pairs": len(pairs)}


def scores(
    model: PreTrainedModel,
    replication: Replication,
    conversations: Sequence[Conversation],
    answers: Sequence[Sequence[Sample]],
) -> np.ndarray:
    """The rewards of answers to conversations that end with a user; (conversations, n)."""
    texts: list[Conversation] = [
        [*before, {"role": "assistant", "content": one.text}]
        for before, group in zip(conversations, answers, strict=True)
        for one in group
    ]
    return score_answers(model, replication.tokenizer, texts).reshape(len(answers), -1)


def best_of_n_answers(
    replication: Replication, reward_model: Path, name: str, n: int
) -> list[MTBenchAnswer]:
    """Answers to the exam, each turn the best of n by a reward model; the second turn goes on from
    the chosen first.
    """
    exam, questions = replication.pipeline.setting.exam, replication.pipeline.questions()
    judge, _ = load_reward_model(reward_model)
    conversations: list[list[Message]] = [[] for _ in questions]
    chosen: list[list[Sample]] = [[] for _ in questions]
    for turn in range(2):
        for talk, question in zip(conversations, questions, strict=True):
            talk.append({"role": "user", "content": question["turns"][turn]})
        answers = sample_answers(
            replication.reference,
            conversations,
            n,
            tokenizer=replication.tokenizer,
            max_new_tokens=exam.max_new_tokens,
            temperature=exam.temperature if exam.temperature is not None else 0.7,
            seed=replication.seed + turn,
        )
        best = best_of_n(scores(judge, replication, conversations, answers))
        for place, (talk, group) in enumerate(zip(conversations, answers, strict=True)):
            one = group[best[place]]
            chosen[place].append(one)
            talk.append({"role": "assistant", "content": one.text})
    return [
        answer_record(question, name, turns)
        for question, turns in zip(questions, chosen, strict=True)
    ]


def train_rloo(replication: Replication, reward_model: Path, settings: Settings) -> PreTrainedModel:
    """RLOO (arXiv 2402.14740): a reward less the price of KL divergence, a baseline of the other
    answers to the prompt, and two clipped updates for each set of samples.
    """
    judge, _ = load_reward_model(reward_model)
    prompts = list(dict.fromkeys(row["prompt"] for row in replication.pairs[0]))
    kept: dict[str, Any] = {}

    def draw(policy: Any, number: int) -> None:
        some = [prompts[(number * PROMPTS + n) % len(prompts)] for n in range(PROMPTS)]
        answers = replication.sample(policy, some, SAMPLES, 1000 * replication.seed + number)
        rows = replication.sampled_rows(some, answers)
        old = torch.tensor([one.log_prob for group in answers for one in group])
        divergence = kl_estimate(old, replication.log_probs(replication.reference, rows))
        asked: list[Conversation] = [one_turn(prompt, "")[:1] for prompt in some]
        reward = torch.tensor(scores(judge, replication, asked, answers)).float()
        rewards = reward - PRICE * divergence.view(-1, SAMPLES)
        kept.update(rows=rows, old=old, advantages=rloo_advantages(rewards).flatten())

    def loss(policy: Any, step: int) -> Tensor:
        if step % 2 == 0:
            draw(policy, step // 2)
        half = slice(0, None, 2) if step % 2 == 0 else slice(1, None, 2)
        rows: list[Row] = kept["rows"][half]
        now = batch_log_probs(policy, rows, replication.pad)
        return clipped_policy_loss(now, kept["old"][half], kept["advantages"][half])

    return replication.fit(loss, settings[RATE])


def train_to_distance(
    replication: Replication, distance: float, settings: Settings
) -> tuple[PreTrainedModel, int]:
    """DPO stopped once its KL divergence from dSFT reaches `distance`, in nats per answer: a rival
    of equal distance for a model that was trained otherwise. Returns the steps made as well.
    """
    made = 0

    def far_enough(policy: Any, steps: int) -> bool:
        nonlocal made
        made = steps
        return steps % CHECKED_EVERY == 0 and replication.kl(policy) >= distance

    pairs = replication.sides(replication.few)
    model = replication.fit(
        replication.pair_loss(pairs), settings[RATE], steps=STEPS, stop=far_enough
    )
    return model, made
