"""The one exception that readers are meant to meet: it says where, what, and what to do.

`first_line` quotes the errors of other libraries in it.
"""


class HandbookError(Exception):
    """Something the reader can fix.

    The command line prints the message without a traceback and exits with status 2; notebooks show
    it as it is.

    Args:
        what: what is wrong, in one sentence.
        where: the file, row, field, option or stage it concerns.
        remedy: what to do about it.
    """

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        self.what, self.where, self.remedy = what, where, remedy
        parts = [f"{where}: {what}" if where else what]
        if remedy:
            parts.append(f"What to do: {remedy}")
        super().__init__("\n".join(parts))


def first_line(error: Exception) -> str:
    """The class of another library's error, and the first line of its message if it has one."""
    text = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
