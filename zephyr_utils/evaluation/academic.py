"""Academic tasks (multiple choice, no judge) through EleutherAI's lm-eval, which is an optional
extra.

The paper's Table 2 is the first Open LLM Leaderboard: four tasks at fixed numbers of worked
examples. We do not re-implement them; this file writes the command for a model of the reader's and
reads what lm-eval reports.
"""

import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from zephyr_utils.evaluation.common import EvaluationError, finite_number
from zephyr_utils.files import existing_path


@dataclass(frozen=True)
class AcademicTask:
    """One task as lm-eval names it, how it is set, and Zephyr-7B-beta's published figure in
    percent.
    """

    title: str
    task: str
    shots: int
    metric: str
    zephyr: float
    chance: float | None
    source: str


_METRICS = ("acc", "acc_norm", "exact_match")  # those that are read of a results file
_TABLE_2 = "arXiv 2310.16944, Table 2"
# Of a runner that guessed for every open model; withdrawn in July 2024, not measured again (errata,
# 16). Means over samples of 250 questions per part, the error of the zero-shot one 3.1 points.
_LEADERBOARD = "nadavlab/MedConceptsQA (arXiv 2405.07348), of a faulty runner, since withdrawn"
ACADEMIC_TASKS = (
    AcademicTask("ARC challenge", "arc_challenge", 25, "acc_norm", 62.03, 25.0, _TABLE_2),
    AcademicTask("HellaSwag", "hellaswag", 10, "acc_norm", 84.52, 25.0, _TABLE_2),
    AcademicTask("MMLU", "mmlu", 5, "acc", 61.44, 25.0, _TABLE_2),
    AcademicTask("TruthfulQA", "truthfulqa_mc2", 0, "acc", 57.44, None, _TABLE_2),
    AcademicTask("MedConceptsQA, zero-shot", "med_concepts_qa", 0, "acc", 25.5, 25.0, _LEADERBOARD),
    AcademicTask("MedConceptsQA, few-shot", "med_concepts_qa", 4, "acc", 25.1, 25.0, _LEADERBOARD),
)


@dataclass(frozen=True)
class TaskScore:
    """One figure of one task in percent, with lm-eval's standard error (None where it has none)."""

    task: str
    metric: str
    score: float
    standard_error: float | None
    shots: int | None


def lm_eval_command(
    model: str | Path,
    task: str,
    shots: int = 0,
    *,
    output: str | Path,
    limit: int | None = None,
    task_folder: str | Path | None = None,
) -> list[str]:
    """The lm-eval command for one task, ready for ``subprocess.run``.

    Args:
        model: a model directory or an address on the Hub.
        task: lm-eval's name of the task, such as those in ``ACADEMIC_TASKS``.
        shots: worked examples shown before each question.
        output: folder for the results file that :func:`read_lm_eval_results` reads.
        limit: questions to ask, for a quick look (the figure is then no benchmark result).
        task_folder: folder with task files of one's own.
    """
    # lm-eval splits its model arguments at commas and equals signs; such a path would be cut in
    # two.
    if set(str(model)) & {",", "="}:
        raise EvaluationError(
            f"the model path {str(model)!r} has a comma or an equals sign, at which lm-eval would "
            f"cut it",
            where="model",
            remedy="move or link the model to a path without them.",
        )
    command = [
        sys.executable,
        "-m",
        "lm_eval",
        "run",
        "--model",
        "hf",
        "--model_args",
        f"pretrained={model}",
    ]
    command += [
        "--tasks",
        task,
        "--num_fewshot",
        str(shots),
        "--batch_size",
        "8",
        "--output_path",
        str(output),
    ]
    if limit is not None:
        command += ["--limit", str(limit)]
    if task_folder is not None:
        command += ["--include_path", str(task_folder)]
    return command


def _newest_results(path: Path) -> Path:
    if not path.is_dir():
        return path
    files = sorted(path.rglob("results*.json"), key=lambda file: (file.stat().st_mtime, file.name))
    if not files:
        raise EvaluationError(
            "no results*.json in it",
            where=str(path),
            remedy="give the folder that was lm-eval's --output_path.",
        )
    return files[-1]


