"""Distillation of logits and extrapolation of weights, each against its definition written out term
by term, and against TRL where it has it.
"""

import math

import pytest
import torch
from trl.experimental.gkd import GKDTrainer

from zephyr_utils import objectives

DRAW = torch.Generator().manual_seed(3)
STUDENT, TEACHER = torch.randn(2, 2, 5, 7, generator=DRAW, dtype=torch.float64)
# two tokens of a prompt; then answers of three tokens and of two, and padding
LABELS = torch.tensor([[-100, -100, 4, 1, 6], [-100, -100, 2, 6, -100]])


def written_out(first, second):
    """KL(first || second) of the distributions that two lists of scores give, one token at a
    time.
    """

    def chances(scores):
        total = sum(math.exp(score) for score in scores)
        return [math.exp(score) / total for score in scores]

    return sum(p * math.log(p / q) for p, q in zip(chances(first), chances(second), strict=True))


@pytest.mark.parametrize("divergence", ["forward", "reverse"])
def test_distillation_is_the_mean_kl_divergence_over_the_answers_tokens(divergence):
    kls = []
    for row, labels in enumerate(LABELS.tolist()):
        for place, label in enumerate(labels):
            if label != -100:  # scored by the position before it
                pair = TEACHER[row, place - 1].tolist(), STUDENT[row, place - 1].tolist()
                kls.append(written_out(*(pair if divergence == "forward" else pair[::-1])))
    loss = objectives.distillation_loss(STUDENT, TEACHER, LABELS, divergence)
    assert len(kls) == 5 and loss.item() == pytest.approx(sum(kls) / 5, rel=1e-5)


@pytest.mark.parametrize(("divergence", "beta"), [("forward", 0), ("reverse", 1)])
def test_distillation_is_trls_generalised_divergence_at_its_two_ends(divergence, beta):
    theirs = GKDTrainer.generalized_jsd_loss(
        STUDENT[:, :-1], TEACHER[:, :-1], LABELS[:, 1:], beta=beta
    )
    ours = objectives.distillation_loss(STUDENT, TEACHER, LABELS, divergence)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)


def test_equal_models_have_no_loss_and_the_gradient_is_that_of_soft_labels():
    assert objectives.distillation_loss(TEACHER, TEACHER, LABELS).item() == pytest.approx(0)
    student = STUDENT.clone().requires_grad_()
    objectives.distillation_loss(student, TEACHER, LABELS).backward()
    expected = (STUDENT.softmax(-1) - TEACHER.softmax(-1)) / 5
    counts = torch.tensor([[0, 1, 1, 1, 0], [0, 1, 1, 0, 0]], dtype=torch.bool)
    assert torch.allclose(student.grad[counts], expected[counts], atol=1e-6)
    assert not student.grad[~counts].any(), "neither prompt nor padding is learned from"


def test_a_teacher_that_is_certain_gives_the_loss_of_dsft():
    certain = torch.full_like(TEACHER, -1e4)
    certain[:, :-1].scatter_(2, LABELS[:, 1:].clamp_min(0).unsqueeze(2), 0.0)
    total, count = objectives.token_weighted_nll(STUDENT, LABELS)
    loss = objectives.distillation_loss(STUDENT, certain, LABELS)
    assert loss.item() == pytest.approx((total / count).item(), rel=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"teacher_logits": TEACHER[..., :6]}, r"\(2, 5, 7\) and \(2, 5, 6\)"),
        ({"labels": LABELS[:, :4]}, r"\(2, 5\) and \(2, 4\)"),
        ({"labels": torch.full_like(LABELS, -100)}, "no token that counts"),
        ({"teacher_logits": TEACHER * math.nan}, "35 of 35 logits of the teacher are NaN"),
        ({"student_logits": STUDENT * math.inf}, "logits of the student are NaN or infinite"),
        ({"divergence": "both"}, "choose forward or reverse"),
    ],
)
def test_distillation_refuses_what_it_cannot_compare(changes, message):
    given = {"student_logits": STUDENT, "teacher_logits": TEACHER, "labels": LABELS} | changes
    with pytest.raises(ValueError, match=message):
        objectives.distillation_loss(**given)


# --- extrapolation --------------------------------------------------------------------------------

START = {"a": torch.tensor([1.0, 2.0]), "steps": torch.tensor(3)}
END = {"a": torch.tensor([3.0, 1.0]), "steps": torch.tensor(9)}


@pytest.mark.parametrize(
    ("amount", "expected"),
    [(0.0, [3.0, 1.0]), (-1.0, [1.0, 2.0]), (-0.5, [2.0, 1.5]), (0.5, [4.0, 0.5])],
)
def test_extrapolation_goes_on_in_a_straight_line(amount, expected):
    made = objectives.extrapolate_weights(START, END, amount)
    assert made["a"].tolist() == expected
    assert made["steps"] == 9, "a counter is not a weight"
    assert START["a"].tolist() == [1.0, 2.0] and END["a"].tolist() == [3.0, 1.0]


def test_extrapolation_scales_an_adapter_and_keeps_the_dtype():
    draw = torch.Generator().manual_seed(0)
    base, down, up = (torch.randn(4, 4, generator=draw) for _ in range(3))
    start, end = {"w": base}, {"w": base + up @ down}
    made = objectives.extrapolate_weights(start, end, 0.25)["w"]
    assert torch.allclose(made, base + 1.25 * up @ down, atol=1e-5)
    half = {"w": base.bfloat16()}
    assert objectives.extrapolate_weights(half, half, 0.25)["w"].dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ({"a": START["a"]}, "1 weights are in one state dict only, steps among them"),
        ({**START, "a": torch.zeros(3)}, r"a is \(3,\) before the training and \(2,\) after it"),
    ],
)
def test_extrapolation_refuses_two_models(start, message):
    with pytest.raises(ValueError, match=message):
        objectives.extrapolate_weights(start, END, 0.1)
