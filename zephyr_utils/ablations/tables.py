"""Models and claims as Markdown tables, grade and right answers side by side."""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from zephyr_utils.ablations.catalogue import ABLATIONS
from zephyr_utils.ablations.outcomes import GRADE, RIGHT, by_question
from zephyr_utils.ablations.statistics import measure_effect
from zephyr_utils.ablations.verdicts import ClaimResult, Measured
from zephyr_utils.published import published_table
from zephyr_utils.tables import markdown_table

# outcome -> how its numbers are shown, and in which unit (right answers in percentage points)
_FORMS = {GRADE: (".2f", 1), RIGHT: (".1f", 100)}
_OTHER = (".3f", 1)


def models_table(measured: Measured, rows: Iterable[str]) -> str:
    """Grade and share of right answers of the ablations with their intervals, length, share of
    answers that end, and what the paper's table 3 has: a Markdown table, a line a row; rows of
    fewer than two replications are left out.
    """
    published = {row["setting"]: row["mt_bench"] for row in published_table("table_3").rows}

    def paper(name: str) -> str:
        number = published.get(ABLATIONS[name].label.replace("without", "-"))  # "dDPO - dSFT"
        return f"{number:.2f}" if number else ""

    labels = {name: ABLATIONS[name].label for name in rows}
    return _outcomes_table(measured, labels, "paper's MT-Bench", paper)


def methods_table(measured: Measured, labels: Mapping[str, str]) -> str:
    """As `models_table`, with the mean KL divergence from the dSFT model in place of the paper's
    number, which these methods do not have.

    Args:
        labels: row -> what the table calls it; rows without an exam are left out.
    """

    def distance(name: str) -> str:
        found = [rows[name]["kl"] for rows in measured.values() if "kl" in rows.get(name, {})]
        # an estimate: dSFT's own may lie a little below zero; adding 0 takes the sign of "-0.00"
        return f"{round(sum(found) / len(found), 2) + 0:.2f}" if found else ""

    return _outcomes_table(measured, labels, "KL from dSFT, nats", distance)


def _outcomes_table(
    measured: Measured, labels: Mapping[str, str], more: str, cell: Callable[[str], str]
) -> str:
    """Label, outcomes, length, endings, one column `more`, and the number of replications."""
    lines = []
    for name, label in labels.items():
        found = [results[name] for results in measured.values() if name in results]
        exams = [one["exam"] for one in found if "exam" in one]
        if len(exams) < 2:
            continue
        cells = [
            _value(exams, GRADE),
            _value(exams, RIGHT),
            _mean(exams, "tokens", ".1f"),
            _mean(exams, "ended", ".0%"),
        ]
        lines.append((label, *cells, cell(name), len(exams)))
    outcomes = ("grade [95 %]", "right, % [95 %]", "tokens", "ends by itself")
    return markdown_table(("model", *outcomes, more, "replications"), lines)


def processors_table(measured: Mapping[str, Mapping[str, Sequence[Mapping[str, float]]]]) -> str:
    """The difference that the instruction set makes, seed by seed, and beside it the spread over
    seeds: a Markdown table.

    Args:
        measured: instruction set -> row -> an exam's ``score`` and ``right`` for each seed.
    """
    own, other = measured.values()
    lines = []
    for row in own:
        cells: list[Any] = []
        for key, form, unit in (("score", "+.2f", 1), ("right", "+.1f", 100)):
            values = [unit * exam[key] for exam in own[row]]
            gaps = [v - unit * exam[key] for v, exam in zip(values, other[row], strict=True)]
            cells.append(", ".join(f"{gap:{form}}" for gap in gaps).replace("-", "−"))
            cells.append(f"{statistics.stdev(values):{form[1:]}}" if len(values) > 1 else "")
        lines.append((row, *cells))
    names = " − ".join(name.upper() for name in measured)
    head = ("model", f"grade, {names}", "over seeds", f"right, points, {names}", "over seeds")
    return markdown_table(head, lines)


def _value(exams: Sequence[dict[str, Any]], outcome: str) -> str:
    try:
        values = [by_question(exam, outcome) for exam in exams]
    except KeyError:  # a judge that knows no right answers
        return ""
    interval = measure_effect([one[np.isfinite(one)] for one in values]).interval()
    form, unit = _FORMS[outcome]
    mean, low, high = (
        f"{unit * number:{form}}" for number in (interval.estimate, interval.low, interval.high)
    )
    return f"{mean} [{low}, {high}]"


def _mean(exams: Sequence[dict[str, Any]], key: str, form: str) -> str:
    values = [exam[key] for exam in exams if key in exam]
    return f"{sum(values) / len(values):{form}}".replace("%", " %") if values else ""


def findings_table(findings: Iterable[ClaimResult]) -> str:
    """Claim, verdict and difference in both outcomes, what could have been found, length, paper and
    how many replications: a Markdown table.
    """
    head = [
        "claim",
        "grade",
        "right answers, points",
        "80 % power",
        "tokens",
        "paper",
        "replications",
    ]
    lines = []
    for result in findings:
        first, second = _cells(result)
        longer = "" if result.longer is None else f"{result.longer:+.1f}".replace("-", "−")
        line = [result.claim.text, first, second, _power(result), longer, result.claim.paper]
        lines.append([*line, result.replications])
    return markdown_table(head, lines)


def reasons_table(findings: Iterable[ClaimResult]) -> str:
    """Claim, verdict and what we make of it, of those that have a reason: a Markdown table."""
    lines = [(found.claim.text, found.verdict, found.why) for found in findings if found.why]
    return markdown_table(("claim", "verdict", "measured"), lines)


def _cells(result: ClaimResult) -> tuple[str, str]:
    """What is under the two outcomes; a number of its own is under the first."""
    cells = [in_words(result, name) for name in result.claim.outcomes]
    return cells[0], cells[1] if len(cells) > 1 else ""


def in_words(result: ClaimResult, outcome: str) -> str:
    """Verdict, estimate, 95 % interval and corrected p-value of one outcome, right answers in
    percentage points; a claim's own number with three digits. A difference that is certain and yet
    within the margin says so.
    """
    found = result.findings.get(outcome)
    if found is None:
        return "not measured"
    form, unit = _FORMS.get(outcome, _OTHER)
    interval = found.effect.interval()
    sign = "" if outcome not in _FORMS else "+"
    mean, low, high = (
        f"{unit * number:{sign}{form}}".replace("-", "−")
        for number in (interval.estimate, interval.low, interval.high)
    )
    p_value = f"p = {found.p_corrected:.3f}" if found.p_corrected >= 0.0005 else "p < 0.001"
    certain = found.verdict in ("holds", "does not hold")
    small = ", within the margin" if certain and found.small else ""
    return f"**{found.verdict}**{small}: {mean} [{low}, {high}], {p_value}"


def _power(result: ClaimResult) -> str:
    cells = []
    for outcome in result.claim.outcomes:
        if found := result.findings.get(outcome):
            form, unit = _FORMS.get(outcome, _OTHER)
            cells.append(f"{unit * found.effect.detectable:{form}}")
    return "; ".join(cells)


def undecided(findings: Iterable[ClaimResult]) -> list[str]:
    """The keys of the claims that are undecided on the outcome that they are stated for."""
    return [found.claim.key for found in findings if found.verdict == "undecided"]
