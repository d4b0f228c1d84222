"""Conversations written in one text in forms that are not known: set aside, never altered."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from zephyr_utils.data.structure import holds_yaml_turns
from zephyr_utils.truecasing import Truecaser, truecase_files

ANSWER = "It is the Rhine in Germany. It flows to Rotterdam. The Rhine is long."
LOWERED = "it is the rhine in germany. it flows to rotterdam."
FORMS = {
    "YAML": f"- role: user\n  content: name the rhine\n- role: assistant\n  content: {LOWERED}\n",
    "YAML behind a line": f"---\n- from: human\n  value: name it\n- from: gpt\n  value: {LOWERED}",
    "XML": f"<user>name the rhine</user><assistant>{LOWERED}</assistant>",
    "XML by lines": f"<user>name the rhine</user>\n<assistant>{LOWERED}</assistant>",
    "messages of XML": '<message role="user">name the rhine</message>'
    f'<message role="assistant">{LOWERED}</message>',
    "gpt-oss": "<|start|>user<|message|>name the rhine<|end|><|start|>assistant<|channel|>final"
    f"<|message|>{LOWERED}<|return|>",
}


@pytest.mark.parametrize("column", ["messages", "text"])
@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
@pytest.mark.parametrize("form", FORMS)
def test_a_conversation_in_an_unknown_form_is_set_aside_and_not_altered(
    form, suffix, column, tmp_path
):
    rows = [{column: FORMS[form]}, {column: LOWERED}]
    path = tmp_path / f"rows.{suffix}"
    if suffix == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        pq.write_table(pa.table({column: [row[column] for row in rows]}), path)
    report = truecase_files([path], tmp_path / "output", truecaser=Truecaser.fit([ANSWER] * 40))
    assert report.rows == 2 and report.rows_written == 1
    assert sum(report.set_aside.values()) == 1
    written = tmp_path / "output" / path.name
    texts = (
        [json.loads(line)[column] for line in written.read_text().splitlines()]
        if suffix == "jsonl"
        else pq.read_table(written)[column].to_pylist()
    )
    assert texts == ["It is the Rhine in Germany. It flows to Rotterdam."]


@pytest.mark.parametrize(
    "text", ["- role: user is a key of YAML.", "- it is the Rhine.", "<user> is a tag."]
)
def test_an_answer_with_such_words_is_repaired_as_any_other(text, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"text": text}) + "\n")
    report = truecase_files([path], tmp_path / "output", truecaser=Truecaser.fit([ANSWER] * 40))
    assert report.rows_written == 1


@pytest.mark.parametrize("filling", ["\n", " ", "\t\n", "\r"])
def test_blanks_behind_a_key_of_yaml_are_read_once(filling):
    # In quadratic time a million of them would take hours.
    assert not holds_yaml_turns("- role: user" + filling * 1_000_000 + "\n x")
    assert holds_yaml_turns("- role: user\n" + " " * 1_000_000 + "content: x")
