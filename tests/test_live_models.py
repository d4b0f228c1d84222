"""The models of a run on a page: written beside it, fetched by a click, answering in a worker."""

import json
import re
import shutil
from pathlib import Path

import best_of_n
import checkpoints
import live_models
import pytest
from browser_models import measured_at, right_answers_at, save_adapter, save_base
from browsing import chromium, recording_tab, served
from page_html import WITHOUT_SCRIPTS
from tiny import tiny_model

from zephyr_utils import scales
from zephyr_utils.data.records import save_records
from zephyr_utils.errors import HandbookError
from zephyr_utils.explorers.learning import CHECKPOINTS, STARTS
from zephyr_utils.explorers.live import address_of
from zephyr_utils.files import write_json
from zephyr_utils.pipeline.artefacts import fingerprint
from zephyr_utils.pipeline.steps.dsft import KEPT_ADAPTERS

HOST = live_models.ROOT / "book" / "assets" / "afm-host.js"
PAGE = """<!doctype html><html lang="en" data-content_root="./"><head><meta charset="utf-8">
<title>Talk</title><link rel="icon" href="data:,"></head><body><main>{}</main></body></html>"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of a scale whose base model is a tiny one."""
    folder = tmp_path_factory.mktemp("runs")
    run = folder / "tiny"
    save_base(folder / "base")
    save_adapter(tiny_model(), run / "02_dsft" / "adapter", 1)
    save_adapter(tiny_model(), run / "05_ddpo" / "adapter", 2)
    write_json(
        run / "02_dsft" / "manifest.json",
        {"key": "dsft", "inputs": {"base_model": fingerprint(folder / "base")}},
    )
    write_json(run / "06_reward_margins" / "manifest.json", {"recipe": {"beta": 0.1}})
    write_json(run / "05_ddpo" / "manifest.json", {"inputs": {"start": "1", "pairs": "2"}})
    for kept in (run / checkpoints.FOLDER, run / "02_dsft" / KEPT_ADAPTERS):
        save_adapter(tiny_model(), kept / "step_1", 3)
        save_adapter(tiny_model(), kept / "step_2", 4)
    measured = {"adapters": {"1": "step_1", "2": "step_2"}, **measured_at([0, 1, 2], [2.0])}
    manifest = {"inputs": checkpoints.inputs_of(run), "results": measured}
    write_json(run / checkpoints.FOLDER / "manifest.json", manifest)
    points = [{**point, "loss": 1.0} for point in right_answers_at([0, 1, 2])]
    measured = {"points": points, "rows_held_out": 264, "answers": 200}
    manifest = {"inputs": checkpoints.dsft_inputs_of(run), "results": measured}
    write_json(run / checkpoints.DSFT_FOLDER / "manifest.json", manifest)
    asked = {"role": "user", "content": "<b>Which</b> city?"}
    pairs = [
        {
            "prompt": asked["content"],
            "prompt_id": str(n),
            "chosen": [asked, {"role": "assistant", "content": f"Paris {n}."}],
            "rejected": [asked, {"role": "assistant", "content": f"</script> {n}"}],
            "score_chosen": 9.0,
            "score_rejected": 2.0,
        }
        for n in range(30)
    ]
    save_records(pairs, run / "06_reward_margins" / "held_out.parquet")
    return run


@pytest.fixture
def known_scale(run, monkeypatch):
    scale = scales.get_scale("miniature")
    tiny = type(scale)(**{**vars(scale), "name": "tiny", "base_model": run.parent / "base"})
    monkeypatch.setitem(scales.SCALES, "tiny", tiny)
    monkeypatch.setattr(live_models, "ROUNDING_TEXTS", 2)


def test_the_three_models_of_a_run_are_written_where_the_explorer_looks(known_scale, run, tmp_path):
    packed = live_models.models_of(run)
    header = json.loads(live_models.write_models(packed, tmp_path).read_text("utf-8"))
    assert [model["name"] for model in header["models"]] == ["base", "dSFT", "dDPO"]
    assert (tmp_path / "models" / "models.json").is_file() and address_of("models").endswith(
        "/models.json"
    )
    assert (tmp_path / "models" / header["file"]).stat().st_size == header["bytes"]


