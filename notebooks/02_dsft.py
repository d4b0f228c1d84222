# %% [markdown]
# # dSFT: learning to answer from a teacher
#
# A base model continues text. It does not answer: nothing in its training said where a turn ends, whose turn comes
# next, or that a question wants an answer. Distilled supervised fine-tuning (dSFT), the first of the paper's three methods
# {cite:p}`tunstall2023zephyr`, shows it dialogues that a stronger model wrote and maximises their likelihood. You will
# derive its loss, write the collator that feeds it, train with about fifteen lines of PyTorch, then with TRL, then with
# the package, and see that all three do the same.

# %% [markdown]
# ## What you will be able to do
#
# 1. Derive the token-weighted cross-entropy from "be as close to the teacher as possible".
# 2. Read Zephyr's chat template token by token, and write the collator and the mask that decide which tokens count.
# 3. Fit dialogues to a context without losing the end of an answer, and pack them without letting neighbours mix.
# 4. Build LoRA by hand, predict its number of parameters, and merge it.
# 5. Train in plain PyTorch, read a run's log, and say what its numbers can be compared with.

# %% [markdown]
# ## Set-up
#
# The three folded cells load the package, set the parameters (`scale` chooses model, data and recipe together; the others
# replace one of them by something of your own) and import what follows.

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
import json
import math
import tempfile
import warnings
from collections import defaultdict
from pathlib import Path

import torch
import torch.nn.functional as F
import trl
from datasets import Dataset, disable_progress_bars
from IPython.display import HTML, Markdown, display
from peft import PeftModel, get_peft_model
from transformers import PrinterCallback, get_scheduler, set_seed

from zephyr_utils import chat, exercises, figures, lessons, published, training
from zephyr_utils.data.records import load_records
from zephyr_utils.evaluation import EvaluationWarning
from zephyr_utils.evaluation.intervals import paired_difference
from zephyr_utils.explorers.token_view import ChatTokens
from zephyr_utils.figures import before_after_table
from zephyr_utils.pipeline import artefacts
from zephyr_utils.pipeline.pipeline import Pipeline
from zephyr_utils.tables import markdown_table
from zephyr_utils.training.rows import fit_dialogues

disable_progress_bars()
# of turns that the base leaves empty, which are graded as they are
warnings.simplefilter("ignore", EvaluationWarning)
pipeline = Pipeline(
    scale=scale, seed=seed, dialogues=dialogues, feedback=feedback,
    preferences=preferences, base_model=base_model, runs=runs, **settings,
)
miniature_as_shipped = pipeline.as_published and pipeline.scale == "miniature"
# dialogues that are only looked at: a large model takes seconds for each
looked_at = 96 if pipeline.scale == "miniature" else 12

# %% [markdown]
# ## Whose words the student learns
#
# The paper's data come from *self-instruct*, with a chat model as the author. For each seed prompt $x_1^0, \dots, x_J^0$
# the teacher $\pi_T$ answers, $y^0 \sim \pi_T(\cdot \mid x^0)$; then it plays the user and writes the next question from
# what was said, $x^1 \sim \pi_T(\cdot \mid x^0, y^0)$; and so on. The result is a set $\mathcal C = \{(x_1, y_1), \dots,
# (x_J, y_J)\}$ of dialogues in which no person wrote an answer. UltraChat {cite:p}`ding2023ultrachat` is such a set,
# written by GPT-3.5-turbo. One of its dialogues:

# %%
real = published.published_record("ultrachat_pillow")
for message in real.record["messages"]:
    print(f"{message['role']:>10}: {message['content']}")
print(f"\n({real.source}; {real.licence})")

# %% [markdown]
# Compare the first answer with its question: the text says *hand-made*, the teacher says *by machine*. The student will
# learn that too. Maximum likelihood copies the teacher, faults included. Preferring some answers to others is the
# subject of [Chapter 05](05_ddpo).
#
# The miniature's dialogues have UltraChat's schema and its faults. They are simpler in one way: a rule draws their
# questions, where UltraChat's teacher writes them. The dialogues used here have been truecased, and refusals have been
# removed ([Chapter 01](01_truecasing)).

# %%
cleaned = pipeline.truecased()
everything = load_records(cleaned.folder / "dialogues.parquet", "dialogue").records
print(
    f"{cleaned.rows['rows_in']:,} dialogues in = {len(everything):,} kept + "
    f"{cleaned.rows['rows_set_aside']:,} set aside:", *cleaned.results["set_aside"],
)
for message in everything[0]["messages"]:
    print(f"{message['role']:>10}: {message['content']}")

# %% [markdown]
# ## From "be like the teacher" to a number
#
# ### Step 1: the distance to the teacher is a cross-entropy and a constant
#
# Let $p$ be the distribution of the teacher's texts and $\pi_\theta$ the model's. The Kullback–Leibler divergence is the
# number of [nats](../glossary) (units of the natural logarithm) lost by assuming $\pi_\theta$ where $p$ is true:
#
# $$
# \begin{aligned}
# \mathrm{KL}(p \,\|\, \pi_\theta) &= \sum_y p(y) \log \frac{p(y)}{\pi_\theta(y)} \\
# &= \underbrace{-\sum_y p(y) \log \pi_\theta(y)}_{\text{cross-entropy}} \\
# &\quad - \underbrace{\Big(-\sum_y p(y) \log p(y)\Big)}_{\text{entropy of } p} .
# \end{aligned}
# $$ (eq-02-kl)
#
# The second term does not depend on $\theta$. So coming close to the teacher means making the cross-entropy small, and a
# sample of the teacher's texts is enough to estimate it.

# %%
p = torch.tensor([0.5, 0.3, 0.2])  # the teacher's three answers
pi = torch.tensor([0.2, 0.2, 0.6])  # what the model gives them
divergence = (p * (p / pi).log()).sum()
cross_entropy, entropy = -(p * pi.log()).sum(), -(p * p.log()).sum()
print(
    f"KL {divergence:.6f} = cross-entropy {cross_entropy:.6f} - entropy {entropy:.6f}"
)
assert torch.isclose(divergence, cross_entropy - entropy)

# %% [markdown]
# This is the paper's objective for dSFT,
#
# $$\pi_{\text{dSFT}} = \arg\max_\pi \; \mathbb{E}_{(x, y) \sim \mathcal C} \, \log \pi(y \mid x).$$ (eq-02-dsft)
#
# It also says what the *held-out* loss cannot, on average, fall below: not zero, but the teacher's own entropy. (A training
# loss can go lower, by memorising rows.)

# %% [markdown]
# ### Step 2: a text is as likely as the product of its tokens
#
# A language model predicts one token at a time. By the chain rule of probability $\log \pi(y) = \sum_t \log \pi(y_t \mid
# y_{<t})$, and a causal model gives all terms in one forward pass: its scores at position $t$ see tokens $0 \dots t$ and
# predict token $t + 1$.

# %%
base, tokenizer = chat.load_model(pipeline.model_directory("base"))
chat.prepare_tokenizer(tokenizer, pipeline.chat_template)


@torch.no_grad()
def token_losses(model, ids):
    """-log pi of each token but the first, in nats: (length - 1,)."""
    # (length, vocabulary)
    scores = model(input_ids=torch.tensor([ids], device=model.device)).logits[0].float()
    log_probs = scores[:-1].log_softmax(dim=-1)  # position t predicts token t + 1
    return -log_probs[range(len(ids) - 1), ids[1:]].cpu()

# %% [markdown]
# To see that one pass is enough, read a dialogue prefix by prefix, the slow way, and compare (of a long one the first 128
# tokens). From $n$ tokens come $n - 1$ predictions: nothing precedes the first.

