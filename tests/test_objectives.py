"""The losses against their closed forms, arithmetic by hand, and TRL's own trainer."""

import inspect
import math

import pytest
import torch
from tiny import tiny_model, tiny_tokenizer

from zephyr_utils import chat, objectives

LN2 = math.log(2)
ON_CPU = {  # settings of TRL's trainers here
    "bf16": False,
    "use_cpu": True,
    "gradient_checkpointing": False,
    "report_to": "none",
    "disable_tqdm": True,
}


def column(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


# log-ratios +1 and -2, then -3 and +1
PAIRS = objectives.PairLogProbs(
    policy_chosen=column(-9.0, -23.0),
    policy_rejected=column(-14.0, -11.0),
    reference_chosen=column(-10.0, -20.0),
    reference_rejected=column(-12.0, -12.0),
)


def test_sequence_log_probs_shift_and_skip_ignored_labels():
    logits = torch.zeros(2, 4, 5)  # uniform over 5 tokens
    labels = torch.tensor([[1, 2, 3, 4], [-100, -100, 3, -100]])
    # the first token is never predicted: 3 and 1 tokens count
    assert torch.allclose(
        objectives.sequence_log_probs(logits, labels), torch.tensor([-3.0, -1.0]) * math.log(5)
    )


def test_sequence_log_probs_read_position_t_for_token_t_plus_one():
    logits = torch.zeros(1, 3, 4)
    logits[0, 0, 2] = 100.0  # after token 0 the model is sure of a 2
    right = objectives.sequence_log_probs(logits, torch.tensor([[1, 2, -100]]))
    wrong = objectives.sequence_log_probs(logits, torch.tensor([[2, 1, -100]]))
    assert right.item() == pytest.approx(0.0, abs=1e-6)
    assert wrong.item() == pytest.approx(-100.0, abs=1e-3)


def test_sequence_log_probs_of_half_precision_scores_are_summed_in_full():
    logits = torch.zeros(1, 1001, 7, dtype=torch.bfloat16)
    labels = torch.ones(1, 1001, dtype=torch.long)
    assert objectives.sequence_log_probs(logits, labels).item() == pytest.approx(
        -1000 * math.log(7), rel=1e-6
    )


def test_token_weighted_nll_does_not_depend_on_the_batching():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 9, 11, generator=generator)
    labels = torch.randint(0, 11, (6, 9), generator=generator)
    for row, length in enumerate([9, 2, 5, 3, 9, 4]):
        labels[row, length:] = -100
    whole_sum, whole_count = objectives.token_weighted_nll(logits, labels)
    parts = [objectives.token_weighted_nll(logits[n : n + 2], labels[n : n + 2]) for n in (0, 2, 4)]
    assert sum(part[1] for part in parts) == whole_count == 26
    assert torch.allclose(sum(part[0] for part in parts), whole_sum)
    mean_of_means = sum(part[0] / part[1] for part in parts) / 3
    assert not torch.allclose(mean_of_means, whole_sum / whole_count, atol=1e-3)


def test_dpo_loss_is_ln_2_when_the_policy_is_the_reference():
    same = PAIRS._replace(
        reference_chosen=PAIRS.policy_chosen, reference_rejected=PAIRS.policy_rejected
    )
    assert objectives.dpo_loss(*same, beta=0.1).item() == pytest.approx(LN2)


@pytest.mark.parametrize("beta", [0.01, 0.1, 1.0, 5.0])
def test_dpo_loss_equals_its_closed_form(beta):
    # margins +3 beta and -4 beta
    expected = [math.log1p(math.exp(-3 * beta)), math.log1p(math.exp(4 * beta))]
    assert objectives.dpo_losses(*PAIRS, beta).tolist() == pytest.approx(expected)
    assert objectives.dpo_loss(*PAIRS, beta).item() == pytest.approx(sum(expected) / 2)


def test_dpo_loss_stays_finite_at_enormous_margins():
    pairs = (column(-1e5), column(0.0), column(0.0), column(-1e5))
    assert objectives.dpo_loss(*pairs, beta=1.0).item() == pytest.approx(2e5)


