"""A chapter's own numbers beside those of the same chapter with other seeds.

The numbers are ``benchmarks/results/chapter_seeds.json``, which
``python benchmarks/chapter_seeds.py`` measures; where there are none, a chapter says so and runs.
"""

import statistics
from collections.abc import Mapping
from typing import Any

from zephyr_utils.ablations.results import committed_file
from zephyr_utils.errors import HandbookError

FILE = "chapter_seeds.json"
NOTHING_YET = (
    "No other seeds were measured. (The results come with a clone of the repository; "
    "`python benchmarks/chapter_seeds.py` measures them again.)"
)


def seeds_table(
    chapter: str,
    labels: Mapping[str, str],
    here: Mapping[str, float],
    known: Mapping[str, Any] | None = None,
) -> str:
    """A Markdown table: what was measured, here and in each of the repository's own runs.

    Args:
        chapter: its name, such as ``10_reward_models``.
        labels: metric -> what the table calls it.
        here: metric -> this run's value.
        known: the file of results; None is the repository's own.

    Raises:
        HandbookError: the runs lack one of the metrics.
    """
    runs = (committed_file(FILE) if known is None else known).get("chapters", {}).get(chapter)
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
    rows = [["", "this run", f"seeds {', '.join(seeds)}", "mean, SD"], ["---", *["---:"] * 3]]
    for name, label in labels.items():
        each = [runs[seed][name] for seed in seeds]
        spread = f"{_signed(statistics.mean(each))}, {statistics.stdev(each):.2f}"
        rows.append([label, _signed(here[name]), ", ".join(map(_signed, each)), spread])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def sign_changes(
    chapter: str, labels: Mapping[str, str], known: Mapping[str, Any] | None = None
) -> list[str] | None:
    """The labels of the differences that have not the same sign in all of the runs; None where
    there are no runs.
    """
    runs = (committed_file(FILE) if known is None else known).get("chapters", {}).get(chapter)
    if not runs:
        return None
    return [
        label
        for name, label in labels.items()
        if len({metrics[name] > 0 for metrics in runs.values()}) > 1
    ]


def signs_in_words(labels: Mapping[str, str], turned: list[str] | None) -> str:
    """What `sign_changes` found, as a sentence."""
    if turned is None:
        return NOTHING_YET
    text = f"Of {len(labels)} differences the sign of {len(turned)} depends on the seed"
    return f"{text}: {'; '.join(turned)}. One run decides none of these." if turned else f"{text}."


def share_kept(labels: Mapping[str, str], turned: list[str] | None) -> int | None:
    """How many differences keep their sign: 0 for fewer than half, 1 for half or more, 2 for all;
    None where there are no runs.
    """
    if turned is None:
        return None
    return 2 if not turned else int(2 * len(turned) <= len(labels))


def _signed(number: float) -> str:
    return f"{number:+.2f}".replace("-", "−")
