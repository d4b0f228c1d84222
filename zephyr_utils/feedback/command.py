"""What ``zephyr feedback`` does: prompts in, rated answers out; or an estimate, before anything is
paid.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from zephyr_utils.data.records import load_records, save_records, save_set_aside
from zephyr_utils.errors import HandbookError
from zephyr_utils.feedback import (
    Collected,
    Endpoint,
    Journal,
    Prices,
    Sampling,
    collect_answers,
    estimate,
    load_prompts,
    rate_answers,
)
from zephyr_utils.feedback.collect import ANSWERING, JUDGING


@dataclass(frozen=True)
class FeedbackCommand:
    """The command's options; see ``zephyr feedback --help``."""

    prompts: Path
    output: Path
    models: str = ""
    judge: str = ""
    base_url: str = ""
    api_key_env: str = "OPENAI_API_KEY"
    judge_base_url: str = ""
    judge_api_key_env: str = ""
    prices: Path | None = None
    journal: Path | None = None
    concurrency: int = 16
    temperature: float = ANSWERING.temperature
    max_tokens: int = ANSWERING.max_tokens
    seed: int | None = None
    limit: int | None = None
    critiques: bool = True
    dry_run: bool = False
    set_aside: bool = False

    def run(self, say: Callable[[str], None]) -> bool:
        """Do it, and say the books.

        Returns:
            Whether every call brought a reply that could be read.

        Raises:
            HandbookError: something to mend; what was paid for is in the journal.
        """
        if not self.models and not self.judge:
            raise HandbookError(
                "neither models that answer nor a judge that rates are named",
                where="--models, --judge",
                remedy="name models (--models a,b,c,d), a judge (--judge NAME), or both",
            )
        if self.output.suffix not in (".jsonl", ".parquet"):
            raise HandbookError(  # said now, not after everything is paid
                "feedback is saved as .jsonl or .parquet",
                where=str(self.output),
                remedy="change the file's ending",
            )
        prices = Prices.load(self.prices) if self.prices else None
        endpoint = Endpoint(self.base_url, self.api_key_env)
        judge_endpoint = Endpoint(
            self.judge_base_url or self.base_url, self.judge_api_key_env or self.api_key_env
        )
        journal = self.journal or self.output.with_name(f"{self.output.name}.journal.jsonl")
        sampling = replace(
            ANSWERING, temperature=self.temperature, max_tokens=self.max_tokens, seed=self.seed
        )
        loaded = (
            load_prompts(self.prompts, set_aside=self.set_aside)
            if self.models
            else load_records(self.prompts, "feedback", set_aside=self.set_aside)
        )
        loaded.records = loaded.records[: self.limit]
        if loaded.set_aside:
            say(loaded.report())
        prompts = [row["prompt"] for row in loaded.records] if self.models else []
        if self.dry_run:
            plan = estimate(
                prompts,
                _models(self.models) if self.models else (),
                self.judge,
                feedback=None if self.models else loaded.records,
                endpoint=endpoint,
                judge_endpoint=judge_endpoint,
                sampling=sampling,
                journal=journal,
                critiques=self.critiques,
            )
            say(plan.text(prices))
            return True
        # Open until the books are said: what a kill before that leaves untold, the next run tells.
        with Journal(journal) as opened:
            stages, rows = self._stages(
                prompts, loaded.records, endpoint, judge_endpoint, sampling, opened
            )
            for name, stage in stages:
                say(f"{name}: {stage.report(prices)}")
        aside = [*loaded.set_aside, *(row for _, stage in stages for row in stage.set_aside)]
        if rows:
            save_records(rows, self.output)
        if aside:
            path = save_set_aside(
                self.output.with_name(f"{self.output.name}.set_aside.jsonl"), aside
            )
            say(f"{len(aside):,} rows set aside in {path}")
        written = (
            f"{len(rows):,} records in {self.output}"
            if rows
            else "no record, so no file was written"
        )
        say(f"{written}; every reply in {journal}")
        return all(_whole(stage) for _, stage in stages)

    def _stages(
        self,
        prompts: list[str],
        rows: list[dict],
        endpoint: Endpoint,
        judge_endpoint: Endpoint,
        sampling: Sampling,
        journal: Journal,
    ) -> tuple[list[tuple[str, Collected]], list[dict]]:
        """Collect answers, rate them, or both: what came of each, and the rows at the end."""
        stages = []
        shared: dict[str, Any] = {"journal": journal, "concurrency": self.concurrency}
        if self.models:
            answers = collect_answers(
                prompts, _models(self.models), endpoint=endpoint, sampling=sampling, **shared
            )
            stages.append(("Answers", answers))
            rows = answers.records
        if self.judge and rows:
            rated = rate_answers(
                rows,
                self.judge,
                endpoint=judge_endpoint,
                sampling=JUDGING,
                critiques=self.critiques,
                **shared,
            )
            stages.append(("Ratings", rated))
            rows = rated.records
        return stages, rows


def _whole(stage: Collected) -> bool:
    return not stage.calls.failed and not stage.unreadable and not stage.set_aside


def _models(text: str) -> dict[str, str]:
    """``a,b`` or ``label=name,...``."""
    models: dict[str, str] = {}
    for part in text.split(","):
        label, sign, name = part.strip().partition("=")
        label, name = label.strip(), (name if sign else label).strip()
        if not label or not name or label in models:
            raise HandbookError(
                f"{part.strip()!r} names no model, or one that is named already",
                where="--models",
                remedy="separate names by commas; write label=name to have a label in the records",
            )
        models[label] = name
    return models
