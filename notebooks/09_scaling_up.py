# %% [markdown]
# # Scaling up: what it takes, before it is started
#
# Everything so far ran on a CPU. The same pipeline trains Mistral-7B {cite:p}`jiang2023mistral`, as the paper did on sixteen
# A100 {cite:p}`tunstall2023zephyr`; what changes is a name in the dial. Before one rents a machine, three questions want
# an answer: *does it fit, how many updates, how many hours?* All three can be computed on paper, and this chapter does
# so: each formula is derived, and checked on a model that is small enough to be measured. **No GPU was used to make this
# chapter**, so every figure below says what it is: *measured* here, *published* by somebody named, or *estimated*.

# %% [markdown]
# ## What you will be able to do
#
# 1. Say what a training holds in memory, term by term, and predict it from a model's shape.
# 2. Count the operations of a token: full training, LoRA, and what checkpointing and a reference add.
# 3. Choose a lever (packing, grouping, checkpointing, QLoRA, a precomputed reference, ...) by what it gives and costs.
# 4. Go from one GPU to many and keep the effective batch.
# 5. Take a trained model out: merged, with a card that says what was not evaluated.

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
# The same as in every chapter. What is *measured* here is measured on the miniature, whatever the scale, because it is
# small enough; what is *planned* below is planned for all scales.

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
from zephyr_utils.pipeline.pipeline import Pipeline

pipeline = Pipeline(
    scale=scale, seed=seed, dialogues=dialogues, feedback=feedback,
    preferences=preferences, base_model=base_model, runs=runs, **settings,
)
small = Pipeline(seed=seed, runs=runs)  # what is measured here

# %%
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

from zephyr_utils import chat, exercises, figures, training
from zephyr_utils.pipeline import artefacts
from zephyr_utils.planning import memory, plan
from zephyr_utils.planning.anchors import compare_with_anchors
from zephyr_utils.recipes import Recipe
from zephyr_utils.training.batch import share_batch
from zephyr_utils.scales import SCALES, get_scale

# %% [markdown]
# ## What has to be in memory
#
# ### Weights
#
# A decoder of Llama's kind has seven linear maps a layer, two norms, an embedding, and a head that may share the
# embedding's table. With hidden width $h$, feed-forward width $f$, query width $q$, key width $k$, $L$ layers and $V$
# words, its number of weights is
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
# Does it hold? Against the package's version, and against a model that is really there:

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
# A weight takes 4 bytes in float32, 2 in bfloat16, and about half a byte in the 4 bits of QLoRA {cite:p}`dettmers2023qlora`.
# So Mistral-7B's 7.24 billion weigh 29.0, 14.5 or (with embedding and head left in bfloat16) 4.1 GB.
#
# ### Gradients and optimiser

# %% [markdown]
# ```{admonition} Predict, then run
# :class: predict
# All 7.24 billion weights of Mistral are trained with AdamW in mixed precision. The weights take 14.5 GB. Does it fit on
# a card of 80 GB: easily, barely, or not at all, even before the first token is read?
# ```

# %%
mistral = get_scale("zephyr-7b-full").shape
full = memory.trained_weights(mistral, mixed=True, optimiser="adamw_torch")
for name, size in full.items():
    print(
        f"{name:10s} {size / 1e9:6.1f} GB, {size / mistral.parameters:g} bytes a weight"
    )
print(f"together   {sum(full.values()) / 1e9:6.1f} GB")

# %% [markdown]
# ```{admonition} What happened
# :class: dropdown
# 116 GB: not at all. Each weight has a gradient (2 bytes), and AdamW keeps three numbers in float32: the weight once
# more, because steps of $2 \cdot 10^{-5}$ vanish in bfloat16's three digits, and two moments. That makes 16 bytes a weight
# {cite:p}`rajbhandari2020zero`. Whoever guessed *barely* thought of twice or four times the weights. RMSprop, which the
# authors used for dDPO, keeps one moment, so 12 bytes. This is why the paper's runs spread everything over sixteen cards.
# ```

# %% [markdown]
# LoRA {cite:p}`hu2022lora` freezes the base and trains two thin matrices beside each map, $r\,(\text{in} + \text{out})$
# weights in all. What is frozen has no gradient and no moments. The adapter is kept in float32.

