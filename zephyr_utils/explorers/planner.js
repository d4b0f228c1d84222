// What a stage holds in memory, and how many hours it takes. The formulas are those of planning/; a test compares the two.

import { html } from "./chart.js";

const GB = 1e9;
const WIDTH = 2; // bytes of a number in bfloat16, in which everything here is trained

/** Sizes that follow from a model's shape; `linear` are the weights of all projections. */
export function sizes(shape) {
  const { hidden: h, intermediate: f, layers, vocabulary } = shape;
  const width = shape.head_dim || Math.floor(h / shape.heads);
  const [q, kv] = [shape.heads * width, shape.kv_heads * width];
  const maps = [[h, q], [h, kv], [h, kv], [q, h], [h, f], [h, f], [f, h]];
  const linear = layers * maps.reduce((sum, [a, b]) => sum + a * b, 0);
  const embedding = vocabulary * h;
  const all = linear + (2 * layers + 1) * h + embedding * (shape.tied ? 1 : 2);
  return { q, kv, linear, embedding, all, thin: layers * maps.reduce((sum, [a, b]) => sum + a + b, 0) };
}

/** Bytes that the forward pass keeps of one token for the backward pass: of one layer, and of all. */
export function kept(shape, lora, recompute) {
  const { hidden: h, intermediate: f, layers } = shape;
  const { q, kv } = sizes(shape);
  const norms = 8 * h + (lora ? 0 : 2 * WIDTH * h);
  const layer = norms + WIDTH * (2 * q + 2 * kv + 3 * f + (lora ? 5 * h + q + f : 2 * h + f));
  return recompute ? layers * WIDTH * h + layer : layers * layer;
}

/** Bytes on one GPU, term by term. */
export function memory(shape, { stage, method, gpus, rows, length, recompute, precomputed }, facts) {
  const { linear, all, thin } = sizes(shape);
  const lora = method !== "full";
  const tokens = rows * (stage === "ddpo" ? 2 : 1) * length;
  const parts = {};
  if (lora) {
    const adapter = facts.rank * thin;
    const frozen = method === "qlora" ? Math.round(linear * facts.nf4_bytes) + (all - linear) * WIDTH : all * WIDTH;
    Object.assign(parts, { weights: frozen + 4 * adapter, gradients: 4 * adapter, optimiser: (facts.lora_bytes - 8) * adapter });
  } else {
    Object.assign(parts, { weights: (WIDTH * all) / gpus, gradients: (WIDTH * all) / gpus, optimiser: (12 * all) / gpus });
    if (gpus > 1) parts["gathered layer"] = (2 * WIDTH * linear) / shape.layers;
  }
  parts.reference = stage === "ddpo" && !lora && !precomputed ? (WIDTH * all) / gpus : 0;
  parts.activations = tokens * kept(shape, lora, recompute);
  parts.logits = 8 * Math.min(tokens, facts.head_tokens) * Math.min(shape.vocabulary, facts.head_words);
  parts.reserve = facts.reserve * (parts.activations + parts.logits);
  parts.context = facts.context;
  return parts;
}

/** Floating-point operations of the whole stage. dSFT packs its rows to `length`; pairs keep their mean. */
export function operations(shape, set, { stage, method, length, recompute, precomputed, epochs }) {
  const { q, linear, embedding } = sizes(shape);
  const pairs = stage === "ddpo";
  const inRow = pairs ? Math.min(set.tokens, length) : length;
  const tokens = pairs ? set.count * (2 * inRow - set.prompt) : set.count * set.tokens;
  const passes = 1 + (method === "full" ? 2 : 1) + (recompute ? 1 : 0) + (pairs && !precomputed ? 1 : 0);
  return (2 * (linear + embedding) + 4 * shape.layers * q * inRow) * tokens * (passes * epochs + (pairs && precomputed ? 1 : 0));
}

/** Fewest and most hours on so many cards, at the fastest and the slowest published share of their peak. */
export function hours(flops, peak, gpus, [slow, fast]) {
  const atPeak = flops / (peak * gpus) / 3600;
  return [atPeak / fast, atPeak / slow];
}

