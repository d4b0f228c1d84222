"""Floating-point operations of a training, counted from the model's shape."""

from zephyr_utils.planning.memory import Shape, TrainingSet
from zephyr_utils.recipes import Recipe


def forward_flops(shape: Shape, tokens_in_row: int) -> float:
    """Operations of one forward pass for one token: 2 for each weight that is multiplied, and
    attention.

    An embedding is looked up, not multiplied, so only the head's table counts. Attention adds 4 x
    layers x width x tokens (every token on the whole row, TRL's own convention; a causal kernel
    does half of it).
    """
    return 2 * (shape.linear + shape.embedding) + 4 * shape.layers * shape.query * tokens_in_row


def passes(recipe: Recipe) -> float:
    """What a training step costs in forward passes.

    1 forward; backward 2, or 1 where the weights are frozen under LoRA and need no gradient of
    their own (so 4N in place of 6N operations per token); 1 more where activations are recomputed;
    1 more for a reference that is asked every step.
    """
    live = recipe.is_preference and not recipe.get("precompute_ref_log_probs")
    return (
        1
        + (1 if recipe.get("use_peft") else 2)
        + bool(recipe.get("activation_checkpointing"))
        + live
    )


def stage_flops(shape: Shape, recipe: Recipe, rows: TrainingSet) -> float:
    """Operations of a whole stage; a precomputed reference is one forward pass over the rows,
    whatever the epochs.
    """
    shared = rows.prompt if recipe.get("share_prompts") is not False else 0
    tokens = rows.count * (2 * rows.tokens - shared if recipe.is_preference else rows.tokens)
    once = 1 if recipe.is_preference and recipe.get("precompute_ref_log_probs") else 0
    return (
        forward_flops(shape, rows.tokens)
        * tokens
        * (passes(recipe) * recipe["num_train_epochs"] + once)
    )
