"""What may be said of a number: intervals over two levels, power, Holm's correction, verdicts."""

import numpy as np
import pytest

from zephyr_utils.ablations import reasons, verdicts
from zephyr_utils.ablations.outcomes import (
    GRADE,
    RIGHT,
    by_question,
    decode_turns,
    encode_turns,
    find_exam,
    paired_values,
)
from zephyr_utils.ablations.statistics import holm_corrected, measure_effect
from zephyr_utils.ablations.tables import findings_table, in_words
from zephyr_utils.ablations.verdicts import Claim, judge_together, verdict_of
from zephyr_utils.errors import HandbookError
from zephyr_utils.evaluation import seeds_interval

# --- one number -----------------------------------------------------------------------------------


def replications(mean, between, within, count=10, questions=640, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(mean + between * rng.normal(), within, questions) for _ in range(count)]


def test_the_interval_is_never_narrower_than_students_over_replications():
    values = replications(0.5, between=0.2, within=0.1)
    found = measure_effect(values)
    student = seeds_interval([one.mean() for one in values])
    interval = found.interval()
    assert interval.low <= student.low and interval.high >= student.high
    assert interval.estimate == pytest.approx(np.mean(values))


def test_the_noise_of_the_questions_counts_where_replications_happen_to_agree():
    # Equal means by luck: Student's interval is a point, and the questions say how uncertain it is.
    values = [one - one.mean() + 0.5 for one in replications(0.5, between=0, within=2.0)]
    assert seeds_interval([one.mean() for one in values]).high == pytest.approx(0.5)
    error = 2.0 / np.sqrt(10 * 640)
    assert measure_effect(values).standard_error == pytest.approx(error, rel=0.1)


def test_the_noise_of_questions_that_all_replications_share_does_not_average_out():
    rng = np.random.default_rng(1)
    hard = rng.random(80)  # a question is as hard in each replication
    values = [(rng.random(80) > hard).astype(float) for _ in range(4)]
    apart, shared = measure_effect(values), measure_effect(values, same_questions=True)
    true = np.sqrt(1 / 12 / 80 + 1 / 6 / 320)  # of the questions' difficulty, and of the answers
    assert true < shared.draws.std() < 1.5 * true
    assert apart.draws.std() < 0.8 * shared.draws.std() and shared.estimate == apart.estimate
    with pytest.raises(HandbookError, match="different numbers of questions"):
        measure_effect([[1.0, 0.0], [1.0]], same_questions=True)


def test_the_intervals_hold_the_truth_as_often_as_they_say():
    held = [
        not measure_effect(replications(0.3, 0.1, 1.0, questions=60, seed=seed))
        .interval()
        .excludes(0.3)
        for seed in range(200)
    ]
    assert np.mean(held) >= 0.93


def test_p_values_agree_with_the_intervals():
    found = measure_effect(replications(0.08, between=0.1, within=0.5))
    p_value = found.p_differs()
    assert 0.001 < p_value < 0.9
    assert not found.interval(1 - 0.9 * p_value).excludes(0)
    assert found.interval(1 - 1.1 * p_value).excludes(0)


def test_what_lies_within_the_margin_is_told_by_the_interval_at_90_percent():
    found = measure_effect(replications(0.05, between=0.1, within=0.5))
    interval = found.interval(0.9)
    edge = max(-interval.low, interval.high)
    assert found.p_within(edge * 1.02) < 0.05 < found.p_within(edge * 0.98)


def test_a_difference_of_2_80_standard_errors_is_found_in_four_runs_of_five():
    error = 0.1
    shift = 2.8016 * error
    rng = np.random.default_rng(1)
    found = np.abs(rng.normal(shift, error, 20_000)) > 1.96 * error
    assert np.mean(found) == pytest.approx(0.8, abs=0.01)
    values = replications(0, between=0.3, within=0.1)
    effect = measure_effect(values)
    assert effect.detectable == pytest.approx(2.8016 * effect.standard_error, rel=1e-3)


def test_the_same_values_give_the_same_interval():
    values = replications(0.1, 0.1, 1.0)
    assert measure_effect(values).interval() == measure_effect(values).interval()


@pytest.mark.parametrize("values", [[[1.0]], [[1.0], []], [[1.0], [float("nan")]]])
def test_one_replication_or_one_without_values_is_refused(values):
    with pytest.raises(HandbookError, match="replications"):
        measure_effect(values)


def test_holm_multiplies_the_smallest_by_their_number_and_keeps_the_order():
    assert holm_corrected([0.02, 0.01, 0.5]) == pytest.approx([0.04, 0.03, 0.5])
    # 0.03 times 2 is less than 0.025 times 3: a larger p-value never comes out smaller
    assert holm_corrected([0.025, 0.03, 0.04]) == pytest.approx([0.075, 0.075, 0.075])
    assert holm_corrected([]) == []


