"""What a training changed from one checkpoint to the next, as a few large components.

A change of a matrix is a sum of components, each a singular value times two singular vectors. Of
these the small ones are left out, and each of the others is rounded in steps that add the same
error to the matrix however large it is (reverse water-filling, Cover and Thomas, Elements of
Information Theory, section 10.3.3): the square root of its singular value is in both its vectors,
so its steps are the error over that root.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Matrices = Mapping[str, NDArray[np.float32]]
# The error over the root of the size of all that changed so far: as small as lets all checkpoints
# fit into what a reader fetches (tools/live_models.py).
ERROR = 0.0052
SMALLEST = 0.7  # of a singular value, in errors of a matrix whose entries are all off by one step
NEGLIGIBLE = 1e-6  # of the largest singular value


def size_of(change: Matrices) -> float:
    """The Frobenius norm of all matrices together."""
    return float(
        np.sqrt(sum(np.square(values, dtype=np.float64).sum() for values in change.values()))
    )


def components(
    change: NDArray[np.float32], error: float
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """(A, B, steps) such that B' A is the change but for its small components, and the step of each
    row of A and B.

    Args:
        change: (outputs, inputs).
        error: of the rounding; 0 keeps all that are not zero.

    Returns:
        ``A`` of (rank, inputs), ``B`` of (rank, outputs), ``steps`` of (rank,); the rank may be 0.
    """
    left, sizes, right = np.linalg.svd(change.astype(np.float64), full_matrices=False)
    outputs, inputs = change.shape
    least = max(SMALLEST * error * (outputs * inputs) ** 0.25, NEGLIGIBLE * sizes[0])
    rank = int((sizes > least).sum())
    roots = np.sqrt(sizes[:rank, None])
    a, b, steps = right[:rank] * roots, left.T[:rank] * roots, error / roots[:, 0]
    return a.astype(np.float32), b.astype(np.float32), steps.astype(np.float32)


def product_of(adapter: Matrices, scale: float) -> dict[str, NDArray[np.float32]]:
    """Place -> what a LoRA adapter adds to the matrix there, (outputs, inputs).

    Args:
        adapter: ``PLACE.lora_A`` of (rank, inputs) and ``PLACE.lora_B`` of (rank, outputs).
        scale: of the product.
    """
    return {
        name.removesuffix(".lora_A"): np.float32(scale) * (adapter[f"{name[:-1]}B"].T @ values)
        for name, values in adapter.items()
        if name.endswith(".lora_A")
    }


def shapes_of(tensors: Matrices) -> dict[str, tuple[int, ...]]:
    """Place -> the shape of the matrix there."""
    return {place: values.shape for place, values in tensors.items()}
