# %% [markdown]
# # Truecasing: the fault that models repeat
#
# An early Zephyr opened sentences in lower case and met plain questions with a disclaimer. The authors traced both to their
# dialogues, repaired the first fault and filtered out the second {cite:p}`tunstall2023zephyr`, but published neither
# program. Here you find out what the fault is, and build what detects and repairs it.

# %% [markdown]
# ## What you will be able to do
#
# 1. Recognise the fault by its signature, and write a detector for it: the *gate* in front of any repair.
# 2. Write the obvious repair, a regex for sentence starts, and say what it misses and breaks.
# 3. Build a truecaser that learns from the correct majority of a corpus.
# 4. Score a repair: precision, recall, F1, and the share of correct text that it changes.
# 5. Filter before truecasing, and account for every row.

# %% [markdown]
# ## Set-up
#
# The three folded cells load the package, set the parameters (this chapter reads `dialogues` only) and import what follows.

# %% tags=["hide-input"]
try:
    import zephyr_utils
except ModuleNotFoundError:  # Colab: the package and what it lacks, no more
    %pip install -q "zephyr-handbook @ git+https://github.com/zephyr-handbook/zephyr-handbook"
from zephyr_utils.machine import check_loaded_versions, hardware_found

check_loaded_versions()
print(hardware_found())

# %% tags=["parameters", "hide-input"]
scale = "miniature"
seed = 0
dialogues = ""
feedback = ""
preferences = ""
base_model = ""
runs = ""
settings = {}

# %% tags=["hide-input"]
import gzip
import json
import os
import re
import textwrap
from collections import Counter
from pathlib import Path
from pydoc_data.topics import topics
from unittest import mock

import numpy as np
import pyarrow as pa
from IPython.display import HTML, Markdown, display

from zephyr_utils import exercises, figures, lessons, published
from zephyr_utils.data.filtering import refusal_filter
from zephyr_utils.explorers.truecaser import TruecaserView
from zephyr_utils.figures import before_after_table
from zephyr_utils.pipeline import artefacts
from zephyr_utils.pipeline.pipeline import Pipeline
from zephyr_utils.tables import markdown_table
from zephyr_utils.truecasing import (
    Truecaser, corrupt_case, detect_case_noise, protected_spans, read_words,
    truecasing_scores,
)

pipeline = Pipeline(
    scale=scale, seed=seed, dialogues=dialogues, feedback=feedback,
    preferences=preferences, base_model=base_model, runs=runs, **settings,
)
miniature_as_shipped = pipeline.as_published and pipeline.scale == "miniature"

# %% [markdown]
# ## The real thing
#
# An exchange from UltraChat 200k, the set that Zephyr-7B-β learned from, as published. Its card says that it was *truecased*:
# its capital letters were restored.

# %% tags=["remove-input"]
lessons.predict(
    "What is left of the fault in this published answer?",
    [
        "nothing",
        "sentences that open in lower case after a full stop",
        "paragraphs that open in lower case",
        "the pronoun `i` in the middle of sentences",
    ],
    2,
    key="blinds",
)

# %% tags=["hide-output"]
real = published.published_record("ultrachat_dialogue")
asked_for, answered = (m["content"] for m in real.record["messages"][:2])
print(f"{asked_for}\n")
for paragraph in answered.split("\n\n"):
    print(textwrap.fill(paragraph, 88), "\n")
print(textwrap.fill(real.attribution, 88))

# %% tags=["remove-input"]
lessons.explain(
    "Four paragraphs open in lower case, while every sentence start within a line and "
    "every other pronoun has its capital: whatever repaired this text knew full stops "
    "and spaces, and no line breaks. The answer also opens with a disclaimer, although "
    "the task was a plain one.",
    key="blinds",
)

# %% [markdown]
# The same set, where answers contain code. Each line below is broken:

# %%
for name in ("ultrachat_factorial", "ultrachat_lua"):
    code = published.published_record(name).record["messages"][1]["content"]
    print(*[ln for ln in code.splitlines() if "for I" in ln or "Sum)" in ln], sep="\n")

# %% [markdown]
# The loops run over `I` while their bodies use `i`, and `.. Sum` names a variable that does not exist. It seems to be the
# work of a rule that capitalises every lone `i` and every letter after a full stop and a space. A better truecaser has to
# know line breaks and names, and must leave code alone.

# %% [markdown]
# ## What is the fault?
#
# About 5 % of UltraChat {cite:p}`ding2023ultrachat` was wrongly cased, says the paper; the card quotes *Hello. how are
# you?* **Models repeat what they learned**, so the fault shows in their answers. [AlpacaEval](../glossary) has the answers
# of 228 models to 805 prompts. The share in which a sentence opens in lower case, code aside:
#
# | model | learned from | share |
# |---|---|---|
# | UltraLM-13b-v2.0 | UltraChat | 10.8 % |
# | Zephyr-7b-alpha | "a variant of UltraChat" (its card), inferred to be the unrepaired one | 10.7 % |
# | UltraLM-13b | UltraChat (why it shows less is unknown) | 3.2 % |
# | median of all models | | 0.5 % |
# | Zephyr-7b-beta | the repaired set | 0.26 % |
#
# An answer of the same shape, made up for this book, and what it should have been:

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

