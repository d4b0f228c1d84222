"""The map of mean rating and overall grade: what it stores, what it says, how one walks on it."""

import json

import pytest
from explorer_scripts import in_node

from zephyr_utils.data.records import ASPECTS
from zephyr_utils.errors import HandbookError
from zephyr_utils.explorers.common import FOLDER
from zephyr_utils.explorers.feedback_browser import BUDGET, FeedbackBrowser, contradiction
from zephyr_utils.miniature.data import feedback as miniature_feedback
from zephyr_utils.preferences import mean_rating, overall_rating


def answer(text, ratings, overall):
    annotations = {a: {"Rating": r, "Rationale": ""} for a, r in zip(ASPECTS, ratings, strict=True)}
    return {
        "model": "m",
        "response": text,
        "annotations": annotations,
        "overall_score": overall,
        "critique": "Hm.",
    }


FEEDBACK = [
    {
        "instruction": "What is <b>iron</b>?",
        "completions": [answer("A metal.", "5555", 9.0), answer("A metal!", "5555", 9.0)],
    },
    {
        "instruction": "Who?",
        "completions": [
            answer("A tree.", "1212", 10.0),
            answer("Nobody.", ["N/A"] * 4, 3.0),
            answer("I.", "3333", None),
        ],
    },
]


def values_of(widget):
    return {name: widget.get_state()[name] for name in ("cells", "aspects", "left_out")}


def test_every_answer_with_both_scores_is_on_the_map_and_the_others_are_counted():
    feedback = miniature_feedback(400)
    widget = FeedbackBrowser(feedback)
    assert sum(cell["count"] for cell in widget.cells) == 1600 and widget.left_out == 0
    assert len(json.dumps(widget.cells)) < 1.1 * BUDGET
    tens = sum(
        overall_rating(c) == 10 and mean_rating(c) <= 2
        for row in feedback
        for c in row["completions"]
    )
    assert (
        sum(c["count"] for c in widget.cells if c["overall"] == 10 and c["mean"] <= 2) == tens > 0
    )
    gaps = [contradiction(cell["mean"], cell["overall"]) for cell in widget.cells]
    assert gaps == sorted(gaps, reverse=True) and widget.cells[0]["samples"]
    small = FeedbackBrowser(FEEDBACK)
    assert small.left_out == 2 and [cell["count"] for cell in small.cells] == [1, 2]


def test_feedback_without_both_scores_is_said_to_have_none():
    with pytest.raises(HandbookError, match="no answer has both"):
        FeedbackBrowser([{"instruction": "a", "completions": [answer("b", ["N/A"] * 4, 5.0)]}])


def test_the_script_measures_a_contradiction_as_python_does():
    points = [{"mean": 1 + n / 4, "overall": float(o)} for n in range(17) for o in range(1, 11)]
    got = in_node("feedback_browser", points, "result = values.map(script.contradiction);")
    assert got == pytest.approx([contradiction(**point) for point in points])


def test_one_walks_by_sliders_by_clicks_and_to_the_contradictions():
    values = values_of(FeedbackBrowser(FEEDBACK))
    body = """
        const el = page();
        script.default.render({ model: makeModel(values), el });
        const [mean, overall] = el.all("input");
        const [button] = el.all("button");
        const said = () => el.all("output")[0].textContent;
        const seen = [said()];
        button.fire("click"); seen.push(said());
        const text = el.textContent;
        mean.value = "3"; mean.fire("input"); seen.push(said());
        el.all("circle")[1].fire("click"); seen.push(said());
        result = { seen, text, values: [mean.value, overall.value],
            live: el.all("output")[0].attributes["aria-live"] };
    """
    got = in_node("feedback_browser", values, body)
    first, contradicts, empty, again = got["seen"]
    assert first == again and first.startswith(
        "2 of 3 answers have mean rating 5.00 and overall grade 9."
    )
    assert (
        "mean rating 1.50 and overall grade 10" in contradicts and "7.9 points apart" in contradicts
    )
    assert empty == "No answer has mean rating 3.00 and overall grade 10."
    assert "A tree." in got["text"] and "2 answers lack one of the two scores" in got["text"]
    assert got["values"] == [5, 9] and got["live"] == "polite"


def test_nothing_is_written_as_html_and_nothing_is_imported():
    script = (FOLDER / "feedback_browser.js").read_text(encoding="utf-8")
    assert not [
        word for word in ("innerHTML", "insertAdjacent", "import ", "eval(") if word in script
    ]
