"""Answers side by side: what is asked beforehand, the text box that opens for a kernel alone, and
what the two exchange.
"""

import json

import pytest
from explorer_scripts import in_node

from zephyr_utils import miniature
from zephyr_utils.explorers.answers import LONGEST_QUESTION, Answers
from zephyr_utils.explorers.common import FOLDER
from zephyr_utils.miniature.teacher import grade_turn

BASE = str(miniature.BASE_FOLDER)
QUESTIONS = ["What are the capitals of France and Spain?", "What is <b>love</b>?"]


@pytest.fixture(scope="module")
def widget():
    made = Answers(
        {"base": BASE, "again": BASE},
        QUESTIONS,
        lambda q, a: grade_turn([q], [a], 1),
        max_new_tokens=8,
    )
    made.sent = []
    made.send = lambda content, buffers=None: made.sent.append(content)
    return made


@pytest.fixture
def sent(widget):
    widget.sent.clear()
    return widget.sent


VALUES = {
    "models": ["base", "dSFT"],
    "exchanges": [
        {
            "question": "Q1",
            "answers": [
                {
                    "text": "<b>no</b>",
                    "ended": False,
                    "tokens": 8,
                    "score": 1.0,
                    "reason": "Off the question.",
                },
                {"text": "yes", "ended": True, "tokens": 2, "score": None, "reason": ""},
            ],
        },
        {
            "question": "Q2",
            "answers": [
                {"text": "", "ended": True, "tokens": 1, "score": None, "reason": ""},
                {"text": "no", "ended": True, "tokens": 2, "score": 7, "reason": "Right."},
            ],
        },
    ],
}


def test_each_question_has_an_answer_of_each_model_and_the_same_model_gives_the_same(widget):
    assert [exchange["question"] for exchange in widget.exchanges] == QUESTIONS
    for exchange in widget.exchanges:
        first, second = exchange["answers"]
        assert first == second and first["tokens"] <= 8


def test_a_question_outside_the_judges_world_has_no_grade(widget):
    known, unknown = widget.exchanges
    assert known["answers"][0]["score"] >= 1 and known["answers"][0]["reason"]
    assert (unknown["answers"][0]["score"], unknown["answers"][0]["reason"]) == (None, "")


def test_what_is_stored_for_the_page_holds_no_path_of_this_machine(widget):
    assert BASE not in json.dumps(
        {name: widget.get_state()[name] for name in ("models", "exchanges")}
    )


def test_the_kernel_answers_a_greeting_so_that_the_box_may_open(widget, sent):
    widget._handle_custom_msg({"kind": "hello"}, [])
    assert sent == [{"kind": "ready"}]


def test_a_typed_question_is_answered_by_every_model(widget, sent):
    widget._handle_custom_msg({"kind": "ask", "question": "  What is the capital of Spain? "}, [])
    [message] = sent
    assert (
        message["kind"] == "answered"
        and message["exchange"]["question"] == "What is the capital of Spain?"
    )
    assert len(message["exchange"]["answers"]) == 2


def test_an_empty_question_is_not_asked_and_an_endless_one_is_cut(widget, sent):
    widget._handle_custom_msg({"kind": "ask", "question": "  "}, [])
    assert sent == []
    widget._handle_custom_msg({"kind": "ask", "question": "x" * 10_000}, [])
    assert len(sent[0]["exchange"]["question"]) == LONGEST_QUESTION


def test_an_error_that_the_reader_can_fix_is_sent_in_words(sent, widget, monkeypatch):
    monkeypatch.setitem(widget._directories, "again", "nowhere-at-all")
    widget._handle_custom_msg({"kind": "ask", "question": "Hi"}, [])
    assert sent[0]["kind"] == "error" and "there is no such directory" in sent[0]["text"]


def test_without_a_kernel_the_box_stays_shut_and_says_why():
    body = """
        const el = page();
        script.default.render({ model: makeModel(values), el });
        const [input] = el.all("input");
        const [select] = el.all("select");
        const first = el.all(".zx-text").map((e) => e.textContent);
        select.value = "1";
        select.fire("change");
        result = { disabled: input.disabled, state: el.all("p").map((p) => p.textContent).join(" "),
            first,
                   second: el.all(".zx-text").map((e) => e.textContent),
            said: el.all("output")[0].textContent };
    """
    seen = in_node("answers", VALUES, body)
    assert seen["disabled"] and "the box needs a kernel" in seen["state"]
    assert seen["first"] == ["<b>no</b>", "yes"] and seen["second"] == ["(nothing)", "no"]
    assert seen["said"] == "Asked “Q2”: base ended by itself; dSFT ended by itself, grade 7 of 10."


def test_with_a_kernel_the_box_opens_sends_what_is_typed_and_shows_what_comes_back():
    body = """
        const el = page();
        const model = makeModel(values);
        const stop = script.default.render({ model, el });
        model.hear({ kind: "ready" });
        const [input] = el.all("input");
        const opened = !input.disabled;
        input.value = " Why? ";
        el.all("form")[0].fire("submit");
        el.all("form")[0].fire("submit"); // pressed twice: still one question
        model.hear({ kind: "answered",
            exchange: { question: "Why?", answers: values.exchanges[0].answers } });
        const said = el.all("output")[0].textContent;
        model.hear({ kind: "error", text: "too long" });
        stop();
        result = { opened, sent: model.sent, said,
            state: el.all("p").map((p) => p.textContent).join(" ") };
    """
    seen = in_node("answers", VALUES, body)
    assert seen["opened"]
    assert seen["sent"] == [{"kind": "hello"}, {"kind": "ask", "question": "Why?"}]
    assert seen["said"].startswith("Asked “Why?”: base did not end, grade 1 of 10;")
    assert "too long" in seen["state"]


def test_nothing_is_written_as_html_and_nothing_is_imported():
    script = (FOLDER / "answers.js").read_text(encoding="utf-8")
    assert not [
        word for word in ("innerHTML", "insertAdjacent", "import ", "eval(") if word in script
    ]