# %% [markdown]
# ````{exercise} What LoRA holds
# :label: ex-09-lora-bytes
#
# **Difficulty** ●●○○○ · **Minutes** 5
#
# The base has `parameters` weights in bfloat16, frozen. The adapter has `adapter` weights in float32, trained with AdamW
# without a second copy. How many bytes are weights, gradients and optimiser together?
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
# ### Activations
#
# The backward pass needs numbers that the forward pass has computed. How many? One can read the layer line by line, or
# ask PyTorch: `saved_tensors_hooks` calls us for every tensor that is kept. We count each storage once and leave the
# weights out.

# %%
def bytes_kept(network, inputs):
    weights = {p.untyped_storage().data_ptr() for p in network.parameters()}
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            # held, so that its place is not used again
            kept[storage.data_ptr()] = (storage.nbytes(), tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        network(inputs_embeds=inputs, use_cache=False)
    return sum(size for size, _ in kept.values())

# %% [markdown]
# Two models of different depth, so that what is not in a layer cancels in the difference. Beside it the package's formula,
# which counts through the layer as it is written (its docstring has the terms).

# %%
tokens = 256
inputs = torch.randn(1, tokens, shape.hidden, requires_grad=True)
body = model.model
deep = bytes_kept(body, inputs)
body.layers, all_layers = body.layers[:2], body.layers
shallow = bytes_kept(body, inputs)
body.layers = all_layers
a_layer = (deep - shallow) / 2 / tokens
formula = memory.saved_in_layer(shape, width=4, lora=False)
print(
    f"a layer keeps {a_layer:,.0f} bytes a token (measured), {formula:,} by the formula"
)
assert abs(formula / a_layer - 1) < 0.1, (
    "transformers writes the layer another way now: count it again"
)

# %% [markdown]
# For Mistral in bfloat16 under LoRA the formula gives, a token of one micro-batch:

# %%
kept = {
    c: memory.activations(mistral, 1, 2, lora=True, checkpointing=c)
    for c in (False, True)
}
print(
    f"everything kept {kept[False] / 1e6:.2f} MB; "
    f"layers recomputed {kept[True] / 1e6:.2f} MB a token"
)
print(
    "a micro-batch of 4 x 2,048 tokens: "
    f"{8192 * kept[False] / 1e9:.1f} GB and {8192 * kept[True] / 1e9:.1f} GB"
)

# %% [markdown]
# **Activation checkpointing** {cite:p}`chen2016training` keeps each layer's input only and computes the layer once more when
# its turn comes in the backward pass. It is the strongest lever there is on memory, and costs one more forward pass.
#
# ### Logits
#
# The last map makes a number for each word at each position. Written out for $4 \times 2{,}048$ tokens of Mistral, with
# the gradient, they come to half of what the activations under checkpointing take; for Llama 3's vocabulary, four times as
# large, to twice of it. TRL 1.16 scores them in chunks, and never holds them all.

# %%
for fused in (False, True):
    print(
        f"logits {'in chunks' if fused else 'written out'}: "
        f"{memory.logits(mistral, 8192, fused) / 1e9:.2f} GB"
    )

# %% [markdown]
# ### The reference model
#
# dDPO needs log-probabilities under the dSFT model. As a copy that is another 14.5 GB. Under LoRA it is the same base with
# the adapter switched off: nothing. And since it never changes, its numbers can be computed once before training, which
# is what our recipes do: nothing too, even for full training.
#
# ### How far off is all this?

# %% [markdown]
# ```{admonition} Predict, then run
# :class: predict
# Formulas against figures that somebody measured: two published peaks of an 8 B model on an H100, two published times, and
# the peak of our own dSFT process. For memory, do you expect the bare count to come out above or below the measured
# peak? And for the paper's dDPO run, does a rate that an H100 sustains on long rows describe it?
# ```

# %%
# empty if chapter 02 has not been run
made = artefacts.read_json(small.folder / "02_dsft" / artefacts.MANIFEST)
anchors = compare_with_anchors(made.get("peak_memory_mb"))
for anchor in anchors:
    print(
        f"{anchor.error:+5.0%}  {anchor.estimated:7.2f} for {anchor.measured:7.2f} "
        f"{anchor.unit:5s}  {anchor.what} ({anchor.where})"
    )

# %% [markdown]
# ```{admonition} What happened
# :class: dropdown
# Below, by a third: the count has what *must* be kept, and not temporaries, copies between precisions, workspaces and the
# gaps of an allocator. So `zephyr plan` adds a reserve of three quarters of activations and logits, taken from the first of
# these rows; on that row it is therefore no check any more. The miniature's own process comes out worst: most of what it
# holds are the libraries themselves, for which the count has one round number.
#
# The dSFT time is off by a third (the card does not even say which GPU). The dDPO time is not described at all: the
# authors' run sustained less than a tenth of what the formula assumes. Two pairs of a few hundred tokens a card, unequal
# lengths, and weights gathered between two machines for every layer leave a GPU waiting. **Operations are a lower bound
# on time; utilisation is the unknown.** Measure twenty steps, then multiply.
# ```

# %% [markdown]
# ## What has to be computed
#
# A weight takes part in one multiplication and one addition a token: a forward pass costs $2N$ operations a token, plus
# attention. Going backward, each map computes two products: the gradient of its input ($2N$) and of its weights ($2N$).
# Full training: $2N + 4N = 6N$ {cite:p}`kaplan2020scaling`. And under LoRA, where the weights of the base get no gradient?
# Think it through before you run the next cell.

# %% [markdown]
# ```{admonition} Predict, then run
# :class: predict
# PyTorch can count the operations it really makes. We train the miniature for one step in full and under LoRA, of rank 1
# here, so that the adapter's own work hardly counts: one weight in a hundred is trained, as for Mistral at rank 16 to 32.
# Does its step cost a hundredth, two thirds, or the same?
# ```

# %%
def operations(network, ids):
    network.train()
    with FlopCounterMode(display=False) as counter:
        network(input_ids=ids, labels=ids, use_cache=False).loss.backward()
    return counter.get_total_flops() / ids.numel()

ids = torch.randint(4, 1000, (4, 64), generator=torch.Generator().manual_seed(seed))
N = shape.linear + shape.embedding  # what is multiplied
in_full = operations(model, ids)
adapted = get_peft_model(model, LoraConfig(r=1, target_modules=list(shape.projections)))
under_lora = operations(adapted, ids)
model = adapted.unload()
print(
    f"full {in_full / N:.2f} N, LoRA {under_lora / N:.2f} N a token; "
    f"ratio {under_lora / in_full:.2f}"
)

# %% [markdown]
# ```{admonition} What happened
# :class: dropdown
# Two thirds: $6N$ and just under $4N$. The product that gives a gradient to the base's weights is not made, so
# $2N + 2N = 4N$ remain; just under, because below the lowest adapter nothing needs a gradient. (PyTorch's
# counter does not see the CPU's attention kernel, which comes on top in both.) LoRA saves *memory* by a factor of
# eight and *time* by a third, no matter how few weights it trains: to reach an adapter in the first layer, gradients still go
# through every layer above it. Whoever guessed a hundredth took the trained weights for the work. (A helper that reports
# utilisation by $6N$ for a LoRA run flatters it by a half.)
# ```

# %%
assert 5.9 < in_full / N < 7.5, (
    "an operation is not counted, or counted twice: look at the attention kernel"
)
assert 0.6 < under_lora / in_full < 0.8, "is the base frozen? Look at requires_grad"
print(
    "TRL's convention for Mistral, 2,048 tokens: "
    f"{plan.forward_flops(mistral, 2048) * 3 / 1e9:.1f} GFLOP a token in full"
)
lora = {"use_peft": True}
for name, recipe in {
    "LoRA": Recipe("dsft", lora),
    "LoRA, recomputed": Recipe("dsft", lora | {"activation_checkpointing": True}),
    "LoRA dDPO, live reference": Recipe("ddpo", lora),
}.items():
    print(
        f"{name:26s} {plan.passes(recipe):g} forward passes' worth = "
        f"{2 * plan.passes(recipe):g} N"
    )

# %% [markdown]
# ## Levers
#
# ### Padding: a lever on the data
#
# Rows of a batch are padded to its longest. Padding costs what text costs and teaches nothing. Here are the miniature's
# own dialogues in batches of 32, in three ways: shuffled; **grouped by length**; **packed** by best-fit decreasing (bfd),
# which fills rows of the full context with whole dialogues.

# %%
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
    caption="What decides the waste: the spread of the lengths, not their mean.",
)

