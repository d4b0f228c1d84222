"""The planner explorer: its script computes what `planning` does, over a grid of choices."""

import dataclasses
import itertools
import json

import pytest
from explorer_scripts import in_node

from zephyr_utils.explorers import planner
from zephyr_utils.planning import memory, operations, plan, rates, report
from zephyr_utils.recipes import Recipe
from zephyr_utils.scales import get_scale

FACTS = planner.facts()
GRID = [
    {
        "model": model, "stage": stage, "method": method, "card": "H100", "gpus": gpus,
        "rows": rows, "length": length, "epochs": epochs, "recompute": recompute,
        "precomputed": precomputed,
    }
    for model, stage, method, (gpus, rows, length, epochs), recompute, precomputed in (
        itertools.product(
            planner.MODELS, ("dsft", "ddpo"), planner.METHODS,
            ((1, 1, 512, 1), (2, 4, 2048, 2), (8, 32, 8192, 3)),
            (False, True), (False, True),
        )
    )
]  # fmt: skip


def by_the_package(choice):
    """Memory, operations and hours of a choice by `planning`."""
    shape, scale = planner.MODELS[choice["model"]]
    lora = choice["method"] != "full"
    recipe = Recipe(
        choice["stage"],
        {
            "per_device_train_batch_size": choice["rows"],
            "max_length": choice["length"],
            "num_train_epochs": choice["epochs"],
            "activation_checkpointing": choice["recompute"],
            "precompute_ref_log_probs": choice["precomputed"],
            "dtype": "bfloat16",
            "optim": "adamw_torch",
            "use_peft": lora,
            "lora_r": planner.RANK,
            "lora_target_modules": list(shape.projections),
            "load_in_4bit": choice["method"] == "qlora",
            "use_bnb_nested_quant": choice["method"] == "qlora",
        },
    )
    rows = get_scale(scale).training_sets[choice["stage"]]
    if choice["stage"] == "dsft":  # packed to the length
        packed = rows.count * rows.tokens / choice["length"]
        rows = memory.TrainingSet(packed, choice["length"], choice["length"], "packed")
    rows = dataclasses.replace(rows, longest=choice["length"])
    flops = operations.stage_flops(shape, recipe, rows)
    card = rates.CARDS[choice["card"]]
    return (
        plan.memory_of(shape, recipe, rows, choice["gpus"]),
        flops,
        rates.hours_range(flops, choice["stage"], card, choice["gpus"]),
    )


def test_the_script_computes_memory_operations_and_hours_as_the_package_does():
    program = """
      result = values.grid.map((choice) => {
        const planned = script.plan(choice, values.facts);
        const card = planned.cards.find(({ card }) => card.name === choice.card);
        return [planned.parts, planned.flops, card.hours];
      });"""
    found = in_node("planner", {"grid": GRID, "facts": FACTS}, program)
    for choice, (parts, flops, hours) in zip(GRID, found, strict=True):
        own_parts, own_flops, own_hours = by_the_package(choice)
        assert parts == pytest.approx(own_parts, rel=1e-9), choice
        assert flops == pytest.approx(own_flops, rel=1e-9), choice
        assert hours == pytest.approx(own_hours, rel=1e-9), choice


def test_the_script_counts_weights_as_the_package_does():
    shapes = [shape for shape, _ in planner.MODELS.values()]
    values = [dataclasses.asdict(shape) for shape in shapes]
    found = in_node("planner", values, "result = values.map((shape) => script.sizes(shape));")
    for shape, counted in zip(shapes, found, strict=True):
        assert counted["all"] == shape.parameters and counted["linear"] == shape.linear
        assert counted["thin"] * 16 == shape.adapter(16, list(shape.projections))


def test_a_range_of_hours_is_rounded_outwards_as_in_the_report():
    ranges = [[0.31, 0.62], [0.5, 1.2], [2.04, 9.99], [12.3, 45.6], [123.0, 4567.0]]
    found = in_node("planner", ranges, "result = values.map(script.span);")
    assert found == [report.span(*hours) for hours in ranges]


def drawn(changes=None, act=""):
    """What the page shows for the opening choice with `changes`, after the script `act`."""
    widget = planner.Planner(**(changes or {}))
    values = {name: getattr(widget, name) for name in (*GRID[0], "facts")}
    program = f"""
      const el = page();
      const model = makeModel(values);
      const end = script.default.render({{ model, el }});
      const fire = (tag, at, change) => {{
        const element = el.all(tag)[at];
        Object.assign(element, change);
        element.fire("change");
      }};
      {act}
      const words = el.all("output")[0].textContent;
      const disabled = el.all("input").map((box) => Boolean(box.disabled));
      const captions = el.all("caption").map((caption) => caption.textContent);
      const rows = el.all("tr").map((row) => row.textContent);
      end();
      result = {{ words, disabled, captions, rows, listening: model.listening() }};"""
    return in_node("planner", values, program)


def test_the_page_says_in_words_whether_it_fits_and_how_long_and_leaves_no_listener():
    shown = drawn()
    assert "dDPO of Mistral-7B, LoRA, 4 pairs of 1,024 tokens at once" in shown["words"]
    assert "one GPU of 40 GB (A100 40 GB): fits. The largest part is weights" in shown["words"]
    assert "for 1 epoch." in shown["words"]
    assert len(shown["captions"]) == 2 and shown["listening"] == 0
    assert [row for row in shown["rows"] if row.startswith("together")]


def test_a_choice_on_the_page_changes_words_and_tables():
    act = 'fire("select", 2, { value: "full" }); fire("select", 3, { value: "T4" });'
    shown = drawn(act=act)
    assert "all weights" in shown["words"] and "(T4): does not fit" in shown["words"]
    assert "It takes" not in shown["words"], "no hours for what does not fit"
    assert "T416\u00d7 no" in shown["rows"]


def test_the_reference_can_be_computed_beforehand_only_where_there_is_one():
    assert drawn()["disabled"] == [False, False]
    assert drawn({"stage": "dsft"})["disabled"] == [False, True]


def test_more_than_one_gpu_is_said_and_a_tick_changes_the_hours():
    shown = drawn({"gpus": 8}, act='fire("input", 0, { checked: false });')
    assert "each of 8 GPUs" in shown["words"]
    assert drawn({"gpus": 8})["words"] != shown["words"]


def test_the_page_gets_less_than_thirty_kilobytes():
    state = planner.Planner().get_state()
    assert "export default" in state["_esm"] and len(json.dumps(state)) < 30_000
