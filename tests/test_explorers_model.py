"""The models in a browser are the models that PyTorch runs: the same tokens, logits and answers."""

import os
import random

import numpy as np
import pytest
import torch
from browser_models import generated_chat, in_node, save_adapter, sent, three_models
from tiny import save_base

from zephyr_utils import miniature
from zephyr_utils.chat import (
    encode_prompt,
    generate,
    load_model,
    load_tokenizer,
    prepare_tokenizer,
)
from zephyr_utils.explorers.weights import BrowserModels, pack_models
from zephyr_utils.training import answer_log_probs

N_TEXTS = int(os.environ.get("ZEPHYR_BROWSER_TEXTS", "500"))  # 5,000 were tried before a release
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
NAMES = ["base", "dSFT", "dDPO"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def trio(folder):
    """Random base, dSFT and dDPO with heads of their own: PyTorch's models, and their adapters."""
    return three_models(folder)


@pytest.fixture(scope="module")
def exact(trio, folder):
    return pack_models(folder / "base", trio[1], "float32")


@pytest.fixture(scope="module")
def shipped(trio, folder):
    return pack_models(folder / "base", trio[1])


@pytest.fixture(scope="module")
def tokenizer(folder, trio):
    tokenizer = load_tokenizer(folder / "base")
    prepare_tokenizer(tokenizer)
    return tokenizer


# --- tokens ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def world_tokenizer():
    tokenizer = load_tokenizer(miniature.BASE_FOLDER)
    prepare_tokenizer(tokenizer)
    return tokenizer


@pytest.fixture(scope="module")
def world():
    """The base model of the miniature, as it is in the package today."""
    return pack_models(miniature.BASE_FOLDER, {})


def test_tokens_are_those_of_the_chat_template_whatever_is_typed(world, world_tokenizer):
    rng = random.Random(0)
    chats = [generated_chat(rng) for _ in range(N_TEXTS)]
    body = """
        const { tokenizer, eos_token_id } = values.header;
        const made = new script.Tokenizer(tokenizer, eos_token_id);
        result = values.chats.map((chat) => made.encodeChat(chat, true));
    """
    ours = in_node({"header": world.header, "chats": chats}, body)
    theirs = [encode_prompt(world_tokenizer, chat) for chat in chats]
    wrong = [chat for chat, a, b in zip(chats, ours, theirs, strict=True) if a != b]
    assert len(ours) == N_TEXTS and wrong == []


def test_tokens_are_decoded_as_the_tokenizer_does_also_where_they_are_not_text(
    world, world_tokenizer
):
    rng = random.Random(1)
    rows = [rng.choices(range(len(world_tokenizer)), k=rng.randint(0, 20)) for _ in range(N_TEXTS)]
    body = """
        const { tokenizer, eos_token_id } = values.header;
        const made = new script.Tokenizer(tokenizer, eos_token_id);
        result = values.rows.map((row) => made.decode(row));
    """
    ours = in_node({"header": world.header, "rows": rows}, body)
    assert ours == [world_tokenizer.decode(row, skip_special_tokens=True) for row in rows]


def test_an_unknown_role_is_refused(world):
    body = """
        const made = new script.Tokenizer(values.tokenizer, values.eos_token_id);
        try { made.encodeChat([{ role: "tool", content: "" }]); }
        catch (error) { result = [error instanceof script.ModelError, error.message]; }
    """
    assert in_node(world.header, body) == [
        True,
        "There is no role “tool” in this chat template.",
    ]


def test_spaces_are_stripped_as_python_strips_them():
    texts = ["\x1c a \x85", "\ufeffb\u3000", "\u200bc", "", " \n"]
    assert in_node(texts, "result = values.map(script.strip);") == [text.strip() for text in texts]


# --- forward pass ---------------------------------------------------------------------------------


def logits_in_node(packed: BrowserModels, names, rows):
    body = """
        const weights = await weightsOf(read(values.packed));
        result = values.names.map((name) => values.rows.map((row) => {
            const session = new script.Session(weights.model(name));
            return row.map((id) => Array.from(session.feed(id)));
        }));
    """
    return in_node({"packed": sent(packed), "names": names, "rows": rows}, body)


def largest_difference(model, ours, rows):
    with torch.no_grad():
        theirs = [model(torch.tensor([row])).logits[0].numpy() for row in rows]
    return max(float(np.abs(a - np.array(b)).max()) for a, b in zip(theirs, ours, strict=True))


def test_logits_of_base_and_of_merged_adapters_are_pytorchs(trio, exact, tokenizer):
    rng = random.Random(2)
    rows = [encode_prompt(tokenizer, generated_chat(rng))[:200] for _ in range(20)]
    for name, ours in zip(NAMES, logits_in_node(exact, NAMES, rows), strict=True):
        assert largest_difference(trio[0][name], ours, rows) < 1e-4, name


def test_the_logits_after_two_hundred_texts_are_pytorchs(trio, exact, tokenizer):
    rng = random.Random(4)
    rows = [encode_prompt(tokenizer, generated_chat(rng))[:60] for _ in range(200)]
    body = """
        const weights = await weightsOf(read(values.packed));
        result = values.names.map((name) => values.rows.map((row) => {
            const session = new script.Session(weights.model(name));
            return row.map((id, n) => session.feed(id, n + 1 === row.length)).at(-1);
        }).map((logits) => Array.from(logits)));
    """
    ours = in_node({"packed": sent(exact), "names": NAMES, "rows": rows}, body)
    for name, after in zip(NAMES, ours, strict=True):
        with torch.no_grad():
            theirs = [trio[0][name](torch.tensor([row])).logits[0, -1].numpy() for row in rows]
        assert len(after) == 200 and np.abs(np.array(theirs) - after).max() < 1e-4, name


@pytest.mark.parametrize(
    "config",
    [
        {"tie_word_embeddings": True, "num_key_value_heads": 4},
        {
            "head_dim": 12,
            "num_key_value_heads": 1,
            "intermediate_size": 50,
            "rope_parameters": {"rope_type": "default", "rope_theta": 500.0},
        },
    ],
    ids=["tied, a key to each query", "another head size, one key for all"],
)
def test_logits_are_pytorchs_whatever_the_sizes(tmp_path, config):
    model = save_base(tmp_path, **config)
    rows = [[random.Random(3).randrange(320) for _ in range(60)]]
    [ours] = logits_in_node(pack_models(tmp_path, {}, "float32"), ["base"], rows)
    assert largest_difference(model, ours, rows) < 1e-4


def test_logits_of_the_miniatures_base_model_are_pytorchs(world_tokenizer):
    model, _ = load_model(miniature.BASE_FOLDER, dtype="float32")
    rows = [encode_prompt(world_tokenizer, QUESTION)]
    [ours] = logits_in_node(pack_models(miniature.BASE_FOLDER, {}, "float32"), ["base"], rows)
    assert largest_difference(model, ours, rows) < 1e-4


def test_rslora_has_its_own_scale(tmp_path):
    base = save_base(tmp_path / "base")
    merged = save_adapter(base, tmp_path / "adapter", 5, use_rslora=True)
    packed = pack_models(tmp_path / "base", {"dSFT": tmp_path / "adapter"}, "float32")
    [ours] = logits_in_node(packed, ["dSFT"], [[1, 50, 60]])
    assert largest_difference(merged, ours, [[1, 50, 60]]) < 1e-4


def test_a_cache_that_is_wound_back_gives_what_a_fresh_one_gives(exact):
    body = """
        const model = (await weightsOf(read(values))).model("dDPO");
        const last = (session, ids) => ids.map((id) => Array.from(session.feed(id))).at(-1);
        const used = new script.Session(model);
        last(used, [1, 40, 50, 60, 70]);
        const kept = used.rewind([1, 40, 51, 61]);
        result = { kept, used: last(used, [51, 61]),
            fresh: last(new script.Session(model), [1, 40, 51, 61]) };
    """
    seen = in_node(sent(exact), body)
    assert seen["kept"] == 2 and seen["used"] == seen["fresh"]


# --- sampling -------------------------------------------------------------------------------------


def test_draws_have_the_shares_that_temperature_and_top_p_leave():
    logits = [2.0, 1.0, 0.0, -1.0]
    body = """
        const random = script.seeded(7);
        const shares = (settings) => {
            const counts = [0, 0, 0, 0];
            for (let n = 0; n < 20000; n++) counts[script.sample(values, settings, random)]++;
            return counts.map((count) => count / 20000);
        };
        result = [shares({ temperature: 0.5 }), shares({ temperature: 1, topP: 0.8 }),
            shares({ temperature: 0 })];
    """
    warm, nucleus, greedy = in_node(logits, body)
    expected = torch.softmax(torch.tensor(logits) / 0.5, 0).tolist()
    assert warm == pytest.approx(expected, abs=0.015)
    two = torch.softmax(torch.tensor(logits[:2]), 0).tolist()  # their share is 0.88, one's 0.64
    assert nucleus == pytest.approx([*two, 0, 0], abs=0.015)
    assert greedy == [1, 0, 0, 0]


def test_the_same_seed_draws_the_same_and_another_another():
    body = """
        const draws = (seed) => Array.from({ length: 5 }, script.seeded(seed));
        result = [draws(1), draws(1), draws(2)];
    """
    first, again, other = in_node(None, body)
    assert first == again != other and all(0 <= value < 1 for value in first + other)


# --- answers --------------------------------------------------------------------------------------

ANSWER = """
    await request({ kind: "load", ...read(values.packed) });
    const models = values.models;
    const conversations = models.map(() => values.chat);
    const answer = (settings) => request({
        kind: "answer", models, conversations, topP: 1, seed: 0, temperature: 0, longest: 24,
        ...settings,
    });
"""


def test_greedy_answers_are_those_of_generate_and_the_stream_is_the_answer(trio, exact, tokenizer):
    body = f"""
        {ANSWER}
        const {{ answers }} = await answer({{}});
        result = {{ answers,
            streamed: models.map((_, n) => progress.map((pieces) => pieces[n]).join("")) }};
    """
    seen = in_node({"packed": sent(exact), "models": NAMES, "chat": QUESTION}, body)
    for name, ours, stream in zip(NAMES, seen["answers"], seen["streamed"], strict=True):
        model = trio[0][name]
        [theirs] = generate(model, tokenizer, [QUESTION], temperature=0, max_new_tokens=24)
        assert (ours["text"], ours["ended"], ours["tokens"]) == (
            theirs.text,
            theirs.ended,
            theirs.n_tokens,
        )
        assert stream.strip() == ours["text"]


def test_a_cached_second_turn_gives_the_answer_of_an_uncached_one(exact):
    chat = [*QUESTION, {"role": "assistant", "content": "Paris."}, *QUESTION]
    body = f"""
        {ANSWER}
        conversations.forEach((_, n) => conversations[n] = values.chat.slice(0, 1));
        await answer({{}});
        conversations.forEach((_, n) => conversations[n] = values.chat);
        const second = await answer({{}});
        await request({{ kind: "load", ...read(values.packed) }});
        result = [second, await answer({{}})].map(({{ answers }}) => answers.map((a) => a.text));
    """
    after_a_first, at_once = in_node({"packed": sent(exact), "models": NAMES, "chat": chat}, body)
    assert after_a_first == at_once


def test_an_answer_is_drawn_again_by_its_seed(exact):
    body = f"""
        {ANSWER}
        result = [];
        for (const seed of [3, 3, 4]) {{
            const {{ answers: [{{ text }}] }} = await answer({{ seed, temperature: 1 }});
            result.push(text);
        }}
    """
    values = {"packed": sent(exact), "models": ["dSFT"], "chat": QUESTION}
    first, same, other = in_node(values, body)
    assert first == same != other


def test_a_later_question_or_a_stop_ends_the_answers_before_it(exact):
    body = f"""
        {ANSWER}
        const first = answer({{ longest: 200 }});
        const second = answer({{}});
        const third = answer({{ longest: 200 }});
        await request({{ kind: "stop" }});
        result = [await first, (await second)?.answers.length ?? null, await third];
    """
    values = {"packed": sent(exact), "models": NAMES, "chat": QUESTION}
    first, second, third = in_node(values, body)
    assert first is None and second is None and third is None


def test_a_conversation_beyond_the_context_is_refused_in_a_sentence(exact):
    chat = [{"role": "user", "content": "word " * 300}]
    body = f"""
        {ANSWER}
        try {{ await answer({{}}); }} catch (error) {{ result = error.message; }}
    """
    said = in_node({"packed": sent(exact), "models": NAMES, "chat": chat}, body)
    assert "models read at most 256: shorten the question" in said


def test_the_scores_of_an_answer_are_the_log_probabilities_of_training(trio, exact, tokenizer):
    chats = [
        [*QUESTION, {"role": "assistant", "content": text}] for text in ("Paris.", "", "🙂 no")
    ]
    body = """
        await request({ kind: "load", ...read(values.packed) });
        const answers = values.chats.map((chat) => chat.at(-1).content);
        const messages = values.chats[0].slice(0, -1);
        result = await request({ kind: "score", policy: "dDPO", reference: "dSFT", messages,
            answers, shown: 3 });
    """
    scored = in_node({"packed": sent(exact), "chats": chats}, body)["answers"]
    for side, name in (("policy", "dDPO"), ("reference", "dSFT")):
        ours = [sum(token[side] for token in tokens) for tokens in scored]
        theirs = answer_log_probs(trio[0][name], tokenizer, chats).tolist()
        assert ours == pytest.approx(theirs, abs=1e-3)
    likely = scored[0][0]["likely"]["policy"]
    shares = [entry["share"] for entry in likely]
    assert len(likely) == 3 and shares == sorted(shares, reverse=True) and sum(shares) <= 1
