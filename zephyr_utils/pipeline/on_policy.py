"""The artefacts of a run's own answers: sampled from a model, rated as the scale's feedback is."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zephyr_utils.errors import HandbookError
from zephyr_utils.online.pairs import RateAnswers, SamplingSettings
from zephyr_utils.pipeline.artefacts import Manifest, build_artefact, fingerprint
from zephyr_utils.pipeline.steps.own_answers import FEEDBACK_FILE, rate_own_answers
from zephyr_utils.pipeline.steps.reading import RecordSource

if TYPE_CHECKING:
    from zephyr_utils.pipeline.pipeline import Pipeline
    from zephyr_utils.pipeline.settings import RunSettings

OWN_ANSWERS = "03_own_answers"


def scale_judge(pipeline: "RunSettings") -> RateAnswers:
    """What rates answers to the prompts of the scale's feedback, with this run's seed.

    Raises:
        HandbookError: the scale has none.
    """
    judge = pipeline.setting.feedback_judge
    if judge is None:
        raise HandbookError(
            f"the scale `{pipeline.setting.name}` has no judge that could rate a model's own "
            "answers",
            where="on-policy pairs",
            remedy="use --scale miniature; or rate the model's answers through an endpoint "
            "(zephyr feedback --judge) and give them as --feedback, without --on-policy",
        )
    return judge(pipeline.seed)


def build_own_answers(
    pipeline: "Pipeline",
    folder: Path,
    model: tuple[Path, str],
    model_name: str,
    prompts: RecordSource | list[str],
    settings: SamplingSettings,
    rate: RateAnswers | None = None,
    least: int = 2,
) -> Manifest:
    """The artefact of a model's own answers to prompts, rated.

    Args:
        model: directory and key of the model that answers.
        model_name: what it is called in the records.
        prompts: feedback records, or prompts.
        rate: rates the answers; None takes the scale's judge.
        least: as for `own_feedback`.
    """
    rate = rate or scale_judge(pipeline)
    given: Any = prompts
    reading: dict[str, Any] = {}
    if isinstance(prompts, RecordSource):
        given, reading = prompts.source, prompts.settings
    return build_artefact(
        folder,
        inputs={
            "model": model[1],
            "prompts": fingerprint(given if isinstance(given, Path | list) else str(given)),
        },
        recipe={"settings": settings, "rater": repr(rate), **reading, **pipeline.template},
        make=partial(
            rate_own_answers,
            directory=model[0],
            model_name=model_name,
            prompts=prompts,
            settings=settings,
            rate=rate,
            chat_template=pipeline.chat_template,
            least=least,
        ),
        code=[rate_own_answers.__module__, type(rate).__module__],
    )


def own_feedback_of(pipeline: "Pipeline", reading: RecordSource) -> RecordSource:
    """The feedback whose answers are the run's own dSFT model's, to the prompts of another."""
    settings = SamplingSettings(
        max_new_tokens=pipeline.setting.exam.max_new_tokens, seed=pipeline.seed
    )
    folder = pipeline.folder / OWN_ANSWERS
    made = build_own_answers(pipeline, folder, pipeline.start(), "dsft", reading, settings)
    return RecordSource(made.folder / FEEDBACK_FILE)
