"""What a model says of texts: log-probabilities of sequences, and dSFT's token loss."""

import torch.nn.functional as F
from torch import Tensor

IGNORE_INDEX = -100  # the label that PyTorch's cross-entropy skips; transformers and TRL use it too


def sequence_log_probs(logits: Tensor, labels: Tensor, ignore_index: int = IGNORE_INDEX) -> Tensor:
    """Sum of the log-probabilities of each sequence's labelled tokens.

    Args:
        logits: (batch, length, vocabulary), the model's scores as they come out, not shifted.
        labels: (batch, length), token ids; ``ignore_index`` where a token does not count (prompt,
            padding).

    Returns:
        (batch,) sums in nats. The first token never counts: nothing is before it to predict it
            from.
    """
    return -_token_nll(logits, labels, ignore_index).sum(dim=-1)


def token_weighted_nll(
    logits: Tensor, labels: Tensor, ignore_index: int = IGNORE_INDEX
) -> tuple[Tensor, Tensor]:
    """The dSFT objective as a sum and a count, so that batches of unequal length add up exactly.

    Add the sums and the counts over a whole data set and divide once: a mean of per-batch means
    would weigh a token in a short batch more than one in a long batch, and would change with the
    batch size.

    Returns:
        (sum of negative log-likelihoods in nats, number of tokens that count), both 0-dimensional.
    """
    nll = _token_nll(logits, labels, ignore_index)
    return nll.sum(), (labels[:, 1:] != ignore_index).sum()


def _token_nll(logits: Tensor, labels: Tensor, ignore_index: int) -> Tensor:
    """(batch, length) negative log-likelihoods, 0 where the label is ignored and at the end."""
    # Position t predicts token t + 1, and the last position nothing. Labels are shifted, not
    # logits, for a slice of those would be copied; float32, as sums in bfloat16 lose digits.
    targets = F.pad(labels[:, 1:], (0, 1), value=ignore_index)
    nll = F.cross_entropy(
        logits.float().flatten(0, 1),  # (batch * length, vocabulary)
        targets.flatten().to(logits.device),
        ignore_index=ignore_index,
        reduction="none",
    )
    return nll.view(labels.shape)
