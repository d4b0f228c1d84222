# %% [markdown]
# # Scaling up: what it takes, before you start
#
# So far everything ran on a CPU. The same pipeline is written to train Mistral-7B {cite:p}`jiang2023mistral`, as the paper
# did on sixteen A100s {cite:p}`tunstall2023zephyr`; only the scale changes. Before you rent a machine, three questions need
# an answer: *does it fit, how many optimiser steps (from here on: steps) does it take, and how many hours?* This chapter
# derives each formula and checks it on a model small enough to measure.
#
# **No GPU was used to make this page**, so every figure says whether it was *measured*, *published* or *estimated*.
# Parameters, steps and operations are counted and exact. Memory on a GPU is good to about a third. Hours are a *range*
# between the slowest and the fastest published runs, and yours may still leave it: twenty timed steps on the real machine
# beat every formula below.

# %% [markdown]
# ## What you will be able to do
#
# 1. Say what a training run holds in memory, term by term, and predict it from a model's shape.
# 2. Count the operations per token: full training, LoRA, recomputed activations, a live reference model.
# 3. Turn operations into a range of hours for a card, and say what the range rests on.
# 4. Choose a lever (packing, checkpointing, QLoRA, a precomputed reference) by what it gains and costs.
# 5. Go from one GPU to many and keep the effective batch.
# 6. Export a trained model: merged, with a card that says what was not evaluated.

# %% [markdown]
# ## Set-up
#
# The three folded cells load the package, set the parameters and import what follows. Whatever the scale, this chapter
# *measures* on the miniature and *plans* for all scales.

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
import time
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from torch.utils.flop_counter import FlopCounterMode
from transformers.trainer_pt_utils import get_length_grouped_indices
from trl import pack_dataset

from zephyr_utils import chat, exercises, figures, lessons, training
from zephyr_utils.errors import HandbookError
from zephyr_utils.explorers.planner import Planner
from zephyr_utils.pipeline import artefacts
from zephyr_utils.pipeline.model_card import model_card
from zephyr_utils.pipeline.pipeline import Pipeline
from zephyr_utils.planning import memory, operations, plan, rates
from zephyr_utils.planning.anchors import TOLERANCE, compare_with_anchors
from zephyr_utils.planning.report import span
from zephyr_utils.recipes import Recipe
from zephyr_utils.scales import get_scale
from zephyr_utils.training.batch import share_batch
from zephyr_utils.training.prefix_sharing import share_prompts

pipeline = Pipeline(
    scale=scale, seed=seed, dialogues=dialogues, feedback=feedback,
    preferences=preferences, base_model=base_model, runs=runs, **settings,
)
small = Pipeline(seed=seed, runs=runs)  # what is measured here

# %% [markdown]
# ## What has to be in memory
#
# ### Weights
#
# A Llama-style decoder has seven linear maps and two norms per layer, a last norm, an embedding, and an output head that may
# share the embedding's table. With hidden width $h$, feed-forward width $f$, query width $q$, key width $k$, $L$ layers and
# a vocabulary of $V$, the number of weights is
#
# $$
# N = L\,(\underbrace{2hq + 2hk}_{\text{attention}} + \underbrace{3hf}_{\text{feed-forward}} + 2h) + h + V h\,(1 \text{ or } 2) .
# $$ (eq-09-weights)

# %%
def count_weights(h, f, q, k, L, V, tied):
    layer = 2 * h * q + 2 * h * k + 3 * h * f + 2 * h
    return L * layer + h + V * h * (1 if tied else 2)


print(
    "Mistral-7B by the formula: "
    f"{count_weights(4096, 14336, 4096, 1024, 32, 32000, tied=False):,}"
)

# %% [markdown]
# Compare it with the package's version, and with a model that exists:

# %%
model, tokenizer = chat.load_model(small.base_model_address, dtype="float32")
chat.prepare_tokenizer(tokenizer)
shape = get_scale("miniature").shape
counted = count_weights(
    shape.hidden, shape.intermediate, shape.query, shape.key_value, shape.layers,
    shape.vocabulary, shape.tied,
)
print(
    f"formula {counted:,}, package {shape.parameters:,}, "
    f"the model itself {model.num_parameters():,}"
)
assert counted == shape.parameters == model.num_parameters()

# %% [markdown]
# A weight takes 4 bytes in float32, 2 in bfloat16 and about half a byte in QLoRA's 4 bits {cite:p}`dettmers2023qlora`. For
# Mistral-7B that is 29.0, 14.5 or (with embedding and head left in bfloat16) 4.1 GB.
#
# ### Gradients and optimiser

# %% tags=["remove-input"]
lessons.predict(
    "All of Mistral's weights are trained with AdamW in mixed precision; the weights "
    "alone take 14.5 GB. Do weights, gradients and optimiser fit on a card of 80 GB, "
    "before the first token is read?",
    ["easily", "barely", "not at all"],
    2,
    key="adamw",
)

# %% tags=["hide-output"]
mistral = get_scale("zephyr-7b-full").shape
full = memory.trained_weights(mistral, mixed=True, optimiser="adamw_torch")
for name, size in full.items():
    print(
        f"{name:10s} {size / 1e9:6.1f} GB, "
        f"{size / mistral.parameters:g} bytes per weight"
    )
print(f"together   {sum(full.values()) / 1e9:6.1f} GB")

per_weight = sum(full.values()) / mistral.parameters
rmsprop = memory.trained_weights(mistral, mixed=True, optimiser="rmsprop")

# %% tags=["remove-input"]
lessons.explain(
    f"{sum(full.values()) / 1e9:.0f} GB. Each weight has a gradient in `bfloat16`, and "
    "AdamW keeps three numbers in `float32`: the weight once more, because a small "
    "step vanishes in the few digits of `bfloat16`, and two moments. Together that is "
    f"{per_weight:g} bytes per weight (Rajbhandari et al., the ZeRO paper), of which "
    "the weights alone are two. (All in `bfloat16` it would be "
    f"{8 * mistral.parameters / 1e9:.0f} GB, and fit.) RMSprop, which the "
    "authors used for dDPO, keeps one moment: "
    f"{sum(rmsprop.values()) / mistral.parameters:g} bytes. Hence the paper's sixteen "
    "cards.",
    key="adamw",
)