const digits = (value, rounding) => {
  const step = 10 ** (Math.floor(Math.log10(value)) - (value < 10 ? 1 : 2) + 1);
  return Number((rounding(value / step + (rounding === Math.floor ? 1e-9 : -1e-9)) * step).toFixed(6));
};

/** A range of hours with no more digits than an estimate has, rounded outwards. */
export function span([least, most]) {
  const [unit, factor] = most < 1 ? ["min", 60] : ["h", 1];
  const [low, high] = [digits(least * factor, Math.floor), digits(most * factor, Math.ceil)];
  return `${low.toLocaleString("en")} to ${high.toLocaleString("en")} ${unit}`;
}

const gb = (bytes) => (bytes / GB).toFixed(bytes < 10 * GB ? 2 : 1);
const total = (parts) => Object.values(parts).reduce((sum, size) => sum + size, 0);
const limit = (card) => card.memory_gb * GB;
const METHODS = { full: "all weights", lora: "LoRA", qlora: "LoRA on 4 bits (QLoRA)" };
const STAGES = { dsft: "dSFT", ddpo: "dDPO" };

/** Whether it fits: with room, with hardly any, or not. */
export function verdict(bytes, card, spare) {
  if (bytes > limit(card)) return "does not fit";
  return bytes > spare * limit(card) ? "fits on paper, with nothing to spare" : "fits";
}

/** Everything that follows from a choice. */
export function plan(choice, facts) {
  const model = facts.models[choice.model];
  const parts = memory(model.shape, choice, facts);
  const flops = operations(model.shape, model.sets[choice.stage], choice);
  const on = (card) => ({
    card,
    verdict: verdict(total(parts), card, facts.spare),
    hours: hours(flops, card.peak, choice.gpus, facts.shares[choice.stage]),
  });
  return { parts, bytes: total(parts), flops, cards: facts.cards.map(on) };
}

/** The plan in words. */
export function inWords(choice, planned) {
  const own = planned.cards.find(({ card }) => card.name === choice.card);
  const rows = `${choice.rows} ${choice.stage === "ddpo" ? "pair" : "row"}${choice.rows === 1 ? "" : "s"}`;
  const largest = Object.entries(planned.parts).reduce((most, part) => (part[1] > most[1] ? part : most));
  const spread = choice.gpus > 1 ? ` each of ${choice.gpus} GPUs` : " one GPU";
  return (
    `${STAGES[choice.stage]} of ${choice.model}, ${METHODS[choice.method]}, ${rows} of ${choice.length.toLocaleString("en")} tokens at once: ` +
    `${gb(planned.bytes)} GB on${spread} of ${own.card.memory_gb} GB (${own.card.name}): ${own.verdict}. ` +
    `The largest part is ${largest[0]}, ${gb(largest[1])} GB. ` +
    (own.verdict === "does not fit" ? "" : `It takes ${span(own.hours)} for ${choice.epochs} epoch${choice.epochs === 1 ? "" : "s"}.`)
  );
}

// Inline, since a bar is of this explorer alone.
const bar = (bytes, most, colour) =>
  html("td", { style: "width:45%;min-width:6rem", "aria-hidden": "true" },
    html("div", { style: `height:0.9em;border-radius:2px;background:${colour};width:${Math.min(100, (100 * bytes) / most).toFixed(1)}%` }));

function memoryTable(planned, choice, facts) {
  const own = planned.cards.find(({ card }) => card.name === choice.card);
  const most = Math.max(planned.bytes, limit(own.card));
  const row = (name, bytes, colour, cell = "td") =>
    html("tr", {}, html("th", { scope: "row" }, name), html(cell, { class: "zx-number" }, gb(bytes)), bar(bytes, most, colour));
  const parts = Object.entries(planned.parts).filter(([, bytes]) => bytes > 0);
  return html("table", {},
    html("caption", {}, "Memory on one GPU, an estimate"),
    html("thead", {}, html("tr", {}, ...["", "GB"].map((text) => html("th", { scope: "col" }, text)), html("td", {}))),
    html("tbody", {}, ...parts.map(([name, bytes]) => row(facts.terms[name], bytes, "#0072b2")),
      row("together", planned.bytes, own.verdict === "does not fit" ? "#d55e00" : "#009e73"),
      row(`the card: ${own.card.name}`, limit(own.card), "color-mix(in srgb, currentColor 45%, transparent)")));
}

