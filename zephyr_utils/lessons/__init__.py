"""What a chapter says to its reader, in cells whose input is hidden: predictions to choose from,
and boxes that say what happened with the numbers of the run that made the page.

A prediction, the code that settles it, and the explanation are three cells of a chapter:

    # %% tags=["remove-input"]
    lessons.predict(
        "Will the mean of the batches' means lie above or below the token-weighted mean?",
        ["above", "below", "they are the same"],
        key="means",
    )

    # %% tags=["hide-output"]
    print(f"mean of means {by_batch:.3f}, token-weighted {by_token:.3f}")

    # %% tags=["remove-input"]
    lessons.explain(
        f"The mean of means is {by_batch:.3f}, the token-weighted mean {by_token:.3f}: "
        f"short rows have the {'higher' if by_batch > by_token else 'lower'} loss.",
        key="means", answer=0 if by_batch > by_token else 1,
    )

A number in an explanation comes from the run, through an f-string, or from a publication, through
`published`; ``tests/test_lessons.py`` refuses any other. Where the right choice depends on the run,
`explain` names it; where it does not, `predict` may.

The tag ``remove-input`` hides the code on the website and in Jupyter; ``hide-output`` folds a
result on the website until a choice is made or the reader unfolds it. All of it can be read
without scripts.
"""

from zephyr_utils.lessons.explanation import explain, explanation_html, published
from zephyr_utils.lessons.prediction import predict, prediction_html

__all__ = [
    "explain",
    "explanation_html",
    "predict",
    "prediction_html",
    "published",
]