# %% [markdown]
# ```{admonition} Predict, then run
# :class: predict
# What share of all positions is padding when shuffled rows are batched by 32: a tenth, a third, a half? And with rows of
# like length together? Which of the three ways wastes least?
# ```

# %%
def padding_share(order, batch=32):
    batches = [lengths[order[i : i + batch]] for i in range(0, len(order), batch)]
    return 1 - lengths.sum() / sum(len(rows) * rows.max() for rows in batches)

shuffled = np.random.default_rng(seed).permutation(len(lengths))
torch.manual_seed(seed)
grouped = np.array(get_length_grouped_indices(list(lengths), 32))
packed = pack_dataset(
    Dataset.from_dict({"input_ids": encoded}), seq_length=512, strategy="bfd"
)
waste = {
    "shuffled": padding_share(shuffled),
    "grouped by length": padding_share(grouped),
    "packed (bfd, 512)": 1 - lengths.sum() / (512 * len(packed)),
}
for name, share in waste.items():
    print(f"{name:18s} {share:.1%} padding")

# %% [markdown]
# ```{admonition} What happened
# :class: dropdown
# Shuffled, a batch is as long as its longest row, and about half of what is computed is padding. Grouping removes nearly
# all of it and changes no row; it does change *which* rows meet in a batch, and the loss of neighbouring steps jumps more.
# Packing gains as much, and its batches have equal sizes, which a GPU likes; it also makes fewer and larger rows, so the
# same "batch of 32" holds several times as many tokens, and the number of updates falls. Whoever turns packing on and
# keeps the batch has changed the recipe.
# ```

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
# We count real forward passes: a hook on the first layer notes each pass and how many tokens went through. Twenty steps of
# dDPO with 8 pairs each, the same rows, once with a live reference and once with its numbers computed beforehand. (The start
# is the base here: for the clock it does not matter which model it is.)

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

