// One prompt at a time: its answers, their ratings, and the pair that each strategy makes of them. All that is shown is in
// the widget's state, so no kernel is needed.

const LETTERS = "ABCDEFGH";
const FAULTY_MEAN = 2; // a 10 whose aspect ratings have at most this mean was meant to be a 1

const NOT_RATED = ["", "n/a", "na", "none", "null", "nan", "-"];

/** The mean of the ratings that were given; null if none was, or if one is no number from 1 to 5. */
export function meanRating(ratings) {
  const given = ratings.filter((rating) => !NOT_RATED.includes(rating.trim().toLowerCase())).map(Number);
  const valid = given.length > 0 && given.every((r) => r >= 1 && r <= 5);
  return valid ? given.reduce((sum, r) => sum + r, 0) / given.length : null;
}

/** Whether an answer is graded 10 where 1 was meant. */
export function faultyTen({ ratings, overall }) {
  const mean = meanRating(ratings);
  return overall === 10 && mean !== null && mean <= FAULTY_MEAN;
}

/** How many different answers the strategies choose. */
export const choices = (row) => new Set(row.pairs.filter(Boolean).map(([chosen]) => chosen)).size;

/** What a row can be filtered by: key -> [words, test]. */
export const FILTERS = {
  all: ["all prompts", () => true],
  disagree: ["strategies choose different answers", (row) => choices(row) > 1],
  agree: ["strategies choose the same answer", (row) => choices(row) === 1],
  ten: ["an answer is a faulty ten", (row) => row.answers.some(faultyTen)],
  tied: ["the best mean rating is shared", (row) => {
    const means = row.answers.map((answer) => meanRating(answer.ratings)).filter((mean) => mean !== null);
    return means.filter((mean) => mean === Math.max(...means)).length > 1;
  }],
  same: ["two answers are word for word the same", (row) => new Set(row.answers.map((a) => a.text)).size < row.answers.length],
  none: ["a strategy makes no pair", (row) => row.pairs.some((pair) => !pair)],
};

/** Whether a row passes the filter and holds the words searched for, in the prompt, an answer or a model's name. */
export function matches(row, filter, words) {
  const texts = [row.prompt, ...row.answers.flatMap((answer) => [answer.model, answer.text])];
  return FILTERS[filter][1](row) && texts.some((text) => text.toLowerCase().includes(words.trim().toLowerCase()));
}

/** What the strategies make of a row, in words. */
export function describe(row, strategies) {
  const by = new Map();
  row.pairs.forEach((pair, n) => {
    const key = pair ? `choose ${LETTERS[pair[0]]}` : "make no pair";
    by.set(key, [...(by.get(key) ?? []), strategies[n]]);
  });
  if (by.size === 1) return `All ${strategies.length} strategies ${[...by.keys()][0]}.`;
  return [...by].map(([key, names]) => `${names.map((name) => `“${name}”`).join(", ")}: ${key}`).join("; ") + ".";
}

const shown = (value) => (value === null ? "none" : Number.isInteger(value) ? String(value) : value.toFixed(2));

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function labelled(words, control) {
  const label = make("label", "", words);
  label.append(control);
  return label;
}

function table(caption, head, rows) {
  const element = make("table");
  const line = (cells) => {
    const row = make("tr");
    cells.forEach((cell, n) => {
      const heads = cells === head ? "col" : n === 0 ? "row" : "";
      const item = make(heads ? "th" : "td", "", cell);
      if (heads) item.setAttribute("scope", heads);
      row.append(item);
    });
    return row;
  };
  element.append(make("caption", "zx-note", caption), line(head), ...rows.map(line));
  return element;
}

