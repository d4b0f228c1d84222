"""Conversations in whatever form they come: only letters of the assistant's messages change, and
what cannot be told is refused by name.
"""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from faulty_dialogues import ASKED, FAULTY, GOOD, PARTS, RIGHT, SHAREGPT, TURNS, dumps
from hypothesis import given, settings
from hypothesis import strategies as st
from truecasing_corpus import fitted

from zephyr_utils.errors import HandbookError
from zephyr_utils.truecasing import truecase_files, truecase_messages


def truecased_lines(folder: Path, *lines: str, name: str = "a.jsonl") -> str:
    opened = gzip.open if name.endswith(".gz") else open
    with opened(folder / name, "wt", encoding="utf-8", newline="") as file:
        file.writelines(line + "\n" for line in lines)
    truecase_files(folder / name, folder / "out", truecaser=fitted())
    with opened(folder / "out" / name, "rt", encoding="utf-8", newline="") as file:
        return file.read()


LINES = {
    "messages": dumps(GOOD),
    "other spacing, order and numbers": '{ "n":1e3,"m":1.0 , "messages" :[ {"content": '
    + dumps(FAULTY)
    + ' ,"role":"assistant"}],"k":1}',
    "messages as JSON text": dumps({"messages": dumps(TURNS)}),
    "messages as indented JSON text": dumps({"messages": dumps(TURNS, indent=2)}),
    "messages as Python text": dumps({"messages": repr(TURNS)}),
    "messages as a tuple in Python text": dumps({"messages": repr(tuple(TURNS))}),
    "messages as JSON text in JSON text": dumps({"messages": dumps(dumps(TURNS))}),
    "each message as JSON text": dumps({"messages": [dumps(turn) for turn in TURNS]}),
    "data": dumps({"data": [ASKED, FAULTY]}),
    "data as JSON text": dumps({"data": dumps([ASKED, FAULTY])}),
    "conversations": dumps({"conversations": SHAREGPT}),
    "conversations as JSON text": dumps({"conversations": dumps(SHAREGPT)}),
    "conversations as Python text": dumps({"conversations": repr(SHAREGPT)}),
    "conversations with roles in capitals": dumps(
        {
            "conversations": [
                {"role": "USER", "content": ASKED},
                {"role": "Assistant", "content": FAULTY},
            ]
        }
    ),
    "Gemini's roles": dumps(
        {"messages": [{"role": "user", "content": ASKED}, {"role": "model", "content": FAULTY}]}
    ),
    "the row as JSON text": dumps(dumps(GOOD)),
    "the row as JSON text in a column": dumps({"text": dumps(GOOD)}),
    "a column in an object": dumps({"messages": {"messages": TURNS}}),
    "a list of roles beside one of contents": dumps(
        {"messages": {"role": ["user", "assistant"], "content": [ASKED, FAULTY]}}
    ),
    "a single message": dumps({"messages": TURNS[1]}),
    "contents in parts": dumps({"messages": PARTS}),
    "contents in parts of several kinds": dumps(
        {
            "messages": [
                {
                    "role": "assistant",
                    "content": [
                        {"type": "image_url", "image_url": {"url": "a. b"}},
                        {"type": "text", "text": FAULTY},
                        {"type": "thinking", "thinking": ASKED},
                        {"type": "output_text", "text": "It is."},
                    ],
                }
            ]
        }
    ),
    "contents as lists of text": dumps({"messages": [{"role": "assistant", "content": [FAULTY]}]}),
    "contents in parts as JSON text": dumps(
        {"messages": [{"role": "assistant", "content": dumps(PARTS[0]["content"])}]}
    ),
    "a tool's turns": dumps(
        {
            "messages": [
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [{"arguments": dumps({"q": ASKED})}],
                },
                {"role": "tool", "content": ASKED},
                {"role": "assistant", "content": FAULTY},
            ]
        }
    ),
    "messages empty, data filled": dumps({"messages": None, "data": [ASKED, FAULTY]}),
    "conversations padded with both pairs of keys": dumps(
        {
            "conversations": [
                {"from": "human", "value": ASKED, "role": None, "content": None},
                {"from": "gpt", "value": FAULTY, "role": None, "content": None},
            ]
        }
    ),
    "Zephyr's template": dumps({"text": f"<|user|>\n{ASKED}</s>\n<|assistant|>\n{FAULTY}</s>\n"}),
    "ChatML": dumps(
        {"text": f"<|im_start|>user\n{ASKED}<|im_end|>\n<|im_start|>assistant\n{FAULTY}<|im_end|>"}
    ),
    "Llama 3's template": dumps(
        {
            "text": "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n"
            f"{ASKED}<|eot_id|>"
            f"<|start_header_id|>assistant<|end_header_id|>\n\n{FAULTY}<|eot_id|>"
        }
    ),
    "Mistral's template": dumps({"text": f"<s>[INST] {ASKED} [/INST] {FAULTY}</s>"}),
    "Gemma's template": dumps(
        {
            "text": f"<start_of_turn>user\n{ASKED}<end_of_turn>\n"
            f"<start_of_turn>model\n{FAULTY}<end_of_turn>"
        }
    ),
    "HH": dumps({"text": f"\n\nHuman: {ASKED}\n\nAssistant: {FAULTY}"}),
    "a template in messages": dumps(
        {"messages": f"<|user|>\n{ASKED}</s>\n<|assistant|>\n{FAULTY}</s>\n"}
    ),
    "text": dumps({"text": FAULTY, "note": ASKED}),
}


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "A.JSONL"])
@pytest.mark.parametrize("layout", LINES)
def test_only_letters_of_the_assistant_change_in_a_line(tmp_path, layout, name):
    line = LINES[layout]
    assert truecased_lines(tmp_path, line, name=name) == line.replace(FAULTY, RIGHT) + "\n" != line


