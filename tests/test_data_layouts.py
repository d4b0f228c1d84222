"""Layouts: every one that is promised is read rightly, and every other is refused by its name."""

import json
from pathlib import Path

import page_parts
import pytest
from layout_rows import CHECKS, RIVER, TEXTS, assistant, pair, reason_of, system, user
from real_records import REAL, needs
from sample_records import FEEDBACK, PAIR

from zephyr_utils.data import completions, layout_table, layouts, pair_layouts, refused
from zephyr_utils.data.read import SUFFIXES
from zephyr_utils.data.records import (
    RecordError,
    check_dialogue,
    check_preference,
    load_records,
)
from zephyr_utils.data.rows import MAX_JSON_BYTES, MAX_ROW_BYTES, megabytes
from zephyr_utils.errors import HandbookError
from zephyr_utils.pipeline.steps.reading import RecordSource

DIALOGUES, PAIRS = layouts.DIALOGUES, pair_layouts.PAIRS
LABELLED = pair_layouts.LABELLED
ACCEPTED = (*DIALOGUES, *completions.FEEDBACK, *PAIRS, *LABELLED)
REFUSED = (*refused.REFUSED_DIALOGUES, *refused.REFUSED_PAIRS, *refused.REFUSED_FEEDBACK)


def loaded(tmp_path, rows, kind="preference", **options):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return load_records(path, kind, **options)


# --- the table -----------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", DIALOGUES, ids=lambda layout: layout.name)
def test_the_example_of_a_layout_of_dialogues_becomes_the_same_dialogue_in_all(layout):
    question, answer = "Name a river.", "The Rhine."
    if layout.name == "Alpaca":
        question, answer = "Translate into French.\na river", "une rivière"
    made = check_dialogue(layout.example)
    assert made["messages"] == [user(question), assistant(answer)]
    assert made["prompt"] == question and check_dialogue(made) == made


@pytest.mark.parametrize("layout", PAIRS, ids=lambda layout: layout.name)
def test_the_example_of_a_layout_of_pairs_becomes_the_same_pair_in_all(layout, tmp_path):
    expected = {
        "Orca": pair(system("Be brief."), user("Name a river.")),
        "Alpaca pairs, as LLaMA-Factory has them": pair(
            user("Translate into French.\na river"), good="une rivière", bad="la lune"
        ),
        "ultrafeedback_binarized, or TRL implicit": RIVER
        | {"score_chosen": 8.0, "score_rejected": 3.0},
    }.get(layout.name, RIVER)
    made = check_preference(layout.example)
    assert made == expected and check_preference(made) == made
    read = loaded(tmp_path, [layout.example])
    assert read.layout == layout.name and f"layout: {layout.name} (1 rows)" in read.report()
    assert not layout.becomes or f"{layout.becomes} (1 rows)" in read.report()


SHP = {"history": "Name a river.", "human_ref_A": "The moon.", "human_ref_B": "The Rhine."}
ARENA = {
    "conversation_a": [user("Name a river."), assistant("The Rhine.")],
    "conversation_b": [user("Name a river."), assistant("The moon.")],
}


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (SHP | {"labels": 0, "score_A": 3, "score_B": 900}, RIVER),
        (SHP | {"labels": "1"}, pair(user("Name a river."), good="The moon.", bad="The Rhine.")),
        (ARENA | {"winner": "model_a", "model_a": "x", "turn": 1}, RIVER),
        ({name: json.dumps(turns) for name, turns in ARENA.items()} | {"winner": "model_a"}, RIVER),
    ],
)
def test_the_answer_that_people_preferred_is_chosen_and_their_scores_are_not_ratings(row, expected):
    assert check_preference(row) == expected