# %% [markdown]
# ```{admonition} Predict, then run
# :class: predict
# One epoch over 160 pairs; chosen and rejected answers of a step go through the model together, as one pass. How many
# forward passes in twenty steps with a live reference: 20, 40, 60? And does computing it beforehand save time *within this
# one epoch*, all passes counted?
# ```

# %%
references = {
    name: twenty_steps(flag) for name, flag in (("live", False), ("precomputed", True))
}
for name, seen in references.items():
    print(
        f"{name:12s} " + ", ".join(f"{key} {value:.4g}" for key, value in seen.items())
    )

# %% [markdown]
# ```{admonition} What happened
# :class: dropdown
# Live, every step makes two passes: one with the adapter, one without. What is computed beforehand happens before
# the training loop, so inside it there are 20, and the time a step falls by about a quarter. Within *one* epoch little is
# won in all, since the pass over the pairs has to be paid before (here when the trainer is made, which the clock leaves
# out). The gain grows with the epochs: for three of them $3 \cdot 6N$ become $3 \cdot 4N + 2N$, 1.29 times as fast under
# LoRA. The losses agree: it is the same number, computed at another time.
# ```

# %%
assert (
    references["live"]["forward passes"]
    == 2 * references["precomputed"]["forward passes"]
    == 40
), "a pass more or less: print when it happens"
assert abs(references["live"]["loss"] - references["precomputed"]["loss"]) < 1e-3, (
    "the two references are not the same model"
)

# %% [markdown]
# What was computed beforehand is kept: `Pipeline` lays it in `reference/`, under the hash of the model's weights, of the rows'
# tokens and of how they are batched. Another $\beta$, another learning rate or another loss on the same pairs takes it from
# there, and a run that is killed in this pass goes on where it stopped, with the same bits (`tests/test_training_pairs.py`).
#
# ### A pair's prompt: once, or twice
#
# Chosen and rejected answer have one prompt, and two rows compute it twice. **Prefix sharing** {cite:p}`wang2024prefix` puts the
# pair into one row, prompt, chosen, rejected, under a mask that hides the first answer from the second. The second answer's
# positions begin again behind the prompt, and the prompt's last token stands before each answer, for it predicts the
# answer's first. A mask that hides one answer from another can hide whole pairs from each other, too: several pairs go into
# one row, and the padding goes with them. A pair of five words, so that the mask can be read (the last two places are
# padding: GPUs like widths that eight divides):

# %%
from zephyr_utils.training.prefix_sharing import share_prompts

# prompt 10 11, chosen 20 21, rejected 30, padding 0
two_rows = torch.tensor([[10, 11, 20, 21], [10, 11, 30, 0]])
answers = torch.tensor([[-100, -100, 20, 21], [-100, -100, 30, -100]])
one_row = share_prompts(two_rows, (two_rows > 0).long(), answers, hidden_size=160)
print("tokens   ", one_row.input_ids[0].tolist())
print("positions", one_row.position_ids[0].tolist())
print(one_row.dense_mask()[0, 0].int())

# %% [markdown]
# ```{admonition} Predict, then run
# :class: predict
# In the miniature a prompt is about as long as an answer. What share of the tokens is left when each prompt is computed
# once: two thirds, a half, a third? And where prompts are ten times as long as answers?
# ```

