"""What a training did: implicit rewards and margins (`margins`), its log (`log`, `findings`), a
verdict (`traffic_light`).
"""

from zephyr_utils.diagnostics.findings import (
    Displacement,
    EpochStep,
    ImpliedBeta,
    MarginsCheck,
    Overfitting,
    accuracy_examples,
    displacement,
    epoch_steps,
    implied_beta,
    margins_check,
    overfitting,
)
from zephyr_utils.diagnostics.log import TrainingLog, read_training_log
from zephyr_utils.diagnostics.log_columns import TrainingLogError
from zephyr_utils.diagnostics.margins import RewardError, RewardMargins, reward_margins
from zephyr_utils.diagnostics.reason import Reason
from zephyr_utils.diagnostics.traffic_light import TrafficLight, traffic_light

__all__ = [
    "Displacement",
    "EpochStep",
    "ImpliedBeta",
    "MarginsCheck",
    "Overfitting",
    "Reason",
    "RewardError",
    "RewardMargins",
    "TrafficLight",
    "TrainingLog",
    "TrainingLogError",
    "accuracy_examples",
    "displacement",
    "epoch_steps",
    "implied_beta",
    "margins_check",
    "overfitting",
    "read_training_log",
    "reward_margins",
    "traffic_light",
]
