# %% [markdown]
# # Truecasing: the fault that models repeat
#
# The first Zephyr was trained on UltraChat as it came, and answered in bad spelling: sentences opened in lower case,
# and plain questions were met with a disclaimer. The authors repaired the first and filtered the second
# {cite:p}`tunstall2023zephyr`, and published neither program. So we begin as detectives. What is the fault, really?
# Then we find it, repair it, and measure the repair, first by counting words and then with a model that knows when to
# keep its hands off.

# %% [markdown]
# ## What you will be able to do
#
# 1. Recognise the fault by its signature, and say why "a small letter behind a full stop" is only its visible part.
# 2. Write a truecaser that merely counts, and find the sentences on which it fails.
# 3. Score a repair: precision, recall, two kinds of F1, and the damage done to text that was well.
# 4. Say what a gate, protected spans, a lexicon and a logistic regression each add, and choose a threshold.
# 5. Put filtering and truecasing in the right order, and account for every row.

# %%
try:
    import zephyr_utils
except ModuleNotFoundError:  # Colab: the package and what it lacks, no more
    %pip install -q "zephyr-handbook @ git+https://github.com/zephyr-handbook/zephyr-handbook"
from zephyr_utils.machine import check_loaded_versions, hardware_found

check_loaded_versions()
print(hardware_found())

# %% [markdown]
# ## The dials
#
# `scale` chooses model, data and recipe together. The other dials replace one of them by something of your own; left
# empty they keep the scale's. This chapter reads the dialogues only.

# %% tags=["parameters"]
scale = "miniature"
seed = 0
dialogues = ""
feedback = ""
preferences = ""
base_model = ""
runs = ""
settings = {}

# %%
import gzip
import json
import os
import re
from collections import Counter, defaultdict
from pathlib import Path
from pydoc_data.topics import topics
from unittest import mock

import numpy as np
import pyarrow as pa
from IPython.display import HTML, Markdown, display

from zephyr_utils import exercises, figures, published
from zephyr_utils.pipeline import artefacts
from zephyr_utils.explorers.truecaser import TruecaserView
from zephyr_utils.figures import before_after_table
from zephyr_utils.data.filtering import refusal_filter
from zephyr_utils.pipeline.pipeline import Pipeline
from zephyr_utils.truecasing import (
    Truecaser, corrupt_case, detect_case_noise, protected_spans, truecasing_scores,
)

pipeline = Pipeline(
    scale=scale, seed=seed, dialogues=dialogues, feedback=feedback,
    preferences=preferences, base_model=base_model, runs=runs, **settings,
)
miniature_as_shipped = pipeline.as_published and pipeline.scale == "miniature"

# %% [markdown]
# ## The case
#
# The paper says that about 5 % of UltraChat {cite:p}`ding2023ultrachat` was wrongly cased, and the card of the repaired
# set quotes one example: *Hello. how are you?* The raw text is large, but there is a shorter way to the fault: **models
# repeat what they learnt**. AlpacaEval has published the answers of 228 models to the same 805 prompts. We measured in
# how many code-free answers a sentence opens in lower case:
#
# | model | learnt from | share |
# |---|---|---|
# | UltraLM-13b-v2.0 | UltraChat, unrepaired | 10.8 % |
# | Zephyr-7b-alpha | UltraChat, unrepaired | 10.7 % |
# | UltraLM-13b | UltraChat, unrepaired | 3.2 % |
# | median of all models | | 0.5 % |
# | Zephyr-7b-beta | the repaired set | 0.26 % |
#
# So the fault survives in the models, and the repair shows. Here is an answer of the same shape, made up for this book,
# beside what it should have been:

# %%
spoilt = """\
I don't have a favourite book. however, i can name some that people in england love:

1. "middlemarch" by george eliot
2. a short history of nasa

ask me for more."""
repaired = """\
I don't have a favourite book. However, I can name some that people in England love:

1. "Middlemarch" by George Eliot
2. A short history of NASA

Ask me for more."""

# %% [markdown]
# ```{admonition} Predict, then run
# :class: predict
# By the quoted example you would look for a small letter behind `.`, `!` or `?` and a space. How many words of the
# answer are wrong, and how many of those does that search find?
# ```

# %%
WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
wrong = [
    b[0]
    for a, b in zip(WORD.finditer(spoilt), WORD.finditer(repaired), strict=True)
    if a[0] != b[0]
]
print(len(wrong), "wrong:", *wrong)
print("found:", re.findall(r"(?<=[.!?] )[a-z]\w*", spoilt))

# %% [markdown]
# ```{admonition} What happened
# :class: dropdown
# Nine, of which the search finds two, and one of those by accident: the full stop behind the `2` ends no sentence. The
# rest are a paragraph start, the pronoun, names, a title, an acronym. If you guessed that nearly all would be sentence
# starts, you took the visible part for the whole; the card's example invites one to.
# ```

# %% [markdown]
# ### Whodunnit
#
# ```{admonition} Predict, then run
# :class: predict
# Something turned the good answer into the bad one. Four suspects: lower-casing sentence starts, `str.lower`, `str.title`,
# `str.capitalize`. Only one leaves exactly these letters. Which? Look at the first letter, then at *nasa*.
# ```

# %%
suspects = {
    "sentence starts": lambda text: corrupt_case(text, "sentence"),
    "str.lower": str.lower,
    "str.title": str.title,
    "str.capitalize": str.capitalize,
}
for name, deed in suspects.items():
    print(f"{name:16s} {'did it' if deed(repaired) == spoilt else 'did not'}")

# %% [markdown]
# ```{admonition} What happened
# :class: dropdown
# `str.capitalize`, which does two things where its name promises one: it raises the first letter *and lowers all
# others*. `str.lower` would have lowered the first letter too. The guess "sentence starts" leaves England and NASA alone.
# ```

# %% [markdown]
# A culprit that leaves a signature can be proved. A text that it has been through equals its own `capitalize()`, since
# doing it twice changes nothing. Of the wrongly cased answers of UltraLM-13b-v2.0, 74 of 82 equal their own
# `capitalize()`; of Zephyr-7b-alpha's, 74 of 81; of UltraLM-13b's, 19 of 24. Most of the others are no fault at all but
# abbreviations such as *2 oz. vodka*.
#
# ```{admonition} An inference, not a fact
# :class: note
# *Why* would anyone capitalise whole answers? 132 of 148 such answers open with *I do not*, *I don't*, *I cannot* or *I
# am not*. It looks as if *As an AI language model,* had been cut off, and `capitalize()` called on what was left. No
# source confirms this, and UltraChat's repository holds no such script.
# ```

