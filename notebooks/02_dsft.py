# %% [markdown]
# # dSFT: learning to answer from a teacher
#
# A base model goes on writing. It does not answer: nothing in its training said where a question ends, who is to
# speak next, or when to stop. Distilled supervised fine-tuning shows it dialogues that a stronger model wrote, and
# asks one thing: find these words likely. That is the first step of the paper {cite:p}`tunstall2023zephyr`. Here we
# derive its loss and check each step by a number, look at every token that it counts, build the adapter that is
# trained, train it, and see what has changed.

# %% [markdown]
# ## What you will be able to do
#
# 1. Derive the token-weighted cross-entropy from "be as close to the teacher as you can", and say why a mean of batch
#    means is another number.
# 2. Read Zephyr's chat template token by token, say which tokens count, and find the three faults that make a student
#    talk without end.
# 3. Fit dialogues to a context without losing the end of an answer, and pack them without letting neighbours mix.
# 4. Build LoRA by hand, predict its number of parameters, and merge it away again.
# 5. Read a run: the schedule before it, the curve during it, the held-out loss and the answers after it.

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
# empty they keep the scale's.

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
import json
import math
import re
from collections import defaultdict
from pathlib import Path

import torch
import torch.nn.functional as F
from IPython.display import HTML, display

from zephyr_utils import chat, exercises, figures, objectives, training
from zephyr_utils.pipeline import artefacts
from zephyr_utils.explorers.token_view import ChatTokens
from zephyr_utils.figures import before_after_table
from zephyr_utils.data.records import load_records
from zephyr_utils.pipeline.pipeline import Pipeline
from zephyr_utils.training.rows import fit_dialogues

pipeline = Pipeline(
    scale=scale, seed=seed, dialogues=dialogues, feedback=feedback,
    preferences=preferences, base_model=base_model, runs=runs, **settings,
)
miniature_as_shipped = pipeline.as_published and pipeline.scale == "miniature"

# %% [markdown]
# ## Whose words the student learns
#
# The paper's recipe for the data is *self-instruct* with a chat model as the writer. Start with seed prompts $x_1^0,
# \dots, x_J^0$ on many topics. For each, the teacher $\pi_T$ answers, $y^0 \sim \pi_T(\cdot \mid x^0)$; then it plays
# the user and writes the next question from what was said, $x^1 \sim \pi_T(\cdot \mid x^0, y^0)$; and so on. What
# comes out is a set $\mathcal C = \{(x_1, y_1), \dots, (x_J, y_J)\}$ of dialogues in which no person wrote a word.
# UltraChat {cite:p}`ding2023ultrachat` is such a set, written by GPT-3.5-turbo.

# %% [markdown]
# The miniature's dialogues keep its schema and its faults, and are simpler in one way that you should know: their
# questions are drawn by rule and not written by the teacher. Our teacher answers in a stated mix of styles, most of
# them right and few of them as good as they could be. What we read here has been through [Chapter 01](01_truecasing):
# truecased, and without refusals.

# %%
cleaned = pipeline.truecased()
everything = load_records(cleaned.folder / "dialogues.parquet", "dialogue").records
print(
    f"{cleaned.rows['rows_in']} dialogues in = {len(everything)} kept + "
    f"{cleaned.rows['rows_set_aside']} set aside {cleaned.results['set_aside']}"
)
for message in everything[0]["messages"]:
    print(f"{message['role']:>10}: {message['content']}")

# %% [markdown]
# Read a few more by changing the number in brackets. Some answers are wrong, some are curt. The student will learn
# those too: maximum likelihood copies the teacher, faults included. To prefer some answers over others is the business
# of [Chapter 05](05_ddpo).

# %% [markdown]
# ## From "be like the teacher" to a number
#
# ### Step 1: the distance to the teacher is a cross-entropy and a constant
#
# Let $p$ be the distribution of the teacher's texts and $\pi_\theta$ ours. The Kullback–Leibler divergence says how
# many nats (units of the natural logarithm) we lose by believing $\pi_\theta$ where $p$ is true:
#
# $$\mathrm{KL}(p \,\|\, \pi_\theta) = \sum_y p(y) \log \frac{p(y)}{\pi_\theta(y)}
#   = \underbrace{-\sum_y p(y) \log \pi_\theta(y)}_{\text{cross-entropy}} - \underbrace{\Big(-\sum_y p(y) \log p(y)\Big)}_{\text{entropy of } p}.$$
#
# The second term has no $\theta$ in it. To come close to the teacher is to make the cross-entropy small, and a sample
# of the teacher's texts is enough to estimate it.

# %%
p = torch.tensor([0.5, 0.3, 0.2])  # the teacher's three answers
pi = torch.tensor([0.2, 0.2, 0.6])  # what we believe of them
divergence = (p * (p / pi).log()).sum()
cross_entropy, entropy = -(p * pi.log()).sum(), -(p * p.log()).sum()
print(
    f"KL {divergence:.6f} = cross-entropy {cross_entropy:.6f} - entropy {entropy:.6f}"
)
assert torch.isclose(divergence, cross_entropy - entropy)

# %% [markdown]
# So the paper's objective for dSFT,
#
# $$\pi_{\text{dSFT}} = \arg\max_\pi \; \mathbb{E}_{(x, y) \sim \mathcal C} \, \log \pi(y \mid x),$$
#
# is the most that a sample of the teacher's words can say. It also tells where the loss must end: not at zero, but at
# the teacher's own entropy. A teacher who opens with one of four phrases at random cannot be predicted better than
# that.