def test_implicit_rewards_and_margins_are_beta_times_the_log_ratios():
    assert objectives.implicit_reward(
        PAIRS.policy_chosen, PAIRS.reference_chosen, 0.5
    ).tolist() == [0.5, -1.5]
    assert objectives.reward_margin(*PAIRS, 0.5).tolist() == [1.5, -2.0]


def test_the_gradient_weight_is_the_one_that_autograd_finds():
    chosen = PAIRS.policy_chosen.clone().requires_grad_()
    rejected = PAIRS.policy_rejected.clone().requires_grad_()
    pair = PAIRS._replace(policy_chosen=chosen, policy_rejected=rejected)
    objectives.dpo_losses(*pair, 0.3).sum().backward()
    weight = objectives.dpo_gradient_weight(objectives.reward_margin(*PAIRS, 0.3))
    assert torch.allclose(chosen.grad, -0.3 * weight)
    assert torch.allclose(rejected.grad, 0.3 * weight)
    assert weight[1] > 0.5 > weight[0]  # the pair ranked the wrong way round pulls harder


def test_shapes_that_would_broadcast_are_refused():
    chosen, rejected, *references = PAIRS
    with pytest.raises(ValueError, match="unequal shapes"):
        objectives.dpo_loss(chosen[:, None], rejected[:, None], *references, 0.1)
    with pytest.raises(ValueError, match="unequal shapes"):
        objectives.dpo_loss(chosen[:1], rejected, references[0][:1], references[1], 0.1)


LENGTHS = {"chosen_lengths": column(2.0, 4.0), "rejected_lengths": column(5.0, 3.0)}


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


CLOSED_FORMS = {
    # with beta 0.5: rewards (+0.5, -1.0) and (-1.5, +0.5), margins +1.5 and -2
    "sigmoid": lambda m, w, lo: -math.log(sigmoid(m)),
    "conservative": lambda m, w, lo: -0.9 * math.log(sigmoid(m)) - 0.1 * math.log(sigmoid(-m)),
    "robust": lambda m, w, lo: (-0.9 * math.log(sigmoid(m)) + 0.1 * math.log(sigmoid(-m))) / 0.8,
    "hinge": lambda m, w, lo: max(0, 1 - m),
    "exo_pair": lambda m, w, lo: (
        sigmoid(m) * math.log(sigmoid(m) / 0.999) + sigmoid(-m) * math.log(sigmoid(-m) / 0.001)
    ),
    "nca_pair": lambda m, w, lo: (
        -math.log(sigmoid(w)) - 0.5 * math.log(sigmoid(-w)) - 0.5 * math.log(sigmoid(-lo))
    ),
    "sppo_hard": lambda m, w, lo: (2 * w - 1) ** 2 + (2 * lo + 1) ** 2,
    "apo_zero": lambda m, w, lo: 1 - sigmoid(w) + sigmoid(lo),
    "apo_down": lambda m, w, lo: sigmoid(w) + 1 - sigmoid(m),
}


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_each_relative_equals_its_formula_worked_out_by_hand(name):
    form = CLOSED_FORMS[name]
    expected = (form(1.5, 0.5, -1.0) + form(-2.0, -1.5, 0.5)) / 2
    assert objectives.LOSSES[name](*PAIRS, 0.5).item() == pytest.approx(expected)


def test_the_length_normalised_relatives_divide_each_log_ratio_by_its_own_length():
    deltas = [1 / 2 + 2 / 5, -3 / 4 - 1 / 3]
    ipo = sum((d - 1) ** 2 for d in deltas) / 2
    norm = sum(-math.log(sigmoid(0.5 * d)) for d in deltas) / 2
    assert objectives.ipo_loss(*PAIRS, 0.5, **LENGTHS).item() == pytest.approx(ipo)
    assert objectives.sigmoid_norm_loss(*PAIRS, 0.5, **LENGTHS).item() == pytest.approx(norm)


def test_the_conservative_loss_is_lowest_at_a_finite_margin():
    def loss(margin):
        zero = column(0.0)
        return objectives.conservative_loss(
            column(margin), zero, zero, zero, 1.0, label_smoothing=0.2
        ).item()

    best = math.log(0.8 / 0.2)
    assert loss(best) < min(loss(best - 0.1), loss(best + 0.1))


