"""The box that says what happened, with the numbers of the run."""

import re

from IPython.display import HTML, display

from zephyr_utils.errors import HandbookError
from zephyr_utils.lessons.markdown import inline_html, markdown_html
from zephyr_utils.lessons.prediction import ASKED, check_option, letter

TITLE = "What happened"
BOX = (
    "border:1px solid;border-left-width:4px;border-radius:4px;margin:1em 0;padding:0 .8em .2em;"
    "border-color:var(--pst-color-info, #276be9)"
)

# Code and formulas, which stay as they are; a per-cent sign; the sign of a negative number.
_NUMBERS = re.compile(r"`[^`]*`|\$[^$]*\$|(?<=\d) ?%|(?<![\w.-])-(?=\d)")


def explain(
    text: str, *, key: str | None = None, answer: int | None = None, title: str = TITLE
) -> None:
    """Display a folded box of Markdown, to be read after the result.

    Args:
        text: Markdown. Numbers of the run are bound by an f-string, published ones by `published`.
        key: of the prediction that this settles; its right choice opens the box.
        answer: the place of the right choice, from 0, where `predict` could not know it.
        title: of the folded box.

    Raises:
        HandbookError: no text; a key that no `predict` has; an answer that is not an option,
            or that differs from the one `predict` was given.
    """
    display(HTML(explanation_html(text, key=key, answer=answer, title=title)))


def explanation_html(
    text: str, *, key: str | None = None, answer: int | None = None, title: str = TITLE
) -> str:
    """The HTML that `explain` displays. See there for the arguments and the errors."""
    if not text.strip():
        raise HandbookError(
            "an explanation without text", where="explain", remedy="say what is seen"
        )
    settled = _settled(key, answer) if key is not None else ""
    return (
        f'<details class="admonition explain" style="{BOX}">'
        f'<summary class="admonition-title">{inline_html(title)}</summary>\n'
        f"{settled}{markdown_html(_set_as_prose(text))}</details>"
    )


def _set_as_prose(text: str) -> str:
    """Format specifications write ``5%`` and ``-0.5``; in prose it is ``5 %`` and ``−0.5``."""

    def changed(match: re.Match[str]) -> str:
        return {"-": "−", "%": "\N{NO-BREAK SPACE}%"}.get(match[0].strip(), match[0])

    return _NUMBERS.sub(changed, text)


def published(value: str, source: str) -> str:
    """A published figure in an explanation, followed by its source.

    >>> published("0.78", "model card")
    '0.78 (model card)'
    """
    if not source.strip():
        raise HandbookError(
            f"the published figure {value} has no source",
            where="published",
            remedy="name the paper, card or page that it is in",
        )
    return f"{value} ({source})"


def _settled(key: str, answer: int | None) -> str:
    asked = ASKED.get(key)
    if asked is None:
        raise HandbookError(
            f"no prediction has the key {key!r}",
            where="explain",
            remedy="run the cell that calls predict, or use its key",
        )
    check_option(asked.options, answer, key)
    if asked.answer is not None and answer is not None and asked.answer != answer:
        raise HandbookError(
            f"predict says that option {asked.answer} is right, the run says {answer}",
            where=f"prediction {key}",
            remedy="leave the answer to explain where it depends on the run",
        )
    right = asked.answer if answer is None else answer
    if right is None:
        return ""
    # `lessons.js` reads key and choice from the class of this line.
    return (
        f'<p class="predict-settled predict-key-{key} predict-is-{right}"><strong>'
        f"{letter(right)}) {inline_html(asked.options[right])}</strong></p>\n"
    )
