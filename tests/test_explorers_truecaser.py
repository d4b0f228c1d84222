"""The truecaser explorer: messages taken apart in Python, and the reader's own in the browser,
where every fault is a sentence.
"""

import base64
import random

import pytest
from explorer_scripts import in_node
from truecasing_corpus import message

from zephyr_utils.explorers.casing import pack_truecaser
from zephyr_utils.explorers.common import script
from zephyr_utils.explorers.truecaser import TruecaserView, look
from zephyr_utils.truecasing import Truecaser

FAULTY = (
    "I think that alice painted a river with bob in may. see `foo.bar` in paris, 🙂 and i like "
    "it. the river is old."
)


@pytest.fixture(scope="module")
def truecaser():
    rng = random.Random(0)
    return Truecaser.fit([message(rng) for _ in range(600)])


@pytest.fixture(scope="module")
def widget(truecaser):
    return TruecaserView(truecaser, [FAULTY, "The river is old."])


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


def test_a_text_with_carriage_returns_has_the_same_reasons_and_keeps_them(truecaser):
    text = "see `a. b`.\nthe river in paris is old. i like it."
    plain, returns = (look(truecaser, written) for written in (text, text.replace("\n", "\r\n")))
    assert [part["why"] for part in returns["parts"]] == [part["why"] for part in plain["parts"]]
    assert "".join(part["was"] for part in returns["parts"]) == text.replace("\n", "\r\n")
    assert [part["kind"] for part in returns["parts"]].count("changed") > 2


def test_the_widget_carries_the_truecaser_and_says_where_the_website_has_it(widget, truecaser):
    packed = pack_truecaser(truecaser)
    assert widget.payload == packed.payload
    assert widget.file == {
        "address": f"_static/truecaser/truecaser-{packed.sha256[:16]}.bin",
        "size": len(packed.payload),
        "sha256": packed.sha256,
    }


# --- the script -----------------------------------------------------------------------------------


def test_what_the_script_says_in_words_agrees_with_the_pieces(truecaser):
    seen = look(truecaser, FAULTY)
    said, lines = in_node(
        "truecaser", seen, "result = [script.summary(values), script.changes(values)];"
    )
    assert len(lines) == sum(part["kind"] == "changed" for part in seen["parts"])
    assert said == f"Taken for capitalized. {len(lines)} words change. Protected: “`foo.bar`”."


# A page whose server has the truecaser's file, or has what a test puts in its place.
SITE = """
    const fetched = [];
    const file = Buffer.from(values.packed, "base64");
    let served = () => new Response(file);
    globalThis.fetch = async (url) => (fetched.push(String(url)), served());
    document.baseURI = "http://site/notebooks/01_truecasing.html";
    document.documentElement = { dataset: { content_root: "../" } };
    const el = page();
    const open = (more = {}) =>
        script.default.render({ model: makeModel({ ...values, ...more }), el });
    const said = () => el.all("output")[0].textContent;
    const status = () => el.all("p").find((p) => p.attributes.role === "status").textContent;
    const load = () => el.all("button")[0].fire("click");
    const until = async (words) => {
        for (let n = 0; n < 2000 && !status().includes(words); n++)
            await new Promise((give) => setTimeout(give, 5));
        return status();
    };
    const type = async (text, words) => {
        el.all("textarea")[0].value = text;
        el.all("form")[0].fire("submit");
        return until(words);
    };
"""


@pytest.fixture(scope="module")
def values(widget):
    packed = base64.b64encode(widget.payload).decode()
    return {**VALUES, "file": widget.file, "packed": packed}


def at_site(values, body):
    return in_node("truecaser", values, SITE + body)


