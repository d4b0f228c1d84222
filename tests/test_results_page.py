"""The page of results: it shows what was measured, and only its own blocks are rewritten."""

import pytest
import results_page as page

from zephyr_utils.ablations.results import Committed
from zephyr_utils.errors import HandbookError
from zephyr_utils.files import read_json


def test_the_page_shows_what_was_measured():
    text = page.PAGE.read_text(encoding="utf-8")
    assert page.filled(text, page.blocks()) == text, "run: python tools/results_page.py"


def test_every_replication_that_the_page_calls_measured_is():
    words = " ".join(page.PAGE.read_text(encoding="utf-8").split())
    assert "Ten replications are measured" in words
    assert len(read_json(page.RESULTS / "claims.json")["measured"]) == 10


def test_undecided_claims_are_counted_in_all_and_among_the_first():
    rows = {
        row: {"exam": {"score": 5.0, "right": 0.5, "ended": 1.0, "tokens": 9.0}}
        for row in ("base", "dsft", "dsft_2", "dsft_more")
    }
    measured = {seed: {name: dict(one) for name, one in rows.items()} for seed in range(3)}
    for seed, grade in enumerate((3.0, 5.0, 7.0)):
        measured[seed]["dsft_2"] = {"exam": rows["dsft_2"]["exam"] | {"score": grade}}
    text = page.claims(Committed(measured, "a machine"))
    assert "stated for: 2 of 3, 1 of them among the first 18. " in text


def test_what_is_around_the_blocks_stays_and_a_second_writing_changes_nothing():
    text = "# Title\n\n<!-- begin: one -->\nold\n<!-- end: one -->\n\nWords.\n"
    once = page.filled(text, {"one": lambda: "| new |"})
    assert once == "# Title\n\n<!-- begin: one -->\n\n| new |\n\n<!-- end: one -->\n\nWords.\n"
    assert page.filled(once, {"one": lambda: "| new |"}) == once


@pytest.mark.parametrize("text", ["", "<!-- begin: two -->\n<!-- end: two -->\n"])
def test_a_page_without_the_marks_of_a_block_is_refused(text):
    with pytest.raises(HandbookError, match="one pair of marks for each of one"):
        page.filled(text, {"one": lambda: ""})


def test_the_hours_are_those_of_the_rows_that_the_first_claims_need():
    took = {"base": [360], "dsft": [720, 1440], "dsft_one_epoch": [360.0], "own_worst": [1800]}
    said = page.hours({"seconds": took, "measured": {"0": {}, "1": {}}})
    # two replications of 0.1 + 0.3 + 0.1 hours, and of 0.5 more
    assert "first 18 claims took 1.0 hours of one core, and all rows 2.0;" in said


def test_a_claim_that_is_not_measured_is_counted_and_not_listed():
    exam = {"score": 5.0, "right": 0.5, "ended": 1.0, "tokens": 9.0}
    measured = {seed: {row: {"exam": exam} for row in ("base", "dsft")} for seed in (0, 1)}
    text = page.claims(Committed(measured, "a machine"))
    assert "dSFT lifts the base model" in text and "not measured |" not in text
    assert "further claims are not measured yet" in text and "β 0.5" not in text


def test_results_of_an_earlier_world_and_replications_that_failed_are_named():
    old = page.claims(Committed({0: {}}, "a machine", format=1))
    assert "These results belong to an earlier world" in old
    new = page.claims(Committed({0: {}}, "a machine", failed={7: {"ipo": "loss is nan"}}))
    assert "earlier world" not in new and "Replication 7 failed in ipo" in new


def test_a_step_is_compared_with_trls_by_the_medians():
    results = read_json(page.RESULTS / "steps.json")
    for arm, ms in {"ours": 50, "in order": 50, "two rows": 100, "bare": 100, "trl": 200}.items():
        results["measured"][arm] = [
            {"cpu_ms": ms * scale, "losses": [0.5, 0.25]} for scale in (1, 1, 9)
        ]
    results["measured"]["two rows"][0]["losses"] = [0.5, 0.2501]
    rows = [line.split(" | ") for line in page.steps(results).splitlines()[2:7]]
    assert [row[1:3] for row in rows] == [
        ["50", "0.25"],
        ["50", "0.25"],
        ["100", "0.50"],
        ["100", "0.50"],
        ["200", "1.00"],
    ]
    assert [row[3].removesuffix(" |") for row in rows] == ["", "0e+00", "1e-04", "", ""]


def test_the_truecasers_are_in_the_table_with_a_dash_where_nothing_was_measured():
    text = page.truecasers()
    assert "| ours |" in text and "| – | – |" in text and "one core of" in text


def measured_in_a_browser():
    grades = {"1": {"pytorch": [0.5, 0.4, 0.6], "browser": 0.45}}
    answers = {"answers": 80, "equal": 79, "questions": 40, "equal in both turns": 40}
    answers["grades"] = grades
    speed = {"browser": 300.0, "pytorch": 600.0, "browser, processor time": 310.0}
    return {
        "goals": {
            "bytes": 2_500_000,
            "logits": 1e-4,
            "equal": 0.98,
            "memory_mb": 200,
            "tokens_per_second": 100,
            "seconds_to_the_first_token": 1.5,
        },
        "answers": {"dSFT": answers},
        "logits": {"largest difference": {"dSFT": 4e-5}},
        "tokens": {"chats": 5000, "differing": 0},
        "checkpoints": {"tokens": 1000, "equal": {"dSFT": {"step 1": 0.99, "step 2": 0.985}}},
        "bytes": {"models": 2_000_000, "checkpoints": 400_000},
        "chromium": {
            "environment": {"cpu": "a CPU", "cores": 2},
            "load_of_the_machine": 8.0,
            "tokens_per_second": {"dSFT": {**speed, "seconds to the first token": 0.2}},
            "memory_mb": {"empty page": 20.0, "three models": 90.0},
        },
    }


def test_the_browsers_models_stand_beside_the_goals():
    text = page.browser(measured_in_a_browser())
    assert "| greedy answers equal, of 80 | 98 % | 98.8 % | yes |" in text
    assert "| of PyTorch's tokens per second in the same minutes |  | 50 % |  |" in text
    assert "2.40 MB" in text and "Of 1,000 tokens at least 98.50 % stay the likeliest" in text
    assert text.endswith("No goal was missed.")
    assert "`benchmarks/browser.py` does it" in page.browser({})


@pytest.mark.parametrize(
    "change, missed",
    [
        (lambda it: it["answers"]["dSFT"].update(equal=78), "greedy answers equal, of 80"),
        (
            lambda it: it["answers"]["dSFT"].update({"equal in both turns": 39}),
            "both answers equal, of 40 questions",
        ),
        (lambda it: it["tokens"].update(differing=1), "tokens"),
        (lambda it: it["checkpoints"]["equal"]["dSFT"].update({"step 2": 0.979}), "checkpoints"),
        (lambda it: it["bytes"].update(models=2_200_000), "bytes"),
        (lambda it: it["chromium"]["memory_mb"].update({"three models": 201}), "memory"),
        (
            lambda it: it["chromium"]["tokens_per_second"]["dSFT"].update(browser=99.0),
            "tokens per second",
        ),
        (
            lambda it: it["answers"]["dSFT"]["grades"]["1"].update(browser=0.39),
            "grades whose share is in the interval of PyTorch's",
        ),
    ],
)
def test_a_goal_that_was_missed_is_named(change, missed):
    results = measured_in_a_browser()
    change(results)
    assert page.browser(results).endswith(f"Missed: {missed}.")
