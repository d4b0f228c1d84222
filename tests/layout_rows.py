"""Rows in the layouts that people bring, and the reasons for which one is refused."""

import hashlib

import pytest

from zephyr_utils.data.records import (
    RecordError,
    check_dialogue,
    check_feedback,
    check_preference,
)

CHECKS = {
    "dialogue": check_dialogue,
    "feedback": check_feedback,
    "preference": check_preference,
}


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


def system(text):
    return {"role": "system", "content": text}


def pair(*context, good="The Rhine.", bad="The moon.", **more):
    prompt = next(m["content"] for m in context if m["role"] == "user")
    return {
        "prompt": prompt,
        "prompt_id": hashlib.sha256(prompt.encode()).hexdigest(),
        "chosen": [*context, assistant(good)],
        "rejected": [*context, assistant(bad)],
    } | more


RIVER = pair(user("Name a river."))
TEXTS = {"chosen": "The Rhine.", "rejected": "The moon."}


def reason_of(row, kind="preference"):
    with pytest.raises(RecordError) as error:
        CHECKS[kind](row, "rows.jsonl, row 1")
    assert error.value.remedy and error.value.where.startswith("rows.jsonl, row 1")
    return error.value.reason
