"""Distillation of logits: a student learns the teacher's whole distribution over the next token."""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from zephyr_utils.objectives.inputs import require_finite, require_same_shape
from zephyr_utils.objectives.log_probs import IGNORE_INDEX

Divergence = Literal["forward", "reverse"]


def distillation_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    divergence: Divergence = "forward",
) -> Tensor:
    """The KL divergence between teacher and student, token by token, on given texts.

    - "forward": KL(teacher || student) = sum_v p_T(v) [log p_T(v) - log p_S(v)], the distillation
      of Hinton et al. (arXiv 1503.02531) at temperature 1; its gradient is that of the
      cross-entropy with the teacher's probabilities in place of one-hot labels.
    - "reverse": KL(student || teacher), the other way round, as MiniLLM (arXiv 2306.08543) and
      TRL's ``DistillationTrainer`` by default (beta = 1), on texts that the student sampled.

    TRL's generalised Jensen-Shannon divergence (GKD, arXiv 2306.13649) is these two at beta 0 and
    1.

    Args:
        student_logits, teacher_logits: (batch, length, vocabulary) on the same tokens, not shifted;
            pass the teacher's without gradient.
        labels: (batch, length), not shifted; ``IGNORE_INDEX`` where a token does not count (prompt,
            padding). Only where they are matters, not which tokens they are.
        divergence: which of the two.

    Returns:
        The mean over the tokens that count, in nats per token, 0-dimensional; 0 where both models
        say the same.

    Raises:
        ValueError: logits of unequal shapes (two tokenizers have two vocabularies), labels of
            another shape, no token that counts, a logit that is NaN or infinite, or another
            divergence.
    """
    if divergence not in ("forward", "reverse"):
        raise ValueError(f"there is no divergence {divergence!r}; choose forward or reverse")
    require_same_shape("logits of student and teacher", student_logits, teacher_logits)
    require_same_shape("logits (one score per position) and labels", student_logits[..., 0], labels)
    # position t scores token t + 1, so the last position scores nothing
    counts = F.pad(labels[:, 1:], (0, 1), value=IGNORE_INDEX) != IGNORE_INDEX
    if not counts.any():
        raise ValueError("the labels leave no token that counts")
    student, teacher = student_logits[counts].float(), teacher_logits[counts].float()
    require_finite("logits of the student", student)
    require_finite("logits of the teacher", teacher)
    ours, theirs = F.log_softmax(student, dim=-1), F.log_softmax(teacher, dim=-1)
    if divergence == "reverse":
        ours, theirs = theirs, ours
    return (theirs.exp() * (theirs - ours)).sum(dim=-1).mean()
