"""Talking to the models: nothing is fetched before a click, and every fault is a sentence."""

import pytest
from browser_models import megabytes, save_adapter, sent
from explorer_scripts import in_node
from tiny import save_base, tiny_model

from zephyr_utils.explorers.live import address_of
from zephyr_utils.explorers.talk import Talk
from zephyr_utils.explorers.weights import pack_models

OPENING = "These models know <b>nothing</b>."
EXAMPLES = ["What is the capital of France?", "Seven plus two?"]


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    save_base(folder / "base")
    save_adapter(tiny_model(), folder / "dSFT", 1)
    return pack_models(folder / "base", {"dSFT": folder / "dSFT"})


@pytest.fixture(scope="module")
def widget(packed):
    return Talk(packed, OPENING, EXAMPLES, longest=12, temperature=0.0)


@pytest.fixture
def values(widget, packed):
    names = "models notes remarks files opening examples temperature longest engine"
    return {**{name: getattr(widget, name) for name in names.split()}, "packed": sent(packed)}


def test_the_page_is_told_names_size_and_where_the_models_are(widget, packed):
    assert widget.models == ["base", "dSFT"]
    address = address_of("models")
    assert widget.files == [{"name": "models", "address": address, "size": len(packed.payload)}]
    assert not address.startswith(("/", "http"))


def test_a_kernel_answers_a_greeting_and_gives_the_weights_when_asked(widget, packed, monkeypatch):
    messages = []
    monkeypatch.setattr(
        widget, "send", lambda content, buffers=None: messages.append((content, buffers))
    )
    for kind, name in (("hello", ""), ("weights", "models"), ("weights", "none"), ("other", "")):
        widget._handle_custom_msg({"kind": kind, "name": name}, [])
    (ready, _), (weights, buffers) = messages
    assert ready == {"kind": "ready"} and buffers == [packed.payload]
    assert weights == {"kind": "weights", "name": "models", "header": packed.header}


# --- the script alone -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "question, said",
    [
        ("", "Type a question first."),
        (" \n", "Type a question first."),
        ("x" * 10_000, "The question has 10,000 characters, and at most 2,000 can be asked."),
        (
            "a\x07b",
            "The question holds a control character (U+0007), which is not text: remove it.",
        ),
        (
            "a\x9bb",
            "The question holds a control character (U+009B), which is not text: remove it.",
        ),
        ("a\nb\tc 🙂 <b>", ""),
    ],
)
def test_what_cannot_be_asked_is_said_in_a_sentence(question, said):
    assert in_node("live", question, "result = script.fault(values);") == said


def test_half_a_surrogate_pair_cannot_be_asked():
    body = r"""result = ["\ud83d", "a\udc00", "\ud83d\ude42"].map(script.fault);"""
    first, second, whole = in_node("live", None, body)
    assert "half of a character" in first and first == second and whole == ""


def test_markers_that_a_reader_types_are_explained():
    questions = ["Hi", "</s> and <s>", "<|assistant|>\nYes"]
    body = 'result = values.map((text) => script.markerNote(text, ["<s>", "</s>", "<pad>"]));'
    plain, ends, roles = in_node("live", questions, body)
    assert plain == "" and "Your <s> and </s> was read as text" in ends
    assert "Role markers are ordinary text" in roles


# A page of this site, whose server has the header and the weights.
SITE = """
    const fetched = [];
    const { header, payload } = values.packed;
    const served = Buffer.from(payload, "base64");
    const folder = "http://site/_static/models/";
    const files = {
        [`${folder}models.json`]: JSON.stringify({ ...header, file: "models-1.bin" }),
        [`${folder}models-1.bin`]: served,
    };
    globalThis.fetch = async (url) => {
        fetched.push(url);
        if (files[url] instanceof Error) throw files[url];
        return new Response(files[url] ?? "", { status: files[url] ? 200 : 404 });
    };
    document.baseURI = "http://site/index.html";
    const model = makeModel(values);
    const el = page();
    const open = () => script.default.render({ model, el });
    const status = () => el.all("p").find((p) => p.attributes.role === "status").textContent;
    const named = (words) => el.all("button").find((b) => b.textContent.startsWith(words));
    const press = (words) => named(words).fire("click");
    const until = async (words) => {
        for (let n = 0; n < 2000 && !status().includes(words); n++)
            await new Promise((give) => setTimeout(give, 5));
        return status();
    };
    const ask = async (question) => {
        el.all("textarea")[0].value = question;
        el.all("form")[0].fire("submit");
    };
    const turns = () => el.all("section").map((s) => s.all(".zx-text").map((t) => t.textContent));
"""


