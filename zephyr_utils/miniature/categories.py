"""What is asked in the miniature world: eight categories named as in MT-Bench, two turns each,
every answer known.

A category draws *slots* (which names, which numbers), phrases them as two user turns, and knows
what a right answer holds.
"""

import random
from collections.abc import Iterable

from zephyr_utils.miniature.facts import (
    CAPITALS,
    CODE_WORDS,
    COLOURS,
    COMPARISONS,
    COUNTRIES,
    KINDS,
    LANGUAGES,
    NAMES,
    NUMBERS,
    ROLES,
    THINGS,
    TOPICS,
)
from zephyr_utils.miniature.question import Category, Slots, Truth


def _others(of: Iterable[str], *but: str) -> frozenset[str]:
    return frozenset(of) - set(but)


# --- writing --------------------------------------------------------------------------------------


def _note(name: str, topic: str) -> Truth:
    state = TOPICS[topic]
    return Truth(
        sentence=f"Dear {name}, the {topic} is {state} today.",
        short=f"{name}, the {topic} is {state}.",
        required=(name, topic, state),
        rivals=_others(NAMES, name) | _others(TOPICS, topic),
    )


def _draw_writing(rng: random.Random) -> Slots:
    name, other = rng.sample(NAMES, 2)
    return {"name": name, "other": other, "topic": rng.choice(list(TOPICS))}


WRITING = Category(
    "writing",
    (
        "Write a short note to {name} about the {topic}.",
        "Please write to {name} about the {topic}.",
        "I need a note about the {topic} for {name}.",
    ),
    ("Now write it to {other}.", "Write the same note to {other}.", "And one for {other}, please."),
    _draw_writing,
    lambda s: (_note(s["name"], s["topic"]), _note(s["other"], s["topic"])),
    lambda s: (f"{s['name']} {s['topic']}", f"{s['other']} {s['topic']}"),
)

# --- roleplay -------------------------------------------------------------------------------------


def _greeting(role: str, name: str) -> Truth:
    greeting, deed = ROLES[role]
    return Truth(
        sentence=f"{greeting}, {name}! I am a {role} and I {deed}.",
        short=f"{greeting}, {name}!",
        required=(greeting, name),
        rivals=_others(NAMES, name)
        | _others(ROLES, role)
        | {ROLES[r][0] for r in ROLES if r != role},
    )


def _draw_roleplay(rng: random.Random) -> Slots:
    role, other = rng.sample(list(ROLES), 2)
    return {"role": role, "other": other, "name": rng.choice(NAMES)}


ROLEPLAY = Category(
    "roleplay",
    (
        "Pretend you are a {role} and greet {name}.",
        "You are a {role}. Say hello to {name}.",
        "Greet {name} as a {role} would.",
    ),
    ("Now be a {other}.", "Do it again as a {other}.", "And how would a {other} do it?"),
    _draw_roleplay,
    lambda s: (_greeting(s["role"], s["name"]), _greeting(s["other"], s["name"])),
    lambda s: (f"{s['role']} {s['name']}", f"{s['other']} {s['name']}"),
)

# --- reasoning ------------------------------------------------------------------------------------


def _superlative(who: str, superlative: str, all_three: set[str]) -> Truth:
    return Truth(f"{who} is the {superlative}.", f"{who}.", (who,), frozenset(all_three - {who}))


def _draw_reasoning(rng: random.Random) -> Slots:
    first, middle, last = rng.sample(NAMES, 3)
    more, most, least = COMPARISONS[rng.choice(list(COMPARISONS))]
    return {
        "first": first,
        "middle": middle,
        "last": last,
        "more": more,
        "most": most,
        "least": least,
    }


def _reasoning_truths(s: Slots) -> tuple[Truth, Truth]:
    three = {s["first"], s["middle"], s["last"]}
    return _superlative(s["first"], s["most"], three), _superlative(s["last"], s["least"], three)


