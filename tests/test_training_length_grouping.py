"""Rows grouped by length come in an order that seed and epoch give, and nothing else."""

import pytest
import torch

from zephyr_utils.data.schema import check_dialogue
from zephyr_utils.miniature import BASE_FOLDER, data
from zephyr_utils.preferences import binarize
from zephyr_utils.scales import get_scale
from zephyr_utils.training import stages
from zephyr_utils.training.length_grouping import ReproducibleLengthSampler

LENGTHS = [(7 * n) % 97 + 3 for n in range(400)]


def order(seed=0, epoch=0, rows=8):
    return list(ReproducibleLengthSampler(rows, LENGTHS, seed, lambda: epoch))


def test_each_row_comes_once_and_an_updates_rows_are_of_about_one_length():
    assert sorted(order()) == list(range(400))
    spread = [max(lengths) - min(lengths) for lengths in updates(order())]
    by_chance = [max(lengths) - min(lengths) for lengths in updates(range(400))]
    assert sum(spread) < sum(by_chance) / 3


def test_the_length_of_a_steps_rows_says_nothing_about_when_it_comes():
    correlations = []
    for seed in range(20):
        longest = [max(lengths) for lengths in updates(order(seed))[1:]]
        within = torch.arange(len(longest)) % 12  # 400 rows: groups of 12 steps
        correlations.append(torch.corrcoef(torch.stack([within, torch.tensor(longest)]))[0, 1])
    assert abs(float(torch.stack(correlations).mean())) < 0.1  # sorted groups: about -1


def test_the_longest_row_comes_in_the_first_step_and_the_rows_left_over_in_the_last():
    for rows in (8, 7):
        lengths = updates(order(seed=3, rows=rows), rows)
        assert max(lengths[0]) == max(LENGTHS)
        assert [len(step) for step in lengths[:-1]] == [rows] * (400 // rows - (400 % rows == 0))
    assert sorted(order(rows=1000)) == list(range(400)), "fewer rows than a step takes"


def updates(rows, count=8):
    lengths = [LENGTHS[row] for row in rows]
    return [lengths[i : i + count] for i in range(0, len(lengths), count)]


def test_the_order_is_another_in_each_epoch_and_with_each_seed_and_else_the_same():
    torch.manual_seed(1)
    first = order()
    torch.manual_seed(2)
    assert order() == first
    assert order(epoch=1) != first and order(seed=5) != first


@pytest.mark.parametrize("stage", ["dsft", "ddpo"])
def test_both_trainers_order_their_rows_so_and_ask_for_the_epoch_when_it_begins(
    stage, tmp_path, monkeypatch
):
    made = []

    def caught(trainer, output):
        made.append(trainer)
        raise KeyboardInterrupt

    monkeypatch.setattr(stages, "train_and_log", caught)
    recipe = get_scale("miniature").recipe(stage, seed=7)
    with pytest.raises(KeyboardInterrupt):
        if stage == "dsft":
            rows = [check_dialogue(row) for row in data.dialogues(60)]
            stages.dsft(BASE_FOLDER, rows[:50], rows[50:], tmp_path, recipe)
        else:
            stages.ddpo(BASE_FOLDER, binarize(data.feedback(60)).pairs, tmp_path, recipe)
    sampler = made[0]._get_train_sampler()
    assert isinstance(sampler, ReproducibleLengthSampler) and sampler.seed == 7
    assert list(made[0]._get_eval_sampler(made[0].train_dataset.select(range(9)))) == list(range(9))
    assert sampler.batch_size == recipe["per_device_train_batch_size"]
    first = list(sampler)
    made[0].state.epoch = 1.25  # as a checkpoint in the second epoch has it
    assert list(sampler) != first
    made[0].state.epoch = 0
    assert list(sampler) == first
