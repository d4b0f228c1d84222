"""What the page ``book/real-model.md`` shows of served AI feedback, from
``benchmarks/results/smol_feedback.json``.
"""

from functools import cache
from typing import Any

from real_model import RESULTS, committed, scrolling

from zephyr_utils import figures
from zephyr_utils.tables import markdown_table

FEEDBACK = RESULTS.with_name("smol_feedback.json")
ANSWERERS = {"start": "start", "dsft": "dSFT", "ddpo": "dDPO", "hot": "start, hot"}
JUDGES = {"plain": "its own chat template", "judge": "a worked example first"}
MEASURES = {
    "readable": "verdicts that can be read",
    "first_chosen": "verdicts for the answer shown first",
    "same_in_both_orders": "same answer chosen in both orders",
    "cold_chosen": "verdicts for the answer at temperature 0",
    "right_chosen": "verdicts for the right answer, where one of two is",
}
Report = dict[str, dict[str, Any]]


@cache
def results() -> dict[str, Any]:
    """The committed run.

    Raises:
        HandbookError: there is none.
    """
    command = "python benchmarks/smol_feedback.py --start DIR --dsft DIR --ddpo DIR ..."
    return committed(FEEDBACK, "answers", command)


def answers(report: Report, chapters: list[str]) -> str:
    """What was asked and collected, and the mean rating of each answerer."""
    found = results()
    counts, means = found["answers"], found["mean_rating"]
    rows = [
        (
            words,
            f"{found['temperatures'][name]:g}",
            means[name]["answers"],
            "–" if means[name]["mean"] is None else f"{means[name]['mean']:.2f}",
        )
        for name, words in ANSWERERS.items()
    ]
    table = markdown_table(
        ["answerer", "temperature", "answers rated", "mean rating, 1 to 5"], rows, numbers=(1, 2, 3)
    )
    return (
        f"{counts['collected']} of {counts['asked']} answers were collected, of at most "
        f"{found['limits']['answer']} tokens; {counts['cut_off']} of them were cut off "
        f"there.\n\n{table}"
    )


def judges(report: Report, chapters: list[str]) -> str:
    """How many replies of the judge keep the form, asked in two ways."""
    rows = []
    for name, words in JUDGES.items():
        found = results()["judges"][name]
        reasons = sorted(found["reasons"].items(), key=lambda reason: -reason[1])
        why = ", ".join(f"{count} {in_words(reason)}" for reason, count in reasons) or "–"
        rows.append((words, found["readable"]["n"], share(found["readable"]), why))
    columns = ["the judge has", "replies", "readable [95 %]", "of the others"]
    return f"{markdown_table(columns, rows, numbers=(1, 2))}\n\n{copied(results())}"


def copied(found: dict[str, Any]) -> str:
    """How many of the readable ratings are those of the worked example."""
    same = found["as_in_the_example"]
    if not same["n"]:
        return ""
    count = round(same["estimate"] * same["n"])
    sentence = (
        f"{count} of its {same['n']} readable replies give the four answers the ratings of the "
        "worked example, in its order."
    )
    if same["low"] > 0.5:
        sentence += (
            " So the example taught it the form and nothing else: it rates places, not answers. "
            "Places rotate from aspect to aspect, so where all four aspects could be read the "
            "answers tie; the pairs come from prompts for which one could not."
        )
    return sentence


def pairs(report: Report, chapters: list[str]) -> str:
    """How many pairs came out, why the other rows gave none, and the audit."""
    found = results()["pairs"]
    aside = ", ".join(f"{count} {in_words(reason)}" for reason, count in found["set_aside"].items())
    reasons = f"; set aside: {aside}" if aside else ""
    table = markdown_table(["what", "figure", "share or range"], found["audit"], numbers=(1,))
    return f"{found['made']} pairs from {found['rows']} rated prompts{reasons}.\n\n{table}"


def worth(report: Report, chapters: list[str]) -> str:
    """The judge on the exam's answers, and what its intervals say."""
    found = results()["worth"]
    rows = [(words, found[name]["n"], share(found[name])) for name, words in MEASURES.items()]
    table = markdown_table(["", "of", "share [95 %]"], rows, numbers=(1, 2))
    return f"{table}\n\n{verdict(found)}"


def verdict(found: dict[str, Any]) -> str:
    """What the intervals say of the judge: of its place bias, its agreement, and its accuracy."""
    sentences = []
    first, right = found["first_chosen"], found["right_chosen"]
    if first["n"] and not first["low"] <= 0.5 <= first["high"]:
        place = "first" if first["low"] > 0.5 else "second"
        sentences.append(
            f"It chooses the answer that is shown {place} more often than a coin would."
        )
    if not right["n"]:
        sentences.append("It never had a right and a wrong answer to tell apart.")
    elif right["low"] > 0.5:
        sentences.append("It chooses right answers more often than a coin would.")
    elif right["high"] < 0.5:
        sentences.append("It chooses wrong answers more often than a coin would.")
    else:
        sentences.append(
            "Its choice between a right and a wrong answer cannot be told from a coin's, so "
            "the pairs above are worth no more than a coin's, either. A model of this size is no "
            "judge: take a larger one."
        )
    return " ".join(sentences)


def shown(report: Report, chapters: list[str]) -> str:
    """One prompt, its four answers and what the judge made of them."""
    record = results()["shown"]["record"]
    rows = [
        {
            "answerer": ANSWERERS[completion["model"]],
            "answer": completion["response"],
            "ratings": ", ".join(
                f"{aspect.replace('_', ' ')} {found['Rating']}"
                for aspect, found in completion["annotations"].items()
            )
            or "none",
        }
        for completion in record["completions"]
    ]
    return scrolling(figures.before_after_table(rows, caption=record["instruction"]))


def in_words(reason: str) -> str:
    """A reason as the page writes it."""
    return reason.replace("_", " ")


def share(found: dict[str, Any]) -> str:
    """A share with its interval, in per cent; a dash where there was nothing to count."""
    if not found["n"]:
        return "–"
    estimate, low, high = (100 * found[key] for key in ("estimate", "low", "high"))
    return f"{estimate:.0f} % [{low:.0f}, {high:.0f}]"


PARTS = {
    "real feedback answers": answers,
    "real feedback judges": judges,
    "real feedback pairs": pairs,
    "real feedback worth": worth,
    "real feedback shown": shown,
}