def test_a_run_without_adapters_or_with_a_model_of_the_hub_has_no_models(known_scale, run):
    assert live_models.models_of(run.parent / "other") is None
    assert live_models.models_of(run.parent / "zephyr-7b-lora") is None
    for mark in live_models.MARKS:
        shown = live_models.with_explorers(f"# Talk\n\n{mark}\n", run, None)
        assert shown == f"# Talk\n\n{live_models.NO_MODELS}\n"


def test_checkpoints_are_written_beside_the_models_that_they_rest_on(known_scale, run, tmp_path):
    packed = live_models.models_of(run)
    kept = live_models.checkpoints_of(run, packed)
    paths = live_models.write_checkpoints(kept, tmp_path)
    assert len(paths) == len(STARTS)
    for path, stage in zip(paths, kept, strict=True):
        header = json.loads(path.read_text("utf-8"))
        assert path == tmp_path / Path(address_of(CHECKPOINTS[stage])).relative_to("_static")
        assert header["rests_on"] == packed.header["sha256"]
        listed = [(model["name"], model["on"]) for model in header["models"]]
        assert listed == [("step 1", STARTS[stage])], "the last step is one of the models"


@pytest.mark.parametrize(
    "stage, model, folder",
    [
        ("dSFT", "02_dsft", checkpoints.DSFT_FOLDER),
        ("dDPO", "05_ddpo", checkpoints.FOLDER),
    ],
)
def test_a_run_without_checkpoints_says_so_and_those_of_another_training_are_refused(
    known_scale, run, tmp_path, stage, model, folder
):
    other = tmp_path / "tiny"
    shutil.copytree(run, other)
    packed = live_models.models_of(other)
    made = json.loads((other / model / "manifest.json").read_text("utf-8"))
    changed = {"key": "another", "inputs": {**made["inputs"], "start": "3"}}
    write_json(other / model / "manifest.json", changed)
    with pytest.raises(HandbookError, match=f"not those of this run's {stage}"):
        live_models.checkpoints_of(other, packed)
    shutil.rmtree(other / folder)
    write_json(other / model / "manifest.json", made)
    kept = live_models.checkpoints_of(other, packed)
    assert stage not in kept and len(kept) == 1
    shown = live_models.with_explorers(f"<!-- learning: {stage} -->\n", other, packed, kept)
    assert shown == f"{live_models.NO_CHECKPOINTS.format(stage)}\n"


def test_the_best_of_n_is_shown_of_the_runs_own_answers_and_of_no_others(
    known_scale, run, tmp_path
):
    other = tmp_path / "tiny"
    shutil.copytree(run, other)
    packed = live_models.models_of(other)
    mark = f"{live_models.BEST_OF_N}\n"
    assert live_models.with_explorers(mark, other, packed) == f"{live_models.NO_ANSWERS}\n"
    trained = json.loads((other / "02_dsft" / "manifest.json").read_text("utf-8"))
    write_json(other / "02_dsft" / "manifest.json", {**trained, "key": "start"})
    rewards = other / best_of_n.REWARD_MODEL / "manifest.json"
    write_json(rewards, {"key": "rewards", "inputs": {"start": "start"}})
    answers = [{"text": f"<i>{n}</i>", "reward": float(n), "grade": 5.0} for n in range(4)]
    results = {"questions": [{"prompt": "Which?", "answers": answers}]}
    made = {"inputs": best_of_n.inputs_of(other), "results": results}
    write_json(other / best_of_n.FOLDER / "manifest.json", made)
    shown = live_models.with_explorers(mark, other, packed)
    assert "byReward" in shown and "<i>" not in shown
    write_json(rewards, {"key": "other rewards", "inputs": {"start": "start"}})
    with pytest.raises(HandbookError, match="not those of this run's models"):
        live_models.with_explorers(mark, other, packed)
    write_json(rewards, {"key": "rewards", "inputs": {"start": "another"}})
    with pytest.raises(HandbookError, match="no reward model of this run's dSFT model"):
        best_of_n.inputs_of(other)


def test_models_of_another_base_are_refused(known_scale, run, tmp_path):
    other = tmp_path / "tiny"
    shutil.copytree(run, other)
    write_json(other / "02_dsft" / "manifest.json", {"inputs": {"base_model": "of yesterday"}})
    with pytest.raises(HandbookError, match="not the one that this run's models were trained from"):
        live_models.models_of(other)


