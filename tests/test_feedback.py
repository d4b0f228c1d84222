"""AI feedback: what is asked, how replies are read, the records, the estimate, the command, a run
that is killed.
"""

import asyncio
import json
import random

import pytest
from feedback_server import chat_server
from feedback_world import WORLD_PROMPTS

from zephyr_utils.data.records import ASPECTS, RecordError, check_dialogue, check_feedback
from zephyr_utils.errors import HandbookError
from zephyr_utils.feedback import (
    Endpoint,
    Sampling,
    collect_answers,
    distil_dialogues,
    load_prompts,
    rate_answers,
)
from zephyr_utils.miniature.data import MODELS
from zephyr_utils.miniature.serve import JUDGES
from zephyr_utils.miniature.world import draw_question
from zephyr_utils.preferences import binarize, mean_rating


def place_reader(body, before):
    """A judge that rates each answer by the number in it, wherever it occurs."""
    if "Overall grade" in body["messages"][0]["content"]:
        return "So so.\nOverall grade: 5"
    if len(body["messages"]) == 1:
        return "say 4"
    lines = [
        line for line in body["messages"][1]["content"].splitlines() if line.startswith("say ")
    ]
    return "\n".join(
        f"Answer {n}\nRating: {line[4]}\nRationale: r" for n, line in enumerate(lines, start=1)
    )


@pytest.mark.parametrize("order", ["rotated", "given", "reversed"])
def test_the_shuffled_order_is_undone_in_the_records(order):
    rows = [
        {
            "instruction": f"Q{n}?",
            "completions": [
                {"model": m, "response": f"say {r}"} for m, r in zip("abcd", "1352", strict=True)
            ],
        }
        for n in range(20)
    ]
    with chat_server(place_reader) as chat:
        got = rate_answers(rows, "j", endpoint=Endpoint(chat.url), order=order)
    for row in got.records:
        ratings = [{c["annotations"][a]["Rating"] for a in ASPECTS} for c in row["completions"]]
        assert ratings == [{"1"}, {"3"}, {"5"}, {"2"}]
        assert [c["overall_score"] for c in row["completions"]] == [5.0] * 4


def test_the_judge_is_asked_at_temperature_zero_and_the_models_as_told():
    with chat_server(place_reader) as chat:
        endpoint = Endpoint(chat.url)
        got = collect_answers(
            ["Hi"],
            {"label": "path/of/model"},
            endpoint=endpoint,
            sampling=Sampling(0.9, 77, seed=5),
        )
        rate_answers(got.records, "j", endpoint=endpoint)
    answer, *ratings = chat.bodies
    assert (answer["model"], answer["temperature"], answer["max_tokens"], answer["seed"]) == (
        "path/of/model",
        0.9,
        77,
        5,
    )
    assert "top_p" not in answer and {body["temperature"] for body in ratings} == {0.0}
    assert got.records[0]["models"] == ["label"] and "path/of/model" not in json.dumps(got.records)


# --- records --------------------------------------------------------------------------------------


def test_collected_and_rated_records_are_what_the_field_publishes(world):
    answers = collect_answers(WORLD_PROMPTS[:10], list(MODELS), endpoint=world)
    rated = rate_answers(answers, "stand-in-teacher", endpoint=world)
    assert len(answers) == len(rated) == 10
    for row in rated:
        assert check_feedback(row) == row
        assert all(
            c["annotations"].keys() == set(ASPECTS) and 1 <= c["overall_score"] <= 10
            for c in row["completions"]
        )
    assert rated.calls.planned + rated.calls.repeated == 10 * (4 + 4)
    assert not rated.left_out and not rated.unreadable


def test_the_same_prompt_twice_is_paid_for_once_and_stays_two_records(world):
    got = collect_answers([WORLD_PROMPTS[0]] * 3, ["mini-large", "mini-tiny"], endpoint=world)
    assert (got.calls.planned, got.calls.repeated, got.calls.made) == (2, 4, 2)
    assert len(got) == 3 and got.records[0] == got.records[2]
    pairs = binarize(rate_answers(got, "stand-in-exact", endpoint=world).records)
    assert pairs.n_repeated == 2 and pairs.n_rows == 3


