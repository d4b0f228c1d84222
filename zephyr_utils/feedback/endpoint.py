"""Where calls go: the address, the name of the variable that holds the key, and what of both may be
shown.
"""

import base64
import importlib.util
import ipaddress
import os
import re
import urllib.parse
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zephyr_utils.errors import HandbookError
from zephyr_utils.feedback.bounded import bounded_client

if TYPE_CHECKING:
    import openai

OPENAI = "https://api.openai.com/v1"
LONGEST_SHOWN = 300  # characters of a server's error text that are passed on
_LONGEST_READ = 100_000  # characters of it that are looked at
SHORTEST_SECRET = 4  # what is shorter occurs in too many other words to be replaced
_CALL = re.compile(r"(?:/chat)?/completions/*$|/responses/*$|/models/*$|/embeddings/*$")
_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


@dataclass(frozen=True, repr=False)
class Endpoint:
    """Where calls go, and the *name* of the environment variable that holds the key.

    The key itself is kept nowhere. A user name and a password in the address are sent, in a header,
    and never shown.

    Attributes:
        base_url: such as ``http://127.0.0.1:8000/v1``; "" is ``$OPENAI_BASE_URL``, else OpenAI's
            own.
        api_key_env: the environment variable; a server on this machine needs none.
    """

    base_url: str = ""
    api_key_env: str = "OPENAI_API_KEY"

    def __repr__(self) -> str:
        return f"Endpoint({self.url!r}, api_key_env={self.api_key_env!r})"

    @property
    def url(self) -> str:
        """The address in use as it may be shown: without user name and password.

        Raises:
            HandbookError: it is not an address of a server.
        """
        parts = self._parts()
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}".rstrip("/")

    @property
    def is_local(self) -> bool:
        """Whether the server is on this machine."""
        host = self._parts().hostname or ""
        try:
            return host == "localhost" or ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False

    def key(self) -> str:
        """The key, from the environment.

        Raises:
            HandbookError: it is not set and the server is not on this machine, or it cannot be sent
                in a header. The message never holds the key.
        """
        if not _VARIABLE_NAME.fullmatch(self.api_key_env):
            raise HandbookError(
                "what is given is not the name of an environment variable (it is not shown, in "
                "case it is the key itself)",
                where="--api-key-env",
                remedy="put the key into a variable such as OPENAI_API_KEY and give its name",
            )
        key = os.environ.get(self.api_key_env, "").strip()
        if not key and not self.is_local:
            raise HandbookError(
                f"the key of {self.url} is not set",
                where="endpoint",
                remedy=f"put it into the environment variable {self.api_key_env}, or give the "
                f"--base-url of a local server",
            )
        if key[:1] in ("'", '"') and key[-1:] == key[:1]:
            raise HandbookError(
                f"the key in {self.api_key_env} is in quotation marks, which would be sent",
                where="endpoint",
                remedy="set the variable without them; in a file of variables they are kept",
            )
        if not all("!" <= letter <= "~" for letter in key):
            raise HandbookError(
                f"the key in {self.api_key_env} holds a blank, a line break or a letter outside "
                f"ASCII, which no header can carry",
                where="endpoint",
                remedy="copy the key again, without anything around it",
            )
        return key or "none-needed"

    def client(self, timeout: float) -> "openai.AsyncOpenAI":
        """An ``openai.AsyncOpenAI`` that repeats nothing by itself: the retries here are counted.

        Args:
            timeout: seconds without a byte after which it gives a call up.

        Raises:
            HandbookError: the client is not installed, or a proxy in the environment is not usable.
        """
        check_client()
        import openai

        key, user_info = self.key(), self._user_info()
        more: dict[str, Any] = {}
        if user_info:  # not in the address, which the client's log holds
            more["default_headers"] = {"Authorization": f"Basic {_base64(user_info)}"}
        try:
            # A proxy that the environment names for the world outside is no way to a local server,
            # and no server may pass prompts on to an address that nobody named.
            more["http_client"] = bounded_client()(
                trust_env=not self.is_local, follow_redirects=False
            )
            return openai.AsyncOpenAI(
                base_url=self.url, api_key=key, max_retries=0, timeout=timeout, **more
            )
        except Exception as error:  # an unknown kind of proxy, a library that it needs
            raise HandbookError(
                f"the client cannot be created: {type(error).__name__}",
                where=self.url,
                remedy="check the variables HTTP_PROXY, HTTPS_PROXY and ALL_PROXY",
            ) from None  # its message may hold the proxy's password

    def redact(self, text: Any) -> str:
        """A server's words in one line, cut, and without what is secret: some servers repeat it.

        What cannot be printed is left out, because it may be an order to the terminal.
        """
        words = "".join(c if c.isprintable() else " " for c in str(text)[:_LONGEST_READ])
        words = " ".join(words.split())
        for secret in self._secrets():
            for form in (secret, urllib.parse.quote(secret, safe="")):
                words = words.replace(form, "[key]")
        return words if len(words) <= LONGEST_SHOWN else words[:LONGEST_SHOWN] + " ..."

    def _user_info(self) -> str:
        """``user:password`` from the address, or ""."""
        return urllib.parse.unquote(self._parts().netloc.rpartition("@")[0])

    def _secrets(self) -> list[str]:
        """All that must not be shown, the longest first."""
        secrets = [os.environ.get(self.api_key_env, "").strip()]
        if user_info := self._user_info():
            user, _, password = user_info.partition(":")
            # Some take a token in place of the user: https://TOKEN@host
            secrets += [user_info, _base64(user_info), password or user]
        return sorted((s for s in secrets if len(s) >= SHORTEST_SECRET), key=len, reverse=True)

    def _parts(self) -> urllib.parse.SplitResult:
        address = (self.base_url or os.environ.get("OPENAI_BASE_URL") or OPENAI).strip()
        try:
            parts = urllib.parse.urlsplit(address)
            usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:  # an unfinished IPv6 address, a port that is not a number below 65536
            usable = False
        if usable and (parts.query or parts.fragment):
            raise HandbookError(
                "the address has something behind a '?' or '#', which calls cannot carry",
                where="--base-url",
                remedy="leave it out; a key goes into an environment variable (--api-key-env)",
            )
        if usable and (end := _CALL.search(parts.path)):
            raise HandbookError(
                f"the address ends with {end[0].rstrip('/')}, which every call adds to it",
                where="--base-url",
                remedy="leave that out: the address mostly ends with /v1",
            )
        if not usable:
            raise HandbookError(
                f"{address.rpartition('@')[2].partition('?')[0][:100]!r} is not the address of a "
                f"server",
                where="--base-url",
                remedy="give it as http://HOST:PORT/v1 or https://HOST/v1",
            )
        return parts


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def check_client() -> None:
    """Say what to install where the ``openai`` client is missing.

    Raises:
        HandbookError: it is missing.
    """
    if importlib.util.find_spec("openai") is None:
        raise HandbookError(
            "the client for endpoints, the package openai, is not installed",
            where="endpoint",
            remedy="pip install 'zephyr-handbook[endpoints]'",
        )
