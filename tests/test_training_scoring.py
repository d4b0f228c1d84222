"""Log-probabilities and held-out losses do not depend on how rows are batched."""

import pytest
import torch

from zephyr_utils.chat import load_model, prepare_tokenizer
from zephyr_utils.miniature import BASE_FOLDER, data
from zephyr_utils.training import answer_log_probs, held_out_loss, scoring

ROLES = ("user", "assistant")
ROWS = [
    {"messages": [{"role": ROLES[n % 2], "content": text} for n, text in enumerate(row["data"])]}
    for row in data.dialogues(12)
]


@pytest.fixture(scope="module")
def model():
    loaded, tokenizer = load_model(BASE_FOLDER, dtype="float32")
    prepare_tokenizer(tokenizer)
    return loaded, tokenizer


def sizes(monkeypatch, model):
    """How many rows each forward pass of the model is given."""
    seen = []
    forward = model.forward

    def counted(*, input_ids, **others):
        seen.append(len(input_ids))
        return forward(input_ids=input_ids, **others)

    monkeypatch.setattr(model, "forward", counted)
    return seen


def test_a_large_vocabulary_makes_batches_small_and_changes_no_number(monkeypatch, model):
    conversations = [row["messages"] for row in ROWS]
    whole = answer_log_probs(*model, conversations), held_out_loss(*model, ROWS)
    seen = sizes(monkeypatch, model[0])
    monkeypatch.setattr(scoring, "MAX_LOGITS", 400 * 1000)  # of a vocabulary of 1,000
    parts = answer_log_probs(*model, conversations), held_out_loss(*model, ROWS)
    assert sum(seen) == 2 * len(ROWS) and max(seen) < len(ROWS)
    torch.testing.assert_close(parts[0], whole[0], atol=1e-4, rtol=0)
    assert parts[1] == pytest.approx(whole[1], abs=1e-6)


@pytest.mark.parametrize("training", [True, False])
def test_no_dropout_is_measured_and_the_model_is_left_in_the_mode_it_was_in(training):
    loaded, tokenizer = load_model(BASE_FOLDER, dtype="float32")
    prepare_tokenizer(tokenizer)
    conversations = [row["messages"] for row in ROWS[:4]]
    want = (
        answer_log_probs(loaded, tokenizer, conversations),
        held_out_loss(loaded, tokenizer, ROWS[:4]),
    )
    for layer in loaded.model.layers:  # transformers reads its rate in training mode alone
        layer.self_attn.attention_dropout = 0.5
    loaded.train(training)
    assert torch.equal(answer_log_probs(loaded, tokenizer, conversations), want[0])
    assert loaded.training == training
    assert held_out_loss(loaded, tokenizer, ROWS[:4]) == want[1] and loaded.training == training


def test_a_row_that_exceeds_the_limit_by_itself_is_measured_alone(monkeypatch, model):
    seen = sizes(monkeypatch, model[0])
    monkeypatch.setattr(scoring, "MAX_LOGITS", 1)
    held_out_loss(*model, ROWS[:3])
    assert seen == [1, 1, 1]
