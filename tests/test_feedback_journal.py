"""The journal: in a bad state, killed at any moment, stopped by Ctrl-C. No reply is lost, and what
is paid twice is counted.
"""

import json
import os
import signal
import time

import pytest
import warm
from feedback_server import PROMPTS, balance, by_turns, chat_server, collect, made_again

from zephyr_utils.errors import HandbookError
from zephyr_utils.feedback import Journal, RunStopped, estimate


def test_a_half_written_last_line_is_cut_off_counted_and_its_call_made_again(tmp_path):
    path = tmp_path / "j.jsonl"
    with chat_server() as chat:
        collect(chat, journal=path)
        whole = path.read_bytes()
        path.write_bytes(whole[:-40])
        again = collect(chat, journal=path)
        third = collect(chat, journal=path)
    assert (again.calls.half_written, again.calls.from_journal, again.calls.made) == (1, 5, 1)
    assert "half-written line" in again.report()
    assert (third.calls.half_written, third.calls.made) == (0, 0)
    keys = lambda data: sorted(json.loads(line)["key"] for line in data.splitlines())  # noqa: E731
    assert keys(path.read_bytes()) == keys(whole)


def test_a_spoilt_line_in_the_middle_is_counted_left_alone_and_its_call_made_again(tmp_path):
    path = tmp_path / "j.jsonl"
    with chat_server() as chat:
        collect(chat, journal=path)
        lines = path.read_text().splitlines()
        path.write_text(
            "\n".join([lines[0], "{no json", '{"another": "record"}', *lines[2:]]) + "\n"
        )
        again = collect(chat, journal=path)
    assert again.calls.unreadable_lines == 2 and again.calls.made == 1
    assert "{no json" in path.read_text()


def test_two_runs_on_one_journal_do_not_pay_twice_the_second_is_told(tmp_path):
    with Journal(tmp_path / "j.jsonl"), pytest.raises(HandbookError, match="another run") as caught:
        Journal(tmp_path / "j.jsonl")
    assert "journal of its own" in caught.value.remedy
    with Journal(tmp_path / "j.jsonl") as free:
        assert len(free) == 0


def test_a_journal_on_a_full_disk_is_said_in_words(tmp_path):
    full = "/dev/full"
    try:
        open(full, "wb").close()
    except OSError:
        pytest.skip("there is no /dev/full here")
    with chat_server() as chat, Journal(tmp_path / "j.jsonl") as journal:
        journal._file.close()
        journal._file = open(full, "ab", buffering=0)  # noqa: SIM115
        with pytest.raises(HandbookError, match="journal cannot be written: No space left"):
            collect(chat, journal=journal)
        journal._file.close()