# %% [markdown]
# LoRA {cite:p}`hu2022lora` freezes the base and trains two thin matrices beside each map, with
# $r\,(\text{in} + \text{out})$ weights at rank $r$. A frozen weight has no gradient and no moments. The adapter is kept in
# float32.

# %% [markdown]
# ````{exercise} What LoRA holds
# :label: ex-09-lora-bytes
#
# **Difficulty** ●●○○○ · **Minutes** 5
#
# The base has `parameters` weights in bfloat16, frozen. The adapter has `adapter` weights in float32, trained with AdamW
# without a second copy. Write `lora_bytes(parameters, adapter)`: return the bytes of weights, gradients and optimiser
# together.
# ````

# %% tags=["exercise"]
def lora_bytes(parameters, adapter):
    ...


exercises.check_lora_bytes(lora_bytes)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# Which of the two has a gradient?
# ```
#
# ```{admonition} Hint 2
# :class: tip dropdown
# 2 bytes for a weight of the base. For one of the adapter: itself, its gradient, two moments, 4 bytes each.
# ```

# %% [markdown]
# `````{solution} ex-09-lora-bytes
# :class: dropdown
# ```python
# def lora_bytes(parameters, adapter):
#     return 2 * parameters + 16 * adapter
# ```
# `````

# %% [markdown]
# With the adapter's size at rank 16, on all seven maps:

# %%
held = exercises.yours(lora_bytes, exercises.check_lora_bytes)
adapter = mistral.adapter(16, list(mistral.projections))
print(
    f"LoRA {held(mistral.parameters, adapter) / 1e9:.1f} GB, "
    f"full training {sum(full.values()) / 1e9:.1f} GB"
)

# %% [markdown]
# ### Activations
#
# The backward pass needs results of the forward pass. How many? PyTorch tells: `saved_tensors_hooks` calls us for every
# tensor that is kept. We count each storage once and leave the weights out.