def test_the_robust_loss_is_unbiased_under_flipped_labels():
    chosen, rejected, ref_chosen, ref_rejected = PAIRS
    clean = objectives.dpo_loss(*PAIRS, 0.5)
    right = objectives.robust_loss(*PAIRS, 0.5, label_smoothing=0.2)
    flipped = objectives.robust_loss(
        rejected, chosen, ref_rejected, ref_chosen, 0.5, label_smoothing=0.2
    )
    assert (0.8 * right + 0.2 * flipped).item() == pytest.approx(clean.item())


# --- against TRL ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trl_batch(tmp_path_factory):
    """A real DPOTrainer, one of its batches, and the four log-probabilities that we compute
    ourselves.
    """
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    tokenizer = tiny_tokenizer()
    chat.prepare_tokenizer(tokenizer)
    answers = [
        ("Paris.", "It is nine, I think."),
        ("Happy to help! Nine.", "No."),
        ("Nine", "Ten"),
        ("a b c", "c"),
    ]
    rows = [
        {
            "prompt": [{"role": "user", "content": f"Question {n}?"}],
            "chosen": [{"role": "assistant", "content": chosen}],
            "rejected": [{"role": "assistant", "content": rejected}],
        }
        for n, (chosen, rejected) in enumerate(answers)
    ]
    policy, reference = tiny_model(seed=1), tiny_model(seed=2)
    trainer = DPOTrainer(
        policy,
        reference,
        args=DPOConfig(
            output_dir=str(tmp_path_factory.mktemp("dpo")),
            per_device_train_batch_size=4,
            beta=0.3,
            **ON_CPU,
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )
    batch = next(iter(trainer.get_train_dataloader()))
    labels = batch["input_ids"].masked_fill(batch["completion_mask"] == 0, -100)
    log_probs = []
    # a new copy: TRL replaces the forward of its own
    for model in (tiny_model(seed=1), tiny_model(seed=2)):
        with torch.no_grad():
            logits = model(
                input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
            ).logits
        log_probs += objectives.sequence_log_probs(logits, labels).chunk(2)
    lengths = batch["completion_mask"].sum(dim=1).chunk(2)
    return trainer, batch, objectives.PairLogProbs(*log_probs), lengths


@pytest.mark.parametrize("name", [name for name in objectives.LOSSES if name != "conservative"])
def test_each_loss_equals_trl_on_the_same_batch(trl_batch, name):
    trainer, batch, log_probs, (chosen_lengths, rejected_lengths) = trl_batch
    smoothing = {"robust": 0.1, "exo_pair": 1e-3}.get(name, 0.0)
    trainer.loss_types, trainer.label_smoothing = [name], smoothing
    with torch.no_grad():
        theirs = trainer.compute_loss(trainer.model, dict(batch))
    lengths = {"chosen_lengths": chosen_lengths, "rejected_lengths": rejected_lengths}
    ours = objectives.LOSSES[name](
        *log_probs, 0.3, **(lengths if name in ("ipo", "sigmoid_norm") else {})
    )
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5, abs=1e-5)


def test_the_batch_held_against_trl_is_not_a_trivial_one(trl_batch):
    _, _, log_probs, (chosen_lengths, rejected_lengths) = trl_batch
    assert objectives.reward_margin(*log_probs, 0.3).abs().min() > 0.1
    assert (chosen_lengths != rejected_lengths).any()


def test_our_log_probabilities_are_those_trl_reports(trl_batch):
    trainer, batch, log_probs, _ = trl_batch
    trainer.loss_types, trainer.label_smoothing = ["sigmoid"], 0.0
    trainer._metrics["eval"].clear()
    trainer.model.eval()
    with torch.no_grad():
        trainer.compute_loss(trainer.model, dict(batch))
    reported = trainer._metrics["eval"]
    assert reported["logps/chosen"][0] == pytest.approx(
        log_probs.policy_chosen.mean().item(), rel=1e-5
    )
    assert reported["rewards/margins"][0] == pytest.approx(
        objectives.reward_margin(*log_probs, 0.3).mean().item(), rel=1e-5
    )


def test_the_four_log_probabilities_stand_in_the_order_of_every_losss_arguments():
    for loss in (*objectives.LOSSES.values(), objectives.dpo_losses, objectives.reward_margin):
        names = tuple(inspect.signature(loss).parameters)
        assert names[:5] == (*objectives.PairLogProbs._fields, "beta")
