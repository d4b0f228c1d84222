"""Dialogues that a teacher makes by talking to itself, as UltraChat was made (the paper, section 3,
dSFT).
"""

from collections.abc import Sequence
from pathlib import Path

from zephyr_utils.data.counts import SetAside
from zephyr_utils.data.records import prompt_hash
from zephyr_utils.data.types import Dialogue, Message, Role
from zephyr_utils.errors import HandbookError
from zephyr_utils.feedback.calls import Call, RetryPolicy, Sampling
from zephyr_utils.feedback.collect import ANSWER, ANSWERING, check_prompts
from zephyr_utils.feedback.endpoint import Endpoint
from zephyr_utils.feedback.journal import Journal
from zephyr_utils.feedback.prompts import next_message_messages
from zephyr_utils.feedback.results import Collected, answer_in, opened_journal
from zephyr_utils.feedback.run import run_calls

NEXT_MESSAGE = "next message"


def distil_dialogues(
    seed_prompts: Sequence[str],
    teacher: str,
    turns: int = 3,
    *,
    endpoint: Endpoint | None = None,
    sampling: Sampling = ANSWERING,
    journal: str | Path | Journal | None = None,
    concurrency: int = 16,
    retry_policy: RetryPolicy | None = None,
) -> Collected[Dialogue]:
    """Dialogues as UltraChat has them (the paper, section 3, dSFT): the teacher answers, then
    writes the next request.

    Args:
        seed_prompts: the first requests.
        turns: exchanges a dialogue has at most; each beyond the first takes two calls.
        endpoint, sampling, journal, concurrency, retry_policy: as in `collect_answers`.

    Returns:
        `Collected` dialogue records. A dialogue whose next call fails or brings no text ends with
        its last answer and is counted; one without any answer is set aside.
    """
    if turns < 1:
        raise HandbookError(f"turns is {turns}", where="distil_dialogues", remedy="give 1 or more")
    endpoint = endpoint or Endpoint()
    check_prompts(seed_prompts)
    result: Collected[Dialogue] = Collected()
    dialogues: list[list[Message]] = [
        [{"role": "user", "content": prompt}] for prompt in seed_prompts
    ]
    going = list(range(len(dialogues)))
    with opened_journal(journal) as opened:
        for step in range(2 * turns - 1):
            speaker: Role = "user" if step % 2 else "assistant"
            calls = {
                n: _next_call(dialogues[n], speaker, teacher, sampling, endpoint) for n in going
            }
            report = run_calls(
                calls.values(),
                endpoint,
                opened,
                total=len(calls),
                what=f"turn {step // 2 + 1} of {turns}, {speaker}",
                concurrency=concurrency,
                retry_policy=retry_policy,
            )
            result.calls.add(report)
            for n, call in calls.items():
                text, why = answer_in(opened.get(call.key))
                if not why:
                    dialogues[n].append({"role": speaker, "content": text})
                    continue
                result.left_out[f"dialogues that ended early: {why}"] += 1
                going.remove(n)
    for number, (prompt, messages) in enumerate(zip(seed_prompts, dialogues, strict=True), start=1):
        messages = messages[: len(messages) // 2 * 2]  # ends with an answer
        record: Dialogue = {
            "prompt": prompt,
            "prompt_id": prompt_hash(prompt),
            "messages": messages,
        }
        if messages:
            result.records.append(record)
        else:
            where = f"prompt {number}"
            result.set_aside.append(
                SetAside(where, "no_answers", f"{where}: the teacher did not answer", record)
            )
    return result


def _next_call(
    messages: list[Message], speaker: Role, teacher: str, sampling: Sampling, endpoint: Endpoint
) -> Call:
    if speaker == "user":
        return Call(NEXT_MESSAGE, teacher, next_message_messages(messages), sampling, endpoint.url)
    sent = tuple((message["role"], message["content"]) for message in messages)
    return Call(ANSWER, teacher, sent, sampling, endpoint.url)
