"""A report that a reader can keep: what was judged, by whom, what came out, how sure it is, and
what looks odd.

``report.json`` holds every figure; ``report.html`` is drawn from it alone, needs no other file,
runs no script, and shows whatever a model or a judge wrote as text.
"""

import contextlib
import dataclasses
import json
import math
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from zephyr_utils.evaluation.academic import TaskScore
from zephyr_utils.evaluation.alpaca_eval import (
    WinRate,
    alpaca_eval_win_rate,
    shared_annotations,
    win_rate_difference,
)
from zephyr_utils.evaluation.common import EvaluationError, EvaluationWarning, load_rows
from zephyr_utils.evaluation.grading import answer_turns
from zephyr_utils.evaluation.length_control import length_controlled_win_rate
from zephyr_utils.evaluation.mt_bench import (
    UNCATEGORISED,
    MTBenchScore,
    public_category,
    question_and_turn,
)
from zephyr_utils.evaluation.mt_bench_table import (
    mt_bench_difference,
    mt_bench_table,
    split_by_model,
    wrong_model_judgments,
)
from zephyr_utils.evaluation.pairs import PairScore, as_annotations, pair_score
from zephyr_utils.evaluation.recorded import read_annotations, read_judgments


class Report:
    """Collects figures, each ``add_...`` from raw records, and writes both files.

    Every :class:`EvaluationWarning` that is raised on the way is taken down in ``warnings`` and
    stands on the page.

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
    def listening(self) -> Iterator[None]:
        """Take down the evaluation's warnings; all others go on as before."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
        for warning in caught:
            if not issubclass(warning.category, EvaluationWarning):
                warnings.warn_explicit(
                    warning.message, warning.category, warning.filename, warning.lineno
                )
            elif str(warning.message) not in self.warnings:
                self.warnings.append(str(warning.message))

    def add_judgments(
        self,
        judgments: Iterable[dict],
        questions: Iterable[dict] | None = None,
        answers: Iterable[dict] = (),
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
        with self.listening():
            self.grades = mt_bench_table(judgments, questions, allow_failures)
            if answers:
                wrong_model_judgments(judgments, answers)
            by_model = split_by_model(judgments)
            best_first = sorted(self.grades, key=lambda model: -self.grades[model].overall)
            differences = self._differences(best_first, by_model, mt_bench_difference)
        self._sections["grades"] = {
            model: dataclasses.asdict(self.grades[model]) for model in best_first
        }
        self._sections["grade_differences"] = differences
        if questions and answers:
            self._sections["answers"] = _side_by_side(judgments, questions, answers)

    def add_annotations(self, by_model: Mapping[str, list[dict]]) -> None:
        """AlpacaEval annotations of one or more models against one baseline.

        Raises:
            EvaluationError: as :func:`~zephyr_utils.evaluation.alpaca_eval.alpaca_eval_win_rate`.
        """
        controlled: dict[str, Any] = {}
        for rows in by_model.values():
            self._note_judges(rows)
        with self.listening():
            for model, rows in by_model.items():
                with self._named(model):
                    self.rates[model] = alpaca_eval_win_rate(rows, model.partition(" (")[0])
                    try:
                        controlled[model] = dataclasses.asdict(length_controlled_win_rate(rows))
                    except EvaluationError:  # slim records hold no lengths of the baseline
                        controlled[model] = None
            shared_annotations(by_model)
            best_first = sorted(self.rates, key=lambda model: -self.rates[model].win_rate)
            differences = self._differences(best_first, by_model, win_rate_difference)
        self._sections["win_rates"] = {
            model: dataclasses.asdict(self.rates[model]) | {"length_controlled": controlled[model]}
            for model in best_first
        }
        self._sections["win_rate_differences"] = differences

    def _differences(
        self,
        best_first: Sequence[str],
        by_model: Mapping[str, list[dict]],
        compare: Callable[..., Any],
    ) -> list[dict[str, Any]]:
        """Each model compared with the next best."""
        differences = []
        for first, second in pairwise(best_first):
            # No question in common: said where the tables are made.
            with contextlib.suppress(EvaluationError), self._named(f"{first} and {second}"):
                found = compare(by_model[first], by_model[second])
                differences.append({"first": first, "second": second} | dataclasses.asdict(found))
        return differences

    def _note_judges(self, rows: list[dict]) -> None:
        """Say who judged, as the records name them, unless the caller has said it already."""
        named = {
            row["judge"][0] for row in rows if isinstance(row.get("judge"), list) and row["judge"]
        }
        named |= {row["annotator"] for row in rows if isinstance(row.get("annotator"), str)}
        self._judges |= {str(name) for name in named}

    @contextlib.contextmanager
    def _named(self, model: str) -> Iterator[None]:
        """Put a model's or a pair's name before the warnings of its rows, which do not know it."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
        for warning in caught:
            warnings.warn(f"{model}: {warning.message}", warning.category, stacklevel=3)

    def add_pairs(self, judgments: Iterable[dict]) -> None:
        """Pairwise judgments of two models, both orders: outcomes, the judge's liking for a place,
        and win rates.
        """
        rows = list(judgments)
        self._note_judges(rows)
        with self.listening():
            score = pair_score(rows)
        section = dataclasses.asdict(score)
        if (
            any(row.get("judge") for row in rows)
            and all("output_2" in row for row in rows)
            and score.decided
        ):
            with self.listening():
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
            judgments: FastChat's records; pairwise ones are told by ``g1_winner``.
            annotations: AlpacaEval's records, one file a model.
            questions: gives the categories and the turns to expect; the 80 public ones are known by
                their number.
        """
        if judgments:
            single, pairwise_rows = read_judgments(judgments)
            if single:
                asked = None if questions is None else load_rows(questions)
                self.add_judgments(single, asked, allow_failures=allow_failures)
            of_pair: dict[tuple[str, str], list[dict]] = {}
            for row in pairwise_rows:
                of_pair.setdefault((str(row.get("model_1")), str(row.get("model_2"))), []).append(
                    row
                )
            for rows in of_pair.values():
                self.add_pairs(rows)
        if annotations:
            self.add_annotations(read_annotations(annotations))

    def content(self) -> dict[str, Any]:
        """Everything as JSON holds it; figures that are not finite become null."""
        about = {
            "Judge": ", ".join(sorted(self._judges)) or "not named in the records",
            **self.about,
        }
        return _plain(
            {"title": self.title, "about": about, "warnings": self.warnings, **self._sections}
        )

    def write(self, folder: str | Path) -> Path:
        """Write ``report.json`` and ``report.html`` into `folder`; returns the page's path."""
        from zephyr_utils.evaluation.report_page import (
            page,  # it draws: scoring alone needs no matplotlib
        )

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        content = self.content()
        text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        for name, whole in (("report.json", text), ("report.html", page(content))):
            # Under another name first: whoever reads meanwhile sees the old report or the new one.
            temporary = folder / f".{name}.{os.getpid()}"
            temporary.write_text(whole, encoding="utf-8")
            temporary.replace(folder / name)
        return folder / "report.html"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _side_by_side(judgments: list[dict], questions: list[dict], answers: list[dict]) -> list[dict]:
    """Questions with each model's answers and grades; the first answer and the first judgment of
    each count.
    """
    given: dict = {}
    for row in answers:
        given.setdefault(
            (str(row.get("model_id", "")), question_and_turn(row)[0]), answer_turns(row)
        )
    judged: dict = {}
    for row in judgments:
        judged.setdefault((str(row.get("model", "")), *question_and_turn(row)), row)
    models = list(dict.fromkeys(model for model, _ in given))
    shown = []
    for question in questions:
        key = question["question_id"]
        turns = []
        for number, asked in enumerate(question["turns"], start=1):
            said = {}
            for model in models:
                texts = given.get((model, key), [])
                row = judged.get((model, key, number), {})
                said[model] = {
                    "text": texts[number - 1] if number <= len(texts) else None,
                    "score": row.get("score"),
                    "judgment": row.get("judgment"),
                }
            turns.append({"question": asked, "answers": said})
        category = str(question.get("category") or public_category(key) or UNCATEGORISED)
        shown.append({"question_id": key, "category": category, "turns": turns})
    return shown
