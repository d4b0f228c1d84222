// Watch it learn: one slider over the checkpoints of a training and, of dDPO's, ExPO beyond its end. The curves were measured when
// the page was made; the answers are computed in the reader's browser, by `model.js`. Nothing is fetched before a click.

import { minus, range, svg, ticks } from "./chart.js";
import {
  AS_FILE, exampleButtons, fault, inWords, make, makeLoader, markerNote, megabytes, openedAsFile, questionForm, signed, statusLine, table,
} from "./live.js";

const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [340, 200, 44, 12, 12, 40];

const SHARES = [0, 0.25, 0.5, 0.75, 1];
const percent = (share) => `${(100 * share).toFixed(0)}\u00a0%`;

/** Where the slider stands, in two words for an axis or a table. */
export function shortPlace({ step, factor }) {
  if (!step) return "start";
  return factor === 1 ? `step ${step}` : `1 + a = ${factor}`;
}

/** Where the slider stands, in words. */
export function place({ step, factor }, last, start) {
  if (!step) return `before the first step: ${start} itself`;
  if (factor === 1) return `step ${step} of ${last}`;
  return `beyond step ${last}: what the training changed, times 1 + a = ${factor} (ExPO, no training)`;
}

const nats = (loss) => loss.toFixed(3);

/** What was measured on rows that are held out, in words: of dSFT a loss, of dDPO the margins. */
function heldOutReading({ step, loss, margin, accuracy }, heldOut) {
  if (loss !== undefined) return `The loss on ${heldOut} held-out dialogues is ${nats(loss)} nats per token.`;
  if (!step) return "Policy and reference are one model here, so every reward margin is 0.";
  return `The mean reward margin of ${heldOut} held-out pairs is ${signed(margin)}, and ${percent(accuracy)} of them have one above 0.`;
}

/** What was measured there, in words. */
export function reading(point, { heldOut, answers }) {
  const { right, right_low, right_high } = point;
  const interval = `95\u00a0% interval ${(100 * right_low).toFixed(0)} to ${percent(right_high)}`;
  return `${heldOutReading(point, heldOut)} Of ${answers} answers to development questions ${percent(right)} are right (${interval}).`;
}

/** Where the answers change along the slider, in words. */
export function summary(question, places, texts) {
  const changes = places.filter((_, n) => n && texts[n] !== texts[n - 1]);
  const where = changes.length ? `the answer changes at ${changes.join(", ")}` : "the answer is the same everywhere on the slider";
  return `Asked “${question}”: ${where}.`;
}

/**
 * A chart of lines over the points of the slider, with a bar where it stands. `series`: [{values, main}]; `spans`: an
 * interval for each point where the values are shares. The table below holds the same and is read out.
 */
function chart(points, at, { series, spans, show }) {
  const [low, high] = spans ? [0, 1] : range(series.flatMap(({ values }) => values));
  const x = (n) => LEFT + (n / (points.length - 1)) * (WIDTH - LEFT - RIGHT);
  const y = (value) => TOP + ((high - value) / (high - low)) * (HEIGHT - TOP - BOTTOM);
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, "aria-hidden": "true", "font-size": 12 });
  const trained = points.filter(({ factor }) => factor === 1).length;
  const [end, right] = [HEIGHT - BOTTOM, WIDTH - RIGHT / 2];
  const beyond = trained < points.length ? (x(trained - 1) + x(trained)) / 2 : right;
  if (beyond < right) {
    drawing.append(
      svg("rect", { x: beyond, y: TOP, width: right - beyond, height: end - TOP, fill: "currentColor", "fill-opacity": 0.08 }),
      svg("text", { x: (beyond + right) / 2, y: HEIGHT - 6, "text-anchor": "middle" }, "1 + a"),
    );
  }
  drawing.append(svg("text", { x: (LEFT + beyond) / 2, y: HEIGHT - 6, "text-anchor": "middle" }, "step"));
  for (const tick of spans ? SHARES : ticks(low, high)) {
    drawing.append(
      svg("line", { x1: LEFT, x2: right, y1: y(tick), y2: y(tick), stroke: "currentColor", "stroke-opacity": tick === 0 ? 0.7 : 0.15 }),
      svg("text", { x: LEFT - 5, y: y(tick) + 4, "text-anchor": "end" }, minus(show(tick))),
    );
  }
  points.forEach(({ step, factor }, n) => {
    if (n % 2 && n < trained) return; // every other step has room for its number
    if (n >= trained && (n - trained) % 2 === 0) return;
    drawing.append(svg("text", { x: x(n), y: end + 15, "text-anchor": "middle" }, String(factor === 1 ? step : factor)));
  });
  drawing.append(svg("line", { x1: x(at), x2: x(at), y1: TOP, y2: end, stroke: "#d55e00", "stroke-width": 2, "stroke-dasharray": "5 3" }));
  spans?.forEach(([from, to], n) =>
    drawing.append(svg("line", { x1: x(n), x2: x(n), y1: y(from), y2: y(to), stroke: "currentColor", "stroke-opacity": 0.6 })),
  );
  for (const { values, main } of series) {
    const d = values.map((value, n) => `${n ? "L" : "M"}${x(n).toFixed(1)} ${y(value).toFixed(1)}`).join("");
    const look = main ? { stroke: "#0072b2", "stroke-width": 2.5 } : { stroke: "currentColor", "stroke-opacity": 0.45 };
    drawing.append(svg("path", { d, fill: "none", ...look }));
    if (!main) continue;
    values.forEach((value, n) => {
      const r = n === at ? 6 : 3;
      drawing.append(svg("circle", { cx: x(n), cy: y(value), r, fill: "#0072b2", stroke: "currentColor", "stroke-width": n === at ? 2 : 0 }));
    });
  }
  return drawing;
}