# %%
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
left = {"the miniature's": prompt, "ten times an answer": 10 * (chosen + rejected) / 2}
for name, n in left.items():
    print(
        f"{name:20s} prompt {n:5.0f}: "
        f"{(n + chosen + rejected + 1) / (2 * n + chosen + rejected):.0%} of the tokens"
    )

# %% [markdown]
# ```{admonition} What happened
# :class: dropdown
# About three quarters, since answers are not shared; and just above a half, which no prompt however long undercuts. Whoever
# guessed a half for the miniature forgot the answers. With the padding gone as well, half of the positions are left, and the
# time follows: on a CPU a step of the miniature takes 0.57 of what two rows a pair take, one with prompts some two hundred
# tokens longer 0.56, at losses equal to 1e-7 (`benchmarks/steps.py`). On GPUs a mask of every token with every other keeps
# attention from its fastest kernel, and the paper reports 1.1 to 1.5 times the speed, 1.3 to 1.6 with pairs packed. All
# recipes train so wherever the model's attention can; `share_prompts: false` turns it off.
# ```

# %% [markdown]
# ### All levers in one table
#
# | lever | gives | costs | leave it when | known from |
# |---|---|---|---|---|
# | packing (`packing: true`, `bfd`) | no padding; 2 to 3 times the tokens per second of padded rows | fewer updates for the same batch; needs an attention that keeps neighbours apart | rows are nearly equally long; the batch's meaning must stay | published: torchtune's README, +238 % |
# | grouping by length | most of the same, no change of rows | neighbouring steps differ more | already packed; TRL's DPO trainer brings no lengths for it, ours does | measured above |
# | precomputed reference | a third of dDPO's work a step; no second model; a second run on the same pairs finds it on disk | one pass before | the reference moves (`sync_ref_model`); one epoch and little time | measured above |
# | activation checkpointing | memory of activations down more than tenfold | one more forward pass: 1.5 times LoRA's work, 1.33 of full | memory suffices (`zephyr plan` then leaves it off) | estimated; torchtune publishes +27 % speed for leaving it off |
# | QLoRA, 4 bits | 10 GB of Mistral's weights | slower products; merging needs the full weights once more; a base slightly off | the bfloat16 weights fit | published: QLoRA's paper, sections 3 and 4 |
# | LoRA in place of all weights | 16 bytes a weight become 2 | another optimum; another learning rate | there are eight cards | counted above |
# | scores in chunks | logits that do not grow with the batch | nothing | never: TRL does it by itself | published: torchtune, 16 % less memory |
# | FlashAttention, flex attention (`attn_implementation`) | packed rows and shared prompts hand sdpa a mask of every token with every other, which its fastest kernels do not take; the first is handed the rows' lengths, the second passes over blocks in which nothing is seen | a package to build; compiling | rows are padded: sdpa has the same kernels | taken by itself where rows are packed, the package is installed and the card is of 8.0 or later; flex gives sdpa's log-probabilities to 1e-4 (tested on a CPU, which cannot train with it); neither timed here |
# | fused AdamW | one kernel for all weights | nothing | LoRA of a large model: the optimiser is no cost there | tried on a CPU: within the noise of a step of the miniature |
# | `torch_compile` | 27 % in full training | minutes of compiling, again for each new length; LoRA dropout must be 0 | lengths vary and rows are few | published: torchtune; not tried here |
# | dropout 0 in LoRA | its masks, about a tenth of a step on a CPU | the regularisation | you overfit | measured on a CPU while the recipes were made |
# | sharing the prompt of a pair, several pairs in a row (ours; `share_prompts: false` turns it off) | the prompt once, not twice; no padding | a mask of every token with every other, so no flash attention | never by hand: where the attention takes no such mask it turns itself off | measured on a CPU: 1.8 times the speed, with long prompts as well; on GPUs published: arXiv 2410.20305, 1.1 to 1.6 times |
# | scoring answers alone | the vocabulary is scored where a label is; TRL does so on GPUs, ours on CPUs too | nothing: the same weights to the last bit | never | counted in `tests/test_training_pairs.py` |
#
# What the miniature's own dDPO step comes to, on the same pairs in one run: 0.36 of TRL's trainer as it comes (bfloat16,
# activations recomputed, a live reference), and 0.58 of a bare PyTorch loop that does the same sums on two rows a pair. On
# two rows a pair ours would take 0.63 of TRL's and 1.03 of the bare loop. All are in `benchmarks/results/steps.json`.
#
# Gains do not multiply: packing removes the padding that grouping would have removed, in dDPO as in dSFT, and grouping on top
# of it gains nothing that could be measured. All of ours together against TRL with the alignment-handbook's LoRA values as they
# stand, a model of 10 M parameters with random weights on a CPU (`benchmarks/gpu.py --shape small`, *measured* once): 2.2
# times the non-padding tokens per second in dSFT, 2.6 times in dDPO, and the same losses to six digits. What it is on a GPU,
# the same command says there, with the share of the card's fastest matrix product.

