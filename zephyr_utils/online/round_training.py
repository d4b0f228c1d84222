"""One round's training: pairs of rated answers, and a plain loop with the last round's model as
reference.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from peft import get_peft_model
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase, get_scheduler

from zephyr_utils.chat import TemplateChoice, encode_prompt
from zephyr_utils.data.records import load_records, save_records
from zephyr_utils.data.types import Feedback
from zephyr_utils.errors import HandbookError
from zephyr_utils.files import plain_value, write_json
from zephyr_utils.objectives import dpo_loss, selm_loss, sppo_loss, win_rates
from zephyr_utils.online.ratings import ASK
from zephyr_utils.online.sampling import as_conversation, sample_answers
from zephyr_utils.preferences import Score, binarize
from zephyr_utils.preferences.ratings import RATING_SCALES, scored
from zephyr_utils.progress import track
from zephyr_utils.recipes import Recipe
from zephyr_utils.training.loading import load_for_training, lora_config
from zephyr_utils.training.progress import say
from zephyr_utils.training.save import LOG, MODEL
from zephyr_utils.training.scoring import Row, answer_row, batch_log_probs, row_log_probs

Method = Literal["dpo", "sppo", "selm", "self-rewarding", "irft"]
OWN_SETTINGS: dict[Method, tuple[str, ...]] = {
    "sppo": ("eta", "win_temperature"),
    "selm": ("alpha",),
    "self-rewarding": ("ask",),
}
PAIRS_FILE = "pairs.jsonl"
KL_PROMPTS = 128  # to which the KL divergence from the reference is estimated, one answer each
# nats per token; from here on the policy's answers are very unlikely under its reference
FAR = 1.0
# nats; a policy that begins as its reference differs by rounding alone
NO_STEP = 0.05


@dataclass(frozen=True)
class OnlineObjective:
    """What a round trains towards.

    Attributes:
        method: ``dpo``, ``sppo`` or ``selm``; ``self-rewarding`` and ``irft`` train with DPO's loss
            on pairs that no judge made, see `online.ratings`.
        eta: of SPPO, the scale of its targets in nats. The paper has 1,000 with a rate of 5e-7; 10
            is 1 / beta of this handbook's dDPO.
        win_temperature: of SPPO, the difference of scores at which the better answer wins with
            chance 0.73; scores are means of ratings from 1 to 5.
        alpha: of SELM, weight of the term that lowers what the reference says; the paper's.
        ask: of self-rewarding, what the model is asked for when it rates an answer.
    """

    method: Method = "dpo"
    eta: float = 10.0
    win_temperature: float = 0.5
    alpha: float = 0.001
    ask: str = ASK

    @property
    def sides(self) -> tuple[str, ...]:
        """The answers of a row that the method looks at."""
        return ("chosen", "rejected", *(("sampled",) if self.method == "selm" else ()))

    @property
    def closer(self) -> str:
        """What holds the policy closer to its reference, for a message."""
        return "lower eta" if self.method == "sppo" else "raise beta"

    @property
    def in_use(self) -> dict[str, Any]:
        """The settings that the method has."""
        return {
            "method": self.method,
            **{name: getattr(self, name) for name in OWN_SETTINGS.get(self.method, ())},
        }


def round_pairs(
    rated: Sequence[Feedback], win_temperature: float
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The best and the worst rated answer to each prompt, by the mean of their ratings.

    Returns:
        Rows with ``prompt``, ``chosen``, ``rejected``, their ``win_rate_chosen`` and
        ``win_rate_rejected`` against all of the prompt's rated answers, and ``sampled``, the first
        of them; and the row counts.

    Raises:
        HandbookError: no pair can be made; the likely cause is named.
    """
    made = binarize(rated, score=Score.MEAN, rejected="lowest").require_pairs("the round's answers")
    rows = []
    for place, pair in zip(made.rows, made.pairs, strict=True):
        answers = rated[place]["completions"]
        scores = [scored(one, Score.MEAN, RATING_SCALES[Score.MEAN]).score for one in answers]
        known = [(one["model"], score) for one, score in zip(answers, scores, strict=True)
                 if score is not None]  # fmt: skip
        rates = win_rates(torch.tensor([[score for _, score in known]]), win_temperature)[0]
        rate_of = dict(zip((name for name, _ in known), rates.tolist(), strict=True))
        rows.append(
            {
                "prompt": pair["prompt"],
                "chosen": pair["chosen"][-1]["content"],
                "rejected": pair["rejected"][-1]["content"],
                "sampled": answers[0]["response"],
                "score_chosen": pair["score_chosen"],
                "score_rejected": pair["score_rejected"],
                "win_rate_chosen": rate_of[pair["chosen_model"]],
                "win_rate_rejected": rate_of[pair["rejected_model"]],
            }
        )
    return rows, made.row_counts().as_dict()


