"""Lines of source code that are in a message without a fence around them.

Some lines are code whatever is beside them, and are found one by one. Others (an assignment, a
call, ``end``) might be mathematics or prose; they count only in a *block*: consecutive lines of
which enough are code and at least one is plainly so, with the comments, indented lines and blank
lines between them. Every pattern ignores case and starts at its line's first byte, and every repeat
is bounded or followed by what it cannot match, so the time is linear in the text.
"""

import re

import numpy as np

MAX_LINE = 2000  # bytes; no line of code is that long, and lines of prose may be
ENOUGH = 4  # points of a block: two for a line that is plainly code, one for one that may be
BESIDE = 2  # comments and indented lines a block may hold for each line that counts

CODE_LINE = re.compile(
    rb"""[ \t]*(?:
        >>> | \#! | \#(?:include|define|ifdef|pragma)\b
      | import[ ][\w.]+(?:[ ]as[ ]\w+)?[ \t]*$ | from[ ][\w.]+[ ]import\b
      | (?:async[ ])?def[ ]\w+\( | class[ ]\w+[(:{] | print\( | \$[ ][a-z]
      | (?:sudo|apt-get|docker|kubectl|chmod|mkdir|curl|wget)[ ][\w./-]
      | (?:public|private|protected|static|const|let|var|void|int|char|float|double|bool|string
        |function)[ ]\w+[ \t]*[=(;{]
      | (?:for|while|if|else[ ]if|switch|catch|foreach)[ ]?\([^\n]{0,200}[){][ \t]*$
      | for[ ]\w+(?:,[ ]?\w+)?[ ]in[ ][^\n]{1,80}:[ \t]*$ | (?:else|try|finally)[ ]?:[ \t]*$
      | (?:elif|if|while)[ ][^\n]{0,80}(?:[=!<>]=|[<>]|\(\))[^\n]{0,80}:[ \t]*$
      | return[ ][^\n]{0,80}[;)\]}][ \t]*$
      | (?:insert[ ]into|create[ ]table|alter[ ]table|drop[ ]table|delete[ ]from)[ ]\w+
      | select[ ][\w*.,() ]{1,200}?[ ]from[ ]\w+[ \t]*(?:$|;|where\b|join\b|group\b|order\b)
      | "[\w .-]{1,40}"[ ]?:[ ]*(?:["{\[\d-]|true\b|false\b|null\b)
    )""",
    re.X | re.I,
)
CODE_LINE_END = re.compile(rb"[{}][ \t]*$|[=()\[\]{}].{0,200};[ \t]*$")