# %% [markdown]
# ## One GPU, many GPUs, one batch
#
# A learning rate belongs to an effective batch: rows behind one update. In our recipes it is
# `per_device_train_batch_size` × `gradient_accumulation_steps`, whatever the hardware. Gradients of several micro-batches,
# or of several GPUs, are averaged before the update, and a mean does not ask where its terms were computed. On a line with
# one weight, eight rows at once and four times two:

# %%
x, y = torch.randn(2, 8, generator=torch.Generator().manual_seed(seed))
w = torch.tensor(0.5, requires_grad=True)
at_once = torch.autograd.grad(((w * x - y) ** 2).mean(), w)[0]
in_parts = sum(
    torch.autograd.grad(((w * x[i : i + 2] - y[i : i + 2]) ** 2).mean() / 4, w)[0]
    for i in range(0, 8, 2)
)
print(f"eight at once {at_once:.6f}, four times two {in_parts:.6f}")
assert torch.isclose(at_once, in_parts)

# %% [markdown]
# ```{admonition} Where the mean is not a mean
# :class: note
# With rows of unequal length, a mean of the micro-batches' *means a token* is not the mean over all tokens. Trainers had that
# fault for years; TRL now divides by the tokens of all of them. Two processes and one give the same losses to five digits here
# (`tests/test_distributed.py` trains both).
# ```

# %% [markdown]
# ````{exercise} The same batch on other hardware
# :label: ex-09-accumulation
#
# **Difficulty** ●●●○○ · **Minutes** 10
#
# An update takes `batch` rows in all, and `gpus` GPUs share them evenly (you may trust that it divides). At most `fits` rows
# fit at once. Return `(rows, times)`: rows a micro-batch, as many as can be, and how many micro-batches a GPU makes, with
# `rows * times * gpus == batch` exactly.
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
# Written out once, and beside it the package's version, which the trainer asks when several processes run:

# %%
def by_hand(batch, fits, gpus):
    share = batch // gpus
    rows = max(n for n in range(1, fits + 1) if share % n == 0)
    return rows, share // rows

for gpus in (1, 2, 4, 8, 16):
    rows, times = share_batch(4, 16, gpus)
    print(
        f"{gpus:2d} GPUs x {rows} rows x {times:2d} micro-batches = "
        f"{gpus * rows * times} rows an update"
    )
    assert (rows, times) == by_hand(64, 4, gpus)

# %% [markdown]
# ### How the GPUs share the work
#
# - **DDP**: each holds everything and averages gradients. For LoRA, whose gradients are small. `recipes/accelerate/ddp.yaml`
# - **FSDP2** or **DeepSpeed ZeRO-3** (the paper): weights, gradients and optimiser are spread, and each layer's weights are
#   gathered when they are used. For full training. `fsdp2.yaml`, `zero3.yaml`
#
# ```bash
# accelerate launch --config_file zephyr_utils/recipes/accelerate/fsdp2.yaml --num_processes 8 \
#     -m zephyr_utils sft --scale zephyr-7b-full
# ```
#
# Two processes on a CPU are tested here, through `torchrun`: losses, weights, metrics of an evaluation, a run that dies and goes
# on. FSDP2 and ZeRO-3 are tested there too, through TRL's trainers and under the settings of the files: two processes with
# half of every weight each take the steps that one process takes, with LoRA and with all weights, in dSFT and in dDPO, leave
# the same model, and go on to it if they die (`tests/test_distributed_spread.py`; ZeRO-3 where DeepSpeed is installed). On
# GPUs none of the files has been run. `accelerate launch --cpu --num_processes 2` starts *one* process and says nothing.

# %% [markdown]
# ## Updates
#
# ````{exercise} Updates after packing
# :label: ex-09-packed-updates
#
# **Difficulty** ●●○○○ · **Minutes** 8
#
# `rows` dialogues of `tokens` tokens on the average are packed into sequences of `length` without a gap, and an update
# takes `batch` sequences. How many updates has an epoch? The paper's 207,865 dialogues of about 1,372 tokens, packed to
# 2,048 in batches of 512, should give what the authors report: 272.
# ````

