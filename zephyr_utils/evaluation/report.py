"""A report that a reader can keep: what was judged, by whom, what came out, how sure it is, and
what looks odd.

``report.json`` holds every figure; ``report.html`` is drawn from it alone, needs no other file,
runs no script, and shows whatever a model or a judge wrote as text.
"""

import contextlib
import dataclasses
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

from zephyr_utils.evaluation.academic import TaskScore
from zephyr_utils.evaluation.alpaca_eval import (
    WinRate,
    alpaca_eval_win_rate,
    shared_annotations,
    win_rate_difference,
)
from zephyr_utils.evaluation.common import (
    EvaluationError,
    EvaluationWarning,
    display_name,
    finite_number,
    judge_name,
)
from zephyr_utils.evaluation.grading import first_choice_turns
from zephyr_utils.evaluation.intervals import PairedDifference
from zephyr_utils.evaluation.judgments import category_of, question_and_turn
from zephyr_utils.evaluation.length_control import length_controlled_win_rate
from zephyr_utils.evaluation.mt_bench import MTBenchScore
from zephyr_utils.evaluation.mt_bench_table import (
    mt_bench_difference,
    mt_bench_table,
    split_by_model,
    wrong_model_judgments,
)
from zephyr_utils.evaluation.pairs import PairScore, as_annotations, pair_score
from zephyr_utils.evaluation.recorded import load_questions, read_annotations, read_judgments
from zephyr_utils.evaluation.types import (
    AlpacaEvalAnnotation,
    MTBenchAnswer,
    MTBenchJudgment,
    MTBenchPairJudgment,
    MTBenchQuestion,
)
from zephyr_utils.files import plain_value, write_json, write_text

Record = TypeVar("Record", MTBenchJudgment, AlpacaEvalAnnotation)