# %%
said = "As an AI language model, I do not have opinions. However, people in Rome do."
print(said.removeprefix("As an AI language model, ").capitalize())

# %% [markdown]
# ## Finding it
#
# Now to the dialogues of this scale. Every answer of the assistant, in order:

# %%
loaded = pipeline.load("dialogues", "dialogue")
answers = [
    m["content"]
    for d in loaded.records
    for m in d["messages"]
    if m["role"] == "assistant"
]
print(
    f"{len(loaded.records):,} dialogues, {len(answers):,} answers, "
    f"{sum(map(len, answers)) / 1e6:.2f} million characters"
)

# %% [markdown]
# ```{admonition} Predict, then run
# :class: predict
# The signature costs one comparison: `answer == answer.capitalize()`. In the miniature about 2 % of the answers have been
# through it. What share of all answers will the comparison report?
# ```

# %%
signed = [answer for answer in answers if answer.strip() == answer.strip().capitalize()]
print(f"{len(signed):,} of {len(answers):,} = {len(signed) / len(answers):.0%}")
print(*[repr(answer[:200]) for answer in list(dict.fromkeys(signed))[:8]], sep="\n")

# %% [markdown]
# ```{admonition} What happened
# :class: dropdown
# Over 40 % in the miniature. A short answer without a name, *Maple is a tree.*, equals its own `capitalize()` because
# nothing in it could be spoilt. The signature is *necessary* but not *sufficient*: it has to be joined by evidence that
# there was something to spoil. (In long answers, as UltraChat's are, the two nearly coincide, so that 2 % is no bad
# guess for those.)
# ```

# %% [markdown]
# ````{exercise} The signature, made safe
# :label: ex-01-signature
#
# **Difficulty** ●●○○○ · **Minutes** 10
#
# Write `capitalised_fault(text)`: True if the message, white space at its ends aside, equals its own `capitalize()`
# *and* shows evidence: a sentence start in lower case (a small letter, one of `.!?`, white space, a small letter), or
# the pronoun `i` as a word of its own.
# ````

# %% tags=["exercise"]
def capitalised_fault(text):
    ...


exercises.check_capitalised_fault(capitalised_fault)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# Three parts: `strip`, the comparison, and `re.search` for either piece of evidence.
# ```

# %% [markdown]
# ```{admonition} Hint 2
# :class: tip dropdown
# `[a-z][.!?]\s+[a-z]` for the start, `\bi\b` for the pronoun. Return a bool, not a match.
# ```

# %% [markdown]
# `````{solution} ex-01-signature
# :class: dropdown
# ```python
# def capitalised_fault(text):
#     text = text.strip()
#     evidence = re.search(r"[a-z][.!?]\s+[a-z]", text) or re.search(r"\bi\b", text)
#     return text == text.capitalize() and bool(evidence)
# ```
# `````

# %% [markdown]
# The package's detector is this idea with more care. It tells four faults apart, and works on Arrow arrays (columns of
# bytes, as Parquet files hold them), so that a clean message never becomes a Python string:

# %%
labels = np.array(detect_case_noise(pa.array(answers)).to_pylist())
print(Counter(labels.tolist()))
for answer in np.array(answers, dtype=object)[labels != "ok"][:4]:
    print(repr(answer[:200]))

# %% [markdown]
# `capitalized` is the fault of UltraChat, `lower` and `upper` are whole messages in one case, `sentence` is a message cased
# otherwise in which a sentence opens small. (The bare signature is one Arrow call, `pc.equal(x, pc.ascii_capitalize(x))`,
# and reads 1.8 GB a second on one core; finding faults is cheap, being right about them is not.) What needs care is
# everything that only looks like a fault:

# %%
traps = [
    "Add 2 oz. vodka and stir.",
    "Bring fruit, e.g. apples. Then rest.",
    "Read J. k. Rowling or bell hooks.",
    "Run `x = 1. if y else 2. or z` first.",
    "Hello. how are you?",
]
for trap, label in zip(
    traps, detect_case_noise(pa.array(traps)).to_pylist(), strict=True
):
    naive = bool(re.search(r"[.!?] [a-z]", trap))
    print(f"{'alarm' if naive else 'quiet'} by regex, {label:12s} {trap}")

# %% [markdown]
# On 32,198 answers of forty well-behaved models the plain regex raised 4.7 % false alarms: about as many as there are
# faults in UltraChat. Nearly half of the messages that it changes would be changed for the worse.
#
# ## Repairing it, first try
#
# Still, the regex is where everyone begins, and probably where the authors stopped. Write it.

# %% [markdown]
# ````{exercise} Sentence starts
# :label: ex-01-starts
#
# **Difficulty** ●●○○○ · **Minutes** 10
#
# Write `sentence_starts(text)`: the first letter after `.`, `!` or `?` and one or more spaces *on the same line* becomes
# a capital. Nothing else may change.
# ````

# %% tags=["exercise"]
def sentence_starts(text):
    ...


exercises.check_sentence_starts(sentence_starts)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# `re.sub` takes a function of the match as its second argument.
# ```

# %% [markdown]
# ```{admonition} Hint 2
# :class: tip dropdown
# Match all three parts, `[.!?] +[a-z]`, and return the match in upper case: marks and spaces have no case to change.
# ```

# %% [markdown]
# `````{solution} ex-01-starts
# :class: dropdown
# ```python
# def sentence_starts(text):
#     return re.sub(r"[.!?] +[a-z]", lambda match: match[0].upper(), text)
# ```
# `````

# %% [markdown]
# ```{admonition} What the authors' heuristic did, and did not do
# :class: note
# Their code was never published, but Zephyr-7b-alpha learnt from the raw text and Zephyr-7b-beta from the repaired one,
# so their answers to the same prompts show what was repaired. Messages with each fault, of 755 and 759:
#
# | fault | alpha | beta |
# |---|---|---|
# | sentence start on the same line | 64 | 0 |
# | a lone `i` | 40 | 0 |
# | an item such as `1. x` | 45 | 1 |
# | paragraph start behind a blank line | 45 | **14** |
#
# Names stayed small (*in the united states of america*). So it acted like your regex and `i` to `I`, and knew neither
# paragraphs nor names. That is inferred from two models' answers, no more. It means that a real truecaser *improves* on
# the published set, and does not merely remake it.
# ```

# %% [markdown]
# ## Repairing it by counting
#
# Capitals inside a sentence are a matter of the word: *Rome* has one, *room* has not. And the answer is in the corpus
# itself, for 95 % of it is well cased. That is the idea of *truecasing* {cite:p}`lita2003truecasing`: give each word the
# form that the well-cased majority gives it.
#
# The miniature speaks only some hundred words, so we add prose that every Python brings along: the texts behind its
# `help()`. Written by many people, full of names, abbreviations and code (and a little different in each version of
# Python, so your figures may differ from those on the page). A fifth of the *topics* is kept back. (Not a
# fifth of the paragraphs: two of one topic share their words, and the score would flatter.)

