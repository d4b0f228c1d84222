"""The trained models that come with the package: seed 0's dSFT and dDPO adapters.

They give the first answer of an aligned model before anything is trained. After `zephyr run` with
seed 0, ``python -m zephyr_utils.miniature.shipped runs/miniature`` copies them from that run and
notes their hashes.
"""

import argparse
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from zephyr_utils.chat import load_model
from zephyr_utils.errors import HandbookError
from zephyr_utils.miniature import BASE_FOLDER

FOLDER = Path(__file__).parent / "trained"
HASHES = FOLDER / "sha256.json"
STAGES = {"dsft": "02_dsft", "ddpo": "05_ddpo"}  # in the order in which they are applied
WEIGHTS, CONFIGURATION = "adapter_model.safetensors", "adapter_config.json"


def load_shipped(name: str) -> tuple[Any, Any]:
    """``base``, ``dsft`` or ``ddpo`` as it was shipped: a merged model and its tokenizer.

    Raises:
        HandbookError: there is no model of that name, or an adapter is not the shipped one.
    """
    from peft import PeftModel

    if name not in ("base", *STAGES):
        raise HandbookError(
            f"there is no model `{name}`",
            where="model",
            remedy="name base, dsft, ddpo, or a model directory",
        )
    model, tokenizer = load_model(BASE_FOLDER)
    if name == "base":
        return model, tokenizer
    for stage in STAGES:
        _check(stage)
        model = PeftModel.from_pretrained(model, FOLDER / stage).merge_and_unload()
        if stage == name:
            break
    return model.eval(), tokenizer


def _check(stage: str) -> None:
    weights = FOLDER / stage / WEIGHTS
    wanted = json.loads(HASHES.read_text(encoding="utf-8"))[stage]
    if not weights.is_file() or hashlib.sha256(weights.read_bytes()).hexdigest() != wanted:
        raise HandbookError(
            "these are not the weights that came with the package",
            where=str(weights),
            remedy="install the package again, or train your own: `zephyr run`",
        )


def copy_from(run: Path) -> None:
    """Take the adapters of a run and note their hashes.

    Raises:
        HandbookError: the run has no such adapter.
    """
    hashes = {}
    for stage, step in STAGES.items():
        source, target = run / step / "adapter", FOLDER / stage
        if not (source / WEIGHTS).is_file():
            raise HandbookError("there is no adapter", where=str(source), remedy="run `zephyr run`")
        target.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / WEIGHTS, target / WEIGHTS)
        settings = json.loads((source / CONFIGURATION).read_text(encoding="utf-8"))
        # the path of the machine that trained it is nobody else's
        settings["base_model_name_or_path"] = "zephyr-handbook/miniature-base"
        text = json.dumps(settings, indent=2) + "\n"
        (target / CONFIGURATION).write_text(text, encoding="utf-8")
        hashes[stage] = hashlib.sha256((target / WEIGHTS).read_bytes()).hexdigest()
    HASHES.write_text(json.dumps(hashes, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    """Copy from the run that is named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="runs/miniature")
    copy_from(parser.parse_args().run)


if __name__ == "__main__":
    main()
