"""``zephyr feedback``: what its options do, and what is said before anything is paid."""

import json
import math
import os
from pathlib import Path

import pytest
from feedback_server import by_turns, chat_server, completion
from typer.testing import CliRunner

from zephyr_utils.cli import app
from zephyr_utils.data.records import load_records
from zephyr_utils.errors import HandbookError
from zephyr_utils.feedback import (
    Endpoint,
    Prices,
    Sampling,
    collect_answers,
    estimate,
    load_prompts,
    rate_answers,
)

MODELS = ["--models", "a,b"]
JUDGE = ["--judge", "j"]


@pytest.fixture
def prompts(tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"Question {n}?"}) + "\n" for n in range(4)))
    return path


def run(chat, prompts, output, *options):
    """The command's result; an error is raised."""
    arguments = ["feedback", str(prompts), "--output", str(output), "--base-url", chat.url]
    result = CliRunner().invoke(app, [*arguments, *map(str, options)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def behave(body, before):
    """Answers, ratings and grades in the form that was asked for."""
    system = body["messages"][0]["content"] if len(body["messages"]) > 1 else ""
    if "Overall grade" in system:
        return "So so.\nOverall grade: 5"
    if system:
        n = body["messages"][1]["content"].count("--- answer ")
        return "\n".join(f"Answer {k}\nRating: {k}\nRationale: r" for k in range(1, n + 1))
    return f"{body['model']} answers {body['messages'][0]['content']}"


# --- sampling ------------------------------------------------------------------------------------


def test_temperature_and_limit_of_answers_and_judge_are_set_apart_and_can_be_left_out(
    prompts, tmp_path
):
    def sent(*options):
        with chat_server(behave) as chat:
            output = tmp_path / f"{len(list(tmp_path.iterdir()))}.jsonl"
            assert run(chat, prompts, output, *MODELS, *JUDGE, *options).exit_code == 0
        names = ("temperature", "max_tokens")
        values = [[], []]
        for body in chat.bodies:
            values[body["model"] == "j"].append(tuple(body.get(name) for name in names))
        return [set(each) for each in values]

    assert sent() == [{(0.7, 512)}, {(0.0, 1024)}]
    set_all = ["--temperature", 0.2, "--max-tokens", 9, "--judge-temperature", 1]
    assert sent(*set_all, "--judge-max-tokens", 99) == [{(0.2, 9)}, {(1.0, 99)}]
    left_out = ["--temperature", "none", "--judge-temperature", "NONE", "--max-tokens", "none"]
    assert sent(*left_out, "--judge-max-tokens", "none") == [{(None, None)}, {(None, None)}]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--temperature", "warm"),
        ("--temperature", "nan"),
        ("--temperature", "-1"),
        ("--judge-temperature", "inf"),
        ("--max-tokens", "1.5"),
        ("--max-tokens", "0"),
        ("--max-tokens", "9" * 5000),
        ("--judge-max-tokens", "many"),
        ("--judge-max-tokens", ""),
        ("--limit", 0),
        ("--limit", -5),
        ("--concurrency", 0),
        ("--judge-base-url", "localhost:1"),
        ("--models", "a,,b"),
    ],
)
def test_a_value_that_cannot_be_is_said_before_anything_is_sent(option, value, prompts, tmp_path):
    with chat_server(behave) as chat, pytest.raises(HandbookError) as caught:
        run(chat, prompts, tmp_path / "f.jsonl", *MODELS, *JUDGE, option, value)
    assert not chat.bodies and caught.value.remedy and len(str(caught.value)) < 300


def test_the_judges_key_is_missed_before_the_answers_are_paid(prompts, tmp_path, monkeypatch):
    monkeypatch.delenv("JUDGES_KEY", raising=False)
    judge = ["--judge-base-url", "https://example.invalid/v1", "--judge-api-key-env", "JUDGES_KEY"]
    with chat_server(behave) as chat, pytest.raises(HandbookError, match="variable JUDGES_KEY"):
        run(chat, prompts, tmp_path / "f.jsonl", *MODELS, *JUDGE, *judge)
    assert not chat.bodies


# --- asking again --------------------------------------------------------------------------------


def test_the_command_asks_again_for_what_holds_no_answer_and_pays_for_nothing_else(
    prompts, tmp_path
):
    unclear = {"on": True}

    def often(body, before):
        if unclear["on"] and "Question 1" in str(body) and len(body["messages"]) == 1:
            return completion("<think>Hm", finish_reason="length")
        if unclear["on"] and "Question 2" in str(body) and "honesty:" in str(body):
            return "I would rather not."
        return behave(body, before)

    output = tmp_path / "f.jsonl"
    with chat_server(often) as chat:
        first = run(chat, prompts, output, *MODELS, *JUDGE)
        paid = len(chat.bodies)
        plain = run(chat, prompts, output, *MODELS, *JUDGE)
        assert first.exit_code == plain.exit_code == 1 and len(chat.bodies) == paid
        assert "2 replies hold no answer: cut_off_in_thought" in plain.output
        assert "1 no_rating" in plain.output
        plan = run(chat, prompts, output, *MODELS, *JUDGE, "--retry-unreadable", "--dry-run")
        unclear["on"] = False
        again = run(chat, prompts, output, *MODELS, *JUDGE, "--retry-unreadable")
    # Two answers and one rating; and what the judge had not been asked about the new answers.
    assert again.exit_code == 0 and len(chat.bodies) == paid + 2 + 1 + (4 + 2)
    assert "9 calls to make" in plan.output, plan.output
    rows = load_records(output, "feedback").records
    assert [len(row["completions"]) for row in rows] == [2] * 4
    assert all(len(c["annotations"]) == 4 for row in rows for c in row["completions"])