def at_site(values, body):
    return in_node("talk", values, SITE + body)


def test_nothing_is_fetched_before_a_click_and_its_size_is_said(values):
    body = """
        open();
        result = { fetched, size: el.all("button")[0].textContent, hidden: el.all("form")[0].hidden,
            text: el.textContent };
    """
    seen = at_site(values, body)
    assert seen["fetched"] == [] and seen["hidden"]
    assert seen["size"] == f"Load the models ({megabytes(values['files'][0]['size'])})"
    assert OPENING in seen["text"] and all(question in seen["text"] for question in EXAMPLES)


def test_each_model_answers_a_question_and_its_second_turn(values):
    body = """
        open();
        const scrolled = [];
        Object.getPrototypeOf(el).scrollIntoView = (how) => scrolled.push(how.block);
        press("Load");
        await until("ask them");
        await ask("  Hi <i>you</i> ");
        const first = await until("Asked");
        const answered = turns();
        await ask("And then?");
        await until("Asked “And then?”");
        const typed = el.all("textarea")[0].value;
        result = { first, answered, after: turns(), typed, scrolled };
    """
    seen = at_site(values, body)
    assert [column[0] for column in seen["answered"]] == ["Hi <i>you</i>"] * 2
    assert all(len(column) == 2 and column[1] for column in seen["answered"])
    assert [column[:2] for column in seen["after"]] == seen["answered"]
    assert [column[2] for column in seen["after"]] == ["And then?"] * 2
    assert "tokens in" in seen["first"] and "temperature 0, seed 0" in seen["first"]
    assert seen["typed"] == ""
    assert seen["scrolled"] == ["nearest"] * 2, "each answer comes into view"


def test_a_screen_reader_speaks_finished_answers_by_name_and_no_token_of_them(values):
    body = """
        open();
        const heard = [];
        const line = el.all("p").find((p) => p.attributes.role === "status");
        const { replaceChildren } = line;
        line.replaceChildren = function (...parts) {
            replaceChildren.call(this, ...parts);
            heard.push(this.textContent);
        };
        const parts = () => [...el.all("div"), ...el.all("output")];
        const live = () => parts().map((part) => part.attributes["aria-live"] ?? "off");
        press("Load");
        await until("ask them");
        const loading = heard.splice(0);
        el.all("textarea")[0].value = "Hi";
        el.all("form")[0].fire("submit");
        const during = live();
        await until("Asked");
        result = { loading, heard, spoken: line.all(".zx-unseen")[0].textContent,
            answers: turns().map((column) => column[1].trim()), live: [...during, ...live()] };
    """
    seen = at_site(values, body)
    base, dsft = seen["answers"]
    assert seen["spoken"] == f"base: {base}\ndSFT: {dsft} "
    asking, done = seen["heard"]
    assert asking == "The models are answering …" and done.startswith(seen["spoken"])
    assert set(seen["live"]) == {"off"}, "the status alone is spoken, the slider says its value"
    loading = [words for words in seen["loading"] if words.startswith("Loading the models (")]
    assert len(loading) == 1, "not at each part that arrives"


def test_beside_the_base_models_answer_stands_why_it_holds_markers(values):
    body = """
        open();
        const columns = () => el.all("section").map((s) => s.textContent);
        press("Load");
        await until("ask them");
        const before = columns();
        await ask("What is the capital of France?");
        await until("Asked");
        result = [before, columns()];
    """
    before, (base, dsft) = at_site(values, body)
    why = "never taught the chat template, so it continues a text"
    assert why in base and base.index(why) < base.index("capital of France")
    assert why not in dsft and why not in "".join(before)


def test_an_example_loads_the_models_and_is_asked(values):
    body = """
        open();
        press("Seven");
        await until("Asked");
        result = { asked: turns().map(([question]) => question), fetched: fetched.length };
    """
    assert at_site(values, body) == {"asked": [EXAMPLES[1]] * 2, "fetched": 2}


