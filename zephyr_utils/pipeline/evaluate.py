"""Behind ``zephyr evaluate``: models, directories and files of answers examined, graded and
compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zephyr_utils.chat import load_model, prepare_tokenizer
from zephyr_utils.data.records import save_records
from zephyr_utils.errors import HandbookError
from zephyr_utils.evaluation import (
    CachingJudge,
    Judge,
    OpenAIJudge,
    Report,
    judge_pairs,
    load_rows,
)
from zephyr_utils.evaluation.exam import ANSWERS, JUDGMENTS, grade_kept_answers, run_exam
from zephyr_utils.pipeline.artefacts import Manifest, build_artefact, fingerprint
from zephyr_utils.pipeline.pipeline import EVALUATION, Pipeline
from zephyr_utils.scales import Exam

TEACHER = "teacher"
FASTCHAT_MAX_NEW_TOKENS = 1024


@dataclass(frozen=True)
class ExamSettings:
    """What is put to the models, and who judges.

    Attributes:
        scale_exam: the exam of the scale.
        questions: a file of questions in MT-Bench's schema; None for those of the scale's exam.
        judge: "teacher" (that of the scale's exam, which knows its questions alone) or a model's
            name at an endpoint.
        judge_url: the endpoint; "" is $OPENAI_BASE_URL.
        temperature: None takes the exam's, or with `questions` FastChat's temperatures by
            category.
        max_new_tokens: None takes the exam's, or with `questions` FastChat's 1,024.
    """

    scale_exam: Exam
    questions: Path | None = None
    judge: str = TEACHER
    judge_url: str = ""
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

    def asked(self) -> list[dict]:
        """The questions."""
        return self.scale_exam.questions() if self.questions is None else load_rows(self.questions)

    def new_judge(self) -> Judge:
        """The judge.

        Raises:
            HandbookError: the endpoint's key is not set.
        """
        if self.judge == TEACHER:
            return self.scale_exam.judge()
        return OpenAIJudge(self.judge, base_url=self.judge_url or None)

    def about(self, pipeline: Pipeline) -> dict[str, str]:
        """What the report says at its top."""
        temperature, length = self.sampling["temperature"], self.sampling["max_new_tokens"]
        own = self.judge == TEACHER
        judge = self.scale_exam.judge_description if own else f"{self.judge} (endpoint)"
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


def model_name(model: str) -> str:
    """What a model is called in records: the road's own name, a directory's, or the one in a file
    of answers.

    A directory called ``model`` is named with the folder it lies in.
    """
    path = Path(model)
    if path.is_file():
        return str(load_rows(path)[0].get("model_id") or path.name.partition(".")[0])
    if not path.is_dir():
        return model
    path = path.resolve()
    return f"{path.parent.name}-{path.name}" if path.name == "model" else path.name


def evaluate_model(pipeline: Pipeline, model: str, exam: ExamSettings) -> Manifest:
    """One model's answers and grades, made once.

    Args:
        model: a model of the road by name, a model directory, or a file of answers (``{question_id,
            model_id, choices: [{turns}]}``), which are graded as they are.
    """
    name, recorded = model_name(model), Path(model).is_file()
    directory = model if Path(model).exists() else pipeline.model_directory(model)
    if exam.plain and not recorded:
        return pipeline.evaluate(name, directory, exam.sampling["temperature"])
    questions = exam.asked()
    recipe = {
        **exam.sampling,
        "seed": pipeline.seed,
        "judge": exam.judge,
        "judge_url": exam.judge_url,
    }

    def make(folder: Path) -> dict[str, Any]:
        judge = exam.new_judge()
        if recorded:
            save_records(load_rows(model), folder / ANSWERS)
        if (folder / ANSWERS).exists():  # or left by a run that was killed while judging
            return grade_kept_answers(questions, folder, judge, name, exam.allow_failures)
        network, tokenizer = load_model(directory, dtype=pipeline.setting.dtype)
        prepare_tokenizer(tokenizer)
        options = {**exam.sampling, "seed": pipeline.seed, "allow_failures": exam.allow_failures}
        return run_exam(network, tokenizer, name, questions, folder, judge, **options)

    inputs = {"model": fingerprint(Path(directory)), "questions": fingerprint(questions)}
    # A folder for each way of examining, so that trying another judge does not throw a paid one's
    # words away.
    way = fingerprint({**inputs, **recipe})[:8]
    return build_artefact(
        pipeline.folder / EVALUATION / f"{name}-{way}", inputs=inputs, recipe=recipe, make=make
    )


def evaluate_models(
    pipeline: Pipeline, models: Sequence[str], exam: ExamSettings, report: Report, against: str = ""
) -> dict[str, Manifest]:
    """Examine models and add their grades, answers and (with `against`) pairwise judgments to the
    report.

    Args:
        against: a model that each of the others is compared with, question by question, in both
            orders.

    Raises:
        HandbookError: two models of one name, or whatever stops a model from being asked or judged.
    """
    wanted = list(dict.fromkeys([*models, against] if against else models))
    names = {model: model_name(model) for model in wanted}
    if len(set(names.values())) < len(names):
        raise HandbookError(
            f"two of these models would have one name: {', '.join(names.values())}",
            where="models",
            remedy="rename one of the directories, or link to it under another name",
        )
    questions = exam.asked()
    with report.listening():
        manifests = {names[model]: evaluate_model(pipeline, model, exam) for model in wanted}
    answers = {name: load_rows(made.folder / ANSWERS) for name, made in manifests.items()}
    judgments = [row for made in manifests.values() for row in load_rows(made.folder / JUDGMENTS)]
    everything = [row for rows in answers.values() for row in rows]
    report.add_judgments(judgments, questions, everything, allow_failures=exam.allow_failures)
    opponents = [name for name in manifests if against and name != names[against]]
    for name in opponents:
        other, judge = names[against], exam.new_judge()
        if exam.judge != TEACHER:
            judge = CachingJudge(judge, _pair_file(pipeline, name, other, exam, "judged"))
        with report.listening():
            pairs = judge_pairs(questions, answers[other], answers[name], judge, other, name)
        save_records(pairs, _pair_file(pipeline, name, other, exam, "pairs"))
        report.add_pairs(pairs)
    return manifests


def _pair_file(pipeline: Pipeline, name: str, other: str, exam: ExamSettings, what: str) -> Path:
    way = (
        ""
        if exam.plain
        else "-" + fingerprint([str(exam.questions), exam.judge, exam.judge_url])[:8]
    )
    folder = pipeline.folder / EVALUATION / "pairs"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{name}-against-{other}{way}-{what}.jsonl"
