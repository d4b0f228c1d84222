"""The chat template to the byte, what counts in the loss, and generation that can be repeated."""

from types import SimpleNamespace

import pytest
import torch
from tiny import tiny_model, tiny_tokenizer
from transformers import Gemma3Config

from zephyr_utils import chat
from zephyr_utils.chat.generation import PromptTooLongError, prompt_ids
from zephyr_utils.errors import HandbookError

GREETING = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo"}]
TWO_TURNS = [
    *GREETING,
    {"role": "user", "content": "Bye"},
    {"role": "assistant", "content": "See you."},
]
SYSTEM = {"role": "system", "content": ""}


@pytest.fixture
def tokenizer():
    tokenizer = tiny_tokenizer()
    chat.prepare_tokenizer(tokenizer)
    return tokenizer


@pytest.fixture(scope="module")
def model():
    return tiny_model()


# --- the template ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("messages", "generation_prompt", "expected"),
    [
        (GREETING, False, "<|user|>\nHi</s>\n<|assistant|>\nYo</s>\n"),
        ([SYSTEM, *GREETING], False, "<|system|>\n</s>\n<|user|>\nHi</s>\n<|assistant|>\nYo</s>\n"),
        (GREETING[:1], True, "<|user|>\nHi</s>\n<|assistant|>\n"),
        ([SYSTEM, GREETING[0]], True, "<|system|>\n</s>\n<|user|>\nHi</s>\n<|assistant|>\n"),
        (
            TWO_TURNS,
            False,
            "<|user|>\nHi</s>\n<|assistant|>\nYo</s>\n<|user|>\nBye</s>\n<|assistant|>\nSee "
            "you.</s>\n",
        ),
        (
            TWO_TURNS[:3],
            True,
            "<|user|>\nHi</s>\n<|assistant|>\nYo</s>\n<|user|>\nBye</s>\n<|assistant|>\n",
        ),
        (
            [{"role": "user", "content": "  two\n\nlines \n"}],
            True,
            "<|user|>\n  two\n\nlines \n</s>\n<|assistant|>\n",
        ),
        ([{"role": "user", "content": "{{ 1 }} <b>"}], False, "<|user|>\n{{ 1 }} <b></s>\n"),
    ],
)
def test_the_template_renders_zephyrs_text_to_the_byte(
    tokenizer, messages, generation_prompt, expected
):
    assert chat.render(tokenizer, messages, generation_prompt) == expected


def test_the_prompt_of_an_answer_is_the_beginning_of_the_training_text(tokenizer):
    prompt = tokenizer.apply_chat_template(
        TWO_TURNS[:3], add_generation_prompt=True, return_dict=True
    )["input_ids"]
    ids, _ = chat.encode(tokenizer, TWO_TURNS)
    assert ids[: len(prompt)] == prompt


def test_no_bos_is_added_though_plain_text_gets_one(tokenizer):
    ids, _ = chat.encode(tokenizer, TWO_TURNS)
    assert tokenizer("Hi")["input_ids"][0] == tokenizer.bos_token_id
    assert tokenizer.bos_token_id not in ids


def test_an_unknown_role_is_refused_with_its_name(tokenizer):
    with pytest.raises(HandbookError, match="unknown role: tool"):
        chat.render(tokenizer, [{"role": "tool", "content": "42"}])


def test_an_empty_conversation_is_refused(tokenizer):
    with pytest.raises(HandbookError, match="at least one message"):
        chat.render(tokenizer, [])


def test_a_tokenizer_without_template_says_how_to_get_one():
    with pytest.raises(HandbookError, match="prepare_tokenizer"):
        chat.render(tiny_tokenizer(), GREETING)


