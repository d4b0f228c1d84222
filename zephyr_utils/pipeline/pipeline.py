"""The road, one method a step: each makes its artefact once, from the steps before it, and reuses
it ever after.

Chapters and the command line call the same methods, so ``zephyr sft`` and chapter 02 leave the same
model.
"""

import json
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from transformers import AutoTokenizer

from zephyr_utils import diagnostics, miniature, preferences, training
from zephyr_utils.chat import load_model, prepare_tokenizer
from zephyr_utils.data.filtering import decontaminate, refusal_filter
from zephyr_utils.data.records import (
    HubAddress,
    RecordSet,
    load_records,
    save_records,
    save_set_aside,
    with_answers,
)
from zephyr_utils.errors import HandbookError
from zephyr_utils.evaluation.exam import run_exam
from zephyr_utils.pipeline.artefacts import Manifest, build_artefact, fingerprint, runs_folder
from zephyr_utils.scales import MINIATURE, Scale, fetch_model, get_scale
from zephyr_utils.training.rows import (
    FittedRows,
    fit_dialogues,
    fit_pairs,
    hold_out,
    hold_out_pairs,
)
from zephyr_utils.truecasing import Truecaser, detect_case_noise
from zephyr_utils.truecasing.model import FORMAT

WORLD = "00_world"
TRUECASING = "01_truecasing"
DSFT = "02_dsft"
PAIRS = "04_preference_pairs"
DDPO = "05_ddpo"
MARGINS = "06_reward_margins"
EVALUATION = "07_evaluation"
ABLATIONS_FOLDER = "08_ablations"
# as the paper, sections 3 and 4.1
PAIRING = {"score": "mean", "rejected": "random", "ties": "drop", "seed": 0}
HELD_OUT_DIALOGUES = 0.05  # share kept back to measure on
# Real answers are long beside the miniature's: sixteen pairs at once took 3.2 GB, and few pairs
# gave few updates.
OWN_RECORDS = {"ddpo": {"per_device_train_batch_size": 4}}
TEMPERATURE = 0.7  # the paper's sampling for chat, appendix


