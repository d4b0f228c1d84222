// What the explorers share whose models answer in the reader's browser: elements, how numbers are written, what can be
// asked, and the loading of the models. `common.py` puts this text into the script of each explorer that imports it.

export const LONGEST = 2000; // characters of a text; the models' context ends it sooner
/** Why something cannot be loaded on a page that was opened as a file, and what to do. */
export const asFile = (what) =>
  `${what} cannot be loaded here, since browsers let a page that was opened as a file fetch nothing: ` +
  "run python3 -m http.server in the folder of the site and open the address that it prints.";
export const AS_FILE = asFile("The models");
const TOO_OLD = "This browser cannot run the models: it lacks parts of JavaScript that browsers have had since 2021.";
const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/;
const HALF_PAIR = /[\ud800-\udbff](?![\udc00-\udfff])|(?:[^\ud800-\udbff]|^)[\udc00-\udfff]/;

export const number = (value) => value.toLocaleString("en-GB");
export const megabytes = (bytes) => `${(bytes / 1e6).toFixed(bytes < 1e5 ? 2 : 1)} MB`;

/** A number with its sign, as in print. */
export const signed = (value, digits = 2) => {
  const text = Math.abs(value).toFixed(digits);
  return Number(text) === 0 ? text : (value < 0 ? "\u2212" : "+") + text;
};

/** Why a question cannot be asked, in a sentence; empty where it can. */
export function fault(question) {
  if (!question.trim()) return "Type a question first.";
  if (question.length > LONGEST) return `The question has ${number(question.length)} characters, and at most ${number(LONGEST)} can be asked.`;
  const control = CONTROL.exec(question);
  if (control) {
    const code = control[0].charCodeAt(0).toString(16).toUpperCase().padStart(4, "0");
    return `The question holds a control character (U+${code}), which is not text: remove it.`;
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

export function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

export function button(words, onClick, type = "button") {
  const element = make("button", "", words);
  element.type = type;
  if (onClick) element.addEventListener("click", onClick);
  return element;
}

/** A text field under its label. */
export function field(words, rows) {
  const label = make("label", "zx-field", words);
  const text = make("textarea");
  text.rows = rows;
  label.append(text);
  return { label, text };
}

/** A form with one question, which Enter sends as the button does. `onSubmit(question)` is given what was typed. */
export function questionForm(onSubmit) {
  const form = make("form");
  const { label, text } = field("Your question", 2);
  const ask = button("Ask", null, "submit");
  const send = (event) => {
    event.preventDefault();
    onSubmit(text.value);
  };
  text.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) send(event);
  });
  form.addEventListener("submit", send);
  form.append(label);
  return { form, text, ask };
}

/** Buttons with questions that work. */
export function exampleButtons(examples, onPick) {
  const group = make("div", "zx-controls zx-examples");
  group.setAttribute("role", "group");
  group.setAttribute("aria-label", "Questions to try");
  group.append(make("span", "", "Try:"), ...examples.map((question) => button(question, () => onPick(question))));
  return group;
}

/** The name of a file of weights in a sentence. */
export const inWords = (file) => file.replaceAll("-", " ");

/** A table; a cell that ends as a number does is not broken. */
export function table(heads, rows) {
  const element = make("table");
  for (const [tag, cells] of [["th", heads], ...rows.map((row) => ["td", row])]) {
    const line = make("tr");
    line.append(...cells.map((cell) => make(tag, tag === "td" && /\d$|%$/.test(cell) ? "zx-number" : "", cell)));
    element.append(line);
  }
  return element;
}

/**
 * The line that says how it stands, and what sets its words. A screen reader speaks it as it changes, each time the whole of
 * it, and what it says next cuts off what it said before: so what belongs together is said at once. `unseen` is spoken first.
 */
export function statusLine(words) {
  const line = make("p", "zx-note", words);
  line.setAttribute("role", "status");
  const say = (said, unseen) => line.replaceChildren(...(unseen ? [make("span", "zx-unseen", `${unseen} `)] : []), said);
  return { line, say };
}

/** Whether this page was opened as a file, so that nothing can be fetched. */
export const openedAsFile = () => globalThis.location?.protocol === "file:";

/**
 * The models of an explorer, for when the reader asks for them. `bar` shows how far they are, and `say` is told so;
 * `open()` gives server and header, or fails with a sentence and may be tried again.
 */
export function makeLoader(model, say) {
  const bar = make("progress");
  Object.assign(bar, { max: 1, value: 0, hidden: true });
  bar.setAttribute("aria-label", "Loading the models");
  let kernel = false; // whether one answered: then it has the weights
  let opened = null;
  const heard = ({ kind }) => {
    if (kind === "ready") kernel = true;
  };
  model.on("msg:custom", heard);
  model.send({ kind: "hello" });
  let loading = "";
  const onProgress = (received, all, name) => {
    bar.value = received / all;
    const words = `Loading the ${inWords(name)} (${megabytes(all)}) …`;
    if (words !== loading) say((loading = words)); // once for each file, since each time is spoken
  };
  return {
    bar,
    async open() {
      opened?.server.close();
      opened = null;
      say("Loading the models …");
      bar.hidden = false;
      const source = model.get("engine");
      try {
        const engine = await import("data:text/javascript," + encodeURIComponent(source)).catch(() => {
          throw new Error(TOO_OLD);
        });
        opened = await engine.openModels({ model, kernel, source, onProgress });
      } finally {
        bar.hidden = true;
      }
      return opened;
    },
    close() {
      model.off("msg:custom", heard);
      opened?.server.close();
    },
  };
}
