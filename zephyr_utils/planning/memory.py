"""What a training holds in memory, term by term. Bytes, from the model's shape alone: nothing is
loaded.

All of it is an estimate, made to say what fits and which lever to pull. `tests/test_planning.py`
holds the terms against what PyTorch really saves for a small model, and `anchors` against
published peaks.
"""

from dataclasses import dataclass

# an adapter weight: float32 itself, its gradient and AdamW's two moments, 4 bytes each
LORA_BYTES = 16
# TRL 1.16 scores the vocabulary in chunks of this size
FUSED_HEAD_TOKENS, FUSED_HEAD_WORDS = 4096, 32768
# NF4: 4 bits a weight, and a float32 scale for each 64 weights (QLoRA, arXiv 2305.14314, section
# 3), which double quantisation stores in 8 bits with a further scale for each 256 of them: 0.127
# bit in place of 0.5.
NF4_BYTES, NF4_NESTED_BYTES = (4 + 32 / 64) / 8, (4 + 8 / 64 + 32 / (64 * 256)) / 8
# numbers kept for each weight; AdamW and what is not listed keep two
OPTIMISER_STATES = {"rmsprop": 1}


@dataclass(frozen=True)
class Shape:
    """A decoder of Llama's kind (Mistral, SmolLM2), as its config.json gives it."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    vocabulary: int
    tied: bool
    head_dim: int = 0  # 0: hidden / heads

    @property
    def query(self) -> int:
        """Width of all query heads."""
        return self.heads * (self.head_dim or self.hidden // self.heads)

    @property
    def key_value(self) -> int:
        """Width of all key heads; that of the value heads is the same."""
        return self.kv_heads * (self.head_dim or self.hidden // self.heads)

    @property
    def projections(self) -> dict[str, tuple[int, int]]:
        """A layer's seven linear maps: name -> (inputs, outputs)."""
        h, f, q, kv = self.hidden, self.intermediate, self.query, self.key_value
        return {
            "q_proj": (h, q), "k_proj": (h, kv), "v_proj": (h, kv), "o_proj": (q, h),
            "gate_proj": (h, f), "up_proj": (h, f), "down_proj": (f, h),
        }  # fmt: skip

    @property
    def linear(self) -> int:
        """Weights in the projections of all layers: what QLoRA stores in 4 bits."""
        return self.layers * sum(a * b for a, b in self.projections.values())

    @property
    def embedding(self) -> int:
        """Weights of one table from words to vectors."""
        return self.vocabulary * self.hidden

    @property
    def parameters(self) -> int:
        """All weights: projections, two norms a layer and the last one, the embedding, and the head
        where it is its own.
        """
        norms = (2 * self.layers + 1) * self.hidden
        return self.linear + norms + self.embedding * (1 if self.tied else 2)

    def adapter(self, rank: int, targets: list[str]) -> int:
        """Weights of a LoRA adapter: r (inputs + outputs) for each map it goes to (LoRA, arXiv
        2106.09685, section 4.1).
        """
        return self.layers * sum(rank * sum(self.projections[name]) for name in targets)


@dataclass(frozen=True)
class TrainingSet:
    """What a stage trains on.

    Attributes:
        count: rows (packed sequences where the recipe packs; pairs in dDPO).
        tokens: in a row on the average (in one of a pair's two sequences).
        longest: tokens of the longest, which decides the memory.
        source: where the figures are from.
        prompt: tokens of a pair's prompt on the average, which go through the model once
            (`prefix_sharing`).
    """

    count: int
    tokens: int
    longest: int
    source: str
    prompt: int = 0


LLAMA_3_8B = Shape(4096, 14336, 32, 32, 8, 128256, tied=False)  # for published anchors


def saved_in_layer(shape: Shape, width: int, lora: bool, dropout: bool = False) -> int:
    """Bytes that one layer's forward pass keeps for the backward pass, for one token.

    Counted through the layer as transformers 5 writes it, with scaled dot-product attention (which
    keeps no matrix of tokens by tokens) and `width` bytes a number. h is the hidden width, q and kv
    those of the heads, f the feed-forward one. Frozen maps need not keep their input; a LoRA on
    them does, as does a map that is trained.

    - two RMSNorms: their input in float32, 2 x 4h; trained ones also the normalised values;
    - inputs of the seven maps: LoRA casts its own copy for each (3h + q + 2h + f), training all
      shares them (h + q + h + f);
    - attention: queries, keys, values after rotation and its output (already counted as an input
      where shared): q + 2kv + q;
    - feed-forward: the gate before and after SiLU, and the up projection: 3f.
    """
    h, f, q, kv = shape.hidden, shape.intermediate, shape.query, shape.key_value
    norms = 2 * 4 * h + (0 if lora else 2 * width * h)
    attention, feed_forward = 2 * q + 2 * kv, 3 * f
    inputs = (5 * h + q + f) if lora and width < 4 else (2 * h + f)
    masks = (5 * h + q + f) if lora and dropout else 0
    return norms + width * (attention + feed_forward + inputs) + masks


def activations(
    shape: Shape, tokens: int, width: int, lora: bool, checkpointing: bool, dropout: bool = False
) -> int:
    """Bytes kept for a backward pass over `tokens` tokens, padding included.

    With checkpointing each layer keeps its input only, and one layer at a time is recomputed
    (Chen et al., arXiv 1604.06174): `layers * width * hidden` a token, and one layer's worth.
    """
    layer = saved_in_layer(shape, width, lora, dropout)
    if checkpointing:
        return tokens * (shape.layers * width * shape.hidden + layer)
    return tokens * shape.layers * layer


def logits(shape: Shape, tokens: int, fused: bool = True) -> int:
    """Bytes for scoring the vocabulary: float32 scores and their gradient.

    TRL's fused head holds one chunk at a time; written out, every position has a number for every
    word.
    """
    if fused:
        tokens, words = min(tokens, FUSED_HEAD_TOKENS), min(shape.vocabulary, FUSED_HEAD_WORDS)
        return 2 * 4 * tokens * words
    return 2 * 4 * tokens * shape.vocabulary


def frozen_weights(shape: Shape, width: int, four_bit: bool, nested: bool) -> int:
    """Bytes of a base model that is not trained; in 4 bits all but the embedding, the head and the
    norms.
    """
    if not four_bit:
        return shape.parameters * width
    return (
        round(shape.linear * (NF4_NESTED_BYTES if nested else NF4_BYTES))
        + (shape.parameters - shape.linear) * width
    )


def trained_weights(shape: Shape, mixed: bool, optimiser: str) -> dict[str, int]:
    """Bytes of weights, gradients and optimiser where all weights are trained.

    In mixed precision 2 + 2 + 12 bytes a weight with AdamW: bfloat16 weights and gradients, and in
    float32 a copy of the weights and two moments (ZeRO, arXiv 1910.02054, section 3.1).
    """
    n, states = shape.parameters, OPTIMISER_STATES.get(optimiser, 2)
    width = 2 if mixed else 4
    return {"weights": n * width, "gradients": n * width, "optimiser": n * 4 * (states + mixed)}
