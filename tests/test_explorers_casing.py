"""The truecaser's port to JavaScript: the same labels, the same letters, the same protected spans
and the same reasons as Python's, on every text.
"""

import gzip
import json
import random
import re

import faulty_dialogues
import numpy as np
import pytest
import truecasing_corpus
from explorer_scripts import in_node
from real_records import REAL, needs
from test_truecasing_linear import UNITS

from zephyr_utils.explorers.casing import (
    MODULES,
    MOST_BYTES,
    _short,
    javascript_pattern,
    pack_truecaser,
)
from zephyr_utils.explorers.common import FOLDER, HALF_PAIRS
from zephyr_utils.explorers.truecaser import READ, look
from zephyr_utils.truecasing import KINDS, LABELS, Truecaser, corrupt_case, protected_spans
from zephyr_utils.truecasing.arrays import from_strings, strings_with_edits
from zephyr_utils.truecasing.learn import FORMAT
from zephyr_utils.truecasing.reading import CHUNK_BYTES

EXPLAINED = 20  # of the texts that are changed, those whose reasons are compared as well
READ_MODEL = """
    const fs = await import("node:fs");
    const casing = await import(values.casing);
    const model = casing.readModel(new Uint8Array(fs.readFileSync(values.file)));
"""
# Of every kind of character and of every rule, to be put together at random.
WORDS = """
    é É ß ß. İ ı ÿ × 🙂 中文 שלום مرحبا i I'm paris Paris NASA python. it however, e.g. Mr. cf. 5!
    1. - * x = 1; `a. b` $x. y$ ``` ~~~ <pre> </pre> http://a.B/c C:\\a /usr/Bin .Net @x #y --Foo
    a_B {a:1} \\[ \\] “ ” ’ … — “hello. it” (lit. word <kai> print(x) # def f(x): return x; <!-- -->
    &nbsp; **bold. it** THE OF AND --- title: ...
"""
BITS = [
    *WORDS.split(),
    *("\r\n", "\n", "\n\n", "\t", "\x00", "\x07", "\x0b", "\x0c", "\x85", "\u00a0", "\u2028"),
    *("\ud800", "\udfff", '"hello. it is', "mia_77: hi. there", "[12:03] kai: hm. ok", "i and j"),
    *("great! is there", "great! is a title", "courage: the thing.", "old age: Old age is."),
    *("if x == 1:\n", "x = [1]\n", "end\n", "% note\n", '{"a": [1, null]}', "by Ana Ito"),
    *("Hello. how are you?", "they visited paris. the river is old.", "a. the river in paris is"),
    *("feat. x", "\n---\na: b. c\n---\n", "\n```\nthe river is small and old.\n"),
]


@pytest.fixture(scope="module")
def truecaser():
    return truecasing_corpus.fitted()


@pytest.fixture(scope="module")
def given(truecaser, tmp_path_factory):
    """What the scripts are given: where the port and a packed truecaser lie."""
    file = tmp_path_factory.mktemp("casing") / "truecaser.bin"
    file.write_bytes(pack_truecaser(truecaser).payload)
    return {"casing": (FOLDER / "casing.js").as_uri(), "file": str(file)}


def ported(given, texts, tmp_path):
    """Each text as the port takes it apart."""
    path = tmp_path / "texts.json"
    path.write_text(json.dumps(texts))
    body = """
        const texts = JSON.parse(fs.readFileSync(values.texts, "utf8"));
        const looked = texts.map((text) => script.look(model, text));
        fs.writeFileSync(values.texts, JSON.stringify(looked));
        result = looked.length;
    """
    assert in_node("truecaser", {**given, "texts": str(path)}, READ_MODEL + body) == len(texts)
    return json.loads(path.read_text())


def spans_of(parts):
    """Where the protected parts of a text are, in characters."""
    spans, at = [], 0
    for part in parts:
        end = at + len(part["was"])
        if part["kind"] == "protected":
            spans.append((at, end))
        at = end
    return spans


def protected_in(text):
    """The protected spans of a text as truecasing reads it, with "\\n" for "\\r\\n"."""
    places = [match.start() for match in READ.finditer(text)] + [len(text)]
    plain = "".join(text[place] for place in places[:-1])
    return [(places[start], places[end]) for start, end in protected_spans(plain)]