# %% tags=["remove-input"]
lessons.predict(
    "One function of Python turns the good answer into the bad one, letter by letter. "
    "Look at the first letter, then at *nasa*.",
    [
        "a rule that lowers sentence starts", "`str.lower`", "`str.title`",
        "`str.capitalize`",
    ],
    3,
    key="whodunnit",
)

# %% tags=["hide-output"]
suspected = {
    "sentence starts": lambda text: corrupt_case(text, "sentence"),
    "str.lower": str.lower,
    "str.title": str.title,
    "str.capitalize": str.capitalize,
}
for name, deed in suspected.items():
    print(f"{name:16s} {'did it' if deed(repaired) == spoilt else 'did not'}")

# %% tags=["remove-input"]
lessons.explain(
    "`str.capitalize` raises the first letter *and lowers all others*, which its name "
    "does not say. `str.lower` would have lowered the first letter too, `str.title` "
    "would have raised every word, and a rule for sentence starts would have left "
    "England and NASA alone.",
    key="whodunnit",
)

# %% [markdown]
# `capitalize()` leaves a signature: a text that has been through it equals its own `capitalize()`. So do 74 of the 82
# wrongly cased answers of UltraLM-13b-v2.0, 74 of Zephyr-7b-alpha's 81 and 19 of UltraLM-13b's 24. Most of the others are
# not faults but abbreviations, such as *2 oz. vodka*.

# %% [markdown]
# ## The gate: which messages to touch
#
# Where 5 % of the messages are faulty, the first question is whether to repair a message at all. We call the detector that
# decides it the *gate*. The assistant's answers at this scale:

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

# %% tags=["remove-input"]
lessons.predict(
    "The signature costs one comparison, `answer == answer.capitalize()`. In the "
    "miniature some two in a hundred answers have been through `capitalize()`. What "
    "share of all answers will the comparison report?",
    ["about as many", "about one in ten", "more than one in five"],
    key="signature",
)

# %% tags=["hide-output"]
signed = [answer for answer in answers if answer.strip() == answer.strip().capitalize()]
signed_share = len(signed) / len(answers)
print(f"{len(signed):,} of {len(answers):,} = {100 * signed_share:.0f} %")
print(*[repr(answer[:80]) for answer in list(dict.fromkeys(signed))[:6]], sep="\n")

# %% tags=["remove-input"]
lessons.explain(
    f"{signed_share:.0%}. A short answer without a name equals its own `capitalize()` "
    "because nothing in it could be spoilt. The signature is *necessary* but not "
    "*sufficient*: evidence is needed that there was something to spoil. (In answers "
    "as long as UltraChat's the two nearly coincide.)",
    key="signature",
    answer=int(np.searchsorted([0.05, 0.2], signed_share)),
)

# %% [markdown]
# ````{exercise} The gate
# :label: ex-01-signature
#
# **Difficulty** ●●○○○ · **Minutes** 10
#
# Write `capitalised_fault(text)`. Return True if the message, white space at its ends aside, equals its own `capitalize()`
# *and* shows evidence: a sentence start in lower case (a small letter, one of `.!?`, white space, a small letter), or the
# pronoun `i` as a word of its own. Otherwise return False.
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
#
# ```{admonition} Hint 2
# :class: tip dropdown
# `[a-z][.!?]\s+[a-z]` for the start, `\bi\b` for the pronoun. Return a bool, not a match.
# ```
#
# `````{solution} ex-01-signature
# :class: dropdown
# ```python
# def capitalised_fault(text):
#     text = text.strip()
#     evidence = re.search(r"[a-z][.!?]\s+[a-z]", text) or re.search(r"\bi\b", text)
#     return text == text.capitalize() and bool(evidence)
# ```
# `````

# %%
capitalised_fault = exercises.yours(
    capitalised_fault, exercises.check_capitalised_fault
)
gated = [capitalised_fault(answer) for answer in answers]
labels = np.array(detect_case_noise(pa.array(answers)).to_pylist())
with_code = sum("```" in answer for answer, hit in zip(answers, gated) if hit)
print(
    f"your gate reports {sum(gated):,} of {len(answers):,} answers, "
    f"{with_code:,} of them with code"
)
counts = Counter(labels.tolist()).most_common()
print("the package's detector:", ", ".join(f"{n:,} {label}" for label, n in counts))

