"""The browser of pairs: what it stores is what the strategies make, and its script reads, filters
and turns pages alike.
"""

import json
import random

import pytest
from explorer_scripts import in_node

from zephyr_utils.data.records import ASPECTS
from zephyr_utils.explorers.common import FOLDER
from zephyr_utils.explorers.pair_browser import BUDGET, LONGEST_TEXT, PairBrowser
from zephyr_utils.miniature.data import feedback as miniature_feedback
from zephyr_utils.preferences import STRATEGIES, binarize, mean_rating


def answer(model, text, *ratings, overall):
    annotations = {
        aspect: {"Rating": r, "Rationale": ""} for aspect, r in zip(ASPECTS, ratings, strict=True)
    }
    return {
        "model": model,
        "response": text,
        "annotations": annotations,
        "overall_score": overall,
        "critique": "",
    }


def row(prompt, *answers):
    return {
        "source": "",
        "instruction": prompt,
        "models": [a["model"] for a in answers],
        "completions": list(answers),
    }


FEEDBACK = [
    row(
        "What is <b>iron</b>?",
        answer("a", "A metal.", "5", "5", "5", "5", overall=8.0),
        answer("b", "A tree.", "1", "2", "1", "2", overall=10.0),
    ),
    row(
        "Who?",
        answer("a", "Ana.", "4", "4", "4", "4", overall=7.0),
        answer("b", "Ana.", "4", "4", "4", "4", overall=7.0),
    ),
    row(
        "Where?",
        answer("a", "In Rome.", "5", "N/A", "5", "4", overall=9.0),
        answer("b", "Rome.", "3", "3", "3", "3", overall=6.0),
    ),
]


def values_of(widget):
    return {name: widget.get_state()[name] for name in ("strategies", "aspects", "rows")}


@pytest.fixture(scope="module")
def values():
    return values_of(PairBrowser(FEEDBACK))


def test_the_stored_pairs_are_those_that_the_strategies_make():
    feedback = miniature_feedback(150)
    widget = PairBrowser(feedback, shown=range(150))
    for n, (name, options) in enumerate(STRATEGIES.items()):
        assert widget.strategies[n] == name
        stored = {
            (shown["number"], shown["answers"][chosen]["text"], shown["answers"][other]["text"])
            for shown in widget.rows
            if shown["pairs"][n]
            for chosen, others in [shown["pairs"][n]]
            for other in others
        }
        made = binarize(feedback, **options)
        expected = {
            (number, pair["chosen"][-1]["content"], pair["rejected"][-1]["content"])
            for number, pair in zip(made.rows, made.pairs, strict=True)
        }
        assert stored == expected


def test_a_strategy_that_makes_no_pair_of_a_row_stores_none(values):
    assert values["rows"][1]["pairs"][:4] == [None] * 4 and values["rows"][1]["pairs"][4]


def test_rows_are_spread_evenly_and_end_where_the_pages_budget_does():
    many = [{**FEEDBACK[2], "instruction": f"Where is {n}?"} for n in range(300)]
    assert [shown["number"] for shown in PairBrowser(many).rows][:3] == [0, 5, 10]
    long = [
        row(
            f"{n}?",
            *(
                answer(m, m * 5000, "5", "4", "3", str(s), overall=s)
                for m, s in zip("abcd", (4.0, 3.0, 2.0, 1.0), strict=True)
            ),
        )
        for n in range(200)
    ]
    widget = PairBrowser(long, shown=range(200))
    assert 40 < len(widget.rows) < 200 and len(json.dumps(widget.rows)) <= BUDGET
    assert widget.rows[0]["answers"][0]["text"].endswith(
        f"… ({5000 - LONGEST_TEXT} characters more)"
    )


def test_the_script_takes_the_mean_as_python_does():
    rng = random.Random(0)
    ratings = [
        [rng.choice(["1", "2", "3", "4", "5", "N/A", "", "0", "6", "4.5"]) for _ in ASPECTS]
        for _ in range(200)
    ]
    ratings += [["N/A"] * 4, [""] * 4]
    got = in_node("pair_browser", ratings, "result = values.map(script.meanRating);")
    expected = [mean_rating(answer("a", "", *r, overall=1.0)) for r in ratings]
    assert got == pytest.approx(expected) and None in got


