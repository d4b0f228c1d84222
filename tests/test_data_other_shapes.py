"""Shapes of pairs, dialogues and ratings that other tools write: read, or refused by name."""

import json

import pytest

from zephyr_utils.data.records import RecordError, check_dialogue, check_preference, load_records
from zephyr_utils.errors import HandbookError
from zephyr_utils.preferences import parse_rating_scale
from zephyr_utils.preferences.binarize import binarize

QUESTION = {"role": "user", "content": "Name a river."}
GOOD = {"role": "assistant", "content": "The Rhine."}
BAD = {"role": "assistant", "content": "The moon."}
TEXTS = {"chosen": "The Rhine.", "rejected": "The moon."}


def in_parts(message):
    return {**message, "content": [{"type": "text", "text": message["content"]}]}


@pytest.mark.parametrize("field", ["messages", "context", "conversations"])
@pytest.mark.parametrize(
    "answers",
    [
        TEXTS,
        {"chosen": GOOD, "rejected": BAD},
        {"chosen": [GOOD], "rejected": [BAD]},
        {"chosen": in_parts(GOOD), "rejected": in_parts(BAD)},
    ],
)
def test_turns_before_two_answers_are_read_under_each_of_their_names(field, answers):
    pair = check_preference({field: [in_parts(QUESTION)], **answers})
    assert pair["chosen"] == [QUESTION, GOOD] and pair["rejected"] == [QUESTION, BAD]


def test_documents_in_a_column_called_context_are_not_turns():
    row = {"question": "Name a river.", "context": ["A text about rivers."], **TEXTS}
    assert check_preference(row)["chosen"] == [QUESTION, GOOD]


@pytest.mark.parametrize("names", [("a", "b"), ("response_a", "response_b"), ("A", "B")])
def test_answers_that_are_names_of_columns_are_not_answers(names):
    columns = {"prompt": "Name a river.", "response_a": "The Rhine.", "response_b": "The moon."}
    with pytest.raises(RecordError, match="named by chosen and rejected") as error:
        check_preference({**columns, "chosen": names[0], "rejected": names[1]})
    assert error.value.reason == "other_layout"
    letters = check_preference({"prompt": "a or b?", "chosen": "a", "rejected": "b"})
    assert letters["chosen"][-1]["content"] == "a"


YAML = [
    "- role: user\n  content: Name a river.\n- role: assistant\n  content: The Rhine.\n",
    "---\n- role: assistant\n  content: |\n    The Rhine.\n",
    "- from: gpt\n  value: The Rhine.\n",
]


@pytest.mark.parametrize("text", YAML)
def test_messages_in_yaml_are_refused_by_that_name(text):
    for check, row in (
        (check_dialogue, {"prompt": "Name a river.", "completion": text}),
        (check_dialogue, {"messages": text}),
        (check_preference, {"prompt": "Name a river.", **TEXTS, "chosen": text}),
    ):
        with pytest.raises(RecordError, match="YAML"):
            check(row)


def test_an_answer_about_yaml_stays_the_answer():
    text = "- role: user\nis a line of YAML."
    row = {"prompt": "What is this?", "completion": text}
    assert check_dialogue(row)["messages"][1]["content"] == text


@pytest.mark.parametrize("rating", [{"is_safe": False}, {"helpfulness": 0}, {"score": 1.5}])
def test_ratings_beside_a_dialogue_are_said_not_to_be_looked_at(rating, tmp_path):
    path = tmp_path / "rated.jsonl"
    rows = [{"prompt": f"Name river {n}.", "response": "The Rhine.", **rating} for n in range(3)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    loaded = load_records(path, "dialogue")
    assert "ratings beside an answer not looked at" in loaded.layout_report()
    assert "(3 rows)" in loaded.layout_report()


def feedback(tmp_path, *answers, instruction="Name a river."):
    path = tmp_path / "feedback.jsonl"
    completions = [{"model": str(n), "response": str(n), **a} for n, a in enumerate(answers)]
    path.write_text(json.dumps({"instruction": instruction, "completions": completions}) + "\n")
    return load_records(path, "feedback")


@pytest.mark.parametrize("name", ["score", "rating", "rank", "fine-grained_score"])
def test_ratings_under_another_name_are_said_not_to_be_read(name, tmp_path):
    assert f"ratings in {name} not read" in feedback(tmp_path, {name: 9}, {name: 2}).report()
    both = feedback(tmp_path, {name: 9, "overall_score": 8}, {name: 2, "overall_score": 3})
    assert "not read" not in both.report()


def test_an_instruction_may_be_one_turn_and_no_more(tmp_path):
    graded = [{"overall_score": 8}, {"overall_score": 3}]
    for one in ([QUESTION], json.dumps([QUESTION]), [in_parts(QUESTION)]):
        [row] = feedback(tmp_path, *graded, instruction=one).records
        assert row["instruction"] == "Name a river."
    with pytest.raises(RecordError, match="holds a conversation"):
        feedback(tmp_path, *graded, instruction=[QUESTION, GOOD, QUESTION])


@pytest.mark.parametrize(
    ("text", "ends"),
    [("-2-2", (-2, 2)), ("-3 - -1", (-3, -1)), ("0-1", (0, 1)), ("1 to 10", (1, 10)),
     ("0.5–5", (0.5, 5))],
)  # fmt: skip
def test_a_scale_may_begin_below_zero(text, ends):
    assert parse_rating_scale(text) == ends


def test_the_scale_that_is_proposed_can_be_given_as_it_is_proposed(tmp_path):
    rated = [{"overall_score": -2}, {"overall_score": 2}]
    rows = feedback(tmp_path, *rated).records * 4
    with pytest.raises(HandbookError) as error:
        binarize(rows, score="overall")
    proposed = str(error.value).partition("--rating-scale ")[2].split()[0]
    made = binarize(rows, score="overall", rating_scales={"overall": parse_rating_scale(proposed)})
    assert [pair["chosen"][-1]["content"] for pair in made.pairs] == ["1"] * 4
