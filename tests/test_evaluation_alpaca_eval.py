"""AlpacaEval: every published rate we hold the records of, the codings of both versions, and bad
records.
"""

import csv
import warnings

import numpy as np
import pytest
from real_records import REAL, needs

from zephyr_utils.evaluation import (
    EvaluationError,
    EvaluationWarning,
    alpaca_eval_win_rate,
    length_controlled_win_rate,
    load_rows,
    shared_annotations,
    win_rate_by_length,
    win_rate_difference,
)

RECORDS = REAL / "alpaca_eval_ccbync"
AE2 = "ae2_weighted_gpt4_turbo_slim"
BOARDS = {
    "ae1_leaderboard.shared.csv": "ae1_alpaca_eval_gpt4_slim",
    "ae2_leaderboard.shared.csv": AE2,
    "ae2_leaderboard_llm-extrapolation.shared.csv": f"{AE2}_llm-extrapolation",
}


def annotations(*preferences, **fields):
    return [{"index": i, "preference": p, **fields} for i, p in enumerate(preferences)]


def quietly(*args, **keywords):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EvaluationWarning)
        return alpaca_eval_win_rate(*args, **keywords)


@needs("alpaca_eval_ccbync")
@pytest.mark.parametrize("board", BOARDS)
def test_every_published_rate_comes_out_of_the_raw_annotations(board):
    with (RECORDS / board).open(encoding="utf-8") as file:
        published = list(csv.DictReader(file))
    for row in published:
        found = quietly(load_rows(RECORDS / BOARDS[board] / f"{row['']}.jsonl"))
        assert found.win_rate == pytest.approx(float(row["win_rate"]), abs=1e-9), row[""]
        assert found.standard_error == pytest.approx(float(row["standard_error"]), abs=1e-9), row[
            ""
        ]
        counts = (found.n_wins, found.n_losses, found.n_draws, found.n_scored)
        assert counts == tuple(
            int(row[name]) for name in ("n_wins", "n_wins_base", "n_draws", "n_total")
        ), row[""]


@needs("alpaca_eval_ccbync")
def test_zephyrs_rate_is_the_one_in_table_1_and_its_failures_are_named():
    rows = load_rows(RECORDS / BOARDS["ae1_leaderboard.shared.csv"] / "zephyr-7b-beta.jsonl")
    with pytest.warns(
        EvaluationWarning, match="2 of 805 annotations are left out: 2 x preference is null"
    ):
        found = alpaca_eval_win_rate(rows)
    assert (round(found.win_rate, 2), round(found.standard_error, 2)) == (90.60, 1.03)
    assert (found.n_wins, found.n_losses, found.n_draws, found.n_missing) == (727, 75, 1, 2)
    assert found.average_length == 1444


@needs("alpaca_eval_ccbync")
def test_whole_records_with_texts_give_the_same_as_their_slim_form():
    whole = load_rows(RECORDS / "ae1_full_every4th" / "zephyr-7b-beta.annotations.json")
    slim = {
        r["index"]: r
        for r in load_rows(RECORDS / "ae1_alpaca_eval_gpt4_slim" / "zephyr-7b-beta.jsonl")
    }
    ours, theirs = (
        quietly(whole, model="zephyr-7b-beta"),
        quietly([slim[row["index"]] for row in whole]),
    )
    assert (ours.win_rate, ours.average_length) == (theirs.win_rate, theirs.average_length)


@needs("alpaca_eval_ccbync")
def test_no_two_of_the_real_models_are_taken_for_copies_but_a_copy_is():
    folder = RECORDS / "ae1_alpaca_eval_gpt4_slim"
    models = {path.stem: load_rows(path) for path in sorted(folder.glob("*.jsonl"))}
    assert shared_annotations(models) == []
    with pytest.warns(EvaluationWarning, match="copy"):
        assert shared_annotations(models | {"copy": models["claude-2"]}) == [("claude-2", "copy")]


def test_version_1_scores_draws_of_both_codings_and_leaves_failures_out():
    with pytest.warns(EvaluationWarning, match="1 x preference is null"):
        found = alpaca_eval_win_rate(annotations(1, 2, 2.0, 0, 1.5, None), allow_failures=True)
    assert found.win_rate == pytest.approx(60)
    assert found.standard_error == pytest.approx(
        100 * np.std([0, 1, 1, 0.5, 0.5], ddof=1) / np.sqrt(5)
    )
    assert (found.n_wins, found.n_losses, found.n_draws, found.n_missing) == (2, 1, 2, 1)


