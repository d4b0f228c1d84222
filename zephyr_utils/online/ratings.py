"""Ratings without a judge: by the model that gave the answers, and by demonstrations."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zephyr_utils.chat import TemplateChoice
from zephyr_utils.chat.loading import context_length, load_model, load_tokenizer
from zephyr_utils.chat.special_tokens import Conversation
from zephyr_utils.chat.template import encode_prompt, prepare_tokenizer
from zephyr_utils.data.types import Completion, Feedback
from zephyr_utils.errors import HandbookError
from zephyr_utils.online.sampling import as_conversation
from zephyr_utils.training.scoring import answer_row, row_log_probs

ASK = "Give a right answer in a full sentence, and be friendly."
DEMONSTRATION = "demonstration"
ASPECT = "helpfulness"  # of UltraFeedback's four, the one that holds such a rating
BEST, MIDDLE, WORST = 5.0, 3.0, 1.0


def self_rating(log_ratio: float) -> float:
    """3 + 2 r / (1 + |r|): a log-ratio r in nats on a rating's scale, above 1 and below 5, in the
    same order; 0 nats are a 3.
    """
    known = round(log_ratio, 3)  # an answer that was drawn twice must not differ by rounding
    return MIDDLE + 2 * known / (1 + abs(known))


@dataclass(frozen=True)
class SelfReward:
    """Rates answers by the model that gave them: r(y) = log pi(y | ask, x) - log pi(y | x).

    An answer is rated higher, the more likely the model finds it once it is asked for what is
    wanted. This is one reading of self-rewarding by prompts alone (arXiv 2409.17534), whose full
    text and code were unavailable; Yuan et al. (arXiv 2401.10020) have the model write a number
    of points instead, for which it has to be large, and to have been taught.

    Attributes:
        directory: the model.
        ask: the system's turn before the prompt; the chat template needs a place for one.
        chat_template: as for `chat.prepare_tokenizer`.
    """

    directory: Path = field(repr=False)  # known to an artefact by its key, not by its place
    ask: str = ASK
    chat_template: TemplateChoice | None = field(default=None, repr=False)

    def check(self) -> None:
        """Refuse a chat template without a place for a system's turn, before answers are sampled.

        Raises:
            HandbookError: the template refuses such a turn, or leaves it out.
        """
        tokenizer = load_tokenizer(self.directory)
        prepare_tokenizer(tokenizer, self.chat_template)
        question = as_conversation("Name a river.")
        asked = [{"role": "system", "content": self.ask}, *question]
        try:
            same = encode_prompt(tokenizer, asked) == encode_prompt(tokenizer, question)
        except HandbookError as error:
            raise self._no_place("refuses") from error
        if same:
            raise self._no_place("leaves out")

    def _no_place(self, does: str) -> HandbookError:
        return HandbookError(
            f"the model's chat template {does} a system's turn, in which self-rewarding asks for "
            "what is wanted",
            where=str(self.directory),
            remedy="--chat-template zephyr, or another --method",
        )

    def __call__(self, records: list[Feedback]) -> list[Feedback]:
        """The records with a rating of each answer, `self_rating` of its log-ratio; answers whose
        log-ratio is NaN or infinite, or whose prompt is too long with `ask`, stay without.
        """
        ratios = iter(self._log_ratios(records))
        return [
            {
                **record,
                "completions": [_self_rated(one, next(ratios)) for one in record["completions"]],
            }
            for record in records
        ]

    def _log_ratios(self, records: list[Feedback]) -> list[float]:
        """One per answer, in the records' order, in nats; NaN where there is none."""
        model, tokenizer = load_model(self.directory, "float32")
        prepare_tokenizer(tokenizer, self.chat_template)
        plain: list[Conversation] = [
            [
                *as_conversation(record["instruction"]),
                {"role": "assistant", "content": one["response"]},
            ]
            for record in records
            for one in record["completions"]
        ]
        asked = [answer_row(tokenizer, [{"role": "system", "content": self.ask}, *messages])
                 for messages in plain]  # fmt: skip
        context = context_length(model.config) or math.inf
        fits = [n for n, (ids, _) in enumerate(asked) if len(ids) <= context]
        pad = int(tokenizer.pad_token_id)
        bare = row_log_probs(model, [answer_row(tokenizer, plain[n]) for n in fits], pad)
        differences = row_log_probs(model, [asked[n] for n in fits], pad) - bare
        ratios = [math.nan] * len(plain)
        for n, difference in zip(fits, differences.tolist(), strict=True):
            ratios[n] = difference
        return ratios


@dataclass(frozen=True)
class AgainstDemonstrations:
    """Sets a demonstration beside a model's own answers and rates it best: the pairs of SPIN (arXiv
    2401.01335) and of IRFT (arXiv 2405.17888), for which nobody judges.

    Attributes:
        demonstrations: the answer to each prompt.
        key: fingerprint of the demonstrations, for an artefact's recipe.
    """

    demonstrations: Mapping[str, str] = field(repr=False)
    key: str

    def __call__(self, records: list[Feedback]) -> list[Feedback]:
        """The records with the demonstration as a further answer. An own answer of the same text is
        rated as it is, so that they tie and teach nothing.
        """
        made: list[Feedback] = []
        for record in records:
            shown = self.demonstrations[record["instruction"]]
            completions = [
                with_rating(one, BEST if one["response"] == shown else WORST)
                for one in record["completions"]
            ]
            unrated: Any = {**completions[0], "model": DEMONSTRATION, "response": shown}
            completions.append(with_rating(unrated, BEST))
            models = [one["model"] for one in completions]
            made.append({**record, "models": models, "completions": completions})
        return made


def _self_rated(completion: Completion, log_ratio: float) -> Completion:
    if not math.isfinite(log_ratio):
        return completion
    return with_rating(completion, self_rating(log_ratio), f"log-ratio {log_ratio:.4f} nats")


def with_rating(completion: Completion, rating: float, why: str = "") -> Completion:
    """The answer with one rating, from 1 to 5, and what it was made from."""
    rated: Any = {
        **completion,
        "annotations": {ASPECT: {"Rating": repr(rating), "Rationale": why}},
    }
    return rated
