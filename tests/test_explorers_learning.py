"""Watch it learn: the answers of each checkpoint are PyTorch's, and every fault is a sentence."""

import pytest
import torch
from browser_models import in_node as in_model
from browser_models import (
    measured_at,
    megabytes,
    right_answers_at,
    save_adapter,
    sent,
    three_models,
)
from explorer_scripts import in_node
from tiny import tiny_model

from zephyr_utils.chat import generate, load_tokenizer, prepare_tokenizer
from zephyr_utils.explorers.learning import CHECKPOINTS, LONGEST_TEXT, Learning, model_at
from zephyr_utils.explorers.live import address_of
from zephyr_utils.explorers.weights import pack_checkpoints, pack_models

STEPS, FACTOR = [10, 20], 1.5
FILE = CHECKPOINTS["dDPO"]
QUESTION = "What is the capital of France?"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """PyTorch's models in the order of the slider, and both files as a browser reads them."""
    folder = tmp_path_factory.mktemp("models")
    trio, adapters = three_models(folder)
    start, last = trio["dSFT"], trio["dDPO"]
    between = save_adapter(_copy(start), folder / "step_10", 10)
    beyond = _copy(start)
    after = last.state_dict()
    beyond.load_state_dict(
        {name: w + FACTOR * (after[name] - w) for name, w in start.state_dict().items()}
    )
    packed = pack_models(folder / "base", adapters, "float32")
    kept = {model_at(STEPS[0]): folder / "step_10"}
    checkpoints = pack_checkpoints(packed, "dDPO", kept, "float32")
    tokenizer = load_tokenizer(folder / "base")
    prepare_tokenizer(tokenizer)
    return [start, between, last, beyond], packed, checkpoints, tokenizer


def _copy(model):
    copy = tiny_model()
    copy.load_state_dict(model.state_dict())
    return copy.eval()


@pytest.fixture
def widget(models):
    _, packed, checkpoints, _ = models
    measured = measured_at([0, *STEPS], [FACTOR])
    return Learning(packed, checkpoints, measured, [QUESTION], longest=12)


@pytest.fixture
def values(widget, models):
    return sent_values(widget, models)


def sent_values(widget, models):
    names = "points pairs held_out answers examples stage start longest files engine"
    files = {"models": sent(models[1]), widget.files[1]["name"]: sent(models[2])}
    return {**{name: getattr(widget, name) for name in names.split()}, "packed": files}


def test_each_point_has_a_model_and_each_file_its_size(widget, models):
    assert [point["model"] for point in widget.points] == [
        "dSFT",
        "step 10",
        "dDPO",
        "dDPO × 1.5",
    ]
    _, packed, checkpoints, _ = models
    assert [(file["name"], file["size"]) for file in widget.files] == [
        ("models", len(packed.payload)),
        (FILE, len(checkpoints.payload)),
    ]
    assert len(widget.pairs[0]["rejected"]) < LONGEST_TEXT + 40


def test_a_kernel_gives_the_checkpoints_too(widget, models, monkeypatch):
    given = []
    monkeypatch.setattr(widget, "send", lambda content, buffers=None: given.append(buffers))
    widget._handle_custom_msg({"kind": "weights", "name": FILE}, [])
    assert given == [[models[2].payload]]


def test_a_change_times_a_factor_is_the_model_of_extrapolated_weights(models):
    theirs, packed, checkpoints, _ = models
    body = """
        const [models, further] = values.map(read);
        const open = ({ header, bytes }) => script.unpack(header, bytes);
        const weights = new script.Weights(models.header, await open(models));
        weights.extend(further.header, await open(further));
        weights.derive("beyond", "dDPO", 1.5);
        const last = (name) => {
            const session = new script.Session(weights.model(name));
            return [1, 40, 50].map((id) => Array.from(session.feed(id))).at(-1);
        };
        result = ["dSFT", "step 10", "dDPO", "beyond"].map(last);
    """
    for model, ours in zip(theirs, in_model([sent(packed), sent(checkpoints)], body), strict=True):
        with torch.no_grad():
            exact = model(torch.tensor([[1, 40, 50]])).logits[0, -1]
        assert (torch.tensor(ours) - exact).abs().max() < 1e-4


# --- in words -------------------------------------------------------------------------------------


def test_places_are_said_in_words():
    points = [{"step": 0, "factor": 1}, {"step": 10, "factor": 1}, {"step": 20, "factor": 1.5}]
    body = """
        result = values.map((at) => [script.shortPlace(at), script.place(at, 20, "dSFT")]);
    """
    (start, first), (step, second), (beyond, third) = in_node("learning", points, body)
    assert (start, step, beyond) == ("start", "step 10", "1 + a = 1.5")
    assert first == "before the first step: dSFT itself" and second == "step 10 of 20"
    assert third.startswith("beyond step 20") and "1 + a = 1.5 (ExPO, no training)" in third


