"""How well a real model ranks pairs that it was not trained on, for the page
``book/real-model.md``.
"""

from typing import Any

import real_model
from real_model import Report, interval

from zephyr_utils.tables import markdown_table

PAIRS = {"held_out": "held out", "longer": "too long to train on", "together": "both together"}
KINDS = ("all", "close", "clear")


def measured() -> list[dict[str, Any]]:
    """The seeds of which it was measured."""
    return [run for run in real_model.results()["seeds"] if "ranked" in run]


def what_is_clear(report: Report, chapters: list[str]) -> str:
    """What is called clear, and what too long."""
    found = measured()[0]["ranked"]
    return (
        "A label says which answer the teacher rated higher, and not by how much. Call a pair "
        "*clear* if the ratings of its answers differ by at least "
        f"{found['median_difference']:g}, the median of the training pairs, and *close* otherwise. "
        "Too long to train on are pairs beyond the recipe's limit, of up to "
        f"{found['longest']:,} tokens."
    )


def ranked(report: Report, chapters: list[str]) -> str:
    """Shares of pairs ranked as their ratings rank them, with intervals, and what they say."""
    runs = measured()
    rows = [
        (f"{words}, seed {run['seed']}", *(share(run["ranked"][part][kind]) for kind in KINDS))
        for run in runs
        for part, words in PAIRS.items()
    ]
    table = markdown_table(["pairs", *(f"{kind} [95 %]" for kind in KINDS)], rows)
    return f"{table}\n\n{verdict(runs)}"


def share(found: dict[str, float]) -> str:
    return f"{interval(found | {'estimate': found['accuracy']})} of {found['pairs']}"


def verdict(runs: list[dict[str, Any]]) -> str:
    """Which accuracies, of both kinds of pairs together, are above one half."""
    said = []
    for kind in KINDS:
        above = [run["ranked"]["together"][kind]["low"] > 0.5 for run in runs]
        words = {
            "all": "is above one half",
            "none": "cannot be told from one half",
            "some": f"is above one half in {sum(above)} of {len(runs)} seeds",
        }[real_model.how_many(above)]
        said.append(f"of {kind} pairs it {words}")
    return f"The accuracy on both together: {'; '.join(said)}."


PARTS = {"real model clear pairs": what_is_clear, "real model ranked": ranked}