def test_filters_find_what_their_words_say(values):
    body = """
        result = Object.fromEntries(Object.keys(script.FILTERS).map((key) =>
          [key, values.rows.filter((row) => script.matches(row, key, ""))
            .map((row) => row.number)]));
    """
    assert in_node("pair_browser", values, body) == {
        "all": [0, 1, 2],
        "disagree": [0],
        "agree": [1, 2],
        "ten": [0],
        "tied": [1],
        "same": [1],
        "none": [1],
    }


def test_a_search_reads_prompts_answers_and_models_in_any_case(values):
    body = """result = ["METAL", " who ", "zebra", "b"].map(
        (word) => values.rows.filter((row) => script.matches(row, "all", word)).length);"""
    assert in_node("pair_browser", values, body) == [1, 1, 0, 3]


def test_what_the_strategies_make_of_a_row_is_said_in_words(values):
    said = in_node(
        "pair_browser",
        values,
        "result = values.rows.map((row) => script.describe(row, values.strategies));",
    )
    assert (
        said[0] == "“mean, random”, “mean, lowest”, “mean, all”: choose A; “overall, random”, “as "
        "published”: choose B."
    )
    assert said[2] == "All 5 strategies choose A."
    assert "make no pair" in said[1]


def test_pages_turn_by_button_and_by_arrow_keys_and_stop_at_the_ends(values):
    body = """
        const el = page();
        script.default.render({ model: makeModel(values), el });
        const [box] = el.all(".zx");
        const [search] = el.all("input");
        const [previous, next] = el.all("button");
        const place = () => el.all("span")[0].textContent;
        const seen = [place()];
        previous.fire("click"); seen.push(place());
        next.fire("click"); seen.push(place());
        box.fire("keydown", { key: "ArrowRight", target: next }); seen.push(place());
        box.fire("keydown", { key: "ArrowRight", target: next }); seen.push(place());
        box.fire("keydown", { key: "ArrowLeft", target: search }); seen.push(place());
        box.fire("keydown", { key: "ArrowLeft", target: next }); seen.push(place());
        result = { seen, ends: [previous, next].map((b) => b.attributes["aria-disabled"]) };
    """
    seen = in_node("pair_browser", values, body)
    assert [int(text.split()[1]) for text in seen["seen"]] == [1, 1, 2, 3, 3, 3, 2]
    assert seen["ends"] == ["false", "false"]


def test_a_filter_and_a_search_show_what_fits_and_say_when_nothing_does(values):
    body = """
        const el = page();
        script.default.render({ model: makeModel(values), el });
        const [search] = el.all("input");
        const [filter] = el.all("select");
        search.value = "";
        filter.value = "ten";
        filter.fire("change");
        const text = el.textContent;
        search.value = "zebra";
        search.fire("input");
        result = { text, nothing: el.all("output")[0].textContent,
            left: el.all(".zx-answer").length,
                   labels: el.all("label").map((l) => l.textContent.split(" ")[0]) };
    """
    seen = in_node("pair_browser", values, body)
    assert (
        "Prompt 1 of 1 (row 0 of the feedback)" in seen["text"]
        and "What is <b>iron</b>?" in seen["text"]
    )
    assert "overall grade 10 – a faulty ten" in seen["text"] and "Mean 1.50" in seen["text"]
    assert seen["nothing"] == "No prompt fits." and seen["left"] == 0
    assert [
        label.startswith(word)
        for label, word in zip(seen["labels"], ("Show", "Search"), strict=True)
    ] == [True, True]


def test_nothing_is_written_as_html_and_nothing_is_imported():
    script = (FOLDER / "pair_browser.js").read_text(encoding="utf-8")
    assert not [
        word for word in ("innerHTML", "insertAdjacent", "import ", "eval(") if word in script
    ]
