"""What exports and templates leave in texts is counted where many have it, and said."""

import base64
import json
import time

import pytest
from real_records import REAL, needs
from typer.testing import CliRunner

from zephyr_utils.cli import app
from zephyr_utils.data.records import load_records
from zephyr_utils.data.traces import TRACES
from zephyr_utils.errors import HandbookError
from zephyr_utils.miniature import data as world

QUESTIONS = [f"Which river flows through town number {n}?" for n in range(12)]
GOOD, BAD = "It is the Rhine.", "It is the moon."


def written(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def pair(n, chosen=GOOD, rejected=BAD, question="{}"):
    return {"prompt": question.format(QUESTIONS[n]), "chosen": chosen, "rejected": rejected}


def warnings_of_pairs(tmp_path, change, n=12):
    """Warnings of twelve pairs of which the first ``n`` were changed."""
    rows = [pair(i, **(change if i < n else {})) for i in range(12)]
    return load_records(written(tmp_path / "pairs.jsonl", rows), "preference").warnings


def warnings_of_dialogues(tmp_path, question, answer):
    rows = [{"prompt": question.replace("{}", q), "completion": answer} for q in QUESTIONS]
    return load_records(written(tmp_path / "dialogues.jsonl", rows), "dialogue").warnings


BOTH = "12 of 12 chosen answers and 12 of 12 rejected answers "


@pytest.mark.parametrize(
    "name", ["Assistant: ", "### Response:\n", "AI: ", "**Assistant:** ", "[Assistant]: ", "助手："]
)
def test_answers_that_begin_with_a_name_of_the_assistant_are_counted(name, tmp_path):
    [said] = warnings_of_pairs(tmp_path, {"chosen": name + GOOD, "rejected": name + BAD})
    assert said.startswith(BOTH + "begin with a name of the assistant")
    assert "pairs.jsonl, row 1: " in said and "remove the names" in said
    [said] = warnings_of_dialogues(tmp_path, "{}", name + GOOD)
    assert said.startswith("12 of 12 answers begin with a name of the assistant")
    [said] = warnings_of_pairs(tmp_path, {"chosen": name + GOOD}, n=5)
    assert said.startswith("5 of 12 chosen answers and 0 of 12 rejected answers begin with a name")


@pytest.mark.parametrize("name", ["User: ", "Human: ", "### Instruction:\n", "用户："])
def test_prompts_that_begin_with_a_name_of_the_user_are_counted(name, tmp_path):
    [said] = warnings_of_pairs(tmp_path, {"question": name + "{}"})
    assert said.startswith("12 of 12 turns of users begin with a name of the user")
    [said] = warnings_of_dialogues(tmp_path, name + "{}", GOOD)
    assert said.startswith("12 of 12 turns of users begin with a name of the user")


@pytest.mark.parametrize("words", ["Answer: 31", "Modelling: hard", "Aid: 3", "Users: 4"])
def test_words_before_a_colon_that_name_nobody_are_not_names(words, tmp_path):
    assert warnings_of_dialogues(tmp_path, words + " {}", words) == []


@pytest.mark.parametrize("turn", ["\nHuman: And?", "\n\nUser: And?", "\n### Instruction:\nGo on."])
def test_answers_that_go_on_with_a_turn_of_the_user_are_counted(turn, tmp_path):
    [said] = warnings_of_pairs(tmp_path, {"rejected": BAD + turn}, n=4)
    assert said.startswith(
        "0 of 12 chosen answers and 4 of 12 rejected answers go on with a turn of the user"
    )


@pytest.mark.parametrize(
    "thought", ["<think>Rhine or Maas?</think>\n", "Rhine or Maas?</think>", "[THINK]R?[/THINK]"]
)
def test_thoughts_on_one_side_of_the_pairs_are_counted(thought, tmp_path):
    [said] = warnings_of_pairs(tmp_path, {"chosen": thought + GOOD})
    assert said.startswith("12 of 12 chosen answers and 0 of 12 rejected answers hold a model's")
    assert "the pairs would teach the marks" in said
    [said] = warnings_of_pairs(tmp_path, {"rejected": thought + BAD}, n=3)
    assert said.startswith("0 of 12 chosen answers and 3 of 12 rejected answers hold a model's")
    assert warnings_of_pairs(tmp_path, {"chosen": thought + GOOD, "rejected": thought + BAD}) == []
    [said] = warnings_of_dialogues(tmp_path, "{}", thought + GOOD)
    assert said.startswith("12 of 12 answers hold a model's thoughts")


def test_an_answer_that_explains_the_mark_of_a_thought_holds_none(tmp_path):
    assert warnings_of_pairs(tmp_path, {"chosen": "The mark `<think>` opens a thought."}) == []


ESCAPED = {
    "entities": ("Rhine &amp; Maas, don&#39;t forget", "HTML entities"),
    "entity of a quotation mark": ("It is &quot;the Rhine&quot;", "HTML entities"),
    "tags": ("<p>It is the Rhine.</p>", "written in HTML"),
    "line breaks": (r"The Rhine.\n\nIt is long.", "escape sequences"),
    "characters": (r"The K\u00f6nigssee.", "escape sequences"),
    "apostrophe": ("It isnâ€™t the Rhine.", "wrong encoding"),
    "letter": ("Der KÃ¶nigssee.", "wrong encoding"),
    "lost": ("Der K\ufffdnigssee.", "lost"),
    "pieces": ("It Ġis Ġthe ĠRhine", "tokenizer's pieces"),
    "marker": ("The Rhine.<|im_end|>\nIt is long.", "markers of a chat template"),
    "marker of Llama 2": ("The Rhine. [INST] And? [/INST] The Maas.", "markers of a chat"),
    "marker of Gemma": ("The Rhine.<end_of_turn> It is.", "markers of a chat template"),
}

OTHERS = {
    "thoughts that are empty": ("<think>\n\n</think>\n\nThe Rhine.", "a model's thoughts"),
    "object": ('{"content": "The Rhine."}', "program's object"),
    "list": ("['The Rhine.']", "program's object"),
    "bytes": ("b'The Rhine.'", "program's object"),
    "string": ('"The Rhine."', "program's object"),
    "message of a client": ("ChatCompletionMessage(content='The Rhine.')", "program's object"),
    "place of an image": ("<image>\nThe Rhine.", "placeholder for an image"),
    "place of images": ("See <|image_pad|>: the Rhine.", "placeholder for an image"),
    "zero byte": ("The\x00 Rhine.", "control characters"),
    "colours of a terminal": ("\x1b[31mThe Rhine.\x1b[0m", "control characters"),
    "direction": ("\u202eThe Rhine.", "control characters"),
    "missing": ("None", "word for what is missing"),
    "missing in a spreadsheet": ("#N/A", "word for what is missing"),
}


@pytest.mark.parametrize(
    ("text", "words"), [*ESCAPED.values(), *OTHERS.values()], ids=[*ESCAPED, *OTHERS]
)
def test_what_an_export_left_in_most_texts_is_counted(text, words, tmp_path):
    [said] = warnings_of_dialogues(tmp_path, "{}", text)
    assert said.startswith("12 of 12 answers ") and words in said
    [said] = warnings_of_pairs(tmp_path, {"chosen": text}, n=3)
    assert said.startswith("3 of 12 chosen answers and 0 of 12 rejected") and words in said
    assert warnings_of_pairs(tmp_path, {"chosen": text}, n=1) == []  # one text may be about it


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("$ERROR$", "are placeholders"),
        ("[deleted]", "are placeholders"),
        ("nan", "are placeholders"),
        ("Error: 429 Too Many Requests", "error of a call"),
        ('{"error": {"message": "overloaded"}}', "error of a call"),
        ("openai.RateLimitError: Error code: 429", "error of a call"),
    ],
)
def test_answers_that_failed_are_counted_however_few_they_are(text, words, tmp_path):
    rows = [pair(0, rejected=text) if i in (3, 30) else pair(i % 12) for i in range(40)]
    [said] = load_records(written(tmp_path / "pairs.jsonl", rows), "preference").warnings
    assert said.startswith("0 of 40 chosen answers and 2 of 40 rejected answers ")
    assert words in said and "pairs.jsonl, row 4: " in said


