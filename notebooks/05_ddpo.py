# %% [markdown]
# # dDPO: learning from preferences
#
# The dSFT model can answer. It has not been told which of two answers is the better one. Here it learns that from
# pairs, with one loss, no reward model and no sampling: *distilled direct preference optimisation*, equation 1 of
# the paper {cite:p}`tunstall2023zephyr`, which is DPO {cite:p}`rafailov2023dpo` on a teacher's preferences. We derive
# that equation in five steps and check each by a number, look at what the trainer will see, make sure that it starts
# at the right model, and train.

# %% [markdown]
# ## What you will be able to do
#
# 1. Derive equation 1 from "earn reward, but stay near the dSFT model", and say what $\beta$ prices.
# 2. Write the loss in four lines, and say which pairs pull and how hard.
# 3. Say which tokens of a pair count, and why their log-probabilities are summed and not averaged.
# 4. Start a run from the right reference, and notice when it is another.
# 5. Read a run's curves: what should rise, what may fall, and what is no cause for alarm.

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
import tempfile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from IPython.display import HTML, display

from zephyr_utils import (
    chat, diagnostics, exercises, figures, objectives, published, training,
)
from zephyr_utils.pipeline import artefacts
from zephyr_utils.errors import HandbookError
from zephyr_utils.explorers.dpo_loss import DpoLoss
from zephyr_utils.figures import before_after_table
from zephyr_utils.pipeline.pipeline import Pipeline

pipeline = Pipeline(
    scale=scale, seed=seed, dialogues=dialogues, feedback=feedback,
    preferences=preferences, base_model=base_model, runs=runs, **settings,
)
miniature_as_shipped = pipeline.as_published and pipeline.scale == "miniature"

# %% [markdown]
# ## From a reward to equation 1
#
# ### The problem, on four answers
#
# Suppose we had a number for how good each answer is, a reward $r(x, y)$ for prompt $x$ and answer $y$. Then we would
# want a policy $\pi$ (a model, seen as a distribution over answers) that earns much of it, yet stays near a reference
# $\pi_\mathrm{ref}$, the dSFT model. Why stay near? Because the reward is only trusted on answers like those it was
# made from, and because fluency comes from the reference. With $\beta$ as the price of moving away:
#
# $$
# J(\pi) = \mathbb{E}_{y \sim \pi}[\,r(x, y)\,] - \beta\, \mathrm{KL}(\pi \,\|\, \pi_\mathrm{ref}),
# \qquad
# \mathrm{KL}(\pi \,\|\, \pi_\mathrm{ref}) = \sum_y \pi(y) \log \frac{\pi(y)}{\pi_\mathrm{ref}(y)} .
# $$ (eq-05-objective)
#
# (The numbers at the right are this book's own; *equation 1* is always the paper's.) This is equation 3 of DPO's paper, and
# what RLHF, reinforcement learning from human feedback, maximises by sampling. Our toy is one prompt, *What is 2 plus 2?*,
# and a world with just four answers. Everything can be computed exactly.

# %%
answers = ["4.", "2 plus 2 is 4.", "It is 5.", "Gladly! It is 4."]
reference = torch.tensor([0.45, 0.35, 0.15, 0.05], dtype=torch.float64)  # sums to 1
reward = torch.tensor([2.0, 3.0, 0.0, 4.0], dtype=torch.float64)
beta = 1.0

# %% [markdown]
# The objective in code. `xlogy` is $a \log b$ with $0 \log 0 = 0$, so that a policy may give an answer no chance.

# %%
def kl(policy, other):
    return torch.xlogy(policy, policy / other).sum()

def objective(policy):
    return policy @ reward - beta * kl(policy, reference)

# %% [markdown]
# ```{admonition} Predict, then run
# :class: predict
# Three policies: the reference itself; all four answers equally likely; *everything on the answer with the highest
# reward*. The last earns 4.0 on every prompt. At $\beta = 1$, which of the three has the highest objective, and which
# the lowest?
# ```

# %%
uniform = torch.full((4,), 0.25, dtype=torch.float64)
greedy = torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=torch.float64)
for name, policy in {
    "reference": reference, "uniform": uniform, "all on the best": greedy,
}.items():
    print(
        f"{name:16s} reward {policy @ reward:.3f}  KL {kl(policy, reference):.3f}  "
        f"objective {objective(policy):.3f}"
    )

# %% [markdown]
# ```{admonition} What happened
# :class: dropdown
# Putting everything on the best answer comes *last*: it earns 4.0, but the reference gave that answer 5 %, and moving
# there costs $\log(1 / 0.05) = 3.0$. If you thought the highest reward must win, you left out the price. The reference
# pays nothing and is the highest of the three. The uniform policy earns 0.1 more and pays 0.3 for it. None of them is
# the best there is.
# ```

# %% [markdown]
# ### Step 1: the best policy in closed form
#
# Put both terms under one sum and pull $-\beta$ out:
#
# $$
# J(\pi) = -\beta \sum_y \pi(y) \left[ \log \frac{\pi(y)}{\pi_\mathrm{ref}(y)} - \frac{r(y)}{\beta} \right]
#        = -\beta \sum_y \pi(y) \log \frac{\pi(y)}{\pi_\mathrm{ref}(y)\, e^{r(y)/\beta}} .
# $$
#
# The denominator would be a distribution if it summed to 1. Let $Z = \sum_y \pi_\mathrm{ref}(y)\, e^{r(y)/\beta}$ be
# what it does sum to, and name the distribution
#
# $$
# \pi^*(y) = \frac{1}{Z}\, \pi_\mathrm{ref}(y)\, e^{r(y)/\beta} .
# $$ (eq-05-best)
#
# Then the sum is a KL divergence again, and $Z$, which does not depend on $\pi$, comes out in front:
#
# $$
# J(\pi) = \beta \log Z - \beta\, \mathrm{KL}(\pi \,\|\, \pi^*) .
# $$ (eq-05-gap)
#
# A KL divergence is never below 0, and is 0 only where both are equal. So $\pi^*$ is the best policy there is, and its
# value is $\beta \log Z$ (DPO, equation 4). No search was needed.

# %% [markdown]
# ````{exercise} The best policy, in code
# :label: ex-05-best-policy
#
# **Difficulty** ●●○○○ · **Minutes** 5
#
# Write equation {eq}`eq-05-best` for NumPy arrays: `reference` and `rewards` have one entry an answer. Do it before
# you read on, as the next cell does it for the toy.
# ````

# %% tags=["exercise"]
def best_policy(reference, rewards, beta):
    ...


