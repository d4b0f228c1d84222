// The reward microscope: each token of two answers by its log-ratio of policy and reference, and what the sums make of it.
// The models run in `model.js`, whose text comes as the value `engine`; nothing is fetched before a click.

import { AS_FILE, button, field, LONGEST, make, makeLoader, megabytes, number, openedAsFile, signed, statusLine, table } from "./live.js";

const STRONG = 2; // nats: a log-ratio that is shown in the full colour
const SAME = 0.005; // nats: below it a log-ratio reads 0.00

const sigmoid = (x) => (x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x)));
const softplus = (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
const sum = (values) => values.reduce((total, value) => total + value, 0);

/** What an answer's tokens add up to: log-probabilities in nats, and the implicit reward beta · (policy - reference). */
export function totals(tokens, beta) {
  const [policy, reference] = [sum(tokens.map((token) => token.policy)), sum(tokens.map((token) => token.reference))];
  return { policy, reference, reward: beta * (policy - reference) };
}

/** The pair by its rewards: margin, p(chosen over rejected), loss in nats, and the factor of the gradient (DPO, equation 7). */
export function pairOf(chosen, rejected, beta) {
  const margin = chosen - rejected;
  return { margin, probability: sigmoid(margin), loss: softplus(-margin), weight: beta * sigmoid(-margin) };
}

/** A token as text that can be seen. */
export const visible = (text) => (text === "" ? "·" : text.replaceAll("\n", "↵"));

/** One token in words. */
export function describe({ text, policy, reference }, names) {
  const ratio = policy - reference;
  const moved = Math.abs(ratio) < SAME ? "as likely as" : ratio > 0 ? "likelier than" : "less likely than";
  const share = (value) => `${(100 * Math.exp(value)).toFixed(1)} %`;
  return `“${visible(text)}”: ${share(policy)} under ${names.policy}, ${moved} under ${names.reference} (${share(reference)}); log-ratio ${signed(ratio)}.`;
}

/** The measured pair in words. */
export function summary(sides, pair, { policy, beta }) {
  const [chosen, rejected] = sides.map(({ reward }) => signed(reward));
  const ranked = pair.margin > 0 ? "prefers answer A" : pair.margin < 0 ? "prefers answer B" : "prefers neither";
  return (
    `Implicit rewards ${chosen} and ${rejected}: margin ${signed(pair.margin)}, so ${policy} ${ranked}, with probability ` +
    `${pair.probability.toFixed(3)} for A. Loss ${pair.loss.toFixed(3)} nats if A is the chosen answer; the gradient’s weight is ` +
    `β · σ(−margin) = ${pair.weight.toPrecision(3)}, with β = ${beta}.`
  );
}

/** Why a pair cannot be measured, in a sentence; empty where it can. */
export function fault(texts) {
  const long = Object.entries(texts).find(([, text]) => text.length > LONGEST);
  if (long) return `The ${long[0]} has ${number(long[1].length)} characters, and at most ${number(LONGEST)} can be measured.`;
  return texts.question.trim() ? "" : "Type a question first.";
}

function render({ model, el }) {
  el.addEventListener("keydown", (event) => event.stopPropagation()); // else JupyterLab takes the arrow keys
  const pairs = model.get("pairs");
  const names = { policy: model.get("policy"), reference: model.get("reference") };
  const beta = model.get("beta");
  let server = null;
  let running = false;

  const box = make("div", "zx");
  const pick = make("label", "", "Pair");
  const select = make("select");
  pairs.forEach(({ prompt }, n) => {
    const option = make("option", "", prompt);
    option.value = String(n);
    select.append(option);
  });
  pick.append(select);
  const choice = make("div", "zx-controls");
  choice.append(pick);
  const question = field("Question", 2);
  const answers = [field("Answer A, the chosen one", 3), field("Answer B, the rejected one", 3)];
  const both = make("div", "zx-columns");
  both.append(...answers.map(({ label }) => label));
  const measure = button(`Load the models (${megabytes(model.get("files")[0].size)}) and measure`, () => run());
  const { line: state, say } = statusLine(
    "Change the texts as you like. Nothing is fetched before you press the button, and what you type stays in this page.",
  );
  const loader = makeLoader(model, say);
  const controls = make("div", "zx-controls");
  controls.append(measure, loader.bar);
  const page = make("div");
  const detail = make("div");
  const list = make("details");
  box.append(make("p", "zx-title", "The reward microscope"), choice, question.label, both, controls, state, page, detail, list);
  el.append(box);

  const fill = (n) => {
    question.text.value = pairs[n].prompt;
    answers[0].text.value = pairs[n].chosen;
    answers[1].text.value = pairs[n].rejected;
  };
  select.addEventListener("change", () => {
    fill(Number(select.value));
    if (server) run();
  });

  /** Both models' likeliest next tokens where this token stands. */
  function look(token) {
    const rows = token.likely.policy.map((entry, n) =>
      [entry, token.likely.reference[n]].flatMap(({ text, share }) => [visible(text), `${(100 * share).toFixed(1)} %`]),
    );
    detail.replaceChildren(
      make("p", "zx-note", describe(token, names)),
      table([`next under ${names.policy}`, "", `next under ${names.reference}`, ""], rows),
    );
  }

  function tokenButton(tokens, buttons, n) {
    const ratio = tokens[n].policy - tokens[n].reference;
    const element = button(visible(tokens[n].text), () => element.focus());
    element.className = "zx-token zx-ratio";
    element.dataset.sign = Math.abs(ratio) < SAME ? "none" : ratio > 0 ? "up" : "down";
    element.style.setProperty("--zx-share", `${Math.round(70 * Math.min(1, Math.abs(ratio) / STRONG))}%`);
    element.tabIndex = n === 0 ? 0 : -1; // one stop of the tab key; the arrows go on from there
    element.setAttribute("aria-label", describe(tokens[n], names));
    element.addEventListener("focus", () => {
      buttons.forEach((other) => (other.tabIndex = other === element ? 0 : -1));
      look(tokens[n]);
    });
    element.addEventListener("mouseenter", () => look(tokens[n]));
    element.addEventListener("keydown", (event) => {
      const to = { ArrowRight: n + 1, ArrowLeft: n - 1, Home: 0, End: tokens.length - 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      buttons[to]?.focus();
    });
    return element;
  }

  function show(measured) {
    const sides = measured.map((tokens) => totals(tokens, beta));
    const pair = pairOf(sides[0].reward, sides[1].reward, beta);
    const columns = measured.map((tokens, side) => {
      const column = make("section", "zx-answer");
      column.setAttribute("aria-label", `Answer ${"AB"[side]}, token by token`);
      const buttons = [];
      tokens.forEach((_, n) => buttons.push(tokenButton(tokens, buttons, n)));
      const { policy, reference, reward } = sides[side];
      const sums = `log p = ${signed(policy)} under ${names.policy}, ${signed(reference)} under ${names.reference}; implicit reward ${signed(reward)}.`;
      column.append(make("div", "zx-role", `Answer ${"AB"[side]}`), ...buttons, make("p", "zx-note", sums));
      return column;
    });
    page.className = "zx-columns";
    page.replaceChildren(...columns);
    const rows = measured.flatMap((tokens, side) =>
      tokens.map(({ text, policy, reference }) => ["AB"[side], visible(text), signed(policy), signed(reference), signed(policy - reference)]),
    );
    list.replaceChildren(
      make("summary", "", "The same as a table"),
      table(["answer", "token", `log p, ${names.policy}`, `log p, ${names.reference}`, "log-ratio"], rows),
    );
    look(measured[0][0]);
    say(`${summary(sides, pair, { policy: names.policy, beta })} A solid line below a token: likelier under ${names.policy}; a dotted one: less likely.`);
  }

  async function run() {
    const [content, a, b] = [question, ...answers].map(({ text }) => text.value);
    const reason = fault({ question: content, "answer A": a, "answer B": b });
    if (reason || running) {
      if (reason) say(reason);
      return;
    }
    running = true;
    measure.setAttribute("aria-disabled", "true");
    try {
      if (!server) {
        ({ server } = await loader.open());
        measure.textContent = "Measure";
      }
      say("Measuring …");
      const messages = [{ role: "user", content }];
      const result = await server.request({ kind: "score", ...names, messages, answers: [a, b], shown: model.get("shown") });
      show(result.answers);
    } catch (error) {
      say(error.message);
    }
    running = false;
    measure.setAttribute("aria-disabled", "false");
  }

  fill(0);
  if (openedAsFile()) {
    controls.hidden = true;
    say(AS_FILE);
  }
  return () => loader.close();
}

export default { render };
