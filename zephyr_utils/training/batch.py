"""The effective batch: how many rows make one optimiser step, whatever the number of processes."""

from zephyr_utils.errors import HandbookError


def share_batch(per_device: int, accumulation: int, processes: int) -> tuple[int, int]:
    """Rows a process takes at once, and how often before a step, so that the effective batch
    stays the recipe's.

    A recipe's ``per_device_train_batch_size x gradient_accumulation_steps`` is its effective batch.
    With more processes each does its share: fewer micro-batches first, and smaller ones only where
    that is not enough. The mean gradient of a step, and with it the training, stays what it was
    up to rounding.

    Args:
        per_device, accumulation: the recipe's two values.
        processes: how many train together, one a GPU.

    Returns:
        (per_device, accumulation) with ``per_device * accumulation * processes`` equal to the
            recipe's effective batch.

    Raises:
        HandbookError: the effective batch cannot be divided by `processes`.

    >>> share_batch(16, 32, 8)
    (16, 4)
    >>> share_batch(2, 16, 32)
    (1, 1)
    """
    effective = per_device * accumulation
    if min(per_device, accumulation, processes) < 1 or effective % processes:
        raise HandbookError(
            f"an effective batch of {per_device} x {accumulation} = {effective} rows cannot be "
            f"shared by {processes} processes",
            where="per_device_train_batch_size, gradient_accumulation_steps",
            remedy="use a number of processes that divides it, or change the recipe and say so",
        )
    share = effective // processes
    together = max(rows for rows in range(1, min(per_device, share) + 1) if share % rows == 0)
    return together, share // together
