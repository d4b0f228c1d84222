"""What rounding leaves of the checkpoints of a run, for `browser.py`."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from checkpoints import kept_adapters
from live_models import checkpoints_of, models_of
from torch import Tensor
from transformers import PreTrainedModel

from zephyr_utils.chat import encode, load_model, prepare_tokenizer
from zephyr_utils.data.records import load_records
from zephyr_utils.explorers.changes import product_of
from zephyr_utils.explorers.learning import STARTS, model_at
from zephyr_utils.explorers.weights import BrowserModels
from zephyr_utils.miniature import BASE_FOLDER
from zephyr_utils.pipeline.pipeline import DDPO, DSFT, TRUECASING
from zephyr_utils.pipeline.steps.kept import merged_models
from zephyr_utils.pipeline.steps.truecase import DIALOGUES
from zephyr_utils.training import MODEL

EVERY = 100  # of the dialogues


def of_checkpoints(run: Path) -> dict[str, Any]:
    """Bytes of the files that a reader fetches, and the share of equal tokens of each checkpoint.

    A token is equal if the checkpoint as it is read and the exact one find the same one likeliest
    at its place, both reading the dialogue as it stands (teacher forcing). Compared are tokens of
    answers; the model below the checkpoints is exact in both.

    Args:
        run: with dSFT, dDPO and the checkpoints of both.
    """
    own = models_of(run)
    kept = checkpoints_of(run, own) if own else {}
    if own is None or len(kept) < len(STARTS):
        raise SystemExit(f"{run} has no checkpoints: python tools/checkpoints.py")
    _, tokenizer = load_model(BASE_FOLDER, dtype="float32")
    prepare_tokenizer(tokenizer)
    records = load_records(run / TRUECASING / DIALOGUES, "dialogue").records[::EVERY]
    rows = [encode(tokenizer, row["messages"], True) for row in records]
    dsft, ddpo = (
        {model_at(step): folder for step, folder in kept_adapters(run, stage).items()}
        for stage in (DSFT, DDPO)
    )
    equal = {
        "dSFT": _equal(BASE_FOLDER, dsft, own, "dSFT", kept["dSFT"], rows),
        "dDPO": _equal(run / DSFT / MODEL, ddpo, own, "dDPO", kept["dDPO"], rows),
    }
    fetched = {f"checkpoints of {stage}": len(part.payload) for stage, part in kept.items()}
    return {
        "bytes": {"models": len(own.payload), **fetched},
        "checkpoints": {"tokens": len(torch.cat([_wanted(row) for row in rows])), "equal": equal},
    }


def _steps(kept: BrowserModels) -> list[int]:
    return [int(model["name"].removeprefix("step ")) for model in kept.header["models"]]


def _equal(
    start: Path,
    adapters: Mapping[str, Path],
    own: BrowserModels,
    end: str,
    kept: BrowserModels,
    rows: list[Any],
) -> dict[str, float]:
    """Checkpoint -> share of places at which both find the same token likeliest."""
    exact = {step: adapters[model_at(step)] for step in _steps(kept)}
    pairs = zip(merged_models(start, exact), _as_read(start, own, end, kept), strict=True)
    shares = {}
    for (step, one), other in pairs:
        same = _likeliest(one, rows) == _likeliest(other, rows)
        shares[model_at(step)] = float(same.float().mean())
    del shares[model_at(0)]  # the start, the same model in both
    return shares


def _as_read(
    start: Path, own: BrowserModels, end: str, kept: BrowserModels
) -> Iterator[PreTrainedModel]:
    """The start, and the checkpoints as a browser reads them: each on the one before, or on the
    end of its training.
    """
    model, _ = load_model(start, dtype="float32")
    yield model
    trained = next(listed for listed in own.header["models"] if listed["name"] == end)
    changed = {end: product_of(own.adapters[end], trained["scale"])}
    weights = {place: model.get_parameter(f"model.{place}.weight").data for place in changed[end]}
    at_start = {place: values.clone() for place, values in weights.items()}
    for listed in kept.header["models"]:
        now = dict(changed.get(listed["on"], {}))  # nothing for the start
        for place, change in product_of(kept.adapters[listed["name"]], 1.0).items():
            now[place] = now[place] + change if place in now else change
        changed[listed["name"]] = now
        for place, values in weights.items():
            values.copy_(at_start[place])
            if place in now:
                values += torch.from_numpy(now[place])
        yield model


def _wanted(row: Any) -> Tensor:
    """The places at which the next token is one of an answer."""
    return torch.tensor([label >= 0 for label in row[1][1:]]).nonzero()[:, 0]


@torch.no_grad()
def _likeliest(model: PreTrainedModel, rows: list[Any]) -> Tensor:
    found = [model(torch.tensor([row[0]])).logits[0, _wanted(row)].argmax(-1) for row in rows]
    return torch.cat(found)
