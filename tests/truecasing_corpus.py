"""A small corpus to fit a truecaser on, and messages whose untouchable parts are known because they
were planted.

Everything is generated, so the tests need no records; names, abbreviations and brands recur often
enough to be learned.
"""

import random
from functools import cache

from zephyr_utils.truecasing import Truecaser

PEOPLE = [
    "Alice", "Bob", "Maria", "Ahmed", "Chen", "Olga", "Pierre", "Ingrid", "Rajesh", "Kofi",
    "McDonald", "O'Neil", "Einstein", "Rowling",
]  # fmt: skip
PLACES = [
    "Paris", "London", "Berlin", "Tokyo", "Brazil", "Canada", "Nairobi", "Vienna", "Texas",
    "Egypt", "New York", "South Korea",
]  # fmt: skip
GROUPS = ["NASA", "UNESCO", "IBM", "Google", "Microsoft", "BBC", "FIFA"]
BRANDS = ["iPhone", "eBay", "macOS", "arXiv", "GitHub", "YouTube", "PyTorch"]
MONTHS = ["January", "March", "May", "August", "October", "December"]
WORDS = [
    "river", "garden", "engine", "letter", "window", "summer", "winter", "market", "bridge",
    "teacher", "student", "doctor", "kitchen", "mountain", "ocean", "forest", "recipe", "dinner",
    "music", "painting", "story", "journey", "question", "answer", "problem", "method", "result",
    "number", "reason", "picture", "village", "city",
]  # fmt: skip
ADJECTIVES = [
    "small", "large", "quiet", "bright", "common", "careful", "modern", "ancient", "simple",
    "useful", "gentle", "famous", "local", "early",
]  # fmt: skip
VERBS = [
    "visited", "described", "remembered", "explained", "painted", "measured", "repaired",
    "enjoyed", "discussed", "improved",
]  # fmt: skip


def sentence(rng: random.Random) -> str:
    """A well-cased sentence."""
    pick = rng.choice
    person, other, place, group, brand = (
        pick(PEOPLE),
        pick(PEOPLE),
        pick(PLACES),
        pick(GROUPS),
        pick(BRANDS),
    )
    word, second, adjective, verb = pick(WORDS), pick(WORDS), pick(ADJECTIVES), pick(VERBS)
    return pick(
        (
            f"{person} {verb} the {adjective} {word} in {place}.",
            f"The {word} of {place} is {adjective}, and I like it.",
            f"I think that {person} {verb} a {word} with {other} in {pick(MONTHS)}.",
            f"It was {group} that {verb} the {word}, e.g. the {second}.",
            f"Please bring a {word}, a {second}, etc. and call Mr. {person}.",
            f"However, the {adjective} {word} vs. the {second} is a {pick(ADJECTIVES)} question!",
            f"Does {person} use an {brand} at the {word}?",
            f"We {verb} it on {brand}, and they may do so again; will you help us?",
            f"In {place}, people {verb} the {word} at about {rng.randint(1, 12)} a.m. on most "
            f"days.",
            f"This {word} costs approx. {rng.randint(2, 90)} dollars, said {person}.",
            f"{place}'s {word} is as {adjective} as {person}'s {second}.",
            f"Here are some {adjective} ideas for the {word}:",
            f"You can {pick(('visit', 'describe', 'paint'))} the {word} if you wish.",
            f"For example, the {word} in the U.S. is {adjective}.",
        )
    )


def message(rng: random.Random) -> str:
    """Some sentences, now and then as paragraphs or a list."""
    sentences = [sentence(rng) for _ in range(rng.randint(3, 8))]
    shape = rng.random()
    if shape < 0.6:
        return " ".join(sentences)
    if shape < 0.8:
        return "\n\n".join(sentences)
    return (
        sentences[0] + "\n\n" + "\n".join(f"{n}. {text}" for n, text in enumerate(sentences[1:], 1))
    )


def corpus(count: int = 3000, seed: int = 0) -> list[str]:
    """So many well-cased messages."""
    rng = random.Random(seed)
    return [message(rng) for _ in range(count)]


FAULTY = (
    "I don't know paris well. however, maria visited it in may.\n\nshe and i remembered the bridge."
)
REPAIRED = (
    "I don't know Paris well. However, Maria visited it in May.\n\nShe and I remembered the bridge."
)
CLEAN = "The garden in Paris is quiet. I like it, and Maria does too."


@cache
def fitted() -> Truecaser:
    """A truecaser fitted on this corpus, once a process."""
    return Truecaser.fit(corpus(1500))


UNTOUCHABLE = (
    "```python\nfor I in Range(9):\n    Print(I. real)\n```",
    "```\nSELECT Name FROM Users. where x = 1;\n```",
    "~~~\nHello. world\n~~~",
    "`My. variable`",
    "``a `Tick`. inside``",
    "https://Example.com/aPath?x=Y&z=i#Top",
    "http://localhost:8080/A.b/i",
    "www.Example.org/i/Index.html",
    "First.Last@Mail-Server.com",
    "mailto:someOne@example.com",
    "/usr/local/Bin/i",
    "~/Documents/notes.TXT",
    r"C:\Users\i\Desktop",
    "../src/Main.java",
    '<div class="Main. i">',
    "</Span>",
    "<!-- To do. fix i -->",
    "<pre>some. Text i</pre>",
    "$x_i + Y. z$",
    "$$\nE = m c^2. i\n$$",
    r"\(a_i. B\)",
    r"\[ \sum_{i} x_i \]",
    r"\frac{I}{n}",
    r"\begin{align} i &= J. k \end{align}",
    "snake_case_Name",
    "np.array",
    "getUser(name, Id)",
    "config.yaml",
    "#HashTag",
    "@someOne",
    "--dry-Run",
    "{place_Holder}",
    "&nbsp;",
    "$HOME",
    "${Path}",
    "# Read a Name. then visit Paris.\nputs 'Which. Name?'\nName = gets.chomp\n",
    "Cd /River\nexport NAME=Maria\n# However, it is far. i like it.\necho 'Visit. it'\n",
)
# These are on lines of their own.
BLOCKS = ("```", "~~~", "$$", r"\[", r"\begin", "<pre", "<!--", "# Read", "Cd ")


def planted_message(rng: random.Random) -> tuple[str, list[tuple[int, int]]]:
    """A message with one to four untouchable parts, and where they are (start, end, in
    characters).
    """
    text, spans = "", []
    for _ in range(rng.randint(1, 4)):
        text += sentence(rng)
        part = rng.choice(UNTOUCHABLE)
        text += "\n\n" if part.startswith(BLOCKS) else rng.choice((" ", " See "))
        spans.append((len(text), len(text) + len(part)))
        text += part
        text += "\n\n" if part.startswith(BLOCKS) else rng.choice((" ", " and ", " is "))
    return text + sentence(rng), spans