exercises.check_optimal_policy(best_policy)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# Tilt each probability of the reference first. Do the four products add up to 1?
# ```
#
# ```{admonition} Hint 2
# :class: tip dropdown
# `np.exp(rewards / beta)` are the four factors. $Z$ is the sum of the products, so divide by it at the end.
# ```

# %% [markdown]
# `````{solution} ex-05-best-policy
# :class: dropdown
# ```python
# def best_policy(reference, rewards, beta):
#     tilted = reference * np.exp(rewards / beta)
#     return tilted / tilted.sum()
# ```
# `````

# %% [markdown]
# On the toy, with both claims checked: the value of $\pi^*$ is $\beta \log Z$, and for *any* policy the gap to it is
# $\beta$ times a KL divergence.

# %%
tilted = reference * (reward / beta).exp()
Z = tilted.sum()
best = tilted / Z
some = torch.rand(4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
some /= some.sum()
print(f"J(best) {objective(best):.6f}   beta log Z {beta * Z.log():.6f}")
print(
    f"J(some) {objective(some):.6f}   "
    f"beta log Z - beta KL(some, best) {beta * Z.log() - beta * kl(some, best):.6f}"
)
assert torch.isclose(objective(some), beta * Z.log() - beta * kl(some, best))

# %% [markdown]
# Algebra can be wrong in the same way twice, so here is a check that knows nothing of it: start at the reference, and
# climb the objective by gradient ascent.

# %%
scores = reference.log().clone().requires_grad_()
climber = torch.optim.Adam([scores], lr=0.1, maximize=True)
for _ in range(400):
    climber.zero_grad()
    objective(scores.softmax(dim=0)).backward()
    climber.step()
print("climbed to ", scores.softmax(dim=0).detach().numpy().round(4))
print("closed form", best.numpy().round(4))
assert torch.allclose(scores.softmax(dim=0), best, atol=1e-3)

# %% [markdown]
# ```{admonition} Predict, then run
# :class: predict
# $\beta$ is about to run from 0.1 to 100. Which value leaves the policy almost at the reference, and which puts nearly
# everything on the best answer?
# ```

# %%
print("beta     ", *(f"{text:>16s}" for text in answers))
print("reference", *(f"{p:16.3f}" for p in reference))
for price in (100.0, 10.0, 1.0, 0.1):
    policy = (reference.log() + reward / price).softmax(dim=0)
    print(f"{price:<9g}", *(f"{p:16.3f}" for p in policy))

# %% [markdown]
# ```{admonition} What happened
# :class: dropdown
# **Larger $\beta$, closer to the reference.** At 100 moving costs so much that hardly anything moves; at 0.1 nearly all
# lies on the answer with the highest reward. Many texts have this the wrong way round, because $\beta$ also multiplies
# the log-ratio *inside* the loss, where a larger $\beta$ looks like a stronger push. It is: and so the wanted margin is
# reached after a shorter way.
# ```

# %% [markdown]
# ### Step 2: read the reward off the policy
#
# Equation {eq}`eq-05-best` gives a policy for each reward. Turn it round. Take logarithms and solve for $r$:
#
# $$
# r(x, y) = \beta \log \frac{\pi^*(y \mid x)}{\pi_\mathrm{ref}(y \mid x)} + \beta \log Z(x) .
# $$ (eq-05-reward)
#
# Every policy is the best one for *some* reward, and this says which. A language model is secretly a reward model,
# in the words of DPO's title.

# %%
recovered = beta * (best / reference).log() + beta * Z.log()
print("reward    ", reward.numpy())
print("recovered ", recovered.numpy().round(6))
assert torch.allclose(recovered, reward)

# %% [markdown]
# ```{admonition} A misprint in the paper
# :class: warning
# In its section 3 the Zephyr paper prints this equation without the logarithm, as
# $r(x, y) = \beta\, \pi^*(y \mid x) / \pi_\mathrm{dSFT}(y \mid x) + \beta \log Z(x)$. Its equation 1, two lines on,
# has the logarithm, as has DPO's paper. A number settles it:
# ```

# %%
as_printed = beta * best / reference + beta * Z.log()
print("reward    ", reward.numpy())
print("as printed", as_printed.numpy().round(3))

# %% [markdown]
# Not even the differences of rewards survive: without the logarithm, the answers rated 4 and 3 lie far more than 1
# apart.
#
# ### Step 3: from rewards to preferences
#
# Nobody gave us rewards. The teacher's ratings gave us *pairs*: a chosen answer $y_w$ and a rejected one $y_l$. The
# Bradley-Terry model {cite:p}`bradley1952rank` ties the two together with the logistic function
# $\sigma(m) = 1 / (1 + e^{-m})$:
#
# $$
# p(y_w \succ y_l \mid x) = \sigma\big(r(x, y_w) - r(x, y_l)\big) .
# $$ (eq-05-bt)
#
# Equal rewards are a coin toss, one point more wins 73 % of the time, two points 88 %. Where does it come from? One
# origin: a judge who sees each reward with some noise of his own, drawn from a Gumbel distribution, and prefers the
# answer that looks better. Let him judge the fourth answer against the second, 200,000 times.

# %%
draw = torch.Generator().manual_seed(seed)
noise = -(-torch.rand(2, 200_000, generator=draw, dtype=torch.float64).log()).log()
looks = reward[[3, 1], None] + noise
share = (looks[0] > looks[1]).double().mean()
print(
    f"the judge prefers the fourth answer in {share:.4f}; "
    f"sigma(4 - 3) = {torch.sigmoid(reward[3] - reward[1]):.4f}"
)
assert abs(share - torch.sigmoid(reward[3] - reward[1])) < 0.006  # five standard errors

# %% [markdown]
# Mind what is gone. Only the *difference* of two rewards enters, so anything that is the same for both answers to one
# prompt cancels. In equation {eq}`eq-05-reward` that is $\beta \log Z(x)$, the one part nobody could compute: it sums
# over all texts there are.

# %%
log_ratio = (best / reference).log()
print(
    f"with Z {recovered[3] - recovered[1]:.6f}, "
    f"without Z {beta * (log_ratio[3] - log_ratio[1]):.6f}"
)
assert torch.isclose(recovered[3] - recovered[1], beta * (log_ratio[3] - log_ratio[1]))

# %% [markdown]
# ### Step 4: equation 1
#
# Put {eq}`eq-05-reward` into {eq}`eq-05-bt`, with the model in training $\pi_\theta$ in the place of $\pi^*$, and ask
# for maximum likelihood: the policy under which the teacher's choices are as likely as possible. That is the loss, with
# the dSFT model as the reference (Zephyr, equation 1; DPO, equation 7):
#
# $$
# L(\theta) = -\,\mathbb{E}_{(x, y_w, y_l)} \left[ \log \sigma \left(
#   \beta \log \frac{\pi_\theta(y_w \mid x)}{\pi_\mathrm{dSFT}(y_w \mid x)}
# - \beta \log \frac{\pi_\theta(y_l \mid x)}{\pi_\mathrm{dSFT}(y_l \mid x)} \right) \right] .
# $$ (eq-05-ddpo)
#
# The names of its parts, used from here on: $r_w = \beta \log \frac{\pi_\theta(y_w)}{\pi_\mathrm{dSFT}(y_w)}$ is the
# **implicit reward** of the chosen answer, $r_l$ that of the rejected one, and $m = r_w - r_l$ the **reward margin**.
#
# The paper maximises the expression and calls it $\pi_\theta$'s objective; we minimise its negative. No reward is left
# in it. Does it lead to the same policy all the same?

# %%
# wins[i, j]: how often answer i is preferred to answer j
wins = (reward[:, None] - reward[None, :]).sigmoid()
wins.fill_diagonal_(0)

def preference_loss(log_policy):
    ratios = log_policy - reference.log()
    # margins[i, j]: of answer i over answer j
    margins = beta * (ratios[:, None] - ratios[None, :])
    return -(wins * F.logsigmoid(margins)).sum() / wins.sum()

# %% [markdown]
# ```{admonition} Predict, then run
# :class: predict
# This loss sees the reference and who won how often, never a reward. We minimise it over the four probabilities. Where
# does it end: at the answer that wins most, at the win rates themselves, or at the $\pi^*$ of step 1? And can the loss
# reach 0?
# ```

# %%
scores = reference.log().clone().requires_grad_()
descent = torch.optim.Adam([scores], lr=0.1)
for _ in range(600):
    descent.zero_grad()
    loss = preference_loss(scores.log_softmax(dim=0))
    loss.backward()
    descent.step()
print(
    "from preferences", scores.softmax(dim=0).detach().numpy().round(4),
    f"loss {loss.item():.4f}",
)
print("from rewards    ", best.numpy().round(4))
assert torch.allclose(scores.softmax(dim=0), best, atol=1e-3)

# %% [markdown]
# ```{admonition} What happened
# :class: dropdown
# At $\pi^*$, to every digit shown, as the derivation promised: the margins that make the win rates likeliest are the
# differences of the rewards. The loss does not reach 0, since this judge sometimes prefers the worse answer; what is
# left is the entropy of his choices. *Everything on the winner* would be right if each pair were judged once and taken
# for certain: with one label a pair the loss can fall for ever, and the margins grow for ever. That is how real
# preference sets are, and why the number of epochs matters.
# ```

# %% [markdown]
# ### Step 5: the gradient, and who pulls
#
# The derivative of $-\log \sigma(m)$ is $-\sigma(-m)$. With the chain rule (DPO, section 4):
#
# $$
# \nabla_\theta L = -\beta\, \mathbb{E} \big[\, \sigma(-m)\,
#   \big( \nabla_\theta \log \pi_\theta(y_w \mid x) - \nabla_\theta \log \pi_\theta(y_l \mid x) \big) \big] .
# $$ (eq-05-gradient)
#
# Each step pushes the chosen answer's log-probability up and the rejected one's down, both with the weight
# $\beta\,\sigma(-m)$: that says how hard this pair pulls. (How far the two then *move* is another matter, since both hang on
# the same parameters; the training below will show it.) Three pairs: one ranked wrong ($m = -2$), one undecided ($0$), one settled
# ($4$).
#
# ```{admonition} Predict, then run
# :class: predict
# How many times harder does the wrong pair pull than the settled one: about 2, about 6, or about 50 times? And how
# hard does the undecided one pull, when its two answers stand equal?
# ```

# %%
margins = torch.tensor([-2.0, 0.0, 4.0], dtype=torch.float64, requires_grad=True)
(-F.logsigmoid(margins)).sum().backward()
weights = objectives.dpo_gradient_weight(margins.detach())
print("autograd   ", margins.grad.numpy().round(4))
print("-sigma(-m) ", -weights.numpy().round(4))
print(f"wrong pulls {weights[0] / weights[2]:.0f} times as hard as settled")
assert torch.allclose(margins.grad, -weights)

# %% [markdown]
# ```{admonition} What happened
# :class: dropdown
# About 49 times: 0.881 against 0.018. The undecided pair pulls with exactly one half, as every pair does before the
# first step. If you expected 0 there, you thought of a loss that is content with a tie; this one asks for a distance.
# A settled pair is nearly silent, so the batch's gradient belongs to the pairs that the model ranks wrong, wrongly
# labelled ones among them.
# ```

# %%
fig = figures.dpo_loss_figure([0.01, 0.1, 0.5])
figures.show(
    fig,
    alt=(
        "Left, the loss of a pair falls with the log-ratio difference through ln 2 "
        "at 0, steeper for larger beta. "
        "Right, the weight falls from 1 to 0 through one half, faster for larger beta."
    ),
    caption=(
        "Loss and weight of one pair, for three betas. At beta 0.01 thirty nats "
        "change little: the policy has to go far before the loss is content."
    ),
)

# %% [markdown]
# Now with your own hands. The explorer adds two relatives for labels that are the wrong way round with chance
# $\varepsilon$. *Conservative* DPO (a note of E. Mitchell's, 2023) mixes in the flipped label and comes to rest at a
# margin of $\log \frac{1 - \varepsilon}{\varepsilon}$. *Robust* DPO {cite:p}`chowdhury2024robust` takes the flipped
# label *away*, so that the mean over noisy labels is the loss on clean ones, and never stops pulling. Try: at which
# $\beta$ does a difference of 20 nats have a loss below 0.1? Where do conservative pairs turn round?

# %%
DpoLoss(beta=0.1, difference=10.0)

# %% [markdown]
# ## The loss in code
#
# ````{exercise} Equation 1 in code
# :label: ex-05-loss
#
# **Difficulty** ●●○○○ · **Minutes** 10
#
# Write equation {eq}`eq-05-ddpo`. The four arguments are tensors of one log-probability a pair; return the batch's mean.
# ````

# %% tags=["exercise"]
def my_dpo_loss(
    policy_chosen, policy_rejected, reference_chosen, reference_rejected, beta
):
    ...


exercises.check_dpo_loss(my_dpo_loss)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# The logarithm of a ratio is a difference of logarithms, and you are given the logarithms.
# ```
#
# ```{admonition} Hint 2
# :class: tip dropdown
# Two rewards, then one margin, then `F.logsigmoid` of it, then the sign, then the mean: in this order.
# ```

# %% [markdown]
# `````{solution} ex-05-loss
# :class: dropdown
# ```python
# def my_dpo_loss(policy_chosen, policy_rejected, reference_chosen, reference_rejected, beta):
#     chosen = beta * (policy_chosen - reference_chosen)
#     rejected = beta * (policy_rejected - reference_rejected)
#     return -F.logsigmoid(chosen - rejected).mean()
# ```
# `````

# %% [markdown]
# Here it is written out, with a name for each part.

# %%
def written_out(
    policy_chosen, policy_rejected, reference_chosen, reference_rejected, beta
):
    reward_chosen = beta * (policy_chosen - reference_chosen)  # r_w, (batch,)
    reward_rejected = beta * (policy_rejected - reference_rejected)  # r_l, (batch,)
    margin = reward_chosen - reward_rejected  # m
    return -F.logsigmoid(margin).mean()

# %% [markdown]
# And the package's, `objectives.dpo_loss`, on the same numbers. It does the same and refuses shapes that would
# broadcast: `(n,)` and `(n, 1)` make `(n, n)` without a word, and the mean still looks like a loss.

# %%
four = [40 * torch.rand(16, generator=draw) - 60 for _ in range(4)]
print(written_out(*four, beta=0.1), objectives.dpo_loss(*four, beta=0.1))
assert torch.equal(written_out(*four, beta=0.1), objectives.dpo_loss(*four, beta=0.1))

# %% [markdown]
# Why `logsigmoid`, and not the logarithm of `sigmoid`? For a pair that is very wrong, the second rounds to zero before
# the first sees it, in float32:

# %%
very_wrong = torch.tensor(-120.0)
print(
    "log(sigmoid(m))", torch.sigmoid(very_wrong).log().item(),
    "  logsigmoid(m)", F.logsigmoid(very_wrong).item(),
)

# %% [markdown]
# ## The pairs
#
# [Chapter 04](04_preference_pairs) made them. A tenth of the *prompts* is held back to measure on. Rows that teach
# nothing or do not fit the context are set aside and counted; none is cut, since a cut answer would lose its end.

# %%
train, held_out, row_counts = pipeline.split_pairs()
print(row_counts.report())
print(f"{len(train)} to train on, {len(held_out)} held out")
assert len(train) + len(held_out) == len(row_counts.rows)

# %% [markdown]
# One pair. Everything up to the last message is shared; the last message is what is compared.

# %%
pair = train[0]
for message in pair["chosen"][:-1]:
    print(f"{message['role']}: {message['content']}")
for side in ("chosen", "rejected"):
    print(
        f"{side.upper()} (score {pair[f'score_{side}']}): {pair[side][-1]['content']}"
    )

# %% [markdown]
# ### Which tokens count
#
# The model reads the whole conversation and is scored on the answer alone: $\log \pi(y \mid x)$ is the log-probability
# of the answer's tokens, each given all before it.
#
# ```{admonition} Predict, then run
# :class: predict
# Three candidates for what counts: the answer's words; those and the token that ends the turn; both and the marker
# `<|assistant|>` in front. Which one is it, and why does it matter for a model's manners?
# ```

# %%
sft, recipe = pipeline.dsft(), pipeline.recipe("ddpo")
sft_model = sft.folder / training.MODEL
model, tokenizer = chat.load_model(sft_model, dtype=recipe["dtype"])

def tokens_and_labels(messages):
    """Token ids of the conversation; labels are -100 up to the answer."""
    prompt = chat.render(tokenizer, messages[:-1], generation_prompt=True)
    n_prompt = len(tokenizer(prompt, add_special_tokens=False)["input_ids"])
    ids, _ = chat.encode(tokenizer, messages)
    return ids, [-100] * n_prompt + ids[n_prompt:]

# %%
sides = ("chosen", "rejected")
for side in sides:
    ids, labels = tokens_and_labels(pair[side])
    counted = [label for label in labels if label != -100]
    print(
        f"{side}: {len(counted)} of {len(ids)} tokens count: "
        f"{tokenizer.decode(counted)!r}"
    )
    assert tokenizer.eos_token_id in counted, (
        "the end does not count, so the model would never learn to stop"
    )

# %% [markdown]
# ```{admonition} What happened
# :class: dropdown
# The second: the words, the end-of-sequence token, and the template's line break behind it. The marker belongs to the
# prompt, since the runtime writes it, not the model. Were the end left out, an answer that stops well and one that
# rambles on would differ by the ramble only, and "stop here" would earn nothing. (Zephyr's first code had the marker
# *inside* both answers. Its log-probability is nearly 0 under a dSFT model, and it cancels in the margin.)
# ```

# %% [markdown]
# ### Sums, not means
#
# The probability of a text is the *product* of its tokens' probabilities, so its logarithm is their *sum*. For the
# chosen answer:

# %%
ids, labels = (torch.tensor([numbers]) for numbers in tokens_and_labels(pair["chosen"]))
with torch.no_grad():
    logits = model(input_ids=ids.to(model.device)).logits.float().cpu()
# log-probability of every token but the first
each = logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0]
counted = each[labels[0, 1:] != -100]
pieces = [
    f"{tokenizer.decode([t])!r} {p:.3f}"
    for t, p in zip(ids[0, 1:][labels[0, 1:] != -100], counted.exp(), strict=True)
]
print("\n".join(", ".join(pieces[i : i + 7]) for i in range(0, len(pieces), 7)))
print(f"product {counted.exp().prod():.3e}, exp of the sum {counted.sum().exp():.3e}")
print(f"sum {counted.sum():.3f}, mean {counted.mean():.3f}")

