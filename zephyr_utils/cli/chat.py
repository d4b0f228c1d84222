"""The command that talks to a model."""

from typing import Annotated, Any

import typer

from zephyr_utils.cli.console import err, out
from zephyr_utils.cli.options import (
    RunsOption,
    ScaleOption,
    SeedOption,
    existing_folder,
    open_pipeline,
)
from zephyr_utils.errors import HandbookError
from zephyr_utils.scales import DEFAULT_SCALE, get_scale


def chat(
    model: Annotated[str, typer.Argument(help="base, dsft, ddpo, or a model directory.")] = "ddpo",
    scale: ScaleOption = DEFAULT_SCALE,
    seed: SeedOption = 0,
    temperature: Annotated[float, typer.Option(help="0 is greedy, 0.7 samples.")] = 0.0,
    runs: RunsOption = "",
) -> None:
    """Talk to what you trained, or to the models that come with the package before that. An empty
    line, `exit` or Ctrl-D ends it; `new` begins a new conversation.
    """
    from zephyr_utils.chat import generate, prepare_tokenizer
    from zephyr_utils.chat.decoding import Decoding

    Decoding(1, temperature)  # for its errors, before a model is loaded
    network, tokenizer = _load(model, scale, seed, runs)
    prepare_tokenizer(tokenizer)
    if introduction := get_scale(scale).introduction():
        err.print(introduction, soft_wrap=True)
    err.print("Ask a question. `new` starts a new conversation, an empty line ends it.")
    messages: list[dict] = []
    for turn in range(1_000_000):
        try:
            text = input("you> ").strip()
        except EOFError:
            return
        if text in ("", "exit"):
            return
        if text == "new":
            messages = []
            continue
        messages.append({"role": "user", "content": text})
        try:
            (answer,) = generate(
                network, tokenizer, [messages], temperature=temperature, seed=seed + turn
            )
        except HandbookError as error:  # longer than the model's context: the talk goes on
            err.print(f"{error}\n`new` starts a new conversation.", soft_wrap=True)
            messages.pop()
            continue
        messages.append({"role": "assistant", "content": answer.text})
        out.print(f"model> {answer.text}", markup=False, highlight=False)


def _load(model: str, scale: str, seed: int, runs: str) -> tuple[Any, Any]:
    """The model of a directory, of the pipeline, or the shipped one where none is trained yet."""
    from zephyr_utils.chat import load_model

    if directory := existing_folder(model):
        return load_model(directory)
    pipeline = open_pipeline(scale, seed, runs)
    shipped = get_scale(scale).shipped
    if shipped is not None and not pipeline.has_model(model):
        loaded = shipped(model)  # before it is announced: it refuses a name that it does not know
        err.print(
            f"`{model}` has not been trained here yet: this is the one that comes with the "
            "package, trained with seed 0. `zephyr run` trains your own."
        )
        return loaded
    return load_model(pipeline.model_directory(model))