# %% [markdown]
# ### Step 2: a text is as likely as the product of its tokens
#
# A language model gives one token at a time. By the chain rule of probability $\log \pi(y) = \sum_t \log \pi(y_t \mid
# y_{<t})$, and a causal model yields all terms from one reading: its scores at position $t$ see tokens $0 \dots t$
# and bet on token $t + 1$. This is the key function of the chapter, written out:

# %%
base, tokenizer = chat.load_model(pipeline.model_directory("base"))
chat.prepare_tokenizer(tokenizer)


@torch.no_grad()
def token_losses(model, ids):
    """-log pi of each token but the first, in nats: (length - 1,)."""
    # (length, vocabulary)
    scores = model(input_ids=torch.tensor([ids], device=model.device)).logits[0].float()
    log_probs = scores[:-1].log_softmax(dim=-1)  # position t bets on token t + 1
    return -log_probs[range(len(ids) - 1), ids[1:]].cpu()

# %% [markdown]
# To believe "one reading is enough", read the dialogue prefix by prefix, the slow way, and compare.

# %%
ids, _ = chat.encode(tokenizer, everything[0]["messages"])
with torch.no_grad():
    slow = [
        -base(input_ids=torch.tensor([ids[:t]], device=base.device))
        .logits[0, -1]
        .float()
        .log_softmax(-1)[ids[t]]
        .item()
        for t in range(1, len(ids))
    ]
print(
    f"{len(ids)} tokens; one reading {token_losses(base, ids).sum():.4f} nats, "
    f"{len(slow)} readings {sum(slow):.4f} nats"
)
assert math.isclose(sum(slow), token_losses(base, ids).sum(), rel_tol=1e-3)

# %% [markdown]
# The first token has no loss: nothing stands before it to predict it from. From $n$ tokens come $n - 1$ bets.

# %% [markdown]
# ### Step 3: one number for a set of dialogues
#
# A dialogue's loss is a sum; dialogues differ in length. The paper's expectation, estimated token by token, is
#
# $$\mathcal L(\theta) = \frac{\sum_j \sum_t -\log \pi_\theta(y_{j,t} \mid y_{j,<t})}{\sum_j (n_j - 1)},$$
#
# the *token-weighted* mean. Inline, and beside it the package's version, which reads in padded batches:

# %%
sample = everything[:96]
losses = [
    token_losses(base, chat.encode(tokenizer, row["messages"])[0]) for row in sample
]
by_hand = sum(loss.sum() for loss in losses) / sum(len(loss) for loss in losses)
packaged = training.held_out_loss(base, tokenizer, sample)
print(f"by hand {by_hand:.5f}, package {packaged:.5f} nats per token")
assert math.isclose(by_hand, packaged, rel_tol=1e-3), (
    "padding leaks into the loss: look at the labels, -100 where padded"
)

# %% [markdown]
# Underneath it adds up sums and counts, `objectives.token_weighted_nll`, a pure function of scores and labels:

# %%
row = torch.tensor([ids], device=base.device)
with torch.no_grad():
    nll, count_of = objectives.token_weighted_nll(base(input_ids=row).logits, row)
print(
    f"{nll:.3f} nats over {count_of} tokens; "
    f"inline {token_losses(base, ids).sum():.3f} over {len(ids) - 1}"
)
assert count_of == len(ids) - 1 and math.isclose(
    nll, token_losses(base, ids).sum(), rel_tol=1e-4
)

# %% [markdown]
# ```{admonition} Predict, then run
# :class: predict
# A trainer usually reports something else: the mean of its batches' means. Take the same model and the same
# dialogues, sorted by length, in batches of 1, 8 and 32. Will the three means of means be the same? Above or below
# the token-weighted number?
# ```

# %%
ordered = sorted(losses, key=len)
means = {}
for size in (1, 8, 32):
    batches = [torch.cat(ordered[n : n + size]) for n in range(0, len(ordered), size)]
    means[size] = sum(batch.mean() for batch in batches).item() / len(batches)
    print(f"batches of {size:2}: mean of means {means[size]:.4f}")
