"""What ``zephyr plan`` prints: a table of memory, and below it levers, steps and hours."""

import math
from collections.abc import Callable

import yaml
from rich.console import Console
from rich.table import Table

from zephyr_utils.planning.plan import CPU, GB, GIVEN, SPARE, StagePlan, plan_stage
from zephyr_utils.planning.rates import shares
from zephyr_utils.recipes import STAGES, Stage
from zephyr_utils.scales import Scale, get_scale

TERMS = {
    "weights": "weights",
    "gradients": "gradients",
    "optimiser": "optimiser states",
    "gathered layer": "layers gathered",
    "reference": "reference model",
    "activations": "activations",
    "logits": "logits",
    "reserve": "reserve (temporaries)",
    "context": "the process itself",
}

TRUST = (
    "What to trust: parameters, steps and operations are counted; memory on a GPU is good to "
    "about a third;\nhours span what published runs reached, and short or padded rows take longer "
    "(chapter 09). Time twenty steps first."
)


def print_plan(
    console: Console, scale: str, gpu_memory: float | None, gpus: int, rate: float | None
) -> dict[Stage, StagePlan]:
    """Print the plan of both stages and return it.

    Args:
        console: where it is printed.
        scale: a scale's name, or scale/variant.
        gpu_memory: bytes on one GPU; None takes the scale's own share.
        gpus: how many train together.
        rate: floating-point operations per second and device; None takes what is published.
    """
    plans = {stage: plan_stage(scale, stage, gpu_memory, gpus, rate) for stage in STAGES}
    console.print(_memory_table(scale, plans, gpus))
    for stage, plan in plans.items():
        lines = _stage_lines(get_scale(scale), stage, plan)
        console.print(*lines, sep="\n", highlight=False, soft_wrap=True)
    console.print(TRUST, highlight=False)
    return plans


def _memory_table(scale: str, plans: dict[Stage, StagePlan], gpus: int) -> Table:
    limit = next(iter(plans.values())).limit / GB
    each = f"on each of {gpus} GPUs" if gpus > 1 else "on one device"
    table = Table(title=f"{scale}: GB {each}, an estimate", show_footer=True, footer_style="bold")
    table.add_column("", footer=f"total (of {limit:.3g})")
    for stage, plan in plans.items():
        table.add_column(stage, footer=f"{plan.total / GB:.2f}", justify="right")
    for term, words in TERMS.items():
        sizes = [plan.memory.get(term, 0.0) / GB for plan in plans.values()]
        if any(sizes):
            table.add_row(words, *(f"{size:.2f}" for size in sizes))
    return table


def _stage_lines(setting: Scale, stage: Stage, plan: StagePlan) -> list[str]:
    levers = f", after: {'; '.join(plan.levers)}" if plan.levers else ", as the recipe stands"
    if not plan.fits:
        verdict = "DOES NOT FIT, whatever lever is pulled"
    elif plan.total <= SPARE * plan.limit:
        verdict = f"fits{levers}"
    else:
        verdict = f"fits on paper, with nothing to spare{levers}"
    rows = setting.training_sets[stage]
    lines = [
        f"{stage}: {verdict}",
        f"  {plan.trained:,} of {plan.parameters:,} parameters are trained",
        f"  {plan.steps:,} steps of {plan.rows_per_step} rows ({rows.source})",
        f"  {plan.flops:.2g} operations; {_time(setting, stage, plan)}",
    ]
    if plan.changes:
        changed = yaml.safe_dump(plan.changes, default_flow_style=True).strip().strip("{}")
        lines.append(f"  in the recipe: {changed}")
    return lines


def _time(setting: Scale, stage: Stage, plan: StagePlan) -> str:
    if not plan.hours:
        return "hours unknown: no card of that memory is known here; give --tflops as measured"
    spans = {device: span(*hours) for device, hours in plan.hours.items()}
    if GIVEN in spans:
        return f"{spans[GIVEN]} at the rate given"
    if CPU in spans:
        return f"{spans[CPU]} on a CPU ({setting.rate.source if setting.rate else ''})"
    slow, fast = shares(stage)
    cards = ", ".join(f"{name} {text}" for name, text in spans.items())
    return f"{cards} (at {100 * slow:.0f} to {100 * fast:.0f} % of the peak, as published runs)"


def span(least: float, most: float) -> str:
    """A range of hours with no more digits than an estimate has: ``2 to 5 h``, ``20 to 40 min``.

    Each end is rounded outwards to one digit, from ten on to two; two equal ends give one number.
    """
    unit, factor = ("min", 60.0) if most < 1 else ("h", 1.0)
    if math.isclose(least, most):
        return f"about {_digits(least * factor, round):g} {unit}"
    low, high = _digits(least * factor, math.floor), _digits(most * factor, math.ceil)
    return f"{low:,g} to {high:,g} {unit}"


def _digits(value: float, rounding: Callable[[float], int]) -> float:
    kept = 1 if value < 10 else 2
    step = 10.0 ** (math.floor(math.log10(value)) - kept + 1)
    return round(rounding(value / step + (1e-9 if rounding is math.floor else -1e-9)) * step, 6)
