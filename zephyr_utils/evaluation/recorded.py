"""Records on disk: questions and answers in one file, judgments and annotations in files or folders
as their projects lay them out.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from zephyr_utils.data.read import SUFFIXES
from zephyr_utils.evaluation.common import (
    EvaluationError,
    check_names,
    load_rows,
    storable_rows,
    warn_all,
)
from zephyr_utils.evaluation.types import (
    AlpacaEvalAnnotation,
    MTBenchAnswer,
    MTBenchJudgment,
    MTBenchPairJudgment,
    MTBenchQuestion,
)

_OTHER_NAMES = ("model_id", "model_name", "generator")
# Fields of records that are not judgments of this protocol -> what they are, and what to do.
_OTHER_RECORDS = {
    "choices": ("answers", "give their judgments (FastChat: model_judgment/); `zephyr evaluate "
                "FILE` has answers graded"),
    "games": ("Arena-Hard's judgments", "judge single answers, or write g1_winner and g2_winner"),
    "winner": ("comparisons in one order", "write model_1, model_2, and the winners of both orders "
               "as g1_winner and g2_winner"),
    "turns": ("questions", "give their judgments; the questions go into --questions"),
}  # fmt: skip
# Both projects write JSON; tables that lie beside it (leaderboards) are read when they are named.
_ENDINGS = (".jsonl", ".json", ".jsonl.gz")


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]  # a missing file is named by whoever reads it
    endings = (*SUFFIXES, ".gz", ".zip")
    found = sorted(f for f in path.rglob("*") if f.name.lower().endswith(endings) and f.is_file())
    files = [file for file in found if file.name.lower().endswith(_ENDINGS)]
    if others := [f.relative_to(path) for f in found if not f.name.lower().endswith(_ENDINGS)]:
        text = f"{len(others)} of {len(found)} files of records are neither .json nor .jsonl"
        text += f" and are not read, the first: {others[0]}; name a file to have it read"
        warn_all([f"{path}: {text}"])
    if not files:
        raise EvaluationError(
            "holds no .json or .jsonl file",
            where=str(path),
            remedy="name the file of records, or the folder that holds such files.",
        )
    return files


def annotation_files(paths: Iterable[str | Path]) -> dict[str, Path]:
    """Model names and their files of AlpacaEval annotations.

    Two layouts are known: ``<model>.jsonl``, and AlpacaEval's own
    ``<model>/<judge>/annotations.json``. A model that several judges annotated is named ``model
    (judge)``.

    Args:
        paths: files, or folders that are searched with all folders in them.

    Raises:
        EvaluationError: a folder without such files, or one name for two files.
    """
    named: list[tuple[str, str, Path]] = []
    for path in paths:
        for file in _files(Path(path)):
            name = file.name.rpartition(".json")[0]
            if not name or file.name.startswith("annotations."):  # Parquet and CSV are read too
                name = file.name.partition(".")[0]
            folders = [folder.name for folder in file.resolve().parents[:2]]
            named.append(
                (folders[1], folders[0], file) if name == "annotations" else (name, "", file)
            )
    models = [model for model, _, _ in named]
    files: dict[str, Path] = {}
    for model, judge, file in named:
        name = f"{model} ({judge})" if judge and models.count(model) > 1 else model
        if name in files:
            raise EvaluationError(
                f"two files are about {name!r}: {files[name].name} and {file.name}",
                where="annotations",
                remedy="give each model's file a name of its own.",
            )
        files[name] = file
    return files


def load_questions(path: str | Path) -> list[MTBenchQuestion]:
    """The questions of one file, free of what no request can hold."""
    return cast(list[MTBenchQuestion], storable_rows(load_rows(path)))


def load_answers(path: str | Path) -> list[MTBenchAnswer]:
    """The answers of one file, free of what no request and no file can hold.

    Raises:
        EvaluationError: as :func:`~zephyr_utils.evaluation.load_rows`; some answers name their
            model and others do not, or not as a text.
    """
    rows = load_rows(path)
    # a file that names no model at all is named by its own name
    if any(row.get("model_id") for row in rows):
        check_names(enumerate(rows, start=1), "model_id", str(path))
    return cast(list[MTBenchAnswer], storable_rows(rows))


def read_annotations(paths: Iterable[str | Path]) -> dict[str, list[AlpacaEvalAnnotation]]:
    """Annotations by model, from files or folders; names as :func:`annotation_files` finds them."""
    files = annotation_files(paths)
    return {name: cast(list[AlpacaEvalAnnotation], load_rows(file)) for name, file in files.items()}


def read_judgments(
    paths: Iterable[str | Path],
) -> tuple[list[MTBenchJudgment], list[MTBenchPairJudgment]]:
    """MT-Bench judgments from files or folders: the single grades, and the pairwise ones (known by
    ``g1_winner``).

    Raises:
        EvaluationError: as :func:`~zephyr_utils.evaluation.load_rows`; records of another kind,
            some without their model's name, or a comparison without one.
    """
    single: list[dict[str, Any]] = []
    pairwise: list[dict[str, Any]] = []
    for file in (file for path in paths for file in _files(Path(path))):
        rows = list(enumerate(load_rows(file), start=1))
        graded = [(number, row) for number, row in rows if "g1_winner" not in row]
        compared = [(number, row) for number, row in rows if "g1_winner" in row]
        _check_records(graded, str(file))
        check_names(graded, "model", str(file))
        if not any("model" in row for _, row in graded):  # the file's name is that of its model
            _check_other_names(graded, str(file))
            graded = [
                (number, {**row, "model": file.name.partition(".")[0]}) for number, row in graded
            ]
        for name in ("model_1", "model_2"):
            check_names(compared, name, str(file), needed=True)
        single += [row for _, row in graded]
        pairwise += [row for _, row in compared]
    return cast(list[MTBenchJudgment], single), cast(list[MTBenchPairJudgment], pairwise)


def _check_records(rows: Iterable[tuple[int, dict[str, Any]]], where: str) -> None:
    """Refuse records that are not judgments, such as the answers in the folder beside them."""
    for number, row in rows:
        for field, (what, remedy) in _OTHER_RECORDS.items():
            if field in row and not {"score", "judgment"} & row.keys():
                raise EvaluationError(
                    f"the records are {what} (`{field}`), not judgments",
                    where=f"{where}, record {number}",
                    remedy=f"{remedy}.",
                )


def _check_other_names(rows: Iterable[tuple[int, dict[str, Any]]], where: str) -> None:
    """Refuse judgments that name their models under another name than FastChat's ``model``: they
    may be of several, which would be averaged under the file's name.
    """
    names = sorted({name for _, row in rows for name in _OTHER_NAMES if name in row})
    if names:
        raise EvaluationError(
            f"the judgments name their model in `{names[0]}`, not in `model`",
            where=where,
            remedy=f"rename `{names[0]}` to `model`.",
        )
