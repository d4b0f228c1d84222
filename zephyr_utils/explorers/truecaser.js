// A message through the truecaser. What is shown at first was computed beforehand; then the reader's own text goes through
// the port of the truecaser in `casing.js`, once its model is here: with the widget where there is a kernel, and from the
// website otherwise, which is asked for it by a button.

import { asFile, button, field, make, number, openedAsFile, statusLine } from "./live.js";
import { CasingError, below, protectedBytes, readModel, repair } from "./casing.js";
import { sha256 } from "./sha256.js";

export const LONGEST = 100_000; // characters of a text
const LISTED = 100; // changes that are listed
const NAMED = 8; // protected spans that are read out
const CONTROL = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]/;
const HALF_PAIR = /[\ud800-\udbff](?![\udc00-\udfff])|(?:[^\ud800-\udbff]|^)[\udc00-\udfff]/;
const RIGHT_TO_LEFT = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]/;
const TOO_OLD = "This browser cannot run the truecaser: it lacks parts of JavaScript that browsers have had since 2023.";
const LABELS = {
  ok: "ok: nothing speaks against its case, so not a byte is touched",
  capitalized: "capitalized: everything behind the first letter is in lower case",
  lower: "lower: the whole message is in lower case",
  upper: "upper: the whole message is in capitals",
  sentence: "sentence: well cased but for a sentence's first letter",
};

// --- a text taken apart ----------------------------------------------------------------------------------------------

/** UTF-8 of a text, halves of surrogate pairs included, with a line break for "\r\n"; and where each byte's character is. */
export function encode(text) {
  const bytes = new Uint8Array(3 * text.length);
  const units = new Uint32Array(3 * text.length + 1);
  let size = 0;
  for (let at = 0; at < text.length; at++) {
    if (text[at] === "\r" && text[at + 1] === "\n") continue;
    const code = text.codePointAt(at);
    const more = code < 0x80 ? 0 : code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    for (let left = more; left >= 0; left--) {
      const bits = code >> (6 * left);
      units[size] = at;
      bytes[size++] = !more ? code : left < more ? 0x80 | (bits & 0x3f) : (0xff00 >> (more + 1)) | bits; // stored modulo 256
    }
    if (code > 0xffff) at++;
  }
  units[size] = text.length;
  return { bytes: bytes.subarray(0, size), units: units.subarray(0, size + 1) };
}

/** What decides on a word: its place, its entry in the lexicon, its log-odds. */
function reason({ lexicon, rules }, { breaks, endsSentence, word, entry, score }, n) {
  const { LONE_I } = rules.words;
  const odds = score(n);
  const decides = () => {
    if (breaks[n]) return n ? "opens a line" : "opens the message";
    if (endsSentence[n]) return "stands behind the end of a sentence";
    if (word[n][0] === LONE_I[0] && word[n][1] === LONE_I[1]) return "the pronoun";
    if (!entry[n]) return "not known: judged by its neighbours and its shape";
    const [inside, capital] = [lexicon.inside[entry[n]], lexicon.capital[entry[n]]];
    return `inside sentences the corpus writes it with a capital in ${capital} of ${inside} places`;
  };
  return `${decides()}; log-odds of a capital ${odds < 0 ? "" : "+"}${odds.toFixed(1)}`;
}

/**
 * A message taken apart, as `look` in truecaser.py does it: `{ text, label, parts: [{ text, was, kind, why }], spared }`, where
 * a kind is plain, protected or changed, and `spared` says why a message that is in one case throughout is left so.
 */
