"""The pipeline, one method per step: each makes its artefact once, from the steps before it.

Chapters and the command line call the same methods, so ``zephyr sft`` and chapter 02 leave the same
model. What a step does is in `steps`; what it is made from, and where it is, is here.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from zephyr_utils import training
from zephyr_utils.chat import load_tokenizer, prepare_tokenizer
from zephyr_utils.data.records import HubAddress, RecordSet
from zephyr_utils.errors import HandbookError
from zephyr_utils.evaluation.types import MTBenchQuestion
from zephyr_utils.pipeline.artefacts import Manifest, build_artefact, fingerprint
from zephyr_utils.pipeline.on_policy import own_feedback_of
from zephyr_utils.pipeline.settings import RunSettings
from zephyr_utils.pipeline.steps.base import write_base
from zephyr_utils.pipeline.steps.ddpo import split_pairs, train_ddpo
from zephyr_utils.pipeline.steps.dsft import split_dialogues, train_dsft
from zephyr_utils.pipeline.steps.exam import sit_exam
from zephyr_utils.pipeline.steps.margins import measure_margins
from zephyr_utils.pipeline.steps.pairs import PAIRS_FILE, copy_pairs, make_pairs
from zephyr_utils.pipeline.steps.reading import RecordSource
from zephyr_utils.pipeline.steps.truecase import DIALOGUES, truecase_dialogues
from zephyr_utils.pipeline.steps.world import write_records
from zephyr_utils.scales import DEFAULT_SCALE, Generated, fetch_model, get_scale
from zephyr_utils.training.rows import FittedRows
from zephyr_utils.weights import find_gguf

# Folders of the artefacts, named after the chapters that show them.
WORLD = "00_world"
BASE = "00_base_model"
TRUECASING = "01_truecasing"
DSFT = "02_dsft"
PAIRS = "04_preference_pairs"
DDPO = "05_ddpo"
MARGINS = "06_reward_margins"
EVALUATION = "07_evaluation"
ABLATIONS_FOLDER = "08_ablations"
# as the paper, sections 3 and 4.1
PAIRING = {"score": "mean", "rejected": "random", "ties": "drop", "seed": 0}


@dataclass(frozen=True)
class Pipeline(RunSettings):
    """The steps of a run; `RunSettings` has what it is asked for."""

    @property
    def base_model_address(self) -> str:
        """What `from_pretrained` takes for the base model; a GGUF file is converted first."""
        source = self.setting.base_model
        if isinstance(source, HubAddress):
            return source.path
        if (file := find_gguf(source)) is None:
            return str(source)
        made = build_artefact(
            self.folder / BASE,
            inputs={"gguf": fingerprint(file)},
            recipe={},
            make=partial(write_base, file=file),
        )
        return str(made.folder / training.MODEL)

    # --- data -------------------------------------------------------------------------------------

    def world(self) -> dict[str, Path]:
        """The files of records that the package makes itself: name -> path."""
        source = self._generated
        made = build_artefact(
            self.folder / WORLD,
            inputs={},
            recipe={"world": 1, "seed": self.seed},
            make=partial(write_records, write=source.write, seed=self.seed),
            code=[write_records.__module__, source.module],
        )
        return {name: made.folder / file for name, file in made.results.items()}

    def world_sample(self) -> list[Any]:
        """A few of the records that the package makes itself, to tell whether they changed."""
        return self._generated.sample()

    @property
    def _generated(self) -> Generated:
        """The scale's own world; a scale whose records come from elsewhere has the default's."""
        for scale in (self.setting, get_scale(DEFAULT_SCALE)):
            if isinstance(scale.dialogues, Generated):
                return scale.dialogues
        raise AssertionError("the default scale makes its own records")

    def load(self, name: str, kind: str) -> RecordSet:
        """The records of the scale's ``dialogues`` or ``feedback``."""
        return self._reading(name).load(kind)

    def questions(self) -> list[MTBenchQuestion]:
        """The questions of the scale's exam, in MT-Bench's schema."""
        return self.setting.exam.questions()

    def _reading(self, name: str) -> RecordSource:
        source = getattr(self.setting, name)
        return self._records(self.world()[source.name] if isinstance(source, Generated) else source)

    def _records(self, source: Path | HubAddress) -> RecordSource:
        return RecordSource(source, self.setting.limit, self.set_aside_bad_rows, self.limit)

    # --- steps ------------------------------------------------------------------------------------

    def truecased(self) -> Manifest:
        """Step 1: dialogues without refusals, truecased."""
        reading = self._reading("dialogues")
        return build_artefact(
            self.folder / TRUECASING,
            inputs={"dialogues": _digest(reading.source)},
            recipe=reading.settings,
            make=partial(truecase_dialogues, reading=reading),
        )

    def dsft(self) -> Manifest:
        """Step 2: the dSFT model, in ``model/``.

        Raises:
            HandbookError: a chat model is given to start from, so that none is made.
        """
        if self.sft_model:
            raise HandbookError(
                "dDPO starts from the model that is given, and no dSFT model is made",
                where="--sft-model",
                remedy="leave it out",
            )
        before, recipe = self.truecased(), self.recipe("dsft")
        return build_artefact(
            self.folder / DSFT,
            inputs={"dialogues": before.key, "base_model": _digest(self.setting.base_model)},
            recipe={**recipe, **self.template},
            make=partial(
                train_dsft,
                base_model=self.base_model_address,
                dialogues=before.folder / DIALOGUES,
                recipe=recipe,
                chat_template=self.chat_template,
                report_to=self.report_to,
                keep=get_scale(self.scale).keeps_adapters,
            ),
            together=True,
        )

    def split_dialogues(self) -> tuple[list[dict], list[dict], FittedRows]:
        """Dialogues to train on, dialogues held out, and the accounting of the rows they come
        from.
        """
        return split_dialogues(
            self.truecased().folder / DIALOGUES,
            self.base_model_address,
            self.recipe("dsft").max_length,
            self.chat_template,
        )

    def pairs(self) -> Manifest:
        """Step 4: preference pairs, in ``pairs.parquet``: those given, or made from feedback as the
        paper says; `on_policy` takes the dSFT model's own answers to the feedback's prompts.
        """
        if not self.preferences:
            return self.pair_up(self.folder / PAIRS)
        reading = self._records(Path(self.preferences))
        return build_artefact(
            self.folder / PAIRS,
            inputs={"preferences": _digest(reading.source)},
            recipe=reading.settings,
            make=partial(copy_pairs, reading=reading),
        )

    def pair_up(self, folder: Path, **changes: Any) -> Manifest:
        """Pairs made from the feedback into `folder`; `changes` replace options of `PAIRING`."""
        reading, strategy = self._reading("feedback"), {**PAIRING, **changes}
        if self.on_policy:
            reading = own_feedback_of(self, reading)
        questions = self.questions()
        return build_artefact(
            folder,
            inputs={"feedback": _digest(reading.source), "questions": fingerprint(questions)},
            recipe={**strategy, **reading.settings},
            make=partial(
                make_pairs,
                reading=reading,
                asked=[question["turns"][0] for question in questions],
                strategy=strategy,
            ),
        )

    def split_pairs(
        self, made: Manifest | None = None
    ) -> tuple[list[dict], list[dict], FittedRows]:
        """Pairs to train on, pairs held out, and the accounting of the rows they come from.

        Args:
            made: pairs of another making (`pair_up`) than step 4's.
        """
        return split_pairs(**self._split(made or self.pairs()))

    def _split(self, made: Manifest) -> dict[str, Any]:
        return {
            "pairs": made.folder / PAIRS_FILE,
            "base_model": self.base_model_address,
            "max_length": self.recipe("ddpo").max_length,
            "ties": made.recipe.get("ties", "drop"),
            "chat_template": self.chat_template,
        }

    @property
    def template(self) -> dict[str, str]:
        """The chat template that was asked for, for an artefact's key; nothing if none was."""
        return {"chat_template": self.chat_template} if self.chat_template else {}

    def start(self) -> tuple[Path, str]:
        """Directory and key of the model that dDPO starts from and that is its reference: the one
        given (`sft_model`), else the dSFT model.

        Raises:
            HandbookError: what is given is an adapter, or no chat model.
        """
        if not self.sft_model:
            sft = self.dsft()
            return sft.folder / training.MODEL, sft.key
        directory = self.base_model_address
        # so that it is refused before pairs are made
        prepare_tokenizer(load_tokenizer(directory), self.chat_template)
        return Path(directory), _digest(self.setting.base_model)

    def ddpo(self) -> Manifest:
        """Step 5: the dDPO model, in ``model/``; the dSFT model is its start and its reference."""
        if not self.sft_model:
            self.pairs()  # feedback that yields none is refused before dSFT is trained
        start, key = self.start()
        pairs, recipe = self.pairs(), self.recipe("ddpo")
        return build_artefact(
            self.folder / DDPO,
            inputs={"start": key, "pairs": pairs.key},
            recipe={**recipe, **self.template},
            make=partial(
                train_ddpo,
                base_model=self.base_model_address,
                start=start,
                pairs=pairs.folder / PAIRS_FILE,
                ties=pairs.recipe.get("ties", "drop"),
                recipe=recipe,
                reference_folder=self.reference_cache,
                chat_template=self.chat_template,
                report_to=self.report_to,
                keep=get_scale(self.scale).keeps_adapters,
            ),
            together=True,
        )

    def margins(self) -> Manifest:
        """Step 6: implicit rewards of the held-out pairs, in ``log_probs.npz``."""
        (start, key), dpo, beta = self.start(), self.ddpo(), self.recipe("ddpo")["beta"]
        return build_artefact(
            self.folder / MARGINS,
            inputs={"start": key, "ddpo": dpo.key},
            recipe={"beta": beta},
            make=partial(
                measure_margins,
                reference=start,
                policy=dpo.folder / training.MODEL,
                beta=beta,
                **self._split(self.pairs()),
            ),
        )

    def evaluation(self, models: tuple[str, ...] = ("base", "dsft", "ddpo")) -> dict[str, Manifest]:
        """Step 7: each model's answers to the exam's questions and their grades."""
        return {name: self.evaluate(name, self.model_directory(name)) for name in models}

    def has_model(self, name: str) -> bool:
        """Whether ``base``, ``dsft`` or ``ddpo`` is here without any training."""
        step = self.folder / (DSFT if name == "dsft" else DDPO)
        return name == "base" or (step / training.MODEL).is_dir()

    def model_directory(self, name: str) -> str:
        """Where ``base``, ``dsft`` or ``ddpo`` is; makes it if it must, and fetches a base that
        is on the Hub.

        Raises:
            HandbookError: there is no model of that name.
        """
        if name == "base":
            source = self.setting.base_model
            if isinstance(source, HubAddress):
                return fetch_model(source)
            return self.base_model_address
        if name == "dsft":
            return str(self.start()[0])
        if name == "ddpo":
            return str(self.ddpo().folder / training.MODEL)
        raise HandbookError(
            f"there is no model `{name}`",
            where="model",
            remedy="choose one of base, dsft, ddpo, or name the directory of a model",
        )

    def evaluate(
        self,
        name: str,
        directory: str,
        temperature: float | None = None,
        *,
        folder: Path | None = None,
        adapter: Path | None = None,
    ) -> Manifest:
        """A model directory's answers to the scale's exam and their grades.

        Args:
            name: of the model, for the records.
            directory: the model.
            temperature: None takes the exam's.
            folder: where the artefact is; None is ``07_evaluation/<name>``.
            adapter: a LoRA adapter that is merged into the model first.
        """
        exam, questions = self.setting.exam, self.questions()
        judge = exam.judge()
        recipe: dict[str, Any] = {
            "temperature": exam.temperature if temperature is None else temperature,
            "seed": self.seed,
            "max_new_tokens": exam.max_new_tokens,
            **self.template,
        }
        inputs = {"model": fingerprint(Path(directory)), "questions": fingerprint(questions)}
        if adapter:
            inputs["adapter"] = fingerprint(adapter)
        return build_artefact(
            folder or self.folder / EVALUATION / name,
            inputs=inputs,
            recipe=recipe,
            make=partial(
                sit_exam,
                name=name,
                directory=directory,
                questions=questions,
                judge=judge,
                adapter=adapter,
                **recipe,
            ),
            code=[sit_exam.__module__, type(judge).__module__],
        )


def _digest(source: Path | HubAddress) -> str:
    return fingerprint(source if isinstance(source, Path) else str(source))
