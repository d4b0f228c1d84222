// The DPO loss and its pull, drawn. The formulas are those of objectives.py; a test compares the two.

const softplus = (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
const sigmoid = (x) => (x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x)));

/** The loss of one pair, in nats, by its margin; `noise` is e, the chance that a label is the wrong way round. */
export function loss(kind, margin, noise) {
  const right = softplus(-margin);
  const flipped = softplus(margin);
  if (kind === "conservative") return (1 - noise) * right + noise * flipped;
  if (kind === "robust") return ((1 - noise) * right - noise * flipped) / (1 - 2 * noise);
  return right;
}

/** -dL/dm: above 0 it drives chosen and rejected apart. Times beta it is the weight on log pi(chosen). */
export function pull(kind, margin, noise) {
  const right = sigmoid(-margin);
  const flipped = sigmoid(margin);
  if (kind === "conservative") return (1 - noise) * right - noise * flipped;
  if (kind === "robust") return ((1 - noise) * right + noise * flipped) / (1 - 2 * noise);
  return right;
}

/** The margin at which a pair pulls no more: log((1 - e) / e) for the conservative loss, infinity otherwise. */
export function restingMargin(kind, noise) {
  return kind === "conservative" && noise > 0 ? Math.log((1 - noise) / noise) : Infinity;
}

/** What the pairs say at this setting: how many, share ranked right, mean loss, share of the pull of the hardest tenth. */
export function summary(pairs, beta, kind, noise) {
  const margins = pairs.map((difference) => beta * difference);
  const pulls = margins.map((margin) => Math.abs(pull(kind, margin, noise))).sort((a, b) => b - a);
  const total = pulls.reduce((sum, value) => sum + value, 0);
  const tenth = pulls.slice(0, Math.ceil(pulls.length / 10)).reduce((sum, value) => sum + value, 0);
  return {
    count: pairs.length,
    accuracy: margins.filter((margin) => margin > 0).length / pairs.length,
    meanLoss: margins.reduce((sum, margin) => sum + loss(kind, margin, noise), 0) / pairs.length,
    hardestTenth: tenth / total,
  };
}

const minus = (text) => text.replace("-", "\u2212");
const number = (value, digits = 3) => minus(value.toFixed(digits));

/** The figure in words. */
export function inWords({ beta, difference, kind, noise, pairs }) {
  const margin = beta * difference;
  const strength = pull(kind, margin, noise);
  const lines = [
    `Log-ratio difference ${number(difference, 1)} times beta ${number(beta)} is a margin of ${number(margin)}: ` +
      `the pair is ranked ${margin > 0 ? "right" : margin < 0 ? "wrong" : "neither way"}.`,
    `Loss ${number(loss(kind, margin, noise))}, pull ${number(strength)}, ` +
      `times beta: ${minus((beta * strength).toPrecision(3))} on each log-probability.`,
  ];
  const rest = restingMargin(kind, noise);
  if (Number.isFinite(rest)) {
    lines.push(`Pairs come to rest at a margin of ${number(rest, 2)}, a difference of ${number(rest / beta, 1)}.`);
  } else if (kind === "robust" && noise > 0) {
    lines.push(`No pair comes to rest: the pull never falls below ${number(noise / (1 - 2 * noise))}.`);
  } else {
    lines.push("No pair comes to rest, but the pull of a settled one fades to nothing.");
  }
  if (pairs.length) {
    const all = summary(pairs, beta, kind, noise);
    lines.push(
      `Of the ${all.count} pairs given, ${(100 * all.accuracy).toFixed(0)} % are ranked right; their mean loss is ` +
        `${number(all.meanLoss)}, and the tenth that pulls hardest has ${(100 * all.hardestTenth).toFixed(0)} % of the pull.`,
    );
  }
  return lines.join(" ");
}

const REACH = 60; // of the axis, in nats to either side
const WIDTH = 340, HEIGHT = 230, LEFT = 44, RIGHT = 12, TOP = 26, BOTTOM = 40;
const NAMES = { sigmoid: "DPO (sigmoid)", conservative: "conservative", robust: "robust" };
const SVG = "http://www.w3.org/2000/svg";

function svg(name, attributes, text) {
  const element = document.createElementNS(SVG, name);
  Object.entries(attributes).forEach(([key, value]) => element.setAttribute(key, value));
  if (text !== undefined) element.textContent = text;
  return element;
}

function html(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  Object.entries(attributes).forEach(([key, value]) => element.setAttribute(key, value));
  element.append(...children);
  return element;
}

/** Round steps for an axis: about four ticks between low and high. */
export function ticks(low, high) {
  const rough = (high - low) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
  const first = Math.ceil(low / step);
  const count = Math.floor(high / step) - first + 1;
  return Array.from({ length: count }, (_, n) => Number(((first + n) * step).toPrecision(6)));
}

const xs = Array.from({ length: 241 }, (_, n) => -REACH + (n * REACH) / 120);

