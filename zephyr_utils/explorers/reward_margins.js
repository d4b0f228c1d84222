// Reward margins pair by pair: filter, sort, read. The arithmetic is that of rewards.py; a test compares the two.

import { html, minus, range, svg, ticks } from "./chart.js";

const ROWS = 8; // of the table at a time
const WIDTH = 420;
const HEIGHT = 300;
const LEFT = 46;
const RIGHT = 12;
const TOP = 12;
const BOTTOM = 42;

const softplus = (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));

/** Chosen minus rejected reward. */
export const margin = (pair) => pair.r_chosen - pair.r_rejected;

/** How hard a pair pulls: sigmoid(-margin). */
export const weight = (m) => Math.exp(-softplus(m));

/** Its loss in nats: -log sigmoid(margin). */
export const loss = (m) => softplus(-m);

/** Whether a pair passes a filter. */
export function passes(pair, filter, settled) {
  const m = margin(pair);
  if (filter === "learned") return m > 0;
  if (filter === "not") return m <= 0;
  if (filter === "large") return m > settled;
  if (filter === "fallen") return m > 0 && pair.r_chosen < 0;
  return true;
}

const gap = (pair) =>
  pair.score_chosen === null || pair.score_rejected === null ? Infinity : pair.score_chosen - pair.score_rejected;

const KEYS = { margin, margin_down: (pair) => -margin(pair), chosen: (pair) => pair.r_chosen, gap };

/** The pairs that pass filter, group and search, in order; equal keys keep the order of the pairs. */
export function chosenPairs(pairs, { show, group, order, search, settled }) {
  const words = search.trim().toLowerCase();
  const has = (pair) => `${pair.prompt}\n${pair.chosen}\n${pair.rejected}`.toLowerCase().includes(words);
  const kept = pairs.filter(
    (pair) => passes(pair, show, settled) && (!group || pair.group === group) && (!words || has(pair)),
  );
  const key = KEYS[order];
  // Infinity minus Infinity is no number, which a sort cannot order.
  return kept.sort((a, b) => (key(a) === key(b) ? 0 : key(a) - key(b)));
}

const number = (value, digits = 2) => minus(value.toFixed(digits));
const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

/** What is shown, in words. */
export function summary(kept, all, total) {
  const of = total > all.length ? ` of the ${total} (evenly spaced by margin)` : "";
  if (!kept.length) return `No pair passes, of ${all.length}${of}.`;
  const margins = kept.map(margin);
  const right = margins.filter((m) => m > 0).length;
  const mean = margins.reduce((sum, m) => sum + m, 0) / margins.length;
  return (
    `${kept.length} of ${plural(all.length, "pair")}${of}: ${right} learned (${((100 * right) / kept.length).toFixed(0)} %), ` +
    `mean margin ${number(mean)}.`
  );
}

/** One pair in words. */
export function inWords(pair) {
  const m = margin(pair);
  const verdict = m > 0 ? "learned" : m < 0 ? "not learned" : "undecided";
  const moved = pair.r_chosen < 0 ? "less" : "more";
  return (
    `Pair ${pair.number}: margin ${number(m)}, ${verdict}. The chosen answer became ${moved} likely ` +
    `(reward ${number(pair.r_chosen)}), the rejected has ${number(pair.r_rejected)}. ` +
    `Loss ${number(loss(m))}, pull ${number(weight(m))}.`
  );
}

