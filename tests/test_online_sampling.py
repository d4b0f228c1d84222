"""Sampling several answers: the right distribution, whatever the batch; greedy as transformers'."""

import math

import pytest
import torch
from tiny import tiny_model, tiny_tokenizer
from transformers import GenerationConfig

from zephyr_utils import chat
from zephyr_utils.chat.decoding import Decoding, decode
from zephyr_utils.errors import HandbookError
from zephyr_utils.online import count_samples, sample_answers
from zephyr_utils.online.sampling import Sample

PROMPTS = ["word " * n for n in (9, 1, 5, 2, 7, 3)]
END, PAD = 2, 3


@pytest.fixture(scope="module")
def tokenizer():
    tokenizer = tiny_tokenizer()
    chat.prepare_tokenizer(tokenizer)
    return tokenizer


@pytest.fixture(scope="module")
def model():
    """A model that ends an answer after some ten tokens, so that rows leave their batch."""
    model = tiny_model()
    end = torch.nn.functional.one_hot(torch.tensor(END), 320)
    model.lm_head.register_forward_hook(lambda head, hidden, scores: scores + 3.5 * end)
    return model


def sampled(model, tokenizer, prompts=PROMPTS, samples=4, **options):
    options = {"max_new_tokens": 24, **options}
    return sample_answers(model, prompts, samples, tokenizer=tokenizer, **options)


def ids_of(answers):
    return [[one.token_ids for one in group] for group in answers]


def transformers_own(model, tokenizer, prompts, **options):
    """What transformers' `generate` says to each prompt alone."""
    config = GenerationConfig(eos_token_id=END, pad_token_id=PAD, **options)
    made = []
    for prompt in prompts:
        ids = torch.tensor([chat.encode_prompt(tokenizer, [{"role": "user", "content": prompt}])])
        output = model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=config
        )
        made.append(output[0, ids.shape[1] :].tolist())
    return made


def test_an_answer_is_the_same_in_any_batch_beside_any_others(model, tokenizer):
    together = ids_of(sampled(model, tokenizer))
    assert len({len(ids) for group in together for ids in group}) > 5  # rows leave at all times
    for batch_size in (1, 3, 7):
        assert ids_of(sampled(model, tokenizer, batch_size=batch_size)) == together
    fewer = ids_of(sampled(model, tokenizer, PROMPTS[:3], samples=2))
    assert fewer == [group[:2] for group in together[:3]]


def test_prompts_samples_and_seeds_have_draws_of_their_own(model, tokenizer):
    twice = ids_of(sampled(model, tokenizer, [PROMPTS[0]] * 2))
    assert len({tuple(ids) for group in twice for ids in group}) == 8
    assert ids_of(sampled(model, tokenizer, seed=1)) != ids_of(sampled(model, tokenizer))
    assert ids_of(sampled(model, tokenizer, seed=-1)) != ids_of(sampled(model, tokenizer, seed=1))


def test_the_global_random_state_is_neither_read_nor_moved(model, tokenizer):
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = ids_of(sampled(model, tokenizer))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert ids_of(sampled(model, tokenizer)) == first


def test_greedy_answers_are_those_of_transformers(model, tokenizer):
    expected = transformers_own(model, tokenizer, PROMPTS, do_sample=False, max_new_tokens=24)
    ours = sampled(model, tokenizer, samples=1, temperature=0)
    assert [group[0].token_ids for group in ours] == expected
    assert len({len(ids) for ids in expected}) > 1  # some end before others


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.5, 1.0), (1.0, 0.6)])
def test_first_tokens_are_drawn_as_often_as_the_model_says(model, tokenizer, temperature, top_p):
    ids = chat.encode_prompt(tokenizer, [{"role": "user", "content": "Hi"}])
    with torch.no_grad():
        weights = (model(torch.tensor([ids])).logits[0, -1] / temperature).softmax(0)
    ranked, order = weights.sort(descending=True)
    ranked[ranked.cumsum(0) - ranked >= top_p] = 0
    expected = torch.zeros_like(weights).scatter(0, order, ranked / ranked.sum())
    count = 4000
    [answers] = sampled(
        model, tokenizer, ["Hi"], count, max_new_tokens=1, temperature=temperature, top_p=top_p
    )
    drawn = torch.bincount(torch.tensor([one.token_ids[0] for one in answers]), minlength=320)
    assert not drawn[expected == 0].any()
    # chi-squared over the tokens that are expected at least five times; 5 standard deviations
    often = expected * count >= 5
    share = expected[often] * count
    chi = float(((drawn[often] - share) ** 2 / share).sum())
    degrees = int(often.sum()) - 1
    assert degrees >= 2 and chi < degrees + 5 * math.sqrt(2 * degrees)


