"""What the page ``book/real-model.md`` shows of a real model's run, from
``benchmarks/results/smol.json``, beside the miniature's numbers of the last run.
"""

import html
import itertools
import re
from functools import cache
from pathlib import Path
from typing import Any

from pipeline_picture import percent

from zephyr_utils import figures
from zephyr_utils.errors import HandbookError
from zephyr_utils.files import read_json
from zephyr_utils.tables import Markup, html_table, markdown_table

RESULTS = Path(__file__).resolve().parents[1] / "benchmarks" / "results" / "smol.json"
RATES = RESULTS.with_name("smol_rates.json")
STEPS = {
    "truecasing": "truecasing",
    "dsft": "dSFT",
    "pairs": "pairs",
    "ddpo": "dDPO",
    "margins": "reward margins",
    "exam_base": "exam, start",
    "exam_dsft": "exam, dSFT",
    "exam_ddpo": "exam, dDPO",
}
MODELS = {"base": "start", "dsft": "dSFT", "ddpo": "dDPO"}
Report = dict[str, dict[str, Any]]


@cache
def results() -> dict[str, Any]:
    """The committed run.

    Raises:
        HandbookError: there is none.
    """
    return committed(RESULTS, "seeds", "python benchmarks/smol.py --base-model DIR")


def committed(path: Path, needed: str, command: str) -> dict[str, Any]:
    """A file of results.

    Args:
        path: of the file; needed: a key without whose value there is nothing to show.
        command: what makes the file.

    Raises:
        HandbookError: there is none.
    """
    found = read_json(path)
    if not found.get(needed):
        raise HandbookError("there is no run of a real model", where=str(path), remedy=command)
    return found


def first_seed() -> dict[str, Any]:
    return results()["seeds"][0]


def machine(report: Report, chapters: list[str]) -> str:
    """On what it ran, and how long."""
    stamp, run = results()["environment"], first_seed()
    precision = "float32"
    if run["bf16"]:
        precision = (
            "bfloat16 (`--set dsft.bf16=true --set ddpo.bf16=true`), in which this CPU multiplies"
        )
    return (
        f"Seed {run['seed']} took {run['minutes']:.0f} minutes and {run['peak_memory_gb']:.1f} GB "
        f"on {stamp['cores']} cores of {stamp['cpu']}, trained in {precision}: torch "
        f"{stamp['torch']}, transformers {stamp['transformers']}, TRL {stamp['trl']}."
        f"{further_seeds()}"
    )


def further_seeds() -> str:
    """What is said of the seeds after the first: how they were run, and with how much memory."""
    sentences = []
    for run in results()["seeds"][1:]:
        at_once, words = run["pairs_at_once"], f"Seed {run['seed']} ran"
        if "minutes" not in run:
            words += " beside other work, so its times are left out"
        if at_once != first_seed()["pairs_at_once"]:
            words += f", and took {at_once} pair{'s' * (at_once > 1)} at once in dDPO"
        sentences.append(f" {words}; its peak was {run['peak_memory_gb']:.1f} GB.")
    return "".join(sentences)


def times(report: Report, chapters: list[str]) -> str:
    """Each step: time, memory, rows."""
    rows = []
    for name, words in STEPS.items():
        step = first_seed()["steps"][name]
        out = step.get("rows_out", step.get("rows_trained", step.get("pairs", "–")))
        peak = f"{step['peak_memory_mb']:,.0f}" if "peak_memory_mb" in step else "–"
        rows.append((words, f"{step['seconds']:,.0f}", peak, out))
    return markdown_table(["step", "seconds", "peak MB", "rows"], rows, numbers=(1, 2, 3))


def outcomes(report: Report, chapters: list[str]) -> str:
    """What training changed in each seed, with intervals, beside the miniature."""
    runs = results()["seeds"]

    def miniature(chapter: str, metric: str, digits: int) -> str:
        value = report.get(chapter, {}).get("metrics", {}).get(metric)
        return "–" if value is None else f"{value:.{digits}f}"

    columns = [outcome_of(run) for run in runs]
    beside = {
        "held-out loss of dSFT, nats per token": f"→ {miniature('02_dsft', 'held_out_loss', 3)}",
        "first loss of dDPO (ln 2 = 0.6931)": miniature("05_ddpo", "first_step_loss", 4),
        "held-out preference accuracy [95 %]": miniature("06_reward_margins", "accuracy", 3),
    }
    rows = [
        (name, *(column[name] for column in columns), beside.get(name, "–")) for name in columns[0]
    ]
    heads = ["SmolLM2-135M", *(f"seed {run['seed']}" for run in runs), "miniature"]
    table = markdown_table(heads, rows, numbers=range(1, len(heads)))
    return f"{table}\n\n{verdict(runs)}"


