"""Text that is rendered in a chat template already: taken apart whole, or refused."""

import json

import pytest
from real_records import REAL, needs

from zephyr_utils.data.records import RecordError, check_dialogue, check_preference, load_records
from zephyr_utils.data.templates import TEMPLATES, template_of, turns_of

TURNS = [("user", "Hi"), ("assistant", "Hello."), ("user", "2 < 3?"), ("assistant", "Yes.")]
ZEPHYR = (
    "<|user|>\nHi</s>\n<|assistant|>\nHello.</s>\n<|user|>\n2 < 3?</s>\n<|assistant|>\nYes.</s>\n"
)
RENDERED = {
    "ChatML": "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello.<|im_end|>\n"
              "<|im_start|>user\n2 < 3?<|im_end|>\n<|im_start|>assistant\nYes.<|im_end|>\n",
    "Zephyr": ZEPHYR,
    "Phi-3": "<|user|>\nHi<|end|>\n<|assistant|>\nHello.<|end|>\n<|user|>\n2 < "
             "3?<|end|>\n<|assistant|>\nYes.<|end|>\n<|endoftext|>",
    "Phi-4 mini": "<|user|>Hi<|end|><|assistant|>Hello.<|end|><|user|>2 < "
                  "3?<|end|><|assistant|>Yes.<|end|>",
    "Tulu": "<|user|>\nHi\n<|assistant|>\nHello.<|endoftext|>\n<|user|>\n2 < "
            "3?\n<|assistant|>\nYes.<|endoftext|>",
    "Llama 3": "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n"
               "Hi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
               "Hello.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n"
               "2 < 3?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nYes.<|eot_id|>",
    "Llama 4": "<|begin_of_text|><|header_start|>user<|header_end|>\n\n"
               "Hi<|eot|><|header_start|>assistant<|header_end|>\n\n"
               "Hello.<|eot|><|header_start|>user<|header_end|>\n\n"
               "2 < 3?<|eot|><|header_start|>assistant<|header_end|>\n\nYes.<|eot|>",
    "Llama 2": "<s>[INST] Hi [/INST] Hello. </s><s>[INST] 2 < 3? [/INST] Yes. </s>",
    "Mistral": "<s>[INST] Hi[/INST] Hello.</s>[INST] 2 < 3?[/INST] Yes.</s>",
    "Gemma": "<bos><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\n"
             "Hello.<end_of_turn>\n<start_of_turn>user\n2 < 3?<end_of_turn>\n<start_of_turn>model\n"
             "Yes.<end_of_turn>\n",
    "DeepSeek": "<｜begin▁of▁sentence｜><｜User｜>Hi<｜Assistant｜>Hello.<｜end▁of▁sentence｜>"
                "<｜User｜>2 < 3?<｜Assistant｜>Yes.<｜end▁of▁sentence｜>",
    "HH": "\n\nHuman: Hi\n\nAssistant: Hello.\n\nHuman: 2 < 3?\n\nAssistant: Yes.",
    "Guanaco": "### Human: Hi### Assistant: Hello.### Human: 2 < 3?### Assistant: Yes.",
}  # fmt: skip
BY_TOKENS = sorted(set(RENDERED) - {"HH", "Guanaco"})


def messages(turns=TURNS):
    return [{"role": role, "content": content} for role, content in turns]


@pytest.mark.parametrize("name", RENDERED)
def test_a_rendered_dialogue_is_taken_apart_into_its_turns(name, tmp_path):
    made = check_dialogue({"text": RENDERED[name]})
    assert made["messages"] == messages() and made["prompt"] == "Hi"
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"text": RENDERED[name]}) + "\n")
    assert load_records(path, "dialogue").layout == "text in a chat template"


@pytest.mark.parametrize("name", RENDERED)
def test_two_rendered_texts_and_a_rendered_prompt_with_two_answers_become_a_pair(name):
    text = RENDERED[name]
    worse = text.replace("Yes.", "No.")
    both = check_preference({"chosen": text, "rejected": worse})
    assert both["chosen"] == messages() and both["rejected"][-1]["content"] == "No."
    at = text.index("Yes.")
    split = {"prompt": text[:at], "chosen": text[at:], "rejected": worse[at:]}
    assert check_preference(split) == both
    plain = {"prompt": text[:at], "chosen": "Yes.", "rejected": "No."}
    assert check_preference(plain) == both
    assert check_preference({"prompt": "Hi", "chosen": text, "rejected": worse}) == both


