"""`zephyr pairs`: what it makes, what it says, and that nothing false ends with status 0."""

import json
import sys
from typing import get_args, get_type_hints

import datasets
import pytest
from sample_feedback import row

from zephyr_utils import cli
from zephyr_utils.cli.data import pairs as pairs_command
from zephyr_utils.data.records import load_records, save_records
from zephyr_utils.errors import HandbookError
from zephyr_utils.pipeline.pipeline import Pipeline
from zephyr_utils.preferences import Rejected, Score, Ties


@pytest.fixture
def pairs(monkeypatch, capsys):
    """Run the command; returns its status and what it printed."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["zephyr", "pairs", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capsys.readouterr()
        return ended.value.code or 0, printed.out + printed.err

    return run


@pytest.fixture
def feedback(tmp_path):
    return save_records([row(f"q{n}", 5, 2) for n in range(20)], tmp_path / "feedback.jsonl")


def test_the_choices_of_the_command_are_those_of_the_package():
    hints = get_type_hints(pairs_command)
    for option, choices in (("score", Score), ("rejected", Rejected), ("ties", Ties)):
        assert get_args(hints[option]) == tuple(str(choice) for choice in choices)


def test_the_layout_the_counts_and_the_audit_are_said(pairs, feedback, tmp_path):
    status, words = pairs(feedback, "--output", tmp_path / "pairs.jsonl")
    assert status == 0 and "layout: UltraFeedback (20 rows)" in words
    assert "20 rows in = 20 out + 0 set aside" in words and "Audit of 20 preference pairs" in words
    assert len(load_records(tmp_path / "pairs.jsonl", "preference")) == 20


@pytest.mark.parametrize("name", ["[red]x[/red]", "[/x]", "{0}", "%s", "a b", "-x", "ü\u2028"])
def test_what_a_file_is_called_is_said_as_it_is_called(pairs, feedback, tmp_path, name):
    folder = tmp_path / name
    folder.mkdir(parents=True)
    path = feedback.rename(folder / "rows.jsonl")
    status, words = pairs(path, "--output", folder / "pairs.parquet", "--questions", path)
    assert status == 2 and "the row is not a question" in words
    status, words = pairs(path, "--output", folder / "pairs.parquet")
    assert status == 0 and f"20 pairs in {folder / 'pairs.parquet'}\n" in words


def test_questions_whose_prompts_are_left_out_are_counted(pairs, feedback, tmp_path):
    questions = save_records([{"turns": ["q3", "?"]}, {"turns": ["q4"]}], tmp_path / "q.jsonl")
    status, words = pairs(feedback, "--output", tmp_path / "p.jsonl", "--questions", questions)
    assert status == 0 and "20 rows in = 18 out + 2 set aside\n  2 x exact" in words
    prompts = {pair["prompt"] for pair in load_records(tmp_path / "p.jsonl", "preference")}
    assert len(prompts) == 18 and not prompts & {"q3", "q4"}


def test_a_rating_scale_is_declared_and_a_wrong_one_is_named(pairs, tmp_path):
    rows = [row(f"q{n}", 9, 4) for n in range(20)]
    path = save_records(rows, tmp_path / "feedback.jsonl")
    output = tmp_path / "pairs.jsonl"
    status, words = pairs(path, "--output", output)
    assert status == 2 and "--rating-scale 1-10" in words and not output.exists()
    status, words = pairs(path, "--output", output, "--rating-scale", "1-10")
    assert status == 0 and "20 pairs" in words
    assert {p["chosen_model"] for p in load_records(output, "preference")} == {"a"}
    assert pairs(path, "--output", output, "--rating-scale", "ten")[0] == 2


def test_where_no_pair_comes_out_the_status_is_2_and_no_file_is_written(pairs, tmp_path):
    output = tmp_path / "pairs.jsonl"
    unrated = row("Hi", None, None, overall=(None, None))
    cases = {
        "3 x all_tied": [row(f"q{n}", 3, 3) for n in range(3)],
        "1 x fewer_than_two_scores": [unrated],
        "1 x rating_out_of_range": [row("Hi", 7, 9)],
        "1 x missing_field": [{"messages": []}],
        "not one of its 2 rows can be used": [{"prompt": "a", "chosen": "b", "rejected": "c"}] * 2,
    }
    for words, rows in cases.items():
        path = save_records(rows, tmp_path / "feedback.jsonl")
        status, said = pairs(path, "--output", output, "--set-aside")
        assert status == 2 and words in said and "What to do" in said and not output.exists()
    questions = save_records([{"turns": ["q1"]}, {"turns": ["q2"]}], tmp_path / "questions.jsonl")
    path = save_records([row("q1", 5, 2), row("q2", 5, 2)], tmp_path / "feedback.jsonl")
    status, said = pairs(path, "--output", output, "--questions", questions)
    assert status == 2 and "2 rows: 2 x leaked_question" in said and "other prompts" in said
    data = datasets.Dataset.from_list([row("Hi", 5, 2)])
    data.save_to_disk(tmp_path / "saved")
    assert pairs(tmp_path / "saved", "--output", output)[0] == 0
    datasets.DatasetDict(train=data, test=data).save_to_disk(tmp_path / "both")
    status, said = pairs(tmp_path / "both", "--output", output)
    assert status == 2 and "the splits train, test" in said


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda n: row(f"Name river number {n}.", 3, 3), "all_tied"),
        (lambda n: row(f"Name river number {n}.", 3), "fewer_than_two_answers"),
        (lambda n: row(f"Name river number {n}.", None, None), "fewer_than_two_scores"),
    ],
)
def test_the_pipeline_makes_no_pairs_step_of_feedback_that_yields_none(tmp_path, make, reason):
    path = save_records([make(n) for n in range(3)], tmp_path / "feedback.jsonl")
    pipeline = Pipeline(feedback=str(path), runs=str(tmp_path / "runs"))
    for _ in range(2):
        with pytest.raises(HandbookError, match=f"3 rows: 3 x {reason}") as caught:
            pipeline.ddpo()
        assert caught.value.where == str(path)
    assert not list((tmp_path / "runs").rglob("02_dsft"))
    assert not list((tmp_path / "runs").rglob("pairs.parquet"))


@pytest.mark.parametrize("name", ["file/pairs.jsonl", "n" * 300 + ".jsonl", "file", "pairs.csv"])
def test_an_output_that_cannot_be_written_is_a_sentence(pairs, feedback, tmp_path, name):
    (tmp_path / "file").write_text("x")
    before = sorted(path.name for path in tmp_path.iterdir())
    status, words = pairs(feedback, "--output", tmp_path / name)
    assert status == 2 and "What to do" in words and "Traceback" not in words
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_half_line_at_the_end_is_counted_and_the_others_are_used(pairs, feedback, tmp_path):
    line = json.dumps(row("Grüße", 5, 2), ensure_ascii=False).encode()
    with open(feedback, "ab") as file:
        file.write(line[: line.index("ü".encode()) + 1])
    assert pairs(feedback, "--output", tmp_path / "p.jsonl")[0] == 2
    status, words = pairs(feedback, "--output", tmp_path / "p.jsonl", "--set-aside")
    assert status == 0 and "1 x invalid_utf8" in words and "20 pairs in" in words


@pytest.mark.parametrize("by", ["name", "link", "hard link", "folder", "questions"])
def test_what_is_read_is_never_written_over(pairs, feedback, tmp_path, by):
    before, output, given, more = feedback.read_bytes(), feedback, feedback, []
    if by == "link":
        output = tmp_path / "link.jsonl"
        output.symlink_to(feedback)
    elif by == "hard link":
        output = tmp_path / "hard.jsonl"
        output.hardlink_to(feedback)
    elif by == "folder":
        given = tmp_path
    elif by == "questions":
        given = save_records([row("q", 5, 2)], tmp_path / "other.jsonl")
        more = ["--questions", feedback]
    status, words = pairs(given, "--output", output, *more)
    assert status == 2 and "would overwrite its input" in words
    assert feedback.read_bytes() == before


@pytest.mark.parametrize("name", ["pairs.csv", "pairs", "pairs.jsonl.gz", "rows.jsonl/pairs.jsonl"])
def test_an_output_that_cannot_be_is_refused_before_anything_is_read(pairs, tmp_path, name):
    (tmp_path / "rows.jsonl").write_text("no JSON")
    status, words = pairs(tmp_path / "rows.jsonl", "--output", tmp_path / name)
    assert status == 2 and "JSON value" not in words
    assert "records are saved as" in words or "cannot be written" in words


def test_a_file_without_questions_leaves_no_prompt_in_unseen(pairs, feedback, tmp_path):
    (tmp_path / "none.jsonl").write_text("\n")
    output = tmp_path / "pairs.jsonl"
    status, words = pairs(feedback, "--output", output, "--questions", tmp_path / "none.jsonl")
    assert status == 2 and "there are no questions in it" in words and not output.exists()
