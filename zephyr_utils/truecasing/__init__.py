"""Truecasing: find wrongly cased messages of a chat corpus, repair them, score the repair.

The fault is the one that a stray ``str.capitalize`` leaves ("Hello. how are you?"), and its relatives. Everything is
learnt from the corpus's own well-cased majority: word statistics and a logistic regression over hashed features, in
numpy. Clean messages pass through untouched.
"""

from zephyr_utils.truecasing.corrupt import KINDS, corrupt_case
from zephyr_utils.truecasing.detect import LABELS, detect_case_noise
from zephyr_utils.truecasing.files import FileReport, truecase_files
from zephyr_utils.truecasing.model import Truecaser
from zephyr_utils.truecasing.protect import protected_spans
from zephyr_utils.truecasing.scores import TruecasingScores, truecasing_scores
from zephyr_utils.truecasing.tables import ColumnReport, truecase_messages

__all__ = [
    "KINDS",
    "LABELS",
    "ColumnReport",
    "FileReport",
    "Truecaser",
    "TruecasingScores",
    "corrupt_case",
    "detect_case_noise",
    "protected_spans",
    "truecase_files",
    "truecase_messages",
    "truecasing_scores",
]
