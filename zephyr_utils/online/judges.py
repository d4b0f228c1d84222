"""Judges of a model's own answers in place of a scale's: a reward model, and any endpoint."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from zephyr_utils.chat.loading import context_length
from zephyr_utils.chat.special_tokens import Conversation
from zephyr_utils.chat.template import encode
from zephyr_utils.data.records import ASPECTS
from zephyr_utils.data.types import Completion, Feedback
from zephyr_utils.errors import HandbookError
from zephyr_utils.evaluation.common import FAILURE_LIMIT
from zephyr_utils.feedback.endpoint import Endpoint
from zephyr_utils.feedback.rate import rate_answers
from zephyr_utils.online.ratings import self_rating, with_rating
from zephyr_utils.online.sampling import as_conversation
from zephyr_utils.rewards.model import load_reward_model
from zephyr_utils.rewards.scoring import score_answers
from zephyr_utils.training.progress import say


@dataclass(frozen=True)
class RewardModelJudge:
    """Rates answers by a reward model: the reward less the mean of the prompt's answers, on a
    rating's scale (`self_rating`). The mean is taken away because rewards of different prompts
    cannot be compared.

    The model is loaded once, when the judge is made, so that what is not a reward model is refused
    before anything is sampled.

    Attributes:
        directory: the reward model, as `rewards.train_reward_model` leaves it in ``model/``.
        key: fingerprint of its files, for an artefact's recipe.

    Raises:
        HandbookError: as `load_reward_model`.
    """

    directory: Path = field(repr=False)
    key: str

    def __post_init__(self) -> None:
        _ = self._loaded

    @cached_property
    def _loaded(self) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        return load_reward_model(self.directory)

    def __call__(self, records: list[Feedback]) -> list[Feedback]:
        """The records with a rating of each answer; an answer beyond the model's context stays
        without, and how many do is said.

        Raises:
            HandbookError: as `score_answers`: a reward is NaN or infinite.
        """
        model, tokenizer = self._loaded
        conversations: list[Conversation] = [
            [*as_conversation(record["instruction"]),
             {"role": "assistant", "content": one["response"]}]
            for record in records
            for one in record["completions"]
        ]  # fmt: skip
        context = context_length(model.config) or math.inf
        fits = [len(encode(tokenizer, messages)[0]) <= context for messages in conversations]
        if too_long := fits.count(False):
            say(
                f"{too_long:,} of {len(fits):,} answers are beyond the reward model's context of "
                f"{context:,} tokens, and are not rated"
            )
        scored = score_answers(model, tokenizer, list(itertools.compress(conversations, fits)))
        rewards = np.full(len(fits), np.nan)
        rewards[np.array(fits, dtype=bool)] = scored
        each = iter(rewards.tolist())
        return [
            {**record, "completions": _ranked(record["completions"], each)} for record in records
        ]


def _ranked(completions: list[Completion], rewards: Iterator[float]) -> list[Completion]:
    """The answers to one prompt, rated by the next of the rewards, of which NaN rates none."""
    own = list(itertools.islice(rewards, len(completions)))
    known = [reward for reward in own if not math.isnan(reward)]
    mean = sum(known) / len(known) if known else math.nan
    return [
        one
        if math.isnan(reward)
        else with_rating(one, self_rating(reward - mean), f"reward {reward:.4f}")
        for one, reward in zip(completions, own, strict=True)
    ]


@dataclass(frozen=True)
class EndpointJudge:
    """Rates answers by a model behind an OpenAI-compatible endpoint: UltraFeedback's four aspects,
    as ``zephyr feedback --judge`` asks for them, without critiques.

    Attributes:
        judge: the model's name there.
        endpoint: where it is.
        journal: where its replies are kept, so that a killed round does not pay for them twice.
    """

    judge: str
    endpoint: Endpoint = field(default_factory=Endpoint)
    journal: Path | None = field(default=None, repr=False)

    def __call__(self, records: list[Feedback]) -> list[Feedback]:
        """The records with the ratings that came, and their counts said; an answer whose call
        failed stays without. Replies in the journal that cannot be read are asked for again.

        Raises:
            HandbookError: as `rate_answers`; more than `FAILURE_LIMIT` of the ratings are missing.
        """
        if self.journal:
            self.journal.parent.mkdir(parents=True, exist_ok=True)
        collected = rate_answers(
            records,
            self.judge,
            endpoint=self.endpoint,
            journal=self.journal,
            retry_unreadable=True,
            critiques=False,
        )
        # without hints: no option of a round asks again, and a round that is done is not repeated
        say(f"Ratings: {collected.report(hints=False)}")
        self._check_ratings(collected.records)
        return collected.records

    def _check_ratings(self, records: list[Feedback]) -> None:
        given = [len(one["annotations"]) for record in records for one in record["completions"]]
        wanted = len(ASPECTS) * len(given)
        missing = wanted - sum(given)
        if missing > FAILURE_LIMIT * wanted:
            raise HandbookError(
                f"{missing:,} of {wanted:,} ratings are missing: more than {FAILURE_LIMIT:.0%}, so "
                "the round would train on what is left by chance",
                where=f"judge {self.judge!r}",
                remedy="start the same command again, which asks for these alone and takes the "
                "others from the journal; or name another judge",
            )