# %% tags=["exercise"]
def packed_updates(rows, tokens, length, batch):
    ...


exercises.check_packed_updates(packed_updates)

# %% [markdown]
# ```{admonition} Hint 1
# :class: tip dropdown
# Tokens in all first; then sequences; then updates.
# ```
#
# ```{admonition} Hint 2
# :class: tip dropdown
# `math.ceil` twice: a last sequence that is not full is a sequence, a last batch that is not full an update.
# ```

# %% [markdown]
# `````{solution} ex-09-packed-updates
# :class: dropdown
# ```python
# import math
#
# def packed_updates(rows, tokens, length, batch):
#     sequences = math.ceil(rows * tokens / length)
#     return math.ceil(sequences / batch)
# ```
# `````

# %% [markdown]
# The authors' first schedule was made for the rows *before* packing, so warm-up and decay were too long and the learning
# rate never came down ([alignment-handbook, issue 31](https://github.com/huggingface/alignment-handbook/issues/31)). Look at
# the last learning rate of a log: it should be near 0.
#
# ## The plan
#
# `zephyr plan --scale zephyr-7b-lora --gpu-memory 24GB` puts all this together. Where there is room it keeps the
# activations, in smaller micro-batches if need be, since that is the faster way; where there is not, it pulls levers until
# it fits. All scales, on what each was made for (15 GB: a T4). Memory and hours are estimates. The hours hang on the rate
# that is assumed, 300 TFLOP/s a GPU for the 7 B scales, which one H100 sustained under TRL on long rows: on short ones
# expect several times as many.

# %%
asked = [
    ("miniature", None, 1), ("smol", "15GB", 1), ("zephyr-7b-lora/qlora", "24GB", 1),
    ("zephyr-7b-lora", "40GB", 1), ("zephyr-7b-lora", "80GB", 1),
    ("zephyr-7b-full", "80GB", 8), ("zephyr-7b-full/handbook-v2", "80GB", 8),
]
print(
    f"{'scale':27s} {'GPUs':>9s} {'stage':5s} {'GB each':>8s} {'updates':>8s} "
    f"{'hours':>7s}   (below: levers)"
)
for name, size, gpus in asked:
    for stage in ("dsft", "ddpo"):
        found = plan.plan_stage(
            name, stage, plan.bytes_of(size) if size else None, gpus
        )
        print(
            f"{name:27s} {f'{gpus} x {size}' if size else 'CPU':>9s} {stage:5s} "
            f"{found.total / 1e9:8.1f} {found.updates:8,d} {found.hours:7.2f}",
            *(f"\n    {lever}" for lever in found.levers),
        )
        assert found.fits

# %% [markdown]
# Bfloat16 LoRA on a card of 24 GB, which its recipe was not made for: what would you give up first?

# %%
tight = plan.plan_stage("zephyr-7b-lora", "dsft", plan.bytes_of("24GB"))
for term, size in tight.memory.items():
    print(f"{term:12s} {size / 1e9:6.2f} GB")
print(
    f"{tight.total / 1e9:.2f} of {tight.limit / 1e9:.0f} GB after: {tight.levers}; "
    f"in the recipe: {tight.changes}"
)

# %% [markdown]
# ### Paper, model card, code, ours
#
# | | paper | model card | handbook v2 | ours: `zephyr-7b-full` |
# |---|---|---|---|---|
# | GPUs | 16 × A100 80 GB | 16 | 8 × 80 GB | 8 × 80 GB, any that divides the batch |
# | hours | "typically 2 to 4" | dDPO: 23,866 s = 6.6 | dSFT: 5,608 s = 1.6 | the table above, an estimate |
# | dSFT: rows an update | 512 | 512 | 128 | 512 (variant `handbook-v2`: 128) |
# | dDPO: pairs an update | 32 | 32 | 128 | 32 (variant: 128) |
# | dDPO: optimiser | AdamW | AdamW | AdamW | RMSprop, as [the authors say they ran](https://github.com/huggingface/alignment-handbook/issues/43) |
# | dDPO: $\beta$, epochs, schedule | 0.1, 3, linear | 0.1, 3, linear | 0.01, 1, cosine | 0.1, 3, linear (variant: as v2) |
# | packing | yes | | in the script; gone in 2025 | yes, and no dialogue sees its neighbour |
#
# Each value's source stands on its line in the recipe file.