/** One panel: the curve of `of`, plain DPO's beside it, the reader's pair as a dot. */
function panel(title, of, { beta, difference, kind, noise, pairs }) {
  const noisy = kind !== "sigmoid";
  const curve = xs.map((x) => of(kind, beta * x, noise));
  const plain = xs.map((x) => of("sigmoid", beta * x, 0));
  const values = [...curve, ...plain, 0];
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const space = 0.06 * (high - low);
  const x = (value) => LEFT + ((value + REACH) / (2 * REACH)) * (WIDTH - LEFT - RIGHT);
  const y = (value) => TOP + ((high + space - value) / (high - low + 2 * space)) * (HEIGHT - TOP - BOTTOM);
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, "aria-hidden": "true", "font-size": 11 });
  drawing.append(svg("text", { x: LEFT, y: 14, "font-weight": 600 }, title));

  for (const tick of ticks(low - space, high + space)) {
    const faint = tick === 0 ? 0.8 : 0.18;
    drawing.append(
      svg("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: y(tick), y2: y(tick), stroke: "currentColor", "stroke-opacity": faint }),
      svg("text", { x: LEFT - 5, y: y(tick) + 4, "text-anchor": "end" }, minus(String(tick))),
    );
  }
  for (const tick of [-60, -30, 0, 30, 60]) {
    drawing.append(svg("text", { x: x(tick), y: HEIGHT - BOTTOM + 15, "text-anchor": "middle" }, minus(String(tick))));
  }
  const axis = "log-ratio, chosen minus rejected (nats)";
  drawing.append(svg("text", { x: (LEFT + WIDTH - RIGHT) / 2, y: HEIGHT - 6, "text-anchor": "middle" }, axis));

  histogram(pairs).forEach(({ from, to, share }) => {
    const size = share * 0.5 * (HEIGHT - TOP - BOTTOM);
    drawing.append(
      svg("rect", { x: x(from), width: x(to) - x(from), y: HEIGHT - BOTTOM - size, height: size, fill: "#cc79a7", "fill-opacity": 0.45 }),
    );
  });
  const line = (ys, style) =>
    svg("polyline", { points: xs.map((value, n) => `${x(value)},${y(ys[n])}`).join(" "), fill: "none", ...style });
  if (noisy) drawing.append(line(plain, { stroke: "currentColor", "stroke-opacity": 0.6, "stroke-dasharray": "5 4" }));
  drawing.append(line(curve, { stroke: "#0072b2", "stroke-width": 2.2 }));
  const at = [x(difference), y(of(kind, beta * difference, noise))];
  drawing.append(
    svg("line", { x1: at[0], x2: at[0], y1: TOP, y2: HEIGHT - BOTTOM, stroke: "#d55e00", "stroke-dasharray": "2 3" }),
    svg("circle", { cx: at[0], cy: at[1], r: 5, fill: "#d55e00" }),
  );
  return drawing;
}

/** Bars of 4 nats, the fullest of height 1; what lies beyond the axis is in the outermost bars. */
export function histogram(pairs) {
  if (!pairs.length) return [];
  const size = 4;
  const counts = new Array((2 * REACH) / size).fill(0);
  for (const pair of pairs) {
    const place = Math.floor((pair + REACH) / size);
    counts[Math.min(Math.max(place, 0), counts.length - 1)] += 1;
  }
  const most = Math.max(...counts);
  return counts.map((count, n) => ({ from: n * size - REACH, to: (n + 1) * size - REACH, share: count / most }));
}

function render({ model, el }) {
  el.addEventListener("keydown", (event) => event.stopPropagation()); // else JupyterLab takes the arrow keys
  const state = () =>
    Object.fromEntries(["beta", "difference", "kind", "noise", "pairs"].map((name) => [name, model.get(name)]));
  const set = (name, value) => {
    model.set(name, value);
    model.save_changes();
  };
  const slider = (label, attributes, read, write) => {
    const input = html("input", { type: "range", ...attributes });
    const shown = html("span");
    input.addEventListener("input", () => write(Number(input.value)));
    const update = () => {
      const { position, text } = read(state());
      input.value = position;
      input.setAttribute("aria-valuetext", text);
      shown.textContent = text;
    };
    return { element: html("label", {}, `${label} `, input, shown), input, update };
  };
  const controls = [
    // The logarithm of beta is what the slider moves: 0.01 to 0.1 is as long a way as 0.1 to 1.
    slider("beta", { min: -2, max: 0, step: 0.05 },
      ({ beta }) => ({ position: Math.log10(beta), text: number(beta) }),
      (value) => set("beta", Number((10 ** value).toPrecision(3)))),
    slider("log-ratio difference", { min: -REACH, max: REACH, step: 0.5 },
      ({ difference }) => ({ position: difference, text: number(difference, 1) }),
      (value) => set("difference", value)),
    slider("label noise ε", { min: 0, max: 0.4, step: 0.01 },
      ({ noise }) => ({ position: noise, text: number(noise, 2) }),
      (value) => set("noise", value)),
  ];
  const choice = html("select");
  Object.entries(NAMES).forEach(([value, name]) => choice.append(html("option", { value }, name)));
  choice.addEventListener("change", () => set("kind", choice.value));

  const panels = html("div", { class: "zx-columns" });
  const legend = html("p", { class: "zx-note" });
  const words = html("output", { "aria-live": "polite" });
  const draw = () => {
    const now = state();
    controls.forEach(({ update }) => update());
    choice.value = now.kind;
    controls[2].input.disabled = now.kind === "sigmoid"; // plain DPO knows of no noise
    panels.replaceChildren(panel("Loss (nats)", loss, now), panel("Pull (\u2212dL/d margin)", pull, now));
    legend.textContent =
      `Line: ${NAMES[now.kind]}.` +
      (now.kind === "sigmoid" ? "" : " Dashed: plain DPO.") +
      " Dot: your pair." +
      (now.pairs.length ? " Bars: where the given pairs lie." : "");
    words.textContent = inWords(now);
  };
  el.append(
    html("div", { class: "zx", role: "group", "aria-label": "DPO loss explorer" },
      html("p", { class: "zx-title" }, "The DPO loss and its pull"),
      html("div", { class: "zx-controls" }, html("label", {}, "loss ", choice), ...controls.map(({ element }) => element)),
      panels, legend, words),
  );
  model.on("change", draw);
  draw();
  return () => model.off("change", draw);
}

export default { render };