def test_log_probabilities_are_those_of_the_model_without_temperature_and_nucleus(model, tokenizer):
    answers = sampled(model, tokenizer, temperature=0.7, top_p=0.9)
    for prompt, group in zip(PROMPTS, answers, strict=True):
        asked = chat.encode_prompt(tokenizer, [{"role": "user", "content": prompt}])
        for one in group:
            with torch.no_grad():
                scores = model(torch.tensor([asked + one.token_ids])).logits[0]
            expected = scores[len(asked) - 1 : -1].log_softmax(-1)
            expected = expected.gather(1, torch.tensor(one.token_ids)[:, None])[:, 0]
            assert torch.allclose(torch.tensor(one.log_probs), expected, atol=1e-4)
            assert one.log_prob == pytest.approx(float(expected.sum()), abs=1e-3)


def test_an_adapter_takes_part_in_the_answers(tokenizer):
    from peft import LoraConfig, get_peft_model

    model = tiny_model()
    plain = ids_of(sampled(model, tokenizer, samples=1, temperature=0))
    adapted = get_peft_model(model, LoraConfig(init_lora_weights=False, target_modules=["q_proj"]))
    ours = decode(
        adapted,
        [chat.encode_prompt(tokenizer, [{"role": "user", "content": p}]) for p in PROMPTS],
        Decoding(24, temperature=0),
        eos_token_id=END,
        pad_token_id=PAD,
    )
    expected = transformers_own(adapted, tokenizer, PROMPTS, do_sample=False, max_new_tokens=24)
    assert [one.token_ids for (one,) in ours] == expected
    assert expected != [group[0] for group in plain]


def test_a_model_that_attends_to_a_window_is_decoded_as_transformers_does(tokenizer):
    from transformers import MistralConfig, MistralForCausalLM

    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=320, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, initializer_range=0.2, sliding_window=16,
    )  # fmt: skip
    model = MistralForCausalLM(config).eval()
    expected = transformers_own(model, tokenizer, PROMPTS, do_sample=False, max_new_tokens=24)
    ours = sampled(model, tokenizer, samples=1, temperature=0)
    assert [group[0].token_ids for group in ours] == expected


def test_a_directory_is_sampled_as_the_model_in_it(model, tokenizer, tmp_path):
    plain = tiny_model()
    plain.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    from_disk = sample_answers(tmp_path, PROMPTS, 2, max_new_tokens=8)
    assert ids_of(from_disk) == ids_of(sampled(plain, tokenizer, samples=2, max_new_tokens=8))


def test_answers_that_are_cut_off_empty_or_all_equal_are_counted():
    def said(text, ended=True):
        return Sample(text, ended, 1, [END], [-0.5])

    counts = count_samples(
        [
            [said("a"), said("a"), said("a")],
            [said("a"), said(""), said("b", ended=False)],
            [said("", ended=False)],
        ]
    )
    assert (counts.prompts, counts.answers) == (3, 7)
    assert (counts.cut_off, counts.empty, counts.all_equal) == (2, 2, 1)
    assert "7 answers to 3 prompts: 2 cut off, 2 empty" in counts.report()


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"prompts": []}, "no prompts"),
        ({"samples": 0}, "0 answers"),
        ({"samples": -2}, "-2 answers"),
        ({"temperature": 0}, "all 4 greedy answers"),
        ({"temperature": -1}, "temperature is -1"),
        ({"temperature": math.nan}, "temperature is nan"),
        ({"temperature": math.inf}, "temperature is inf"),
        ({"top_p": 0}, "top_p is 0"),
        ({"top_p": 1.5}, "top_p is 1.5"),
        ({"max_new_tokens": 0}, "max_new_tokens is 0"),
        ({"prompts": ["Hi", "word " * 300]}, "prompt 1"),
    ],
)
def test_what_cannot_be_sampled_is_refused_by_name(model, tokenizer, changed, words):
    with pytest.raises(HandbookError, match=words):
        sampled(model, tokenizer, **changed)


def test_a_loaded_model_without_its_tokenizer_is_refused(model):
    with pytest.raises(HandbookError, match="needs its tokenizer"):
        sampled(model, None)


def test_a_model_whose_logits_are_nan_is_refused(tokenizer):
    model = tiny_model()
    with torch.no_grad():
        model.lm_head.weight.fill_(math.nan)
    with pytest.raises(HandbookError, match="logits are NaN or infinite"):
        sampled(model, tokenizer)