def test_answers_that_begin_with_their_question_are_counted(tmp_path):
    rows = [{"prompt": q, "completion": f"{q}\n{GOOD}"} for q in QUESTIONS]
    [said] = load_records(written(tmp_path / "echo.jsonl", rows), "dialogue").warnings
    assert said.startswith("12 of 12 answers begin with the whole turn before them")
    rows = [{"prompt": q, "chosen": f"{q} {GOOD}", "rejected": f"{q} {BAD}"} for q in QUESTIONS]
    [said] = load_records(written(tmp_path / "echo.jsonl", rows), "preference").warnings
    assert said.startswith(BOTH + "begin with the whole turn before them")
    rows = [{"prompt": "Hi", "completion": "Hi there!"}, {"prompt": "Hello", "completion": "Hello"}]
    path = written(tmp_path / "greetings.jsonl", rows)
    assert load_records(path, "dialogue").warnings == []


def test_white_space_on_one_side_of_the_pairs_is_counted(tmp_path):
    [said] = warnings_of_pairs(tmp_path, {"chosen": " " + GOOD})
    assert "begin with white space" in said
    [said] = warnings_of_pairs(tmp_path, {"rejected": BAD + "\n"})
    assert "end with white space" in said
    assert warnings_of_pairs(tmp_path, {"chosen": " " + GOOD, "rejected": " " + BAD}) == []


