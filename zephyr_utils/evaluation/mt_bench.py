"""MT-Bench: two-turn questions, single-answer grades from 1 to 10, and their averages.

The score of a model is the mean of its grades over all questions and both turns. Grades that the
judge failed to give are stored as -1 and left out of every average; the rest of the arithmetic is a
plain mean, so the published averages come out to the last digit.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from zephyr_utils.evaluation.common import (
    FASTCHAT_ERROR,
    EvaluationError,
    check_failures,
    check_names,
    checked_rows,
    count_some,
    display_name,
    failure_remedy,
    judge_name,
    name_some,
    natural_order,
    warn_all,
)
from zephyr_utils.evaluation.intervals import Interval, bootstrap_interval
from zephyr_utils.evaluation.judgments import (
    CATEGORIES,
    TURNS,
    UNCATEGORISED,
    category_of,
    finish_reason_of,
    judgment_score,
    question_and_turn,
    scale_doubt,
)
from zephyr_utils.evaluation.types import MTBenchJudgment, MTBenchQuestion, QuestionId
from zephyr_utils.evaluation.verdicts import FAILED, parse_rating


@dataclass(frozen=True)
class MTBenchScore:
    """One model's grades. ``n_judgments`` is the number of records read, failed ones included.

    Attributes:
        overall: mean of all valid grades of both turns (1 to 10).
        turn_1, turn_2: mean of each turn's valid grades; None for a turn without any.
        by_category: mean of the valid grades of each category, in MT-Bench's order.
        n_failed: grades left out, with the reasons and their counts in ``failures``.
        n_missing: turns of the questions for which there is no judgment at all.
        n_duplicates: judgments beyond the first of the same question and turn; averaged, as
            FastChat does.
        interval: 95 % bootstrap interval of ``overall`` over questions (a question's two grades
            stay together, because they are not independent).
        warnings: what to look at before believing the figure; also issued as warnings.
    """

    model: str
    overall: float
    turn_1: float | None
    turn_2: float | None
    by_category: dict[str, float]
    n_judgments: int
    n_failed: int
    failures: dict[str, int]
    n_missing: int
    n_duplicates: int
    interval: Interval
    warnings: tuple[str, ...]

    def __str__(self) -> str:
        turns = " / ".join(
            "-" if turn is None else f"{turn:.2f}" for turn in (self.turn_1, self.turn_2)
        )
        failed = f"{self.n_failed} of {self.n_judgments} failed"
        return f"{self.model}: {self.overall:.2f} (turns {turns}; {failed})"


@dataclass(frozen=True)
class _Grade:
    question: QuestionId
    turn: int
    score: float
    category: str


def _categories(questions: Iterable[MTBenchQuestion] | None) -> dict[QuestionId | None, str] | None:
    if questions is None:
        return None
    rows = checked_rows(questions, "question")
    return {
        question_and_turn(row)[0]: display_name(row.get("category", UNCATEGORISED)) for row in rows
    }


def mean(scores: list[float]) -> float:
    """The mean of one or more grades."""
    # fsum: the mean of half points is then exact, and so are the published averages.
    return math.fsum(scores) / len(scores)


def mt_bench_score(
    judgments: Iterable[MTBenchJudgment],
    questions: Iterable[MTBenchQuestion] | None = None,
    allow_failures: bool = False,
) -> MTBenchScore:
    """The MT-Bench averages of one model.

    Args:
        judgments: records ``{question_id, model, judge, judgment, score, turn}`` of one model.
        questions: records ``{question_id, category, turns}``; gives the categories and the turns to
            expect. Without it a record's own ``category`` is used, else the public numbering of the
            80 real questions.
        allow_failures: average what is left even when more than a tenth of the judgments failed.

    Warns:
        EvaluationWarning: failed, duplicated or missing judgments, several judges, a score that
            differs from the rating in its own judgment text, grades of answers that never came or
            that seem to be on a shorter scale.

    Raises:
        EvaluationError: no judgments, some without a model's name, several models, no valid grade,
            or more than a tenth failed (unless allowed).
    """
    rows = checked_rows(judgments, "judgment")
    check_names(enumerate(rows, start=1), "model", "judgments")
    models = sorted({display_name(row.get("model", "")) for row in rows})
    if len(models) > 1:
        raise EvaluationError(
            f"they are of {len(models)} models ({name_some(models)})",
            where="judgments",
            remedy="score each model by itself, or all of them with mt_bench_table(judgments).",
        )
    where = f"judgments of {models[0]}" if models[0] else "judgments"
    categories = _categories(questions)
    grades, failures = _read_grades(rows, categories)
    n_failed = failures.total()
    if not grades:
        raise EvaluationError(
            f"all {len(rows)} failed: {count_some(failures)}",
            where=where,
            remedy=f"{failure_remedy(failures)}.",
        )
    check_failures(n_failed, len(rows), failures, where=where, allow=allow_failures)
    present = Counter(question_and_turn(row) for row in rows)
    expected = categories if categories is not None else {question for question, _ in present}
    missing = [
        f"{question} turn {turn}"
        for question in sorted(expected, key=natural_order)
        for turn in TURNS
        if not present[question, turn]
    ]
    n_duplicates = sum(present.values()) - len(present)
    by_question, by_category = defaultdict(list), defaultdict(list)
    for grade in grades:
        by_question[grade.question].append(grade.score)
        by_category[grade.category].append(grade.score)
    overall = mean([grade.score for grade in grades])
    return MTBenchScore(
        model=models[0],
        overall=overall,
        turn_1=_turn_mean(grades, 1),
        turn_2=_turn_mean(grades, 2),
        by_category={name: mean(by_category[name]) for name in _in_order(by_category)},
        n_judgments=len(rows),
        n_failed=n_failed,
        failures=dict(sorted(failures.items())),
        n_missing=len(missing),
        n_duplicates=n_duplicates,
        interval=_interval(list(by_question.values()), overall),
        warnings=warn_all(
            f"{where}: {message}"
            for message in _row_warnings(rows, failures, n_duplicates, missing, categories)
        ),
    )


def _read_grades(
    rows: list[MTBenchJudgment], categories: Mapping[QuestionId | None, str] | None
) -> tuple[list[_Grade], Counter[str]]:
    grades: list[_Grade] = []
    failures: Counter[str] = Counter()
    for row in rows:
        score, reason = judgment_score(row)
        question, turn = question_and_turn(row)
        if score is None or question is None or turn is None:
            failures[reason] += 1
            continue
        if categories is not None:
            category = categories.get(question, UNCATEGORISED)
        else:
            category = category_of(row)
        grades.append(_Grade(question, turn, score, category))
    return grades, failures


def _turn_mean(grades: list[_Grade], turn: int) -> float | None:
    scores = [grade.score for grade in grades if grade.turn == turn]
    return mean(scores) if scores else None


def _in_order(names: Iterable[str]) -> list[str]:
    present = set(names)
    return [name for name in CATEGORIES if name in present] + sorted(present - set(CATEGORIES))


def _interval(by_question: list[list[float]], overall: float) -> Interval:
    """Bootstrap over questions; where some grades failed, the bounds are moved onto the mean over
    grades.
    """
    spread = bootstrap_interval([mean(scores) for scores in by_question])
    shift = overall - spread.estimate
    return Interval(overall, spread.low + shift, spread.high + shift, spread.level)


def _row_warnings(
    rows: list[MTBenchJudgment],
    failures: Counter[str],
    n_duplicates: int,
    missing: list[str],
    categories: Mapping[QuestionId | None, str] | None,
) -> list[str]:
    messages = []
    if failures:
        messages.append(
            f"{failures.total()} of {len(rows)} failed and are left out of every average: "
            f"{count_some(failures)}"
        )
    if doubt := scale_doubt(rows):
        messages.append(doubt)
    if n_duplicates:
        messages.append(
            f"{n_duplicates} repeat a question and turn judged before; all are averaged, as "
            f"FastChat does"
        )
    if missing:
        messages.append(f"{len(missing)} turns were never judged: {name_some(missing)}")
    asked = {question_and_turn(row)[0] for row in rows}
    if categories is not None:
        unknown = sorted((q for q in asked if q not in categories), key=natural_order)
        if unknown:
            messages.append(
                f"{len(unknown)} judged questions are not in the question set: {name_some(unknown)}"
            )
    if both := sorted(str(q) for q in asked if isinstance(q, int) and str(q) in asked):
        messages.append(
            f"{len(both)} questions are numbered both as a number and as a text, and counted as "
            f"two: {name_some(both)}"
        )
    judges = {judge for row in rows if (judge := judge_name(row)) is not None}
    if len(judges) > 1:
        messages.append(f"several judges are mixed: {name_some(sorted(judges))}")
    if differing := _turns_of(row for row in rows if _contradicts_its_text(row)):
        messages.append(
            f"{len(differing)} scores differ from the rating in their own text: "
            f"{name_some(differing)}"
        )
    if graded_errors := _turns_of(row for row in rows if _is_of_an_error(row)):
        messages.append(
            f"{len(graded_errors)} grades are of {FASTCHAT_ERROR}, which stands where no answer "
            f"came: {name_some(graded_errors)}"
        )
    return messages


def _turns_of(rows: Iterable[MTBenchJudgment]) -> list[str]:
    turns = sorted(
        (question_and_turn(row) for row in rows),
        key=lambda turn: (natural_order(turn[0]), turn[1] or 0),
    )
    return [f"{question} turn {turn}" for question, turn in turns]


def _contradicts_its_text(row: MTBenchJudgment) -> bool:
    if "score" not in row or not isinstance(row.get("judgment"), str):
        return False
    rating = parse_rating(row["judgment"], finish_reason_of(row))
    return rating not in (FAILED, row["score"])


def _is_of_an_error(row: MTBenchJudgment) -> bool:
    """Whether the judge was shown FastChat's mark of a failed call on a line of its own."""
    prompt = row.get("user_prompt")
    if not isinstance(prompt, str) or judgment_score(row)[0] is None:
        return False
    return FASTCHAT_ERROR in prompt and any(
        line.strip() == FASTCHAT_ERROR for line in prompt.split("\n")
    )
