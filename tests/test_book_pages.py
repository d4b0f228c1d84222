"""The pages beside the chapters: what they show is made from the run and the package, and what they
quote exists.
"""

import importlib.util
import re
from pathlib import Path

import build_book as build
import live_models
import page_parts
import pipeline_picture
import pytest
import real_model
import scale_costs
import yaml

import zephyr_utils
from zephyr_utils.errors import HandbookError
from zephyr_utils.published import published_table
from zephyr_utils.recipes import load_recipe, recipe_path
from zephyr_utils.scales import scale_names

BOOK = Path(__file__).resolve().parents[1] / "book"
PACKAGE = Path(zephyr_utils.__file__).parent
SOURCES = {
    "zephyr": [PACKAGE],
    "book": [BOOK, BOOK.parent / "tools"],
    "make": [BOOK.parent / "Makefile"],
    "TRL": ["trl/trainer/sft_trainer.py", "trl/trainer/dpo_trainer.py"],
    "transformers": [
        "transformers/training_args.py",
        "transformers/tokenization_utils_base.py",
        "transformers/utils/hub.py",
        "transformers/utils/generic.py",
    ],
    "jupyter_client": ["jupyter_client/kernelspec.py"],
}
TROUBLES = re.findall(
    r"^### (`+) ?(.+?) ?\1\n\n\*From: (.+?)\.\*",
    (BOOK / "troubleshooting.md").read_text(encoding="utf-8"),
    re.M,
)


def text_of(place):
    """The source behind a place, with literals that go on in the next line joined."""
    if isinstance(place, str):
        package, _, rest = place.partition("/")
        place = Path(importlib.util.find_spec(package).origin).parent / rest
    files = place.rglob("*.py") if place.is_dir() else [place]
    text = "\n".join(path.read_text(encoding="utf-8") for path in files)
    return re.sub(r"""["']\s*\n\s*f?["']""", "", text).replace("\\n", " ")


@pytest.mark.parametrize(
    "message, source", [(words, source) for _, words, source in TROUBLES if source in SOURCES]
)
def test_a_message_in_the_troubleshooting_is_one_that_is_really_said(message, source):
    text = "\n".join(text_of(place) for place in SOURCES[source])
    for part in message.split("…"):
        assert part.strip() in text, part


def test_the_troubleshooting_covers_our_own_messages_and_those_of_the_libraries():
    said_by = {source for _, _, source in TROUBLES}
    assert {"zephyr", "TRL", "transformers", "PyTorch"} <= said_by and len(TROUBLES) > 30
    assert said_by - set(SOURCES) == {"PyTorch", "Python"}, (
        "name the source of a message, or add it to SOURCES"
    )


@pytest.mark.parametrize("stage", ["dsft", "ddpo"])
def test_the_tables_of_recipes_show_what_our_recipes_hold(stage):
    drawn = page_parts.recipes(stage)
    assert drawn.count("| setting |") == 2
    rows = {
        line.split("|")[1].split("<br>")[0].strip(): line.split("|")
        for line in drawn.splitlines()
        if line[0:1] == "|"
    }
    ours = load_recipe(recipe_path("miniature", stage), stage)
    assert float(rows["learning rate"][2]) == ours["learning_rate"]
    assert rows["warm-up"][2].strip() == "10\u00a0%"
    known = {row["argument"] for row in published_table(f"{stage}_recipes").rows} - {None, "batch"}
    assert known <= set(ours) | {"packing"}, "a row's argument is not a key of the recipe"


def test_the_papers_values_are_the_ones_we_train_seven_billion_weights_with():
    ours = load_recipe(recipe_path("zephyr-7b-full", "ddpo"), "ddpo")
    paper = {row["argument"]: row["paper"] for row in published_table("ddpo_recipes").rows}
    assert (
        float(paper["learning_rate"]) == ours["learning_rate"]
        and float(paper["beta"]) == ours["beta"]
    )
    assert paper["lr_scheduler_type"] == ours["lr_scheduler_type"]


