"""The upload of a trained model to the Hub, which happens only when it is asked for."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from zephyr_utils.errors import HandbookError
from zephyr_utils.pipeline.model_card import STEPS, model_card
from zephyr_utils.pipeline.pipeline import Pipeline

# What may leave this machine. A pickle is not among it, nor a log of anything but the training.
PUBLISHED = ("*.safetensors", "*.json", "*.jinja", "tokenizer.model", "merges.txt")


@dataclass(frozen=True)
class HubUpload:
    """What would be uploaded.

    Attributes:
        repository: ``owner/name`` on the Hub.
        card: the README.md.
        files: path in the repository -> path here.
    """

    repository: str
    card: str
    files: dict[str, Path]

    @property
    def size(self) -> int:
        """Bytes, the card included."""
        card = len(self.card.encode(errors="backslashreplace"))  # a path may not be UTF-8
        return sum(path.stat().st_size for path in self.files.values()) + card


def hub_upload(pipeline: Pipeline, repository: str, model: str = "ddpo") -> HubUpload:
    """The card and the files of the merged model that would go to `repository`; nothing is sent.

    Raises:
        HandbookError: the name is not ``owner/name``, the model has not been made, or a file names
            a folder of this machine.
    """
    try:
        validate_repo_id(repository if "/" in repository else f"{repository}/")
    except HFValidationError as error:
        raise HandbookError(
            f"`{repository}` is not a repository name",
            where="push",
            remedy="write owner/name, in letters, digits and -_.",
        ) from error
    card, folder = model_card(pipeline, model), pipeline.folder / STEPS[model] / "model"
    files = {path.name: path for pattern in PUBLISHED for path in sorted(folder.glob(pattern))}
    for name, path in files.items():
        if (
            path.suffix == ".json"
            and name != "tokenizer.json"
            and (local := _local_paths(json.loads(path.read_text())))
        ):
            raise HandbookError(
                f"{name} names a folder of this machine: {local[0]}",
                where=str(path),
                remedy="take the entry out",
            )
    return HubUpload(repository, card, files)


def _local_paths(value: Any) -> list[str]:
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return [path for item in inner for path in _local_paths(item)]
    return (
        [value]
        if isinstance(value, str) and Path(value).is_absolute() and Path(value).parent != Path("/")
        else []
    )


def push(ready: HubUpload, private: bool = True) -> str:
    """Upload in one commit, to a private repository by default; returns its address.

    The token is read from HF_TOKEN and goes nowhere but to the Hub's client.

    Raises:
        HandbookError: there is no token, or the Hub refuses; the message never holds the token.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    token = os.environ.get("HF_TOKEN", "")
    if not token:
        raise HandbookError(
            "no HF_TOKEN in the environment",
            where="push",
            remedy="export a token that may write, then try again",
        )
    api = HfApi(token=token)
    parts = [CommitOperationAdd("README.md", ready.card.encode(errors="backslashreplace"))]
    parts += [CommitOperationAdd(name, str(path)) for name, path in ready.files.items()]
    try:
        api.create_repo(ready.repository, private=private, exist_ok=True)
        api.create_commit(
            ready.repository,
            operations=parts,
            commit_message="Model and card from the Zephyr handbook",
        )
    except Exception as error:  # no network, no right, no such owner: each an error of its own
        words = str(error).strip().partition("\n")[0].replace(token, "...")
        raise HandbookError(
            f"the Hub refused it: {type(error).__name__}: {words}",
            where=ready.repository,
            remedy="check network and token",
        ) from None
    return ready.repository
