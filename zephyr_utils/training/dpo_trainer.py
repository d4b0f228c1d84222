"""TRL's dDPO trainer with levers of ours: a reference kept on disk, shared prompts, rows grouped by
length.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import trl
from accelerate.utils import broadcast_object_list
from datasets import Dataset
from torch.utils.data import DataLoader, Subset
from trl.trainer import utils as trl_utils

from zephyr_utils.training.encoding import encode_pair, map_rows, row_lengths
from zephyr_utils.training.length_grouping import LengthGroupedMixin
from zephyr_utils.training.prefix_sharing import can_share_prompts, with_shared_prompts
from zephyr_utils.training.preflight import too_long_warnings
from zephyr_utils.training.progress import ProgressReport, quiet, say
from zephyr_utils.training.reference_cache import (
    SAVE_EVERY,
    model_hash,
    read_reference,
    reference_key,
    write_reference,
)


@contextmanager
def completion_logits_only() -> Iterator[None]:
    """On a CPU, too, score the vocabulary at the answers' positions alone, as TRL does where it has
    Triton.

    Elsewhere it scores prompts and padding as well and throws the scores away: in the miniature two
    positions of three. The log-probabilities and gradients of the others are the same.
    """
    decide = trl_utils._use_triton
    trl_utils._use_triton = lambda device: device.type == "cpu" or decide(device)
    try:
        yield
    finally:
        trl_utils._use_triton = decide


class PairTrainer(LengthGroupedMixin, trl.DPOTrainer):
    """`trl.DPOTrainer` that

    - encodes special tokens in contents as text (`encoding`);
    - scores answers alone on a CPU (`completion_logits_only`);
    - keeps a precomputed reference in `reference_folder` and takes from there what an earlier run,
      or a killed one, has computed;
    - computes each pair's prompt once, with the same loss up to rounding (`prefix_sharing`), where
      the model's attention can and `share_prompts` is not False;
    - takes ``train_sampling_strategy: group_by_length``, for which TRL's own has no lengths.
    """

    args: trl.DPOConfig
    model: Any

    def __init__(
        self, *, reference_folder: Path, share_prompts: bool | None = None, **arguments: Any
    ) -> None:
        self.reference_folder = reference_folder
        config = arguments["model"].config
        self.share_prompts = can_share_prompts(config, arguments["args"].max_length, share_prompts)
        super().__init__(**arguments)

    def _precompute_ref_logps(self, dataset: Dataset, name: str, batch_size: int) -> Dataset:
        """The rows with ``ref_chosen_logps`` and ``ref_rejected_logps``, computed from where a file
        of them ends.
        """
        # ZeRO-3 spreads the weights: no process can say which model it has
        if self.is_deepspeed_enabled:
            return super()._precompute_ref_logps(dataset, name, batch_size)
        path = self.reference_folder / f"{self._reference_key(dataset, batch_size)}.npz"
        writes = self.accelerator.is_main_process
        kept = [read_reference(path, len(dataset)) if writes else np.empty((2, 0), np.float32)]
        broadcast_object_list(kept, from_process=0)
        log_probs, model = kept[0], self.ref_model or self.model
        # Batches end where they would end without a file. With nothing left this draws the same
        # random numbers, too.
        left = Subset(dataset, range(log_probs.shape[1], len(dataset)))
        loader = self.accelerator.prepare(
            DataLoader(left, batch_size, collate_fn=self.data_collator, shuffle=False)
        )
        report = ProgressReport(
            f"Reference log-probabilities ({name})",
            len(loader),
            "batches",
            silent=quiet() or not writes,
        )
        report.start()
        for number, batch in enumerate(loader, start=1):
            both = torch.stack(self.compute_ref_log_probs(model, batch), dim=1)
            both = self.accelerator.gather_for_metrics(both).float().cpu().numpy().T
            log_probs = np.concatenate([log_probs, both], axis=1)
            last = log_probs.shape[1] == len(dataset)
            if writes and (last or number % SAVE_EVERY == 0):
                write_reference(path, log_probs)
            report.update(number)
        report.finish()
        self.accelerator.wait_for_everyone()
        for side, values in zip(("chosen", "rejected"), log_probs, strict=True):
            dataset = dataset.add_column(f"ref_{side}_logps", values)
        return dataset

    def _reference_key(self, dataset: Dataset, batch_size: int) -> str:
        model, arguments = self.ref_model or self.model, self.args
        # Under FSDP a separate reference is spread by now; TRL has hashed it before.
        weights = self._precompute_model_hash if self.is_fsdp_enabled else model_hash(model)
        settings = {
            "max_length": arguments.max_length,
            "batch": batch_size,
            "processes": self.accelerator.num_processes,
            "pad_to_multiple_of": arguments.pad_to_multiple_of,
            "ld_alpha": arguments.ld_alpha,
            "precision": [str(self.model.dtype), self.accelerator.mixed_precision],
            "attention": self.model.config._attn_implementation,
            "share_prompts": self.share_prompts,
            "device": self.accelerator.device.type,
            "threads": torch.get_num_threads(),
        }
        key = [reference_key(str(weights), dataset, settings)]
        broadcast_object_list(key, from_process=0)
        return key[0]

    def compute_ref_log_probs(self, model: Any, inputs: dict[str, Any]) -> Any:
        with completion_logits_only():
            return super().compute_ref_log_probs(self._called(model), inputs)

    def _compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool) -> Any:
        live = not self.precompute_ref_logps
        # asked here, where prompts are shared, and handed on as if it had been computed beforehand
        if live:
            asked = self.compute_ref_log_probs(self.ref_model or self.model, inputs)
            inputs = inputs | dict(
                zip(("ref_chosen_logps", "ref_rejected_logps"), asked, strict=True)
            )
        self.precompute_ref_logps = True
        try:
            with completion_logits_only():
                return super()._compute_loss(self._called(model), inputs, return_outputs)
        finally:
            self.precompute_ref_logps = not live

    def _called(self, model: Any) -> Any:
        return with_shared_prompts(model) if self.share_prompts else model

    def _prepare_dataset(
        self, dataset: Dataset, processing_class: Any, args: trl.DPOConfig, dataset_name: str
    ) -> Dataset:
        if isinstance(dataset[0]["prompt"], str):  # text without a template: nothing to forge
            prepared = super()._prepare_dataset(dataset, processing_class, args, dataset_name)
        else:
            prepared = self._encoded(dataset, processing_class, args, dataset_name)
        if args.train_sampling_strategy != "group_by_length":
            return prepared
        parts = (prepared[f"{part}_ids"] for part in ("prompt", "chosen", "rejected"))
        lengths = [len(prompt) + max(len(a), len(b)) for prompt, a, b in zip(*parts, strict=True)]
        return prepared.add_column(args.length_column_name, lengths)

    def _encoded(
        self, dataset: Dataset, tokenizer: Any, args: trl.DPOConfig, dataset_name: str
    ) -> Dataset:
        """The rows as ids; those whose prompt alone fills a row are left out and said."""
        encoded = map_rows(dataset, encode_pair, args.dataset_num_proc, tokenizer=tokenizer)
        longer = (
            row_lengths(encoded, "prompt_ids", f"{side}_ids") for side in ("chosen", "rejected")
        )
        lengths = [max(both) for both in zip(*longer, strict=True)]
        for sentence in too_long_warnings(lengths, args.max_length):
            say(f"dDPO: {dataset_name}: {sentence}")
        if args.max_length is None or args.truncation_mode != "keep_start":
            return encoded
        prompts = row_lengths(encoded, "prompt_ids")
        fitting = [n for n, length in enumerate(prompts) if length < args.max_length]
        if len(fitting) == len(encoded):
            return encoded
        say(
            f"dDPO: {dataset_name}: {len(encoded) - len(fitting):,} of {len(encoded):,} pairs are "
            f"left out: their prompts alone take {args.max_length:,} tokens"
        )
        return encoded.select(fitting)

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        # else the sampler would not see it
        columns: list[str] = self._signature_columns  # type: ignore[assignment]
        if self.args.length_column_name not in columns:
            columns.append(self.args.length_column_name)