# %% [markdown]
# The package's detector is more careful. `capitalized` is this fault; `lower` and `upper` are messages in one case
# throughout; `sentence` is a message with capitals of its own in which a sentence opens in lower case. Code, where `i` is
# a variable, is ignored. Most of the care goes into what only looks like a fault:

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
# The plain regex raised false alarms on 4.7 % of 32,198 answers by forty models without the fault: about as many as
# UltraChat has faults.
#
# ## The obvious repair
#
# Still, everyone begins with a regex, probably the authors too.

# %% [markdown]
# ````{exercise} Sentence starts
# :label: ex-01-starts
#
# **Difficulty** ●●○○○ · **Minutes** 10
#
# Write `sentence_starts(text)`: return the text with a capital for each first letter after `.`, `!` or `?` and one or more
# spaces *on the same line*. Nothing else may change, not even the text's own first letter.
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
#
# ```{admonition} Hint 2
# :class: tip dropdown
# Match all three parts, `[.!?] +[a-z]`, and return the match in upper case: marks and spaces have no case to change.
# ```
#
# `````{solution} ex-01-starts
# :class: dropdown
# ```python
# def sentence_starts(text):
#     return re.sub(r"[.!?] +[a-z]", lambda match: match[0].upper(), text)
# ```
# `````

# %%
sentence_starts = exercises.yours(sentence_starts, exercises.check_sentence_starts)
print(sentence_starts(spoilt))

# %% [markdown]
# ```{admonition} What the authors' heuristic did, and did not do
# :class: note dropdown
# Zephyr-7b-alpha learned from the raw text, we infer, and Zephyr-7b-beta from the repaired one. Messages with each fault
# among their answers to the same prompts, of 755 and 759:
#
# | fault | alpha | beta |
# |---|---|---|
# | sentence start on the same line | 64 | 0 |
# | a lone `i` | 40 | 0 |
# | an item such as `1. x` | 45 | 1 |
# | paragraph start after a blank line | 45 | **14** |
#
# Names stayed in lower case. So the heuristic knew neither paragraphs nor names, and a real truecaser *improves* on the
# published set.
# ```

# %% [markdown]
# ## A truecaser that counts
#
# Inside a sentence the capital belongs to the word: *Rome* has one, *room* has not. *Truecasing* {cite:p}`lita2003truecasing`
# gives each word the form that the correct majority of a corpus gives it.
#
# The miniature has only a few hundred words, so we add the texts behind Python's `help()`, full of names, abbreviations
# and code. (They differ a little between versions.) A fifth of the *topics* is held out, since paragraphs of one topic share
# their words.

# %% tags=["hide-input"]
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
# of a large corpus every n-th answer is enough
every = 1 + sum(map(len, answers)) // 3_000_000
sample = zip(answers[::every], labels[::every], strict=True)
correct = [text for text, label in sample if label == "ok"] + manual
print(f"{len(correct):,} texts to learn from, {len(held_out)} paragraphs held out")

# %% [markdown]
# A word that *opens* a sentence or a line has a capital anyway and teaches nothing:

# %%
WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
OPENS = re.compile(r"(?:\A|[.!?][\"')]*\s+|\n)[\s\"'(*#\d.)-]*\Z")


def words_of(text):
    """Each word with whether it opens a sentence or a line, and its place."""
    for match in WORD.finditer(text):
        start, end = match.span()
        yield match[0], bool(OPENS.search(text, max(0, start - 12), start)), start, end


print([(word, opens) for word, opens, *_ in words_of("Ask Pia. 1. the\nDo not.")])

# %% [markdown]
# ````{exercise} Build a truecaser
# :label: ex-01-counts
#
# **Difficulty** ●●●●○ · **Minutes** 30
#
# Write `fit_truecaser(texts)`. It counts how each word (lower-cased) is written *inside* sentences. Return a function
# `repair(text)` that returns the text with every word in its most frequent form. A word that opens a sentence or a line
# begins with a capital; a word that was never seen stays as it is; nothing but the case of letters changes.
# ````

# %% tags=["exercise"]
def fit_truecaser(texts):
    ...


exercises.check_fit_truecaser(fit_truecaser)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# `defaultdict(Counter)`: `forms[word.lower()][word] += 1` for words that do not open. `most_common(1)` has the winner.
# ```
#
# ```{admonition} Hint 2
# :class: tip dropdown
# To repair, walk through `words_of(text)` and collect the pieces between the words as they are: `text[done:start]`, then
# the form, then `done = end`. For a word that opens: `form[:1].upper() + form[1:]`, which keeps *NASA*.
# ```
#
# `````{solution} ex-01-counts
# :class: dropdown
# ```python
# from collections import defaultdict
#
# def fit_truecaser(texts):
#     counts = defaultdict(Counter)
#     for text in texts:
#         for word, opens, *_ in words_of(text):
#             if not opens:
#                 counts[word.lower()][word] += 1
#     forms = {word: seen.most_common(1)[0][0] for word, seen in counts.items()}
#
#     def repair(text):
#         pieces, done = [], 0
#         for word, opens, start, end in words_of(text):
#             form = forms.get(word.lower(), word)
#             pieces += [text[done:start], form[:1].upper() + form[1:] if opens else form]
#             done = end
#         return "".join(pieces) + text[done:]
#
#     return repair
# ```
# `````

