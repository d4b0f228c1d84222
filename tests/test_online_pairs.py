"""On-policy pairs: a model's own answers, rated; every prompt and answer is accounted for."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tiny import save_base

from zephyr_utils import chat
from zephyr_utils.data.records import check_feedback, load_records, save_records
from zephyr_utils.errors import HandbookError
from zephyr_utils.miniature import data as world
from zephyr_utils.miniature.judge import TeacherJudge
from zephyr_utils.miniature.noisy_teacher import NoisyTeacher
from zephyr_utils.miniature.world import understand
from zephyr_utils.online.pairs import (
    SamplingSettings,
    fitting_prompts,
    own_feedback,
    sample_in_parts,
)
from zephyr_utils.online.sampling import Sample
from zephyr_utils.pipeline.pipeline import Pipeline
from zephyr_utils.pipeline.steps.own_answers import rate_own_answers
from zephyr_utils.preferences import binarize

# without the leaks that are disguised, which the teacher does not understand
FEEDBACK = [row for row in world.feedback(60) if understand([row["instruction"]])][:24]


def said(text, ended=True):
    return Sample(text, ended, 1, [2], [-0.5])


@pytest.fixture(scope="module")
def model_directory(tmp_path_factory):
    """A random model, a quarter of whose answers end within 96 tokens."""
    folder = tmp_path_factory.mktemp("tiny")
    save_base(folder)
    return folder


# --- records --------------------------------------------------------------------------------------


def test_prompts_without_two_different_whole_answers_are_set_aside_by_name():
    answers = {
        "fine": [said("a"), said("b"), said("a"), said("c", ended=False)],
        "equal": [said("a"), said("a"), said(""), said("a", ended=False)],
        "one": [said("a"), said("b", ended=False), said("")],
        "none": [said(""), said("b", ended=False)],
    }
    made = own_feedback(list(answers), list(answers.values()), "m")
    counts = made.row_counts()
    assert (counts.rows_in, counts.rows_out) == (4, 1)
    assert counts.set_aside == {
        "all_answers_equal": 1,
        "one_whole_answer": 1,
        "no_whole_answer": 1,
    }
    # of "equal" two whole ones, of "one" one
    assert made.left_out == {"cut off": 4, "empty": 3, "their prompt was set aside": 3}
    in_records = sum(len(record["completions"]) for record in made.records)
    assert in_records + made.left_out.total() == sum(map(len, answers.values()))
    [record] = made.records
    assert check_feedback(record)["instruction"] == "fine"
    assert [one["response"] for one in record["completions"]] == ["a", "b", "a"]


@pytest.mark.parametrize(
    "text", ["<|assistant|>\nGus bought 4.", "Gus bought 4.<|im_end|>", "[INST] Who?", "4</s>"]
)
def test_a_sampled_answer_with_a_templates_marker_takes_no_part_and_is_counted(text, tmp_path):
    made = own_feedback(
        ["Who?", "What?"], [[said("a"), said(text), said("b")], [said(text)] * 2], "m"
    )
    assert made.left_out == {"with a template's marker": 3}
    assert made.row_counts().set_aside == {"no_whole_answer": 1}
    [record] = made.records
    assert [one["response"] for one in record["completions"]] == ["a", "b"]
    save_records(made.records, tmp_path / "feedback.jsonl")
    assert len(load_records(tmp_path / "feedback.jsonl", "feedback").records) == 1


def test_answers_that_a_judge_cannot_rate_make_no_pair_and_are_named():
    strange = own_feedback(["Is there a God?"], [[said("a"), said("b")]], "m").records
    made = binarize(NoisyTeacher()(strange))
    assert not made.pairs and made.reasons() == {"fewer_than_two_scores": 1}


# --- judges ---------------------------------------------------------------------------------------


def test_the_noisy_teacher_rates_an_answer_always_alike_and_better_answers_higher():
    texts = [[completion["response"] for completion in row["completions"]] * 2 for row in FEEDBACK]
    prompts = [row["instruction"] for row in FEEDBACK]
    own = own_feedback(prompts, [[said(text) for text in group] for group in texts], "m").records
    rated = NoisyTeacher()(own)
    assert rated == NoisyTeacher()(own) != NoisyTeacher(seed=1)(own)
    judge, gaps = TeacherJudge(), []
    for row in rated:
        completions = row["completions"]
        half = len(completions) // 2
        for one, again in zip(completions[:half], completions[half:], strict=True):
            assert one["overall_score"] == again["overall_score"]
            assert one["annotations"] == again["annotations"]
            question = {"question_id": 1, "turns": [row["instruction"]]}
            exact = judge.grade(question, [one["response"]], 1).score
            gaps.append(one["overall_score"] - exact)
    assert len(gaps) > 60 and any(gaps)  # noise there is
    assert abs(sum(gaps) / len(gaps)) < 0.6  # and no bias


# --- sampling that resumes ------------------------------------------------------------------------


def test_a_stopped_sampling_goes_on_from_its_parts_to_the_same_answers(
    model_directory, tmp_path, monkeypatch
):
    from zephyr_utils.online import pairs

    monkeypatch.setattr(pairs, "PART", 3)
    model, tokenizer = chat.load_model(model_directory)
    settings = SamplingSettings(samples=2, max_new_tokens=8)
    prompts = [row["instruction"] for row in FEEDBACK[:7]]
    whole = sample_in_parts(tmp_path / "a", model, tokenizer, prompts, settings)
    assert len(list((tmp_path / "a").iterdir())) == 3

    sample, calls = pairs.sample_answers, []

    def dies_at_the_second(*args, **options):
        calls.append(options["first_prompt"])
        if calls == [0, 3]:
            raise KeyboardInterrupt
        return sample(*args, **options)

    monkeypatch.setattr(pairs, "sample_answers", dies_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        sample_in_parts(tmp_path / "b", model, tokenizer, prompts, settings)
    again = sample_in_parts(tmp_path / "b", model, tokenizer, prompts, settings)
    assert calls == [0, 3, 3, 6]
    assert [[one.text for one in group] for group in again] == [
        [one.text for one in group] for group in whole
    ]
    monkeypatch.setattr(pairs, "PART", 100)  # in one go it is the same, too
    at_once = sample_in_parts(tmp_path / "c", model, tokenizer, prompts, settings)
    assert [[one.token_ids for one in group] for group in at_once] == [
        [one.token_ids for one in group] for group in whole
    ]


def test_a_prompt_that_leaves_no_place_for_an_answer_is_set_aside(model_directory):
    model, tokenizer = chat.load_model(model_directory)
    places, aside = fitting_prompts(model, tokenizer, ["Hi", "word " * 300, "Bye"], 24)
    assert places == [0, 2]
    assert [(row.where, row.reason) for row in aside] == [("prompt 2", "prompt_too_long")]


def test_one_sample_makes_a_pair_beside_a_demonstration_alone():
    SamplingSettings(samples=1).require(1)
    for samples, least in ((1, 2), (0, 1)):
        with pytest.raises(HandbookError, match=f"of {samples} answers .* no pair can be made"):
            SamplingSettings(samples=samples).require(least)
    groups = [[said("a"), said("a")], [said("b", ended=False)]]
    assert not own_feedback(["x", "y"], groups, "m").records
    made = own_feedback(["x", "y"], groups, "m", least=1)
    assert [record["instruction"] for record in made.records] == ["x"]
    assert made.row_counts().set_aside == {"no_whole_answer": 1}


# --- the pipeline's dial --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def on_policy(model_directory, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    feedback = save_records(FEEDBACK, folder / "feedback.jsonl")
    return Pipeline(
        sft_model=str(model_directory),
        feedback=str(feedback),
        runs=str(folder / "runs"),
        on_policy=True,
    )


def test_on_policy_pairs_are_the_models_own_answers_and_rows_add_up(on_policy):
    made = on_policy.pairs()
    pairs = load_records(made.folder / "pairs.parquet", "preference").records
    assert pairs and all(pair["chosen_model"].startswith("dsft, sample ") for pair in pairs)
    own = json.loads(
        (on_policy.folder / "03_own_answers" / "manifest.json").read_text(encoding="utf-8")
    )
    assert own["rows"]["rows_in"] == len(FEEDBACK)
    assert own["results"]["answers"] == 4 * len(FEEDBACK)
    assert own["rows"]["rows_out"] == made.rows["rows_in"]
    asked = {row["instruction"] for row in FEEDBACK}
    assert {pair["prompt"] for pair in pairs} <= asked


def test_own_answers_are_reused_and_the_two_kinds_of_pairs_do_not_mix(on_policy):
    first = on_policy.pairs().key
    assert on_policy.pairs().reused
    scripted = replace(on_policy, on_policy=False).pairs()
    assert scripted.key != first and not scripted.reused
    assert on_policy.pairs().key == first


def test_on_policy_without_a_judge_or_with_given_pairs_is_refused_before_any_training(tmp_path):
    with pytest.raises(HandbookError, match="leave out one of --on-policy and --preferences"):
        Pipeline(on_policy=True, preferences=str(tmp_path))
    with pytest.raises(HandbookError, match=r"`smol` has no judge"):
        Pipeline(on_policy=True, scale="smol")


def test_the_dial_is_a_setting_of_the_run(on_policy):
    assert not Pipeline(on_policy=True).as_published
    assert on_policy.arguments["on_policy"] is True
    assert "on_policy" not in Pipeline().arguments


def test_a_model_whose_answers_never_end_is_refused_with_the_reasons(
    model_directory, tmp_path: Path
):
    with pytest.raises(HandbookError, match=r"3 x no_whole_answer"):
        rate_own_answers(
            tmp_path,
            model_directory,
            "m",
            ["Hi", "Bye", "What?"],
            SamplingSettings(max_new_tokens=1),
            NoisyTeacher(),
        )
