"""dSFT and dDPO on TRL's trainers: the two stages (`stages`), and one module for each thing that
they rest on.

Importing TRL takes seconds, so the names below are loaded when they are first used.
"""

import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zephyr_utils.training.distributed import (
        shared_dataset,
    )
    from zephyr_utils.training.dpo_trainer import (
        PairTrainer,
    )
    from zephyr_utils.training.first_step import (
        check_first_step,
    )
    from zephyr_utils.training.held_out import (
        EVAL_PAIRS,
        evaluation_schedule,
    )
    from zephyr_utils.training.loading import (
        load_for_training,
        lora_config,
        trl_arguments,
    )
    from zephyr_utils.training.rows import (
        FittedRows,
        fit_dialogues,
        fit_pairs,
        hold_out,
        hold_out_pairs,
        split_prompt,
    )
    from zephyr_utils.training.save import (
        ADAPTER,
        LOG,
        MODEL,
    )
    from zephyr_utils.training.scoring import (
        answer_log_probs,
        held_out_loss,
    )
    from zephyr_utils.training.stages import (
        Trained,
        ddpo,
        ddpo_trainer,
        dsft,
        train_and_log,
    )

# TRL still calls it by its old name; here, because a model may be loaded without a trainer.
warnings.filterwarnings("ignore", message=".*gradient_checkpointing", category=FutureWarning)

_MODULES = {
    "ADAPTER": "save",
    "EVAL_PAIRS": "held_out",
    "FittedRows": "rows",
    "LOG": "save",
    "MODEL": "save",
    "PairTrainer": "dpo_trainer",
    "Trained": "stages",
    "answer_log_probs": "scoring",
    "check_first_step": "first_step",
    "ddpo": "stages",
    "ddpo_trainer": "stages",
    "dsft": "stages",
    "evaluation_schedule": "held_out",
    "fit_dialogues": "rows",
    "fit_pairs": "rows",
    "held_out_loss": "scoring",
    "hold_out": "rows",
    "hold_out_pairs": "rows",
    "load_for_training": "loading",
    "lora_config": "loading",
    "shared_dataset": "distributed",
    "split_prompt": "rows",
    "train_and_log": "stages",
    "trl_arguments": "loading",
}

__all__ = [
    "ADAPTER",
    "EVAL_PAIRS",
    "LOG",
    "MODEL",
    "FittedRows",
    "PairTrainer",
    "Trained",
    "answer_log_probs",
    "check_first_step",
    "ddpo",
    "ddpo_trainer",
    "dsft",
    "evaluation_schedule",
    "fit_dialogues",
    "fit_pairs",
    "held_out_loss",
    "hold_out",
    "hold_out_pairs",
    "load_for_training",
    "lora_config",
    "shared_dataset",
    "split_prompt",
    "train_and_log",
    "trl_arguments",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