# %%
fit_truecaser = exercises.yours(fit_truecaser, exercises.check_fit_truecaser)
by_counting = fit_truecaser(correct)
print(by_counting("Good question! the ascii codec of python is old. i hope so!"))

# %% tags=["remove-input"]
lessons.predict(
    "Seven sentences, spoilt by `capitalize()`: a known acronym, an unknown name, an "
    "abbreviation, an address, code, a word that is both (*none* and *None*), and a "
    "name after a colon. How many will come out right?",
    ["all seven", "four to six", "three or fewer"],
    key="hard",
)

# %%
hard = {
    "The string is in utf-8, not in ascii.": "The string is in UTF-8, not in ASCII.",
    "My friend wladimir uses python.": "My friend Wladimir uses Python.",
    "Use a sequence, e.g. a list.": "Use a sequence, e.g. a list.",
    "See https://example.org/ascii.html first. it is long.": (
        "See https://example.org/ascii.html first. It is long."
    ),
    "Call `list.sort()`. it returns none.": "Call `list.sort()`. It returns None.",
    "There are none of them here.": "There are none of them here.",
    "Two languages: python and c.": "Two languages: Python and C.",
}

# %% tags=["hide-output"]
n_right = sum(by_counting(text) == gold for text, gold in hard.items())
for text, gold in hard.items():
    got = by_counting(text)
    print(f"{'right' if got == gold else 'WRONG'}  {got}")

# %% tags=["remove-input"]
lessons.explain(
    f"{n_right} of {len(hard)}. The counts say nothing about a name that they never "
    "saw, take the abbreviation for the end of a sentence, break the address, and have "
    "one form for *none* and *None*. They know neither context nor what must not be "
    "touched.",
    key="hard",
    answer=0 if n_right == len(hard) else 1 if n_right > 3 else 2,
)

# %% [markdown]
# ## How good is a repair?
#
# Three texts: the reference (as it should be), the source (with the fault), the hypothesis (what the repair returned). An
# **edit** is a word whose case was changed; a **fault** is a word whose case was wrong.
#
# $$
# \begin{gathered}
# P = \frac{\text{right edits}}{\text{edits}}, \qquad R = \frac{\text{right edits}}{\text{faults}}, \\[0.5ex]
# F_1 = \frac{2PR}{P + R} .
# \end{gathered}
# $$ (eq-01-scores)

# %% [markdown]
# ````{exercise} The scores of an editor
# :label: ex-01-scores
#
# **Difficulty** ●●○○○ · **Minutes** 10
#
# Write `edit_scores(reference, source, hypothesis)` for three equally long lists of words: return the tuple of precision,
# recall and F1 by equation {eq}`eq-01-scores`. There is at least one edit and one fault.
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
#
# ```{admonition} Hint 2
# :class: tip dropdown
# A right edit is a word that was wrong in the source and equals the reference in the hypothesis.
# ```
#
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

# %%
edit_scores = exercises.yours(edit_scores, exercises.check_edit_scores)
reference = "Dear Pia, the train to Rome is late. Ask Otto."
source = "Dear pia, the train to rome is late. ask otto."
hypothesis = "Dear Pia, the Train to Rome is late. Ask otto."
scores = truecasing_scores(reference, source, hypothesis)
mine = edit_scores(*(WORD.findall(text) for text in (reference, source, hypothesis)))
print("yours:", mine, " package:", (scores.precision, scores.recall, scores.f1))
assert np.allclose(mine, (scores.precision, scores.recall, scores.f1))
print(f"F1 over words that carry a capital: {scores.f1_capitalized:.2f}")

# %% [markdown]
# The literature reports the last of these, over words that *carry a capital*: in the hypothesis for precision, in the
# reference for recall. Neither shows what matters most here, the share of *correct* texts that a repair changes. So take
# correct text, spoil it with `corrupt_case`, repair it, and compare.

# %%
faulty = [corrupt_case(text, "capitalize") for text in held_out]


def measured(repair):
    scores = truecasing_scores(held_out, faulty, [repair(text) for text in faulty])
    altered = float(np.mean([repair(text) != text for text in held_out]))
    return scores, altered


def gated_counts(text):
    return by_counting(text) if capitalised_fault(text) else text


truecaser = Truecaser.fit(manual + list(dict.fromkeys(answers))[:: 3 * every])

# %% tags=["remove-input"]
lessons.predict(
    "Your counts will rewrite every word of every text. What share of the *correct* "
    "paragraphs will they change, and how many with your gate in front?",
    [
        "about one in a hundred; with the gate none",
        "about one in ten; with the gate one in a hundred",
        "more than one in five; with the gate next to none",
    ],
    key="altered",
)

