"""Judges of a model's own answers in place of a scale's: a reward model, and any endpoint."""

import itertools
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from zephyr_utils.chat.special_tokens import Conversation
from zephyr_utils.data.types import Feedback
from zephyr_utils.feedback.endpoint import Endpoint
from zephyr_utils.feedback.rate import rate_answers
from zephyr_utils.online.raters import self_rating, with_rating
from zephyr_utils.online.sampling import as_conversation
from zephyr_utils.rewards.model import load_reward_model
from zephyr_utils.rewards.scoring import score_answers


@dataclass(frozen=True)
class RewardModelJudge:
    """Rates answers by a reward model: the reward less the mean of the prompt's answers, on a
    rating's scale (`self_rating`). The mean is taken away because rewards of different prompts
    cannot be compared.

    Attributes:
        directory: the reward model, as `rewards.train_reward_model` leaves it in ``model/``.
        key: fingerprint of its files, for an artefact's recipe.
    """

    directory: Path = field(repr=False)
    key: str

    def __call__(self, records: list[Feedback]) -> list[Feedback]:
        """The records with a rating of each answer.

        Raises:
            HandbookError: as `load_reward_model` and `score_answers`: it is no reward model, an
                answer is beyond its context, or a reward is NaN or infinite.
        """
        model, tokenizer = load_reward_model(self.directory)
        conversations: list[Conversation] = [
            [*as_conversation(record["instruction"]),
             {"role": "assistant", "content": one["response"]}]
            for record in records
            for one in record["completions"]
        ]  # fmt: skip
        rewards = iter(score_answers(model, tokenizer, conversations))
        rated: list[Feedback] = []
        for record in records:
            own = np.array(list(itertools.islice(rewards, len(record["completions"]))))
            completions = [
                with_rating(one, self_rating(float(above)), f"reward {reward:.4f}")
                for one, above, reward in zip(
                    record["completions"], own - own.mean(), own, strict=True
                )
            ]
            rated.append({**record, "completions": completions})
        return rated


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
        """The records with the ratings that came; an answer whose call failed stays without.

        Raises:
            HandbookError: as `rate_answers`.
        """
        if self.journal:
            self.journal.parent.mkdir(parents=True, exist_ok=True)
        return rate_answers(
            records, self.judge, endpoint=self.endpoint, journal=self.journal, critiques=False
        ).records
