"""Rows as token ids: TRL's own for ordinary text, and no special token from a content."""

import json

import pytest
import torch
from tiny import tiny_model, tiny_tokenizer
from tokenizers import pre_tokenizers
from transformers import AutoTokenizer
from trl.data_utils import _tokenize
from trl.data_utils import common_prefix_length as trls_common_prefix

from zephyr_utils import training
from zephyr_utils.chat import encode, load_model, prepare_tokenizer
from zephyr_utils.data.records import save_records
from zephyr_utils.data.schema import check_dialogue, check_preference
from zephyr_utils.miniature import BASE_FOLDER, data
from zephyr_utils.pipeline.steps.dsft import train_dsft
from zephyr_utils.preferences import binarize
from zephyr_utils.scales import get_scale
from zephyr_utils.training import stages
from zephyr_utils.training.encoding import encode_dialogue, encode_pair
from zephyr_utils.training.rows import fit_dialogues, fit_pairs, split_prompt

SHORT = {
    "per_device_train_batch_size": 4,
    "max_steps": 2,
    "logging_steps": 1,
    "save_strategy": "no",
}


def recipe(stage, **changes):
    return get_scale("miniature").recipe(stage, **{**SHORT, **changes})


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


def strike(word):
    """An answer about HTML's <s>, which is also the name of a special token."""
    answer = f"Write <s>{word}</s> and the browser draws a line through it."
    return {"messages": [user(f"How do I strike out {word}?"), assistant(answer)]}


def struck_pair(word):
    chosen = strike(word)["messages"]
    row = {"chosen": chosen, "rejected": [chosen[0], assistant("No </s> idea.")]}
    return row | {"prompt": chosen[0]["content"], "score_chosen": 8.0, "score_rejected": 2.0}


@pytest.fixture(scope="module")
def miniature():
    tokenizer = AutoTokenizer.from_pretrained(BASE_FOLDER)
    prepare_tokenizer(tokenizer)
    return tokenizer


def trls_pair(tokenizer, row):
    """What TRL 1.16 makes of a pair."""
    prompt = _tokenize(tokenizer, row["prompt"], add_generation_prompt=True)["input_ids"]
    whole = {
        side: _tokenize(tokenizer, row["prompt"] + row[side])["input_ids"]
        for side in ("chosen", "rejected")
    }
    begins = min(trls_common_prefix(prompt, ids) for ids in whole.values())
    return {"prompt_ids": prompt[:begins]} | {
        f"{side}_ids": ids[begins:] for side, ids in whole.items()
    }


def test_ordinary_rows_have_the_ids_that_trl_gives_them(miniature):
    for row in data.dialogues(60):
        row = check_dialogue(row)
        ids = _tokenize(miniature, row["messages"])["input_ids"]
        assert encode_dialogue(row, miniature) == {"input_ids": ids, "labels": ids}
    pairs = binarize(data.feedback(60)).pairs
    assert len(pairs) > 40
    for pair in pairs:
        row = split_prompt(pair)
        assert encode_pair(row, miniature) == trls_pair(miniature, row)


def test_an_answer_begins_where_prompt_and_text_part_as_in_trl():
    """Llama 3 and others make one token of two line breaks, so that the prompt's last is lost."""
    tokenizer = tiny_tokenizer()
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(
        add_prefix_space=False, use_regex=False
    )
    tokenizer.add_tokens(["\n\n"])
    prepare_tokenizer(tokenizer)
    row = {"prompt": [user("Hi")], "chosen": [assistant("\nYo")], "rejected": [assistant("No")]}
    ours = encode_pair(row, tokenizer)
    assert ours == trls_pair(tokenizer, row)
    assert ours["chosen_ids"][0] == tokenizer.convert_tokens_to_ids("\n\n")
    assert tokenizer.decode(ours["rejected_ids"]).startswith("\nNo")
    model = tiny_model()
    model.resize_token_embeddings(len(tokenizer))
    whole = ours["prompt_ids"] + ours["chosen_ids"]
    with torch.no_grad():
        scores = model(torch.tensor([whole])).logits[0].log_softmax(-1)
    begins = len(ours["prompt_ids"])
    by_hand = sum(float(scores[n - 1, whole[n]]) for n in range(begins, len(whole)))
    [scored] = training.answer_log_probs(model, tokenizer, [[user("Hi"), assistant("\nYo")]])
    assert float(scored) == pytest.approx(by_hand, abs=1e-4)


