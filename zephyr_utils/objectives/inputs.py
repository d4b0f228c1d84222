"""What the objectives ask of their tensors before they compute anything."""

import torch
from torch import Tensor


def require_same_shape(name: str, *tensors: Tensor) -> None:
    """Raise ValueError unless all tensors have one shape.

    (n,) and (n, 1) would broadcast to (n, n) without an error, and the mean would still look like a
    loss.
    """
    shapes = [str(tuple(tensor.shape)) for tensor in tensors]
    if len(set(shapes)) > 1:
        raise ValueError(f"{name} of unequal shapes: {' and '.join(shapes)}")


def require_finite(name: str, tensor: Tensor) -> None:
    """Raise ValueError where a value is NaN or infinite; the message counts them."""
    wrong = int((~torch.isfinite(tensor)).sum())
    if wrong:
        raise ValueError(
            f"{wrong} of {tensor.numel()} {name} are NaN or infinite: a judge failed, or a model "
            "has diverged"
        )


def require_groups(name: str, tensor: Tensor) -> None:
    """Raise ValueError unless a tensor is (prompts, k) with k of at least two."""
    if tensor.dim() != 2 or tensor.shape[1] < 2:
        raise ValueError(
            f"{name} must be (prompts, k), with k of at least 2 answers to each prompt, and are "
            f"{tuple(tensor.shape)}: one answer has no others to be compared with"
        )
