"""Mean rating against overall grade as a map: each point opens the answers that lie there."""

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import traitlets

from zephyr_utils.data.records import ASPECTS
from zephyr_utils.errors import HandbookError
from zephyr_utils.explorers.common import Explorer, script, shortened
from zephyr_utils.preferences import mean_rating, overall_rating

LONGEST_TEXT = 240  # characters of a prompt, an answer or a critique; the rest is cut
SAMPLES = 3  # answers that are shown of one point
BUDGET = 250_000  # characters of JSON: what a page can carry of one figure


class FeedbackBrowser(Explorer):
    """Rated answers by mean rating (to the nearest quarter) and overall grade; the reader moves
    from point to point.

    Args:
        feedback: feedback records; answers without either score are left out and counted.

    Attributes:
        aspects: the names of the rated aspects.
        cells: ``[{mean, overall, count, samples: [{model, prompt, text, critique, ratings}]}]``.
            The points whose two scores contradict each other most come first, and are the last to
            lose their samples to the page's budget.
        left_out: answers without a mean or an overall grade.

    Raises:
        HandbookError: no answer has both scores.
    """

    _esm = script("feedback_browser")

    aspects: "traitlets.List[str]" = traitlets.List().tag(sync=True)
    cells: "traitlets.List[dict[str, Any]]" = traitlets.List().tag(sync=True)
    left_out = traitlets.Int().tag(sync=True)

    def __init__(self, feedback: Sequence[dict]) -> None:
        points: dict[tuple[float, float], list[tuple[dict, dict]]] = defaultdict(list)
        left_out = 0
        for record in feedback:
            for answer in record["completions"]:
                mean, overall = mean_rating(answer), overall_rating(answer)
                if mean is None or overall is None:
                    left_out += 1
                else:
                    points[round(mean * 4) / 4, overall].append((record, answer))
        if not points:
            raise HandbookError(
                "no answer has both a mean rating and an overall grade",
                where="FeedbackBrowser",
                remedy="give feedback that was rated in aspects and with critiques",
            )
        cells: list[dict[str, Any]] = []
        size = 0
        for (mean, overall), there in sorted(
            points.items(), key=lambda item: -contradiction(*item[0])
        ):
            samples = [_sample(record, answer) for record, answer in there[:SAMPLES]]
            cell = {"mean": mean, "overall": overall, "count": len(there), "samples": samples}
            size += len(json.dumps(cell))
            if size > BUDGET:
                cell["samples"] = []
            cells.append(cell)
        super().__init__(aspects=list(ASPECTS), cells=cells, left_out=left_out)


def contradiction(mean: float, overall: float) -> float:
    """How far apart, on the scale of ten, the overall grade and the mean rating are (a mean of 1
    stands for 1, of 5 for 10).
    """
    return abs(overall - (1 + (mean - 1) * 9 / 4))


def _sample(record: dict, answer: dict) -> dict[str, Any]:
    return {
        "model": answer["model"],
        "prompt": shortened(record["instruction"], LONGEST_TEXT),
        "text": shortened(answer["response"], LONGEST_TEXT),
        "critique": shortened(answer.get("critique") or "", LONGEST_TEXT),
        "ratings": [
            str((answer["annotations"].get(aspect) or {}).get("Rating", "N/A"))
            for aspect in ASPECTS
        ],
    }
