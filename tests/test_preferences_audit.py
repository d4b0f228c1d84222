"""The audit of preference pairs, and policies side by side: every fault counted, on made-up pairs
and on real ones.
"""

import random

import pytest
from real_records import REAL, needs
from sample_feedback import four_answers, row

from zephyr_utils.data.records import RecordError, load_records
from zephyr_utils.preferences import STRATEGIES, audit, binarize, compare_strategies


def pair(chosen="Yes.", rejected="No.", scores=(8.0, 3.0), prompt="Hi", **more):
    return {
        "prompt": prompt,
        "chosen": chosen,
        "rejected": rejected,
        "score_chosen": scores[0],
        "score_rejected": scores[1],
    } | more


def test_the_audit_counts_each_fault():
    faulty = [pair("Yes.", "No, never.", (5, 5)), pair("Same.", "Same.", (4, 2), "Ho")]
    empty = [
        pair("", "No.", (3, 4), "Hu"),
        pair("Yes.", " ", (9, 4), "Ha"),
        pair("", "", (1, 1), "He"),
    ]
    found = audit([pair(), pair(), *faulty, *empty])
    assert (found.n_pairs, found.n_ties, found.n_reversed, found.n_identical, found.n_empty) == (
        7,
        2,
        1,
        2,
        3,
    )
    assert (found.n_empty_chosen, found.n_empty_rejected) == (2, 2)
    assert (found.n_duplicates, found.n_repeated_prompts) == (1, 2)
    assert found.share_chosen_longer == pytest.approx(
        3 / 7
    ) and found.share_same_length == pytest.approx(2 / 7)
    assert found.mean_length_chosen == pytest.approx((4 * 4 + 5) / 7)
    assert found.scores_chosen == {8: 2, 5: 1, 4: 1, 3: 1, 9: 1, 1: 1}
    assert (
        found.mean_gap == pytest.approx((5 + 5 + 0 + 2 - 1 + 5 + 0) / 7) and found.median_gap == 2
    )


def test_the_faulty_tens_are_found_from_the_aspect_ratings():
    feedback = [
        row("Hi", 1, 5, 3, overall=(10, 9, 10)),
        row("Ho", 5, 1, None, 2, overall=(10, 1, 10, 10)),
    ]
    by_overall = binarize(
        [feedback[0]], score="overall", ties="keep", seed=42, randomness="published-v2"
    )
    assert audit(by_overall, feedback=feedback).tens.__dict__ == {
        "n": 5,
        "n_faulty": 2,
        "n_doubtful": 1,
        "n_chosen": 1,
    }
    assert audit(binarize(feedback), feedback=feedback).tens.n_chosen == 0
    assert audit(by_overall).tens is None
    with pytest.raises(RecordError, match="row 1, field completions"):
        audit([], feedback=[{"instruction": "Hi"}])


def test_the_audit_counts_the_chosen_answers_that_another_score_would_not_choose():
    feedback = [
        row("agree", 5, 1, overall=(9, 2)),
        row("disagree", 5, 1, overall=(3, 8)),
        row("tied overall", 5, 1, overall=(6, 6)),
        row("without grades", 5, 1, overall=("N/A", None)),
    ]
    found = audit(binarize(feedback), feedback=feedback)
    assert found.chosen_not_best == {"mean": (0, 4), "overall": (1, 3)}
    assert "chosen is not the best by overall  1" in str(found)
    assert audit(binarize(feedback)).chosen_not_best == {}
    of_others = audit(
        [pair("never seen", prompt="agree"), pair(prompt="unknown")], feedback=feedback
    )
    assert of_others.chosen_not_best == {"mean": (1, 1), "overall": (1, 1)}


def test_the_length_bias_is_counted_where_lengths_differ():
    same, longer, shorter = pair("Yes.", "Nay."), pair("Yes, sir.", "No."), pair("No.", "Yes, sir.")
    assert audit([same, longer, longer, shorter]).length_bias == pytest.approx(2 / 3)
    assert audit([same]).length_bias == audit([]).length_bias == 0.5


def test_the_audit_prints_as_a_table_and_as_html_in_which_nothing_of_a_model_is_live():
    found = audit([pair(chosen_model="<script>alert(1)</script>", rejected_model="b")])
    assert "ties (equal scores)" in str(found) and "<script>" in str(found)
    assert "<script>" not in found._repr_html_() and "&lt;script&gt;" in found._repr_html_()
    assert found._repr_html_().count("<tr>") == len(found.rows()) + 1


def test_an_empty_set_is_audited_too():
    assert audit([]).n_pairs == 0 and "Audit of 0 preference pairs" in str(audit([]))


def test_a_row_that_is_not_a_preference_is_named():
    with pytest.raises(RecordError, match="pair 2, field score_chosen"):
        audit([pair(), {"prompt": "Hi", "chosen": "a", "rejected": "b", "score_rejected": 1}])


