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
    EvaluationError,
    as_number,
    checked_rows,
    name_some,
    warn_all,
)
from zephyr_utils.evaluation.intervals import Interval, bootstrap_interval
from zephyr_utils.evaluation.judges import parse_rating

# FastChat's public questions come in blocks of ten, 81 to 160, in this order; its judgments bear
# the number only.
CATEGORIES = (
    "writing",
    "roleplay",
    "reasoning",
    "math",
    "coding",
    "extraction",
    "stem",
    "humanities",
)
UNCATEGORISED = "uncategorised"
# The temperatures at which FastChat asks each category (fastchat/llm_judge/common.py).
FASTCHAT_TEMPERATURES = dict(zip(CATEGORIES, (0.7, 0.7, 0.0, 0.0, 0.0, 0.0, 0.1, 0.1), strict=True))
# Beyond this share of failed grades an average no longer speaks for the question set.
FAILURE_LIMIT = 0.1
TURNS = (1, 2)
# None stands for a number or a text that is not there.
QuestionId = int | float | str | None


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
        return f"{self.model}: {self.overall:.2f} (turns {turns}; {self.n_failed} of {self.n_judgments} failed)"


@dataclass(frozen=True)
class _Grade:
    question: object
    turn: int
    score: float
    category: str


def public_category(question_id: object) -> str:
    """Category of one of the 80 public MT-Bench questions by its number (81 to 160), else
    "uncategorised".
    """
    if isinstance(question_id, int) and 81 <= question_id <= 160:
        return CATEGORIES[(question_id - 81) // 10]
    return UNCATEGORISED


def question_and_turn(record: dict) -> tuple[QuestionId, int | None]:
    """What a judgment is about; None for a number or text that is not there or is something else
    altogether.
    """
    question, turn = record.get("question_id"), record.get("turn")
    return (
        question if isinstance(question, (int, float, str)) else None,
        turn if isinstance(turn, int) and turn in TURNS else None,
    )


def _categories(questions: Iterable[dict] | None) -> dict[QuestionId, str] | None:
    if questions is None:
        return None
    rows = checked_rows(questions, "question")
    return {question_and_turn(row)[0]: str(row.get("category", UNCATEGORISED)) for row in rows}


def judgment_score(record: dict) -> tuple[float | None, str]:
    """The valid grade (1 to 10) of one judgment record, or None with the reason why there is none."""
    if "score" in record:
        stored = record["score"]
    elif isinstance(record.get("judgment"), str):
        stored = parse_rating(record["judgment"])
    else:
        return None, "neither a score nor a judgment text"
    score = as_number(stored)
    if score is None:
        if stored is None:
            return None, "score is null"
        return None, "score is NaN" if stored != stored else "score is not a finite number"
    if score == -1:
        return None, "no rating could be read from the judgment (-1)"
    if not 1 <= score <= 10:
        return None, f"score {score:g} is outside 1 to 10"
    question, turn = question_and_turn(record)
    if turn is None:
        return None, f"turn {record.get('turn')!r} is neither 1 nor 2"
    if question is None:
        return None, "no question_id"
    return score, ""


def mean(scores: list[float]) -> float:
    # fsum: the mean of half points is then exact, and so are the published averages.
    return math.fsum(scores) / len(scores)


def mt_bench_score(
    judgments: Iterable[dict], questions: Iterable[dict] | None = None, allow_failures: bool = False
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
        differs from
            the rating in its own judgment text.

    Raises:
        EvaluationError: no judgments, several models, no valid grade, or more than a tenth failed
            (unless allowed).
    """
    rows = checked_rows(judgments, "judgment")
    models = sorted({str(row.get("model", "")) for row in rows})
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
    reasons = name_some(f"{count} x {reason}" for reason, count in failures.most_common())
    if not grades:
        raise EvaluationError(
            f"all {len(rows)} failed: {reasons}", where=where, remedy="judge the answers again."
        )
    if n_failed > FAILURE_LIMIT * len(rows) and not allow_failures:
        raise EvaluationError(
            f"{n_failed} of {len(rows)} failed, more than a tenth: {reasons}; the mean of the rest "
            f"would not speak "
            "for the question set",
            where=where,
            remedy="judge the failed answers again, or pass allow_failures=True (--allow-failures) "
            "and print the count.",
        )
    present = Counter(question_and_turn(row) for row in rows)
    expected = (
        categories if categories is not None else dict.fromkeys(question for question, _ in present)
    )
    missing = [
        f"{question} turn {turn}"
        for question in expected
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
        failures=dict(failures),
        n_missing=len(missing),
        n_duplicates=n_duplicates,
        interval=_interval(list(by_question.values()), overall),
        warnings=warn_all(
            f"{where}: {message}"
            for message in _row_warnings(rows, n_failed, reasons, n_duplicates, missing, categories)
        ),
    )


def _read_grades(
    rows: list[dict], categories: Mapping[QuestionId, str] | None
) -> tuple[list[_Grade], Counter[str]]:
    grades: list[_Grade] = []
    failures: Counter[str] = Counter()
    for row in rows:
        score, reason = judgment_score(row)
        if score is None:
            failures[reason] += 1
            continue
        question = row["question_id"]
        if categories is not None:
            category = categories.get(question, UNCATEGORISED)
        else:
            category = str(row.get("category") or public_category(question))
        grades.append(_Grade(question, row["turn"], score, category))
    return grades, failures


def _turn_mean(grades: list[_Grade], turn: int) -> float | None:
    scores = [grade.score for grade in grades if grade.turn == turn]
    return mean(scores) if scores else None


def _in_order(names: Iterable[str]) -> list[str]:
    found = list(names)
    return [name for name in CATEGORIES if name in found] + sorted(set(found) - set(CATEGORIES))


def _interval(by_question: list[list[float]], overall: float) -> Interval:
    """Bootstrap over questions; where some grades failed, the bounds are moved onto the mean over
    grades.
    """
    spread = bootstrap_interval([mean(scores) for scores in by_question])
    shift = overall - spread.estimate
    return Interval(overall, spread.low + shift, spread.high + shift, spread.level)


def _row_warnings(
    rows: list[dict],
    n_failed: int,
    reasons: str,
    n_duplicates: int,
    missing: list[str],
    categories: Mapping[QuestionId, str] | None,
) -> list[str]:
    messages = []
    if n_failed:
        messages.append(
            f"{n_failed} of {len(rows)} failed and are left out of every average: {reasons}"
        )
    if n_duplicates:
        messages.append(
            f"{n_duplicates} repeat a question and turn judged before; all are averaged, as "
            f"FastChat does"
        )
    if missing:
        messages.append(f"{len(missing)} turns were never judged: {name_some(missing)}")
    if categories is not None:
        asked = {question_and_turn(row)[0] for row in rows}
        unknown = sorted(str(question) for question in asked if question not in categories)
        if unknown:
            messages.append(
                f"{len(unknown)} judged questions are not in the question set: {name_some(unknown)}"
            )
    judges = {
        str(row["judge"][0])
        for row in rows
        if isinstance(row.get("judge"), (list, tuple)) and row["judge"]
    }
    if len(judges) > 1:
        messages.append(f"several judges are mixed: {name_some(sorted(judges))}")
    differing = [
        f"{row.get('question_id')} turn {row.get('turn')}"
        for row in rows
        if isinstance(row.get("judgment"), str)
        and (rating := parse_rating(row["judgment"])) != -1
        and "score" in row
        and row["score"] != rating
    ]
    if differing:
        messages.append(
            f"{len(differing)} scores differ from the rating in their own text: "
            f"{name_some(differing)}"
        )
    return messages
