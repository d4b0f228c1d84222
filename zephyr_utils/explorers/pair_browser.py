"""One prompt at a time: its answers, their ratings, and the pair that each strategy makes."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

import traitlets

from zephyr_utils.data.records import ASPECTS
from zephyr_utils.data.types import Feedback
from zephyr_utils.explorers.common import Explorer, script, shortened
from zephyr_utils.preferences import STRATEGIES, binarize, overall_rating

LONGEST_TEXT = 700  # characters of a prompt or an answer; the rest is cut and counted
BUDGET = 250_000  # characters of JSON: what a page can carry of one figure


class PairBrowser(Explorer):
    """Browse feedback by prompt, beside the pair that each strategy makes of it; search, and filter
    by disagreement.

    Args:
        feedback: feedback records. The pairs are made of all of them, since one strategy's draw
            runs through the file.
        shown: numbers of the rows to show; default: 60 spread evenly. They end where the page's
            budget does.

    Attributes:
        strategies: the names in `preferences.STRATEGIES`.
        aspects: the names of the rated aspects.
        rows: ``[{number, prompt, answers: [{model, text, ratings, overall}], pairs}]``; ``pairs``
            holds for each strategy ``[chosen, [rejected, ...]]`` as places in ``answers``, or None
            where it makes no pair.
    """

    _esm = script("pair_browser")

    strategies: "traitlets.List[str]" = traitlets.List().tag(sync=True)
    aspects: "traitlets.List[str]" = traitlets.List().tag(sync=True)
    rows: "traitlets.List[dict[str, Any]]" = traitlets.List().tag(sync=True)

    def __init__(self, feedback: Sequence[dict], shown: Sequence[int] | None = None) -> None:
        if shown is None:
            shown = range(0, len(feedback), max(len(feedback) // 60, 1))
        pairs = [_places(feedback, options) for options in STRATEGIES.values()]
        rows: list[dict[str, Any]] = []
        size = 0
        for number in shown:
            row = _shown(number, feedback[number], [made.get(number) for made in pairs])
            size += len(json.dumps(row))
            if rows and size > BUDGET:
                break
            rows.append(row)
        super().__init__(strategies=list(STRATEGIES), aspects=list(ASPECTS), rows=rows)


def _places(feedback: Sequence[dict], options: Mapping[str, Any]) -> dict[int, list]:
    """Row number -> [place of the chosen answer, [places of the rejected ones]]."""
    made = binarize(cast(Sequence[Feedback], feedback), **options)
    places: dict[int, list] = {}
    for number, pair in zip(made.rows, made.pairs, strict=True):
        answers = [
            (answer["model"], answer["response"]) for answer in feedback[number]["completions"]
        ]
        chosen, rejected = (
            answers.index((model, messages[-1]["content"]))
            for model, messages in (
                (pair["chosen_model"], pair["chosen"]),
                (pair["rejected_model"], pair["rejected"]),
            )
        )
        places.setdefault(number, [chosen, []])[1].append(rejected)
    return places


def _shown(number: int, record: dict, pairs: list) -> dict[str, Any]:
    answers = [
        {
            "model": answer["model"],
            "text": shortened(answer["response"], LONGEST_TEXT),
            "ratings": [_rating(answer, aspect) for aspect in ASPECTS],
            "overall": overall_rating(answer),
        }
        for answer in record["completions"]
    ]
    return {
        "number": number,
        "prompt": shortened(record["instruction"], LONGEST_TEXT),
        "answers": answers,
        "pairs": pairs,
    }


def _rating(answer: dict, aspect: str) -> str:
    """As it was written, "N/A" included."""
    return str(((answer.get("annotations") or {}).get(aspect) or {}).get("Rating", "N/A"))
