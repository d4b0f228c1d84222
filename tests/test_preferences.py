"""From ratings to pairs: what is chosen, what is set aside, and that all of it is counted."""

import json
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from real_records import REAL, needs
from sample_feedback import completion, four_answers, row

from zephyr_utils.data.records import ASPECTS, RecordError, check_preference, load_records
from zephyr_utils.errors import HandbookError
from zephyr_utils.preferences import audit, binarize, mean_rating, pair_faults

PUBLISHED = {"score": "overall", "ties": "keep", "seed": 42}
MEANS = st.lists(st.one_of(st.none(), st.integers(1, 5)), max_size=5)
FEEDBACK = st.lists(MEANS, max_size=8).map(
    lambda rows: [row(f"question {n}", *means) for n, means in enumerate(rows)]
)


# --- ratings --------------------------------------------------------------------------------------


def test_the_mean_rating_is_over_the_aspects_that_were_rated():
    ratings = {
        "instruction_following": "5",
        "honesty": "N/A",
        "truthfulness": "4",
        "helpfulness": 3,
    }
    assert (
        mean_rating({"annotations": {aspect: {"Rating": r} for aspect, r in ratings.items()}})
        == 4.0
    )


@pytest.mark.parametrize(
    "unrated", [{}, {"annotations": None}, {"annotations": {}}, {"annotations": {"honesty": None}}]
)
def test_an_answer_without_annotations_has_no_mean_rating(unrated):
    assert mean_rating(unrated) is None


# --- pairs ----------------------------------------------------------------------------------------


def test_the_best_answer_is_set_against_another_with_scores_and_models():
    (made,) = binarize([row("Hi", 2, 5)])
    assert made == check_preference(made)
    assert made["chosen"] == [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "b says 5, 5"},
    ]
    assert (made["score_chosen"], made["score_rejected"]) == (5.0, 2.0)
    assert (made["chosen_model"], made["rejected_model"]) == ("b", "a")


def test_the_score_decides_what_is_best():
    feedback = [row("Hi", 2, 5, overall=(9, 4))]
    assert [binarize(feedback, score=s).pairs[0]["chosen_model"] for s in ("mean", "overall")] == [
        "b",
        "a",
    ]


def test_lowest_takes_the_worst_and_all_takes_every_other_answer():
    feedback = [row("Hi", 3, 1, 5, 2)]
    assert binarize(feedback, rejected="lowest").pairs[0]["rejected_model"] == "b"
    assert [p["rejected_model"] for p in binarize(feedback, rejected="all")] == ["a", "b", "d"]


def test_random_takes_each_lower_answer_about_equally_often():
    feedback = [row(f"question {n}", 5, 1, 2, 3) for n in range(1500)]
    counts = Counter(p["rejected_model"] for p in binarize(feedback))
    assert set(counts) == {"b", "c", "d"} and all(420 < n < 580 for n in counts.values())


def test_of_several_best_answers_each_is_chosen_about_equally_often():
    counts = Counter(
        p["chosen_model"] for p in binarize([row(f"question {n}", 5, 5, 1) for n in range(1000)])
    )
    assert set(counts) == {"a", "b"} and all(430 < n < 570 for n in counts.values())


def test_dropping_ties_rejects_only_lower_answers_and_keeping_them_rejects_any_other():
    feedback = [row(f"question {n}", 5, 5, 5, 1) for n in range(300)]
    dropped, kept = binarize(feedback, ties="drop"), binarize(feedback, ties="keep")
    assert {p["rejected_model"] for p in dropped} == {"d"} and dropped.left_out == {
        "tied with the chosen answer": 600
    }
    assert 150 < audit(kept).n_ties < 250 and len(kept) == len(dropped) == 300


def test_rows_without_a_pair_are_set_aside_by_reason():
    feedback = [
        row("none"),
        row("one", 4),
        row("unrated", 4, None, None),
        row("tied", 3, 3),
        row("good", 4, 2, None),
    ]
    made = binarize(feedback)
    assert made.reasons() == {
        "fewer_than_two_answers": 2,
        "fewer_than_two_scores": 1,
        "all_tied": 1,
    }
    assert (made.n_rows, made.rows, made.left_out) == (5, [4], {"no score": 1})
    assert (
        made.set_aside[2].record is feedback[2]
        and "row 3: 1 of 3 answers" in made.set_aside[2].detail
    )
    assert made.report().startswith("5 rows in = 1 out + 4 set aside\n  2 x fewer_than_two_answers")
    assert "\n1 pairs\n" in made.report()


def test_repeated_prompts_are_used_and_counted():
    made = binarize([row("Hi", 1, 2), row("Hi", 3, 4)])
    assert (len(made), made.n_repeated) == (2, 1) and "1 rows repeat" in made.report()