def test_version_2_scores_continuous_preferences_and_tells_silent_draws_from_real_ones():
    rows = [
        {"index": 0, "preference": 1.25, "token": "m"},
        {"index": 1, "preference": 1.75, "token": "M"},
        {"index": 2, "preference": 1.5, "token": None},
        {"index": 3, "preference": 1.5, "token": "M"},
    ]
    found = alpaca_eval_win_rate(rows, allow_failures=True)
    assert (found.win_rate, found.n_wins, found.n_losses, found.n_draws) == (50, 1, 1, 2)
    assert (found.n_missing, found.n_missing_as_draw) == (0, 1)


def test_rows_that_cannot_be_scored_are_named_and_counted():
    rows = annotations(2, 1, float("nan"), 7, "2", True, None)
    rows.append({"index": 99})
    with pytest.warns(EvaluationWarning) as caught:
        found = alpaca_eval_win_rate(rows, allow_failures=True)
    assert found.n_wins + found.n_losses + found.n_draws + found.n_missing == len(rows)
    assert (found.win_rate, found.n_missing) == (50, 6)
    assert found.missing == {
        "preference is NaN": 1,
        "preference 7 is outside 1 to 2": 1,
        "preference is not a finite number": 2,
        "preference is null": 1,
        "no preference field": 1,
    }
    assert "6 of 8 annotations are left out" in str(caught[0].message)


@pytest.mark.parametrize("rows", [[], annotations(None, None), [{"index": 1}]])
def test_nothing_to_score_is_an_error(rows):
    with pytest.raises(ValueError):
        alpaca_eval_win_rate(rows)


def test_a_row_that_is_not_a_record_is_named():
    with pytest.raises(EvaluationError, match="annotation 2: is float"):
        alpaca_eval_win_rate([{"preference": 1}, 2.0])


NULL = "preference is null"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (annotations(*[2] * 20, *[1] * 7, *[None] * 3), f"3 x {NULL}"),  # exactly a tenth
        (annotations(*[2] * 200, *[None] * 20), f"20 x {NULL}"),
    ],
)
def test_up_to_a_tenth_of_the_annotations_may_have_failed(rows, message):
    with pytest.warns(EvaluationWarning, match=message):
        assert alpaca_eval_win_rate(rows).n_missing in (3, 20)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (annotations(*[2] * 8, *[1] * 4, *[None] * 18), f"18 of 30 failed.*18 x {NULL}"),
        (annotations(*[2] * 20, *[1] * 6, *[None] * 4), "4 of 30 failed, more than a tenth"),
        (annotations(*[2, 1] * 10, *["m"] * 5), "5 of 25 failed.*not a finite number"),
        (annotations(*[2, 1] * 10, *[5, -3, 3.5]), "3 of 23 failed.*outside 1 to 2"),
        (annotations(*[2, 1] * 10) + [{"index": 90 + n} for n in range(3)], "3 x no preference"),
        (  # version 2 keeps a silent judge as a draw
            annotations(*[1.9] * 20, token="M") + annotations(*[1.5] * 3, token=None),
            "3 of 23 failed.*kept as a draw",
        ),
        (
            annotations(*[1.9] * 9) + annotations(None, 1.5, raw_completion=None),
            "2 of 11 failed",
        ),
    ],
)
def test_more_than_a_tenth_of_failed_annotations_is_refused_as_for_grades(rows, message):
    with pytest.raises(EvaluationError, match=message):
        alpaca_eval_win_rate(rows)
    assert quietly(rows, allow_failures=True).n_scored > 0


@pytest.mark.parametrize(
    "preferences",
    [
        [0, 1] * 5,
        [1] * 19 + [0],  # nearly all won: read as AlpacaEval's, it would be a rate of 2.5
        [0.0] * 6,
        [-1, 1, 1, 1],
        [0.93, 1.0, 0.2, 0.0],
        [0, 1, None, 1],
    ],
)
def test_a_scale_that_ends_at_1_is_refused(preferences):
    for score in (alpaca_eval_win_rate, length_controlled_win_rate, shared_once):
        with pytest.raises(EvaluationError, match=r"looks like a scale (that ends at |from -)1"):
            score(annotations(*preferences))


def shared_once(rows):
    return win_rate_difference(rows, annotations(1, 2, 1, 2))


@pytest.mark.parametrize(
    ("preferences", "rate"), [([1, 1, 1], 0), ([1, 1.5, 1], 100 / 6), ([0, 2, 1], 50)]
)
def test_losses_and_draws_in_alpaca_evals_coding_are_scored(preferences, rate):
    assert quietly(annotations(*preferences)).win_rate == pytest.approx(rate)


def test_many_draws_stored_as_zero_are_pointed_out():
    with pytest.warns(EvaluationWarning, match="4 of 10 preferences are 0.*from 0 to 2"):
        alpaca_eval_win_rate(annotations(*[0] * 4, *[1, 2] * 3))


def swap(row):
    turned = row | {"generator_1": row["generator_2"], "generator_2": row["generator_1"]}
    return turned | {"preference": 3 - row["preference"]}


