// A conversation with the trained models side by side, in the reader's own browser. Nothing is fetched before a click.
// The models run in `model.js`, whose text comes as the value `engine`; a kernel, where one runs, gives the weights.

const LONGEST = 2000; // characters of a question; the models' context ends it sooner
const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/;
const HALF_PAIR = /[\ud800-\udbff](?![\udc00-\udfff])|(?:[^\ud800-\udbff]|^)[\udc00-\udfff]/;
const AS_FILE =
  "The models cannot be loaded here, since browsers let a page that was opened as a file fetch nothing: " +
  "run python3 -m http.server in the folder of the site and open the address that it prints.";
const TOO_OLD = "This browser cannot run the models: it lacks parts of JavaScript that browsers have had since 2021.";

const number = (value) => value.toLocaleString("en-GB");
export const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;

/** Why a question cannot be asked, in a sentence; empty where it can. */
export function fault(question) {
  if (!question.trim()) return "Type a question first.";
  if (question.length > LONGEST) return `The question has ${number(question.length)} characters, and at most ${number(LONGEST)} can be asked.`;
  const control = CONTROL.exec(question);
  if (control) {
    const code = control[0].charCodeAt(0).toString(16).toUpperCase().padStart(4, "0");
    return `The question holds a control character (U+${code}), which is no text: remove it.`;
  }
  return HALF_PAIR.test(question) ? "The question holds half of a character (of a surrogate pair): remove it." : "";
}

/** What a reader should know who types parts of the chat template; empty for other questions. */
export function markerNote(question, special) {
  const parts = [];
  const ends = special.filter((token) => question.includes(token));
  if (ends.length) parts.push(`Your ${ends.join(" and ")} was read as text: only the chat template ends a turn.`);
  if (/<\|(system|user|assistant)\|>/.test(question))
    parts.push("Role markers are ordinary text in Zephyr’s template, so the models may take yours for the beginning of a turn.");
  return parts.join(" ");
}

/** How an answer ended, in words. */
export function describe({ tokens, ended, stopped }) {
  if (stopped) return "Stopped by you.";
  const end = ended ? "ended by itself" : "cut off: it did not end by itself";
  return `${tokens} ${tokens === 1 ? "token" : "tokens"}, ${end}.`;
}

/** One exchange in words, with its speed. */
export function summary(question, names, answers, { seconds, temperature, seed }) {
  const total = answers.reduce((sum, { tokens }) => sum + tokens, 0);
  const ends = names.map((name, n) => `${name} ${answers[n].ended ? "ended by itself" : "did not end"}`).join("; ");
  const speed = `${number(total)} tokens in ${seconds.toFixed(1)} s`;
  return `Asked “${question}”: ${ends}. ${speed}, temperature ${temperature}, seed ${seed}.`;
}

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function button(words, onClick, type = "button") {
  const element = make("button", "", words);
  element.type = type;
  if (onClick) element.addEventListener("click", onClick);
  return element;
}

