"""The models of a run on the website: their weights, and the explorers that fetch them.

A page asks for an explorer by a line such as ``<!-- talk -->``. Nobody fetches the weights, which
are written beside the other assets, before a click.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import anywidget
from best_of_n import FOLDER as BEST_OF_N_FOLDER
from best_of_n import inputs_of as answers_inputs
from checkpoints import MEASURED, inputs_of, kept_adapters
from page_html import WIDGET, safe_json

from zephyr_utils.chat import Conversation
from zephyr_utils.data.records import load_records
from zephyr_utils.errors import HandbookError
from zephyr_utils.explorers.best_of_n import BestOfN
from zephyr_utils.explorers.common import Explorer
from zephyr_utils.explorers.learning import CHECKPOINTS, Learning, Stage, model_at
from zephyr_utils.explorers.live import MODELS, address_of
from zephyr_utils.explorers.microscope import Microscope
from zephyr_utils.explorers.talk import Talk
from zephyr_utils.explorers.weights import BrowserModels, pack_checkpoints, pack_models
from zephyr_utils.files import read_json
from zephyr_utils.miniature.data import dialogues
from zephyr_utils.miniature.small_talk import EXAMPLE_QUESTIONS, OPENING_SENTENCE
from zephyr_utils.pipeline.artefacts import MANIFEST, fingerprint
from zephyr_utils.pipeline.pipeline import DDPO, DSFT, MARGINS
from zephyr_utils.pipeline.steps.margins import HELD_OUT_PAIRS
from zephyr_utils.scales import SCALES
from zephyr_utils.training import ADAPTER

ROOT = Path(__file__).resolve().parents[1]
TALK, MICROSCOPE, BEST_OF_N = "<!-- talk -->", "<!-- microscope -->", "<!-- best of n -->"
LEARNING: dict[str, Stage] = {
    "<!-- learning: dSFT -->": "dSFT",
    "<!-- learning: dDPO -->": "dDPO",
}
MARKS = (TALK, MICROSCOPE, *LEARNING, BEST_OF_N)
TRAINED: dict[Stage, str] = {"dDPO": DDPO, "dSFT": DSFT}  # the first to be packed first
Checkpoints = Mapping[Stage, BrowserModels]
SHOWN_PAIRS = 12  # of the held-out ones, to choose from
ROUNDING_TEXTS = 200
MOST_BYTES = 2_500_000  # that a reader fetches who presses every button
# What starts the explorers of a page, once however many there are.
HOST = '\n```{raw} html\n<script src="_static/afm-host.js" defer></script>\n```\n'
NO_MODELS = (
    "This website was built from a run that kept no models to talk to; `make run` trains them, and "
    "builds it again."
)

NO_CHECKPOINTS = (
    "This website was built from a run that kept no checkpoints of {}; `make run` trains it with "
    "checkpoints, and builds the website again."
)

NO_ANSWERS = (
    "This website was built from a run that drew no answers to choose from; `make run` draws them, "
    "and builds the website again."
)


def models_of(run: Path) -> BrowserModels | None:
    """Base, dSFT and dDPO of a run, or None where it has no adapters of a base model at hand.

    Raises:
        HandbookError: the base model was replaced after the run, a model is of a kind that no
            browser runs, or together they are larger than `MOST_BYTES` allows.
    """
    folders = {"dSFT": run / DSFT / ADAPTER, "dDPO": run / DDPO / ADAPTER}
    scale = SCALES.get(run.name)
    base = scale.base_model if scale else None
    if not isinstance(base, Path) or not all(folder.is_dir() for folder in folders.values()):
        return None
    trained_from = read_json(run / DSFT / MANIFEST).get("inputs", {}).get("base_model")
    if trained_from != fingerprint(base):
        raise HandbookError(
            "the base model is not the one that this run's models were trained from",
            where=str(run / DSFT),
            remedy="train again: make run",
        )
    return _small_enough(pack_models(base, folders, texts=rounding_texts()), run)


def rounding_texts() -> list[Conversation]:
    """Dialogues of the miniature's training data, by which its base model is rounded."""
    roles = ("user", "assistant")
    return [
        [{"role": roles[n % 2], "content": text} for n, text in enumerate(record["data"])]
        for record in dialogues(ROUNDING_TEXTS)
    ]


def checkpoints_of(run: Path, packed: BrowserModels) -> dict[Stage, BrowserModels]:
    """The checkpoints of a run's dSFT and dDPO, of each training but the last, which is one of the
    models; none of a stage of which none were kept.

    Where `MOST_BYTES` cannot hold them all, the last ones of dSFT are left out, which is said.

    Args:
        packed: the run's models, which they rest on.

    Raises:
        HandbookError: the checkpoints are of another run's models, or even those of dDPO are too
            large.
    """
    kept: dict[Stage, BrowserModels] = {}
    for stage in TRAINED:
        if not _measured(run, stage):
            continue
        steps = list(kept_adapters(run, TRAINED[stage]).items())
        adapters = {model_at(step): folder for step, folder in steps[:-1]}
        part = pack_checkpoints(packed, stage, adapters)
        while stage == "dSFT" and adapters and _size(packed, *kept.values(), part) > MOST_BYTES:
            name, _ = adapters.popitem()
            print(f"{name} of {stage} is left out: {MOST_BYTES:,} bytes do not hold it")
            part = pack_checkpoints(packed, stage, adapters)
        kept[stage] = _small_enough(part, run, packed, *kept.values())
    return kept


