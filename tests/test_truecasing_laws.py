"""Laws of truecasing over made-up files: nothing but the case of letters changes, every row is
written or set aside, and neither the format of a file nor the order of its rows changes anything.

A longer run: make fuzz
"""

import contextlib
import gzip
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st
from laws import law
from truecasing_corpus import fitted

from zephyr_utils.errors import HandbookError
from zephyr_utils.truecasing import (
    KINDS,
    LABELS,
    Truecaser,
    corrupt_case,
    detect_case_noise,
    protected_spans,
    read_words,
    truecase_files,
    truecase_messages,
    truecasing_scores,
)

PIECES = [
    "however, maria visited paris in may. ", "I don't know. ", "NASA ", "the iphone", "\n",
    "\n\n- item: it is. ", "1. ", "```\ncode\n```\n",
    "`x`", "https://a.b/c ", "<pre>", "</b>", "$x_i$", '"', "(lit. ", "e.g. ", "a.a.a.",
    "İstanbul ", "ﬁne. ", "ß. ", "\u2028", "\ud83d", "\x00",
    "<|user|>\n", "</s>", "[INST]", "ASSISTANT: ", "# HEADING", "| a | b |\n", "mia_77: hey. ", "{",
    "}", '{"role": "assistant", "content": "paris."}', "'", "ǆ", "ΟΔΟΣ. ",
    "\nputs 'paris. however'\n", "\nx = gets.chomp\n", "\n# however, maria. it is\n", "\nend\n",
    "\r\n", "\ncd paris\n", "  indented. maria\n",
]  # fmt: skip
TEXTS = st.lists(st.sampled_from(PIECES), max_size=10).map("".join) | st.text(max_size=20)
ROLES = st.sampled_from(["user", "assistant", "system", "human", "gpt", "GPT", "tool", "robot", ""])
CONTENTS = st.one_of(
    TEXTS, TEXTS, TEXTS, st.none(), st.integers(),
    st.lists(st.fixed_dictionaries({"type": st.sampled_from(["text", "image_url"]), "text": TEXTS}),
             max_size=2),
)  # fmt: skip
OPENAI = st.lists(st.fixed_dictionaries({"role": ROLES, "content": CONTENTS}), max_size=4)
SHAREGPT = st.lists(st.fixed_dictionaries({"from": ROLES, "value": TEXTS}), max_size=4)
TURNS = st.one_of(OPENAI, SHAREGPT, st.lists(TEXTS, max_size=4))
COLUMNS = st.sampled_from(["messages", "data", "conversations", "text", "prompt"])
VALUES = st.one_of(TURNS, TURNS.map(json.dumps), TURNS.map(repr), TEXTS, st.none())
ROWS = st.one_of(
    st.dictionaries(COLUMNS, VALUES, max_size=3),
    st.fixed_dictionaries({"messages": OPENAI}),
    st.fixed_dictionaries({"text": TEXTS}),
    st.sampled_from([None, [], 5, "text", {"messages": {}}, {"messages": 5}]),
)
LINES = st.lists(
    ROWS.map(lambda row: json.dumps(row).encode()) | st.binary(max_size=30), min_size=1, max_size=5
)


def lowered(data):
    """Bytes without the case of their letters, in whatever way JSON writes them."""
    text = data.decode("utf-8", "surrogatepass")
    with contextlib.suppress(ValueError):
        text = json.dumps(json.loads(text), ensure_ascii=False)
    return text.lower().casefold()


def done(source, output, **options):
    """The report; None where the run was refused in words."""
    try:
        return truecase_files(source, output, truecaser=fitted(), **options)
    except HandbookError as error:
        assert error.what and error.remedy
        return None


@law(st.lists(TEXTS, max_size=6), share=0.5)
def test_only_the_case_of_letters_changes_whatever_stands_beside_a_text(texts):
    caser = fitted()
    repaired = caser.truecase_batch(texts)
    assert [len(text) for text in repaired] == [len(text) for text in texts]
    for old, new in zip(texts, repaired, strict=True):
        assert all(
            a == b or a.lower() == b.lower() or a.upper() == b.upper()
            for a, b in zip(old, new, strict=True)
        )
    assert caser.truecase_batch(texts[::-1]) == repaired[::-1]
    recased = caser.recase(texts)
    assert [len(text) for text in recased] == [len(text) for text in texts]
    scores = truecasing_scores(texts, texts, repaired)
    assert 0 <= scores.precision <= 1 and 0 <= scores.f1 <= 1


