"""PPO beside its policy loss: generalised advantages, whitening, the clipped value loss."""

import math

import pytest
import torch
from test_objectives import column

from zephyr_utils import objectives

# one answer of three tokens, rewarded at its end
REWARDS = torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64)
VALUES = torch.tensor([[0.5, 0.6, 0.8]], dtype=torch.float64)


def advantages(rewards=REWARDS, values=VALUES, mask=None, **settings):
    return objectives.generalised_advantages(rewards, values, mask, **settings)


def test_advantages_of_a_short_answer_are_those_by_hand():
    """TD errors 0.1, 0.2, 0.2; with gamma 1 and lambda 1/2 each takes half of the one after it."""
    assert advantages(decay=0.5)[0].tolist() == pytest.approx([0.25, 0.3, 0.2])
    # gamma 1/2: errors -0.2, -0.2, 0.2, and a quarter of the one after it
    discounted = advantages(discount=0.5, decay=0.5)[0].tolist()
    assert discounted == pytest.approx([-0.2 + 0.25 * -0.15, -0.2 + 0.25 * 0.2, 0.2])


def test_lambda_1_gives_returns_minus_values_and_lambda_0_the_td_errors():
    generator = torch.Generator().manual_seed(0)
    rewards, values = torch.randn(2, 4, 6, generator=generator, dtype=torch.float64)
    gamma = 0.9
    returns, errors = torch.zeros_like(rewards), torch.zeros_like(rewards)
    for row in range(4):
        for t in range(6):
            returns[row, t] = sum(gamma ** (s - t) * rewards[row, s] for s in range(t, 6))
            after = values[row, t + 1] if t < 5 else 0.0
            errors[row, t] = rewards[row, t] + gamma * after - values[row, t]
    whole = advantages(rewards, values, discount=gamma, decay=1.0)
    assert torch.allclose(whole, returns - values)
    assert torch.allclose(advantages(rewards, values, discount=gamma, decay=0.0), errors)


def test_between_them_an_advantage_is_the_papers_weighted_sum_of_errors():
    """Equation 16, term by term."""
    errors = advantages(decay=0.0, discount=0.9)[0].tolist()
    for t, advantage in enumerate(advantages(decay=0.7, discount=0.9)[0].tolist()):
        terms = [(0.9 * 0.7) ** (s - t) * errors[s] for s in range(t, 3)]
        assert advantage == pytest.approx(sum(terms))


def test_without_a_critic_lambda_1_spreads_the_reward_over_the_answer():
    assert advantages(values=torch.zeros_like(VALUES), decay=1.0)[0].tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_changes_nothing_whatever_it_holds(side):
    padding = torch.full((1, 2), math.nan, dtype=torch.float64)
    inside = torch.ones(1, 3), torch.zeros(1, 2)
    order = slice(None) if side == "right" else slice(None, None, -1)
    rewards, values, mask = (
        torch.cat(parts[order], dim=1) for parts in ((REWARDS, padding), (VALUES, padding), inside)
    )
    padded = advantages(rewards, values, mask, decay=0.5)
    assert torch.equal(padded[mask.bool()], advantages(decay=0.5)[0])
    assert padded[~mask.bool()].tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rewards": torch.tensor([[0.0, math.nan, 1.0]])}, "1 of 3 rewards are NaN or infinite"),
        ({"values": torch.tensor([[0.0, math.inf, 1.0]])}, "1 of 3 values are NaN or infinite"),
        ({"values": torch.zeros(3, 1)}, r"unequal shapes: \(1, 3\) and \(3, 1\)"),
        ({"rewards": torch.zeros(3), "values": torch.zeros(3)}, r"must be \(batch, length\)"),
        ({"mask": torch.tensor([[1, 0, 1]])}, "has a gap"),
        ({"mask": torch.zeros(1, 3)}, "no token counts"),
        ({"discount": 1.5}, "discount must lie from 0 to 1, and is 1.5"),
        ({"decay": math.nan}, "decay must lie from 0 to 1"),
    ],
)
def test_advantages_refuse_what_they_cannot_be_made_of(change, message):
    with pytest.raises(ValueError, match=message):
        advantages(**change)


