"""The journal of paid calls: one JSON line per call, written the moment its reply has come, never
changed again.

The same command started again looks its calls up here by their keys and does not pay for them
twice. A run that is killed loses the replies to the calls that were under way. Which those were is
in a second file beside the journal: a line is added before a call is sent. They are sent again
under the same Idempotency-Key, so that a server which honours it sends what it had answered and
charges nothing; and they are counted, because others charge.
"""

import contextlib
import io
import json
import os
import secrets
from pathlib import Path
from typing import Any

import filelock

from zephyr_utils.errors import HandbookError
from zephyr_utils.feedback.reply import Reply, recorded_reply

_BEGINNINGS = (b'{"key": "', b'{"withdrawn": "')


class Journal:
    """An append-only file of replies, open for one run at a time (a context manager).

    Only the place of each line is held in memory, about 100 bytes a call; the texts stay in the
    file.

    Args:
        path: the file; it is made, with its folder, if it is not there.
        read_only: open it beside another run and change nothing, not even a half-written line; the
            file has to be there.

    Attributes:
        n_half_written: 1 if the last line was half written when its run was killed (it is cut off),
            else 0.
        n_unreadable: other lines that are not replies; they are left as they are, and their calls
            are made again.
        unsettled: calls that were sent and of which no word came, key -> the end of their
            Idempotency-Key: under way now or when an earlier run was killed, timed out, or cut off.
        n_made_again: unsettled calls that earlier runs made again before they were killed or
            stopped in turn; the next run counts them.
        reported: whether a run came to its end, so that its report holds all this and it may be
            forgotten.

    Raises:
        HandbookError: another run has the journal open, the file cannot be written to, or it holds
            something else; then it is left as it is.
    """

    def __init__(self, path: str | Path, *, read_only: bool = False) -> None:
        self.path = Path(path)
        self._read_only = read_only
        self.n_half_written = self.n_unreadable = 0
        self._places: dict[str, int] = {}
        self._begun: io.FileIO | None = None
        if "\0" in str(self.path) or not self.path.name:
            raise self._cannot_write("this is not a file name")
        self._begun_path = self.path.with_name(f"{self.path.name}.begun")
        try:
            if not read_only:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = io.FileIO(self.path, "r" if read_only else "a+")
        except (OSError, UnicodeError) as error:
            raise self._cannot_write(error) from error
        if not read_only:
            self._acquire()
        try:
            self._read()
            self._read_begun()
        except (OSError, HandbookError) as error:
            self._file.close()
            self._release()
            if isinstance(error, HandbookError):
                raise
            raise self._cannot_write(error) from error

    def _acquire(self) -> None:
        try:
            # The lock goes with its process, however that ends, so a killed run leaves none behind.
            self._lock = filelock.FileLock(self.path.with_name(f".{self.path.name}.lock"))
            self._lock.acquire(timeout=0)
        except filelock.Timeout:
            self._file.close()
            raise HandbookError(
                "another run is writing this journal; together they would pay for the same calls "
                "twice",
                where=str(self.path),
                remedy="wait for it to end, or give this run a journal of its own",
            ) from None
        except (OSError, NotImplementedError) as error:  # no locks on this disk
            self._file.close()
            raise self._cannot_write(error) from error

    def _release(self) -> None:
        if not self._read_only:
            self._lock.release()

    def _read(self) -> None:
        n_lines = 0
        with open(self.path, "rb") as lines:
            place = 0
            for line in lines:
                if not line.endswith(b"\n"):
                    if n_lines == 0 and not _may_be_ours(line):
                        raise self._is_none()
                    if not self._read_only:
                        self._file.truncate(place)
                    self.n_half_written = 1
                    break
                try:
                    key = self._note_line(line, place)
                except (ValueError, TypeError, RecursionError):
                    self.n_unreadable += bool(line.strip())
                else:
                    n_lines += bool(key)
                place += len(line)
        self._end = place
        if self.n_unreadable and not n_lines:
            raise self._is_none()

    def _note_line(self, line: bytes, place: int) -> str:
        """Take a line into account; the key of the reply that it brings or withdraws."""
        fields = json.loads(line)
        if isinstance(fields, dict) and fields.keys() == {"withdrawn"}:
            self._places.pop(key := str(fields["withdrawn"]), None)
        else:
            self._places.setdefault(key := recorded_reply(fields).key, place)
        return key

    def _read_begun(self) -> None:
        self.unsettled: dict[str, str] = {}
        self.n_made_again, self.reported = 0, False
        begun = self._begun_path.read_bytes() if self._begun_path.exists() else b""
        text = begun.decode("ascii", errors="replace")
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
        return recorded_reply(json.loads(b"".join(parts).partition(b"\n")[0]))

    def write(self, reply: Reply) -> None:
        """Append a reply. It is with the operating system when this returns, so killing the process
        cannot lose it.

        Raises:
            HandbookError: the disk is full, or the file cannot be written to.
        """
        self._places.setdefault(reply.key, self._write_line(vars(reply)))
        self.unsettled.pop(reply.key, None)

    def withdraw(self, key: str) -> None:
        """Let a reply not count any more, because its call is about to be made again; the line
        stays. As safe from a kill as `write`, and with its errors.
        """
        self._note(f"ended {key}")  # or its old Idempotency-Key might bring the old reply again
        self._write_line({"withdrawn": key})
        self._places.pop(key, None)

    def _write_line(self, fields: dict[str, Any]) -> int:
        line = json.dumps(fields, ensure_ascii=False).encode(errors="replace") + b"\n"
        place = self._end
        self._append(self._file, line)
        self._end += len(line)
        return place

    def begin(self, key: str, *, again: bool = False) -> str:
        """Note that a call is about to be sent; as safe from a kill as `write`, and with its
        errors.

        Args:
            again: whether an earlier run had sent it and got no word.

        Returns:
            Its Idempotency-Key: the call's own with a tag, drawn afresh unless the call is
                unsettled.
            Without the tag another collection that asks the same would be given this one's replies.
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
                # Closed in `close`.
                self._begun = open(self._begun_path, "ab", buffering=0)  # noqa: SIM115
            except OSError as error:
                raise self._cannot_write(error) from error
            line = f"\n{line}"  # what is there may end in half a line
        self._append(self._begun, f"{line}\n".encode())

    def _append(self, file: io.FileIO, line: bytes) -> None:
        end = os.fstat(file.fileno()).st_size
        try:
            while line:  # a disk that fills up takes a part of the line first
                line = line[file.write(line) :]
        except OSError as error:
            with contextlib.suppress(OSError):  # or the next reply would be glued to that part
                os.ftruncate(file.fileno(), end)
            raise self._cannot_write(error) from error

    def close(self) -> None:
        """Give the journal back for other runs."""
        try:
            if self._begun is not None:
                self._begun.close()
            if self._read_only:
                self._file.close()
            elif not self._file.closed:
                os.fsync(self._file.fileno())
                self._file.close()
                if self.reported or not self._again:
                    self._settle()
        except OSError as error:
            raise self._cannot_write(error) from error
        finally:
            self._release()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def _cannot_write(self, error: Exception | str) -> HandbookError:
        why = getattr(error, "strerror", None) or error
        return HandbookError(
            f"the journal cannot be written: {why}",
            where=str(self.path),
            remedy="free some space, or name a file in a folder you may write to; what is in it is "
            "not lost",
        )

    def _is_none(self) -> HandbookError:
        return HandbookError(
            "this file is not a journal: none of its lines is a reply",
            where=str(self.path),
            remedy="name another file; this one was left as it is",
        )


def _may_be_ours(half_line: bytes) -> bool:
    """Whether this can be the beginning of a line of ours; a system crash may leave zeros."""
    started = any(half_line[: len(b)] == b[: len(half_line)] for b in _BEGINNINGS)
    return started or not half_line.strip(b"\0")