# %% [markdown]
# `objectives.sequence_log_probs` does it for a batch, and `training.answer_log_probs` for conversations, padding and
# masks included. All three agree:

# %%
from_labels = objectives.sequence_log_probs(logits, labels)[0]
[from_messages] = training.answer_log_probs(model, tokenizer, [pair["chosen"]])
print(
    f"by hand {counted.sum():.4f}, from labels {from_labels:.4f}, "
    f"from messages {from_messages:.4f}"
)
assert torch.allclose(
    torch.stack([counted.sum(), from_labels]), from_messages, atol=1e-3
)

# %% [markdown]
# Code that averages trains another loss, in which a token of a short answer weighs more than one of a long answer.
# (On purpose, and with a $\beta$ about fifty times as large, that *is* a known relative, `objectives.sigmoid_norm_loss`.)
# What the slip does to the numbers we shall see on our own model below.

# %% [markdown]
# ````{exercise} The log-probability of an answer
# :label: ex-05-sum
#
# **Difficulty** ●●○○○ · **Minutes** 5
#
# `token_log_probs` has one entry a token of the whole conversation, `in_answer` is 1 for tokens of the answer (its end
# among them) and 0 elsewhere. Return $\log \pi(y \mid x)$.
# ````

# %% tags=["exercise"]
def answer_log_prob(token_log_probs, in_answer):
    ...