@pytest.mark.parametrize("turned", [1, 5, 9])
def test_annotations_in_both_orders_are_refused(turned):
    rows = annotations(*[2] * 10, generator_1="base", generator_2="mine")
    mixed = [swap(row) for row in rows[:turned]] + rows[turned:]
    for score in (alpaca_eval_win_rate, length_controlled_win_rate, win_rate_by_length):
        with pytest.raises(EvaluationError, match=f"base is output 1 in {10 - turned} of them"):
            score(mixed)
    with pytest.raises(EvaluationError, match="does not always mean one model"):
        win_rate_difference(rows, mixed)


def test_one_order_of_the_other_kind_is_scored_and_named():
    rows = [swap(row) for row in annotations(*[2] * 4, generator_1="base", generator_2="mine")]
    with pytest.warns(EvaluationWarning, match="they judge 'base', not 'mine'"):
        assert alpaca_eval_win_rate(rows, "mine").win_rate == 0
    # A model that is compared with itself has no order.
    same = annotations(1, 2, generator_1="m", generator_2="m")
    assert quietly(same).win_rate == 50


def test_rates_and_differences_do_not_depend_on_the_order_of_the_rows():
    rng = np.random.default_rng(11)
    rows = annotations(*(1 + rng.random(60)).tolist(), generator_2="m")
    rows += annotations(*(1 + rng.random(20)).tolist())  # repeated instructions
    rows += [{"index": 900 + n, "preference": bad} for n, bad in enumerate([7, None, "x", 7])]
    other = annotations(*(1 + rng.random(60)).tolist())
    turned = [rows[i] for i in rng.permutation(len(rows))]
    assert quietly(turned) == quietly(rows)
    assert win_rate_difference(turned, other[::-1]) == win_rate_difference(rows, other)


@pytest.mark.parametrize(
    "value",
    [10**400, -(10**309), float("inf"), [2], {"a": 1}, "2" * 5000, 10**4299, True],
)
def test_values_that_are_not_numbers_are_counted_whatever_they_are(value):
    rows = annotations(*[2, 1] * 10, value)
    rows[3] |= {"len_output_2": value, "index": value, "generator_2": value, "annotator": value}
    found = quietly(rows)
    assert (found.n_missing, found.n_scored, found.win_rate) == (1, 20, 50)
    assert found.average_length is None
    difference = win_rate_difference(rows, rows)
    assert (difference.mean, difference.n) == (0, 20)


def test_duplicates_are_found():
    with pytest.warns(EvaluationWarning, match="2 annotations repeat an instruction"):
        found = alpaca_eval_win_rate(annotations(1, 2) + annotations(1, 2))
    assert (found.n_duplicates, found.n_scored) == (2, 4)
    by_text = [
        {"instruction": "Say hello.", "preference": 2},
        {"instruction": "Say hello.", "preference": 1},
    ]
    assert quietly(by_text).n_duplicates == 1


def test_annotations_of_another_model_or_of_several_are_found():
    with pytest.warns(EvaluationWarning, match="judge 'phi', not 'zephyr'"):
        alpaca_eval_win_rate(annotations(1, 2, generator_2="phi"), model="zephyr")
    mixed = [
        *annotations(1, 2, generator_2="phi"),
        {"index": 5, "preference": 2, "generator_2": "zephyr"},
    ]
    with pytest.warns(EvaluationWarning, match="several models: phi"):
        alpaca_eval_win_rate(mixed)


def test_sound_records_give_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error", EvaluationWarning)
        found = alpaca_eval_win_rate(annotations(1, 2, generator_2="zephyr"), model="zephyr")
    assert found.warnings == ()


def test_a_few_reannotated_rows_do_not_hide_a_copy_and_constant_ones_are_none():
    rng = np.random.default_rng(0)
    original = annotations(*rng.choice([1.0, 2.0], size=100).tolist())
    copy = [dict(row) for row in original]
    copy[3]["preference"] = 3 - copy[3]["preference"]
    with pytest.warns(EvaluationWarning, match=r"99.0% of the rows are equal"):
        assert shared_annotations({"a": original, "b": copy}) == [("a", "b")]
    assert shared_annotations({"a": annotations(*[2] * 50), "b": annotations(*[2] * 50)}) == []


def test_two_models_are_paired_by_instruction():
    first, second = annotations(2, 2, 2, 1), annotations(1, 1, 2, 1)[::-1]
    found = win_rate_difference(first, second)
    assert (found.mean, found.n) == (50, 4)
    with pytest.warns(EvaluationWarning, match="1 instructions were scored for one of the two"):
        assert win_rate_difference(first, second[1:]).n == 3
    with pytest.raises(EvaluationError, match="no common instruction"):
        win_rate_difference(first, [{"index": 77, "preference": 1}])