# --- two outcomes by question ---------------------------------------------------------------------


def judgments(grades):
    return [
        {"question_id": number, "turn": turn, "score": grade}
        for turn, row in enumerate(grades, start=1)
        for number, grade in enumerate(row)
    ]


def test_grades_and_right_answers_come_back_as_they_were_written():
    written = encode_turns(judgments([[1, 2.0, 10], [7.5, -1, 4]]), [0, 1, 2], right_from=4.0)
    assert written == ["acS", "N.G"]
    grades, right = decode_turns(written)
    assert np.array_equal(grades, [[1, 2, 10], [7.5, np.nan, 4]], equal_nan=True)
    assert np.array_equal(right, [[0, 0, 1], [1, np.nan, 1]], equal_nan=True)


def test_questions_stand_in_the_exams_order_whatever_the_judgments_order():
    rows = judgments([[1, 5, 9]])
    assert encode_turns(rows[::-1], [2, 0, 1], right_from=None) == ["qai"]


def test_an_outcome_is_the_mean_of_a_questions_turns():
    exam = {"score": 5.0, "right": 0.5, "questions": ["aS.", "cS."]}
    assert np.array_equal(by_question(exam, GRADE), [1.5, 10, np.nan], equal_nan=True)
    assert np.array_equal(by_question(exam, RIGHT), [0, 1, np.nan], equal_nan=True)
    assert by_question({"score": 5.0}, GRADE) == [5.0]
    with pytest.raises(KeyError):
        by_question({"score": 5.0}, RIGHT)


def test_differences_are_taken_on_the_questions_that_both_have():
    rows = {"a": {"exam": exam_of("cc.")}, "b": {"exam": exam_of("a.a")}}
    assert paired_values(rows, "a", "b", GRADE) == pytest.approx([1.0])


def test_an_exam_may_be_one_of_an_epoch():
    rows = {"a": {"exam": {"score": 3}, "epochs": [{"score": 1}, {"score": 2}, {"score": 3}]}}
    assert find_exam(rows, "a@2") == {"score": 2} and find_exam(rows, "a") == {"score": 3}


# --- verdicts -------------------------------------------------------------------------------------


def exam_of(*turns):
    grades, right = decode_turns(turns)
    return {
        "score": float(np.nanmean(grades)),
        "right": float(np.nanmean(right)),
        "tokens": 10.0,
        "questions": list(turns),
    }


def effect_around(mean, spread=0.02):
    return measure_effect([[mean - spread], [mean + spread], [mean - spread], [mean + spread]])


@pytest.mark.parametrize(
    ("mean", "p_corrected", "expected", "margin", "verdict"),
    [
        (0.5, 0.01, "above", 0.3, "holds"),
        (0.5, 0.01, "below", 0.3, "does not hold"),
        (-0.5, 0.01, "above", 0.3, "does not hold"),
        (-0.5, 0.01, "below", 0.3, "holds"),
        # one of many: its own interval leaves out 0, the corrected p-value does not stand
        (0.5, 0.06, "above", 0.3, "undecided"),
        (0.1, 0.06, "above", 0.3, "equivalent"),
        (0.1, 0.01, "above", 0.3, "holds"),
        (0.1, 0.06, "above", None, "undecided"),
        (0.1, 0.06, "no gain", 0.3, "holds"),
        (0.1, 0.01, "no gain", 0.3, "holds"),
        (-0.5, 0.01, "no gain", 0.3, "holds"),
        (0.5, 0.01, "no gain", 0.3, "does not hold"),
        (0.5, 0.06, "no gain", 0.3, "undecided"),
    ],
)
def test_a_verdict_follows_the_protocol(mean, p_corrected, expected, margin, verdict):
    claim = Claim("key", "a beats b", "", "family", "a", "b", expected)
    assert verdict_of(effect_around(mean), p_corrected, claim, margin) == verdict


@pytest.mark.parametrize(("mean", "said"), [(0.1, True), (0.5, False)])
def test_a_certain_difference_within_the_margin_is_said_to_be_small(mean, said):
    claim = Claim("key", "a beats b", "", "family", "a", "b")
    effect = effect_around(mean)
    small = verdicts.is_small(effect, claim, 0.3)
    finding = verdicts.Finding(effect, 0.01, "holds", small=small)
    words = in_words(verdicts.ClaimResult(claim, {GRADE: finding}), GRADE)
    assert words.startswith("**holds**, within the margin: +0.10" if said else "**holds**: +0.50")


def world(**shifts):
    """Ten replications of two rows of 40 questions; a shift moves grades by half points."""
    rng = np.random.default_rng(0)
    measured = {}
    for seed in range(10):
        rows = {}
        base = rng.integers(2, 10, 40)
        for name, shift in {"b": 0, **shifts}.items():
            letters = [chr(97 + grade + shift + rng.integers(0, 2)) for grade in base]
            rows[name] = {"exam": exam_of("".join(letters))}
        measured[seed] = rows
    return measured


