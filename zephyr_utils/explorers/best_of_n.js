// Best of n: of the first n answers of a model, the one that a reward model prefers beside the one that the teacher does.
// Answers and scores come with the page; nothing is fetched and nothing is drawn again.

import { svg, ticks } from "./chart.js";
import { make, signed, table } from "./live.js";

const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [360, 200, 36, 12, 10, 38];
const LINES = [
  { name: "byReward", words: "chosen by the reward model", stroke: "#0072b2", "stroke-width": 2.5 },
  { name: "byGrade", words: "chosen by the teacher itself", stroke: "#d55e00", "stroke-width": 2, "stroke-dasharray": "6 3" },
  { name: "byChance", words: "chosen at random", stroke: "currentColor", "stroke-opacity": 0.6, "stroke-dasharray": "2 3" },
];

/** Where the highest `key` of the first n answers is; of equal ones the first. */
export function best(answers, n, key) {
  let place = 0;
  for (let i = 1; i < n; i++) if (answers[i][key] > answers[place][key]) place = i;
  return place;
}

/** What the reward model chose among the first n answers, in words. */
export function reading(answers, n) {
  const { grade, reward } = answers[best(answers, n, "reward")];
  const highest = answers[best(answers, n, "grade")].grade;
  const chosen = `The reward model prefers number ${best(answers, n, "reward") + 1} (reward ${signed(reward)}), which the teacher grades ${grade.toFixed(1)}.`;
  if (n === 1) return `One answer leaves no choice. ${chosen}`;
  if (grade === highest) return `${chosen} No grade among the ${n} answers is higher.`;
  return `${chosen} The highest grade among the ${n} answers is ${highest.toFixed(1)}.`;
}

/** The mean over all questions at this n, in words. */
export function mean({ byReward, byGrade, byChance }, n, questions) {
  const [reward, grade, chance] = [byReward, byGrade, byChance].map((curve) => curve[n - 1].toFixed(2));
  return `Over ${questions} questions the best of ${n} has a mean grade of ${reward} where the reward model chooses, ${grade} where the teacher does, ${chance} at random.`;
}

/** The mean grade for each n; the table below the drawing holds the same and is read out. */
function chart(curves, n) {
  const last = curves.byReward.length;
  const values = LINES.flatMap(({ name }) => curves[name]);
  const [low, high] = [Math.floor(Math.min(...values)), Math.ceil(Math.max(...values))];
  const x = (k) => LEFT + ((k - 1) / (last - 1)) * (WIDTH - LEFT - RIGHT);
  const y = (value) => TOP + ((high - value) / (high - low)) * (HEIGHT - TOP - BOTTOM);
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, width: 480, "aria-hidden": "true", "font-size": 12 });
  for (const tick of ticks(low, high)) {
    drawing.append(
      svg("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: y(tick), y2: y(tick), stroke: "currentColor", "stroke-opacity": 0.15 }),
      svg("text", { x: LEFT - 5, y: y(tick) + 4, "text-anchor": "end" }, String(tick)),
    );
  }
  for (let k = 1; k <= last; k *= 2) drawing.append(svg("text", { x: x(k), y: HEIGHT - BOTTOM + 15, "text-anchor": "middle" }, String(k)));
  drawing.append(
    svg("text", { x: (LEFT + WIDTH) / 2, y: HEIGHT - 5, "text-anchor": "middle" }, "n"),
    svg("line", { x1: x(n), x2: x(n), y1: TOP, y2: HEIGHT - BOTTOM, stroke: "currentColor", "stroke-opacity": 0.7 }),
  );
  for (const { name, words, ...look } of LINES) {
    const d = curves[name].map((value, k) => `${k ? "L" : "M"}${x(k + 1).toFixed(1)} ${y(value).toFixed(1)}`).join("");
    drawing.append(svg("path", { d, fill: "none", ...look }));
  }
  return drawing;
}

/** What the look of each line means. */
function legend() {
  const list = make("div", "zx-controls");
  for (const { words, name, ...look } of LINES) {
    const line = svg("svg", { viewBox: "0 0 28 8", width: 28, height: 8, "aria-hidden": "true" });
    line.append(svg("line", { x1: 0, x2: 28, y1: 4, y2: 4, ...look }));
    const entry = make("span");
    entry.append(line, ` ${words}`);
    list.append(entry);
  }
  return list;
}

function render({ model, el }) {
  el.addEventListener("keydown", (event) => event.stopPropagation()); // else JupyterLab takes the arrow keys
  const questions = model.get("questions");
  const curves = model.get("curves");
  const most = curves.byReward.length;
  let asked = 0;
  let n = Math.min(4, most);

  const box = make("div", "zx");
  const select = make("select");
  questions.forEach(({ prompt }, place) => {
    const option = make("option", "", prompt);
    option.value = String(place);
    select.append(option);
  });
  const choice = make("label", "", "Question");
  choice.append(select);
  const controls = make("div", "zx-controls");
  controls.append(choice);
  const slider = make("input");
  Object.assign(slider, { type: "range", min: "1", max: String(most), step: "1", value: String(n) });
  const count = make("output");
  const label = make("label", "zx-slider", "n, the answers to choose from");
  label.append(slider, count);
  const read = make("p", "zx-note");
  read.setAttribute("role", "status");
  const answers = make("div", "zx-wide");
  const over = make("p", "zx-note");
  const drawing = make("div");
  const details = make("details");
  const body = make("div", "zx-wide");
  details.append(make("summary", "", "The curves as a table"), body);
  body.append(
    table(["n", ...LINES.map(({ words }) => words)], curves.byReward.map((_, k) => [String(k + 1), ...LINES.map(({ name }) => curves[name][k].toFixed(2))])),
  );
  box.append(make("p", "zx-title", "The best of n"), controls, label, read, answers, over, drawing, legend(), details);
  el.append(box);

  function draw() {
    const all = questions[asked].answers;
    const [preferred, highest] = [best(all, n, "reward"), all[best(all, n, "grade")].grade];
    count.textContent = String(n);
    read.textContent = reading(all, n);
    const notes = (answer, k) => [k === preferred && "highest reward", answer.grade === highest && "highest grade"].filter(Boolean).join(", ");
    answers.replaceChildren(
      table(["", "answer", "reward", "grade", ""], all.slice(0, n).map((answer, k) => [
        String(k + 1), answer.text || "(nothing)", signed(answer.reward), answer.grade.toFixed(1), notes(answer, k),
      ])),
    );
    over.textContent = mean(curves, n, model.get("measured"));
    drawing.replaceChildren(chart(curves, n));
  }

  slider.addEventListener("input", () => {
    n = Number(slider.value);
    draw();
  });
  select.addEventListener("change", () => {
    asked = Number(select.value);
    draw();
  });
  draw();
}

export default { render };