def read_lm_eval_results(path: str | Path, tasks: Sequence[str] | None = None) -> list[TaskScore]:
    """The accuracies in a results file of lm-eval, in percent.

    Args:
        path: the file, or the folder given as ``--output_path`` (its newest results file is read).
        tasks: keep these tasks only; each must be there.

    Raises:
        EvaluationError: no file, not lm-eval's results, a wanted task that is missing, or a figure
            that is not a share from 0 to 1, or none at all.
    """
    file = _newest_results(Path(path))
    try:
        report = json.loads(file.read_text(encoding="utf-8"))
        results = {task: dict(scores) for task, scores in report["results"].items()}
        shots = dict(report.get("n-shot") or {})
    except OSError as error:
        raise EvaluationError(
            f"cannot be read ({error.strerror})", where=str(file), remedy="check the path."
        ) from error
    except (AttributeError, ValueError, KeyError, TypeError) as error:
        raise EvaluationError(
            "is not a results file of lm-eval (no whole JSON with a field 'results')",
            where=str(file),
            remedy="run lm-eval again with --output_path; the run may have been stopped.",
        ) from error
    if absent := [task for task in tasks or () if task not in results]:
        raise EvaluationError(
            f"has no results for {', '.join(absent)}",
            where=str(file),
            remedy=f"it holds: {', '.join(results)}.",
        )
    scores = []
    for task in tasks if tasks is not None else results:
        for key, value in results[task].items():
            metric, _, filtered_by = key.partition(",")
            if metric not in _METRICS:
                continue
            score = finite_number(value)
            if score is None or not 0 <= score <= 1:
                raise EvaluationError(
                    f"{metric} of {task} is {value!r}, not a share from 0 to 1",
                    where=str(file),
                    remedy="give the file that lm-eval wrote, unchanged; or run that task again.",
                )
            spread = finite_number(results[task].get(f"{metric}_stderr,{filtered_by}"))
            n_shots = shots.get(task)
            scores.append(
                TaskScore(
                    task,
                    metric,
                    100 * score,
                    None if spread is None else 100 * spread,
                    n_shots if isinstance(n_shots, int) else None,
                )
            )
    if not scores:
        raise EvaluationError(
            f"holds no {', '.join(_METRICS[:-1])} or {_METRICS[-1]} of any task",
            where=str(file),
            remedy="give the results of a task that lm-eval scores by accuracy.",
        )
    return scores


def check_academic(wanted: str) -> None:
    """See that tasks can be run, before any model is asked.

    Args:
        wanted: as for `academic_scores`.

    Raises:
        EvaluationError: lm-eval is not installed, and `wanted` is not a file of results.
    """
    if not existing_path(wanted) and importlib.util.find_spec("lm_eval") is None:
        raise EvaluationError(
            "lm-eval is not installed, and there is no results file of that name",
            where=f"--academic {wanted}",
            remedy='pip install "zephyr-handbook[academic]", or give a results file that lm-eval '
            "wrote.",
        )


def academic_scores(wanted: str, models: Mapping[str, str], folder: Path) -> list[TaskScore]:
    """lm-eval's accuracies: read from a results file or folder, or measured by running tasks on
    each model.

    Args:
        wanted: a path, or task names with their shots: ``arc_challenge:25,truthfulqa_mc2:0``.
        models: name -> model directory or address; not used for a path.
        folder: where lm-eval writes its results, a folder for each model and task.

    Returns:
        The scores; a task's name has the model's before it (``ddpo: arc_challenge``) where it was
            run here.

    Raises:
        EvaluationError: lm-eval is not installed, an entry that is not a task, or a task that
            stopped (with lm-eval's own last line).
    """
    if path := existing_path(wanted):
        return read_lm_eval_results(path)
    check_academic(wanted)
    scores = []
    for name, directory in models.items():
        for entry in wanted.split(","):
            task, _, shots = entry.strip().partition(":")
            if not re.fullmatch(r"[\w.-]+", task) or not (shots or "0").isdigit():
                raise EvaluationError(
                    f"{entry!r} is not a task",
                    where="--academic",
                    remedy="write task:shots, such as arc_challenge:25.",
                )
            output = folder / f"{name}-{task}-{shots or 0}"
            command = lm_eval_command(directory, task, int(shots or 0), output=output)
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                last = (done.stderr.strip().splitlines() or ["no message"])[-1]
                raise EvaluationError(
                    f"lm-eval stopped: {last}",
                    where=f"{task} on {name}",
                    remedy="fix that, then start again.",
                )
            scores += [
                replace(score, task=f"{name}: {score.task}")
                for score in read_lm_eval_results(output)
            ]
    return scores
