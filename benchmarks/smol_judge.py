"""What a small judge is worth: against itself in both orders of a comparison, against a program's
checks, and between answers at temperature 0 and at 1.5. Part of ``smol_feedback.py``.
"""

import contextlib
import json
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from zephyr_utils.evaluation import OpenAIJudge, wilson_interval
from zephyr_utils.evaluation.judges import ComparisonRequest
from zephyr_utils.evaluation.recorded import load_answers
from zephyr_utils.evaluation.types import MTBenchQuestion
from zephyr_utils.feedback import Endpoint, RetryPolicy, Sampling
from zephyr_utils.feedback.reading import Unreadable, read_ratings
from zephyr_utils.verifiable import checks_by_turn, exam_questions

# The default of 120 s is short for a server on one busy core.
PATIENT = RetryPolicy(timeout=900)
UNDER_WAY = 8  # calls, which the server batches
SWAPPED = {"A": "B", "B": "A"}
EXAMPLE = ["2", "5", "1", "4"]  # the ratings of the worked example
# A worked example between the system message and the request, for ratings (of as many answers as
# are asked about) and for comparisons, marked as the request is: without marks the judge takes one
# of the request's for its verdict. The judge's turn begins with the first word of the form: without
# it the start writes prose.
TEMPLATE = r"""
{%- macro turn(role, content) -%}
{{ '<|im_start|>' + role + '\n' + content + '<|im_end|>\n' }}
{%- endmacro -%}
{%- macro block(name, text) -%}
--- {{ name }} [5c1e07aa] ---
{{ text }}
--- end of {{ name }} [5c1e07aa] ---
{%- endmacro -%}
{%- set question = block('question', 'What is the capital of France?') -%}
{%- set cases = [('The sun rises.', '2', 'Off topic.'), ('Paris.', '5', 'Right.'),
  ('Blue seven of.', '1', 'No sense.'), ('It may be Paris.', '4', 'Unsure.')] -%}
{%- set which = '\n\nWhich answer is better?' -%}
{%- set rate = '\n\nRate every answer, from Answer 1 on.' -%}
{%- set system = messages[0]['content'] -%}
{{ turn('system', system) }}
{%- if '[[A]]' in system -%}
{{ turn('user', question ~ '\n\n' ~ block('answer A', 'The sun rises.') ~ '\n\n'
  ~ block('answer B', 'Paris.') ~ which) }}{{ turn('assistant', 'Verdict: [[B]]') }}
{{- turn('user', question ~ '\n\n' ~ block('answer A', 'It is Paris.') ~ '\n\n'
  ~ block('answer B', 'Blue of.') ~ which) }}{{ turn('assistant', 'Verdict: [[A]]') }}
{%- else -%}
{%- set shown = namespace(answers='', ratings='') -%}
{%- for case in cases -%}
{%- if '--- answer ' ~ loop.index ~ ' [' in messages[1]['content'] -%}
{%- set shown.answers = shown.answers ~ '\n\n' ~ block('answer ' ~ loop.index, case[0]) -%}
{%- set shown.ratings = shown.ratings ~ '\n\nAnswer ' ~ loop.index ~ '\nRating: ' ~ case[1]
    ~ '\nRationale: ' ~ case[2] -%}
{%- endif -%}
{%- endfor -%}
{{ turn('user', question ~ shown.answers ~ rate) }}
{{- turn('assistant', 'Ratings:' ~ shown.ratings) }}
{%- endif -%}
{{- turn('user', messages[1]['content'] ~ (rate if '[[A]]' not in system else '')) }}
{%- if add_generation_prompt -%}
{{ '<|im_start|>assistant\n' ~ ('Verdict:' if '[[A]]' in system else 'Ratings:') }}
{%- endif -%}
"""


