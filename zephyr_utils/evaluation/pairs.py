"""Pairwise judging in both orders: a judge that prefers whatever it reads first must not decide
anything.

Every pair is judged twice, once with each answer first. A model wins a question only when both
judgments name it; the rest are ties, contradictions (which measure the judge's position bias), or
errors.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from zephyr_utils.evaluation.common import (
    EvaluationError,
    check_failures,
    checked_rows,
    display_name,
    judge_name,
    name_some,
    warn_all,
)
from zephyr_utils.evaluation.grading import answers_by_question
from zephyr_utils.evaluation.intervals import Interval, wilson_interval
from zephyr_utils.evaluation.judges import ComparisonRequest, Judge, judge_comparisons
from zephyr_utils.evaluation.judgments import question_and_turn
from zephyr_utils.evaluation.types import (
    AlpacaEvalAnnotation,
    MTBenchAnswer,
    MTBenchPairJudgment,
    MTBenchQuestion,
)

WINNERS = ("model_1", "model_2", "tie")
Outcome = Literal["model_1", "model_2", "tie", "inconsistent", "error"]


@dataclass(frozen=True)
class PairScore:
    """The outcome of two models judged against each other. The five outcomes add up to the records
    read.

    Attributes:
        n_wins_1, n_wins_2: both orders name that model.
        n_ties: both orders say "tie".
        n_inconsistent: the two orders disagree.
        n_errors: no choice could be read in at least one order.
        n_first_place, n_second_place: contradictions in which the judge named the place, first or
            second, twice.
        win_rate_2: model 2's rate in percent; everything that is not a win counts one half, except
            errors, which are left out (None if nothing is left).
        decided: model 2's share of the decided questions with Wilson's interval (None without any).
    """

    model_1: str
    model_2: str
    n_wins_1: int
    n_wins_2: int
    n_ties: int
    n_inconsistent: int
    n_errors: int
    n_first_place: int
    n_second_place: int
    win_rate_2: float | None
    decided: Interval | None

    @property
    def n_undecided(self) -> int:
        """Questions that neither model won: ties, contradictions and errors."""
        return self.n_ties + self.n_inconsistent + self.n_errors


def pair_outcome(record: MTBenchPairJudgment) -> Outcome:
    """The outcome of a question from the winners of the two orders."""
    first, second = record.get("g1_winner"), record.get("g2_winner")
    if first not in WINNERS or second not in WINNERS:  # compares, so that a list is not a winner
        return "error"
    return first if first == second else "inconsistent"  # type: ignore[return-value]


def _why_no_outcome(record: MTBenchPairJudgment) -> str:
    """Why a record has no outcome: its judge failed, or the file is at fault."""
    if "g1_winner" not in record or "g2_winner" not in record:
        return "the winners of both orders are missing"
    for winner in (record["g1_winner"], record["g2_winner"]):
        if winner not in (*WINNERS, "error", None, ""):
            return f"winner {display_name(repr(winner))} is not one of {name_some(WINNERS)}"
    return "no choice could be read in one of the orders"


def pair_score(judgments: Iterable[MTBenchPairJudgment], allow_failures: bool = False) -> PairScore:
    """Count the outcomes of one pair of models over all records.

    Args:
        judgments: records ``{question_id, model_1, model_2, g1_winner, g2_winner, turn}``, where
            each winner is "model_1", "model_2", "tie" or "error"; in the first game model 1 is
            shown first, in the second model 2.
        allow_failures: count even when no choice could be read in more than a tenth (and more than
            one, so that a handful of pairs can be looked at).

    Warns:
        EvaluationWarning: a question and turn that is judged more than once, several judges.

    Raises:
        EvaluationError: no records, missing names, more than one pair of models or a model with
            itself, or more than a tenth failed (unless allowed).
    """
    rows = checked_rows(judgments, "pair judgment")
    for position, row in enumerate(rows, start=1):
        if not isinstance(row.get("model_1"), str) or not isinstance(row.get("model_2"), str):
            raise EvaluationError(
                "needs the names model_1 and model_2",
                where=f"pair judgment {position}",
                remedy="write records as {question_id, model_1, model_2, g1_winner, g2_winner}.",
            )
    pairs = sorted({(display_name(row["model_1"]), display_name(row["model_2"])) for row in rows})
    if len(pairs) > 1:
        raise EvaluationError(
            f"they are of several pairs: {name_some(' and '.join(pair) for pair in pairs)}",
            where="pair judgments",
            remedy="score one pair of models at a time, always in the same order.",
        )
    model_1, model_2 = pairs[0]
    if model_1 == model_2:
        raise EvaluationError(
            f"they compare {model_1!r} with itself",
            where="pair judgments",
            remedy="check model_1 and model_2, which name the two models.",
        )
    outcomes = Counter(pair_outcome(row) for row in rows)
    n_errors = outcomes["error"]
    check_failures(
        n_errors,
        len(rows),
        Counter(_why_no_outcome(row) for row in rows if pair_outcome(row) == "error"),
        where=f"pair judgments of {model_1} and {model_2}",
        allow=allow_failures or n_errors == 1,
    )
    seen = Counter(question_and_turn(row) for row in rows)
    repeated = sorted(f"{question} turn {turn}" for (question, turn), n in seen.items() if n > 1)
    judges = {judge for row in rows if (judge := judge_name(row)) is not None}
    messages = []
    if repeated:
        messages.append(f"{len(repeated)} pairs are judged more than once: {name_some(repeated)}")
    if len(judges) > 1:
        messages.append(f"several judges are mixed: {name_some(sorted(judges))}")
    warn_all(messages)
    places = Counter(
        (row.get("g1_winner"), row.get("g2_winner"))
        for row in rows
        if pair_outcome(row) == "inconsistent"
    )
    decided = outcomes["model_1"] + outcomes["model_2"]
    counted = len(rows) - n_errors
    halves = outcomes["tie"] + outcomes["inconsistent"]
    return PairScore(
        model_1=model_1,
        model_2=model_2,
        n_wins_1=outcomes["model_1"],
        n_wins_2=outcomes["model_2"],
        n_ties=outcomes["tie"],
        n_inconsistent=outcomes["inconsistent"],
        n_errors=n_errors,
        n_first_place=places["model_1", "model_2"],
        n_second_place=places["model_2", "model_1"],
        win_rate_2=100 * (outcomes["model_2"] + halves / 2) / counted if counted else None,
        decided=wilson_interval(outcomes["model_2"], decided) if decided else None,
    )


def judge_pairs(
    questions: Iterable[MTBenchQuestion],
    answers_1: Iterable[MTBenchAnswer],
    answers_2: Iterable[MTBenchAnswer],
    judge: Judge,
    model_1: str,
    model_2: str,
) -> list[MTBenchPairJudgment]:
    """Judge the first turns of two models against each other, in both orders, question by question.

    Args:
        questions, answers_1, answers_2: as for
            :func:`~zephyr_utils.evaluation.grading.grade_answers`.
        judge: asked twice a question.

    Returns:
        Records for the questions that both models answered.

    Warns:
        EvaluationWarning: questions that one of the two did not answer, with their number; they are
            left out.
    """
    if model_1 == model_2:
        raise EvaluationError(
            f"both are called {display_name(model_1)!r}",
            where="models",
            remedy="give the two models names of their own.",
        )
    asked, first = answers_by_question(questions, answers_1, model_1)
    _, second = answers_by_question(asked, answers_2, model_2)
    judged = [q for q in asked if first.get(q["question_id"]) and second.get(q["question_id"])]
    both = {question["question_id"] for question in judged}
    left_out = [key for question in asked if (key := question["question_id"]) not in both]
    requests = []
    for question in judged:
        one, two = first[question["question_id"]][0], second[question["question_id"]][0]
        requests.append(ComparisonRequest(question, one, two))
        requests.append(ComparisonRequest(question, two, one))
    said = judge_comparisons(judge, requests, f"judging {model_2} against {model_1}")
    records: list[MTBenchPairJudgment] = []
    for question, straight, swapped in zip(judged, said[::2], said[1::2], strict=True):
        key = question["question_id"]
        records.append(
            {
                "question_id": key,
                "model_1": model_1,
                "model_2": model_2,
                "g1_winner": {"A": "model_1", "B": "model_2"}.get(straight.winner, straight.winner),
                "g2_winner": {"A": "model_2", "B": "model_1"}.get(swapped.winner, swapped.winner),
                "judge": [judge.name, straight.prompt_name],
                "g1_judgment": straight.text,
                "g2_judgment": swapped.text,
                "turn": 1,
                "output_1": first[key][0],
                "output_2": second[key][0],
            }
        )
    warn_all(
        [f"{len(left_out)} questions lack one of the two answers: {name_some(left_out)}"]
        if left_out
        else []
    )
    return records


def as_annotations(judgments: Iterable[MTBenchPairJudgment]) -> list[AlpacaEvalAnnotation]:
    """Pair judgments as AlpacaEval annotations (version 1), model 1 being the baseline.

    A win is 1 or 2, a tie or a contradiction the draw 1.5, an error null; lengths are taken from
    the outputs.
    """
    preferences = {"model_1": 1.0, "model_2": 2.0, "tie": 1.5, "inconsistent": 1.5, "error": None}
    annotations: list[AlpacaEvalAnnotation] = []
    for row in checked_rows(judgments, "pair judgment"):
        annotation: AlpacaEvalAnnotation = {
            "generator_1": row["model_1"],
            "generator_2": row["model_2"],
            "annotator": judge_name(row) or "",
            "preference": preferences[pair_outcome(row)],
        }
        if "question_id" in row:
            annotation["index"] = row["question_id"]
        if "output_1" in row and "output_2" in row:
            annotation |= {"output_1": row["output_1"], "output_2": row["output_2"]}
        annotations.append(annotation)
    return annotations
