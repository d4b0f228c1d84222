"""The margins explorer: its numbers are those of the rewards module, and filter, order and reading
do what they say.
"""

import json
import math

import numpy as np
import pytest
from explorer_scripts import in_node

from zephyr_utils.diagnostics import reward_margins
from zephyr_utils.errors import HandbookError
from zephyr_utils.explorers.reward_margins import (
    FILTERS,
    LONGEST_TEXT,
    MOST_PAIRS,
    SETTLED,
    Margins,
    picked,
)


def some(n=12, seed=0):
    """Pairs and rewards of a make-believe run: most learned, some fallen, a few large."""
    rng = np.random.default_rng(seed)
    reference = rng.normal(-40, 5, size=(2, n))
    policy = reference + np.array([[-4.0], [-16.0]]) + rng.normal(0, 12, size=(2, n))
    pairs = [
        {
            "prompt": f"Question {i}?",
            "chosen": [
                {"role": "user", "content": f"Question {i}?"},
                {"role": "assistant", "content": f"<b>yes</b> {i}"},
            ],
            "rejected": [
                {"role": "user", "content": f"Question {i}?"},
                {"role": "assistant", "content": f"no {i}"},
            ],
            "score_chosen": 5.0 - 0.1 * (i % 3),
            "score_rejected": 2.0 + 0.2 * (i % 4),
        }
        for i in range(n)
    ]
    return pairs, reward_margins(policy[0], policy[1], reference[0], reference[1], beta=0.1)


def values_of(widget):
    names = ("pairs", "total", "show", "order", "group", "selected", "filters", "orders", "settled")
    return {name: getattr(widget, name) for name in names}


def test_the_script_computes_margin_loss_and_weight_as_the_objectives_do():
    margins = [-800.0, -3.0, -1e-9, 0.0, 0.4, 2.2, 40.0, 800.0]
    found = in_node(
        "reward_margins",
        margins,
        "result = values.map((m) => [script.margin({ r_chosen: m, r_rejected: 0 }), "
        "script.loss(m), script.weight(m)]);",
    )
    for m, (margin, loss, weight) in zip(margins, found, strict=True):
        assert margin == m
        assert loss == pytest.approx(np.logaddexp(0, -m), abs=1e-12)
        assert weight == pytest.approx(math.exp(-np.logaddexp(0, m)), abs=1e-12)


def test_a_settled_pair_pulls_with_a_tenth():
    assert 1 / (1 + math.exp(SETTLED)) == pytest.approx(0.1, abs=0.001)


@pytest.mark.parametrize("show", FILTERS)
def test_a_filter_keeps_the_pairs_that_it_names(show):
    pairs, rewards = some(60)
    data = values_of(Margins(pairs, rewards))
    kept = in_node(
        "reward_margins",
        data | {"wanted": show},
        "result = script.chosenPairs(values.pairs, { show: values.wanted, group: '', order: "
        "'margin', search: '', "
        "settled: values.settled }).map((pair) => pair.number);",
    )
    m, chosen = rewards.margins, rewards.chosen
    wanted = {
        "all": m == m,
        "learned": m > 0,
        "not": m <= 0,
        "large": m > SETTLED,
        "fallen": (m > 0) & (chosen < 0),
    }[show]
    assert 0 < wanted.sum() <= 60
    assert set(kept) == set(np.flatnonzero(wanted).tolist())
    assert np.all(np.diff(m[kept]) >= 0)


@pytest.mark.parametrize("order", ["margin", "margin_down", "chosen", "gap"])
def test_an_order_sorts_by_what_it_names_and_pairs_without_scores_come_last(order):
    pairs, rewards = some(30)
    del pairs[4]["score_chosen"]
    data = values_of(Margins(pairs, rewards)) | {"wanted": order}
    kept = in_node(
        "reward_margins",
        data,
        "result = script.chosenPairs(values.pairs, { show: 'all', group: '', order: values.wanted, "
        "search: '', "
        "settled: 2.2 }).map((pair) => pair.number);",
    )
    gaps = [
        p["score_chosen"] - p["score_rejected"] if "score_chosen" in p else math.inf for p in pairs
    ]
    key = {
        "margin": rewards.margins,
        "margin_down": -rewards.margins,
        "chosen": rewards.chosen,
        "gap": np.array(gaps),
    }[order]
    assert len(kept) == 30 and np.all(key[kept][1:] - key[kept][:-1] >= -1e-3)
    assert order != "gap" or kept[-1] == 4


