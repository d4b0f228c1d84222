"""What an exam is, and the one for real models; a scale names its exam."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from zephyr_utils.evaluation import Judge
    from zephyr_utils.evaluation.types import MTBenchQuestion


@dataclass(frozen=True)
class Exam:
    """Questions that every model of a scale is asked, and a judge; both without an account.

    Attributes:
        description: of the questions, in words.
        judge_description: of the judge, in words.
        draw: makes the records, in MT-Bench's schema, by a seed where they are drawn.
        judge: makes the judge.
        temperature: of the sampled answers.
        max_new_tokens: of the longest answer.
        seed: that the questions are drawn by.
    """

    description: str
    judge_description: str
    draw: Callable[[int], list["MTBenchQuestion"]]
    judge: Callable[[], "Judge"]
    temperature: float = 0.7  # the paper's sampling for chat, appendix
    max_new_tokens: int = 96
    seed: int = 0

    def questions(self) -> list["MTBenchQuestion"]:
        """What is asked."""
        return self.draw(self.seed)


def _questions(seed: int) -> list["MTBenchQuestion"]:
    from zephyr_utils.verifiable import exam_questions

    return cast("list[MTBenchQuestion]", exam_questions())


def _judge() -> "Judge":
    from zephyr_utils.verifiable import ChecksJudge

    return ChecksJudge()


VERIFIABLE_EXAM = Exam(
    "the handbook's questions with verifiable answers",
    "a program that checks each answer",
    _questions,
    _judge,
    # An answer is right or wrong: sampling would add spread that an interval over questions does
    # not show, and IFEval's published figures are greedy too.
    temperature=0.0,
    max_new_tokens=128,  # three times the longest reference answer
)
