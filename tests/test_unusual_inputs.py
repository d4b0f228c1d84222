"""Inputs of exporters and people that once were misread, or refused for a wrong reason."""

import csv
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import training_logs as logs
from evaluation_command import few_questions, lines, right_answers, run
from tiny import tiny_tokenizer

from zephyr_utils.chat import prepare_tokenizer
from zephyr_utils.data.records import RecordError
from zephyr_utils.diagnostics import TrainingLogError, read_training_log
from zephyr_utils.evaluation import EvaluationError
from zephyr_utils.feedback.prompt_files import load_prompts
from zephyr_utils.miniature import data as world
from zephyr_utils.preferences import binarize, pair_faults
from zephyr_utils.training.rows import fit_pairs

PAIRS = binarize(world.feedback(20)).pairs
TRAINING = [row for row in logs.dpo() if "loss" in row]


# --- logs -----------------------------------------------------------------------------------------


def one_metric_a_row(path):
    """As MLflow exports metrics."""
    table = io.StringIO()
    writer = csv.writer(table)
    writer.writerow(["run_id", "key", "value", "step"])
    writer.writerows(
        ["abc", key, value, row["step"]]
        for row in TRAINING
        for key, value in row.items()
        if key != "step"
    )
    path.write_text(table.getvalue())
    return "key"


def metrics_in_json(path):
    """As Trackio keeps them."""
    columns = {
        "run_name": ["dpo"] * len(TRAINING),
        "step": [row["step"] for row in TRAINING],
        "metrics": [json.dumps(row) for row in TRAINING],
    }
    pq.write_table(pa.table(columns), path)
    return "metrics"


def split_orientation(path):
    """As ``DataFrame.to_json(orient="split")`` writes it."""
    names = list(TRAINING[0])
    data = [[row.get(name) for name in names] for row in TRAINING]
    path.write_text(json.dumps({"columns": names, "index": [*range(len(data))], "data": data}))
    return "columns"


def a_column_per_step(path):
    lines = [["metric", *(str(row["step"]) for row in TRAINING)]]
    lines += [[name, *(str(row[name]) for row in TRAINING)] for name in TRAINING[0]]
    path.write_text("".join(",".join(cells) + "\n" for cells in lines))
    return "metric"


@pytest.mark.parametrize(
    ("write", "suffix"),
    [
        (one_metric_a_row, "csv"),
        (metrics_in_json, "parquet"),
        (split_orientation, "json"),
        (a_column_per_step, "csv"),
    ],
)
def test_a_log_with_its_metrics_in_cells_is_told_so_and_not_that_it_has_none(
    write, suffix, tmp_path
):
    column = write(tmp_path / f"log.{suffix}")
    with pytest.raises(TrainingLogError, match=f"in cells of the column {column}, not in") as error:
        read_training_log(tmp_path / f"log.{suffix}")
    assert "one row per step with a column for each metric" in str(error.value)


def test_a_trainers_state_that_breaks_off_is_cut_short_and_not_to_be_written_by_lines(tmp_path):
    whole = json.dumps({"log_history": logs.dpo()}, indent=2)
    path = tmp_path / "trainer_state.json"
    path.write_text(whole[:-300])
    with pytest.raises(TrainingLogError, match=r"(?s)not a complete JSON value.*may be cut short"):
        read_training_log(path)
    path.write_text("\n".join(json.dumps(row, indent=2) for row in logs.dpo()))
    with pytest.raises(TrainingLogError, match="spread over several lines"):
        read_training_log(path)


# --- pairs ----------------------------------------------------------------------------------------


def test_answers_that_differ_in_white_space_at_their_ends_alone_are_identical():
    pair = PAIRS[0]
    same = {**pair["chosen"][-1], "content": pair["chosen"][-1]["content"] + " \n"}
    assert "identical" in pair_faults({**pair, "rejected": [*pair["rejected"][:-1], same]})
    assert "identical" not in pair_faults(pair)