def differences(truecaser, given, texts, tmp_path):
    """The texts of which the port says anything else than Python, and how many Python changes."""
    buffer = from_strings(texts)
    repair = truecaser.repair(buffer)
    repaired = strings_with_edits(texts, buffer, repair.positions)
    found = ported(given, texts, tmp_path)
    different, explained = [], 0
    for text, label, after, seen in zip(texts, repair.labels, repaired, found, strict=True):
        ours = {
            "label": LABELS[label],
            "text": after,
            "was": text,
            "protected": protected_in(text),
        }
        theirs = {name: "".join(p[name] for p in seen["parts"]) for name in ("text", "was")}
        theirs |= {"label": seen["label"], "protected": spans_of(seen["parts"])}
        if ours != theirs:
            different.append((ours, theirs))
        elif text != after and explained < EXPLAINED and not HALF_PAIRS.search(text):
            assert look(truecaser, text)["parts"] == seen["parts"]  # with the reasons
            explained += 1
    return different, sum(text != after for text, after in zip(texts, repaired, strict=True))


def mixture(rng, length):
    """Bits of text, with blanks or nothing between them."""
    return "".join(rng.choice(BITS) + rng.choice(("", " ", " ", "\n")) for _ in range(length))


def spoilt(text, rng):
    """A text as it is, and with every fault that is known."""
    generator = np.random.default_rng(rng.randrange(2**32))
    faulty = [corrupt_case(text, kind, generator) for kind in KINDS]
    return [text, *faulty, text.lower(), text.upper(), text.replace("\n", "\r\n")]


def test_generated_messages_and_specimens_come_out_alike(truecaser, given, tmp_path):
    rng = random.Random(0)
    texts = [*truecasing_corpus.UNTOUCHABLE, truecasing_corpus.CLEAN, faulty_dialogues.RIGHT, ""]
    texts += [truecasing_corpus.FAULTY, faulty_dialogues.FAULTY, faulty_dialogues.ASKED]
    for _ in range(20):
        texts += spoilt(truecasing_corpus.planted_message(rng)[0], rng)
        texts += spoilt(truecasing_corpus.message(rng), rng)
    different, changed = differences(truecaser, given, texts, tmp_path)
    assert len(texts) > 300 and changed > 100
    assert not different


def test_random_mixtures_of_every_kind_of_character_and_rule_come_out_alike(
    truecaser, given, tmp_path
):
    rng = random.Random(1)
    texts = [mixture(rng, rng.randint(1, 30)) for _ in range(300)]
    different, changed = differences(truecaser, given, texts, tmp_path)
    assert not different and changed > 20


def test_hostile_repetitions_come_out_alike(truecaser, given, tmp_path):
    texts = [unit * 40 + " the river. it is old. see paris. i like it." for unit in UNITS]
    assert not differences(truecaser, given, texts, tmp_path)[0]


def test_texts_of_100_000_characters_come_out_alike(truecaser, given, tmp_path):
    message = truecasing_corpus.FAULTY.lower() + "\n```\nx. y\n``` "
    texts = [message * 800, (message + "中文 🙂 " * 8) * 600, "`a. b " * 17_000]
    texts = [text[:100_000] for text in texts]
    assert max(len(text.encode()) for text in texts) < CHUNK_BYTES
    different, changed = differences(truecaser, given, texts, tmp_path)
    assert not different and changed > 0


def test_more_bytes_than_python_reads_in_one_piece_are_refused_in_a_sentence(given):
    body = """
        try {
            script.look(model, "🙂".repeat(70_000));
        } catch (error) {
            result = error.message;
        }
    """
    said = "The text takes 280,000 bytes, and at most 262,144 are read at once."
    assert in_node("truecaser", given, READ_MODEL + body) == said


@needs("truecasing")
@pytest.mark.parametrize("name", ["dev", "real_capitalize_echoes", "clean_other_models"])
def test_real_messages_come_out_alike(truecaser, given, tmp_path, name):
    with gzip.open(REAL / "truecasing" / f"{name}.jsonl.gz", "rt", encoding="utf-8") as rows:
        messages = [json.loads(row)["text"] for row in rows]
    rng = random.Random(2)
    texts = [text for message in rng.sample(messages, 15) for text in spoilt(message, rng)]
    assert not differences(truecaser, given, texts, tmp_path)[0]