def test_one_call_in_flight_serves_all_who_ask_the_same():
    with chat_server(delay=0.05) as chat:
        collect_answers(["Hi"] * 20, ["m"], endpoint=Endpoint(chat.url), concurrency=20)
    assert list(chat.paid.values()) == [1]


def test_faulty_feedback_goes_through_with_everything_counted(world):
    def answer(text, **more):
        return {"model": text[:3] or "empty", "response": text, **more}

    na = {aspect: {"Rating": "N/A", "Rationale": ""} for aspect in ASPECTS}
    prompt = WORLD_PROMPTS[0]
    rows = [
        {"instruction": prompt, "completions": [answer("No idea."), answer("")]},  # an empty answer
        {"instruction": prompt, "completions": [answer("Alone.")]},  # fewer than two
        {"instruction": prompt, "completions": []},  # none
        {
            "instruction": prompt,
            "completions": [answer("One.", annotations=na), answer("Two.", overall_score=3)],
        },
        {
            "instruction": "What on earth is this?",
            "completions": [answer("One."), answer("Two.")],
        },  # the judge refuses
    ]
    before = json.dumps(rows)
    got = rate_answers(rows, "stand-in-teacher", endpoint=world)
    assert json.dumps(rows) == before, "the rows given stay as they were"
    assert len(got.records) == 5 and not got.set_aside
    assert got.calls.failed == {"status_400": 6}
    assert got.left_out == {
        "empty answers, not shown to the judge": 1,
        "ratings whose call failed": 8,
        "critiques whose call failed": 2,
    }
    made = binarize(got.records, ties="keep")
    assert made.n_rows == 5 and len(made) == 1
    assert made.reasons() == {"fewer_than_two_answers": 2, "fewer_than_two_scores": 2}
    assert mean_rating(got.records[3]["completions"][0]) is not None, "N/A from before was replaced"
    assert "6 failed: status_400" in got.report()


def test_a_judge_that_says_not_applicable_leaves_the_mean_to_the_other_aspects():
    judge = lambda body, n: "\n".join(  # noqa: E731
        f"Answer {k}\nRating: "
        f"{'N/A' if 'honesty' in body['messages'][0]['content'] else k}\nRationale: r"
        for k in (1, 2)
    )
    row = {"instruction": "Q?", "completions": [{"model": m, "response": m} for m in "ab"]}
    with chat_server(judge) as chat:
        got = rate_answers([row], "j", endpoint=Endpoint(chat.url), critiques=False, order="given")
    first, second = got.records[0]["completions"]
    assert first["annotations"]["honesty"]["Rating"] == "N/A"
    assert (mean_rating(first), mean_rating(second)) == (1.0, 2.0)
    assert not got.unreadable


def test_a_row_that_is_not_feedback_is_named(world):
    with pytest.raises(RecordError, match="row 2, field completions"):
        rate_answers(
            [{"instruction": "a", "completions": []}, {"instruction": "b"}], "j", endpoint=world
        )


@pytest.mark.parametrize("prompts", [[], ["Hi", " "], ["Hi", None], ["Hi", "Hi \ud83d"], "Hi"])
def test_prompts_that_are_none_are_refused_before_anything_is_sent(prompts, world):
    with pytest.raises(HandbookError, match="prompt"):
        collect_answers(prompts, ["mini-large"], endpoint=world)


@pytest.mark.parametrize("models", [[], ["a", "a"], ["a", ""]])
def test_models_must_be_named_once_each(models, world):
    with pytest.raises(HandbookError, match="models"):
        collect_answers(["Hi"], models, endpoint=world)


def test_it_works_inside_a_running_loop_as_in_a_notebook(world):
    async def cell():
        return collect_answers(WORLD_PROMPTS[:3], ["mini-large"], endpoint=world)

    assert len(asyncio.run(cell())) == 3


# --- dialogues ------------------------------------------------------------------------------------