SYSTEMS = {
    "Zephyr": "<|system|>\nBe brief.</s>\n" + ZEPHYR,
    "ChatML": "<|im_start|>system\nBe brief.<|im_end|>\n" + RENDERED["ChatML"],
    "Llama 2": RENDERED["Llama 2"].replace("[INST] ", "[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\n", 1),
    "Llama 3": RENDERED["Llama 3"].replace("<|begin_of_text|>",
                                           "<|begin_of_text|><|start_header_id|>"
                                           "system<|end_header_id|>\n\nBe brief.<|eot_id|>"),
}  # fmt: skip


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_rendered_system_turn_is_one(name):
    made = check_dialogue({"text": SYSTEMS[name]})
    assert made["messages"] == messages([("system", "Be brief."), *TURNS])


@pytest.mark.parametrize("name", BY_TOKENS)
def test_a_turn_that_begins_with_a_marker_is_refused(name):
    text = RENDERED[name]
    rows = [
        {"messages": messages([("user", text), ("assistant", "Yes.")])},
        {"messages": messages([("user", "Hi"), ("assistant", "\n " + text)])},
        {"data": ["Hi", text]},
        {"instruction": text, "output": "Yes."},
    ]
    for row in rows:
        with pytest.raises(RecordError, match="rendered a second time") as error:
            check_dialogue(row)
        assert error.value.reason == "templated_text"
    with pytest.raises(RecordError) as error:
        check_preference({"prompt": "Hi", "chosen": text, "rejected": "No."})
    assert error.value.reason == "templated_text"


@pytest.mark.parametrize("end", ["</s>", "<|im_end|>", "<|eot_id|>", "<end_of_turn>\n",
                                 "<|endoftext|>", "<eos>", "<｜end▁of▁sentence｜>",
                                 "<|end|> "])  # fmt: skip
def test_an_answer_that_ends_with_an_end_token_is_refused(end):
    with pytest.raises(RecordError, match="ends with") as error:
        check_preference({"prompt": "Hi", "chosen": "Hello." + end, "rejected": "No."})
    assert error.value.reason == "templated_text"


@pytest.mark.parametrize(
    "marker",
    ["<|START_OF_TURN_TOKEN|><|USER_TOKEN|>Hi", "<|start|>user<|message|>Hi",
     "[SYSTEM_PROMPT]Hi[/SYSTEM_PROMPT]", "<<SYS>>\nHi\n<</SYS>>", "<|begin_of_text|>Hi"],
)  # fmt: skip
def test_the_markers_of_templates_not_known_here_are_refused_too(marker):
    with pytest.raises(RecordError) as error:
        check_dialogue({"messages": messages([("user", marker), ("assistant", "Hello.")])})
    assert error.value.reason == "templated_text"


@pytest.mark.parametrize(
    "text",
    ["<s>red</s>", "Use <s>red</s>", "Close it with </s> and go on.", "<b>bold</b>", "[link](x)",
     "What does <|im_end|> mean?",
     "The marker </s>\n<|assistant|>\n ends my "
     "turn.", "Human: a person.", "User: hi", "### Instruction: add", "<table>|x|</table>",
     "|> F# pipes <|"],
)  # fmt: skip
def test_words_about_markup_are_not_a_template(text):
    made = check_dialogue({"messages": messages([("user", text), ("assistant", text)])})
    assert made["messages"][0]["content"] == text
    pair = check_preference({"prompt": text, "chosen": text, "rejected": "No."})
    assert pair["chosen"][-1]["content"] == text


@pytest.mark.parametrize(
    "text",
    ["<|user|>\nHi</s> and "
     "more\n<|assistant|>\nHello.</s>", "<|im_start|>user\nHi<|im_end|>stray<|im_start|>assistant\n"
                                        "Hello."],
)  # fmt: skip
def test_a_rendered_text_with_words_outside_of_its_turns_is_refused(text):
    with pytest.raises(RecordError) as error:
        check_dialogue({"text": text})
    assert error.value.reason == "templated_text" and "words outside" in error.value.what


def test_plain_text_is_not_a_dialogue():
    with pytest.raises(RecordError, match="field messages: the field is missing"):
        check_dialogue({"text": "The Rhine is a river."})
    assert turns_of("The Rhine") is None and template_of("") is None
    assert len({template.name for template in TEMPLATES}) == len(TEMPLATES)


@needs("ultrachat_200k_sample")
def test_no_real_turn_is_taken_for_a_rendered_one():
    path = REAL / "ultrachat_200k_sample" / "ultrachat_small.shared.jsonl"
    turns = [m["content"] for row in load_records(path, "dialogue") for m in row["messages"]]
    assert len(turns) >= 4000 and [turn for turn in turns if template_of(turn)] == []
