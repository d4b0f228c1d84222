"""What a chapter says of the study over replications, whatever the study found, and without it."""

import json

import pytest

from zephyr_utils.ablations.methods.claims import METHOD_CLAIMS
from zephyr_utils.ablations.outcomes import GRADE, LETTERS, RIGHT
from zephyr_utils.ablations.results import Committed, committed
from zephyr_utils.errors import HandbookError
from zephyr_utils.lessons.replications import (
    NOTHING_YET,
    family_results,
    family_table,
    one_seed_beside,
    study_frontier,
    unanimity,
)
from zephyr_utils.rewards import best_of_n_kl

QUESTIONS = 40
ROWS = ("offline", "iterative", "sppo", "selm")


def exam(grades, right):
    """Of one turn: `grades` in half points, the first `right` of them right."""
    letters = [LETTERS[round(2 * (grade - 1))] for grade in grades]
    turn = "".join(one.upper() if place < right else one for place, one in enumerate(letters))
    return {"exam": {"score": sum(grades) / len(grades), "right": right / len(grades),
                     "tokens": 12.0, "questions": [turn]}}  # fmt: skip


def shifted(by, right=20):
    """An exam that lies `by` half points per question above grade 5, on average."""
    raised = round(abs(by) * QUESTIONS * 2)
    step = 0.5 if by > 0 else -0.5
    return exam([5 + step * (place < raised) for place in range(QUESTIONS)], right)


# seed -> rows: iterative beats offline in each replication while fewer answers are right, SPPO is
# as good as iterative, SELM swings
STUDY = {
    seed: {
        "offline": shifted(-0.2 - 0.01 * seed, right=30),
        "iterative": shifted(0.2),
        "sppo": shifted(0.2 + (0.025 if seed % 2 else -0.025)),
        "selm": exam([5.0] * QUESTIONS if seed % 2 else [6.5] * 20 + [5.0] * 20, 20),
    }
    for seed in range(8)
}


def known(measured=STUDY, **more):
    return Committed(measured, "a machine", **more)


def again(measured=STUDY):
    return family_results("sampling again", known(measured))


def test_each_verdict_chooses_its_sentence():
    results = again()
    verdicts = [(one.verdict, one.verdict_on(RIGHT)) for one in results.findings]
    assert verdicts == [
        ("holds", "does not hold"), ("equivalent", "equivalent"), ("undecided", "equivalent"),
    ]  # fmt: skip
    keys = [one.claim.key for one in results.findings]
    text = one_seed_beside(results, dict(zip(keys, (0.11, 0.12, 0.13), strict=True)))
    first, blank, *lines, _, last = text.splitlines()
    assert blank == "" and len(lines) == 3 and last.startswith("A single replication")
    assert first.startswith(
        "In 1 of 3. Of 3 claims over 8 replications 1 holds, 1 is equivalent to no difference, "
        "1 is undecided,"
    )
    assert "By right answers 1 does not hold, 2 are equivalent" in first
    assert "right answers fall: three rounds of iterative DPO beat as many" in first
    assert "8 of 8 are above zero. This chapter: +0.11, of the same sign." in lines[0]
    assert "This chapter: +0.12, within the margin of 0.3, too." in lines[1]
    assert (
        "4 of 8 are above zero. This chapter: +0.13, which settles nothing: 8 replications"
        in lines[2]
    )


def test_a_chapter_whose_number_speaks_against_the_replications_says_so():
    lines = one_seed_beside(
        again(), {"iterative_beats_offline": -0.1, "sppo_beats_iterative": -0.4}
    ).splitlines()[2:]
    assert "This chapter: −0.10, not of that sign" in lines[0]
    assert "This chapter: −0.40, outside the margin of 0.3" in lines[1]
    assert "This chapter" not in lines[2]


def test_a_claim_that_does_not_hold_agrees_with_a_chapter_below_zero():
    turned = {
        seed: rows | {"iterative": rows["offline"], "offline": rows["iterative"]}
        for seed, rows in STUDY.items()
    }
    results = again(turned)
    assert results.findings[0].verdict == "does not hold"
    text = one_seed_beside(results, {"iterative_beats_offline": -0.1})
    assert "0 of 8 are above zero. This chapter: −0.10, of the same sign." in text