_NAME = rb"[$@]{0,2}[a-z_]\w*(?:(?:\.|->|::)\w+)*(?:\[[^\[\]\n]{0,60}\])?"
# Plainly code, but only believed beside other lines of it. In this order: values that are kept,
# members that are called, statements of many languages, commands of a shell.
PLAIN = re.compile(
    rb"[ \t]*(?:"
    + _NAME
    + rb"""[ \t]{0,20}(?:(?:[-+*/%|.]|\|\||&&|:)=[ ]?[^\s=] | <-[ ]?[\w"'] | =>[ ]?[\w"'$\[])
      | (?:[a-z]\w*[ ]){0,2}"""
    + _NAME
    + rb"""[ \t]{0,20}=[ ]?(?: ["'{] | \[(?:["'\w{][^\n]{0,200})?\][;,]?[ \t]*$ | new[ ]\w+\(
        | (?:null|none|nil|true|false)[;,]?[ \t]*$ | [$@]?[a-z_]\w*(?:\.|->|::)[a-z_])
      | [$@]?[a-z_]\w*(?:\[[^\[\]\n]{0,60}\])?(?:(?:\.|->|::)[a-z_]\w*[!?]?){1,9} (?:
          \((?:[^\n]{0,300}\)[;:,{]?)?[ \t]*$ | [ ](?:do|\{)(?:[ ]?\|[\w, ]{1,60}\|)?[ \t]*$)
      | (?:puts|echo|print|printf|require|raise|disp)[ ]?[("'$][^\n]{0,300}["')\w;];?[ \t]*$
      | (?:elsif|elif|unless|until|while|if)[ ][^\n]{0,100}(?:[=!]=|&&|\|\||\w\.\w+[?(])
      | (?:end[ ](?:if|sub|function|while|select)|endif|endwhile|endfunction)[ \t]*$
      | dim[ ]\w+[ ]as[ ]\w+ | (?:local[ ])?function[ ][\w.:]*\( | fn[ ]\w+[(<]
      | func[ ](?:\([^()\n]{1,60}\)[ ])?\w+\( | def[ ][\w.]+[!?]?(?:[ ]?\([^\n]{0,200}\))?[ \t]*$
      | <\?php | \((?:define|defun|let|setq|defn)[ (] | @[a-z_]\w*\([^\n]{0,200}\)[ \t]*$
      | (?:using|import|package|use|namespace)[ ](?:static[ ]|namespace[ ])?[\w.:*{},]{1,99};[ \t]*$
      | with[ ][^\n]{1,100}[ ]as[ ]\w+:[ \t]*$ | except(?:[ ][\w., ()]{1,80})?:[ \t]*$
      | (?:update[ ]\w+[ ]set|group[ ]by|order[ ]by|(?:inner|left|right|outer|full)[ ]join)[ ]\w+
      | export[ ]\w+= | cd[ ][\w./~-]+[ \t]*$ | git[ ](?:clone|add|commit|push|pull|checkout|init)\b
      | (?:pip3?|npm|npx|yarn|brew|conda|cargo|gem|composer|dotnet)[ ]
        (?:install|add|run|init|build|test|new|create)\b
    )""",
    re.X | re.I,
)
# The first two letters of the words that `CODE_LINE` begins with.
_CODE_LETTERS = (
    b"al ap as bo ca ch cl co cr cu de do dr el fi fl fo fr fu if im in ku le mk pr pu re se st su "
    b"sw tr va vo wg wh"
)
# What a line has that matches `PLAIN`: a trigger, one of these pairs of bytes, or the first two
# letters of a word that it may begin with.
_PAIRS = (b"<-", b"->", b"::")
_PLAIN_LETTERS = (
    b"br ca cd co de di do ec el en ex fn fu ge gi gr if im in le lo na np or ou pa pi pr pu "
    b"ra re ri un up us wh wi ya"
)
# Of these, a command that is code alone: it has no mark at its end, as prose about it would.
COMMAND = re.compile(
    rb"""[ \t]*(?:(?:pip3?|npm|npx|yarn|brew|conda|cargo|gem|composer|dotnet|git)[ ]
        (?:install|add|run|init|clone|push|pull|checkout) | cd)
        (?:[ ][\w./:@~=-]*[\w/~-]){0,5}[ \t]*$""",
    re.X | re.I,
)
# Code, mathematics or prose.
PERHAPS = re.compile(
    rb"[ \t]*(?:(?:[a-z]\w*[ ])?"
    + _NAME
    + rb"[ \t]{0,20}=[ ]?(?![a-z]+(?:[ ][a-z]+){3})[^\s=] | "
    + _NAME
    + rb"""\([^\n]{0,200}\)[;:,]?[ \t]*$
      | (?:elsif|elif|unless|until|while|if)[ ][^\n]{0,100}(?:[<>]=?|[ ](?:then|do)[ \t]*$)
      | (?:end|else|begin|do|then|fi|done|esac|try|finally|ensure|rescue|pass|break|continue|return
        |next|loop)[;:]?[ \t]*$
      | return[ ][\w.$@"'(\[{-][^\n]{0,100}$
      | (?:from|where|values|having|limit|join)[ ][^\n]{1,100}$
      | [\[\](){}<>;,|&"'=+*/\\]{1,9}[ \t]*$
    )""",
    re.X | re.I,
)
COMMENT = re.compile(rb"[ \t]*(?:\#(?![#\w])|//|--[ ]|/\*|\*/|\"\"\"|%[ ])")
INDENTED = re.compile(rb"(?:\t|[ ]{2})[ \t]*(?![-*+>|\d\s\x80-\xff]|[a-z]{1,2}[.)][ ])", re.I)
FENCE = re.compile(rb"[ \t]*(?:```|~~~|\\[a-z])", re.I)  # and LaTeX: protected, but no code
_BLANK, _PROSE, _COMMENT, _INDENTED, _PERHAPS, _PLAIN = range(6)
_POINTS = {_PERHAPS: 1, _PLAIN: 2}

