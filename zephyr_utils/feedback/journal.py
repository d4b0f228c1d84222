"""The journal of paid calls: one JSON line a call, written the moment its reply has come, never
changed again.

The same command started again finds them here by their keys and does not pay for them twice. A run
that is killed loses the replies to the calls that were under way. Which those were is in a second
file beside the journal: a line is added before a call is sent. They are sent again under the same
Idempotency-Key, so that a server which honours it sends what it had answered and charges nothing;
and they are counted, because others charge.
"""

import contextlib
import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock

from zephyr_utils.errors import HandbookError


@dataclass(frozen=True)
class Reply:
    """What a model answered to one call: a line of the journal.

    Attributes:
        key: the hash of all that determines the call (`calls.Call.key`).
        purpose: what the call was for, such as "answer" or "rate honesty".
        model: the name that was asked for; ``served_by`` the name that the server gave back.
        text: the reply, as it came.
        finish_reason: the server's word: "stop", or "length" where the reply was cut at the limit.
        prompt_tokens, completion_tokens: as the server counted them; None where it did not.
        at: when it came (UTC), because a name may stand for another model later.
    """

    key: str
    purpose: str
    model: str
    text: str
    finish_reason: str
    prompt_tokens: int | None
    completion_tokens: int | None
    served_by: str
    at: str


class Journal:
    """An append-only file of replies, open for one run at a time (a context manager).

    Only the place of each line is held in memory, about 100 bytes a call; the texts stay in the
    file.

    Args:
        path: the file; it is made, with its folder, if it is not there.

    Attributes:
        n_half_written: 1 if the last line was half written when its run was killed (it is cut off),
            else 0.
        n_unreadable: other lines that are no replies; they are left as they are, and their calls
            are made again.
        unsettled: calls that were sent and of which no word came, key -> the end of their
            Idempotency-Key: under way now or when an earlier run was killed, timed out, or cut off.
        n_made_again: unsettled calls that earlier runs made again before they were killed or
            stopped in turn; the next run takes them into its books.
        told: whether a run came to its end, so that its books tell all this and it may be
            forgotten.

    Raises:
        HandbookError: another run has the journal open, or the file cannot be written to.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.n_half_written = self.n_unreadable = 0
        self._places: dict[str, int] = {}
        self._begun_path, self._begun = self.path.with_name(f"{self.path.name}.begun"), None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # The lock goes with its process, however that ends, so a killed run leaves none behind.
            self._lock = filelock.FileLock(self.path.with_name(f".{self.path.name}.lock"))
            self._lock.acquire(timeout=0)
        except filelock.Timeout:
            raise HandbookError(
                "another run is writing this journal; together they would pay for the same calls "
                "twice",
                where=str(self.path),
                remedy="wait for it to end, or give this run a journal of its own",
            ) from None
        except OSError as error:
            raise self._cannot_write(error) from error
        try:
            self._file = open(self.path, "a+b", buffering=0)  # noqa: SIM115 (closed in `close`)
            self._read()
            self._read_begun()
        except OSError as error:
            self._lock.release()
            raise self._cannot_write(error) from error

    def _read(self) -> None:
        self._file.seek(0)
        with open(self.path, "rb") as lines:
            place = 0
            for line in lines:
                if not line.endswith(b"\n"):
                    self._file.truncate(place)
                    self.n_half_written = 1
                    break
                try:
                    key = _reply(line).key
                except (ValueError, TypeError):
                    self.n_unreadable += bool(line.strip())
                else:
                    self._places.setdefault(key, place)
                place += len(line)
        self._end = place

    def _read_begun(self) -> None:
        self.unsettled: dict[str, str] = {}
        self.n_made_again, self.told = 0, False
        text = self._begun_path.read_text(errors="replace") if self._begun_path.exists() else ""
        for line in text.split("\n")[:-1]:  # a line without its end was followed by no call
            match line.split():
                case ["begun" | "again" as word, key, tag]:
                    self.unsettled[key] = tag
                    self.n_made_again += word == "again"
                case ["ended", key]:
                    self.unsettled.pop(key, None)
        self.unsettled = {key: tag for key, tag in self.unsettled.items() if key not in self}
        self._again = self.n_made_again  # in the file

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def get(self, key: str) -> Reply | None:
        """The reply with this key, or None."""
        place = self._places.get(key)
        if place is None:
            return None
        self._file.seek(place)
        # Unbuffered readline would read byte by byte.
        parts: list[bytes] = []
        while not parts or (parts[-1] and b"\n" not in parts[-1]):
            parts.append(self._file.read(4096))
        return _reply(b"".join(parts).partition(b"\n")[0])

    def write(self, reply: Reply) -> None:
        """Append a reply. It is with the operating system when this returns, so killing the process
        cannot lose it.

        Raises:
            HandbookError: the disk is full, or the file cannot be written to.
        """
        line = json.dumps(vars(reply), ensure_ascii=False).encode(errors="replace") + b"\n"
        self._append(self._file, line)
        self._places.setdefault(reply.key, self._end)
        self._end += len(line)
        self.unsettled.pop(reply.key, None)

    def begin(self, key: str, *, again: bool = False) -> str:
        """Note that a call is about to be sent; as safe from a kill as `write`, and with its
        errors.

        Args:
            again: whether an earlier run had sent it and got no word.

        Returns:
            Its Idempotency-Key: the call's own with a tag, drawn anew unless the call is unsettled.
                Without the tag
            another collection that asks the same would be given this one's replies.
        """
        tag = self.unsettled.setdefault(key, secrets.token_hex(4))
        self._again += again
        self._note(f"{'again' if again else 'begun'} {key} {tag}")
        return f"{key}-{tag}"

    def end(self, key: str) -> None:
        """Note that a call came to nothing and that the server said so: it is not under way any
        more.
        """
        del self.unsettled[key]
        self._note(f"ended {key}")

    def _settle(self) -> None:
        """Forget all but the unsettled calls; without any the file goes."""
        left = "".join(f"begun {key} {tag}\n" for key, tag in self.unsettled.items())
        with contextlib.suppress(OSError):  # the longer file says the same
            if left:
                new = self._begun_path.with_name(f"{self._begun_path.name}.new")
                new.write_text(left)
                new.replace(self._begun_path)
            else:
                self._begun_path.unlink(missing_ok=True)

    def _note(self, line: str) -> None:
        if self._begun is None:
            try:
                self._begun = open(self._begun_path, "ab", buffering=0)  # noqa: SIM115 (closed in `close`)
            except OSError as error:
                raise self._cannot_write(error) from error
            line = f"\n{line}"  # what is there may end in half a line
        self._append(self._begun, f"{line}\n".encode())

    def _append(self, file: Any, line: bytes) -> None:
        try:
            while line:  # a disk that fills up takes a part of the line first
                line = line[file.write(line) :]
        except OSError as error:
            raise self._cannot_write(error) from error

    def close(self) -> None:
        """Give the journal back for other runs."""
        if self._begun is not None:
            self._begun.close()
        if not self._file.closed:
            os.fsync(self._file.fileno())
            self._file.close()
            if self.told or not self._again:
                self._settle()
        self._lock.release()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def _cannot_write(self, error: OSError) -> HandbookError:
        return HandbookError(
            f"the journal cannot be written: {error.strerror or error}",
            where=str(self.path),
            remedy="free some space, or name a file in a folder you may write to; what is in it is "
            "not lost",
        )


def _reply(line: bytes) -> Reply:
    reply = Reply(**json.loads(line))
    if not isinstance(reply.key, str) or not isinstance(reply.text, str):
        raise ValueError("no reply")
    return reply