def train_round(
    folder: Path,
    start: Path,
    feedback: Path,
    objective: OnlineObjective,
    recipe: Recipe,
    max_new_tokens: int,
    chat_template: TemplateChoice | None = None,
) -> dict[str, Any]:
    """Train one round and leave the merged model in ``model/``, its pairs in `PAIRS_FILE`, its log
    in ``log.json``.

    A round that was killed is trained again from its start, to the same weights.

    Args:
        folder: where they are written.
        start: directory of the last round's model, the start and the reference.
        feedback: rated answers of that model.
        recipe: the recipe of ``ddpo``; one step takes its effective batch at once.
        max_new_tokens: of the samples for the KL divergence, as of the rated answers; with more, a
            prompt need not fit into the context.
        chat_template: as for `chat.prepare_tokenizer`.

    Returns:
        Row counts; ``first_loss`` and ``last_loss``; ``kl``, the divergence of the new model from
        its reference in nats per answer, and ``kl_per_token``, estimated on its own samples.

    Raises:
        HandbookError: no pair can be made, the policy does not begin as its reference, or the loss
            is NaN or infinite.
    """
    rated: list[Feedback] = load_records(feedback, "feedback").records
    rows, counts = round_pairs(rated, objective.win_temperature)
    save_records(rows, folder / PAIRS_FILE)
    model, tokenizer = load_for_training(start, "ddpo", recipe, chat_template)
    pairs = _encoded(tokenizer, rows, objective.sides)
    reference = {
        side: row_log_probs(model, texts, int(tokenizer.pad_token_id))
        for side, texts in pairs.items()
    }
    rates = {
        side: torch.tensor([row[f"win_rate_{side}"] for row in rows])
        for side in ("chosen", "rejected")
    }
    policy = _with_adapter(model, recipe)
    log = []
    batches = list(_batches(len(rows), recipe))
    optimiser, schedule = _optimiser(policy, recipe, len(batches))
    for n, batch in enumerate(track(batches, f"{objective.method}: optimiser steps")):
        ratios = _log_ratios(policy, pairs, reference, batch, objective, tokenizer)
        if n == 0:
            _check_start(ratios)
        loss = _loss(ratios, {side: rate[batch] for side, rate in rates.items()}, objective, recipe)
        if not loss.isfinite():
            raise HandbookError(
                f"the loss is NaN or infinite after {n} steps",
                where=f"round with {objective.method}",
                remedy="lower the learning rate (--set ddpo.learning_rate=...)",
            )
        loss.backward()
        weights = [weight for weight in policy.parameters() if weight.requires_grad]
        norm = torch.nn.utils.clip_grad_norm_(weights, recipe.get("max_grad_norm", 1.0) or math.inf)
        optimiser.step()
        schedule.step()
        optimiser.zero_grad()
        chosen, rejected = ratios["chosen"], ratios["rejected"]
        log.append(
            {
                "step": n + 1,
                "loss": loss.item(),
                "grad_norm": float(norm),
                "accuracy": (chosen > rejected).float().mean().item(),
                "logratio_chosen": chosen.mean().item(),
                "logratio_rejected": rejected.mean().item(),
            }
        )
    merged = policy.merge_and_unload() if hasattr(policy, "merge_and_unload") else policy
    asked = [row["prompt"] for row in rows[:KL_PROMPTS]]
    before, _ = load_for_training(start, "ddpo", recipe, chat_template)
    divergence = _divergence(
        merged, before, tokenizer, asked, max_new_tokens, recipe.get("seed", 0)
    )
    if (moved := divergence["kl_per_token"]) > FAR:
        say(
            f"The model has moved {moved:.2f} nats per token from its reference, under which its "
            f"answers are now very unlikely: lower the learning rate, or {objective.closer}."
        )
    merged.save_pretrained(folder / MODEL)
    tokenizer.save_pretrained(folder / MODEL)
    write_json(folder / LOG, plain_value(log), indent=1)
    return {
        **counts,
        "updates": len(log),
        "first_loss": log[0]["loss"],
        "last_loss": log[-1]["loss"],
        "score_chosen": float(np.mean([row["score_chosen"] for row in rows])),
        "score_rejected": float(np.mean([row["score_rejected"] for row in rows])),
        **divergence,
    }


def _encoded(
    tokenizer: PreTrainedTokenizerBase, rows: Sequence[Mapping[str, Any]], sides: Sequence[str]
) -> dict[str, list[Row]]:
    """The ids of each row's conversations, one a side, and where their answers begin."""
    return {
        side: [
            answer_row(
                tokenizer,
                [*as_conversation(row["prompt"]), {"role": "assistant", "content": row[side]}],
            )
            for row in rows
        ]
        for side in sides
    }


