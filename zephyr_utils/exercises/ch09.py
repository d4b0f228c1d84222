"""The checks of chapter 09: what LoRA holds in memory, updates after packing, and the accumulation
on several GPUs.
"""

import math
from collections.abc import Callable

from zephyr_utils.exercises.core import attempt, compare, exercise


def _lora_bytes(parameters: int, adapter: int) -> int:
    return 2 * parameters + 16 * adapter


@exercise(
    "09_scaling_up",
    right="14.5 GB for 7 B and less than one for the adapter: what is left of the card belongs to "
    "the activations.",
    solution=_lora_bytes,
    wrong={
        "all weights": lambda parameters, adapter: 16 * (parameters + adapter),
        "4 bytes or with a gradient": lambda parameters, adapter: 4 * parameters + 16 * adapter,
        "two moments": lambda parameters, adapter: 2 * parameters + 8 * adapter,
        "Three of the four": lambda parameters, adapter: 2 * parameters + 12 * adapter,
        "Only the weights": lambda parameters, adapter: 2 * parameters + 4 * adapter,
        "Bytes were asked for": lambda parameters, adapter: (2 * parameters + 16 * adapter) / 1e9,
    },
)
def check_lora_bytes(fn: Callable[[int, int], int]) -> None:
    """``fn(parameters, adapter) -> bytes``: frozen bfloat16 base, float32 adapter, its gradient,
    AdamW's two moments.
    """
    for n, a in ((7_241_732_096, 41_943_040), (1_000, 30)):
        mistakes = {
            "This trains all weights: under LoRA the base has neither gradient nor optimiser.": 16
            * (n + a),
            "The base counts 2 bytes: this counts it with 4 bytes or with a gradient, and frozen "
            "it has none.": 4 * n + 16 * a,
            "AdamW's two moments are missing: 4 bytes each for every adapter weight.": 2 * n
            + 8 * a,
            "Three of the four are here: weight, gradient, and two moments make 16 bytes.": 2 * n
            + 12 * a,
            "Only the weights are counted; what is trained also has a gradient and two moments.": 2
            * n
            + 4 * a,
            "Bytes were asked for, these are GB.": (2 * n + 16 * a) / 1e9,
        }
        compare(
            attempt(fn, n, a),
            _lora_bytes(n, a),
            mistakes,
            "2 bytes a base weight, 16 an adapter weight.",
        )


def _packed_updates(rows: int, tokens: float, length: int, batch: int) -> int:
    return math.ceil(math.ceil(rows * tokens / length) / batch)


@exercise(
    "09_scaling_up",
    right="For the paper's run that is 272: the schedule has to be made for these, not for the "
    "unpacked rows.",
    solution=_packed_updates,
    wrong={
        "rows before packing": lambda rows, tokens, length, batch: math.ceil(rows / batch),
        "sequences, not updates": lambda rows, tokens, length, batch: math.ceil(
            rows * tokens / length
        ),
        "last, smaller batch": lambda rows, tokens, length, batch: (
            math.ceil(rows * tokens / length) // batch
        ),
        "length is forgotten": lambda rows, tokens, length, batch: math.ceil(rows * tokens / batch),
        "One too many": lambda rows, tokens, length, batch: (
            _packed_updates(rows, tokens, length, batch) + 1
        ),
    },
)
def check_packed_updates(fn: Callable[[int, float, int, int], int]) -> None:
    """``fn(rows, tokens, length, batch) -> updates`` of an epoch: rows of `tokens` on the average,
    packed without a gap.
    """
    for rows, tokens, length, batch in ((207_865, 1372.0, 2048, 512), (1000, 300.0, 1024, 32)):
        packed = math.ceil(rows * tokens / length)
        mistakes = {
            "These are the rows before packing, which was the fault of the authors' first "
            "schedule.": math.ceil(rows / batch),
            "These are packed sequences, not updates: divide by the batch.": packed,
            "The last, smaller batch is an update too: round up.": packed // batch,
            "The length is forgotten: a packed sequence holds `length` tokens.": math.ceil(
                rows * tokens / batch
            ),
            "One too many: round up once for sequences and once for updates.": math.ceil(
                packed / batch
            )
            + 1,
        }
        otherwise = "All tokens, divided by the length, divided by the batch; rounded up twice."
        compare(
            attempt(fn, rows, tokens, length, batch), math.ceil(packed / batch), mistakes, otherwise
        )


def _by_hand(batch: int, fits: int, gpus: int) -> tuple[int, int]:
    share = batch // gpus
    rows = max(n for n in range(1, fits + 1) if share % n == 0)
    return rows, share // rows


@exercise(
    "09_scaling_up",
    right="The product stays, so the learning rate may stay too: that is what a change of hardware "
    "should look like.",
    solution=_by_hand,
    wrong={
        "number of GPUs is forgotten": lambda batch, fits, gpus: (fits, batch // fits),
        "larger than what fits": lambda batch, fits, gpus: (batch // gpus, 1),
        "slower than need be": lambda batch, fits, gpus: (1, batch // gpus),
        "other way round": lambda batch, fits, gpus: _by_hand(batch, fits, gpus)[::-1],
        "is not the batch": lambda batch, fits, gpus: (fits, max(1, batch // (fits * gpus))),
    },
)
def check_accumulation(fn: Callable[[int, int, int], tuple[int, int]]) -> None:
    """``fn(batch, fits, gpus) -> (rows, times)``: rows x times x gpus = batch, rows <= fits and as
    large as can be.
    """
    for batch, fits, gpus in ((96, 4, 8), (96, 5, 8), (512, 16, 8), (30, 4, 2)):
        expected, share = _by_hand(batch, fits, gpus), batch // gpus
        mistakes = {
            "The number of GPUs is forgotten: each of them does its share of an update.": (
                fits,
                batch // fits,
            ),
            "That micro-batch is larger than what fits into memory.": (share, 1),
            "Right in sum and slower than need be: take as many rows at once as fit.": (1, share),
            "These are the two numbers the other way round: rows first, then times.": expected[
                ::-1
            ],
            "rows x times x gpus is not the batch here: rows must divide each GPU's share.": (
                fits,
                max(1, batch // (fits * gpus)),
            ),
        }
        otherwise = (
            "Each GPU's share is batch / gpus; its largest divisor that fits is the micro-batch."
        )
        compare(attempt(fn, batch, fits, gpus), expected, mistakes, otherwise)
