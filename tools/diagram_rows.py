"""The diagrams in which tokens lie in rows: the chat template, packing and prefix sharing.

Tokens and lengths are those of the miniature's tokenizer, which a test asks.
"""

from diagram_kit import LEFT, WIDTH, Drawing

QUESTION = "What is the capital of Spain?"
CHOSEN, REJECTED = "The capital of Spain is Madrid.", "Havana."
# Tokens by the lines of the rendered template; a space belongs to the word after it.
END, BREAK = "</s>", "\n"
USER_LINE = ["What", "is", "the", "capital", "of", "Spain", "?", END, BREAK]
CHOSEN_LINE = ["The", "capital", "of", "Spain", "is", "Madrid", ".", END, BREAK]
REJECTED_LINE = ["H", "a", "vana", ".", END, BREAK]
# Exchanges of the miniature to pack, each with its length in tokens, the longest first.
PACKED = [
    (
        "What do people speak in Kenya?",
        "Happy to help! People in Kenya speak Swahili. I hope that helps!",
        45,
    ),
    (
        "Pretend you are a wizard and greet Hana.",
        "Behold, Hana! I am a wizard and I brew the potion.",
        37,
    ),
    (QUESTION, CHOSEN, 26),
    ("9 plus 9?", "18.", 19),
]
CONTEXT = 64  # of the drawing's packed rows


def marker(role: str) -> list[str]:
    """The tokens of the line that opens a turn."""
    return ["<|", role, "|>", BREAK]


def chat_template() -> Drawing:
    """One exchange, token by token, with both ways to count."""
    drawing = Drawing(
        336,
        title="The chat template and its loss mask",
        description=(
            "Four lines of tokens: the user's marker; the question, its end token and a line "
            "break; the assistant's marker; the answer, its end token and a line break. A solid "
            "line runs under all tokens but the very first: these count in Zephyr's loss. A "
            "dashed line runs under the answer and its end token: these count where only the "
            "assistant's words do."
        ),
    )
    lines = [
        (marker("user"), "grey", "nothing predicts the first"),
        (USER_LINE, "", ""),
        (marker("assistant"), "grey", "given, not generated"),
        (CHOSEN_LINE, "blue", ""),
    ]
    y = 16.0
    for number, (texts, kind, note) in enumerate(lines):
        kinds = [kind] * len(texts)
        kinds[-1] = "grey"
        if not kind:
            kinds[-2] = "grey"
        shown = ["⏎" if text == BREAK else text for text in texts]
        places = drawing.tokens(LEFT, y, shown, kinds)
        first = places[0 if number else 1][0]
        drawing.path(f"M{first:.1f} {y + 34:.0f}H{places[-1][1]:.1f}", "thick b")
        if note:
            drawing.text(places[-1][1] + 12, y + 19, note, "small quiet")
        y += 54
    end = sum(places[-2]) / 2
    drawing.path(f"M{LEFT} {y - 11:.0f}H{places[-2][1]:.1f}", "thick dashed")
    drawing.path(f"M{end:.1f} {y - 6:.0f}v14")
    drawing.text(end + 8, y + 24, "the end token counts, the break does not", "small", anchor="end")
    for kind, words in (("b", "all tokens count (Zephyr)"), ("dashed", "assistant only")):
        y += 26 if kind == "dashed" else 56
        drawing.path(f"M{LEFT} {y:.0f}h40", f"thick {kind}")
        drawing.text(LEFT + 50, y + 5, words)
    return drawing


def packing() -> Drawing:
    """Four dialogues padded to the longest, and packed into rows of one length."""
    lengths = [length for _, _, length in PACKED]
    padded, tokens = len(lengths) * max(lengths), sum(lengths)
    rows = [(0, 3), (1, 2)]  # best fit, decreasing
    drawing = Drawing(
        506,
        title="Padding and packing",
        description=(
            f"Above, four dialogues of {', '.join(map(str, lengths))} tokens, each padded to the "
            f"longest: {padded - tokens} of {padded} positions are padding. In the middle, the "
            f"same dialogues in two rows of {CONTEXT}; positions start again at each dialogue. "
            "Below, who may see whom in the second row: two triangles, one for each dialogue. The "
            "block in which the second would see the first is hatched."
        ),
    )
    unit, high = 6.3, 24.0

    def dialogue(x: float, y: float, index: int, words: str) -> None:
        mine = index == 2
        width = unit * lengths[index]
        drawing.box(x, y, width, high, "blue" if mine else "grey", round=0)
        css = "small in-blue" if mine else "small"
        drawing.text(x + width / 2, y + 17, words, css, anchor="middle")

    names = ("Kenya", "wizard", "Spain", "9 + 9")
    drawing.text(LEFT, 24, "padded", "bold")
    waste = padded - tokens
    drawing.text(WIDTH - LEFT, 24, f"{waste} of {padded} positions empty", "small", anchor="end")
    y = 34.0
    for index, length in enumerate(lengths):
        dialogue(LEFT, y, index, f"{names[index]}, {length}")
        if length < max(lengths):
            rest = unit * (max(lengths) - length)
            drawing.box(LEFT + unit * length, y, rest, high, "hatch", round=0)
        y += high + 4
    y += 40
    drawing.text(LEFT, y - 10, "packed", "bold")
    waste = len(rows) * CONTEXT - tokens
    words = f"{waste} of {len(rows) * CONTEXT} positions empty"
    drawing.text(WIDTH - LEFT, y - 10, words, "small", anchor="end")
    for row in rows:
        x = LEFT
        for index in row:
            dialogue(x, y, index, f"0 to {lengths[index] - 1}")
            x += unit * lengths[index]
        if (rest := CONTEXT - sum(lengths[index] for index in row)) > 0:
            drawing.box(x, y, unit * rest, high, "hatch", round=0)
        y += high + 4
    drawing.text(LEFT, y + 16, "Positions start again at each dialogue.", "small quiet")

    one, two = (lengths[index] * 3 for index in rows[1])
    left, top = LEFT, y + 42
    drawing.area([(left, top), (left + one, top + one), (left, top + one)], "grey")
    drawing.box(left, top + one, one, two, "hatch", round=0)
    seam = (left + one, top + one)
    drawing.area([seam, (seam[0] + two, seam[1] + two), (seam[0], seam[1] + two)], "blue")
    drawing.text(left + 8, top + one - 10, "wizard", "small")
    drawing.text(seam[0] + 5, seam[1] + two - 9, "Spain", "small in-blue")
    drawing.lines(
        left + one + two + 20,
        top + 22,
        [
            "Who may see whom",
            "in the second row.",
            "Hatched is hidden:",
            "“Spain” would read",
            "words of “wizard”.",
        ],
    )
    return drawing


