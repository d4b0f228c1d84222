"""What steps of dDPO of a real model cost, for the page ``book/real-model.md``."""

import statistics

import real_model
from real_model import RESULTS, Report

from zephyr_utils.files import read_json

MEMORY = RESULTS.with_name("smol_memory.json")


def step_costs(report: Report, chapters: list[str]) -> str:
    """One step of dDPO beside TRL's defaults on the same pairs."""
    steps = real_model.results()["steps"]
    other = steps["other_precision"]
    seconds = {
        name: statistics.median(arm["wall_ms"] for arm in arms) / 1000
        for name, arms in steps["measured"].items()
    }
    return (
        f"A step of dDPO takes {seconds['ours']:.0f} seconds for {steps['pairs_per_update']} "
        f"pairs, {steps['ours / trl']:.2f} of what TRL's defaults take for the same pairs in the "
        f"same run ({seconds['trl']:.0f} seconds); in {other} "
        f"{seconds[f'ours, {other}']:.0f} seconds, {steps[f'ours, {other} / trl']:.2f} of them. "
        "The reference is computed once, before the clock starts; TRL's defaults ask it in each "
        "step."
    )


def memory(report: Report, chapters: list[str]) -> str:
    """What the longest pairs take, one at once and two."""
    one, two = read_json(MEMORY)["arms"]
    return (
        f"Pairs in one pass make the peak. The {len(one['tokens'])} longest training pairs of "
        f"{' and '.join(map(str, one['tokens']))} tokens, in a process of their own, take "
        f"{one['peak_mb'] / 1024:.1f} GB and {one['cpu_seconds']:.0f} s of one core one by one, as "
        f"the recipe has it, and {two['peak_mb'] / 1024:.1f} GB and {two['cpu_seconds']:.0f} s "
        f"both at once (`benchmarks/smol_memory.py`)."
    )


PARTS = {"real model step": step_costs, "real model memory": memory}