def test_of_a_file_with_every_kind_of_bad_row_all_rows_are_accounted_for(tmp_path):
    bad_ratings = row("no numbers", 4, 2)
    for answer in bad_ratings["completions"]:
        answer["annotations"] = {aspect: {"Rating": "N/A", "Rationale": ""} for aspect in ASPECTS}
    no_annotations = row("no annotations", 4, 2)
    del no_annotations["completions"][1]["annotations"]
    rows = [
        row("good", 4, 2), row("good", 1, 5), row("one answer", 3), bad_ratings, no_annotations,
        {"instruction": "no answers"}, row("tied", 3, 3),
    ]  # fmt: skip
    path = tmp_path / "feedback.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in rows) + "{broken\n")
    loaded = load_records(path, "feedback", set_aside=True)
    made = binarize(loaded)
    assert (loaded.n_read, len(loaded), loaded.n_duplicate_ids, made.n_repeated) == (8, 6, 1, 1)
    assert made.reasons() == {
        "fewer_than_two_answers": 1,
        "fewer_than_two_scores": 2,
        "all_tied": 1,
    }
    assert loaded.n_read == len(made) + len(made.set_aside) + len(loaded.set_aside)


def test_a_row_that_is_not_feedback_is_named():
    with pytest.raises(RecordError, match="row 2, field completions"):
        binarize([row("Hi", 1, 2), {"instruction": "Hi"}])
    with pytest.raises(RecordError, match=r"row 1, field completions\[0\]\.response"):
        binarize(
            [
                {
                    "instruction": "Hi",
                    "completions": [{"model": "a", "overall_score": 1.0}, completion(2, 2)],
                }
            ],
            "overall",
        )


@pytest.mark.parametrize("option", ["score", "rejected", "ties", "randomness"])
def test_an_unknown_option_is_refused_with_the_known_ones(option):
    with pytest.raises(HandbookError, match="use one of"):
        binarize([], **{option: "worst"})


@given(
    FEEDBACK,
    st.sampled_from(["random", "lowest", "all"]),
    st.sampled_from(["drop", "keep"]),
    st.randoms(),
)
def test_every_rows_pairs_are_its_own_whatever_the_order_of_the_rows(feedback, rejected, ties, rng):
    shuffled = rng.sample(feedback, len(feedback))
    options = {"rejected": rejected, "ties": ties, "seed": 3}

    def ordered(rows):
        return sorted(map(str, binarize(rows, **options)))

    assert ordered(feedback) == ordered(shuffled)
    assert ordered(feedback) == sorted(str(p) for r in feedback for p in binarize([r], **options))


@given(FEEDBACK, st.sampled_from(["random", "lowest"]), st.sampled_from(["drop", "keep"]))
def test_rows_in_are_pairs_and_rows_set_aside(feedback, rejected, ties):
    made = binarize(feedback, rejected=rejected, ties=ties)
    assert len(feedback) == made.n_rows == len(made.pairs) + len(made.set_aside)
    faults = {fault for p in made for fault in pair_faults(p)}
    assert faults <= ({"tied"} if ties == "keep" else set())


@given(FEEDBACK, st.sampled_from(["drop", "keep"]))
def test_with_all_every_answer_of_a_used_row_is_in_a_pair_or_left_out(feedback, ties):
    made = binarize(feedback, rejected="all", ties=ties)
    answers = sum(len(feedback[n]["completions"]) for n in set(made.rows))
    assert answers == made.n_used + len(made.pairs) + made.left_out.total()


def test_another_seed_draws_other_answers():
    feedback = [row(f"question {n}", 5, 1, 2, 3) for n in range(100)]
    first, again, other = (binarize(feedback, seed=s).pairs for s in (0, 0, 1))
    assert first == again != other


# --- as published ---------------------------------------------------------------------------------


def test_version_one_always_rejected_the_first_answer_or_the_third():
    made = binarize(four_answers(300), **PUBLISHED, randomness="published-v1")
    by_choice = {(p["chosen_model"] == "a", p["rejected_model"]) for p in made}
    assert by_choice == {(False, "a"), (True, "c")}


def test_version_two_draws_on_from_row_to_row_and_chooses_the_first_of_several_best():
    feedback = four_answers(300)
    made = binarize(feedback, **PUBLISHED, randomness="published-v2")
    rng, expected = random.Random(42), []
    for record in feedback:  # the published script's loop in short
        answers = record["completions"]
        best = max(answers, key=lambda a: a["overall_score"])
        drawn = rng.choice(answers)
        while drawn is best:
            drawn = rng.choice(answers)
        expected.append((best["model"], drawn["model"]))
    assert [(p["chosen_model"], p["rejected_model"]) for p in made] == expected
    assert audit(made).n_ties > 10 and set(audit(made).rejected_by_model) == set("abcd")
    assert binarize(feedback[1:], **PUBLISHED, randomness="published-v2").pairs != made.pairs[1:]


def test_the_published_draw_can_drop_its_ties_and_does_not_draw_for_ever_from_equals():
    feedback = four_answers(300)
    kept = binarize(feedback, **PUBLISHED, randomness="published-v2")
    dropped = binarize(feedback, **PUBLISHED | {"ties": "drop"}, randomness="published-v2")
    assert (
        dropped.reasons() == {"tied": audit(kept).n_ties}
        and len(dropped) == 300 - audit(kept).n_ties
    )
    same = row("Hi", 3, 3)
    same["completions"] = [completion(3, 7, response="Hello.")] * 2
    assert binarize([same], **PUBLISHED, randomness="published-v2").reasons() == {"tied": 1}


def test_the_published_draw_has_no_other_way_to_reject():
    with pytest.raises(HandbookError, match="draws at random"):
        binarize([], rejected="all", randomness="published-v2")


# --- real records ---------------------------------------------------------------------------------


@needs("ultrafeedback_schema")
def test_the_published_example_of_feedback_has_one_rated_answer_and_is_set_aside():
    path = REAL / "ultrafeedback_schema" / "openbmb_readme_example.json"
    feedback = load_records(path, "feedback").records
    assert mean_rating(feedback[0]["completions"][0]) is not None
    assert binarize(feedback).reasons() == {"fewer_than_two_scores": 1}
