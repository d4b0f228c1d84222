"""A reply to one paid call, as the journal keeps it."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

Problem = Literal[
    "",
    "empty",
    "only_thoughts",
    "cut_off_in_thought",
    "refused",
    "content_filter",
    "tool_call",
    "not_text",
]
_PROBLEMS = frozenset(get_args(Problem))
_MOST_TOKENS = 10**9  # of one call; a server that counts more has miscounted


@dataclass(frozen=True)
class Reply:
    """What a model answered to one call: a line of the journal.

    Attributes:
        key: the hash of all that determines the call (`calls.Call.key`).
        purpose: what the call was for, such as "answer" or "rate honesty".
        model: the name that was asked for; ``served_by`` the name that the server gave back.
        text: the answer as it came, without thoughts; "" if there is a ``problem``.
        finish_reason: the server's word: "stop", or "length" where the reply was cut at the limit.
        prompt_tokens, completion_tokens: as the server counted them; None where it did not.
        at: when it came (UTC), because a name may stand for another model later.
        aside: what came beside the answer or in its place: thoughts, a refusal, the call of a tool.
        problem: why the reply holds no answer; "" if it does.
    """

    key: str
    purpose: str
    model: str
    text: str
    finish_reason: str
    prompt_tokens: int | None
    completion_tokens: int | None
    served_by: str
    at: str
    aside: str = ""
    problem: Problem = ""


def token_count(value: Any) -> int | None:
    """A count of tokens as a server sends it; None for anything that cannot be one."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    counts = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_TOKENS
    return value if counts else None


def recorded_reply(fields: Any) -> Reply:
    """The reply that a line of the journal holds.

    Raises:
        ValueError, TypeError: it holds none.
    """
    reply = Reply(**fields)
    texts = {k: v for k, v in vars(reply).items() if not k.endswith("_tokens")}
    if not all(isinstance(value, str) for value in texts.values()):
        raise ValueError("not a reply")
    if reply.problem not in _PROBLEMS:
        raise ValueError("not a reply")
    for count in (reply.prompt_tokens, reply.completion_tokens):
        if count != token_count(count):
            raise ValueError("not a reply")
    return reply