function render({ model, el }) {
  el.addEventListener("keydown", (event) => event.stopPropagation()); // else JupyterLab takes the arrow keys
  const names = model.get("models");
  const notes = model.get("notes");
  const source = model.get("engine");
  const conversations = names.map(() => []);
  const disabled = new Set();
  let special = [];
  let server = null;
  let kernel = false; // whether one answered: then it has the weights
  let running = false;
  let seed = 0;

  const box = make("div", "zx");
  const opening = make("p", "", model.get("opening"));
  const load = button(`Load the models (${megabytes(model.get("size"))})`, () => start());
  const bar = make("progress");
  Object.assign(bar, { max: 1, value: 0, hidden: true });
  bar.setAttribute("aria-label", "Loading the models");
  const gate = make("div", "zx-controls");
  gate.append(load, bar);

  const form = make("form");
  form.hidden = true;
  const label = make("label", "zx-field", "Your question");
  const text = make("textarea");
  text.rows = 2;
  label.append(text);
  const ask = button("Ask", null, "submit");
  const again = button("Ask again", () => answer(true));
  const stop = button("Stop", () => running && server.request({ kind: "stop" }));
  const fresh = button("New conversation", () => forgetAll());
  const warmth = make("label", "", "Temperature");
  const slider = make("input");
  Object.assign(slider, { type: "range", min: "0", max: "1.5", step: "0.1", value: String(model.get("temperature")) });
  const degree = make("output", "", slider.value);
  slider.addEventListener("input", () => (degree.textContent = slider.value));
  warmth.append(slider, degree);
  const buttons = make("div", "zx-controls");
  buttons.append(ask, again, stop, fresh, warmth);
  form.append(label, buttons);
  text.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    submit(text.value);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    submit(text.value);
  });

  const examples = make("div", "zx-controls zx-examples");
  examples.setAttribute("role", "group");
  examples.setAttribute("aria-label", "Questions to try");
  examples.append(make("span", "", "Try:"), ...model.get("examples").map((question) => button(question, () => tryOut(question))));
  const state = make("p", "zx-note", "Nothing is fetched before you press a button. The models then run in this page, and what you type stays in it.");
  state.setAttribute("role", "status");
  const columns = make("div", "zx-columns");
  box.append(make("p", "zx-title", "Talk to the models"), opening, gate, form, examples, state, columns);
  el.append(box);

  const say = (words) => (state.textContent = words);

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
        for (const { role, content, note } of conversations[n]) {
          const turn = make("div", "zx-turn");
          turn.dataset.role = role;
          const words = make("div", "zx-text", content);
          const below = make("p", "zx-note", note ?? "");
          if (role === "assistant") words.setAttribute("aria-live", "polite"); // read out when it is no longer busy
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
    bar.hidden = false;
    enable();
    say("Loading the models …");
    try {
      const engine = await import("data:text/javascript," + encodeURIComponent(source)).catch(() => {
        throw new Error(TOO_OLD);
      });
      const onProgress = (received, all) => {
        bar.value = received / all;
        say(`Loading the models: ${megabytes(received)} of ${megabytes(all)}.`);
      };
      const opened = await engine.openModels({ model, kernel, source, onProgress });
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
    bar.hidden = true;
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
    conversations.forEach((turns) => turns.push({ role: "user", content: question.trim() }));
    await answer(false);
  }

  async function answer(repeat) {
    if (running || disabled.has(repeat ? again : ask)) return;
    if (repeat) {
      conversations.forEach((turns) => turns.pop());
      seed++;
    }
    const question = conversations[0].at(-1).content;
    const settings = { temperature: Number(slider.value), topP: 1, seed, longest: model.get("longest") };
    const asked = conversations.map((turns) => turns.map(({ role, content }) => ({ role, content })));
    conversations.forEach((turns) => turns.push({ role: "assistant", content: "" }));
    running = true;
    const shown = draw();
    shown.forEach(({ words }) => words.setAttribute("aria-busy", "true"));
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
        shown[n].words.setAttribute("aria-busy", "false");
        shown[n].below.textContent = describe(given);
      });
      const words = result ? summary(question, names, answers, { ...settings, seconds: (performance.now() - begun) / 1000 }) : "You stopped the answers.";
      const same = settings.temperature === 0 && repeat ? " At temperature 0 an answer is always the same: raise it for others." : "";
      say([words + same, markerNote(question, special)].filter(Boolean).join(" "));
      text.value = "";
    } catch (error) {
      conversations.forEach((turns) => turns.splice(-2)); // neither the question nor what there is of an answer
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

  const heard = (message) => {
    if (message.kind === "ready") kernel = true;
  };
  model.on("msg:custom", heard);
  model.send({ kind: "hello" });
  enable();
  if (globalThis.location?.protocol === "file:") {
    gate.hidden = examples.hidden = true;
    say(AS_FILE);
  }
  return () => {
    model.off("msg:custom", heard);
    server?.close();
  };
}

export default { render };
