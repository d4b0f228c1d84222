"""``zephyr evaluate`` with a judge at an endpoint: paid once, sampling, failures, characters."""

import json

import pytest
from evaluation_command import RUNNER, few_questions, lines, right_answers, run
from feedback_server import chat_server, completion

from zephyr_utils.cli import app
from zephyr_utils.errors import HandbookError


@pytest.fixture(scope="module")
def few():
    return few_questions()


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
        for call in (arguments, ["--judgments", recorded, "--runs", tmp_path / "runs"]):
            with pytest.raises(HandbookError, match=r"(?s)cannot be written to.*--report"):
                run(*call, "--report", place)
        assert not chat.asked
    with pytest.raises(HandbookError, match="cannot be written to"):
        run("--judgments", recorded, "--runs", place)
    with pytest.raises(HandbookError, match="cannot be written to"):
        run("base", "--runs", place, "--report", tmp_path / "report", "--max-new-tokens", 1)
