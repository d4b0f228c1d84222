"""What the pages in ``book/`` show of the last run, of the recipes, of published figures and of the
package itself: Markdown, made again at every build, so that it cannot go stale. A page asks for a
part by a line ``<!-- NAME -->``.
"""

import functools
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import api_reference
import cli_reference
import pipeline_picture
import real_costs
import real_feedback
import real_model
import real_pairs
import scale_costs
import yaml
from docstrings import prose

from zephyr_utils.data import layout_table
from zephyr_utils.errors import HandbookError
from zephyr_utils.pipeline.chapter_report import headline, outside_of
from zephyr_utils.published import published_table
from zephyr_utils.recipes import Stage, recipe_path
from zephyr_utils.scales import SCALES
from zephyr_utils.tables import markdown_table

MARK = re.compile(r"^<!-- ([a-z0-9 _-]+) -->$", re.M)
MEANINGS = Path(__file__).resolve().parents[1] / "book" / "metrics.yaml"
LIBRARIES = ("torch", "transformers", "trl", "peft", "datasets")
AS_PAPER = "zephyr-7b-full"  # our recipe that is meant to repeat the paper's
# A recipe's keys whose product is the rows of one step on one process.
BATCH = ("per_device_train_batch_size", "gradient_accumulation_steps")
# How the published tables' columns are headed where a name has capitals.
HEADS = {
    "mt_bench": "MT-Bench",
    "alpaca_eval": "AlpacaEval",
    "alpaca_eval_error": "its error",
    "arc": "ARC",
    "hellaswag": "HellaSwag",
    "mmlu": "MMLU",
    "truthfulqa": "TruthfulQA",
}

Report = dict[str, dict[str, Any]]


def fill(page: str, report: Report, chapters: list[str], where: str = "") -> str:
    """A page with every mark replaced by what it asks for.

    Raises:
        HandbookError: there is nothing of that name, or the last run lacks what the part shows.
    """

    def part(mark: re.Match[str]) -> str:
        if mark[1] not in PARTS:
            remedy = f"ask for one of: {', '.join(PARTS)}"
            raise HandbookError(f"there is no part {mark[1]!r}", where=where, remedy=remedy)
        return PARTS[mark[1]](report, chapters)

    return MARK.sub(part, page)


def seconds_in_words(seconds: float) -> str:
    """``8.2`` -> ``8 s``, ``75`` -> ``1 min 15 s``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def number(value: Any) -> str:
    """A metric as a reader wants it: whole numbers whole, others with four digits."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return prose(str(value))
    whole = float(value).is_integer() or abs(value) >= 1000
    return f"{value:,.0f}" if whole and abs(value) < 1e9 else f"{value:.4g}"


def _between(low: float, high: float) -> str:
    """A range with the digits of a metric; one number where both ends are the same."""
    return number(low) if low == high else f"{number(low)} to {number(high)}"


def chapter_link(name: str, words: str = "") -> str:
    """A link to a chapter from a page beside the folder of the chapters."""
    return f"[{words or name[:2]}](notebooks/{name})"


def picture(report: Report, chapters: list[str]) -> str:
    """The pipeline as a drawing."""
    metrics = {name: report[name]["metrics"] for name in chapters}
    if missing := pipeline_picture.missing_metrics(metrics):
        raise HandbookError(
            "\n".join(missing),
            remedy="let the chapter write it, or change tools/pipeline_picture.py",
        )
    return f"```{{raw}} html\n{pipeline_picture.figure(metrics)}\n```"


