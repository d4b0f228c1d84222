"""The model's own answers, rated like those of others: records for on-policy pairs."""

from zephyr_utils.errors import HandbookError
from zephyr_utils.pipeline.pipeline import Pipeline


def on_own_answers(pipeline: Pipeline) -> Pipeline:
    """The same run on feedback whose answers are samples of its own dSFT model.

    Raises:
        HandbookError: always, until the scales say who rates them.
    """
    raise HandbookError(
        "nobody rates the model's own answers yet",
        where=pipeline.scale,
        remedy="leave out the rows on its own answers",
    )
