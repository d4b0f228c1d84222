"""What ``zephyr feedback`` does: prompts in, rated answers out; or an estimate, before anything is
paid.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from zephyr_utils.data.records import load_records, save_records, save_set_aside
from zephyr_utils.data.types import Feedback
from zephyr_utils.errors import HandbookError
from zephyr_utils.feedback.calls import Sampling
from zephyr_utils.feedback.collect import ANSWERING, collect_answers
from zephyr_utils.feedback.cost import Estimate, Prices
from zephyr_utils.feedback.endpoint import Endpoint, check_client
from zephyr_utils.feedback.estimate import estimate
from zephyr_utils.feedback.journal import Journal
from zephyr_utils.feedback.prompt_files import load_prompts
from zephyr_utils.feedback.rate import JUDGING, rate_answers
from zephyr_utils.feedback.results import Collected
from zephyr_utils.files import check_writable

Say = Callable[[str], None]
Number = TypeVar("Number", int, float)


def number_or_none(text: str, number: Callable[[str], Number], option: str) -> Number | None:
    """What an option for sampling says; "none" leaves the value to the server.

    Raises:
        HandbookError: it is not a number.
    """
    try:
        return None if text.strip().lower() == "none" else number(text)
    except ValueError:
        raise HandbookError(
            f"{text[:40]!r} is not a number",
            where=option,
            remedy='give a number, or "none" to leave it to the server',
        ) from None


@dataclass(frozen=True)
class FeedbackCommand:
    """The command's options; see ``zephyr feedback --help``."""

    prompts: Path
    output: Path
    models: str = ""
    judge: str = ""
    base_url: str = field(default="", repr=False)  # it may hold a password
    api_key_env: str = "OPENAI_API_KEY"
    judge_base_url: str = field(default="", repr=False)
    judge_api_key_env: str = ""
    prices: Path | None = None
    journal: Path | None = None
    concurrency: int = 16
    temperature: float | None = ANSWERING.temperature
    max_tokens: int | None = ANSWERING.max_tokens
    judge_temperature: float | None = JUDGING.temperature
    judge_max_tokens: int | None = JUDGING.max_tokens
    seed: int | None = None
    limit: int | None = None
    critiques: bool = True
    retry_unreadable: bool = False
    dry_run: bool = False
    set_aside: bool = False

    @classmethod
    def from_options(cls, options: dict[str, Any]) -> "FeedbackCommand":
        """The command from options as they are given on the command line.

        Args:
            options: by name; temperatures and token limits as text, where "none" leaves them out.

        Raises:
            HandbookError: one of these is not a number.
        """
        numbers: dict[str, float | int | None] = {}
        for name, number in (("temperature", float), ("max_tokens", int)):
            for option in (name, f"judge_{name}"):
                flag = f"--{option.replace('_', '-')}"
                numbers[option] = number_or_none(str(options[option]), number, flag)
        return cls(**options | numbers)

    @property
    def journal_path(self) -> Path:
        """Where every reply is kept."""
        return self.journal or self.output.with_name(f"{self.output.name}.journal.jsonl")

    @property
    def endpoint(self) -> Endpoint:
        """Where the models that answer are."""
        return Endpoint(self.base_url, self.api_key_env)

    @property
    def judge_endpoint(self) -> Endpoint:
        """Where the judge is."""
        url, key = self.judge_base_url or self.base_url, self.judge_api_key_env or self.api_key_env
        return Endpoint(url, key)

    @property
    def sampling(self) -> Sampling:
        """How answers are drawn."""
        return Sampling(self.temperature, self.max_tokens, seed=self.seed)

    @property
    def judge_sampling(self) -> Sampling:
        """How the judge's replies are drawn."""
        return Sampling(self.judge_temperature, self.judge_max_tokens)

    def run(self, say: Say) -> bool:
        """Do it, and say the counts.

        Returns:
            Whether every call brought a reply that could be read.

        Raises:
            HandbookError: something to fix, or nothing came out; what was paid for is in the
                journal.
        """
        self._check()
        prices = Prices.load(self.prices) if self.prices else None
        prompts: list[str] = []
        rows: list[Feedback] = []
        if self.models:
            asked = load_prompts(self.prompts, set_aside=self.set_aside)
            aside, report = asked.set_aside, asked.report()
            prompts = [row["prompt"] for row in asked.records[: self.limit]]
        else:
            loaded = load_records(self.prompts, "feedback", set_aside=self.set_aside)
            aside, report, rows = loaded.set_aside, loaded.report(), loaded.records[: self.limit]
        if aside:
            say(report)
        if self.models:
            for note, n in asked.conversions.most_common():
                say(f"{n:,} of {len(asked):,} prompts: {note}")
        if self.dry_run:
            say(self._estimate(prompts, rows).text(prices))
            return True
        self._check_ready()
        # Open until the counts are said: what a kill before that leaves unsaid, the next run says.
        with Journal(self.journal_path) as journal:
            stages, rows = self._collect(prompts, rows, journal, prices, say)
        aside = [*aside, *(row for stage in stages for row in stage.set_aside)]
        if aside:
            path = save_set_aside(self._set_aside_path, aside)
            say(f"{len(aside):,} rows set aside in {path}")
        if not rows:
            raise HandbookError(
                f"nothing was collected, so no file was written: {_why_nothing(stages)}",
                where=str(self.output),
                remedy=f"fix that and start the same command again; every reply is in "
                f"{self.journal_path}",
            )
        save_records(rows, self.output)
        say(f"{len(rows):,} records in {self.output}; every reply in {self.journal_path}")
        return all(stage.is_complete for stage in stages)

    @property
    def _set_aside_path(self) -> Path:
        return self.output.with_name(f"{self.output.name}.set_aside.jsonl")

    def _check(self) -> None:
        """Say what cannot work, before anything is read."""
        if self.models:
            _ = _models(self.models), self.endpoint.url, self.sampling
        if self.judge:
            _ = self.judge_endpoint.url, self.judge_sampling
        if not self.models and not self.judge:
            raise HandbookError(
                "neither models that answer nor a judge that rates are named",
                where="--models, --judge",
                remedy="name models (--models a,b,c,d), a judge (--judge NAME), or both",
            )
        if self.output.suffix not in (".jsonl", ".parquet"):
            raise HandbookError(
                "feedback is saved as .jsonl or .parquet",
                where=f"--output {self.output}",
                remedy="change the file's ending",
            )
        if self.limit is not None and self.limit < 1:
            raise HandbookError(
                f"a limit of {self.limit} rows leaves none",
                where="--limit",
                remedy="give 1 or more, or leave it out",
            )
        places = {"--journal": self.journal_path, "--output": self.output}
        if self.models:  # answers that are there may be rated in place
            places["the prompts"] = self.prompts
        elif os.path.realpath(self.prompts) == os.path.realpath(self.journal_path):
            places["the answers"] = self.prompts
        if len({os.path.realpath(path) for path in places.values()}) < len(places):
            raise HandbookError(
                f"{', '.join(places)} must be different files, or one would overwrite another",
                where=str(self.output),
                remedy="give each its own name",
            )

    def _check_ready(self) -> None:
        """Say now, and not after everything is paid, what will be missing on the way."""
        check_client()
        if self.models:
            self.endpoint.key()
        if self.judge:
            self.judge_endpoint.key()
        if os.path.isdir(self.output):  # Path.is_dir raises where a name is too long
            raise HandbookError(
                "the file cannot be written: it is a folder",
                where=f"--output {self.output}",
                remedy="name a file in it",
            )
        for path in (self.output, self._set_aside_path):
            check_writable(path)

    def _estimate(self, prompts: list[str], rows: list[Feedback]) -> Estimate:
        return estimate(
            prompts,
            _models(self.models) if self.models else (),
            self.judge,
            feedback=None if self.models else rows,
            endpoint=self.endpoint,
            judge_endpoint=self.judge_endpoint,
            sampling=self.sampling,
            judge_sampling=self.judge_sampling,
            journal=self.journal_path,
            retry_unreadable=self.retry_unreadable,
            critiques=self.critiques,
        )

    def _collect(
        self,
        prompts: list[str],
        rows: list[Feedback],
        journal: Journal,
        prices: Prices | None,
        say: Say,
    ) -> tuple[list[Collected[Feedback]], list[Feedback]]:
        """Collect answers, rate them, or both: what came of each, and the rows at the end."""
        stages = []
        shared: dict[str, Any] = {
            "journal": journal,
            "concurrency": self.concurrency,
            "retry_unreadable": self.retry_unreadable,
        }
        if self.models:
            answers = collect_answers(
                prompts,
                _models(self.models),
                endpoint=self.endpoint,
                sampling=self.sampling,
                **shared,
            )
            say(f"Answers: {answers.report(prices)}")
            stages.append(answers)
            rows = answers.records
        if self.judge and rows:
            rated = rate_answers(
                rows,
                self.judge,
                endpoint=self.judge_endpoint,
                sampling=self.judge_sampling,
                critiques=self.critiques,
                **shared,
            )
            say(f"Ratings: {rated.report(prices)}")
            stages.append(rated)
            rows = rated.records if rated.calls.planned else []
        return stages, rows


def _why_nothing(stages: list[Collected[Feedback]]) -> str:
    """The most frequent cause, in words."""
    if not stages:
        return "every row was set aside"
    calls = stages[-1].calls
    if not calls.planned:
        return "there is no answer to rate"
    reasons = calls.failed + calls.without_answer
    if not reasons:
        return "every row was set aside"
    reason = reasons.most_common(1)[0][0]
    return calls.examples.get(reason, f"the replies hold no answer ({reason})")


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
