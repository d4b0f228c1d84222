// A conversation with the trained models side by side, in the reader's own browser. Nothing is fetched before a click.
// The models run in `model.js`, whose text comes as the value `engine`; a kernel, where one runs, gives the weights.

import {
  AS_FILE, button, exampleButtons, fault, make, makeLoader, markerNote, megabytes, number, openedAsFile, questionForm, statusLine,
} from "./live.js";

/** How an answer ended, in words. */
export function describe({ tokens, ended, stopped }) {
  if (stopped) return "Stopped by you.";
  const end = ended ? "ended by itself" : "cut off: it did not end by itself";
  return `${tokens} ${tokens === 1 ? "token" : "tokens"}, ${end}.`;
}

/** The answers as a screen reader speaks them, when all are there. */
export const spoken = (names, answers) => names.map((name, n) => `${name}: ${answers[n].text.trim() || "nothing"}`).join("\n");

/** One exchange in words, with its speed. */
export function summary(question, names, answers, { seconds, temperature, seed }) {
  const total = answers.reduce((sum, { tokens }) => sum + tokens, 0);
  const ends = names.map((name, n) => `${name} ${answers[n].ended ? "ended by itself" : "did not end"}`).join("; ");
  const speed = `${number(total)} tokens in ${seconds.toFixed(1)} s`;
  return `Asked “${question}”: ${ends}. ${speed}, temperature ${temperature}, seed ${seed}.`;
}

