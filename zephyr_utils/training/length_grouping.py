"""The order of rows that are grouped by length: a function of seed and epoch alone, in which the
length of a step's rows says nothing about when it comes.

The library's sampler draws from whatever random numbers the process has just then. Two processes
would have to have the same at hand, and a run that was killed, or that evaluates on its way, would
take the rows in another order than one that was not. It also sorts the rows of every fifty steps,
the longest first, which ties length to the schedule's learning rate and puts a spike into every
curve at each fiftieth step. Here the steps of an epoch are shuffled.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import SequentialSampler
from transformers.trainer_pt_utils import LengthGroupedSampler

if TYPE_CHECKING:
    from transformers import Trainer as _Trainer
else:
    _Trainer = object


class ReproducibleLengthSampler(LengthGroupedSampler):
    """Rows of about one length together, in an order that `seed` and the number of the epoch give.

    The first step keeps the longest row, so that memory that does not suffice is missed at once;
    the last keeps the rows that do not fill a step. All steps between them are shuffled.

    Args:
        rows_per_step: of all processes together, so that the order does not depend on how many
            there are.
        lengths: of each row, in tokens.
        seed: the run's.
        epoch: tells the number of the epoch that begins.
    """

    def __init__(
        self, rows_per_step: int, lengths: list[int], seed: int, epoch: Callable[[], int]
    ) -> None:
        super().__init__(rows_per_step, lengths=lengths)
        self.seed, self.epoch = seed, epoch

    def __iter__(self) -> Iterator[int]:
        self.generator = torch.Generator().manual_seed(self.seed + self.epoch())
        rows, size = list(super().__iter__()), self.batch_size
        steps = [rows[start : start + size] for start in range(0, len(rows), size)]
        between = steps[1 : len(rows) // size]
        order = torch.randperm(len(between), generator=self.generator)
        steps[1 : len(rows) // size] = [between[place] for place in order]
        return iter([row for step in steps for row in step])


class LengthGroupedMixin(_Trainer):
    """For a trainer of the library, before its class: ``train_sampling_strategy: group_by_length``
    is `ReproducibleLengthSampler`.
    """

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        sampler = super()._get_train_sampler(train_dataset)
        if not isinstance(sampler, LengthGroupedSampler):
            return sampler
        return ReproducibleLengthSampler(
            sampler.batch_size * self.accelerator.num_processes, sampler.lengths, self.args.seed,
            # Asked when an epoch begins; the trainer's own count is part of a checkpoint.
            epoch=lambda: int(self.state.epoch or 0),
        )  # fmt: skip

    def _get_eval_sampler(self, eval_dataset: Any) -> Any:
        """Rows to evaluate in their order: in the batches of a precomputed reference, so that
        margins begin at exactly 0.
        """
        sampler = super()._get_eval_sampler(eval_dataset)
        return (
            SequentialSampler(eval_dataset)
            if isinstance(sampler, LengthGroupedSampler)
            else sampler
        )
