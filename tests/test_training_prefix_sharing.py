"""A pair's prompt computed once: log-probabilities, loss and gradients of two rows per pair."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tiny import tiny_model
from transformers import (
    BloomConfig,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    OPTConfig,
    OPTForCausalLM,
)
from trl.trainer.dpo_trainer import DataCollatorForPreference
from trl.trainer.utils import add_fused_lm_head

from zephyr_utils.errors import HandbookError
from zephyr_utils.training.prefix_sharing import (
    can_share_prompts,
    pack,
    share_prompts,
    with_shared_prompts,
)

FIELDS = ("log_probs", "entropy", "mean_logits", "is_top1")


def pairs(count=5, longest_prompt=20, seed=0):
    draw = torch.Generator().manual_seed(seed)

    def words(low, high):
        count = int(torch.randint(low, high + 1, (1,), generator=draw))
        return torch.randint(4, 320, (count,), generator=draw).tolist()

    return [
        {
            "prompt_ids": words(1, longest_prompt),
            "chosen_ids": words(1, 9),
            "rejected_ids": words(1, 9),
        }
        for _ in range(count)
    ]


def batch_of(rows):
    batch = DataCollatorForPreference(pad_token_id=3)(rows)
    labels = batch["input_ids"].masked_fill(batch.pop("completion_mask") == 0, -100)
    return batch | {"labels": labels}


def mistral(hidden_size=32):
    config = MistralConfig(
        vocab_size=320,
        hidden_size=hidden_size,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.2,
        sliding_window=None,
    )
    torch.manual_seed(0)
    return MistralForCausalLM(config).eval()


def both_ways(model, batch):
    add_fused_lm_head(model, outputs=FIELDS)
    return (
        f(**batch, use_cache=False, fused_lm_head=True) for f in (model, with_shared_prompts(model))
    )


def spread(model):
    """With weights wide enough to predict something."""
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.1 * torch.randn_like(weight)
    return model.eval()


def gpt2():
    size = {"vocab_size": 320, "n_embd": 32, "n_layer": 2, "n_head": 4}
    return spread(GPT2LMHeadModel(GPT2Config(**size)))


def neox():
    size = {"vocab_size": 320, "hidden_size": 32, "intermediate_size": 64}
    return spread(
        GPTNeoXForCausalLM(GPTNeoXConfig(num_hidden_layers=2, num_attention_heads=4, **size))
    )


def opt():
    size = {"vocab_size": 320, "hidden_size": 32, "ffn_dim": 64, "word_embed_proj_dim": 32}
    return spread(OPTForCausalLM(OPTConfig(num_hidden_layers=2, num_attention_heads=4, **size)))


@pytest.mark.parametrize("make", [tiny_model, mistral, gpt2, neox, opt])
def test_each_token_of_each_answer_has_the_log_probability_that_it_has_in_two_rows(make):
    batch = batch_of(pairs())
    plain, shared = both_ways(make(), batch)
    assert plain.log_probs.std() > 0.5, (
        "the model predicts nothing: the comparison would prove nothing"
    )
    for name in FIELDS:
        torch.testing.assert_close(shared[name].float(), plain[name].float(), atol=1e-4, rtol=1e-4)
    assert not torch.equal(shared.log_probs, torch.zeros_like(shared.log_probs))


def test_the_gradients_of_the_preference_loss_are_those_of_two_rows():
    gradients = []
    for share in (False, True):
        model = tiny_model()
        add_fused_lm_head(model)
        torch.manual_seed(1)
        adapted = get_peft_model(
            model, LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)
        )
        call = with_shared_prompts(adapted) if share else adapted
        chosen, rejected = call(**batch_of(pairs()), fused_lm_head=True).log_probs.sum(1).chunk(2)
        loss = -torch.nn.functional.logsigmoid(0.1 * (chosen - rejected)).mean()
        loss.backward()
        gradients.append(
            {name: p.grad for name, p in adapted.named_parameters() if p.requires_grad}
        )
    assert sum(float(g.abs().sum()) for g in gradients[0].values()) > 0.1
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, atol=1e-5, rtol=1e-4)


def test_a_shared_row_holds_the_prompt_once_and_its_last_token_before_each_answer():
    row = {"prompt_ids": [10, 11, 12], "chosen_ids": [20, 21], "rejected_ids": [30]}
    shared = share_prompts(**batch_of([row]), hidden_size=32)
    # The width is a multiple of eight: one place of padding.
    assert shared.input_ids.tolist()[0][:7] == [10, 11, 12, 20, 21, 12, 30]
    assert shared.position_ids.tolist()[0][:7] == [0, 1, 2, 3, 4, 2, 3]
    assert shared.labels.tolist() == [[-100, -100, -100, 20, 21, -100, 30, -100]]
    sees = shared.dense_mask()[0, 0].int().tolist()
    assert sees[4] == [1, 1, 1, 1, 1, 0, 0, 0], "the first answer sees prompt and itself"
    assert sees[6] == [1, 1, 0, 0, 0, 1, 1, 0], (
        "the second sees its own copy of the last token, and not the first answer"
    )


def test_pairs_that_stand_in_one_row_do_not_see_each_other():
    rows = pairs(count=2)
    both = share_prompts(**batch_of(rows), hidden_size=10_000)
    assert len(both.input_ids) == 1, "attention is cheap beside such matrices: one row"
    mask, segments = both.dense_mask()[0, 0], both.segments[0]
    first = (segments >= 0) & (segments < 3)
    second = segments >= 3
    assert first.sum() > 3 and second.sum() > 3
    assert not mask[first][:, ~first].any() and not mask[second][:, ~second].any()
    assert mask.any(1).all(), (
        "a token that saw nothing would become a division of nothing by nothing"
    )


def test_the_mask_for_flex_attention_is_the_dense_one():
    shared = share_prompts(**batch_of(pairs(count=6)), hidden_size=100)
    rows, width = shared.segments.shape
    sees = shared.block_mask().mask_mod
    row, asks, asked = torch.meshgrid(*map(torch.arange, (rows, width, width)), indexing="ij")
    assert torch.equal(sees(row, None, asks, asked), shared.dense_mask()[:, 0])


def test_every_pair_is_in_one_row_and_little_is_padding():
    draw = torch.Generator().manual_seed(3)
    sizes = torch.randint(20, 200, (32,), generator=draw).tolist()
    rows, width = pack(sizes, hidden_size=4096)
    assert sorted(pair for row in rows for pair in row) == list(range(32))
    assert max(sum(sizes[pair] for pair in row) for row in rows) <= width and width % 8 == 0
    assert len(rows) * width < 1.05 * sum(sizes)
    alone, narrow = pack(sizes, hidden_size=1)
    assert len(alone) > len(rows) and narrow < width, (
        "beside small matrices attention is costly: narrower rows"
    )


def test_positions_fall_by_the_prompt_less_one_token_a_pair():
    rows = pairs(count=1, longest_prompt=40)
    batch = batch_of(rows)
    computed = int((share_prompts(**batch, hidden_size=32).segments >= 0).sum())
    assert int(batch["attention_mask"].sum()) - computed == len(rows[0]["prompt_ids"]) - 1


def test_two_rows_with_different_prompts_are_refused():
    for change in ([(4, 0)], [(4, 1), (0, 1)]):
        batch = batch_of([{"prompt_ids": [10, 11], "chosen_ids": [20], "rejected_ids": [30]}] * 4)
        if len(change) == 1:
            batch["input_ids"][change[0]] = 99
        else:
            batch["labels"][change[0]] = 11  # an answer that begins a token earlier than the other
        with pytest.raises(ValueError, match="pair 0: the two rows do not begin with one prompt"):
            share_prompts(**batch, hidden_size=32)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"_attn_implementation": "eager"}, "eager attention"),
        ({"sliding_window": 40}, "slides over 40 tokens"),
    ],
)
def test_where_prompts_cannot_be_shared_they_are_not_and_asking_for_it_is_refused(change, words):
    config = mistral().config
    assert can_share_prompts(config, 64, None) and not can_share_prompts(config, 64, False)
    for name, value in change.items():
        setattr(config, name, value)
    assert not can_share_prompts(config, 64, None)
    with pytest.raises(HandbookError, match=words):
        can_share_prompts(config, 64, True)


def test_a_model_with_its_positions_in_the_mask_does_not_share():
    config = BloomConfig(vocab_size=320, hidden_size=32, n_layer=2, n_head=4)
    config._attn_implementation = "sdpa"
    assert not can_share_prompts(config, 64, None)
    with pytest.raises(HandbookError, match="ALiBi"):
        can_share_prompts(config, 64, True)


def test_a_window_that_is_never_left_shares():
    config = mistral().config
    config.sliding_window = 4096
    assert can_share_prompts(config, 1024, True) and not can_share_prompts(config, None, None)
