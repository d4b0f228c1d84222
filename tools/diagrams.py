"""The diagrams of the chapters, which follow one question of the miniature through the book.

Usage: python tools/diagrams.py

Writes notebooks/figures/*.svg; a test fails when a file and its drawing are out of step.
"""

import math
import sys
from collections.abc import Callable
from pathlib import Path

from diagram_kit import LEFT, WIDTH, Drawing
from diagram_rows import CHOSEN, QUESTION, REJECTED, chat_template, packing, prefix_sharing

FIGURES = Path(__file__).resolve().parents[1] / "notebooks" / "figures"
# As in the overview: chosen and rejected, under the dSFT model and under the policy.
LOG_PROBS = {"chosen": (-15, -12), "rejected": (-16, -19)}
BETA = 0.1
ANSWERS = (CHOSEN, "Sure thing! The capital of …", REJECTED, "Helsinki.")


def lora() -> Drawing:
    """W and the two thin matrices beside it, drawn to scale for the chapter's layer."""
    inside, outside, rank = 160, 448, 16
    wide, tall, thin = (0.3 * size for size in (inside, outside, rank))
    frozen, trained = outside * inside, rank * (outside + inside)
    drawing = Drawing(
        392,
        title="LoRA beside a frozen weight",
        description=(
            f"The state x takes two paths. Above: the frozen weight W, {outside} by {inside}, a "
            f"grey rectangle. Below: A, a flat strip of {rank} by {inside}, then B, an upright "
            f"strip of {outside} by {rank}, which begins at zero; both are trained. Their product, "
            "scaled by alpha over r, is added to that of W. All are drawn to one scale."
        ),
    )
    x, w, b, plus = LEFT, 128.0, 262.0, 368.0
    top, low = 34.0, 192.0
    middle, lower = top + tall / 2, low + tall / 2
    drawing.box(x, middle - wide / 2, 9, wide)
    drawing.text(x, middle - wide / 2 - 30, "x", "bold")
    drawing.text(x, middle - wide / 2 - 11, "at “Spain”", "small")
    drawing.arrow(x + 13, middle, w - 4, middle)
    drawing.box(w, top, wide, tall, "grey", round=0)
    drawing.text(w + wide / 2, middle + 5, "W", "bold", anchor="middle")
    drawing.text(w + wide / 2, top - 10, f"{outside} × {inside}", "small", anchor="middle")
    drawing.text(w + wide + 8, top + 16, "frozen", "small quiet")
    drawing.arrow(w + wide + 4, middle, plus - 15, middle)

    drawing.path(f"M{x + 70} {middle:.1f}V{lower:.1f}H{w - 4}m-6 -5l6 5l-6 5", "b")
    drawing.box(w, lower - thin / 2, wide, thin, "blue", round=0)
    drawing.text(w, lower - 28, "A", "bold in-blue")
    drawing.text(w, lower - 11, f"{rank} × {inside}", "small")
    drawing.text(w, lower + 23, "random", "small quiet")
    drawing.arrow(w + wide + 4, lower, b - 5, lower, "b")
    drawing.box(b, low, thin, tall, "blue", round=0)
    drawing.text(b + 14, low + 14, "B", "bold in-blue")
    drawing.text(b + 14, low + 32, f"{outside} × {rank}", "small")
    drawing.text(b + 14, low + 50, "zero at first", "small quiet")
    drawing.path(f"M{b + thin + 4:.1f} {lower:.1f}H{plus}V{middle + 16:.1f}m-5 6l5 -6l5 6", "b")
    drawing.text(plus - 8, lower + 24, "× α / r", anchor="end")
    drawing.dot(plus, middle, "", radius=12)
    drawing.path(f"M{plus - 6} {middle:.1f}h12m-6 -6v12")
    drawing.arrow(plus + 15, middle, plus + 39, middle)
    drawing.box(plus + 44, top, 9, tall)
    drawing.text(plus + 48, top - 10, "y", "bold", anchor="middle")

    drawing.lines(
        LEFT,
        357,
        [
            f"W holds {frozen:,} numbers, none of them trained;",
            f"A and B hold {trained:,}, all of them trained.",
        ],
    )
    return drawing