exercises.check_answer_log_prob(answer_log_prob)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# The prompt's tokens are given, not said: $\log \pi(y \mid x)$ has none of them.
# ```
#
# ```{admonition} Hint 2
# :class: tip dropdown
# A product of probabilities is a sum of their logarithms. Nothing is divided by the length.
# ```

# %% [markdown]
# `````{solution} ex-05-sum
# :class: dropdown
# ```python
# def answer_log_prob(token_log_probs, in_answer):
#     return (token_log_probs * in_answer).sum()
# ```
# `````

# %% [markdown]
# ## The reference
#
# Four log-probabilities a pair: two of the policy, two of the frozen dSFT model. With a LoRA adapter no second copy of
# the model is needed, if the two are kept apart rightly. Ways to do it with TRL 1.16, where *adapter* is what dSFT
# left:
#
# | way | what is the reference | verdict |
# |---|---|---|
# | **A** merge the adapter into the base, then a new adapter | new adapter switched off = merged dSFT model | right |
# | **B** base with the dSFT adapter, trained on | a frozen copy of that adapter, made by TRL | right; nothing is merged, so best with 4-bit weights |
# | **C** as B, but loaded without `is_trainable=True` | | stops with an error: no gradient |
# | **D** as A, reference log-probabilities computed once | the same numbers, kept | right, and what we do |
# | **E** the base, dSFT adapter *forgotten*, then a new adapter | the base model | wrong: tried out below |
#
# **Why once (D)?** The reference never changes, so its two numbers a pair never change. With LoRA the policy needs a
# forward and a backward pass in each step; a live reference adds a forward pass, the same one in every epoch. With the
# single epoch of a small recipe nothing is saved by keeping them; with the paper's three, two thirds of those passes. And
# where all weights are trained, so that the reference would be a second model, it need not be in memory while training.

