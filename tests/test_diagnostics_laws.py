"""Laws of reading and judging logs over made-up rows: an answer or an error in plain words, the
same in every layout, every row counted, and never green over what is not a number.

A longer run: make fuzz
"""

import json
import math
import time
import warnings
from functools import cache

import pytest
import training_logs as logs
from hypothesis import assume
from hypothesis import strategies as st
from laws import law

from zephyr_utils.diagnostics import read_training_log, traffic_light
from zephyr_utils.diagnostics.event_files import read_event_rows
from zephyr_utils.diagnostics.log_order import in_order
from zephyr_utils.errors import HandbookError

NAMES = [
    *("loss", "eval_loss", "rewards/chosen", "eval_rewards/chosen", "rewards/rejected"),
    *("eval_rewards/rejected", "rewards/margins", "eval_rewards/margins", "eval_logps/chosen"),
    *("rewards/accuracies", "eval_rewards/accuracies", "logps/rejected", "eval_logps/rejected"),
    *("train/loss", "eval/rewards/margins", "Validation Loss", "step", "_step", "epoch", "kl"),
    *("grad_norm", "learning_rate", "train_runtime", "current_steps", "total_steps", "accuracy"),
    *("global_step/max_steps", "run - train/loss", "run - train/loss__MIN", "logits/chosen", ""),
]
NUMBERS = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.integers(-(10**400), 10**400),
    st.sampled_from([0, 0.0, 1, math.log(2), -1e-3, 0.5, 1e300, -(10**309)]),
)
VALUES = st.one_of(
    NUMBERS,
    st.none(),
    st.booleans(),
    st.sampled_from(["", "No log", "-", "nan", "-inf", "1e999", "31/94", "a/b", "0,69", "null"]),
    st.text(max_size=6),
    st.lists(st.none(), max_size=2),
)
ROWS = st.lists(st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=12), max_size=12)


@st.composite
def numeric_rows(draw):
    """Rows of numbers alone, with gaps: each cell is one of a few numbers, chosen by a byte, since
    drawing a number for every cell takes twenty times as long as judging the rows.
    """
    names = draw(st.lists(st.sampled_from(NAMES), min_size=4, max_size=18, unique=True))
    numbers = draw(st.lists(NUMBERS, min_size=1, max_size=12))
    cells = draw(st.binary(min_size=2 * len(names), max_size=12 * len(names)))
    rows = [cells[i : i + len(names)] for i in range(0, len(cells), len(names))]
    return [
        {name: numbers[cell % len(numbers)] for name, cell in zip(names, row, strict=False) if cell}
        for row in rows
    ]


NUMERIC_ROWS = numeric_rows()


def judge(source):
    """The verdict as text, or the error; a warning of NumPy's is a failure."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            log = read_training_log(source)
            return log, str(traffic_light(log))
        except HandbookError as error:
            str(error).encode("utf-8")  # no lone surrogate reaches the terminal
            return None, str(error)


@law(st.one_of(ROWS, NUMERIC_ROWS))
def test_any_rows_get_a_verdict_or_an_error_and_every_row_is_counted(rows):
    log, text = judge(rows)
    assert text
    if log is not None:
        known = log.n_superseded + log.n_other + log.n_summaries + log.n_unreadable
        sizes = [
            max((c.size for c in part.values()), default=0)
            for part in (log.training, log.evaluation)
        ]
        assert max(sizes) <= log.n_rows == len(rows)
        assert sum(sizes) + known >= log.n_rows  # a card's row has cells of both kinds


@pytest.mark.parametrize("n_nulls", [1, 3])
@pytest.mark.parametrize(("null", "other"), [("eval_loss", "loss"), ("loss", "eval_loss")])
def test_rows_of_a_kind_that_hold_nothing_but_nulls_are_counted_and_named(null, other, n_nulls):
    log = read_training_log([{null: None}] * n_nulls + [{other: 0.5}])
    assert (log.n_rows, log.n_other, log.n_superseded) == (n_nulls + 1, n_nulls, 0)
    assert "null in every row" in log.not_finite[0]


@law(rows=st.one_of(ROWS, NUMERIC_ROWS), share=0.3, folder=True)
def test_json_and_json_lines_say_the_same(folder, rows):
    assume(len(rows) > 1)
    try:
        text = json.dumps(rows)
    except ValueError:  # Python writes no integers beyond 4,300 digits
        return
    (folder / "made.json").write_text(text)
    (folder / "made.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    verdicts = [judge(folder / name)[1] for name in ("made.json", "made.jsonl")]
    assert verdicts[0] == verdicts[1].replace("made.jsonl", "made.json")


@cache
def healthy(loss):
    return logs.dpo(loss, n=6)


@law(data=st.data())
def test_no_log_is_green_whose_loss_reward_or_log_probability_is_not_a_number_after_all(data):
    rows = [dict(row) for row in healthy(data.draw(st.sampled_from(sorted(logs.DPO_LOSSES))))]
    row = data.draw(st.sampled_from([row for row in rows[:-1] if row["step"] > 1]))
    name = data.draw(
        st.sampled_from([n for n in row if "rewards" in n or "logps" in n or "loss" in n])
    )
    row[name] = data.draw(st.sampled_from([None, math.nan, math.inf, "NaN", "", 10**400, "null"]))
    assert judge(rows)[1].startswith("RED")


@law(data=st.data())
def test_a_log_with_rows_taken_out_of_its_middle_is_never_green(data):
    rows = logs.dpo(n=12)
    first = data.draw(st.integers(2, 5))
    kept = [row for row in rows if not 10 * first < row["step"] < 10 * (first + 5)]
    assert judge(kept)[1].startswith("AMBER")


@law(st.binary(max_size=400))
def test_any_bytes_are_event_rows_or_damage(data):
    events = read_event_rows(data)
    assert events.rows or events.damage or not data


@law(
    data=st.binary(max_size=300),
    name=st.sampled_from(
        [
            "a.csv",
            "a.jsonl",
            "a.json",
            "a.md",
            "a.tsv.gz",
            "a.jsonl.gz",
            "a.parquet",
            "x.tfevents.1",
        ]
    ),
    share=0.3,
    folder=True,
)
def test_any_bytes_in_any_kind_of_file_are_a_verdict_or_an_error(folder, data, name):
    path = folder / name
    path.write_bytes(data)
    assert judge(path)[1]


def test_a_log_that_goes_backwards_row_by_row_takes_time_with_its_length():
    def seconds(n):
        rows = [(float(step), {}) for step in (*range(n), *range(n, 0, -1))]
        start = time.process_time()
        assert len(in_order(rows, "training")[0]) == 2
        return time.process_time() - start

    assert min(seconds(32_000) for _ in range(3)) < 10 * min(seconds(8_000) for _ in range(3))


@pytest.mark.parametrize("n_rows", [20_000])
def test_long_logs_are_read_in_linear_time(n_rows):
    rows = [
        {"step": i, "loss": 0.5, "rewards/margins": 0.1, "epoch": float(i)} for i in range(n_rows)
    ]
    log = read_training_log(rows)
    assert log.training["loss"].size == n_rows
    assert "loss" in str(traffic_light(log))