_MAY_OPEN, _ENDS_PROSE = np.zeros(256, np.bool_), np.zeros(256, np.bool_)
_MAY_OPEN[list(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_$@<( \t")] = True
_ENDS_PROSE[list(b".!?")] = True
_ENDS_CODE = np.zeros(256, np.bool_)
_ENDS_CODE[list(b"{}; \t\r")] = True


def _beginnings(letters: bytes, marks: bytes) -> np.ndarray:
    """Whether a line may begin with two bytes, by their number (256 times the first, and the
    second): with two of these letters in either case, or with one of these marks.
    """
    table = np.zeros(65536, np.bool_)
    for mark in marks:
        table[256 * mark : 256 * mark + 256] = True
    for first, second in letters.split():
        for either in (first, first - 32):
            table[[256 * either + second, 256 * either + second - 32]] = True
    return table


_BEGINS_CODE, _BEGINS_PLAIN = (
    _beginnings(_CODE_LETTERS, b' \t>#$"'),
    _beginnings(_PLAIN_LETTERS, b" \t<("),
)


def code_line_spans(raw: bytes, array: np.ndarray, hits: np.ndarray) -> list[tuple[int, int]]:
    """Lines that are code by themselves, among those that hold a trigger, and blocks of code.

    Args:
        raw: messages, each between zero bytes.
        array: the same as an array.
        hits: positions of the triggers.

    Returns:
        Spans in bytes, in no order; they may overlap.
    """
    breaks = np.flatnonzero((array == 10) | (array == 0))
    lines = _Lines(raw, array, breaks)
    triggered = np.zeros(len(breaks) - 1, np.bool_)
    triggered[np.searchsorted(breaks, hits) - 1] = True
    first, second = (array.take(breaks[:-1] + n, mode="clip").astype(np.int32) for n in (1, 2))
    begins, last = 256 * first + second, array[breaks[1:] - 1]
    may_be_code = triggered & (_BEGINS_CODE.take(begins) | _ENDS_CODE.take(last))
    spans = [
        lines.span(line, line)
        for line in (np.flatnonzero(may_be_code) + 1).tolist()
        if lines.is_code(line)
    ]
    # Nearly all lines are out by what they lack, and of the others by length, first or last byte.
    likely = triggered | _BEGINS_PLAIN.take(begins)
    for pair in _PAIRS:
        likely[np.searchsorted(breaks, _places(array, pair)) - 1] = True
    likely &= np.diff(breaks) > 3
    likely &= _MAY_OPEN.take(first) & ~_ENDS_PROSE.take(last)
    done = 0  # lines that were looked at already
    for line in (np.flatnonzero(likely) + 1).tolist():
        if not lines.matches(PLAIN, line):
            continue
        if line > done:
            begin, done = lines.around(line, done)
            if block := lines.block(begin, done):
                spans.append(lines.span(*block))
        if lines.matches(COMMAND, line):
            spans.append(lines.span(line, line))
    return spans


def _places(array: np.ndarray, pair: bytes) -> np.ndarray:
    """Where two bytes are, one right behind the other."""
    return np.flatnonzero((array[:-1] == pair[0]) & (array[1:] == pair[1]))


class _Lines:
    """The lines of messages between zero bytes, numbered from 1 by the break that ends each.

    Args:
        raw: the messages.
        array: the same as an array.
        breaks: where line breaks and zero bytes are; the first is the zero byte at 0.
    """

    def __init__(self, raw: bytes, array: np.ndarray, breaks: np.ndarray) -> None:
        starts, ends = breaks[:-1] + 1, breaks[1:]
        ends = ends - ((ends > starts) & (array[ends - 1] == 13))  # "\r\n" ends a line too
        self.raw, self.breaks, self.closes = raw, breaks.tolist(), (array[breaks] == 0).tolist()
        self._bounds = [(0, 0), *zip(starts.tolist(), ends.tolist(), strict=True)]
        self._kinds: dict[int, int] = {}

    def span(self, first: int, last: int) -> tuple[int, int]:
        """The bytes from the start of one line to the end of another."""
        return self.breaks[first - 1] + 1, self.breaks[last]

    def matches(self, pattern: re.Pattern[bytes], line: int) -> bool:
        """Whether a line matches from its start on; none that is too long for code does."""
        start, end = self._bounds[line]
        return end - start <= MAX_LINE and pattern.match(self.raw, start, end) is not None

    def is_code(self, line: int) -> bool:
        """Whether a line is code whatever is beside it."""
        start, end = self._bounds[line]
        if end - start > MAX_LINE:
            return False
        last = self.raw[start:end].rstrip()[-1:]
        return CODE_LINE.match(self.raw, start, end) is not None or bool(
            last and last in b"{};" and CODE_LINE_END.search(self.raw, max(start, end - 210), end)
        )

    def kind(self, line: int) -> int:
        """What a line may be in a block."""
        if line not in self._kinds:
            self._kinds[line] = self._kind(line)
        return self._kinds[line]

    def _kind(self, line: int) -> int:
        start, end = self._bounds[line]
        if not self.raw[start:end].strip():
            return _BLANK
        if self.matches(FENCE, line):
            return _PROSE
        if self.matches(COMMENT, line):
            return _COMMENT
        if self.matches(PLAIN, line) or self.is_code(line):
            return _PLAIN
        if self.matches(PERHAPS, line):
            return _PERHAPS
        return _INDENTED if self.matches(INDENTED, line) else _PROSE

    def around(self, line: int, done: int) -> tuple[int, int]:
        """The first and last line of the run without prose that a line is in, of its message
        and behind what is done.
        """
        first, last = line, line
        while first - 1 > done and not self.closes[first - 1] and self.kind(first - 1) != _PROSE:
            first -= 1
        while not self.closes[last] and self.kind(last + 1) != _PROSE:
            last += 1
        return first, last

    def block(self, first: int, last: int) -> tuple[int, int] | None:
        """The first and last line of the block of code in a run without prose, if there is one."""
        kinds = {line: self.kind(line) for line in range(first, last + 1)}
        counted = [line for line, kind in kinds.items() if kind in _POINTS]
        points = sum(_POINTS[kinds[line]] for line in counted)
        begin, end = counted[0], counted[-1]
        inside = [kinds[line] for line in range(begin, end + 1)]
        beside = inside.count(_COMMENT) + inside.count(_INDENTED)
        if points < ENOUGH or beside > BESIDE * len(counted):
            return None
        # A comment belongs to the code right under it; over a blank line it might be a heading.
        commented = _COMMENT in inside
        while begin > first and (
            kinds[begin - 1] == _COMMENT or (commented and kinds[begin - 1] == _BLANK)
        ):
            begin -= 1
        while kinds[begin] == _BLANK:
            begin += 1
        while end < last and kinds[end + 1] in (_COMMENT, _INDENTED):
            end += 1
        return begin, end
