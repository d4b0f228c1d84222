"""Whatever base model is brought: what does not fit is refused or said before the first step."""

import os

import pytest
import torch
from tiny import tiny_model, tiny_tokenizer
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    OPTConfig,
    OPTForCausalLM,
)

from zephyr_utils import training
from zephyr_utils.chat import ZEPHYR_TEMPLATE, load_model, prepare_tokenizer
from zephyr_utils.data.records import save_records
from zephyr_utils.data.schema import check_dialogue
from zephyr_utils.errors import HandbookError
from zephyr_utils.pipeline.steps.dsft import split_dialogues, train_dsft
from zephyr_utils.recipes import Recipe
from zephyr_utils.scales import get_scale
from zephyr_utils.training import preflight
from zephyr_utils.training.preflight import check_before_training
from zephyr_utils.training.rows import fit_dialogues

SMALL = {"vocab_size": 320, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 3}


def gpt2(positions=256, **settings):
    size = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": positions}
    return GPT2LMHeadModel(GPT2Config(**{**SMALL, **size, **settings}))


def neox():
    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    return GPTNeoXForCausalLM(GPTNeoXConfig(num_attention_heads=4, **SMALL, **size))


def opt(positions=64):
    size = {"hidden_size": 32, "ffn_dim": 64, "num_hidden_layers": 2, "word_embed_proj_dim": 32}
    return OPTForCausalLM(
        OPTConfig(num_attention_heads=4, max_position_embeddings=positions, **SMALL, **size)
    )


def recipe(stage="dsft", **changes):
    short = {"per_device_train_batch_size": 8, "max_steps": 2, "logging_steps": 1}
    return get_scale("miniature").recipe(stage, **{**short, "save_strategy": "no", **changes})


def dialogues(count=40):
    def row(n):
        texts = (f"What is {n} plus one?", f"It is {n + 1}.", "And minus?", f"It is {n - 1}.")
        roles = ("user", "assistant") * 2
        turns = [{"role": r, "content": t} for r, t in zip(roles, texts, strict=True)]
        return check_dialogue({"messages": turns})

    return [row(n) for n in range(count)]


def saved(folder, model, tokenizer=None):
    model.save_pretrained(folder)
    (tokenizer or tiny_tokenizer()).save_pretrained(folder)
    return folder


def checked(model, tmp_path, tokenizer=None, held_out=None, **changes):
    tokenizer = tokenizer or tiny_tokenizer()
    prepare_tokenizer(tokenizer)
    return check_before_training(model, tokenizer, recipe(**changes), tmp_path / "output", held_out)