# %%
def bytes_kept(network, inputs):
    weights = {p.untyped_storage().data_ptr() for p in network.parameters()}
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            # held, so that its address is not used again
            kept[storage.data_ptr()] = (storage.nbytes(), tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        network(inputs_embeds=inputs, use_cache=False)
    return sum(size for size, _ in kept.values())

# %% [markdown]
# Two models of different depth, so that everything outside the layers cancels. Beside them the package's formula, which
# goes through the layer term by term (see its docstring).

# %%
tokens = 256
inputs = torch.randn(1, tokens, shape.hidden, requires_grad=True)
body = model.model
deep = bytes_kept(body, inputs)
body.layers, all_layers = body.layers[:2], body.layers
shallow = bytes_kept(body, inputs)
body.layers = all_layers
per_layer = (deep - shallow) / (shape.layers - 2) / tokens
formula = memory.saved_in_layer(shape, width=4, lora=False)
print(
    f"a layer keeps {per_layer:,.0f} bytes per token (measured), "
    f"{formula:,} by the formula"
)
assert abs(formula / per_layer - 1) < 0.1, (
    "transformers writes the layer another way now: count it again"
)

# %% [markdown]
# **Activation checkpointing** {cite:p}`chen2016training` keeps only each layer's input and recomputes the layer in the
# backward pass: the strongest lever on memory, for one more forward pass. For Mistral in bfloat16 under LoRA:

# %%
kept = {
    recomputed: memory.activations(mistral, 1, 2, lora=True, checkpointing=recomputed)
    for recomputed in (False, True)
}
for recomputed, size in kept.items():
    print(
        f"{'recomputed' if recomputed else 'all kept':10s} "
        f"{size / 1e6:5.2f} MB per token, "
        f"{8192 * size / 1e9:5.1f} GB for 4 x 2,048 tokens"
    )

# %% [markdown]
# ### Logits and the reference model
#
# The output head gives a number for each token of the vocabulary at each position. TRL 1.16 scores them in chunks and never
# holds them all.

# %%
for fused in (False, True):
    print(
        f"logits {'in chunks' if fused else 'written out'}: "
        f"{memory.logits(mistral, 8192, fused) / 1e9:.2f} GB"
    )

# %% [markdown]
# dDPO needs log-probabilities under the dSFT model. A copy would take another 14.5 GB; under LoRA the reference is the base
# with the adapter switched off. Since it never changes, its numbers can be computed once before training, as our recipes do;
# then it takes no memory in full training either.
#
# ## What has to be computed
#
# A weight takes part in one multiplication and one addition per token, so a forward pass costs $2N$ operations, plus
# attention. In the backward pass each map computes two products: the gradient of its input ($2N$) and of its weights
# ($2N$). Full training costs $2N + 4N = 6N$ {cite:p}`kaplan2020scaling`. And LoRA, where the base's weights get no gradient?

# %% tags=["remove-input"]
lessons.predict(
    "PyTorch can count its operations. We train the miniature for one step in full and "
    "one under LoRA of rank 1, with about one weight in a hundred trained. What does "
    "the LoRA step cost, compared with the full one?",
    ["a hundredth", "two thirds", "the same"],
    1,
    key="lora-work",
)

# %% tags=["hide-output"]
def counted_operations(network, ids):
    network.train()
    with FlopCounterMode(display=False) as counter:
        network(input_ids=ids, labels=ids, use_cache=False).loss.backward()
    return counter.get_total_flops() / ids.numel()


ids = torch.randint(
    4, shape.vocabulary, (4, 64), generator=torch.Generator().manual_seed(seed)
)
N = shape.linear + shape.embedding  # what is multiplied
in_full = counted_operations(model, ids)
adapted = get_peft_model(model, LoraConfig(r=1, target_modules=list(shape.projections)))
under_lora = counted_operations(adapted, ids)
model = adapted.unload()
print(
    f"full {in_full / N:.2f} N, LoRA {under_lora / N:.2f} N per token; "
    f"ratio {under_lora / in_full:.2f}"
)
assert 5.9 < in_full / N < 7.5, (
    "an operation is not counted, or counted twice: look at the attention kernel"
)
assert 0.6 < under_lora / in_full < 0.8, "is the base frozen? Look at requires_grad"

# %% tags=["remove-input"]
lessons.explain(
    f"The ratio is {under_lora / in_full:.2f}: $6N$ becomes a little under $4N$, since "
    "the product for the gradient of the base's weights is left out. LoRA cuts "
    "*memory* by a factor of "
    f"{sum(full.values()) / held(mistral.parameters, adapter):.0f} but *time* only by "
    "a third, however few weights it trains: to reach an adapter in the first layer, "
    "gradients still pass through every layer above. (A tool that reports utilisation "
    "by $6N$ for a LoRA run overstates it by half.)",
    key="lora-work",
)

# %% [markdown]
# ````{exercise} Operations per token
# :label: ex-09-operations
#
# **Difficulty** ●●●○○ · **Minutes** 10
#
# Write `operations_per_token`: return the operations of a training step per token, without attention. Three flags: `lora`,
# the base is frozen; `recomputed`, activations are recomputed in the backward pass; `reference`, a reference model is asked
# at every step. The adapter itself is too small to count.
# ````

# %% tags=["exercise"]
def operations_per_token(parameters, lora, recomputed, reference):
    ...


exercises.check_operations_per_token(operations_per_token)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# Count passes: one forward, one or two products backward, and what is done once more.
# ```
#
# ```{admonition} Hint 2
# :class: tip dropdown
# `2 * parameters * (1 + (1 if lora else 2) + ...)`: the two flags add one forward pass each.
# ```

# %% [markdown]
# `````{solution} ex-09-operations
# :class: dropdown
# ```python
# def operations_per_token(parameters, lora, recomputed, reference):
#     return 2 * parameters * (1 + (1 if lora else 2) + recomputed + reference)
# ```
# `````

# %% [markdown]
# The package's count for a recipe, `planning.operations.passes`, agrees:

# %%
per_token = exercises.yours(
    operations_per_token, exercises.check_operations_per_token
)
for name, stage, values in (
    ("LoRA", "dsft", {}),
    ("LoRA, recomputed", "dsft", {"activation_checkpointing": True}),
    ("LoRA dDPO, live reference", "ddpo", {}),
):
    recipe = Recipe(stage, {"use_peft": True, **values})
    mine = per_token(1, True, "recomputed" in name, "reference" in name)
    print(f"{name:26s} {mine:g} N")
    assert mine == 2 * operations.passes(recipe)

# %% [markdown]
# ## From operations to hours
#
# A vendor states a card's *peak*: operations per second on large dense matrices. (Data sheets often print twice that, for
# matrices half of whose entries are zero.) A training run reaches a *share* of it (model FLOPs utilisation, MFU): kernels
# wait for memory, cards wait for each other, and padding is computed too.

# %%
for card in rates.CARDS.values():
    print(f"{card.name:11s} {card.memory_gb:3d} GB  {card.peak / 1e12:4.0f} TFLOP/s")

# %% tags=["remove-input"]
lessons.predict(
    "Fine-tuning runs of models of 7 and 8 billion weights have been published with "
    "their speed. Which shares of the peak did the DPO runs among them reach?",
    ["60 to 80 %", "30 to 60 %", "8 to 22 %"],
    key="shares",
)

# %% tags=["hide-output"]
for run in sorted(rates.PUBLISHED, key=lambda run: (run.stage, run.share)):
    share = f"{100 * run.share:3.0f} %"
    print(f"{run.stage}  {share} of {run.card:10s} {run.what} ({run.source})")

slow, fast = rates.shares("ddpo")
starved = lessons.published(
    "580 tokens/s per GPU, 2.5 % of the peak", "open-instruct, pull request 1466"
)
long_rows = rates.shares("dsft")

# %% tags=["remove-input"]
lessons.explain(
    f"From {100 * slow:.0f} %, the authors' own dDPO run, to {100 * fast:.0f} %, "
    "packed and compiled; on long packed rows, as in dSFT, "
    f"{100 * long_rows[0]:.0f} % to {100 * long_rows[1]:.0f} %. Pairs are short and "
    "of unequal lengths, and weights are gathered between two machines for every "
    "layer. With micro-batches of two rows the fastest run was far slower: "
    f"{starved}. **The peak is known, the share is not**, so the planner prints a "
    "range from the slowest to the fastest of these. That another card reaches the "
    "same share is an assumption.",
    key="shares", answer=2,
)

# %% [markdown]
# ````{exercise} A range of hours
# :label: ex-09-hours
#
# **Difficulty** ●●○○○ · **Minutes** 8
#
# Write `hours_range` for a stage of `operations` in all, on `gpus` GPUs that share the work. `peak` is that of one GPU, in
# operations per second; runs reach between the shares `slow` and `fast` of it. Return the fewest and the most hours.
# ````

# %% tags=["exercise"]
def hours_range(operations, peak, slow, fast, gpus):
    ...  # return fewest, most


exercises.check_hours_range(hours_range)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# How long would it take at the peak itself, on all GPUs together? Then ask what a share of 0.5 does to that.
# ```
#
# ```{admonition} Hint 2
# :class: tip dropdown
# `operations / (peak * gpus) / 3600` are the hours at the peak. The *fast* share gives the *fewest* hours.
# ```

# %% [markdown]
# `````{solution} ex-09-hours
# :class: dropdown
# ```python
# def hours_range(operations, peak, slow, fast, gpus):
#     at_peak = operations / (peak * gpus) / 3600
#     return at_peak / fast, at_peak / slow
# ```
# `````

# %% [markdown]
# Your range for dSFT at the LoRA scale, card by card. It must equal the planner's:

# %%
between = exercises.yours(hours_range, exercises.check_hours_range)
for memory_size in (24e9, 80e9):
    planned = plan.plan_stage("zephyr-7b-lora", "dsft", memory_size)
    for name, hours in planned.hours.items():
        peak = rates.CARDS[name].peak
        mine = between(planned.flops, peak, *rates.shares("dsft"), 1)
        print(f"{name:11s} {span(*mine)}")
        assert np.allclose(mine, hours)

# %% [markdown]
# ### How far off is all this?
#
# Formulas beside measured figures. The range of memory goes from the bare count to the count with the planner's reserve
# (three quarters of activations and logits, for temporaries and gaps of the allocator). The model card of
# zephyr-7b-sft-full says how long it took, but not on which GPU.

# %% tags=["remove-input"]
lessons.predict(
    "dSFT of zephyr-7b-sft-full took 1.56 hours on eight GPUs of 80 GB. Were they "
    "A100s or H100s?",
    ["A100", "H100", "it cannot be told"],
    key="which-card",
)

# %% tags=["hide-output"]
# empty if chapter 02 has not been run
made = artefacts.read_json(small.folder / "02_dsft" / artefacts.MANIFEST)
anchors = compare_with_anchors(made.get("peak_memory_mb"))
for anchor in anchors:
    at_edge = anchor.inside and not anchor.low <= anchor.measured <= anchor.high
    verdict = "inside" if anchor.inside else f"off by {100 * anchor.error:+.0f} %"
    if at_edge:
        verdict += f", give or take {100 * TOLERANCE:.0f} %"
    if anchor.used:
        verdict += ", sets the range"
    print(
        f"{anchor.measured:7.4g} {anchor.unit:5s} for {anchor.low:6.3g} to "
        f"{anchor.high:6.3g}: {verdict}\n        {anchor.what} ({anchor.where})"
    )

first = next(anchor for anchor in anchors if anchor.unit == "hours")
missed = next((anchor for anchor in anchors if anchor.unit == "MiB"), None)
packed = memory.TrainingSet(1090 * 128, 2048, 2048, "card")
bare = operations.stage_flops(mistral, Recipe("dsft", {"num_train_epochs": 1}), packed)
shares = {
    name: bare / (8 * first.measured * 3600) / rates.CARDS[name].peak
    for name in ("A100 80 GB", "H100")
}

# %% tags=["remove-input"]
lessons.explain(
    "The newer card, almost certainly: on the older one the run would have reached "
    f"{100 * (shares['A100 80 GB']):.0f} % of the peak even without recomputation, "
    f"and no training does that; on the newer one it is {100 * shares['H100']:.0f} %. "
    "(Two rows set the ranges, so they do not test them.) **Operations bound the time "
    "from below; the share is the unknown.** Time twenty steps, then multiply."
    + (
        " The miniature's own peak is missed: the nearer end of the estimate is "
        f"{abs(missed.error):.0%} {'below' if missed.error < 0 else 'above'} what its "
        "process was measured to take."
        if missed and not missed.inside
        else ""
    ),
    key="which-card", answer=1,
)

# %% [markdown]
# ## Levers
#
# ### Padding: a lever on the data
#
# Rows of a batch are padded to its longest. Padding costs what text costs and teaches nothing. We batch the miniature's own
# dialogues by 32 in three ways: shuffled; **grouped by length**; **packed**, several whole dialogues to a sequence.

# %% tags=["hide-input"]
train, _, _ = small.split_dialogues()
encoded = [chat.encode(tokenizer, row["messages"])[0] for row in train]
lengths = np.array([len(row) for row in encoded])
fig = figures.length_histogram({"dialogues": lengths})
figures.show(
    fig,
    alt=(
        f"Lengths of {len(lengths)} dialogues, "
        f"from {lengths.min()} to {lengths.max()} tokens, mean {lengths.mean():.0f}."
    ),
    caption=(
        f"Lengths of the dialogues, {lengths.min()} to {lengths.max()} tokens. Their "
        "spread decides how much is padding, not their mean."
    ),
)

# %% [markdown]
# ````{exercise} Pack the rows
# :label: ex-09-pack
#
# **Difficulty** ●●●●○ · **Minutes** 20
#
# Write `pack(lengths, context)`, packing by **best-fit decreasing** (`bfd`). Take the rows longest first. Put each into the
# fullest sequence that still has room for it, or into a new one if none has. Return the sequences, each a list of row
# numbers (places in `lengths`). With lengths 60, 50 and 40 and a context of 100 these are `[[0, 2], [1]]`. The padding
# below is counted with your function.
# ````

# %% tags=["exercise"]
def pack(lengths, context):
    ...


exercises.check_pack(pack)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# Keep two lists: the sequences, and the space left in each. `sorted(range(len(lengths)), key=...)` gives the row numbers in
# the order you need.
# ```
#
# ```{admonition} Hint 2
# :class: tip dropdown
# For each row, collect the sequences with enough room; the fullest is the one with the least room, `min(..., key=...)`. If
# there is none, append an empty sequence and `context` to the two lists, and take that.
# ```

# %% [markdown]
# `````{solution} ex-09-pack
# :class: dropdown
# ```python
# def pack(lengths, context):
#     sequences, room = [], []
#     for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
#         fitting = [n for n, left in enumerate(room) if left >= lengths[row]]
#         if not fitting:
#             fitting = [len(room)]
#             sequences.append([])
#             room.append(context)
#         n = min(fitting, key=lambda n: room[n])
#         sequences[n].append(row)
#         room[n] -= lengths[row]
#     return sequences
# ```
# `````

# %% [markdown]
# TRL packs a thousand rows at a time. Given the same thousands, your function must need as many sequences:

# %%
pack_rows = exercises.yours(pack, exercises.check_pack)
packed_rows = pack_dataset(
    Dataset.from_dict({"input_ids": encoded}), seq_length=512, strategy="bfd"
)
thousands = [lengths[i : i + 1000].tolist() for i in range(0, len(lengths), 1000)]
n_sequences = sum(len(pack_rows(rows, 512)) for rows in thousands)
print(
    f"{len(lengths):,} dialogues: {n_sequences} sequences, {len(packed_rows)} by TRL; "
    f"all rows at once {len(pack_rows(lengths.tolist(), 512))}"
)
assert n_sequences == len(packed_rows), "the packings differ: is a row longer than 512?"

# %% tags=["remove-input"]
lessons.predict(
    "What share of all positions is padding when shuffled rows are batched by 32?",
    ["about a tenth", "a third to a half", "nearly all"],
    key="padding",
)

# %% tags=["hide-output"]
def padding_share(order, batch=32):
    batches = [lengths[order[i : i + batch]] for i in range(0, len(order), batch)]
    return 1 - lengths.sum() / sum(len(rows) * rows.max() for rows in batches)


shuffled = np.random.default_rng(seed).permutation(len(lengths))
torch.manual_seed(seed)
grouped = np.array(get_length_grouped_indices(list(lengths), 32))
waste = {
    "shuffled": padding_share(shuffled),
    "grouped by length": padding_share(grouped),
    "packed (bfd, 512)": 1 - lengths.sum() / (512 * n_sequences),
}
for name, share in waste.items():
    print(f"{name:18s} {100 * share:.1f} % padding")

w = waste["shuffled"]

# %% tags=["remove-input"]
lessons.explain(
    f"{100 * w:.0f} %: a shuffled batch is as long as its longest row. Grouping "
    f"({100 * (waste['grouped by length']):.1f} %) removes nearly all of it and "
    "changes only *which* rows meet in a batch, so the loss of neighbouring steps "
    f"jumps more. Packing ({100 * (waste['packed (bfd, 512)']):.1f} %) gives rows of "
    "one size, which suits a GPU; but a batch of as many rows now holds "
    f"{len(lengths) / n_sequences:.1f} times the dialogues, and an epoch has fewer "
    "steps. To turn packing on and keep the batch is to change the recipe.",
    key="padding", answer=0 if w < 0.2 else 1 if w < 0.7 else 2,
)

# %%
if not pipeline.own_data:
    assert waste["grouped by length"] < 0.5 * waste["shuffled"], (
        "are the rows sorted already? Look at the histogram"
    )
    assert waste["packed (bfd, 512)"] < 0.1, (
        "do the rows fit the context? Look for rows near 512 tokens"
    )

# %% [markdown]
# ### The reference: once, or every step
#
# A hook on the first layer counts forward passes. We run twenty steps of dDPO with 8 pairs each, once with a live reference
# and once with its numbers computed beforehand. (The start is the base here; for the clock it does not matter which model it
# is.)

# %%
pairs, _, _ = small.split_pairs()


def twenty_steps(precomputed):
    recipe = small.recipe("ddpo") | {
        "max_steps": 20,
        "per_device_train_batch_size": 8,
        "logging_steps": 20,
        "save_strategy": "no",
        "precompute_ref_log_probs": precomputed,
    }
    with tempfile.TemporaryDirectory() as folder:
        trainer = training.ddpo_trainer(
            small.base_model_address, pairs[:160], Path(folder), recipe
        )
        seen = {"forward passes": 0, "tokens": 0}

        def note(module, arguments):
            seen["forward passes"] += 1
            seen["tokens"] += arguments[0].shape[0] * arguments[0].shape[1]

        trainer.model.base_model.model.model.layers[0].register_forward_pre_hook(note)
        ready = time.perf_counter()
        log = training.train_and_log(trainer, Path(folder))
    return {
        **seen,
        "seconds": time.perf_counter() - ready,
        "loss": [row["loss"] for row in log if "loss" in row][-1],
    }

# %% tags=["remove-input"]
lessons.predict(
    "Chosen and rejected answers of a step go through the model together, as one "
    "pass. How many forward passes do twenty steps take with a live reference?",
    ["20", "40", "60"],
    1,
    key="live",
)

# %% tags=["hide-output"]
references = {
    name: twenty_steps(flag) for name, flag in (("live", False), ("precomputed", True))
}
for name, seen in references.items():
    print(
        f"{name:12s}",
        ", ".join(
            f"{key} {value:,}" if isinstance(value, int) else f"{key} {value:.3f}"
            for key, value in seen.items()
        ),
    )

live, once = references["live"], references["precomputed"]

# %% tags=["remove-input"]
lessons.explain(
    f"Live {live['forward passes']}: each step makes one pass with the adapter and one "
    "without; the backward pass is none, and a reference has no backward pass. "
    f"Precomputed {once['forward passes']}; the other passes are made before "
    "the training loop, where the clock above does not look, so *one* epoch gains "
    "little in all. Three epochs cost $3 \\cdot 4N + 2N$ in place of $3 \\cdot 6N$, "
    f"which is {18 / 14:.2f} times as fast under LoRA. The losses agree "
    f"({live['loss']:.4f} and {once['loss']:.4f}): the same numbers at another time.",
    key="live",
)

# %%
assert live["forward passes"] == 2 * once["forward passes"] == 40, (
    "a pass more or less: print when it happens"
)
assert abs(live["loss"] - once["loss"]) < 1e-3, (
    "the two references are not the same model"
)

# %% [markdown]
# The pipeline keeps the precomputed numbers in `reference/`, under a hash of the model's weights, the rows' tokens and their
# batching. Another $\beta$, learning rate or loss on the same pairs reads them from there.
#
# ### A pair's prompt: once, or twice
#
# Both answers of a pair have one prompt, and two rows compute it twice. **Prefix sharing** {cite:p}`wang2024prefix` puts
# prompt, chosen and rejected answer into one row, under a mask that hides the first answer from the second. The second
# answer's positions start again after the prompt, and the prompt's last token is repeated before it, because that token
# predicts the answer's first. A mask can also hide whole pairs from each other, so several pairs share a row and the padding
# disappears. For one pair of the miniature:
#
# ![Above, a pair as two rows: the prompt of 17 tokens twice, the chosen answer of 9, the rejected one of 6 and padding,
# 52 positions. In the middle one row of 33: the prompt once, then its last token with the chosen answer, then its last
# token with the rejected one. Below, the mask: both answers see the prompt and themselves; the block in which the
# rejected answer would see the chosen one is hatched.](figures/prefix-sharing.svg)
#
# *One pair, first as two rows and then as one. Each triangle holds what a token may see: the prompt, and its own answer up to
# itself.*
#
# In code, with a pair of five tokens (the last two places are padding):

# %%
# prompt 10 11, chosen 20 21, rejected 30, padding 0
two_rows = torch.tensor([[10, 11, 20, 21], [10, 11, 30, 0]])
answers = torch.tensor([[-100, -100, 20, 21], [-100, -100, 30, -100]])
one_row = share_prompts(two_rows, (two_rows > 0).long(), answers, hidden_size=160)
print("tokens   ", one_row.input_ids[0].tolist())
print("positions", one_row.position_ids[0].tolist())
print(one_row.dense_mask()[0, 0].int().numpy())

# %% tags=["remove-input"]
lessons.predict(
    "What share of the tokens is left when each prompt is computed once, in the limit "
    "of very long prompts?",
    ["a third", "a half", "three quarters"],
    1,
    key="prefix",
)

# %% tags=["hide-output"]
def tokens_of(pair):
    prompt = tokenizer.apply_chat_template(
        pair["chosen"][:-1], add_generation_prompt=True, return_dict=True
    )["input_ids"]
    return len(prompt), *(
        len(chat.encode(tokenizer, pair[side])[0]) - len(prompt)
        for side in ("chosen", "rejected")
    )


prompt, chosen, rejected = np.array([tokens_of(pair) for pair in pairs[:400]]).mean(
    axis=0
)
left = {
    name: (n + chosen + rejected + 1) / (2 * n + chosen + rejected)
    for name, n in (
        ("the miniature's", prompt), ("ten times an answer", 5 * (chosen + rejected))
    )
}
for name, share in left.items():
    print(f"{name:20s} {100 * share:.0f} % of the tokens")

here, _ = left.values()
timed = artefacts.read_json(
    Path(zephyr_utils.__file__).parents[1] / "benchmarks" / "results" / "steps.json"
).get("findings", {})
ratio = timed.get("in order / two rows, cpu_ms", {}).get("ratio")
follows = f" (a step takes {ratio:.2f} of what two rows take)" if ratio else ""

# %% tags=["remove-input"]
lessons.explain(
    "A half: the prompt is then everything, and one copy of two goes; three quarters "
    "are left where a prompt is as long as an answer. The miniature's short prompts "
    f"leave {100 * here:.0f} %. With the padding gone as well, the time "
    f"follows: `benchmarks/steps.py` measures it on a CPU, at equal losses{follows}. "
    "On GPUs an explicit mask rules out the fastest attention kernel; the paper "
    f"reports {lessons.published('1.1 to 1.6 times the speed', 'arXiv 2410.20305')}. "
    "All recipes train this way where the model's attention allows it; "
    "`share_prompts: false` turns it off.",
    key="prefix",
)

# %% [markdown]
# ### All levers, the largest gain in time first
#
# ```{admonition} Packing: up to 3.4 times the tokens per second of padded rows (published)
# :class: note dropdown
# `packing: true`, strategy `bfd`. **Costs** fewer steps for the same batch, and needs attention that keeps neighbours
# apart. **Leave it** when rows are of nearly equal length, or when the batch must keep its meaning. *Published: torchtune's
# README, +238 %: 7,075 after 2,091.* Grouping by length gains most of that and changes no row (*measured above*); TRL's DPO trainer cannot
# group pairs, ours can.
# ```
#
# ```{admonition} Shared prompts, several pairs per row: 1.1 to 1.8 times in dDPO
# :class: note dropdown
# **Costs** an explicit attention mask, so no flash attention. **Leave it** on: it turns itself off where the attention takes
# no such mask. *Measured on a CPU: 1.8 times; published for GPUs: arXiv 2410.20305, 1.1 to 1.6.*
# ```
#
# ```{admonition} LoRA in place of all weights: 1.5 times, and 16 bytes per weight become 2
# :class: note dropdown
# **Costs** another optimum and another learning rate. **Leave it** when you have eight cards. *Counted above.*
# ```
#
# ```{admonition} Precomputed reference: up to 1.5 times a dDPO step
# :class: note dropdown
# And no second model in full training; a second run on the same pairs reads it from disk. **Costs** one pass before the
# first step. **Leave it** when the reference moves (`sync_ref_model`). *Measured above.*
# ```
#
# ```{admonition} Activations kept, not recomputed: 1.3 to 1.5 times
# :class: note dropdown
# Conversely, checkpointing cuts the memory of activations more than tenfold for one more forward pass. `zephyr plan`
# recomputes only where it must. *Estimated: 1.5 times under LoRA, 1.33 in full; published: torchtune, +27 % without it.*
# ```
#
# ```{admonition} torch_compile: 1.27 times in full training
# :class: note dropdown
# **Costs** minutes of compiling, again for each new length; LoRA dropout must be 0. **Leave it** when lengths vary and rows
# are few. *Published: torchtune; not tried here.*
# ```
#
# ```{admonition} FlashAttention or flex attention: no figure of ours
# :class: note dropdown
# Packed rows and shared prompts give PyTorch's `sdpa` a mask that its fastest kernels do not take; flash attention takes the
# rows' lengths instead, flex attention skips blocks that are masked. **Costs** a package to build, or compiling. **Leave it**
# when rows are padded: `sdpa` has the same kernels there (*published: Soup, issue 78, 1.015 times on an H100*).
# ```
#
# ```{admonition} Dropout 0 in LoRA: about a tenth of a step
# :class: note dropdown
# **Costs** regularisation. **Leave it** if you overfit. *Measured on a CPU while the recipes were made.*
# ```
#
# ```{admonition} For memory: QLoRA saves 10 GB of Mistral's weights
# :class: note dropdown
# **Costs** slower products, a slightly altered base, and the full weights once more for merging. **Leave it** when the
# bfloat16 weights fit. *Published: QLoRA's paper, sections 3 and 4.*
# ```
#
# Gains do not multiply: packing removes the padding that grouping would have removed. `benchmarks/gpu.py` measures all of
# ours together against TRL with the alignment-handbook's LoRA values, on a CPU or on your GPU.

# %% [markdown]
# ## One GPU, many GPUs, one batch
#
# A learning rate belongs to an **effective batch**, the rows per step. In our recipes it is
# `per_device_train_batch_size` × `gradient_accumulation_steps`, whatever the hardware. Gradients of several micro-batches,
# or of several GPUs, are averaged before the step, and it does not matter where the terms of a mean were computed:

# %%
x, y = torch.randn(2, 8, generator=torch.Generator().manual_seed(seed))
w = torch.tensor(0.5, requires_grad=True)
at_once = torch.autograd.grad(((w * x - y) ** 2).mean(), w)[0]
in_parts = sum(
    torch.autograd.grad(((w * x[i : i + 2] - y[i : i + 2]) ** 2).mean() / 4, w)[0]
    for i in range(0, 8, 2)
)
print(f"eight rows at once {at_once:.6f}, four times two {in_parts:.6f}")
assert torch.isclose(at_once, in_parts)

# %% [markdown]
# ```{admonition} Where the mean is not a mean
# :class: note
# With rows of unequal length, the mean of the micro-batches' *means per token* is not the mean over all tokens. Trainers had
# that fault for years; TRL now divides by the number of tokens in all micro-batches. Here two processes give the same losses
# as one, to five digits (`tests/test_training_distributed.py`).
# ```

# %% [markdown]
# ````{exercise} The same batch on other hardware
# :label: ex-09-accumulation
#
# **Difficulty** ●●●○○ · **Minutes** 10
#
# A step takes `batch` rows in all, shared evenly by `gpus` GPUs (assume that it divides). At most `fits` rows fit on a
# GPU at once. Write `accumulation`: return `(rows, times)`, the rows per micro-batch, as many as possible, and the
# micro-batches per GPU, with `rows * times * gpus == batch` exactly.
# ````

# %% tags=["exercise"]
def accumulation(batch, fits, gpus):
    ...


exercises.check_accumulation(accumulation)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# First the share of one GPU. Then: which numbers of rows divide it?
# ```
#
# ```{admonition} Hint 2
# :class: tip dropdown
# `max(n for n in range(1, fits + 1) if share % n == 0)` is the micro-batch.
# ```

# %% [markdown]
# `````{solution} ex-09-accumulation
# :class: dropdown
# ```python
# def accumulation(batch, fits, gpus):
#     share = batch // gpus
#     rows = max(n for n in range(1, fits + 1) if share % n == 0)
#     return rows, share // rows
# ```
# `````

# %% [markdown]
# Your function beside the package's, which the trainer calls when several processes run:

# %%
micro_batches = exercises.yours(accumulation, exercises.check_accumulation)
for gpus in (1, 2, 4, 8, 16):
    rows, times = micro_batches(64, 4, gpus)
    print(
        f"{gpus:2d} GPUs x {rows} rows x {times:2d} micro-batches = "
        f"{gpus * rows * times} rows per step"
    )
    assert (rows, times) == share_batch(4, 16, gpus)

# %% [markdown]
# ### How the GPUs share the work
#
# - **DDP**: each GPU holds everything and gradients are averaged. For LoRA, whose gradients are small.
#   `recipes/accelerate/ddp.yaml`
# - **FSDP2** or **DeepSpeed ZeRO-3** (the paper): weights, gradients and optimiser are sharded, and each layer's weights are
#   gathered when they are used. For full training. `fsdp2.yaml`, `zero3.yaml`
#
# ```bash
# accelerate launch --config_file zephyr_utils/recipes/accelerate/fsdp2.yaml --num_processes 8 \
#     -m zephyr_utils sft --scale zephyr-7b-full
# ```
#
# Two CPU processes are tested through `torchrun`: losses, weights, evaluation, a killed run that resumes; FSDP2 and ZeRO-3
# too, with LoRA and with all weights (`tests/test_training_distributed.py`, `tests/test_training_sharded.py`). None of the
# files has been run on GPUs. Beware: `accelerate launch --cpu --num_processes 2` silently starts *one* process.

# %% [markdown]
# ## Steps
#
# ````{exercise} Steps after packing
# :label: ex-09-packed-steps
#
# **Difficulty** ●●○○○ · **Minutes** 8
#
# `rows` dialogues of `tokens` tokens on average are packed into sequences of `length` without a gap, and a step takes
# `batch` sequences. Write `packed_steps`: return the number of steps in an epoch. The paper's 207,865 dialogues of about
# 1,372 tokens, packed to 2,048 in batches of 512, should give what the authors report: 272.
# ````

# %% tags=["exercise"]
def packed_steps(rows, tokens, length, batch):
    ...


exercises.check_packed_steps(packed_steps)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# Tokens in all first; then sequences; then steps.
# ```
#
# ```{admonition} Hint 2
# :class: tip dropdown
# `math.ceil` twice: a last sequence that is not full is a sequence, a last batch that is not full a step.
# ```

# %% [markdown]
# `````{solution} ex-09-packed-steps
# :class: dropdown
# ```python
# import math
#
# def packed_steps(rows, tokens, length, batch):
#     sequences = math.ceil(rows * tokens / length)
#     return math.ceil(sequences / batch)
# ```
# `````

# %% [markdown]
# The authors' first schedule was made for the rows *before* packing, so warm-up and decay were too long and the learning
# rate never came down ([alignment-handbook, issue 31](https://github.com/huggingface/alignment-handbook/issues/31)). Check
# the last learning rate in a log: it should be near 0.
#
# ## The plan
#
# `zephyr plan --scale zephyr-7b-lora --gpu-memory 24GB` puts all this together. Where there is room it keeps the activations;
# where there is not, it pulls levers until the run fits. Each scale on the hardware it was made for (15 GB: a T4):

# %%
asked = [
    ("smol", "15GB", 1), ("zephyr-7b-lora/qlora", "24GB", 1),
    ("zephyr-7b-lora", "40GB", 1), ("zephyr-7b-lora", "80GB", 1),
    ("zephyr-7b-full", "80GB", 8), ("zephyr-7b-full/handbook-v2", "80GB", 8),
]
for name, size, gpus in asked:
    for stage in ("dsft", "ddpo"):
        planned = plan.plan_stage(name, stage, plan.bytes_of(size), gpus)
        hours = "; ".join(
            f"{card} {span(*times)}" for card, times in planned.hours.items()
        )
        print(
            f"{name}, {gpus} x {size}, {stage}: {planned.total / 1e9:.0f} GB each, "
            f"{planned.steps:,} steps\n    {hours}"
        )
        assert planned.fits

# %% [markdown]
# ### A plan of your own
#
# The same formulas, with every choice yours. Three things to find out:
#
# 1. On one A100 of 40 GB, how many pairs of 2,048 tokens go through at once under LoRA, with and without recomputation?
# 2. All weights on one card: does any card hold them? On how many H100s does dDPO fit, and what does a reference that is
#    not computed beforehand add?
# 3. Twice the length at half the rows: which part of the memory changes, and do the hours?

# %%
Planner(card="A100 40 GB", method="lora", length=1024, rows=4)

# %% [markdown]
# LoRA in bfloat16 on a card of 24 GB, for which its recipe was not made. What would you give up first?

# %%
tight = plan.plan_stage("zephyr-7b-lora", "dsft", plan.bytes_of("24GB"))
for term, size in tight.memory.items():
    print(f"{term:12s} {size / 1e9:6.2f} GB")
print(f"{tight.total / 1e9:.1f} of {tight.limit / 1e9:.0f} GB after:")
for lever in tight.levers:
    print("   ", lever)
print("In the recipe:")
for name, value in tight.changes.items():
    print(f"    {name}: {value}")

# %% [markdown]
# ### Paper, model card, code, ours
#
# | | paper | model card | handbook v2 | ours: `zephyr-7b-full` |
# |---|---|---|---|---|
# | GPUs | 16 × A100 80 GB | 16 | 8 × 80 GB | 8 × 80 GB, any that divides the batch |
# | hours | "typically 2 to 4" | dDPO: 23,866 s = 6.6 | dSFT: 5,608 s = 1.6 | the ranges above, an estimate |
# | dSFT: rows per step | 512 | 512 | 128 | 512 (variant `handbook-v2`: 128) |
# | dDPO: pairs per step | 32 | 32 | 128 | 32 (variant: 128) |
# | dDPO: optimiser | AdamW | Adam | AdamW | RMSprop, as [the authors say they ran](https://github.com/huggingface/alignment-handbook/issues/43) |
# | dDPO: $\beta$, epochs, schedule | 0.1, 3, linear | 0.1, 3, linear | 0.01, 1, cosine | 0.1, 3, linear (variant: as v2) |
# | packing | yes | not said | in the script; gone in 2025 | yes, and no dialogue sees its neighbour |
#
# The recipe file gives each value's source on its line; [the whole comparison](../paper-card-code) has more.
#
# **What has been run.** The miniature, by every build of this book; `smol/cpu`, [a real model](../real-model), on a CPU. The
# recipes for GPUs share their code and are checked against TRL's arguments; nobody has trained them for this book.

# %% [markdown]
# ## Exporting the model
#
# **Merging** adds $\frac{\alpha}{r} B A$ to each frozen map, so that the model no longer needs PEFT ([Chapter 02](02_dsft)
# checks that both give the same logits). After QLoRA the adapter is merged into the weights as they were *before* 4 bits,
# since rounding the sum to 4 bits would round most of the adapter away. **Saving** writes safetensors, tokenizer and
# template, no pickle. **The model card** is made from the manifests: base, data with revisions or hashes, rows set aside,
# recipe, seconds, figures, and what was *not* evaluated. Its beginning and its end:

# %%
try:
    card = model_card(pipeline)
    print(
        card[: card.index("## Data")]
        + "...\n\n"
        + card[card.index("## Not evaluated") :]
    )
except HandbookError as error:  # this chapter alone was run
    print(f"{error.what}: {error.remedy}")

# %% [markdown]
# `zephyr push owner/name` prints the card and lists the files; only `--upload` sends them, with the token in `HF_TOKEN`, to a
# private repository unless told otherwise.
#
# ```{admonition} Common mistakes
# :class: warning
# - **float32 by default.** TRL loads a model in float32 unless `dtype` says otherwise: 29 GB for Mistral.
# - **Batch per device mistaken for the batch.** Eight GPUs with the recipe of one have eight times the batch and an eighth
#   of the steps, with a learning rate made for neither.
# - **dSFT's adapter left unmerged.** The reference is then the base ([Chapter 05](05_ddpo)).
# - **Memory that peaks late.** The longest row decides, and the optimiser's state comes after the first backward pass. Start
#   with the longest rows.
# - **The sparse peak.** A share of 1,979 TFLOP/s looks half as good as one of 989; say which you divide by.
# - **A T4 has no bfloat16**, and float16 rounds DPO's small differences to zero: `smol` trains in float32.
# ```

# %% [markdown]
# ## Your turn with your own data
#
# 1. `zephyr plan --scale SCALE --gpu-memory 24GB`, then the same with the lever that you would rather pull.
# 2. The lengths of your rows (the histogram above on your file), since they decide memory and padding.
# 3. Twenty steps on the real machine (`Pipeline(changes={"dsft": {"max_steps": 20}}).dsft()`), and the hours from *them*:
#    `--tflops` takes the rate you measured. `python benchmarks/gpu.py` measures it against TRL as it comes.
# 4. Then all of it: `zephyr sft --scale SCALE --dialogues FILE.jsonl`; a killed run resumes from its last checkpoint.

# %% [markdown]
# ## Recap
#
# 1. *Memory, term by term*: weights ({eq}`eq-09-weights`), 16 bytes per trained weight ([under LoRA](ex-09-lora-bytes)),
#    activations as PyTorch saves them, logits, reference.
# 2. *Operations*: [$6N$ and $4N$](ex-09-operations), as PyTorch itself counts them.
# 3. *Hours*: operations over peak times share, [as a range](ex-09-hours), because the share is unknown.
# 4. *Levers*: [packing](ex-09-pack), the reference and the shared prompt counted, the others with their sources.
# 5. *Many GPUs, one batch*: [the accumulation](ex-09-accumulation) and [the steps](ex-09-packed-steps).
# 6. *Exporting*: [merged](ex-02-merge), with a card, and uploaded only when asked.
#
# Next: [Chapter 10](10_reward_models) trains what Zephyr left out, a reward model.
#
# ## References
#
# - {cite:t}`tunstall2023zephyr`: section 4 for hardware, batch and hours; {cite:t}`jiang2023mistral` for the shape.
# - {cite:t}`rajbhandari2020zero`: 16 bytes per weight, and how to shard them. {cite:t}`chen2016training`: checkpointing.
# - {cite:t}`hu2022lora` and {cite:t}`dettmers2023qlora`: adapters, and adapters on 4 bits.
# - {cite:t}`kaplan2020scaling`: 6N operations per token.
# - Published speeds: [Soup, issue 78](https://github.com/MakazhanAlpamys/Soup/issues/78) (LoRA of 8 B through TRL on an H100),
#   [open-instruct, pull request 1466](https://github.com/allenai/open-instruct/pull/1466) (DPO of 7 B on H100s), torchtune's
#   README, torchtitan's `performance.md`, and the model cards of zephyr-7b-beta, -sft-full and -dpo-qlora. Peaks: the vendors'
#   data sheets, named in `zephyr_utils/planning/rates.py`.

# %% tags=["remove-cell"]
peaks = [
    anchor.low / anchor.measured - 1 for anchor in anchors if anchor.unit == "GiB"
]
artefacts.write_metrics(
    pipeline.folder / "09_scaling_up",
    {
        "padding_shuffled": float(waste["shuffled"]),
        "padding_grouped": float(waste["grouped by length"]),
        "padding_packed": float(waste["packed (bfd, 512)"]),
        "lora_share_of_full_operations": float(under_lora / in_full),
        "activations_formula_over_measured": float(formula / per_layer),
        "forward_passes_live_over_precomputed": references["live"]["forward passes"]
        / references["precomputed"]["forward passes"],
        "seconds_live": references["live"]["seconds"],
        "seconds_precomputed": references["precomputed"]["seconds"],
        "published_peak_error": float(np.mean(peaks)),
    },
)
