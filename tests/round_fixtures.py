"""What the tests of rounds begin with: rated answers, a random model, a run, a refused command."""

from tiny import save_base
from typer.testing import CliRunner

from zephyr_utils.cli import app
from zephyr_utils.data.records import save_records
from zephyr_utils.errors import HandbookError
from zephyr_utils.miniature import data as world
from zephyr_utils.pipeline.pipeline import Pipeline

QUESTIONS = world.questions()[:2]


def rating(value):
    return {"instruction_following": {"Rating": str(value), "Rationale": ""}}


def record(prompt, *ratings):
    completions = [
        {
            "model": f"m, sample {n}",
            "response": f"answer {n} to {prompt}",
            "annotations": {} if value is None else rating(value),
            "critique": "",
            "overall_score": None,
        }
        for n, value in enumerate(ratings, start=1)
    ]
    models = [one["model"] for one in completions]
    return {"source": "", "instruction": prompt, "models": models, "completions": completions}


def start_directory(folder):
    """A random model in a folder, whose context takes texts that are long in so few words."""
    save_base(folder, max_position_embeddings=1024)
    return folder


def run_of(start, folder, monkeypatch):
    """A run of few prompts, whose exam has two questions."""
    monkeypatch.setattr(Pipeline, "questions", lambda self: QUESTIONS)
    feedback = save_records(world.feedback(40), folder / "prompts.jsonl")
    return Pipeline(
        sft_model=str(start),
        feedback=str(feedback),
        runs=str(folder / "runs"),
        changes={"ddpo": {"per_device_train_batch_size": 4, "learning_rate": 1e-3}},
    )


def refused(pipeline, *options):
    """What ``zephyr online`` says, which has to refuse before anything is sampled."""
    given = ["--sft-model", pipeline.sft_model, "--feedback", pipeline.feedback]
    done = CliRunner().invoke(app, ["online", *given, "--runs", pipeline.runs, *map(str, options)])
    assert isinstance(done.exception, HandbookError), (done.exception, done.output)
    assert done.exception.where and done.exception.remedy
    assert not list(pipeline.folder.glob("11_online/**/*.jsonl"))
    return str(done.exception)