def last_run(report: Report, chapters: list[str]) -> str:
    """The front page's table of the last run."""
    rows = []
    for name in chapters:
        entry = report[name]
        metric = headline(entry)
        value = entry["metrics"].get(metric)
        shown = f"`{metric}` = {number(value)}" if isinstance(value, int | float) else ""
        expected, inside = "–", ""
        if metric in entry["ranges"]:
            low, high = entry["ranges"][metric]
            expected, inside = _between(low, high), "no" if outside_of(name, entry) else "yes"
        rows.append(
            [chapter_link(name, name), _took(entry), _memory(entry), shown, expected, inside]
        )
    together = sum(report[name]["seconds"] + report[name]["seconds_reused"] for name in chapters)
    drawn = markdown_table(
        ["chapter", "time", "memory", "headline", "expected", "inside"], rows, numbers=(1, 2)
    )
    most = max(report[name].get("at_once", 1) for name in chapters)
    beside = f"; up to {most} chapters ran at once" if most > 1 else ""
    return f"{drawn}\n\nAdded up, the chapters took {seconds_in_words(together)}{beside}."


def _took(entry: dict[str, Any]) -> str:
    return _unbroken(seconds_in_words(entry["seconds"] + entry["seconds_reused"]))


def _memory(entry: dict[str, Any]) -> str:
    return _unbroken(f"{entry['metrics']['peak_memory_mb']:,.0f} MB")


def _unbroken(words: str) -> str:
    """The same in one line: narrow columns of numbers break badly."""
    return words.replace(" ", "\u00a0")


def machine_of(stamp: dict[str, Any]) -> str:
    """The machine of an environment stamp, in words."""
    cores = "1 core" if stamp["cores"] == 1 else f"{stamp['cores']} cores"
    machine = f"{cores} of {stamp['cpu']}, {stamp['memory_gb']:.0f} GB"
    return machine if stamp["accelerator"] == "none" else f"{machine}, {stamp['accelerator']}"


def execution(report: Report, chapters: list[str]) -> str:
    """Chapter by chapter: when, how long, how much memory, on what, with which versions."""
    rows, stamps = [], []
    for name in chapters:
        entry = report[name]
        stamp = entry["environment"]
        versions = ", ".join(f"{library} {stamp[library]}" for library in LIBRARIES)
        line = f"{machine_of(stamp)}; Python {stamp['python']}, {versions}"
        if line not in stamps:
            stamps.append(line)
        rows.append(
            [
                chapter_link(name, name),
                entry["finished"][:16].replace("T", " "),
                _took(entry),
                _unbroken(seconds_in_words(entry["seconds_reused"])),
                _memory(entry),
                str(stamps.index(line) + 1),
            ]
        )
    columns = ["chapter", "finished (UTC)", "time", "of it reused", "peak memory", "machine"]
    machines = "\n".join(f"{place}. {line}" for place, line in enumerate(stamps, start=1))
    drawn = markdown_table(columns, rows, numbers=(1, 2, 3, 4))
    return f"{drawn}\n\nMachines and versions:\n\n{machines}"


def metrics(report: Report, chapters: list[str]) -> str:
    """Every number that the last run wrote, what it means, and the range it should fall into."""
    meanings = yaml.safe_load(MEANINGS.read_text(encoding="utf-8"))
    parts = []
    for name in chapters:
        entry, rows = report[name], []
        for metric, value in entry["metrics"].items():
            low_high = entry["ranges"].get(metric)
            expected = _between(*low_high) if low_high else ""
            known = meanings.get(name, {}).get(metric) or meanings["everywhere"].get(metric, "")
            rows.append([f"`{metric}`", number(value), expected, known])
        drawn = markdown_table(["metric", "last run", "expected", "what it is"], rows, numbers=(1,))
        parts.append(f"### Chapter {name[:2]}\n\n{cli_reference.stacked(drawn, 'metrics')}")
    return "\n\n".join(parts)