@pytest.mark.parametrize(
    "text",
    [
        f'"{FAULTY}"',
        f"[Note] {FAULTY}",
        f"({FAULTY})",
        f"{{{FAULTY}",
        f"\n {FAULTY}",
        f"# {FAULTY}",
    ],
)
def test_a_text_that_opens_like_structure_is_text(tmp_path, text):
    right = fitted().truecase(text)
    assert "However" in right
    assert truecased_lines(tmp_path, dumps({"text": text})) == dumps({"text": right}) + "\n"


def test_line_ends_marks_and_separators_stay_where_they_are(tmp_path):
    answer = f"{FAULTY}\u2028\x85\u2029{FAULTY}\x85"
    turns = {"messages": [{"role": "assistant", "content": answer}]}
    right = {"messages": [{"role": "assistant", "content": fitted().truecase(answer)}]}
    line = dumps(GOOD)
    written = truecased_lines(
        tmp_path, f"\ufeff{line}\r", dumps(turns, ensure_ascii=False), f"\ufeff{line}"
    )
    repaired = line.replace(FAULTY, RIGHT)
    assert right != turns
    assert written == (
        f"\ufeff{repaired}\r\n{dumps(right, ensure_ascii=False)}\n\ufeff{repaired}\n"
    )


@pytest.mark.parametrize("write", [dumps, repr, lambda value: dumps(value, ensure_ascii=False)])
def test_an_escaped_letter_stays_an_escape(tmp_path, write):
    faulty = "\u00e9mile knows paris. however, maria visited it in may. "
    faulty += "\u00e9cole 😀 \\u00e9 'n' \"m\"\n"
    right = fitted().truecase("I know it. " + faulty).removeprefix("I know it. ")
    turns = [{"role": "assistant", "content": "I know it. " + faulty}]
    line = dumps({"messages": write(turns)})
    assert "However, Maria" in right
    turns[0]["content"] = "I know it. " + right
    assert truecased_lines(tmp_path, line) == dumps({"messages": write(turns)}) + "\n"


REFUSED = {
    "a printed NumPy array": (
        {
            "messages": "[{'role': 'user', 'content': 'a. b'}\n"
            " {'role': 'assistant', 'content': 'a. b'}]"
        },
        "broken structure",
    ),
    "JSON text that is cut off": ({"messages": dumps(TURNS)[:-20]}, "broken structure"),
    "ShareGPT text that is cut off": ({"text": dumps(SHAREGPT)[:-3]}, "broken structure"),
    "strings joined in Python text": (
        {
            "messages": "[{'role': 'assistant', 'content': "
            "\"I don't know paris well. however, \" 'maria visited it in may.'}]"
        },
        "broken structure",
    ),
    "JSON text of something else": ({"messages": dumps({"a": 1})}, "not messages"),
    "more roles than contents": (
        {"messages": {"role": ["user", "assistant"], "content": ["a. b"]}},
        "not messages",
    ),
    "a content that is a number": (
        {"messages": [{"role": "assistant", "content": 7}]},
        "not messages",
    ),
    "Vicuna's template": (
        {"text": f"A chat with an assistant. USER: {ASKED} ASSISTANT: {FAULTY}</s>"},
        "in a chat template",
    ),
    "Alpaca's template": (
        {
            "text": "Below is an instruction.\n\n"
            f"### Instruction:\n{ASKED}\n\n### Response:\n{FAULTY}"
        },
        "in a chat template",
    ),
    "Command R's template": (
        {"text": f"<|START_OF_TURN_TOKEN|><|USER_TOKEN|>{ASKED}<|END_OF_TURN_TOKEN|>"},
        "in a chat template",
    ),
    "markers behind other words": (
        {"text": f"Rules.\n<|user|>\n{ASKED}\n<|assistant|>\n{FAULTY}"},
        "in a chat template",
    ),
    "a transcript": ({"text": f"User: {ASKED}\nAssistant: {FAULTY}"}, "in a chat template"),
}