# %% [markdown]
# ## Taking the model out
#
# **Merging** adds $\frac{\alpha}{r} B A$ to each frozen map, so that the model needs no PEFT any more ([Chapter 02](02_dsft)
# checks that both give the same logits). After QLoRA the adapter is merged into the weights as they were *before* 4 bits:
# rounding the sum to 4 bits would round most of the adapter away. **Saving** is safetensors, tokenizer and template, no
# pickle. **The card** is made from the manifests: base, data with revisions or hashes, rows set aside, recipe, seconds,
# figures measured, and a section on what was *not* evaluated. Here are its beginning and its end:

# %%
from zephyr_utils.errors import HandbookError
from zephyr_utils.pipeline.model_card import model_card

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
# `zephyr push owner/name` prints the card and the files that would go; only `--upload` sends them, with the token in
# `HF_TOKEN`, to a private repository unless told otherwise.
#
# ```{admonition} Pitfalls
# :class: warning
# - **float32 by default.** TRL loads a model in float32 unless `dtype` says otherwise: 29 GB for Mistral.
# - **Batch per device taken for the batch.** Eight GPUs with the recipe of one have eight times the batch and an eighth of
#   the updates, at a learning rate made for neither.
# - **An adapter as reference's base.** Merge dSFT first ([Chapter 05](05_ddpo)); a card that is full enough to swap hides
#   the rest.
# - **The peak comes late.** The longest row decides, and the first step's optimiser state comes after the first backward
#   pass. Start with the longest rows.
# - **Utilisation by 6N for LoRA.** Half as high again as it is.
# - **A T4 has no bfloat16**, and float16 turns DPO's small differences into zeros: `smol` trains in float32.
# - **Ranks that each build their own data.** TRL's cache lies beside a file; rows from memory have none that others find.
# ```

# %% [markdown]
# ## Your turn with your own data
#
# 1. `zephyr plan --scale SCALE --gpu-memory 24GB`, then the same with the lever that you would rather pull.
# 2. With rows of your own: lengths first (the histogram above on your file), since they decide memory and waste.
# 3. Twenty steps on the real machine (`Pipeline(changes={"dsft": {"max_steps": 20}}).dsft()`), and the hours from *them*:
#    `--tflops` takes the rate you measured. `python benchmarks/gpu.py` measures it against TRL as it comes.
# 4. Then the whole: `zephyr sft --scale SCALE --dialogues FILE.jsonl`; a killed run goes on from its last checkpoint.

# %% [markdown]
# ## Recap
#
# 1. *Memory, term by term*: weights ({eq}`eq-09-weights`), 16 bytes a trained weight ([exercise](ex-09-lora-bytes)),
#    activations as PyTorch saves them, logits, reference; a third below published peaks without the reserve.
# 2. *Operations*: $6N$ and $4N$, counted by PyTorch itself.
# 3. *Levers*: padding, the reference and the shared prompt counted, the others in the table with where they are known from.
# 4. *Many GPUs, one batch*: [the accumulation](ex-09-accumulation) and [the updates](ex-09-packed-updates).
# 5. *Taking it out*: merged, with a card, and uploaded only when asked.
#
# ## References
#
# - {cite:t}`tunstall2023zephyr`: section 4 for hardware, batch and hours; {cite:t}`jiang2023mistral` for the shape.
# - {cite:t}`rajbhandari2020zero`: 16 bytes a weight, and how to spread them. {cite:t}`chen2016training`: checkpointing.
# - {cite:t}`hu2022lora` and {cite:t}`dettmers2023qlora`: adapters, and adapters on 4 bits.
# - {cite:t}`kaplan2020scaling`: 6N operations a token.
# - Published rates and peaks: [Soup, issue 78](https://github.com/MakazhanAlpamys/Soup/issues/78) (LoRA of 8 B through TRL on an
#   H100), torchtune's README, and the model cards of zephyr-7b-beta and zephyr-7b-sft-full.

# %% tags=["remove-cell"]
peaks = [anchor.error for anchor in anchors if anchor.unit == "GiB"]
artefacts.write_metrics(
    pipeline.folder / "09_scaling_up",
    {
        "padding_shuffled": float(waste["shuffled"]),
        "padding_grouped": float(waste["grouped by length"]),
        "padding_packed": float(waste["packed (bfd, 512)"]),
        "lora_share_of_full_operations": float(under_lora / in_full),
        "activations_formula_over_measured": float(formula / a_layer),
        "forward_passes_live_over_precomputed": references["live"]["forward passes"]
        / references["precomputed"]["forward passes"],
        "seconds_live": references["live"]["seconds"],
        "seconds_precomputed": references["precomputed"]["seconds"],
        "published_peak_error": float(np.mean(peaks)),
    },
)