@dataclass(frozen=True)
class Pipeline:
    """One run through the handbook.

    Attributes:
        scale: a scale's name.
        seed: of the training and the sampling; the data do not change with it.
        dialogues, feedback, preferences, base_model: local paths in place of the scale's addresses;
            "" keeps them. With `preferences` given, no pairs are made from feedback.
        runs: the folder for all runs; "" is `artefacts.runs_folder()`.
        set_aside_bad_rows: count bad rows and go on, instead of stopping at the first.
        changes: stage (``dsft``, ``ddpo``) -> recipe values that replace the scale's.
    """

    scale: str = "miniature"
    seed: int = 0
    dialogues: str = ""
    feedback: str = ""
    preferences: str = ""
    base_model: str = ""
    runs: str = ""
    set_aside_bad_rows: bool = False
    changes: dict[str, dict[str, Any]] = field(default_factory=dict)

    @cached_property
    def setting(self) -> Scale:
        """The scale with the local paths in place."""
        local = {
            "dialogues": self.dialogues,
            "feedback": self.feedback,
            "base_model": self.base_model,
        }
        return get_scale(self.scale).with_local(**local)

    @cached_property
    def folder(self) -> Path:
        """Where this run's artefacts lie; runs on own data or with another seed have folders of
        their own.
        """
        own = "-own-data" if self.own_data else ""
        seed = f"-seed{self.seed}" if self.seed else ""
        return (Path(self.runs) if self.runs else runs_folder()) / f"{self.scale}{own}{seed}"

    @property
    def reference_cache(self) -> Path:
        """Where reference log-probabilities lie, which every dDPO of this run on the same model and
        pairs takes.
        """
        return self.folder / "reference"

    @property
    def own_data(self) -> bool:
        """Whether any of the scale's addresses was replaced."""
        return any((self.dialogues, self.feedback, self.preferences, self.base_model))

    @property
    def parameters(self) -> dict[str, Any]:
        """This run as the chapters' dials."""
        names = ("scale", "seed", "dialogues", "feedback", "preferences", "base_model", "runs")
        return {name: getattr(self, name) for name in names}

    @cached_property
    def base_model_address(self) -> str:
        """What `from_pretrained` takes for the base model."""
        source = self.setting.base_model
        if source == MINIATURE:
            return str(miniature.BASE_FOLDER)
        return source.path if isinstance(source, HubAddress) else str(source)

    def recipe(self, stage: str) -> dict[str, Any]:
        """The recipe of ``dsft`` or ``ddpo`` with this run's seed and changes."""
        revision = getattr(self.setting.base_model, "revision", None) if stage == "dsft" else None
        own = OWN_RECORDS if self.scale == MINIATURE and (self.feedback or self.preferences) else {}
        given = own.get(stage, {}) | self.changes.get(stage, {})
        return self.setting.recipe(stage, seed=self.seed, model_revision=revision, **given)

    # --- data ----------------------------------------------------------------------------------------------------

    def world(self) -> dict[str, Path]:
        """The miniature's files: dialogues, feedback and questions."""
        from zephyr_utils.miniature.data import write_world

        def make(folder: Path) -> dict[str, Any]:
            return {name: path.name for name, path in write_world(folder).items()}

        made = build_artefact(self.folder / WORLD, inputs={}, recipe={"world": 1}, make=make)
        return {name: made.folder / file for name, file in made.results.items()}

    def _source(self, name: str) -> Path | HubAddress:
        source = getattr(self.setting, name)
        return self.world()[name] if source == MINIATURE else source

    def load(self, name: str, kind: str) -> RecordSet:
        """The records of the scale's ``dialogues`` or ``feedback``."""
        return self._read(self._source(name), kind)

    def _read(self, source: Path | HubAddress, kind: str) -> RecordSet:
        return load_records(
            source, kind, limit=self.setting.limit, set_aside=self.set_aside_bad_rows
        )

    def questions(self) -> list[dict]:
        """The held-out questions, in MT-Bench's schema: the miniature's own, at every scale.

        They are all that can be judged without an account. MT-Bench's are asked through ``zephyr
        evaluate --questions``.
        """
        return [json.loads(line) for line in self.world()["questions"].read_text().splitlines()]

    # --- steps ---------------------------------------------------------------------------------------------------

    def truecased(self) -> Manifest:
        """Step 1: dialogues without refusals, truecased. Leaves ``dialogues.parquet``,
        ``truecaser.npz``.
        """

        def make(folder: Path) -> dict[str, Any]:
            loaded = self.load("dialogues", "dialogue")
            kept = refusal_filter(loaded.records)
            dialogues = [loaded.records[i] for i in kept.kept]
            answers = [
                m["content"] for d in dialogues for m in d["messages"] if m["role"] == "assistant"
            ]
            truecaser = Truecaser.fit(answers)
            repaired = truecaser.truecase_batch(answers)
            clean = with_answers(dialogues, repaired)
            save_records(clean, folder / "dialogues.parquet")
            truecaser.save(folder / "truecaser.npz")
            save_set_aside(folder / "set_aside.jsonl", loaded.set_aside)
            changed = sum(a != b for a, b in zip(answers, repaired, strict=True))
            return {
                "rows_in": loaded.n_read,
                "rows_out": len(clean),
                "rows_set_aside": loaded.n_read - len(clean),
                "set_aside": {**loaded.reasons(), "refusal": len(kept.removed)},
                "case_noise": dict(Counter(detect_case_noise(pa.array(answers)).to_pylist())),
                "answers": len(answers),
                "answers_changed": changed,
            }

        inputs, recipe = (
            {"dialogues": self._fingerprint("dialogues")},
            {"truecaser": FORMAT, **self._reading},
        )
        return build_artefact(self.folder / TRUECASING, inputs=inputs, recipe=recipe, make=make)

    def dsft(self) -> Manifest:
        """Step 2: the dSFT model, in ``model/``."""
        before = self.truecased()
        recipe = self.recipe("dsft")

        def make(folder: Path) -> dict[str, Any]:
            train, held_out, fitted = self.split_dialogues()
            trained = training.dsft(self.base_model_address, train, held_out, folder, recipe)
            return {
                **fitted.row_counts(),
                "rows_trained": len(train),
                "rows_held_out": len(held_out),
                **trained.metrics,
            }

        inputs = {"dialogues": before.key, "base_model": self._fingerprint("base_model")}
        return build_artefact(
            self.folder / DSFT, inputs=inputs, recipe=recipe, make=make, together=True
        )

    def split_dialogues(self) -> tuple[list[dict], list[dict], FittedRows]:
        """Dialogues to train on, dialogues held out, and the books of the rows they come from."""
        tokenizer = AutoTokenizer.from_pretrained(self.base_model_address)
        prepare_tokenizer(tokenizer)
        dialogues = load_records(self.truecased().folder / "dialogues.parquet", "dialogue").records
        fitted = fit_dialogues(tokenizer, dialogues, self.recipe("dsft")["max_length"])
        return *hold_out(fitted.rows, HELD_OUT_DIALOGUES), fitted

    def pairs(self) -> Manifest:
        """Step 4: preference pairs, in ``pairs.parquet``: those given, or made from feedback as the
        paper says.
        """
        return self._given_pairs() if self.preferences else self.pair_up(self.folder / PAIRS)

    def pair_up(self, folder: Path, **policy: Any) -> Manifest:
        """Pairs made from the feedback into `folder`; `policy` replaces options of `PAIRING`."""
        recipe = {**PAIRING, **policy, **self._reading}

        def make(folder: Path) -> dict[str, Any]:
            loaded = self.load("feedback", "feedback")
            # First turns only: a second ("And where?") is so short that it would match by accident.
            against = [question["turns"][0] for question in self.questions()]
            clean = decontaminate([row["instruction"] for row in loaded.records], against)
            rows = [loaded.records[i] for i in clean.kept]
            made = preferences.binarize(rows, **{key: recipe[key] for key in PAIRING})
            save_records(made.pairs, folder / "pairs.parquet")
            save_set_aside(folder / "set_aside.jsonl", loaded.set_aside)
            why = Counter(row.reason for row in made.set_aside)
            reasons = {**loaded.reasons(), "leaked_question": len(clean.removed), **why}
            return {
                "rows_in": loaded.n_read,
                "rows_out": len(made.pairs),
                "rows_set_aside": sum(reasons.values()),
                "set_aside": reasons,
            }

        inputs = {
            "feedback": self._fingerprint("feedback"),
            "questions": fingerprint(self.questions()),
        }
        return build_artefact(folder, inputs=inputs, recipe=recipe, make=make)

    def _given_pairs(self) -> Manifest:
        def make(folder: Path) -> dict[str, Any]:
            loaded = self._read(Path(self.preferences), "preference")
            save_records(loaded.records, folder / "pairs.parquet")
            save_set_aside(folder / "set_aside.jsonl", loaded.set_aside)
            reasons, rows = (
                dict(loaded.reasons()),
                {"rows_in": loaded.n_read, "rows_out": len(loaded.records)},
            )
            return {**rows, "rows_set_aside": sum(reasons.values()), "set_aside": reasons}

        inputs = {"preferences": fingerprint(Path(self.preferences))}
        return build_artefact(self.folder / PAIRS, inputs=inputs, recipe=self._reading, make=make)

    def split_pairs(
        self, made: Manifest | None = None
    ) -> tuple[list[dict], list[dict], FittedRows]:
        """Pairs to train on, pairs held out, and the books of the rows they come from.

        Args:
            made: pairs of another making (`pair_up`) than step 4's.
        """
        tokenizer = AutoTokenizer.from_pretrained(self.base_model_address)
        prepare_tokenizer(tokenizer)
        made = made or self.pairs()
        pairs = load_records(made.folder / "pairs.parquet", "preference").records
        fitted = fit_pairs(
            tokenizer,
            pairs,
            self.recipe("ddpo")["max_length"],
            ties=made.recipe.get("ties", "drop"),
        )
        return *hold_out_pairs(fitted.rows), fitted

    def ddpo(self) -> Manifest:
        """Step 5: the dDPO model, in ``model/``; the dSFT model is where it starts and its
        reference.
        """
        sft, pairs, recipe = self.dsft(), self.pairs(), self.recipe("ddpo")

        def make(folder: Path) -> dict[str, Any]:
            train, held_out, fitted = self.split_pairs()
            trained = training.ddpo(
                sft.folder / training.MODEL,
                train,
                folder,
                recipe,
                held_out,
                reference_folder=self.reference_cache,
            )
            return {
                **fitted.row_counts(),
                "rows_trained": len(train),
                "rows_held_out": len(held_out),
                **trained.metrics,
            }

        inputs, all_of_it = (
            {"start": sft.key, "pairs": pairs.key},
            recipe | {"watched": training.EVAL_PAIRS},
        )
        return build_artefact(
            self.folder / DDPO, inputs=inputs, recipe=all_of_it, make=make, together=True
        )

    def margins(self) -> Manifest:
        """Step 6: implicit rewards of the held-out pairs, in ``log_probs.npz``."""
        sft, dpo, beta = self.dsft(), self.ddpo(), self.recipe("ddpo")["beta"]

        def make(folder: Path) -> dict[str, Any]:
            _, held_out, _ = self.split_pairs()
            sums = {}
            for name, manifest in (("reference", sft), ("policy", dpo)):
                model, tokenizer = load_model(manifest.folder / training.MODEL, dtype="float32")
                for side in ("chosen", "rejected"):
                    conversations = [pair[side] for pair in held_out]
                    sums[f"{name}_{side}"] = training.answer_log_probs(
                        model, tokenizer, conversations
                    ).numpy()
            np.savez(folder / "log_probs.npz", **sums)
            save_records(held_out, folder / "held_out.parquet")
            measured = diagnostics.reward_margins(**sums, beta=beta)
            return {
                "pairs": len(held_out),
                "accuracy": measured.accuracy.estimate,
                "accuracy_low": measured.accuracy.low,
                "accuracy_high": measured.accuracy.high,
                "margin": measured.mean_margin.estimate,
                "chosen_reward": float(measured.chosen.mean()),
                "rejected_reward": float(measured.rejected.mean()),
            }

        inputs = {"dsft": sft.key, "ddpo": dpo.key}
        return build_artefact(
            self.folder / MARGINS, inputs=inputs, recipe={"beta": beta}, make=make
        )

    def evaluation(self, models: tuple[str, ...] = ("base", "dsft", "ddpo")) -> dict[str, Manifest]:
        """Step 7: each model's answers to the held-out questions and their grades, by the
        miniature's teacher.
        """
        return {name: self.evaluate(name, self.model_directory(name)) for name in models}

    def model_directory(self, name: str) -> str:
        """Where ``base``, ``dsft`` or ``ddpo`` lies; makes it if it must, and fetches a base that
        lies on the Hub.
        """
        if name == "base":
            source = self.setting.base_model
            return (
                fetch_model(source) if isinstance(source, HubAddress) else self.base_model_address
            )
        steps = {"dsft": self.dsft, "ddpo": self.ddpo}
        if name not in steps:
            raise HandbookError(
                f"there is no model `{name}`", remedy=f"choose one of base, {', '.join(steps)}"
            )
        return str(steps[name]().folder / training.MODEL)

    def evaluate(self, name: str, directory: str, temperature: float = TEMPERATURE) -> Manifest:
        """Answers and grades of one model directory, in ``answers.jsonl`` and ``judgments.jsonl``."""
        recipe = {"temperature": temperature, "seed": self.seed, "max_new_tokens": 96}

        def make(folder: Path) -> dict[str, Any]:
            model, tokenizer = load_model(directory, dtype="float32")
            prepare_tokenizer(tokenizer)
            return run_exam(model, tokenizer, name, self.questions(), folder, **recipe)

        inputs = {"model": fingerprint(Path(directory)), "questions": fingerprint(self.questions())}
        return build_artefact(
            self.folder / EVALUATION / name, inputs=inputs, recipe=recipe, make=make
        )

    # --- helpers -------------------------------------------------------------------------------------------------

    @property
    def _reading(self) -> dict[str, Any]:
        return {"limit": self.setting.limit, "set_aside_bad_rows": self.set_aside_bad_rows}

    def _fingerprint(self, name: str) -> str:
        source = getattr(self.setting, name)
        if name == "base_model" and source == MINIATURE:
            return fingerprint(miniature.BASE_FOLDER)
        if source == MINIATURE:
            source = self.world()[name]
        return fingerprint(source) if isinstance(source, Path) else fingerprint(str(source))