def test_pairs_that_stand_both_ways_round_are_counted():
    tokenizer = tiny_tokenizer()
    prepare_tokenizer(tokenizer)
    pairs = [{name: pair[name] for name in ("prompt", "chosen", "rejected")} for pair in PAIRS[:6]]
    turned = [{**p, "chosen": p["rejected"], "rejected": p["chosen"]} for p in pairs[:2]]
    fitted = fit_pairs(tokenizer, [*pairs, *turned], 4000)
    assert fitted.opposed == 4 and len(fitted.rows) == 8
    assert "8 rows in, 8 kept, set aside: none; 4 kept are opposed: the answer" in fitted.report()
    once = fit_pairs(tokenizer, pairs, 4000)
    assert once.opposed == 0 and "opposed" not in once.report()


# --- prompts --------------------------------------------------------------------------------------


def test_prompts_with_a_place_that_was_not_filled_in_are_counted(tmp_path):
    texts = ["Translate {{text}}.", "Translate {{ text }}.", "Why is {{text}}?", "f(x) = {{1, 2}}"]
    read = load_prompts(lines(tmp_path / "prompts.jsonl", [{"prompt": text} for text in texts]))
    notes = {"{{text}} in it is asked as it stands": 2, "{{ text }} in it is asked as it stands": 1}
    assert read.conversions == notes and len(read) == 4


def test_a_row_without_a_prompt_is_told_what_it_has(tmp_path):
    path = lines(tmp_path / "prompts.jsonl", [{"problem": "What is 2 + 3?", "solution": "5"}])
    with pytest.raises(RecordError, match=r"no prompt in it: the row has problem, solution"):
        load_prompts(path)


# --- answers, judgments, academic results ---------------------------------------------------------


@pytest.fixture
def examined(tmp_path):
    """Grade records of answers; returns what the command printed."""
    questions = few_questions()[:4]

    def examine(change):
        answers = [change(row) for row in right_answers(questions, "m")]
        given = [lines(tmp_path / "answers.jsonl", answers), "--questions"]
        given += [lines(tmp_path / "questions.jsonl", questions)]
        return run(*given, "--runs", tmp_path / "runs", "--report", tmp_path / "report")

    return examine


def test_several_choices_and_empty_turns_are_said(examined):
    def choices(row):
        return {**row, "choices": [*row["choices"], {"turns": ["No.", "No."]}]}

    assert "m: 4 answers have several choices, of which the first counts" in examined(choices)

    def empty(row):
        return {**row, "choices": [{"turns": [row["choices"][0]["turns"][0], " "]}]}

    assert "m: 4 answers have an empty turn, which is graded as it is" in examined(empty)
    assert "Note: " not in examined(lambda row: row)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda row: {**row, "question_id": str(row["question_id"])}, "are to '1' and so on, not"),
        (lambda row: {**row, "choices": [{"turns": ["$ERROR$"]}]}, r"4 are \$ERROR\$"),
    ],
)
def test_answers_to_none_of_the_questions_are_told_why(examined, change, words):
    with pytest.raises(EvaluationError, match=words):
        examined(change)


def test_judgments_that_name_no_model_are_named_by_their_file(tmp_path):
    rows = [{"question_id": n, "turn": t, "score": 7} for n in (81, 82) for t in (1, 2)]
    said = run("--judgments", lines(tmp_path / "mine.jsonl", rows), "--report", tmp_path / "report")
    assert "mine: 7.00" in said


@pytest.mark.parametrize(
    ("results", "words"),
    [
        ({"arc_challenge": {"acc,none": 30.1}}, "30.1, not a share from 0 to 1"),
        ({"arc_challenge": {"acc,none": -0.1}}, "-0.1, not a share"),
        ({"wikitext": {"word_perplexity,none": 9.0}}, "holds no acc, acc_norm or exact_match"),
        ({}, "holds no acc, acc_norm or exact_match"),
    ],
)
def test_academic_results_that_hold_no_accuracy_make_no_report(tmp_path, results, words):
    path = tmp_path / "results.json"
    path.write_text(json.dumps({"results": results}))
    with pytest.raises(EvaluationError, match=words):
        run("--academic", path, "--report", tmp_path / "report")
