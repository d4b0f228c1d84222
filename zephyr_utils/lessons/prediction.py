"""A question with choices that the reader answers before seeing the result."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from IPython.display import HTML, display

from zephyr_utils.errors import HandbookError
from zephyr_utils.lessons.markdown import inline_html, markdown_html

TITLE = "Predict, choose, see"
KEY = re.compile(r"[a-z][a-z0-9-]*")
BOX = (
    "border:1px solid;border-left-width:4px;border-radius:4px;margin:1em 0;padding:0 .8em .6em;"
    "border-color:var(--pst-color-warning, #b45309)"
)


@dataclass(frozen=True)
class Prediction:
    """A question that was asked.

    Attributes:
        question: in Markdown.
        options: the choices, in Markdown.
        answer: the place of the right one, from 0; None where the run decides.
    """

    question: str
    options: tuple[str, ...]
    answer: int | None


ASKED: dict[str, Prediction] = {}  # by key: what `explain` refers to


def predict(question: str, options: Sequence[str], answer: int | None = None, *, key: str) -> None:
    """Display a question as radio buttons, to be answered before the cell below is looked at.

    On the website the reader's choice is kept in the browser (``book/assets/lessons.js``), unfolds
    the output below, and counts in the page's score; nothing is sent anywhere.

    Args:
        question: one or two sentences of Markdown.
        options: at least two choices, Markdown in one line each.
        answer: the place of the right one, from 0, where it does not depend on the run; else leave
            it to `explain`.
        key: names the prediction within its chapter: lower-case letters, digits and hyphens.

    Raises:
        HandbookError: no question, fewer than two options, options that repeat, an answer that is
            none of them, or a key of other characters.
    """
    page = prediction_html(question, options, answer, key=key)
    ASKED[key] = Prediction(question, tuple(options), answer)
    display(HTML(page))


def prediction_html(
    question: str, options: Sequence[str], answer: int | None = None, *, key: str
) -> str:
    """The HTML that `predict` displays. See there for the arguments and the errors."""
    check_option(options, answer, key)
    if not question.strip() or len(options) < 2 or len(set(options)) < len(options):
        raise HandbookError(
            "a prediction needs a question and at least two different options",
            where=f"predict, {key}",
            remedy="write the choices as a list of texts",
        )
    if not KEY.fullmatch(key):
        raise HandbookError(
            f"the key {key!r} does not begin with a lower-case letter or has other characters than "
            "letters, digits and hyphens",
            where="predict",
            remedy='name the prediction, such as key="mean-of-means"',
        )
    choices = "\n".join(
        f'<label class="predict-option{" predict-right" if place == answer else ""}" '
        f'style="display:block;padding:.2em 0"><input type="radio" name="predict-{key}" '
        f'value="{place}"> {letter(place)}) {inline_html(option)}</label>'
        for place, option in enumerate(options)
    )
    return (
        f'<div class="admonition predict" style="{BOX}">\n'
        f'<p class="admonition-title"><strong>{TITLE}</strong></p>\n'
        f"{markdown_html(question)}"
        '<fieldset style="border:0;padding:0">'
        '<legend style="font-size:1em;margin:0">Your choice, before you look:</legend>\n'
        f"{choices}\n</fieldset></div>"
    )


def letter(place: int) -> str:
    """The letter of a choice: a for the first."""
    return chr(ord("a") + place)


def check_option(options: Sequence[str], answer: int | None, key: str) -> None:
    """Raise HandbookError if `answer` is not the place of an option."""
    if answer is not None and not 0 <= answer < len(options):
        raise HandbookError(
            f"the answer {answer} is not the place of one of {len(options)} options",
            where=f"prediction {key}",
            remedy="count the options from 0",
        )
