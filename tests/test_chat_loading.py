"""Models are loaded whole, from safetensors, and without running code of theirs, or refused by
name.
"""

import json

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tiny import tiny_model, tiny_tokenizer

from zephyr_utils.chat import (
    ZEPHYR_TEMPLATE,
    load_model,
    load_pretrained,
    load_tokenizer,
    prepare_tokenizer,
)
from zephyr_utils.errors import HandbookError


@pytest.fixture
def tokenizer():
    tokenizer = tiny_tokenizer()
    prepare_tokenizer(tokenizer)
    return tokenizer


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.fixture
def model_directory(tmp_path, model, tokenizer):
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_a_saved_model_loads_ready_to_generate(model_directory, model):
    loaded, tokenizer = load_model(model_directory)
    assert not loaded.training and tokenizer.chat_template == ZEPHYR_TEMPLATE
    assert torch.equal(
        loaded.state_dict()["lm_head.weight"].cpu(), model.state_dict()["lm_head.weight"]
    )
    assert load_model(model_directory, dtype=torch.bfloat16)[0].dtype == torch.bfloat16


def test_a_missing_directory_is_named(tmp_path):
    with pytest.raises(HandbookError, match=r"nowhere: there is no such directory"):
        load_model(tmp_path / "nowhere")


def test_a_directory_that_is_not_a_model_is_refused(tmp_path):
    with pytest.raises(HandbookError, match=r"no config\.json"):
        load_model(tmp_path)


def test_an_adapter_alone_is_refused_with_the_remedy(tmp_path):
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(HandbookError, match="merge the adapter"):
        load_model(tmp_path)


def test_weights_cut_short_are_refused(model_directory):
    weights = model_directory / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(HandbookError, match="cannot be loaded"):
        load_model(model_directory)


def test_missing_tensors_are_refused_and_not_filled_with_random_numbers(model_directory):
    from safetensors.torch import load_file, save_file

    weights = load_file(model_directory / "model.safetensors")
    weights.pop("model.layers.1.mlp.up_proj.weight")
    save_file(weights, model_directory / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        HandbookError, match=r"lacks 1 tensors, model\.layers\.1\.mlp\.up_proj\.weight"
    ):
        load_model(model_directory)


def test_embeddings_tied_to_the_head_are_not_taken_for_missing(tmp_path, tokenizer):
    tied = tiny_model(tie_word_embeddings=True)
    tied.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    loaded, _ = load_model(tmp_path)
    assert loaded.lm_head.weight is loaded.get_input_embeddings().weight


# --- code and adapters in a model's directory -----------------------------------------------------


def put(path, **settings):
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


CODE = """
from pathlib import Path
Path(__file__).with_name("RAN").touch()
from transformers import {base} as Own
"""


@pytest.mark.parametrize("load", [load_model, load_tokenizer, lambda d: load_pretrained(d, "auto")])
@pytest.mark.parametrize(
    ("file", "auto_map"),
    [
        ("config.json", {"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.Own"}),
        ("config.json", {"AutoModelForCausalLM": "someone/else--own.Own"}),
        ("tokenizer_config.json", {"AutoTokenizer": ["own.Own", None]}),
    ],
)
def test_a_model_that_wants_to_run_its_own_code_is_refused_and_its_code_not_run(
    load, file, auto_map, model_directory, monkeypatch
):
    monkeypatch.setattr("builtins.input", lambda *_: "y")  # transformers would ask
    (model_directory / "own.py").write_text(CODE.format(base="LlamaConfig"))
    put(model_directory / file, auto_map=auto_map)
    with pytest.raises(HandbookError, match=f"(?s)code of its own.*{file}.*no code"):
        load(model_directory)
    assert not (model_directory / "RAN").exists()


def test_an_unknown_architecture_is_refused_without_advice_to_trust_it(
    model_directory, monkeypatch
):
    from transformers import AutoModelForCausalLM

    def refuse(*_, trust_remote_code, **__):
        assert trust_remote_code is False
        raise ValueError("Please pass the argument `trust_remote_code=True` to allow custom code")

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", refuse)
    with pytest.raises(HandbookError, match="no code from a model is run here") as refused:
        load_model(model_directory)
    assert "trust_remote_code" not in str(refused.value)


def test_an_adapter_beside_a_model_is_refused_and_not_applied_in_silence(model_directory):
    before = load_model(model_directory)[0].state_dict()
    adapted = get_peft_model(
        tiny_model(), LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
    )
    adapted.save_pretrained(model_directory)
    with pytest.raises(HandbookError, match=r"(?s)a model and a LoRA adapter.*merge the adapter"):
        load_model(model_directory)
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (model_directory / name).unlink()
    after = load_model(model_directory)[0].state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