function cardTable(planned, choice) {
  const row = ({ card, verdict: fits, hours: range }) =>
    html("tr", {}, html("th", { scope: "row" }, card.name), html("td", { class: "zx-number" }, String(card.memory_gb)),
      html("td", { class: "zx-number" }, fits === "does not fit" ? "\u00d7 no" : fits === "fits" ? "\u25cf yes" : "\u25cb just"),
      html("td", { class: "zx-number" }, fits === "does not fit" ? "" : span(range)));
  return html("table", {},
    html("caption", {}, `The same on ${choice.gpus} of any card`),
    html("thead", {}, html("tr", {}, ...["card", "GB", "fits", "hours"].map((text) => html("th", { scope: "col" }, text)))),
    html("tbody", {}, ...planned.cards.map(row)));
}

const CHOICES = ["model", "stage", "method", "card", "gpus", "rows", "length", "epochs", "recompute", "precomputed"];

function render({ model, el }) {
  el.addEventListener("keydown", (event) => event.stopPropagation()); // else JupyterLab takes the arrow keys
  const facts = model.get("facts");
  const state = () => Object.fromEntries(CHOICES.map((name) => [name, model.get(name)]));
  const set = (name, value) => {
    model.set(name, value);
    model.save_changes();
  };
  const updates = [];
  const select = (name, words, options, number = false) => {
    const list = html("select");
    options.forEach(([value, text]) => list.append(html("option", { value: String(value) }, text)));
    list.addEventListener("change", () => set(name, number ? Number(list.value) : list.value));
    updates.push((now) => (list.value = String(now[name])));
    return html("label", {}, `${words} `, list);
  };
  const tick = (name, words) => {
    const box = html("input", { type: "checkbox" });
    box.addEventListener("change", () => set(name, box.checked));
    updates.push((now) => {
      box.checked = now[name];
      box.disabled = name === "precomputed" && now.stage === "dsft"; // which has no reference
    });
    return html("label", {}, box, ` ${words}`);
  };
  const numbers = (values) => values.map((value) => [value, value.toLocaleString("en")]);
  const controls = [
    select("model", "model", Object.keys(facts.models).map((name) => [name, name])),
    select("stage", "stage", Object.entries(STAGES)),
    select("method", "trained", Object.entries(METHODS)),
    select("card", "card", facts.cards.map(({ name }) => [name, name])),
    select("gpus", "GPUs", numbers(facts.gpus), true),
    select("rows", "rows at once", numbers(facts.rows), true),
    select("length", "longest, in tokens", numbers(facts.lengths), true),
    select("epochs", "epochs", numbers([1, 2, 3]), true),
    tick("recompute", "recompute activations"),
    tick("precomputed", "reference computed beforehand"),
  ];
  const words = html("output", { "aria-live": "polite" });
  const tables = html("div", { class: "zx-columns" });
  const draw = () => {
    const now = state();
    const planned = plan(now, facts);
    updates.forEach((update) => update(now));
    words.textContent = inWords(now, planned);
    tables.replaceChildren(memoryTable(planned, now, facts), cardTable(planned, now));
  };
  el.append(
    html("div", { class: "zx", role: "group", "aria-label": "Planner" },
      html("p", { class: "zx-title" }, "Does it fit, and how long?"),
      html("div", { class: "zx-controls" }, ...controls),
      words, tables,
      html("p", { class: "zx-note" }, facts.note)),
  );
  const events = CHOICES.map((name) => `change:${name}`);
  events.forEach((event) => model.on(event, draw));
  draw();
  return () => events.forEach((event) => model.off(event, draw));
}

export default { render };
