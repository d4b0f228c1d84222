"""The truecaser explorer: messages taken apart in Python, drawn by the script, typed ones through
the kernel.
"""

import random

import pytest
from explorer_scripts import in_node
from truecasing_corpus import message

from zephyr_utils.explorers.common import FOLDER
from zephyr_utils.explorers.truecaser import LONGEST, TruecaserView, look
from zephyr_utils.truecasing import Truecaser

FAULTY = (
    "I think that alice painted a river with bob in may. see `foo.bar` in paris, 🙂 and i like "
    "it. the river is old."
)


@pytest.fixture(scope="module")
def truecaser():
    rng = random.Random(0)
    return Truecaser.fit([message(rng) for _ in range(600)])


@pytest.fixture
def widget(truecaser):
    made = TruecaserView(truecaser, [FAULTY, "The river is old."])
    made.sent = []
    made.send = lambda content, buffers=None: made.sent.append(content)
    return made


VALUES = {
    "examples": [
        {
            "text": "See x.py. <b>rosa</b> knows.",
            "label": "capitalized",
            "parts": [
                {"text": "See ", "was": "See ", "kind": "plain", "why": ""},
                {"text": "x.py", "was": "x.py", "kind": "protected", "why": ""},
                {"text": ". <b>", "was": ". <b>", "kind": "plain", "why": ""},
                {"text": "Rosa", "was": "rosa", "kind": "changed", "why": "a name"},
                {"text": "</b> knows.", "was": "</b> knows.", "kind": "plain", "why": ""},
            ],
        },
        {
            "text": "Fine.",
            "label": "ok",
            "parts": [{"text": "Fine.", "was": "Fine.", "kind": "plain", "why": ""}],
        },
    ]
}


def test_the_pieces_make_up_the_message_before_and_after(truecaser):
    seen = look(truecaser, FAULTY)
    assert "".join(part["was"] for part in seen["parts"]) == FAULTY
    assert "".join(part["text"] for part in seen["parts"]) == truecaser.truecase(FAULTY) != FAULTY


def test_changed_words_are_told_apart_from_protected_code_and_have_a_reason(truecaser):
    seen = look(truecaser, FAULTY)
    changed = {part["was"]: part["why"] for part in seen["parts"] if part["kind"] == "changed"}
    assert seen["label"] == "capitalized"
    assert {"alice", "bob", "paris", "i", "see", "the"} <= set(changed)
    assert "the pronoun" in changed["i"] and "behind the end" in changed["the"]
    assert "with a capital in" in changed["paris"] and "log-odds of a capital +" in changed["paris"]
    assert [part["text"] for part in seen["parts"] if part["kind"] == "protected"] == ["`foo.bar`"]


def test_a_well_cased_message_is_one_plain_piece(truecaser):
    seen = look(truecaser, "The river is old.")
    assert seen["label"] == "ok" and [part["kind"] for part in seen["parts"]] == ["plain"]


def test_a_message_without_a_letter_is_looked_at_all_the_same(truecaser):
    assert look(truecaser, "…")["label"] == "ok"
    assert look(truecaser, "")["parts"] == []


def test_the_kernel_answers_a_greeting_and_a_typed_message_and_cuts_an_endless_one(widget):
    widget._handle_custom_msg({"kind": "hello"}, [])
    widget._handle_custom_msg({"kind": "look", "text": "  "}, [])
    assert widget.sent == [{"kind": "ready"}]
    widget._handle_custom_msg({"kind": "look", "text": "x" * 5000}, [])
    assert len(widget.sent[1]["example"]["text"]) == LONGEST


def test_what_the_script_says_in_words_agrees_with_the_pieces(truecaser):
    seen = look(truecaser, FAULTY)
    said, lines = in_node(
        "truecaser", seen, "result = [script.summary(values), script.changes(values)];"
    )
    assert len(lines) == sum(part["kind"] == "changed" for part in seen["parts"])
    assert said == f"Taken for capitalized. {len(lines)} words change. Protected: “`foo.bar`”."


def test_without_a_kernel_the_box_stays_shut_and_the_messages_can_be_picked():
    body = """
        const el = page();
        script.default.render({ model: makeModel(values), el });
        const first = { changed: el.all(".zx-case-changed").map((e) => e.textContent),
            said: el.all("output")[0].textContent };
        const [select] = el.all("select");
        select.value = "1";
        select.fire("change");
        result = { disabled: el.all("textarea")[0].disabled, first,
            said: el.all("output")[0].textContent,
                   text: el.all("p").map((p) => p.textContent).join(" ") };
    """
    seen = in_node("truecaser", VALUES, body)
    assert seen["disabled"] and "the box needs a kernel" in seen["text"]
    assert seen["first"]["changed"] == ["Rosa", "changed"]  # the word, and the key below
    assert seen["first"]["said"] == "Taken for capitalized. 1 word changes. Protected: “x.py”."
    assert seen["said"] == "Taken for ok. Nothing changes. Nothing needs protection."
    assert "not a byte is touched" in seen["text"]


def test_with_a_kernel_the_box_opens_sends_what_is_typed_and_shows_what_comes_back():
    body = """
        const el = page();
        const model = makeModel(values);
        const stop = script.default.render({ model, el });
        model.hear({ kind: "ready" });
        const [text] = el.all("textarea");
        const opened = !text.disabled;
        text.value = " fine. ";
        el.all("form")[0].fire("submit");
        el.all("form")[0].fire("submit"); // pressed twice: still one message
        model.hear({ kind: "looked", example: values.examples[1] });
        stop();
        result = { opened, sent: model.sent, said: el.all("output")[0].textContent };
    """
    seen = in_node("truecaser", VALUES, body)
    assert seen["opened"] and seen["sent"] == [{"kind": "hello"}, {"kind": "look", "text": "fine."}]
    assert seen["said"].startswith("Taken for ok.")


def test_nothing_is_written_as_html_and_nothing_is_imported():
    script = (FOLDER / "truecaser.js").read_text(encoding="utf-8")
    assert not [
        word for word in ("innerHTML", "insertAdjacent", "import ", "eval(") if word in script
    ]
