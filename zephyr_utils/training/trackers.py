"""Trackers that a training can report to besides its own ``log.json``."""

from collections.abc import Sequence
from importlib.util import find_spec

from zephyr_utils.errors import HandbookError

# Name -> modules of which one has to be there, and what pip is given.
TRACKERS: dict[str, tuple[tuple[str, ...], str]] = {
    "trackio": (("trackio",), "trackio"),
    "tensorboard": (("tensorboard", "tensorboardX"), "tensorboard"),
    "wandb": (("wandb",), "wandb"),
}


def check_trackers(names: Sequence[str]) -> tuple[str, ...]:
    """The trackers by name, each once and without ``none``.

    Raises:
        HandbookError: the library of one is not installed, or ``none`` is given with others.
    """
    trackers = tuple(dict.fromkeys(name for name in names if name != "none"))
    if trackers and len(trackers) < len(set(names)):
        raise HandbookError(
            f"none and {', '.join(trackers)} exclude each other",
            where="--report-to",
            remedy="leave one of them out",
        )
    for name in trackers:
        modules, package = TRACKERS[name]
        if not any(find_spec(module) for module in modules):
            raise HandbookError(
                f"{name} is not installed", where="--report-to", remedy=f"pip install {package}"
            )
    return trackers