# %%
def paragraphs(names):
    blocks = [block for name in names for block in topics[name].split("\n\n")]
    prose = [
        re.sub(r"\s+", " ", block).strip()
        for block in blocks
        if not re.search(r"::=|>>>|^ {5,}", block, re.M)
    ]
    return [
        text
        for text in dict.fromkeys(prose)
        if len(text) > 60 and text[0].isupper() and text[-1] in ".!?:"
    ]


names = np.random.default_rng(seed).permutation(sorted(topics)).tolist()
held_out = paragraphs(names[: len(names) // 5])
manual = [
    text for text in paragraphs(names[len(names) // 5 :]) if text not in set(held_out)
]
print(len(manual), "paragraphs to learn from,", len(held_out), "held out")

# %% [markdown]
# Where a word *opens* a sentence or a line its capital tells nothing of the word. So we need to know what opens:

# %%
OPENS = re.compile(r"(?:\A|[.!?][\"')]*\s+|\n)[\s\"'(*#\d.)-]*\Z")


def words_of(text):
    """Each word with whether it opens a sentence or a line, and its place."""
    for match in WORD.finditer(text):
        start, end = match.span()
        yield match[0], bool(OPENS.search(text, max(0, start - 12), start)), start, end


print([(word, opens) for word, opens, *_ in words_of("Ask Pia. 1. the\nDo not.")])

# %% [markdown]
# Count the forms of each word inside sentences, alone and behind its left neighbour. Only messages that the detector
# finds in order may teach; else the table learns *rome*. (Of a large corpus every n-th answer is enough: counting in
# Python reads half a megabyte a second.)

# %%
every = 1 + sum(map(len, answers)) // 3_000_000
well_cased = [
    text
    for text, label in zip(answers[::every], labels[::every], strict=True)
    if label == "ok"
] + manual
alone, beside = defaultdict(Counter), defaultdict(Counter)
for text in well_cased:
    before = ""
    for word, opens, *_ in words_of(text):
        if not opens:
            alone[word.lower()][word] += 1
            beside[before, word.lower()][word] += 1
        before = word.lower()
for word in ("python", "ascii", "may", "i"):
    print(word, dict(alone[word]))

# %% [markdown]
# For a word $w$ behind $v$ the chance of the form $f$ is a count, softened by what is known of $w$ alone. With $k$
# imaginary observations distributed like the word's own forms (a Dirichlet prior):
#
# $$
# p(f \mid v, w) = \frac{c(v, w, f) + k\, p(f \mid w)}{c(v, w) + k}, \qquad p(f \mid w) = \frac{c(w, f)}{c(w)} .
# $$ (eq-01-counts)
#
# With $c(v, w) = 0$ it falls back to the word alone; with many observations $k$ no longer matters.

# %%
def form_chances(before, word, k=2.0):
    seen, pair = (
        alone.get(word, Counter({word: 1})),
        beside.get((before, word), Counter()),
    )
    return {
        form: (pair[form] + k * n / seen.total()) / (pair.total() + k)
        for form, n in seen.items()
    }


for before in ("and", "for", "never-seen"):
    chances = form_chances(before, "i")
    print(
        f"{before:>10} i: ",
        {form: round(chance, 3) for form, chance in chances.items()},
    )
    assert abs(sum(chances.values()) - 1) < 1e-9, (
        "the chances of a word's forms have to sum to 1"
    )

# %% [markdown]
# Behind *for*, an `i` is more often the variable of a loop. The neighbour decides what the word alone cannot. The whole
# truecaser:

# %%
def truecase_by_counts(text):
    pieces, done, before = [], 0, ""
    for word, opens, start, end in words_of(text):
        chances = form_chances(before, word.lower())
        form = max(chances, key=chances.get)
        pieces += [text[done:start], form[:1].upper() + form[1:] if opens else form]
        done, before = end, word.lower()
    return "".join(pieces) + text[done:]


print(
    truecase_by_counts(
        "Good question! the ascii codec of python is old. i hope that helps!"
    )
)

# %% [markdown]
# ```{admonition} Predict, then run
# :class: predict
# Seven sentences, all spoilt by `capitalize()`. Which come out right? Mark each before you run: a known acronym, a name
# that no text held, an abbreviation, an address, code, a word that is both (*none* and *None*), and a name that opens no
# sentence but follows a colon.
# ```

# %%
hard = [
    "The string is in utf-8, not in ascii.",
    "My friend wladimir uses python.",
    "Use a sequence, e.g. a list.",
    "See https://example.org/ascii.html first. it is long.",
    "Call `list.sort()`. it returns none.",
    "There are none of them here.",
    "Two languages: python and c.",
]
for text in hard:
    print(truecase_by_counts(text))

# %% [markdown]
# ```{admonition} What happened
# :class: dropdown
# The acronym comes out right. The unknown name stays small: a table has nothing to say on what it never saw, though *My
# friend ...* says a good deal. The abbreviation is taken for the end of a sentence. The address is broken for good,
# since nothing protects it. *None* has a capital wherever you put it, because the manual mostly means the object. And
# *Python*, of all words, stays small: look at its counts above. They come from the miniature's code, where a block opens
# with `python` in lower case; the table counted what is no prose. If you expected a perfect table to be a perfect
# truecaser: its errors come from what a table cannot hold, namely context, form, and what must not be touched.
# ```

# %% [markdown]
# ## How good is a repair?
#
# Three texts: the reference (as it should be), the source (with the fault), the hypothesis (what came out). An **edit** is
# a word whose case the repair changed; a **fault** is a word that was wrong.
#
# $$
# P = \frac{\text{right edits}}{\text{edits}}, \qquad R = \frac{\text{right edits}}{\text{faults}}, \qquad
# F_1 = \frac{2PR}{P + R} .
# $$ (eq-01-scores)
#
# The literature counts otherwise: over words that *carry a capital*, in the hypothesis for precision and in the
# reference for recall. By hand, on one sentence with four faults:

# %%
reference = "Dear Pia, the train to Rome is late. Ask Otto."
source = "Dear pia, the train to rome is late. ask otto."
hypothesis = "Dear Pia, the Train to Rome is late. Ask otto."
# edited: Pia, Train, Rome, Ask; wrong were pia, rome, ask, otto
edits, faults, right = 4, 4, 3
precision, recall = right / edits, right / faults
# in the hypothesis: Dear Pia Train Rome Ask; in the reference: Dear Pia Rome Ask Otto;
# in both: Dear Pia Rome Ask
capitals = (5, 5, 4)
print(
    precision, recall,
    2 * precision * recall / (precision + recall),
    2 * capitals[2] / (capitals[0] + capitals[1]),
)

# %% [markdown]
# The last expression is $F_1$ again: with $P = b/h$ and $R = b/r$, $2PR/(P+R)$ is $2b/(h+r)$. The package agrees:

# %%
scores = truecasing_scores(reference, source, hypothesis)
print(scores.precision, scores.recall, scores.f1, scores.f1_capitalized)
assert np.allclose(
    (scores.precision, scores.recall, scores.f1, scores.f1_capitalized),
    (0.75, 0.75, 0.75, 0.8),
)

# %% [markdown]
# ````{exercise} The scores of an editor
# :label: ex-01-scores
#
# **Difficulty** ●●○○○ · **Minutes** 10
#
# Write `edit_scores(reference, source, hypothesis)` for three equally long lists of words: return precision, recall and
# F1 over edits, by equation {eq}`eq-01-scores`. There is at least one edit and one fault.
# ````

# %% tags=["exercise"]
def edit_scores(reference, source, hypothesis):
    ...


exercises.check_edit_scores(edit_scores)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# Walk through `zip(reference, source, hypothesis)` and make three counts.
# ```

# %% [markdown]
# ```{admonition} Hint 2
# :class: tip dropdown
# A right edit is a word that was wrong in the source and equals the reference in the hypothesis.
# ```

# %% [markdown]
# `````{solution} ex-01-scores
# :class: dropdown
# ```python
# def edit_scores(reference, source, hypothesis):
#     rows = list(zip(reference, source, hypothesis))
#     edits = sum(had != got for _, had, got in rows)
#     faults = sum(want != had for want, had, _ in rows)
#     right = sum(want != had and got == want for want, had, got in rows)
#     p, r = right / edits, right / faults
#     return p, r, 2 * p * r / (p + r)
# ```
# `````

# %% [markdown]
# Gold is made, not found: take clean text, spoil it on purpose, repair it, compare. `corrupt_case` makes each of the
# faults; the length never changes.

# %%
for kind in ("capitalize", "lower", "upper", "sentence"):
    print(f"{kind:10s} {corrupt_case(reference, kind)}")

# %% [markdown]
# Score four repairs on the held-out paragraphs. The third column is the one that the literature leaves out: the share of
# *clean* paragraphs that the repair changes. At 5 % faults, 95 % of the work is to leave things alone.

# %%
faulty = [corrupt_case(text, "capitalize") for text in held_out]


def report(name, repair):
    scores = truecasing_scores(held_out, faulty, [repair(text) for text in faulty])
    altered = np.mean([repair(text) != text for text in held_out])
    print(
        f"{name:20s} P {scores.precision:.3f}  R {scores.recall:.3f}  "
        f"F1 {scores.f1:.3f}  F1 capitals {scores.f1_capitalized:.3f}  "
        f"clean altered {altered:.1%}"
    )
    return scores, altered


# %% [markdown]
# ```{admonition} Predict, then run
# :class: predict
# *Doing nothing*, a regex for sentence starts, and the counts. Which has the highest precision? And what share of the
# *clean* paragraphs will the counts change: about 1 %, 10 %, or over a third?
# ```

# %%
report("nothing", lambda text: text)
report(
    "regex",
    lambda text: re.sub(r"[.!?] +[a-z]", lambda match: match[0].upper(), text),
)
by_counts, counts_altered = report("counts", truecase_by_counts)

# %% [markdown]
# ```{admonition} What happened
# :class: dropdown
# Doing nothing makes no wrong edit (a precision of 1 by convention, out of no edits) and repairs nothing: precision alone
# can be had for free. It even gets an F1 over capitals of one half, for the first letters that `capitalize()` leaves:
# read that figure with care. The regex is nearly always right and finds little more than half. The counts find more,
# and alter over a third of the *clean* paragraphs: every rare form, every name used as a word, every piece of code is
# made to conform. If you guessed 1 %, you thought of words; a paragraph has dozens of them, and one is enough.
# ```

# %% [markdown]
# ## The package's truecaser, part by part
#
# Four parts answer the failures. It learns from the same text (`fit` keeps wrongly cased messages out by itself). Its
# *recaser* rewrites every word of a message; the *gate* in front of it, the last part, decides which messages it gets
# to see. Here is what the recaser alone makes of the seven sentences:

# %%
# a third of the answers: the words are all there
truecaser = Truecaser.fit(manual + list(dict.fromkeys(answers))[:: 3 * every])
print(
    f"learnt from {truecaser.kept:,} messages, {truecaser.set_aside} left out as faulty"
)
for text, repaired in zip(hard, truecaser.recase(hard), strict=True):
    print(repaired)

# %% [markdown]
# The address and *Python* are right now. Of the two *none* one is right, as before, but it is the other one: whether the
# object or the word is meant, neither can tell. *e.g.* and the unknown name are as wrong as they were, and the honest
# reason is the amount of text: the abbreviation stands in it a handful of times, and a new name has only its neighbours
# to speak for it.
#
# ### Part 1: protected spans
#
# Code, addresses, paths, mathematics, markup: bytes that no repair may touch. They are found before anything is recased,
# and the guarantee is by construction, so it can be tested on every message:

# %%
text = (
    "Run `x.Sort()` and see https://docs.Example.org/aB, or mail Me@example.org. "
    "it is $x_I$."
)
print([text[start:end] for start, end in protected_spans(text)])
for before, after in zip(faulty, truecaser.truecase_batch(faulty), strict=True):
    assert all(before[s:e] == after[s:e] for s, e in protected_spans(before)), (
        "a protected span was changed"
    )

# %% [markdown]
# ### Part 2: the lexicon
#
# The counts of before, for each word: how often inside sentences, how often with a capital, in which form; and how often
# the word was followed by a full stop and a *small* letter, which is how an abbreviation gives itself away
# {cite:p}`kiss2006unsupervised`. Words are looked up by a 64-bit hash. What stands in protected spans is not counted: the
# code blocks that open with `python`, which misled our table, are gone.

# %%
from zephyr_utils.truecasing import read_words

asked = "python ascii none list wladimir"
words = read_words(truecaser, [asked])
for n, word in enumerate(asked.split()):
    counts = f"{words.inside_capital[n]:4d} of {words.inside[n]:4d} with a capital"
    print(f"{word:10s} {counts if words.known[n] else 'not known'}")

# %% [markdown]
# ### Part 3: the logistic regression
#
# The counts asked one question of a word. The model asks 25, all blind to case: the word, its neighbours, its first and
# last letters, the marks around it, how often each neighbour has a capital, the kind of line. Each answer has a weight,
# and their sum is the **log-odds** of a capital:
#
# $$
# s = \sum_j w_j, \qquad p = \sigma(s) = \frac{1}{1 + e^{-s}}, \qquad s = \log \frac{p}{1-p} .
# $$ (eq-01-logodds)
#
# It is fitted by maximum likelihood. With $y = 1$ for a capital the loss of a word is $-y \log p - (1 - y) \log (1 - p)$,
# and because $\sigma' = \sigma (1 - \sigma)$, its slope in $s$ is simply $p - y$. A number checks it:

# %%
def loss(s, y):
    p = 1 / (1 + np.exp(-s))
    return -y * np.log(p) - (1 - y) * np.log(1 - p)


for s, y in ((1.3, 1), (1.3, 0), (-0.4, 1)):
    slope, formula = (
        (loss(s + 1e-5, y) - loss(s - 1e-5, y)) / 2e-5,
        1 / (1 + np.exp(-s)) - y,
    )
    print(f"s {s:+.1f}, y {y}: measured {slope:+.6f}, p - y {formula:+.6f}")
    assert abs(slope - formula) < 1e-6

# %% [markdown]
# Each feature is hashed into a table of four million weights {cite:p}`weinberger2009feature`, and a weight's steps shrink
# as its slopes add up, so that rare features still learn {cite:p}`duchi2011adaptive`. So is the score of a word really
# the sum of 25 weights?

# %%
words = read_words(truecaser, ["my friend wladimir uses python"])
weights = truecaser.model.weights[words.features]
by_hand = weights.sum(axis=1, dtype=int) * truecaser.model.step
print(weights.shape, "words by features:", by_hand.round(2))
assert np.allclose(by_hand, words.log_odds, atol=1e-3)

# %% [markdown]
# A log-odds for each of the five words of *my friend wladimir uses python*: far above 0 for the first, which opens the
# line, above 0 for *python*, below 0 for the rest. The unknown name is the nearest to 0 of those three: its neighbours
# speak for it, not loudly enough.
#
# ### Part 4: a threshold, and the gate
#
# A capital is written where $s > 0$, that is where $p > \tfrac12$. Any other threshold is a choice between errors. On the
# held-out paragraphs, all thresholds at once:

# %%
words = read_words(truecaser, held_out)
used = ~words.protected & ~words.digits & ~words.first
score, capital = words.log_odds[used], words.capital[used]
print(f"{used.sum():,} words, {capital.mean():.1%} of them with a capital")

# %% [markdown]
# ```{admonition} Predict, then run
# :class: predict
# The threshold goes from 0 to 3.5. What happens to precision, what to recall? And which of the two would you rather lose
# in a message that is *wholly* faulty? Which in one that is well cased but for a letter?
# ```

# %%
thresholds = np.arange(-3, 6.01, 0.5)
curve = [(capital[score > t].mean(), (score[capital] > t).mean()) for t in thresholds]
for wanted in (-2.0, 0.0, 3.5):
    p, r = curve[int(np.argmin(abs(thresholds - wanted)))]
    print(
        f"threshold {wanted:+.1f} (p > {1 / (1 + np.exp(-wanted)):.2f}): "
        f"precision {p:.3f}, recall {r:.3f}"
    )

# %%
fig, [axes] = figures.figure()
precisions, recalls = np.array(curve).T
axes.plot(recalls, precisions, marker="o")
for wanted in (-2.0, 0.0, 3.5):
    at = int(np.argmin(abs(thresholds - wanted)))
    axes.annotate(
        f"s > {wanted:+.1f}", (recalls[at], precisions[at]), xytext=(6, 6),
        textcoords="offset points",
    )
axes.set(xlabel="recall", ylabel="precision")
alt = (
    f"Precision falls from {precisions[-1]:.2f} to {precisions[0]:.2f} as recall rises "
    f"from {recalls[-1]:.2f} to {recalls[0]:.2f}; "
    f"at the threshold 0 they are {precisions[6]:.2f} and {recalls[6]:.2f}."
)
figures.show(
    fig,
    alt=alt,
    caption=(
        "Words that get a capital, "
        "on held-out paragraphs: precision against recall as the threshold moves."
    ),
)

# %% [markdown]
# ```{admonition} What happened
# :class: dropdown
# A higher threshold buys precision with recall. In a wholly faulty message every word is in doubt, and both errors count
# alike: the threshold is 0. In a well-cased message nearly all is right already, so an edit has to be all but sure: there
# the package touches sentence starts only, and asks for $s \ge 3.5$ ($p > 0.97$). Not one threshold, then, but one for
# each suspicion. If you expected both to improve: that takes a better model, not another threshold.
# ```

# %% [markdown]
# That is the **gate**: each message is judged first. Is it in one case but for stray letters? Then it is read as if it had
# no case, and the log-odds of all that *should* have a capital are added up. Only if they exceed 5.5 is the message
# believed to be faulty. A sentence start or a name beyond doubt (fifteen times or more, and always with a capital) counts in
# full. Any other word inside a sentence counts $0.4 \min(s, 4)$, at most 1.6, for it may be a common word after all. And
# a language that the corpus does not speak is left alone: half of the words must be known.
#
# ```{admonition} Predict, then run
# :class: predict
# *Norway* stands in the text more than fifteen times, *Norwegian* a few times, both always with a capital. Which of *People
# live in norway.* and *People speak norwegian.* is repaired: both, one, none? And what of Italian, and
# of three shouted words?
# ```

# %%
asked = [
    "People live in norway.",
    "People speak norwegian.",
    "Oaks are trees.",
    "My python is old. it is slow.",
    "La lingua italiana. e la più bella.",
    "YES. NO. SQL.",
]
for text, label in zip(
    asked, detect_case_noise(pa.array(asked), truecaser).to_pylist(), strict=True
):
    print(f"{label:12s} {text!r} -> {truecaser.truecase(text)!r}")

# %% [markdown]
# ```{admonition} What happened
# :class: dropdown
# *Norway* is beyond doubt and is believed on its own. *Norwegian* adds 1.6, and 1.6 is less than 5.5: left as it is. That
# looks too careful until you think of *turkey*, *china*, *polish* and *may*: in a million messages a rare name is as
# often no name. Italian is left alone, since the corpus does not speak it, and so are three shouted words, which could
# be acronyms. If you expected the gate to ask *is there a name in lower case?*, it asks a better question: *how much
# speaks against this message as it stands?*
# ```

# %% [markdown]
# ```{admonition} Predict, then run
# :class: predict
# The table of before with the package in it: with its gate, and the recaser alone, which is forced to judge every word of
# every message. Both have read the same fifth of a megabyte as the counts. How many points of F1 will 25 features gain
# over two tables of counts: none, five, or fifteen? And what share of the clean paragraphs will each alter?
# ```

# %%
package, package_altered = report("package", truecaser.truecase)
report("package, no gate", lambda text: truecaser.recase([text])[0])
print(
    f"counts for comparison: F1 {by_counts.f1:.3f}, "
    f"F1 capitals {by_counts.f1_capitalized:.3f}, clean altered {counts_altered:.1%}"
)
assert package_altered < counts_altered, (
    "the gate should spare clean text: was the truecaser fitted on faulty messages?"
)
assert package.f1_capitalized > 0.7, (
    "does the text to learn from hold capitals inside sentences?"
)

# %% [markdown]
# ```{admonition} What happened
# :class: dropdown
# None, on so little text: with other paragraphs held out (the dial `seed` draws others) the counts are ahead by up to four
# points as often as not, and forced upon clean text both alter over a third of it. If you expected the model to win by far,
# remember that a rate of capitals is the best of its features, and that is a count; the rest takes text to learn. With
# 3 MB of real chat as `dialogues` the recaser was ahead on these same paragraphs (F1 0.79 against 0.77), and on 23 MB of
# chat a prototype of it led such counts by one point (82.8 against 81.8 over capitals).
#
# What sets the package apart is *restraint*: with the gate nearly every clean paragraph stays as it is, to the byte. The
# price is recall, since one-liners without evidence are left. For data on which a model is to be trained that is the
# better bargain: what the gate leaves is little, what it spares is nearly all.
# ```

# %% [markdown]
# What is still wrong? The words that come out otherwise than in the manual:

# %%
errors = Counter()
for want, got in zip(held_out, truecaser.recase(faulty), strict=True):
    pairs = zip(WORD.findall(want), WORD.findall(got), strict=True)
    errors.update(pair for pair in pairs if pair[0] != pair[1])
print(
    *(
        f"{count} x {want} became {got}"
        for (want, got), count in errors.most_common(10)
    ),
    sep="\n",
)

# %% [markdown]
# Mostly words with two honest forms: *A* is an article, a class or a grade, *C* a language or a variable, *None* an object
# or nobody. There the meaning decides, and no table of words holds it. Then names that only the held-out topics use, which
# more text would cure; and openings behind marks that look like the middle of a sentence.
#
# ### See for yourself
#
# Pick a message, or, in a running notebook, type one. Words that change are bold with a double line, protected spans have
# a dotted one, and each change has its reason. Three things to look for: the message in which *e.g.* is misread; the seven
# hard ones at the end, most of which the gate lets pass for want of evidence; and how many capitals in how many places it
# takes to call a word a name.

# %%
shown = [
    "Good question! rosa is the shortest. ask me for more.",
    "I do not have opinions. however, people in norway speak norwegian.",
    "Run `x = F(1)` first. then read /usr/share/Doc or https://example.org/aB.",
    "Hello. how are you?",
    "The function returns a value. if there is none, python raises an exception.",
    "In python, a class is an object. see section 3.2, e.g. the standard types.",
    "The unicode standard is large. the ascii table is not.",
    "Happy to help! 10 plus 2 is 12. i hope that helps!",
    "Dear otto, the garden is green today.",
    "Hello, emil! i am a doctor and i heal the sick.",
    "THE NAME OF THE CLASS IS SET WHEN THE CLASS IS MADE, AND NOT AFTER THAT.",
    "the value of the expression is a list. it is new. i think that is all.",
    "The module is named in PEP 8. it is short.",
    "Maple is a tree.",
] + hard
TruecaserView(truecaser, shown)

# %% [markdown]
# ## On the dialogues
#
# Real data comes without its true form, the *gold*. The miniature has it: its world can be written once more *without*
# the fault, and everything else stays the same, letter by letter. First the pipeline's own step, which filters refusals and
# truecases what is left:

# %%
made = pipeline.truecased()
row_counts = made.results
print(
    f"{row_counts['rows_in']:,} dialogues in = {row_counts['rows_out']:,} out + "
    f"{row_counts['rows_set_aside']:,} set aside {row_counts['set_aside']}"
)
print(
    f"{row_counts['answers_changed']:,} of the {row_counts['answers']:,} answers "
    "that stay were changed"
)
assert row_counts["rows_in"] == row_counts["rows_out"] + row_counts["rows_set_aside"], (
    "a row has vanished: look at set_aside.jsonl"
)

# %% [markdown]
# The same by hand, to see what it did: filter, fit on what is left, repair.

# %%
kept = refusal_filter(loaded.records)
source = [
    m["content"]
    for d in kept.select(loaded.records)
    for m in d["messages"]
    if m["role"] == "assistant"
]
own = Truecaser.fit(source)
repaired = own.truecase_batch(source)
changed = [
    (before, after)
    for before, after in zip(source, repaired, strict=True)
    if before != after
]
print(
    f"{len(changed)} of {len(source):,} answers changed, "
    f"the pipeline says {row_counts['answers_changed']}"
)

# %%
rows = [
    {"before": before[:400], "after": after[:400]}
    for before, after in list(dict.fromkeys(changed))[:6]
]
rows = rows or [{"before": "(nothing was changed)", "after": ""}]
display(HTML(before_after_table(rows, caption="Answers before and after truecasing.")))

# %% [markdown]
# And the gold: the world's chance of a spoilt answer is set to 0, everything else is drawn as before.

# %%
gold = None
if miniature_as_shipped:
    from zephyr_utils.miniature import data as world

    with mock.patch.object(world, "CAPITALISED", 0.0):
        without_fault = world.dialogues()
    gold = [text for index in kept.kept for text in without_fault[index]["data"][1::2]]
    planted = np.array([a != b for a, b in zip(source, gold, strict=True)])
    found = np.array(detect_case_noise(pa.array(source), own).to_pylist()) != "ok"
    print(
        f"{planted.sum()} planted, {(planted & found).sum()} of them found, "
        f"{(found & ~planted).sum()} false alarms"
    )
    scores = truecasing_scores(gold, source, repaired)
    print(
        f"precision {scores.precision}, recall {scores.recall}, "
        f"clean answers altered {scores.clean_altered:.1%}"
    )

# %%
if miniature_as_shipped:
    on_surface = np.array(detect_case_noise(pa.array(source)).to_pylist()) != "ok"
    print(
        f"without the fitted model: {(planted & on_surface).sum()} found. "
        "Missed, for instance:"
    )
    overlooked = dict.fromkeys(
        text
        for text, p, f in zip(source, planted, on_surface, strict=True)
        if p and not f and len(text) < 40
    )
    print(*list(overlooked)[:8], sep="\n")
    assert (planted & found).sum() >= 0.95 * planted.sum(), (
        "faults are missed: was the truecaser fitted on the dialogues?"
    )
    assert (found & ~planted).sum() <= 0.001 * len(source), (
        "clean answers are taken for faulty"
    )

# %% [markdown]
# ```{admonition} Do not believe a perfect score
# :class: warning
# In the miniature nothing is missed and nothing harmed, because every name in it occurs hundreds of times. It is a closed
# world, and says only that the program works. The manual's paragraphs above are nearer to life, and real chat is harder
# still, as the next figure shows. What the miniature does show is the part that the surface hides: *It was in rome.* has
# no sentence start and no `i`. Only a model that knows *Rome* sees the fault.
# ```

# %% [markdown]
# ## Beside its peers
#
# The same measurement on real chat text: fitted on 12 MB of answers of many models, scored on answers to held-out prompts,
# spoilt by `capitalize()`. It takes minutes and records that are not ours to ship, so it is a benchmark of this handbook
# (`benchmarks/truecasing.py`), and its table is read here. F1 is over capitals, in percent; *mix* are answers of many
# models, *GPT-3.5-like* those of GPT-3.5, GPT-4 and Vicuna, the nearest to UltraChat:

# %%
peers = published.published_table("truecasing_peers")
columns = {
    "system": "",
    "mix_all": "F1, mix",
    "gpt35_all": "F1, GPT-3.5-like",
    "clean_altered": "clean altered, %",
    "recaser_mb_per_second": "MB per second",
}
lines = [
    "| " + " | ".join(columns.values()) + " |",
    "|---" + "|---:" * (len(columns) - 1) + "|",
]
lines += [
    "| "
    + " | ".join("–" if row[key] is None else str(row[key]) for key in columns)
    + " |"
    for row in peers.rows
]
display(Markdown("\n".join(lines)))
print(peers.note.rpartition("of this machine: ")[2])

# %%
fig, [axes] = figures.figure(height=3.8)
timed = [row for row in peers.rows if row["recaser_mb_per_second"]]
for n, row in enumerate(timed):
    axes.plot(
        row["recaser_mb_per_second"], row["mix_all"], figures.MARKERS[n], markersize=9,
        label=row["system"],
    )
helped = next(row for row in peers.rows if "cut off" in row["system"])
axes.axhline(
    helped["mix_all"], color="black", linestyle=":",
    label=f"{helped['system']} (not timed)",
)
axes.set(
    xscale="log", xlabel="MB of faulty text a second, one core",
    ylabel="F1 over capitals, %", ylim=(30, 100),
)
fig.legend(loc="outside lower center", ncols=2)
alt = "; ".join(
    f"{row['system']}: {row['recaser_mb_per_second'] or 'no'} MB/s, F1 {row['mix_all']}"
    for row in [*timed, helped]
)
figures.show(
    fig,
    alt=alt,
    caption=(
        "Speed against accuracy on chat text spoilt by str.capitalize. "
        "Up and to the right is better."
    ),
)

# %% [markdown]
# The regex is fastest and finds least. Ours leads on the mixed chat text; on text like GPT-3.5's the best peer comes
# within a point or two once it is helped (the marks of list items cut off before it is asked). The peers know words but
# not when to stop: they change most *clean* messages, for they were built to recase everything they are given. In
# fairness to them, that is the task they were made for, sacremoses for translation and truecase for single sentences.
# Nobody comes near 100: case in headings is a matter of style that cannot be recovered.
#
# ## Filter, then truecase
#
# The other half of the clean-up takes out dialogues in which the assistant disclaims emotions, opinions or experience.
# Only three phrases are quoted by paper and card; the list in the package is our own.

# %%
print(kept.report())

# %% [markdown]
# ```{admonition} Predict, then run
# :class: predict
# The two faults have been treated as two. If the inference at the beginning is right, they are related. What share of the
# wrongly cased answers matches a refusal phrase, and what share of all others?
# ```

# %%
unfiltered = Truecaser.fit(answers[::every])  # as one would who truecases first
is_faulty = (
    np.array(detect_case_noise(pa.array(answers), unfiltered).to_pylist()) != "ok"
)
refuses = np.zeros(len(answers), bool)
refuses[[removed.index for removed in refusal_filter(answers).removed]] = True
both, refusing_share = (
    (is_faulty & refuses).sum(),
    (is_faulty & refuses).sum() / max(is_faulty.sum(), 1),
)
print(
    f"of {is_faulty.sum()} wrongly cased answers {both} refuse, {refusing_share:.0%}; "
    f"of {(~is_faulty).sum():,} others {refuses[~is_faulty].mean():.1%}"
)
print(
    f"filter first: {(is_faulty & ~refuses).sum()} left to repair; "
    f"truecase first: {is_faulty.sum()}"
)

# %% [markdown]
# ```{admonition} What happened
# :class: dropdown
# More than half against one in a hundred. The miniature was *made* so, after what we measured in the echoes of UltraChat:
# 86 of 148 wrongly cased answers (58 %) match a refusal phrase, against 82 of 16,087 (0.5 %) clean ones. If you said that
# the two are independent, you would expect the same share twice. So the order matters for the *report*: who truecases
# first counts many repairs that are thrown away a moment later, and that "5 %" is another number than the one of who
# filters first. The card's 5 % does not say which.
# ```

# %% [markdown]
# There is a finer trap. A truecaser fitted *after* the filter has never met the words of a refusal, and what it does not
# speak it leaves alone:

# %%
late = np.array(detect_case_noise(pa.array(answers), own).to_pylist()) != "ok"
print(
    f"fitted before the filter it finds {is_faulty.sum()} faults, "
    f"fitted after it {late.sum()}"
)
print(
    "of those in answers that stay: "
    f"{(is_faulty & ~refuses).sum()} and {(late & ~refuses).sum()}"
)

# %% [markdown]
# Does the order change the rows as well? It must not: the filter has to find a phrase whatever its case. That can be
# checked, and it is a good check of any filter that runs near a truecaser.

# %%
after_truecasing = refusal_filter(unfiltered.truecase_batch(answers))
assert {r.index for r in after_truecasing.removed} == set(np.flatnonzero(refuses)), (
    "the filter depends on case"
)
print("the same", len(after_truecasing.removed), "answers are removed in either order")

# %% [markdown]
# ````{exercise} Books for both orders
# :label: ex-01-order
#
# **Difficulty** ●●○○○ · **Minutes** 10
#
# `refuses` and `faulty` are lists of booleans, one a row. Write `order_counts(refuses, faulty)`: how many rows are kept;
# how many of those are repaired; and how many rows are repaired *in vain* if truecasing comes first (repaired, then
# removed).
# ````

# %% tags=["exercise"]
def order_counts(refuses, faulty):
    ...


exercises.check_order_counts(order_counts)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# Each row is one of four kinds. Which two of them are faulty?
# ```

# %% [markdown]
# ```{admonition} Hint 2
# :class: tip dropdown
# `sum(f and not r for r, f in zip(refuses, faulty))` is the second number.
# ```

# %% [markdown]
# `````{solution} ex-01-order
# :class: dropdown
# ```python
# def order_counts(refuses, faulty):
#     kept = sum(not r for r in refuses)
#     repaired = sum(f and not r for r, f in zip(refuses, faulty))
#     in_vain = sum(f and r for r, f in zip(refuses, faulty))
#     return kept, repaired, in_vain
# ```
# `````

# %% [markdown]
# ### On real records, if you have them
#
# Set `ZEPHYR_REAL_DATA` to a folder with `truecasing/real_capitalize_echoes.jsonl.gz` and `clean_other_models.jsonl.gz`
# (one `{"text": ...}` a line), and this cell looks at real answers. Without it, it says so.

# %%
real = Path(os.environ.get("ZEPHYR_REAL_DATA", "")) / "truecasing"
for name in ("real_capitalize_echoes", "clean_other_models"):
    if (
        not os.environ.get("ZEPHYR_REAL_DATA")
        or not (real / f"{name}.jsonl.gz").is_file()
    ):
        print(f"{name}: no such records here")
        continue
    with gzip.open(real / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in lines]
    alarms = np.mean(np.array(detect_case_noise(pa.array(texts)).to_pylist()) != "ok")
    print(
        f"{name}: {len(texts):,} messages, {alarms:.1%} labelled faulty, "
        f"{len(refusal_filter(texts).removed) / len(texts):.1%} refuse"
    )

# %% [markdown]
# ```{admonition} Pitfalls
# :class: warning
# - **`capitalize()` where only the first letter was meant.** `text[:1].upper() + text[1:]` is what you want. This one call
#   is, by all signs, the whole story of this chapter.
# - **Learning from the faulty.** A truecaser fitted on the raw corpus learns *rome*. Fit on what the detector passes.
# - **Judging the corpus, not the message.** A repair that recases everything harms more clean messages than there are
#   faulty ones.
# - **F1 without clean text.** A score over spoilt sentences never sees the damage.
# - **Splitting by message.** Two answers to one prompt share their names; split by prompt.
# - **Changing lengths.** `"ß".upper()` is `"SS"`. A repair that keeps every length can be checked letter by letter.
# - **Retokenising.** Joining words by single spaces destroys lists, tables and code; edit in place.
# - **Truecasing users.** Their lower case is how people type, and the student should meet it. The answers only.
# - **Pickled models.** Loading one runs whatever it holds. The package saves numbers (`npz`), never code.
# ```

# %% [markdown]
# ## Your turn with your own data
#
# Set `dialogues` in the cell of the dials to a file of your own (ultrachat_200k's `messages`, or raw UltraChat's `data`)
# and run this chapter again. For files of any size there is a command that needs no notebook; a killed run goes on at the
# file it was at, and each machine takes its share. One core takes 66 MB of text a second from Parquet to Parquet (at 5 %
# faults, on the machine of the table above), so all of UltraChat, about 9.3 GB, takes some two and a half minutes:
#
# ```bash
# zephyr truecase shards/*.parquet --output truecased/
# zephyr truecase shards/*.parquet --output truecased/ --shard-index 0 --num-shards 4   # on the first of four machines
# ```
#
# Every message is judged by itself, so the same function maps over any split of a dataset, in one process or on a cluster:
#
# ```python
# import functools
# from zephyr_utils.truecasing import Truecaser, truecase_messages
#
# truecaser = Truecaser.load("truecased/truecaser.npz")
# repair = functools.partial(truecase_messages, column="messages", truecaser=truecaser)
#
# dataset.with_format("arrow").map(repair, batched=True, batch_size=4000, num_proc=8).with_format(None)
# ray.data.read_parquet("shards/").map_batches(repair, batch_format="pyarrow").write_parquet("truecased/")
# ```
#
# Then go by this list:
#
# 1. Read twenty messages of each label before you trust the counts.
# 2. Spoil a thousand clean ones with `corrupt_case` and score; then run the repair over clean text and count what changes.
# 3. Is one of your abbreviations taken for the end of a sentence? Fit on more text: it is learnt from use.
# 4. Rows in = rows out + rows set aside?

# %% [markdown]
# ## Recap
#
# 1. *The signature*: equality with `capitalize()`, plus evidence; [the first exercise](ex-01-signature).
# 2. *A truecaser that counts*: equation {eq}`eq-01-counts`; it fails on new names, abbreviations, code. The regex of
#    [the second exercise](ex-01-starts) fails on more.
# 3. *Scores*: [the third exercise](ex-01-scores), equal to the package's; clean text altered is the score to add.
# 4. *Four parts*: spans that are never touched, a lexicon, log-odds ({eq}`eq-01-logodds`), and a gate in front.
# 5. *Order and accounting*: [the fourth exercise](ex-01-order); filter first, report both counts, no row vanishes.
#
# The dialogues are clean. In the [next chapter](02_dsft) a student learns from them.

# %% [markdown]
# ## References
#
# - {cite:t}`tunstall2023zephyr`: section 4.1 for the fault and the filters; {cite:t}`ding2023ultrachat` for the dialogues.
# - {cite:t}`lita2003truecasing`: truecasing, named and solved by counts of words and their neighbours.
# - {cite:t}`kiss2006unsupervised`: abbreviations learnt from raw text.
# - {cite:t}`duchi2011adaptive` and {cite:t}`weinberger2009feature`: the steps and the table of the regression.
# - [alignment-handbook, issue 7](https://github.com/huggingface/alignment-handbook/issues/7): the request for the code.

# %% tags=["remove-cell"]
metrics = {
    "answers": len(source),
    "answers_changed": len(changed),
    "f1_package": package.f1_capitalized,
    "f1_counts": by_counts.f1_capitalized,
    "clean_altered": float(package_altered),
    "clean_altered_counts": float(counts_altered),
    "faulty_that_refuse": float(refusing_share),
}
if gold is not None:
    metrics["faults_found"] = float((planted & found).sum() / planted.sum())
    metrics["f1_dialogues"] = truecasing_scores(gold, source, repaired).f1
artefacts.write_metrics(made.folder, metrics)