# %% tags=["hide-output"]
repairs = {
    "nothing": lambda text: text,
    "your regex": sentence_starts,
    "your counts": by_counting,
    "your gate, then your counts": gated_counts,
    "the package": truecaser.truecase,
    "the package, no gate": lambda text: truecaser.recase([text])[0],
}
results = {name: measured(repair) for name, repair in repairs.items()}
display(Markdown(markdown_table(
    ["repair", "precision", "recall", "F1", "F1, capitals", "correct text changed"],
    [
        [
            name, f"{s.precision:.3f}", f"{s.recall:.3f}", f"{s.f1:.3f}",
            f"{s.f1_capitalized:.3f}", f"{100 * altered:.1f} %",
        ]
        for name, (s, altered) in results.items()
    ],
    numbers=range(1, 6),
)))
by_counts, counts_altered = results["your counts"]
package, package_altered = results["the package"]
gate_scores, gate_altered = results["your gate, then your counts"]
idle, regex = results["nothing"][0], results["your regex"][0]
ungated = results["the package, no gate"][0]

# %% tags=["remove-input"]
lessons.explain(
    f"{counts_altered:.0%} without the gate, {gate_altered:.1%} with it: one rare "
    "form, one name used as a word, and the text is changed. The gate costs recall "
    f"({gate_scores.recall:.2f} instead of {by_counts.recall:.2f}), since texts "
    "without evidence are left alone; for training data that is worth it.\n\nDoing "
    f"nothing has a precision of {idle.precision:.0f} by convention, and an F1 over "
    f"capitals of {idle.f1_capitalized:.2f} for the letters that `capitalize()` "
    f"leaves. The regex has a precision of {regex.precision:.2f} and a recall of "
    f"{regex.recall:.2f}. Without its gate the package is close to your counts, on so "
    f"little text (F1 over capitals {ungated.f1_capitalized:.2f} and "
    f"{by_counts.f1_capitalized:.2f}). With it the recall is {package.recall:.2f}, "
    f"yours {gate_scores.recall:.2f}.",
    key="altered",
    answer=2 if counts_altered > 0.2 else 1 if counts_altered > 0.05 else 0,
)

# %%
assert package_altered < counts_altered, (
    "the gate should spare correct text: was the truecaser fitted on faulty messages?"
)
assert package.f1_capitalized > 0.7, (
    "does the text to learn from hold capitals inside sentences?"
)

# %% [markdown]
# ## The package's truecaser
#
# It has the two parts that you built and two more.
#
# - **A gate** adds up the evidence against a message's present case. Its threshold was set by hand so that next to no correct
#   chat answer is altered. Languages that the corpus does not contain are left alone.
# - **Protected spans**: of code, addresses, paths, mathematics and markup not a byte changes.
# - **A lexicon**: your counts, and how often a word is followed by a full stop and a *small* letter, which gives an
#   abbreviation away {cite:p}`kiss2006unsupervised`.
# - **Log-odds** of a capital where the counts leave it open (the optional section at the end).

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
for text, gold in hard.items():
    got = truecaser.recase([text])[0]
    print(f"{'right' if got == gold else 'WRONG'}  {got}")

# %% [markdown]
# ### See for yourself
#
# Pick a message, or type or paste a text of your own, of up to 100,000 characters. The same algorithm, in JavaScript, then runs
# in your browser with this chapter's model, and what you type stays there; the model knows the words of the Python manual
# and of the answers. Changed words are bold with a double underline, protected spans have a dotted one, and each change has
# its reason. In one message *e.g.* is misread.

# %% tags=["hide-input"]
shown = [
    "I do not have opinions. however, people in norway speak norwegian.",
    "Run `x = F(1)` first. then read /usr/share/Doc or https://example.org/aB.",
    "Hello. how are you?",
    "The function returns a value. if there is none, python raises an exception.",
    "In python, a class is an object. see section 3.2, e.g. the standard types.",
    "Happy to help! 10 plus 2 is 12. i hope that helps!",
    "THE NAME OF THE CLASS IS SET WHEN THE CLASS IS MADE, AND NOT AFTER THAT.",
    "People live in norway.",
    "YES. NO. SQL.",
    "La lingua italiana. e la più bella.",
    "Maple is a tree.",
    *hard,
]
TruecaserView(truecaser, shown)

# %% [markdown]
# ### Beside its peers
#
# The same measurement on real chat text, answers to held-out prompts. F1 is over capitals, in per cent; *GPT-3.5-like* are
# answers of GPT-3.5, GPT-4 and Vicuna, the nearest to UltraChat. (The texts may not be passed on;
# `benchmarks/truecasing.py` made the table.)

