"""Extrapolation of a training: further along the line from the first weights to the last ones."""

from collections.abc import Mapping

from torch import Tensor


def extrapolate_weights(
    start: Mapping[str, Tensor], end: Mapping[str, Tensor], amount: float
) -> dict[str, Tensor]:
    """end + amount * (end - start), for every weight: ExPO (arXiv 2404.16792), without training.

    Where the training was that of a LoRA adapter, end - start is the adapter's product, so this
    scales the adapter by 1 + amount.

    Args:
        start, end: state dicts of one architecture before and after the training, such as dSFT's
            and dDPO's.
        amount: the paper's alpha. 0 gives `end`, -1 gives `start`, between them lie models of a
            training that went less far, above 0 of one that would go on in a straight line.

    Returns:
        A state dict, in the dtypes of `end`; numbers that are not floating-point, such as
        counters, are those of `end`.

    Raises:
        ValueError: the state dicts have different names or shapes.
    """
    if unequal := sorted(start.keys() ^ end.keys()):
        raise ValueError(
            f"{len(unequal)} weights are in one state dict only, {unequal[0]} among them: "
            "extrapolate between two states of one model"
        )
    for name, weight in end.items():
        if start[name].shape != weight.shape:
            raise ValueError(
                f"{name} is {tuple(start[name].shape)} before the training and "
                f"{tuple(weight.shape)} after it"
            )
    return {
        name: weight + (amount * (weight.float() - start[name].float())).to(weight.dtype)
        if weight.is_floating_point()
        else weight
        for name, weight in end.items()
    }
