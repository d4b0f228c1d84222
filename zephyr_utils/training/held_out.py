"""How many pairs dDPO measures that it does not train on, and when: a tenth of the run at most."""

from typing import Any

EVAL_PAIRS = 256  # the most that are measured; Zephyr's own curve is of 64
FEWEST_FOR_A_CURVE = 64  # with fewer, points are left out before pairs are
EVAL_BATCH_SIZE = 32
# measurements after the one before the first step; a log needs three points to give its beta away
INTERVALS = (8, 4, 2)


def evaluation_schedule(
    held_out: int, pairs: int, pairs_seen: int | None = None
) -> tuple[int, dict[str, Any]]:
    """How many held-out pairs dDPO measures, and TRL's arguments that say when.

    They are measured before the first step, at the end, and up to seven times in between. The cost
    is counted in forward passes of a pair: a step takes three (one forward, a backward of two), the
    reference one for each pair, held-out ones included. So ``(n + 1) * measured``, of n
    measurements and the reference, is kept below a tenth of ``3 * pairs_seen + pairs``.

    Args:
        held_out: pairs that are not trained on.
        pairs: pairs that are trained on.
        pairs_seen: pairs in all steps, repetitions included; None for one epoch.

    Returns:
        (pairs to measure, arguments); (0, {}) where a tenth of the run is not even one pair.

    >>> evaluation_schedule(400, 3600)
    (144, {'eval_strategy': 'steps', 'eval_steps': 0.125, 'eval_on_start': True})
    >>> evaluation_schedule(400, 60_000)[0]
    256
    """
    seen = pairs if pairs_seen is None else pairs_seen
    budget = (3 * seen + pairs) // 10  # forward passes
    wanted = min(held_out, EVAL_PAIRS)
    for intervals in INTERVALS:
        affordable = budget // (intervals + 2)
        measured = min(wanted, affordable)
        if measured >= min(wanted, FEWEST_FOR_A_CURVE):
            break
    if measured < wanted:
        # Whole batches; few pairs are a power of two, so that several processes measure the same.
        measured -= measured % 16 if measured > 16 else measured - _power_of_two(measured)
    if not measured:
        return 0, {}
    return measured, {
        "eval_strategy": "steps",
        "eval_steps": 1 / intervals,
        "eval_on_start": True,
    }


def _power_of_two(number: int) -> int:
    """The largest power of two that is not above a number; 0 for 0."""
    return 1 << (number.bit_length() - 1) if number else 0
