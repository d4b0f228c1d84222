"""README's picture: the pipeline, with the means of the seeds that ``make claims`` measured.

Usage: python tools/readme_picture.py

Writes benchmarks/results/pipeline.svg, and between the marks in README the line that shows it, with
its numbers in words. ``python benchmarks/claims.py --write-pages`` does it too, and a test fails
when picture and results are out of step.
"""

import re
import statistics
import sys
from pathlib import Path
from typing import Any

import pipeline_picture

from zephyr_utils.ablations.claims import judge_all
from zephyr_utils.ablations.outcomes import OUTCOMES
from zephyr_utils.ablations.results import FORMAT
from zephyr_utils.ablations.tables import in_words
from zephyr_utils.errors import HandbookError
from zephyr_utils.files import read_json

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "claims.json"
PICTURE = ROOT / "benchmarks" / "results" / "pipeline.svg"
README = ROOT / "README.md"
BLOCK = re.compile(r"<!-- picture -->\n.*?<!-- /picture -->\n", re.S)
EARLIER = (
    " These results belong to an earlier world, whose seeds moved the training alone: "
    "[results](book/results.md)."
)
MODELS = [name for name, _ in pipeline_picture.MODELS]
# The page that shows it has a style of its own, so it brings everything: also its background, for a
# reader whose system and whose page disagree about dark mode.
STYLE = """
svg { background: #ffffff; color: #1f2328; }
.paper { fill: #ffffff; }
text { fill: currentColor; font: 13px system-ui, -apple-system, "Segoe UI", "Liberation Sans", \
Arial, sans-serif; }
text.title { font-size: 15px; font-weight: 600; }
.box, .track { fill: none; stroke: #656d76; }
.box.model { stroke: #0969da; stroke-width: 2.5; }
.arrow { fill: none; stroke: #656d76; stroke-width: 1.5; }
.bar { fill: #0969da; }
.bar.right { fill: #bc4c00; }
@media (prefers-color-scheme: dark) {
  svg { background: #0d1117; color: #e6edf3; }
  .paper { fill: #0d1117; }
  .box, .track, .arrow { stroke: #9198a1; }
  .box.model { stroke: #4493f8; }
  .bar { fill: #4493f8; }
  .bar.right { fill: #f0883e; }
}
"""


def metrics_of(results: dict[str, Any]) -> tuple[dict[str, dict[str, float]], int]:
    """The picture's numbers, means over the seeds that have all three models, and how many those
    are.

    Raises:
        HandbookError: no seed has all three.
    """
    seeds = [rows for rows in results.get("measured", {}).values() if set(MODELS) <= set(rows)]
    if not seeds:
        raise HandbookError(
            "no seed has base, dSFT and dDPO",
            where=str(RESULTS),
            remedy="measure them: make claims",
        )

    def mean(row: str, part: str, name: str) -> float:
        return statistics.mean(seed[row][part][name] for seed in seeds)

    graded = {f"score_{name}": mean(name, "exam", "score") for name in MODELS}
    right = {f"right_{name}": mean(name, "exam", "right") for name in MODELS}
    losses = ("rows_trained", "held_out_loss_before", "held_out_loss")
    metrics = {
        "02_dsft": {name: mean("ddpo", "dsft", name) for name in losses},
        "04_preference_pairs": {"pairs": mean("ddpo", "trained", "rows_in")},
        "06_reward_margins": {
            "accuracy": mean("ddpo", "margins", "accuracy"),
            "mean_margin": mean("ddpo", "margins", "margin"),
        },
        "07_evaluation": graded | right,
    }
    return metrics, len(seeds)


def picture(metrics: dict[str, dict[str, float]]) -> str:
    """The file: one drawing that needs no style sheet."""
    return pipeline_picture.alone(metrics, STYLE)


def dpo_in_words(results: dict[str, Any]) -> str:
    """What dDPO adds to dSFT in both outcomes, with verdicts and intervals, and whether that was
    another world; "" where nobody can say.
    """
    measured = {int(seed): rows for seed, rows in results["measured"].items()}
    found = next(one for one in judge_all(measured) if one.claim.key == "ddpo_adds")
    if found.interval is None:
        return ""
    grade, right = (in_words(found, name) for name in OUTCOMES)
    said = (
        f"dDPO raises the grade: {grade}. "
        f"It raises the share of right answers (percentage points): {right}."
    )
    return f"{said}{'' if results.get('format', 1) == FORMAT else EARLIER}"


def block(metrics: dict[str, dict[str, float]], seeds: int, said: str) -> str:
    """What is between the marks in README.

    Args:
        metrics: as the picture takes them.
        seeds: how many replications they are means of.
        said: what dDPO adds (`dpo_in_words`).
    """
    where = PICTURE.relative_to(ROOT).as_posix()
    return (
        f"<!-- picture -->\n![{pipeline_picture.description(metrics)}]({where})\n\n"
        f"Means of {seeds} replications, drawn from "
        "[what was measured](benchmarks/results/claims.json) by "
        f"`.venv/bin/python tools/readme_picture.py`.\n{said}\n<!-- /picture -->\n"
    )


def main() -> int:
    try:
        results = read_json(RESULTS)
        metrics, seeds = metrics_of(results)
    except HandbookError as error:
        print(error, file=sys.stderr)
        return 1
    PICTURE.write_text(picture(metrics), encoding="utf-8")
    said = dpo_in_words(results)
    text = README.read_text(encoding="utf-8")
    README.write_text(
        BLOCK.sub(lambda _: block(metrics, seeds, said), text, count=1), encoding="utf-8"
    )
    print(f"README's picture of {seeds} seeds is in {PICTURE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
