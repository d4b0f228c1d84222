"""What a run is asked for, and what follows from it: its scale, its recipes, its folder."""

import dataclasses
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from zephyr_utils.chat import TemplateChoice
from zephyr_utils.errors import HandbookError
from zephyr_utils.pipeline.artefacts import runs_folder
from zephyr_utils.pipeline.on_policy import scale_judge
from zephyr_utils.recipes import Recipe, Stage, load_recipe
from zephyr_utils.scales import DEFAULT_SCALE, Scale, get_scale

# What every chapter takes by name; the rest goes into its dial `settings`.
DIALS = ("scale", "seed", "dialogues", "feedback", "preferences", "base_model", "runs")


@dataclass(frozen=True)
class RunSettings:
    """One run through the handbook.

    Attributes:
        scale: a scale's name.
        seed: of the records and the questions that the scale makes itself, of the training and of
            the sampling; data from elsewhere do not change with it.
        dialogues, feedback, preferences, base_model: local paths in place of the scale's addresses;
            "" keeps them. With `preferences` given, no pairs are made from feedback.
        runs: the folder for all runs; "" is `artefacts.runs_folder()`.
        set_aside_bad_rows: count bad rows and go on, instead of stopping at the first.
        changes: stage (``dsft``, ``ddpo``) -> recipe values that replace the scale's.
        recipes: stage -> a YAML file that replaces the scale's recipe.
        limit: dialogues used at most, and feedback prompts or preference pairs; None uses all.
        sft_model: a chat model (directory or GGUF file) that dDPO starts from, without a dSFT.
        chat_template: as for `chat.prepare_tokenizer`.
        report_to: trackers that the trainers report to; no artefact depends on it.
        on_policy: make pairs of the dSFT model's own answers to the feedback's prompts, rated by
            the scale's judge, instead of the feedback's answers.

    Raises:
        HandbookError: `on_policy` with `preferences`, or on a scale without a judge for it.
    """

    scale: str = DEFAULT_SCALE
    seed: int = 0
    dialogues: str = ""
    feedback: str = ""
    preferences: str = ""
    base_model: str = ""
    runs: str = ""
    set_aside_bad_rows: bool = False
    changes: dict[Stage, dict[str, Any]] = field(default_factory=dict)
    recipes: dict[Stage, str] = field(default_factory=dict)
    limit: int | None = None
    sft_model: str = ""
    chat_template: TemplateChoice | None = None
    report_to: tuple[str, ...] = ()
    on_policy: bool = False

    def __post_init__(self) -> None:
        if not self.on_policy:
            return
        # here, since a dSFT model is trained before its pairs are asked for
        if self.preferences:
            raise HandbookError(
                "pairs that are given are not the model's own answers",
                where="--on-policy",
                remedy="leave out one of --on-policy and --preferences",
            )
        scale_judge(self)

    @cached_property
    def setting(self) -> Scale:
        """The scale with the local paths in place."""
        local = {
            "dialogues": self.dialogues,
            "feedback": self.feedback,
            "base_model": self.sft_model or self.base_model,
        }
        scale = get_scale(self.scale).with_local(**local)
        return dataclasses.replace(scale, exam=dataclasses.replace(scale.exam, seed=self.seed))

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
        """Whether any of the scale's addresses was replaced, or not all of its data are used."""
        paths = (self.dialogues, self.feedback, self.preferences, self.base_model, self.sft_model)
        return any(paths) or self.limit is not None

    @property
    def as_published(self) -> bool:
        """Whether data and recipes are the scale's own, so that its expected ranges hold."""
        changed = self.changes or self.recipes or self.chat_template or self.on_policy
        return not (self.own_data or changed)

    @property
    def parameters(self) -> dict[str, Any]:
        """This run as the parameters of a chapter."""
        dials = {name: getattr(self, name) for name in DIALS}
        others = {name: value for name, value in self.arguments.items() if name not in DIALS}
        return {**dials, "settings": others} if others else dials

    @property
    def arguments(self) -> dict[str, Any]:
        """What a pipeline is made from that does what this one does, as JSON knows it."""
        given = {}
        for part in dataclasses.fields(self):
            value = getattr(self, part.name)
            if part.name in DIALS or value not in (part.default, {}):
                given[part.name] = list(value) if isinstance(value, tuple) else value
        return given

    def recipe(self, stage: Stage) -> Recipe:
        """The recipe of ``dsft`` or ``ddpo`` with this run's seed and changes."""
        revision = getattr(self.setting.base_model, "revision", None) if stage == "dsft" else None
        common = {"seed": self.seed, "model_revision": revision}
        changes = self.changes.get(stage, {})
        if stage in self.recipes:
            made = load_recipe(self.recipes[stage], stage, **common, **changes)
        else:
            if self.feedback or self.preferences:
                changes = {**self.setting.own_data_changes.get(stage, {}), **changes}
            made = self.setting.recipe(stage, **common, **changes)
        # none is a value too, which `load_recipe` takes for no change
        return made | {name: None for name, value in changes.items() if value is None}
