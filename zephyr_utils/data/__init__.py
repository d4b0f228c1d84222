"""Records in the schemas of the field: reading, checking, filtering and saving dialogues, feedback
and preferences, in the layouts that people bring (`layouts`).
"""

from zephyr_utils.data.counts import RowCounts, SetAside
from zephyr_utils.data.fields import RecordError
from zephyr_utils.data.filtering import decontaminate, refusal_filter
from zephyr_utils.data.hub import HubAddress
from zephyr_utils.data.records import (
    RecordSet,
    check_dialogue,
    check_feedback,
    check_preference,
    iter_records,
    load_records,
    save_records,
    save_set_aside,
)
from zephyr_utils.data.types import (
    ASPECTS,
    ROLES,
    Completion,
    Dialogue,
    Feedback,
    Message,
    Preference,
)

__all__ = [
    "ASPECTS",
    "ROLES",
    "Completion",
    "Dialogue",
    "Feedback",
    "HubAddress",
    "Message",
    "Preference",
    "RecordError",
    "RecordSet",
    "RowCounts",
    "SetAside",
    "check_dialogue",
    "check_feedback",
    "check_preference",
    "decontaminate",
    "iter_records",
    "load_records",
    "refusal_filter",
    "save_records",
    "save_set_aside",
]