print(f"token-weighted:  {by_hand:.4f}")
shorter, longer = (
    torch.cat(half).mean()
    for half in (ordered[: len(ordered) // 2], ordered[len(ordered) // 2 :])
)
print(
    f"the shorter half of the dialogues {shorter:.3f} a token, "
    f"the longer half {longer:.3f}"
)

# %% [markdown]
# ```{admonition} What happened
# :class: dropdown
# Four numbers for one model. In a mean of means a token of a short batch weighs more than one of a long batch, so the
# mean leans towards the short dialogues. Which way that is, the last line says: where the shorter half is the cheaper
# one a token, the means lie below the token-weighted number, else above. Here it is little, because the halves cost
# nearly the same; after training you will see the short rows have the higher loss. If you said "the same", you thought
# of batches with equally many tokens: only then do they agree. If you reasoned from *sums*, where long dialogues are
# always the larger: what counts is the loss per token. Never compare two runs by numbers that depend on the batch size.
# ```

# %% [markdown]
# ```{exercise} Losses of a data set
# :label: ex-02-combine
#
# **Difficulty** ●○○○○ · **Minutes** 5
#
# Each batch of a data set gave you its sum of losses (nats) and its number of tokens. Write `combine(sums, counts)`,
# the loss of the whole data set in nats per token.
# ```

# %% tags=["exercise"]
def combine(sums, counts):
    ...


exercises.check_combine_batches(combine)

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
# ### Step 4: what one token pulls
#
# The gradient of a token's loss with respect to the scores $z$ is the model's distribution minus the truth:
# $\partial(-\log \mathrm{softmax}(z)_k) / \partial z_i = \mathrm{softmax}(z)_i - [i = k]$. A token that the model was
# sure of hardly pulls. One that it thought impossible pulls with full weight, upwards on itself, downwards on what it
# believed instead. Check it:

# %%
z = torch.tensor([2.0, 0.5, -1.0], requires_grad=True)
F.cross_entropy(z[None], torch.tensor([2])).backward()
expected = z.detach().softmax(0) - torch.tensor([0.0, 0.0, 1.0])
print("autograd", z.grad.tolist(), "\nformula ", expected.tolist())
assert torch.allclose(z.grad, expected)

# %% [markdown]
# ## A dialogue becomes tokens
#
# A model reads one row of tokens, not turns. Zephyr's *chat template* writes a marker line before each turn and the
# end-of-sequence token behind it:

# %%
talk = everything[0]["messages"][:2]
print(chat.render(tokenizer, talk))

# %% [markdown]
# What the model is given when it is to answer ends with the marker of its own turn. That is the *generation prompt*:
# it says whose turn it is, and nothing else does.

# %%
print(repr(chat.render(tokenizer, talk[:1], generation_prompt=True)))

# %% [markdown]
# Now token by token. Switch between the two ways to count: Zephyr was trained on **all tokens**, the user's words and
# the markers included; many later recipes count **the assistant's words only**. Walk over the tokens and read their
# ids.

# %%
ChatTokens(tokenizer, {
    "one exchange": talk,
    "a whole dialogue": everything[0]["messages"],
    "with an empty system turn": [{"role": "system", "content": ""}, *talk],
})

# %% [markdown]
# Three things to find in it. The markers are *plain text* of several tokens, not special tokens, so no embedding had
# to be added. The end-of-sequence token lies *inside* what the assistant-only mask counts: a student who is never
# marked on it never learns to stop. The line break behind it lies outside: by then the turn is over. The empty system
# turn was put there by the authors' first code whenever a dialogue had none of its own; we leave it out, in training
# and in chat alike.

# %% [markdown]
# ```{admonition} Predict, then run
# :class: predict
# There are two ways from messages to tokens: `apply_chat_template` straight to ids, or render the text first and
# call `tokenizer(text)`. Do both give the same ids?
# ```

# %%
text = chat.render(tokenizer, talk)
direct, by_text = chat.encode(tokenizer, talk)[0], tokenizer(text)["input_ids"]
print(len(direct), "ids, the first", tokenizer.convert_ids_to_tokens(direct[:3]))
print(len(by_text), "ids, the first", tokenizer.convert_ids_to_tokens(by_text[:3]))

# %% [markdown]
# ```{admonition} What happened
# :class: dropdown
# The second way puts a `<s>` in front, as Mistral's tokenizer does with every text; the template has none. A student
# trained in one way and asked in the other meets a first token it has never seen. If you said "the same", you are in
# good company: with a tokenizer that adds nothing they are the same, and a template with a `<s>` of its own would
# have given *two* in the second way. The package takes the first way everywhere, in training, in chat and in
# evaluation.
# ```

# %%
if miniature_as_shipped:
    assert by_text == [tokenizer.bos_token_id, *direct], (
        "the miniature's tokenizer adds one <s> to plain text, as Mistral's does"
    )
assert direct.count(tokenizer.eos_token_id) == len(talk), (
    "each turn ends with one end-of-sequence token: call chat.prepare_tokenizer"
)

# %% [markdown]
# ```{admonition} Three ways to a student who never stops
# :class: warning
# - **Padding with the end-of-sequence token and masking by id.** Every real end is masked with the padding. The
#   package's `prepare_tokenizer` pads with a token of its own where there is one, and labels are masked by position.
# - **Cutting rows at the context's end.** The cut takes the last turn's end with it. We shorten to whole exchanges
#   instead.
# - **A mask that ends before the end token.** Look at the picture above: the thick line has to reach it.
# ```

# %% [markdown]
# ```{exercise} The loss mask
# :label: ex-02-mask
#
# **Difficulty** ●●○○○ · **Minutes** 10
#
# `labels` are the token ids where a token counts and -100 where it does not; the loss does the shift by one itself.
# Write `labels(input_ids, assistant_mask)`, where the mask is 1 for the assistant's tokens.
# ```

# %% tags=["exercise"]
def labels(input_ids, assistant_mask):
    ...


exercises.check_loss_mask(labels)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# As many labels as tokens, each at the place of its own token.
# ```
#
# ```{admonition} Hint 2
# :class: tip dropdown
# `zip(input_ids, assistant_mask)` and one conditional expression. The end token needs no case of its own.
# ```
#
# ````{solution} ex-02-mask
# :class: dropdown
# ```python
# def labels(input_ids, assistant_mask):
#     return [token if counts else -100 for token, counts in zip(input_ids, assistant_mask)]
# ```
# ````

# %% [markdown]
# ### Where the base model's loss lies
#
# Before training, ask the base what it finds hard. We sort each token into one of four parts: the *marker* of a turn,
# the *end* of a turn, the *user's* words, the *assistant's* words.

# %%
MARKER = re.compile(r"<\|(?:system|user|assistant)\|>\n")


def parts(views):
    """The part each token belongs to: marker, end, user or assistant."""
    text, place, names = "".join(view.text for view in views), 0, []
    inside = {n for found in MARKER.finditer(text) for n in range(*found.span())}
    for view in views:
        behind_end = bool(names) and names[-1] == "end" and view.text == "\n"
        ends = view.id == tokenizer.eos_token_id or behind_end
        names.append("end" if ends else "marker" if place in inside else view.role)
        place += len(view.text)
    return names

# %%
def loss_by_part(model, rows):
    """Mean loss a token of each part, in nats, and the part's share of all tokens."""
    found = defaultdict(list)
    for row in rows:
        views = chat.token_view(tokenizer, row["messages"], assistant_only=False)
        for name, loss in zip(
            parts(views)[1:],
            token_losses(model, [view.id for view in views]),
            strict=True,
        ):
            found[name].append(loss.item())
    total = sum(map(len, found.values()))
    return {
        name: (sum(losses) / len(losses), len(losses) / total)
        for name, losses in sorted(found.items())
    }

# %% [markdown]
# ```{admonition} Predict, then run
# :class: predict
# The base has read thousands of questions with their answers, in other formats; the template's markers it has met in
# lists of marks alone, never before a question. Order the four parts by their loss per token, the highest first.
# ```

# %%
before_by_part = loss_by_part(base, sample)
for name, (loss, share) in sorted(before_by_part.items(), key=lambda item: -item[1][0]):
    print(f"{name:>10}: {loss:6.2f} nats per token, {share:4.0%} of the tokens")
print(
    f"a blind guess among {len(tokenizer)} tokens: {math.log(len(tokenizer)):.2f} nats"
)

# %% [markdown]
# ```{admonition} What happened
# :class: dropdown
# The template itself has the highest loss: an end costs more than a blind guess would, and a marker, of which a turn has
# several pieces, more than a word. If you put the assistant's words first, you thought of *knowledge* as what is missing;
# the base has most of that already. Much of dSFT is cheap etiquette: who speaks, in what form, when to stop. That is why a
# small adapter and one or two passes suffice, and why the loss will fall so steeply in the first steps.
# ```

# %% [markdown]
# ## Rows that fit
#
# A context has an end. A row that is too long can be cut, dropped or shortened, and only one of the three is
# harmless.

# %%
recipe = pipeline.recipe("dsft")
# the rows that the training below takes
train, held_out, fitted = pipeline.split_dialogues()
print(fitted.report())
print(
    f"{len(fitted.rows)} rows = {len(train)} to train on + {len(held_out)} held out, "
    "by a hash of the prompt"
)

# %%
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
# In the miniature everything fits. To see what shortening does, pretend that the context were as short as the middle
# dialogue. A plain cut would leave rows whose last turn has no end; whole exchanges keep it in every row.

# %%
tight = sorted(lengths)[len(lengths) // 2]
shortened = fit_dialogues(tokenizer, train[:500], tight)
print(f"context {tight}:", shortened.report())
cut = [chat.encode(tokenizer, row["messages"])[0][:tight] for row in train[:500]]
lost = sum(tokenizer.eos_token_id not in ids[-2:] for ids in cut)
kept = [chat.encode(tokenizer, row["messages"])[0] for row in shortened.rows]
print(
    f"a plain cut loses the end of {lost} of 500 rows; whole exchanges lose",
    sum(tokenizer.eos_token_id not in ids[-2:] for ids in kept),
)

# %% [markdown]
# ### Packing, and who may see whom
#
# Padding is wasted work. *Packing* lays several dialogues end to end in one row. Zephyr's authors packed to 2,048
# tokens. The question is what the second dialogue may look at.
#
# ```{admonition} Predict, then run
# :class: predict
# Lay two dialogues end to end, once with positions that start again at the second and once with positions that run
# on, and sum the losses of all tokens but the first of each dialogue. Which of the two equals the sum of the
# dialogues read alone?
# ```

# %%
one, two = (chat.encode(tokenizer, row["messages"])[0] for row in train[:2])
laid = torch.tensor([one + two], device=base.device)
# the seam predicts nobody's token
inside = [n for n in range(len(one + two) - 1) if n != len(one) - 1]


@torch.no_grad()
def packed_loss(positions):
    scores = base(
        input_ids=laid, position_ids=torch.tensor([positions], device=base.device),
        use_cache=False,
    ).logits[0]
    return (
        F.cross_entropy(scores[:-1].float(), laid[0, 1:], reduction="none")[inside]
        .sum()
        .item()
    )


alone = (token_losses(base, one).sum() + token_losses(base, two).sum()).item()
again = packed_loss([*range(len(one)), *range(len(two))])
runs_on = packed_loss([*range(len(one + two))])
print(
    f"alone {alone:.3f}, positions start again {again:.3f}, "
    f"positions run on {runs_on:.3f}"
)

# %% [markdown]
# ```{admonition} What happened
# :class: dropdown
# Where positions start again, transformers recognises two sequences and masks one from the other: the loss is exactly
# that of the dialogues read alone. Where they run on, the second dialogue reads the first one too, and the number
# differs: higher where the neighbour misleads, lower where it happens to help, and neither is what the student will
# meet, because at answering time there is no neighbour. Packing in late 2023 was of the second kind, and rows were
# cut where the context ended; today's `packing_strategy: bfd` is of the first.
# ```

# %%
assert math.isclose(alone, again, rel_tol=1e-3), (
    "packed rows must not see their neighbours: reset the positions at each seam"
)

# %% [markdown]
# *bfd* is best fit, decreasing: take the dialogues longest first, and put each where it leaves the least room. In a
# few lines, with what it saves against batches in the order of the file and against batches of like length:

# %%
def best_fit(lengths, room):
    """How many rows of `room` tokens hold all lengths (none longer than that)."""
    left = []  # room left in each row
    for length in sorted(lengths, reverse=True):
        fits = [n for n, space in enumerate(left) if space >= length]
        if fits:
            left[min(fits, key=left.__getitem__)] -= length
        else:
            left.append(room - length)
    return len(left)


def padded(lengths, size=16):
    return sum(
        max(lengths[n : n + size]) * len(lengths[n : n + size])
        for n in range(0, len(lengths), size)
    )


some = [min(length, recipe["max_length"]) for length in lengths[:2000]]
work = {
    "file order": padded(some),
    "like lengths": padded(sorted(some)),
    "packed": best_fit(some, recipe["max_length"]) * recipe["max_length"],
}
for name, tokens in work.items():
    print(
        f"{name:>13}: {tokens:8} tokens computed, "
        f"{1 - sum(some) / tokens:4.0%} of them padding"
    )

# %% [markdown]
# Grouping rows of like length, which the miniature's recipe does, saves as much as packing here, and changes no step
# count. With packing, 207,865 dialogues became some 139,000 rows in the authors' first run, but the schedule had been
# laid out for the unpacked count: warm-up and decay were stretched, and the run was over before the rate had come
# down. So plot the schedule before you train, from the rows that are really trained on. We do so below.

# %% [markdown]
# ## LoRA: a change of low rank
#
# Full fine-tuning moves every weight $W \in \mathbb R^{m \times n}$ by some $\Delta W$. LoRA {cite:p}`hu2022lora`
# allows only changes of rank $r$: $\Delta W = \frac{\alpha}{r} B A$ with $A \in \mathbb R^{r \times n}$ and $B \in
# \mathbb R^{m \times r}$. $W$ stays frozen. $A$ begins random, $B$ at zero, so that training begins exactly at the
# base model. The scale $\alpha / r$ keeps the size of a step about the same when one tries another rank.

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
# Two checks. At the start it changes nothing; and with any $B$ it equals a plain layer with the weight $W +
# \frac{\alpha}{r} B A$, which is why the adapter can be *merged* away when training is over.

# %%
torch.manual_seed(0)
layer = LoRALinear(torch.nn.Linear(160, 448, bias=False), rank=16, alpha=32)
x = torch.randn(5, 160)
assert torch.equal(layer(x), layer.linear(x)), (
    "B starts at zero, so the first step starts at the base model"
)
layer.B.data.normal_()
merged_weight = layer.linear.weight + layer.scale * layer.B @ layer.A
print(
    "largest difference, adapter against merged:",
    (layer(x) - x @ merged_weight.T).abs().max().item(),
)
assert torch.allclose(layer(x), x @ merged_weight.T, atol=1e-3)

# %% [markdown]
# ```{exercise} Merge an adapter
# :label: ex-02-merge
#
# **Difficulty** ●●○○○ · **Minutes** 10
#
# Write `merge(weight, a, b, alpha)`: weight is (out, in), a is (rank, in), b is (out, rank). Return the weight of the
# merged layer.
# ```

# %% tags=["exercise"]
def merge(weight, a, b, alpha):
    ...


exercises.check_merge(merge)

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

# %% [markdown]
# ```{admonition} Predict, then run
# :class: predict
# The recipe puts adapters of rank 16 on all seven matrices of each layer. An $m \times n$ matrix gets $r (m + n)$
# trainable numbers. What share of the miniature's 1.3 million parameters is that? And of Mistral-7B's 7.24 billion,
# whose matrices are far larger?
# ```

# %%
targets = [
    m
    for name, m in base.named_modules()
    if name.split(".")[-1] in recipe.get("lora_target_modules", [])
]
rank = recipe.get("lora_r", 16)
predicted = sum(rank * (m.in_features + m.out_features) for m in targets)
print(
    f"{len(targets)} matrices, {predicted:,} trainable numbers: "
    f"{predicted / base.num_parameters():.1%} of {base.num_parameters():,}"
)
# Mistral-7B: width, width of keys and values, width of the feed-forward
h, kv, f = 4096, 1024, 14336
mistral = 32 * 16 * (2 * (h + h) + 2 * (h + kv) + 3 * (h + f))
print(f"Mistral-7B at rank 16: {mistral:,}: {mistral / 7.24e9:.2%}")

# %% [markdown]
# ```{admonition} What happened
# :class: dropdown
# A seventh of the miniature, half a percent of Mistral-7B. Weights grow with $m \cdot n$, adapters with $m + n$: the
# larger the model, the cheaper the adapter. If you guessed the same share for both, you scaled the adapter like the
# weights. For the miniature LoRA saves little; we use it because the code, the reference model of [Chapter
# 05](05_ddpo) and the habits are those of the large scale. The paper itself trained all weights.
# ```

# %% [markdown]
# ```{exercise} Count an adapter
# :label: ex-02-count
#
# **Difficulty** ●●○○○ · **Minutes** 10
#
# Write `count(shapes, rank)`: the trainable numbers of LoRA adapters of that rank on weights of the given shapes
# (out, in).
# ```

# %% tags=["exercise"]
def count(shapes, rank):
    ...


exercises.check_lora_count(count)

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

# %% [markdown]
# ## The recipe, and its schedule before a step is taken
#
# The paper trained one to three epochs on 200,000 dialogues; a model of a million parameters on six thousand needs a
# far larger step.

# %%
from transformers import get_scheduler

batch = recipe["per_device_train_batch_size"] * recipe["gradient_accumulation_steps"]
steps = math.ceil(len(train) / batch) * recipe["num_train_epochs"]
optimizer = torch.optim.AdamW(
    [torch.nn.Parameter(torch.zeros(1))], lr=recipe["learning_rate"]
)
schedule = get_scheduler(
    recipe["lr_scheduler_type"], optimizer, math.ceil(recipe["warmup_steps"] * steps),
    steps,
)
rates = []
for _ in range(steps):
    rates.append(optimizer.param_groups[0]["lr"])
    optimizer.step()
    schedule.step()

# %%
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
assert rates[-1] < 0.01 * max(rates), (
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
# | global batch | 512 | 512 | 128 | |
# | length | 2,048, packed | 2,048, packed | 2,048, packing no longer set | tokens a step |
# | loss on | not said | all tokens | all tokens | see the mask above |
# | optimiser | AdamW, no weight decay | AdamW | AdamW | |
# | weights trained | all | all | all | LoRA in a recipe of its own |
#
# The model card of the dSFT model itself (`mistral-7b-sft-beta`) gives one figure to compare with: an evaluation loss
# of 0.9399, and re-runs of the later recipe end between 0.935 and 0.939. Ours:

# %%
for name in (
    "num_train_epochs", "learning_rate", "lr_scheduler_type", "warmup_steps",
    "max_length", "packing", "assistant_only_loss", "optim", "lora_r", "lora_alpha",
):
    print(f"{name:>20}: {recipe.get(name, 'all weights are trained')}")
print(f"{'global batch':>20}: {batch}")

# %% [markdown]
# ## The training
#
# ```{admonition} Predict, then run
# :class: predict
# The recipe groups rows of like length into batches, the longest first, and repeats this every fifty batches. Draw
# the training loss of the second half of the run in your mind, when most is learnt: flat, noisy, or with a pattern?
# ```
#
# If the pipeline has been run before, the next cell only reads what it left. If not, it trains now: a few minutes on
# two cores.

# %%
sft = pipeline.dsft()
before, after = sft.results["held_out_loss_before"], sft.results["held_out_loss"]
log = [
    entry
    for entry in json.loads((sft.folder / training.LOG).read_text())
    if "loss" in entry
]
print(
    f"{'reused' if sft.reused else 'trained'}: "
    f"{sft.seconds:.0f} s when it was trained, "
    f"on {sft.rows['rows_trained']:,} dialogues"
)
print(f"held-out loss {before:.3f} before, {after:.3f} after, nats per token")

# %%
every = recipe.get("logging_steps", 10)
figures.show(
    figures.loss_curve({"training": {entry["step"]: entry["loss"] for entry in log}}),
    alt=(
        f"The training loss falls from {log[0]['loss']:.1f} at step {log[0]['step']} "
        f"and ends at {log[-1]['loss']:.2f}."
    ),
    caption=f"Training loss, a mean over {every} batches a point.",
)

# %% [markdown]
# The fall hides what comes after it. The second half once more, on a scale of its own:

# %%
second = {
    entry["step"]: entry["loss"] for entry in log if entry["step"] > log[-1]["step"] / 2
}
figures.show(
    figures.loss_curve(
        {
            "training": second,
            "held out, after": dict.fromkeys((min(second), max(second)), after),
        }
    ),
    alt=(
        f"The loss of the second half runs between {min(second.values()):.2f} and "
        f"{max(second.values()):.2f}, around the held-out loss of {after:.2f}."
    ),
    caption=(
        f"The second half, a mean over {every} batches a point; "
        "the level line is the held-out loss of the finished model."
    ),
)

# %% [markdown]
# ```{admonition} What happened
# :class: dropdown
# A steep fall, where the etiquette is learnt, then a saw. Each tooth is one group of fifty batches, from its longest
# rows to its shortest. The shortest have the highest loss now, for a reason that the next section takes apart. The saw is
# not learning and not noise, and the last figure of the log, from short rows, lies *above* the model's true loss.
# "Noisy" was a good guess for rows in random order; "flat" forgot that batches differ.
# ```

# %% [markdown]
# Weigh each logged figure by the tokens behind it (TRL logs their running count), and the second half of the run
# comes out near the held-out loss:

# %%
tokens = [b["num_tokens"] - a["num_tokens"] for a, b in zip(log, log[1:])]
late = [
    (n, entry["loss"])
    for n, entry in zip(tokens, log[1:])
    if entry["step"] > log[-1]["step"] / 2
]
weighted = sum(n * loss for n, loss in late) / sum(n for n, _ in late)
print(
    f"last figure of the log {log[-1]['loss']:.3f}, "
    f"second half by tokens {weighted:.3f}, held out {after:.3f}"
)

# %% [markdown]
# And the learning rate that was really used is the one that was plotted:

# %%
gap = max(
    abs(entry["learning_rate"] - rates[entry["step"] - 1])
    for entry in log
    if entry["step"] <= steps
)
print(f"largest gap between plan and log: {gap:.1e}")
assert gap < 0.05 * max(rates), (
    "plan and log differ: was another number of rows trained on than you counted?"
)

# %% [markdown]
# ### What the student has learnt, part by part
#
# ```{admonition} Predict, then run
# :class: predict
# The same four parts as before, now before and after. Which part is learnt to nearly zero, and which keeps a high loss?
# ```

# %%
student, _ = chat.load_model(sft.folder / training.MODEL)
before_by_part, after_by_part = (
    loss_by_part(model, held_out[:96]) for model in (base, student)
)
for name, (loss, share) in after_by_part.items():
    print(
        f"{name:>10}: {before_by_part[name][0]:6.2f} before, {loss:5.2f} after, "
        f"{share:.0%} of tokens, {share * loss:.2f} of the mean"
    )

# %% [markdown]
# Look closer at the markers, of which the base has seen little. How alike are the embedding rows of their pieces,
# compared with those of ordinary words? (A cosine of 1 would mean rows that point the same way, and hardly to be told
# apart.)

# %%
def likeness(pieces):
    """Mean cosine between the base's embedding rows of different pieces."""
    rows = F.normalize(
        base.get_input_embeddings().weight[sorted(set(pieces))].float(), dim=1
    )
    return ((rows @ rows.T).sum() - len(rows)).item() / (len(rows) * (len(rows) - 1))


views = chat.token_view(tokenizer, everything[0]["messages"], assistant_only=False)
pieces = [
    view.id
    for view, name in zip(views, parts(views))
    if name == "marker" and view.text.strip()
]
words = [
    view.id for view, name in zip(views, parts(views)) if name in ("user", "assistant")
]
print(
    f"cosine among the markers' pieces {likeness(pieces):.2f}, "
    f"among the words {likeness(words):.2f}"
)

# %% [markdown]
# ```{admonition} What happened
# :class: dropdown
# Ends and markers are learnt to nearly nothing, the words to what can be foreseen of them, and the user's least of all.
# That is the saw: in the shortest rows more of the tokens are the user's. That the markers come so
# cheaply is no matter of course. It rests on the embedding: to Mistral `<`, `|` and `user` are ordinary tokens with
# trained rows, and the miniature's base has met the marks in lists, so that their rows are more alike than those of words, but
# far from the same. An earlier base of ours had never read `<|`.
# Pretraining had pushed the rows of all tokens that it never met the same way (the cosine above was 0.98), and **LoRA
# moves no row of the embedding matrix**. Its student could learn *that* a never-met token came, not *which*: it still
# paid four nats for a piece of a marker and, worse, could hardly tell the user from the assistant. If you said that
# the markers keep a high loss because they are new, you described that base. New tokens need trainable rows
# (`modules_to_save`, or PEFT's `trainable_token_indices`).
# ```

# %% [markdown]
# What remains of the words cannot be foreseen: the user's questions name people and numbers, and the teacher has its
# whims. Counting all tokens, as Zephyr did, pays for the user's words too; what is pure chance in them teaches
# nothing.

# %% [markdown]
# ### The merged model is the adapter's model
#
# The pipeline keeps the adapter beside the merged model. Load base and adapter, and compare with what was merged:

# %%
if (sft.folder / training.ADAPTER).is_dir():
    from peft import PeftModel

    fresh, _ = chat.load_model(pipeline.model_directory("base"))
    adapted = PeftModel.from_pretrained(fresh, sft.folder / training.ADAPTER).eval()
    counted = sum(p.numel() for n, p in adapted.named_parameters() if "lora_" in n)
    print(f"adapter holds {counted:,} numbers, predicted {predicted:,}")
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
#
# ```{admonition} Predict, then run
# :class: predict
# Both models are asked the same held-out questions, which occur in no training text, and may write up to 96 tokens.
# Which of them will end by themselves, and after how many tokens? (First look at eight greedy answers.)
# ```

# %%
questions = pipeline.questions()[::20]  # one of each category
asked = [[{"role": "user", "content": question["turns"][0]}] for question in questions]
said = [
    chat.generate(model, tokenizer, asked, temperature=0.0, max_new_tokens=96)
    for model in (base, student)
]
shorten = lambda text: (
    (text if len(text) < 160 else text[:160] + " ...") or "(nothing: it ended at once)"
)
rows = [
    {"prompt": question["turns"][0], "base": shorten(a.text), "dSFT": shorten(b.text)}
    for question, a, b in zip(questions, *said, strict=True)
]
display(
    HTML(
        before_after_table(
            rows, caption="Greedy answers to one held-out question of each category."
        )
    )
)

# %% [markdown]
# Now all questions, both turns, sampled at a temperature of 0.7, and graded from 1 to 10 by the miniature's
# rule-based teacher (how, and how far to trust it: [Chapter 07](07_evaluation)).

# %%
graded = {
    name: manifest.results
    for name, manifest in pipeline.evaluation(("base", "dsft")).items()
}
for name, results in graded.items():
    print(
        f"{name:>5}: ends by itself {results['ended']:4.0%}, "
        f"right {results['right']:4.0%}, grade {results['score']:.2f}, "
        f"{results['tokens']:.0f} tokens an answer"
    )

# %% [markdown]
# ```{admonition} What happened
# :class: dropdown
# Both end, nearly always, but not in the same place. The base mostly goes on: from the first question to a second that
# nobody asked, to its answer, and so on; now and then it ends before it has said a word. The end that it knows is that of a
# *document*, and there it stops. The student stops where an *answer* ends, after half as many tokens. If you expected the
# base to be right because it "knows" the facts: it may even write the right words somewhere in its stream, but what it was
# asked for is an answer. If you expected the student to be right nearly always: look at the share. It has learnt the
# teacher's mix, wrong answers included, and a temperature of 0.7 adds slips of its own.
# ```

# %% [markdown]
# ## What you should see

# %%
assert after < before, (
    f"no learning: {before:.3f} -> {after:.3f}; "
    "is the learning rate zero, or every label -100?"
)
if miniature_as_shipped:
    words_after, end_after = after_by_part["assistant"][0], after_by_part["end"][0]
    assert 0.2 < words_after < 0.7, (
        f"the assistant's words cost {words_after:.2f}, expected 0.2 to 0.7: "
        "too high, try more epochs; too low, does train overlap with held out?"
    )
    assert end_after < 0.2, (
        f"the ends cost {end_after:.2f}, expected below 0.2: "
        "is the end of each answer in the rows, and does it count?"
    )
    assert graded["dsft"]["ended"] > 0.95, (
        f"{graded['dsft']['ended']:.0%} of answers end by themselves, "
        "expected over 95 %: does the end token count in the loss?"
    )
    longer = graded["base"]["tokens"] / graded["dsft"]["tokens"]
    assert longer > 1.5, (
        f"the base's answers are {longer:.1f} times as long as the student's, "
        "expected over 1.5: has the base been fine-tuned already?"
    )
    assert graded["dsft"]["score"] > graded["base"]["score"] + 1, (
        "dSFT should lift the grade by over a point: look at the answers above"
    )
print("all as expected")

# %% [markdown]
# ## How the learning rate was found
#
# By a small search on *development* questions: held-out combinations like those of the evaluation, but not the same
# questions, so that the evaluation stays clean. One training a setting, one seed: enough to find the right order of
# magnitude, not to tell neighbours apart. `benchmarks/search.py` does it again.

# %%
found = Path("..", "benchmarks", "results", "search.json")
tried = (
    json.loads(found.read_text()).get("dsft", {}).get("tried", [])
    if found.is_file()
    else []
)
for row in sorted(tried, key=lambda row: -row["score"]):
    ours = (row["learning_rate"], row["num_train_epochs"]) == (
        recipe["learning_rate"],
        recipe["num_train_epochs"],
    )
    print(
        f"lr {row['learning_rate']:.0e}, "
        f"{row['num_train_epochs']} epochs: grade {row['score']:.2f}, "
        f"held-out loss {row['held_out_loss']:.3f}{'  <- the recipe' if ours else ''}"
    )
print(
    f"{len(tried)} settings in the record"
    if tried
    else "the record of the search is not at hand here"
)

# %% [markdown]
# ```{admonition} Where readers fall
# :class: warning
# - **A learning rate from the paper with an adapter.** 2e-5 is for all weights of 7 billion; an adapter hardly moves
#   with it.
# - **Rows with `messages` and `prompt`.** TRL takes a row with a `prompt` for prompt and completion and stops with a
#   `KeyError`; the package passes `messages` alone.
# - **`bf16` on a CPU.** It is TRL's default even there, and slower. The recipe says `false`.
# - **Reading the last line of the log as the model's loss.** You have seen the saw.
# ```

# %% [markdown]
# ## Your turn with your own data
#
# Dialogues of your own are a JSONL file, a row each: `{"messages": [{"role": "user", "content": "..."}, {"role":
# "assistant", "content": "..."}]}`. Raw UltraChat's `{"id": ..., "data": [...]}` does as well. Then
#
# ```bash
# zephyr sft --dialogues my_dialogues.jsonl
# zephyr run --dialogues my_dialogues.jsonl --chapters 02
# ```
#
# Look first at three things in this chapter's output: what was set aside, the token view of one of your rows, and the
# loss by part. For a model that matters, turn the dial: `--scale smol`, or `--scale zephyr-7b-lora` on a GPU.

# %% [markdown]
# ## Recap
#
# - You derived the token-weighted cross-entropy in four steps, each checked by a number, and combined batches without
#   bias ([the first exercise](ex-02-combine)).
# - You read the template token by token, met the second way to tokens, and wrote the mask
#   ([the second exercise](ex-02-mask)).
# - You fitted dialogues to a context by whole exchanges, with every row accounted for, and saw that packing is exact when
#   positions start again.
# - You built LoRA, merged it ([the third exercise](ex-02-merge)) and predicted its size to the last number
#   ([the fourth exercise](ex-02-count)).
# - You read a run: the plan of its learning rate, the saw in its curve, the held-out loss part by part, the answers, and how
#   many of them end.
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
