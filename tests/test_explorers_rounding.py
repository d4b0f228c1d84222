"""Rounding by what the inputs are like: it errs less on them, and a browser reads it as before."""

import numpy as np
import pytest
import torch
from browser_models import in_node, sent
from safetensors.torch import load_file
from tiny import save_base

from zephyr_utils.chat import encode, load_model, prepare_tokenizer
from zephyr_utils.explorers.rounding import (
    DAMPING,
    LONGEST,
    bits_of,
    rounded,
    second_moments,
    sensitivities,
    steps_of,
    steps_within,
)
from zephyr_utils.explorers.weights import BASE_ERROR, pack_models

TEXTS = [
    [
        {"role": "user", "content": f"What is {n} plus {n}? " * 9},
        {"role": "assistant", "content": f"It is {2 * n}. " * 40},
    ]
    for n in range(6)
]


def test_errors_on_correlated_inputs_are_smaller_than_those_of_rounding_to_the_nearest():
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(400, 8)) @ rng.normal(size=(8, 48)) + rng.normal(size=(400, 48)) / 9
    values = rng.normal(size=(64, 48)).astype(np.float32)
    steps, moments = steps_of(values, 6), inputs.T @ inputs

    def error(integers):
        assert np.abs(integers).max() == 31
        return np.linalg.norm(inputs @ (integers * steps[:, None] - values).T)

    assert error(rounded(values, steps, 6, moments)) < 0.5 * error(rounded(values, steps, 6))


def test_on_uncorrelated_inputs_each_value_is_rounded_to_the_nearest():
    values = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
    moments = np.diag(np.arange(1.0, 8.0))
    steps = steps_of(values, 8)
    assert (rounded(values, steps, 8, moments) == rounded(values, steps, 8)).all()


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    save_base(folder)
    return folder


def test_the_moments_are_those_of_the_inputs_of_a_matrix(base):
    model, tokenizer = load_model(base, dtype="float32")
    prepare_tokenizer(tokenizer)
    total = 0
    for messages in TEXTS:
        ids = torch.tensor(encode(tokenizer, messages)[0][:LONGEST])
        with torch.no_grad():
            rows = model.model.layers[0].input_layernorm(model.model.embed_tokens(ids)).double()
        total = total + (rows.T @ rows).numpy()
    total += DAMPING * np.diag(total).mean() * np.eye(len(total))
    moments = second_moments(base, TEXTS)
    assert moments["layers.0.self_attn.q_proj"] == pytest.approx(total, rel=1e-4, abs=1e-3)
    assert second_moments(base, []) == {}


def test_an_embedding_that_is_the_head_as_well_has_the_moments_of_the_head(base, tmp_path):
    save_base(tmp_path, tie_word_embeddings=True)
    assert "lm_head" not in second_moments(tmp_path, TEXTS)
    assert "embed_tokens" in second_moments(tmp_path, TEXTS)
    assert "embed_tokens" not in second_moments(base, TEXTS), "its head is a matrix of its own"


def test_a_matrix_is_as_sensitive_as_small_errors_in_it_move_the_two_likeliest_logits(base):
    model, tokenizer = load_model(base, dtype="float32")
    prepare_tokenizer(tokenizer)
    rows = [torch.tensor([encode(tokenizer, messages)[0][:LONGEST]]) for messages in TEXTS]
    place, size = "layers.1.mlp.down_proj", 1e-3
    weight = model.get_submodule(f"model.{place}").weight

    @torch.no_grad()
    def distances(kept=None):
        logits = torch.cat([model(row).logits[0] for row in rows]).double()
        both = logits.topk(2).indices if kept is None else kept
        return both, logits.gather(1, both) @ torch.tensor([1.0, -1.0]).double()

    both, before = distances()
    generator, squares = torch.Generator().manual_seed(0), []
    for _ in range(20):
        error = size * torch.randn(weight.shape, generator=generator)
        weight.data += error
        squares.append((distances(both)[1] - before).square().mean().item())
        weight.data -= error
    moved = (np.mean(squares) / weight.numel()) ** 0.5 / size
    assert sensitivities(base, TEXTS)[place] == pytest.approx(moved, rel=0.25)
    assert sensitivities(base, []) == {}


def test_the_steps_of_a_matrix_are_as_fine_as_its_sensitivity_asks_for():
    values = np.random.default_rng(0).normal(size=(9, 30)).astype(np.float32)
    for sensitivity in (1.0, 4.0):
        steps = steps_within(values, 0.01, sensitivity)
        moved = sensitivity * np.sqrt(np.square(steps).mean())
        assert moved == pytest.approx(0.01, rel=0.01)
    assert bits_of(values, steps_within(values, 0.01, 4.0)) == 2 + bits_of(
        values, steps_within(values, 0.01, 1.0)
    )
    assert bits_of(values, steps_within(values, 0.01, 0.0)) == 2, "one integer beside zero"
    assert bits_of(values, steps_within(values, 0.01, 1e9)) == 16


def test_a_model_rounded_by_texts_is_read_as_it_was_written_and_packed_alike_each_time(base):
    packed = pack_models(base, {}, texts=TEXTS)
    assert packed == pack_models(base, {}, texts=TEXTS)
    assert packed.payload != pack_models(base, {}).payload
    body = """
        const weights = await weightsOf(read(values));
        result = Array.from(weights.model("base").layers[1].down);
    """
    place = "layers.1.mlp.down_proj"
    exact = load_file(base / "model.safetensors")[f"model.{place}.weight"].numpy()
    steps = steps_within(exact, BASE_ERROR, sensitivities(base, TEXTS)[place])
    moments = second_moments(base, TEXTS)[place]
    written = rounded(exact, steps, bits_of(exact, steps), moments) * steps[:, None]
    assert in_node(sent(packed), body) == pytest.approx(written.ravel(), rel=1e-6)