def test_claims_of_a_family_are_corrected_together_and_others_are_not():
    claims = [Claim(name, name, "", "one", name, "b") for name in "acd"]
    alone = [Claim("e", "e", "", "two", "a", "b")]
    found = judge_together([*claims, *alone], world(a=1, c=0, d=0), reasons.explain)
    first, other = found[0].findings[GRADE], found[3].findings[GRADE]
    assert first.effect.p_differs() == other.effect.p_differs() == other.p_corrected
    assert first.p_corrected == pytest.approx(3 * other.p_corrected)
    assert found[0].verdict == "holds" and found[1].verdict == "equivalent"
    assert found[0].findings[GRADE].effect.estimate == pytest.approx(0.5, abs=0.1)


def test_a_replication_without_the_row_is_left_out_and_one_is_not_a_measurement():
    measured = world(a=2)
    for seed in range(1, 10):
        del measured[seed]["a"]
    claim = Claim("a", "a beats b", "", "one", "a", "b")
    found = judge_together([claim], measured, reasons.explain)[0]
    assert found.verdict == "not measured" and found.replications == 0
    measured[1]["a"] = measured[0]["a"]
    assert judge_together([claim], measured, reasons.explain)[0].replications == 2
    assert "not measured" in findings_table([found])


def test_a_replication_of_which_no_question_was_graded_in_both_exams_is_left_out():
    whole, first_half, second_half = exam_of("cCe"), exam_of("a.."), exam_of(".bb")
    measured = {
        0: {"a": {"exam": whole}, "b": {"exam": first_half}},
        1: {"a": {"exam": whole}, "b": {"exam": second_half}},
        2: {"a": {"exam": first_half}, "b": {"exam": second_half}},
        3: {"a": {"exam": whole}, "b": {"exam": whole | {"questions": ["..."]}}},
    }
    found = judge_together([Claim("a", "a", "", "one", "a", "b")], measured, reasons.explain)[0]
    assert found.replications == 2
    assert found.findings[GRADE].effect.per_replication == pytest.approx((1.0, 1.0))
    ungraded = {3: measured[3]}
    assert reasons.in_parts("a", "b", ungraded) == ""


def test_a_difference_comes_in_two_parts_that_add_up():
    # twice as many right answers, each graded as before: all of it is content
    content = {0: {"a": {"exam": exam_of("SSaa")}, "b": {"exam": exam_of("Saaa")}}}
    assert reasons.in_parts("a", "b", content).startswith("+2.25 of the grade by")
    # as many right answers, each graded higher: all of it is manner
    manner = {0: {"a": {"exam": exam_of("Saaa")}, "b": {"exam": exam_of("Kaaa")}}}
    assert reasons.in_parts("a", "b", manner).startswith("+0.00 of the grade by")
    assert "+1.00 by other grades" in reasons.in_parts("a", "b", manner)


@pytest.mark.parametrize(
    ("ours", "theirs", "content", "manner"),
    [
        # 0 to 1/2 right; wrong answers stay at grade 1, and right ones have no other grade than 10
        ("SSaa", "aaaa", "+4.50", "+0.00"),
        ("SSSS", "aaaa", "+9.00", "+0.00"),
        # no right answer on either side: all is manner
        ("cccc", "aaaa", "+0.00", "+1.00"),
    ],
)
def test_a_model_without_right_answers_takes_the_other_models_grade_for_them(
    ours, theirs, content, manner
):
    measured = {0: {"a": {"exam": exam_of(ours)}, "b": {"exam": exam_of(theirs)}}}
    assert reasons.in_parts("a", "b", measured) == (
        f"{content} of the grade by more or fewer right answers, "
        f"{manner} by other grades for right and for wrong ones"
    )


def test_a_judge_that_knows_no_right_answers_gives_no_parts():
    exams = {name: {"exam": {"score": 5.0, "questions": [letters]}} for name, letters in
             {"a": "cccc", "b": "aaaa"}.items()}  # fmt: skip
    assert reasons.in_parts("a", "b", {0: exams}) == ""


def test_a_reason_is_measured_or_marked_as_a_conjecture():
    told = Claim("a", "a beats b", "", "one", "a", "b", why={"holds": "it is obvious"})
    with pytest.raises(ValueError, match="neither measured nor marked"):
        reasons.explain(told, "holds", world(a=1))
    marked = Claim("a", "a beats b", "", "one", "a", "b", why={"holds": "conjecture: it is small"})
    assert reasons.explain(marked, "holds", world(a=1)) == "conjecture: it is small"


def test_every_reason_of_the_claims_is_measured_or_marked():
    from zephyr_utils.ablations.claims import CLAIMS

    for claim in CLAIMS:
        for reason in claim.why.values():
            assert callable(reason) or reason.startswith(verdicts.CONJECTURE)
