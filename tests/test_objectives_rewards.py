"""Losses of reward models, and the same on implicit rewards: closed forms, and TRL's trainer."""

import math

import pytest
import torch
from test_objectives import LN2, ON_CPU, PAIRS, column, sigmoid
from tiny import tiny_model, tiny_tokenizer

from zephyr_utils import chat, objectives

REWARDS = (column(2.0, -1.0, 0.5), column(0.5, 1.0, 0.5))  # differences 1.5, -2, 0
STRENGTH = column(1.0, 3.0, 2.0)


@pytest.mark.parametrize(
    ("kind", "terms"),
    [
        ("regular", [-math.log(sigmoid(d)) for d in (1.5, -2.0, 0.0)]),
        ("margin", [-math.log(sigmoid(d)) for d in (0.5, -5.0, -2.0)]),
        (
            "scaled",
            [-math.log(sigmoid(1.5)), -3 * math.log(sigmoid(-2.0)), -2 * math.log(sigmoid(0.0))],
        ),
    ],
)
def test_bradley_terry_losses_equal_their_formulas(kind, terms):
    strength = None if kind == "regular" else STRENGTH
    loss = objectives.bradley_terry_loss(*REWARDS, strength, kind)
    assert loss.item() == pytest.approx(sum(terms) / 3)


def test_scaled_is_the_regular_loss_of_pairs_that_stand_several_times_in_the_data():
    times = [0, 1, 1, 1, 2, 2]
    repeated = objectives.bradley_terry_loss(*(reward[times] for reward in REWARDS))
    scaled = objectives.bradley_terry_loss(*REWARDS, STRENGTH, "scaled")
    assert scaled.item() == pytest.approx(repeated.item() * 6 / 3)


def test_equal_rewards_cost_ln_2():
    assert objectives.bradley_terry_loss(column(3.0), column(3.0)).item() == pytest.approx(LN2)


def test_the_dpo_forms_are_the_same_losses_on_implicit_rewards():
    regular = objectives.bradley_terry_dpo_loss(*PAIRS, 0.5)
    assert torch.equal(regular, objectives.dpo_loss(*PAIRS, 0.5))
    strength = column(1.0, 3.0)  # margins 1.5 and -2
    margin = objectives.bradley_terry_dpo_loss(*PAIRS, 0.5, strength=strength, kind="margin")
    scaled = objectives.bradley_terry_dpo_loss(*PAIRS, 0.5, strength=strength, kind="scaled")
    log = [math.log(sigmoid(x)) for x in (0.5, -5.0, 1.5, -2.0)]
    assert margin.item() == pytest.approx(-(log[0] + log[1]) / 2)
    assert scaled.item() == pytest.approx(-(log[2] + 3 * log[3]) / 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((column(math.nan, 1.0), column(0.0, 0.0)), "1 of 2 rewards of chosen answers are NaN"),
        ((column(1.0), column(-math.inf)), "1 of 1 rewards of rejected answers"),
        ((column(1.0, 2.0), column(0.0)), "unequal shapes"),
        ((column(1.0), column(0.0), None, "margin"), "needs the strength"),
        ((column(1.0), column(0.0), column(1.0)), "takes no strength"),
        ((column(1.0), column(0.0), column(-1.0), "scaled"), "negative"),
        ((column(1.0), column(0.0), column(math.nan), "scaled"), "1 of 1 strengths are NaN"),
        ((column(1.0), column(0.0), column(1.0)[:, None], "margin"), "unequal shapes"),
        ((column(1.0), column(0.0), column(1.0), "soft"), "no kind 'soft'"),
    ],
)
def test_bradley_terry_losses_refuse_what_they_cannot_use(arguments, message):
    with pytest.raises(ValueError, match=message):
        objectives.bradley_terry_loss(*arguments)


def test_the_rating_loss_is_the_mean_squared_error():
    assert objectives.rating_loss(column(1.0, 4.0), column(3.0, 3.0)).item() == 2.5
    with pytest.raises(ValueError, match="unequal shapes"):
        objectives.rating_loss(column(1.0, 4.0), column(3.0))
    with pytest.raises(ValueError, match="1 of 2 ratings are NaN"):
        objectives.rating_loss(column(1.0, 4.0), column(3.0, math.nan))


@pytest.fixture(scope="module")
def reward_trainer(tmp_path_factory):
    """A real RewardTrainer on three pairs that know their strength."""
    from datasets import Dataset
    from transformers import AutoModelForSequenceClassification
    from trl import RewardConfig, RewardTrainer

    tokenizer = tiny_tokenizer()
    chat.prepare_tokenizer(tokenizer)
    config = tiny_model(seed=1).config
    config.num_labels = 1
    torch.manual_seed(1)
    model = AutoModelForSequenceClassification.from_config(config)
    rows = [
        {"chosen": f"Paris {n}", "rejected": "No idea, none", "margin": float(n)} for n in (1, 2, 3)
    ]
    return RewardTrainer(
        model,
        args=RewardConfig(
            output_dir=str(tmp_path_factory.mktemp("reward")),
            per_device_train_batch_size=3,
            **ON_CPU,
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )


@pytest.mark.parametrize("kind", ["regular", "margin"])
def test_bradley_terry_losses_equal_trls_reward_trainer(reward_trainer, kind):
    batch = dict(next(iter(reward_trainer.get_train_dataloader())))
    strength = batch["margin"]
    if kind == "regular":
        del batch["margin"]
    reward_trainer.model.eval()
    with torch.no_grad():
        theirs, outputs = reward_trainer.compute_loss(
            reward_trainer.model, batch, return_outputs=True
        )
    chosen, rejected = outputs.logits.squeeze(-1).chunk(2)
    assert (chosen - rejected).abs().min() > 0.01
    ours = objectives.bradley_terry_loss(
        chosen, rejected, strength if kind == "margin" else None, kind
    )
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)