# --- the file -------------------------------------------------------------------------------------


def test_script_and_package_are_of_one_format(given):
    assert in_node("casing", given, "result = script.FORMAT;") == FORMAT


def test_the_script_is_small_and_imports_nothing():
    text = (FOLDER / "casing.js").read_text(encoding="utf-8")
    assert len(text.encode()) < 40_000
    assert not [word for word in ("innerHTML", "import ", "eval(", "https:") if word in text]


def test_a_packed_truecaser_is_small_enough_and_the_same_each_time(truecaser):
    packed = pack_truecaser(truecaser)
    assert packed == pack_truecaser(truecaser)
    assert 20_000 < len(packed.payload) < MOST_BYTES


def test_another_truecaser_is_another_file(truecaser):
    other = Truecaser.fit(truecasing_corpus.corpus(300, seed=5))
    assert pack_truecaser(other).sha256 != pack_truecaser(truecaser).sha256


def test_whole_numbers_are_read_back(given):
    numbers = [0, 1, 127, 128, 16_383, 16_384, 2**31, 2**32 - 1]
    values = {"bytes": list(_short(np.array(numbers))), "none": list(_short(np.array([0, 0])))}
    body = "result = [[...script.numbers(values.bytes)], [...script.numbers(values.none)]];"
    assert in_node("casing", values, body) == [numbers, [0, 0]]


@pytest.mark.parametrize("kept", [0, 3, 2_000, -1])
def test_a_file_that_was_cut_short_is_refused_in_a_sentence(given, kept):
    values = {**given, "kept": kept}
    body = """
        const fs = await import("node:fs");
        const bytes = new Uint8Array(fs.readFileSync(values.file));
        try {
            script.readModel(bytes.subarray(0, values.kept < 0 ? bytes.length - 1 : values.kept));
        } catch (error) {
            result = [error instanceof script.CasingError, error.message];
        }
    """
    assert in_node("casing", values, body) == [True, "The truecaser’s file was cut short."]


def test_a_file_of_another_version_is_refused_in_a_sentence(given):
    body = """
        const fs = await import("node:fs");
        const bytes = new Uint8Array(fs.readFileSync(values.file));
        const at = Buffer.from(bytes).indexOf('"format":"') + 10;
        bytes[at] = 57;
        try {
            script.readModel(bytes);
        } catch (error) {
            result = [error instanceof script.CasingError, error.message];
        }
    """
    said = "The truecaser’s file is of another version than this page."
    assert in_node("casing", given, body) == [True, said]


# --- patterns -------------------------------------------------------------------------------------

PATTERNS = [
    value for module in MODULES for value in vars(module).values() if isinstance(value, re.Pattern)
]


def test_every_pattern_finds_in_javascript_what_it_finds_in_python():
    """All but the one with a back reference that ignores case, which the port completes."""
    rng = random.Random(3)
    plain = [pattern for pattern in PATTERNS if b"(?P=" not in pattern.pattern]
    assert len(plain) > 25
    texts = [mixture(rng, 12) for _ in range(40)]
    raws = [text.encode("utf-8", "surrogatepass") for text in texts]
    values = {
        "patterns": [javascript_pattern(pattern) for pattern in plain],
        "texts": [raw.decode("latin-1") for raw in raws],
    }
    body = """
        result = values.patterns.map(([source, flags]) => values.texts.map((text) =>
            [...text.matchAll(new RegExp(source, flags + "g"))].map((match) =>
                [match.index, match.index + match[0].length])));
    """
    found = in_node("casing", values, body)
    for pattern, spans in zip(plain, found, strict=True):
        expected = [[list(match.span()) for match in pattern.finditer(raw)] for raw in raws]
        assert spans == expected, pattern.pattern[:80]


@pytest.mark.parametrize("source", [rb"[\S]", rb"(?i:[a])"])
def test_a_pattern_with_what_javascript_lacks_is_refused(source):
    with pytest.raises(ValueError, match="no counterpart in JavaScript"):
        javascript_pattern(re.compile(source))