def _with_adapter(model: PreTrainedModel, recipe: Recipe) -> Any:
    """The model with the recipe's adapter; as it is if the recipe trains all weights."""
    config = lora_config(recipe)
    if config is None:
        return model
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.get("seed", 0))  # the adapter's first weights are drawn
        return get_peft_model(model, config).eval()  # no dropout, as TRL has none in DPO


def _batches(count: int, recipe: Recipe) -> Iterator[list[int]]:
    """Each epoch's pairs in a new order, an effective batch at a time, for as many steps as TRL's
    trainers would make.
    """
    generator, size = np.random.default_rng(recipe.get("seed", 0)), recipe.rows_per_step
    steps = recipe.get("max_steps", -1)
    if steps < 0:  # not set
        steps = math.ceil(recipe.get("num_train_epochs", 1) * math.ceil(count / size))
    orders = (generator.permutation(count).tolist() for _ in range(steps))
    each = (order[at : at + size] for order in orders for at in range(0, count, size))
    return islice(each, steps)


def _optimiser(policy: Any, recipe: Recipe, steps: int) -> tuple[Any, Any]:
    weights = [weight for weight in policy.parameters() if weight.requires_grad]
    rate, decay = recipe["learning_rate"], recipe.get("weight_decay", 0.0)
    optimiser = torch.optim.AdamW(weights, lr=rate, weight_decay=decay)
    warmup = recipe.get("warmup_steps", 0)
    if warmup < 1:  # a share, as transformers reads it
        warmup = math.ceil(warmup * steps)
    kind = recipe.get("lr_scheduler_type", "linear")
    schedule = get_scheduler(kind, optimiser, int(warmup), steps)
    return optimiser, schedule


def _log_ratios(
    policy: Any,
    pairs: Mapping[str, list[Row]],
    reference: Mapping[str, Tensor],
    batch: list[int],
    objective: OnlineObjective,
    tokenizer: PreTrainedTokenizerBase,
) -> dict[str, Tensor]:
    """log pi - log pi_t of the batch's answers, (batch,) each, in nats, from one forward pass."""
    sides = objective.sides
    rows = [pairs[side][i] for side in sides for i in batch]
    sums = batch_log_probs(policy, rows, int(tokenizer.pad_token_id)).chunk(len(sides))
    return {
        side: ours - reference[side][batch].to(ours.device)
        for side, ours in zip(sides, sums, strict=True)
    }


def _check_start(ratios: Mapping[str, Tensor]) -> None:
    furthest = max(float(ratio.detach().abs().max()) for ratio in ratios.values())
    if not furthest <= NO_STEP:
        raise HandbookError(
            f"before the first step a log-ratio is {furthest:.3g} nats, and not 0: the policy does "
            "not begin as its reference",
            where="the round's start",
            remedy="let the round begin from the model that gave the answers, with a new adapter",
        )


def _loss(
    ratios: Mapping[str, Tensor],
    rates: Mapping[str, Tensor],
    objective: OnlineObjective,
    recipe: Recipe,
) -> Tensor:
    chosen, rejected = ratios["chosen"], ratios["rejected"]
    if objective.method == "sppo":
        wins = rates["chosen"].to(chosen.device), rates["rejected"].to(chosen.device)
        return sppo_loss(chosen, rejected, wins[0], wins[1], objective.eta)
    none = torch.zeros_like(chosen)  # log-ratios stand for the policy, against a reference of 0
    pair, beta = (chosen, rejected, none, none), recipe["beta"]
    if objective.method == "selm":
        return selm_loss(*pair, beta, sampled_logratios=ratios["sampled"], alpha=objective.alpha)
    return dpo_loss(*pair, beta)


def _divergence(
    policy: Any,
    reference: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    max_new_tokens: int,
    seed: int,
) -> dict[str, float]:
    """KL(policy || its reference), estimated on one sample of the policy to each prompt, in nats;
    and what else these samples say.
    """
    answers = sample_answers(
        policy, prompts, 1, tokenizer=tokenizer, max_new_tokens=max_new_tokens, seed=seed
    )
    said = [group[0] for group in answers]
    asked = [encode_prompt(tokenizer, as_conversation(prompt)) for prompt in prompts]
    rows = [(ids + one.token_ids, len(ids)) for ids, one in zip(asked, said, strict=True)]
    under_reference = row_log_probs(reference, rows, int(tokenizer.pad_token_id))
    total = sum(one.log_prob for one in said) - float(under_reference.sum())
    tokens = sum(one.n_tokens for one in said)
    return {
        "kl": total / len(said),
        "kl_per_token": total / tokens,
        "ended": sum(one.ended for one in said) / len(said),
        "distinct": len({one.text for one in said}) / len(said),
    }