function scatter(kept, selected, choose) {
  const [xLow, xHigh] = range(kept.map((pair) => pair.r_rejected));
  const [yLow, yHigh] = range(kept.map((pair) => pair.r_chosen));
  const x = (value) => LEFT + ((value - xLow) / (xHigh - xLow)) * (WIDTH - LEFT - RIGHT);
  const y = (value) => TOP + ((yHigh - value) / (yHigh - yLow)) * (HEIGHT - TOP - BOTTOM);
  // The table beside it holds the same and is read out; the drawing would only repeat it.
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, "aria-hidden": "true", "font-size": 11 });
  for (const tick of ticks(xLow, xHigh)) {
    drawing.append(
      svg("line", { x1: x(tick), x2: x(tick), y1: TOP, y2: HEIGHT - BOTTOM, stroke: "currentColor", "stroke-opacity": tick === 0 ? 0.7 : 0.15 }),
      svg("text", { x: x(tick), y: HEIGHT - BOTTOM + 15, "text-anchor": "middle" }, minus(String(tick))),
    );
  }
  for (const tick of ticks(yLow, yHigh)) {
    drawing.append(
      svg("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: y(tick), y2: y(tick), stroke: "currentColor", "stroke-opacity": tick === 0 ? 0.7 : 0.15 }),
      svg("text", { x: LEFT - 5, y: y(tick) + 4, "text-anchor": "end" }, minus(String(tick))),
    );
  }
  const [from, to] = [Math.max(xLow, yLow), Math.min(xHigh, yHigh)];
  drawing.append(
    svg("line", { x1: x(from), y1: y(from), x2: x(to), y2: y(to), stroke: "currentColor", "stroke-dasharray": "5 4" }),
    svg("text", { x: (LEFT + WIDTH - RIGHT) / 2, y: HEIGHT - 8, "text-anchor": "middle" }, "reward of the rejected answer"),
    svg("text", { x: 12, y: (TOP + HEIGHT - BOTTOM) / 2, "text-anchor": "middle", transform: `rotate(-90 12 ${(TOP + HEIGHT - BOTTOM) / 2})` }, "reward of the chosen answer"),
  );
  for (const pair of kept) {
    const [cx, cy] = [x(pair.r_rejected), y(pair.r_chosen)];
    const mark =
      margin(pair) > 0
        ? svg("circle", { cx, cy, r: 3.5, fill: "#0072b2", "fill-opacity": 0.65 })
        : svg("path", { d: `M${cx - 4} ${cy - 4}l8 8m0 -8l-8 8`, stroke: "#d55e00", "stroke-width": 2.2 });
    mark.addEventListener("click", () => choose(pair.number));
    drawing.append(mark);
    if (pair.number === selected) drawing.append(svg("circle", { cx, cy, r: 8, fill: "none", stroke: "currentColor", "stroke-width": 2 }));
  }
  return drawing;
}

function card(title, text, line) {
  const words = html("div", { class: "zx-text" });
  words.textContent = text || "(nothing)";
  return html("section", { class: "zx-answer" }, html("div", { class: "zx-role" }, title), words, html("p", { class: "zx-note" }, line));
}

function options(select, entries) {
  entries.forEach(([value, name]) => select.append(html("option", { value }, name)));
  return select;
}