def prefix_sharing() -> Drawing:
    """A pair in two rows, in one row, and the mask of the one."""
    prompt, chosen, rejected = 4 + len(USER_LINE) + 4, len(CHOSEN_LINE), len(REJECTED_LINE)
    shared = prompt - 1  # the prompt's last token predicts an answer's first, so each has its own
    total = shared + (1 + chosen) + (1 + rejected)
    drawing = Drawing(
        452,
        title="A prompt computed once for both answers",
        description=(
            f"Above, a pair as two rows: the prompt of {prompt} tokens twice, the chosen answer of "
            f"{chosen}, the rejected one of {rejected} and padding, {2 * (prompt + chosen)} "
            f"positions. In the middle one row of {total}: the prompt once, then its last token "
            "with the chosen answer, then its last token with the rejected one. Below, the mask: "
            "both answers see the prompt and themselves; the block in which the rejected answer "
            "would see the chosen one is hatched."
        ),
    )
    unit, high = 12.2, 26.0

    def part(x: float, y: float, tokens: int, kind: str, words: str) -> float:
        drawing.box(x, y, unit * tokens, high, kind, round=0)
        css = {"blue": "in-blue", "orange": "in-orange"}.get(kind, "")
        drawing.text(x + unit * tokens / 2, y + 18, words, f"small {css}".strip(), anchor="middle")
        return x + unit * tokens

    drawing.text(LEFT, 24, "two rows", "bold")
    positions = f"{2 * (prompt + chosen)} positions"
    drawing.text(WIDTH - LEFT, 24, positions, "small", anchor="end")
    x = part(LEFT, 34, prompt, "grey", QUESTION)
    part(x, 34, chosen, "blue", "… Madrid.")
    x = part(LEFT, 64, prompt, "grey", QUESTION)
    x = part(x, 64, rejected, "orange", REJECTED)
    drawing.box(x, 64, unit * (chosen - rejected), high, "hatch", round=0)

    drawing.text(LEFT, 124, "one row", "bold")
    drawing.text(WIDTH - LEFT, 124, f"{total} positions", "small", anchor="end")
    x = part(LEFT, 134, shared, "grey", "… the capital of Spain?")
    for tokens, kind, words in (
        (chosen, "blue", "… Madrid."),
        (rejected, "orange", REJECTED),
    ):
        drawing.box(x, 134, unit, high, "grey", round=0)
        after = part(x + unit, 134, tokens, kind, words)
        drawing.text(x, 178, f"{shared} to {shared + tokens}", "small")
        x = after
    drawing.text(LEFT, 178, f"positions 0 to {shared - 1}", "small")

    scale, left, top = 7.0, LEFT, 200.0
    a, b, c = (scale * size for size in (shared, shared + 1 + chosen, total))
    drawing.area([(left, top), (left + a, top + a), (left, top + a)], "grey")
    drawing.box(left, top + a, a, c - a, "grey", round=0)
    drawing.box(left + a, top + b, b - a, c - b, "hatch", round=0)
    for begin, end, kind in ((a, b, "blue"), (b, c, "orange")):
        drawing.area(
            [(left + begin, top + begin), (left + end, top + end), (left + begin, top + end)], kind
        )
    drawing.text(left + 8, top + a - 10, "prompt", "small")
    drawing.text(left + 8, top + (a + b) / 2 + 5, "chosen sees it", "small in-blue")
    drawing.text(left + 8, top + (b + c) / 2 + 5, "rejected, too", "small in-orange")
    aside = left + c + 16
    drawing.lines(aside, top + 30, ["Hatched is hidden:", "neither answer", "sees the other."])
    drawing.lines(
        aside,
        top + 118,
        ["Each begins with the", "prompt's last token,", "which predicts its", "first."],
    )
    return drawing
