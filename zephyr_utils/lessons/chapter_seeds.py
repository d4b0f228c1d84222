"""A chapter's own numbers beside those of the same chapter with other seeds.

The numbers are ``benchmarks/results/chapter_seeds.json``, which
``python benchmarks/chapter_seeds.py`` measures; where there are none, a chapter says so and runs.
"""

import statistics
from collections.abc import Mapping
from typing import Any

from zephyr_utils.ablations.results import committed_file
from zephyr_utils.errors import HandbookError
from zephyr_utils.tables import markdown_table

FILE = "chapter_seeds.json"
NOTHING_YET = (
    "No other seeds were measured. (The results come with a clone of the repository; "
    "`python benchmarks/chapter_seeds.py` measures them again.)"
)


def seeds_table(
    chapter: str,
    labels: Mapping[str, str],
    here: Mapping[str, float],
    seed: int,
    known: Mapping[str, Any] | None = None,
) -> str:
    """A Markdown table: what was measured, here and in each of the repository's own runs; below it
    why this run differs from a stored run of the same seed, if it does.

    Args:
        chapter: its name, such as ``10_reward_models``.
        labels: metric -> what the table calls it.
        here: metric -> this run's value.
        seed: of this run.
        known: the file of results; None is the repository's own.

    Raises:
        HandbookError: the runs lack one of the metrics.
    """
    runs = _runs(chapter, known)
    if not runs:
        return NOTHING_YET
    missing = sorted({name for name in labels for metrics in runs.values() if name not in metrics})
    if missing:
        raise HandbookError(
            f"chapter {chapter} was measured without {', '.join(missing)}",
            where=FILE,
            remedy="python benchmarks/chapter_seeds.py, after deleting the chapter's entries",
        )
    seeds = sorted(runs, key=int)
    rows = []
    for name, label in labels.items():
        each = [runs[seed][name] for seed in seeds]
        deviation = f"{statistics.stdev(each):.2f}" if len(each) > 1 else "–"
        spread = f"{_signed(statistics.mean(each))}, {deviation}"
        rows.append([label, _signed(here[name]), ", ".join(map(_signed, each)), spread])
    columns = ["", "this run", f"seeds {', '.join(seeds)}", "mean, SD"]
    table = markdown_table(columns, rows, numbers=range(1, 4))
    stored = runs.get(str(seed))
    if stored is None or all(_signed(here[name]) == _signed(stored[name]) for name in labels):
        return table
    return (
        f"{table}\n\nThis run has seed {seed}, too. Where it differs from the stored seed {seed}, "
        "the machine or the code does: after one other token a sampled run goes another way."
    )


def stored_values(chapter: str, metric: str, known: Mapping[str, Any] | None = None) -> list[float]:
    """One metric of each of the repository's own runs, in the order of their seeds; empty where
    nothing was measured.

    Args:
        chapter: its name, such as ``10_reward_models``.
        metric: as in the chapter's metrics.
        known: the file of results; None is the repository's own.
    """
    runs = _runs(chapter, known)
    return [runs[seed][metric] for seed in sorted(runs, key=int)]


def sign_changes(
    chapter: str, labels: Mapping[str, str], known: Mapping[str, Any] | None = None
) -> tuple[str, int | None]:
    """Which of the differences have not the same sign in all of the runs.

    Returns:
        A sentence; and how many keep their sign: 0 for fewer than half, 1 for half or more, 2 for
        all, None where there are no runs.
    """
    runs = _runs(chapter, known)
    if not runs:
        return NOTHING_YET, None
    turned = [
        label
        for name, label in labels.items()
        if len({metrics[name] > 0 for metrics in runs.values()}) > 1
    ]
    text = f"Of {len(labels)} differences the sign of {len(turned) or 'none'} depends on the seed"
    if not turned:
        return f"{text}.", 2
    kept = int(2 * len(turned) <= len(labels))
    return f"{text}: {'; '.join(turned)}. One run decides none of these.", kept


def _runs(chapter: str, known: Mapping[str, Any] | None) -> dict[str, dict[str, float]]:
    """Seed -> the chapter's metrics."""
    chapters = (committed_file(FILE) if known is None else known).get("chapters", {})
    runs: dict[str, dict[str, float]] = chapters.get(chapter, {})
    return runs


def _signed(number: float) -> str:
    return f"{number:+.2f}".replace("-", "−")