def judge_worth(
    url: str, judge: Path, answers: tuple[Path, Path], per_category: int, journal: Path
) -> dict[str, Any]:
    """The judge on the exam's first turns.

    Args:
        judge: the directory that the server knows it by.
        answers: the files of ``benchmarks/verifiable.py`` with the start's answers at temperature 0
            and at 1.5.
        per_category: how many questions, the first of each.
    """
    cold, hot = (
        {row["question_id"]: row["choices"][0]["turns"][0] for row in load_answers(path)}
        for path in answers
    )
    groups = groupby(exam_questions(), key=lambda question: question["category"])
    questions = [one for _, group in groups for one in list(group)[:per_category]]
    pairs = [(cold[one["question_id"]], hot[one["question_id"]]) for one in questions]
    right = [
        [all(check.is_followed(text) for check in checks_by_turn(one)[0]) for text in pair]
        for one, pair in zip(questions, pairs, strict=True)
    ]
    shown: list[MTBenchQuestion] = [  # without the reference: users' prompts have none either
        {"question_id": one["question_id"], "category": one["category"], "turns": one["turns"][:1]}
        for one in questions
    ]
    served = OpenAIJudge(
        str(judge),
        Endpoint(url),
        sampling=Sampling(temperature=0.0, max_tokens=12),
        journal=journal,
        retry_policy=PATIENT,
        concurrency=UNDER_WAY,
    )
    asked = list(zip(shown, pairs, strict=True))
    forth = served.compare_all([ComparisonRequest(q, a, b) for q, (a, b) in asked], "compared")
    back = served.compare_all([ComparisonRequest(q, b, a) for q, (a, b) in asked], "swapped")
    return {
        "questions": len(questions),
        "right": [sum(one[side] for one in right) for side in (0, 1)],
        **comparisons([one.winner for one in forth], [one.winner for one in back], right),
        "examples": [one.text for one in forth[:2]],
    }


def as_in_the_example(journal: Path, judge: Path) -> dict[str, Any]:
    """The share of the judge's readable ratings of four answers that are the worked example's, in
    its order. The answers' places rotate, so no order is right for all.
    """
    given = []
    for line in journal.read_bytes().split(b"\n"):
        reply = json.loads(line) if line else {}
        if reply.get("model") == str(judge) and reply["purpose"].startswith("rate "):
            with contextlib.suppress(Unreadable):
                given.append([one["Rating"] for one in read_ratings(reply["text"], len(EXAMPLE))])
    return share(given.count(EXAMPLE), len(given))


def comparisons(
    forth: Sequence[str], back: Sequence[str], right: Sequence[Sequence[bool]]
) -> dict[str, Any]:
    """A judge's choices when the answer at temperature 0 is shown first, and when it is second.

    Args:
        forth, back: "A", "B", "tie" or "error", by question.
        right: by question, whether all checks hold of the answer at temperature 0, and of that at
            1.5.
    """
    both = [(a, SWAPPED.get(b, b)) for a, b in zip(forth, back, strict=True)]  # A: that at 0
    read = [(a, b) for a, b in both if "error" not in (a, b)]
    every = [one for one in (*forth, *back) if one != "error"]
    placed = [one for one in every if one != "tie"]
    chosen = [one for pair in both for one in pair if one in SWAPPED]
    told_apart = [
        (one, "A" if cold else "B")
        for pair, (cold, hot) in zip(both, right, strict=True)
        for one in pair
        if one in SWAPPED and cold != hot
    ]
    return {
        "readable": share(len(every), 2 * len(both)),
        "first_chosen": share(placed.count("A"), len(placed)),
        "same_in_both_orders": share(sum(a == b for a, b in read), len(read)),
        "cold_chosen": share(chosen.count("A"), len(chosen)),
        "right_chosen": share(sum(a == b for a, b in told_apart), len(told_apart)),
        "choices": Counter(every),
    }


def share(count: int, total: int) -> dict[str, Any]:
    """A share of replies with Wilson's interval."""
    return {"n": total} | (vars(wilson_interval(count, total)) if total else {})
