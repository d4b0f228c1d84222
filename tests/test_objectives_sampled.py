"""SPPO, SELM, RLOO and PPO: closed forms, the papers' equations written out term by term, and TRL
where it has them.
"""

import math

import pytest
import torch
from test_objectives import ON_CPU, PAIRS, column, sigmoid
from tiny import tiny_model, tiny_tokenizer

from zephyr_utils import chat, objectives

# log-ratios (+1, -3) of the chosen answers, (-2, +1) of the rejected ones
CHOSEN = PAIRS.policy_chosen - PAIRS.reference_chosen
REJECTED = PAIRS.policy_rejected - PAIRS.reference_rejected
SCORES = torch.tensor([[1.0, 4.0, 2.5, 9.0, 1.0], [3.0, 3.0, 3.0, 3.0, 3.0]], dtype=torch.float64)


# --- win rates and SPPO ---------------------------------------------------------------------------


def test_win_rates_are_the_mean_chance_of_beating_each_sample_of_the_prompt():
    """Equation 4.6, one comparison at a time."""
    rates = objectives.win_rates(SCORES, temperature=2.0)
    for prompt, scores in enumerate(SCORES.tolist()):
        for i, score in enumerate(scores):
            chances = [sigmoid((score - other) / 2.0) for other in scores]
            assert rates[prompt, i].item() == pytest.approx(sum(chances) / len(scores))


def test_win_rates_of_a_prompt_sum_to_half_of_k_and_follow_the_scores():
    rates = objectives.win_rates(SCORES, temperature=0.7)
    assert rates.sum(dim=1).tolist() == pytest.approx([2.5, 2.5])
    assert rates[1].tolist() == pytest.approx([0.5] * 5)
    assert rates[0].argmax() == 3 and rates[0, 0] == rates[0, 4] == rates[0].min()
    whole_grades = objectives.win_rates(torch.tensor([[1, 3]]), temperature=2.0)
    expected = [(0.5 + sigmoid(-1)) / 2, (0.5 + sigmoid(1)) / 2]
    assert whole_grades.tolist()[0] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("scores", "temperature", "message"),
    [
        (torch.ones(3, 1), 1.0, r"\(3, 1\): one answer has no others"),
        (torch.ones(3), 1.0, r"must be \(prompts, k\)"),
        (torch.tensor([[1.0, math.nan]]), 1.0, "1 of 2 scores are NaN"),
        (torch.tensor([[1.0, math.inf]]), 1.0, "1 of 2 scores are NaN or infinite"),
        (torch.ones(1, 2), 0.0, "temperature must be above 0"),
        (torch.ones(1, 2), math.nan, "temperature must be above 0"),
    ],
)
def test_win_rates_refuse_what_cannot_be_compared(scores, temperature, message):
    with pytest.raises(ValueError, match=message):
        objectives.win_rates(scores, temperature)


def test_sppo_is_the_papers_regression_on_win_rates():
    """Equation 4.7 over the answers of each pair, one square at a time."""
    eta, chosen_rates, rejected_rates = 8.0, [0.9, 0.6], [0.2, 0.55]
    squares = [
        (h - eta * (rate - 0.5)) ** 2 for h, rate in [(1, 0.9), (-2, 0.2), (-3, 0.6), (1, 0.55)]
    ]
    loss = objectives.sppo_loss(
        CHOSEN, REJECTED, column(*chosen_rates), column(*rejected_rates), eta
    )
    assert loss.item() == pytest.approx(sum(squares) / 4)


def test_sppo_at_the_last_rounds_policy_is_the_size_of_its_targets():
    zero, eta = column(0.0), 1000.0
    loss = objectives.sppo_loss(zero, zero, column(0.8), column(0.3), eta)
    assert loss.item() == pytest.approx(0.5 * eta**2 * (0.3**2 + 0.2**2))


def test_a_tie_pulls_an_unmoved_policy_nowhere_and_a_win_by_eta_times_its_excess():
    h = column(0.0, 0.0).requires_grad_()
    half = column(0.5, 0.5)
    objectives.sppo_loss(h, column(0.0, 0.0), column(0.5, 0.8), half, 10.0).backward()
    assert h.grad.tolist() == pytest.approx([0.0, -10 * 0.3 / 2])  # the mean over two pairs


def test_sppo_with_labels_is_half_of_trls_sppo_hard():
    """test_objectives.py holds sppo_hard against TRL itself."""
    ones, beta = torch.ones_like(CHOSEN), 0.1
    ours = objectives.sppo_loss(CHOSEN, REJECTED, ones, 0 * ones, 1 / beta)
    assert ours.item() == pytest.approx(objectives.sppo_hard_loss(*PAIRS, beta).item() / 2)


@pytest.mark.parametrize("rate", [1.2, -0.1, math.nan])
def test_sppo_refuses_win_rates_that_are_not_probabilities(rate):
    with pytest.raises(ValueError, match="win rates"):
        objectives.sppo_loss(CHOSEN, REJECTED, column(0.9, rate), column(0.2, 0.4), 10.0)