def _measured(run: Path, stage: Stage) -> dict[str, Any]:
    """What was measured of the checkpoints of a stage; nothing where none were kept.

    Raises:
        HandbookError: they are of another run's models.
    """
    name = MEASURED[TRAINED[stage]]
    made = read_json(run / name / MANIFEST)
    if made and made["inputs"] != inputs_of(run, TRAINED[stage]):
        raise HandbookError(
            f"the checkpoints are not those of this run's {stage}",
            where=str(run / name),
            remedy="make them again: python tools/checkpoints.py",
        )
    return made["results"] if made else {}


def _small_enough(packed: BrowserModels, run: Path, *fetched: BrowserModels) -> BrowserModels:
    """The same, if it is small enough beside what is `fetched` before it."""
    size = _size(packed, *fetched)
    if size > MOST_BYTES:
        raise HandbookError(
            f"the models take {size:,} bytes, and a reader fetches {MOST_BYTES:,} at most",
            where=str(run),
            remedy="a smaller base model, a lower rank, or fewer bits (explorers/weights.py)",
        )
    return packed


def _size(*parts: BrowserModels) -> int:
    return sum(len(part.payload) for part in parts)


def write_models(packed: BrowserModels, assets: Path, name: str = MODELS) -> Path:
    """Write header and weights where the explorers look for them; returns the header's path."""
    place = assets / Path(address_of(name)).relative_to("_static")
    return packed.write(place.parent, place.stem)


def write_checkpoints(checkpoints: Checkpoints, assets: Path) -> list[Path]:
    """The same for the checkpoints of each stage."""
    return [write_models(part, assets, CHECKPOINTS[stage]) for stage, part in checkpoints.items()]


def with_explorers(
    page: str, run: Path, packed: BrowserModels | None, checkpoints: Checkpoints | None = None
) -> str:
    """A page with its marks replaced by the explorers, or by a sentence where there are no models
    or no checkpoints.

    Args:
        run: that the models are of, for its held-out pairs and what was measured of its
            checkpoints.
    """
    shows_one = False
    for mark in (mark for mark in MARKS if mark in page):
        shown = _explorer(mark, run, packed, checkpoints or {}) if packed else NO_MODELS
        if isinstance(shown, Explorer):
            shown, shows_one = embedded(shown), True
        page = page.replace(mark, shown)
    return page + HOST if shows_one else page


def _explorer(
    mark: str, run: Path, packed: BrowserModels, checkpoints: Checkpoints
) -> Explorer | str:
    """What is in place of a mark."""
    if mark == TALK:
        return Talk(packed, OPENING_SENTENCE, EXAMPLE_QUESTIONS)
    if mark == MICROSCOPE:
        return Microscope(packed, *_held_out_pairs(run))
    if mark == BEST_OF_N:
        questions = _questions_with_answers(run)
        return BestOfN(questions) if questions else NO_ANSWERS
    stage = LEARNING[mark]
    if stage not in checkpoints:
        return NO_CHECKPOINTS.format(stage)
    measured = _measured(run, stage)
    return Learning(packed, checkpoints[stage], measured, EXAMPLE_QUESTIONS, stage)


def _held_out_pairs(run: Path) -> tuple[Sequence[Any], float]:
    """Some of the run's held-out pairs, evenly spaced, and the beta that it trained with."""
    pairs = load_records(run / MARGINS / HELD_OUT_PAIRS, "preference").records
    beta = read_json(run / MARGINS / MANIFEST)["recipe"]["beta"]
    return pairs[:: -(-len(pairs) // SHOWN_PAIRS)], beta


def _questions_with_answers(run: Path) -> list[dict[str, Any]]:
    """What the best of n is chosen from, or nothing where the run has drawn no answers.

    Raises:
        HandbookError: the answers are of another run's models.
    """
    made = read_json(run / BEST_OF_N_FOLDER / MANIFEST)
    if made and made["inputs"] != answers_inputs(run):
        raise HandbookError(
            "the answers to choose from are not those of this run's models",
            where=str(run / BEST_OF_N_FOLDER),
            remedy="draw them again: python tools/best_of_n.py",
        )
    return made["results"]["questions"] if made else []


def embedded(explorer: Explorer) -> str:
    """An explorer in a page that is not a notebook, as MyST-NB embeds those of notebooks."""
    ours = set(explorer.keys) - set(anywidget.AnyWidget.class_trait_names(sync=True))
    state: dict[str, Any] = explorer.get_state(sorted(ours))  # not what a front end keeps of it
    model = {"model_name": "AnyModel", "model_module": "anywidget", "state": state}
    states = {"version_major": 2, "version_minor": 0, "state": {explorer.model_id: model}}
    view = {"version_major": 2, "version_minor": 0, "model_id": explorer.model_id}
    return f"```{{raw}} html\n{_script('state', states)}\n{_script('view', view)}\n```"


def _script(kind: str, content: Mapping[str, Any]) -> str:
    text = safe_json(json.dumps(content, ensure_ascii=False))
    return f'<script type="{WIDGET}{kind}+json">{text}</script>'
