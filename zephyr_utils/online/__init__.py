"""Training on a model's own answers: several sampled to each prompt (`sampling`)."""

from zephyr_utils.online.sampling import Sample, SampleCounts, count_samples, sample_answers

__all__ = ["Sample", "SampleCounts", "count_samples", "sample_answers"]