function card(row, n, aspects, strategies) {
  const answer = row.answers[n];
  const section = make("section", "zx-answer");
  const ratings = aspects.map((aspect, a) => `${aspect.replaceAll("_", " ")} ${answer.ratings[a]}`).join(", ");
  const ten = faultyTen(answer) ? " – a faulty ten: by its ratings a 1 was meant" : "";
  const names = (test) => strategies.filter((_, p) => row.pairs[p] && test(row.pairs[p])).map((name) => `“${name}”`).join(", ");
  const chosen = names(([best]) => best === n);
  const rejected = names(([, others]) => others.includes(n));
  section.append(
    make("div", "zx-role", `${LETTERS[n]} · ${answer.model}`),
    make("div", "zx-text", answer.text || "(nothing)"),
    make("p", "zx-note", `Ratings: ${ratings}.`),
    make("p", "zx-note", `Mean ${shown(meanRating(answer.ratings))}, overall grade ${shown(answer.overall)}${ten}.`),
    make("p", "zx-note", `▲ Chosen by ${chosen || "none"}. ▽ Rejected by ${rejected || "none"}.`),
  );
  return section;
}

function render({ model, el }) {
  el.addEventListener("keydown", (event) => event.stopPropagation()); // else JupyterLab takes the arrow keys
  const [rows, strategies, aspects] = ["rows", "strategies", "aspects"].map((name) => model.get(name));
  let found = rows;
  let at = 0;

  const box = make("div", "zx");
  const search = make("input");
  search.type = "search";
  const filter = make("select");
  Object.entries(FILTERS).forEach(([key, [words, test]]) => {
    const option = make("option", "", `${words} (${rows.filter(test).length})`);
    option.value = key;
    filter.append(option);
  });
  filter.value = "all";
  const previous = make("button", "", "← Previous");
  const next = make("button", "", "Next →");
  previous.type = next.type = "button";
  const choose = make("div", "zx-controls");
  choose.append(labelled("Show", filter), labelled("Search", search));
  const turn = make("div", "zx-controls");
  const place = make("span");
  turn.append(previous, next, place);
  const said = make("output");
  said.setAttribute("aria-live", "polite");
  const page = make("div");
  box.append(make("p", "zx-title", "From ratings to pairs, prompt by prompt"), choose, turn, said, page);
  box.append(make("p", "zx-note", "Outside the text box, the arrow keys ← and → turn the page too."));
  el.append(box);

  function show() {
    // Not `disabled`: a button that loses the focus would take the arrow keys with it.
    previous.setAttribute("aria-disabled", at <= 0);
    next.setAttribute("aria-disabled", at >= found.length - 1);
    if (!found.length) {
      place.textContent = said.textContent = "No prompt fits.";
      page.replaceChildren();
      return;
    }
    const row = found[at];
    place.textContent = `Prompt ${at + 1} of ${found.length} (row ${row.number} of the feedback)`;
    said.textContent = describe(row, strategies);
    const cards = make("div", "zx-columns");
    cards.append(...row.answers.map((_, n) => card(row, n, aspects, strategies)));
    const named = (places) => places.map((n) => LETTERS[n]).join(", ");
    const lines = strategies.map((name, p) =>
      row.pairs[p] ? [name, named([row.pairs[p][0]]), named(row.pairs[p][1])] : [name, "no pair", "no pair"],
    );
    page.replaceChildren(
      make("p", "zx-text", `Prompt: ${row.prompt}`),
      table("What each strategy makes of it", ["strategy", "▲ chosen", "▽ rejected"], lines),
      cards,
    );
  }

  function go(to) {
    if (to < 0 || to >= found.length) return;
    at = to;
    show();
  }

  function select() {
    found = rows.filter((row) => matches(row, filter.value, search.value));
    at = 0;
    show();
  }

  search.addEventListener("input", select);
  filter.addEventListener("change", select);
  previous.addEventListener("click", () => go(at - 1));
  next.addEventListener("click", () => go(at + 1));
  box.addEventListener("keydown", (event) => {
    if (event.target === search || event.target === filter) return; // there the arrows have a meaning of their own
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    go(at + step);
  });
  show();
}

export default { render };