# --- modules that get an adapter ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "own"),
    [
        (gpt2, "c_attn, c_fc, c_proj"),
        (neox, "dense, dense_4h_to_h, dense_h_to_4h, query_key_value"),
    ],
)
def test_a_model_without_the_recipes_modules_is_refused_with_the_names_of_its_own(
    make, own, tmp_path
):
    with pytest.raises(HandbookError, match=rf"(?s)\[{own}\].*lora_target_modules: all-linear"):
        checked(make(), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("make", [gpt2, neox])
def test_with_all_linear_such_a_model_is_trained(make, tmp_path):
    base = saved(tmp_path / "base", make())
    rows = dialogues()
    asked = recipe(lora_target_modules="all-linear", max_length=128)
    trained = training.dsft(base, rows[:32], rows[32:], tmp_path / "made", asked)
    assert trained.metrics["held_out_loss"] < trained.metrics["held_out_loss_before"]
    assert load_model(trained.model)[0].config.model_type == make().config.model_type


def test_modules_that_are_missing_beside_others_are_named(tmp_path):
    names = ["q_proj", "k_proj", "fc1", "gate_proj"]
    notes = checked(opt(256), tmp_path, lora_target_modules=names, max_length=128).notes
    assert any(note.endswith("no adapter: gate_proj") for note in notes)
    notes = checked(opt(256), tmp_path, lora_target_modules=names[:3], max_length=128).notes
    assert not any("no adapter" in note for note in notes)


def test_a_training_of_all_weights_asks_for_no_modules(tmp_path):
    checked(gpt2(), tmp_path, use_peft=False, max_length=128)


# --- vocabulary and context -----------------------------------------------------------------------


def test_a_tokenizer_with_more_tokens_than_the_embedding_has_rows_is_refused(tmp_path):
    model = gpt2(vocab_size=300)
    with pytest.raises(HandbookError, match=r"tokens up to 319 .*embedding has 300 rows"):
        checked(model, tmp_path)


def test_a_padding_token_behind_the_embedding_is_refused(tmp_path):
    tokenizer = tiny_tokenizer(pad_token=None)
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    with pytest.raises(HandbookError, match=r"tokens up to 320 \(`\[PAD\]`\)"):
        checked(tiny_model(), tmp_path, tokenizer)


@pytest.mark.parametrize(
    ("make", "asked", "taken", "warned"),
    [
        (lambda: opt(64), 512, 64, True),
        (lambda: gpt2(64), 512, 64, True),
        (tiny_model, 512, 256, True),
        (tiny_model, 128, 128, False),
        (tiny_model, None, 512, True),  # the miniature's recipe says 512
    ],
)
def test_the_smaller_of_max_length_and_context_is_taken_and_said(
    make, asked, taken, warned, tmp_path
):
    checks = checked(make(), tmp_path, max_length=asked, use_peft=False)
    assert checks.max_length == min(taken, 256)
    said = [line for line in checks.warnings if f"{checks.max_length:,} is taken" in line]
    assert bool(said) == warned


def test_a_recipe_without_a_limit_takes_the_context(tmp_path):
    tokenizer = tiny_tokenizer()
    prepare_tokenizer(tokenizer)
    unlimited = Recipe("dsft", recipe() | {"max_length": None})
    checks = check_before_training(tiny_model(), tokenizer, unlimited, tmp_path, None)
    assert checks.max_length == 256 and "max_length is none" in checks.warnings[0]


@pytest.mark.slow
@pytest.mark.parametrize("make", [lambda: opt(64), lambda: gpt2(64)], ids=["opt", "gpt2"])
def test_rows_longer_than_the_context_are_set_aside_and_counted_before_training(
    make, tmp_path, capsys
):
    base = saved(tmp_path / "base", make())
    save_records(dialogues(), tmp_path / "rows.parquet")
    asked = recipe(lora_target_modules="all-linear", max_length=512)
    train, held_out, fitted = split_dialogues(tmp_path / "rows.parquet", str(base), 512)
    assert max(fitted.lengths) > 64 and fitted.shortened == 40 and fitted.rows_in == 40
    results = train_dsft(tmp_path / "made", str(base), tmp_path / "rows.parquet", asked)
    assert results["rows_trained"] == len(train) and results["shortened"] == 40
    said = capsys.readouterr().err
    assert "64 is taken" in said and "| 64 (max_length) |" in said
    assert "are cut there" not in said
    assert len(held_out) + len(train) == 40


@pytest.mark.slow
def test_rows_that_nobody_has_fitted_are_counted_where_they_are_cut(tmp_path, capsys):
    base = saved(tmp_path / "base", opt(64))
    rows = dialogues()
    asked = recipe(lora_target_modules="all-linear", max_length=512)
    training.dsft(base, rows[:32], [check_short(rows[33])], tmp_path / "made", asked)
    assert "dSFT: 32 of 32 rows are longer than 64 tokens and are cut" in capsys.readouterr().err


def check_short(row):
    return row | {"messages": row["messages"][:2]}


def test_a_table_says_how_many_rows_fit_whole_at_which_length():
    tokenizer = tiny_tokenizer()
    prepare_tokenizer(tokenizer)
    fitted = fit_dialogues(tokenizer, dialogues(20), 100)
    table = fitted.length_table(100).splitlines()
    assert table[2] == f"| 100 (max_length) | {sum(n <= 100 for n in fitted.lengths)} | " + (
        f"{100 * sum(n <= 100 for n in fitted.lengths) / 20:.0f} % |"
    )
    assert table[-1].endswith("| 20 | 100 % |")


# --- beginnings, ends, padding --------------------------------------------------------------------


def test_a_beginning_that_the_template_leaves_out_is_said(tmp_path):
    notes = checked(tiny_model(), tmp_path, max_length=128).notes
    assert any(note.startswith("conversations begin without <s>") for note in notes)
    with_bos = tiny_tokenizer()
    prepare_tokenizer(with_bos)
    with_bos.chat_template = "{{ bos_token }}" + with_bos.chat_template
    notes = check_before_training(
        tiny_model(), with_bos, recipe(max_length=128), tmp_path, None
    ).notes
    assert not any("begin without" in note for note in notes)


def test_padding_by_the_end_token_is_said_and_padding_of_its_own_is_not(tmp_path):
    shared = tiny_tokenizer(pad_token=None, unk_token="</s>")
    assert any(
        "which also ends turns" in note for note in checked(tiny_model(), tmp_path, shared).notes
    )
    assert not any("also ends" in note for note in checked(tiny_model(), tmp_path).notes)


def test_a_chat_template_of_the_models_own_is_kept_and_one_that_is_replaced_is_said(
    tmp_path, capsys
):
    tokenizer = tiny_tokenizer()
    for template, said in ((None, False), (ZEPHYR_TEMPLATE, False), ("{{ messages }}", True)):
        tokenizer.chat_template = template
        base = saved(tmp_path / "base", tiny_model(), tokenizer)
        _, loaded = training.load_for_training(base, "dsft", recipe())
        assert loaded.chat_template == (template or ZEPHYR_TEMPLATE)
        assert "is replaced" not in capsys.readouterr().err
        _, loaded = training.load_for_training(base, "dsft", recipe(), "zephyr")
        assert loaded.chat_template == ZEPHYR_TEMPLATE
        assert ("own chat template is replaced" in capsys.readouterr().err) == said
        (base / "chat_template.jinja").unlink(missing_ok=True)


ROLES = "{% for m in messages %}{{ m['role'] + m['content'] + END }}{% endfor %}"


def test_an_own_template_whose_answers_do_not_end_with_the_end_token_is_warned_about(tmp_path):
    for end, warned in (("eos_token", False), ("'<end>'", True)):
        tokenizer = tiny_tokenizer()
        tokenizer.chat_template = ROLES.replace("END", end)
        warnings = checked(tiny_model(), tmp_path, tokenizer, max_length=128).warnings
        assert any("does not end with </s>" in line for line in warnings) == warned


def test_answers_alone_cannot_count_where_the_own_template_does_not_mark_them(tmp_path):
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = ROLES.replace("END", "eos_token")
    with pytest.raises(HandbookError, match=r"(?s)marks the assistant.*--chat-template zephyr"):
        checked(tiny_model(), tmp_path, tokenizer, max_length=128, assistant_only_loss=True)
    checked(tiny_model(), tmp_path, max_length=128, assistant_only_loss=True)


def test_the_template_in_use_is_said(tmp_path):
    assert "the chat template is Zephyr's" in checked(tiny_model(), tmp_path, max_length=128).notes


# --- what is measured -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("held_out", "warned"), [(1, True), (29, True), (30, False), (None, False)]
)
def test_a_handful_of_held_out_rows_is_warned_about(held_out, warned, tmp_path):
    warnings = checked(tiny_model(), tmp_path, held_out=held_out, max_length=128).warnings
    assert any("held out: what is measured" in line for line in warnings) == warned


