"""Where calls go, and what must never be shown of it: keys, passwords, tokens in addresses."""

import base64
import importlib.util
import logging
import re
import tomllib
from pathlib import Path

import pytest
from feedback_server import by_turns, chat_server, collect

from zephyr_utils.errors import HandbookError
from zephyr_utils.feedback import Call, Endpoint, RunStopped, Sampling, collect_answers
from zephyr_utils.feedback.command import FeedbackCommand

PASSWORD = "p%40ss-word1"  # as it is in an address; it is p@ss-word1
SECRETS = ("p@ss-word1", PASSWORD, base64.b64encode(b"anna:p@ss-word1").decode())


def with_secrets(url):
    """The address of a server with a user and a password in it."""
    return url.replace("http://", f"http://anna:{PASSWORD}@")


REFUSALS = {
    "key refused": (401, {"error": {"message": "no access for {}"}}),
    "model unknown": (404, {"error": {"message": "no model at {}"}}),
    "credit": (402, {"error": {"message": "no credit: {}"}}),
    "parameter": (400, {"error": {"message": "'temperature' is refused for {}"}}),
    "a page": (200, "<html>{}", {"content-type": "text/html"}),
    "an error with status 200": (200, {"error": {"message": "busy: {}"}}),
    "too long a wait": (429, {"error": {"message": "{}"}}, {"retry-after": "86400"}),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_password_in_the_address_is_sent_and_never_shown(name, capfd, caplog, tmp_path):
    caplog.set_level(logging.DEBUG)
    status, body, *more = REFUSALS[name]
    echo = " ".join(SECRETS)
    body = (
        body.format(echo)
        if isinstance(body, str)
        else {"error": {"message": body["error"]["message"].format(echo)}}
    )
    with chat_server(by_turns((status, body, *more))) as chat:
        endpoint = Endpoint(with_secrets(chat.url))
        try:
            got = collect_answers(
                ["Q?"], ["m"], endpoint=endpoint, journal=tmp_path / "j.jsonl"
            ).report()
        except HandbookError as error:
            got = str(error) + repr(getattr(error, "report", ""))
    assert chat.keys.keys() == {f"basic {SECRETS[-1]}".lower()}, "the password was sent"
    said = got + "".join(capfd.readouterr()) + caplog.text + repr(endpoint) + endpoint.url
    said += repr(FeedbackCommand(Path("p"), Path("o"), base_url=with_secrets(chat.url)))
    said += "".join(path.read_text() for path in tmp_path.iterdir())
    assert not [secret for secret in SECRETS if secret in said]
    assert "[key]" in said or name == "too long a wait"


def test_another_password_is_the_same_call_so_that_nothing_is_paid_twice(tmp_path):
    with chat_server() as chat:
        for password in ("one-password", "another-one"):
            url = chat.url.replace("http://", f"http://anna:{password}@")
            got = collect_answers(
                ["Q?"], ["m"], endpoint=Endpoint(url), journal=tmp_path / "j.jsonl"
            )
    assert len(chat.bodies) == 1 and got.calls.from_journal == 1
    keys = {
        Call("a", "m", (("user", "Q?"),), Sampling(), Endpoint(url).url).key
        for url in ("http://a:b@h/v1", "http://h/v1/", "http://c@h/v1", " http://h/v1")
    }
    assert len(keys) == 1


@pytest.mark.parametrize("more", ["?key=q-token-22", "/?api-key=q-token-22", "#q-token-22"])
def test_a_key_behind_the_address_is_refused_because_the_clients_log_would_hold_it(more):
    with pytest.raises(HandbookError, match="behind a '\\?' or '#'") as caught:
        collect_answers(["Hi"], ["m"], endpoint=Endpoint("http://127.0.0.1:9/v1" + more))
    assert "q-token" not in str(caught.value) and "--api-key-env" in caught.value.remedy


def test_a_token_in_place_of_the_user_is_sent_and_never_shown(caplog):
    caplog.set_level(logging.DEBUG)
    echo = (200, "not for token-0123")
    with chat_server(by_turns(echo)) as chat:
        endpoint = Endpoint(chat.url.replace("http://", "http://token-0123@"))
        got = collect_answers(["Q?"], ["m"], endpoint=endpoint)
    assert "token-0123" not in got.report() + caplog.text + repr(endpoint)
    assert chat.keys.keys() == {"basic " + base64.b64encode(b"token-0123").decode().lower()}


@pytest.mark.parametrize(
    "url",
    [
        *["localhost:8000/v1", "127.0.0.1:8000", "ftp://host/v1", "file:///etc/passwd", "http://"],
        *["https:///v1", "http://host:99999/v1", "http://host:port/v1", "http://[::1/v1"],
        "//host/v1",
    ],
)
def test_what_is_not_an_address_of_a_server_is_said_before_anything_is_sent(url, monkeypatch):
    for address in (url, url.replace("host", f"anna:{PASSWORD}@host")):
        with pytest.raises(HandbookError, match="not the address of a server") as caught:
            collect_answers(["Hi"], ["m"], endpoint=Endpoint(address))
        assert "http://HOST:PORT/v1" in caught.value.remedy and PASSWORD not in str(caught.value)
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    with pytest.raises(HandbookError, match="not the address of a server"):
        Endpoint().key()


@pytest.mark.parametrize("name", ["sk-proj-0123456789", "a b", "KEY\n", "9KEY", "K" * 65, ""])
def test_a_key_given_in_place_of_its_variables_name_is_not_shown(name):
    with pytest.raises(HandbookError, match="not the name of an environment variable") as caught:
        Endpoint("https://example.invalid/v1", api_key_env=name).key()
    assert not name or name not in str(caught.value)


@pytest.mark.parametrize("key", ["sk-one\nsk-two", "sk-é123", "sk-one two", "sk-\x00-three"])
def test_a_key_that_no_header_can_carry_is_said_and_not_shown(key, monkeypatch):
    monkeypatch.setattr("os.environ", {"MY_KEY": key})  # a real one takes no NUL
    with pytest.raises(HandbookError, match="the key in MY_KEY holds") as caught:
        Endpoint("https://example.invalid/v1", api_key_env="MY_KEY").key()
    assert "sk-" not in str(caught.value)


def test_a_key_is_left_out_of_a_servers_words_in_whatever_form_they_hold_it(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-a/b+c==")
    endpoint = Endpoint("https://example.invalid/v1")
    said = endpoint.redact("no: sk-a/b+c==, sk-a%2Fb%2Bc%3D%3D and\n\nsk-a/b+c==.")
    assert said == "no: [key], [key] and [key]."
    assert len(endpoint.redact("x" * 100_000)) < 400
    cut = endpoint.redact("x" * 295 + "sk-a/b+c==")
    assert "sk-a" not in cut, "it is taken out before the words are cut"


@pytest.mark.parametrize("words", ["\x1b[2J\x1b]0;owned\x07", "a\ud83d", "a\u202eb", "a\x9b31m"])
def test_a_servers_words_give_no_orders_to_the_terminal_and_can_always_be_printed(words, capfd):
    with chat_server(by_turns((400, {"error": {"message": f"no: {words}"}}))) as chat:
        said = collect(chat, prompts=["Q?"]).report()
    said += capfd.readouterr().err
    assert "no: " in said and said.encode() and not set("\x1b\x07\x9b\u202e") & set(said)


@pytest.mark.parametrize("proxy", ["socks9://anna:secret-1@host:1", "http://[anna:secret-1@::1"])
def test_a_proxy_that_cannot_be_used_is_said_without_its_password(proxy, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1234")
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(HandbookError, match="the client cannot be created") as caught:
        Endpoint("https://example.invalid/v1").client(1.0)
    assert "secret-1" not in str(caught.value) and caught.value.__cause__ is None


def test_without_the_client_the_extra_to_install_is_named(monkeypatch, tmp_path):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "openai" else found(name, *a)
    )
    prompts = tmp_path / "p.jsonl"
    prompts.write_text('{"prompt": "Hi"}\n')
    command = FeedbackCommand(prompts, tmp_path / "o.jsonl", models="m", base_url="http://[::1]:9")
    for ask in (lambda: command.run(print), lambda: collect_answers(["Hi"], ["m"])):
        monkeypatch.setenv("OPENAI_API_KEY", "sk-1234")
        with pytest.raises(HandbookError, match="openai, is not installed") as caught:
            ask()
    extra = re.search(r"zephyr-handbook\[(\w+)\]", caught.value.remedy)[1]
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    assert any(need.startswith("openai") for need in project["optional-dependencies"][extra])
    assert not (tmp_path / "o.jsonl.journal.jsonl").exists()


def test_reading_and_estimating_import_no_client():
    import subprocess
    import sys

    code = (
        "import sys; from zephyr_utils.feedback import estimate, read_ratings;"
        "print(estimate(['Hi'], ['m'], 'j')); assert 'openai' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and "9 calls" not in done.stderr, done.stderr


def test_a_server_without_a_key_that_echoes_none_is_not_trouble():
    with (
        chat_server(by_turns((401, {"error": {"message": "none-needed"}}))) as chat,
        pytest.raises(RunStopped, match="refuses the key"),
    ):
        collect(chat)


@pytest.mark.parametrize(
    "call", ["/chat/completions", "/completions", "/chat/completions/", "/responses", "/models"]
)
def test_an_address_that_ends_with_a_call_is_refused(call):
    with pytest.raises(HandbookError, match="which every call adds to it"):
        _ = Endpoint(f"http://127.0.0.1:9/v1{call}").url
    assert Endpoint("http://127.0.0.1:9/models/v1").url.endswith("/models/v1")


@pytest.mark.parametrize("key", ['"sk-abc"', "'sk-abc'"])
def test_a_key_in_quotation_marks_is_refused_and_not_shown(key, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(HandbookError, match="quotation marks") as error:
        Endpoint("http://127.0.0.1:9/v1").key()
    assert "sk-abc" not in str(error.value)
