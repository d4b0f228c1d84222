"""``zephyr evaluate``: recorded files, answers of one's own, a model directory, and what it
refuses.
"""

import json
import threading
from http.server import HTTPServer
from pathlib import Path

import pytest
from test_evaluation_judges import Endpoint
from typer.testing import CliRunner

from zephyr_utils.cli import app
from zephyr_utils.errors import HandbookError
from zephyr_utils.evaluation import FASTCHAT_TEMPERATURES, Judgment, academic_scores, load_rows
from zephyr_utils.evaluation.exam import grade_kept_answers, run_exam
from zephyr_utils.miniature import data
from zephyr_utils.miniature.judge import TeacherJudge
from zephyr_utils.pipeline import evaluate
from zephyr_utils.pipeline.evaluate import ExamSettings, evaluate_model, model_name
from zephyr_utils.pipeline.pipeline import Pipeline
from zephyr_utils.scales import MINIATURE_EXAM

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def few():
    """Two questions of each category of the miniature world."""
    every = data.questions()
    return [question for n, question in enumerate(every) if n % data.QUESTIONS_PER_CATEGORY < 2]


def lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def right_answers(questions, model):
    return [
        {
            "question_id": q["question_id"],
            "model_id": model,
            "choices": [{"turns": list(q["reference"])}],
        }
        for q in questions
    ]