def test_a_journal_in_a_folder_that_is_a_file_is_said_in_words(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(HandbookError, match="journal cannot be written"):
        Journal(tmp_path / "file" / "j.jsonl")


def test_what_differs_in_anything_that_is_sent_is_another_call(tmp_path):
    from zephyr_utils.feedback import Call, Sampling

    base = {
        "purpose": "a",
        "model": "m",
        "messages": (("user", "Hi"),),
        "sampling": Sampling(),
        "url": "u",
    }
    keys = {
        Call(**base | change).key
        for change in (
            {},
            {"model": "n"},
            {"messages": (("user", "Ho"),)},
            {"messages": (("system", "Hi"),)},
            {"sampling": Sampling(temperature=0.1)},
            {"sampling": Sampling(seed=1)},
            {"sampling": Sampling(max_tokens=1)},
            {"url": "v"},
        )
    }
    assert len(keys) == 8
    assert Call(**base).key == Call(**base | {"purpose": "b"}).key


def test_a_reply_with_half_a_character_can_be_kept_and_saved(tmp_path):
    from zephyr_utils.data.records import check_feedback

    with chat_server(lambda body, n: "Hi \ud83d there") as chat:
        got = collect(chat, journal=tmp_path / "j.jsonl")
    assert check_feedback(got.records[0])["completions"][0]["response"] == "Hi ? there"


# --- calls without a word -------------------------------------------------------------------------


def test_what_was_under_way_at_a_kill_is_known_exactly(tmp_path):
    path = tmp_path / "j.jsonl"
    with chat_server() as chat:
        collect(chat, journal=path)
        with Journal(path) as journal:
            answered = next(iter(journal._places))
            tags = {
                key: journal.begin(key) for key in (answered, "lost", "refused", "twice", "torn")
            }
            journal.begin("twice", again=True)
            journal.end("refused")
        begun = tmp_path / "j.jsonl.begun"
        begun.write_bytes(begun.read_bytes() + b"begun half-a-li")
        estimate(PROMPTS, ["m"], journal=path)  # looks, and changes nothing
        with Journal(path) as journal:
            assert (
                journal.unsettled.keys() == {"lost", "twice", "torn"} and journal.n_made_again == 1
            )
            assert journal.begin("lost") == tags["lost"], "the same call, the same Idempotency-Key"
            assert journal.begin("refused") != tags["refused"]
            journal.begin("after")
        with Journal(path) as journal:
            assert journal.unsettled.keys() == {"lost", "twice", "torn", "refused", "after"}
        got = collect(chat, journal=path)
        assert (got.calls.made, got.calls.made_again) == (
            0,
            1,
        ) and "1 calls were under way" in got.report()
        assert collect(chat, journal=path).calls.made_again == 0, "it is told once"


@pytest.mark.parametrize("honours", [True, False])
def test_a_reply_that_got_lost_is_asked_for_under_the_same_key(honours, tmp_path):
    with chat_server(by_turns("<lost>", "Hello."), honours=honours) as chat:
        report = balance(collect(chat, journal=tmp_path / "j.jsonl").calls)
    assert report.made == 6 and report.retries == {"cut_connection": 6} and report.made_again == 0
    assert len(chat.idempotency_keys) == 6 and all(
        len(asked) == 2 for asked in chat.idempotency_keys.values()
    )
    assert set(chat.paid.values()) == {1 if honours else 2}
    assert not (tmp_path / "j.jsonl.begun").exists()


def test_a_fault_that_the_server_keeps_for_its_key_is_got_over_under_another(tmp_path):
    with chat_server(by_turns((500, "oops"), {"error": "busy"}, "Hello."), honours=True) as chat:
        report = balance(collect(chat).calls)
    assert report.made == 6 and len(chat.idempotency_keys) == 18


def test_a_call_whose_replies_all_got_lost_is_said_to_be_made_again_by_the_next_run(tmp_path):
    silent = {"on": True}
    behave = lambda body, n: "<lost>" if silent["on"] and "3" in str(body["messages"]) else "Hello."  # noqa: E731
    with chat_server(behave) as chat:
        first = collect(chat, journal=tmp_path / "j.jsonl").calls
        silent["on"] = False
        second = collect(chat, journal=tmp_path / "j.jsonl").calls
    assert first.failed == {"cut_connection": 1} and (second.made, second.made_again) == (1, 1)
    assert sum(chat.paid.values()) == 6 + sum(first.retries.values()) + second.made_again


def test_a_server_that_never_was_there_leaves_nothing_under_way(tmp_path):
    with chat_server() as chat:
        pass
    with pytest.raises(RunStopped):
        collect(chat, journal=tmp_path / "j.jsonl")
    assert not (tmp_path / "j.jsonl.begun").exists()


def test_another_collection_of_the_same_is_not_given_this_ones_replies(tmp_path):
    with chat_server(honours=True) as chat:
        collect(chat, journal=tmp_path / "a.jsonl")
        collect(chat, journal=tmp_path / "b.jsonl")
    assert len(chat.idempotency_keys) == 12 and set(chat.paid.values()) == {2}


# --- killed and stopped ---------------------------------------------------------------------------

CONCURRENCY = 6
MANY = [f"Question {n}?" for n in range(100)]
posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")


class Command:
    """``zephyr feedback`` on 100 prompts, as a process."""

    def __init__(self, chat, folder):
        prompts = folder / "p.jsonl"
        prompts.write_text("".join(json.dumps({"prompt": prompt}) + "\n" for prompt in MANY))
        self.command = [
            warm.ZEPHYR, "feedback", prompts, "--output", folder / "f.jsonl", "--models", "m",
            "--base-url", chat.url, "--concurrency", CONCURRENCY,
        ]  # fmt: skip
        self.journal = folder / "f.jsonl.journal.jsonl"
        self.begun = folder / "f.jsonl.journal.jsonl.begun"

    def replies(self):
        return self.journal.read_bytes().count(b"\n") if self.journal.exists() else 0

    def until(self, ready):
        """Start it; the process, once it is ``ready``."""
        process = warm.Process(*self.command)
        wait_for(lambda: ready() or process.poll() is not None)
        assert process.poll() is None, f"it ended too soon: {process.stderr}"
        return process

    def to_the_end(self):
        return warm.run(*self.command)


def wait_for(ready, seconds=60):
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end
        time.sleep(0.002)


@posix
@pytest.mark.parametrize("honours", [True, False])
def test_killed_twice_every_call_is_charged_once_or_counted(honours, tmp_path):
    with chat_server(delay=0.03, honours=honours) as chat:
        command = Command(chat, tmp_path)
        for lines in (30, 60):
            process = command.until(lambda lines=lines: command.replies() >= lines)
            process.kill()
        assert command.begun.exists()
        end = command.to_the_end()
    again = made_again(end.stdout)
    assert 2 <= again <= 2 * CONCURRENCY, "calls were under way at both kills"
    assert command.replies() == len(MANY) and "100 in = 100 records" in end.stdout
    assert len(chat.paid) == len(MANY)
    if honours:
        assert set(chat.paid.values()) == {1}
    else:
        assert 0 < sum(chat.paid.values()) - len(MANY) <= again
    assert not command.begun.exists()


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_waits_for_what_is_under_way_and_loses_nothing(number, tmp_path):
    with chat_server(delay=0.2) as chat:
        command = Command(chat, tmp_path)
        process = command.until(lambda: command.replies() >= 10)
        process.send(number)
        assert process.wait(30) == 130 and "Traceback" not in process.stderr
        err = process.stderr
        done = command.replies()
        assert sum(chat.paid.values()) == done < len(MANY), (
            "a call was begun and is not in the journal"
        )
        assert (
            f"{done} of 100 calls are in the journal" in err
            and "are under way and waited for" in err
        )
        assert not command.begun.exists()
        end = command.to_the_end()
    assert f"100 calls = {done} from the journal + {100 - done} made" in end.stdout
    assert made_again(end.stdout) == 0 and set(chat.paid.values()) == {1}


@posix
def test_a_stop_does_not_wait_as_long_as_a_server_asks_to(tmp_path):
    with chat_server(by_turns((429, "slow down", {"retry-after": "60"}))) as chat:
        process = Command(chat, tmp_path).until(lambda: chat.bodies)
        time.sleep(0.3)
        process.send(signal.SIGINT)
        started = time.monotonic()
        assert process.wait(30) == 130
    assert time.monotonic() - started < 10
    assert "0 of 100 calls are in the journal" in process.stderr


@posix
def test_a_second_stop_cuts_off_what_is_under_way_and_the_next_run_counts_it(tmp_path):
    hangs = {"on": True}
    with chat_server(lambda body, n: "<hang>" if hangs["on"] else "Hello.") as chat:
        command = Command(chat, tmp_path)
        process = command.until(lambda: len(chat.bodies) == CONCURRENCY)
        process.send(signal.SIGINT)
        time.sleep(0.5)
        assert process.poll() is None, "the first stop waits"
        process.send(signal.SIGINT)
        assert process.wait(30) == 130
        assert f"{CONCURRENCY} calls under way were cut off" in process.stderr
        hangs["on"] = False
        end = command.to_the_end()
    assert made_again(end.stdout) == CONCURRENCY and "100 made" in end.stdout


@posix
def test_the_stop_button_of_a_notebook_stops_softly_and_the_kernel_lives_on(tmp_path):
    from jupyter_client.manager import start_new_kernel

    code = f"""
from zephyr_utils.feedback import Endpoint, collect_answers
journal = {str(tmp_path / "j.jsonl")!r}
collect_answers({MANY}, ["m"], endpoint=Endpoint({{url!r}}), journal=journal, concurrency=6)
"""
    manager, client = start_new_kernel(kernel_name="python3")
    try:
        with chat_server(delay=0.2) as chat:
            asked = client.execute(
                code.format(url=chat.url), stop_on_error=False
            )  # or what follows is aborted
            wait_for(lambda: sum(chat.paid.values()) >= 10)
            manager.interrupt_kernel()
            # A slow kernel has older replies to give first.
            replies = iter(lambda: client.get_shell_msg(timeout=30), None)
            stopped = next(reply for reply in replies if reply["parent_header"]["msg_id"] == asked)
            content = stopped["content"]
            assert content["ename"] == "RunInterrupted"
            done = sum(chat.paid.values())
            assert f"{done} of 100 calls are in the journal" in content["evalue"]
            assert (tmp_path / "j.jsonl").read_bytes().count(b"\n") == done < 100
            assert client.execute_interactive("1 + 1", timeout=30)["content"]["status"] == "ok"
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