ABOUT = [
    "Write `&lt;p&gt;` to show the tag.",
    "Write &lt;p&gt; to show the tag <p>.",
    "```html\n&copy; &amp; &lt;\n```\nThese are entities.",
    r"In C, `\n` ends a line.",
    'Use printf("\\n"):\n\nint main() {}',
    'The word "Rhine" is "a river".',
    '{"name": "Rhine", "length": 1230}',
    "See [1] and ['a', 'b'].",
    r"The gradient $\nabla f$ is not $\neq$ zero.",
    "Um São João, NÃO. Â côté, Ângela.",
    "A list may hold <p> and <br>.",
    "Il-Ġermanja u l-Ġappun.",
]


@pytest.mark.parametrize("text", ABOUT)
def test_texts_about_markup_code_or_formulas_are_none_that_an_export_escaped(text, tmp_path):
    assert warnings_of_dialogues(tmp_path, text + " {}", text) == []


def test_the_command_says_what_ratings_and_answers_hold(tmp_path):
    rows = world.feedback(20)
    for row in rows:
        for completion in row["completions"]:
            completion["response"] = "Assistant: " + completion["response"]
    path = written(tmp_path / "feedback.jsonl", rows)
    done = CliRunner().invoke(app, ["pairs", str(path), "--output", str(tmp_path / "p.jsonl")])
    assert done.exit_code == 0 and "note: 80 of 80 answers begin with" in done.output


def test_thoughts_of_some_models_are_said_of_the_pairs_that_are_made(tmp_path):
    rows = world.feedback(40)
    for row in rows:
        best = max(row["completions"], key=lambda completion: completion["overall_score"] or 0)
        best["response"] = "<think>Hm.</think>" + best["response"]
    path = written(tmp_path / "feedback.jsonl", rows)
    command = ["pairs", str(path), "--output", str(tmp_path / "p.jsonl"), "--score", "overall"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0
    assert "rejected answers hold a model's thoughts" in done.output


@needs("ultrachat_200k_sample")
@needs("ultrafeedback_binarized_sample")
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("ultrachat_200k_sample/ultrachat_small.shared.jsonl", "dialogue"),
        ("ultrachat_200k_sample/ultrachat_chunk_eval_checkpoint.jsonl", "dialogue"),
        ("ultrafeedback_binarized_sample/train_clean.shared.jsonl", "preference"),
        ("dialogues_misc/llama_factory_dpo_en_demo.shared.json", "preference"),
    ],
)
def test_no_warning_appears_on_real_records(name, kind):
    assert load_records(REAL / name, kind).warnings == []


def in_base64(text):
    return base64.b64encode(text.encode()).decode()


