"""AI feedback: answers of several models, ratings of a judge, dialogues of a teacher, over the OpenAI-compatible protocol.

The paper's second step (section 3, AIF): each prompt goes to four models, a teacher rates their answers. The parts:
`feedback_calls` (one call, the books), `feedback_run` (many at once), `feedback_stop` (how a run ends early),
`feedback_journal` (what is paid for), `feedback_prompts` (what is asked, how replies are read), `feedback_cost` (tokens
and prices), `feedback_collect` and `feedback_dialogues` (the records), `feedback_plan` (what it will take).
"""

from zephyr_utils.feedback_calls import Call, CallReport, Endpoint, Patience, Sampling
from zephyr_utils.feedback_collect import (
    Collected,
    collect_answers,
    rate_answers,
)
from zephyr_utils.feedback_cost import Estimate, Prices, Usage
from zephyr_utils.feedback_dialogues import distil_dialogues
from zephyr_utils.feedback_journal import Journal, Reply
from zephyr_utils.feedback_plan import estimate, load_prompts
from zephyr_utils.feedback_prompts import Unreadable, answer_order, read_critique, read_ratings
from zephyr_utils.feedback_run import run_calls
from zephyr_utils.feedback_stop import RunInterrupted, RunStopped

__all__ = [
    "Call", "CallReport", "Collected", "Endpoint", "Estimate", "Journal", "Patience", "Prices", "Reply",
    "RunInterrupted", "RunStopped", "Sampling", "Unreadable", "Usage", "answer_order", "collect_answers",
    "distil_dialogues", "estimate", "load_prompts", "rate_answers", "read_critique", "read_ratings", "run_calls",
]  # fmt: skip
