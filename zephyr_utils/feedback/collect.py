"""From prompts to answers: several models are asked the same."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from zephyr_utils.data.counts import SetAside
from zephyr_utils.data.types import Completion, Feedback
from zephyr_utils.errors import HandbookError
from zephyr_utils.feedback.calls import Call, RetryPolicy, Sampling
from zephyr_utils.feedback.endpoint import Endpoint
from zephyr_utils.feedback.journal import Journal
from zephyr_utils.feedback.results import Collected, answer_in, opened_journal
from zephyr_utils.feedback.run import run_calls

ANSWERING = Sampling(temperature=0.7, max_tokens=512)
ANSWER = "answer"
Models = Mapping[str, str] | Sequence[str]


def collect_answers(
    prompts: Sequence[str],
    models: Models,
    *,
    endpoint: Endpoint | None = None,
    sampling: Sampling = ANSWERING,
    journal: str | Path | Journal | None = None,
    concurrency: int = 16,
    retry_policy: RetryPolicy | None = None,
    retry_unreadable: bool = False,
    source: str = "collected",
) -> Collected[Feedback]:
    """Put each prompt to each model (the paper, section 3: to four).

    Args:
        prompts: the texts. A prompt that occurs twice gets the same answers, and they are paid for
            once.
        models: names at the endpoint; or label -> name, where the records are to show another name
            (a directory's path is invalid).
        journal: where replies are kept and looked for; None keeps them for this call alone.
        concurrency: calls under way at once.
        retry_unreadable: make those calls again whose replies in the journal hold no answer.
        source: the records' ``source``.

    Returns:
        `Collected` feedback records without ratings. Replies without an answer and calls that
        failed are left out, and prompts without any answer set aside, counted both.

    Raises:
        HandbookError: a prompt is empty, no model is named; and what `run_calls` raises.
    """
    endpoint, named = endpoint or Endpoint(), named_models(models)
    check_prompts(prompts)
    result: Collected[Feedback] = Collected()
    url = endpoint.url

    def calls_of(prompt: str) -> Iterator[tuple[str, Call]]:
        for label, model in named.items():
            yield label, Call(ANSWER, model, (("user", prompt),), sampling, url)

    def all_calls() -> Iterator[Call]:
        return (call for prompt in prompts for _, call in calls_of(prompt))

    with opened_journal(journal) as opened:
        again: set[str] = set()
        if retry_unreadable:
            replies = (opened.get(call.key) for call in all_calls())
            again = {reply.key for reply in replies if reply is not None and reply.problem}
        result.calls = run_calls(
            all_calls(),
            endpoint,
            opened,
            total=len(prompts) * len(named),
            what="answers",
            concurrency=concurrency,
            retry_policy=retry_policy,
            ask_again=again,
        )
        for number, prompt in enumerate(prompts, start=1):
            completions: list[Completion] = []
            for label, call in calls_of(prompt):
                text, why = answer_in(opened.get(call.key))
                if why:
                    result.left_out[f"answers: {why}"] += 1
                    continue
                completions.append(
                    {
                        "model": label,
                        "response": text,
                        "annotations": {},
                        "critique": "",
                        "overall_score": None,
                    }
                )
            record: Feedback = {
                "source": source,
                "instruction": prompt,
                "models": [completion["model"] for completion in completions],
                "completions": completions,
            }
            if completions:
                result.records.append(record)
            else:
                where = f"prompt {number}"
                result.set_aside.append(
                    SetAside(where, "no_answers", f"{where}: no model answered", record)
                )
    return result


def named_models(models: Models) -> dict[str, str]:
    """Label -> the model's name at the endpoint."""
    if isinstance(models, str):
        models = [models]
    named = dict(models) if isinstance(models, Mapping) else {name: name for name in models}
    if (
        not named
        or len(named) < len(models)
        or not all(label and name for label, name in named.items())
    ):
        raise HandbookError(
            "the models must be one or more different names",
            where="models",
            remedy="name each model once",
        )
    return named


def check_prompts(prompts: Sequence[str]) -> None:
    """Raise a `HandbookError` at the first prompt that is not a text to ask."""
    if isinstance(prompts, str) or not prompts:
        raise HandbookError(
            "there are no prompts", where="prompts", remedy="give a list with at least one text"
        )
    for number, prompt in enumerate(prompts, start=1):
        if not isinstance(prompt, str) or not prompt.strip():
            raise HandbookError(
                "the prompt is empty or not a text",
                where=f"prompt {number}",
                remedy="fill it, or leave it out",
            )
        try:
            prompt.encode()
        except UnicodeEncodeError:
            raise HandbookError(
                "the prompt holds half of a character (a surrogate), which cannot be sent",
                where=f"prompt {number}",
                remedy="leave it out, or read its file again in the right encoding",
            ) from None