def log_ratios() -> Drawing:
    """Four log-probabilities, two log-ratios, one margin: the example of the overview."""
    rewards = {name: BETA * (after - before) for name, (before, after) in LOG_PROBS.items()}
    margin = rewards["chosen"] - rewards["rejected"]
    loss = math.log1p(math.exp(-margin))
    drawing = Drawing(
        398,
        title="Two log-ratios make a reward margin",
        description=(
            "Above, two scales of log-probabilities. The chosen answer goes up by 3 nats, from "
            "−15 under the dSFT model to −12 under the policy; the rejected one goes down by 3, "
            "from −16 to −19. Below, a scale of rewards: beta times these log-ratios are +0.3 "
            f"and −0.3, and the distance between them is the reward margin, {margin:.1f}."
        ),
    )
    y = 26.0
    for (name, (before, after)), answer in zip(LOG_PROBS.items(), (CHOSEN, REJECTED), strict=True):
        kind, line_kind = ("blue", "b") if name == "chosen" else ("orange", "o")
        start, stop = (30 + (value + 20) * 42 for value in (before, after))
        line = y + 38
        drawing.text(LEFT, y, name, f"bold in-{kind}")
        drawing.text(LEFT + 84, y, answer, "code")
        drawing.path(f"M{LEFT} {line:.0f}H{WIDTH - LEFT}")
        drawing.arrow(
            start, line, stop - math.copysign(9, after - before), line, f"{line_kind} wide"
        )
        drawing.dot(start, line, "paper", radius=7)
        drawing.dot(stop, line, kind)
        change = f"{after - before:+d}".replace("-", "−")
        drawing.text((start + stop) / 2, line - 10, change, f"bold in-{kind}", anchor="middle")
        drawing.text(start, line + 26, f"dSFT −{-before}", "small", anchor="middle")
        drawing.text(stop, line + 26, f"policy −{-after}", "small", anchor="middle")
        y += 96
    drawing.text(WIDTH - LEFT, 198, "log-probability, nats", "small quiet", anchor="end")
    drawing.arrow(220, 200, 220, 236)
    drawing.text(232, 229, f"× β = {BETA}", "bold")

    line = 296.0
    drawing.path(f"M{LEFT} {line:.0f}H{WIDTH - LEFT}M220 {line - 6:.0f}v12")
    drawing.text(220, line + 26, "0", "small quiet", anchor="middle")
    ends = {name: 220 + 440 * reward for name, reward in rewards.items()}
    for name, reward in rewards.items():
        kind = "blue" if name == "chosen" else "orange"
        drawing.dot(ends[name], line, kind)
        words = f"{name} {reward:+.1f}".replace("-", "−")
        drawing.text(ends[name], line + 28, words, f"in-{kind}", anchor="middle")
    up = line - 22
    drawing.path(f"M{ends['rejected']:.0f} {up + 9:.0f}v-9H{ends['chosen']:.0f}v9")
    drawing.text(220, up - 9, f"reward margin m = {margin:.1f}", "bold", anchor="middle")
    drawing.text(220, 378, f"loss: −log σ({margin:.1f}) = {loss:.3f}", anchor="middle")
    drawing.text(WIDTH - LEFT, line + 50, "implicit reward", "small quiet", anchor="end")
    return drawing