def test_a_teacher_talks_to_itself_and_leaves_good_dialogues(world, tmp_path):
    got = distil_dialogues(
        WORLD_PROMPTS[:12], "stand-in-teacher", 3, endpoint=world, journal=tmp_path / "j.jsonl"
    )
    assert [d["prompt"] for d in got] == WORLD_PROMPTS[:12]
    for dialogue in got:
        assert check_dialogue(dialogue) == dialogue
        assert [m["role"] for m in dialogue["messages"]] == ["user", "assistant"] * 3
    assert got.calls.planned == 12 * 5
    again = distil_dialogues(
        WORLD_PROMPTS[:12], "stand-in-teacher", 3, endpoint=world, journal=tmp_path / "j.jsonl"
    )
    assert again.records == got.records and again.calls.made == 0


def test_a_dialogue_whose_call_fails_ends_early_and_one_without_an_answer_is_set_aside():
    def behave(body, before):
        last = body["messages"][-1]["content"]
        if "user says" in last:
            return (400, {"error": {"message": "no"}})
        if body["messages"][0]["role"] == "system":
            return "user says more"
        return "" if "Q2" in last else f"Answer to {last}"

    with chat_server(behave) as chat:
        got = distil_dialogues(["Q1", "Q2", "Q3"], "t", 2, endpoint=Endpoint(chat.url))
    assert [len(d["messages"]) for d in got] == [2, 2]
    assert [row.reason for row in got.set_aside] == ["no_answers"]
    assert got.left_out == {
        "dialogues that ended early: the reply holds no text: empty": 1,
        "dialogues that ended early: the call failed": 2,
    }


# --- prompts from files ---------------------------------------------------------------------------


def test_prompts_are_read_from_every_kind_of_row_and_bad_rows_are_named_or_counted(tmp_path):
    rows = [
        {"prompt": "a"},
        {"instruction": "b"},
        {"messages": [{"role": "user", "content": "c"}]},
        {"data": ["d", "x"]},
    ]
    path = tmp_path / "p.jsonl"
    path.write_text(
        "\n".join(json.dumps(row) for row in [*rows, {"text": "e"}, {"prompt": " "}]) + "\n{half"
    )
    got = load_prompts(path, set_aside=True)
    assert [row["prompt"] for row in got] == ["a", "b", "c", "d"] and got.n_read == 7
    assert got.reasons()["no_prompt"] == 2
    with pytest.raises(RecordError, match="no prompt"):
        load_prompts(path)


# --- the stand-ins --------------------------------------------------------------------------------


def test_the_stand_ins_names_say_what_they_are_and_the_server_lists_them(world):
    import urllib.request

    with urllib.request.urlopen(f"{world.url}/models") as reply:
        names = [model["id"] for model in json.load(reply)["data"]]
    assert names == [*MODELS, *JUDGES] and all(name.startswith("stand-in") for name in JUDGES)


def test_the_biased_stand_ins_are_biased_as_they_say_and_rotation_takes_the_place_out_of_the_mean(
    world,
):
    truth = draw_question(random.Random(0), category="humanities")
    same = truth.truths[0].sentence
    row = {
        "instruction": truth.turns[0],
        "completions": [{"model": m, "response": same} for m in "abcd"],
    }

    def means(judge, order):
        got = rate_answers([row], judge, endpoint=world, critiques=False, order=order).records[0]
        return [mean_rating(completion) for completion in got["completions"]]

    assert len(set(means("stand-in-exact", "given"))) == 1
    first, *_, last = means("stand-in-place", "given")
    assert first > last
    assert means("stand-in-place", "reversed") == [
        last,
        *means("stand-in-place", "given")[2:0:-1],
        first,
    ]
    long = {
        **row,
        "completions": [
            *row["completions"][:3],
            {"model": "d", "response": f"{same} {same} {same}"},
        ],
    }
    got = rate_answers([long], "stand-in-length", endpoint=world, critiques=False).records[0][
        "completions"
    ]
    assert mean_rating(got[3]) >= mean_rating(got[0])
