"""``zephyr feedback``: from prompts to audited pairs, killed and resumed, and over four models that
are really served.
"""

import json
import os
import subprocess
import sys
import time

import pytest
import warm
import yaml
from feedback_server import chat_server, made_again
from feedback_world import WORLD_PROMPTS

from zephyr_utils import miniature
from zephyr_utils.data.records import load_records
from zephyr_utils.errors import HandbookError
from zephyr_utils.feedback import Endpoint, Journal, Sampling, collect_answers, rate_answers
from zephyr_utils.miniature.data import MODELS
from zephyr_utils.miniature.serve import reply_to
from zephyr_utils.preferences import audit, binarize

# --- the command ----------------------------------------------------------------------------------


def write_prompts(path, prompts=WORLD_PROMPTS):
    path.write_text("".join(json.dumps({"prompt": prompt}) + "\n" for prompt in prompts))
    return path


def test_the_command_goes_from_prompts_to_rated_answers_and_audited_pairs(world, tmp_path):
    from typer.testing import CliRunner

    from zephyr_utils.cli import app

    prompts, prices = write_prompts(tmp_path / "p.jsonl"), tmp_path / "prices.yaml"
    prices.write_text(
        yaml.safe_dump(
            {"models": {m: {"prompt": 1, "completion": 2} for m in (*MODELS, "stand-in-teacher")}}
        )
    )
    output = tmp_path / "feedback.parquet"
    options = [
        "--models",
        ",".join(MODELS),
        "--judge",
        "stand-in-teacher",
        "--base-url",
        world.url,
        "--prices",
        str(prices),
    ]

    def run(*more):
        return CliRunner().invoke(
            app, ["feedback", str(prompts), "--output", str(output), *options, *more]
        )

    plan = run("--dry-run")
    assert (
        plan.exit_code == 0
        and f"{len(WORLD_PROMPTS) * 12:,} calls to make" in plan.output
        and "cost: about" in plan.output
    )
    assert not output.exists()
    first = run()
    assert (
        first.exit_code == 0
        and f"{len(WORLD_PROMPTS)} records in" in first.output
        and "USD" in first.output
    )
    rows = load_records(output, "feedback").records
    pairs = binarize(rows)
    assert (
        pairs.n_rows == len(WORLD_PROMPTS)
        and len(pairs) > 30
        and audit(pairs, feedback=rows).n_pairs == len(pairs)
    )
    again = run()
    assert "0 made" in again.output and load_records(output, "feedback").records == rows
    # Answers that are there are rated alone, by another judge.
    other = CliRunner().invoke(app, ["feedback", str(output), "--output", str(tmp_path / "o.jsonl"),
                                     "--judge", "stand-in-exact",
                                     "--base-url", world.url, "--no-critiques"])  # fmt: skip
    assert other.exit_code == 0 and "Answers:" not in other.output
    assert (
        load_records(tmp_path / "o.jsonl", "feedback").records[0]["completions"][0]["overall_score"]
        is None
    )


def test_the_command_ends_with_status_one_if_something_is_missing_and_two_if_something_needs_a_fix(
    world, tmp_path
):
    prompts = write_prompts(tmp_path / "p.jsonl", [*WORLD_PROMPTS[:3], "What on earth is this?"])
    some = warm.Process(
        warm.ZEPHYR,
        "feedback",
        prompts,
        "--output",
        tmp_path / "f.jsonl",
        "--models",
        "mini-large",
        "--base-url",
        world.url,
    )
    assert some.wait() == 1 and "4 in = 3 records + 1 set aside" in some.stdout
    assert "no_answers" in (tmp_path / "f.jsonl.set_aside.jsonl").read_text()
    bad = warm.Process(
        warm.ZEPHYR,
        "feedback",
        prompts,
        "--output",
        tmp_path / "f.csv",
        "--models",
        "mini-large",
        "--base-url",
        world.url,
    )
    assert bad.wait() == 2 and "Traceback" not in bad.stderr and "What to do" in bad.stderr
    for options in (
        [],
        ["--models", "a,a"],
        ["--models", "a,,b"],
        ["--models", "a", "--concurrency", "0"],
    ):
        with pytest.raises(HandbookError):
            run_command(prompts, tmp_path / "f.jsonl", world, options)


