"""What the chapters' diagrams are drawn with: one sheet, one style, and a few shapes.

Each drawing is a file that needs nothing else: no font, no script, no style sheet. Colours follow
the page in light and in dark mode, and the drawing brings its own background for a reader whose
system and whose page disagree. It is narrow, so that its letters can be read on a phone too.

The colours mean the same in every drawing, and none of them says anything alone: *blue* is what is
trained, counted or chosen; *orange* what is rejected; *grey* what is frozen, given or not counted;
*hatched* what is empty or hidden.
"""

from html import escape

WIDTH = 440  # units; a phone shows 343 of its pixels, so a letter of 14 becomes one of 11
LEFT = 14.0  # the margin
LETTER, CODE, SMALL = 16, 15, 14
ADVANCE = 0.6 * CODE  # the width of a letter of code

LIGHT = {
    "paper": "#ffffff",
    "ink": "#1f2328",
    "quiet": "#57606a",
    "blue": "#0b5bc9",
    "orange": "#a84300",
    "tint-blue": "#dcebff",
    "tint-orange": "#ffe6d1",
    "tint-grey": "#eceff2",
}
DARK = {
    "paper": "#121212",
    "ink": "#e6edf3",
    "quiet": "#a7b1bc",
    "blue": "#7cb7ff",
    "orange": "#ffab66",
    "tint-blue": "#16355c",
    "tint-orange": "#50300f",
    "tint-grey": "#2a313a",
}
SANS = 'system-ui,-apple-system,"Segoe UI","Liberation Sans",Arial,sans-serif'
MONO = 'ui-monospace,Menlo,Consolas,"Liberation Mono",monospace'


def _colours(palette: dict[str, str]) -> str:
    return "".join(f"--{name}:{colour};" for name, colour in palette.items())


STYLE = (
    f"svg{{{_colours(LIGHT)}}}"
    f"@media (prefers-color-scheme:dark){{svg{{{_colours(DARK)}}}}}"
    f"text{{font:{LETTER}px {SANS};fill:var(--ink)}}"
    f".code{{font:{CODE}px {MONO}}}.small{{font-size:{SMALL}px}}.bold{{font-weight:600}}"
    ".quiet{fill:var(--quiet)}.in-blue{fill:var(--blue)}.in-orange{fill:var(--orange)}"
    ".shape{fill:none;stroke:var(--quiet);stroke-width:1.25}"
    ".paper{fill:var(--paper)}.hatch{fill:url(#hatch)}"
    ".grey{fill:var(--tint-grey)}"
    ".blue{fill:var(--tint-blue);stroke:var(--blue)}"
    ".orange{fill:var(--tint-orange);stroke:var(--orange)}"
    ".line{fill:none;stroke:var(--quiet);stroke-width:1.5}"
    ".thick{stroke-width:4}.wide{stroke-width:3}.dashed{stroke-dasharray:7 4}"
    ".line.b{stroke:var(--blue)}.line.o{stroke:var(--orange)}"
)
HATCH = (
    '<pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" '
    'patternTransform="rotate(45)"><path class="line" d="M3 0V6"/></pattern>'
)


class Drawing:
    """A sheet of `WIDTH` units on which shapes are laid, the later above the earlier.

    Args:
        height: of the sheet, in units.
        title: what the drawing is of, in a few words.
        description: what one sees, for readers who do not; the image's alternative text too.
    """

    def __init__(self, height: float, *, title: str, description: str) -> None:
        self.height, self.title, self.description = height, title, description
        self.shapes: list[str] = []

    def text(self, x: float, y: float, words: str, kind: str = "", *, anchor: str = "") -> None:
        """Words that begin, or have their middle or end, at x; y is the line they are on."""
        at = f' text-anchor="{anchor}"' if anchor else ""
        css = f' class="{kind}"' if kind else ""
        words = escape(words, quote=False)
        self.shapes.append(f'<text{css} x="{_number(x)}" y="{_number(y)}"{at}>{words}</text>')

    def lines(self, x: float, y: float, lines: list[str]) -> None:
        """Lines of words under each other; y is the line that the first is on."""
        for number, words in enumerate(lines):
            self.text(x, y + 22 * number, words)

    def box(
        self, x: float, y: float, width: float, height: float, kind: str = "", *, round: float = 3
    ) -> None:
        """A rectangle with an outline."""
        place = f'x="{_number(x)}" y="{_number(y)}"'
        size = f'width="{_number(width)}" height="{_number(height)}"'
        corner = f' rx="{_number(round)}"' if round else ""
        css = f"shape {kind}".strip()
        self.shapes.append(f'<rect class="{css}" {place} {size}{corner}/>')

    def area(self, points: list[tuple[float, float]], kind: str) -> None:
        """A polygon through the points, with an outline."""
        corners = " ".join(f"{_number(x)},{_number(y)}" for x, y in points)
        self.shapes.append(f'<polygon class="shape {kind}" points="{corners}"/>')

    def dot(self, x: float, y: float, kind: str, *, radius: float = 8) -> None:
        """A circle around a point."""
        place = f'cx="{_number(x)}" cy="{_number(y)}" r="{_number(radius)}"'
        self.shapes.append(f'<circle class="shape {kind}" {place}/>')

    def path(self, d: str, kind: str = "") -> None:
        """A line along an SVG path."""
        self.shapes.append(f'<path class="{f"line {kind}".strip()}" d="{d}"/>')

    def arrow(self, x: float, y: float, to_x: float, to_y: float, kind: str = "") -> None:
        """A straight arrow, level or upright."""
        if y == to_y:
            back = -6 if to_x > x else 6
            head = f"m{back} -5 L{_number(to_x)} {_number(to_y)} l{back} 5"
        else:
            back = -6 if to_y > y else 6
            head = f"m-5 {back} L{_number(to_x)} {_number(to_y)} l5 {back}"
        self.path(f"M{_number(x)} {_number(y)} L{_number(to_x)} {_number(to_y)} {head}", kind)

    def tokens(
        self, x: float, y: float, texts: list[str], kinds: list[str], *, height: float = 26
    ) -> list[tuple[float, float]]:
        """Texts of tokens in boxes side by side; where each begins and ends."""
        places = []
        for text, kind in zip(texts, kinds, strict=True):
            width = len(text) * ADVANCE + 9
            self.box(x, y, width, height, kind)
            self.text(x + width / 2, y + height / 2 + 5, text, "code", anchor="middle")
            places.append((x, x + width))
            x += width + 3
        return places

    def svg(self) -> str:
        """The file."""
        size = f"{WIDTH} {_number(self.height)}"
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}" width="{WIDTH}" '
                f'height="{_number(self.height)}" role="img" aria-labelledby="t d">',
                f'<title id="t">{escape(self.title, quote=False)}</title>',
                f'<desc id="d">{escape(self.description, quote=False)}</desc>',
                f"<style>{STYLE}</style>",
                f"<defs>{HATCH}</defs>" if any("hatch" in one for one in self.shapes) else "",
                f'<rect class="paper" width="{WIDTH}" height="{_number(self.height)}" rx="6"/>',
                *self.shapes,
                "</svg>\n",
            ]
        ).replace("\n\n", "\n")


def _number(value: float) -> str:
    """12.0 -> "12", 12.345 -> "12.3": files stay small, and the same on every machine."""
    return f"{value:.1f}".removesuffix(".0")