# %%
peers = published.published_table("truecasing_peers")
columns = {
    "system": "",
    "mix_all": "F1, mix",
    "gpt35_all": "F1, GPT-3.5-like",
    "clean_altered": "correct text changed, %",
    "recaser_mb_per_second": "MB per second",
}
display(Markdown(markdown_table(
    list(columns.values()),
    [["–" if row[key] is None else row[key] for key in columns] for row in peers.rows],
    numbers=range(1, 5),
)))
print(peers.note.rpartition("of this machine: ")[2])

# %% [markdown]
# The peers recase whatever they are given, so they change most *correct* messages. No system comes near 100: case in
# headings is a matter of style.
#
# ## On the dialogues
#
# Real data comes without its true form, the *gold*; the miniature's world can be written again *without* the fault. First
# the pipeline's own step, which filters refusals and truecases the rest:

# %%
made = pipeline.truecased()
row_counts = made.results
print(
    f"{row_counts['rows_in']:,} dialogues in = {row_counts['rows_out']:,} out + "
    f"{row_counts['rows_set_aside']:,} set aside:",
    ", ".join(f"{n:,} {reason}" for reason, n in row_counts["set_aside"].items()),
)
assert row_counts["rows_in"] == row_counts["rows_out"] + row_counts["rows_set_aside"], (
    "a row has vanished: look at set_aside.jsonl"
)

# %% [markdown]
# The same by hand: filter, fit on what is left, repair.

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
changed = [pair for pair in zip(source, repaired, strict=True) if pair[0] != pair[1]]
print(
    f"{len(changed)} of {len(source):,} answers changed, "
    f"the pipeline says {row_counts['answers_changed']}"
)
rows = [
    {"before": before[:400], "after": after[:400]}
    for before, after in list(dict.fromkeys(changed))[:5]
] or [{"before": "(nothing was changed)", "after": ""}]
display(HTML(before_after_table(rows, caption="Answers before and after truecasing.")))

# %%
gold = None
if miniature_as_shipped:
    from zephyr_utils.miniature import data as world

    with mock.patch.object(world, "CAPITALISED", 0.0):
        without_fault = world.dialogues(seed=seed)
    gold = [text for index in kept.kept for text in without_fault[index]["data"][1::2]]
    planted = np.array([a != b for a, b in zip(source, gold, strict=True)])
    found = np.array(detect_case_noise(pa.array(source), own).to_pylist()) != "ok"
    on_surface = np.array(detect_case_noise(pa.array(source)).to_pylist()) != "ok"
    scores = truecasing_scores(gold, source, repaired)
    print(
        f"{planted.sum()} planted; found by the detector alone "
        f"{(planted & on_surface).sum()}, with the fitted model "
        f"{(planted & found).sum()}; {(found & ~planted).sum()} false alarms"
    )
    print(
        f"precision {scores.precision:.3f}, recall {scores.recall:.3f}, "
        f"correct answers altered {100 * scores.clean_altered:.1f} %"
    )
    assert (planted & found).sum() >= 0.95 * planted.sum(), (
        "faults are missed: was the truecaser fitted on the dialogues?"
    )
    assert (found & ~planted).sum() <= 0.001 * len(source), (
        "correct answers are taken for faulty"
    )

# %% [markdown]
# ```{admonition} Do not believe a perfect score
# :class: warning
# Every name of the miniature occurs hundreds of times, so next to nothing is missed or harmed. Real chat is harder. But the
# miniature shows what the surface hides: *It was in rome.* has no second sentence and no `i`, and only a model that knows
# *Rome* sees the fault.
# ```

# %% [markdown]
# ## Filter, then truecase
#
# The other half of the clean-up removes [refusals](../glossary): dialogues in which the assistant disclaims emotions,
# opinions or experience. Paper and card quote three phrases; the package's list is our own.

# %%
print(kept.report())

# %% tags=["remove-input"]
lessons.predict(
    "So far case and refusals were separate faults. What share of the *wrongly cased* "
    "answers is also a refusal, compared with the share among all other answers?",
    ["about the same", "two or three times as large", "more than ten times as large"],
    key="related",
)

# %% tags=["hide-output"]
unfiltered = Truecaser.fit(answers[::every])  # as one would who truecases first
is_faulty = (
    np.array(detect_case_noise(pa.array(answers), unfiltered).to_pylist()) != "ok"
)
refuses = np.zeros(len(answers), bool)
refuses[[removed.index for removed in refusal_filter(answers).removed]] = True
refusing_share = (is_faulty & refuses).sum() / max(is_faulty.sum(), 1)
others_refusing = refuses[~is_faulty].mean()
print(
    f"of {is_faulty.sum()} wrongly cased answers {100 * refusing_share:.0f} % refuse; "
    f"of {(~is_faulty).sum():,} others {100 * others_refusing:.1f} %"
)
ratio = refusing_share / max(others_refusing, 1e-9)