def test_a_search_finds_words_in_question_and_answers_and_a_group_its_own():
    pairs, rewards = some(20)
    data = values_of(
        Margins(pairs, rewards, groups=["odd" if i % 2 else "even" for i in range(20)])
    )
    found = in_node(
        "reward_margins",
        data,
        "const look = (search, group) => script.chosenPairs(values.pairs, { show: 'all', group, "
        "order: 'margin', search, "
        "settled: 2.2 }).map((pair) => pair.number).sort((a, b) => a - b);"
        "result = [look(' QUESTION 7? ', ''), look('yes', 'odd'), look('no 4', 'odd'), look('', "
        "'even')];",
    )
    assert found == [[7], list(range(1, 20, 2)), [], list(range(0, 20, 2))]


def test_the_words_say_how_many_are_learned_and_their_mean():
    pairs, rewards = some(40)
    widget = Margins(pairs, rewards)
    text = in_node(
        "reward_margins",
        values_of(widget),
        "result = script.summary(values.pairs, values.pairs, values.total);",
    )
    right = int((rewards.margins > 0).sum())
    mean = f"{rewards.margins.mean():.2f}".replace("-", "\u2212")
    assert (
        text == f"40 of 40 pairs: {right} learned ({100 * right / 40:.0f} %), mean margin {mean}."
    )
    assert in_node(
        "reward_margins", values_of(widget), "result = script.summary([], values.pairs, 40);"
    ).startswith("No pair")


def test_the_page_shows_a_table_a_mark_a_pair_and_reads_what_is_pressed():
    pairs, rewards = some(12)
    data = values_of(Margins(pairs, rewards, notes=[f"note {i}" for i in range(12)]))
    seen = in_node(
        "reward_margins",
        data,
        """
        const model = makeModel(values), el = page();
        const stop = script.default.render({ model, el });
        const rows = () => el.all("tbody")[0].all("button");
        const first = rows().map((b) => b.textContent);
        rows()[0].fire("click");
        const pressed = rows().map((b) => b.attributes["aria-pressed"]);
        const text = el.textContent;
        const marks = el.all("svg")[0].all("circle").length + el.all("svg")[0].all("path").length;
        const next = el.all("button").find((b) => b.textContent === "Next rows");
        next.fire("click");
        const second = rows().map((b) => b.textContent);
        const [show] = el.all("select");
        show.value = "not";
        show.fire("change");
        const last = el.all("output")[0].textContent;
        stop();
        result = { first, pressed, text, marks, second, disabled: next.disabled, last,
            selected: values.selected,
                   left: model.listening() };
        """,
    )
    order = np.argsort(rewards.margins)
    assert seen["first"] == [str(i) for i in order[:8]]
    assert seen["second"] == [str(i) for i in order[8:]]
    assert seen["pressed"] == ["true"] + ["false"] * 7 and seen["selected"] == order[0]
    assert f"<b>yes</b> {order[0]}" in seen["text"] and f"note {order[0]}" in seen["text"]
    assert seen["marks"] == 12 + 1  # and the ring around the pair that is read
    assert seen["last"].endswith("0 learned (0 %), mean margin " + seen["last"].rsplit(" ", 1)[1])
    assert seen["left"] == 0, "listeners stay behind when the view goes"


def test_no_more_than_200_pairs_are_embedded_evenly_spaced_with_both_ends():
    pairs, rewards = some(1000)
    widget = Margins(pairs, rewards)
    numbers = [row["number"] for row in widget.pairs]
    assert len(numbers) == MOST_PAIRS and numbers == sorted(numbers) and widget.total == 1000
    kept = rewards.margins[numbers]
    assert kept.min() == rewards.margins.min() and kept.max() == rewards.margins.max()
    assert np.mean(kept > 0) == pytest.approx(rewards.accuracy.estimate, abs=1.5 / MOST_PAIRS)
    assert picked([0.5, -1.0, 2.0]) == [0, 1, 2]


def test_long_texts_are_cut_so_that_the_page_stays_small():
    pairs, rewards = some(300)
    for pair in pairs:
        pair["chosen"][-1]["content"] = "word " * 4000
    widget = Margins(pairs, rewards)
    kept = ("word " * 4000)[:LONGEST_TEXT]
    assert {row["chosen"] for row in widget.pairs} == {f"{kept} … (19600 characters more)"}
    assert len(json.dumps(values_of(widget))) < 300_000


def test_columns_of_another_length_are_an_error():
    pairs, rewards = some(5)
    with pytest.raises(HandbookError, match="5 pairs, but 4 groups"):
        Margins(pairs, rewards, groups=["a"] * 4)
    with pytest.raises(HandbookError, match="4 pairs, but 5 rewards"):
        Margins(pairs[:4], rewards)