def test_whitened_advantages_have_mean_0_and_spread_1_over_what_counts():
    given = torch.tensor([[1.0, 2.0, math.nan], [6.0, -1.0, 0.5]])
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]])
    white = objectives.whitened(given, mask)
    counted = white[mask.bool()]
    assert counted.mean().item() == pytest.approx(0, abs=1e-6)
    assert counted.std(unbiased=False).item() == pytest.approx(1, abs=1e-6)
    assert white[0, 2] == 0
    assert white[1, 0] == white.max() and white[1, 1] == white.min()
    assert torch.allclose(objectives.whitened(10 * given + 3, mask), white, atol=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.1, -7.3, 1e6])
def test_equal_advantages_and_a_single_one_become_zero(value):
    for count in (1, 7):
        assert objectives.whitened(torch.full((count,), value)).tolist() == [0.0] * count


def test_small_differences_are_still_told_apart():
    assert objectives.whitened(column(1.0, 1.0001)).tolist() == pytest.approx([-1, 1], abs=1e-6)


def test_whitening_refuses_nan_and_an_empty_batch():
    with pytest.raises(ValueError, match="1 of 2 advantages are NaN"):
        objectives.whitened(column(math.nan, 1.0))
    with pytest.raises(ValueError, match="no token counts"):
        objectives.whitened(torch.zeros(0))


def test_the_value_loss_is_the_larger_of_both_squares_token_by_token():
    values, returns = column(0.1, 0.9, 0.9, -0.5), column(1.0, 1.0, 0.0, -1.0)
    # from an old value of 0, clipped to 0.1, 0.2, 0.2 and -0.2
    squares = [0.9**2, 0.8**2, 0.9**2, 0.8**2]
    loss = objectives.clipped_value_loss(values, torch.zeros(4).double(), returns, epsilon=0.2)
    assert loss.item() == pytest.approx(sum(squares) / 8)
    plain = objectives.clipped_value_loss(values, 0 * values, returns, epsilon=math.inf)
    assert plain.item() == pytest.approx((0.81 + 0.01 + 0.81 + 0.25) / 8)


def test_a_value_that_has_moved_far_enough_is_pulled_no_further():
    values = column(0.5, 0.5, 0.1).requires_grad_()
    returns = column(1.0, -1.0, 1.0)  # ahead of it, behind it, not moved far
    objectives.clipped_value_loss(values, column(0.0, 0.0, 0.0), returns, epsilon=0.2).backward()
    assert values.grad.tolist() == pytest.approx([0.0, 0.5, -0.3])  # (V - R) / 3


def test_masked_values_count_neither_in_the_loss_nor_in_its_gradient():
    values = torch.tensor([0.5, math.nan], requires_grad=True)
    returns, mask = torch.tensor([1.0, math.nan]), torch.tensor([1, 0])
    loss = objectives.clipped_value_loss(values, torch.tensor([0.5, 0.0]), returns, mask=mask)
    loss.backward()
    assert loss.item() == pytest.approx(0.125) and values.grad.tolist() == [-0.5, 0.0]


@pytest.mark.parametrize("place", ["values", "old values", "returns"])
def test_the_value_loss_refuses_what_is_not_finite_and_says_which(place):
    given = dict.fromkeys(("values", "old values", "returns"), column(0.0, 1.0))
    given[place] = column(math.nan, 1.0)
    with pytest.raises(ValueError, match=f"1 of 2 {place} are NaN"):
        objectives.clipped_value_loss(*given.values())


def test_ppo_on_two_actions_learns_the_better_one_and_its_value():
    """All parts together, on a choice that is rewarded by 1 and one that is not."""
    generator = torch.Generator().manual_seed(0)
    logits, value = torch.zeros(2, requires_grad=True), torch.zeros(1, requires_grad=True)
    optimiser = torch.optim.Adam([logits, value], lr=0.1)
    for _ in range(40):
        with torch.no_grad():
            log_probs = logits.log_softmax(0)
            actions = torch.multinomial(log_probs.exp(), 16, replacement=True, generator=generator)
            old, old_values = log_probs[actions], value.expand(16).clone()
            raw = advantages(actions.float()[:, None], old_values[:, None])[:, 0]
        for _ in range(2):
            policy_loss = objectives.clipped_policy_loss(
                logits.log_softmax(0)[actions], old, objectives.whitened(raw)
            )
            value_loss = objectives.clipped_value_loss(
                value.expand(16), old_values, raw + old_values
            )
            optimiser.zero_grad()
            (policy_loss + value_loss).backward()
            optimiser.step()
    assert logits.softmax(0)[1] > 0.9 and value.item() > 0.8
