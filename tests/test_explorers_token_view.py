"""The token view: its script counts as the objectives do, can be walked by keyboard, and writes no
model text as HTML.
"""

import explorer_scripts
import pytest
import torch
from transformers import AutoTokenizer

from zephyr_utils import miniature
from zephyr_utils.chat import encode, prepare_tokenizer, render
from zephyr_utils.explorers.common import FOLDER
from zephyr_utils.explorers.token_view import ChatTokens
from zephyr_utils.objectives import token_weighted_nll

CONVERSATIONS = {
    "one exchange": [
        {"role": "user", "content": "What is the capital of France?"},
        {"role": "assistant", "content": "Paris.\nÉlan & <b>bold</b> 🙂"},
    ],
    "with a system turn": [
        {"role": "system", "content": ""},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "Bye"},
        {"role": "assistant", "content": "Bye"},
    ],
}


@pytest.fixture(scope="module")
def tokenizer():
    tokenizer = AutoTokenizer.from_pretrained(miniature.BASE_FOLDER)
    prepare_tokenizer(tokenizer)
    return tokenizer


@pytest.fixture(scope="module")
def widget(tokenizer):
    return ChatTokens(tokenizer, CONVERSATIONS)


def in_node(widget, body):
    values = {"conversations": widget.conversations, "mask": widget.mask}
    return explorer_scripts.in_node("token_view", values, body)


def test_the_texts_of_the_tokens_put_together_are_the_rendered_conversation(widget, tokenizer):
    for shown in widget.conversations:
        text = "".join(token["text"] for token in shown["tokens"])
        assert text == render(tokenizer, CONVERSATIONS[shown["name"]])


@pytest.mark.parametrize("mask", ["all", "assistant"])
def test_the_script_counts_the_targets_that_the_objective_counts(widget, tokenizer, mask):
    body = f"""result = values.conversations.map(
        (c) => script.targets(c.tokens, {mask!r}).filter(Boolean).length);"""
    counted = in_node(widget, body)
    for n, messages in zip(counted, CONVERSATIONS.values(), strict=True):
        ids, labels = encode(tokenizer, messages, assistant_only=mask == "assistant")
        logits = torch.zeros(1, len(ids), len(tokenizer))
        assert n == int(token_weighted_nll(logits, torch.tensor([labels]))[1])


def test_the_end_of_an_answer_counts_and_the_line_break_behind_it_does_not(widget, tokenizer):
    tokens = widget.conversations[0]["tokens"]
    *_, end, line_break = tokens
    assert (end["id"], end["assistant"]) == (tokenizer.eos_token_id, True)
    assert (line_break["text"], line_break["assistant"]) == ("\n", False)


def test_turns_are_told_apart_by_role(widget):
    runs = in_node(widget, "result = script.turns(values.conversations[1].tokens);")
    assert [run["role"] for run in runs] == ["system", "user", "assistant", "user", "assistant"]
    assert runs[-1]["end"] == len(widget.conversations[1]["tokens"])


def test_the_page_shows_every_token_and_says_the_count_in_words(widget):
    body = """
        const el = page();
        script.default.render({ model: makeModel(values), el });
        const output = el.all("output")[0];
        const before = output.textContent;
        const [, mask] = el.all("select");
        mask.value = "assistant";
        mask.fire("change");
        const marked = el.all(".zx-token").filter((b) => b.dataset.counts === "true").length;
        result = { tokens: el.all(".zx-token").length, before, after: output.textContent, marked,
            live: output.attributes["aria-live"] };
    """
    seen = in_node(widget, body)
    tokens = widget.conversations[0]["tokens"]
    by_assistant = sum(token["assistant"] for token in tokens)
    assert seen["tokens"] == len(tokens)
    assert f"{len(tokens) - 1} of {len(tokens)} tokens" in seen["before"]
    assert f"{by_assistant} of {len(tokens)} tokens" in seen["after"]
    assert (seen["marked"], seen["live"]) == (by_assistant, "polite")


def test_arrow_keys_walk_through_the_tokens_and_the_tab_key_has_one_stop(widget):
    body = """
        const el = page();
        script.default.render({ model: makeModel(values), el });
        const tokens = el.all(".zx-token");
        tokens[0].focus();
        tokens[0].fire("keydown", { key: "ArrowRight" });
        tokens[1].fire("keydown", { key: "End" });
        result = { stops: tokens.map((t) => t.tabIndex), said: el.all(".zx-note")[0].textContent };
    """
    seen = in_node(widget, body)
    tokens = widget.conversations[0]["tokens"]
    assert seen["stops"] == [-1] * (len(tokens) - 1) + [0]
    assert (
        f"Token {len(tokens)} of {len(tokens)}" in seen["said"]
        and f"id {tokens[-1]['id']}" in seen["said"]
    )


def test_nothing_is_written_as_html_and_nothing_is_imported():
    script = (FOLDER / "token_view.js").read_text(encoding="utf-8")
    assert not [
        word for word in ("innerHTML", "insertAdjacent", "import ", "eval(") if word in script
    ]