function figure(title, drawing) {
  const box = make("div");
  box.append(make("div", "zx-role", title), drawing);
  return box;
}

function folded(title) {
  const details = make("details");
  const body = make("div", "zx-wide");
  details.append(make("summary", "", title), body);
  return { details, body };
}

function render({ model, el }) {
  el.addEventListener("keydown", (event) => event.stopPropagation()); // else JupyterLab takes the arrow keys
  const points = model.get("points");
  const pairs = model.get("pairs");
  const [start, stage] = [model.get("start"), model.get("stage")];
  const ofLoss = points[0].loss !== undefined;
  const counts = { heldOut: model.get("held_out"), answers: model.get("answers") };
  const lastTrained = points.filter(({ factor }) => factor === 1).length - 1;
  const lastStep = points[lastTrained].step;
  const places = points.map(shortPlace);
  let at = lastTrained;
  let answers = null; // of each point, once asked
  let special = [];
  let server = null;
  let running = false;

  const box = make("div", "zx");
  const slider = make("input");
  Object.assign(slider, { type: "range", min: "0", max: String(points.length - 1), step: "1", value: String(at) });
  const where = make("output");
  where.setAttribute("aria-live", "off"); // the slider says its place itself
  const label = make("label", "zx-slider", `Training of ${stage}`);
  label.append(slider);
  const read = make("p", "zx-note");
  const charts = make("div", "zx-columns zx-charts");
  const { form, text, ask } = questionForm((question) => answer(question));
  const sizes = model.get("files").map(({ name, size }) => `the ${inWords(name)} (${megabytes(size)})`);
  ask.textContent = `Load ${sizes.join(" and ")} and ask`;
  const { line: state, say } = statusLine(
    "The curves are part of the page. The models are fetched when you ask; they then run in this page, and what you type stays in it.",
  );
  const loader = makeLoader(model, say);
  const buttons = make("div", "zx-controls");
  buttons.append(ask, loader.bar);
  form.append(buttons);
  const examples = exampleButtons(model.get("examples"), (question) => {
    text.value = question;
    answer(question);
  });
  const both = make("div", "zx-columns");
  const given = folded("The answers at every point");
  const curves = folded("The curves as a table");
  const held = folded("The pairs of the thin lines, with their margins at this point");
  box.append(
    make("p", "zx-title", `Watch it learn: ${stage}`), form, examples, state, label, where, both, given.details, read, charts, curves.details, held.details,
  );
  el.append(box);
  held.details.hidden = ofLoss;
  const measured = ofLoss ? ["held-out loss, nats per token"] : ["mean margin", "pairs above 0"];
  curves.body.append(
    table(
      ["", ...measured, "right answers (95\u00a0% interval)"],
      points.map((point, n) => [
        places[n],
        ...(ofLoss ? [nats(point.loss)] : [signed(point.margin), percent(point.accuracy)]),
        `${percent(point.right)} (${(100 * point.right_low).toFixed(0)} to ${percent(point.right_high)})`,
      ]),
    ),
  );

  const column = (heading) => {
    const section = make("section", "zx-answer");
    const [role, words] = [make("div", "zx-role", heading), make("div", "zx-text", "")];
    section.append(role, words);
    both.append(section);
    return { role, words };
  };
  const first = column(`${start}, before the training`);
  const now = column("");

  function drawAnswers() {
    both.hidden = given.details.hidden = !answers;
    if (!answers) return;
    const shown = ({ text: words }) => words || (running ? "…" : "(nothing)");
    now.words.setAttribute("aria-live", running ? "off" : "polite"); // spoken at each point, and not token by token
    first.words.textContent = shown(answers[0]);
    now.role.textContent = at ? places[at] : start;
    if (now.words.textContent !== shown(answers[at])) now.words.textContent = shown(answers[at]); // a change is spoken
    if (!running) given.body.replaceChildren(table(["", "answer"], answers.map((one, n) => [places[n], shown(one)])));
  }

  function draw() {
    const words = place(points[at], lastStep, start);
    where.textContent = `${words[0].toUpperCase()}${words.slice(1)}.`;
    slider.setAttribute("aria-valuetext", words);
    read.textContent = reading(points[at], counts);
    const single = pairs.map((_, k) => ({ values: points.map((point) => point.margins[k]) }));
    const mean = { values: points.map((point) => (ofLoss ? point.loss : point.margin)), main: true };
    const heldOutTitle = ofLoss
      ? `Loss on ${counts.heldOut} held-out dialogues, nats per token`
      : `Reward margin: mean of ${counts.heldOut} held-out pairs (thick), ${pairs.length} of them (thin)`;
    const spans = points.map((point) => [point.right_low, point.right_high]);
    const right = [{ values: points.map((point) => point.right), main: true }];
    charts.replaceChildren(
      figure(heldOutTitle, chart(points, at, { series: [...single, mean], show: String })),
      figure("Right answers to development questions, with 95\u00a0% intervals", chart(points, at, { series: right, spans, show: percent })),
    );
    held.body.replaceChildren(
      table(["question", "chosen", "rejected", "margin"], pairs.map(({ prompt, chosen, rejected }, k) => [prompt, chosen, rejected, signed(points[at].margins[k])])),
    );
    drawAnswers();
  }

  slider.addEventListener("input", () => {
    at = Number(slider.value);
    draw();
  });

  async function open() {
    const opened = await loader.open();
    const trained = (step) => points.find((point) => point.step === step && point.factor === 1).model;
    for (const { model: name, step, factor } of points)
      if (factor !== 1) await opened.server.request({ kind: "derive", name, from: trained(step), factor });
    server = opened.server;
    special = opened.header.tokenizer.added_tokens.map(({ content }) => content);
    ask.textContent = "Ask";
  }

  async function answer(question) {
    const reason = fault(question);
    if (reason || running) {
      if (reason) say(reason);
      return;
    }
    const before = answers;
    running = true;
    ask.setAttribute("aria-disabled", "true");
    try {
      if (!server) await open();
      say("The models are answering …");
      answers = points.map(() => ({ text: "" }));
      drawAnswers();
      const progress = (pieces) => {
        pieces.forEach((piece, n) => (answers[n].text += piece));
        drawAnswers();
      };
      const conversations = points.map(() => [{ role: "user", content: question.trim() }]);
      const settings = { temperature: 0, topP: 1, seed: 0, longest: model.get("longest") };
      const models = points.map(({ model: name }) => name);
      ({ answers } = await server.request({ kind: "answer", models, conversations, ...settings }, progress));
      const texts = answers.map(({ text: words }) => words);
      const words = [summary(question.trim(), places, texts), markerNote(question, special)].filter(Boolean).join(" ");
      say(words, `${places[at]}: ${texts[at].trim() || "nothing"}`);
    } catch (error) {
      answers = before;
      say(error.message);
    }
    running = false;
    ask.setAttribute("aria-disabled", "false");
    drawAnswers();
  }

  draw();
  if (openedAsFile()) {
    form.hidden = examples.hidden = true;
    say(AS_FILE);
  }
  return () => loader.close();
}

export default { render };
