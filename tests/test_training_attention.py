"""Which attention a training takes, on which card, and that the sparse mask gives what the dense
one gives.
"""

import shutil

import pytest
import torch
from test_training_prefix_sharing import batch_of, mistral, pairs
from trl.trainer.utils import add_fused_lm_head

from zephyr_utils.errors import HandbookError
from zephyr_utils.miniature import BASE_FOLDER
from zephyr_utils.scales import get_scale
from zephyr_utils.training import attention, stages
from zephyr_utils.training.attention import choose_attention, set_attention
from zephyr_utils.training.prefix_sharing import with_shared_prompts


@pytest.fixture
def card(monkeypatch):
    """A GPU of a given capability, as far as the choice looks at it, with or without
    FlashAttention's package.
    """

    def put(capability: tuple[int, int], installed: bool = True) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
        monkeypatch.setattr(attention, "is_flash_attn_2_available", lambda: installed)

    return put


def test_packed_rows_take_flash_attention_where_it_is_installed_and_the_card_can(card):
    recipe = get_scale("zephyr-7b-lora").recipe("dsft")
    assert choose_attention("dsft", recipe) is None, "no GPU here"
    card((9, 0))
    assert choose_attention("dsft", recipe) == "flash_attention_2"
    assert choose_attention("dsft", recipe | {"dtype": "float32"}) is None, (
        "its kernels take 16 bits"
    )
    assert choose_attention("dsft", recipe | {"packing": False}) is None, (
        "sdpa is as fast on padded rows"
    )
    assert choose_attention("ddpo", get_scale("zephyr-7b-lora").recipe("ddpo")) is None, (
        "prompts are shared"
    )


@pytest.mark.parametrize(("capability", "installed"), [((7, 5), True), ((9, 0), False)])
def test_without_card_or_package_it_is_sdpa(card, capability, installed):
    card(capability, installed)
    assert choose_attention("dsft", get_scale("zephyr-7b-lora").recipe("dsft")) is None


def test_what_the_recipe_asks_for_is_taken():
    recipe = get_scale("miniature").recipe("ddpo", attn_implementation="eager")
    model, _ = stages.load_for_training(BASE_FOLDER, "ddpo", recipe)
    assert model.config._attn_implementation == "eager"
    model, _ = stages.load_for_training(BASE_FOLDER, "ddpo", get_scale("miniature").recipe("ddpo"))
    assert model.config._attn_implementation == "sdpa"


@pytest.mark.parametrize("kind", ["flash_attention_2", "flashattention"])
def test_an_attention_that_is_not_available_is_refused_before_the_first_step(kind):
    if kind == "flash_attention_2" and attention.is_flash_attn_2_available():
        pytest.skip("FlashAttention is installed")
    recipe = get_scale("miniature").recipe("ddpo", attn_implementation=kind)
    with pytest.raises(HandbookError, match=f"attention `{kind}` is not available"):
        stages.load_for_training(BASE_FOLDER, "ddpo", recipe)


@pytest.mark.parametrize("stage", ["dsft", "ddpo"])
def test_flex_attention_is_refused_on_a_cpu_where_it_cannot_train_and_taken_on_a_gpu(stage, card):
    recipe = get_scale("miniature").recipe(stage, attn_implementation="flex_attention")
    model = mistral()
    with pytest.raises(HandbookError, match=r"(?s)cannot train on a CPU.*leave it out"):
        set_attention(model, stage, recipe)
    assert model.config._attn_implementation == "sdpa"
    card((9, 0))
    set_attention(model, stage, recipe)
    assert model.config._attn_implementation == "flex_attention"


@pytest.mark.slow
def test_flex_attention_gives_the_log_probabilities_of_sdpa(tmp_path, monkeypatch):
    if not shutil.which("g++"):
        pytest.skip("flex attention is compiled: no g++ here")
    # Kernels of this test alone: those in the shared cache may be another instruction set's.
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    batch, log_probs = batch_of(pairs(count=9)), []
    for kind in ("sdpa", "flex_attention"):
        # 32 dimensions a head: with 8 or 16 the compiled kernel is wrong without AVX-512.
        model = mistral(hidden_size=128)
        model.set_attn_implementation(kind)
        add_fused_lm_head(model)
        with torch.no_grad():  # it has no backward pass on a CPU
            outputs = with_shared_prompts(model)(**batch, use_cache=False, fused_lm_head=True)
        log_probs.append(outputs.log_probs)
    assert log_probs[0].std() > 0.5
    torch.testing.assert_close(log_probs[1], log_probs[0], atol=1e-4, rtol=1e-4)
