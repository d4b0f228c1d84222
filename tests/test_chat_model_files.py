"""A directory that holds no whole model, or one that cannot be trained, is refused by what is wrong
with it and with what to do, by every way into the library.
"""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import save_base
from typer.testing import CliRunner

from zephyr_utils.chat import load_model, load_pretrained, load_tokenizer
from zephyr_utils.chat.loading import load_config
from zephyr_utils.chat.model_files import (
    INDEX,
    check_model_directory,
    check_quantised,
    check_settings,
    check_weights,
)
from zephyr_utils.cli import app
from zephyr_utils.errors import HandbookError
from zephyr_utils.recipes import Recipe
from zephyr_utils.training.loading import load_for_training


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    save_base(folder)
    return folder


@pytest.fixture
def directory(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "model")


def train(directory):
    return load_for_training(directory, "dsft", Recipe("dsft", {}))


LOADERS = [load_model, lambda d: load_pretrained(d, "auto"), train, check_model_directory]


def refused(load, directory) -> HandbookError:
    with pytest.raises(HandbookError) as error:
        load(directory)
    assert error.value.where == str(directory)
    return error.value


def put(path, **settings):
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


def test_a_whole_model_passes_with_its_tokenizer_in_any_of_its_forms(directory):
    check_model_directory(directory)
    put(directory / "config.json", quantization_config=None)
    (directory / "training_args.bin").write_bytes(b"x")
    (directory / "special_tokens_map.json").write_text("{}")
    (directory / "tokenizer_config.json").unlink()
    check_model_directory(directory)
    (directory / "tokenizer.json").rename(directory / "tokenizer.model")
    check_model_directory(directory)


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"quant_method": "gptq", "bits": 4, "group_size": 128}, "GPTQ"),
        ({"quant_method": "awq", "bits": 4, "version": "gemm"}, "AWQ"),
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, "float8"),
        ({"quant_method": "fbgemm_fp8"}, "float8"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "bitsandbytes, 4 or 8 bits"),
        ({"load_in_8bit": True}, "bitsandbytes, 4 or 8 bits"),
        ({"quant_method": "compressed-tensors"}, "compressed-tensors"),
        ({"quant_method": "mxfp4"}, "mxfp4"),
        ({"bits": 3}, "unknown"),
    ],
)
def test_a_quantised_model_is_refused_by_its_method(settings, name, directory):
    put(directory / "config.json", quantization_config=settings)
    for load in (*LOADERS, load_config):
        error = refused(load, directory)
        assert f"is quantised ({name})" in error.what and "unquantised model" in error.remedy


@pytest.mark.parametrize("damaged", ["gptq", ["gptq"], 4])
def test_a_quantisation_that_is_not_a_mapping_is_an_unknown_one(damaged, directory):
    put(directory / "config.json", quantization_config=damaged)
    for load in (check_model_directory, lambda d: check_quantised(damaged, d)):
        assert "is quantised (unknown)" in refused(load, directory).what