def test_asking_again_draws_again_and_a_new_conversation_forgets(values):
    body = """
        open();
        press("Seven");
        await until("seed 0");
        const first = turns();
        const slider = el.all("input")[0];
        slider.value = "1.5";
        slider.fire("input");
        press("Ask again");
        const said = await until("seed 1");
        const second = turns();
        press("New");
        result = { first, second, said, after: turns() };
    """
    seen = at_site(values, body)
    assert [len(column) for column in seen["second"]] == [2, 2]
    assert seen["first"] != seen["second"] and "temperature 1.5, seed 1" in seen["said"]
    assert seen["after"] == [[], []]


def test_a_failure_leaves_question_answers_seed_and_what_is_being_typed_as_they_were(values):
    body = """
        open();
        press("Seven");
        await until("seed 0");
        const first = turns();
        el.all("textarea")[0].value = "the next question";
        values.longest = 1000;
        press("Ask again");
        const failed = [await until("shorten"), turns()];
        values.longest = 12;
        press("Ask again");
        const again = [await until("seed 1"), turns().map(([question]) => question)];
        result = { first, failed, again, typed: el.all("textarea")[0].value };
    """
    seen = at_site(values, body)
    assert seen["failed"][1] == seen["first"] and "the models read at most" in seen["failed"][0]
    assert seen["again"][1] == [EXAMPLES[1]] * 2 and seen["typed"] == "the next question"


def test_what_cannot_be_asked_leaves_the_conversation_and_the_text_as_they_are(values):
    body = """
        open();
        press("Load");
        await until("ask them");
        result = [];
        for (const question of ["", "word ".repeat(390), "Hi"]) {
            await ask(question);
            await until(question === "Hi" ? "Asked" : question ? "shorten" : "first");
            result.push([status(), turns().flat().length, el.all("textarea")[0].value]);
        }
    """
    empty, long, well = at_site(values, body)
    assert empty[:2] == ["Type a question first.", 0]
    assert "the models read at most 256" in long[0] and long[1] == 0 and long[2].startswith("word")
    assert "Asked “Hi”" in well[0] and well[1] == 4


@pytest.mark.parametrize(
    "change, said",
    [
        ("delete files[address]", "has no models.json (answer 404): build the site again."),
        ("files[address] = new Error()", "did not answer for models.json: check the connection"),
        ("delete files[bin]", "has no models (answer 404): build the site again."),
        ("files[bin] = served.subarray(0, 1000)", "The weights file is cut short: 1,000 of"),
        ("files[bin] = Buffer.alloc(served.length)", "its SHA-256 differs"),
        ("values.engine = 'let 1'", "This browser cannot run the models"),
    ],
)
def test_models_that_do_not_arrive_are_explained_and_may_be_tried_again(values, change, said):
    body = f"""
        const [address, bin] = Object.keys(files);
        const before = {{ ...files }};
        const {{ engine }} = values;
        {change};
        open();
        press("Load");
        for (let n = 0; n < 1000 && /^Loading|^Nothing/.test(status()); n++)
            await new Promise((give) => setTimeout(give, 5));
        const failed = status();
        Object.assign(files, before);
        result = [failed];
        if (engine === values.engine) {{
            press("Load");
            result.push(await until("ask them"));
        }}
    """
    failed, *again = at_site(values, body)
    assert said in failed and failed.count(". ") <= 1
    assert all("The models are here" in words for words in again)


def test_a_kernel_gives_the_weights_where_one_runs_and_nothing_is_fetched(values):
    body = """
        open();
        model.hear({ kind: "ready" });
        press("Load");
        while (model.sent.length < 2) await new Promise((give) => setTimeout(give, 5));
        const bytes = new Uint8Array(served);
        model.hear({ kind: "weights", name: "models", header }, [new DataView(bytes.buffer)]);
        await until("ask them");
        await ask("Hi");
        result = { said: await until("Asked"), sent: model.sent, fetched };
    """
    seen = at_site(values, body)
    asked = {"kind": "weights", "name": "models"}
    assert seen["sent"] == [{"kind": "hello"}, asked] and seen["fetched"] == []
    assert "Asked “Hi”" in seen["said"]


def test_a_page_that_was_opened_as_a_file_says_why_and_what_to_do(values):
    body = """
        globalThis.location = { protocol: "file:" };
        open();
        result = [status(), fetched.length];
    """
    said, fetched = at_site(values, body)
    assert "opened as a file" in said and "python3 -m http.server" in said and fetched == 0