def test_rows_that_hold_special_tokens_are_kept_counted_and_said(miniature):
    rows = [strike("red"), check_dialogue(data.dialogues(1)[0]), strike("blue")]
    fitted = fit_dialogues(miniature, rows, 512)
    assert fitted.rows == rows and fitted.with_special_tokens == 2
    assert fitted.special_tokens == {"<s>": 2, "</s>": 2}
    assert "; 2 kept hold special tokens as text (" in fitted.report()
    assert fitted.row_counts()["with_special_tokens"] == 2
    pairs = [struck_pair("red"), *binarize(data.feedback(4)).pairs]
    fitted = fit_pairs(miniature, pairs, 768)
    assert fitted.with_special_tokens == 1 and fitted.special_tokens["</s>"] == 1
    assert "special" not in fit_pairs(miniature, pairs[1:], 768).report()


def test_what_is_cut_off_is_not_counted_among_the_rows_with_special_tokens(miniature):
    messages = [user("Hi"), assistant("Yo"), *strike("red " * 400)["messages"]]
    fitted = fit_dialogues(miniature, [{"messages": messages}], 100)
    assert fitted.shortened == 1 and fitted.with_special_tokens == 0


@pytest.mark.slow
@pytest.mark.parametrize("assistant_only", [False, True])
def test_dsft_trains_one_end_a_turn_on_answers_about_html(assistant_only, tmp_path, monkeypatch):
    seen = []

    def caught(trainer, output):
        seen.append(trainer.train_dataset)
        raise KeyboardInterrupt

    monkeypatch.setattr(stages, "train_and_log", caught)
    rows = [strike(word) for word in ("red", "blue", "green", "north")]
    asked = recipe("dsft", assistant_only_loss=assistant_only)
    with pytest.raises(KeyboardInterrupt):
        training.dsft(BASE_FOLDER, rows, rows, tmp_path, asked)
    [dataset] = seen
    tokenizer = load_model(BASE_FOLDER)[1]
    prepare_tokenizer(tokenizer)
    for row, encoded in zip(rows, dataset, strict=True):
        ids, labels = encode(tokenizer, row["messages"], assistant_only)
        assert (encoded["input_ids"], encoded["labels"]) == (ids, labels)
        assert ids.count(tokenizer.eos_token_id) == 2 and tokenizer.bos_token_id not in ids
        counted = [label for label in labels if label != -100]
        assert counted.count(tokenizer.eos_token_id) == (1 if assistant_only else 2)


@pytest.mark.slow
def test_ddpo_its_reference_and_our_scores_see_the_same_tokens(tmp_path):
    pairs = [check_preference(struck_pair(word)) for word in ("red", "blue", "green", "north")]
    trainer = training.ddpo_trainer(BASE_FOLDER, pairs, tmp_path / "run", recipe("ddpo"))
    model, tokenizer = load_model(BASE_FOLDER, dtype="float32")
    prepare_tokenizer(tokenizer)
    for pair, row in zip(pairs, trainer.train_dataset, strict=True):
        for side in ("chosen", "rejected"):
            ids = row["prompt_ids"] + row[f"{side}_ids"]
            assert ids == encode(tokenizer, pair[side])[0]
            assert row[f"{side}_ids"].count(tokenizer.eos_token_id) == 1
    for side in ("chosen", "rejected"):
        ours = training.answer_log_probs(model, tokenizer, [pair[side] for pair in pairs])
        cached = trainer.train_dataset[f"ref_{side}_logps"][:]
        assert cached == pytest.approx(ours.tolist(), abs=1e-3)
    made = training.ddpo(BASE_FOLDER, pairs, tmp_path / "made", recipe("ddpo"))
    assert made.metrics["first_step_logps_chosen"] == pytest.approx(
        made.metrics["sft_logps_chosen"], abs=1e-3
    )


@pytest.mark.slow
def test_the_step_says_how_many_rows_hold_special_tokens(tmp_path, capsys):
    rows = [check_dialogue(strike(f"word {n}")) for n in range(24)]
    save_records(rows, tmp_path / "rows.parquet")
    made = train_dsft(
        tmp_path / "made", str(BASE_FOLDER), tmp_path / "rows.parquet", recipe("dsft")
    )
    assert made["with_special_tokens"] == made["rows_out"] == 24
    assert "24 kept hold special tokens as text" in capsys.readouterr().err


@pytest.mark.slow
def test_a_log_is_strict_json_whatever_was_logged(tmp_path):
    from zephyr_utils.training.save import LOG, save_trained

    trainer = training.ddpo_trainer(
        BASE_FOLDER, binarize(data.feedback(8)).pairs, tmp_path, recipe("ddpo")
    )
    log = [{"loss": 0.5, "step": 1}, {"loss": float("nan"), "grad_norm": float("inf"), "step": 2}]
    save_trained(trainer, trainer.processing_class, tmp_path, log, recipe("ddpo"), False)

    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    kept = json.loads((tmp_path / LOG).read_text(), parse_constant=refuse)
    assert kept == [{"loss": 0.5, "step": 1}, {"loss": None, "grad_norm": None, "step": 2}]
