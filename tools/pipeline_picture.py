"""The pipeline as a picture, with its numbers: the front page's of the last run, and README's. SVG.

The front page has two of it, one for wide pages and one for phones; the style sheet shows the one
that fits. Colours come from the style sheet too, so that dark mode follows, and nothing is
shown by colour alone.
"""

from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

LOWEST, HIGHEST = 1, 10  # the scale of MT-Bench's grades
MODELS = (("base", "Base model"), ("dsft", "after dSFT"), ("ddpo", "after dDPO"))
BOX_HEIGHT, GAP = 88, 30
BAR, BETWEEN = 15, 12  # a bar's height; between models
LONGEST_LINE = 28  # letters that fit into a box, even in a wide font

# Chapter -> the metrics that the picture shows; a missing one is an error, and not a gap.
NEEDED = {
    "02_dsft": ("rows_trained", "held_out_loss_before", "held_out_loss"),
    "03_ai_feedback": ("faulty_tens",),
    "04_preference_pairs": ("pairs",),
    "06_reward_margins": ("accuracy", "mean_margin"),
    "07_evaluation": (
        *(f"score_{model}" for model, _ in MODELS),
        *(f"right_{model}" for model, _ in MODELS),
        "win_rate_ddpo",
        "win_rate_error",
    ),
}


def missing_metrics(metrics: dict[str, dict[str, Any]]) -> list[str]:
    """What the picture needs of the chapters that were run and lacks, one complaint each."""
    return [
        f"{chapter}: the front page's picture shows its metric {name}, which the chapter did not "
        "write"
        for chapter, names in NEEDED.items()
        if chapter in metrics
        for name in names
        if name not in metrics[chapter]
    ]


def steps(metrics: dict[str, dict[str, Any]]) -> list[tuple[str, list[str]]]:
    """The boxes: a title, and two lines under it. A chapter that was not run has no numbers."""

    def line(chapter: str, words: str, without: str = "(not in this run)") -> str:
        if chapter not in metrics:
            return without
        numbers = metrics[chapter]
        return words.format(**numbers, ranked=percent(numbers.get("accuracy", 0.0)))

    sft, feedback, margins = "02_dsft", "03_ai_feedback", "06_reward_margins"
    loss = "{held_out_loss_before:.2f} → {held_out_loss:.2f} nats per token"
    return [
        ("A teacher's dialogues", ["as in UltraChat, some lost", "their capitals, some refuse"]),
        ("01  Truecasing", ["capitals repaired,", "refusals removed"]),
        ("02  dSFT", [line(sft, "{rows_trained:,.0f} dialogues; loss"), line(sft, loss)]),
        (
            "03  AI feedback",
            [
                "four models answer, a judge",
                line(
                    feedback, "rates; {faulty_tens:.0f} tens are false", "rates, and errs at times"
                ),
            ],
        ),
        (
            "04  Preference pairs",
            [
                line("04_preference_pairs", "{pairs:,.0f} pairs: the best and"),
                "a random lower answer",
            ],
        ),
        (
            "05  dDPO",
            [
                line(margins, "{ranked} of held-out pairs"),
                line(margins, "right, mean margin {mean_margin:.2f}"),
            ],
        ),
    ]


def percent(share: float) -> str:
    """0.456 -> "46 %", with a space that does not break."""
    return f"{100 * share:.0f}\u00a0%"


def results(metrics: dict[str, dict[str, Any]]) -> list[tuple[str, float, float]]:
    """Model, its mean grade, and the share of its answers that say the right thing; empty where it
    was not run.
    """
    graded = metrics.get("07_evaluation")
    if graded is None:
        return []
    return [(words, graded[f"score_{name}"], graded[f"right_{name}"]) for name, words in MODELS]


def description(metrics: dict[str, dict[str, Any]]) -> str:
    """The picture in words: its alt text."""
    parts = [f"{title}: {' '.join(lines)}." for title, lines in steps(metrics)]
    graded = [
        f"{words} {score:.1f} with {percent(right)} of the answers right"
        for words, score, right in results(metrics)
    ]
    if graded:
        parts.append(f"Mean grade from 1 to 10: {'; '.join(graded)}.")
    return "The pipeline in six steps. " + " ".join(parts)


def figure(metrics: dict[str, dict[str, Any]]) -> str:
    """The picture, wide and narrow, with its caption, as HTML."""
    alt = escape(description(metrics), quote=True)
    drawings = "\n".join(
        _drawing(metrics, columns, name, alt) for columns, name in ((3, "wide"), (1, "narrow"))
    )
    caption = f"<figcaption>{escape(_caption(metrics))}</figcaption>"
    return f'<figure class="pipeline">\n{drawings}\n{caption}\n</figure>'


def _caption(metrics: dict[str, dict[str, Any]]) -> str:
    words = "The pipeline, with the numbers of the run that made these pages."
    graded = metrics.get("07_evaluation")
    if graded is None:
        return words
    return (
        f"{words} Between the answers after dDPO and those after dSFT, the judge prefers dDPO's in "
        f"{graded['win_rate_ddpo']:.0f} % of the comparisons (standard error "
        f"{graded['win_rate_error']:.0f}). A better "
        "grade is not the same as a truer answer: compare the two bars of a model."
    )


