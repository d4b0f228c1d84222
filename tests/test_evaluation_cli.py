"""``zephyr evaluate``: recorded files, answers of one's own, a model directory, and what it
refuses.
"""

import json
from pathlib import Path

import pytest
from feedback_server import chat_server, completion
from typer.testing import CliRunner

from zephyr_utils.cli import app
from zephyr_utils.errors import HandbookError
from zephyr_utils.evaluation import FASTCHAT_TEMPERATURES, academic_scores, load_rows
from zephyr_utils.evaluation.exam import run_exam
from zephyr_utils.miniature import data
from zephyr_utils.miniature.judge import TeacherJudge
from zephyr_utils.pipeline.evaluate import ExamSettings, folder_name, model_name
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


def louder(rows):
    return [
        {**row, "choices": [{"turns": [f"{turn}!" for turn in row["choices"][0]["turns"]]}]}
        for row in rows
    ]


def judged_by(chat, *files, questions, runs):
    arguments = [*files, "--questions", questions, "--runs", runs]
    return [*arguments, "--judge", "some-model", "--judge-url", chat.url]


def test_an_endpoint_judges_in_both_protocols_and_is_paid_once(tmp_path, few):
    a = lines(tmp_path / "a.jsonl", right_answers(few, "a"))
    b = lines(tmp_path / "b.jsonl", louder(right_answers(few, "b")))
    questions = lines(tmp_path / "q.jsonl", few)
    asked = 6 * len(few)  # two models' two turns, and the first turns in both orders

    def reply(body, n):
        return "[[A]]" if "answer B" in body["messages"][1]["content"] else "Rating: [[6]]"

    with chat_server(reply) as chat:
        arguments = [*judged_by(chat, a, b, questions=questions, runs=tmp_path), "--baseline", a]
        output = run(*arguments)
        assert "b: 6.00" in output and sum(chat.asked.values()) == asked
        assert (
            f"b against a: 50.0 % (0 won, 0 lost, 0 tied, {len(few)} contradictory, {len(few)} of "
            f"them by place" in output
        )
        assert "b: 6.00" in run(*arguments) and sum(chat.asked.values()) == asked, (
            "the second run asks for nothing"
        )


def test_the_judges_sampling_is_set_left_out_or_refused(tmp_path, few):
    file = lines(tmp_path / "a.jsonl", right_answers(few, "a"))
    with chat_server(lambda body, n: "Rating: [[6]]") as chat:
        arguments = judged_by(chat, file, questions=lines(tmp_path / "q.jsonl", few), runs=tmp_path)
        run(*arguments, "--judge-temperature", "none", "--judge-max-tokens", 4096)
        assert {(b.get("temperature"), b["max_tokens"]) for b in chat.bodies} == {(None, 4096)}
        for option, value in (("--judge-temperature", "warm"), ("--judge-max-tokens", "1.5")):
            with pytest.raises(HandbookError, match=f"{option}: '{value}' is not a number"):
                run(*arguments, option, value)


def test_why_every_judgment_failed_is_said_beside_the_error(tmp_path, few):
    file = lines(tmp_path / "a.jsonl", right_answers(few, "a"))
    with chat_server(lambda body, n: completion("It is", finish_reason="length")) as chat:
        arguments = judged_by(chat, file, questions=lines(tmp_path / "q.jsonl", few), runs=tmp_path)
        result = RUNNER.invoke(app, ["evaluate", *map(str, arguments)])
    assert isinstance(result.exception, HandbookError)
    assert "32 answers were cut off at the token limit" in result.output


def test_unreadable_judgments_stop_the_report_until_they_are_allowed_or_asked_for_again(
    tmp_path, few
):
    file = lines(tmp_path / "a.jsonl", right_answers(few, "a"))
    with chat_server(lambda body, n: "Rating: [[6]]" if n else "Quite good.") as chat:
        arguments = judged_by(chat, file, questions=lines(tmp_path / "q.jsonl", few), runs=tmp_path)
        for _ in range(2):
            with pytest.raises(HandbookError, match=r"all 32 failed.*no rating"):
                run(*arguments)
        assert sum(chat.asked.values()) == 32
        assert "a: 6.00" in run(*arguments, "--retry-unreadable")
        assert sum(chat.asked.values()) == 64


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
        ["a", "list"],
        {"an": "object"},
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