def test_before_a_click_the_messages_can_be_picked_and_nothing_is_fetched(values):
    body = """
        open();
        const first = { changed: el.all(".zx-case-changed").map((e) => e.textContent),
            said: said() };
        const [select] = el.all("select");
        select.value = "1";
        select.fire("change");
        result = { first, fetched, said: said(), status: status(), hidden: el.all("form")[0].hidden,
            button: el.all("button")[0].textContent,
            text: el.all("p").map((p) => p.textContent).join(" ") };
    """
    seen = at_site(values, body)
    assert seen["first"]["changed"] == ["Rosa", "changed"]  # the word, and the key below
    assert seen["first"]["said"] == "Taken for capitalized. 1 word changes. Protected: “x.py”."
    assert seen["said"] == "Taken for ok. Nothing changes. Nothing needs protection."
    assert "not a byte is touched" in seen["text"]
    assert seen["fetched"] == [] and seen["hidden"] and "Nothing is fetched" in seen["status"]
    size = -(-values["file"]["size"] // 1000)
    assert seen["button"] == f"Try your own text ({size} kB)"


def test_after_the_click_a_typed_text_is_repaired_as_python_repairs_it(values, truecaser):
    body = """
        open();
        load();
        load(); // pressed twice: fetched once
        await until("stays in this page");
        await type(values.typed, "Done");
        result = { fetched, said: said(), after: el.all(".zx-text")[1].textContent,
            listed: el.all("li").map((item) => item.textContent),
            hidden: el.all("form")[0].hidden };
    """
    seen = at_site({**values, "typed": FAULTY}, body)
    assert seen["fetched"] == [f"http://site/{values['file']['address']}"] and not seen["hidden"]
    assert seen["after"] == truecaser.truecase(FAULTY)
    expected = look(truecaser, FAULTY)["parts"]
    reasons = [part["why"] for part in expected if part["kind"] == "changed"]
    assert [line.partition(": ")[2] for line in seen["listed"]] == reasons
    assert seen["said"].startswith("Taken for capitalized.")


def test_a_widget_with_the_truecaser_in_it_opens_without_a_click_and_fetches_nothing(values):
    body = """
        open({ payload: new DataView(file.buffer, file.byteOffset, file.byteLength) });
        const hidden = el.all("form")[0].hidden;
        await type("i like paris. the river is old.", "Done");
        result = { hidden, fetched, said: said() };
    """
    seen = at_site(values, body)
    assert seen["fetched"] == [] and not seen["hidden"]
    assert seen["said"].startswith("Taken for lower. 3 words change.")


@pytest.mark.parametrize(
    "served, said",
    [
        ("new Response('', { status: 404 })", "has no truecaser (answer 404)"),
        ("Promise.reject(new Error())", "did not answer: check the connection"),
        ("new Response(file.subarray(0, 5000))", "was cut short (5 kB of"),
        ("new Response(Buffer.alloc(file.length))", "is of another version than this page"),
    ],
)
def test_a_file_that_does_not_arrive_whole_is_a_sentence_and_the_click_can_be_repeated(
    values, served, said
):
    body = f"""
        open();
        const good = served;
        served = () => {served};
        load();
        const told = await until({said!r});
        const picked = el.all("option").length;
        served = good;
        load();
        result = {{ told, picked, then: await until("stays in this page") }};
    """
    seen = at_site(values, body)
    assert said in seen["told"] and seen["picked"] == 2
    assert seen["then"].startswith("The truecaser is here.")


def test_a_page_that_was_opened_as_a_file_says_what_to_do(values):
    body = """
        globalThis.location = { protocol: "file:" };
        open();
        result = { status: status(), gate: el.all(".zx-controls")[1].hidden, said: said() };
    """
    seen = at_site(values, body)
    assert seen["status"].startswith("The truecaser cannot be loaded here, since browsers")
    assert "python3 -m http.server" in seen["status"] and seen["gate"]
    assert seen["said"].startswith("Taken for capitalized.")


@pytest.mark.parametrize(
    "text, said",
    [
        ("", "Type or paste a text first."),
        (" \n", "Type or paste a text first."),
        ("x" * 100_001, "The text has 100,001 characters, and at most 100,000 are looked at here."),
        ("x" * 100_000, ""),
    ],
)
def test_a_text_that_is_not_looked_at_has_a_sentence(text, said):
    assert in_node("truecaser", text, "result = script.fault(values);") == said


@pytest.mark.parametrize(
    "text, said",
    [
        ("a\x07b", "It holds a control character (U+0007), which stays as it is."),
        ("a\tb\r\nc 🙂 é", ""),
        (
            "שלום. مرحبا",
            "Its letters that run from right to left have no case, so they stay as they are.",
        ),
        ("a\ud83d b", "It holds half of a character (of a surrogate pair), which stays as it is."),
    ],
)
def test_what_is_unusual_about_a_text_is_said(text, said):
    assert in_node("truecaser", text, "result = script.remarks(values);") == said


def test_odd_texts_are_read_one_after_the_other_and_the_page_goes_on(values):
    texts = [
        "",
        "\x00\x07 it is. the river",
        "\ud83d i like paris. it is",
        "שלום i like it. the river",
    ]
    body = """
        open();
        load();
        await until("stays in this page");
        const seen = [];
        for (const text of values.texts) {
            await type(text, text ? "Done" : "first");
            seen.push(status());
        }
        await type("<img src=x onerror=alert(1)> i like paris. the river is", "Done");
        result = { seen, after: el.all(".zx-text")[1].textContent, images: el.all("img").length };
    """
    result = at_site({**values, "texts": texts}, body)
    first, control, half, right = result["seen"]
    assert first == "Type or paste a text first." and "U+0007" not in control
    assert "U+0000" in control and "surrogate" in half and "right to left" in right
    assert result["after"].startswith("<img src=x onerror=alert(1)> ") and result["images"] == 0


def test_a_message_in_one_case_that_is_left_so_has_a_reason(values):
    body = """
        open();
        load();
        await until("stays in this page");
        const told = [];
        for (const text of ["qwe rtz uio. asd fgh jkl.", "the river is small."]) {
            await type(text, "Done");
            told.push(el.all(".zx-note").map((note) => note.textContent).join(" "));
            await type("", "first");
        }
        result = told;
    """
    foreign, plain = at_site(values, body)
    assert "the corpus knows 0 of its 6 words" in foreign
    assert "speak against it add up to" in plain


def test_many_changes_are_counted_and_not_all_listed(values):
    body = """
        open();
        load();
        await until("stays in this page");
        await type("i like `x` and paris. ".repeat(200), "Done");
        result = { items: el.all("li").map((item) => item.textContent), said: said() };
    """
    seen = at_site(values, body)
    assert len(seen["items"]) == 101 and seen["items"][-1].startswith("… and ")
    assert seen["said"].endswith(", “`x`” and 192 more.")


def test_the_script_as_it_is_delivered_is_light_and_writes_nothing_as_html():
    text = script("truecaser")
    assert len(text.encode()) < 70_000
    assert not [word for word in ("innerHTML", "insertAdjacent", "eval(") if word in text]