def test_ties_and_conversations_that_part_early_are_counted_and_a_file_of_ties_is_refused(tmp_path):
    parted = [user("Hi"), assistant("Ho."), user("Name a river."), assistant("The Rhine.")]
    other = [user("Hi"), assistant("Hu?"), user("Name a river."), assistant("The moon.")]
    rows = [
        ARENA | {"winner": "model_a"},
        ARENA | {"winner": "tie"},
        ARENA | {"winner": "tie (bothbad)"},
        {"conversation_a": parted, "conversation_b": other, "winner": "model_b"},
        ARENA | {"winner": None},
        ARENA | {"winner": ["model_a"]},
        SHP | {"labels": 2},
        SHP,
    ]
    read = loaded(tmp_path, rows, set_aside=True)
    assert read.records == [RIVER]
    assert read.reasons() == {
        "tie": 2, "different_context": 1, "unknown_label": 3, "missing_field": 1
    }  # fmt: skip
    with pytest.raises(HandbookError, match=r"not one of its 2 rows can be used: 2 x tie"):
        loaded(tmp_path, rows[1:3], set_aside=True)


def test_labelled_answers_without_a_partner_are_counted_beside_the_pairs(tmp_path):
    good = {"prompt": "Name a river.", "completion": "The Rhine.", "label": True}
    bad = {"prompt": "Name a river.", "completion": "The moon.", "label": False}
    alone = {"prompt": "Name a hill.", "completion": "The moon.", "label": False}
    read = loaded(tmp_path, [good, alone, bad, good], set_aside=True)
    assert read.records == [RIVER] and read.reasons() == {"no_partner": 2,
                                                          "joined_with_another_row": 1}  # fmt: skip
    with pytest.raises(RecordError, match="1 pairs could be made, 2 rows have no partner"):
        loaded(tmp_path, [good, alone, bad, good])


@pytest.mark.parametrize("other", REFUSED, ids=lambda other: other.name)
def test_a_layout_that_is_not_converted_is_refused_by_its_name_with_advice(other):
    kind = other.kind
    with pytest.raises(RecordError, match=other.name) as error:
        CHECKS[kind](other.example)
    assert (error.value.reason, error.value.remedy) == (other.reason, other.advice)


def test_each_layout_has_one_name_and_recognises_its_own_example_first():
    assert len({layout.name for layout in ACCEPTED}) == len(ACCEPTED)
    for family in (DIALOGUES, PAIRS):
        for layout in family:
            first = next(other for other in family if other.matches(layout.example))
            assert first is layout, f"{layout.name} is taken for {first.name}"


def test_the_page_promises_every_layout_and_every_limit_that_the_code_has():
    page = (Path(__file__).parents[1] / "book" / "bring.md").read_text("utf-8")
    filled = page_parts.fill(page, {}, [])
    for layout in ACCEPTED:
        words = layout.becomes or "taken as it is"
        assert f"| {layout.name} | {layout.kind} | {layout.fields} | {words} |" in filled
        assert f"```json\n{json.dumps(layout.example, ensure_ascii=False, indent=1)}\n" in filled
    for other in REFUSED:
        assert f"| {other.name} | {other.fields} | {other.advice} |" in filled
    assert "<!--" not in filled and len(layout_table.ACCEPTED) == len(ACCEPTED)
    assert megabytes(MAX_ROW_BYTES) in page and megabytes(MAX_JSON_BYTES) in page
    assert not [suffix for suffix in SUFFIXES if f"`{suffix}`" not in page]


# --- records of another kind, or of none ----------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "kind", "words"),
    [
        (FEEDBACK, "preference", "zephyr pairs"),
        ({"messages": [user("Hi"), assistant("Hello.")]}, "preference", "--dialogues"),
        ({"data": ["Hi", "Hello."]}, "preference", "--dialogues"),
        (PAIR, "feedback", "--preferences"),
        ({"prompt": "Hi", **TEXTS}, "dialogue", "--preferences"),
        ({"conversations": [user("Hi")], **TEXTS}, "dialogue", "--preferences"),
        (FEEDBACK, "dialogue", "zephyr pairs"),
    ],
)
def test_records_of_another_kind_are_told_where_they_belong(row, kind, words):
    with pytest.raises(RecordError, match="the field is missing") as error:
        CHECKS[kind](row)
    assert words in error.value.remedy


def test_a_row_in_no_layout_is_told_which_there_are():
    with pytest.raises(RecordError, match="the row has: a, b") as error:
        check_preference({"a": 1, "b": 2})
    for layout in PAIRS:
        assert layout.fields in error.value.remedy


# --- labelled answers ----------------------------------------------------------------------------


