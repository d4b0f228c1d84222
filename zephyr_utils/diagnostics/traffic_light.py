"""Is my DPO broken? Green, amber or red for a reader's own run, with the reasons in plain words.

Much of what frightens a newcomer is normal: Zephyr-7B-beta's own log has negative rewards, chosen
answers that become less likely, and an evaluation loss that rises for two of three epochs. Such
findings are named here, as green. Red is kept for what no healthy run shows and for numbers that
contradict each other; amber for what a reader should look at before trusting the model, and for
logs that are not whole.

What no single log can show: pairs that are swapped in the training *and* in the evaluation set, and
a doubled BOS, a wrong template or a mask that is off which policy and reference share. The log of a
healthy run on the same model and held-out pairs shows them (`checks.beside`); else read some pairs
and some tokens.
"""

import math
import textwrap
from dataclasses import dataclass

from zephyr_utils.diagnostics.checks import (
    check_beside,
    check_completeness,
    check_course,
    check_policy,
    check_start,
)
from zephyr_utils.diagnostics.log import TrainingLog
from zephyr_utils.diagnostics.log_columns import TrainingLogError
from zephyr_utils.diagnostics.reason import COLOURS, Colour, Reason
from zephyr_utils.diagnostics.run_type import check_preference_log


@dataclass(frozen=True)
class TrafficLight:
    """The worst colour among the reasons, and all of them, the worst first."""

    colour: Colour
    reasons: tuple[Reason, ...]

    def __str__(self) -> str:
        lines = [
            textwrap.fill(
                f"{reason.colour}: {reason.text}",
                88,
                initial_indent="  ",
                subsequent_indent="    ",
            )
            for reason in self.reasons
        ]
        return "\n".join([self.colour.upper(), *lines])


def traffic_light(
    log: TrainingLog, beta: float | None = None, healthy: TrainingLog | None = None
) -> TrafficLight:
    """Judge one preference run by its log.

    Args:
        log: from :func:`~zephyr_utils.diagnostics.log.read_training_log`.
        beta: the beta that the run was meant to use, if known; compared with the one the log
            implies.
        healthy: the log of a run that is known to be healthy, with the same start and the same
            held-out pairs; what policy and reference share shows beside it.

    Raises:
        TrainingLogError: the log is not that of a preference run (supervised fine-tuning, GRPO, a
            reward model), or lacks one answer of each pair; or beta is not above zero.
    """
    if beta is not None and not 0 < beta < math.inf:
        raise TrainingLogError(
            f"beta is {beta}", where="--beta", remedy="beta is above zero; Zephyr's is 0.1."
        )
    check_preference_log(log)
    reasons = [
        *check_completeness(log),
        *check_start(log),
        *check_course(log),
        *check_policy(log, beta),
        *(check_beside(log, healthy) if healthy is not None else []),
    ]
    reasons.sort(key=lambda reason: -COLOURS.index(reason.colour))
    return TrafficLight(reasons[0].colour if reasons else "green", tuple(reasons))
