"""What each scale took where it was measured, for ``book/making.md`` and the capstone: time, memory
and core-hours, from the last run of the chapters and from ``benchmarks/results/smol.json``.
"""

from typing import Any

import real_model

from zephyr_utils.scales import DEFAULT_SCALE, get_scale, scale_names
from zephyr_utils.tables import markdown_table

REAL = "smol/cpu"  # whose run is committed
STEPS = {  # of that run, by the chapter that teaches them
    "01_truecasing": ["truecasing"],
    "02_dsft": ["dsft"],
    "04_preference_pairs": ["pairs"],
    "05_ddpo": ["ddpo"],
    "06_reward_margins": ["margins"],
    "07_evaluation": ["exam_base", "exam_dsft", "exam_ddpo"],
}
NOT_THERE = ("–", "–", "–")
# The capstone's steps: of that run, and the minutes that a reader is expected to need.
CAPSTONE: dict[str, tuple[list[str], int]] = {
    "1. Exam": ([], 60),
    "2. Text": (["truecasing"], 20),
    "3. Trial": ([], 10),
    "4. dSFT": (["dsft"], 5),
    "5. Pairs": (["pairs"], 20),
    "6. dDPO": (["ddpo"], 10),
    "7. Exam, three models": (STEPS["07_evaluation"], 10),
    "8. Report": ([], 45),
    "9. Hand on": ([], 10),
}
Report = dict[str, dict[str, Any]]


def scales_measured(report: Report, chapters: list[str]) -> str:
    """All scales: what they need, and what they took; *not measured* where nobody measured."""
    entries = [report[name] for name in chapters]
    run = real_model.first_seed()
    stamp = real_model.results()["environment"]
    taken = {
        scale_of(entries): (
            *_added([_chapter_costs(entry) for entry in entries]),
            f"the last run, {_machine(entries[-1]['environment'])}",
        ),
        REAL: (
            *_costs(60 * run["minutes"], 1024 * run["peak_memory_gb"], stamp["cores"]),
            f"[the committed run](real-model), {_machine(stamp)}",
        ),
    }
    rows = [
        [
            f"`{name}`",
            *(_written(*taken[name][:3]) if name in taken else NOT_THERE),
            taken[name][3] if name in taken else "not measured",
            get_scale(name).runs_on,
        ]
        for name in scale_names()
    ]
    columns = ["scale", "minutes", "peak MB", "core-hours", "measured by", "meant for"]
    return markdown_table(columns, rows, numbers=(1, 2, 3))


def chapters_measured(report: Report, chapters: list[str]) -> str:
    """Chapter by chapter, the last run beside the committed run of a real model."""
    rows = []
    for name in chapters:
        entry = report[name]
        own = _written(*_chapter_costs(entry))
        rows.append([f"[{name}](notebooks/{name})", *own, *_real(name)])
    shown = scale_of([report[name] for name in chapters])
    heads = [
        f"{scale}: {what}"
        for scale in (shown, REAL)
        for what in ("minutes", "peak MB", "core-hours")
    ]
    return markdown_table(["chapter", *heads], rows, numbers=range(1, 7))


def capstone_minutes(report: Report, chapters: list[str]) -> str:
    """What each step of the capstone takes: measured on the machine, estimated for the reader."""
    run = real_model.first_seed()
    rows = []
    for name, (steps, own) in CAPSTONE.items():
        seconds = [run["steps"][step]["seconds"] for step in steps]
        rows.append([name, _minutes(sum(seconds) / 60) if steps else "not measured", own])
    table = markdown_table(["step", "computing, minutes", "you, minutes"], rows, numbers=(1, 2))
    return (
        f"{table}\n\nThe computing was measured in [the committed run](real-model) of "
        f"{run['steps']['dsft']['rows_out']} dialogues and {run['steps']['ddpo']['rows_out']} "
        f"pairs, on {_machine(real_model.results()['environment'])}; its exam was the scale's own, "
        "which a program checks. Your own minutes are *estimates* that nobody measured."
    )


def scale_of(entries: list[dict[str, Any]]) -> str:
    """The scale of a run, which is written down only where it is not the default."""
    return next(
        (entry["parameters"]["scale"] for entry in entries if "scale" in entry["parameters"]),
        DEFAULT_SCALE,
    )


def _real(chapter: str) -> tuple[str, ...]:
    steps = [real_model.first_seed()["steps"][name] for name in STEPS.get(chapter, ())]
    if not steps:
        return NOT_THERE
    cores = real_model.results()["environment"]["cores"]
    return _written(
        # an exam that ran in a process that had held more says nothing of its own peak
        *_added([_costs(step["seconds"], step.get("peak_memory_mb", 0), cores) for step in steps])
    )


def _chapter_costs(entry: dict[str, Any]) -> tuple[float, float, float]:
    """What a chapter takes with nothing made before it. Those that ran at once share the cores."""
    seconds = entry["seconds"] + entry["seconds_reused"]
    cores = entry["environment"]["cores"] / entry.get("at_once", 1)
    return _costs(seconds, entry["metrics"]["peak_memory_mb"], cores)


def _costs(seconds: float, memory: float, cores: float) -> tuple[float, float, float]:
    """Minutes, MB, core-hours."""
    return seconds / 60, memory, seconds * cores / 3600


def _added(costs: list[tuple[float, float, float]]) -> tuple[float, float, float]:
    """What several parts took one after another: times add up, of the memory the most counts."""
    minutes, memory, core_hours = zip(*costs, strict=True)
    return sum(minutes), max(memory), sum(core_hours)


def _machine(stamp: dict[str, Any]) -> str:
    return f"{stamp['cores']} cores of {stamp['cpu']}"


def _written(minutes: float, memory: float, core_hours: float) -> tuple[str, ...]:
    return (
        _minutes(minutes),
        f"{memory:,.0f}" if memory else "–",
        f"{core_hours:.2f}" if core_hours >= 0.005 else "< 0.01",
    )


def _minutes(minutes: float) -> str:
    return f"{minutes:,.1f}" if minutes >= 0.05 else "< 0.1"


PARTS = {
    "scales measured": scales_measured,
    "chapters measured": chapters_measured,
    "capstone minutes": capstone_minutes,
}