class Report:
    """Collects figures, each ``add_...`` from raw records, and writes both files.

    Every :class:`EvaluationWarning` that is raised on the way is kept in ``warnings`` and
    is on the page.

    Args:
        title: heading of the page.
        about: what a reader must know to understand the figures, such as ``{"judge": ...,
            "questions": ...}``.
    """

    def __init__(self, title: str, about: Mapping[str, str] | None = None) -> None:
        self.title, self.about = title, dict(about or {})
        self.warnings: list[str] = []
        self.grades: dict[str, MTBenchScore] = {}
        self.rates: dict[str, WinRate] = {}
        self.pairs: list[PairScore] = []
        self.academic: list[TaskScore] = []
        self._sections: dict[str, Any] = {}
        self._judges: set[str] = set()

    @contextlib.contextmanager
    def collect_warnings(self) -> Iterator[None]:
        """Keep the evaluation's warnings for the page; all others go on as before."""
        caught: list[warnings.WarningMessage] = []
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                yield
        finally:  # what led to an error is worth reading, too
            for warning in caught:
                if not issubclass(warning.category, EvaluationWarning):
                    warnings.warn_explicit(
                        warning.message, warning.category, warning.filename, warning.lineno
                    )
                elif str(warning.message) not in self.warnings:
                    self.warnings.append(str(warning.message))

    def add_judgments(
        self,
        judgments: Iterable[MTBenchJudgment],
        questions: Iterable[MTBenchQuestion] | None = None,
        answers: Iterable[MTBenchAnswer] = (),
        allow_failures: bool = False,
    ) -> None:
        """MT-Bench grades of one or more models; with the answers, they are shown question by
        question.

        Raises:
            EvaluationError: as :func:`~zephyr_utils.evaluation.mt_bench.mt_bench_score`.
        """
        judgments, answers = list(judgments), list(answers)
        self._note_judges(judgments)
        questions = None if questions is None else list(questions)
        with self.collect_warnings():
            self.grades = mt_bench_table(judgments, questions, allow_failures)
            if answers:
                wrong_model_judgments(judgments, answers)
            by_model = split_by_model(judgments)
            best_first = sorted(self.grades, key=lambda name: (-self.grades[name].overall, name))
            differences = self._differences(best_first, by_model, mt_bench_difference)
        self._sections["grades"] = {
            model: dataclasses.asdict(self.grades[model]) for model in best_first
        }
        self._sections["grade_differences"] = differences
        if questions and answers:
            self._sections["answers"] = _side_by_side(judgments, questions, answers)

    def add_annotations(
        self, by_model: Mapping[str, list[AlpacaEvalAnnotation]], allow_failures: bool = False
    ) -> None:
        """AlpacaEval annotations of one or more models against one baseline.

        Raises:
            EvaluationError: as :func:`~zephyr_utils.evaluation.alpaca_eval.alpaca_eval_win_rate`.
        """
        by_model = {display_name(model): rows for model, rows in by_model.items()}
        controlled: dict[str, Any] = {}
        for rows in by_model.values():
            self._note_judges(rows)
        with self.collect_warnings():
            for model, rows in by_model.items():
                with self._named(model):
                    name = model.partition(" (")[0]
                    self.rates[model] = alpaca_eval_win_rate(rows, name, allow_failures)
                    try:
                        controlled[model] = dataclasses.asdict(length_controlled_win_rate(rows))
                    except EvaluationError:  # slim records hold no lengths of the baseline
                        controlled[model] = None
            shared_annotations(by_model)
            best_first = sorted(self.rates, key=lambda name: (-self.rates[name].win_rate, name))
            differences = self._differences(best_first, by_model, win_rate_difference)
        self._sections["win_rates"] = {
            model: dataclasses.asdict(self.rates[model]) | {"length_controlled": controlled[model]}
            for model in best_first
        }
        self._sections["win_rate_differences"] = differences

    def _differences(
        self,
        best_first: Sequence[str],
        by_model: Mapping[str, list[Record]],
        compare: Callable[[list[Record], list[Record]], PairedDifference],
    ) -> list[dict[str, Any]]:
        """Each model compared with the next best."""
        differences = []
        for first, second in pairwise(best_first):
            # No question in common: said where the tables are made.
            with contextlib.suppress(EvaluationError), self._named(f"{first} and {second}"):
                difference = compare(by_model[first], by_model[second])
                differences.append(
                    {"first": first, "second": second} | dataclasses.asdict(difference)
                )
        return differences

    def _note_judges(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Say who judged, as the records name them, unless the caller has said it already."""
        self._judges |= {name for row in rows if (name := judge_name(row)) is not None}

    @contextlib.contextmanager
    def _named(self, model: str) -> Iterator[None]:
        """Put a model's or a pair's name before the messages about its rows, which do not know
        it.
        """
        caught: list[warnings.WarningMessage] = []
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                yield
        except EvaluationError as error:
            where = f"{model}: {error.where}"
            raise EvaluationError(error.what, where=where, remedy=error.remedy) from error
        finally:
            for warning in caught:
                warnings.warn(f"{model}: {warning.message}", warning.category, stacklevel=3)

    def add_pairs(
        self, judgments: Iterable[MTBenchPairJudgment], allow_failures: bool = False
    ) -> None:
        """Pairwise judgments of two models, both orders: outcomes, the judge's position bias, and
        win rates.

        Raises:
            EvaluationError: as :func:`~zephyr_utils.evaluation.pairs.pair_score`.
        """
        rows = list(judgments)
        self._note_judges(rows)
        with self.collect_warnings():
            score = pair_score(rows, allow_failures)
        section = dataclasses.asdict(score)
        if score.decided and all(isinstance(row.get("output_2"), str) for row in rows):
            with self.collect_warnings(), contextlib.suppress(EvaluationError):  # too few lengths
                section["length_controlled"] = dataclasses.asdict(
                    length_controlled_win_rate(as_annotations(rows))
                )
        self.pairs.append(score)
        self._sections.setdefault("pairs", []).append(section)

    def add_academic(self, scores: Iterable[TaskScore]) -> None:
        """Accuracies that lm-eval reported."""
        self.academic += scores
        self._sections["academic"] = [dataclasses.asdict(score) for score in self.academic]

    def add_recorded(
        self,
        judgments: Sequence[Path] = (),
        annotations: Sequence[Path] = (),
        questions: Path | None = None,
        allow_failures: bool = False,
    ) -> None:
        """Recorded MT-Bench judgments (single or pairwise) and AlpacaEval annotations, from files
        or folders.

        Args:
            judgments: FastChat's records; pairwise ones are known by ``g1_winner``.
            annotations: AlpacaEval's records, one file a model.
            questions: gives the categories and the turns to expect; the 80 public ones are known by
                their number.
        """
        if judgments:
            single, pairwise_rows = read_judgments(judgments)
            if single:
                asked = None if questions is None else load_questions(questions)
                self.add_judgments(single, asked, allow_failures=allow_failures)
            of_pair: dict[tuple[str, str], list[MTBenchPairJudgment]] = {}
            for row in pairwise_rows:
                of_pair.setdefault((str(row.get("model_1")), str(row.get("model_2"))), []).append(
                    row
                )
            for rows in of_pair.values():
                self.add_pairs(rows, allow_failures)
        if annotations:
            self.add_annotations(read_annotations(annotations), allow_failures)

    def content(self) -> dict[str, Any]:
        """Everything as JSON holds it; figures that are not finite become null."""
        about = {
            "Judge": ", ".join(sorted(self._judges)) or "not named in the records",
            **self.about,
        }
        return plain_value(
            {"title": self.title, "about": about, "warnings": self.warnings, **self._sections}
        )

    def write(self, folder: str | Path) -> Path:
        """Write ``report.json`` and ``report.html`` into `folder`; returns the page's path.

        Raises:
            HandbookError: the folder cannot be made or written to.
        """
        from zephyr_utils.evaluation.report_page import (
            page,  # it draws: scoring alone needs no matplotlib
        )

        content = self.content()
        write_json(Path(folder) / "report.json", content)
        return write_text(Path(folder) / "report.html", page(content))


def _side_by_side(
    judgments: list[MTBenchJudgment],
    questions: list[MTBenchQuestion],
    answers: list[MTBenchAnswer],
) -> list[dict[str, Any]]:
    """Questions with each model's answers and grades; the first answer and the first judgment of
    each count.
    """
    given: dict[tuple[str, Any], list[str]] = {}
    for row in answers:
        name = display_name(row.get("model_id", ""))
        given.setdefault((name, question_and_turn(row)[0]), first_choice_turns(row))
    judged: dict[tuple[str, Any, int | None], MTBenchJudgment] = {}
    for judgment in judgments:
        name = display_name(judgment.get("model", ""))
        judged.setdefault((name, *question_and_turn(judgment)), judgment)
    models = list(dict.fromkeys(model for model, _ in given))
    shown = []
    for question in questions:
        key = question_and_turn(question)[0]
        turns = []
        for number, asked in enumerate(question["turns"], start=1):
            said = {}
            for model in models:
                texts = given.get((model, key), [])
                graded = judged.get((model, key, number), MTBenchJudgment())
                words = graded.get("judgment")
                said[model] = {
                    "text": texts[number - 1] if number <= len(texts) else None,
                    "score": finite_number(graded.get("score")),
                    "judgment": words if isinstance(words, str) else None,
                }
            turns.append({"question": asked, "answers": said})
        shown.append(
            {
                "question_id": display_name(key) if isinstance(key, str) else key,
                "category": category_of(question),
                "turns": turns,
            }
        )
    return shown