def test_sppo_refuses_shapes_that_would_broadcast():
    with pytest.raises(ValueError, match=r"unequal shapes: \(2,\) and \(2,\) and \(2, 1\)"):
        objectives.sppo_loss(CHOSEN, REJECTED, column(0.9, 0.8)[:, None], column(0.2, 0.4), 1.0)


# --- SELM -----------------------------------------------------------------------------------------


def selm_gradients(alpha):
    """The loss and its gradient by each of its inputs that comes from the model in training."""
    chosen, rejected, sampled = (
        tensor.clone().requires_grad_()
        for tensor in (PAIRS.policy_chosen, PAIRS.policy_rejected, column(0.4, -1.5))
    )
    pair = PAIRS._replace(policy_chosen=chosen, policy_rejected=rejected)
    loss = objectives.selm_loss(*pair, 0.3, sampled_logratios=sampled, alpha=alpha)
    loss.backward()
    return loss.detach(), chosen.grad, rejected.grad, sampled.grad


def test_selm_without_its_term_is_dpo_bit_for_bit():
    loss, chosen_gradient, rejected_gradient, sampled_gradient = selm_gradients(alpha=0.0)
    assert torch.equal(loss, objectives.dpo_loss(*PAIRS, 0.3))
    assert sampled_gradient.tolist() == [0.0, 0.0]
    weight = objectives.dpo_gradient_weight(objectives.reward_margin(*PAIRS, 0.3))
    assert torch.allclose(chosen_gradient, -0.3 * weight / 2)
    assert torch.equal(rejected_gradient, -chosen_gradient)


def test_selms_term_pulls_every_sampled_answer_down_by_alpha_beta():
    loss, chosen_gradient, _, sampled_gradient = selm_gradients(alpha=0.01)
    assert sampled_gradient.tolist() == pytest.approx([0.01 * 0.3 / 2] * 2)  # the mean over two
    assert torch.equal(chosen_gradient, selm_gradients(alpha=0.0)[1])
    # equation 4.2, pair by pair: margins 0.9 and -1.2
    terms = [-math.log(sigmoid(0.9)) + 0.003 * 0.4, -math.log(sigmoid(-1.2)) + 0.003 * -1.5]
    assert loss.item() == pytest.approx(sum(terms) / 2)


def test_selm_refuses_samples_that_would_broadcast():
    with pytest.raises(ValueError, match="chosen and sampled of unequal shapes"):
        objectives.selm_loss(*PAIRS, 0.3, sampled_logratios=column(0.0), alpha=0.1)


# --- RLOO, PPO and KL -----------------------------------------------------------------------------


def test_an_rloo_advantage_is_the_reward_less_the_mean_of_the_others():
    """Written out sample by sample, as the paper has it."""
    advantages = objectives.rloo_advantages(SCORES)
    for prompt, rewards in enumerate(SCORES.tolist()):
        for i, reward in enumerate(rewards):
            others = rewards[:i] + rewards[i + 1 :]
            expected = reward - sum(others) / len(others)
            assert advantages[prompt, i].item() == pytest.approx(expected)
    assert advantages.sum(dim=1).tolist() == pytest.approx([0.0, 0.0], abs=1e-12)
    assert advantages[1].tolist() == [0.0] * 5


def test_rloo_takes_a_judges_whole_grades():
    assert objectives.rloo_advantages(torch.tensor([[10, 1, 1]])).tolist() == [[9.0, -4.5, -4.5]]


def test_rloo_refuses_one_answer_per_prompt_and_rewards_that_are_missing():
    with pytest.raises(ValueError, match="at least 2 answers to each prompt"):
        objectives.rloo_advantages(torch.ones(4, 1))
    with pytest.raises(ValueError, match="2 of 4 rewards are NaN or infinite"):
        objectives.rloo_advantages(torch.tensor([[1.0, math.nan], [math.inf, 2.0]]))


def test_the_clipped_loss_is_ppos_equation_sample_by_sample():
    ratios, advantages = [0.5, 0.9, 1.1, 1.5, 0.5, 1.5], [1.0, 1.0, 1.0, 1.0, -1.0, -2.0]
    expected = [0.5, 0.9, 1.1, 1.2, -0.8, -3.0]  # min(rho A, clip(rho, 0.8, 1.2) A)
    loss = objectives.clipped_policy_loss(
        column(*ratios).log() - 7, column(*[-7.0] * 6), column(*advantages), epsilon=0.2
    )
    assert loss.item() == pytest.approx(-sum(expected) / 6)


def test_the_clip_stops_the_gradient_only_in_the_direction_of_the_advantage():
    log_probs = column(0.5, 0.5, -0.5, -0.5).requires_grad_()
    objectives.clipped_policy_loss(
        log_probs, column(0.0, 0.0, 0.0, 0.0), column(1.0, -1.0, 1.0, -1.0)
    ).backward()
    e = math.exp(0.5)
    assert log_probs.grad.tolist() == pytest.approx([0.0, e / 4, -1 / e / 4, 0.0])