# %%
ids = chat.encode(tokenizer, everything[0]["messages"])[0][:128]
slow = 0.0
with torch.no_grad():
    for t in range(1, len(ids)):
        prefix = torch.tensor([ids[:t]], device=base.device)
        scores = base(input_ids=prefix).logits[0, -1].float()
        slow -= scores.log_softmax(-1)[ids[t]].item()
print(
    f"{len(ids)} tokens; one pass {token_losses(base, ids).sum():.4f} nats, "
    f"{len(ids) - 1} passes {slow:.4f} nats"
)
assert math.isclose(slow, token_losses(base, ids).sum(), rel_tol=1e-3)

# %% [markdown]
# ### Step 3: one number for a set of dialogues
#
# From here on $y$ is the whole conversation, since Zephyr was trained on all tokens. The paper's expectation is a mean
# over dialogues of each one's *sum* of token losses. Divided by the mean length, a constant, it becomes the
# *token-weighted* mean, which has the same minimum and can be compared between data sets:
#
# $$\mathcal L(\theta) = \frac{\sum_j \sum_t -\log \pi_\theta(y_{j,t} \mid y_{j,<t})}{\sum_j (n_j - 1)}.$$ (eq-02-loss)

# %% [markdown]
# ```{exercise} Losses of a data set
# :label: ex-02-combine
#
# **Difficulty** ●○○○○ · **Minutes** 5
#
# A data set was read in batches. `sums` lists each batch's sum of token losses (nats), `counts` its number of tokens.
# Write `combine(sums, counts)`: return the loss {eq}`eq-02-loss` of the whole data set, in nats per token.
# ```

# %% tags=["exercise"]
def combine(sums, counts):
    ...


exercises.check_combine_batches(combine)
combine = exercises.yours(combine, exercises.check_combine_batches)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# What would the number be if the same rows came in one large batch?
# ```
#
# ```{admonition} Hint 2
# :class: tip dropdown
# Divide once, at the very end.
# ```
#
# ````{solution} ex-02-combine
# :class: dropdown
# ```python
# def combine(sums, counts):
#     return sum(sums) / sum(counts)
# ```
# ````

# %% [markdown]
# `combine` on the base model, beside the package's version, which reads padded batches:

# %%
sample = everything[:looked_at]
losses = [
    token_losses(base, chat.encode(tokenizer, row["messages"])[0]) for row in sample
]
sums, counts = [loss.sum().item() for loss in losses], [len(loss) for loss in losses]
by_hand = combine(sums, counts)
packaged = training.held_out_loss(base, tokenizer, sample)
print(f"by hand {by_hand:.5f}, package {packaged:.5f} nats per token")
assert math.isclose(by_hand, packaged, rel_tol=1e-3), (
    "padding leaks into the loss: look at the labels, -100 where padded"
)

# %% [markdown]
# ### Step 4: the gradient of one token
#
# The gradient of a token's loss with respect to the scores $z$ is the model's distribution minus the truth:
#
# $$\frac{\partial(-\log \mathrm{softmax}(z)_k)}{\partial z_i} = \mathrm{softmax}(z)_i - [i = k].$$ (eq-02-gradient)
#
# A token that the model was sure of has almost no gradient. One that it thought impossible has a gradient of full size.

# %%
z = torch.tensor([2.0, 0.5, -1.0], requires_grad=True)
F.cross_entropy(z[None], torch.tensor([2])).backward()
expected = z.detach().softmax(0) - torch.tensor([0.0, 0.0, 1.0])
print("autograd", z.grad.numpy().round(4))
print("formula ", expected.numpy().round(4))
assert torch.allclose(z.grad, expected)

# %% [markdown]
# ## A dialogue becomes tokens
#
# A model reads one row of tokens, not turns. Zephyr's *chat template* writes a marker line before each turn and the
# end-of-sequence token after it. What the model is given when it is to answer ends with the marker of its own turn: the
# *generation prompt*. (A chat model keeps the template that it was trained with, unless `--chat-template zephyr` asks for
# this one.)

# %%
talk = everything[0]["messages"][:2]
print(chat.render(tokenizer, talk))
print(repr(chat.render(tokenizer, talk[:1], generation_prompt=True)))

# %% [markdown]
# Token by token, with both ways to count: Zephyr was trained on **all tokens**, the user's words and the markers included;
# many later recipes count **the assistant's words only**. The drawing shows both for the question of
# [Chapter 00](00_overview), the view below it for other dialogues.
#
# ![Four lines of tokens: the user's marker; the question, its end token and a line break; the assistant's marker; the
# answer, its end token and a line break. A solid line runs under all tokens but the very first: these count in Zephyr's
# loss. A dashed line runs under the answer and its end token: these count where only the assistant's words
# do.](figures/chat-template.svg)
#
# *One exchange in Zephyr's template. Each line of text is a line of boxes, one box per token; ⏎ is the line break that
# the template writes. Under the boxes, which tokens the loss counts.*

# %%
ChatTokens(tokenizer, {
    "one exchange": talk,
    "a whole dialogue": everything[0]["messages"],
    "with an empty system turn": [{"role": "system", "content": ""}, *talk],
})

# %% [markdown]
# Three things to look for in Zephyr's template. The markers are *plain text* of several tokens, not special tokens, so no
# embedding had to be added. The end-of-sequence token is *inside* what the assistant-only mask counts: a student that is
# never trained on it never learns to stop. The line break after it is outside, because by then the turn is over. (The
# authors' first code added an empty system turn to dialogues without one; we do not, in training or in chat.)

# %% tags=["remove-input"]
lessons.predict(
    "There are two ways from messages to tokens: `apply_chat_template` straight to "
    "ids, or render the text first and call `tokenizer(text)`. Do both give the same "
    "ids?",
    [
        "yes",
        "no, the second puts a token in front",
        "no, the second reads the markers as special tokens",
    ],
    key="two-ways",
)

# %% tags=["hide-output"]
text = chat.render(tokenizer, talk)
direct, by_text = chat.encode(tokenizer, talk)[0], tokenizer(text)["input_ids"]
print(len(direct), "ids, the first", tokenizer.convert_ids_to_tokens(direct[:3]))
print(len(by_text), "ids, the first", tokenizer.convert_ids_to_tokens(by_text[:3]))

# %% tags=["remove-input"]
lessons.explain(
    f"{len(direct)} ids one way and {len(by_text)} the other. Mistral's tokenizer, "
    "and the miniature's like it, puts the token `<s>` in front of every plain text; "
    "the template has none. A student trained one way and asked the other meets a "
    "first token that it has never seen. Zephyr's markers are plain text both ways. "
    "With a tokenizer that adds nothing both ways agree; with a template that has its "
    "own `<s>` the second way gives *two*. The package goes straight to ids "
    "everywhere: in training, in chat and in evaluation.",
    key="two-ways",
    answer=0 if by_text == direct else 1,
)

# %%
if miniature_as_shipped:
    assert by_text == [tokenizer.bos_token_id, *direct], (
        "the miniature's tokenizer adds one <s> to plain text, as Mistral's does"
    )
# some templates end answers alone with it, some put a system turn in front
n_answers = sum(message["role"] == "assistant" for message in talk)
assert direct.count(tokenizer.eos_token_id) >= n_answers, (
    "each answer ends with an end-of-sequence token: call chat.prepare_tokenizer"
)

# %% [markdown]
# ```{admonition} Three ways to a student that never stops
# :class: warning
# - **Padding with the end-of-sequence token and masking by id.** Every real end is masked together with the padding.
#   Mask by position.
# - **Cutting rows at the context's end.** The cut takes the last turn's end with it. We shorten to whole exchanges.
# - **A mask that ends before the end token.** Look at the drawing above: the dashed line has to reach it.
# ```

# %% [markdown]
# ### From rows to a batch
#
# A trainer reads a *batch*: rows of one length, a mask that says what is padding, and *labels*, which are the token ids
# where a token counts and −100 where it does not. The shift by one is left to the loss. The function that makes a batch
# is called a *collator*. Errors in it are common and silent.