# %%
once = 2 * len(train)  # two answers a pair
for name, epochs in {"this recipe": recipe["num_train_epochs"], "the paper": 3}.items():
    print(
        f"{name}, epochs {epochs:g}: answers the reference reads, "
        f"live {once * epochs:,.0f}, computed once {once:,}"
    )

# %% [markdown]
# `training.ddpo_trainer` sets up D. Before the first step the policy must *be* the dSFT model: every margin 0, the
# loss $-\log \sigma(0) = \ln 2$, and the log-probability of the chosen answers what the dSFT model, loaded afresh,
# gives.

# %%
scratch = Path(tempfile.mkdtemp())
few = train[:8]
# the reference's
own = [
    training.answer_log_probs(model, tokenizer, [row[side] for row in few])
    for side in sides
]
del model  # where the model is large, no second one fits beside the trainer's
trainer = training.ddpo_trainer(sft_model, few, scratch / "right", recipe)
training.check_first_step(trainer, sft_model, few, recipe)

# %% [markdown]
# ### The trainer's numbers and ours
#
# At the start every loss is ln 2, which makes a poor test. So nudge the new adapter by random numbers, as if it had
# been trained, and let TRL compute its loss on these eight pairs.

# %%
torch.manual_seed(seed)
with torch.no_grad():
    for name, weight in trainer.model.named_parameters():
        if "lora_B" in name:
            weight.normal_(std=0.05)
    batch = trainer._prepare_inputs(
        trainer.data_collator([trainer.train_dataset[i] for i in range(len(few))])
    )
    trl_loss = trainer.compute_loss(trainer.model.eval(), batch).item()

# %% [markdown]
# Ours, from four times eight sums: the policy is the nudged model; the reference's were taken above from the dSFT model,
# loaded by itself.

# %%
nudged = [
    training.answer_log_probs(trainer.model, tokenizer, [row[side] for row in few])
    for side in sides
]
own_loss = objectives.dpo_loss(*nudged, *own, recipe["beta"]).item()
print(
    f"TRL {trl_loss:.6f}, package {own_loss:.6f}, "
    f"written out {written_out(*nudged, *own, recipe['beta']):.6f}"
)
if recipe["loss_type"] == ["sigmoid"] and recipe["dtype"] == "float32":
    assert abs(trl_loss - own_loss) < 1e-4, (
        "ours and TRL's loss differ: which tokens count?"
    )

# %% [markdown]
# ### Way E, tried out
#
# Now way E: the base model instead of the merged dSFT model. It is easily done: a forgotten `merge_and_unload`, a wrong
# path. Or, without adapters, a model fine-tuned in memory and handed on: TRL then loads the reference from the path in
# the model's *configuration*, which is still the base's.
#
# ```{admonition} Predict, then run
# :class: predict
# What does a run that starts from the wrong model show at its first step: a loss far above ln 2, margins below 0, or
# what a right run shows too?
# ```

# %%
# of 7 B, one copy at a time is enough
base, small = pipeline.base_model_address, pipeline.scale in ("miniature", "smol")
if small:
    wrong = training.ddpo_trainer(base, few, scratch / "wrong", recipe)
    seen = training.check_first_step(wrong, base, few, recipe)
    print(f"loss {seen['first_step_loss']:.6f}, ln 2 = {np.log(2):.6f}")
    print(
        f"log-probability of the chosen answers: {seen['first_step_logps_chosen']:.2f}"
    )
    print(f"the dSFT model's own: {own[0].mean():.2f}")

# %% [markdown]
# ```{admonition} What happened
# :class: dropdown
# What a right run shows too. The loss is ln 2 to the last digit and every margin is 0, as policy and reference are the same model:
# just not the right one. Such a run trains on, its margins grow, its accuracy rises, and you get a model that never
# was a dSFT model (chapter 08 shows what that is worth). If you expected the loss to give it away: it compares policy
# and reference with each other, never with the model you meant. One number does give it away, `logps/chosen`, if there
# is something to hold it against.
# ```

# %% [markdown]
# That something is the dSFT model, loaded afresh. `training.ddpo` makes this comparison before the first step of every
# run, and stops:

# %%
if small:
    try:
        training.check_first_step(wrong, sft_model, few, recipe)
        raise AssertionError(
            "the check let a run through that started from the base model"
        )
    except HandbookError as error:
        print(error)

