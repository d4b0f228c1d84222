"""The Zephyr handbook's package: distilling the alignment of small language models.

The chapters in ``notebooks/`` import from here; ``zephyr`` on the command line calls the same
functions. What most people need is at hand at the top:

    import zephyr_utils as zu

    dialogues = zu.load_records("dialogues.jsonl", "dialogue").records
    truecaser = zu.Truecaser.fit(answers)          # learn the case of words, then repair it
    pairs = zu.binarize(feedback).pairs            # rated answers -> chosen and rejected
    print(zu.audit(pairs))                         # what is in a preference set

    pipeline = zu.Pipeline(scale="miniature")      # one method per step, each made once
    model, tokenizer = zu.load_model(pipeline.model_directory("ddpo"))
    [answer] = zu.generate(model, tokenizer, [[{"role": "user", "content": "Hello!"}]])

    margins = zu.reward_margins(*log_probs, beta=0.1)
    print(zu.traffic_light(zu.read_training_log("trainer_state.json")))
    print(zu.mt_bench_score(judgments), zu.alpaca_eval_win_rate(annotations))
    loss = zu.dpo_loss(*log_probs, beta=0.1)       # the objective, written out

    zu.save_records(pairs, "pairs.parquet")        # bad input is a zu.HandbookError

Names are loaded when they are first used, so importing the package is quick.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zephyr_utils.chat import generate, load_model
    from zephyr_utils.data.records import load_records, save_records
    from zephyr_utils.diagnostics import read_training_log, reward_margins, traffic_light
    from zephyr_utils.errors import HandbookError
    from zephyr_utils.evaluation import alpaca_eval_win_rate, mt_bench_score
    from zephyr_utils.objectives import dpo_loss
    from zephyr_utils.pipeline.pipeline import Pipeline
    from zephyr_utils.preferences import audit, binarize
    from zephyr_utils.truecasing import Truecaser

# Set before torch, transformers and trl are imported: fork-safe tokenizers, and no telemetry from a
# lesson.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"

_MODULES = {
    "HandbookError": "errors",
    "Pipeline": "pipeline.pipeline",
    "Truecaser": "truecasing",
    "alpaca_eval_win_rate": "evaluation",
    "audit": "preferences",
    "binarize": "preferences",
    "dpo_loss": "objectives",
    "generate": "chat",
    "load_model": "chat",
    "load_records": "data.records",
    "mt_bench_score": "evaluation",
    "read_training_log": "diagnostics",
    "reward_margins": "diagnostics",
    "save_records": "data.records",
    "traffic_light": "diagnostics",
}

__all__ = [
    "HandbookError",
    "Pipeline",
    "Truecaser",
    "__version__",
    "alpaca_eval_win_rate",
    "audit",
    "binarize",
    "dpo_loss",
    "generate",
    "load_model",
    "load_records",
    "mt_bench_score",
    "read_training_log",
    "reward_margins",
    "save_records",
    "traffic_light",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