def test_names_that_look_alike_in_a_folders_name_have_folders_of_their_own():
    alike = ["a/b", "a b", "a-b", "a:b", "A-b", "x" * 100, "x" * 101]
    found = {folder_name(name).lower() for name in alike}
    assert len(found) == len(alike)
    assert all(len(name) < 100 and name.isascii() and "/" not in name for name in found)


def test_a_file_with_answers_of_several_models_is_refused(tmp_path, few):
    rows = right_answers(few[:4], "one") + right_answers(few[4:], "two")
    with pytest.raises(HandbookError, match="answers of 2 models: one, two"):
        run(lines(tmp_path / "a.jsonl", rows), "--runs", tmp_path)


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x1e", "\x0c"])
def test_answers_and_judgments_with_any_line_separator_are_read_whole(tmp_path, few, separator):
    rows = right_answers(few, f"m{separator}n")
    rows[0]["choices"][0]["turns"][0] += f"{separator}and more"
    file = tmp_path / "a.jsonl"
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    with chat_server(lambda body, n: f"Good.{separator}Rating: [[6]]") as chat:
        arguments = judged_by(chat, file, questions=lines(tmp_path / "q.jsonl", few), runs=tmp_path)
        assert "6.00 (turns 6.00 / 6.00; 0 of 32 failed)" in run(*arguments)
        assert "6.00" in run(*arguments) and sum(chat.asked.values()) == 32


def test_halves_of_surrogate_pairs_in_answers_are_counted_and_replaced(tmp_path, few):
    rows = right_answers(few, "m")
    rows[0]["choices"][0]["turns"][0] += "\ud83d"
    output = run(
        lines(tmp_path / "a.jsonl", rows), "--questions", lines(tmp_path / "q.jsonl", few),
        "--runs", tmp_path, "--report", tmp_path / "report",
    )  # fmt: skip
    assert "1 records hold halves of surrogate pairs" in output
    assert "\ufffd" in (tmp_path / "report" / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("place", ["file", "file/report", "n" * 300, "a/" + "é" * 200])
def test_a_report_that_cannot_be_written_is_said_before_a_judge_is_paid(tmp_path, few, place):
    (tmp_path / "file").write_text("")
    place = tmp_path / place
    file = lines(tmp_path / "a.jsonl", right_answers(few, "a"))
    recorded = lines(tmp_path / "j.jsonl", [{"question_id": 1, "turn": 1, "score": 5}])
    with chat_server(lambda body, n: "Rating: [[6]]") as chat:
        arguments = judged_by(
            chat, file, questions=lines(tmp_path / "q.jsonl", few), runs=tmp_path / "runs"
        )
        for verb in (arguments, ["--judgments", recorded, "--runs", tmp_path / "runs"]):
            with pytest.raises(HandbookError, match=r"(?s)cannot be written to.*--report"):
                run(*verb, "--report", place)
        assert not chat.asked
    with pytest.raises(HandbookError, match="cannot be written to"):
        run("--judgments", recorded, "--runs", place)
    with pytest.raises(HandbookError, match="cannot be written to"):
        run("base", "--runs", place, "--report", tmp_path / "report", "--max-new-tokens", 1)


def test_what_cannot_be_evaluated_is_said(tmp_path, few):
    with pytest.raises(HandbookError, match="no such file"):
        run("--judgments", tmp_path / "none.jsonl", "--report", tmp_path)
    with pytest.raises(HandbookError, match="one table would mix two judges"):
        run("ddpo", "--judgments", tmp_path / "none.jsonl")
    with pytest.raises(HandbookError, match="there is no model `ddpoo`"):
        run("ddpoo", "--runs", tmp_path)
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
    with pytest.raises(HandbookError, match="is no task"):
        academic_scores("arc; rm -r x", {"m": "dir"}, tmp_path)
