"""Behind ``zephyr evaluate``: models, directories and files of answers examined, graded and
compared.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zephyr_utils.chat import load_model, prepare_tokenizer
from zephyr_utils.data.records import save_records
from zephyr_utils.errors import HandbookError
from zephyr_utils.evaluation import Judge, OpenAIJudge, Report, grade_answers, judge_pairs
from zephyr_utils.evaluation.common import display_name, name_some
from zephyr_utils.evaluation.exam import ANSWERS, JUDGMENTS, ask_questions, exam_shares
from zephyr_utils.evaluation.recorded import load_answers, load_questions, read_judgments
from zephyr_utils.evaluation.types import MTBenchAnswer, MTBenchJudgment, MTBenchQuestion
from zephyr_utils.exams import Exam
from zephyr_utils.feedback import Endpoint, Sampling
from zephyr_utils.feedback.rate import JUDGING
from zephyr_utils.files import existing_path
from zephyr_utils.pipeline.artefacts import Manifest, build_artefact, fingerprint
from zephyr_utils.pipeline.pipeline import EVALUATION, Pipeline

TEACHER = "teacher"
FASTCHAT_MAX_NEW_TOKENS = 1024
LONGEST_FOLDER = 60  # characters of a model's name in a folder's


@dataclass(frozen=True)
class ExamSettings:
    """What is put to the models, and who judges.

    Attributes:
        scale_exam: the exam of the scale.
        questions: a file of questions in MT-Bench's schema; None for those of the scale's exam.
        judge: "teacher" (that of the scale's exam, which knows its questions alone) or a model's
            name at an endpoint.
        judge_url: the endpoint; "" is $OPENAI_BASE_URL.
        judge_sampling: of a judge at an endpoint.
        retry_unreadable: as for :class:`~zephyr_utils.evaluation.OpenAIJudge`.
        temperature: None takes the exam's, or with `questions` FastChat's temperatures by
            category.
        max_new_tokens: None takes the exam's, or with `questions` FastChat's 1,024.
        allow_failures: average even when more than a tenth of the judgments failed.
    """

    scale_exam: Exam
    questions: Path | None = None
    judge: str = TEACHER
    judge_url: str = ""
    judge_sampling: Sampling = JUDGING
    retry_unreadable: bool = False
    temperature: float | None = None
    max_new_tokens: int | None = None
    allow_failures: bool = False

    @property
    def plain(self) -> bool:
        """Whether this is the very exam of chapter 07, whose artefacts are shared with it."""
        changed = self.max_new_tokens is not None or self.temperature not in (
            None,
            self.scale_exam.temperature,
        )
        return self.questions is None and self.judge == TEACHER and not changed

    def asked(self) -> list[MTBenchQuestion]:
        """The questions."""
        if self.questions is None:
            return self.scale_exam.questions()
        return load_questions(self.questions)

    def new_judge(self, journal: Path) -> Judge:
        """The judge.

        Args:
            journal: where the replies of a judge at an endpoint are kept.
        """
        if self.judge == TEACHER:
            return self.scale_exam.judge()
        return OpenAIJudge(
            self.judge,
            Endpoint(self.judge_url),
            sampling=self.judge_sampling,
            journal=journal,
            retry_unreadable=self.retry_unreadable,
        )

    @property
    def judge_key(self) -> list[Any]:
        """What tells one judge from another: with a password, if any, left out of the address."""
        if self.judge == TEACHER:
            return [TEACHER]
        return [display_name(self.judge), Endpoint(self.judge_url).url, vars(self.judge_sampling)]

    def about(self, pipeline: Pipeline) -> dict[str, str]:
        """What the report says at its top."""
        temperature, length = self.sampling["temperature"], self.sampling["max_new_tokens"]
        own = self.judge == TEACHER
        judge = (
            self.scale_exam.judge_description if own else f"{display_name(self.judge)} (endpoint)"
        )
        degree = "by category, as FastChat" if temperature is None else f"{temperature:g}"
        return {
            "Judge": f"{judge}. Grades of different judges cannot be compared, nor these with a "
            "published MT-Bench score.",
            "Questions": self.questions.name if self.questions else self.scale_exam.description,
            "Sampling": f"temperature {degree}, at most {length} new tokens, seed {pipeline.seed}",
            "Scale": pipeline.scale,
        }

    @property
    def sampling(self) -> dict[str, Any]:
        """Temperature and length as :func:`~zephyr_utils.evaluation.exam.run_exam` takes them."""
        temperature, length = self.temperature, FASTCHAT_MAX_NEW_TOKENS
        if self.questions is None:
            length = self.scale_exam.max_new_tokens
            temperature = self.scale_exam.temperature if temperature is None else temperature
        return {"temperature": temperature, "max_new_tokens": self.max_new_tokens or length}


@dataclass(frozen=True)
class Examined:
    """One model's exam.

    Attributes:
        answers, judgments: the records.
        manifest: of the artefact with the answers; None where they were recorded elsewhere.
        shares: as :func:`~zephyr_utils.evaluation.exam.exam_shares` returns them.
    """

    answers: list[MTBenchAnswer]
    judgments: list[MTBenchJudgment]
    manifest: Manifest | None = None
    shares: dict[str, float] = field(default_factory=dict)


def model_name(model: str) -> str:
    """What a model is called in records: the pipeline's own name, a directory's, or the one in a
    file of answers.

    A directory called ``model`` is named with the folder it is in.

    Raises:
        HandbookError: a file with answers of several models.
    """
    path = existing_path(model)
    if path is None:
        return model
    if path.is_dir():
        path = path.resolve()
        return f"{path.parent.name}-{path.name}" if path.name == "model" else path.name
    names = {str(row["model_id"]) for row in load_answers(path) if row.get("model_id")}
    if len(names) > 1:
        raise HandbookError(
            f"it holds answers of {len(names)} models: {name_some(sorted(names))}",
            where=str(path),
            remedy="write one file for each model",
        )
    return names.pop() if names else path.name.partition(".")[0]


def folder_name(name: str, *parts: Any) -> str:
    """A name for a file or a folder: what a model is called in records may be anything.

    Letters without accents, digits and ``-_.`` stay; a hash of the whole name and of the `parts`
    tells apart what is alike otherwise.
    """
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:LONGEST_FOLDER].strip("-.")
    return f"{slug or 'model'}-{fingerprint([display_name(name), *parts])[:8]}"


def evaluate_model(pipeline: Pipeline, model: str, exam: ExamSettings) -> Examined:
    """One model's answers and grades.

    A model is asked once; so is a judge at an endpoint, whose replies are journalled.

    Args:
        model: a model of the pipeline by name, a model directory, or a file of answers
            (``{question_id, model_id, choices: [{turns}]}``), which are graded as they are.

    Raises:
        HandbookError: whatever stops a model from being asked or judged.
    """
    name, path = model_name(model), existing_path(model)
    if path is None and exam.plain:
        manifest = pipeline.evaluate(model, pipeline.model_directory(model))
        judgments, _ = read_judgments([manifest.folder / JUDGMENTS])
        answers = load_answers(manifest.folder / ANSWERS)
        shares = exam_shares(answers, judgments, exam.scale_exam.judge(), exam.asked())
        return Examined(answers, judgments, manifest, shares)
    questions, made = exam.asked(), None
    if path is None or path.is_dir():
        made = _ask(pipeline, name, model if path else pipeline.model_directory(model), exam)
        answers = load_answers(made.folder / ANSWERS)
    else:
        answers = load_answers(path)
    place = pipeline.folder / EVALUATION / "judged" / folder_name(name, exam.judge_key)
    judge = exam.new_judge(place.with_name(f"{place.name}.journal.jsonl"))
    judgments = grade_answers(questions, answers, judge, name)
    save_records(judgments, place.with_name(f"{place.name}.jsonl"))
    return Examined(answers, judgments, made, exam_shares(answers, judgments, judge, questions))


def _ask(pipeline: Pipeline, name: str, directory: str, exam: ExamSettings) -> Manifest:
    """The artefact with a model's answers; who judges them does not change it."""
    questions = exam.asked()
    recipe = {**exam.sampling, "seed": pipeline.seed}
    inputs = {"model": fingerprint(Path(directory)), "questions": fingerprint(questions)}

    def make(folder: Path) -> dict[str, Any]:
        model, tokenizer = load_model(directory, dtype=pipeline.setting.dtype)
        prepare_tokenizer(tokenizer)
        answers = ask_questions(model, tokenizer, name, questions, **recipe)
        save_records(answers, folder / ANSWERS)
        return {"answers": len(answers)}

    return build_artefact(
        pipeline.folder / EVALUATION / folder_name(name, inputs, recipe),
        inputs=inputs,
        recipe=recipe,
        make=make,
        code=["zephyr_utils.evaluation.exam"],
    )


def evaluate_models(
    pipeline: Pipeline,
    models: Sequence[str],
    exam: ExamSettings,
    report: Report,
    baseline: str = "",
) -> dict[str, Examined]:
    """Examine models and add their grades, answers and (with `baseline`) pairwise judgments to the
    report.

    Args:
        baseline: a model that each of the others is compared with, question by question, in both
            orders.

    Raises:
        HandbookError: two models of one name, or whatever stops a model from being asked or judged.
    """
    wanted = list(dict.fromkeys([*models, baseline] if baseline else models))
    names = {model: model_name(model) for model in wanted}
    if len(set(names.values())) < len(names):
        raise HandbookError(
            f"two of these models would have one name: {name_some(names.values())}",
            where="models",
            remedy="rename one of the directories, or link to it under another name",
        )
    with report.collect_warnings():
        examined = {names[model]: evaluate_model(pipeline, model, exam) for model in wanted}
    questions = exam.asked()
    report.add_judgments(
        [row for one in examined.values() for row in one.judgments],
        questions,
        [row | {"model_id": name} for name, one in examined.items() for row in one.answers],
        allow_failures=exam.allow_failures,
    )
    for name, one in examined.items():
        if not baseline or name == names[baseline]:
            continue
        other = names[baseline]
        parts = [other, fingerprint(questions), *exam.judge_key]
        place = pipeline.folder / EVALUATION / "pairs" / folder_name(name, *parts)
        judge = exam.new_judge(place.with_name(f"{place.name}.journal.jsonl"))
        with report.collect_warnings():
            pairs = judge_pairs(questions, examined[other].answers, one.answers, judge, other, name)
        save_records(pairs, place.with_name(f"{place.name}.jsonl"))
        report.add_pairs(pairs, exam.allow_failures)
    return examined
