"""What trainers and trackers call the columns of a preference run, and TRL's names for them.

Writers name the same figure in different ways: ``eval_rewards/margins`` (a trainer's history),
``Rewards/margins`` beside ``Validation Loss`` (a model card), ``eval/rewards/margins`` (Weights &
Biases, TensorBoard, Trackio), ``my-run - eval/rewards/margins`` (a panel of Weights & Biases).
Trainers other than TRL have names of their own: ``chosen_reward`` and ``reject_reward``
(OpenRLHF), ``rewards_chosen_mean`` (NeMo), ``rewards_eval/chosen`` and ``loss/eval`` (the DPO
paper's code), ``log_probs/chosen`` (torchtune), ``rewards/margin`` (open-instruct, Tunix),
``actor/reward_accuracy`` (verl).
"""

import re
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

LogKind = Literal["training", "evaluation"]
PAIR = ("rewards/chosen", "rewards/rejected")

_PREFIXES: dict[str, LogKind] = {
    "train/": "training",
    "actor/": "training",
    "eval/": "evaluation",
    "eval_": "evaluation",
    "val/": "evaluation",
    "val_": "evaluation",
    "validation/": "evaluation",
    "validation_": "evaluation",
}
# The DPO paper's code has the kind in the middle: rewards_train/chosen, loss/eval.
_INNER_KIND = re.compile(r"(rewards|logps)_(train|eval)/(.+)|(loss)/(train|eval)")
_RENAMED = {"training_loss": "loss", "lr": "learning_rate"}
_SIDE = r"(chosen|reject(?:ed)?)"
_LOGPS = r"(?:logps?|log_?probs?)"
_OTHER_TRAINERS = (
    (re.compile(rf"rewards?[/_]{_SIDE}(?:_rewards?)?(?:_mean)?"), "rewards/"),
    (re.compile(rf"{_SIDE}_rewards?(?:_mean)?"), "rewards/"),
    (re.compile(rf"(?:policy_)?{_LOGPS}[/_]{_SIDE}(?:_{_LOGPS})?"), "logps/"),
    (re.compile(rf"(?:policy_)?{_SIDE}_{_LOGPS}"), "logps/"),
    (re.compile(r"rewards?[/_](margin)s?(?:_mean)?"), "rewards/"),
    (re.compile(r"rewards?[/_](accurac)(?:y|ies)(?:_mean)?"), "rewards/"),
)
_PARTS = {"reject": "rejected", "margin": "margins", "accurac": "accuracies"}
# Names that mean the accuracy of pairs, and the loss, where rewards of pairs are beside them.
_ACCURACIES = ("acc", "accuracy")
_LOSSES = ("preference_loss", "dpo_loss", "kto_loss")
_SHARED = re.compile(rf"(?:^|/){_SIDE}_rewards?$|rewards_{_SIDE}_mean$")
_OF_A_POLICY = ("sft_loss", "nll_loss", "kto_loss", "dpo_loss", "kl")


class Column(NamedTuple):
    """A column's place: its kind (None where the row decides) and its name as TRL has it."""

    kind: LogKind | None
    name: str


def column_of(key: object) -> Column | None:
    """Where a raw column belongs; None for the range columns of a Weights & Biases panel."""
    name = str(key).strip().lower().rpartition(" - ")[2]
    name = name.replace(" / ", "/").replace(" ", "_")
    if name.endswith(("__min", "__max")):
        return None
    if inner := _INNER_KIND.fullmatch(name):
        family, word, rest, loss, loss_word = inner.groups()
        kind: LogKind = "training" if (word or loss_word) == "train" else "evaluation"
        return Column(kind, loss or _name_of_trl(f"{family}/{rest}"))
    for prefix, kind in _PREFIXES.items():
        if name.startswith(prefix):
            rest = name.removeprefix(prefix)
            # OpenRLHF logs eval/eval_loss.
            rest = rest.removeprefix("eval_") if prefix == "eval/" else rest
            return Column(kind, "learning_rate" if rest == "lr" else _name_of_trl(rest))
    name = _name_of_trl(_RENAMED.get(name, name))
    return Column("training" if name in ("loss", "learning_rate", "grad_norm") else None, name)


def _name_of_trl(name: str) -> str:
    for pattern, family in _OTHER_TRAINERS:
        if match := pattern.fullmatch(name):
            return family + _PARTS.get(match[1], match[1])
    return name


def columns_of(keys: Iterable[object]) -> Mapping[object, Column]:
    """The columns of a whole log by their raw names, without those of :func:`column_of`'s None.

    Some names say what they are only by what is beside them: an ``accuracy`` is that of pairs
    where rewards of pairs are logged as well (or in LLaMA-Factory's ``trainer_log.jsonl``), and a
    ``preference_loss`` is the loss where no other is. OpenRLHF's ``acc_mean`` is read of
    evaluations alone: in training it is a running mean that begins at 0.
    """
    columns = {key: column for key in keys if (column := column_of(key)) is not None}
    # NeMo-Aligner; a trainer of transformers has train_loss in the row that sums up the run.
    ours = [key for key in columns if columns[key].name.startswith("train_")]
    if any(columns[key].name.startswith("train_rewards_") for key in ours):
        for key in ours:
            name = columns[key].name.removeprefix("train_")
            columns[key] = Column("training", _name_of_trl(name))
    names = {column.name for column in columns.values()}
    is_pair = {*PAIR} <= names
    has_accuracies = is_pair or {"current_steps", "total_steps"} <= names
    with_loss = {kind for kind, name in columns.values() if name == "loss"}
    for key, (kind, name) in columns.items():
        is_accuracy = name in _ACCURACIES or (name == "acc_mean" and kind == "evaluation")
        if is_accuracy and has_accuracies:
            columns[key] = Column(kind, "rewards/accuracies")
        elif is_pair and name in _LOSSES and not with_loss & {kind, kind or "training"}:
            columns[key] = Column(kind, "loss")
    return columns


def shared_names(columns: Mapping[object, Column]) -> tuple[str, ...]:
    """The columns of rewards whose names their trainers give to the scores of a reward model too
    (OpenRLHF, NeMo), unless another column shows that a policy was trained.
    """
    if any(c.name in _OF_A_POLICY or c.name.startswith("logps/") for c in columns.values()):
        return ()
    return tuple(sorted(str(key) for key in columns if _SHARED.search(str(key).lower())))