export function look(model, text) {
  const { bytes, units } = encode(text);
  const most = model.rules.reading.CHUNK_BYTES;
  if (bytes.length > most) throw new CasingError(`The text takes ${number(bytes.length)} bytes, and at most ${number(most)} are read at once.`);
  const spans = protectedBytes(model, bytes);
  const { label, positions, reading, spared } = repair(model, bytes, spans);
  const flipped = new Set(positions.map((place) => units[place]));
  const repairedOf = (start, end) => {
    let repaired = "";
    for (let at = start; at < end; at++) repaired += flipped.has(at) ? String.fromCharCode(text.charCodeAt(at) ^ 32) : text[at];
    return repaired;
  };
  const marked = spans.map(([start, end]) => [units[start], units[end], "protected", ""]);
  reading.start.forEach((place, n) => {
    const first = positions[below(positions, place - 1)];
    if (first < reading.end[n] - 1) marked.push([units[place - 1], units[reading.end[n] - 1], "changed", reason(model, reading, n)]);
  });
  marked.sort((one, other) => one[0] - other[0]);
  const parts = [];
  let done = 0;
  for (const [start, end, kind, why] of [...marked, [text.length, text.length]]) {
    if (done < start) parts.push({ text: repairedOf(done, start), was: text.slice(done, start), kind: "plain", why: "" });
    if (kind) parts.push({ text: repairedOf(start, end), was: text.slice(start, end), kind, why });
    done = end;
  }
  return { text, label, parts, spared: spared && whySpared(spared) };
}

// --- in words --------------------------------------------------------------------------------------------------------

/** The label in words. */
export const labelled = (label) => LABELS[label] ?? label;

/** Why a message that is in one case throughout is left so. */
function whySpared(evidence) {
  const { known, total, sum, least } = evidence;
  const opening = "It is in one case throughout and is left so:";
  return evidence.spoken()
    ? `${opening} the log-odds that speak against it add up to ${sum.toFixed(1)}, and it takes ${least.toFixed(1)}.`
    : `${opening} the corpus knows ${number(known)} of its ${number(total)} words, so it may be of another language.`;
}

/** The words that change, as before and after, with the reason. */
export const changes = ({ parts }) =>
  parts.filter(({ kind }) => kind === "changed").map(({ was, text, why }) => `${was} → ${text}: ${why}`);

/** All that is shown, in words. */
export function summary(example) {
  const shielded = example.parts.filter(({ kind }) => kind === "protected").map(({ text }) => `“${text}”`);
  const count = changes(example).length;
  const further = shielded.length > NAMED ? ` and ${number(shielded.length - NAMED)} more` : "";
  return (
    `Taken for ${example.label}. ` +
    (count ? `${number(count)} ${count === 1 ? "word changes" : "words change"}. ` : "Nothing changes. ") +
    (shielded.length ? `Protected: ${shielded.slice(0, NAMED).join(", ")}${further}.` : "Nothing needs protection.")
  );
}

/** Why a text is not looked at, in a sentence; empty where it is. */
export function fault(text) {
  if (!text.trim()) return "Type or paste a text first.";
  return text.length > LONGEST
    ? `The text has ${number(text.length)} characters, and at most ${number(LONGEST)} are looked at here.`
    : "";
}

/** What is unusual about a text, in sentences; empty for most. */
export function remarks(text) {
  const control = CONTROL.exec(text);
  const code = control && control[0].charCodeAt(0).toString(16).toUpperCase().padStart(4, "0");
  return [
    control && `It holds a control character (U+${code}), which stays as it is.`,
    HALF_PAIR.test(text) && "It holds half of a character (of a surrogate pair), which stays as it is.",
    RIGHT_TO_LEFT.test(text) && "Its letters that run from right to left have no case, so they stay as they are.",
  ].filter(Boolean).join(" "); // prettier-ignore
}

// --- the model -------------------------------------------------------------------------------------------------------

/** The file of a truecaser, from the website. */
async function fetched(address) {
  const root = document.documentElement?.dataset.content_root ?? "./"; // of the site, from this page
  let response;
  try {
    response = await fetch(new URL(root + address, document.baseURI));
  } catch {
    throw new CasingError("The server of this page did not answer: check the connection and try again.");
  }
  if (!response.ok) throw new CasingError(`The server of this page has no truecaser (answer ${response.status}): build the site again.`);
  try {
    return new Uint8Array(await response.arrayBuffer());
  } catch {
    throw new CasingError("The connection ended before the truecaser had arrived: try again.");
  }
}

