"""Ratings and their scales: one that cannot be used stops its row, and many of them the file."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_feedback import completion, row

from zephyr_utils.data.records import ASPECTS
from zephyr_utils.errors import HandbookError
from zephyr_utils.preferences import (
    RATING_SCALES,
    RatingScale,
    audit,
    binarize,
    mean_rating,
    overall_rating,
    parse_rating_scale,
)

TEN = {"mean": RatingScale(1, 10)}


def rated(prompt, *answers):
    """A row whose answers have these ratings, aspect by aspect."""
    return {
        "source": "",
        "instruction": prompt,
        "models": list("abcd"[: len(answers)]),
        "completions": [
            completion(model="abcd"[i], response=f"answer {i}")
            | {
                "annotations": {
                    aspect: {"Rating": rating, "Rationale": ""}
                    for aspect, rating in zip(ASPECTS, ratings, strict=False)
                }
            }
            for i, ratings in enumerate(answers)
        ],
    }


def good_rows(count):
    return [row(f"good {n}", 5, 2) for n in range(count)]


@pytest.mark.parametrize("rating", ["N/A", "n/a", "", " ", "nan", "None", "-", None, float("nan")])
def test_an_aspect_that_was_not_rated_is_left_out_of_the_mean(rating):
    assert mean_rating(rated("Hi", [rating])["completions"][0]) is None
    assert mean_rating(rated("Hi", [rating, "2", "4"])["completions"][0]) == 3.0


@pytest.mark.parametrize(
    "rating", ["0", "6", 7, "-1", "1e3", "five", "4/5", "4 out of 5", "1_0", True, [5], "9" * 5000]
)
def test_one_rating_that_is_none_of_the_scale_takes_the_answers_score(rating):
    assert mean_rating(rated("Hi", [rating, "2", "4"])["completions"][0]) is None


@pytest.mark.parametrize("rating", ["5", " 5 ", "5.0", 5, 5.0, "５"])
def test_a_rating_is_read_as_a_number_however_it_is_written(rating):
    expected = None if rating == "５" else 5.0  # full-width digits are for whoever reads replies
    assert mean_rating(rated("Hi", [rating])["completions"][0]) == expected


@pytest.mark.parametrize("grade", [0, 11, 100, "9/10", True, 10**400, float("inf")])
def test_an_overall_grade_outside_of_its_scale_is_none(grade):
    assert overall_rating(completion(overall=grade)) is None
    assert overall_rating(completion(overall=10)) == overall_rating(completion(overall="10")) == 10


def test_a_row_with_one_rating_outside_of_the_scale_is_set_aside_and_named():
    # Left out silently, the 9 would make the worse answer the chosen one.
    reversed_by_omission = rated("Hi", ["9", "1", "1", "1"], ["2", "2", "2", "2"])
    made = binarize([*good_rows(30), reversed_by_omission, *good_rows(5)])
    assert made.reasons() == {"rating_out_of_range": 1} and made.n_rows == 36
    assert made.set_aside[0].detail == (
        "row 31: answer 1: instruction_following is 9, outside of 1 to 5"
    )
    assert {pair["chosen"][-1]["content"] for pair in made} == {"a says 5, 5"}
    unreadable = binarize([*good_rows(3), rated("Ho", ["good"], ["bad"])])
    assert unreadable.reasons() == {"unreadable_rating": 1}


@pytest.mark.parametrize(
    ("low", "high", "proposed"),
    [(1, 10, "1-10"), (0, 100, "0-100"), (0, 4, "0-4"), (1, 7, "1-7"), (0, 10, "0-10"),
     (2, 90, "1-100")],
)  # fmt: skip
def test_a_file_on_another_scale_is_refused_and_its_scale_is_proposed(low, high, proposed):
    rng = random.Random(0)
    feedback = [row(f"q{n}", *(rng.randint(low, high) for _ in range(4))) for n in range(60)]
    feedback.append(row("ends", low, high))
    with pytest.raises(HandbookError, match=f"from {low} to {high}") as error:
        binarize(feedback)
    assert f"--rating-scale {proposed}" in error.value.remedy
    made = binarize(feedback, rating_scales={"mean": parse_rating_scale(proposed)})
    assert len(made.pairs) > 50 and "rating_out_of_range" not in made.reasons()
    assert all(pair["score_chosen"] > pair["score_rejected"] for pair in made)


def test_on_a_declared_scale_the_better_answer_is_chosen():
    feedback = [row(f"q{n}", 9, 4, overall=(4, 9)) for n in range(20)]
    assert {p["chosen_model"] for p in binarize(feedback, rating_scales=TEN)} == {"a"}
    with pytest.raises(HandbookError, match="1 to 5, the scale of the mean score"):
        binarize(feedback)


def test_the_overall_grade_has_a_scale_of_its_own():
    feedback = [row(f"q{n}", 5, 1, overall=(20, 95)) for n in range(20)]
    assert len(binarize(feedback)) == 20  # the mean does not care
    with pytest.raises(HandbookError, match="1 to 10, the scale of the overall score"):
        binarize(feedback, score="overall")
    made = binarize(feedback, score="overall", rating_scales={"overall": RatingScale(0, 100)})
    assert {p["chosen_model"] for p in made} == {"b"}


def test_the_tens_are_only_spoken_of_on_the_scales_they_are_known_on():
    feedback = [row("Hi", 1, 5, overall=(10, 9))]
    pairs = binarize(feedback)
    assert audit(pairs, feedback=feedback).tens.n_faulty == 1
    assert audit(pairs, feedback=feedback, rating_scales=TEN).tens is None


def test_where_no_pair_can_be_made_the_likely_cause_is_said():
    cases = {
        "another score, or keep ties": [row("Hi", 3, 3)],
        "rate them": [row("Hi", None, None, overall=(None, None))],
        "of more models": [row("Hi", 3)],
        "--rating-scale": [row("Hi", 9, 3)],
        "as numbers": [rated("Hi", ["good"], ["bad"])],
        "give rated answers": [],
    }
    for advice, feedback in cases.items():
        with pytest.raises(HandbookError, match="no pair can be made") as error:
            binarize(feedback).require_pairs("feedback.jsonl")
        assert advice in error.value.remedy and error.value.where == "feedback.jsonl"
    made = binarize([row("Hi", 5, 3)])
    assert made.require_pairs("feedback.jsonl") is made


@pytest.mark.parametrize("text", ["", "10", "5-1", "3-3", "a-b", "1-", "1-inf", "nan-5", "1-1e999"])
def test_a_scale_that_is_none_is_refused(text):
    with pytest.raises(HandbookError, match="--rating-scale"):
        parse_rating_scale(text)


def test_a_scale_is_read_from_its_ends():
    assert parse_rating_scale("1-10") == (1, 10) and parse_rating_scale(" 0 - 100 ") == (0, 100)
    assert str(RATING_SCALES["mean"]) == "1 to 5"


RATING = st.one_of(st.integers(-2, 12).map(str), st.sampled_from(["N/A", "x", "", None, 3.5]))


@given(
    st.lists(st.lists(st.lists(RATING, min_size=4, max_size=4), min_size=2, max_size=4), max_size=6)
)
def test_no_pair_is_ever_made_of_a_row_with_a_rating_that_is_none_of_the_scale(ratings):
    feedback = [rated(f"q{n}", *answers) for n, answers in enumerate(ratings)]
    try:
        made = binarize(feedback)
    except HandbookError:
        return
    assert made.n_rows == len(feedback)
    for number, pair in zip(made.rows, made.pairs, strict=True):
        flat = [value for answer in ratings[number] for value in answer]
        assert all(v in ("N/A", "", None) or 1 <= float(v) <= 5 for v in flat if v != "x")
        assert "x" not in flat and pair["score_chosen"] > pair["score_rejected"]