def run_command(prompts, output, world, options):
    from typer.testing import CliRunner

    from zephyr_utils.cli import app

    result = CliRunner().invoke(
        app, ["feedback", str(prompts), "--output", str(output), "--base-url", world.url, *options]
    )
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def journal_content(path):
    """All that a journal says apart from when."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return sorted(json.dumps({k: v for k, v in line.items() if k != "at"}) for line in lines)


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL on Windows")
def test_a_run_killed_three_times_ends_with_the_journal_of_an_undisturbed_one(tmp_path):
    prompts = write_prompts(tmp_path / "p.jsonl", WORLD_PROMPTS[:20])
    concurrency, kills = 4, (30, 90, 160)

    def behave(body, n):
        return reply_to(body["model"], body["messages"], body.get("seed"))

    with chat_server(behave, delay=0.02) as chat:

        def arguments(name):
            return [warm.ZEPHYR, "feedback", prompts, "--output", tmp_path / f"{name}.jsonl",
                    "--models", ",".join(MODELS), "--judge", "stand-in-teacher",
                    "--base-url", chat.url, "--concurrency", concurrency]  # fmt: skip

        warm.run(*arguments("whole"))
        whole = tmp_path / "whole.jsonl.journal.jsonl"
        once = sum(chat.paid.values())
        chat.paid.clear()
        journal = tmp_path / "killed.jsonl.journal.jsonl"
        for lines in kills:
            process = warm.Process(*arguments("killed"))
            while not journal.exists() or journal.read_bytes().count(b"\n") < lines:
                assert process.poll() is None, "it ended before it was killed"
                time.sleep(0.005)
            process.kill()
        end = warm.run(*arguments("killed"))
    assert (
        journal_content(journal) == journal_content(whole) and len(journal_content(whole)) == once
    )
    assert (tmp_path / "killed.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    # This server knows no Idempotency-Key: what was under way at the kills is charged again, and
    # that is said.
    assert 0 <= sum(chat.paid.values()) - once <= made_again(end.stdout) <= len(kills) * concurrency


# --- four served models ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def four_models(tmp_path_factory):
    """The miniature's base and three of its kind with other weights, as directories that any server
    loads.
    """
    import shutil

    import torch
    from safetensors.torch import load_file, save_file

    folder = tmp_path_factory.mktemp("models")
    made = {"base": str(miniature.BASE_FOLDER)}
    for seed in (1, 2, 3):
        copy = folder / f"variant-{seed}"
        shutil.copytree(miniature.BASE_FOLDER, copy)
        generator = torch.Generator().manual_seed(seed)
        weights = load_file(copy / "model.safetensors")
        # Enough to change what it says, not enough to make it babble.
        for tensor in weights.values():
            tensor += (
                0.05
                * tensor.std()
                * torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype)
                if tensor.dim() > 1
                else 0
            )
        save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
        made[copy.name] = str(copy)
    return made


@pytest.fixture(scope="module")
def transformers_serve(tmp_path_factory):
    """``transformers serve`` on loopback, ended with the tests."""
    import socket

    pytest.importorskip("uvicorn", reason="`transformers serve` needs the extra `serve`")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [os.path.join(os.path.dirname(sys.executable), "transformers"), "serve", "--host",
               "127.0.0.1",
               "--port", str(port), "--device", "cpu", "--default-seed", "0"]  # fmt: skip
    log = tmp_path_factory.mktemp("serve") / "log"
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    with (
        open(log, "wb") as words,
        subprocess.Popen(command, stdout=words, stderr=words, env=environment) as process,
    ):
        try:
            for _ in range(600):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                assert process.poll() is None, log.read_text()
                time.sleep(0.1)
            yield Endpoint(f"http://127.0.0.1:{port}/v1")
        finally:
            process.terminate()
            process.wait(30)


def test_from_prompts_over_four_served_models_to_audited_pairs(
    transformers_serve, four_models, world, tmp_path
):
    prompts = WORLD_PROMPTS[:8]
    with Journal(tmp_path / "j.jsonl") as journal:
        sampling = Sampling(temperature=0.0, max_tokens=24)
        answers = collect_answers(
            prompts,
            four_models,
            endpoint=transformers_serve,
            sampling=sampling,
            journal=journal,
            concurrency=8,
        )
        assert answers.calls.made == len(prompts) * 4 and not answers.calls.failed
        assert all(
            usage.prompt_tokens > 0 and not usage.uncounted
            for usage in answers.calls.usage.values()
        )
        rated = rate_answers(answers, "stand-in-teacher", endpoint=world, journal=journal)
    # An untrained base may end at once: a prompt to which none of the four says anything is set
    # aside and counted.
    asked = [row["instruction"] for row in rated]
    assert asked == [prompt for prompt in prompts if prompt in asked] and len(asked) >= 6
    assert len(asked) + len(answers.set_aside) == len(prompts)
    assert all(len(row["completions"]) >= 3 for row in rated)
    assert len({c["response"] for row in rated for c in row["completions"]}) > len(asked), (
        "the four models differ"
    )
    made = binarize(rated.records)
    assert made.n_rows == len(asked) and len(made) >= 4
    assert set(audit(made, feedback=rated.records).chosen_by_model) <= set(four_models)
    again = collect_answers(
        prompts,
        four_models,
        endpoint=transformers_serve,
        sampling=sampling,
        journal=tmp_path / "j.jsonl",
    )
    assert again.calls.made == answers.calls.without_answer["empty"]  # these are asked again
    assert again.records == answers.records