@pytest.mark.parametrize("kind", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_weights_in_float8_are_refused_although_the_configuration_does_not_say_so(kind, directory):
    file = directory / "model.safetensors"
    weights = load_file(file)
    weights["lm_head.weight"] = weights["lm_head.weight"].to(kind)
    save_file(weights, file, metadata={"format": "pt"})
    for load in LOADERS:
        error = refused(load, directory)
        assert "float8, F8_E" in error.what and "in model.safetensors" in error.what


@pytest.mark.parametrize("name", ["pytorch_model.bin", "consolidated.00.pth", "model.pt"])
def test_pickled_weights_are_refused_with_how_to_convert_them_and_why(name, directory):
    (directory / "model.safetensors").unlink()
    torch.save({}, directory / name)
    for load in LOADERS:
        error = refused(load, directory)
        assert f"pickled ({name})" in error.what and "may run code" in error.what
        assert "save_pretrained(NEW_DIRECTORY)" in error.remedy


def test_the_conversion_that_is_advised_gives_the_same_weights(directory, tmp_path):
    from transformers import AutoModelForCausalLM as Model

    weights = load_file(directory / "model.safetensors")
    torch.save(weights, directory / "pytorch_model.bin")
    (directory / "model.safetensors").unlink()
    Model.from_pretrained(directory).save_pretrained(tmp_path / "new")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(directory / name, tmp_path / "new")
    made = load_model(tmp_path / "new")[0].state_dict()
    assert all(torch.equal(weight, made[name].cpu()) for name, weight in weights.items())


@pytest.mark.parametrize(
    ("names", "words", "remedy"),
    [
        ([], "model.safetensors is missing", "fetch or copy the model again"),
        (["tf_model.h5"], "(tf_model.h5) belong to another library", ".safetensors files"),
        (["optimizer.pt", "rng_state.pth", "training_args.bin"], "is missing", "fetch or copy"),
        (["model-00001-of-00002.safetensors"], f"{INDEX} is missing", "fetch or copy it as well"),
        (["consolidated.safetensors"], "no other name: consolidated.safetensors", "layout"),
        (["model.fp16.safetensors"], "no other name: model.fp16.safetensors", "may be renamed"),
        (["consolidated.safetensors", "model.pt"], "pickled (model.pt)", ".safetensors files"),
    ],
)
def test_a_directory_without_weights_is_refused_by_what_there_is(names, words, remedy, directory):
    (directory / "model.safetensors").unlink()
    for name in names:
        (directory / name).write_bytes(b"x")
    for load in LOADERS:
        error = refused(load, directory)
        assert words in error.what and remedy in error.remedy


def test_shards_that_are_missing_are_named(directory):
    (directory / "model.safetensors").rename(directory / "model-00001-of-00003.safetensors")
    shards = {f"layer {n}": f"model-0000{n}-of-00003.safetensors" for n in (1, 2, 3)}
    (directory / INDEX).write_text(json.dumps({"weight_map": shards}))
    for load in LOADERS:
        error = refused(load, directory)
        assert "2 of 3 files of weights" in error.what
        assert "model-00002-of-00003.safetensors, model-00003-of" in error.what


@pytest.mark.parametrize(
    "index", [{"weight_map": None}, {"weight_map": ["model-00001-of-00001.safetensors"]}, {}, []]
)
def test_an_index_that_names_no_file_is_refused_where_it_is_read(index, directory):
    (directory / INDEX).write_text(json.dumps(index))
    check_weights(directory)  # transformers takes the one file
    (directory / "model.safetensors").rename(directory / "model-00001-of-00001.safetensors")
    for load in LOADERS:
        error = refused(load, directory)
        assert error.what == f"{INDEX} names no file of weights" and "again" in error.remedy


def test_shards_with_their_index_and_a_file_that_the_configuration_names_are_whole(directory):
    weights = load_file(directory / "model.safetensors")
    (directory / "model.safetensors").rename(directory / "mine.safetensors")
    put(directory / "config.json", transformers_weights="mine.safetensors")
    assert load_model(directory)[0].num_parameters()
    shard = "model-00001-of-00001.safetensors"
    (directory / "mine.safetensors").rename(directory / shard)
    put(directory / "config.json", transformers_weights=None)
    index = {"metadata": {}, "weight_map": dict.fromkeys(weights, shard)}
    (directory / INDEX).write_text(json.dumps(index))
    assert load_model(directory)[0].num_parameters()


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 14483498224\n"


@pytest.mark.parametrize(
    ("name", "loaders"),
    [
        ("config.json", [*LOADERS, load_tokenizer, load_config, check_settings]),
        ("model.safetensors", LOADERS),
        ("tokenizer.json", [*LOADERS, load_tokenizer]),
        ("special_tokens_map.json", [*LOADERS, load_tokenizer]),
    ],
)
def test_a_git_lfs_pointer_is_not_a_file_of_a_model(name, loaders, directory):
    (directory / name).write_text(POINTER)
    for load in loaders:
        error = refused(load, directory)
        assert error.what == f"{name} is a Git LFS pointer; its contents were not fetched"
        assert "git lfs pull" in error.remedy


def test_pointers_among_the_shards_and_an_index_that_is_one_are_named(directory):
    (directory / "model.safetensors").unlink()
    (directory / INDEX).write_text(POINTER)
    assert refused(check_weights, directory).what.startswith(f"{INDEX} is a Git LFS pointer")
    shards = [f"model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    (directory / INDEX).write_text(json.dumps({"weight_map": dict(zip("ab", shards, strict=True))}))
    for name in shards:
        (directory / name).write_text(POINTER)
    assert refused(check_weights, directory).what == (
        f"{', '.join(shards)} are Git LFS pointers; their contents were not fetched"
    )


@pytest.mark.parametrize("name", ["pytorch_model.bin", "consolidated.safetensors", "picture.png"])
def test_a_git_lfs_pointer_that_nobody_reads_leaves_the_model_whole(name, directory):
    (directory / name).write_text(POINTER)
    check_model_directory(directory)
    assert load_model(directory)[0].num_parameters()


@pytest.mark.parametrize(
    ("lost", "words"),
    [
        (["tokenizer.json", "tokenizer_config.json"],
         "without a tokenizer: tokenizer.json (or the tokenizer.model of older models) and "
         "tokenizer_config.json are missing"),
        (["tokenizer.json"], "without a tokenizer: tokenizer.json (or"),
        (["tokenizer_config.json"], "its whole tokenizer: tokenizer_config.json is missing"),
    ],
)  # fmt: skip
def test_a_missing_tokenizer_is_refused_by_its_files_and_where_they_are(lost, words, directory):
    for name in lost:
        (directory / name).unlink()
    for load in (*LOADERS, load_tokenizer):
        error = refused(load, directory)
        assert words in error.what and "from the base model" in error.remedy


def test_a_vocabulary_without_its_merges_is_half_a_tokenizer(directory):
    (directory / "tokenizer.json").rename(directory / "vocab.json")
    assert "merges.txt is missing" in refused(load_tokenizer, directory).what


@pytest.mark.parametrize(
    ("command", "option"),
    [("sft", "--base-model"), ("dpo", "--base-model"), ("dpo", "--sft-model"),
     ("online", "--sft-model"), ("chat", ""), ("evaluate", "")],
)  # fmt: skip
def test_every_command_refuses_such_a_directory_before_any_row_is_read(
    command, option, directory, tmp_path
):
    (directory / "model.safetensors").unlink()
    (directory / "pytorch_model.bin").write_bytes(b"x")
    given = [option, str(directory)] if option else [str(directory)]
    runs = tmp_path / "runs"
    done = CliRunner().invoke(app, [command, *given, "--runs", str(runs)])
    assert isinstance(done.exception, HandbookError), done.output
    assert "pickled (pytorch_model.bin)" in done.exception.what
    assert not [path for path in runs.rglob("*") if path.suffix in (".jsonl", ".parquet")]
