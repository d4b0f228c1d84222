"""AI feedback: answers of several models, ratings of a judge, dialogues of a teacher, over the
OpenAI-compatible protocol.

The paper's second step (section 3, AIF): each prompt goes to four models, a teacher rates their
answers. The parts: `calls` (one call, the books), `run` (many at once), `interrupts` (how a run
ends early), `journal` (what is paid for), `prompts` (what is asked, how replies are read), `cost`
(tokens and prices), `collect` and `dialogues` (the records), `estimate` (what it will take).
"""

from zephyr_utils.feedback.calls import Call, CallReport, Endpoint, RetryPolicy, Sampling
from zephyr_utils.feedback.collect import (
    Collected,
    collect_answers,
    rate_answers,
)
from zephyr_utils.feedback.cost import Estimate, Prices, Usage
from zephyr_utils.feedback.dialogues import distil_dialogues
from zephyr_utils.feedback.estimate import estimate, load_prompts
from zephyr_utils.feedback.interrupts import RunInterrupted, RunStopped
from zephyr_utils.feedback.journal import Journal, Reply
from zephyr_utils.feedback.prompts import Unreadable, answer_order, read_critique, read_ratings
from zephyr_utils.feedback.run import run_calls

__all__ = [
    "Call",
    "CallReport",
    "Collected",
    "Endpoint",
    "Estimate",
    "Journal",
    "Prices",
    "Reply",
    "RetryPolicy",
    "RunInterrupted",
    "RunStopped",
    "Sampling",
    "Unreadable",
    "Usage",
    "answer_order",
    "collect_answers",
    "distil_dialogues",
    "estimate",
    "load_prompts",
    "rate_answers",
    "read_critique",
    "read_ratings",
    "run_calls",
]  # fmt: skip
