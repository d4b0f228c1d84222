"""A replication draws its records, its exam and its training by one seed."""

from pathlib import Path

from zephyr_utils.pipeline.pipeline import Pipeline


def test_another_seed_draws_other_records_and_another_exam(tmp_path):
    def drawn(seed):
        pipeline = Pipeline(seed=seed, runs=str(tmp_path))
        files = pipeline.world()
        asked = [question["turns"][0] for question in pipeline.questions()]
        return asked, *(Path(files[name]).read_bytes() for name in ("dialogues", "feedback"))

    first, second = drawn(0), drawn(1)
    assert all(one != other for one, other in zip(first, second, strict=True))
    assert drawn(1) == second


def test_the_exam_of_a_scale_that_draws_none_is_the_same_for_every_seed():
    one, other = (Pipeline(scale="smol", seed=seed).questions() for seed in (0, 1))
    assert one == other
