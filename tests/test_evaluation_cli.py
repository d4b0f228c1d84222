"""``zephyr evaluate``: recorded files, answers of one's own, a model directory, and what it
refuses.
"""

import json
from pathlib import Path

import pytest
from evaluation_command import few_questions, lines, right_answers, run

from zephyr_utils.errors import HandbookError
from zephyr_utils.evaluation import FASTCHAT_TEMPERATURES, academic_scores, load_rows
from zephyr_utils.evaluation.exam import run_exam
from zephyr_utils.miniature.judge import TeacherJudge
from zephyr_utils.pipeline.evaluate import ExamSettings, folder_name, model_name
from zephyr_utils.scales import MINIATURE_EXAM


@pytest.fixture(scope="module")
def few():
    return few_questions()


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
        "--report", tmp_path / "report", "--allow-failures",
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
        "--baseline",
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


@pytest.mark.parametrize(
    "name",
    [
        "../../escaped",
        "/tmp/absolute",
        "..",
        ".",
        "",
        "a\x00b",
        "n" * 300,
        "\ud800 half",
        "two\nlines",
        "C:\\windows\\system32",
        "con",
        "~root",
        "$HOME",
        "{seed}",
        "[red]x[/x]",
        "\x1b[31mred",
        "é" * 200,
        7,
        10**400,
    ],
)
def test_a_name_in_a_record_does_not_choose_where_files_go(tmp_path, few, name, monkeypatch):
    runs, report = tmp_path / "a" / "b" / "runs", tmp_path / "a" / "b" / "report"
    monkeypatch.chdir(tmp_path)
    rows = right_answers(few, name)
    files = [
        lines(tmp_path / "x.jsonl", rows),
        lines(tmp_path / "y.jsonl", right_answers(few, "y")),
    ]
    before = set(tmp_path.rglob("*")) | {tmp_path / "a", tmp_path / "a" / "b", runs, report}
    questions = lines(tmp_path / "q.jsonl", few)
    before.add(questions)
    output = run(
        files[0], "--baseline", files[1], "--questions", questions, "--runs", runs,
        "--report", report,
    )  # fmt: skip
    made = set(tmp_path.rglob("*")) - before
    assert all(runs in path.parents or report in path.parents for path in made)
    assert "\x1b" not in output and "against y: 50.0 %" in output
    (judged,) = [p for p in made if p.parent.name == "judged" and not p.name.startswith("y-")]
    stored = {row["model"] for row in load_rows(judged)}
    if isinstance(name, str) and name and name.isprintable():
        assert stored == {name}, "records keep the name"


@pytest.mark.parametrize("name", [["a", "list"], {"an": "object"}, True, "  "])
def test_a_name_that_is_not_text_is_refused(tmp_path, few, name):
    answers = lines(tmp_path / "x.jsonl", right_answers(few, name))
    with pytest.raises(HandbookError, match="16 of 16 records have no model's name in `model_id`"):
        run(answers, "--runs", tmp_path / "runs")
    assert not [path for path in (tmp_path / "runs").rglob("*") if path.is_file()]


def test_names_that_look_alike_in_a_folders_name_have_folders_of_their_own():
    alike = ["a/b", "a b", "a-b", "a:b", "A-b", "x" * 100, "x" * 101]
    found = {folder_name(name).lower() for name in alike}
    assert len(found) == len(alike)
    assert all(len(name) < 100 and name.isascii() and "/" not in name for name in found)


def test_a_file_with_answers_of_several_models_is_refused(tmp_path, few):
    rows = right_answers(few[:4], "one") + right_answers(few[4:], "two")
    with pytest.raises(HandbookError, match="answers of 2 models: one, two"):
        run(lines(tmp_path / "a.jsonl", rows), "--runs", tmp_path)


def test_halves_of_surrogate_pairs_in_answers_are_counted_and_replaced(tmp_path, few):
    rows = right_answers(few, "m")
    rows[0]["choices"][0]["turns"][0] += "\ud83d"
    output = run(
        lines(tmp_path / "a.jsonl", rows), "--questions", lines(tmp_path / "q.jsonl", few),
        "--runs", tmp_path, "--report", tmp_path / "report",
    )  # fmt: skip
    assert "1 records hold halves of surrogate pairs" in output
    assert "\ufffd" in (tmp_path / "report" / "report.html").read_text(encoding="utf-8")


def test_what_cannot_be_evaluated_is_said(tmp_path, few):
    with pytest.raises(HandbookError, match="no such file"):
        run("--judgments", tmp_path / "none.jsonl", "--report", tmp_path)
    with pytest.raises(HandbookError, match="one table would mix two judges"):
        run("ddpo", "--judgments", tmp_path / "none.jsonl")
    with pytest.raises(HandbookError, match="there is no model `ddpoo`") as unknown:
        run("ddpoo", "--runs", tmp_path)
    assert unknown.value.where and unknown.value.remedy
    with pytest.raises(HandbookError, match="knows the miniature world alone"):
        strange = [{"question_id": 1, "category": "math", "turns": ["What is love?", "Why?"]}]
        answered = right_answers([{**strange[0], "reference": ["x", "y"]}], "a")
        run(
            lines(tmp_path / "a.jsonl", answered),
            "--questions", lines(tmp_path / "q.jsonl", strange), "--runs", tmp_path,
        )  # fmt: skip
    for model in ("x" * 300, "a\0b", "\ud800"):
        with pytest.raises(HandbookError, match="there is no model"):
            run(model, "--runs", tmp_path)
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
    run_exam(None, None, "echo", few, tmp_path, TeacherJudge(), temperature=None)
    assert asked == [(0.0, 8), (0.1, 4), (0.7, 4)]
    assert set(FASTCHAT_TEMPERATURES) == {question["category"] for question in few}
    said = load_rows(tmp_path / "answers.jsonl")
    assert [row["choices"][0]["turns"] for row in said] == [
        question["turns"] for question in few
    ], "in order again"


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
    for tasks in ("arc_challenge:25", ",".join(["arc_challenge:25"] * 100)):
        with pytest.raises(HandbookError, match="lm-eval is not installed"):
            academic_scores(tasks, {"m": "dir"}, tmp_path)


def test_an_academic_task_is_named_plainly(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    with pytest.raises(HandbookError, match="is not a task"):
        academic_scores("arc; rm -r x", {"m": "dir"}, tmp_path)
