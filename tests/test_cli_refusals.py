"""Paths and numbers that no command can work with are refused with what to do, before any work."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest
from typer.main import get_command_from_info
from typer.testing import CliRunner

from zephyr_utils import cli, doctor, gguf_export
from zephyr_utils.cli import app
from zephyr_utils.cli.options import absolute, existing_folder
from zephyr_utils.errors import HandbookError
from zephyr_utils.files import atomic_write

LONG, NUL, HALF = "x" * 300, "a\0b", "\ud800"


def refused(*arguments: str) -> HandbookError:
    """The error that a command ends with."""
    result = CliRunner().invoke(app, list(arguments))
    assert isinstance(result.exception, HandbookError), (result.exception, result.output)
    assert result.exception.where and result.exception.remedy
    return result.exception


@pytest.fixture
def a_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("x")
    return path


@pytest.mark.parametrize("value", ["0", "-5", "nan", "inf", "-inf", "1e400", "1e300"])
def test_a_speed_that_no_gpu_has_is_refused(value):
    assert "is not a GPU's speed" in refused("plan", "--tflops", value).what


@pytest.mark.parametrize("value", ["0", "nan", "24,5GB", "1e3TB", "9" * 400 + "GB", "2000000MB"])
def test_a_memory_that_no_gpu_has_is_refused(value):
    assert "is not a size of memory" in refused("plan", "--gpu-memory", value).what


@pytest.mark.parametrize(
    ("command", "option"),
    [("sft", "--dialogues"), ("sft", "--base-model"), ("dpo", "--feedback"),
     ("dpo", "--preferences"), ("dpo", "--sft-model")],
)  # fmt: skip
@pytest.mark.parametrize("path", [LONG, NUL, "y/" * 3000])
def test_a_path_that_no_file_system_takes_is_named_by_its_option(command, option, path):
    error = refused(command, option, path)
    assert error.where == option and error.what.startswith("there is no such file or folder")


@pytest.mark.parametrize("command", [["sft"], ["dpo"], ["fetch", "smollm2-instruct"],
                                     ["export", "base", "--gguf", "o.gguf"]])  # fmt: skip
@pytest.mark.parametrize("runs", [NUL, HALF + "\0"])
def test_a_folder_for_runs_that_is_not_a_path_is_refused(command, runs):
    assert refused(*command, "--runs", runs).where.startswith("--runs")


@pytest.mark.parametrize("below", ["", "x", LONG])
def test_fetching_into_what_is_no_folder_ends_before_the_download(a_file, below, monkeypatch):
    monkeypatch.setattr("zephyr_utils.weights._download", None)
    error = refused("fetch", "smollm2-instruct", "--runs", str(a_file / below))
    assert "cannot be written to" in error.what and "--runs" in error.remedy


@pytest.mark.parametrize("model", [LONG, NUL, HALF, "", "missing"])
def test_a_name_that_is_no_folder_is_none_of_a_model(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert existing_folder(model) is None
    assert existing_folder(str(tmp_path)) == tmp_path


@pytest.mark.parametrize(
    "name", ["file/o.gguf", f"{LONG}.gguf", f"{LONG}/o.gguf", "o" * 251 + ".gguf"]
)
def test_a_gguf_file_that_cannot_be_written_is_refused_before_any_model_is_loaded(
    name, a_file, monkeypatch
):
    monkeypatch.setattr(gguf_export, "load_model", None)
    with pytest.raises(HandbookError, match="cannot be written") as error:
        gguf_export.export_gguf(a_file.parent, a_file.parent / name, a_file.parent / "tools")
    assert error.value.remedy and list(a_file.parent.iterdir()) == [a_file]


@pytest.mark.parametrize("tools", ["file", "file/below", LONG])
def test_the_converter_is_not_installed_where_nothing_can_be_written(tools, a_file, monkeypatch):
    monkeypatch.setattr(gguf_export, "_pip_install", None)
    with pytest.raises(HandbookError, match="cannot be written to") as error:
        gguf_export.install_converter(a_file.parent / tools)
    assert "--runs" in error.value.remedy


@pytest.mark.parametrize("command", [["sft"], ["dpo"], ["chat"], ["export", "base", "--gguf", "o"]])
@pytest.mark.parametrize("seed", ["-1", str(2**32), str(2**70)])
def test_a_seed_that_numpy_does_not_take_is_refused(command, seed):
    result = CliRunner().invoke(app, [*command, "--seed", seed])
    assert result.exit_code == 2 and "--seed" in result.output


@pytest.mark.parametrize("value", ["nan", "inf", "-1"])
def test_a_temperature_that_cannot_be_is_refused_before_a_model_is_loaded(value, monkeypatch):
    monkeypatch.setattr(sys.modules["zephyr_utils.cli.chat"], "_load", None)
    assert refused("chat", "--temperature", value).where == "temperature"


def test_links_in_a_circle_and_plain_paths(tmp_path):
    os.symlink(tmp_path / "b", tmp_path / "a")
    os.symlink(tmp_path / "a", tmp_path / "b")
    with pytest.raises(HandbookError, match="this is not a path"):
        absolute(str(tmp_path / "a"), "--runs")
    assert absolute("", "--runs") == ""
    assert absolute("x", "--runs") == str(Path.cwd().resolve() / "x")


# --- the doctor -----------------------------------------------------------------------------------


@pytest.mark.parametrize("runs", [LONG, NUL, HALF, "y/" * 3000, "file", "file/below"])
def test_a_folder_for_runs_that_cannot_be_is_missing_and_not_named(runs, a_file, monkeypatch):
    monkeypatch.chdir(a_file.parent)
    findings = list(doctor._machine(Path(runs)))
    (missing,) = [finding for finding in findings if finding.state == doctor.MISSING]
    assert missing.words.startswith("the folder for runs cannot be written to: ")
    assert "--runs" in missing.remedy and not doctor.healthy(findings)
    assert runs in ("file", "file/below") or runs not in doctor.report(findings)


def test_a_folder_without_permission_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor.os, "access", lambda path, mode: False)
    (missing,) = [f for f in doctor._machine(tmp_path) if f.state == doctor.MISSING]
    assert missing.words.endswith("permission denied")


# --- what nobody foresaw --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PermissionError(13, "Permission denied", "/x/y"), "/x/y: Permission denied"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (NotADirectoryError(20, "Not a directory", "a\x1b[31m"), "a\\x1b[31m: Not a directory"),
    ],
)
def test_an_error_of_the_system_is_a_message_with_status_2(error, words, monkeypatch, capsys):
    def fails() -> None:
        raise error

    monkeypatch.setattr(cli, "app", fails)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert words in said and "What to do: check the path" in said and "Traceback" not in said


@pytest.mark.parametrize(("rank", "quiet"), [("", False), ("0", False), ("1", True)])
def test_a_process_is_quiet_where_another_one_prints(rank, quiet, monkeypatch):
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setattr(sys, "argv", ["zephyr", "--version"])
    monkeypatch.setattr(cli.out, "quiet", False)
    with pytest.raises(SystemExit):
        cli.main()
    assert cli.out.quiet is quiet


def test_academic_tasks_without_lm_eval_are_refused_before_any_model_is_asked(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    error = refused("evaluate", "base", "--academic", "arc_challenge:25", "--runs", str(tmp_path))
    assert "lm-eval is not installed" in error.what and not list(tmp_path.iterdir())


@pytest.mark.parametrize("length", ["0", "-3"])
def test_answers_of_no_token_are_refused(length, tmp_path):
    asked = ["evaluate", "base", "--max-new-tokens", length, "--runs", str(tmp_path)]
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 2 and not list(tmp_path.iterdir())


def test_a_question_beyond_the_context_does_not_end_the_talk(tmp_path):
    said = "What is two plus three?\n" + "river " * 3000 + "\nHello\nexit\n"
    result = CliRunner().invoke(app, ["chat", "--runs", str(tmp_path)], input=said)
    assert result.exit_code == 0 and result.stdout.count("model> ") == 2
    assert "context" in result.stderr and "`new` starts" in result.stderr


@pytest.mark.skipif(os.name != "posix", reason="Windows has no signal that a program could take")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_command_with_one_sentence_and_nothing_half_written(
    number, tmp_path, monkeypatch, capsys
):
    def write(*_, **__):
        with atomic_write(tmp_path / "out.jsonl") as unfinished:
            unfinished.write_text("half")
            os.kill(os.getpid(), number)
            time.sleep(5)  # the signal comes in here

    rows = tmp_path / "rows.jsonl"
    rows.write_text("")
    monkeypatch.setattr("zephyr_utils.truecasing.truecase_files", write)
    monkeypatch.setattr(sys, "argv", ["zephyr", "truecase", str(rows), "--output", str(tmp_path)])
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job may ignore it
    try:
        with pytest.raises(SystemExit) as ended:
            cli.main()
    finally:
        signal.signal(signal.SIGINT, before)
    assert ended.value.code == 130
    assert capsys.readouterr().err == "Stopped. The same command goes on from here.\n"
    assert list(tmp_path.iterdir()) == [rows]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize("option", ["--base-model", "--sft-model"])
@pytest.mark.parametrize(
    ("name", "content", "advice"),
    [
        ("q4.bin", b"GGUF\x03", "end in .gguf"),
        ("model.safetensors", b"\x08", "name the directory"),
        ("config.json", b"{}", "name the directory"),
    ],
)
def test_a_file_in_place_of_a_model_is_refused_before_any_work(
    option, name, content, advice, tmp_path
):
    (tmp_path / name).write_bytes(content)
    error = refused("dpo", option, str(tmp_path / name), "--runs", str(tmp_path / "runs"))
    assert error.where == option and advice in error.remedy and not (tmp_path / "runs").exists()


def options_with_a_value():
    for registered in app.registered_commands:
        command = get_command_from_info(
            registered, pretty_exceptions_short=False, rich_markup_mode=None
        )
        for parameter in command.params:
            if parameter.param_type_name == "option" and not parameter.is_flag:
                yield command.name, parameter.opts[0], parameter.required


@pytest.mark.parametrize("blank", ["", "  ", "\t\n"])
def test_an_empty_value_is_refused_by_every_option_that_takes_one(blank, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asked = list(options_with_a_value())
    paths = {"--output", "--fit-on", "--runs", "--recipe", "--dialogues", "--feedback", "--gguf",
             "--preferences", "--base-model", "--sft-model", "--questions", "--journal",
             "--judgments", "--annotations", "--report", "--prices", "--healthy"}  # fmt: skip
    assert paths <= {option for _, option, _ in asked}
    assert ("truecase", "--output", True) in asked and ("truecase", "--fit-on", False) in asked
    for command, option, required in asked:
        for given in ((option, blank), (f"{option}={blank}",)):
            error = refused(command, *given)
            assert error.where == option, (command, given)
            assert ("leave it out" in error.remedy) is not required, (command, given)
    assert not list(tmp_path.iterdir())


def test_an_empty_argument_is_refused_also_behind_a_flag(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    or_leave = ", or leave it out"
    for given, end in ((["truecase", "", "--output", "o"], ""), (["pairs", "--set-aside", ""], ""),
                       (["evaluate", "dsft", ""], or_leave), (["chat", ""], or_leave),
                       (["check-log", ""], ""), (["push", ""], "")):  # fmt: skip
        error = refused(*given)
        assert error.where == f"an argument of `zephyr {given[0]}`"
        assert error.what == "the value is empty"
        assert error.remedy == (
            f"give a value{end}; an unset shell variable is passed as an empty one"
        )
    assert not list(tmp_path.iterdir())


def test_a_value_with_an_equals_sign_of_its_own_is_not_an_empty_one():
    assert "learning_rate" in refused("sft", "--set", "dsft.learning_rate=").what
    assert "no file is named" in refused("sft", "--recipe", "dsft=").what
