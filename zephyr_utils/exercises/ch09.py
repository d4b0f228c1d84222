"""The checks of chapter 09: what LoRA holds in memory, operations, steps after packing, the
accumulation on several GPUs, and a range of hours.
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
            "2 bytes per base weight, 16 per adapter weight.",
        )


def _packed_steps(rows: int, tokens: float, length: int, batch: int) -> int:
    return math.ceil(math.ceil(rows * tokens / length) / batch)


@exercise(
    "09_scaling_up",
    right="For the paper's run that is 272: the schedule has to be made for these, not for the "
    "unpacked rows.",
    solution=_packed_steps,
    wrong={
        "rows before packing": lambda rows, tokens, length, batch: math.ceil(rows / batch),
        "sequences, not steps": lambda rows, tokens, length, batch: math.ceil(
            rows * tokens / length
        ),
        "last, smaller batch": lambda rows, tokens, length, batch: (
            math.ceil(rows * tokens / length) // batch
        ),
        "length is forgotten": lambda rows, tokens, length, batch: math.ceil(rows * tokens / batch),
        "One too many": lambda rows, tokens, length, batch: (
            _packed_steps(rows, tokens, length, batch) + 1
        ),
    },
)
def check_packed_steps(fn: Callable[[int, float, int, int], int]) -> None:
    """``fn(rows, tokens, length, batch) -> steps`` of an epoch: rows of `tokens` on the average,
    packed without a gap.
    """
    for rows, tokens, length, batch in ((207_865, 1372.0, 2048, 512), (1000, 300.0, 1024, 32)):
        packed = math.ceil(rows * tokens / length)
        mistakes = {
            "These are the rows before packing, which was the fault of the authors' first "
            "schedule.": math.ceil(rows / batch),
            "These are packed sequences, not steps: divide by the batch.": packed,
            "The last, smaller batch is a step too: round up.": packed // batch,
            "The length is forgotten: a packed sequence holds `length` tokens.": math.ceil(
                rows * tokens / batch
            ),
            "One too many: round up once for sequences and once for steps.": math.ceil(
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
            "The number of GPUs is forgotten: each of them does its share of a step.": (
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


# --- operations and hours -------------------------------------------------------------------------


def _operations(parameters: int, lora: bool, recomputed: bool, reference: bool) -> int:
    passes = 1 + (1 if lora else 2) + recomputed + reference
    return 2 * parameters * passes


_SETTINGS = tuple(
    (lora, recomputed, reference)
    for lora in (False, True)
    for recomputed in (False, True)
    for reference in (False, True)
)


@exercise(
    "09_scaling_up",
    right="LoRA with recomputation costs what full training costs without: memory is bought with "
    "time.",
    solution=_operations,
    wrong={
        "two products": lambda n, lora, recomputed, reference: 2 * n * (2 + recomputed + reference),
        "no gradient of their own": lambda n, lora, recomputed, reference: (
            2 * n * (3 + recomputed + reference)
        ),
        "multiplication and one addition": lambda n, lora, recomputed, reference: (
            _operations(n, lora, recomputed, reference) // 2
        ),
        "recomputed activations": lambda n, lora, recomputed, reference: _operations(
            n, lora, False, reference
        ),
        "reference reads": lambda n, lora, recomputed, reference: _operations(
            n, lora, recomputed, False
        ),
        "no backward pass": lambda n, lora, recomputed, reference: (
            2 * n * ((2 if lora else 3) * (1 + reference) + recomputed)
        ),
    },
)
def check_operations_per_token(fn: Callable[[int, bool, bool, bool], int]) -> None:
    """``fn(parameters, lora, recomputed, reference) -> operations`` of a training step per token,
    attention left out.
    """
    n = 7_000_000_000
    mistakes = {
        "Backward in full training is two products: one for the input's gradient, one for the "
        "weights'.": [2 * n * (2 + a + b) for _, a, b in _SETTINGS],
        "Under LoRA the base's weights need no gradient of their own: one product less.": [
            2 * n * (3 + a + b) for _, a, b in _SETTINGS
        ],
        "A weight takes part in one multiplication and one addition: two operations.": [
            _operations(n, *setting) // 2 for setting in _SETTINGS
        ],
        "With recomputed activations each layer's forward pass is made twice.": [
            _operations(n, lora, False, reference) for lora, _, reference in _SETTINGS
        ],
        "A live reference reads every token too: one more forward pass.": [
            _operations(n, lora, recomputed, False) for lora, recomputed, _ in _SETTINGS
        ],
        "The reference is not trained: it makes no backward pass.": [
            2 * n * ((2 if lora else 3) * (1 + reference) + recomputed)
            for lora, recomputed, reference in _SETTINGS
        ],
    }
    compare(
        [attempt(fn, n, *setting) for setting in _SETTINGS],
        [_operations(n, *setting) for setting in _SETTINGS],
        mistakes,
        "2 operations per weight for each pass: forward, backward, and what is done once more.",
    )


def _hours(
    operations: float, peak: float, slow: float, fast: float, gpus: int
) -> tuple[float, float]:
    at_peak = operations / (peak * gpus) / 3600
    return at_peak / fast, at_peak / slow


@exercise(
    "09_scaling_up",
    right="A range says what you know; the one number in its middle would have said more than "
    "that.",
    solution=_hours,
    wrong={
        "fewest first": lambda ops, peak, slow, fast, gpus: _hours(ops, peak, slow, fast, gpus)[
            ::-1
        ],
        "Divide by the share": lambda ops, peak, slow, fast, gpus: (
            ops / (peak * gpus) / 3600 * slow,
            ops / (peak * gpus) / 3600 * fast,
        ),
        "These are seconds": lambda ops, peak, slow, fast, gpus: tuple(
            3600 * hours for hours in _hours(ops, peak, slow, fast, gpus)
        ),
        "GPUs share the work": lambda ops, peak, slow, fast, gpus: _hours(ops, peak, slow, fast, 1),
        "at its peak": lambda ops, peak, slow, fast, gpus: (ops / (peak * gpus) / 3600,) * 2,
    },
)
def check_hours_range(fn: Callable[[float, float, float, float, int], tuple[float, float]]) -> None:
    """``fn(operations, peak, slow, fast, gpus) -> (fewest, most)`` hours: `peak` is one GPU's in
    operations per second, `slow` and `fast` the shares of it that runs reach.
    """
    case = (8.7e18, 312e12, 0.3, 0.6, 4)
    operations, peak, slow, fast, gpus = case
    right = _hours(*case)
    mistakes = {
        "These are the right two, the most hours first; fewest first, please.": right[::-1],
        "Divide by the share of the peak: a slower run takes more hours.": (
            operations / (peak * gpus) / 3600 * slow,
            operations / (peak * gpus) / 3600 * fast,
        ),
        "These are seconds; an hour has 3,600.": tuple(3600 * hours for hours in right),
        "The GPUs share the work: together they make `gpus` times as many operations.": _hours(
            operations, peak, slow, fast, 1
        ),
        "No training runs at its peak: that is what `slow` and `fast` are for.": (
            operations / (peak * gpus) / 3600,
        )
        * 2,
    }
    compare(
        attempt(fn, *case),
        right,
        mistakes,
        "operations / (peak x share x gpus), in hours; the fast share gives the fewest.",
        tolerance=1e-3,
    )
