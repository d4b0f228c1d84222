"""What can go wrong with a call and what it means: try again, give it up, or stop the run."""

import email.utils
import math
import re
import socket
import ssl
import time
from collections.abc import Mapping
from datetime import UTC
from typing import Any, Literal

from zephyr_utils.feedback.bounded import BodyTooLarge
from zephyr_utils.feedback.endpoint import Endpoint

Outcome = Literal["answered", "turned away", "lost"]
LONGEST_WAIT = 600.0  # seconds that a server may ask to wait before the run stops instead
_NO_CREDIT = {
    "insufficient_quota",
    "insufficient_balance",
    "insufficient_credits",
    "billing_hard_limit_reached",
    "billing_not_active",
    "payment_required",
}
_NO_MODEL = {"model_not_found", "invalid_model", "unknown_model"}
_NO_PARAMETER = {"unsupported_value", "unsupported_parameter"}
_SAMPLING_NAMES = ("temperature", "top_p", "seed")
_NAMES = "|".join(_SAMPLING_NAMES)
# The name as a parameter's, not as a word of the prompt that a server repeats.
_REFUSED_NAME = re.compile(
    rf"['\"`](?P<quoted>{_NAMES})['\"`]"
    rf"|(?:^|\b(?:invalid|unsupported|parameter|argument|field|option|value)s?:? |model: )"
    rf"(?P<named>{_NAMES})\b"
    rf"|\b(?P<before>{_NAMES}) (?:parameter|value|must be|should be|is not supported)\b",
    re.IGNORECASE,
)
_RENAMED = re.compile(r"\b(?:use|instead|unsupported|not supported|deprecated)\b", re.IGNORECASE)


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
        paid: whether it came with status 200, so that each try may be charged.
    """

    def __init__(
        self,
        reason: str,
        detail: str,
        *,
        again: bool = False,
        fatal: str = "",
        wait: float = 0.0,
        outcome: Outcome = "answered",
        paid: bool = False,
    ) -> None:
        super().__init__(detail)
        self.reason, self.again, self.fatal, self.wait = reason, again, fatal, wait
        self.outcome, self.paid = outcome, paid


def fault_of(error: Exception, endpoint: Endpoint, timeout: float) -> Fault:
    """What an error of the ``openai`` client means; any other error is raised again.

    Args:
        endpoint: to leave the key out of the message, and to name where it came from.
        timeout: seconds that were waited.
    """
    import openai

    for cause in (error, error.__cause__):
        if isinstance(cause, BodyTooLarge):  # not again: each try may be paid for
            return Fault("reply_too_large", str(cause), paid=True)
    if isinstance(error, TimeoutError | openai.APITimeoutError):
        return Fault("timed_out", f"no reply within {timeout:g} s", again=True, outcome="lost")
    if isinstance(error, openai.APIConnectionError):
        return _connection_fault(error, endpoint)
    if isinstance(error, openai.APIStatusError):
        headers = error.response.headers
        return status_fault(error.status_code, error.body, endpoint, error.message, headers)
    # A body that is not JSON, in another encoding, or nested too deeply to be read.
    if isinstance(error, openai.OpenAIError | ValueError | RecursionError):
        said = endpoint.redact(error)
        return Fault("unreadable_reply", f"not a chat completion: {said}", again=True, paid=True)
    raise error


def _connection_fault(error: Exception, endpoint: Endpoint) -> Fault:
    """What kept a connection from being made or cut it, from the errors below the client's own."""
    causes: list[BaseException] = []
    cause = error.__cause__
    while cause is not None and cause not in causes:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    kind = type(error.__cause__).__name__
    if "Decoding" in kind:  # the names, because the client's versions have other libraries below
        what = "the body is not in the encoding that its header names (such as gzip)"
        return Fault("unreadable_reply", what, again=True, paid=True)
    if "Proxy" in kind:
        what = f"the proxy of the environment lets no call through: {endpoint.redact(causes[0])}"
        return Fault("no_connection", what, again=True, outcome="turned away")
    if "Connect" not in kind:
        return Fault("cut_connection", "the connection was cut", again=True, outcome="lost")
    if tls := next((cause for cause in causes if isinstance(cause, ssl.SSLError)), None):
        why = getattr(tls, "verify_message", "") or (tls.reason or "").lower().replace("_", " ")
        fatal = (
            "check the address: http:// if the server has no TLS, and the name that its "
            "certificate, signed by a known authority, is for"
        )
        what = f"no secure connection: {endpoint.redact(why or type(tls).__name__)}"
        return Fault("no_tls", what, fatal=fatal, outcome="turned away")
    unknown = any(isinstance(cause, socket.gaierror) for cause in causes)
    what = "no server of that name is known here" if unknown else "nobody answers"
    return Fault("no_connection", what, again=True, outcome="turned away")


