"""Rounds on bad input: nothing to compare, a judge that fails, a kill at any place; all of it is
counted, said, and gone on from.
"""

import json
import math
from dataclasses import replace

import pytest
import torch
from round_fixtures import record, run_of, start_directory
from safetensors.torch import load_file

from zephyr_utils.data.records import load_records
from zephyr_utils.errors import HandbookError
from zephyr_utils.miniature.noisy_teacher import NoisyTeacher
from zephyr_utils.online import pairs
from zephyr_utils.online.pairs import SamplingSettings
from zephyr_utils.online.round_training import OnlineObjective, round_pairs
from zephyr_utils.online.rounds import OnlineSettings, run_rounds
from zephyr_utils.online.sampling import Sample
from zephyr_utils.pipeline.steps.own_answers import rate_own_answers

PROMPTS = [f"What is {n} plus 1?" for n in range(4)]
ONE_ROUND = OnlineSettings(
    OnlineObjective(), rounds=1, sampling=SamplingSettings(samples=3), prompts=8
)


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    return start_directory(tmp_path_factory.mktemp("start"))


@pytest.fixture
def pipeline(start, tmp_path, monkeypatch):
    return run_of(start, tmp_path, monkeypatch)


def said(text, ended=True):
    return Sample(text, ended, 1, [2], [-0.5])


def rated(tmp_path, start, rate):
    return rate_own_answers(tmp_path, start, "m", PROMPTS, SamplingSettings(3), rate)


def never(records):
    raise AssertionError("there is nothing to judge")


# --- nothing to compare ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ([said("4."), said("4."), said("4.")], "all_answers_equal"),
        ([said(""), said(""), said("")], "no_whole_answer"),
        ([said("4", False), said("5", False), said("6", False)], "no_whole_answer"),
        ([said("4."), said("", False), said("")], "one_whole_answer"),
    ],
)
def test_samples_that_cannot_be_compared_are_refused_by_reason_before_a_judge_is_asked(
    start, tmp_path, monkeypatch, answers, reason
):
    monkeypatch.setattr(pairs, "sample_answers", lambda m, asked, **_: [answers] * len(asked))
    with pytest.raises(HandbookError, match=f"no prompt of 4 .*: 4 x {reason}"):
        rated(tmp_path, start, never)


def test_answers_that_are_all_judged_alike_are_counted_and_refused():
    alike = [record(f"question {n}", 3, 3, 3) for n in range(5)]
    with pytest.raises(HandbookError, match="5 x all_tied"):
        round_pairs(alike, 1.0)
    rows, counts = round_pairs([*alike, record("another", 3, 4)], 1.0)
    assert len(rows) == 1 and counts["set_aside"] == {"all_tied": 5}
    assert counts["rows_in"] == counts["rows_out"] + counts["rows_set_aside"] == 6


# --- a judge that fails ---------------------------------------------------------------------------


@pytest.mark.parametrize("broken", [None, "nan", math.nan, "N/A", ""])
def test_a_rating_that_is_missing_or_nan_is_not_a_low_rating(broken):
    rows, counts = round_pairs([record("q", 4, broken, 2), record("r", broken, broken, 5)], 1.0)
    [row] = rows
    assert (row["score_chosen"], row["score_rejected"]) == (4, 2)
    assert row["win_rate_chosen"] + row["win_rate_rejected"] == pytest.approx(1)
    assert counts["set_aside"] == {"fewer_than_two_scores": 1}


def test_a_judge_that_fails_for_some_answers_is_counted_and_the_others_make_pairs(
    start, tmp_path, monkeypatch
):
    answers = [said("a"), said("b"), said("c")]
    monkeypatch.setattr(pairs, "sample_answers", lambda m, asked, **_: [answers] * len(asked))

    def fails_for_b(records):
        for row in records:
            for one, rating in zip(row["completions"], (5, None, 1), strict=True):
                if rating is not None:
                    one["annotations"] = {"honesty": {"Rating": str(rating), "Rationale": ""}}
        return records

    results = rated(tmp_path, start, fails_for_b)
    assert (results["answers"], results["answers_unrated"]) == (12, 4)
    feedback = load_records(tmp_path / "feedback.jsonl", "feedback").records
    rows, _ = round_pairs(feedback, 1.0)
    assert [(row["chosen"], row["rejected"]) for row in rows] == [("a", "c")] * 4


def test_a_judge_that_loses_records_is_found_out(start, tmp_path, monkeypatch):
    answers = [said("a"), said("b"), said("c")]
    monkeypatch.setattr(pairs, "sample_answers", lambda m, asked, **_: [answers] * len(asked))
    with pytest.raises(HandbookError, match="given 4 records and returned 3"):
        rated(tmp_path, start, lambda records: records[1:])


# --- kills ----------------------------------------------------------------------------------------


def weights_of(made):
    return load_file(made.training.folder / "model" / "model.safetensors")


def test_a_round_killed_in_sampling_and_again_in_judging_ends_with_the_same_weights(
    pipeline, tmp_path, monkeypatch
):
    monkeypatch.setattr(pairs, "PART", 3)
    [whole] = run_rounds(pipeline, ONE_ROUND)
    other, sample, judge = replace(pipeline, runs=str(tmp_path / "killed")), [], []
    draw, rate = pairs.sample_answers, NoisyTeacher.__call__

    def dies_at_the_second(*arguments, **options):
        sample.append(options["first_prompt"])
        if sample == [0, 3]:
            raise KeyboardInterrupt
        return draw(*arguments, **options)

    def dies_once(self, records):
        if records[0]["models"] == [""]:  # asked, before sampling, whether it knows the prompts
            return rate(self, records)
        judge.append(len(records))
        if len(judge) == 1:
            raise KeyboardInterrupt
        return rate(self, records)

    monkeypatch.setattr(pairs, "sample_answers", dies_at_the_second)
    monkeypatch.setattr(NoisyTeacher, "__call__", dies_once)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            list(run_rounds(other, ONE_ROUND))
    [resumed] = run_rounds(other, ONE_ROUND)
    assert sample == [0, 3, 3, 6]  # what was drawn before a kill is not drawn again
    assert len(judge) == 2 and resumed.answers.resumed
    assert resumed.answers.results["answers"] == whole.answers.results["answers"] == 3 * 8
    expected, ended = weights_of(whole), weights_of(resumed)
    assert all(torch.equal(weight, ended[name]) for name, weight in expected.items())


def test_a_round_killed_between_training_and_exam_trains_no_second_time(pipeline, monkeypatch):
    evaluate = type(pipeline).evaluate

    def dies(self, *arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(type(pipeline), "evaluate", dies)
    with pytest.raises(KeyboardInterrupt):
        list(run_rounds(pipeline, ONE_ROUND))
    monkeypatch.setattr(type(pipeline), "evaluate", evaluate)
    [made] = run_rounds(pipeline, ONE_ROUND)
    assert made.answers.reused and made.training.reused and not made.exam.reused
    manifest = json.loads((made.exam.folder / "manifest.json").read_text())
    assert manifest["key"] == made.exam.key
