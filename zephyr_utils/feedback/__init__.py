"""AI feedback: answers of several models, ratings of a judge, dialogues of a teacher, over the
OpenAI-compatible protocol.

The paper's second step (section 3, AIF): each prompt goes to four models, a teacher rates their
answers. What is where:

* asking: `endpoint` (address and key), `calls` (one call), `run` (many at once), `faults` (what can
  go wrong), `interrupts` (how a run ends early), `progress`;
* replies: `bodies` and `replies` (what a server sent), `journal` (what is paid for), `report`
  (calls, counted);
* records: `prompts` (what is asked), `reading` (what a judge said), `collect`, `rate` and
  `dialogues` (the records), `results` (records and counts);
* before and around: `cost`, `estimate`, `command`.
"""

from zephyr_utils.feedback.calls import Call, RetryPolicy, Sampling
from zephyr_utils.feedback.collect import collect_answers
from zephyr_utils.feedback.cost import Estimate, Prices, Usage
from zephyr_utils.feedback.dialogues import distil_dialogues
from zephyr_utils.feedback.endpoint import Endpoint
from zephyr_utils.feedback.estimate import estimate
from zephyr_utils.feedback.interrupts import RunInterrupted, RunStopped
from zephyr_utils.feedback.journal import Journal
from zephyr_utils.feedback.prompt_files import load_prompts
from zephyr_utils.feedback.prompts import answer_order
from zephyr_utils.feedback.rate import rate_answers
from zephyr_utils.feedback.reading import Unreadable, read_critique, read_ratings
from zephyr_utils.feedback.reply import Reply
from zephyr_utils.feedback.report import CallReport
from zephyr_utils.feedback.results import Collected
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
]
