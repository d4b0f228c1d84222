"""What chapters measured: the report of a run, the expected ranges, and the table of both."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from zephyr_utils.errors import HandbookError
from zephyr_utils.files import read_json, write_json

REPORT = "report.json"


# chapter -> metric -> (low, high); the first is the headline
Ranges = dict[str, dict[str, tuple[float, float]]]


@dataclass(frozen=True)
class Outside:
    """A metric that fell outside its expected range, or that the chapter did not write (value
    None).
    """

    chapter: str
    metric: str
    value: float | None
    low: float
    high: float

    def __str__(self) -> str:
        value = "is missing" if self.value is None else f"= {self.value:.4g}"
        return f"{self.chapter}: {self.metric} {value}, expected {self.low:g} to {self.high:g}"


def read_ranges(path: Path) -> Ranges:
    """Read and check a file of expected ranges; a chapter without any may be left empty."""
    remedy = "write it as chapter: {metric: [low, high]}, with low <= high"
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
        ranges = {
            chapter: {
                metric: (float(low), float(high)) for metric, (low, high) in (metrics or {}).items()
            }
            for chapter, metrics in content.items()
        }
    except (OSError, yaml.YAMLError, AttributeError, TypeError, ValueError) as error:
        what = f"the expected ranges cannot be read ({error})"
        raise HandbookError(what, where=str(path), remedy=remedy) from error
    for chapter, metrics in ranges.items():
        for metric, (low, high) in metrics.items():
            if not low <= high:
                raise HandbookError(
                    f"{metric}: {low} is above {high}", where=f"{path}, {chapter}", remedy=remedy
                )
    return ranges


def read_report(output_folder: Path) -> dict[str, dict[str, Any]]:
    """Chapter -> what is known of its last whole run: seconds, memory, metrics, ranges, versions.

    ``seconds`` is what that run took; ``seconds_reused`` what an earlier run had spent on artefacts
    that it reused.
    """
    return read_json(Path(output_folder) / REPORT).get("chapters", {})


def outside_of(chapter: str, entry: dict[str, Any]) -> list[Outside]:
    """The metrics of one entry of the report that are missing or not within their range."""
    outside = []
    for metric, (low, high) in entry["ranges"].items():
        value = entry["metrics"].get(metric)
        if not _is_number(value) or not low <= value <= high:
            outside.append(
                Outside(chapter, metric, value if _is_number(value) else None, low, high)
            )
    return outside


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def forget(output_folder: Path, name: str) -> None:
    """Drop the last run of a chapter before the next, so that a failed one leaves no entry."""
    chapters = read_report(output_folder)
    if chapters.pop(name, None):
        write_json(output_folder / REPORT, {"chapters": chapters})


def remember(output_folder: Path, name: str, entry: dict[str, Any]) -> None:
    chapters = read_report(output_folder) | {name: entry}
    write_json(output_folder / REPORT, {"chapters": dict(sorted(chapters.items()))})


def headline(entry: dict[str, Any]) -> str | None:
    """The metric shown for a chapter: the first with a range, else the first number it wrote."""
    numbers = [name for name, value in entry["metrics"].items() if _is_number(value)]
    return next(iter([*entry["ranges"], *numbers]), None)


def print_table(entries: dict[str, dict[str, Any]], console: Console) -> None:
    table = Table(title="What came out", show_footer=True, footer_style="bold")
    table.add_column("chapter", footer="together", no_wrap=True)
    table.add_column(
        "seconds",
        footer=f"{sum(entry['seconds'] for entry in entries.values()):.1f}",
        justify="right",
    )
    most = max(entry["metrics"]["peak_memory_mb"] for entry in entries.values())
    table.add_column("memory MB", footer=f"{most:.0f}", justify="right")
    for title in ("headline", "expected", "inside"):
        table.add_column(title)
    for name, entry in entries.items():
        table.add_row(
            name,
            f"{entry['seconds']:.1f}",
            f"{entry['metrics']['peak_memory_mb']:.0f}",
            *_verdict(name, entry),
        )
    console.print(table)


def _verdict(name: str, entry: dict[str, Any]) -> tuple[str, str, str]:
    """The last three columns of the table: headline number, its range, and whether all metrics are
    inside.
    """
    metric = headline(entry)
    if metric is None:
        return "none", "", ""
    value = entry["metrics"].get(metric)
    shown = f"{metric} {value:.4g}" if _is_number(value) else f"{metric} missing"
    if metric not in entry["ranges"]:
        return shown, "no range yet", ""
    low, high = entry["ranges"][metric]
    outside = outside_of(name, entry)
    return shown, f"{low:g} to {high:g}", "yes" if not outside else f"NO ({len(outside)})"
