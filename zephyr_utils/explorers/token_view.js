// The token view of a chat template. A token is a target of the loss if it counts under the mask and is not the first:
// nothing stands before the first to predict it from (objectives.token_weighted_nll counts in the same way).

/** Which tokens are targets: mask "all" takes each but the first, "assistant" what the assistant writes. */
export const targets = (tokens, mask) => tokens.map((token, n) => n > 0 && (mask === "all" || token.assistant));

/** The text with what cannot be seen made visible: a line break, a further piece of the character before. */
export const visible = (text) => (text === "" ? "·" : text.replaceAll("\n", "↵"));

/** One token in words. */
export function describe(tokens, n, mask) {
  const { text, id, role } = tokens[n];
  const shown = text === "" ? "a further piece of the character before" : `“${visible(text)}”`;
  const counts = targets(tokens, mask)[n] ? "counts in the loss" : "does not count in the loss";
  return `Token ${n + 1} of ${tokens.length}: ${shown}, id ${id}, in the ${role}’s turn; it ${counts}.`;
}

/** The whole view in words. */
export function summary(tokens, mask) {
  const n = targets(tokens, mask).filter(Boolean).length;
  const share = Math.round((100 * n) / tokens.length);
  const which = mask === "all" ? "All tokens but the first count" : "Only what the assistant writes counts, with the token that ends its turn";
  return `${which}: ${n} of ${tokens.length} tokens (${share} %).`;
}

/** Runs of tokens with the same role: [{role, start, end}], end not included. */
export function turns(tokens) {
  const runs = [];
  tokens.forEach(({ role }, n) => {
    if (runs.at(-1)?.role === role) runs.at(-1).end = n + 1;
    else runs.push({ role, start: n, end: n + 1 });
  });
  return runs;
}

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function choice(words, options, onPick) {
  const label = make("label", "", words);
  const select = make("select");
  for (const [value, text] of options) {
    const option = make("option", "", text);
    option.value = value;
    select.append(option);
  }
  select.addEventListener("change", () => onPick(select.value));
  label.append(select);
  return { label, select };
}

function render({ model, el }) {
  el.addEventListener("keydown", (event) => event.stopPropagation()); // else JupyterLab takes the arrow keys
  const conversations = model.get("conversations");
  let picked = 0;
  let mask = model.get("mask");

  const box = make("div", "zx");
  const controls = make("div", "zx-controls");
  const which = choice("Conversation", conversations.map(({ name }, n) => [String(n), name]), (value) => {
    picked = Number(value);
    draw();
  });
  const masks = [["all", "all tokens (as Zephyr was trained)"], ["assistant", "the assistant’s words only"]];
  const loss = choice("The loss counts", masks, (value) => {
    mask = value;
    draw();
  });
  loss.select.value = mask;
  controls.append(which.label, loss.label);
  const said = make("output");
  said.setAttribute("aria-live", "polite");
  const page = make("div", "zx-tokens");
  const detail = make("p", "zx-note");
  box.append(make("p", "zx-title", "Token by token"), controls, said, page, detail);
  el.append(box);

  let buttons = [];
  function go(n) {
    buttons[n]?.focus();
  }

  function token(tokens, n, counts) {
    const button = make("button", "zx-token", visible(tokens[n].text));
    button.type = "button";
    button.tabIndex = n === 0 ? 0 : -1; // one stop of the tab key; the arrows go on from there
    button.dataset.counts = String(counts);
    button.setAttribute("aria-label", describe(tokens, n, mask));
    button.addEventListener("focus", () => {
      buttons.forEach((other) => (other.tabIndex = other === button ? 0 : -1));
      detail.textContent = describe(tokens, n, mask);
    });
    button.addEventListener("mouseenter", () => (detail.textContent = describe(tokens, n, mask)));
    button.addEventListener("click", () => button.focus()); // not every browser focuses a button that is clicked
    button.addEventListener("keydown", (event) => {
      const to = { ArrowRight: n + 1, ArrowLeft: n - 1, Home: 0, End: tokens.length - 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      go(to);
    });
    return button;
  }

  function draw() {
    const { tokens } = conversations[picked];
    const counts = targets(tokens, mask);
    buttons = tokens.map((_, n) => token(tokens, n, counts[n]));
    const blocks = turns(tokens).map(({ role, start, end }) => {
      const block = make("div", "zx-turn");
      block.dataset.role = role;
      block.setAttribute("role", "group");
      block.setAttribute("aria-label", `${role}’s turn`);
      block.append(make("div", "zx-role", role));
      for (let n = start; n < end; n++) {
        block.append(buttons[n]);
        if (tokens[n].text.endsWith("\n") && n + 1 < end) block.append(make("br"));
      }
      return block;
    });
    page.replaceChildren(...blocks);
    said.textContent = summary(tokens, mask);
    detail.textContent = "A thick line below a token: it counts. Point at a token, or walk with the arrow keys, to read its id.";
  }

  draw();
}

export default { render };
