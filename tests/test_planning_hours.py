"""The hours of a plan: a range for each card, from what published runs reached."""

import pytest

from zephyr_utils.planning import plan, rates
from zephyr_utils.planning.report import span


def test_hours_are_a_range_for_each_card_of_that_memory_and_the_faster_card_takes_fewer():
    hours = plan.plan_stage("zephyr-7b-lora/qlora", "dsft", 24e9).hours
    assert list(hours) == ["A10G", "L4", "RTX 4090"]
    assert all(0 < least < most for least, most in hours.values())
    assert hours["A10G"][0] > hours["L4"][0] > hours["RTX 4090"][0]


@pytest.mark.parametrize("card", rates.CARDS.values(), ids=lambda card: card.name)
@pytest.mark.parametrize("stage", ["dsft", "ddpo"])
def test_no_card_is_expected_to_run_at_more_than_its_peak(card, stage):
    least, _ = rates.hours_range(1e18, stage, card)
    assert 1e18 / (least * 3600) < 0.7 * card.peak
    assert card.float32 < card.peak


def test_the_share_of_the_peak_comes_from_published_runs_and_theirs_are_met_again():
    for stage in ("dsft", "ddpo"):
        slow, fast = rates.shares(stage)
        reached = [run.share for run in rates.PUBLISHED if run.stage == stage]
        assert 0.05 < slow == min(reached) < fast == max(reached) < 0.65
        # as the module says
        assert fast / slow == pytest.approx({"dsft": 2.0, "ddpo": 2.8}[stage], abs=0.05)
    [packed] = [run for run in rates.PUBLISHED if "1466" in run.source]
    # published: 5,282 tokens per second and GPU; 6 operations per weight and no attention
    assert packed.flops == pytest.approx(6 * 7.3e9 * 5_282, rel=0.05)
    [first, *_] = rates.PUBLISHED
    assert first.share == pytest.approx(0.30, abs=0.01)


def test_a_scale_in_float32_is_planned_at_the_peak_of_float32():
    [hours] = plan.plan_stage("smol", "dsft", plan.bytes_of("15GB")).hours.items()
    flops = plan.plan_stage("smol", "dsft", plan.bytes_of("15GB")).flops
    assert hours == ("T4", rates.hours_range(flops, "dsft", rates.CARDS["T4"], dtype="float32"))
    assert hours[1][0] > 5 * rates.hours_range(flops, "dsft", rates.CARDS["T4"])[0]


def test_a_memory_that_no_known_card_has_gives_no_hours_and_a_rate_given_gives_one_number():
    assert plan.plan_stage("zephyr-7b-lora", "dsft", 32e9).hours == {}
    given = plan.plan_stage("zephyr-7b-lora", "dsft", 32e9, rate=6e13)
    [(device, (least, most))] = given.hours.items()
    assert device == plan.GIVEN and least == most == given.flops / 6e13 / 3600


@pytest.mark.parametrize(
    ("least", "most", "text"),
    [
        (1.34, 2.6, "1 to 3 h"),
        (36.2, 72.9, "36 to 73 h"),
        (86.0, 172.1, "86 to 180 h"),
        (0.72, 1.4, "0.7 to 2 h"),
        (0.15, 0.31, "9 to 19 min"),
        (1203.0, 2400.0, "1,200 to 2,400 h"),
        (60.2, 60.2, "about 60 h"),
        (0.016, 0.016, "about 1 min"),
    ],
)
def test_a_range_is_printed_with_few_digits_and_rounded_outwards(least, most, text):
    assert span(least, most) == text