def run(*arguments):
    result = RUNNER.invoke(app, ["evaluate", *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0
    return result.output


def test_recorded_judgments_and_annotations_need_no_model(tmp_path):
    rows = [
        {"question_id": n, "turn": turn, "model": "m", "score": 5 + n, "judge": ["j", ""]}
        for n in (1, 2)
        for turn in (1, 2)
    ]
    rates = [{"index": n, "preference": p} for n, p in enumerate((2.0, 2.0, 1.0, None))]
    output = run(
        "--judgments", lines(tmp_path / "judgments.jsonl", rows),
        "--annotations", lines(tmp_path / "zeta.jsonl", rates),
        "--report", tmp_path / "report",
    )  # fmt: skip
    assert "m: 6.50 (turns 6.50 / 6.50; 0 of 4 failed)" in output
    assert "zeta: 66.67 % ± 33.33 (2 won, 1 lost, 0 drawn, 1 missing)" in output
    content = json.loads((tmp_path / "report" / "report.json").read_text())
    assert (
        content["grades"]["m"]["overall"] == 6.5 and content["win_rates"]["zeta"]["n_missing"] == 1
    )


def test_a_model_directory_and_recorded_answers_are_examined_and_compared(tmp_path, few):
    questions = lines(tmp_path / "questions.jsonl", few)
    right = lines(tmp_path / "right.jsonl", right_answers(few, "knows-all"))
    arguments = (
        "base",
        right,
        "--against",
        "base",
        "--questions",
        questions,
        "--max-new-tokens",
        24,
        "--runs",
        tmp_path,
    )
    output = run(*arguments, "--report", tmp_path / "report")
    assert "knows-all: 7.00 (turns 7.00 / 7.00; 0 of 32 failed)" in output, (
        "a full sentence without a friendly word is a 7"
    )
    assert "knows-all against base:" in output and "0 lost" in output
    content = json.loads((tmp_path / "report" / "report.json").read_text())
    assert set(content["answers"][0]["turns"][0]["answers"]) == {"base", "knows-all"}
    assert (
        content["answers"][0]["turns"][0]["answers"]["knows-all"]["text"] == few[0]["reference"][0]
    )
    assert "reused" in run(*arguments), "the same question is not asked twice"


def test_an_endpoint_judges_in_both_protocols_and_is_paid_once(tmp_path, few, monkeypatch):
    server = HTTPServer(("127.0.0.1", 0), Endpoint)
    server.requests, server.replies = [], ["Rating: [[6]] or, of two, [[A]]"]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("OPENAI_API_KEY", "any")
    louder = [
        {**row, "choices": [{"turns": [f"{turn}!" for turn in row["choices"][0]["turns"]]}]}
        for row in right_answers(few, "b")
    ]
    files = [
        lines(tmp_path / "a.jsonl", right_answers(few, "a")),
        lines(tmp_path / "b.jsonl", louder),
    ]
    address = f"http://127.0.0.1:{server.server_port}/v1"
    arguments = [
        *files,
        "--against",
        files[0],
        "--questions",
        lines(tmp_path / "q.jsonl", few),
        "--runs",
        tmp_path,
    ]
    arguments += ["--judge", "some-model", "--judge-url", address]
    output = run(*arguments)
    asked = 6 * len(few)  # two models' two turns, and the first turns in both orders
    assert "b: 6.00" in output and len(server.requests) == asked
    assert (
        f"b against a: 50.0 % (0 won, 0 lost, 0 tied, {len(few)} contradictory, {len(few)} of them "
        f"by place" in output
    )
    assert "b: 6.00" in run(*arguments) and len(server.requests) == asked, (
        "the second run asks for nothing"
    )
    server.shutdown()
    server.server_close()


def test_what_cannot_be_evaluated_is_said(tmp_path, few):
    with pytest.raises(HandbookError, match="no such file"):
        run("--judgments", tmp_path / "none.jsonl", "--report", tmp_path)
    with pytest.raises(HandbookError, match="one table would mix two judges"):
        run("ddpo", "--judgments", tmp_path / "none.jsonl")
    with pytest.raises(HandbookError, match="there is no model `ddpoo`"):
        run("ddpoo", "--runs", tmp_path)
    with pytest.raises(HandbookError, match="knows the miniature world alone"):
        strange = [{"question_id": 1, "category": "math", "turns": ["What is love?", "Why?"]}]
        run(
            lines(tmp_path / "a.jsonl", right_answers([{**strange[0], "reference": ["x", "y"]}], "a")),
            "--questions", lines(tmp_path / "q.jsonl", strange), "--runs", tmp_path,
        )  # fmt: skip
    twins = [lines(tmp_path / f"{n}.jsonl", right_answers(few, "one")) for n in (1, 2)]
    with pytest.raises(HandbookError, match="two of these models would have one name"):
        run(*twins, "--runs", tmp_path)


def test_models_are_named_so_that_two_directories_can_be_told_apart(tmp_path):
    for name in ("05_ddpo/model", "mine"):
        (tmp_path / name).mkdir(parents=True)
    assert model_name(str(tmp_path / "05_ddpo" / "model")) == "05_ddpo-model"
    assert model_name(str(tmp_path / "mine")) == "mine" and model_name("dsft") == "dsft"


def test_the_plain_examination_is_the_chapters_and_any_change_has_a_folder_of_its_own():
    assert (
        ExamSettings(MINIATURE_EXAM).plain and ExamSettings(MINIATURE_EXAM, temperature=0.7).plain
    )
    assert not any(
        exam.plain
        for exam in (
            ExamSettings(MINIATURE_EXAM, temperature=0),
            ExamSettings(MINIATURE_EXAM, judge="gpt"),
            ExamSettings(MINIATURE_EXAM, max_new_tokens=9),
        )
    )
    assert ExamSettings(MINIATURE_EXAM).sampling == {"temperature": 0.7, "max_new_tokens": 96}
    assert ExamSettings(MINIATURE_EXAM, questions=Path("q.jsonl")).sampling == {
        "temperature": None,
        "max_new_tokens": 1024,
    }
    assert (
        ExamSettings(MINIATURE_EXAM, questions=Path("q.jsonl"), temperature=0).sampling[
            "temperature"
        ]
        == 0
    )


class Flaky:
    """A judge that is killed at its tenth judgment."""

    name, asked = "flaky", 0

    def grade(self, question, answers, turn):
        type(self).asked += 1
        if type(self).asked == 10:
            raise KeyboardInterrupt
        return Judgment("[[8]]", 8.0, "p")


def test_a_killed_judge_is_asked_for_the_rest_only(tmp_path, few, monkeypatch):
    monkeypatch.setattr(ExamSettings, "new_judge", lambda self: Flaky())
    exam = ExamSettings(MINIATURE_EXAM, questions=lines(tmp_path / "q.jsonl", few), judge="flaky")
    pipeline = Pipeline(runs=str(tmp_path))
    file = str(lines(tmp_path / "a.jsonl", right_answers(few, "a")))
    with pytest.raises(KeyboardInterrupt):
        evaluate_model(pipeline, file, exam)
    made = evaluate_model(pipeline, file, exam)
    assert made.results["score"] == 8 and made.resumed
    assert Flaky.asked == 10 + 32 - 9, "nine were kept"


def test_each_category_is_asked_at_fastchats_temperature(tmp_path, few, monkeypatch):
    asked = []

    def chat_turns(model, tokenizer, questions, *, temperature, **_):
        asked.append((temperature, len(questions)))
        answer = type("Answer", (), {"ended": True, "n_tokens": 3})
        return [[answer_of(answer, turn) for turn in turns] for turns in questions]

    def answer_of(kind, text):
        made = kind()
        made.text = text
        return made

    monkeypatch.setattr("zephyr_utils.evaluation.exam.chat_turns", chat_turns)
    results = run_exam(None, None, "echo", few, tmp_path, TeacherJudge(), temperature=None)
    assert asked == [(0.0, 8), (0.1, 4), (0.7, 4)]
    assert set(FASTCHAT_TEMPERATURES) == {question["category"] for question in few}
    said = load_rows(tmp_path / "answers.jsonl")
    assert [row["choices"][0]["turns"] for row in said] == [
        question["turns"] for question in few
    ], "in order again"
    assert grade_kept_answers(few, tmp_path, TeacherJudge(), "echo") == results


def test_academic_scores_are_read_from_results_or_refused_without_lm_eval(tmp_path, monkeypatch):
    (tmp_path / "results_x.json").write_text(
        json.dumps(
            {"results": {"arc": {"acc,none": 0.25, "acc_stderr,none": 0.01}}, "n-shot": {"arc": 25}}
        )
    )
    assert "arc (acc): 25.00 % ± 1.00" in run(
        "--academic", tmp_path, "--report", tmp_path / "report"
    )
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(HandbookError, match="lm-eval is not installed"):
        academic_scores("arc_challenge:25", {"m": "dir"}, tmp_path)


def test_an_academic_task_is_named_plainly(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    with pytest.raises(HandbookError, match="is no task"):
        academic_scores("arc; rm -r x", {"m": "dir"}, tmp_path)
    assert evaluate.SHORT < evaluate.LONG
