"""The report as a page: one HTML file, no script, no network; everything that a model or a judge
wrote is escaped.
"""

from collections.abc import Sequence
from typing import Any

from zephyr_utils import figures
from zephyr_utils.evaluation.judgments import CATEGORIES
from zephyr_utils.tables import Markup, as_html, html_table

# Should an escape ever be forgotten, the browser still runs and fetches nothing.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 0 auto; padding: 1rem; }
table { border-collapse: collapse; margin: .5rem 0; display: block; overflow-x: auto; }
caption { text-align: left; font-weight: 600; padding: .3rem 0; }
th, td { border-bottom: 1px solid #8886; padding: .3rem .7rem; }
th, td { text-align: left; vertical-align: top; }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
dt { font-weight: 600; } dd { margin: 0 0 .3rem 1.5rem; }
.said { white-space: pre-wrap; overflow-wrap: anywhere; min-width: 12rem; }
.warnings { border-left: .3rem solid #d55e00; padding: .1rem 1rem; }
summary { cursor: pointer; padding: .3rem 0; } small { opacity: .8; }
"""
_MOST_ANSWERS = 400  # questions shown in full; a page much longer than that opens slowly
_OPEN_WARNINGS = 8
_MOST_OUTLINES = 5  # models in one radar that can still be told apart
_MOST_SPOKES = 24  # categories that it can still name
_MOST_REASONS = 10


def _number(value: float | None, digits: int = 2, sign: bool = False) -> str:
    return "–" if value is None else f"{value:{'+' if sign else ''}.{digits}f}"


def _table(
    caption: str, columns: Sequence[str], rows: Sequence[Sequence[object]], words: int = 1
) -> str:
    """A table whose first ``words`` columns hold words, the others numbers."""
    numbers = range(words, len(columns))
    return html_table(columns, rows, caption=caption, numbers=numbers, row_headers=True)


def _counted(reasons: dict[str, int]) -> str:
    """The most frequent reasons with their counts; report.json holds them all."""
    ranked = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    listed = [f"{count} × {reason}" for reason, count in ranked[:_MOST_REASONS]]
    if len(ranked) > _MOST_REASONS:
        rest = sum(count for _, count in ranked[_MOST_REASONS:])
        listed.append(f"{rest} × {len(ranked) - _MOST_REASONS} other reasons")
    return as_html("; ".join(listed) or "none")


def _differences(rows: list[dict], unit: str) -> str:
    if not rows:
        return ""
    cells = [
        [
            f"{row['first']} − {row['second']}",
            _number(row["mean"], sign=True),
            f"{_number(row['low'], sign=True)} to {_number(row['high'], sign=True)}",
            f"{row['p_value']:.2g}",
            str(row["n"]),
        ]
        for row in rows
    ]
    caption = (
        f"Neighbours in the table, paired item by item ({unit}; 95 % bootstrap interval, sign-flip "
        "p-value)"
    )
    return _table(caption, ["models", "difference", "95 %", "p", "items"], cells)


def _grades(content: dict[str, Any]) -> str:
    grades = content.get("grades")
    if not grades:
        return ""
    rows = [
        [
            model,
            f"{s['overall']:.2f}",
            f"{s['interval']['low']:.2f} to {s['interval']['high']:.2f}",
            _number(s["turn_1"]),
            _number(s["turn_2"]),
            str(s["n_judgments"]),
            str(s["n_failed"]),
            str(s["n_missing"]),
            str(s["n_duplicates"]),
        ]
        for model, s in grades.items()
    ]
    columns = [
        "model",
        "score",
        "95 %",
        "turn 1",
        "turn 2",
        "judgments",
        "failed",
        "missing",
        "repeated",
    ]
    parts = [
        "<h2>Grades</h2>",
        "<p>Mean grade, 1 to 10, over both turns of every question; the interval is a bootstrap "
        "over questions. Failed "
        "judgments are left out of every mean and counted. A grade belongs to its judge: figures "
        "by different judges, "
        "or on different questions, cannot be compared.</p>",
        _table("Two-turn questions, single-answer grading", columns, rows),
        _differences(content.get("grade_differences", []), "grades"),
    ]
    present = {category for s in grades.values() for category in s["by_category"]}
    categories = [c for c in CATEGORIES if c in present] + sorted(present - set(CATEGORIES))
    parts.append(
        _table(
            "By category",
            ["model", *categories],
            [
                [m, *(_number(s["by_category"].get(c)) for c in categories)]
                for m, s in grades.items()
            ],
        )
    )
    whole = {m: s["by_category"] for m, s in grades.items() if set(s["by_category"]) == present}
    drawn = dict(list(whole.items())[:_MOST_OUTLINES])
    if 3 <= len(categories) <= _MOST_SPOKES and drawn:
        fig = figures.category_radar(
            categories, {m: [by[c] for c in categories] for m, by in drawn.items()}
        )
        alt = "; ".join(
            f"{m}: " + ", ".join(f"{c} {by[c]:.1f}" for c in categories) for m, by in drawn.items()
        )
        parts.append(
            figures.figure_html(fig, alt=alt, caption="Mean grade by category, both turns.")
        )
    parts += [
        f"<p><small>{as_html(model)}, failed judgments: {_counted(s['failures'])}</small></p>"
        for model, s in grades.items()
        if s["failures"]
    ]
    return "\n".join(parts)


def _win_rates(content: dict[str, Any]) -> str:
    rates = content.get("win_rates")
    if not rates:
        return ""
    rows = []
    for model, r in rates.items():
        controlled = r["length_controlled"]
        rows.append(
            [
                model,
                _number(r["win_rate"]),
                _number(r["standard_error"]),
                *(
                    str(r[name])
                    for name in ("n_wins", "n_losses", "n_draws", "n_missing", "n_duplicates")
                ),
                "–" if r["average_length"] is None else str(r["average_length"]),
                "–"
                if controlled is None
                else f"{controlled['win_rate']:.2f} ± {controlled['standard_error']:.2f}",
            ]
        )
    columns = [
        "model",
        "win rate %",
        "SE",
        "won",
        "lost",
        "drawn",
        "missing",
        "repeated",
        "characters",
        "length-controlled",
    ]
    left_out = [
        f"<p><small>{as_html(model)}, left out: {_counted(r['missing'])}</small></p>"
        for model, r in rates.items()
        if r["missing"]
    ]
    return "\n".join(
        [
            "<h2>Win rates</h2>",
            "<p>Share of instructions on which the judge preferred the model to the baseline, a "
            "draw counting one half; "
            "SE is the standard error in points. The last column is the handbook's own "
            "length-controlled rate.</p>",
            _table("Against the baseline", columns, rows),
            _differences(content.get("win_rate_differences", []), "percentage points"),
            *left_out,
        ]
    )


def _pairs(content: dict[str, Any]) -> str:
    if not content.get("pairs"):
        return ""
    rows = []
    for p in content["pairs"]:
        decided, controlled = p["decided"], p.get("length_controlled")
        share = (
            "–"
            if decided is None
            else f"{100 * decided['low']:.1f} to {100 * decided['high']:.1f} %"
        )
        rows.append(
            [
                f"{p['model_2']} against {p['model_1']}",
                *(
                    str(p[name])
                    for name in ("n_wins_2", "n_wins_1", "n_ties", "n_inconsistent", "n_errors")
                ),
                _number(p["win_rate_2"], 1),
                share,
                "–" if controlled is None else f"{controlled['win_rate']:.1f}",
                f"{p['n_first_place']} / {p['n_second_place']}",
            ]
        )
    columns = [
        "models",
        "won",
        "lost",
        "tied",
        "contradictory",
        "errors",
        "win rate %",
        "share of decided, 95 %",
    ]
    columns += ["length-controlled", "place 1 / 2 twice"]
    return (
        "<h2>Against each other</h2><p>Each question is judged twice, in both orders; a win counts "
        "only when both orders "
        "name the same model. Where the judge named one place twice, it followed the place and not "
        "the answer.</p>" + _table("Pairwise judging in both orders", columns, rows)
    )


def _academic(content: dict[str, Any]) -> str:
    rows = [
        [
            s["task"],
            s["metric"],
            _number(s["score"]),
            _number(s["standard_error"]),
            s["shots"],
        ]
        for s in content.get("academic", [])
    ]
    if not rows:
        return ""
    return "<h2>Academic tasks</h2>" + _table(
        "As lm-eval reports them", ["task", "metric", "%", "SE", "shots"], rows, words=2
    )


def _answers(content: dict[str, Any]) -> str:
    questions = content.get("answers")
    if not questions:
        return ""
    parts = ["<h2>The answers, side by side</h2>"]
    if len(questions) > _MOST_ANSWERS:
        parts.append(
            f"<p>The first {_MOST_ANSWERS} of {len(questions)} questions; report.json holds them "
            f"all.</p>"
        )
    for question in questions[:_MOST_ANSWERS]:
        models = list(question["turns"][0]["answers"])
        rows = []
        for turn in question["turns"]:
            row = [_said(turn["question"])]
            for model in models:
                said = turn["answers"][model]
                grade = "not graded" if said["score"] is None else f"grade {said['score']:g}"
                why = f": {said['judgment']}" if said["judgment"] else ""
                answer = _said("(no answer)" if said["text"] is None else said["text"])
                row.append(Markup(f"{answer}<small>{as_html(grade + why)}</small>"))
            rows.append(row)
        first = question["turns"][0]["question"]
        opening = first if len(first) <= 90 else first[:87] + "..."
        parts.append(
            f"<details><summary>{as_html(question['question_id'])} · "
            f"{as_html(question['category'])} · {as_html(opening)}</summary>"
            + _table("Each turn", ["question", *models], rows, words=len(models) + 1)
            + "</details>"
        )
    return "\n".join(parts)


def _said(text: str) -> Markup:
    return Markup(f'<div class="said">{as_html(text)}</div>')


def _warnings(messages: list[str]) -> str:
    """The first few in the open; many more would push the figures off the screen and are folded."""
    if not messages:
        return ""
    items = [f"<li>{as_html(message)}</li>" for message in messages]
    shown, folded = items[:_OPEN_WARNINGS], items[_OPEN_WARNINGS:]
    rest = (
        f"<details><summary>{len(folded)} more</summary><ul>{''.join(folded)}</ul></details>"
        if folded
        else ""
    )
    listed = f"<ul>{''.join(shown)}</ul>{rest}"
    return f'<section class="warnings"><h2>Look at these first</h2>{listed}</section>'


def page(content: dict[str, Any]) -> str:
    """The whole page from what :meth:`~zephyr_utils.evaluation.report.Report.content` gives."""
    about = "".join(
        f"<dt>{as_html(name)}</dt><dd>{as_html(value)}</dd>"
        for name, value in content["about"].items()
    )
    look = _warnings(content["warnings"])
    sections = [make(content) for make in (_grades, _pairs, _win_rates, _academic, _answers)]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{as_html(content['title'])}</title><style>{_STYLE}</style></head>\n"
        f"<body><main><h1>{as_html(content['title'])}</h1><dl>{about}</dl>{look}\n"
        + "\n".join(section for section in sections if section)
        + "\n</main></body></html>\n"
    )
