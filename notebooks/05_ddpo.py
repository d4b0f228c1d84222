# %% [markdown]
# # dDPO: learning from preferences
#
# The dSFT model can answer, but nobody has told it which of two answers is better. Here it learns that from pairs, with one
# loss, no reward model and no sampling: *distilled direct preference optimisation*, equation 1 of the paper
# {cite:p}`tunstall2023zephyr`, which is DPO {cite:p}`rafailov2023dpo` on a teacher's preferences. You will derive that
# equation in five steps, write its training step, and check it against TRL and the package.

# %% [markdown]
# ## What you will be able to do
#
# 1. Derive equation 1 from "earn reward, but stay near the dSFT model", and say what $\beta$ charges for.
# 2. Write the loss and a training step, and say which pairs contribute how much to the gradient.
# 3. Say which tokens of a pair count, and why their log-probabilities are summed and not averaged.
# 4. Start a run from the right reference model, and notice when it is another.
# 5. Read a run's curves: what should rise, what may fall, and what is no cause for alarm.

# %% [markdown]
# ## Set-up
#
# The three folded cells load the package, set the parameters (`scale` chooses model, data and recipe; the others replace one
# of them by something of your own) and import what follows.

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
import tempfile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import trl
from datasets import Dataset, disable_progress_bars
from IPython.display import HTML, Markdown, display
from peft import get_peft_model
from transformers import PrinterCallback, set_seed

from zephyr_utils import (
    chat, diagnostics, exercises, figures, lessons, objectives, published, training,
)
from zephyr_utils.errors import HandbookError
from zephyr_utils.explorers.dpo_loss import DpoLoss
from zephyr_utils.explorers.microscope import Microscope
from zephyr_utils.explorers.weights import pack_models
from zephyr_utils.figures import before_after_table
from zephyr_utils.pipeline import artefacts
from zephyr_utils.pipeline.pipeline import Pipeline
from zephyr_utils.tables import markdown_table

disable_progress_bars()
pipeline = Pipeline(
    scale=scale, seed=seed, dialogues=dialogues, feedback=feedback,
    preferences=preferences, base_model=base_model, runs=runs, **settings,
)
miniature_as_shipped = pipeline.as_published and pipeline.scale == "miniature"
# answers that are only looked at: a large model takes seconds for each
looked_at = 64 if pipeline.scale == "miniature" else 16

# %% [markdown]
# ## What a preference looks like
#
# One pair of a public demonstration set, in UltraFeedback's binarised form {cite:p}`cui2023ultrafeedback`:

# %%
real = published.published_record("preference_pair")
print(f"PROMPT: {real.record['prompt']}")
for side in ("chosen", "rejected"):
    answer = real.record[side][-1]["content"]
    print(f"{side.upper()}: {answer}")
print(f"\n({real.source}; {real.licence})")

# %% [markdown]
# Both answers are fluent. Fine-tuning on the first can make the second likelier too, since they share many words. We want a
# loss that tells them apart. (B3A9 is 1011001110101001, so the chosen answer is wrong as well: a pair says which of two
# answers is better, not that it is good.)
#
# ## From a reward to equation 1
#
# ### The problem, on four answers
#
# Suppose a reward $r(x, y)$ said how good answer $y$ to prompt $x$ is. We want a policy $\pi$ (a model, seen as a
# distribution over answers) that earns much reward, yet stays near a reference model $\pi_\mathrm{ref}$, the dSFT model:
# the reward can be trusted only on answers like those it was made from, and fluency comes from the reference. With $\beta$ as
# the price of moving away:
#
# $$
# \begin{aligned}
# J(\pi) &= \mathbb{E}_{y \sim \pi}[\,r(x, y)\,] - \beta\, \mathrm{KL}(\pi \,\|\, \pi_\mathrm{ref}), \\
# \mathrm{KL}(\pi \,\|\, \pi_\mathrm{ref}) &= \sum_y \pi(y) \log \frac{\pi(y)}{\pi_\mathrm{ref}(y)} .
# \end{aligned}
# $$ (eq-05-objective)
#
# (Numbers at the right are this book's own; *equation 1* is always the paper's.) This is equation 3 of DPO's paper, and what
# RLHF, reinforcement learning from human feedback, maximises by sampling. Our toy has one prompt, *What is 2 plus 2?*, and
# four possible answers, so that everything can be computed exactly.

# %%
answers = ["4.", "2 plus 2 is 4.", "It is 5.", "Gladly! It is 4."]
reference = torch.tensor([0.45, 0.35, 0.15, 0.05], dtype=torch.float64)  # sums to 1
reward = torch.tensor([2.0, 3.0, 0.0, 4.0], dtype=torch.float64)
beta = 1.0


def kl(policy, other):
    # xlogy is a log b with 0 log 0 = 0: a policy may give an answer no chance
    return torch.xlogy(policy, policy / other).sum()


def objective(policy):
    return policy @ reward - beta * kl(policy, reference)

# %% tags=["remove-input"]
lessons.predict(
    "Three policies: the reference itself; all four answers equally likely; all "
    "probability on the answer with the highest reward, which earns the most. Which "
    "has the **lowest** objective?",
    ["the reference", "all equally likely", "everything on the best answer"],
    2,
    key="three-policies",
)

# %% tags=["hide-output"]
policies = {
    "reference": reference,
    "uniform": torch.full((4,), 0.25, dtype=torch.float64),
    "all on the best": torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=torch.float64),
}
for name, policy in policies.items():
    print(
        f"{name:16s} reward {policy @ reward:.3f}  KL {kl(policy, reference):.3f}  "
        f"objective {objective(policy):.3f}"
    )

# %% tags=["remove-input"]
lessons.explain(
    f"Everything on the best answer earns {reward.max():.1f}, but the reference gave "
    f"that answer {reference[3]:.0%}, and moving there costs $\\log(1 / "
    f"{reference[3]:.2f}) = {-reference[3].log():.1f}$. The reference pays nothing and "
    "is the highest of the three; the uniform policy moves a little, and gains less "
    "than it pays. None of them is the best there is.",
    key="three-policies",
)

# %% [markdown]
# ### Step 1: the best policy in closed form
#
# Put both terms under one sum and factor $-\beta$ out:
#
# $$
# \begin{aligned}
# J(\pi) &= -\beta \sum_y \pi(y) \left[ \log \frac{\pi(y)}{\pi_\mathrm{ref}(y)} - \frac{r(y)}{\beta} \right] \\
#        &= -\beta \sum_y \pi(y) \log \frac{\pi(y)}{\pi_\mathrm{ref}(y)\, e^{r(y)/\beta}} .
# \end{aligned}
# $$
#
# The denominator would be a distribution if it summed to 1. Let $Z = \sum_y \pi_\mathrm{ref}(y)\, e^{r(y)/\beta}$ be its
# sum, and define the distribution
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
# A KL divergence is never below 0, and is 0 only where both are equal. So $\pi^*$ is the best policy there is, with the value
# $\beta \log Z$ (DPO, equation 4).