def alone(metrics: dict[str, dict[str, Any]], style: str) -> str:
    """The wide drawing as a file of its own: with its style, a background and a margin of 12."""
    shapes, width, height = _shapes(metrics, columns=3)
    place = f'x="-12" y="-12" width="{width + 24}" height="{height + 24:.0f}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-12 -12 {width + 24} {height + 24:.0f}" '
        f'role="img" '
        f'aria-label="{escape(description(metrics), quote=True)}">\n<style>{style}</style>\n'
        f'<rect class="paper" {place}/>\n' + "\n".join(shapes) + "\n</svg>\n"
    )


def _drawing(metrics: dict[str, dict[str, Any]], columns: int, name: str, alt: str) -> str:
    """One SVG; at its own width a unit is a CSS pixel, so that its letters are as large as the
    text around them.
    """
    shapes, width, height = _shapes(metrics, columns)
    return (
        f'<svg class="{name}" viewBox="0 0 {width} {height:.0f}" width="{width}" '
        f'height="{height:.0f}" '
        f'role="img" aria-label="{alt}">\n' + "\n".join(shapes) + "\n</svg>"
    )


def _shapes(metrics: dict[str, dict[str, Any]], columns: int) -> tuple[list[str], int, float]:
    """Boxes, arrows and bars, and how wide and how high they are together."""
    width = 720 if columns == 3 else 330
    box = (width - (columns - 1) * GAP) / columns
    places = [((i % columns) * (box + GAP), (i // columns) * (BOX_HEIGHT + GAP)) for i in range(6)]
    shapes: list[str] = []
    for index, ((title, lines), (x, y)) in enumerate(zip(steps(metrics), places, strict=True)):
        model = index in (2, 5)
        shapes.append(
            f'<rect class="box{" model" if model else ""}" x="{x + 1:.0f}" y="{y + 1:.0f}" '
            f'width="{box - 2:.0f}" height="{BOX_HEIGHT - 2}" rx="8"/>'
        )
        shapes.append(_text(x + 12, y + 25, title, "title"))
        shapes += [
            _text(x + 12, y + 50 + 20 * row, words, "line") for row, words in enumerate(lines)
        ]
    shapes += _arrows(places, box, columns)
    bottom: float = places[-1][1] + BOX_HEIGHT
    bars = results(metrics)
    if bars:
        drawn, bottom = _bars(bars, width, bottom + GAP)
        shapes += drawn
    return shapes, width, bottom


def _text(x: float, y: float, words: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:.0f}" y="{y:.0f}">{escape(words)}</text>'


def _arrows(places: Sequence[tuple[float, float]], box: float, columns: int) -> Iterator[str]:
    """From box to box; in three columns the dSFT model also leads down to dDPO, and no arrow leads
    back to the left.
    """
    for start, end in ((0, 1), (1, 2), (2, 5), (3, 4), (4, 5)):
        (x, y), (to_x, to_y) = places[start], places[end]
        if columns == 1 and (start, end) == (2, 5):
            end, (to_x, to_y) = 3, places[3]
        if y == to_y:
            yield _arrow(x + box + 3, y + BOX_HEIGHT / 2, to_x - 3, to_y + BOX_HEIGHT / 2)
        else:
            yield _arrow(x + box / 2, y + BOX_HEIGHT + 3, to_x + box / 2, to_y - 3)


def _arrow(x: float, y: float, to_x: float, to_y: float) -> str:
    head = f"l-6 -6 m6 6 l-6 6 M{to_x:.0f} {to_y:.0f}" if y == to_y else "l-6 -6 m6 6 l6 -6"
    return f'<path class="arrow" d="M{x:.0f} {y:.0f} L{to_x:.0f} {to_y:.0f} {head}"/>'


def _bars(
    bars: list[tuple[str, float, float]], width: float, top: float
) -> tuple[list[str], float]:
    """Two bars for each model, grade and right answers, which need not agree, each with its number;
    and where the drawing ends.
    """
    beside = width > 500
    title = f"07  Evaluation: grade, {LOWEST} to {HIGHEST}; right answers, %"
    shapes = [_text(1, top + 14, title if beside else "07  Evaluation", "title")]
    y = top + 28
    left, right = (104, 100) if beside else (1, 90)  # on a phone the names are above
    longest = width - left - right
    for words, score, share in bars:
        if beside:
            shapes.append(_text(1, y + BAR + 5, words, "line"))
        else:
            shapes.append(_text(1, y + 14, words, "line"))
            y += 20
        for kind, long, says in (
            ("bar", (score - LOWEST) / (HIGHEST - LOWEST), f"grade {score:.1f}"),
            ("bar right", share, f"{percent(share)} right"),
        ):
            place = f'x="{left}" y="{y:.0f}" height="{BAR}"'
            shapes += [
                f'<rect class="track" {place} width="{longest:.0f}"/>',
                f'<rect class="{kind}" {place} width="{long * longest:.1f}"/>',
                _text(width - right + 8, y + 12, says, "line"),
            ]
            y += BAR + 1
        y += BETWEEN
    return shapes, y - BETWEEN