def test_answers_in_base64_are_counted_and_long_words_are_none(tmp_path):
    [said] = warnings_of_pairs(tmp_path, {"chosen": in_base64(GOOD), "rejected": in_base64(BAD)})
    assert said.startswith(BOTH + "are written in base64")
    for word in ("Donaudampfschifffahrtsgesellschaft", "a" * 64, "1" * 32, "/usr/lib/python/site"):
        assert warnings_of_dialogues(tmp_path, "{}", word) == []


@pytest.mark.parametrize("place", ["{{text}}", "{{ user.name }}", "Dear {{name}},"])
def test_places_that_were_not_filled_in_are_counted(place, tmp_path):
    [said] = warnings_of_dialogues(tmp_path, place + " {}", GOOD)
    assert "12 of 12 turns of users hold a placeholder that was not filled in" in said
    [said] = warnings_of_pairs(tmp_path, {"chosen": place + GOOD})
    assert "hold a placeholder that was not filled in" in said


@pytest.mark.parametrize(
    "text", ["Write `{{name}}` there.", "```\n{{name}}\n```", "{% if a %}{{a}}{% endif %}", "{x}"]
)
def test_code_of_templates_is_not_a_place_that_was_not_filled_in(text, tmp_path):
    assert warnings_of_dialogues(tmp_path, "{}", text) == []


@pytest.mark.parametrize("tag", ["user", "human", "assistant", "bot"])
def test_turns_in_tags_are_counted(tag, tmp_path):
    [said] = warnings_of_dialogues(tmp_path, "{}", f"{GOOD} <{tag}>And?\n</{tag}>")
    assert "12 of 12 answers hold turns in tags" in said and "as messages" in said
    assert warnings_of_dialogues(tmp_path, "{}", f"Write `<{tag}>a</{tag}>`.") == []


def with_splits(path, *names):
    rows = [pair(n) | {"split": names[n % len(names)]} for n in range(12)]
    return load_records(written(path, rows), "preference").warnings


@pytest.mark.parametrize("held_out", ["test", "Validation", "dev", "eval"])
def test_rows_of_several_splits_are_counted(held_out, tmp_path):
    [said] = with_splits(tmp_path / "mixed.jsonl", "train", "train", held_out)
    assert f"2 splits, by their column `split` (train 8, {held_out} 4)" in said


@pytest.mark.parametrize("names", [("train",), ("test",), ("", "train"), ("a", "b")])
def test_rows_of_one_split_or_of_parts_that_are_not_splits_are_no_matter(names, tmp_path):
    assert with_splits(tmp_path / "one.jsonl", *names) == []


def test_the_steps_before_chosen_and_rejected_are_not_lost(tmp_path):
    rows = [pair(n) | {"initial_reason_steps": "First, look at a map."} for n in range(3)]
    with pytest.raises(HandbookError, match="Step-DPO") as error:
        load_records(written(tmp_path / "steps.jsonl", rows), "preference")
    assert "remove the column" in error.value.remedy
    empty = [row | {"initial_reason_steps": ""} for row in rows]
    assert len(load_records(written(tmp_path / "steps.jsonl", empty), "preference")) == 3


# --- hostile repetitions --------------------------------------------------------------------------

SHORT, FACTOR = 4_000, 4
LIMIT = 10  # linear work gives a ratio of 4, quadratic work one of 16
HOSTILE = [
    ("<user>", "</human>"), ("<bot>x", "</user>"), ("{{a ", "}"), ("`a", "&amp;{{"), ("<p ", ""),
    ("```\na\n", "&amp;<"), ("&amp;", "`"), ("<think>", ""), ("Ġa", ""), ("<｜a", ""), (" ", "x"),
    ("### ", ":"), ("['a'", ""), ("AAAA", "!"), ("\n ", ":"),
]  # fmt: skip


def seconds(trace, text):
    began = time.process_time()
    trace.found(text)
    return time.process_time() - began


@pytest.mark.parametrize(("unit", "end"), HOSTILE)
def test_the_work_grows_with_the_length_of_a_text_and_not_with_its_square(unit, end):
    for trace in TRACES:
        short, long = (unit * n + end for n in (SHORT, SHORT * FACTOR))
        ratios = (seconds(trace, long) / max(seconds(trace, short), 1e-3) for _ in range(4))
        assert any(ratio < LIMIT for ratio in ratios), trace.what