def test_what_was_measured_is_said_in_words_and_a_margin_of_the_start_is_none():
    points = measured_at([0, 10], [])["points"]
    body = """
        const counts = { heldOut: 324, answers: 200 };
        result = values.map((point) => script.reading(point, counts));
    """
    start, later = in_node("learning", points, body)
    right = "Of 200 answers to development questions 70 % are right (95 % interval 65 to 75 %)."
    start, later = (said.replace("\u00a0", " ") for said in (start, later))
    assert start.endswith(right) and "every reward margin is 0" in start
    margins = (
        "The mean reward margin of 324 held-out pairs is +0.10, and 60 % of them have one above 0"
    )
    assert later == f"{margins}. {right}"


def test_a_summary_names_where_the_answer_changes():
    body = """
        const places = ["start", "step 10", "step 20"];
        result = [["a", "a", "b"], ["a", "a", "a"]]
            .map((texts) => script.summary("Hi", places, texts));
    """
    assert in_node("learning", None, body) == [
        "Asked “Hi”: the answer changes at step 20.",
        "Asked “Hi”: the answer is the same everywhere on the slider.",
    ]


# --- on a page ------------------------------------------------------------------------------------

SITE = """
    const fetched = [];
    const files = {};
    for (const [name, { header, payload }] of Object.entries(values.packed)) {
        const at = `http://site/_static/models/${name}`;
        files[`${at}.json`] = JSON.stringify({ ...header, file: `${name}-1.bin` });
        files[`${at}-1.bin`] = Buffer.from(payload, "base64");
    }
    globalThis.fetch = async (url) => {
        fetched.push(url.split("/").at(-1));
        return new Response(files[url] ?? "", { status: files[url] ? 200 : 404 });
    };
    document.baseURI = "http://site/index.html";
    const model = makeModel(values);
    const el = page();
    const open = () => script.default.render({ model, el });
    const status = () => el.all("p").find((p) => p.attributes.role === "status").textContent;
    const until = async (pattern) => {
        for (let n = 0; n < 4000 && !pattern.test(status()); n++)
            await new Promise((give) => setTimeout(give, 5));
        return status();
    };
    const ask = (question) => {
        el.all("textarea")[0].value = question;
        el.all("form")[0].fire("submit");
    };
    const slider = () => el.all("input")[0];
    const move = (to) => {
        slider().value = String(to);
        slider().fire("input");
        return el.all("output")[0].textContent;
    };
    const shown = () => el.all(".zx-answer").map((s) => s.all(".zx-text")[0].textContent);
    const bin = "http://site/_static/models/checkpoints-of-dDPO-1.bin";
"""


def at_site(values, body):
    return in_node("learning", values, SITE + body)


def test_the_curves_are_there_and_move_before_anything_is_fetched(values):
    body = """
        open();
        const button = el.all("button")[0].textContent;
        const there = [move(0), move(3)];
        result = { fetched, there, button, told: slider().attributes["aria-valuetext"],
            charts: el.all("svg").length, answers: el.all(".zx-columns")[0].hidden,
            pairs: el.all("table").at(1).textContent };
    """
    seen = at_site(values, body)
    sizes = [megabytes(file["size"]) for file in values["files"]]
    assert (
        seen["button"]
        == f"Load the models ({sizes[0]}) and the checkpoints of dDPO ({sizes[1]}) and ask"
    )
    assert seen["fetched"] == [] and seen["answers"] and seen["charts"] == 2
    assert "dSFT itself" in seen["there"][0] and "1 + a = 1.5" in seen["told"]
    assert "+0.60" in seen["pairs"] and "\u22120.90" in seen["pairs"]


def test_each_point_answers_as_pytorch_does(models, values):
    body = """
        open();
        ask(values.examples[0]);
        const of = (element) => element.attributes["aria-live"];
        const now = () => of(el.all("section")[1].all(".zx-text")[0]);
        await until(/answering/);
        const live = [of(el.all("output")[0]), now()];
        const said = await until(/Asked/);
        live.push(now());
        result = { said, fetched, live, shown: values.points.map((_, n) => (move(n), shown())) };
    """
    seen = at_site(values, body)
    asked = [[{"role": "user", "content": QUESTION}]]
    theirs = [
        generate(model, models[3], asked, temperature=0, max_new_tokens=12)[0].text
        for model in models[0]
    ]
    assert [now for _, now in seen["shown"]] == theirs and len(set(theirs)) > 1
    assert {first for first, _ in seen["shown"]} == {theirs[0]}
    kinds = ["models.json", "models-1.bin", f"{FILE}.json", f"{FILE}-1.bin"]
    spoken = f"step 20: {theirs[2].strip()} "
    assert seen["said"].startswith(f"{spoken}Asked “{QUESTION}”: the answer"), "answer and summary"
    assert seen["fetched"] == kinds
    assert seen["live"] == ["off", "off", "polite"], "a place, an answer under way, a finished one"