# --- what cannot be written, and what comes to nothing -------------------------------------------


def unwritable(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.jsonl").mkdir()
    return {
        "a file as parent": tmp_path / "file" / "f.jsonl",
        "a folder": tmp_path / "folder.jsonl",
        "a long name": tmp_path / ("f" * 300 + ".jsonl"),
        "a long name beside it": tmp_path / ("f" * 235 + ".jsonl"),
        "a device folder": Path("/proc/f.jsonl"),
        "another ending": tmp_path / "f.csv",
        "no ending": tmp_path / "f",
    }


@pytest.mark.parametrize("kind", ["a file as parent", "a folder", "a long name", "another ending",
                                  "a long name beside it", "a device folder",
                                  "no ending"])  # fmt: skip
@pytest.mark.parametrize("apart", [True, False])
def test_an_output_that_cannot_be_written_is_said_before_anything_is_paid(
    kind, apart, prompts, tmp_path
):
    if kind == "a device folder" and not os.path.isdir("/proc"):
        pytest.skip("there is no /proc here")
    journal = ["--journal", tmp_path / "j.jsonl"] if apart else []
    with chat_server(behave) as chat, pytest.raises(HandbookError) as caught:
        run(chat, prompts, unwritable(tmp_path)[kind], *MODELS, *journal)
    assert not chat.bodies and caught.value.remedy


def test_what_is_there_is_kept_until_the_new_is_whole(prompts, tmp_path):
    output = tmp_path / "f.jsonl"
    output.write_text("old")
    refuses = by_turns((400, {"error": {"message": "no"}}))
    with chat_server(refuses) as chat, pytest.raises(HandbookError, match="nothing was collected"):
        run(chat, prompts, output, *MODELS)
    assert output.read_text() == "old"
    left = sorted(path.name for path in tmp_path.iterdir() if "unfinished" in path.name)
    assert not left


@pytest.mark.parametrize(
    ("options", "same"),
    [
        (["--journal", "f.jsonl"], "--journal, --output"),
        (["--journal", "./x/../f.jsonl"], "--journal, --output"),
        (["--journal", "prompts.jsonl"], "the prompts"),
    ],
)
def test_one_file_for_two_things_is_refused_before_one_overwrites_the_other(
    options, same, prompts, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    before = prompts.read_text()
    with chat_server(behave) as chat, pytest.raises(HandbookError, match="different files"):
        run(chat, "prompts.jsonl", "f.jsonl", *MODELS, *options)
    with chat_server(behave) as chat, pytest.raises(HandbookError, match="different files"):
        run(chat, "prompts.jsonl", "prompts.jsonl", *MODELS)
    assert prompts.read_text() == before and not chat.bodies


def test_answers_may_be_rated_in_place(prompts, tmp_path):
    output = tmp_path / "f.jsonl"
    with chat_server(behave) as chat:
        assert run(chat, prompts, output, *MODELS).exit_code == 0
        assert run(chat, output, output, *JUDGE).exit_code == 0
    assert load_records(output, "feedback").records[3]["completions"][1]["annotations"]


@pytest.mark.parametrize(
    ("act", "words"),
    [
        ((400, {"error": {"message": "too long"}}), "status 400: too long"),
        ("", "the replies hold no answer (empty)"),
        (completion("<think>a", finish_reason="length"), "(cut_off_in_thought)"),
        ((200, {"error": "busy"}), "busy"),
    ],
)
def test_where_nothing_came_the_cause_is_said_and_the_status_is_2(act, words, prompts, tmp_path):
    with chat_server(by_turns(act)) as chat, pytest.raises(HandbookError) as caught:
        run(chat, prompts, tmp_path / "f.jsonl", "--models", "a", "--limit", 1)
    assert words in str(caught.value) and not (tmp_path / "f.jsonl").exists()
    assert (tmp_path / "f.jsonl.set_aside.jsonl").read_text().count("no_answers") == 1


def test_without_an_answer_there_is_nothing_to_rate(tmp_path):
    answers = tmp_path / "a.jsonl"
    rows = [{"instruction": "Q?", "completions": []}]
    rows += [{"instruction": "R?", "completions": [{"model": "m", "response": " "}]}]
    answers.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with chat_server(behave) as chat, pytest.raises(HandbookError, match="no answer to rate"):
        run(chat, answers, tmp_path / "f.jsonl", *JUDGE)


# --- prompts, prices, estimates ------------------------------------------------------------------

TURNS = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi?"}]
PROMPTS = {
    "a system turn before it": {"messages": TURNS},
    "ShareGPT": {"conversations": [{"from": "human", "value": "Hi?"}]},
    "a prompt as messages": {"prompt": TURNS},
    "a prompt in parts": {"messages": [{"role": "user",
                                        "content": [{"type": "text", "text": "Hi?"}]}]},
    "messages as JSON text": {"messages": json.dumps(TURNS)},
    "a prompt as JSON text": {"prompt": json.dumps(TURNS)},
    "messages as Python text": {"messages": repr(TURNS)},
    "null beside it": {"prompt": None, "instruction": "Hi?"},
    "raw UltraChat": {"id": "1", "data": ["Hi?", "Hello."]},
}  # fmt: skip


@pytest.mark.parametrize("form", PROMPTS)
def test_the_prompt_is_the_first_thing_that_a_user_says_in_whatever_form(form, tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps(PROMPTS[form]) + "\n")
    assert [row["prompt"] for row in load_prompts(path)] == ["Hi?"]


@pytest.mark.parametrize(
    "row",
    [{"messages": TURNS[:1]}, {"prompt": 5}, {"messages": [[]]}, {"prompt": [{"role": 1}]}, []],
)
def test_a_row_without_a_prompt_is_set_aside_and_counted(row, tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps(row) + '\n{"prompt": "Hi?"}\n')
    got = load_prompts(path, set_aside=True)
    assert len(got) == len(got.set_aside) == 1


@pytest.mark.parametrize(
    "text",
    [
        "[" * 20_000,
        "{models: " * 5_000,
        "models: {m: {prompt: " + "1" * 5000 + ", completion: 1}}",
        "models: {m: {prompt: " + "1" * 400 + ", completion: 1}}",
        "models: {m: {prompt: .inf, completion: 1}}",
        "models: {m: {prompt: .nan, completion: 1}}",
        "models: {m: {prompt: true, completion: 1}}",
        "models: {m: {prompt: 1, completion: 1}}\nper: " + "1" * 400,
        "models: {m: {prompt: 1, completion: 1}}\nper: true",
        "!!python/object/apply:os.system ['true']",
        "models: {m: {prompt: 1, completion: 1}}\nper: 2026-11-28",
    ],
)
def test_a_price_table_that_means_harm_or_nothing_is_refused_in_a_sentence(text, tmp_path):
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(HandbookError, match="not a price table") as caught:
        Prices.load(tmp_path / "p.yaml")
    assert len(str(caught.value)) < 500


def test_a_price_table_in_another_encoding_or_place_is_refused_in_a_sentence(tmp_path):
    (tmp_path / "p.yaml").write_bytes(b"models: {Zo\xeb: 1}")
    for path in (tmp_path / "p.yaml", tmp_path, tmp_path / "none.yaml", tmp_path / "a\0b"):
        with pytest.raises(HandbookError, match="not a price table"):
            Prices.load(path)


def test_without_a_token_limit_the_most_is_not_known_and_said_so():
    plan = estimate(["Hi"], ["m"], "j", sampling=Sampling(max_tokens=None))
    prices = Prices({"m": (1.0, 1.0), "j": (1.0, 1.0)})
    assert plan.calls == 6 and math.isinf(plan.cost(prices)[1])
    assert math.isfinite(plan.cost(prices)[0]) and "no limit" in plan.text()
    assert "no upper limit" in plan.text(prices)
    limited = estimate(["Hi"], ["m"], "j")
    assert math.isfinite(limited.cost(prices)[1]) and "no limit" not in limited.text(prices)


def test_an_estimate_plans_an_empty_reply_again_and_others_without_an_answer_on_request(tmp_path):
    acts = {"empty": "", "thought": completion("<think>a"), "plain": "Hello."}
    journal = tmp_path / "j.jsonl"
    with chat_server(lambda body, n: acts[body["model"]]) as chat:
        endpoint = Endpoint(chat.url)
        collect_answers(["Hi"], list(acts), endpoint=endpoint, journal=journal)
        shared = {"endpoint": endpoint, "journal": journal}
        plan = estimate(["Hi"], list(acts), **shared)
        assert (plan.calls, plan.from_journal) == (1, 2)
        plan = estimate(["Hi"], list(acts), retry_unreadable=True, **shared)
        assert (plan.calls, plan.from_journal) == (2, 1)


def test_an_estimate_of_ratings_counts_what_cannot_be_read_on_request(tmp_path):
    rows = [{"instruction": "Q?", "completions": [{"model": m, "response": m} for m in "ab"]}]
    prose = lambda body, n: "No." if "honesty:" in str(body) else behave(body, n)  # noqa: E731
    journal = tmp_path / "j.jsonl"
    with chat_server(prose) as chat:
        endpoint = Endpoint(chat.url)
        rate_answers(rows, "j", endpoint=endpoint, journal=journal)
        shared = {"feedback": rows, "endpoint": endpoint, "journal": journal}
        assert estimate(judge="j", **shared).calls == 0
        assert estimate(judge="j", retry_unreadable=True, **shared).calls == 1