def one_question() -> Drawing:
    """The way of one question through the three steps, from a dialogue to a preference."""
    drawing = Drawing(
        548,
        title="One question on its way through the pipeline",
        description=(
            "Four steps under each other. dSFT: the student copies a teacher's answer to the "
            "question. AI feedback: four models answer it, and a judge rates the answers, drawn as "
            "bars. Pairs: the best answer is chosen, a random lower one is rejected. dDPO: an "
            "arrow up at the chosen answer, one down at the rejected."
        ),
    )

    def step(y: float, name: str, words: str, chapter: str) -> None:
        drawing.text(LEFT, y, name, "bold")
        drawing.text(LEFT + 100, y, words, "small")
        drawing.text(WIDTH - LEFT, y, chapter, "small quiet", anchor="end")

    def line(y: float, words: str, kind: str, width: float = 310) -> None:
        drawing.box(LEFT, y, width, 27, kind)
        css = {"blue": " in-blue", "orange": " in-orange"}.get(kind, "")
        drawing.text(LEFT + 9, y + 18, words, f"code{css}")

    def down(y: float) -> None:
        drawing.arrow(LEFT + 20, y, LEFT + 20, y + 24)

    step(26, "dSFT", "copy a teacher's answer", "chapter 02")
    line(38, QUESTION, "grey")
    line(69, CHOSEN, "blue")
    down(102)
    step(150, "feedback", "a judge rates four answers", "chapter 03")
    for number, (words, share) in enumerate(zip(ANSWERS, (0.94, 0.86, 0.3, 0.15), strict=True)):
        y = 162 + 31 * number
        line(y, words, "grey")
        drawing.box(334, y + 8, 92, 11, "", round=0)
        drawing.box(334, y + 8, 92 * share, 11, "blue", round=0)
    down(291)
    step(339, "pairs", "the best, a random lower one", "chapter 04")
    line(351, CHOSEN, "blue")
    line(382, REJECTED, "orange")
    drawing.text(334, 369, "chosen", "small in-blue")
    drawing.text(334, 400, "rejected", "small in-orange")
    down(414)
    step(462, "dDPO", "prefer the chosen", "chapter 05")
    line(474, CHOSEN, "blue")
    line(505, REJECTED, "orange")
    drawing.arrow(346, 500, 346, 476, "b wide")
    drawing.text(360, 493, "likelier", "small in-blue")
    drawing.arrow(346, 507, 346, 531, "o wide")
    drawing.text(360, 524, "less so", "small in-orange")
    return drawing


def latin_square() -> Drawing:
    """Four answers, four aspects, each answer once in each position."""
    answers = dict(zip("ABCD", ANSWERS, strict=True))
    aspects = ("instruction following", "honesty", "truthfulness", "helpfulness")
    drawing = Drawing(
        396,
        title="Four answers in a Latin square",
        description=(
            "Four answers to one question, A to D. A grid has a row for each aspect that the judge "
            "rates and a column for each position: ABCD, then BCDA, CDAB, DABC. Answer A, in blue, "
            "appears once in each column, and so does every other. Under the columns is what "
            "the judge adds in that position, b1 to b4: each answer collects all four."
        ),
    )
    y = 30.0
    for name, words in answers.items():
        drawing.box(LEFT, y - 17, 24, 23, "blue" if name == "A" else "grey")
        drawing.text(LEFT + 12, y, name, "bold", anchor="middle")
        drawing.text(LEFT + 34, y, words, "code")
        y += 29
    left, side, top = 178.0, 62.0, 180.0
    for place, words in enumerate(("first", "second", "third", "last")):
        middle = left + side * (place + 0.5)
        drawing.text(middle, top - 10, words, "small quiet", anchor="middle")
        drawing.text(middle, top + 4 * 36 + 22, f"+ b{'₁₂₃₄'[place]}", anchor="middle")
    order = list(answers)
    for row, aspect in enumerate(aspects):
        y = top + 36 * row
        drawing.text(left - 10, y + 23, aspect, "small", anchor="end")
        for place, name in enumerate(order[row:] + order[:row]):
            kind = "blue" if name == "A" else "grey"
            drawing.box(left + side * place, y, side - 4, 32, kind)
            css = "bold in-blue" if name == "A" else ""
            drawing.text(left + side * (place + 0.5) - 2, y + 22, name, css, anchor="middle")
    drawing.text(LEFT, top + 200, "Each answer collects all four, so none gains.")
    return drawing


DIAGRAMS: dict[str, Callable[[], Drawing]] = {
    "one-question": one_question,
    "chat-template": chat_template,
    "lora": lora,
    "packing": packing,
    "latin-square": latin_square,
    "log-ratios": log_ratios,
    "prefix-sharing": prefix_sharing,
}


def main() -> int:
    """Write every diagram."""
    FIGURES.mkdir(exist_ok=True)
    for name, draw in DIAGRAMS.items():
        path = FIGURES / f"{name}.svg"
        path.write_text(draw().svg(), encoding="utf-8")
        print(f"{path.name}: {path.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
