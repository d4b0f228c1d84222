"""What is claimed of the methods that followed Zephyr, each with the family that it is decided in.

``benchmarks/protocol-methods.md`` fixed claims, rows and searches before anything was measured.
"""

import statistics
from typing import Any

from zephyr_utils.ablations import reasons
from zephyr_utils.ablations.verdicts import Claim, ClaimResult, Expected, Measured, judge_together

AGAIN, REWARDS, COMPARISONS = "sampling again", "reward models", "comparisons"


def judge_methods(measured: Measured) -> list[ClaimResult]:
    """Every claim of `METHOD_CLAIMS`, in order."""
    return judge_together(METHOD_CLAIMS, measured, reasons.explain)


def equal_kl_missed(measured: Measured) -> str:
    """In how many replications the DPO run that stops at RLOO's KL divergence from dSFT ended
    before it was as far; "" where none did.
    """
    runs = [rows["stopped"] for rows in measured.values() if "stopped" in rows]
    short = [run["trained"]["distance"] - run["kl"] for run in runs]
    short = [less for less in short if less > 0]
    if not short:
        return ""
    return (
        f"In {len(short)} of {len(runs)} replications DPO made all its steps and was still nearer "
        f"to dSFT than RLOO (by {statistics.mean(short):.1f} nats on average). There RLOO is "
        "compared with the whole DPO run, at less KL divergence than its own."
    )


def _more_accurate(rows: dict[str, Any]) -> float:
    """Accuracy on held-out pairs, scaled less regular."""
    return float(rows["reward_scaled"]["accuracy"] - rows["reward"]["accuracy"])


def _more_accurate_after_rating(rows: dict[str, Any]) -> float:
    return float(rows["reward_rated"]["accuracy"] - rows["reward_scaled"]["accuracy"])


def _beats(
    key: str, text: str, paper: str, family: str, rows: tuple[str, str], side: Expected = "above"
) -> Claim:
    return Claim(key, text, paper, family, *rows, expected=side)


METHOD_CLAIMS = (
    _beats(
        "iterative_beats_offline",
        "three rounds of iterative DPO beat as many updates offline",
        "AlpacaEval 2: 22.2 against 13.2 (arXiv 2405.19332)",
        AGAIN,
        ("iterative", "offline"),
    ),
    _beats(
        "sppo_beats_iterative",
        "SPPO beats iterative DPO on as many samples",
        "AlpacaEval 2: 28.5 against 24.2 (arXiv 2405.00675)",
        AGAIN,
        ("sppo", "iterative"),
    ),
    _beats(
        "selm_beats_iterative",
        "SELM's exploration term beats iterative DPO without it",
        "AlpacaEval 2: 24.25 against 22.2 (arXiv 2405.19332)",
        AGAIN,
        ("selm", "iterative"),
    ),
    _beats(
        "best_of_8_beats_dsft",
        "the best of 8 by a reward model beats one answer of dSFT-1",
        "arXiv 2112.09332, 2210.10760",
        REWARDS,
        ("best_of_8", "dsft"),
    ),
    _beats(
        "training_beats_best_of_8",
        "dDPO beats the best of 8 by a reward model",
        "not tried",
        REWARDS,
        ("ddpo", "best_of_8"),
    ),
    _beats(
        "rloo_adds",
        "RLOO with a learned reward beats dSFT-1",
        "arXiv 2402.14740",
        REWARDS,
        ("rloo", "dsft"),
    ),
    _beats(
        "rloo_beats_dpo",
        "RLOO beats DPO that stops once it is as far from dSFT",
        "arXiv 2402.14740, without equal KL",
        REWARDS,
        ("rloo", "stopped"),
    ),
    Claim(
        "scaled_ranks_better",
        "scaled Bradley-Terry ranks held-out pairs better than regular",
        "RewardBench: 92.7 against 91.5 (arXiv 2410.01257)",
        REWARDS,
        number=_more_accurate,
    ),
    Claim(
        "rating_first_ranks_better",
        "scaled Bradley-Terry after a regression on ratings ranks better than without",
        "RewardBench: 93.7 against 92.7 (arXiv 2410.01257)",
        REWARDS,
        number=_more_accurate_after_rating,
    ),
    _beats(
        "scaled_dpo_beats_regular",
        "scaled DPO beats regular DPO",
        "MT-Bench: 8.74 against 8.66 (arXiv 2410.01257)",
        COMPARISONS,
        ("scaled", "regular"),
    ),
    _beats(
        "margin_dpo_beats_regular",
        "DPO with margins beats regular DPO",
        "MT-Bench: 8.58 against 8.66 (arXiv 2410.01257)",
        COMPARISONS,
        ("margin", "regular"),
    ),
    _beats(
        "self_play_adds",
        "two rounds of IRFT beat dSFT-1, without any AI feedback",
        "arXiv 2401.01335",
        COMPARISONS,
        ("self_play", "dsft"),
    ),
    _beats(
        "self_play_beats_dsft",
        "IRFT beats as many updates of dSFT on the same demonstrations",
        "arXiv 2401.01335, 2405.17888",
        COMPARISONS,
        ("self_play", "demonstrations"),
    ),
    _beats(
        "self_play_beats_dsft_2",
        "IRFT, without AI feedback, beats as many updates of dSFT on chosen answers",
        "not tried",
        COMPARISONS,
        ("self_play", "chosen"),
    ),
    _beats(
        "logits_beat_texts",
        "distilling logits beats distilling the same texts",
        "arXiv 1503.02531",
        COMPARISONS,
        ("logits", "texts"),
    ),
    _beats(
        "expo_adds",
        "ExPO beats the dDPO model that it extrapolates",
        "arXiv 2404.16792",
        COMPARISONS,
        ("expo", "ddpo"),
    ),
    _beats(
        "expo_adds_to_a_short_run",
        "ExPO beats a short DPO run that it extrapolates",
        "arXiv 2404.16792",
        COMPARISONS,
        ("expo_short", "regular"),
    ),
)