# %% tags=["remove-input"]
lessons.explain(
    f"{refusing_share:.0%} against {others_refusing:.1%}. The miniature was *made* so, "
    "after what we measured in models that had learned from UltraChat: "
    f"{lessons.published('86 of 148 wrongly cased answers', 'our measurement')} match "
    f"a refusal phrase, against {lessons.published('82 of 16,087', 'our measurement')} "
    "correct ones. So the order matters for the *report*: truecase first, and many "
    "repairs are removed a moment later. The card does not say in which order its "
    "five per cent were counted.",
    key="related",
    answer=0 if ratio < 2 else 1 if ratio < 10 else 2,
)

# %% [markdown]
# ```{admonition} Why were whole answers put into lower case? An inference
# :class: note dropdown
# Of 148 wrongly cased answers of models that had learned from UltraChat, 132 open with *I do not*, *I don't*, *I cannot* or
# *I am not*, as if *As an AI language model,* had been cut off and `capitalize()` called on the rest. In the published set,
# 19 of the 28 answers (of 2,000) that still have a paragraph in lower case open with such a disclaimer, against a tenth of
# all. No source confirms it.
# ```
#
# ````{exercise} Account for both orders
# :label: ex-01-order
#
# **Difficulty** ●●○○○ · **Minutes** 10
#
# `refuses` and `faulty` are lists of booleans, one per row. Write `order_counts(refuses, faulty)`. Return three counts: the
# rows that are kept; those of them that are repaired; and the rows that would be repaired *in vain* if truecasing came
# first (repaired, then removed).
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
#
# ```{admonition} Hint 2
# :class: tip dropdown
# `sum(f and not r for r, f in zip(refuses, faulty))` is the second number.
# ```
#
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

# %%
order_counts = exercises.yours(order_counts, exercises.check_order_counts)
in_order = order_counts(refuses.tolist(), is_faulty.tolist())
print("kept {:,}, repaired {:,}, repaired in vain {:,}".format(*in_order))

# %% [markdown]
# A less obvious trap: a truecaser fitted *after* the filter has never seen the words of a refusal, and leaves them alone.
# And the filter has to find a phrase whatever its case, or the rows would depend on the order.

# %%
late = np.array(detect_case_noise(pa.array(answers), own).to_pylist()) != "ok"
print(
    f"fitted before the filter it finds {is_faulty.sum()} faults, after it "
    f"{late.sum()}; in answers that stay {(is_faulty & ~refuses).sum()} and "
    f"{(late & ~refuses).sum()}"
)
after_truecasing = refusal_filter(unfiltered.truecase_batch(answers))
assert {r.index for r in after_truecasing.removed} == set(np.flatnonzero(refuses)), (
    "the filter depends on case"
)
print("the same", len(after_truecasing.removed), "answers are removed in either order")

# %% [markdown]
# ### On real answers
#
# The same two programs on real answers, stored with the package. (Yours are added if `ZEPHYR_REAL_DATA` is a folder with
# `truecasing/*.jsonl.gz`, one `{"text": ...}` per line.)

# %%
real_files = sorted(
    Path(os.environ.get("ZEPHYR_REAL_DATA", "nowhere")).glob("truecasing/*.jsonl.gz")
)
checked = list(published.published_table("real_case_faults").rows)
for file in real_files:
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in lines]
    noise = np.array(detect_case_noise(pa.array(texts)).to_pylist()) != "ok"
    removed = refusal_filter(texts).removed
    checked.append(dict(zip(checked[0], (
        file.name, len(texts), int(noise.sum()), len(removed),
    ))))
display(Markdown(markdown_table(
    ["records", "answers", "labelled faulty", "match a refusal phrase"],
    [[name, *(f"{count:,}" for count in counts)] for name, *counts in (
        row.values() for row in checked
    )],
    numbers=range(1, 4),
)))

# %% [markdown]
# ```{admonition} Common mistakes
# :class: warning
# - **`capitalize()` where only the first letter was meant.** Write `text[:1].upper() + text[1:]`.
# - **Learning from the faulty.** Fitted on the raw corpus, a truecaser learns *rome*. Fit on what the detector passes.
# - **Splitting by message.** Answers to one prompt share their names; split by prompt.
# - **Changing lengths.** `"ß".upper()` is `"SS"`. A repair that keeps every length can be checked letter by letter.
# - **Joining words by single spaces.** That destroys lists, tables and code; edit in place.
# - **Truecasing users.** Lower case is how people type, and the student should meet it.
# ```

