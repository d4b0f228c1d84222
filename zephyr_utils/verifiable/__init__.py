"""An exam whose answers a program checks: two-turn questions in MT-Bench's categories, verifiable
instructions in the manner of IFEval, strict and loose accuracy.
"""

from zephyr_utils.verifiable.accuracy import (
    VerifiedAccuracy,
    accuracy,
    accuracy_difference,
)
from zephyr_utils.verifiable.checks import KINDS, AnswerCheck, loose_variants, parse_check
from zephyr_utils.verifiable.judge import ChecksJudge
from zephyr_utils.verifiable.questions import (
    VerifiableQuestion,
    check_questions,
    checks_by_turn,
    exam_questions,
)

__all__ = [
    "KINDS",
    "AnswerCheck",
    "ChecksJudge",
    "VerifiableQuestion",
    "VerifiedAccuracy",
    "accuracy",
    "accuracy_difference",
    "check_questions",
    "checks_by_turn",
    "exam_questions",
    "loose_variants",
    "parse_check",
]