def test_the_table_has_both_outcomes_and_names_what_is_missing_and_what_has_changed():
    some = {seed: {name: rows[name] for name in ROWS[:3]} for seed, rows in STUDY.items()}
    results = family_results("sampling again", known(some, changed=("world", "settings")))
    table, missing, changed = family_table(results).split("\n\n")
    assert len(table.splitlines()) == 2 + 2
    assert table.splitlines()[2].count("does not hold") == table.splitlines()[2].count("holds") == 1
    assert missing == ("Not measured: SELM's exploration term beats iterative DPO without it.")
    assert changed.startswith("Measured before the last change of: world, settings.")


def test_accuracies_of_reward_models_have_three_digits():
    measured = {
        seed: {
            "reward": {"accuracy": 0.8 + 0.001 * seed},
            "reward_scaled": {"accuracy": 0.812 + 0.002 * seed},
        }
        for seed in range(4)
    }
    results = family_results("reward models", known(measured))
    assert [one.claim.key for one in results.findings] == ["scaled_ranks_better"]
    text = one_seed_beside(results, {"scaled_ranks_better": 0.0})
    assert "from +0.012 to +0.015; 4 of 4" in text and "This chapter: +0.000, not of that" in text
    assert "By right answers" not in text


def test_replications_agree_on_the_sign_in_all_half_or_fewer_of_the_claims():
    assert unanimity(again()) == 0  # one of three
    assert unanimity(again({s: {n: r[n] for n in ROWS[:3]} for s, r in STUDY.items()})) == 1
    assert unanimity(again({s: {n: r[n] for n in ROWS[:2]} for s, r in STUDY.items()})) == 2


def test_without_results_a_chapter_says_so_and_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("zephyr_utils.ablations.results.__file__", str(tmp_path / "a" / "b.py"))
    results = family_results("comparisons")
    assert results.findings == () and len(results.missing) == 8
    assert family_table(results) == one_seed_beside(results, {"expo_adds": 0.1}) == NOTHING_YET
    assert unanimity(results) is None


def test_the_results_are_those_of_the_checkout(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "benchmarks" / "results" / "methods.json"
    path.parent.mkdir(parents=True)
    stamp = {"cpu": "a processor", "torch": "2", "trl": "1"}
    path.write_text(json.dumps({"format": 2, "stamp": stamp, "provenance": {}, "measured": STUDY}))
    read = committed("methods.json", lambda: {"world": "x"})
    assert family_results("sampling again", read).replications == 8
    assert "change of: world" in family_table(family_results("sampling again", read))


def test_names_of_no_family_and_of_no_claim_are_refused():
    with pytest.raises(HandbookError, match=r"family `rewards`.*\n?.*reward models"):
        family_results("rewards", known())
    with pytest.raises(HandbookError, match="no claim has the key sppo"):
        one_seed_beside(again(), {"sppo": 0.1})


def test_every_claim_of_the_methods_is_about_a_difference_from_zero():
    assert {claim.against for claim in METHOD_CLAIMS} == {0.0}
    assert {claim.primary for claim in METHOD_CLAIMS} == {GRADE}


def test_the_frontier_has_each_methods_mean_and_best_of_n_where_theory_puts_it():
    grades = {0: (4.0, 1.0), 1: (6.0, 3.0)}
    measured = {
        seed: {
            "selm": exam([grade] * QUESTIONS, 10) | {"kl": kl},
            "best_of_8": exam([grade + 1] * QUESTIONS, 30),
            "reward": {"accuracy": 0.8},
        }
        for seed, (grade, kl) in grades.items()
    }
    points = study_frontier(known(measured))
    assert points == {
        "SELM, 3 rounds": {"kl": 2.0, "grade": 5.0, "right": 0.25},
        "best of 8 of dSFT": {"kl": best_of_n_kl(8), "grade": 6.0, "right": 0.75},
    }
    assert study_frontier(known({})) == {}
