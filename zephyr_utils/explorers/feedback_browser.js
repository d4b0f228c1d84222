// Mean rating against overall grade, as a map to walk on. All that is shown is in the widget's state: no kernel is needed.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 360;
const HEIGHT = 250;
const EDGE = { left: 40, right: 12, top: 12, bottom: 36 };

/** The grade of ten that a mean rating of five speaks for: 1 is 1, 5 is 10. */
export const spokenFor = (mean) => 1 + ((mean - 1) * 9) / 4;

/** How many points of ten lie between a point's overall grade and what its mean speaks for. */
export const contradiction = ({ mean, overall }) => Math.abs(overall - spokenFor(mean));

/** The point with this mean and grade, or undefined. */
export const cellAt = (cells, mean, overall) => cells.find((cell) => cell.mean === mean && cell.overall === overall);

/** Where a point lies in the drawing. */
export const place = ({ mean, overall }) => ({
  x: EDGE.left + ((mean - 1) / 4) * (WIDTH - EDGE.left - EDGE.right),
  y: HEIGHT - EDGE.bottom - ((overall - 1) / 9) * (HEIGHT - EDGE.top - EDGE.bottom),
});

/** The figure in words. */
export function inWords(cells, mean, overall) {
  const cell = cellAt(cells, mean, overall);
  const all = cells.reduce((sum, { count }) => sum + count, 0);
  const where = `mean rating ${mean.toFixed(2)} and overall grade ${overall}`;
  if (!cell) return `No answer has ${where}.`;
  return (
    `${cell.count.toLocaleString("en-GB")} of ${all.toLocaleString("en-GB")} answers have ${where}. Such a mean speaks for about ${spokenFor(mean).toFixed(1)} of ten: ` +
    `${contradiction(cell).toFixed(1)} points apart.`
  );
}

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function draw(tag, attributes, text) {
  const element = document.createElementNS(SVG, tag);
  Object.entries(attributes).forEach(([name, value]) => element.setAttribute(name, value));
  if (text !== undefined) element.textContent = text;
  return element;
}

function slider(words, [low, high, step], value) {
  const input = make("input");
  Object.assign(input, { type: "range", min: low, max: high, step, value });
  const label = make("label", "", words);
  label.append(input);
  return [label, input];
}

function axes() {
  const line = (x1, y1, x2, y2) => draw("line", { x1, y1, x2, y2, stroke: "currentColor" });
  const [left, bottom] = [EDGE.left - 8, HEIGHT - EDGE.bottom + 8];
  const parts = [line(left, EDGE.top, left, bottom), line(left, bottom, WIDTH - EDGE.right, bottom)];
  [1, 2, 3, 4, 5].forEach((mean) => {
    const { x } = place({ mean, overall: 1 });
    parts.push(draw("text", { x, y: bottom + 13, "text-anchor": "middle", "font-size": 11 }, mean));
  });
  [1, 4, 7, 10].forEach((overall) => {
    const { y } = place({ mean: 1, overall });
    parts.push(draw("text", { x: left - 6, y: y + 4, "text-anchor": "end", "font-size": 11 }, overall));
  });
  parts.push(draw("text", { x: WIDTH / 2, y: HEIGHT - 2, "text-anchor": "middle", "font-size": 11 }, "mean of the aspects"));
  parts.push(draw("text", { x: 11, y: HEIGHT / 2, "text-anchor": "middle", "font-size": 11, transform: `rotate(-90 11 ${HEIGHT / 2})` }, "overall grade"));
  return parts;
}

function card(sample, aspects) {
  const section = make("section", "zx-answer");
  const ratings = aspects.map((aspect, n) => `${aspect.replaceAll("_", " ")} ${sample.ratings[n]}`).join(", ");
  section.append(
    make("div", "zx-role", `${sample.model}, asked:`),
    make("div", "zx-text", sample.prompt),
    make("div", "zx-role", "answered:"),
    make("div", "zx-text", sample.text || "(nothing)"),
    make("p", "zx-note", `Ratings: ${ratings}. Critique: ${sample.critique || "none"}`),
  );
  return section;
}

function render({ model, el }) {
  el.addEventListener("keydown", (event) => event.stopPropagation()); // else JupyterLab takes the arrow keys
  const [cells, aspects, leftOut] = ["cells", "aspects", "left_out"].map((name) => model.get(name));
  const order = cells.map((_, n) => n).sort((a, b) => contradiction(cells[b]) - contradiction(cells[a]));
  const most = Math.max(...cells.map(({ count }) => count));
  // It opens on the fullest point, where all is well; the contradictions are for the reader to find.
  let { mean, overall } = cells.find(({ count }) => count === most);
  let next = 0;

  const box = make("div", "zx");
  const [meanLabel, meanInput] = slider("Mean rating", [1, 5, 0.25], mean);
  const [overallLabel, overallInput] = slider("Overall grade", [1, 10, 1], overall);
  const button = make("button", "", "Next contradiction");
  button.type = "button";
  const controls = make("div", "zx-controls");
  controls.append(meanLabel, overallLabel, button);
  const svg = draw("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, width: WIDTH, role: "img", "aria-label": "A map of all answers; the text below says what is chosen." });
  const dots = cells.map((cell) => {
    const { x, y } = place(cell);
    const dot = draw("circle", { cx: x, cy: y, r: 2 + 9 * Math.sqrt(cell.count / most), fill: "#0072b2", "fill-opacity": 0.6 });
    dot.addEventListener("click", () => go(cell.mean, cell.overall));
    return dot;
  });
  const ring = draw("path", { fill: "none", stroke: "#d55e00", "stroke-width": 2.5 });
  svg.append(...axes(), ...dots, ring);
  const said = make("output");
  said.setAttribute("aria-live", "polite");
  const page = make("div", "zx-columns");
  const map = make("div");
  map.append(svg);
  box.append(make("p", "zx-title", "Two scores of one answer: walk over the map"), controls, map, said, page);
  if (leftOut) box.append(make("p", "zx-note", `${leftOut} answers lack one of the two scores and are not on the map.`));
  el.append(box);

  function show() {
    const { x, y } = place({ mean, overall });
    ring.setAttribute("d", `M${x - 9} ${y - 9}h18v18h-18z M${x - 14} ${y}h5 M${x + 9} ${y}h5 M${x} ${y - 14}v5 M${x} ${y + 9}v5`);
    said.textContent = inWords(cells, mean, overall);
    const samples = cellAt(cells, mean, overall)?.samples ?? [];
    page.replaceChildren(...samples.map((sample) => card(sample, aspects)));
  }

  function go(toMean, toOverall) {
    [mean, overall] = [toMean, toOverall];
    [meanInput.value, overallInput.value] = [mean, overall];
    show();
  }

  meanInput.addEventListener("input", () => go(Number(meanInput.value), overall));
  overallInput.addEventListener("input", () => go(mean, Number(overallInput.value)));
  button.addEventListener("click", () => {
    const cell = cells[order[next % order.length]];
    next += 1;
    go(cell.mean, cell.overall);
  });
  show();
}

export default { render };