def entry(**metrics):
    stamp = dict.fromkeys(("python", *page_parts.LIBRARIES), "1.2.3")
    stamp |= {"cores": 2, "cpu": "A CPU", "memory_gb": 16.0, "accelerator": "none"}
    return {
        "seconds": 35.2,
        "seconds_reused": 40.1,
        "metrics": {**metrics, "peak_memory_mb": 812.4},
        "ranges": {},
        "parameters": {},
        "finished": "2026-11-20T10:00:00+00:00",
        "environment": stamp,
    }


@pytest.fixture
def report():
    return {
        name: entry(**dict.fromkeys(metrics, 2.5))
        for name, metrics in pipeline_picture.NEEDED.items()
    }


def test_a_page_that_asks_for_something_unknown_is_refused_by_name(report):
    with pytest.raises(HandbookError, match=r"page\.md: there is no part 'last rum'"):
        page_parts.fill("<!-- last rum -->", report, list(report), where="page.md")


def test_every_page_is_filled(report):
    for path in BOOK.glob("*.md"):
        text = path.read_text(encoding="utf-8")
        for mark in live_models.MARKS:  # filled from a run's models
            text = text.replace(mark, "")
        page = page_parts.fill(text, report, list(report), where=path.name)
        assert not page_parts.MARK.search(page), path.name


def test_the_picture_shows_the_numbers_of_the_run_in_light_words_and_in_its_alt_text(report):
    report["07_evaluation"]["metrics"] |= {
        "score_base": 1.23,
        "score_ddpo": 7.89,
        "right_ddpo": 0.456,
    }
    drawn = page_parts.picture(report, list(report))
    assert drawn.count("<svg") == 2 and drawn.count('role="img"') == 2
    for words in (
        ">grade 7.9<",
        ">46\u00a0% right<",
        "after dDPO 7.9 with 46\u00a0% of the answers right",
    ):
        assert words in drawn, words


def test_the_lines_in_the_boxes_fit_also_with_large_numbers(report):
    metrics = {
        name: entry["metrics"] | {"rows_trained": 207_865, "pairs": 61_135, "accuracy": 1.0}
        for name, entry in report.items()
    }
    for title, lines in pipeline_picture.steps(metrics):
        assert max(map(len, [title, *lines])) <= pipeline_picture.LONGEST_LINE, lines


def test_the_bars_are_as_long_as_the_grades_say(report):
    report["07_evaluation"]["metrics"] |= {"score_base": 1.0, "score_dsft": 5.5, "score_ddpo": 10.0}
    wide = pipeline_picture.figure(
        {name: entry["metrics"] for name, entry in report.items()}
    ).split("</svg>")[0]
    track, *_ = [float(width) for width in re.findall(r'class="track".*?width="([\d.]+)"', wide)]
    lengths = [float(width) for width in re.findall(r'class="bar".*?width="([\d.]+)"', wide)]
    assert lengths == pytest.approx([0, track / 2, track], abs=0.1)


def test_a_number_that_the_picture_needs_and_a_chapter_no_longer_writes_is_named(report):
    del report["06_reward_margins"]["metrics"]["mean_margin"]
    with pytest.raises(
        HandbookError,
        match="06_reward_margins: the front page's picture shows its metric mean_margin",
    ):
        page_parts.picture(report, list(report))


def test_a_chapter_that_was_not_run_leaves_words_and_no_number(report):
    del report["07_evaluation"], report["02_dsft"]
    drawn = page_parts.picture(report, list(report))
    assert "(not in this run)" in drawn and 'class="bar"' not in drawn


def test_the_words_in_the_picture_are_escaped():
    assert "&lt;" in pipeline_picture._text(0, 0, "a < b", "line")