function render({ model, el }) {
  el.addEventListener("keydown", (event) => event.stopPropagation()); // else JupyterLab takes the arrow keys
  const all = model.get("pairs");
  let search = "";
  let page = 0;
  const get = (name) => model.get(name);
  const set = (name, value) => {
    page = 0;
    model.set(name, value);
    model.save_changes();
  };
  const read = (pairNumber) => {
    model.set("selected", pairNumber);
    model.save_changes();
  };
  const label = (words, control) => html("label", {}, words, control);
  const menu = (name, entries) => {
    const select = options(html("select"), entries);
    select.addEventListener("change", () => set(name, select.value));
    return select;
  };
  const groups = [...new Set(all.map((pair) => pair.group))].filter(Boolean).sort();
  const show = menu("show", Object.entries(get("filters")));
  const order = menu("order", Object.entries(get("orders")));
  const group = menu("group", [["", "all"], ...groups.map((name) => [name, name])]);
  const find = html("input", { type: "search", size: 14 });
  find.addEventListener("input", () => {
    search = find.value;
    page = 0;
    list();
  });
  const turn = (words, by) => {
    const button = html("button", { type: "button" }, words);
    button.addEventListener("click", () => {
      page += by;
      list();
    });
    return button;
  };
  const [back, on] = [turn("Previous rows", -1), turn("Next rows", 1)];
  const where = html("span");
  const words = html("output", { "aria-live": "polite" });
  const pair = html("output", { "aria-live": "polite" });
  const drawing = html("div");
  const body = html("tbody");
  const reading = html("div");
  const head = ["pair", "margin", "chosen", "rejected", "gap"];
  const table = html("table", {},
    html("thead", {}, html("tr", {}, ...head.map((name) => html("th", { scope: "col" }, name)))), body);

  let buttons = new Map(); // pair number -> its button in the table

  const row = (item) => {
    const open = html("button", { type: "button", "aria-label": `read pair ${item.number}` }, String(item.number));
    open.addEventListener("click", () => read(item.number));
    buttons.set(item.number, open);
    const m = margin(item);
    const apart = Number.isFinite(gap(item)) ? number(gap(item)) : "";
    const cells = [`${m > 0 ? "\u25cf" : "\u00d7"} ${number(m)}`, number(item.r_chosen), number(item.r_rejected), apart];
    return html("tr", {}, html("td", {}, open), ...cells.map((text) => html("td", { class: "zx-number" }, text)));
  };

  const shown = () =>
    chosenPairs(all, { show: get("show"), order: get("order"), group: get("group"), settled: get("settled"), search });

  const list = () => {
    const kept = shown();
    [show.value, order.value, group.value] = [get("show"), get("order"), get("group")];
    const pages = Math.max(1, Math.ceil(kept.length / ROWS));
    page = Math.min(Math.max(page, 0), pages - 1);
    back.disabled = page === 0;
    on.disabled = page === pages - 1;
    where.textContent = `rows ${kept.length ? page * ROWS + 1 : 0} to ${Math.min(kept.length, (page + 1) * ROWS)} of ${kept.length}`;
    words.textContent = summary(kept, all, get("total"));
    buttons = new Map();
    body.replaceChildren(...kept.slice(page * ROWS, (page + 1) * ROWS).map(row));
    mark(kept);
  };

  // The rows stay when a pair is picked: whoever pressed a button with a key keeps the focus on it.
  const mark = (kept) => {
    const selected = get("selected");
    buttons.forEach((button, at) => button.setAttribute("aria-pressed", String(at === selected)));
    drawing.replaceChildren(scatter(kept, selected, read));
    const found = all.find((item) => item.number === selected);
    if (!found) {
      pair.textContent = "Press a pair’s number in the table, or its mark in the drawing, to read it.";
      reading.replaceChildren();
      return;
    }
    pair.textContent = inWords(found);
    const scored = (score) => (score === null ? "" : `teacher's score ${number(score)}; `);
    reading.replaceChildren(
      card(found.group ? `asked (${found.group})` : "asked", found.prompt, found.note),
      html("div", { class: "zx-columns" },
        card("chosen", found.chosen, `${scored(found.score_chosen)}reward ${number(found.r_chosen)}`),
        card("rejected", found.rejected, `${scored(found.score_rejected)}reward ${number(found.r_rejected)}`)),
    );
  };

  const controls = [label("Show ", show), label("sorted by ", order), label("containing ", find)];
  if (groups.length) controls.splice(1, 0, label("of ", group));
  el.append(
    html("div", { class: "zx", role: "group", "aria-label": "Reward margins explorer" },
      html("p", { class: "zx-title" }, "Reward margins, pair by pair"),
      html("div", { class: "zx-controls" }, ...controls),
      words,
      html("div", { class: "zx-columns" },
        html("div", {}, drawing, html("p", { class: "zx-note" },
          "● above the dashed line: learned. × on or below it: not. To the left of 0 the rejected answer became less likely, below 0 the chosen one did. Gap: how far apart the teacher scored the two.")),
        html("div", {}, table, html("div", { class: "zx-controls" }, back, on, where))),
      pair, reading),
  );
  const lists = ["show", "order", "group"].map((name) => `change:${name}`);
  const marks = () => mark(shown());
  lists.forEach((event) => model.on(event, list));
  model.on("change:selected", marks);
  list();
  return () => {
    lists.forEach((event) => model.off(event, list));
    model.off("change:selected", marks);
  };
}

export default { render };