# %% [markdown]
# ## Your turn with your own data
#
# Set `dialogues` above to a file of your own (ultrachat_200k's `messages`, or raw UltraChat's `data`) and run this chapter
# again. For files of any size there is a command; a killed run resumes at the file it was at:
#
# ```bash
# zephyr truecase shards/*.parquet --output truecased/
# zephyr truecase shards/*.parquet --output truecased/ \
#     --shard-index 0 --num-shards 4    # on the first of four machines
# ```
#
# The same function maps over a dataset:
#
# ```python
# import functools
# from zephyr_utils.truecasing import Truecaser, truecase_messages
#
# truecaser = Truecaser.load("truecased/truecaser.npz")
# repair = functools.partial(truecase_messages, column="messages", truecaser=truecaser)
#
# rows = dataset.with_format("arrow").map(repair, batched=True, batch_size=4000, num_proc=8)
# rows.with_format(None)
#
# shards = ray.data.read_parquet("shards/")
# shards.map_batches(repair, batch_format="pyarrow").write_parquet("truecased/")
# ```
#
# Read twenty messages of each label before you trust the counts, and score a thousand correct ones spoilt with
# `corrupt_case`.

# %% [markdown]
# ## Optional: the log-odds of a capital
#
# For a word that the counts leave open the package looks at 25 features, all blind to case: the word, its neighbours, its
# letters, the marks around it, the kind of line. Each feature has a weight, and their sum is the **log-odds** of a capital:
#
# $$
# s = \sum_j w_j, \qquad p = \sigma(s) = \frac{1}{1 + e^{-s}}, \qquad s = \log \frac{p}{1-p} .
# $$ (eq-01-logodds)
#
# With $y = 1$ for a capital, the loss of a word is $-y \log p - (1 - y) \log (1 - p)$. Its derivative in $s$ is $p - y$.
# (The weights are kept in a hashed table {cite:p}`weinberger2009feature`, fitted with AdaGrad {cite:p}`duchi2011adaptive`.)

# %% tags=["hide-input"]
def loss(s, y):
    p = 1 / (1 + np.exp(-s))
    return -y * np.log(p) - (1 - y) * np.log(1 - p)


for s, y in ((1.3, 1), (1.3, 0), (-0.4, 1)):
    slope = (loss(s + 1e-5, y) - loss(s - 1e-5, y)) / 2e-5
    formula = 1 / (1 + np.exp(-s)) - y
    print(f"s {s:+.1f}, y {y}: measured {slope:+.6f}, p - y {formula:+.6f}")
    assert abs(slope - formula) < 1e-6

# %% [markdown]
# A capital is written where $s$ exceeds a threshold, which trades one error for another. On the held-out paragraphs:

# %% tags=["hide-input"]
words = read_words(truecaser, held_out)
used = ~words.protected & ~words.digits & ~words.first
score, capital = words.log_odds[used], words.capital[used]
thresholds = np.arange(-3, 6.01, 0.5)
curve = [(capital[score > t].mean(), (score[capital] > t).mean()) for t in thresholds]
precisions, recalls = np.array(curve).T
fig, [axes] = figures.figure()
axes.plot(recalls, precisions, marker="o", color=figures.COLOURS[0])
for wanted in (-2.0, 0.0, 3.5):
    at = int(np.argmin(abs(thresholds - wanted)))
    axes.annotate(
        f"s > {wanted:+.1f}".replace("-", "−"), (recalls[at], precisions[at]),
        xytext=(6, 6),
        textcoords="offset points",
    )
axes.set(xlabel="recall", ylabel="precision")
figures.show(
    fig,
    alt=(
        f"Precision falls from {precisions[-1]:.2f} to {precisions[0]:.2f} as recall "
        f"rises from {recalls[-1]:.2f} to {recalls[0]:.2f}."
    ),
    caption="Words that get a capital: precision against recall by threshold.",
)

# %% [markdown]
# In a wholly faulty message both errors count alike: the threshold is 0. In a message that is correct but for a letter the
# package touches sentence starts only, and asks for $s \ge 3.5$, that is $p > 0.97$.

# %% [markdown]
# ## Recap
#
# 1. *The gate*: [equality with `capitalize()`, plus evidence](ex-01-signature).
# 2. *The obvious repair*: [a regex](ex-01-starts) misses lines and names, and broke code in the published set.
# 3. *A truecaser that counts*: [yours](ex-01-counts), a dozen lines; behind your gate it spares correct text.
# 4. *Scores*: [precision, recall and F1 of edits](ex-01-scores), and the share of correct text changed.
# 5. *Order and accounting*: [filter first](ex-01-order), report both counts, and lose no row.
#
# The dialogues are clean. Next: in [Chapter 02](02_dsft) a student learns from them.

# %% [markdown]
# ## References
#
# - {cite:t}`tunstall2023zephyr`, section 4.1: the fault and the filters; {cite:t}`ding2023ultrachat`: the dialogues.
# - {cite:t}`lita2003truecasing`: truecasing; {cite:t}`kiss2006unsupervised`: abbreviations.
# - {cite:t}`duchi2011adaptive` and {cite:t}`weinberger2009feature`: optimiser and feature table of the regression.
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