@law(TEXTS, st.sampled_from(KINDS))
def test_what_is_said_about_a_text_lies_inside_of_it(text, kind):
    assert len(corrupt_case(text, kind, np.random.default_rng(0))) == len(text)
    for start, end, *_ in protected_spans(text):
        assert 0 <= start < end <= len(text)
    assert len(read_words(fitted(), [text])) >= 0
    if "\ud83d" not in text and text.isprintable():
        assert detect_case_noise(pa.array([text]), fitted()).to_pylist()[0] in LABELS


@law(st.lists(VALUES, min_size=1, max_size=4), COLUMNS)
def test_a_table_in_memory_keeps_its_rows_and_its_letters(values, name):
    try:
        table = pa.table({name: values})
    except (pa.ArrowException, ValueError, TypeError, OverflowError):
        return  # values of two types, or a number that no column holds
    try:
        repaired = truecase_messages(table, name, truecaser=fitted())
    except HandbookError as error:
        assert error.what
        return
    assert repaired.schema == table.schema and len(repaired) == len(table)
    before, after = (json.dumps(part.to_pylist()).lower() for part in (table, repaired))
    assert before == after


@law(LINES, st.sampled_from(["a.jsonl", "a.jsonl.gz"]), share=0.3, folder=True)
def test_every_line_is_written_with_its_letters_or_set_aside(folder, lines, name):
    opened = gzip.open if name.endswith(".gz") else open
    with opened(folder / name, "wb") as file:
        file.write(b"\n".join(lines) + b"\n")
    given = b"\n".join(lines).split(b"\n")
    report = done(folder / name, folder / "out")
    aside = folder / "out" / f"{name}.set_aside.jsonl"
    if report is None:
        return
    assert report.rows == len(given) == report.rows_written + sum(report.set_aside.values())
    bad = (
        [
            int(json.loads(line)["where"].rpartition(" ")[2])
            for line in aside.read_bytes().splitlines()
        ]
        if aside.exists()
        else []
    )
    assert len(bad) == sum(report.set_aside.values())
    with opened(folder / "out" / name, "rb") as file:
        written = file.read().split(b"\n")[:-1]
    kept = [line for number, line in enumerate(given, start=1) if number not in bad]
    assert [lowered(line) for line in written] == [lowered(line) for line in kept]
    again = done(folder / name, folder / "out")
    assert again is not None and again.reused and again.rows == report.rows


WRITABLE = OPENAI.map(
    lambda turns: [
        {"role": turn["role"], "content": str(turn["content"]).replace("\ud83d", "?")}
        for turn in turns
    ]
)


@law(st.lists(WRITABLE, min_size=1, max_size=4), share=0.3, folder=True)
def test_a_table_says_the_same_as_lines(folder, conversations):
    rows = [{"messages": turns} for turns in conversations]
    (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    kind = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
    table = pa.table({"messages": pa.array(conversations, kind)})
    pq.write_table(table, folder / "b.parquet")
    lines, columns = (done(folder / name, folder / "out") for name in ("a.jsonl", "b.parquet"))
    assert (lines is None) == (columns is None)
    if lines is not None:
        assert lines.labels == columns.labels and lines.altered == columns.altered
        assert lines.set_aside.total() == columns.set_aside.total()
        written = [
            json.loads(line) for line in (folder / "out" / "a.jsonl").read_bytes().split(b"\n")[:-1]
        ]
        assert pq.read_table(folder / "out" / "b.parquet").to_pylist() == written


@law(
    st.binary(max_size=200),
    st.sampled_from(["a.jsonl", "a.jsonl.gz", "a.json", "a.parquet", "a.arrow", "a.csv", "a.txt"]),
    share=0.3,
    folder=True,
)
def test_any_bytes_in_any_file_are_a_report_or_a_sentence(folder, data, name):
    (folder / name).write_bytes(data)
    report = done(folder / name, folder / "out")
    if report is not None:
        assert report.rows == report.rows_written + sum(report.set_aside.values())


@law(st.lists(TEXTS, max_size=8), st.binary(max_size=60), share=0.2, folder=True)
def test_a_fit_and_a_stored_model_are_themselves_or_refused(folder, texts, data):
    try:
        caser = Truecaser.fit([*texts, *texts, "The house in Paris is small. He sees it."] * 3)
    except HandbookError as error:
        assert "learned" in error.what
    else:
        caser.save(folder / "model.npz")
        assert Truecaser.load(folder / "model.npz").fingerprint() == caser.fingerprint()
    (folder / "other.npz").write_bytes(data)
    try:
        Truecaser.load(folder / "other.npz")
    except HandbookError as error:
        assert error.remedy
    else:
        raise AssertionError("made-up bytes are not a model")