# %% [markdown]
# ````{exercise} The collator and its mask
# :label: ex-02-collate
#
# **Difficulty** ●●●●○ · **Minutes** 25
#
# Write `collate(rows, pad_id)`. Each row has `ids`, a list of token ids, and `counts`, 1 where a token counts in the loss
# and 0 where it does not. Return a dictionary of three tensors (rows, longest row): `input_ids`, padded on the right
# with `pad_id`; `attention_mask`, 1 for tokens and 0 for padding; `labels` as above. Be careful: `pad_id` may also be the
# id that ends a turn. The training below runs on your function once it passes.
# ````

# %% tags=["exercise"]
def collate(rows, pad_id):
    ...


exercises.check_collate(collate)
collate = exercises.yours(collate, exercises.check_collate)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# Start with three tensors of the final shape, filled with `pad_id`, 0 and −100, and write each row into its line.
# ```
#
# ```{admonition} Hint 2
# :class: tip dropdown
# `tokens.where(counts == 1, -100)` gives the labels of one row. It asks about the position, never about the id.
# ```
#
# ````{solution} ex-02-collate
# :class: dropdown
# ```python
# def collate(rows, pad_id):
#     width = max(len(row["ids"]) for row in rows)
#     ids = torch.full((len(rows), width), pad_id)
#     mask, labels = torch.zeros_like(ids), torch.full_like(ids, -100)
#     for line, row in enumerate(rows):
#         tokens, counts = torch.tensor(row["ids"]), torch.tensor(row["counts"])
#         ids[line, : len(tokens)] = tokens
#         mask[line, : len(tokens)] = 1
#         labels[line, : len(tokens)] = tokens.where(counts == 1, -100)
#     return {"input_ids": ids, "attention_mask": mask, "labels": labels}
# ```
# ````

# %% [markdown]
# Two rows of one dialogue, one with all tokens, one with the assistant's alone. The shift drops the label of the first
# token, which nothing precedes: with all tokens, one fewer prediction counts than there are labels. (Where a template does
# not mark what the assistant writes, no token of the second row counts.)

# %%
def encoded(messages, assistant_only=False):
    ids, labels = chat.encode(tokenizer, messages, assistant_only=assistant_only)
    return {"ids": ids, "counts": [int(label != -100) for label in labels]}


batch = collate([encoded(talk), encoded(talk, True)], tokenizer.pad_token_id)
for name, labels in zip(("all tokens", "assistant only"), batch["labels"], strict=True):
    counted, n_predictions = labels[labels != -100], (labels[1:] != -100).sum()
    print(
        f"{name:>14}: {len(counted)} labels, {n_predictions} predictions count: "
        f"{tokenizer.decode(counted)!r}"
    )

# %% [markdown]
# ### Where the base model's loss lies
#
# Before training, ask the base what it finds hard. We sort each token into one of five parts: the *marker* of a turn, the
# *end* token of a turn, the *line break* that the template writes after it, the *user's* words (and those of a system
# turn), the *assistant's* words. What is not a message's content was written by the template.

# %%
def speakers(text, messages):
    """Whose words the characters of a rendered conversation are: place -> name."""
    words, place = {}, 0
    for message in messages:
        content = message["content"].strip()  # some templates strip it, too
        begin = text.index(content, place)
        place = begin + len(content)
        name = "assistant" if message["role"] == "assistant" else "user"
        words |= dict.fromkeys(range(begin, place), name)
    return words


def parts(views, messages):
    """The part each token belongs to: marker, end, line break, user or assistant."""
    words, place, names = speakers("".join(v.text for v in views), messages), 0, []
    for view in views:
        if view.id == tokenizer.eos_token_id:
            names.append("end")
        elif names and names[-1] == "end" and view.text == "\n":
            names.append("line break")
        else:  # a token without text is a further piece of the character before
            names.append(words.get(place, "marker") if view.text else names[-1])
        place += len(view.text)
    return names

# %%
def loss_by_part(model, rows):
    """Mean loss per token of each part, in nats, and the part's share of all tokens."""
    by_part = defaultdict(list)
    for row in rows:
        views = chat.token_view(tokenizer, row["messages"], assistant_only=False)
        losses = token_losses(model, [view.id for view in views])
        for name, loss in zip(parts(views, row["messages"])[1:], losses, strict=True):
            by_part[name].append(loss.item())
    total = sum(map(len, by_part.values()))
    return {
        name: (sum(values) / len(values), len(values) / total)
        for name, values in sorted(by_part.items())
    }

# %% tags=["remove-input"]
lessons.predict(
    "The miniature's base has read questions with their answers, but never in this "
    "template. Which part has the highest loss per token under the base of this run?",
    [
        "the marker of a turn",
        "the end token of a turn",
        "the line break after an end token",
        "the user's words",
        "the assistant's words",
    ],
    key="base-parts",
)

# %% tags=["hide-output"]
PARTS = ("marker", "end", "line break", "user", "assistant")
before_by_part = loss_by_part(base, sample)
by_loss = sorted(before_by_part, key=lambda name: -before_by_part[name][0])
blind = math.log(len(tokenizer))
display(Markdown(markdown_table(
    ("part", "nats per token", "of the tokens"),
    [
        (name, f"{loss:.2f}", f"{100 * share:.0f} %")
        for name, (loss, share) in ((name, before_by_part[name]) for name in by_loss)
    ],
    numbers=(1, 2),
)))
form_loss = max(before_by_part[name][0] for name in by_loss if name in PARTS[:3])
print(f"a blind guess among {len(tokenizer):,} tokens: {blind:.2f} nats")

# %% tags=["remove-input"]
lessons.explain(
    f"From the highest to the lowest: {', '.join(by_loss)}. A blind guess would cost "
    f"{blind:.2f} nats; the end of a turn costs {before_by_part['end'][0]:.2f} and "
    f"the assistant's words {before_by_part['assistant'][0]:.2f}. "
    + (
        "What is missing most is not knowledge but form. A base has met the end token "
        "where a document is over; here each turn ends with it, a question too, and a "
        "line break follows. A small adapter learns that in one or two passes."
        if form_loss > blind / 2
        else "Nothing of the form costs half as much as a blind guess: this base "
        "has seen a chat's form before. What is left of it is what the template writes "
        "by itself, a system turn of its own included: a model that was trained on "
        "answers alone never had to predict that."
    ),
    key="base-parts",
    answer=PARTS.index(by_loss[0]),
)

# %% [markdown]
# ## Rows that fit
#
# A model's context is limited. A row that is too long can be cut, dropped, or shortened to whole exchanges. Only the last
# keeps the row *and* the end of every answer.

# %%
recipe = pipeline.recipe("dsft")
# the rows that the training below takes
train, held_out, fitted = pipeline.split_dialogues()
print(fitted.report())
print(
    f"{len(fitted.rows):,} rows = {len(train):,} to train on + {len(held_out):,} held "
    "out, by a hash of the prompt"
)

# %% tags=["hide-input"]
lengths = [len(chat.encode(tokenizer, row["messages"])[0]) for row in train]
fig = figures.length_histogram(
    {"dialogues to train on": lengths}, limit=recipe["max_length"]
)
figures.show(
    fig,
    alt=(
        f"Histogram of the lengths of {len(lengths)} dialogues: from {min(lengths)} to "
        f"{max(lengths)} tokens; the context holds {recipe['max_length']}."
    ),
    caption="How long the dialogues are, in tokens of the student's own tokenizer.",
)

# %% [markdown]
# To see what shortening does, pretend that the context were as short as the median dialogue:

# %%
tight = sorted(lengths)[len(lengths) // 2]
shortened = fit_dialogues(tokenizer, train[:500], tight)
print(f"context {tight}:", shortened.report())
cut = [chat.encode(tokenizer, row["messages"])[0][:tight] for row in train[:500]]
kept = [chat.encode(tokenizer, row["messages"])[0] for row in shortened.rows]
for name, rows in (("a plain cut", cut), ("whole exchanges", kept)):
    lost = sum(tokenizer.eos_token_id not in ids[-2:] for ids in rows)
    print(f"{name}: {lost} of {len(rows)} rows have lost their end")

# %% [markdown]
# ### Packing, and who may see whom
#
# Padding is wasted work. *Packing* lays several dialogues end to end in one row; Zephyr's authors packed to 2,048 tokens.
# The question is what the second dialogue may attend to. In Hugging Face's transformers the *positions* decide.

# %% [markdown]
# ```{exercise} Positions of a packed row
# :label: ex-02-positions
#
# **Difficulty** ●○○○○ · **Minutes** 5
#
# Texts of the given lengths lie end to end in one row. Write `positions(lengths)`: return a flat list with one position per
# token, the same that each text would have if it were alone.
# ```

# %% tags=["exercise"]
def positions(lengths):
    ...


exercises.check_packed_positions(positions)
positions = exercises.yours(positions, exercises.check_packed_positions)

# %% [markdown]
# ```{admonition} Hint
# :class: tip dropdown
# `range(length)` for each text, joined into one list.
# ```
#
# ````{solution} ex-02-positions
# :class: dropdown
# ```python
# def positions(lengths):
#     return [place for length in lengths for place in range(length)]
# ```
# ````

# %% tags=["remove-input"]
lessons.predict(
    "Now lay two dialogues end to end with positions that *run on*, and sum the losses "
    "of all tokens but the first of each. How does the sum, in the mean over many "
    "pairs of neighbours, compare with that of the dialogues read alone?",
    ["it is higher", "it is lower", "no difference that these pairs show"],
    key="packing",
)

# %% tags=["hide-output"]
@torch.no_grad()
def packed_loss(one, two, places):
    """Sum of the token losses of two texts in one row, in nats."""
    row = torch.tensor([one + two], device=base.device)
    places = torch.tensor([places], device=base.device)
    scores = base(input_ids=row, position_ids=places, use_cache=False).logits[0]
    losses = F.cross_entropy(scores[:-1].float(), row[0, 1:], reduction="none")
    # without the seam, where the first text predicts the second's first token
    return (losses.sum() - losses[len(one) - 1]).item()


texts = [chat.encode(tokenizer, row["messages"])[0] for row in train[: 2 * looked_at]]
of_pairs = defaultdict(list)
for one, two in zip(texts[::2], texts[1::2], strict=False):
    alone = sum(token_losses(base, text).sum().item() for text in (one, two))
    again = packed_loss(one, two, list(positions([len(one), len(two)])))
    assert math.isclose(alone, again, rel_tol=1e-3), (
        "packed rows must not see their neighbours: reset the positions at each seam"
    )
    of_pairs["alone"].append(alone)
    of_pairs["start again"].append(again)
    of_pairs["run on"].append(packed_loss(one, two, [*range(len(one + two))]))
pair_loss = {name: sum(values) / len(values) for name, values in of_pairs.items()}
print(*(f"{name} {loss:.2f}" for name, loss in pair_loss.items()), sep=", ")
change = paired_difference(of_pairs["run on"], of_pairs["alone"])
print(f"run on − alone: {change}")

# %% tags=["remove-input"]
lessons.explain(
    f"Read alone, two dialogues have a loss of {pair_loss['alone']:.1f} nats, in the "
    f"mean of {change.n} pairs. With your positions, transformers recognises two "
    f"sequences and masks one from the other: {pair_loss['start again']:.1f}. With "
    "positions that run on, the second dialogue attends to the first, and the sum "
    f"changes by {change.mean:+.2f} nats (interval {change.low:+.2f} to "
    f"{change.high:+.2f}). A lower loss would be no gain here: at inference there is "
    "no neighbour, so the student is trained on what it will not meet. Zephyr's run "
    "was packed in this way, and rows were cut where the context ended. Today's "
    "`packing_strategy: bfd` (best fit, decreasing: the longest first, each where it "
    "leaves the least room) keeps neighbours apart.",
    key="packing",
    answer=0 if change.low > 0 else 1 if change.high < 0 else 2,
)

# %% [markdown]
# The same for four exchanges of the miniature, in a context of 64 tokens:
#
# ![Above, four dialogues of 45, 37, 26, 19 tokens, each padded to the longest: 53 of 180 positions are padding. In the
# middle, the same dialogues in two rows of 64; positions start again at each dialogue. Below, who may see whom in the
# second row: two triangles, one for each dialogue. The block in which the second would see the first is
# hatched.](figures/packing.svg)
#
# *Padded, every row is as long as the longest. Packed by best fit, decreasing, the same four fill two rows almost
# without a gap, and the mask keeps neighbours apart.*
#
# Grouping rows of similar length, which the miniature's recipe does, saves about as much padding without packing. And
# packing has a trap. In the authors' first run 207,865 dialogues became some 139,000 rows, but the learning-rate schedule
# was sized for the unpacked count, so the run ended before the rate had come down. Plot the schedule before you train, as
# we do below.

# %% [markdown]
# ## LoRA: a change of low rank
#
# Full fine-tuning moves every weight $W \in \mathbb R^{m \times n}$ by some $\Delta W$. LoRA {cite:p}`hu2022lora` allows
# only changes of rank $r$:
#
# $$\Delta W = \frac{\alpha}{r} B A, \qquad A \in \mathbb R^{r \times n}, \quad B \in \mathbb R^{m \times r}.$$ (eq-02-lora)
#
# $W$ stays frozen. $A$ starts random and $B$ at zero, so training starts exactly at the base model. Few directions suffice
# because fine-tuning mostly re-weights what pretraining has learned (LoRA's section 7 finds little gain above a rank of 4).
# The factor $\alpha / r$ is meant to spare a new search for the learning rate when the rank is changed. Drawn to scale for
# the layer that is built below, the change is two strips beside a block:
#
# ![The state x takes two paths. Above: the frozen weight W, 448 by 160, a grey rectangle. Below: A, a flat strip of 16
# by 160, then B, an upright strip of 448 by 16, which begins at zero; both are trained. Their product, scaled by alpha
# over r, is added to that of W. All are drawn to one scale.](figures/lora.svg)
#
# *What one token's state $x$ passes through. The block is frozen; only the two strips are trained. While $B$ is zero
# the lower path adds nothing.*

# %%
class LoRALinear(torch.nn.Module):
    """W x + alpha / r * B A x, with W frozen."""

    def __init__(self, linear, rank, alpha):
        super().__init__()
        self.linear, self.scale = linear.requires_grad_(False), alpha / rank
        self.A = torch.nn.Parameter(torch.randn(rank, linear.in_features) / rank)
        self.B = torch.nn.Parameter(torch.zeros(linear.out_features, rank))

    def forward(self, x):
        return self.linear(x) + self.scale * (x @ self.A.T @ self.B.T)

# %% [markdown]
# ```{exercise} Merge an adapter
# :label: ex-02-merge
#
# **Difficulty** ●●○○○ · **Minutes** 10
#
# The layer above equals a plain one with another weight, so an adapter can be *merged* when training is over. Write
# `merge(weight, a, b, alpha)`: return that other weight, (out, in). `weight` is (out, in), `a` (rank, in), `b` (out, rank).
# ```

# %% tags=["exercise"]
def merge(weight, a, b, alpha):
    ...


exercises.check_merge(merge)
merge = exercises.yours(merge, exercises.check_merge)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# The shapes leave one order: (out, rank) times (rank, in).
# ```
#
# ```{admonition} Hint 2
# :class: tip dropdown
# The rank is the number of rows of `a`; the scale is alpha divided by it.
# ```
#
# ````{solution} ex-02-merge
# :class: dropdown
# ```python
# def merge(weight, a, b, alpha):
#     return weight + alpha / len(a) * b @ a
# ```
# ````

# %%
torch.manual_seed(0)
layer = LoRALinear(torch.nn.Linear(160, 448, bias=False), rank=16, alpha=32)
x = torch.randn(5, 160)
assert torch.equal(layer(x), layer.linear(x)), (
    "B starts at zero, so the first step starts at the base model"
)
layer.B.data.normal_()
merged_weight = merge(layer.linear.weight, layer.A, layer.B, alpha=32)
gap = (layer(x) - x @ merged_weight.T).abs().max().item()
print(f"largest difference, adapter against merged: {gap:.1e}")
assert torch.allclose(layer(x), x @ merged_weight.T, atol=1e-3)

# %% [markdown]
# ```{exercise} Count an adapter
# :label: ex-02-count
#
# **Difficulty** ●●○○○ · **Minutes** 10
#
# Write `count(shapes, rank)`: return the number of trainable parameters of LoRA adapters of that rank on weights of the
# given shapes (out, in).
# ```

# %% tags=["exercise"]
def count(shapes, rank):
    ...


exercises.check_lora_count(count)
count = exercises.yours(count, exercises.check_lora_count)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# Each matrix gets two: A is (rank, in), B is (out, rank).
# ```
#
# ```{admonition} Hint 2
# :class: tip dropdown
# The scale alpha / r is a constant, and the frozen weight is not trained.
# ```
#
# ````{solution} ex-02-count
# :class: dropdown
# ```python
# def count(shapes, rank):
#     return sum(rank * (out + inside) for out, inside in shapes)
# ```
# ````

# %% tags=["remove-input"]
lessons.predict(
    "The recipe puts adapters on all seven matrices of each layer, of the same rank "
    "in the miniature and in Mistral-7B. In which of the two are the adapter's "
    "parameters the larger share of the model's?",
    ["in the miniature", "in Mistral-7B", "about the same in both"],
    0,
    key="lora-share",
)

# %% tags=["hide-output"]
rank, named = recipe.get("lora_r", 16), recipe.get("lora_target_modules", [])
shapes = [
    tuple(module.weight.shape)
    for name, module in base.named_modules()
    if name.split(".")[-1] in named
]
predicted = count(shapes, rank)
share = predicted / base.num_parameters()
print(
    f"{len(shapes)} matrices, {predicted:,} of {base.num_parameters():,}: "
    f"{100 * share:.2f} %"
)
# Mistral-7B: width, width of keys and values, width of the feed-forward
h, kv, f = 4096, 1024, 14336
mistral = 32 * count([(h, h), (h, h), (kv, h), (kv, h), (f, h), (f, h), (h, f)], rank)
mistral_share = mistral / 7.24e9
print(f"Mistral-7B at rank {rank}: {mistral:,}: {100 * mistral_share:.2f} %")

# %% tags=["remove-input"]
lessons.explain(
    f"{share:.1%} of the model here, {mistral_share:.1%} of Mistral-7B. Weights grow "
    "with $m \\cdot n$, adapters with $m + n$: the larger the model, the smaller the "
    "adapter's share. On a small model LoRA saves little; we use it because the "
    "code, the reference model of chapter 05 and the habits are those of the large "
    "scale. The paper itself trained all weights.",
    key="lora-share",
)

# %% [markdown]
# ## Training, in the open
#
# Everything is there: rows, collator, adapter, loss. Now take twenty *optimiser steps* (from here on: steps) in plain
# PyTorch. (At a larger scale this section still trains the miniature, because its subject is the loop.)

# %%
shown = pipeline
if pipeline.scale != "miniature":
    shown = Pipeline(scale="miniature", runs=runs)
short = {
    **shown.recipe("dsft"),
    "num_train_epochs": 1, "lr_scheduler_type": "constant", "warmup_steps": 0,
    "train_sampling_strategy": "sequential", "logging_steps": 1,
}
size, rate = short["per_device_train_batch_size"], short["learning_rate"]
start, scratch = shown.model_directory("base"), Path(tempfile.mkdtemp())
shown_train, shown_held_out, _ = shown.split_dialogues()
few = shown_train[: 20 * size]

# %% [markdown]
# A fresh base model with a fresh adapter. PEFT's `get_peft_model` puts a layer like `LoRALinear` around each of the named
# matrices; the seed decides their $A$.

# %%
model, tokens_of = chat.load_model(start)
chat.prepare_tokenizer(tokens_of)
set_seed(short["seed"])
model = get_peft_model(model, training.lora_config(short)).train()
trainable = [weight for weight in model.parameters() if weight.requires_grad]
optimizer = torch.optim.AdamW(trainable, lr=rate, weight_decay=0.0)

# %% [markdown]
# The loop. All of dSFT is in it.

# %%
by_hand_losses = []
for first in range(0, len(few), size):
    rows = []
    for row in few[first : first + size]:
        ids, _ = chat.encode(tokens_of, row["messages"])
        rows.append({"ids": ids, "counts": [1] * len(ids)})  # all tokens
    batch = collate(rows, tokens_of.pad_token_id)
    batch = {name: values.to(model.device) for name, values in batch.items()}
    labels = batch.pop("labels")
    scores = model(**batch).logits
    # position t predicts token t + 1; labels of -100 are skipped
    loss = F.cross_entropy(scores[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(trainable, short["max_grad_norm"])
    optimizer.step()
    by_hand_losses.append(loss.item())
print(f"{len(by_hand_losses)} steps, loss {by_hand_losses[0]:.3f} to {loss:.3f}")

# %% tags=["remove-input"]
lessons.predict(
    "Now TRL's `SFTTrainer` and the package's `training.dsft` get the same rows, "
    "order, seed and rate. How far will their losses be from those of the loop?",
    [
        "not at all, or in the sixth decimal",
        "in the third decimal: trainers add something of their own",
        "further with every step",
    ],
    key="three-ways",
)

# %%
trainer = trl.SFTTrainer(
    model=chat.load_model(start)[0],
    args=trl.SFTConfig(
        output_dir=scratch / "trl", seed=short["seed"], report_to="none",
        num_train_epochs=1, per_device_train_batch_size=size, learning_rate=rate,
        lr_scheduler_type="constant", optim="adamw_torch", weight_decay=0.0,
        max_grad_norm=short["max_grad_norm"], train_sampling_strategy="sequential",
        max_length=short["max_length"], logging_steps=1, save_strategy="no",
        # TRL's defaults are bf16 and recomputed activations, on a CPU as well
        bf16=False, gradient_checkpointing=False, disable_tqdm=True,
        use_cpu=not torch.cuda.is_available(),
    ),
    train_dataset=Dataset.from_list([{"messages": row["messages"]} for row in few]),
    processing_class=tokens_of,
    peft_config=training.lora_config(short),
)
trainer.remove_callback(PrinterCallback)

# %% tags=["hide-output"]
trainer.train()
packaged = training.dsft(start, few, shown_held_out, scratch / "package", short)
trl_losses, package_losses = (
    [entry["loss"] for entry in log if "loss" in entry]
    for log in (trainer.state.log_history, packaged.log)
)

# %% tags=["hide-output"]
print("step   by hand       TRL   package")
for step in (0, 1, len(few) // size - 1):
    three = by_hand_losses[step], trl_losses[step], package_losses[step]
    print(f"{step + 1:4}", *(f"{loss:9.6f}" for loss in three))
gaps = [
    max(abs(a - b) for a, b in zip(by_hand_losses, other, strict=True))
    for other in (trl_losses, package_losses)
]
print(f"largest gap to the loop: TRL {gaps[0]:.1e}, package {gaps[1]:.1e}")
if not torch.cuda.is_available():
    assert max(gaps) < 5e-6, "the loops differ: in rows, order, mask, seed or rate?"

# %% tags=["remove-input"]
lessons.explain(
    f"Over {len(by_hand_losses)} steps the loop and TRL are at most {gaps[0]:.1e} "
    f"apart, the loop and the package {gaps[1]:.1e}: `float32` rounding, since sums "
    "are taken in another order. A trainer is your loop with conveniences: logging, "
    "checkpoints, several devices, schedules. If the two differ visibly, so does one "
    "of five things: the rows, their order, the mask, the seed or the learning rate.",
    key="three-ways",
    answer=0 if max(gaps) < 1e-4 else 1,
)

# %% [markdown]
# ## The recipe, and its schedule before a step is taken
#
# The paper trained one to three epochs on 200,000 dialogues with a schedule: the learning rate rises for a tenth of the
# steps and falls along a cosine. Compute it before training, from the rows that are really trained on.

# %%
step_rows = (
    recipe["per_device_train_batch_size"] * recipe["gradient_accumulation_steps"]
)
steps = math.ceil(math.ceil(len(train) / step_rows) * recipe["num_train_epochs"])
if recipe.get("max_steps", -1) > 0:  # it replaces the epochs
    steps = recipe["max_steps"]
nothing = [torch.nn.Parameter(torch.zeros(1))]
optimizer = torch.optim.AdamW(nothing, recipe["learning_rate"])
warm_up = math.ceil(recipe["warmup_steps"] * steps)
schedule = get_scheduler(recipe["lr_scheduler_type"], optimizer, warm_up, steps)
rates = []
for _ in range(steps):
    rates.append(optimizer.param_groups[0]["lr"])
    optimizer.step()
    schedule.step()

# %% tags=["hide-input"]
figures.show(
    figures.learning_rate_schedule(range(1, steps + 1), rates),
    alt=(
        f"The learning rate climbs in the first tenth of {steps} steps to "
        f"{max(rates):.0e} and falls along a cosine to nearly zero."
    ),
    caption=(
        "The learning rate of every step to come, "
        "computed from the recipe and the number of rows."
    ),
)
assert optimizer.param_groups[0]["lr"] < 1e-3 * max(rates), (
    "the schedule does not come down: "
    "does it count the rows that are really trained on?"
)

# %% [markdown]
# ### The same values in paper, code and here
#
# "Code" is the authors' public recipe, as first published (November 2023) and as it stands since 2025.
#
# | | paper | code, first | code, later | why it matters |
# |---|---|---|---|---|
# | epochs | 1 (1 to 3 tried) | 1 | 1 | more epochs of dSFT made longer dDPO regress |
# | learning rate | 2e-5 | 2e-5 | 2e-5 | all weights; adapters need ten times that and more |
# | schedule | cosine, 10 % warm-up | cosine, no warm-up | cosine, 10 % warm-up | see packing above |
# | effective batch | 512 | 512 | 128 | |
# | length | 2,048, packed | 2,048, packed | 2,048, packing no longer set | tokens per step |
# | loss on | not said | all tokens | all tokens | see the mask above |
# | optimiser | AdamW, no weight decay | AdamW | AdamW | |
# | weights trained | all | all | all | LoRA in a recipe of its own |
#
# Here:

# %%
for name in (
    "num_train_epochs", "learning_rate", "lr_scheduler_type", "warmup_steps",
    "max_length", "packing", "assistant_only_loss", "optim", "lora_r", "lora_alpha",
):
    print(f"{name:>20}: {recipe.get(name, 'all weights are trained')}")
print(f"{'effective batch':>20}: {step_rows}")

# %% [markdown]
# ## The training
#
# `pipeline.dsft()` runs the package's version on all rows. If the pipeline has been run before, it reads what that run
# left; if not, it trains now: the miniature in a few minutes on two cores.

# %%
sft = pipeline.dsft()
before, after = sft.results["held_out_loss_before"], sft.results["held_out_loss"]
entries = json.loads((sft.folder / training.LOG).read_text())
log = [entry for entry in entries if "loss" in entry]
print(
    f"{'reused' if sft.reused else 'trained'}: "
    f"{sft.seconds:.0f} s when it was trained, "
    f"on {sft.rows['rows_trained']:,} dialogues"
)
print(f"held-out loss {before:.3f} before, {after:.3f} after, nats per token")

# %% tags=["hide-input"]
every = recipe.get("logging_steps", 10)
second = {
    entry["step"]: entry["loss"] for entry in log if entry["step"] > log[-1]["step"] / 2
}
level = dict.fromkeys((min(second), max(second)), after)
ends = [
    n * log[-1]["step"] / log[-1]["epoch"]
    for n in range(1, math.ceil(log[-1]["epoch"]))
]
figures.show(
    figures.loss_curve(
        {"training": {entry["step"]: entry["loss"] for entry in log}}, epoch_ends=ends
    ),
    alt=(
        f"The training loss is {log[0]['loss']:.1f} at step {log[0]['step']} "
        f"and ends at {log[-1]['loss']:.2f}."
        + "".join(f" An epoch ends at step {step:.0f}." for step in ends)
    ),
    caption="Training loss, each point "
    f"{'one step' if every == 1 else f'a mean over {every} steps'}."
    f"{' Dashed: the end of an epoch.' if ends else ''}",
)
figures.show(
    figures.loss_curve(
        {"training": second, "held out, after": level},
        epoch_ends=[step for step in ends if step > min(second)],
    ),
    alt=(
        f"The loss of the second half runs between {min(second.values()):.2f} and "
        f"{max(second.values()):.2f}; the held-out loss is {after:.2f}."
        + "".join(
            f" An epoch ends at step {step:.0f}." for step in ends if step > min(second)
        )
    ),
    caption=(
        "The second half on its own scale; "
        "the level line is the held-out loss of the finished model."
    ),
)

# %% [markdown]
# A base that has never met the template learns the format in the steep fall at the beginning. The noise after it is not
# learning: each batch has rows of about one length, and short rows have another loss than long ones. (The batches are
# shuffled. The library's own sampler leaves them sorted by length within groups of fifty: the curve would be a sawtooth, and
# length would be tied to the learning rate.) So no single figure of the log is the model's loss.
#
# A dashed line is the end of an epoch, in a run of more than one: right of it, every row has been seen before. A drop of the
# training loss there may be memory; the held-out loss tells.

# %% [markdown]
# ```{exercise} The loss of a log
# :label: ex-02-log
#
# **Difficulty** ●●○○○ · **Minutes** 10
#
# Each entry of TRL's log has `loss`, the mean per token since the entry before, and `num_tokens`, the tokens of the run so
# far. Write `log_loss(log)` for a list of entries: return the token-weighted mean loss over all of them.
# ```

# %% tags=["exercise"]
def log_loss(log):
    ...


exercises.check_log_loss(log_loss)
log_loss = exercises.yours(log_loss, exercises.check_log_loss)

# %% [markdown]
# ```{admonition} Hint
# :class: tip dropdown
# The weight of an entry is its `num_tokens` minus that of the entry before; the first counts from 0.
# ```
#
# ````{solution} ex-02-log
# :class: dropdown
# ```python
# def log_loss(log):
#     total, so_far = 0.0, 0
#     for entry in log:
#         total += entry["loss"] * (entry["num_tokens"] - so_far)
#         so_far = entry["num_tokens"]
#     return total / so_far
# ```
# ````

# %%
half = len(log) // 2
from_there = log[half - 1]["num_tokens"] if half else 0
late = [
    {**entry, "num_tokens": entry["num_tokens"] - from_there} for entry in log[half:]
]
print(
    f"last figure of the log {log[-1]['loss']:.3f}, second half by tokens "
    f"{log_loss(late):.3f}, held out {after:.3f}"
)
gap = max(
    abs(entry["learning_rate"] - rates[entry["step"] - 1])
    for entry in log
    if entry["step"] <= steps
)
print(f"largest gap between the planned and the logged learning rate: {gap:.1e}")
assert gap < 0.05 * max(rates), (
    "plan and log differ: was another number of rows trained on than you counted?"
)

# %% tags=["remove-input"]
lessons.predict(
    "Take the trained student and one set of held-out dialogues, sorted by length, "
    "in batches of 1, 8 and 32. A trainer often reports the mean of its batches' "
    "means. Where will that lie, in batches of 1, against the token-weighted loss?",
    ["above it", "below it", "at the same value"],
    key="means",
)

# %% tags=["hide-output"]
student, _ = chat.load_model(sft.folder / training.MODEL)
losses = sorted(
    (token_losses(student, encoded(row["messages"])["ids"]) for row in held_out[:96]),
    key=len,
)
by_token = torch.cat(losses).mean().item()
by_batch = {}
for size in (1, 8, 32):
    batches = [torch.cat(losses[n : n + size]) for n in range(0, len(losses), size)]
    by_batch[size] = sum(batch.mean().item() for batch in batches) / len(batches)
    print(f"batches of {size:2}: mean of means {by_batch[size]:.4f}")
print(f"token-weighted:  {by_token:.4f}")
sizes = torch.tensor([float(len(loss)) for loss in losses])
means = torch.stack([loss.mean() for loss in losses])
covariance = ((sizes - sizes.mean()) * (means - means.mean())).mean()
lean = -(covariance / sizes.mean()).item()
print(f"minus covariance of length and loss, over mean length: {lean:+.4f}")
assert math.isclose(by_batch[1] - by_token, lean, abs_tol=1e-4), (
    "the gap is not the covariance: are all losses per token?"
)

# %% tags=["remove-input"]
lessons.explain(
    f"{by_batch[1]:.4f} in batches of one, {by_batch[32]:.4f} in batches of {32}, "
    f"{by_token:.4f} by tokens: several numbers for one model. In a mean of means a "
    "token of a short dialogue weighs more than one of a long dialogue. So the gap for "
    "batches of one is minus the covariance of a dialogue's length and its mean loss, "
    f"divided by the mean length: {lean:+.4f}. Never compare two runs by numbers that "
    "depend on the batch size.",
    key="means",
    answer=2 if abs(lean) < 5e-5 else 0 if lean > 0 else 1,
)

# %% [markdown]
# ### What the student has learned, part by part

# %% tags=["remove-input"]
lessons.predict(
    "The same five parts as before, now after training. Which keeps the highest loss "
    "per token?",
    [
        "the marker of a turn",
        "the end token of a turn",
        "the line break after an end token",
        "the user's words",
        "the assistant's words",
    ],
    key="student-parts",
)

# %% tags=["hide-output"]
before_by_part, after_by_part = (
    loss_by_part(model, held_out[:looked_at]) for model in (base, student)
)
hardest = max(after_by_part, key=lambda name: after_by_part[name][0])
falls = {  # of the mean loss, in nats per token
    name: share * (before_by_part[name][0] - loss)
    for name, (loss, share) in after_by_part.items()
}
form = sum(falls.get(name, 0.0) for name in PARTS[:3]) / max(sum(falls.values()), 1e-9)
display(Markdown(markdown_table(
    ("part", "before", "after", "of tokens", "of the mean"),
    [
        (
            name, f"{before_by_part[name][0]:.2f}", f"{loss:.2f}",
            f"{100 * share:.0f} %", f"{share * loss:.2f}",
        )
        for name, (loss, share) in after_by_part.items()
    ],
    numbers=range(1, 5),
)))

# %% tags=["remove-input"]
lessons.explain(
    f"Markers are at {after_by_part['marker'][0]:.2f} and ends of turns at "
    f"{after_by_part['end'][0]:.2f}, after {before_by_part['marker'][0]:.2f} and "
    f"{before_by_part['end'][0]:.2f}: that is the format"
    + (
        f", with the line breaks {form:.0%} of the fall of the mean loss"
        if 0 < form < 1
        else ""
    )
    + ". The assistant's words are at "
    f"{after_by_part['assistant'][0]:.2f}, the user's at "
    f"{after_by_part['user'][0]:.2f}. Much of what remains cannot be predicted: "
    "questions name people and numbers, and the teacher varies its phrases. Zephyr's "
    "loss counts all tokens, so it includes the user's words.",
    key="student-parts",
    answer=PARTS.index(hardest),
)

# %% [markdown]
# ```{admonition} New tokens need trainable rows
# :class: note dropdown
# Zephyr's markers are easy to learn because their parts are known: to Mistral `<`, `|` and `user` are ordinary tokens
# whose rows of the embedding matrix are trained. **LoRA on the attention and feed-forward matrices moves no row of the
# embedding**, so a token that pretraining never saw stays what it was: the student can learn *that* a new token comes, but
# not *which*. If a template needs tokens of its own, train their rows (PEFT's `modules_to_save` or
# `trainable_token_indices`).
# ```

# %% [markdown]
# ### The merged model is the adapter's model
#
# The pipeline keeps the adapter beside the merged model. Load base and adapter, and compare with what was merged:

# %%
if (sft.folder / training.ADAPTER).is_dir():
    fresh, _ = chat.load_model(pipeline.model_directory("base"))
    adapted = PeftModel.from_pretrained(fresh, sft.folder / training.ADAPTER).eval()
    counted = sum(p.numel() for n, p in adapted.named_parameters() if "lora_" in n)
    print(f"adapter holds {counted:,} numbers, predicted {predicted:,}")
    ids = encoded(held_out[0]["messages"])["ids"]
    gap = (token_losses(adapted, ids) - token_losses(student, ids)).abs().max().item()
    print(f"largest difference of a token's loss: {gap:.1e} nats")
    assert counted == predicted, (
        "an adapter of another recipe? look at lora_r and lora_target_modules"
    )
    assert gap < (1e-2 if "bfloat16" not in str(student.dtype) else 0.5), (
        "the merged weights are not base + adapter"
    )

# %% [markdown]
# ## The answers, before and after

# %% tags=["remove-input"]
lessons.predict(
    "Both models are asked the same held-out questions and may write up to 96 "
    "tokens. Which of them will give the longer answers?",
    ["the base", "the student", "both about the same"],
    key="longer",
)

# %% tags=["hide-input"]
by_category = {question["category"]: question for question in pipeline.questions()}
questions = list(by_category.values())  # one of each category
asked = [[{"role": "user", "content": question["turns"][0]}] for question in questions]
answers = [
    chat.generate(model, tokenizer, asked, temperature=0.0, max_new_tokens=96)
    for model in (base, student)
]


def shorten(text):
    text = text if len(text) < 160 else text[:160] + " ..."
    return text or "(nothing: it ended at once)"


rows = [
    {"prompt": question["turns"][0], "base": shorten(a.text), "dSFT": shorten(b.text)}
    for question, a, b in zip(questions, *answers, strict=True)
]
caption = "Greedy answers to one held-out question of each category."
display(HTML(before_after_table(rows, caption=caption)))

# %% [markdown]
# Now all questions of the scale's exam, both turns, graded from 1 to 10 by its judge: in the miniature a rule-based
# teacher, at other scales a program that checks each answer (how far to trust them: [Chapter 07](07_evaluation)).

# %% tags=["hide-output"]
exam = pipeline.setting.exam
print(f"judge: {exam.judge_description}; temperature {exam.temperature:g}")
graded = {
    name: manifest.results
    for name, manifest in pipeline.evaluation(("base", "dsft")).items()
}
display(Markdown(markdown_table(
    ("model", "ends by itself", "right", "grade", "tokens per answer"),
    [
        (
            name, f"{100 * one['ended']:.0f} %", f"{100 * one['right']:.0f} %",
            f"{one['score']:.2f}", f"{one['tokens']:.0f}",
        )
        for name, one in graded.items()
    ],
    numbers=range(1, 5),
)))

# %% tags=["remove-input"]
lessons.explain(
    f"The base writes {graded['base']['tokens']:.0f} tokens per answer and ends by "
    f"itself in {graded['base']['ended']:.0%} of cases, the student "
    f"{graded['dsft']['tokens']:.0f} and {graded['dsft']['ended']:.0%}. "
    + (
        "Where the base writes at all, it often goes on to a second question that "
        "nobody asked, as the table shows: it knows the end of a *document*. The "
        "student stops at the end of an *answer*. "
        if graded["base"]["ended"] < 0.5 < graded["dsft"]["ended"]
        else "The base stops too, but where its *documents* stop; dSFT teaches where a "
        "*turn* stops, and what to say before it. "
        if graded["base"]["ended"] > 0.5
        else "Neither ends most of its answers by itself. "
    )
    + f"The student is right in {graded['dsft']['right']:.0%} of answers, the base in "
    f"{graded['base']['right']:.0%}: it learns the teacher's mix, wrong answers "
    "included"
    + (", and sampling adds errors of its own." if exam.temperature else "."),
    key="longer",
    answer=2
    if abs(graded["base"]["tokens"] / graded["dsft"]["tokens"] - 1) < 0.05
    else 0
    if graded["base"]["tokens"] > graded["dsft"]["tokens"]
    else 1,
)

# %% [markdown]
# To see the miniature's answers change from one checkpoint of its training to the next, use the slider *dSFT* under *Watch
# it learn* on the page [Talk to the models](../talk); there the student answers your own questions as well.

# %% [markdown]
# ## What you should see

# %%
if after >= before:
    print(
        f"no learning: {before:.3f} -> {after:.3f}. Were the steps too few? "
        "Is the learning rate zero, or every label -100?"
    )
if miniature_as_shipped:
    assert after < before, "dSFT has to lower the held-out loss: see the line above"
    words_before, words_after = (
        part["assistant"][0] for part in (before_by_part, after_by_part)
    )
    assert words_after < words_before / 2, (
        f"the assistant's words went from {words_before:.2f} to {words_after:.2f}, "
        "expected less than half: try more epochs, then a higher rate"
    )
    assert after_by_part["end"][0] < 0.3, (
        f"the ends of turns are at {after_by_part['end'][0]:.2f}, expected below 0.3: "
        "is the end of each answer in the rows, and does it count?"
    )
    assert graded["dsft"]["ended"] > 0.95, (
        f"{graded['dsft']['ended']:.0%} of answers end by themselves, "
        "expected over 95 %: does the end token count in the loss?"
    )
    assert graded["dsft"]["score"] > graded["base"]["score"] + 1, (
        "dSFT should raise the grade by over a point: look at the answers above"
    )
    print("all as expected")

# %% [markdown]
# A loss can be compared only with one on the same text in the same tokens. The card of Zephyr's own dSFT model
# (`mistral-7b-sft-beta`) gives an evaluation loss of 0.9399, and re-runs of the later recipe end between 0.935 and 0.939;
# no number of the miniature is comparable with them.
#
# ## How the learning rate was found
#
# That of the miniature: by a small search on *development* questions, which share no combination with those of the
# evaluation. Every setting was trained with several seeds. Best mean grade first:

# %%
record = Path("..", "benchmarks", "results", "search.json")
tried = json.loads(record.read_text()).get("dsft", {}).get("tried", []) if (
    record.is_file()
) else []
its_recipe = shown.recipe("dsft")
KEYS = ("learning_rate", "num_train_epochs", "per_device_train_batch_size")
by_setting = defaultdict(list)
for row in tried:
    by_setting[tuple(row.get(key, its_recipe[key]) for key in KEYS)].append(row)


def mean_of(name, setting):
    return sum(row[name] for row in by_setting[setting]) / len(by_setting[setting])


for setting in sorted(by_setting, key=lambda one: -mean_of("score", one)):
    rate, epochs, rows_per_step = setting
    print(
        f"lr {rate:.1e}, {epochs} epochs, {rows_per_step} rows per step, "
        f"{len(by_setting[setting])} seeds: grade {mean_of('score', setting):.2f}, "
        f"held-out loss {mean_of('held_out_loss', setting):.3f}"
        f"{'  <- the recipe' if setting == tuple(map(its_recipe.get, KEYS)) else ''}"
    )
print(f"{len(tried)} runs in the record")

# %% [markdown]
# Look for two things in such a table. Is the best setting at the *edge* of what was tried? Then the search has found only a
# direction, not the optimum. Do rows differ in more than one setting? Then their difference cannot be put down to
# one of them. `benchmarks/search.py` repeats the search.
#
# ```{admonition} Common mistakes
# :class: warning
# - **The paper's learning rate with an adapter.** 2e-5 is for all weights of a model of 7 billion; an adapter hardly moves
#   with it.
# - **Rows with `messages` and `prompt`.** TRL takes a row with a `prompt` for prompt and completion and stops with a
#   `KeyError`; the package passes `messages` alone.
# - **`bf16` on a CPU.** It is TRL's default even there, and slower unless the processor multiplies in it, which
#   `zephyr doctor` says. The recipe says `false`.
# - **Taking the last line of the log for the model's loss.** It is the loss of the last rows.
# ```

# %% [markdown]
# ## Your turn with your own data
#
# Dialogues of your own are a JSONL file, a row each: `{"messages": [{"role": "user", "content": "..."}, {"role":
# "assistant", "content": "..."}]}`. Raw UltraChat's `{"id": ..., "data": [...]}` works as well. Then
#
# ```bash
# zephyr sft --dialogues my_dialogues.jsonl
# zephyr run --dialogues my_dialogues.jsonl --chapters 02
# ```
#
# The miniature tests that your file can be read, and no more: its base model knows the words of one small world, and a
# held-out loss above $\ln V$ (a blind guess among $V$ tokens) says so. For a useful model choose `--scale smol`, or
# `--scale zephyr-7b-lora` on a GPU. Look first at what was set aside, at the token view of one of your rows, and at the
# loss by part.

# %% [markdown]
# ## Recap
#
# 1. *The loss*: a cross-entropy in four steps, each checked by a number; batches combined without bias
#    ([Losses of a data set](ex-02-combine)).
# 2. *Template and mask*: read token by token, and [the collator](ex-02-collate) that the training ran on.
# 3. *Fitting and packing*: whole exchanges keep every end; packing is exact when
#    [positions start again](ex-02-positions).
# 4. *LoRA*: built, [merged](ex-02-merge), and [counted](ex-02-count) to the last number.
# 5. *Training*: a loop of your own that agrees with TRL and the package, a schedule drawn before the run, and
#    [a log](ex-02-log) weighed by tokens.
#
# Next: [Chapter 03](03_ai_feedback) has answers rated by a judge.
#
# ## References
#
# The paper {cite:p}`tunstall2023zephyr`, UltraChat {cite:p}`ding2023ultrachat`, LoRA {cite:p}`hu2022lora`, Mistral 7B
# {cite:p}`jiang2023mistral`.

# %% tags=["remove-cell"]
artefacts.write_metrics(
    sft.folder,
    {
        "held_out_loss": after,
        "held_out_loss_before": before,
        "ended": graded["dsft"]["ended"],
        "ended_base": graded["base"]["ended"],
        "tokens_base": graded["base"]["tokens"],
        "tokens_dsft": graded["dsft"]["tokens"],
        "score_dsft": graded["dsft"]["score"],
        "right_dsft": graded["dsft"]["right"],
        "loss_assistant": after_by_part["assistant"][0],
        "loss_marker": after_by_part["marker"][0],
        "rows_trained": len(train),
    },
)
