"""The published figures that we print beside ours."""

import pytest

from zephyr_utils.errors import HandbookError
from zephyr_utils.evaluation import ACADEMIC_TASKS
from zephyr_utils.published import published_names, published_table


def row(table, **wanted):
    (found,) = [
        r
        for r in published_table(table).rows
        if all(r[key] == value for key, value in wanted.items())
    ]
    return found


def test_every_table_names_its_source_and_has_one_set_of_columns_or_says_what_is_missing():
    for name in published_names():
        table = published_table(name)
        assert table.title and table.source and table.note and table.rows, name
    for name in ("table_1", "table_2", "table_3"):
        assert len({tuple(r) for r in published_table(name).rows}) == 1, name


def test_the_papers_headline_figures_are_there():
    zephyr = row("table_1", model="Zephyr-7B-β")
    assert (zephyr["mt_bench"], zephyr["alpaca_eval"], zephyr["alpaca_eval_error"]) == (
        7.34,
        90.60,
        1.03,
    )
    assert row("table_1", model="Xwin-LM v0.1", size="70B")["mt_bench"] is None
    assert row("table_3", setting="dDPO + dSFT")["mt_bench"] == 7.00
    assert [len(published_table(f"table_{i}").rows) for i in (1, 2, 3)] == [15, 11, 4]


def test_the_academic_tasks_carry_the_figures_of_their_tables():
    zephyr = row("table_2", model="Zephyr-7B-β")
    by_task = {task.task: task.zephyr for task in ACADEMIC_TASKS[:4]}
    assert by_task == {
        "arc_challenge": zephyr["arc"],
        "hellaswag": zephyr["hellaswag"],
        "mmlu": zephyr["mmlu"],
        "truthfulqa_mc2": zephyr["truthfulqa"],
    }
    concepts = [r["accuracy"] for r in published_table("med_concepts_qa").rows[:2]]
    assert concepts == [task.zephyr for task in ACADEMIC_TASKS[4:]]


def test_an_unknown_table_lists_the_known_ones():
    with pytest.raises(HandbookError, match="table_1, table_2, table_3"):
        published_table("table_9")