def outcome_of(run: dict[str, Any]) -> dict[str, Any]:
    """One seed's column of the table."""
    loss, margins, dpo = run["held_out_loss"], run["steps"]["margins"], run["steps"]["ddpo"]
    of_words, of_words_change = words_of(loss)
    return {
        "held-out loss of dSFT, nats per token": f"{loss['base']:.3f} → {loss['dsft']:.3f}",
        "its change [95 %]": interval(loss["change"], signed=True),
        "loss of the messages' own words": of_words,
        "its change, own words [95 %]": of_words_change,
        "held-out dialogues": loss["dialogues"],
        "optimiser steps of dDPO": max(row["step"] for row in run["curves"]["ddpo"]),
        "first loss of dDPO (ln 2 = 0.6931)": f"{dpo['first_step_loss']:.4f}",
        "held-out preference accuracy [95 %]": f"{margins['accuracy']:.3f} "
        f"[{margins['accuracy_low']:.3f}, {margins['accuracy_high']:.3f}]",
        "held-out pairs": margins["pairs"],
        "mean reward margin": f"{margins['margin']:.3f}",
    }


def rates(report: Report, chapters: list[str]) -> str:
    """The learning rates that were compared."""
    rows = [
        (
            f"{row['learning_rate']:.0e}",
            f"{row['after_epoch']} of {row['epochs']}",
            f"{row['last_steps']['rewards/accuracies']:.2f}",
            f"{row['loss']:.3f}",
            f"{row['accuracy']:.3f}",
        )
        for row in read_json(RATES)["rows"]
    ]
    columns = ["rate", "after epoch", "accuracy, last 8 steps", "loss", "accuracy"]
    return markdown_table(columns, rows, numbers=range(5))


def words_of(loss: dict[str, Any]) -> tuple[str, str]:
    """The loss of the messages' own words, without what the template writes, and its change; dashes
    where only all tokens were measured.
    """
    if not (words := loss.get("of_words")):
        return "–", "–"
    return f"{words['base']:.3f} → {words['dsft']:.3f}", interval(words["change"], signed=True)


def verdict(runs: list[dict[str, Any]]) -> str:
    """What the intervals of all seeds say of both stages."""
    lowered = [run["held_out_loss"]["change"]["high"] < 0 for run in runs]
    ranked = [run["steps"]["margins"]["accuracy_low"] > 0.5 for run in runs]
    first = {
        "all": "dSFT lowers the loss of dialogues that it has not seen.",
        "none": "The change of the loss cannot be told from none.",
        "some": f"dSFT lowers the loss in {sum(lowered)} of {len(runs)} seeds.",
    }[how_many(lowered)]
    second = {
        "all": "dDPO ranks held-out pairs better than chance does.",
        "none": "The accuracy of dDPO on so few held-out pairs cannot be told from one half; more "
        "pairs are measured below.",
        "some": "The accuracy of dDPO on held-out pairs is above one half in "
        f"{sum(ranked)} of {len(runs)} seeds, and cannot be told from it in the others.",
    }[how_many(ranked)]
    third = ""
    if len(runs) > 1:
        third = (
            f" The {len(runs)} seeds train on the same rows and are measured on the same held-out "
            "ones, so the intervals are not narrower taken together: a seed changes the adapter's "
            "first weights and the order of the rows."
        )
    return f"{first}{of_template(runs)} {second}{third}"


def of_template(runs: list[dict[str, Any]]) -> str:
    """How much of the loss's fall lies in what the template writes, in the first seed that was
    measured so.
    """
    measured = [run["held_out_loss"] for run in runs if "of_words" in run["held_out_loss"]]
    if not measured:
        return ""
    loss, words = measured[0], measured[0]["of_words"]["change"]
    template = 1 - measured[0]["words"] * words["estimate"] / loss["change"]["estimate"]
    own = (
        "fell, too"
        if words["high"] < 0
        else "rose"
        if words["low"] > 0
        else "cannot be told from none: its interval holds 0"
    )
    return (
        f" But {percent(template)} of the fall lies in the tokens that the chat template writes, "
        "the same in every row (markers, ends, a system turn). The loss of the messages' own words "
        f"{own}."
    )


def how_many(held: list[bool]) -> str:
    return "all" if all(held) else "some" if any(held) else "none"


def interval(found: dict[str, float], signed: bool = False) -> str:
    sign = "+" if signed else ""
    return f"{found['estimate']:{sign}.3f} [{found['low']:{sign}.3f}, {found['high']:{sign}.3f}]"