def test_models_that_are_too_large_for_a_reader_are_refused(known_scale, run, monkeypatch):
    monkeypatch.setattr(live_models, "MOST_BYTES", 1000)
    with pytest.raises(HandbookError, match="a reader fetches 1,000 at most"):
        live_models.models_of(run)


def test_where_not_all_fit_the_last_checkpoints_of_dsft_are_left_out(
    known_scale, run, monkeypatch, capsys
):
    packed = live_models.models_of(run)
    kept = live_models.checkpoints_of(run, packed)
    whole = sum(len(part.payload) for part in (packed, *kept.values()))
    monkeypatch.setattr(live_models, "MOST_BYTES", whole - 1)
    fewer = live_models.checkpoints_of(run, packed)
    assert fewer["dDPO"] == kept["dDPO"] and not fewer["dSFT"].header["models"]
    assert "step 1 of dSFT is left out" in capsys.readouterr().out
    shown = live_models._explorer("<!-- learning: dSFT -->", run, packed, fewer)
    assert [point["model"] for point in shown.points] == ["base", "dSFT"]
    monkeypatch.setattr(live_models, "MOST_BYTES", len(packed.payload) + 100)
    with pytest.raises(HandbookError, match="a reader fetches"):
        live_models.checkpoints_of(run, packed)


def test_a_page_without_the_mark_is_left_as_it_is(known_scale, run):
    assert live_models.with_explorers("# Other\n", run, live_models.models_of(run)) == "# Other\n"


# --- in a browser ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser():
    with chromium() as opened:
        yield opened


@pytest.fixture
def site(known_scale, run, tmp_path):
    packed = live_models.models_of(run)
    kept = live_models.checkpoints_of(run, packed)
    live_models.write_models(packed, tmp_path / "_static")
    live_models.write_checkpoints(kept, tmp_path / "_static")
    shutil.copy(HOST, tmp_path / "_static")
    both = f"{live_models.TALK}\n\n{live_models.MICROSCOPE}\n"
    pages = {
        "index": live_models.TALK,
        "microscope": live_models.MICROSCOPE,
        "both": both,
        "learning": "\n\n".join(live_models.LEARNING),
    }
    for name, marks in pages.items():
        raw = live_models.with_explorers(marks, run, packed, kept)
        assert raw.startswith("```{raw} html\n") and WITHOUT_SCRIPTS not in raw
        body = re.sub(r"^```.*$", "", raw, flags=re.M)
        (tmp_path / f"{name}.html").write_text(PAGE.format(body), encoding="utf-8")
    return tmp_path


def ready(tab, address):
    tab.goto(address)
    tab.wait_for_selector("html[data-afm-host=ready]", state="attached")


def said(tab, words):
    """The status line, once it holds these words."""
    tab.locator("p[role=status]").filter(has_text=words).wait_for()
    return tab.locator("p[role=status]").inner_text()


@pytest.mark.browser
def test_the_models_answer_by_keyboard_and_the_next_visit_uses_the_cache(browser, site):
    with served(site) as address, recording_tab(browser, address) as tab:
        fetched = []
        tab.on("request", lambda asked: fetched.append(asked.url) if "models" in asked.url else 0)
        for visit in (1, 2):
            ready(tab, f"{address}index.html")
            if visit == 1:
                assert fetched == []
            tab.get_by_role("button", name="Load the models").press("Enter")
            assert "ask them something" in said(tab, "ask them")
            assert tab.evaluate("document.activeElement.tagName") == "TEXTAREA"
            tab.keyboard.type("</s><img src=x onerror=alert(1)>")
            tab.keyboard.press("Enter")
            assert "was read as text" in said(tab, "Asked")
            assert tab.locator("main img").count() == 0
            live = tab.locator("[aria-live=polite][aria-busy=false]")
            assert live.count() == 3
        files = [url.rsplit("/", 1)[1].split("-")[0] for url in fetched]
        assert files == ["models.json", "models", "models.json"]
        assert tab.complaints == []