def test_the_page_of_metrics_explains_what_it_knows_and_shows_the_range(report):
    report["06_reward_margins"]["ranges"] = {"mean_margin": [0.25, 0.5]}
    drawn = page_parts.metrics(report, list(report))
    assert "| `mean_margin` | 2.5 | 0.25 to 0.5 | mean reward margin on held-out pairs" in drawn
    report["06_reward_margins"]["ranges"] = {"mean_margin": [3975, 3975]}
    assert "| 2.5 | 3,975 |" in page_parts.metrics(report, list(report))


def test_meanings_are_of_chapters_that_exist_or_will():
    meanings = yaml.safe_load(page_parts.MEANINGS.read_text(encoding="utf-8"))
    listed = set(build.chapters_of(BOOK / "_toc.yml"))
    assert set(meanings) - {"everywhere"} <= listed


def test_the_table_of_execution_names_each_machine_once(report):
    report["02_dsft"]["environment"]["cpu"] = "Another CPU"
    drawn = page_parts.execution(report, list(report))
    assert drawn.count("A CPU") == 1 and drawn.count("Another CPU") == 1
    assert "1\u00a0min\u00a015\u00a0s" in drawn and "2026-11-20 10:00" in drawn


def test_the_errata_say_of_each_finding_whether_it_was_verified_or_inferred():
    text = (BOOK / "errata.md").read_text(encoding="utf-8")
    findings = re.split(r"^### ", text.partition("## Smaller ones")[0], flags=re.M)[1:]
    assert len(findings) == 17
    for finding in findings:
        assert re.search(r"\*\*(Verified|Inferred|verified)\*\*", finding), finding.splitlines()[0]


def test_each_scale_says_what_it_took_or_that_nobody_measured_it(report):
    drawn = page_parts.PARTS["scales measured"](report, list(report))
    rows = {line.split("`")[1]: line for line in drawn.splitlines() if "`" in line}
    assert set(rows) == set(scale_names())
    minutes, cores = len(report) * (35.2 + 40.1) / 60, 2
    for shown in (f"| {minutes:.1f} |", "| 812 |", f"| {minutes * cores / 60:.2f} |"):
        assert shown in rows["miniature"]
    run = real_model.first_seed()
    assert f"| {run['minutes']:.1f} |" in rows["smol/cpu"]
    measured = {name for name, row in rows.items() if "| not measured |" not in row}
    assert measured == {"miniature", "smol/cpu"}


def test_chapters_that_ran_at_once_share_the_cores(report):
    for each in report.values():
        each["at_once"] = 2
    drawn = page_parts.PARTS["scales measured"](report, list(report))
    minutes, cores = len(report) * (35.2 + 40.1) / 60, 2
    assert f"| {minutes:.1f} | 812 | {minutes * cores / 2 / 60:.2f} |" in drawn
    assert "; up to 2 chapters ran at once." in page_parts.PARTS["last run"](report, list(report))


def test_a_run_at_another_scale_is_shown_under_its_own_name(report):
    for each in report.values():
        each["parameters"] = {"scale": "smol"}
    drawn = page_parts.PARTS["chapters measured"](report, list(report))
    assert drawn.startswith("| chapter | smol: minutes |")


def test_the_chapters_of_a_real_run_have_the_times_of_its_steps(report):
    drawn = page_parts.PARTS["chapters measured"](report, list(report))
    rows = {line.split("](")[0][3:]: line.split(" | ") for line in drawn.splitlines()[2:]}
    steps = real_model.first_seed()["steps"]
    exams = sum(steps[f"exam_{name}"]["seconds"] for name in real_model.MODELS)
    assert rows["02_dsft"][4] == f"{steps['dsft']['seconds'] / 60:.1f}"
    assert rows["07_evaluation"][4] == f"{exams / 60:.1f}"
    assert {name for name, row in rows.items() if row[4] != "–"} == set(scale_costs.STEPS) & set(
        report
    )
