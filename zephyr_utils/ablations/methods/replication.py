"""What the methods of one replication share: the dSFT model, its pairs and prompts, samples and a
plain training loop.

Every row that is trained here starts from the dSFT model and makes `STEPS` updates of all weights,
of `BATCH` rows each, in the same order of the same pairs: what differs is the objective.
"""

import copy
import random
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from zephyr_utils.chat import Conversation, encode_prompt, load_model
from zephyr_utils.errors import HandbookError
from zephyr_utils.objectives import IGNORE_INDEX, bradley_terry_dpo_loss
from zephyr_utils.online import Sample, sample_answers
from zephyr_utils.pipeline.pipeline import Pipeline
from zephyr_utils.training.scoring import Row, answer_row, batch_log_probs, row_log_probs

STEPS, BATCH, WARMUP = 72, 16, 4
KL_PROMPTS = 128  # held out; the KL divergence is estimated from one answer to each
SIDES = ("chosen", "rejected")
Loss = Callable[[Any, int], Tensor]  # of the policy and the number of the step, from 0


def one_turn(prompt: str, answer: str) -> Conversation:
    """A dialogue of one question and its answer."""
    return [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]


class Replication:
    """A replication's dSFT model, pairs and samples, each made when it is first asked for."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline

    @property
    def seed(self) -> int:
        """Of records, exam and training alike."""
        return self.pipeline.seed

    @cached_property
    def start(self) -> tuple[Path, str]:
        """Directory and key of the dSFT model."""
        return self.pipeline.start()

    @cached_property
    def _loaded(self) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        return load_model(self.start[0], "float32")

    @property
    def reference(self) -> PreTrainedModel:
        """The dSFT model, which stays as it is."""
        return self._loaded[0]

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The dSFT model's."""
        return self._loaded[1]

    @cached_property
    def aligned(self) -> PreTrainedModel:
        """The dDPO model."""
        return load_model(self.pipeline.model_directory("ddpo"), "float32")[0]

    @cached_property
    def pairs(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Pairs to train on, in an order that the seed gives, and pairs held out."""
        train, held_out, _ = self.pipeline.split_pairs()
        random.Random(f"pairs of the methods, {self.seed}").shuffle(train)
        return train, held_out

    @cached_property
    def few(self) -> list[dict[str, Any]]:
        """The pairs of one training: `STEPS` batches.

        Raises:
            HandbookError: there are fewer.
        """
        return enough(self.pairs[0], "training pairs")

    @cached_property
    def asked(self) -> list[str]:
        """Held-out prompts on which the KL divergence is estimated."""
        return list(dict.fromkeys(row["prompt"] for row in self.pairs[1]))[:KL_PROMPTS]

    def row(self, conversation: Conversation) -> Row:
        """Token ids, and where the last answer begins."""
        return answer_row(self.tokenizer, conversation)

    def sides(self, pairs: Sequence[dict[str, Any]]) -> dict[str, list[Row]]:
        """The rows of chosen and of rejected answers."""
        return {side: [self.row(pair[side]) for pair in pairs] for side in SIDES}

    def log_probs(self, model: Any, rows: Sequence[Row]) -> Tensor:
        """log p(answer | prompt) of each row, without gradients; (rows,), in nats."""
        return row_log_probs(model, rows, self.pad)

    @property
    def pad(self) -> int:
        """The token that fills a batch up."""
        return int(self.tokenizer.pad_token_id)

    def sample(
        self, model: Any, prompts: Sequence[str], samples: int, seed: int
    ) -> list[list[Sample]]:
        """Answers at temperature 1, of the length that the exam allows."""
        return sample_answers(
            model,
            prompts,
            samples,
            tokenizer=self.tokenizer,
            max_new_tokens=self.pipeline.setting.exam.max_new_tokens,
            seed=seed,
        )

    def sampled_rows(
        self, prompts: Sequence[str], answers: Sequence[Sequence[Sample]]
    ) -> list[Row]:
        """The rows of samples, with the tokens that were drawn."""
        rows = []
        for prompt, group in zip(prompts, answers, strict=True):
            ids = encode_prompt(self.tokenizer, [{"role": "user", "content": prompt}])
            rows += [(ids + one.token_ids, len(ids)) for one in group]
        return rows

    def kl(self, model: Any) -> float:
        """KL(model || dSFT) in nats per answer, estimated on own answers to held-out prompts."""
        answers = self.sample(model, self.asked, 1, self.seed + 1)
        own = torch.tensor([group[0].log_prob for group in answers])
        before = self.log_probs(self.reference, self.sampled_rows(self.asked, answers))
        return float((own - before).mean())

    # --- training ---------------------------------------------------------------------------------

    def fit(
        self,
        loss_of: Loss,
        rate: float,
        start: Any = None,
        steps: int = STEPS,
        stop: Callable[[Any, int], bool] | None = None,
    ) -> PreTrainedModel:
        """Train a copy of a model with AdamW: a short warm-up, then a linear decay to zero.

        Args:
            loss_of: the loss of a step, with gradients.
            rate: the highest learning rate.
            start: None is the dSFT model.
            stop: asked after each step, with the number of steps that were made.

        Raises:
            HandbookError: the loss is NaN or infinite.
        """
        policy = copy.deepcopy(self.reference if start is None else start)
        optimiser = torch.optim.AdamW(policy.parameters(), lr=rate, weight_decay=0.0)
        for step in range(steps):
            optimiser.param_groups[0]["lr"] = (
                rate * min(1, (step + 1) / WARMUP) * (1 - step / steps)
            )
            loss = loss_of(policy, step)
            if not loss.isfinite():
                raise HandbookError(
                    f"the loss is NaN or infinite after {step} steps",
                    where="training of a method",
                    remedy="lower its learning rate in methods.yaml",
                )
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
            optimiser.step()
            if stop and stop(policy, step + 1):
                break
        return policy

    def pair_loss(
        self,
        pairs: dict[str, list[Row]],
        reference: Any = None,
        kind: Any = "regular",
        strength: Tensor | None = None,
    ) -> Loss:
        """DPO's loss on the step's pairs, in one of HelpSteer2-Preference's three forms.

        Args:
            pairs: as `sides`.
            reference: None is the dSFT model.
            kind: as for `bradley_terry_dpo_loss`.
            strength: (pairs,), for ``margin`` and ``scaled``.
        """
        before = self.reference if reference is None else reference
        known = {side: self.log_probs(before, pairs[side]) for side in SIDES}
        beta = self.pipeline.recipe("ddpo")["beta"]

        def loss(policy: Any, step: int) -> Tensor:
            at = places(len(pairs["chosen"]), step)
            rows = [pairs[side][n] for side in SIDES for n in at]
            chosen, rejected = batch_log_probs(policy, rows, self.pad).chunk(2)
            return bradley_terry_dpo_loss(
                chosen,
                rejected,
                known["chosen"][at],
                known["rejected"][at],
                beta,
                strength=None if strength is None else strength[at],
                kind=kind,
            )

        return loss

    def text_loss(self, rows: Sequence[Row]) -> Loss:
        """Mean negative log-likelihood of the step's answers, per token, as in dSFT."""

        def loss(policy: Any, step: int) -> Tensor:
            batch = [rows[n] for n in places(len(rows), step)]
            tokens = sum(len(ids) - begins for ids, begins in batch)
            return -batch_log_probs(policy, batch, self.pad).sum() / tokens

        return loss

    def padded(self, rows: Sequence[Row]) -> tuple[Tensor, Tensor]:
        """Ids and labels, (rows, length) each; labels are the answers' tokens."""
        width = max(len(ids) for ids, _ in rows)
        ids = torch.full((len(rows), width), self.pad)
        labels = torch.full_like(ids, IGNORE_INDEX)
        for n, (tokens, begins) in enumerate(rows):
            ids[n, : len(tokens)] = torch.tensor(tokens)
            labels[n, begins : len(tokens)] = ids[n, begins : len(tokens)]
        return ids, labels


def places(count: int, step: int) -> list[int]:
    """Which rows a step takes: one batch after the other, from the front again at the end."""
    return [(step * BATCH + n) % count for n in range(BATCH)]


def enough(rows: Sequence[Any], what: str) -> list[Any]:
    """The first `STEPS` batches of rows.

    Raises:
        HandbookError: there are fewer; a row would be seen twice in one method and once in another.
    """
    if len(rows) < STEPS * BATCH:
        raise HandbookError(
            f"{len(rows)} {what} are too few for {STEPS} steps of {BATCH}",
            where="methods",
            remedy="measure the methods at the scale `miniature`",
        )
    return list(rows[: STEPS * BATCH])
