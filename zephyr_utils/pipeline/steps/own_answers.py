"""A model's own answers to the feedback's prompts, rated by a judge, in UltraFeedback's schema."""

from collections import Counter
from pathlib import Path
from typing import Any

from zephyr_utils.chat import TemplateChoice, load_model, prepare_tokenizer
from zephyr_utils.data.records import save_records, save_set_aside
from zephyr_utils.errors import HandbookError
from zephyr_utils.online.pairs import (
    RateAnswers,
    SamplingSettings,
    fitting_prompts,
    own_feedback,
    sample_in_parts,
)
from zephyr_utils.pipeline.steps.reading import RecordSource

FEEDBACK_FILE, SAMPLES = "feedback.jsonl", "samples"


def rate_own_answers(
    folder: Path,
    directory: Path,
    model_name: str,
    prompts: RecordSource | list[str],
    settings: SamplingSettings,
    rate: RateAnswers,
    chat_template: TemplateChoice | None = None,
    least: int = 2,
) -> dict[str, Any]:
    """Leave the records in `FEEDBACK_FILE` and the answers with their log-probabilities in
    `SAMPLES`; of the latter a killed run goes on.

    Args:
        folder: where both are written.
        directory: the model that answers.
        model_name: what it is called in the records.
        prompts: feedback records, of which the prompts alone are taken, or prompts.
        rate: rates the answers.
        chat_template: as for `chat.prepare_tokenizer`.
        least: as for `own_feedback`.

    Returns:
        prompts in, out and set aside by reason; answers left out by reason.

    Raises:
        HandbookError: there is nothing to compare, as no prompt has enough whole answers, or
            `rate` lost records.
    """
    reasons: Counter[str] = Counter()
    if isinstance(prompts, RecordSource):
        loaded = prompts.load("feedback")
        asked, n_read = [row["instruction"] for row in loaded.records], loaded.n_read
        reasons.update(loaded.reasons())
    else:
        asked, n_read = prompts, len(prompts)
    model, tokenizer = load_model(directory, dtype="float32")
    prepare_tokenizer(tokenizer, chat_template)
    places, too_long = fitting_prompts(model, tokenizer, asked, settings.max_new_tokens)
    fitting = [asked[place] for place in places]
    answers = sample_in_parts(folder / SAMPLES, model, tokenizer, fitting, settings)
    made = own_feedback(fitting, answers, model_name, least)
    if not made.records:
        needed = "two different whole answers" if least > 1 else "a whole answer"
        why = ", ".join(f"{n:,} x {reason}" for reason, n in made.row_counts().ranked())
        raise HandbookError(
            f"no prompt of {len(asked):,} has {needed}: {why}",
            where=model_name,
            remedy="let answers be longer (max_new_tokens), raise the temperature, or train a "
            "model that ends its answers",
        )
    rated = rate(made.records)
    if len(rated) != len(made.records):
        raise HandbookError(
            f"what rates was given {len(made.records):,} records and returned {len(rated):,}",
            where=repr(rate),
            remedy="let it return every record, without ratings where it has none",
        )
    save_records(rated, folder / FEEDBACK_FILE)
    aside = [*too_long, *made.set_aside]
    save_set_aside(folder / "set_aside.jsonl", aside)
    reasons.update(row.reason for row in aside)
    unrated = sum(not _is_rated(one) for row in rated for one in row["completions"])
    return {
        "rows_in": n_read,
        "rows_out": len(rated),
        "rows_set_aside": reasons.total(),
        "set_aside": dict(reasons),
        "answers": sum(map(len, answers)),
        "answers_left_out": dict(made.left_out),
        "answers_unrated": unrated,
        "tokens": sum(one.n_tokens for group in answers for one in group),
    }


def _is_rated(completion: Any) -> bool:
    return bool(completion["annotations"]) or completion["overall_score"] is not None