def recipes(stage: Stage) -> str:
    """Paper, model card, code and our recipes side by side for ``dsft`` or ``ddpo``: two tables and
    the sources.
    """
    values = published_table(f"{stage}_recipes")
    ours = {
        name: yaml.safe_load(recipe_path(name, stage).read_text(encoding="utf-8"))
        for name in SCALES
    }
    given = {
        "paper": "paper",
        "card": "model card",
        "code_2023": "code 2023",
        "code_2025": "code 2025",
    }
    theirs = [
        [
            _setting(row),
            *(row[column] or "–" for column in given),
            _ours(ours[AS_PAPER], row["argument"]),
        ]
        for row in values.rows
    ]
    all_ours = [
        [_setting(row), *(_ours(recipe, row["argument"]) for recipe in ours.values())]
        for row in values.rows
        if row["argument"]
    ]
    side_by_side = markdown_table(["setting", *given.values(), f"ours, `{AS_PAPER}`"], theirs)
    scales = markdown_table(["setting", *(f"`{name}`" for name in SCALES)], all_ours)
    sources = f"*Sources.* {values.source}. {values.note}"
    return f"{side_by_side}\n\n{sources}\n\nOur recipes at every scale:\n\n{scales}"


def _setting(row: dict[str, Any]) -> str:
    """A setting with TRL's name for it below."""
    argument = {"batch": "batch × accumulation", None: ""}.get(row["argument"], row["argument"])
    return row["setting"] + (f"<br>`{argument}`" if argument else "")


def _ours(recipe: dict[str, Any], argument: str | None) -> str:
    if argument is None:
        return ""
    if argument == "batch":
        return str(recipe[BATCH[0]] * recipe.get(BATCH[1], 1))
    value = recipe.get(argument)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and argument == "warmup_steps":
        return pipeline_picture.percent(value)
    if argument == "learning_rate":
        return f"{value:.1e}".replace(".0e", "e").replace("e-0", "e-")
    return "–" if value is None else number(value)


def published(name: str) -> str:
    """One table of `zephyr_utils.published`, with its source and how to read it."""
    source = published_table(name)
    columns = list(dict.fromkeys(key for row in source.rows for key in row))
    places = {column: _decimals(row.get(column) for row in source.rows) for column in columns}
    rows = [
        [_published(row.get(column), places[column]) for column in columns] for row in source.rows
    ]
    numeric = tuple(
        place
        for place, column in enumerate(columns)
        if all(isinstance(row.get(column), int | float | None) for row in source.rows)
    )
    heads = [HEADS.get(column, column.replace("_", " ")) for column in columns]
    drawn = markdown_table(heads, rows, numbers=numeric)
    return f"**{source.title}**\n\n{drawn}\n\n*Source.* {source.source}. {source.note}"


def _decimals(values: Iterable[Any]) -> int:
    """How many decimals the column's most exact figure has: a source that prints 61.60 is shown as
    61.60.
    """
    return max(
        (len(str(value).partition(".")[2]) for value in values if isinstance(value, float)),
        default=0,
    )


def _published(value: Any, places: int) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.{places}f}"
    return f"{value[0]:g} to {value[1]:g}" if isinstance(value, list) else str(value)


def _published_part(name: str, report: Report, chapters: list[str]) -> str:
    return published(name)


PARTS: dict[str, Callable[[Report, list[str]], str]] = {
    "picture": picture,
    "last run": last_run,
    "execution": execution,
    "metrics": metrics,
    "layouts accepted": lambda report, chapters: cli_reference.stacked(
        layout_table.accepted_table(), "layouts"
    ),
    "layouts refused": lambda report, chapters: layout_table.refused_table(),
    "layouts examples": lambda report, chapters: layout_table.examples(),
    "api packages": lambda report, chapters: api_reference.overview(),
    "command line": lambda report, chapters: cli_reference.command_reference(),
    "recipes dsft": lambda report, chapters: recipes("dsft"),
    "recipes ddpo": lambda report, chapters: recipes("ddpo"),
    **real_model.PARTS,
    **real_feedback.PARTS,
    **real_costs.PARTS,
    **real_pairs.PARTS,
    **scale_costs.PARTS,
    **{
        f"published {name}": functools.partial(_published_part, name)
        for name in ("table_1", "table_2", "table_3", "training_runs")
    },
}
