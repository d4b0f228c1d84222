"""dSFT and dDPO on TRL's trainers: the two stages (`stages`), and one module for each thing that
they rest on.

Importing TRL takes seconds, so the names below are loaded when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zephyr_utils.training.rows import split_prompt
    from zephyr_utils.training.save import ADAPTER, LOG, MODEL
    from zephyr_utils.training.scoring import answer_log_probs, held_out_loss
    from zephyr_utils.training.stages import (
        EVAL_PAIRS,
        Trained,
        check_first_step,
        ddpo,
        ddpo_trainer,
        dsft,
    )

_MODULES = {
    "ADAPTER": "save",
    "LOG": "save",
    "MODEL": "save",
    "Trained": "stages",
    "EVAL_PAIRS": "stages",
    "answer_log_probs": "scoring",
    "check_first_step": "stages",
    "ddpo": "stages",
    "ddpo_trainer": "stages",
    "dsft": "stages",
    "held_out_loss": "scoring",
    "split_prompt": "rows",
}

__all__ = [
    "ADAPTER",
    "EVAL_PAIRS",
    "LOG",
    "MODEL",
    "Trained",
    "answer_log_probs",
    "check_first_step",
    "ddpo",
    "ddpo_trainer",
    "dsft",
    "held_out_loss",
    "split_prompt",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
