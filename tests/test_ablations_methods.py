"""The methods that followed Zephyr as rows: what each is made with, and what is claimed of them."""

import json

import pytest

from zephyr_utils.ablations.methods import catalogue, claims, comparisons, replication
from zephyr_utils.ablations.tables import methods_table
from zephyr_utils.errors import HandbookError
from zephyr_utils.pipeline.pipeline import Pipeline

EXAM = {"score": 5.0, "right": 0.5, "ended": 1.0, "tokens": 12.0, "questions": ["iIiI", "IiIi"]}


def one_replication(accuracy):
    return {
        name: {"accuracy": accuracy[name]} if row.kind == "reward" else {"exam": EXAM, "kl": 1.25}
        for name, row in catalogue.METHODS.items()
    }


def test_every_claim_is_judged_on_what_a_replication_measures():
    better = {"reward": 0.80, "reward_scaled": 0.82, "reward_rated": 0.82}
    measured = {seed: one_replication(better) for seed in (0, 1)}
    found = {result.claim.key: result for result in claims.judge_methods(measured)}
    assert len(found) == len(claims.METHOD_CLAIMS) >= 12
    assert found["scaled_ranks_better"].verdict == "holds"
    assert found["scaled_ranks_better"].interval.estimate == pytest.approx(0.02)
    assert found["self_play_adds"].verdict == "equivalent"
    assert not {"not measured"} & {result.verdict for result in found.values()}
    json.dumps([result.as_record() for result in found.values()])


def test_rows_that_a_row_rests_on_come_before_it_and_every_training_exists():
    seen = set()
    for name, row in catalogue.METHODS.items():
        assert not row.needs or row.needs in seen, name
        assert row.kind != "loop" or callable(getattr(comparisons, row.trains)), name
        seen.add(name)


def test_a_scale_without_searched_settings_says_what_searches_them():
    with pytest.raises(HandbookError, match="no settings for `stopped`") as refused:
        catalogue.settings_of("smol", "stopped")
    assert "search the stage `regular`" in str(refused.value)
    with pytest.raises(HandbookError, match="there is no method `spin`"):
        catalogue.settings_of("miniature", "spin")


def test_the_table_has_the_distance_from_dsft_and_leaves_reward_models_out():
    measured = {seed: one_replication(dict.fromkeys(catalogue.METHODS, 0.8)) for seed in (0, 1)}
    lines = methods_table(measured, {"rloo": "RLOO", "reward": "reward model"}).splitlines()
    assert lines[2:] == [
        "| RLOO | 5.00 [5.00, 5.00] | 50.0 [50.0, 50.0] | 12.0 | 100 % | 1.25 | 2 |"
    ]
    for rows in measured.values():
        rows["rloo"]["kl"] = -0.001  # an estimate of nothing
    assert "| 0.00 | 2 |" in methods_table(measured, {"rloo": "RLOO"})


def test_batches_follow_each_other_and_begin_again_at_the_end():
    assert replication.places(40, 0) == list(range(16))
    assert replication.places(40, 2) == [*range(32, 40), *range(8)]


def test_too_few_rows_for_the_same_number_of_updates_are_refused():
    with pytest.raises(HandbookError, match="3 training pairs are too few for 72 steps of 16"):
        replication.enough([1, 2, 3], "training pairs")


def test_a_loss_that_is_not_finite_stops_a_training_with_a_remedy(tiny_replication):
    with pytest.raises(HandbookError, match="NaN or infinite after 0 steps") as refused:
        tiny_replication.fit(lambda policy, step: policy.weight.sum() * float("nan"), 1e-3)
    assert "lower its learning rate" in str(refused.value)


def test_a_training_lowers_its_loss_leaves_its_start_alone_and_stops_when_asked(tiny_replication):
    before, losses, asked = tiny_replication.reference.weight.clone(), [], []

    def loss(policy, step):
        value = (policy.weight**2).sum()
        losses.append(value.item())
        return value

    def stop(policy, steps):
        asked.append(steps)
        return steps == 5

    tiny_replication.fit(loss, 0.1, stop=stop)
    assert losses[-1] < losses[0] and asked == [1, 2, 3, 4, 5]
    assert (tiny_replication.reference.weight == before).all()


@pytest.fixture
def tiny_replication(monkeypatch):
    import torch

    made = replication.Replication(Pipeline())
    torch.manual_seed(0)
    monkeypatch.setattr(replication.Replication, "reference", torch.nn.Linear(3, 2, bias=False))
    return made


def test_it_is_said_where_dpo_never_came_as_far_as_rloo():
    def stopped(distance, kl):
        return {"stopped": {"trained": {"distance": distance, "steps": 72}, "kl": kl}}

    short = {0: stopped(3.0, 2.0), 1: stopped(2.0, 2.1), 2: stopped(3.0, 1.0), 3: {}}
    said = claims.equal_kl_missed(short)
    assert said.startswith("In 2 of 3 replications DPO made all its steps")
    assert "(by 1.5 nats on average)" in said
    assert claims.equal_kl_missed({1: short[1]}) == ""