def exam(report: Report, chapters: list[str]) -> str:
    """The exam's grades of the three models, in each seed."""
    runs = results()["seeds"]
    rows = []
    for run, (name, words) in itertools.product(runs, MODELS.items()):
        if not (found := run["steps"].get(f"exam_{name}")):
            continue  # a further seed has the start's greedy answers
        if name != "base" and len(runs) > 1:
            words = f"{words}, seed {run['seed']}"
        rows.append(
            (
                words,
                f"{found['score']:.2f}",
                percent(found["right_turn_1"]),
                percent(found["right_turn_2"]),
                percent(found["ended"]),
                f"{found['tokens']:.0f}",
            )
        )
    columns = ["model", "grade", "right, turn 1", "right, turn 2", "ends by itself", "tokens"]
    return markdown_table(columns, rows, numbers=range(1, 6))


def curves(report: Report, chapters: list[str]) -> str:
    """Loss of dSFT, and rewards of dDPO."""
    logs = first_seed()["curves"]

    def series(stage: str, name: str) -> dict[float, float]:
        return {row["step"]: row[name] for row in logs[stage] if name in row}

    names = [
        f"{prefix}rewards/{key}"
        for prefix in ("", "eval_")
        for key in ("chosen", "rejected", "margins", "accuracies")
    ]
    losses, rewards = series("dsft", "loss"), {n: v for n in names if (v := series("ddpo", n))}
    margins = list(rewards["rewards/margins"].values())
    drawn = (
        figures.figure_html(
            figures.loss_curve({"training": losses}),
            alt=f"The loss of dSFT over {len(losses)} steps, from {first_and_last(losses)}.",
            caption="dSFT: the loss of each step's dialogues, before the step.",
        ),
        figures.figure_html(
            figures.reward_curves(rewards),
            alt=f"Rewards of dDPO over {len(margins)} steps; the margin goes from "
            f"{margins[0]:.2f} to {margins[-1]:.2f}.",
            caption="dDPO: implicit rewards, their margin and the share of pairs ranked rightly.",
        ),
    )
    return raw("\n".join(drawn))


def first_and_last(series: dict[float, float]) -> str:
    values = list(series.values())
    return f"{values[0]:.2f} to {values[-1]:.2f}"


def dialogue(report: Report, chapters: list[str]) -> str:
    """A real dialogue, before and after truecasing; changed words are marked."""
    shown = results()["shown"]["dialogue"]
    rows = []
    for before, after in zip(shown["before"], shown["after"], strict=True):
        marked = marked_changes(before["content"], after["content"])
        rows.append((after["role"], Markup(marked[0]), Markup(marked[1])))
    return scrolling(html_table(["turn", "before", "after"], rows, css_class="texts"))


def marked_changes(before: str, after: str) -> tuple[str, str]:
    """Both texts as HTML, with the words that differ marked."""
    pairs = zip(re.split(r"(\s)", before), re.split(r"(\s)", after), strict=True)
    sides: tuple[list[str], list[str]] = ([], [])
    for words in pairs:
        for side, word in zip(sides, words, strict=True):
            text = html.escape(word)
            side.append(f"<mark>{text}</mark>" if words[0] != words[1] else text)
    return "".join(sides[0]), "".join(sides[1])


def tokens(report: Report, chapters: list[str]) -> str:
    """The first exchange's tokens under the model's template."""
    spans = [
        f'<span class="token">{html.escape(text).replace(chr(10), "↵")}</span>'
        for text in results()["shown"]["tokens"]
    ]
    return raw(f'<p class="tokens">{"".join(spans)}</p>')


def answers(report: Report, chapters: list[str]) -> str:
    """Three held-out prompts, answered by each model."""
    shown = results()["shown"]
    rows = [
        {
            "prompt": prompt,
            **{MODELS[name]: shown["answers"][name][number]["text"] for name in MODELS},
        }
        for number, prompt in enumerate(shown["prompts"])
    ]
    caption = "Greedy decoding, 160 tokens at most."
    return scrolling(figures.before_after_table(rows, caption=caption), "stacked answers")


def scrolling(table: str, also: str = "") -> str:
    """A table that scrolls by itself where it is wider than a phone; by keyboard, too. The element
    around it has the classes `also`, for the style sheet.
    """
    classes = f"pst-scrollable-table-container {also}".strip()
    return raw(f'<div class="{classes}" tabindex="0">{table}</div>')


def raw(text: str) -> str:
    """HTML in a page, within a fence that no text of a model or a dialogue can close."""
    fence = "`" * (1 + max([2, *map(len, re.findall("`+", text))]))
    return f"{fence}{{raw}} html\n{text}\n{fence}"


PARTS = {
    "real model machine": machine,
    "real model times": times,
    "real model outcomes": outcomes,
    "real model rates": rates,
    "real model exam": exam,
    "real model curves": curves,
    "real model dialogue": dialogue,
    "real model tokens": tokens,
    "real model answers": answers,
}