@pytest.mark.parametrize(("yes", "no"), [(True, False), ("True", "false"), (1, 0), ("1", "0")])
def test_a_good_and_a_bad_answer_to_the_same_turns_become_a_pair(tmp_path, yes, no):
    rows = [
        {"prompt": "Name a river.", "completion": "The moon.", "label": no},
        {"prompt": "Alone", "completion": "x", "label": yes},
        {"prompt": "Name a river.", "completion": "The Rhine.", "label": yes},
        {"messages": [user("Name a river."), assistant("The Elbe.")], "label": yes},
        {"conversations": [{"from": "human", "value": "Name a river."},
                           {"from": "gpt", "value": "Mars."}], "kto_tag": no},
        {"prompt": [user("Alone")], "completion": [assistant("y")], "label": yes},
    ]  # fmt: skip
    read = loaded(tmp_path, rows, set_aside=True)
    assert read.records == [RIVER, pair(user("Name a river."), good="The Elbe.", bad="Mars.")]
    assert read.n_read == 6 == len(read.records) + sum(read.reasons().values())
    assert read.reasons() == {"no_partner": 2, "joined_with_another_row": 2}
    assert [row.where.rpartition(" ")[2] for row in read.set_aside] == ["2", "6"]
    with pytest.raises(RecordError, match="2 pairs could be made, 2 rows have no partner"):
        loaded(tmp_path, rows)


def test_labelled_answers_are_not_dialogues_to_imitate(tmp_path):
    assert reason_of({"prompt": "Hi", "completion": "a", "label": False}, "dialogue") == (
        "labelled_answer"
    )
    topic = {"messages": [user("Hi"), assistant("Hello.")], "label": "greeting"}
    assert check_dialogue(topic)["prompt"] == "Hi"


# --- whole files ---------------------------------------------------------------------------------


def test_rows_of_several_layouts_are_counted_by_layout_and_by_what_was_converted(tmp_path):
    rows = [*[layout.example for layout in PAIRS], {"prompt": "Hi", **TEXTS}]
    read = loaded(tmp_path, rows)
    assert len(read) == len(rows) and sum(read.layouts.values()) == len(rows)
    assert read.layouts["TRL explicit, text"] == 2 and read.layout.startswith("TRL explicit, text")


def test_a_file_of_which_no_row_can_be_used_is_an_error_with_the_likely_cause(tmp_path):
    rows = [{"messages": [user("Hi"), assistant("Hello.")]}] * 3
    with pytest.raises(HandbookError, match="not one of its 3 rows can be used: 3 x "
                                            "missing_field") as error:  # fmt: skip
        loaded(tmp_path, rows, set_aside=True)
    assert "--dialogues" in error.value.remedy


def test_the_pipeline_says_what_was_converted_in_records_that_are_brought(tmp_path, capsys):
    loaded(tmp_path, [RIVER])
    RecordSource(tmp_path / "rows.jsonl").load("preference")
    assert capsys.readouterr().out == ""
    loaded(tmp_path, [{"prompt": "Name a river.", **TEXTS}])
    assert RecordSource(tmp_path / "rows.jsonl").load("preference").records == [RIVER]
    assert capsys.readouterr().out.startswith("rows.jsonl: layout: TRL explicit, text (1 rows); ")


@needs("dialogues_misc")
def test_real_demonstrations_of_other_trainers_are_read():
    folder = REAL / "dialogues_misc"
    read = load_records(folder / "llama_factory_dpo_en_demo.shared.json", "preference")
    assert len(read) == 225 and read.layout == "ShareGPT pairs, as LLaMA-Factory has them"
    assert sum(pair["chosen"][0]["role"] == "system" for pair in read) == 62
    for kind, name, reason in (
        ("preference", "llama_factory_kto_en_demo.shared.json", "150 x no_partner"),
        ("dialogue", "llama_factory_kto_en_demo.shared.json", "150 x labelled_answer"),
        ("dialogue", "oasst_en_100_tree.shared.jsonl", "75 x message_tree"),
    ):
        with pytest.raises(HandbookError, match=reason):
            load_records(folder / name, kind, set_aside=True)