# %% [markdown]
# ````{exercise} The best policy, in code
# :label: ex-05-best-policy
#
# **Difficulty** ●●○○○ · **Minutes** 5
#
# Write `best_policy(reference, rewards, beta)`: return $\pi^*$ of equation {eq}`eq-05-best`. The first two arguments are
# NumPy arrays with one entry per answer, and so is the result.
# ````

# %% tags=["exercise"]
def best_policy(reference, rewards, beta):
    ...


exercises.check_optimal_policy(best_policy)
best_policy = exercises.yours(best_policy, exercises.check_optimal_policy)

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
# Both claims of {eq}`eq-05-gap` on the toy: $\pi^*$ has the value $\beta \log Z$, and *any* policy falls short of it by
# $\beta$ times a KL divergence.

# %%
best = torch.from_numpy(best_policy(reference.numpy(), reward.numpy(), beta))
Z = (reference * (reward / beta).exp()).sum()
some = torch.rand(4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
some /= some.sum()
print(f"J(best) {objective(best):.6f}   beta log Z {beta * Z.log():.6f}")
predicted = beta * Z.log() - beta * kl(some, best)
print(f"J(some) {objective(some):.6f}   by the formula {predicted:.6f}")
assert torch.isclose(objective(best), beta * Z.log())
assert torch.isclose(objective(some), predicted)

# %% [markdown]
# Algebra can be wrong in the same way twice. An independent check: start at the reference and climb the objective by gradient
# ascent.

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

# %% tags=["remove-input"]
lessons.predict(
    "$\\beta$ is about to run from 0.1 to 100. Which value leaves the policy almost "
    "at the reference?",
    ["0.1", "100"],
    1,
    key="beta",
)

# %% tags=["hide-output"]
by_beta = {
    f"{price:g}": best_policy(reference.numpy(), reward.numpy(), price)
    for price in (100.0, 10.0, 1.0, 0.1)
}
display(Markdown(markdown_table(
    ["beta", *answers],
    [
        [name, *(f"{p:.3f}" for p in policy)]
        for name, policy in ({"reference": reference} | by_beta).items()
    ],
    numbers=range(1, 5),
)))

# %% tags=["remove-input"]
lessons.explain(
    "**Larger $\\beta$, closer to the reference.** At the highest price hardly "
    "anything moves; at the lowest nearly all probability lies on the answer with the "
    "highest reward. It is easily taken the wrong way round, because $\\beta$ also "
    "multiplies the log-ratio *inside* the loss, where a larger $\\beta$ looks like a "
    "stronger push. It is one, and so the same margin is reached with a smaller change "
    "of the policy.",
    key="beta",
)

# %% [markdown]
# ### Step 2: read the reward off the policy
#
# Equation {eq}`eq-05-best` gives a policy for each reward. Solved for $r$:
#
# $$
# r(x, y) = \beta \log \frac{\pi^*(y \mid x)}{\pi_\mathrm{ref}(y \mid x)} + \beta \log Z(x) .
# $$ (eq-05-reward)
#
# Every policy is the best one for *some* reward, and this says which: "your language model is secretly a reward model", as
# DPO's title has it.

# %%
recovered = beta * (best / reference).log() + beta * Z.log()
as_printed = beta * best / reference + beta * Z.log()  # see the box below
print("reward    ", reward.numpy())
print("recovered ", recovered.numpy().round(6))
print("as printed", as_printed.numpy().round(3))
assert torch.allclose(recovered, reward)

# %% [markdown]
# ```{admonition} A misprint in the paper
# :class: warning dropdown
# In its section 3 the Zephyr paper prints this equation without the logarithm, as
# $r(x, y) = \beta\, \pi^*(y \mid x) / \pi_\mathrm{dSFT}(y \mid x) + \beta \log Z(x)$. Its equation 1, two lines on, has the
# logarithm, as has DPO's paper. The last line above settles it: not even the differences of rewards survive.
# ```

# %% [markdown]
# ### Step 3: from rewards to preferences
#
# We have no rewards. The teacher's ratings gave us *pairs*: a chosen answer $y_w$ and a rejected one $y_l$. The Bradley-Terry
# model {cite:p}`bradley1952rank` links rewards and pairs by the logistic function $\sigma(m) = 1 / (1 + e^{-m})$:
#
# $$
# p(y_w \succ y_l \mid x) = \sigma\big(r(x, y_w) - r(x, y_l)\big) .
# $$ (eq-05-bt)
#
# It holds, for example, for a judge who sees each reward with noise from a Gumbel distribution and prefers the answer that
# looks better. Let such a judge compare the fourth answer with the second, 200,000 times.

# %%
draw = torch.Generator().manual_seed(seed)
noise = -(-torch.rand(2, 200_000, generator=draw, dtype=torch.float64).log()).log()
looks = reward[[3, 1], None] + noise
share = (looks[0] > looks[1]).double().mean()
print(
    f"the judge prefers the fourth answer in {share:.4f}; "
    f"sigma(4 - 3) = {torch.sigmoid(reward[3] - reward[1]):.4f}"
)
assert abs(share - torch.sigmoid(reward[3] - reward[1])) < 0.006  # six standard errors

# %% [markdown]
# Only the *difference* of two rewards enters, so whatever both answers share cancels. In equation {eq}`eq-05-reward` that is
# $\beta \log Z(x)$, the one part that nobody could compute: it sums over all texts there are.
#
# ### Step 4: equation 1
#
# Put {eq}`eq-05-reward` into {eq}`eq-05-bt`, with the model in training $\pi_\theta$ in place of $\pi^*$, and maximise
# the likelihood of the teacher's choices. That is the loss, with the dSFT model as the reference (Zephyr, equation 1; DPO,
# equation 7):
#
# $$
# \begin{aligned}
# L(\theta) = -\,\mathbb{E}_{(x, y_w, y_l)} \bigg[ \log \sigma \bigg(
#   & \beta \log \frac{\pi_\theta(y_w \mid x)}{\pi_\mathrm{dSFT}(y_w \mid x)} \\
#   & - \beta \log \frac{\pi_\theta(y_l \mid x)}{\pi_\mathrm{dSFT}(y_l \mid x)} \bigg) \bigg] .
# \end{aligned}
# $$ (eq-05-ddpo)
#
# Its parts have names: $r_w = \beta \log \frac{\pi_\theta(y_w)}{\pi_\mathrm{dSFT}(y_w)}$ is the **implicit reward** of the
# chosen answer, $r_l$ that of the rejected one, and $m = r_w - r_l$ the **reward margin**. (The paper maximises the
# expression; we minimise its negative.) With the four log-probabilities of the [overview](00_overview):
#
# ![Above, two scales of log-probabilities. The chosen answer goes up by 3 nats, from −15 under the dSFT model to −12
# under the policy; the rejected one goes down by 3, from −16 to −19. Below, a scale of rewards: beta times these
# log-ratios are +0.3 and −0.3, and the distance between them is the reward margin, 0.6.](figures/log-ratios.svg)
#
# *Four numbers make a margin. Each answer's log-ratio says how far the policy has moved it since dSFT, and only the
# difference of the two enters the loss. Before training every circle is empty and the margin is 0.*
#
# No reward is left in the loss. Does it lead to the same policy?

# %%
# wins[i, j]: how often answer i is preferred to answer j
wins = (reward[:, None] - reward[None, :]).sigmoid()
wins.fill_diagonal_(0)


def preference_loss(log_policy):
    ratios = log_policy - reference.log()
    # margins[i, j]: of answer i over answer j
    margins = beta * (ratios[:, None] - ratios[None, :])
    return -(wins * F.logsigmoid(margins)).sum() / wins.sum()

# %% tags=["remove-input"]
lessons.predict(
    "This loss sees the reference and how often each answer is preferred to each "
    "other, never a reward. We minimise it over the four probabilities. Where does "
    "it end?",
    [
        "with everything on the answer that is preferred most",
        "at the win rates themselves",
        "at the $\\pi^*$ of step 1",
    ],
    2,
    key="from-preferences",
)

# %% tags=["hide-output"]
scores = reference.log().clone().requires_grad_()
descent = torch.optim.Adam([scores], lr=0.1)
for _ in range(600):
    descent.zero_grad()
    loss = preference_loss(scores.log_softmax(dim=0))
    loss.backward()
    descent.step()
print("from preferences", scores.softmax(dim=0).detach().numpy().round(4))
print("from rewards    ", best.numpy().round(4))
print(f"loss {loss.item():.4f}")
assert torch.allclose(scores.softmax(dim=0), best, atol=1e-3)

# %% tags=["remove-input"]
lessons.explain(
    "At $\\pi^*$: the margins that make the choices likeliest are the differences of "
    f"the rewards. The loss ends at {loss.item():.3f}, the entropy of the choices, "
    "because this judge sometimes prefers the worse answer. *Everything on the "
    "preferred answer* would be right if each pair were judged once and taken for "
    "certain: then margins can grow for ever. Real preference sets are like that, "
    "which is why the number of epochs matters. (Win rates say how often an answer is "
    "preferred, not how often the policy should give it.)",
    key="from-preferences",
)

# %% [markdown]
# ### Step 5: the gradient, and which pairs it comes from
#
# The derivative of $-\log \sigma(m)$ is $-\sigma(-m)$. With the chain rule (DPO, section 4):
#
# $$
# \begin{aligned}
# \nabla_\theta L = -\beta\, \mathbb{E} \big[\, \sigma(-m)\,
#   \big( & \nabla_\theta \log \pi_\theta(y_w \mid x) \\
#   & - \nabla_\theta \log \pi_\theta(y_l \mid x) \big) \big] .
# \end{aligned}
# $$ (eq-05-gradient)
#
# Each step raises the chosen answer's log-probability and lowers the rejected one's, both with the weight
# $\beta\,\sigma(-m)$. How far the two then *move* is another matter, since both depend on the same parameters.

# %% tags=["remove-input"]
lessons.predict(
    "Three pairs: one ranked wrongly ($m = -2$), one undecided ($m = 0$), one "
    "settled ($m = 4$). How much larger is the weight of the wrong pair than that of "
    "the settled one?",
    ["about 2 times", "about 6 times", "about 50 times"],
    2,
    key="weights",
)

# %% tags=["hide-output"]
margins = torch.tensor([-2.0, 0.0, 4.0], dtype=torch.float64, requires_grad=True)
(-F.logsigmoid(margins)).sum().backward()
weights = objectives.dpo_gradient_weight(margins.detach())
print("autograd   ", margins.grad.numpy().round(4))
print("-sigma(-m) ", -weights.numpy().round(4))
print(f"wrong over settled: {weights[0] / weights[2]:.0f}")
assert torch.allclose(margins.grad, -weights)

# %% tags=["remove-input"]
lessons.explain(
    f"{weights[0] / weights[2]:.0f} times: {weights[0]:.3f} against {weights[2]:.3f}. "
    f"The undecided pair has a weight of {weights[1]:.1f}, as every pair does before "
    "the first step. A settled pair contributes next to nothing, so the gradient of a "
    "batch comes from the pairs that the model ranks wrongly, mislabelled ones among "
    "them.",
    key="weights",
)

# %% [markdown]
# The explorer adds two relatives, for labels that are flipped with probability $\varepsilon$. *Conservative* DPO
# (E. Mitchell, a note of 2023) mixes in the flipped label and comes to rest at a margin of $\log \frac{1 -
# \varepsilon}{\varepsilon}$. *Robust* DPO {cite:p}`chowdhury2024robust` subtracts the flipped label, so that the mean over
# noisy labels is the loss on clean ones. At which $\beta$ does a difference of 20 nats have a loss below 0.1? From which
# margin on does conservative DPO push a pair back?

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
# Write `my_dpo_loss`, equation {eq}`eq-05-ddpo`. The first four arguments are tensors with one log-probability per pair;
# return the mean over the batch.
# ````

# %% tags=["exercise"]
def my_dpo_loss(
    policy_chosen, policy_rejected, reference_chosen, reference_rejected, beta
):
    ...


exercises.check_dpo_loss(my_dpo_loss)
my_dpo_loss = exercises.yours(my_dpo_loss, exercises.check_dpo_loss)

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
#     reward_chosen = beta * (policy_chosen - reference_chosen)
#     reward_rejected = beta * (policy_rejected - reference_rejected)
#     return -F.logsigmoid(reward_chosen - reward_rejected).mean()
# ```
# `````

# %% [markdown]
# The package's `objectives.dpo_loss` gives the same numbers, and refuses shapes that would broadcast: `(n,)` and `(n, 1)`
# silently make `(n, n)`, and the mean still looks like a loss. Why `logsigmoid`, and not the logarithm of `sigmoid`? For a
# pair that is very wrong the sigmoid rounds to 0 in float32:

# %%
four = [40 * torch.rand(16, generator=draw) - 60 for _ in range(4)]
print(f"{my_dpo_loss(*four, 0.1):.6f} {objectives.dpo_loss(*four, 0.1):.6f}")
assert torch.allclose(my_dpo_loss(*four, 0.1), objectives.dpo_loss(*four, 0.1))
very_wrong = torch.tensor(-120.0)
print(
    "log(sigmoid(m))", torch.sigmoid(very_wrong).log().item(),
    "  logsigmoid(m)", F.logsigmoid(very_wrong).item(),
)

# %% [markdown]
# ## The pairs
#
# [Chapter 04](04_preference_pairs) made them. A tenth of the *prompts* is held out. Rows whose two answers are identical, or
# that do not fit the context, are set aside and counted; none is truncated, since the answer would lose its end.

# %%
train, held_out, row_counts = pipeline.split_pairs()
print(row_counts.report())
print(f"{len(train):,} to train on, {len(held_out):,} held out")
assert len(train) + len(held_out) == len(row_counts.rows)
pair = train[0]
for message in pair["chosen"][:-1]:
    print(f"{message['role']}: {message['content']}")
sides = ("chosen", "rejected")
for side in sides:
    print(f"{side.upper()} ({pair[f'score_{side}']}): {pair[side][-1]['content']}")

# %% [markdown]
# ### Which tokens count
#
# The model reads the whole conversation and is scored on the answer alone: $\log \pi(y \mid x)$ is the log-probability of
# the answer's tokens, each given all before it.

# %% tags=["remove-input"]
lessons.predict(
    "What counts as the answer?",
    [
        "its words",
        "its words and the tokens that end the turn",
        "both, and the marker of the assistant's turn in front",
    ],
    1,
    key="which-tokens",
)

# %%
sft, recipe = pipeline.dsft(), pipeline.recipe("ddpo")
sft_model = sft.folder / training.MODEL
model, tokenizer = chat.load_model(sft_model, dtype=recipe["dtype"])


def encoded(messages, tokenizer=tokenizer):
    """Ids of the conversation, and 1 for each token of the answer."""
    begins = len(chat.encode_prompt(tokenizer, messages[:-1]))
    ids, _ = chat.encode(tokenizer, messages)
    return ids, [0] * begins + [1] * (len(ids) - begins)

# %% tags=["hide-output"]
for side in sides:
    ids, in_answer = encoded(pair[side])
    counted = [token for token, inside in zip(ids, in_answer, strict=True) if inside]
    print(f"{side}: {len(counted)} of {len(ids)}: {tokenizer.decode(counted)!r}")
    assert tokenizer.eos_token_id in counted, (
        "the end does not count, so the model would never learn to stop"
    )

# %% tags=["remove-input"]
lessons.explain(
    "The words, the end-of-sequence token, and the template's line break after it. "
    "The marker belongs to the prompt, since the runtime writes it. Without the end, "
    "stopping at the right place would earn nothing. (Zephyr's first code had the "
    "marker *inside* both answers; its log-probability is nearly the same in both, "
    "so it cancels in the margin.)",
    key="which-tokens",
)

# %% [markdown]
# ### Sums, not means
#
# ````{exercise} The log-probability of an answer
# :label: ex-05-sum
#
# **Difficulty** ●●○○○ · **Minutes** 5
#
# Write `answer_log_prob`: return $\log \pi(y \mid x)$, a number. `token_log_probs` is an array with one entry per token of
# the whole conversation; `in_answer` is 1 for tokens of the answer (its end among them) and 0 elsewhere.
# ````

# %% tags=["exercise"]
def answer_log_prob(token_log_probs, in_answer):
    ...


exercises.check_answer_log_prob(answer_log_prob)
answer_log_prob = exercises.yours(answer_log_prob, exercises.check_answer_log_prob)

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
# On the chosen answer, beside `training.answer_log_probs`, which does it for padded batches:

# %%
ids, in_answer = (torch.tensor(numbers) for numbers in encoded(pair["chosen"]))
with torch.no_grad():
    logits = model(input_ids=ids[None].to(model.device)).logits[0].float().cpu()
# log-probability of every token but the first
each = logits[:-1].log_softmax(-1).gather(1, ids[1:, None])[:, 0]
by_hand = float(answer_log_prob(each.numpy(), in_answer[1:].numpy()))
[packaged] = training.answer_log_probs(model, tokenizer, [pair["chosen"]])
pieces = [
    f"{tokenizer.decode([token])!r} {p:.3f}"
    for token, p in zip(ids[1:], each.exp(), strict=True)
][-int(in_answer.sum()) :]
print("\n".join(", ".join(pieces[i : i + 7]) for i in range(0, len(pieces), 7)))
print(f"by hand {by_hand:.4f}, package {packaged:.4f}")
assert abs(by_hand - packaged) < 1e-3

# %% [markdown]
# Code that averages trains another loss, in which a token of a short answer weighs more than one of a long answer. (With a
# $\beta$ about fifty times as large that is a known relative, `objectives.sigmoid_norm_loss`.)

# %% [markdown]
# ## The reference
#
# A pair needs four log-probabilities: two of the policy, two of the frozen dSFT model. With a LoRA adapter one copy of the
# weights serves both, if the two are kept apart. Ways to do it with TRL 1.16, where *adapter* is what dSFT left:
#
# | way | what is the reference | verdict |
# |---|---|---|
# | **A** merge the adapter into the base, then a new adapter | new adapter switched off = merged dSFT model | right |
# | **B** base with the dSFT adapter, trained further | a frozen copy of that adapter, made by TRL | right; nothing is merged, so best with 4-bit weights |
# | **C** as B, but loaded without `is_trainable=True` | never reached | stops with an error: no gradient |
# | **D** as A, reference log-probabilities computed once | the same numbers, kept | right, and what we do |
# | **E** the base, dSFT adapter *forgotten*, then a new adapter | the base model | wrong: tried out below |
#
# **Why once (D)?** The reference never changes, nor do its two numbers per pair. A live reference adds a forward pass to each
# step; with the paper's three epochs, two thirds of those passes are saved. And where all weights are trained, a live
# reference is a second model in memory ([Chapter 09](09_scaling_up) measures both).
#
# Before the first step the policy must *be* the dSFT model: every margin is 0, the loss is $-\log \sigma(0) = \ln 2$, and the
# chosen answers have the log-probability that the dSFT model, loaded afresh, gives.

# %% tags=["remove-input"]
lessons.predict(
    "Way E takes the base instead of the merged dSFT model: a forgotten "
    "`merge_and_unload`, a wrong path. What does such a run show at its first step?",
    ["a loss far above ln 2", "margins below 0", "what a right run shows"],
    key="wrong-start",
)

# %% tags=["hide-output"]
scratch, few = Path(tempfile.mkdtemp()), train[:8]
own = training.answer_log_probs(model, tokenizer, [row["chosen"] for row in few])
del model  # where the model is large, no second one fits beside the trainer's
# of 7 B, one copy at a time is enough
starts = {"dSFT": sft_model}
if not pipeline.setting.needs_gpu:
    starts["base"] = pipeline.model_directory("base")
template = pipeline.chat_template
seen, trainers = {}, {}
for name, start in starts.items():
    trainers[name] = training.ddpo_trainer(
        start, few, scratch / name, recipe, chat_template=template
    )
    seen[name] = training.check_first_step(trainers[name], start, few, recipe, template)
    print(
        f"started from {name}: loss {seen[name]['first_step_loss']:.6f}, "
        f"logps/chosen {seen[name]['first_step_logps_chosen']:.2f}"
    )
print(f"ln 2 = {np.log(2):.6f}; logps/chosen of the dSFT model {own.mean():.2f}")
wrong_loss = seen.get("base", seen["dSFT"])["first_step_loss"]

# %% tags=["remove-input"]
lessons.explain(
    f"A loss of {wrong_loss:.4f}, which is ln 2, and margins of zero: policy and "
    "reference are the same model, just not the right one. Such a run trains on, and "
    "its margins grow (Chapter 08 shows what its answers are worth). The loss compares "
    "policy and reference with each other, never with the model you meant. Only "
    "`logps/chosen` gives it away, compared with what the dSFT model says: "
    f"{own.mean():.2f}.",
    key="wrong-start",
    answer=2 if abs(wrong_loss - np.log(2)) < 1e-3 else 0,
)

# %% [markdown]
# ````{exercise} Which model did this run start from?
# :label: ex-05-start
#
# **Difficulty** ●●●○○ · **Minutes** 10
#
# Write `started_from(logged, dsft, base)`. The arguments are arrays of log-probabilities of the same answers: what a run
# logged at its first step, and what the two models give. Return `"dsft"`, `"base"` or `"neither"`.
# ````

# %% tags=["exercise"]
def started_from(logged, dsft, base):
    ...


exercises.check_first_step(started_from)
started_from = exercises.yours(started_from, exercises.check_first_step)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# The same sum in another order differs in its last digits: compare with a tolerance.
# ```
#
# ```{admonition} Hint 2
# :class: tip dropdown
# "Nearer to dsft than to base" is not enough, and neither are means. `np.abs(logged - dsft).max()` against a hundredth
# of a nat is.
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
# On the two trainers above. `training.ddpo` makes the same comparison before the first step of every run, and stops if it
# fails:

# %%
if "base" in trainers:
    chosen = [row["chosen"] for row in few]
    fresh, _ = chat.load_model(starts["base"], dtype=recipe["dtype"])
    base_own = training.answer_log_probs(fresh, tokenizer, chosen)
    for name, one in trainers.items():
        logged = training.answer_log_probs(one.model, tokenizer, chosen).numpy()
        found = started_from(logged, own.numpy(), base_own.numpy())
        print(f"trainer of {name}: started from {found}")
        assert found == name.lower()
    try:
        training.check_first_step(trainers["base"], sft_model, few, recipe)
        raise AssertionError(
            "the check let a run through that started from the base model"
        )
    except HandbookError as error:
        print(error)
trainers.clear()  # their memory is wanted now

# %% [markdown]
# ```{admonition} A second trap: fine-tuned in memory, handed straight on
# :class: warning dropdown
# Without an adapter TRL loads the reference from the path in the model's *configuration*, which after fine-tuning in
# memory is still the base's. Save and load again, pass `ref_model`, or set `precompute_ref_log_probs`: then the policy
# before its first step is the reference.
# ```

# %% [markdown]
# ## Training, in the open
#
# The loop needs one thing more than that of [Chapter 02](02_dsft): a step.

# %% [markdown]
# ````{exercise} A training step of dDPO
# :label: ex-05-step
#
# **Difficulty** ●●●●○ · **Minutes** 25
#
# Write `ddpo_step(policy, reference, beta, optimizer)`. `policy` and `reference` are each a pair (chosen, rejected) of
# tensors, with one log-probability per pair of answers; `policy` depends on the weights that `optimizer` holds. Take one
# step on the mean loss of equation {eq}`eq-05-ddpo`, and return that loss, as it was before the step, as a number. A margin
# of −150 must not break it. The loop below runs on your function once it passes.
# ````

# %% tags=["exercise"]
def ddpo_step(policy, reference, beta, optimizer):
    ...


exercises.check_ddpo_step(ddpo_step)
ddpo_step = exercises.yours(ddpo_step, exercises.check_ddpo_step)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# Two log-ratios, one margin, one loss; then the three calls that every PyTorch loop has.
# ```
#
# ```{admonition} Hint 2
# :class: tip dropdown
# `optimizer.zero_grad()`, `loss.backward()`, `optimizer.step()`, in this order; `loss.item()` is the number.
# ```

# %% [markdown]
# `````{solution} ex-05-step
# :class: dropdown
# ```python
# def ddpo_step(policy, reference, beta, optimizer):
#     chosen, rejected = (ours - fixed for ours, fixed in zip(policy, reference))
#     loss = -F.logsigmoid(beta * (chosen - rejected)).mean()
#     optimizer.zero_grad()
#     loss.backward()
#     optimizer.step()
#     return loss.item()
# ```
# `````

# %% [markdown]
# A fresh dSFT model under a fresh adapter, and twenty batches of eight pairs. (At every scale this section trains the
# miniature, because its subject is the loop. At another scale it takes the dSFT model that comes with the package.)

# %%
shown, start = pipeline, sft_model
if pipeline.scale != "miniature":
    shown, start = Pipeline(scale="miniature", runs=runs), scratch / "miniature"
    for part in shown.setting.shipped("dsft"):  # the model, its tokenizer
        part.save_pretrained(start)
short = {
    **shown.recipe("ddpo"),
    "num_train_epochs": 1, "lr_scheduler_type": "constant", "warmup_steps": 0,
    "train_sampling_strategy": "sequential", "logging_steps": 1,
    "per_device_train_batch_size": 8, "max_grad_norm": 0.0,
}
rate, open_pairs = short["learning_rate"], shown.split_pairs()[0][: 20 * 8]
model, tokens_of = chat.load_model(start)
chat.prepare_tokenizer(tokens_of)
set_seed(short["seed"])
model = get_peft_model(model, training.lora_config(short)).train()
trainable = [weight for weight in model.parameters() if weight.requires_grad]
optimizer = torch.optim.AdamW(trainable, lr=rate, weight_decay=0.0)

# %% [markdown]
# The log-probabilities of a batch: both answers of each pair in one padded batch, and for each row the sum over its answer.

# %%
def log_probs(model, pairs):
    """log pi(y | x) of the chosen and of the rejected answers: two tensors (pairs,)."""
    rows = [encoded(row[side], tokens_of) for side in sides for row in pairs]
    ids, inside = (
        torch.nn.utils.rnn.pad_sequence(
            [torch.tensor(row[part]) for row in rows], batch_first=True
        ).to(model.device)
        for part in (0, 1)
    )
    # padding is on the right, where no token of a row sees it
    scores = model(input_ids=ids).logits[:, :-1].log_softmax(-1)
    each = scores.gather(2, ids[:, 1:, None])[:, :, 0]
    return (each * inside[:, 1:]).sum(1).split(len(pairs))

# %% [markdown]
# And the loop. With its adapter switched off, the model is its own reference.

# %%
loop_losses = []
for first in range(0, len(open_pairs), 8):
    pairs = open_pairs[first : first + 8]
    with torch.no_grad(), model.disable_adapter():
        fixed = log_probs(model, pairs)
    policy = log_probs(model, pairs)
    loss = ddpo_step(policy, fixed, short["beta"], optimizer)
    loop_losses.append(float(loss))
print(f"{len(loop_losses)} steps, loss {loop_losses[0]:.4f} to {loop_losses[-1]:.4f}")
assert abs(loop_losses[0] - np.log(2)) < 1e-5

# %% [markdown]
# Twenty small steps hardly move the loss, and each batch has other pairs; what matters here is that three programs agree. The
# same with TRL, where a row is `prompt`, `chosen` and `rejected`, each a list of messages:

# %%
trainer = trl.DPOTrainer(
    model=chat.load_model(start)[0],
    args=trl.DPOConfig(
        output_dir=scratch / "trl", seed=short["seed"], report_to="none",
        beta=short["beta"], num_train_epochs=1, per_device_train_batch_size=8,
        learning_rate=rate, lr_scheduler_type="constant", optim=short["optim"],
        weight_decay=0.0, max_grad_norm=0.0, train_sampling_strategy="sequential",
        max_length=short["max_length"], logging_steps=1, save_strategy="no",
        bf16=False, gradient_checkpointing=False, disable_tqdm=True,
        use_cpu=not torch.cuda.is_available(),
    ),
    train_dataset=Dataset.from_list(
        [{"prompt": row["chosen"][:-1], **{side: row[side][-1:] for side in sides}}
         for row in open_pairs]
    ),
    processing_class=tokens_of,
    peft_config=training.lora_config(short),
)
trainer.remove_callback(PrinterCallback)

# %%
trainer.train()
packaged = training.ddpo(start, open_pairs, scratch / "package", short)
trl_losses, package_losses = (
    [entry["loss"] for entry in log if "loss" in entry]
    for log in (trainer.state.log_history, packaged.log)
)

# %%
print("step   by hand       TRL   package")
for step in (0, 1, len(loop_losses) - 1):
    three = loop_losses[step], trl_losses[step], package_losses[step]
    print(f"{step + 1:4}", *(f"{loss:9.6f}" for loss in three))
gaps = [
    max(abs(a - b) for a, b in zip(loop_losses, other, strict=True))
    for other in (trl_losses, package_losses)
]
print(f"largest gap to the loop: TRL {gaps[0]:.1e}, package {gaps[1]:.1e}")
if not torch.cuda.is_available():
    assert max(gaps) < 5e-6, "the loops differ: in rows, order, mask, seed or rate?"
del model, trainer

# %% [markdown]
# ## The recipe
#
# Paper, model card and code disagree about Zephyr's own run. On one point the authors have said what is true: they trained
# with **RMSprop**, whatever paper and card say (alignment-handbook, issue 43). Their later recipe changed more, after faulty
# labels in UltraFeedback had been found. So "Zephyr's hyperparameters" needs a date. (Adam is AdamW without weight decay.
# RMSprop has no momentum and, in PyTorch, no bias correction: its first step is ten times the learning rate, which warm-up
# softens.)
#
# | | paper | model card | code, November 2023 | code, since January 2024 |
# |---|---|---|---|---|
# | beta | 0.1 | not said; its log implies 0.1 | 0.1 | 0.01 |
# | epochs | 3 | 3 | 3 | 1 |
# | optimiser | AdamW, no weight decay | Adam | RMSprop (used, say the authors) | AdamW |
# | learning rate | 5e-7 | 5e-7 | 5e-7 | 5e-7 (QLoRA: 5e-6) |
# | schedule | linear, 10 % warm-up | linear, 10 % warm-up | linear, 10 % warm-up | cosine, 10 % warm-up |
# | tokens at most | not said | not said | 1,024 (prompt 512) | 1,024 (prompt 512) |
# | pairs per step | 32 | 32 | 64 | 128 |
#
# Here:

# %%
for name in (
    "beta", "num_train_epochs", "optim", "learning_rate", "lr_scheduler_type",
    "warmup_steps", "max_length",
):
    print(f"{name:>20}: {recipe[name]}")
pairs_per_step = (
    recipe["per_device_train_batch_size"] * recipe["gradient_accumulation_steps"]
)
print(f"{'pairs per step':>20}: {pairs_per_step}")

# %% [markdown]
# The miniature's learning rate is far higher: an adapter on a model this small takes larger steps than all weights of a model
# of 7 billion. The recipe file gives the reason for each value, and [paper, card, code](../paper-card-code) the whole
# comparison. [Chapter 06](06_reward_margins) reads the card's $\beta$ off its log.
#
# ## Train

# %% tags=["remove-input"]
lessons.predict(
    "The rewards of chosen and rejected both start at 0. At the end of training, on "
    "*held-out* pairs: which has moved further?",
    [
        "the reward of the chosen answers, upwards",
        "the reward of the rejected answers, downwards",
        "both equally far",
    ],
    key="which-moves",
)

# %%
made = pipeline.ddpo()
print(
    f"{made.results['rows_trained']:,} pairs, {made.seconds:.0f} s"
    f"{', made earlier' if made.reused else ''}"
)
print(
    f"first loss {made.results['first_step_loss']:.6f}, "
    "log-probability of the first chosen answers "
    f"{made.results['first_step_logps_chosen']:.4f}, "
    f"under the dSFT model {made.results['sft_logps_chosen']:.4f}"
)

# %% [markdown]
# The log has two kinds of rows. *Training* rows are means over the batches just seen, other pairs every time. *Evaluation*
# rows are measured on the same held-out pairs, from before the first step on: at most 256, and few enough to cost at most a
# tenth of the run. (Batches hold pairs of similar length, in shuffled order.)

# %% tags=["hide-output"]
log = diagnostics.read_training_log(made.folder / training.LOG)
keys = (
    "rewards/chosen", "rewards/rejected", "rewards/margins", "rewards/accuracies",
    "logps/chosen", "loss",
)
curves = {}
for prefix, kind in (("", log.training), ("eval_", log.evaluation)):
    for key in keys:
        there = np.isfinite(kind[key])
        steps, values = kind["step"][there].tolist(), kind[key][there].tolist()
        curves[prefix + key] = dict(zip(steps, values, strict=True))
measured = list(curves["eval_rewards/margins"])
first, last = measured[0], measured[-1]
for key in keys:
    start, end = (curves[f"eval_{key}"][step] for step in (first, last))
    print(f"{key:20s} held out: {start:8.3f} before, {end:8.3f} after")
if not curves["eval_rewards/accuracies"][first]:
    print("(An accuracy of 0, not one half: every margin is 0; margins above 0 count.)")
held_chosen, held_rejected = (curves[f"eval_rewards/{side}"][last] for side in sides)
held_accuracy, held_margin = (
    curves[f"eval_rewards/{key}"][last] for key in ("accuracies", "margins")
)

# %% tags=["hide-input", "hide-output"]
figures.show(
    figures.reward_curves(curves),
    alt=(
        "Rewards, margin and accuracy by step. On held-out pairs "
        f"the chosen reward ends at {held_chosen:.2f}, the rejected at "
        f"{held_rejected:.2f}, the accuracy at {held_accuracy:.2f}."
    ),
    caption=(
        f"Held out, the margin ends at {held_margin:.2f} (chosen {held_chosen:+.2f}, "
        f"rejected {held_rejected:+.2f}). Solid: batches in training. "
        "Dashed: the same held-out pairs each time."
    ),
)

# %% tags=["remove-input"]
lessons.explain(
    f"The chosen answers' reward ends at {held_chosen:+.2f}, the rejected ones' at "
    f"{held_rejected:+.2f}. "
    + (
        "The rejected answers did most of the moving. "
        if abs(held_rejected) > abs(held_chosen)
        else "Here the chosen answers did most of the moving. "
    )
    + "The gradient of step 5 raises one log-probability and lowers the other, but "
    "what both answers share cancels. The loss asks for a distance, whichever end "
    "moves.",
    key="which-moves",
    answer=1 if abs(held_rejected) > abs(held_chosen) else 0,
)

# %% tags=["hide-input"]
figures.show(
    figures.loss_curve(
        {"training": curves["loss"], "held out": curves["eval_loss"]},
        label="loss (nats per pair)",
    ),
    alt=(
        "The loss starts at ln 2; on held-out pairs it goes from "
        f"{curves['eval_loss'][first]:.3f} to {curves['eval_loss'][last]:.3f}."
    ),
    caption=(
        "The preference loss, in nats per pair, from ln 2 = 0.693 (a coin toss) to "
        f"{curves['eval_loss'][last]:.2f} on held-out pairs."
    ),
)

# %% [markdown]
# ### What you should see
#
# The last training row has few batches, so for a number to compare across runs we average the last quarter of the rows.

# %%
def last_quarter(values):
    values = np.array(list(values))
    return float(values[-max(1, len(values) // 4) :].mean())


train_accuracy = last_quarter(curves["rewards/accuracies"].values())
train_margin = last_quarter(curves["rewards/margins"].values())
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
if miniature_as_shipped:
    assert held_margin > 0, (
        "rejected answers are preferred: are chosen and rejected swapped in your pairs?"
    )
    assert 0.6 < held_accuracy < 0.98, (
        "look at learning_rate and beta, then at the pairs (chapter 04)"
    )
    assert 0.1 < held_margin < 5.0, (
        "too small: was the learning rate 0? "
        "Too large: too many epochs, too high a rate?"
    )
    assert held_rejected < held_chosen, (
        "the rejected answers became likelier than the chosen ones: "
        "are chosen and rejected swapped in your pairs?"
    )
    assert train_accuracy < 0.99, "the pairs are memorised: fewer epochs"

# %% [markdown]
# Accuracy is the share of pairs with a margin above 0. It need not reach 1: some of the teacher's labels are wrong, and no
# model can predict the judge's noise on a pair that it has not seen. Zephyr-7B-beta's own held-out accuracy ended at 0.78.
#
# ### What becomes of the chosen answers
#
# ````{exercise} How many times as likely?
# :label: ex-05-factor
#
# **Difficulty** ●○○○○ · **Minutes** 5
#
# An answer has the implicit reward `reward`. Write `times_as_likely(reward, beta)`: return its probability under the policy
# divided by that under the reference.
# ````

# %% tags=["exercise"]
def times_as_likely(reward, beta):
    ...


exercises.check_likelihood_factor(times_as_likely)
times_as_likely = exercises.yours(times_as_likely, exercises.check_likelihood_factor)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# A reward is $\beta$ times a difference of log-probabilities. Undo both.
# ```
#
# ```{admonition} Hint 2
# :class: tip dropdown
# Divide by $\beta$, and you have a difference of logarithms: the logarithm of the ratio. `np.exp` undoes it.
# ```

# %% [markdown]
# `````{solution} ex-05-factor
# :class: dropdown
# ```python
# def times_as_likely(reward, beta):
#     return np.exp(reward / beta)
# ```
# `````

# %% [markdown]
# A mean of rewards is a mean of logarithms, so the factor is a geometric mean over the pairs:

# %%
for side, value in (("chosen", held_chosen), ("rejected", held_rejected)):
    print(
        f"{side}: {value / recipe['beta']:+.2f} nats, so "
        f"{times_as_likely(value, recipe['beta']):.3g} times as likely "
        "as under the dSFT model (geometric mean)"
    )

# %% [markdown]
# In many published runs the chosen answers, too, become *less* likely, Zephyr's among them: its chosen reward ends at −4.5.
# This is **likelihood displacement** {cite:p}`razin2024unintentional`. It is not a fault in itself, but the probability that
# leaves both answers goes elsewhere, and not always to better ones ([Chapter 06](06_reward_margins)).
#
# ### Pair by pair
#
# `pipeline.margins()` measures *all* held-out pairs under both models, more than the trainer did, so its means differ a
# little from the log's. Which tenth of the pairs contributes most to the gradient now? What would label noise of 0.1 do to
# the settled ones? ([Chapter 06](06_reward_margins) puts single pairs under a microscope: four sums, two rewards, a margin and a
# weight, token by token.)

# %%
sums = np.load(pipeline.margins().folder / "log_probs.npz")
differences = {
    side: sums[f"policy_{side}"] - sums[f"reference_{side}"] for side in sides
}
apart = differences["chosen"] - differences["rejected"]  # nats, before beta
DpoLoss(beta=recipe["beta"], difference=float(np.median(apart)), pairs=apart[:1000])

# %% tags=["remove-input"]
lessons.predict(
    "The same pairs, the same model, but log-probabilities *averaged* over each "
    "answer's tokens. How large is the mean margin then, compared with the one from "
    "sums?",
    ["the same", "about half", "smaller by about the number of tokens in an answer"],
    2,
    key="means",
)

# %% tags=["hide-output"]
lengths = {
    side: np.array([sum(encoded(row[side])[1]) for row in held_out[: len(apart)]])
    for side in sides
}
ratios = {side: differences[side] / lengths[side] for side in sides}
tokens = np.mean([lengths[side].mean() for side in sides])
by_sum = recipe["beta"] * apart
by_mean = recipe["beta"] * (ratios["chosen"] - ratios["rejected"])
print(f"tokens in an answer: {tokens:.1f}")
for name, m in (("sums", by_sum), ("means", by_mean)):
    loss = np.logaddexp(0, -m).mean()
    print(f"from {name}: mean margin {m.mean():.4f}, mean loss {loss:.4f}")
learned = np.logaddexp(0, -by_sum).mean() < np.log(2) - 0.01

# %% tags=["remove-input"]
lessons.explain(
    f"{by_mean.mean():.4f} against {by_sum.mean():.4f}, with answers of {tokens:.0f} "
    "tokens: each log-ratio is divided by its length. On real answers of hundreds of "
    "tokens the margin all but vanishes. The loss from means stays near ln 2 "
    + (
        "although the model has learned. "
        if learned
        else "whatever a model has learned (this one little: its loss from sums is not "
        "below ln 2 either). "
    )
    + "So with this bug training seems to do nothing, which invites a learning rate "
    "that breaks the model.",
    key="means",
)

# %% [markdown]
# ## Before and after
#
# Both models answer the same prompts, from held-out pairs, by greedy decoding, so that only the model differs.

# %%
def ask(directory, conversations):
    its_model, its_tokenizer = chat.load_model(directory, dtype=recipe["dtype"])
    return chat.generate(
        its_model, its_tokenizer, conversations, temperature=0.0, seed=seed
    )


conversations = [row["chosen"][:-1] for row in held_out[:looked_at]]
before = ask(sft_model, conversations)
after = ask(made.folder / training.MODEL, conversations)

# %%
changed = [
    (conversation, one.text, two.text)
    for conversation, one, two in zip(conversations, before, after, strict=True)
    if one.text != two.text
]
print(f"{len(changed)} of {len(conversations)} answers changed")
for conversation, one, two in changed[:1]:
    print("prompt:     ", conversation[-1]["content"])
    print("dSFT:       ", one)
    print("dSFT + dDPO:", two)

# %% [markdown]
# Six of them lie under a microscope: A is the answer of the dDPO model and B that of the dSFT model, each token coloured by
# how much likelier dDPO made it. At which token do the two answers part, and is it that token that moved most? (The
# models run in the page. At other scales the answers stand in a table.)

# %% tags=["hide-input"]
def answered(conversation, answer):
    return [*conversation, {"role": "assistant", "content": answer}]


if pipeline.scale == "miniature" and not base_model and changed:
    adapters = {
        "dSFT": pipeline.dsft().folder / training.ADAPTER,
        "dDPO": made.folder / training.ADAPTER,
    }
    texts = [row["chosen"] for row in held_out[:20]]
    models = pack_models(Path(pipeline.model_directory("base")), adapters, texts=texts)
    two_answers = [
        {"chosen": answered(asked, two), "rejected": answered(asked, one)}
        for asked, one, two in changed[:6]
    ]
    display(Microscope(models, two_answers, recipe["beta"]))
elif changed:
    rows = [
        {"prompt": asked[-1]["content"], "dSFT": one, "dSFT + dDPO": two}
        for asked, one, two in changed[:6]
    ]
    display(HTML(before_after_table(rows, caption=f"{len(rows)} changed answers.")))

# %% [markdown]
# Has the *manner* changed: the opening, the offer at the end, a whole sentence in place of a bare word? Does the *content*
# still hold: is the sum right, is it the person who was asked about? The loss cannot tell you, since it scores whole answers.
# Two counts before any judge is asked:

# %%
for name, given in (("dSFT", before), ("dSFT + dDPO", after)):
    ended = np.mean([answer.ended for answer in given])
    n_tokens = np.mean([answer.n_tokens for answer in given])
    print(
        f"{name:12s} end by themselves {100 * ended:.0f} %, "
        f"tokens per answer {n_tokens:.1f}"
    )
if miniature_as_shipped:
    assert np.mean([answer.ended for answer in after]) > 0.8, (
        "answers do not stop: does their end count in the loss?"
    )

# %% [markdown]
# Whether they are *better* is a question for [Chapter 07](07_evaluation), with a judge and intervals.
#
# ### How long is too long?
#
# **Over-optimisation** drives a policy so far from its reference that the numbers improve while the text gets worse. An
# early sign is a held-out loss that turns and rises, as the model becomes ever surer of the pairs that it ranks wrongly.
# Zephyr-7B-beta's own log shows it; here it is beside ours.

# %%
zephyr = diagnostics.read_training_log(published.ZEPHYR_DPO_LOG)
for name, run in (("Zephyr-7B-beta", zephyr), ("this run", log)):
    found = diagnostics.overfitting(run)
    print(
        f"{name}: held-out loss lowest {found.best_loss:.3f} at step "
        f"{found.best_step:g}, last {found.last_loss:.3f}"
    )

# %% [markdown]
# Where the lowest is also the last, the run stopped before any such turn. Zephyr's ended 50 % above its lowest, and its
# authors kept all three epochs, since the chat scores were best there (their figure 3). So a rising loss is a reason to
# look at answers, not a verdict.
#
# To see the answers change as training goes on, use *Watch it learn* on the page [Talk to the models](../talk).
#
# ```{admonition} Common mistakes
# :class: warning
# - **Rewards of different prompts compared.** $\beta \log Z(x)$ cancels within a prompt only.
# - **Answers truncated at `max_length`.** They lose their end, and the model forgets how to stop.
# - **`label_smoothing` with TRL's sigmoid loss.** It no longer has any effect there; use `robust`, or
#   `objectives.conservative_loss` in a loop of your own.
# - **LoRA dropout in a DPO recipe.** TRL switches all dropout off, so that policy and reference agree at the start.
# - **Evaluation on few pairs.** With 64, one standard error is 5 percentage points ([Chapter 06](06_reward_margins)).
# ```

# %% [markdown]
# ## Your turn with your own data
#
# Pairs of your own: one JSON object per line (broken over several lines here), with `chosen` and `rejected` as lists of
# messages that differ only in the last, and a score for each (1 and 0 if you have none).
#
# ```json
# {"prompt": "What is 2 plus 2?",
#  "chosen": [{"role": "user", "content": "What is 2 plus 2?"},
#             {"role": "assistant", "content": "4."}],
#  "rejected": [{"role": "user", "content": "What is 2 plus 2?"},
#               {"role": "assistant", "content": "5."}],
#  "score_chosen": 1.0, "score_rejected": 0.0}
# ```
#
# Set `preferences` in the parameters to the file's path and run this chapter again, or, from a shell,
# `zephyr run --scale smol/cpu --preferences FILE.jsonl --chapters 05`, which trains [a real model](../real-model) on a
# CPU. (At the miniature scale real pairs only show that the pipeline runs: a model that never read English ranks them no
# better than chance.) Of few pairs up to two fifths are held out, so that 150 can be measured. Then:
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
# 1. *Derive equation 1*: best policy in closed form (equation {eq}`eq-05-best`, [in code](ex-05-best-policy)), reward from
#    log-ratios, Bradley-Terry, maximum likelihood; preferences alone led back to $\pi^*$. $\beta$ charges for moving.
# 2. *Loss and step*: [the loss](ex-05-loss) and [a training step](ex-05-step) that agrees with TRL's and the package's. A
#    pair weighs $\sigma(-m)$.
# 3. *Which tokens, and sums*: the answer and its end, [summed](ex-05-sum).
# 4. *The right start*: `logps/chosen` [tells](ex-05-start) what ln 2 cannot.
# 5. *Read the curves*: margin and accuracy rise; a reward, divided by $\beta$, is the logarithm of a
#    [probability ratio](ex-05-factor).
#
# Next: [Chapter 06](06_reward_margins) reads such a log curve by curve, and pair by pair.
#
# ## References
#
# - {cite:t}`tunstall2023zephyr`: section 3, equation 1; section 4 for the recipe.
# - {cite:t}`rafailov2023dpo`: equations 3 to 7 and the gradient in section 4.
# - {cite:t}`bradley1952rank`: the model of paired comparisons. {cite:t}`cui2023ultrafeedback`: preference sets.
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