/** The truecaser in a file of this size and hash, or an error whose message is a sentence. */
export function checked(bytes, { size, sha256: digest }) {
  if (bytes.length < size) throw new CasingError(`The truecaser’s file was cut short (${kilobytes(bytes.length)} of ${kilobytes(size)}): try again.`);
  if (sha256(bytes) !== digest) throw new CasingError("The truecaser’s file is of another version than this page: reload the page.");
  try {
    return readModel(bytes);
  } catch (error) {
    throw error instanceof CasingError ? error : new CasingError(TOO_OLD); // a pattern that the browser cannot read
  }
}

const kilobytes = (bytes) => `${number(Math.ceil(bytes / 1000))} kB`;

function render({ model, el }) {
  el.addEventListener("keydown", (event) => event.stopPropagation()); // else JupyterLab takes the arrow keys
  const examples = model.get("examples");
  const file = model.get("file");
  const payload = model.get("payload"); // the file itself, unless the page has it from the website
  let truecaser = null;
  let busy = false;

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

  const gate = make("div", "zx-controls");
  gate.append(button(`Try your own text (${kilobytes(file.size)})`, () => load()));
  const form = make("form");
  const { label: own, text } = field("Your own text", 4);
  const row = make("div", "zx-controls");
  row.append(button("Truecase", null, "submit"));
  form.append(own, row);
  const { line: state, say } = statusLine("");

  const said = make("output");
  said.setAttribute("aria-live", "polite");
  const shown = make("div");
  box.append(make("p", "zx-title", "One message through the truecaser"), pick, gate, form, state, said, shown);
  el.append(box);

  function show(example) {
    const column = (role, ...words) => {
      const section = make("section", "zx-answer");
      const content = make("div", "zx-text");
      content.setAttribute("dir", "auto");
      content.append(...words);
      section.append(make("div", "zx-role", role), content);
      return section;
    };
    const columns = make("div", "zx-columns");
    const after = example.parts.map(({ text, kind }) => make("span", `zx-case-${kind}`, text));
    columns.append(column("before", example.text), column("after", ...after));
    const key = make("p", "zx-note");
    key.append(
      make("span", "zx-case-changed", "changed"),
      " (bold, double line), ",
      make("span", "zx-case-protected", "protected"),
      " (dotted line).",
    );
    const list = make("ul");
    const lines = changes(example);
    list.append(...lines.slice(0, LISTED).map((line) => make("li", "", line)));
    if (lines.length > LISTED) list.append(make("li", "", `… and ${number(lines.length - LISTED)} more`));
    const taken = [`${labelled(example.label)}.`, example.spared].filter(Boolean).join(" ");
    shown.replaceChildren(make("p", "zx-note", taken), columns, key, list);
    said.textContent = summary(example);
  }

  function open() {
    gate.hidden = true;
    form.hidden = false;
  }

  async function load() {
    if (busy || truecaser) return;
    busy = true;
    say(`Loading the truecaser: ${kilobytes(file.size)} …`);
    try {
      truecaser = checked(await fetched(file.address), file);
      open();
      say("The truecaser is here. What you type stays in this page.");
      text.focus();
    } catch (error) {
      say(error.message);
    }
    busy = false;
  }

  async function truecase() {
    const reason = fault(text.value);
    if (busy || reason) return reason && say(reason);
    busy = true;
    say("Reading …");
    await new Promise((resolve) => setTimeout(resolve)); // so that this is seen before a long text is read
    try {
      truecaser ??= checked(new Uint8Array(payload.buffer, payload.byteOffset, payload.byteLength), file);
      show(look(truecaser, text.value));
      say(["Done. Change the text, or try another.", remarks(text.value)].filter(Boolean).join(" "));
    } catch (error) {
      say(error instanceof CasingError ? error.message : `This text could not be read: ${error.message}`);
    }
    busy = false;
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    truecase();
  });
  form.hidden = true;
  if (payload?.byteLength) {
    open();
    say("Type or paste a text: the truecaser runs in this page.");
  } else if (openedAsFile()) {
    gate.hidden = true;
    say(asFile("The truecaser"));
  } else say("Nothing is fetched before you press the button.");
  if (examples.length) show(examples[0]);
}

export default { render };
