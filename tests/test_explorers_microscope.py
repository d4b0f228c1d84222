"""The reward microscope: its sums are training's, its formulas those of the objectives, its faults
sentences.
"""

import pytest
import torch
from browser_models import save_adapter, sent, three_models
from explorer_scripts import in_node
from tiny import save_base, tiny_model

from zephyr_utils.chat import load_tokenizer, prepare_tokenizer
from zephyr_utils.errors import HandbookError
from zephyr_utils.explorers.microscope import Microscope
from zephyr_utils.explorers.weights import pack_models
from zephyr_utils.objectives import dpo_losses
from zephyr_utils.training import answer_log_probs

BETA = 0.1
USER = {"role": "user", "content": "What is the <b>capital</b>?"}


def preference(chosen, rejected):
    return {
        "prompt": USER["content"],
        "chosen": [USER, {"role": "assistant", "content": chosen}],
        "rejected": [USER, {"role": "assistant", "content": rejected}],
    }


PAIRS = [preference("Paris.", "I do not know </s>"), preference("Seven 🙂", "")]


@pytest.fixture(scope="module")
def trio(tmp_path_factory):
    """PyTorch's three models, packed without rounding, and their tokenizer."""
    folder = tmp_path_factory.mktemp("models")
    models, adapters = three_models(folder)
    tokenizer = load_tokenizer(folder / "base")
    prepare_tokenizer(tokenizer)
    return models, pack_models(folder / "base", adapters, "float32"), tokenizer


@pytest.fixture
def values(trio):
    widget = Microscope(trio[1], PAIRS, BETA, shown=3)
    names = "pairs beta policy reference shown files engine"
    return {**{name: getattr(widget, name) for name in names.split()}, "packed": sent(trio[1])}


def test_the_pairs_are_given_as_texts(values):
    assert values["pairs"][0] == {
        "prompt": USER["content"],
        "chosen": "Paris.",
        "rejected": "I do not know </s>",
    }


def test_models_without_policy_or_reference_and_an_empty_list_are_refused(trio, tmp_path):
    with pytest.raises(HandbookError, match="there is no pair to show"):
        Microscope(trio[1], [], BETA)
    save_base(tmp_path / "base")
    save_adapter(tiny_model(), tmp_path / "dSFT", 1)
    two = pack_models(tmp_path / "base", {"dSFT": tmp_path / "dSFT"})
    with pytest.raises(HandbookError, match="there is no model 'dDPO'"):
        Microscope(two, PAIRS, BETA)


@pytest.mark.parametrize("margin", [0.0, 0.7, -3.0, 40.0, -800.0])
def test_loss_and_weight_of_the_gradient_are_those_of_the_objective(margin):
    chosen = torch.tensor([margin / BETA], dtype=torch.float64, requires_grad=True)
    zero = torch.zeros(1, dtype=torch.float64)
    loss = dpo_losses(chosen, zero, zero, zero, beta=BETA)
    loss.sum().backward()
    pair = in_node("microscope", margin, f"result = script.pairOf(values, 0, {BETA});")
    assert pair["loss"] == pytest.approx(loss.item(), rel=1e-9, abs=1e-15)
    assert pair["weight"] == pytest.approx(-chosen.grad.item(), rel=1e-9, abs=1e-15)
    assert pair["probability"] == pytest.approx(torch.sigmoid(torch.tensor(margin)).item())


def test_what_cannot_be_measured_is_said_in_a_sentence():
    texts = [
        {"question": " ", "answer A": "", "answer B": ""},
        {"question": "q", "answer A": "", "answer B": "x" * 10_000},
        {"question": "q", "answer A": "", "answer B": ""},
    ]
    assert in_node("microscope", texts, "result = values.map(script.fault);") == [
        "Type a question first.",
        "The answer B has 10,000 characters, and at most 2,000 can be measured.",
        "",
    ]


# A kernel that has the weights, and elements with a style to set.
PAGE = """
    const { header, payload } = values.packed;
    const bytes = new Uint8Array(Buffer.from(payload, "base64"));
    const model = makeModel(values);
    const create = document.createElement;
    document.createElement = (tag) => Object.assign(create(tag), { style: { setProperty() {} } });
    document.baseURI = "http://site/";
    const el = page();
    script.default.render({ model, el });
    const wait = () => new Promise((give) => setTimeout(give, 5));
    const status = () => el.all("p").find((p) => p.attributes.role === "status").textContent;
    const measured = async (before) => {
        const over = () => status() !== before && /gradient|models read/.test(status());
        for (let n = 0; n < 2000 && !over(); n++) await wait();
        return status();
    };
    const measure = async () => {
        const before = status();
        el.all("button")[0].fire("click");
        if (model.sent.length === 1) {
            while (model.sent.length < 2) await wait();
            model.hear({ kind: "weights", name: "models", header }, [new DataView(bytes.buffer)]);
        }
        return measured(before);
    };
    model.hear({ kind: "ready" });
    const rows = () => el.all("details")[0].all("tr").slice(1)
        .map((row) => row.children.map((cell) => cell.textContent));
"""


def test_the_tokens_rewards_and_margin_are_those_of_the_models(trio, values):
    body = f"{PAGE} result = {{ said: await measure(), rows: rows(), text: el.textContent }};"
    seen = in_node("microscope", values, body)
    models, _, tokenizer = trio
    chats = [PAIRS[0]["chosen"], PAIRS[0]["rejected"]]
    log_probs = {
        name: answer_log_probs(models[name], tokenizer, chats) for name in ("dDPO", "dSFT")
    }
    rewards = BETA * (log_probs["dDPO"] - log_probs["dSFT"])
    number = seen["said"].split("margin ")[1].split(",")[0].replace("\u2212", "-")
    assert float(number) == pytest.approx(float(rewards[0] - rewards[1]), abs=0.011)
    for side, reward in zip("AB", rewards.tolist(), strict=True):
        ratios = [float(r[4].replace("\u2212", "-")) for r in seen["rows"] if r[0] == side]
        assert BETA * sum(ratios) == pytest.approx(reward, abs=0.005 * BETA * len(ratios) + 1e-3)
    answer = "".join(row[1] for row in seen["rows"] if row[0] == "B")
    assert answer == "I do not know </s></s>↵"  # what was typed is text, the end is the template's


def test_a_token_shows_both_models_next_tokens_and_the_arrows_walk(values):
    body = f"""
        {PAGE}
        await measure();
        const tokens = el.all(".zx-token");
        tokens[0].fire("keydown", {{ key: "ArrowRight" }});
        const detail = el.all("table")[0];
        result = {{ rows: detail.all("tr").length, note: el.all("p").at(-1).textContent,
            label: tokens[1].attributes["aria-label"], stops: tokens.map((t) => t.tabIndex),
            signs: [...new Set(tokens.map((t) => t.dataset.sign))].sort(), text: el.textContent }};
    """
    seen = in_node("microscope", values, body)
    assert seen["rows"] == 1 + 3 and seen["label"] in seen["text"]
    assert seen["stops"][:2] == [-1, 0] and {"down", "up"} <= set(seen["signs"])


def test_texts_of_the_reader_are_measured_and_too_long_ones_refused(values):
    body = f"""
        {PAGE}
        await measure();
        const [question, a, b] = el.all("textarea");
        b.value = a.value;
        const same = await measure();
        a.value = "word ".repeat(380);
        result = [same, await measure()];
    """
    same, long = in_node("microscope", values, body)
    assert "margin 0.00, so dDPO prefers neither, with probability 0.500" in same
    assert "the models read at most 256" in long
