"""What ``zephyr plan`` prints: one table of memory, and below it levers, updates and hours."""

import yaml
from rich.console import Console
from rich.table import Table

from zephyr_utils.planning.plan import GB, RATES, SPARE, TRAINING_SETS, StagePlan, plan_stage
from zephyr_utils.recipes import STAGES

WORDS = {
    "weights": "weights", "gradients": "gradients", "optimiser": "optimiser states", "gathered layer": "layers gathered",
    "reference": "reference model", "activations": "activations", "logits": "logits", "reserve": "reserve (temporaries)",
    "context": "the process itself",
}  # fmt: skip


def print_plan(
    console: Console, scale: str, gpu_memory: float | None, gpus: int, rate: float | None
) -> dict[str, StagePlan]:
    """Print the plan of both stages and return it."""
    plans = {stage: plan_stage(scale, stage, gpu_memory, gpus, rate) for stage in STAGES}
    family = scale.partition("/")[0]
    limit = next(iter(plans.values())).limit / GB
    each = f"on each of {gpus} GPUs" if gpus > 1 else "on one device"
    table = Table(title=f"{scale}: GB {each}, an estimate", show_footer=True, footer_style="bold")
    table.add_column("", footer=f"together (there are {limit:.3g})")
    for stage, found in plans.items():
        table.add_column(stage, footer=f"{found.total / GB:.2f}", justify="right")
    for term, words in WORDS.items():
        sizes = [found.memory.get(term, 0.0) / GB for found in plans.values()]
        if any(sizes):
            table.add_row(words, *(f"{size:.2f}" for size in sizes))
    console.print(table)
    seconds, source = (rate, "as given") if rate else RATES[family]
    for stage, found in plans.items():
        rows = TRAINING_SETS[family if family in ("miniature", "smol") else "zephyr-7b", stage]
        fits = (
            "fits" if found.total <= SPARE * found.limit else "fits on paper, with nothing to spare"
        )
        if not found.fits:
            fits = "DOES NOT FIT, whatever lever is pulled"
        pulled = f", after: {'; '.join(found.levers)}" if found.levers else ", as the recipe stands"
        lines = [
            f"{stage}: {fits}{pulled if found.fits else ''}",
            f"  {found.trained:,} of {found.parameters:,} parameters are trained",
            f"  {found.updates:,} updates of {found.rows_per_update} rows ({rows.source})",
            f"  about {_time(found.hours)}: {found.flops:.3g} operations at {seconds / 1e12:g} "
            f"TFLOP/s a device ({source})",
        ]
        if found.changes:
            changed = yaml.safe_dump(found.changes, default_flow_style=True).strip().strip("{}")
            lines.append(f"  in the recipe: {changed}")
        console.print(*lines, sep="\n", highlight=False, soft_wrap=True)
    console.print(
        "How far off these formulas are where somebody measured: chapter 09.", highlight=False
    )
    return plans


def _time(hours: float) -> str:
    return f"{hours:.1f} hours" if hours >= 0.95 else f"{60 * hours:.0f} minutes"