@pytest.mark.parametrize(
    ("layout", "kind"),
    [
        (layout, kind)
        for layout, (row, _) in REFUSED.items()
        for kind in ("jsonl", "parquet")
        # a column of a table has one type
        if kind == "jsonl" or isinstance(next(iter(row.values())), str)
    ],
)
def test_what_cannot_be_told_is_set_aside_by_name_and_the_rest_goes_on(tmp_path, layout, kind):
    row, reason = REFUSED[layout]
    good = {name: dumps(TURNS) if name == "messages" else FAULTY for name in row}
    path = tmp_path / f"a.{kind}"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist([good, row, good]), path)
    else:
        path.write_text("".join(dumps(item) + "\n" for item in (good, row, good)))
    report = truecase_files(path, tmp_path / "out", truecaser=fitted())
    assert (report.rows, report.rows_written, dict(report.set_aside)) == (3, 2, {reason: 1})
    [aside] = (tmp_path / "out" / f"a.{kind}.set_aside.jsonl").read_text().splitlines()
    item = json.loads(aside)
    assert item["where"] == f"a.{kind}, row 2" and item["reason"] == reason and item["detail"]
    assert json.loads(item["line"]) == row
    if kind == "parquet":
        with pytest.raises(HandbookError, match="row 2"):
            truecase_messages(pq.read_table(path), next(iter(row)), truecaser=fitted())


@pytest.mark.parametrize(
    "text",
    [
        dumps({"role": "head. of state", "city": "paris. however, i like it."}),
        dumps([{"name": "maria", "story": FAULTY}]),
        dumps({"data": [1, 2], "story": FAULTY}),
        repr({"story": FAULTY}),
        dumps([FAULTY, ASKED]),
    ],
)
def test_a_text_that_is_json_of_its_own_is_left_alone(tmp_path, text):
    line = dumps({"text": text, "messages": None})
    assert truecased_lines(tmp_path, line, dumps({"text": FAULTY})).startswith(line + "\n")


# --- laws ----------------------------------------------------------------------------------------

TEXTS = st.one_of(
    st.sampled_from([FAULTY, ASKED, RIGHT, "[", '{"', "'", '"a. b"', "<|user|>\n", "É. é", "1. a"]),
    st.text(st.sampled_from("aI. \n\"'\\é{}[]:,<|>"), max_size=20),
)
ROLES = st.sampled_from(["user", "assistant", "system", "tool", "gpt", "human", "Bot_7"])
CONTENTS = st.one_of(
    st.none(), TEXTS, st.lists(st.builds(lambda t: {"type": "text", "text": t}, TEXTS), max_size=2)
)
CONVERSATIONS = st.one_of(
    st.lists(st.fixed_dictionaries({"role": ROLES, "content": CONTENTS}), max_size=3),
    st.lists(st.fixed_dictionaries({"from": ROLES, "value": TEXTS}), max_size=3),
    st.lists(TEXTS, max_size=3),
    TEXTS,
    st.none(),
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(CONVERSATIONS, min_size=1, max_size=4),
    st.sampled_from(["messages", "data", "conversations", "text"]),
    st.sampled_from([None, dumps, repr, lambda value: dumps(dumps(value))]),
)
def test_a_file_of_anything_changes_in_the_case_of_letters_alone(rows, name, encode):
    import tempfile

    values = [encode(row) if encode and isinstance(row, list) else row for row in rows]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.jsonl"
        path.write_text("".join(dumps({name: value}) + "\n" for value in values))
        try:
            report = truecase_files(path, Path(folder) / "out", truecaser=fitted())
        except HandbookError as error:
            assert "nothing came out" in str(error) or "no message" in str(error)
            return
        before, after = path.read_text(), (Path(folder) / "out" / "a.jsonl").read_text()
        assert report.rows == len(rows) == report.rows_written + report.set_aside.total()
        if not report.set_aside:
            assert before.lower() == after.lower() and len(before) == len(after)
        assert len(after.splitlines()) == report.rows_written
