"""What can go wrong with a call, and what it means: try again, give the call up, or stop the run."""

import contextlib
from typing import Any, Literal

MOST_WORDS = 200  # characters of a server's error text that are passed on


class Fault(Exception):
    """A try that brought no reply.

    Attributes:
        reason: in a word, for counting.
        again: whether another try may help.
        fatal: what to do about it, if every further call would meet the same; "" otherwise.
        wait: seconds that the server asks to wait.
        outcome: what became of the request. "answered": this fault is the server's answer, and one
            that honours Idempotency-Key may give it to the same key for ever. "turned away": no
            work was begun. "lost": the answer may exist, and be paid for, but did not come.
    """

    def __init__(
        self,
        reason: str,
        detail: str,
        *,
        again: bool = False,
        fatal: str = "",
        wait: float = 0.0,
        outcome: Literal["answered", "turned away", "lost"] = "answered",
    ) -> None:
        super().__init__(detail)
        self.reason, self.again, self.fatal, self.wait, self.outcome = (
            reason,
            again,
            fatal,
            wait,
            outcome,
        )


def redact_key(said: Any, key: str) -> str:
    """A server's words in one line, cut, and without the key: some servers repeat it."""
    text = " ".join(str(said).split())
    return (text.replace(key, "[key]") if len(key) >= 4 else text)[:MOST_WORDS]


def fault_of(error: Exception, *, key: str, api_key_env: str, timeout: float) -> Fault:
    """What an error of the ``openai`` client means; an error that is none of its is raised again.

    Args:
        key, api_key_env: to leave the key out of the message, and to name where it came from.
        timeout: seconds that were waited.
    """
    import openai

    said = redact_key(getattr(error, "message", None) or error, key)
    if isinstance(error, TimeoutError | openai.APITimeoutError):
        return Fault("timed_out", f"no reply within {timeout:g} s", again=True, outcome="lost")
    if isinstance(error, openai.APIConnectionError):
        if "Connect" in type(error.__cause__).__name__:
            return Fault("no_connection", "nobody answers", again=True, outcome="turned away")
        return Fault("cut_connection", "the connection was cut", again=True, outcome="lost")
    if isinstance(error, openai.APIStatusError):
        return _status_fault(error, said, api_key_env)
    if isinstance(error, openai.OpenAIError | ValueError):  # a body that is no JSON, or another's
        return Fault("unreadable_reply", f"a reply that is no chat completion: {said}", again=True)
    raise error


def _status_fault(error: Any, said: str, api_key_env: str) -> Fault:
    status = error.status_code
    if status in (401, 403):
        fatal = f"check the key in {api_key_env} and the address (--base-url)"
        what = f"the endpoint refuses the key (status {status})"
        return Fault("refused_key", what, fatal=fatal, outcome="turned away")
    if status == 404:
        fatal = "check the model's name and the address (--base-url; most end in /v1)"
        return Fault("not_found", f"not found: {said}", fatal=fatal, outcome="turned away")
    if error.code == "insufficient_quota":
        what = "the account's credit is used up"
        return Fault("no_credit", what, fatal="add credit", outcome="turned away")
    if status == 400 and "max_completion_tokens" in said:
        # Some newer models take the limit only by its newer name.
        return Fault("renamed_parameter", said)
    wait = _retry_after(error)
    if status == 429:
        what = "status 429: too many calls"
        return Fault("rate_limited", what, again=True, wait=wait, outcome="turned away")
    again = status in (408, 409) or status >= 500
    # 409: the first request with this Idempotency-Key is still at work. 504: a gateway waited no
    # longer.
    outcome = {408: "lost", 409: "lost", 504: "lost", 503: "turned away"}.get(status, "answered")
    return Fault(
        f"status_{status}", f"status {status}: {said}", again=again, wait=wait, outcome=outcome
    )


def _retry_after(error: Any) -> float:
    with contextlib.suppress(ValueError, TypeError):
        return min(max(float(error.response.headers.get("retry-after")), 0.0), 600.0)
    return 0.0
