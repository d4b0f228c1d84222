"""A model card made from what the runs recorded.

The card states what is known and names what is not: nothing in it is written by hand, so nothing in
it can be wishful.
"""

from pathlib import Path
from typing import Any

import yaml

from zephyr_utils.data.records import HubAddress
from zephyr_utils.errors import HandbookError
from zephyr_utils.files import read_json
from zephyr_utils.pipeline.artefacts import MANIFEST, fingerprint, read_metrics
from zephyr_utils.pipeline.pipeline import DDPO, DSFT, EVALUATION, PAIRS, TRUECASING, Pipeline
from zephyr_utils.scales import Generated
from zephyr_utils.tables import markdown_table

STEPS = {"dsft": DSFT, "ddpo": DDPO}
STARTS = {"dsft": "base_model", "ddpo": "start"}  # names of what a step starts from in its manifest
NAMES = {"dsft": "distilled supervised fine-tuning", "ddpo": "distilled DPO"}
NEVER_EVALUATED = (
    "safety: no filter, no red team; the paper says so of Zephyr too (section 1)",
    "truthfulness, bias, languages other than English",
    "any benchmark that is not in the table above",
)


def model_card(pipeline: Pipeline, model: str = "ddpo") -> str:
    """The card of the pipeline's ``dsft`` or ``ddpo`` model, from its manifests alone: nothing is
    trained for it.

    Raises:
        HandbookError: the model is neither, or has not been made.
    """
    steps = ["dsft", "ddpo"][: ["dsft", "ddpo"].index(model) + 1] if model in STEPS else []
    if not steps:
        raise HandbookError(
            f"there is no card for `{model}`", remedy=f"choose one of {', '.join(STEPS)}"
        )
    if pipeline.sft_model:  # the chat model was there, and no dSFT is a part of this run
        steps = ["ddpo"]
    made = {step: _manifest(pipeline, step) for step in steps}
    if len(made) == 2 and made["ddpo"]["inputs"]["start"] != made["dsft"]["key"]:
        raise HandbookError(
            "the ddpo model was trained from another dsft model than the one that is there now",
            where=str(pipeline.folder),
            remedy=f"zephyr dpo --scale {pipeline.scale}, which trains it again",
        )
    base, revision = _base(pipeline)
    header = {
        "base_model": base,
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["zephyr-handbook", "trl", *(["dpo"] if model == "ddpo" else ["sft"])],
        "datasets": sorted(
            {
                source.path
                for source in _sources(pipeline, model).values()
                if isinstance(source, HubAddress)
            }
        ),
    }
    parts = [
        "---\n" + yaml.safe_dump({k: v for k, v in header.items() if v}, sort_keys=False) + "---",
        f"# {pipeline.scale} {model}",
        f"Made with the Zephyr handbook {made[model]['versions'].get('zephyr_utils', '')}, scale "
        f"`{pipeline.scale}`, seed {pipeline.seed}: "
        + ", then ".join(NAMES[step] for step in steps)
        + " (arXiv 2310.16944). All figures are from the manifests that the runs left.",
        "## Base",
        f"`{base}`"
        + (
            f", revision `{revision}`"
            if revision
            else f", sha256 `{made[steps[0]]['inputs'][STARTS[steps[0]]]}`"
        ),
        "## Data",
        markdown_table(("what", "from", "revision or sha256"), _data_rows(pipeline, model)),
        *_row_counts(made),
        "## Training",
    ]
    for step, manifest in made.items():
        parts += [
            f"### {step}",
            "```yaml\n" + yaml.safe_dump(manifest["recipe"], sort_keys=False).strip() + "\n```",
        ]
    parts += [
        markdown_table(("step", "seconds", "peak memory of the process (MB)", "interrupted"),
               [(step, f"{m['seconds']:.0f}", f"{m['peak_memory_mb']:.0f}",
                 "yes, seconds since" if m["resumed"] else "no")
                for step, m in made.items()]),
        f"Hardware: {_hardware(pipeline, model)}. Libraries: "
        + ", ".join(f"{name} {version}" for name, version in made[model]["versions"].items()) + ".",
        "## Measured",
        markdown_table(("figure", "value"), _measured(pipeline, made, model)),
        "## Not evaluated",
        "\n".join(f"- {line}" for line in (*_missing(pipeline, model), *NEVER_EVALUATED)),
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _manifest(pipeline: Pipeline, step: str) -> dict[str, Any]:
    if manifest := read_json(pipeline.folder / STEPS[step] / MANIFEST):
        return manifest
    command = {"dsft": "sft", "ddpo": "dpo"}[step]
    raise HandbookError(
        f"the {step} model has not been made",
        where=str(pipeline.folder / STEPS[step]),
        remedy=f"zephyr {command} --scale {pipeline.scale}",
    )


def _base(pipeline: Pipeline) -> tuple[str, str | None]:
    source = pipeline.setting.base_model
    if isinstance(source, HubAddress):
        return source.path, source.revision
    given = pipeline.base_model or pipeline.sft_model or not pipeline.setting.base_name
    return (source.name if given else pipeline.setting.base_name), None


def _sources(pipeline: Pipeline, model: str) -> dict[str, Any]:
    names = ["dialogues"] if model == "dsft" else ["dialogues", "feedback"]
    sources = {name: getattr(pipeline.setting, name) for name in names}
    if model == "ddpo" and pipeline.preferences:
        sources.pop("feedback")
        sources["preferences"] = Path(pipeline.preferences)
    if pipeline.sft_model:
        sources.pop("dialogues")
    return sources


def _data_rows(pipeline: Pipeline, model: str) -> list[tuple[str, str, str]]:
    rows = []
    for name, source in _sources(pipeline, model).items():
        if isinstance(source, HubAddress):
            rows.append(
                (
                    name,
                    f"{source.path}, split {source.split}",
                    source.revision or "the newest at the time: not pinned",
                )
            )
        elif isinstance(source, Generated):
            folder = TRUECASING if name == "dialogues" else PAIRS
            hashes = read_json(pipeline.folder / folder / MANIFEST).get("inputs", {})
            rows.append((name, source.description, hashes.get(name, "not recorded")))
        else:
            digest = fingerprint(Path(source)) if Path(source).exists() else "gone"
            rows.append((name, f"own data, {Path(source).name}", digest))
    if pipeline.limit is None:
        return rows
    return [(name, f"{what}, the first {pipeline.limit:,} rows", key) for name, what, key in rows]


def _row_counts(made: dict[str, dict[str, Any]]) -> list[str]:
    lines = []
    for step, manifest in made.items():
        rows, aside = (
            manifest["rows"],
            {k: v for k, v in manifest["results"].get("set_aside", {}).items() if v},
        )
        why = (
            f" ({', '.join(f'{count} {reason}' for reason, count in aside.items())})"
            if aside
            else ""
        )
        lines.append(
            f"- {step}: {rows['rows_in']} rows in, {rows['rows_set_aside']} set aside{why}, "
            f"{rows['rows_trained']} trained on, {rows['rows_held_out']} held out"
        )
    return ["\n".join(lines)]


def _hardware(pipeline: Pipeline, model: str) -> str:
    report = read_json(pipeline.folder / "report.json").get("chapters", {}).get(STEPS[model], {})
    stamp = report.get("environment")
    if not stamp:
        return "not recorded (the run did not execute the chapters)"
    return (
        f"{stamp['cpu']}, {stamp['cores']} cores, {stamp['memory_gb']} GB, "
        f"accelerator {stamp['accelerator']}"
    )


def _measured(
    pipeline: Pipeline, made: dict[str, dict[str, Any]], model: str
) -> list[tuple[str, str]]:
    rows = [
        (f"{step}: {name.replace('_', ' ')}", f"{value:.4f}")
        for step, manifest in made.items()
        for name, value in manifest["results"].items()
        if isinstance(value, float)
    ]
    try:
        chapter = read_metrics(pipeline.folder / STEPS[model])
    except HandbookError:
        chapter = {}
    rows += [
        (f"chapter: {name.replace('_', ' ')}", f"{v:.4f}")
        for name, v in chapter.items()
        if "held_out" in name and isinstance(v, float)
    ]
    exam, results = pipeline.setting.exam, _exam(pipeline, model).get("results", {})
    rows += [
        (
            f"exam of {exam.description}, {exam.judge_description} as judge: "
            f"{name.replace('_', ' ')}",
            f"{value:.4g}",
        )
        for name, value in results.items()
        if isinstance(value, int | float)
    ]
    return rows


def _exam(pipeline: Pipeline, model: str) -> dict[str, Any]:
    """The exam's manifest if it was this very model that sat it, and not one that was trained
    before.
    """
    manifest = read_json(pipeline.folder / EVALUATION / model / MANIFEST)
    same = manifest.get("inputs", {}).get("model") == fingerprint(
        pipeline.folder / STEPS[model] / "model"
    )
    return manifest if same else {}


def _missing(pipeline: Pipeline, model: str) -> list[str]:
    lines = [
        "MT-Bench and AlpacaEval with a model as judge: not run by the pipeline itself (`zephyr "
        "evaluate --questions ...`)"
    ]
    if not _exam(pipeline, model):
        lines.append("the handbook's own exam: not run on this model")
    if not pipeline.setting.searched:
        lines.append("the learning rates of this scale: taken from published recipes, not searched")
    return lines
