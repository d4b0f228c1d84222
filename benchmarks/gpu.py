"""Ours against the peer on one GPU: non-padding tokens per second, TFLOP/s by our own count, peak
memory, equal losses.

    python benchmarks/gpu.py                    # Mistral-7B's shape, random weights, bfloat16; one
    GPU of 80 GB python benchmarks/gpu.py --shape small      # the same script, whole, on a CPU: 10
    M parameters, about six minutes

The peer is TRL with the alignment-handbook's LoRA values as they stand: its lengths and batch,
activations recomputed, dropout 0.05, padded rows in the order they come, a live reference. Ours
is what `recipes/zephyr-7b-lora` says: packed rows, dropout 0, a precomputed reference, each pair's
prompt computed once, and activations kept where memory allows. Then ours with one thing changed
(flex attention, FlashAttention where it is installed, compiled, two rows a pair), and ours growing:
longer rows at as many tokens a step, more rows, a higher rank. The share of the peak is of the
fastest product of the model's own matrices on the same card. Rows are random tokens whose lengths
follow a fixed heavy-tailed law, so that nothing has to be downloaded. No quality is measured:
weights and tokens are random.

Each measurement is a process of its own (so that its peak is its own), written as soon as it is
there: a run that was killed goes on with the next. Results: ``benchmarks/results/gpu.json``
(``gpu_small_cpu.json`` for the small shape).
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from gpu_measure import MEASUREMENTS, measure
from gpu_setup import SHAPES
from rich.console import Console
from rich.table import Table

from zephyr_utils.files import read_json, write_json
from zephyr_utils.machine import environment_stamp
from zephyr_utils.pipeline.artefacts import fingerprint

HERE = Path(__file__).resolve().parent
NAMES = {"mistral-7b": "gpu.json", "small": "gpu_small_cpu.json"}


def main() -> None:
    arguments = _arguments()
    if arguments.only:  # a process of its own, started below
        print(json.dumps(measure(arguments.shape, arguments.only, arguments.seconds)))
        return
    console = Console()
    path = arguments.output or HERE / "results" / NAMES[arguments.shape]
    key = fingerprint(
        {name: fingerprint(HERE / name) for name in ("gpu_setup.py", "gpu_measure.py")}
        | {"shape": arguments.shape}
    )
    results = read_json(path)
    if results.get("key") != key or results.get("environment") != environment_stamp():
        results = {
            "key": key,
            "shape": arguments.shape,
            "environment": environment_stamp(),
            "measured": {},
        }
    for name in MEASUREMENTS:
        if name in results["measured"] and "left_out" not in results["measured"][name]:
            console.print(f"{name}: measured already", highlight=False)
            continue
        console.print(f"{name} ...", highlight=False)
        results["measured"][name] = _in_a_process(name, arguments)
        write_json(path, results)
    results["findings"] = findings(results["measured"])
    write_json(path, results)
    _show(results, console)
    console.print(f"Written to {path.name}", highlight=False)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="mistral-7b")
    parser.add_argument(
        "--seconds",
        type=float,
        default=None,
        help="of timed steps, a measurement; default 60, small 8",
    )
    parser.add_argument("--output", type=Path, default=None, help="file of results")
    parser.add_argument("--only", choices=MEASUREMENTS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.seconds = arguments.seconds or (8 if arguments.shape == "small" else 60)
    return arguments


def _in_a_process(name: str, arguments: argparse.Namespace) -> dict:
    command = [
        sys.executable,
        __file__,
        "--shape",
        arguments.shape,
        "--only",
        name,
        "--seconds",
        str(arguments.seconds),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        reason = (
            done.stderr.strip().splitlines()[-1]
            if done.stderr.strip()
            else f"status {done.returncode}"
        )
        return {"failed": reason}
    return json.loads(done.stdout.strip().splitlines()[-1])


def findings(measured: dict[str, dict]) -> dict[str, float]:
    """Ratios ours / peer, and how far the losses of the fast path lie from the plain one's."""
    ratios: dict[str, float] = {}
    for stage in ("dsft", "ddpo"):
        peer, ours = measured.get(f"{stage} peer", {}), measured.get(f"{stage} ours", {})
        for figure in ("tokens_per_second", "peak_memory_gb"):
            if figure in peer and figure in ours:
                ratios[f"{stage}: {figure}, ours / peer"] = round(ours[figure] / peer[figure], 3)
        if peak := measured.get("matrix peak", {}).get("tflops"):
            for name, figures in ((f"{stage} peer", peer), (f"{stage} ours", ours)):
                if "tflops" in figures:
                    ratios[f"{name}: share of the matrix peak"] = round(figures["tflops"] / peak, 3)
        equal = measured.get(f"{stage} equality", {})
        if "relative_difference" in equal:
            ratios[f"{stage}: relative difference of the loss, fast path and plain"] = equal[
                "relative_difference"
            ]
        for name, figures in measured.items():
            of_stage = name.startswith(stage) and name not in (f"{stage} peer", f"{stage} ours")
            if of_stage and "tokens_per_second" in figures and "tokens_per_second" in ours:
                ratio = figures["tokens_per_second"] / ours["tokens_per_second"]
                ratios[f"tokens_per_second, {name} / {stage} ours"] = round(ratio, 3)
    return ratios


def _show(results: dict, console: Console) -> None:
    table = Table(
        title=f"{results['shape']} on {results['environment']['accelerator']} / "
        f"{results['environment']['cpu']}"
    )
    for column in ("", "tokens/s", "TFLOP/s", "of the peak", "padding", "peak GB", "steps"):
        table.add_column(column)
    peak = results["measured"]["matrix peak"].get("tflops", float("nan"))
    for name, figures in results["measured"].items():
        if "tokens_per_second" in figures:
            table.add_row(
                name,
                f"{figures['tokens_per_second']:,.0f}",
                f"{figures['tflops']:.3g}",
                f"{figures['tflops'] / peak:.0%}",
                f"{figures['padding']:.0%}",
                f"{figures['peak_memory_gb']:.2f}",
                str(figures["steps"]),
            )
        elif reason := figures.get("failed") or figures.get("left_out"):
            table.add_row(name, "failed" if "failed" in figures else "left out", reason[:60])
    console.print(table)
    for what, value in results["findings"].items():
        console.print(f"{what}: {value:g}", highlight=False)


if __name__ == "__main__":
    main()