def test_at_the_policy_that_sampled_the_clipped_gradient_is_reinforces():
    log_probs = column(-3.0, -1.0).requires_grad_()
    objectives.clipped_policy_loss(log_probs, log_probs.detach(), column(2.0, -4.0)).backward()
    assert log_probs.grad.tolist() == [-1.0, 2.0]  # -A / batch


def test_masked_tokens_count_neither_in_the_loss_nor_in_its_gradient():
    log_probs = torch.tensor([[-1.0, -2.0], [-1.5, -math.inf]], requires_grad=True)
    old = torch.tensor([[-1.0, -1.0], [-1.0, 0.0]])
    advantages = torch.tensor([[1.0, 1.0], [-1.0, math.nan]])
    mask = torch.tensor([[1, 1], [1, 0]])
    loss = objectives.clipped_policy_loss(log_probs, old, advantages, mask=mask)
    assert loss.item() == pytest.approx(-(1 + math.exp(-1) - 0.8) / 3)
    loss.backward()
    assert log_probs.grad[1, 1] == 0 and torch.isfinite(log_probs.grad).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"log_probs": column(1000.0, 0.0)}, "1 of 2 probability ratios"),
        ({"advantages": column(math.nan, 0.0)}, "1 of 2 advantages"),
        ({"advantages": column(0.0)}, "unequal shapes"),
        ({"mask": torch.tensor([0, 0])}, "no token that counts"),
    ],
)
def test_the_clipped_loss_refuses_what_would_give_nan(change, message):
    zeros = column(0.0, 0.0)
    arguments = {"log_probs": zeros, "old_log_probs": zeros, "advantages": zeros} | change
    with pytest.raises(ValueError, match=message):
        objectives.clipped_policy_loss(**arguments)


def test_both_kl_estimators_have_the_divergence_as_their_mean():
    policy = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64)
    reference = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
    exact = (policy * (policy / reference).log()).sum().item()
    for kind in ("k1", "k3"):
        estimates = objectives.kl_estimate(policy.log(), reference.log(), kind)
        assert (policy * estimates).sum().item() == pytest.approx(exact)
    assert objectives.kl_estimate(policy.log(), reference.log(), "k1").min() < 0
    assert objectives.kl_estimate(policy.log(), reference.log(), "k3").min() >= 0
    assert objectives.kl_estimate(policy.log(), policy.log(), "k3").abs().max() == 0
    with pytest.raises(ValueError, match="no estimator 'k2'"):
        objectives.kl_estimate(policy, policy, "k2")


# --- against TRL ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rloo(tmp_path_factory):
    """A real RLOOTrainer, the rewards it was given, and what it made of one batch."""
    from datasets import Dataset
    from trl import RLOOConfig, RLOOTrainer

    given = []

    def reward(completions, **_):
        rewards = [0.1 * (7 * i % 5) + 0.01 * len(text) for i, text in enumerate(completions)]
        given.extend(rewards)
        return rewards

    tokenizer = tiny_tokenizer()
    chat.prepare_tokenizer(tokenizer)
    model = tiny_model(seed=1)
    trainer = RLOOTrainer(
        model,
        reward,
        args=RLOOConfig(
            output_dir=str(tmp_path_factory.mktemp("rloo")),
            per_device_train_batch_size=8,
            num_generations=4,
            max_completion_length=8,
            beta=0.0,
            **ON_CPU,
        ),
        train_dataset=Dataset.from_list([{"prompt": "What is"}, {"prompt": "Happy"}]),
        processing_class=tokenizer,
    )
    trainer.model.train()
    batch = trainer._generate_and_score_completions(next(iter(trainer.get_train_dataloader())))
    return trainer, given, batch


def test_rloo_advantages_equal_trls(rloo):
    _, given, batch = rloo
    ours = objectives.rloo_advantages(torch.tensor(given).view(2, 4)).flatten()
    assert ours.abs().min() > 1e-3
    assert torch.allclose(ours, batch["advantages"], atol=1e-5)


def test_the_clipped_loss_of_whole_answers_equals_trls_rloo(rloo):
    trainer, _, batch = rloo
    with torch.no_grad():
        first = trainer.model.lm_head.weight[0].clone()
        trainer.model.lm_head.weight[0] += 0.02  # so that the ratios are not 1
        theirs = trainer._compute_loss(trainer.model, dict(batch))
        ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
        mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
        answers = batch["completion_mask"].bool()
        labels = ids.masked_fill(
            ~torch.cat([torch.zeros_like(batch["prompt_mask"]).bool(), answers], dim=1), -100
        )
        logits = trainer.model(input_ids=ids, attention_mask=mask).logits
        trainer.model.lm_head.weight[0] = first
    log_probs = objectives.sequence_log_probs(logits, labels)
    ours = objectives.clipped_policy_loss(log_probs, batch["old_logps"], batch["advantages"])
    assert (log_probs - batch["old_logps"]).abs().max() > 1e-3
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5, abs=1e-5)