@pytest.mark.parametrize(
    "change, said",
    [
        ("delete files[bin]", "has no checkpoints of dDPO (answer 404): build the site again."),
        ("files[bin] = files[bin].subarray(0, 1000)", "The weights file is cut short: 1,000 of"),
        ("files[bin] = Buffer.alloc(files[bin].length)", "its SHA-256 differs"),
        (
            "files[head] = files[head].replace(/rests_on.:.\\w+/, 'rests_on\":\"0')",
            "These checkpoints belong to other models",
        ),
    ],
)
def test_checkpoints_that_do_not_arrive_are_explained_and_may_be_tried_again(values, change, said):
    body = f"""
        const head = bin.replace("-1.bin", ".json");
        const before = {{ ...files }};
        {change};
        open();
        ask("Hi");
        const failed = await until(/checkpoints|cut short|SHA/);
        for (let n = 0; n < 20; n++) await new Promise((give) => setTimeout(give, 5));
        Object.assign(files, before);
        result = [status(), el.all("textarea")[0].value];
        el.all("form")[0].fire("submit");
        result.push(await until(/Asked/));
    """
    failed, typed, again = at_site(values, body)
    assert said in failed and typed == "Hi" and "Asked “Hi”" in again


def test_a_failure_leaves_the_answers_of_the_question_before(values):
    body = """
        open();
        ask("Hi");
        await until(/Asked/);
        const before = shown();
        ask("word ".repeat(390));
        const long = await until(/models read at most/);
        const after = shown();
        ask(" ");
        result = { before, after, long, empty: status() };
    """
    seen = at_site(values, body)
    assert seen["before"] == seen["after"] and "shorten the question" in seen["long"]
    assert seen["empty"] == "Type a question first."


def test_a_page_that_was_opened_as_a_file_shows_the_curves_and_says_why_it_cannot_answer(values):
    body = """
        globalThis.location = { protocol: "file:" };
        open();
        result = [status(), el.all("form")[0].hidden, el.all("svg").length, fetched.length];
    """
    said, hidden, charts, fetched = at_site(values, body)
    assert "opened as a file" in said and hidden and (charts, fetched) == (2, 0)


def test_the_website_has_the_checkpoints_beside_the_models():
    for file in CHECKPOINTS.values():
        assert address_of(file).replace(file, "models") == address_of("models")


# --- dSFT -----------------------------------------------------------------------------------------


@pytest.fixture
def dsft_values(models):
    _, packed, checkpoints, _ = models
    points = [{**point, "loss": 2.5 - n} for n, point in enumerate(right_answers_at([0, *STEPS]))]
    measured = {"points": points, "rows_held_out": 264, "answers": 200}
    widget = Learning(packed, checkpoints, measured, [QUESTION], "dSFT", longest=12)
    return sent_values(widget, models)


def test_dsft_starts_from_the_base_model_and_ends_with_itself(dsft_values):
    assert [point["model"] for point in dsft_values["points"]] == ["base", "step 10", "dSFT"]
    assert (dsft_values["start"], dsft_values["files"][1]["name"]) == ("base", CHECKPOINTS["dSFT"])


def test_of_dsft_the_loss_is_shown_and_no_margins_or_factors(dsft_values):
    body = """
        open();
        const there = [move(0), move(2)];
        const read = el.all("p").find((p) => p.textContent.includes("nats per token")).textContent;
        result = { there, read, title: el.all(".zx-title")[0].textContent,
            label: el.all("label").map((one) => one.textContent), hidden: el.all("details").map(
            (one) => one.hidden), texts: el.all("text").map((one) => one.textContent),
            table: el.all("table")[0].textContent };
    """
    seen = at_site(dsft_values, body)
    assert "base itself" in seen["there"][0] and "20 of 20" in seen["there"][1]
    assert seen["read"].startswith("The loss on 264 held-out dialogues is 0.500 nats per token.")
    assert seen["title"] == "Watch it learn: dSFT" and "Training of dSFT" in seen["label"]
    assert "step" in seen["texts"] and "1 + a" not in seen["texts"]
    assert "held-out loss, nats per token" in seen["table"] and "1.500" in seen["table"]
    assert seen["hidden"][-1], "there are no pairs to unfold"