function render({ model, el }) {
  el.addEventListener("keydown", (event) => event.stopPropagation()); // else JupyterLab takes the arrow keys
  const names = model.get("models");
  const notes = model.get("notes");
  const remarks = model.get("remarks");
  const conversations = names.map(() => []);
  const disabled = new Set();
  let special = [];
  let server = null;
  let running = false;
  let seed = 0;

  const box = make("div", "zx");
  const opening = make("p", "", model.get("opening"));
  const { line: state, say } = statusLine(
    "Nothing is fetched before you press a button. The models then run in this page, and what you type stays in it.",
  );
  const loader = makeLoader(model, say);
  const load = button(`Load the models (${megabytes(model.get("files")[0].size)})`, () => start());
  const gate = make("div", "zx-controls");
  gate.append(load, loader.bar);

  const { form, text, ask } = questionForm((question) => submit(question));
  form.hidden = true;
  const again = button("Ask again", () => answer());
  const stop = button("Stop", () => running && server.request({ kind: "stop" }));
  const fresh = button("New conversation", () => forgetAll());
  const warmth = make("label", "", "Temperature");
  const slider = make("input");
  Object.assign(slider, { type: "range", min: "0", max: "1.5", step: "0.1", value: String(model.get("temperature")) });
  const degree = make("output", "", slider.value);
  degree.setAttribute("aria-live", "off"); // the slider says its value itself
  slider.addEventListener("input", () => (degree.textContent = slider.value));
  warmth.append(slider, degree);
  const buttons = make("div", "zx-controls");
  buttons.append(ask, again, stop, fresh, warmth);
  form.append(buttons);

  const examples = exampleButtons(model.get("examples"), (question) => tryOut(question));
  const columns = make("div", "zx-columns");
  box.append(make("p", "zx-title", "Talk to the models"), opening, gate, form, examples, state, columns);
  el.append(box);

  function enable() {
    const asked = conversations[0].length > 0;
    const states = [[load, !running], [ask, !running], [again, !running && asked], [stop, running], [fresh, !running && asked]];
    for (const [control, on] of states) {
      control.setAttribute("aria-disabled", String(!on));
      if (on) disabled.delete(control);
      else disabled.add(control);
    }
  }

  /** Show the conversations as they stand; returns for each model where its last turn is shown. */
  function draw() {
    const last = [];
    columns.replaceChildren(
      ...names.map((name, n) => {
        const column = make("section", "zx-answer");
        column.setAttribute("aria-label", `Conversation with ${name}`);
        const heading = make("div", "zx-role", name);
        if (notes[name]) heading.append(make("span", "zx-part", ` ${notes[name]}`));
        column.append(heading);
        if (remarks[name] && conversations[n].length) column.append(make("p", "zx-note", remarks[name]));
        for (const { role, content, note } of conversations[n]) {
          const turn = make("div", "zx-turn");
          turn.dataset.role = role;
          const words = make("div", "zx-text", content || (note ? "(nothing)" : "")); // an answer without a note still runs
          const below = make("p", "zx-note", note ?? "");
          turn.append(words, below);
          column.append(turn);
          last[n] = { words, below };
        }
        return column;
      }),
    );
    enable();
    return last;
  }

  async function start() {
    if (server || disabled.has(load)) return;
    running = true;
    enable();
    try {
      const opened = await loader.open();
      server = opened.server;
      special = opened.header.tokenizer.added_tokens.map(({ content }) => content);
      gate.hidden = true;
      form.hidden = false;
      say(`The models are here${server.inWorker ? "" : " (without a worker, so the page may be slow meanwhile)"}: ask them something.`);
      text.focus();
    } catch (error) {
      say(error.message);
    }
    running = false;
    enable();
  }

  async function tryOut(question) {
    if (running) return;
    if (!server) await start();
    if (!server) return;
    text.value = question;
    await submit(question);
  }

  async function submit(question) {
    if (running || !server) return;
    const reason = fault(question);
    if (reason) {
      say(reason);
      return;
    }
    await answer(question.trim());
  }

  /** Ask a question, or without one the last again with the next seed. A failure leaves everything as it was before. */
  async function answer(question) {
    const repeat = question === undefined;
    if (running || disabled.has(repeat ? again : ask)) return;
    const before = { conversations: conversations.map((turns) => [...turns]), seed };
    if (repeat) {
      conversations.forEach((turns) => turns.pop());
      question = conversations[0].at(-1).content;
      seed++;
    } else {
      conversations.forEach((turns) => turns.push({ role: "user", content: question }));
    }
    const settings = { temperature: Number(slider.value), topP: 1, seed, longest: model.get("longest") };
    const asked = conversations.map((turns) => turns.map(({ role, content }) => ({ role, content })));
    conversations.forEach((turns) => turns.push({ role: "assistant", content: "" }));
    running = true;
    const shown = draw();
    shown[0].below.scrollIntoView?.({ block: "nearest" }); // the first answer, where earlier turns fill the screen
    say("The models are answering …");
    const begun = performance.now();
    try {
      const progress = (pieces) =>
        pieces.forEach((piece, n) => {
          conversations[n].at(-1).content += piece;
          shown[n].words.textContent = conversations[n].at(-1).content;
        });
      const result = await server.request({ kind: "answer", models: names, conversations: asked, ...settings }, progress);
      const answers = result?.answers ?? names.map((_, n) => ({ text: conversations[n].at(-1).content, stopped: true }));
      answers.forEach((given, n) => {
        Object.assign(conversations[n].at(-1), { content: given.text, note: describe(given) });
        shown[n].words.textContent = given.text || "(nothing)";
        shown[n].below.textContent = describe(given);
      });
      const words = result ? summary(question, names, answers, { ...settings, seconds: (performance.now() - begun) / 1000 }) : "You stopped the answers.";
      const same = settings.temperature === 0 && repeat ? " At temperature 0 an answer is always the same: raise it for others." : "";
      say([words + same, markerNote(question, special)].filter(Boolean).join(" "), spoken(names, answers));
      if (text.value.trim() === question) text.value = ""; // and not what is being typed meanwhile
    } catch (error) {
      conversations.forEach((turns, n) => turns.splice(0, turns.length, ...before.conversations[n]));
      seed = before.seed;
      draw();
      say(error.message);
    }
    running = false;
    enable();
  }

  function forgetAll() {
    if (disabled.has(fresh)) return;
    conversations.forEach((turns) => (turns.length = 0));
    draw();
    say("A new conversation: the models know nothing of the last one.");
    text.focus();
  }

  enable();
  if (openedAsFile()) {
    gate.hidden = examples.hidden = true;
    say(AS_FILE);
  }
  return () => loader.close();
}

export default { render };