REASONING = Category(
    "reasoning",
    (
        "{first} is {more} than {middle}. {middle} is {more} than {last}. Who is the {most}?",
        "{middle} is {more} than {last}. {first} is {more} than {middle}. Who is the {most}?",
    ),
    ("And who is the {least}?", "Who is the {least}, then?"),
    _draw_reasoning,
    _reasoning_truths,
    lambda s: (f"{s['first']} {s['middle']} {s['last']} {s['more']}",),
)

# --- math -----------------------------------------------------------------------------------------


def apply_operation(left: int, operation: str, right: int) -> int:
    """`left` plus or minus `right`."""
    return left + right if operation == "plus" else left - right


def _draw_math(rng: random.Random) -> Slots:
    a, b = rng.randint(1, 9), rng.randint(1, 9)
    first = rng.choice(("plus", "minus")) if a >= b else "plus"
    middle = apply_operation(a, first, b)
    c = rng.randint(1, 9)
    second = rng.choice(("plus", "minus")) if middle >= c else "plus"
    slots = {"a": a, "first": first, "b": b, "second": second, "c": c, "d": rng.randint(1, 3)}
    return {key: str(value) for key, value in slots.items()}


def _math_truths(s: Slots) -> tuple[Truth, Truth]:
    a, b, c, d = (int(s[key]) for key in "abcd")
    middle = apply_operation(a, s["first"], b)
    result = apply_operation(middle, s["second"], c)
    steps = f"{a} {s['first']} {b} is {middle}, and {middle} {s['second']} {c} is {result}."
    asked = {str(n) for n in (a, b, c, middle)}
    return (
        Truth(steps, f"{result}.", (str(result),), _others(NUMBERS, str(result)) - asked),
        Truth(
            f"{result} plus {d} is {result + d}.",
            f"{result + d}.",
            (str(result + d),),
            _others(NUMBERS, str(result + d), str(result), str(d)),
        ),
    )


MATH = Category(
    "math",
    (
        "What is {a} {first} {b} {second} {c}?",
        "Work out {a} {first} {b} {second} {c}.",
        "How much is {a} {first} {b} {second} {c}?",
    ),
    ("Now add {d} to that.", "Add {d} more.", "And with {d} added?"),
    _draw_math,
    _math_truths,
    lambda s: (f"{s['a']} {s['first']} {s['b']} {s['second']} {s['c']}",),
)

# --- coding ---------------------------------------------------------------------------------------


def _draw_coding(rng: random.Random) -> Slots:
    one, two = rng.sample(CODE_WORDS, 2)
    return {"one": one, "two": two, "times": str(rng.randint(2, 9))}


def _coding_truths(s: Slots) -> tuple[Truth, Truth]:
    line, loop = f'print("{s["one"]}", "{s["two"]}")', f"for i in range({s['times']}):"
    rivals = _others(CODE_WORDS, s["one"], s["two"])
    return (
        Truth(f"Here is the code:\n```python\n{line}\n```", f"`{line}`", (line,), rivals),
        Truth(
            f"Here is the loop:\n```python\n{loop}\n    {line}\n```",
            f"```python\n{loop}\n    {line}\n```",
            (loop, line),
            rivals,
        ),
    )


CODING = Category(
    "coding",
    (
        "Write Python code that prints {one} and {two}.",
        "How do I print {one} and {two} in Python?",
        "Show me Python that prints {one} and {two}.",
    ),
    ("Now print it {times} times.", "Repeat that {times} times.", "And {times} times in a loop?"),
    _draw_coding,
    _coding_truths,
    lambda s: (f"{s['one']} {s['two']}",),
)

# --- extraction -----------------------------------------------------------------------------------


def _draw_extraction(rng: random.Random) -> Slots:
    return {
        "name": rng.choice(NAMES),
        "count": str(rng.randint(2, 12)),
        "colour": rng.choice(COLOURS),
        "things": rng.choice(THINGS),
        "place": rng.choice(CAPITALS),
    }