def test_a_loss_above_that_of_guessing_is_warned_about():
    assert preflight.loss_warnings(5.7, 320) == []
    [line] = preflight.loss_warnings(5.8, 320)
    assert "above ln(320) = 5.77" in line


@pytest.mark.slow
def test_a_model_that_is_surer_than_guessing_and_wrong_is_warned_about(tmp_path, capsys):
    model = tiny_model()
    with torch.no_grad():
        model.lm_head.weight *= 30
    rows = dialogues(20)
    base = saved(tmp_path / "base", model)
    training.dsft(base, rows[:12], rows[12:], tmp_path / "made", recipe(max_length=128))
    said = capsys.readouterr().err
    assert "the held-out loss before the first step is" in said and "8 rows are held out" in said


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [{"trust_remote_code": True}, {"model_init_kwargs": {"trust_remote_code": True}}],
)
def test_a_recipe_that_asks_for_code_from_the_hub_is_refused(changes, tmp_path):
    with pytest.raises(HandbookError, match="no code from a model is run here"):
        checked(tiny_model(), tmp_path, **changes)


@pytest.mark.parametrize("stage", ["dsft", "ddpo"])
@pytest.mark.parametrize("place", ["file", "file/below", "x" * 300, "/proc/none"])
def test_a_folder_that_cannot_be_written_is_refused_before_training(stage, place, tmp_path):
    (tmp_path / "file").write_text("a file")
    base = saved(tmp_path / "base", tiny_model())
    asked = recipe(stage, max_length=128)
    with pytest.raises(HandbookError) as refused:
        if stage == "dsft":
            training.dsft(base, dialogues(4), dialogues(2), tmp_path / place, asked)
        else:
            training.ddpo(base, [], tmp_path / place, asked)
    assert str(tmp_path / place) in str(refused.value) or place in str(refused.value)


def test_a_folder_without_permission_is_refused(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied", str(tmp_path / ".writable"))

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(HandbookError, match="Permission denied"):
        preflight.check_output(tmp_path)
    assert not list(tmp_path.iterdir())


# --- what is said where ---------------------------------------------------------------------------


def test_in_a_notebook_warnings_are_said_and_notes_are_not(capsys, monkeypatch):
    checks = preflight.Preflight(64, notes=["a note"], warnings=["a warning"])
    monkeypatch.setattr(preflight, "in_notebook", lambda: True)
    checks.report("dsft")
    assert capsys.readouterr().err == "dSFT: a warning\n"
    monkeypatch.setattr(preflight, "in_notebook", lambda: False)
    checks.report("ddpo")
    assert capsys.readouterr().err == "dDPO: a note\ndDPO: a warning\n"
