"""What ``zephyr plan`` prints: a table of memory, and below it levers, updates and hours."""

import yaml
from rich.console import Console
from rich.table import Table

from zephyr_utils.planning.plan import GB, SPARE, StagePlan, plan_stage
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


def print_plan(
    console: Console, scale: str, gpu_memory: float | None, gpus: int, rate: float | None
) -> dict[Stage, StagePlan]:
    """Print the plan of both stages and return it.

    Args:
        console: where it is printed.
        scale: a scale's name, or scale/variant.
        gpu_memory: bytes on one GPU; None takes the scale's own share.
        gpus: how many train together.
        rate: floating-point operations per second and device; None takes the scale's.
    """
    plans = {stage: plan_stage(scale, stage, gpu_memory, gpus, rate) for stage in STAGES}
    console.print(_memory_table(scale, plans, gpus))
    for stage, plan in plans.items():
        lines = _stage_lines(get_scale(scale), stage, plan, rate)
        console.print(*lines, sep="\n", highlight=False, soft_wrap=True)
    console.print(
        "How far off these formulas are where somebody measured: chapter 09.", highlight=False
    )
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


def _stage_lines(setting: Scale, stage: Stage, plan: StagePlan, rate: float | None) -> list[str]:
    levers = f", after: {'; '.join(plan.levers)}" if plan.levers else ", as the recipe stands"
    if not plan.fits:
        verdict = "DOES NOT FIT, whatever lever is pulled"
    elif plan.total <= SPARE * plan.limit:
        verdict = f"fits{levers}"
    else:
        verdict = f"fits on paper, with nothing to spare{levers}"
    flops, source = (rate, "as given") if rate else (setting.rate.flops, setting.rate.source)
    rows = setting.training_sets[stage]
    lines = [
        f"{stage}: {verdict}",
        f"  {plan.trained:,} of {plan.parameters:,} parameters are trained",
        f"  {plan.updates:,} updates of {plan.rows_per_update} rows ({rows.source})",
        f"  about {_duration(plan.hours)}: {plan.flops:.3g} operations at {flops / 1e12:g} "
        f"TFLOP/s per device ({source})",
    ]
    if plan.changes:
        changed = yaml.safe_dump(plan.changes, default_flow_style=True).strip().strip("{}")
        lines.append(f"  in the recipe: {changed}")
    return lines


def _duration(hours: float) -> str:
    return f"{hours:.1f} hours" if hours >= 0.95 else f"{60 * hours:.0f} minutes"
