"""What a scale needs of the miniature, imported when it is used: whoever trains Mistral-7B need not
load its world.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from zephyr_utils.evaluation import Judge
    from zephyr_utils.evaluation.types import MTBenchQuestion
    from zephyr_utils.online.pairs import RateAnswers


def write_records(folder: Path, seed: int) -> dict[str, Path]:
    """`data.write_world`."""
    from zephyr_utils.miniature.data import write_world

    return write_world(folder, seed)


def sample_records() -> list[Any]:
    """A few of all records but the exam's questions, to tell whether they are still the same; and
    the numbers and words that make them, since a few records do not show each change of those.
    """
    from zephyr_utils.miniature import data, facts, outside, teacher, world

    constants = {
        f"{module.__name__}.{name}": value
        for module in (data, facts, outside, teacher, world)
        for name, value in vars(module).items()
        # the categories hold functions; what those make is in the records
        if name.isupper() and name != "CATEGORIES"
    }
    return [constants, data.dialogues(1000), data.feedback(50)]


def questions(seed: int) -> "list[MTBenchQuestion]":
    """`data.questions`."""
    from zephyr_utils.miniature import data

    return cast("list[MTBenchQuestion]", data.questions(seed))


def judge() -> "Judge":
    """`judge.TeacherJudge`."""
    from zephyr_utils.miniature.judge import TeacherJudge

    return TeacherJudge()


def feedback_judge(seed: int) -> "RateAnswers":
    """`noisy_teacher.NoisyTeacher`."""
    from zephyr_utils.miniature.noisy_teacher import NoisyTeacher

    return NoisyTeacher(seed)


def introduction() -> str:
    """What the models know, and questions that work."""
    from zephyr_utils.miniature.small_talk import EXAMPLE_QUESTIONS, OPENING_SENTENCE

    return "\n  ".join((OPENING_SENTENCE, *EXAMPLE_QUESTIONS))


def shipped_model(name: str) -> tuple[Any, Any]:
    """`shipped.load_shipped`."""
    from zephyr_utils.miniature.shipped import load_shipped

    return load_shipped(name)