# %% [markdown]
# ````{exercise} Which model did this run start from?
# :label: ex-05-start
#
# **Difficulty** ●●●○○ · **Minutes** 10
#
# `logged` are the log-probabilities that a run logged for some answers at its first step; `dsft` and `base` are what
# those two models give for the same answers. Return `"dsft"`, `"base"` or `"neither"`.
# ````

# %% tags=["exercise"]
def started_from(logged, dsft, base):
    ...


exercises.check_first_step(started_from)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# The same sum in another order differs in its last digits: compare with a tolerance.
# ```
#
# ```{admonition} Hint 2
# :class: tip dropdown
# "Nearer to dsft than to base" is not enough. `np.abs(logged - dsft).max()` against a hundredth of a nat is.
# ```

# %% [markdown]
# `````{solution} ex-05-start
# :class: dropdown
# ```python
# def started_from(logged, dsft, base):
#     for name, own in (("dsft", dsft), ("base", base)):
#         if np.abs(logged - own).max() < 0.01:
#             return name
#     return "neither"
# ```
# `````

# %% [markdown]
# ## The recipe
#
# Paper, model card and code disagree about Zephyr's own run. The authors settled one point: they trained with
# **RMSprop**, whatever paper and card say (alignment-handbook, issue 43). Their later recipe changed more, after faulty
# labels in UltraFeedback had been found: $\beta$ 0.01 and one epoch. So "Zephyr's hyperparameters" needs a date.

# %%
names = (
    "beta", "num_train_epochs", "optim",
    "learning_rate", "lr_scheduler_type", "max_length",
)
batch_size = (
    recipe["per_device_train_batch_size"] * recipe["gradient_accumulation_steps"]
)
told = {
    "beta": ("0.1", "not said; its log implies 0.1", "0.1", "0.01"),
    "epochs": ("3", "3", "3", "1"),
    "optimiser": (
        "AdamW, no weight decay", "Adam", "RMSprop (used, say the authors)", "AdamW",
    ),
    "learning rate": ("5e-7", "5e-7", "5e-7", "5e-7 (QLoRA: 5e-6)"),
    "schedule": (
        "linear, 10 % warm-up", "linear, 10 % warm-up", "linear, 10 % warm-up",
        "cosine, 10 % warm-up",
    ),
    "tokens at most": (
        "not said", "not said", "1,024 (prompt 512)", "1,024 (prompt 512)",
    ),
    "pairs a step": ("32", "32", "64", "128"),
}
sources = ("paper", "model card", "code, November 2023", "code, since January 2024")
ours_now = [
    f"{recipe[name]:g}" if isinstance(recipe[name], float) else str(recipe[name])
    for name in names
]
ours_now[4] += f", {recipe['warmup_steps']:.0%} warm-up"
ours_now.append(str(batch_size))
rows = [
    {"": what, **dict(zip(sources, values, strict=True)), "here": here}
    for (what, values), here in zip(told.items(), ours_now, strict=True)
]
display(HTML(before_after_table(
    rows, caption="Zephyr's dDPO, as told in four places, and this run's recipe.",
)))

# %% [markdown]
# The learning rate of the miniature stands apart: an adapter on a model this small takes far larger steps than all
# weights of 7 billion. The recipe file says of each value why it is so. [Chapter 06](06_reward_margins) reads the card's
# $\beta$ off its log.
#
# ## Train
#
# ```{admonition} Predict, then run
# :class: predict
# The rewards of chosen and rejected both start at 0. At the end of training, on *held-out* pairs: is the chosen one's
# above 0? Is the rejected one's below? Which of the two has moved further?
# ```

# %%
trainer = wrong = None  # their memory is wanted now
made = pipeline.ddpo()
print(
    f"{made.results['rows_trained']} pairs, {made.seconds:.0f} s"
    f"{', made earlier' if made.reused else ''}"
)
print(
    f"first loss {made.results['first_step_loss']:.6f}, "
    "log-probability of the first chosen answers "
    f"{made.results['first_step_logps_chosen']:.4f}, "
    f"under the dSFT model {made.results['sft_logps_chosen']:.4f}"
)

# %% [markdown]
# The log has two kinds of rows. *Training* rows are means over the batches just seen, other pairs every time.
# *Evaluation* rows are measured on the same held-out pairs, from before the first step on: at most 256, and so few that
# they cost no more than a tenth of the run. (The log-probability of the line above is a mean over the first eight training
# pairs. In the miniature one of them is a refusal that the dSFT model would hardly give; among so few it weighs heavily, so
# the held-out mean below is far off.)

# %%
log = diagnostics.read_training_log(made.folder / training.LOG)
keys = (
    "rewards/chosen", "rewards/rejected", "rewards/margins", "rewards/accuracies",
    "logps/chosen", "loss",
)
curves = {}
for prefix, kind in (("", log.training), ("eval_", log.evaluation)):
    for key in keys:
        there = np.isfinite(kind[key])
        curves[prefix + key] = dict(
            zip(kind["step"][there], kind[key][there], strict=True)
        )
measured = list(curves["eval_rewards/margins"])
first, last = measured[0], measured[-1]
for key in keys:
    print(
        f"{key:20s} held out: {curves[f'eval_{key}'][first]:8.3f} before, "
        f"{curves[f'eval_{key}'][last]:8.3f} after"
    )

# %%
fig = figures.reward_curves(curves)
figures.show(
    fig,
    alt=(
        "Rewards, margin and accuracy by step. On held-out pairs "
        f"the chosen reward ends at {curves['eval_rewards/chosen'][last]:.2f}, "
        f"the rejected at {curves['eval_rewards/rejected'][last]:.2f}, "
        f"the accuracy at {curves['eval_rewards/accuracies'][last]:.2f}."
    ),
    caption=(
        "The margin grows because the rejected answers fall; "
        "the chosen ones hardly move. Solid: batches in training. "
        "Dashed: the same held-out pairs each time."
    ),
)

# %% [markdown]
# ```{admonition} What happened
# :class: dropdown
# The rejected answers did most of the moving: their reward falls well below 0. The chosen ones' stays nearer to 0, a
# little above or below. If you expected "chosen up, rejected down", as the gradient of step 5 seems to say: it raises and
# lowers two *log-probabilities*, but both answers share most of their words, so most of the pull cancels, and what does
# not is easiest spent on words that only the rejected answer has. The loss asks for a distance and does not mind which
# end moves.
# ```