def _extraction_truths(s: Slots) -> tuple[Truth, Truth]:
    bought = f"{s['count']} {s['colour']} {s['things']}"
    return (
        Truth(
            f"{s['name']} bought {bought}.",
            f"{bought[0].upper()}{bought[1:]}.",
            (s["count"], s["colour"], s["things"]),
            _others(NUMBERS, s["count"])
            | _others(COLOURS, s["colour"])
            | _others(THINGS, s["things"]),
        ),
        Truth(
            f"It was in {s['place']}.",
            f"In {s['place']}.",
            (s["place"],),
            _others(CAPITALS, s["place"]),
        ),
    )


EXTRACTION = Category(
    "extraction",
    (
        "Read this: {name} bought {count} {colour} {things} in {place}. What did {name} buy?",
        "In {place}, {name} bought {count} {colour} {things}. What did {name} buy?",
    ),
    ("Where was that?", "And where?", "In which city?"),
    _draw_extraction,
    _extraction_truths,
    lambda s: (f"{s['name']} {s['count']} {s['colour']} {s['things']} {s['place']}",),
)

# --- stem -----------------------------------------------------------------------------------------


def _draw_stem(rng: random.Random) -> Slots:
    kinds = rng.sample(list(KINDS), 3)
    slots = {key: rng.choice(KINDS[kind]) for key, kind in zip("xyz", kinds, strict=True)}
    return slots | dict(zip(("kind", "next"), rng.sample(kinds, 2), strict=True))


def _member(kind: str, among: set[str]) -> Truth:
    (member,) = among & set(KINDS[kind])
    shown = member[0].upper() + member[1:]
    return Truth(f"{shown} is a {kind}.", f"{shown}.", (member,), frozenset(among - {member}))


STEM = Category(
    "stem",
    (
        "Which of these is a {kind}: {x}, {y} or {z}?",
        "Of {x}, {y} and {z}, which one is a {kind}?",
    ),
    ("And which one is a {next}?", "Which is a {next}, then?"),
    _draw_stem,
    lambda s: (
        _member(s["kind"], {s["x"], s["y"], s["z"]}),
        _member(s["next"], {s["x"], s["y"], s["z"]}),
    ),
    lambda s: (" ".join(sorted((s["x"], s["y"], s["z"]))),),
)

# --- humanities -----------------------------------------------------------------------------------


def _draw_humanities(rng: random.Random) -> Slots:
    one, two = rng.sample(list(COUNTRIES), 2)
    return {"one": one, "two": two, "which": rng.choice(("first", "second"))}


def _humanities_truths(s: Slots) -> tuple[Truth, Truth]:
    (capital_1, _), (capital_2, _) = COUNTRIES[s["one"]], COUNTRIES[s["two"]]
    country = s["one"] if s["which"] == "first" else s["two"]
    language = COUNTRIES[country][1]
    return (
        Truth(
            f"The capital of {s['one']} is {capital_1} and the capital of {s['two']} is "
            f"{capital_2}.",
            f"{capital_1} and {capital_2}.",
            (capital_1, capital_2),
            _others(CAPITALS, capital_1, capital_2),
        ),
        Truth(
            f"People in {country} speak {language}.",
            f"{language}.",
            (language,),
            _others(LANGUAGES, language),
        ),
    )


HUMANITIES = Category(
    "humanities",
    (
        "What are the capitals of {one} and {two}?",
        "Name the capitals of {one} and {two}.",
        "Which cities are the capitals of {one} and {two}?",
    ),
    (
        "Which language do they speak in the {which} country?",
        "What do people speak in the {which} one?",
    ),
    _draw_humanities,
    _humanities_truths,
    lambda s: (f"{s['one']} {s['two']}",),
)

# MT-Bench's eight, in its order
CATEGORIES = {
    c.name: c for c in (WRITING, ROLEPLAY, REASONING, MATH, CODING, EXTRACTION, STEM, HUMANITIES)
}