@pytest.mark.browser
def test_held_out_pairs_lie_under_the_microscope_and_the_arrows_walk(browser, site):
    with served(site) as address, recording_tab(browser, address) as tab:
        ready(tab, f"{address}microscope.html")
        assert tab.locator("option").count() == 10  # every third of thirty
        tab.get_by_role("button", name="measure").press("Enter")
        assert "margin" in said(tab, "Implicit rewards")
        tokens = tab.locator(".zx-token")
        tokens.first.focus()
        tab.keyboard.press("ArrowRight")
        label = tokens.nth(1).get_attribute("aria-label")
        assert tab.locator(".zx-note", has_text=label).count() == 1
        assert tab.complaints == []


@pytest.mark.browser
def test_the_sliders_walk_by_keyboard_and_every_checkpoint_answers(browser, site):
    with served(site) as address, recording_tab(browser, address) as tab:
        fetched = []
        tab.on("request", lambda asked: fetched.append(asked.url) if ".bin" in asked.url else 0)
        ready(tab, f"{address}learning.html")
        dsft, ddpo = (Slider(tab, stage) for stage in live_models.LEARNING.values())
        assert dsft.place() == ddpo.place() == "step 2 of 2" and fetched == []
        ddpo.ask()
        ddpo.handle.press("ArrowRight")
        assert "1 + a = 2" in ddpo.place()
        beyond = ddpo.box.locator(".zx-answer .zx-text").nth(1)
        assert beyond.get_attribute("aria-live") == "polite" and beyond.inner_text()
        for slider, start in ((ddpo, "dSFT itself"), (dsft, "base itself")):
            slider.ask()
            slider.handle.press("Home")
            assert start in slider.place()
            before, now = slider.box.locator(".zx-answer .zx-text").all_inner_texts()
            assert before == now
        names = [url.rsplit("/", 1)[1].rsplit("-", 1)[0] for url in fetched]
        assert names == ["models", CHECKPOINTS["dDPO"], CHECKPOINTS["dSFT"]], "each once"
        assert tab.complaints == []


class Slider:
    """The explorer of one stage on a page with two."""

    def __init__(self, tab, stage):
        self.box = tab.locator(".zx", has_text=f"Watch it learn: {stage}")
        self.handle = tab.get_by_role("slider", name=f"Training of {stage}")

    def place(self):
        return self.handle.get_attribute("aria-valuetext")

    def ask(self):
        self.box.get_by_role("button", name="Greet").press("Enter")
        self.box.locator("p[role=status]").filter(has_text="the answer").wait_for()


@pytest.mark.browser
def test_two_explorers_of_a_page_are_each_shown_once(browser, site):
    with served(site) as address, recording_tab(browser, address) as tab:
        ready(tab, f"{address}both.html")
        titles = tab.locator(".zx-title").all_inner_texts()
        assert titles == ["Talk to the models", "The reward microscope"]


@pytest.mark.browser
def test_without_workers_the_models_answer_in_the_page(browser, site):
    with served(site) as address, recording_tab(browser, address) as tab:
        tab.add_init_script("delete window.Worker; delete window.caches;")
        ready(tab, f"{address}index.html")
        tab.get_by_role("button", name="Greet").click()
        assert said(tab, "Asked").startswith("Asked “Greet")
        assert tab.complaints == []


@pytest.mark.browser
def test_weights_that_were_damaged_in_the_browsers_store_are_fetched_again(browser, site):
    with served(site) as address, recording_tab(browser, address) as tab:
        ready(tab, f"{address}index.html")
        tab.evaluate(
            """async () => {
              const header = await (await fetch("_static/models/models.json")).json();
              const url = new URL("_static/models/" + header.file, document.baseURI).href;
              const cache = await caches.open("zephyr-models");
              await cache.put(url, new Response(new Uint8Array(header.bytes)));
            }"""
        )
        load = tab.get_by_role("button", name="Load the models")
        load.click()
        assert "its SHA-256 differs" in said(tab, "SHA-256")
        load.click()
        assert "ask them something" in said(tab, "ask them")


@pytest.mark.browser
def test_a_page_that_was_opened_as_a_file_says_what_to_do(browser, site):
    tab = browser.new_page()
    try:
        tab.goto((site / "index.html").as_uri())
        tab.get_by_text("python3 -m http.server").wait_for()
    finally:
        tab.close()