def status_fault(
    status: int,
    body: Any,
    endpoint: Endpoint,
    message: str = "",
    headers: Mapping[str, str] | None = None,
) -> Fault:
    """What a status means, with the ``error`` object that came with it.

    Args:
        body: the error object, or whatever came in its place.
        message: the client's words, where nothing came.
    """
    fields = body if isinstance(body, dict) else {}
    code, parameter = str(fields.get("code") or ""), str(fields.get("param") or "")
    said = endpoint.redact(fields.get("message") or fields.get("detail") or body or message)
    if 300 <= status < 400:
        place = endpoint.redact((headers or {}).get("location") or "an address that it leaves out")
        what = f"the server sends calls elsewhere (status {status}), to {place}"
        fatal = "if you trust that address, give it as --base-url, without /chat/completions"
        return Fault("redirected", what, fatal=fatal, outcome="turned away")
    if status in (401, 403):
        fatal = f"check the key in {endpoint.api_key_env} and the address (--base-url)"
        what = f"the endpoint refuses the key (status {status}: {said})"
        return Fault("refused_key", what, fatal=fatal, outcome="turned away")
    if status == 402 or code in _NO_CREDIT:
        what = f"the account's credit is used up (status {status}: {said})"
        return Fault("no_credit", what, fatal="add credit", outcome="turned away")
    if status in (404, 405, 410) or code in _NO_MODEL:
        fatal = "check the model's name and the address (--base-url; most end in /v1)"
        return Fault("not_found", f"not found: {said}", fatal=fatal, outcome="turned away")
    if status == 400 and "max_completion_tokens" in said and _RENAMED.search(said):
        # Some newer models take the limit only by its newer name.
        return Fault("renamed_parameter", said)
    if status in (400, 422) and (name := _refused_parameter(said, code, parameter)):
        fatal = (
            f"give {name} another value or leave it out "
            f"(--temperature none, --judge-temperature none, --max-tokens none, ...)"
        )
        return Fault("refused_parameter", f"status {status}: {said}", fatal=fatal)
    wait = retry_after(headers or {})
    if wait > LONGEST_WAIT:
        what = f"status {status}, and no further call for {min(wait, 1e9) / 60:,.0f} minutes"
        return Fault("long_wait", what, fatal="wait that long", outcome="turned away")
    if status == 429:
        what = f"status 429: {said}" if said else "status 429: too many calls"
        return Fault("rate_limited", what, again=True, wait=wait, outcome="turned away")
    # 409: the first request with this Idempotency-Key is still at work. 501, 505: never possible.
    again = status in (408, 409, 425) or (status >= 500 and status not in (501, 505))
    # 504, 524: a gateway waited no longer. 529: overloaded.
    lost, turned_away = (408, 409, 504, 524), (425, 503, 521, 522, 529)
    outcome: Outcome = (
        "lost" if status in lost else "turned away" if status in turned_away else "answered"
    )
    what = f"status {status}: {said}"
    return Fault(f"status_{status}", what, again=again, wait=wait, outcome=outcome)


def _refused_parameter(said: str, code: str, parameter: str) -> str:
    """The parameter that the server refuses in every call; "" if it refuses something else."""
    if parameter in _SAMPLING_NAMES or (parameter and code in _NO_PARAMETER):
        return parameter
    named = _REFUSED_NAME.search(said)
    return (named["quoted"] or named["named"] or named["before"]).lower() if named else ""


def retry_after(headers: Mapping[str, str]) -> float:
    """Seconds that the headers ask to wait: a number, or a date; 0 for anything else."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name) or ""
        try:
            seconds = float(value) * unit
        except ValueError:
            seconds = _seconds_until(value)
        if math.isfinite(seconds) and seconds > 0:
            return seconds
    return 0.0


def _seconds_until(date: str) -> float:
    try:
        moment = email.utils.parsedate_to_datetime(date)
        return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError, IndexError):
        return 0.0