def test_the_template_survives_saving_and_loading(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    again = type(tokenizer).from_pretrained(tmp_path)
    assert chat.encode(again, TWO_TURNS, assistant_only=True) == chat.encode(
        tokenizer, TWO_TURNS, assistant_only=True
    )


# --- what counts in the loss ----------------------------------------------------------------------


def test_every_token_counts_by_default(tokenizer):
    ids, labels = chat.encode(tokenizer, TWO_TURNS)
    assert labels == ids


@pytest.mark.parametrize(
    "answer", ["See you.", "\U0001f600 hi", "ends in é", " spaced ", "\nnew line", ""]
)
def test_only_the_answers_and_the_tokens_that_end_them_count_on_request(tokenizer, answer):
    messages = [*TWO_TURNS[:3], {"role": "assistant", "content": answer}]
    ids, labels = chat.encode(tokenizer, messages, assistant_only=True)
    counted = [token for token, label in zip(ids, labels, strict=True) if label != -100]
    assert tokenizer.decode(counted) == f"Yo</s>{answer}</s>"
    assert all(label in (-100, token) for token, label in zip(ids, labels, strict=True))


def test_the_token_view_puts_together_to_the_rendered_text(tokenizer):
    messages = [SYSTEM, {"role": "user", "content": "naïve \U0001f600?"}, *TWO_TURNS[1:]]
    views = chat.token_view(tokenizer, messages)
    assert "".join(view.text for view in views) == chat.render(tokenizer, messages)
    assert [view.id for view in views] == chat.encode(tokenizer, messages)[0]


def test_the_token_view_names_the_turn_of_each_token(tokenizer):
    views = chat.token_view(tokenizer, [SYSTEM, *TWO_TURNS])
    by_role = {
        role: "".join(v.text for v in views if v.role == role)
        for role in ("system", "user", "assistant")
    }
    assert by_role == {
        "system": "<|system|>\n</s>\n",
        "user": "<|user|>\nHi</s>\n<|user|>\nBye</s>\n",
        "assistant": "<|assistant|>\nYo</s>\n<|assistant|>\nSee you.</s>\n",
    }
    assert "".join(v.text for v in views if v.in_loss) == "Yo</s>See you.</s>"
    assert all(v.in_loss for v in chat.token_view(tokenizer, TWO_TURNS, assistant_only=False))


def test_the_html_view_escapes_text_and_marks_without_colour(tokenizer):
    messages = [{"role": "user", "content": "<script>"}, {"role": "assistant", "content": "no"}]
    page = chat.token_view_html(chat.token_view(tokenizer, messages))
    assert "<script" not in page and "&lt;" in page
    # n, o and the end
    assert page.count("border-bottom:3px") == page.count(", counts in the loss") == 3
    assert ">user<" in page and ">assistant<" in page
    assert "3 of " in page


# --- the tokenizer of a base model ----------------------------------------------------------------


def test_a_tokenizer_keeps_its_own_pad_token():
    tokenizer = tiny_tokenizer()
    assert "padding uses <pad>." in chat.prepare_tokenizer(tokenizer)
    assert tokenizer.pad_token == "<pad>"


def test_a_pad_token_in_the_vocabulary_is_taken_though_it_was_not_named():
    tokenizer = tiny_tokenizer()
    tokenizer.pad_token = "</s>"
    chat.prepare_tokenizer(tokenizer)
    assert tokenizer.pad_token == "<pad>"


def test_unk_pads_for_mistral_which_has_no_pad_token():
    tokenizer = tiny_tokenizer(pad_token=None)
    before = len(tokenizer)
    assert "padding uses <unk>." in chat.prepare_tokenizer(tokenizer)
    assert tokenizer.pad_token_id == 0 and len(tokenizer) == before


def test_eos_pads_where_there_is_nothing_else_and_this_is_said():
    tokenizer = tiny_tokenizer(pad_token=None, unk_token="</s>")
    assert "for want of one of its own" in chat.prepare_tokenizer(tokenizer)
    assert tokenizer.pad_token == "</s>"


def test_a_tokenizer_without_end_of_sequence_is_refused():
    with pytest.raises(HandbookError, match="end-of-sequence"):
        chat.prepare_tokenizer(tiny_tokenizer(eos_token=None))


# --- generation -----------------------------------------------------------------------------------

PROMPTS = [[{"role": "user", "content": "word " * n}] for n in (9, 1, 5, 2, 7)]


def test_the_same_seed_gives_the_same_answers_whatever_the_global_state(model, tokenizer):
    torch.manual_seed(1)
    first = chat.generate(model, tokenizer, PROMPTS, max_new_tokens=8, seed=3)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    again = chat.generate(model, tokenizer, PROMPTS, max_new_tokens=8, seed=3)
    assert first == again
    assert torch.equal(torch.get_rng_state(), state)
    assert chat.generate(model, tokenizer, PROMPTS, max_new_tokens=8, seed=4) != first


def test_greedy_answers_depend_neither_on_batching_nor_on_order_nor_on_the_seed(model, tokenizer):
    options = {"max_new_tokens": 8, "temperature": 0}
    together = chat.generate(model, tokenizer, PROMPTS, **options)
    alone = [chat.generate(model, tokenizer, [prompt], seed=9, **options)[0] for prompt in PROMPTS]
    small = chat.generate(model, tokenizer, PROMPTS[::-1], batch_size=2, **options)[::-1]
    assert together == alone == small
    assert len({answer.text for answer in together}) > 1


def test_greedy_decoding_takes_the_likeliest_token(model, tokenizer):
    ids = tokenizer.apply_chat_template(PROMPTS[1], add_generation_prompt=True, return_dict=True)[
        "input_ids"
    ]
    with torch.no_grad():
        likeliest = model(torch.tensor([ids])).logits[0, -1].argmax()
    answer = chat.generate(model, tokenizer, PROMPTS[1:2], max_new_tokens=1, temperature=0)[0]
    assert answer.text == tokenizer.decode([likeliest]).strip()


def test_a_model_that_ends_is_told_from_one_that_is_cut_off(model, tokenizer):
    talker = chat.generate(model, tokenizer, PROMPTS, max_new_tokens=5, temperature=0)
    assert [(answer.ended, answer.n_tokens) for answer in talker] == [(False, 5)] * len(PROMPTS)

    quiet = tiny_model()
    end = torch.nn.functional.one_hot(torch.tensor(tokenizer.eos_token_id), len(tokenizer))
    # ends at once
    quiet.lm_head.register_forward_hook(lambda head, hidden, scores: scores + 100 * end)
    answers = chat.generate(quiet, tokenizer, PROMPTS, max_new_tokens=5)
    assert answers == [chat.Answer("", True, 1)] * len(PROMPTS)


def test_special_tokens_do_not_reach_the_text(model, tokenizer):
    answers = chat.generate(model, tokenizer, PROMPTS * 8, max_new_tokens=40, temperature=1.5)
    assert any(answer.ended for answer in answers)  # else this shows nothing
    assert (
        len({answer.n_tokens for answer in answers if answer.ended}) > 1
    )  # padding after an end is not counted
    assert not any(
        token in answer.text for answer in answers for token in tokenizer.all_special_tokens
    )


def test_settings_saved_with_the_model_do_not_change_the_draw(tokenizer):
    model = tiny_model()
    expected = chat.generate(model, tokenizer, PROMPTS, max_new_tokens=8)
    model.generation_config.top_k = 1
    model.generation_config.repetition_penalty = 5.0
    assert chat.generate(model, tokenizer, PROMPTS, max_new_tokens=8) == expected


def test_a_model_in_training_is_left_in_training(tokenizer):
    model = tiny_model().train()
    chat.generate(model, tokenizer, PROMPTS[:1], max_new_tokens=1)
    assert model.training


def test_the_context_of_a_model_for_texts_and_images_is_that_of_its_text_part(model, tokenizer):
    nested = Gemma3Config(text_config={"max_position_embeddings": 64})
    assert not hasattr(nested, "max_position_embeddings") and chat.context_length(nested) == 64
    assert chat.context_length(model.config) == model.config.max_position_embeddings
    question = [{"role": "user", "content": "Hi"}]
    with pytest.raises(PromptTooLongError, match="64 new ones exceed the model's context of 64"):
        prompt_ids(SimpleNamespace(config=nested), tokenizer, question, "question", 64)


def test_no_conversations_give_no_answers(model, tokenizer):
    assert chat.generate(model, tokenizer, []) == []
    assert chat.chat_turns(model, tokenizer, []) == []


def test_a_conversation_beyond_the_context_is_named(model, tokenizer):
    with pytest.raises(HandbookError, match=r"conversation 1: .* context of 256"):
        chat.generate(model, tokenizer, [PROMPTS[0], [{"role": "user", "content": "word " * 200}]])


def test_a_conversation_that_ends_with_an_answer_is_refused(model, tokenizer):
    with pytest.raises(HandbookError, match="conversation 0: it must end with a user's turn"):
        chat.generate(model, tokenizer, [GREETING])


def test_the_second_turn_is_asked_after_the_models_own_first_answer(model, tokenizer):
    options = {"max_new_tokens": 6, "temperature": 0}
    answers = chat.chat_turns(
        model, tokenizer, [["Hi", "Bye"], ["Only one"], ["What?", "Why?"]], **options
    )
    assert [len(turns) for turns in answers] == [2, 1, 2]
    dialogue = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": answers[0][0].text},
        {"role": "user", "content": "Bye"},
    ]
    assert chat.generate(model, tokenizer, [dialogue], **options) == [answers[0][1]]


def test_each_turn_is_drawn_with_a_seed_of_its_own(model, tokenizer):
    [[first, second]] = chat.chat_turns(model, tokenizer, [["Hi", "Bye"]], seed=5, max_new_tokens=6)
    dialogue = [{"role": "user", "content": "Hi"}]
    assert chat.generate(model, tokenizer, [dialogue], seed=5, max_new_tokens=6) == [first]
    dialogue += [{"role": "assistant", "content": first.text}, {"role": "user", "content": "Bye"}]
    assert chat.generate(model, tokenizer, [dialogue], seed=6, max_new_tokens=6) == [second]