# %%
fig = figures.loss_curve(
    {"training": curves["loss"], "held out": curves["eval_loss"]},
    label="loss (nats per pair)",
)
figures.show(
    fig,
    alt=(
        "The loss starts at ln 2; on held-out pairs it goes from "
        f"{curves['eval_loss'][first]:.3f} to {curves['eval_loss'][last]:.3f}."
    ),
    caption="The preference loss, in nats per pair: ln 2 = 0.693 is a coin toss.",
)

# %% [markdown]
# ### What you should see
#
# One number to compare across runs is a mean over many pairs: the last logged row has a few batches only. So for
# training we take the last quarter of the rows.

# %%
def last_quarter(values):
    values = np.array(list(values))
    return float(values[-max(1, len(values) // 4) :].mean())

train_accuracy = last_quarter(curves["rewards/accuracies"].values())
train_margin = last_quarter(curves["rewards/margins"].values())
held_accuracy, held_margin = (
    curves[f"eval_rewards/{key}"][last] for key in ("accuracies", "margins")
)
print(f"training: accuracy {train_accuracy:.3f}, margin {train_margin:.3f}")
print(f"held out: accuracy {held_accuracy:.3f}, margin {held_margin:.3f}")

# %%
assert abs(made.results["first_step_loss"] - np.log(2)) < 1e-3, (
    "not ln 2: is a second adapter active?"
)
assert abs(curves["eval_rewards/margins"][first]) < 1e-3, (
    "margins begin off 0: policy and reference differ"
)
if held_margin <= 0:
    print(
        "Held out, the rejected answers are preferred: too few pairs or steps? "
        "Chapter 06 has the interval. Swapped columns?"
    )
held_chosen, held_rejected = (curves[f"eval_rewards/{side}"][last] for side in sides)
if miniature_as_shipped:
    assert held_margin > 0, (
        "rejected answers are preferred: are chosen and rejected swapped in your pairs?"
    )
    assert 0.65 < held_accuracy < 0.98, (
        "look at learning_rate and beta, then at the pairs (chapter 04)"
    )
    assert 0.2 < held_margin < 3.0, (
        "too small: was the learning rate 0? "
        "Too large: too many epochs, too high a rate?"
    )
    assert held_rejected < 0, (
        "the rejected answers became likelier: "
        "are chosen and rejected swapped in your pairs?"
    )
    assert abs(held_chosen) < abs(held_rejected), (
        "the chosen answers moved most: read them, the model may be broken"
    )
    assert train_accuracy < 0.99, "the pairs are learnt by heart: fewer epochs"

# %% [markdown]
# Accuracy here is the share of pairs with a margin above 0. It need not go to 1: a share of the teacher's labels is
# wrong, as chapter 03 counts, and no model can predict a slip of the judge on a pair it has not seen. Zephyr-7B-beta's
# own held-out accuracy ended at 0.78.
#
# ### What becomes of the chosen answers
#
# A reward is $\beta$ times a change of log-probability, so dividing by $\beta$ says how much likelier or less likely an
# answer has become.

# %%
for side in sides:
    nats = curves[f"eval_rewards/{side}"][last] / recipe["beta"]
    print(
        f"{side}: {nats:+.2f} nats, so {np.exp(nats):.3g} times as likely "
        "as under the dSFT model (geometric mean)"
    )

# %% [markdown]
# In many published runs the chosen answers become *less* likely too, Zephyr's among them: there the chosen reward ends
# at -4.5. This is **likelihood displacement** {cite:p}`razin2024unintentional`. It is no fault of the run by itself, but
# the probability that leaves both answers goes somewhere, and not always to better ones. [Chapter 06](06_reward_margins)
# takes it apart.
#
# ### Pair by pair
#
# Behind the means are pairs. `pipeline.margins()` measures *all* the held-out ones under both models, more than the trainer
# watched, so their means differ a little from the log's; the explorer shows where they lie. Which tenth of the pairs would
# pull hardest now? What would label noise of 0.1 make of the settled ones?

# %%
sums = np.load(pipeline.margins().folder / "log_probs.npz")
differences = {
    side: sums[f"policy_{side}"] - sums[f"reference_{side}"] for side in sides
}
apart = differences["chosen"] - differences["rejected"]  # nats, before beta
DpoLoss(beta=recipe["beta"], difference=float(np.median(apart)), pairs=apart[:1000])

# %% [markdown]
# ```{admonition} Predict, then run
# :class: predict
# The same pairs, the same model, but log-probabilities *averaged* over each answer's tokens. About how large is the
# mean margin then, compared with the one from sums: the same, half, or a twentieth? And the mean loss?
# ```

# %%
measured_pairs = held_out[: len(apart)]
lengths = {
    side: np.array(
        [
            sum(label != -100 for label in tokens_and_labels(row[side])[1])
            for row in measured_pairs
        ]
    )
    for side in sides
}
by_mean = (
    differences["chosen"] / lengths["chosen"]
    - differences["rejected"] / lengths["rejected"]
)
mean_lengths = {side: round(float(lengths[side].mean()), 1) for side in sides}
print(f"tokens in an answer: {mean_lengths}")
for name, difference in (("sums", apart), ("means", by_mean)):
    m = recipe["beta"] * difference
    print(
        f"from {name}: mean margin {m.mean():.4f}, "
        f"mean loss {np.logaddexp(0, -m).mean():.4f}"
    )

# %% [markdown]
# ```{admonition} What happened
# :class: dropdown
# Smaller by about the number of tokens in an answer, here some twenty; on real answers of 300 tokens, a three hundredth.
# *Half* or *the same* forgets that each log-ratio is divided by its length. The loss from means sits next to ln 2 though
# the model has learnt. Code with this slip looks as if training did nothing, and invites a learning rate that breaks the
# model.
# ```

# %% [markdown]
# ## Before and after
#
# The same prompts, from held-out pairs, answered by both models. Greedy decoding, so that what differs is the model.

# %%
def ask(directory, conversations):
    its_model, its_tokenizer = chat.load_model(directory, dtype=recipe["dtype"])
    return chat.generate(
        its_model, its_tokenizer, conversations, temperature=0.0, seed=seed
    )


conversations = [row["chosen"][:-1] for row in held_out[:64]]
before = ask(sft_model, conversations)
after = ask(made.folder / training.MODEL, conversations)

# %%
rows = [
    {"prompt": asked[-1]["content"], "dSFT": one.text, "dSFT + dDPO": two.text}
    for asked, one, two in zip(conversations, before, after, strict=True)
    if one.text != two.text
]
caption = f"The first six of {len(rows)} answers that changed, of {len(conversations)}."
if rows:
    display(HTML(before_after_table(rows[:6], caption=caption)))

# %% [markdown]
# Read them with two questions. Has the *manner* changed, the opening, the offer at the end, the whole sentence in place of
# the bare word? And does the *content* still hold: is the sum right, is it the person who was asked about? Manner is what
# most chosen answers share, so it is learnt first and from few pairs. Content differs from pair to pair, and each pair says
# little about it; a model this small may even pay for the one with the other. The loss cannot tell you: it weighs whole
# answers.
#
# Two plain counts, before any judge is asked. Do answers end by themselves? Have they grown longer, as answers after
# DPO often do?

# %%
for name, given in (("dSFT", before), ("dSFT + dDPO", after)):
    ended = np.mean([answer.ended for answer in given])
    tokens = np.mean([answer.n_tokens for answer in given])
    print(f"{name:12s} end by themselves {ended:.0%}, tokens in an answer {tokens:.1f}")
if miniature_as_shipped:
    assert np.mean([answer.ended for answer in after]) > 0.8, (
        "answers do not stop: does their end count in the loss?"
    )

# %% [markdown]
# Whether they are *better* is a question for [Chapter 07](07_evaluation), with a judge, questions that no training text
# holds, and intervals.
#
# ### How long is too long?
#
# A policy can be driven so far from its reference that the numbers still improve while the text gets worse:
# over-optimisation. One early sign is a held-out loss that turns and rises, as the model grows ever surer of the pairs
# it has wrong. Zephyr-7B-beta's own log shows it; here it is beside ours.

# %%
zephyr = diagnostics.read_training_log(published.ZEPHYR_DPO_LOG)
for name, run in (("Zephyr-7B-beta", zephyr), ("this run", log)):
    found = diagnostics.overfitting(run)
    print(
        f"{name}: held-out loss lowest {found.best_loss:.3f} at step "
        f"{found.best_step:g}, last {found.last_loss:.3f}"
    )

# %% [markdown]
# Where the lowest is also the last, as in the miniature's single epoch, the run stopped before any such turn. Zephyr's
# ended half as high again as its lowest, and its authors kept all three epochs, since the chat scores were best there
# (their figure 3). So a rising loss is a reason to look at answers, and no verdict.
#
# ```{admonition} Pitfalls
# :class: warning
# - **The wrong reference.** Loss ln 2 and margins 0 at the start prove nothing about *which* model it is. Compare
#   `logps/chosen` with the dSFT model's own.
# - **Fine-tuned in memory, handed straight on.** Without an adapter TRL loads the reference from the path in the
#   model's configuration: save, load again, or pass `ref_model`.
# - **Means instead of sums.** The loss stays near ln 2 and the learning rate gets the blame.
# - **$\beta$ the wrong way round.** Larger keeps the policy closer.
# - **Rewards of different prompts compared.** $\beta \log Z(x)$ was dropped; it cancels within a prompt only.
# - **Answers cut at `max_length`.** They lose their end, and the model unlearns to stop.
# - **`label_smoothing` with TRL's sigmoid loss.** It has no effect there any more; use `robust`, or
#   `objectives.conservative_loss` in a loop of your own.
# - **LoRA dropout in a DPO recipe.** TRL switches all dropout off, so that policy and reference agree at the start.
# - **Evaluation on 64 examples.** One standard error is 5 points; that was Zephyr's own curve (chapter 06).
# ```

# %% [markdown]
# ## Your turn with your own data
#
# Pairs of your own: one JSON object a line (broken over several here to be read), with `chosen` and `rejected` as lists of
# messages that differ in the last one only, and a score for each; if you have none, write 1 and 0.
#
# ```json
# {"prompt": "What is 2 plus 2?",
#  "chosen": [{"role": "user", "content": "What is 2 plus 2?"}, {"role": "assistant", "content": "4."}],
#  "rejected": [{"role": "user", "content": "What is 2 plus 2?"}, {"role": "assistant", "content": "5."}],
#  "score_chosen": 1.0, "score_rejected": 0.0}
# ```
#
# Set `preferences` in the cell of the dials to the file's path and run this chapter again, or, from a shell,
# `zephyr run --scale smol/cpu --preferences FILE.jsonl --chapters 05`. At the miniature scale real pairs show that the
# pipeline runs from end to end, no more: a model of 1.3 million parameters that never read English ranks them no better
# than chance. Of few pairs up to two fifths are held out, so that 150 can be measured. Then go by this list:
#
# 1. What does `row_counts.report()` set aside, and do you agree?
# 2. Do the decoded tokens that count end with the end of the answer?
# 3. Is the first loss ln 2, *and* does `logps/chosen` match?
# 4. Held-out margin above 0, accuracy clearly above one half? Then read twenty answers.
#
# To try another value without touching your last run, give it a folder of its own:
# `Pipeline(runs="runs-beta-0.5", changes={"ddpo": {"beta": 0.5}}).ddpo()`.

# %% [markdown]
# ## Recap
#
# 1. *Derive equation 1*: best policy in closed form ({eq}`eq-05-best`, [the first exercise](ex-05-best-policy)), reward
#    from log-ratios, Bradley-Terry, maximum likelihood; preferences alone led back to $\pi^*$. $\beta$ prices moving.
# 2. *Write the loss*: [the second exercise](ex-05-loss), equal to the package's and to TRL's. A pair pulls with
#    $\sigma(-m)$.
# 3. *Which tokens, and sums*: [the third exercise](ex-05-sum); answer and its end, summed.
# 4. *The right start*: [the fourth exercise](ex-05-start); `logps/chosen` tells what ln 2 cannot.
# 5. *Read the curves*: margin and accuracy rise, the rejected fall, the chosen hardly move or fall too.
#
# ## References
#
# - {cite:t}`tunstall2023zephyr`: section 3, equation 1; section 4 for the recipe.
# - {cite:t}`rafailov2023dpo`: equations 3 to 7 and the gradient in section 4.
# - {cite:t}`bradley1952rank`: the model of paired comparisons.
# - {cite:t}`chowdhury2024robust` and {cite:t}`razin2024unintentional`: noisy labels; displaced likelihoods.
# - [alignment-handbook, issue 43](https://github.com/huggingface/alignment-handbook/issues/43): RMSprop, say the authors.

# %% tags=["remove-cell"]
artefacts.write_metrics(
    made.folder,
    {
        "held_out_margin": held_margin,
        "held_out_accuracy": held_accuracy,
        "first_step_loss": made.results["first_step_loss"],
        "train_accuracy": train_accuracy,
        "train_margin": train_margin,
        "held_out_chosen_reward": held_chosen,
        "held_out_rejected_reward": held_rejected,
        "held_out_loss": curves["eval_loss"][last],
        "ended_by_themselves": float(np.mean([answer.ended for answer in after])),
    },
)