def test_pairs_without_scores_are_audited_for_all_that_needs_none():
    plain = {"prompt": "Hi", "chosen": "Yes, sir.", "rejected": "No."}
    report = audit([plain, plain | {"prompt": "Ho", "rejected": ""}])
    assert (report.n_pairs, report.n_scored, report.n_ties, report.n_reversed) == (2, 0, 0, 0)
    assert report.n_empty_rejected == 1 and report.length_bias == 1.0
    assert "pairs with scores" in str(report) and "mean gap" not in str(report)
    mixed = audit([plain, pair(scores=(5, 5)), pair(scores=(8, 2), prompt="Ha")])
    assert (mixed.n_scored, mixed.n_ties, mixed.mean_gap) == (2, 1, 3.0)
    assert next(row for row in mixed.rows() if row[0].startswith("ties"))[2] == "50.0 %"
    assert "pairs with scores" not in str(audit([pair()]))


def test_nothing_in_an_audit_depends_on_the_order_of_the_pairs():
    rng = random.Random(1)
    pairs = [
        pair("x" * rng.randint(0, 9), "y" * rng.randint(0, 9),
             (rng.random() * 10, rng.random() * 10),
             str(rng.randint(0, 30)), chosen_model=rng.choice("abc"),
             rejected_model=rng.choice("abc"))
        for _ in range(200)
    ]  # fmt: skip
    feedback = four_answers(60)
    for _ in range(5):
        shuffled = rng.sample(pairs, len(pairs))
        assert str(audit(shuffled)) == str(audit(pairs))
        assert audit(shuffled).mean_gap == audit(pairs).mean_gap
        made = binarize(rng.sample(feedback, len(feedback)))
        assert str(audit(made, feedback=rng.sample(feedback, 60))) == str(
            audit(binarize(feedback), feedback=feedback)
        )
        assert binarize(rng.sample(feedback, 60)).report() == binarize(feedback).report()


@pytest.mark.parametrize(
    "name",
    ["\x1b[31mred", "[/x]", "[red]", "a\nb", "\u202egnp", "half \ud83d", "\x00", "$x_1$", "|"],
)
def test_names_of_models_reach_a_terminal_and_a_page_as_plain_text(name):
    rows = [pair(chosen_model=name, rejected_model="b" * 200_000)]
    if name == "half \ud83d":
        with pytest.raises(RecordError, match="surrogate"):
            audit(rows)
        return
    report = audit(rows)
    for shown in (str(report), report._repr_html_()):
        assert "\x1b" not in shown and "\x00" not in shown and "\u202e" not in shown
        assert len(shown) < 6000
    assert str(report).count("\n") == len(report.rows()) + 2
    assert "[red]" in str(audit([pair(chosen_model="[red]", rejected_model="b")]))


def test_of_a_thousand_models_those_with_most_pairs_are_shown():
    pairs = [pair(chosen_model=f"m{n}", rejected_model="most", prompt=str(n)) for n in range(1000)]
    report = audit(pairs)
    shown = [row[0] for row in report.rows() if row[0].startswith("model ")]
    assert len(shown) == 20 and "model most" in shown and "and 981 models more" in str(report)


def test_policies_are_compared_by_the_chosen_answers_that_change():
    feedback = [
        row("Hi", 5, 1, overall=(2, 9)),
        row("Ho", 4, 2, overall=(8, 1)),
        row("Ha", 3, 3, overall=(8, 1)),
    ]
    found = compare_strategies(feedback, {"mean": {}, "overall": {"score": "overall"}})
    assert found.n_pairs == {"mean": 2, "overall": 3} and found.n_set_aside == {
        "mean": 1,
        "overall": 0,
    }
    assert found.changed["mean", "overall"] == found.changed["overall", "mean"] == (1, 2)
    assert "1 (50.0 %)" in str(found) and "1 (50.0 %)" in found._repr_html_()


def test_ways_to_reject_never_change_what_is_chosen():
    found = compare_strategies(four_answers(100), STRATEGIES)
    assert set(found.n_pairs) == set(STRATEGIES) and len(STRATEGIES) == 5
    assert (
        found.changed["mean, random", "mean, lowest"][0]
        == found.changed["mean, random", "mean, all"][0]
        == 0
    )


# --- real records ---------------------------------------------------------------------------------


@needs("ultrafeedback_binarized_sample")
def test_the_audit_of_the_real_pairs_finds_their_ties_and_empty_answers():
    path = REAL / "ultrafeedback_binarized_sample" / "train_clean.shared.jsonl"
    found = audit(load_records(path, "preference"))
    assert (found.n_pairs, found.n_ties, found.n_identical, found.n_empty, found.n_reversed) == (
        800,
        86,
        2,
        2,
        0,
    )
    assert (found.n_empty_chosen, found.n_empty_rejected) == (1, 1)
    assert found.share_chosen_longer == pytest.approx(
        441 / 800
    ) and found.mean_gap == pytest.approx(1.881, abs=1e-3)
