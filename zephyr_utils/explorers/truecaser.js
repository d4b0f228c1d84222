// A message through the truecaser. Without a kernel the reader picks among messages looked at beforehand; with one the
// text box opens, as soon as the kernel has answered this script's greeting.

const LABELS = {
  ok: "ok: nothing speaks against its case, so not a byte is touched",
  capitalized: "capitalized: everything behind the first letter is in lower case",
  lower: "lower: the whole message is in lower case",
  upper: "upper: the whole message is in capitals",
  sentence: "sentence: well cased but for a sentence's first letter",
};

/** The label in words. */
export const labelled = (label) => LABELS[label] ?? label;

/** The words that change, as before and after, with the reason. */
export const changes = ({ parts }) =>
  parts.filter(({ kind }) => kind === "changed").map(({ was, text, why }) => `${was} → ${text}: ${why}`);

/** All that is shown, in words. */
export function summary(example) {
  const shielded = example.parts.filter(({ kind }) => kind === "protected").map(({ text }) => `“${text}”`);
  const count = changes(example).length;
  return (
    `Taken for ${example.label}. ` +
    (count ? `${count} ${count === 1 ? "word changes" : "words change"}. ` : "Nothing changes. ") +
    (shielded.length ? `Protected: ${shielded.join(", ")}.` : "Nothing needs protection.")
  );
}

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function render({ model, el }) {
  el.addEventListener("keydown", (event) => event.stopPropagation()); // else JupyterLab takes the arrow keys
  const examples = model.get("examples");
  const box = make("div", "zx");
  const pick = make("div", "zx-controls");
  const label = make("label", "", "Message");
  const select = make("select");
  examples.forEach(({ text }, n) => {
    const short = text.replace(/\s+/g, " ");
    const option = make("option", "", short.length > 60 ? `${short.slice(0, 59)}…` : short);
    option.value = String(n);
    select.append(option);
  });
  select.addEventListener("change", () => show(examples[Number(select.value)]));
  label.append(select);
  pick.append(label);

  const form = make("form", "zx-controls");
  const own = make("label", "", "Your own");
  const text = make("textarea");
  text.rows = 2;
  text.cols = 40;
  text.maxLength = 1000;
  text.disabled = true;
  own.append(text);
  const send = make("button", "", "Truecase");
  send.type = "submit";
  send.disabled = true;
  form.append(own, send);
  const state = make("p", "zx-note", "To type a message of your own, run this notebook: the box needs a kernel.");
  state.setAttribute("role", "status");

  const said = make("output");
  said.setAttribute("aria-live", "polite");
  const shown = make("div");
  box.append(make("p", "zx-title", "One message through the truecaser"), pick, form, state, said, shown);
  el.append(box);

  function show(example) {
    const before = make("section", "zx-answer");
    before.append(make("div", "zx-role", "before"), make("div", "zx-text", example.text));
    const after = make("section", "zx-answer");
    const words = make("div", "zx-text");
    words.append(...example.parts.map(({ text, kind }) => make("span", `zx-case-${kind}`, text)));
    after.append(make("div", "zx-role", "after"), words);
    const columns = make("div", "zx-columns");
    columns.append(before, after);
    const key = make("p", "zx-note");
    key.append(
      make("span", "zx-case-changed", "changed"),
      " (bold, double line), ",
      make("span", "zx-case-protected", "protected"),
      " (dotted line).",
    );
    const list = make("ul");
    list.append(...changes(example).map((line) => make("li", "", line)));
    shown.replaceChildren(make("p", "zx-note", labelled(example.label)), columns, key, list);
    said.textContent = summary(example);
  }

  function open(words) {
    text.disabled = send.disabled = false;
    state.textContent = words;
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const typed = text.value.trim();
    if (!typed || send.disabled) return;
    send.disabled = true;
    state.textContent = "Reading …";
    model.send({ kind: "look", text: typed });
  });

  const heard = (message) => {
    if (message.kind === "ready") open("A kernel is running: type a message and press Truecase.");
    if (message.kind === "looked") {
      show(message.example);
      open("Done. Try another.");
    }
  };
  model.on("msg:custom", heard);
  model.send({ kind: "hello" });
  if (examples.length) show(examples[0]);
  return () => model.off("msg:custom", heard);
}

export default { render };
