"""The models of a run on the website: their weights, and the explorers that fetch them.

A page asks for an explorer by the line ``<!-- talk -->`` or ``<!-- microscope -->``. Nobody fetches
the weights, which are written beside the other assets, before a click.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import anywidget
from page_html import WIDGET, safe_json

from zephyr_utils.data.records import load_records
from zephyr_utils.errors import HandbookError
from zephyr_utils.explorers.common import Explorer
from zephyr_utils.explorers.live import ADDRESS
from zephyr_utils.explorers.microscope import Microscope
from zephyr_utils.explorers.talk import Talk
from zephyr_utils.explorers.weights import BrowserModels, pack_models
from zephyr_utils.files import read_json
from zephyr_utils.miniature.small_talk import EXAMPLE_QUESTIONS, OPENING_SENTENCE
from zephyr_utils.pipeline.artefacts import MANIFEST, fingerprint
from zephyr_utils.pipeline.pipeline import DDPO, DSFT, MARGINS
from zephyr_utils.pipeline.steps.margins import HELD_OUT_PAIRS
from zephyr_utils.scales import SCALES
from zephyr_utils.training import ADAPTER

ROOT = Path(__file__).resolve().parents[1]
TALK, MICROSCOPE = "<!-- talk -->", "<!-- microscope -->"
SHOWN_PAIRS = 12  # of the held-out ones, to choose from
MOST_BYTES = 2_500_000  # what a reader who presses the button waits for
# What starts the explorers of a page, once however many there are.
HOST = '\n```{raw} html\n<script src="_static/afm-host.js" defer></script>\n```\n'
NO_MODELS = (
    "This website was built from a run that kept no models to talk to; `make run` trains them, and "
    "builds it again."
)


def models_of(run: Path) -> BrowserModels | None:
    """Base, dSFT and dDPO of a run, or None where it has no adapters of a base model at hand.

    Raises:
        HandbookError: the base model was replaced after the run, a model is of a kind that no
            browser runs, or together they are larger than `MOST_BYTES`.
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
    packed = pack_models(base, folders)
    if len(packed.payload) > MOST_BYTES:
        raise HandbookError(
            f"the models take {len(packed.payload):,} bytes, and a reader fetches {MOST_BYTES:,} "
            f"at most",
            where=str(run),
            remedy="a smaller base model, a lower rank, or fewer bits (explorers/weights.py)",
        )
    return packed


def write_models(packed: BrowserModels, assets: Path) -> Path:
    """Write header and weights where the explorers look for them; returns the header's path."""
    place = assets / Path(ADDRESS).relative_to("_static")
    return packed.write(place.parent, place.stem)


def with_explorers(page: str, run: Path, packed: BrowserModels | None) -> str:
    """A page with its marks replaced by the explorers, or by a sentence where there are no models.

    Args:
        run: that the models are of, for its held-out pairs.
    """
    draw: dict[str, Callable[[BrowserModels], Explorer]] = {
        TALK: lambda models: Talk(models, OPENING_SENTENCE, EXAMPLE_QUESTIONS),
        MICROSCOPE: lambda models: Microscope(models, *_held_out_pairs(run)),
    }
    asked = [mark for mark in draw if mark in page]
    for mark in asked:
        page = page.replace(mark, embedded(draw[mark](packed)) if packed else NO_MODELS)
    return page + HOST if asked and packed else page


def _held_out_pairs(run: Path) -> tuple[Sequence[Any], float]:
    """Some of the run's held-out pairs, evenly spaced, and the beta that it trained with."""
    pairs = load_records(run / MARGINS / HELD_OUT_PAIRS, "preference").records
    beta = read_json(run / MARGINS / MANIFEST)["recipe"]["beta"]
    return pairs[:: -(-len(pairs) // SHOWN_PAIRS)], beta


def embedded(explorer: Explorer) -> str:
    """An explorer in a page that is no notebook, as MyST-NB embeds those of notebooks."""
    ours = set(explorer.keys) - set(anywidget.AnyWidget.class_trait_names(sync=True))
    state: dict[str, Any] = explorer.get_state(sorted(ours))  # not what a front end keeps of it
    model = {"model_name": "AnyModel", "model_module": "anywidget", "state": state}
    states = {"version_major": 2, "version_minor": 0, "state": {explorer.model_id: model}}
    view = {"version_major": 2, "version_minor": 0, "model_id": explorer.model_id}
    return f"```{{raw}} html\n{_script('state', states)}\n{_script('view', view)}\n```"


def _script(kind: str, content: Mapping[str, Any]) -> str:
    text = safe_json(json.dumps(content, ensure_ascii=False))
    return f'<script type="{WIDGET}{kind}+json">{text}</script>'
