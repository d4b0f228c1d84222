// One question to several models side by side. Without a kernel the reader picks among the questions asked beforehand;
// with one the text box opens, as soon as the kernel has answered this script's greeting.

/** How an answer ended, how long it is and what it was graded, in words. */
export function describe({ ended, tokens, score, reason }) {
  const end = ended ? "ended by itself" : "cut off: it did not end by itself";
  const grade = score === null || score === undefined ? "" : ` Grade ${score} of 10. ${reason}`;
  return `${tokens} tokens, ${end}.${grade}`;
}

/** The whole comparison in words, for those who cannot see the columns. */
export function summary(models, { question, answers }) {
  const parts = answers.map((answer, n) => {
    const grade = answer.score === null || answer.score === undefined ? "" : `, grade ${answer.score} of 10`;
    return `${models[n]} ${answer.ended ? "ended by itself" : "did not end"}${grade}`;
  });
  return `Asked “${question}”: ${parts.join("; ")}.`;
}

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function render({ model, el }) {
  el.addEventListener("keydown", (event) => event.stopPropagation()); // else JupyterLab takes the arrow keys
  const models = model.get("models");
  const exchanges = model.get("exchanges");

  const box = make("div", "zx");
  const pick = make("div", "zx-controls");
  const label = make("label", "", "Question");
  const select = make("select");
  exchanges.forEach(({ question }, n) => {
    const option = make("option", "", question);
    option.value = String(n);
    select.append(option);
  });
  select.addEventListener("change", () => show(exchanges[Number(select.value)]));
  label.append(select);
  pick.append(label);

  const form = make("form", "zx-controls");
  const own = make("label", "", "Your own");
  const text = make("input");
  text.type = "text";
  text.maxLength = 500;
  text.size = 40;
  text.disabled = true;
  own.append(text);
  const ask = make("button", "", "Ask");
  ask.type = "submit";
  ask.disabled = true;
  form.append(own, ask);
  const state = make("p", "zx-note", "To type a question of your own, run this notebook: the box needs a kernel.");
  state.setAttribute("role", "status");

  const said = make("output");
  said.setAttribute("aria-live", "polite");
  const columns = make("div", "zx-columns");
  box.append(make("p", "zx-title", "One question, side by side"), pick, form, state, said, columns);
  el.append(box);

  function show(exchange) {
    const cards = exchange.answers.map((answer, n) => {
      const card = make("section", "zx-answer");
      card.append(
        make("div", "zx-role", models[n]),
        make("div", "zx-text", answer.text || "(nothing)"),
        make("p", "zx-note", describe(answer)),
      );
      return card;
    });
    columns.replaceChildren(...cards);
    said.textContent = summary(models, exchange);
  }

  function open(words) {
    text.disabled = ask.disabled = false;
    state.textContent = words;
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const question = text.value.trim();
    if (!question || ask.disabled) return;
    ask.disabled = true;
    state.textContent = "The models are answering …";
    model.send({ kind: "ask", question });
  });

  const heard = (message) => {
    if (message.kind === "ready") open("A kernel is running: type a question and press Ask.");
    if (message.kind === "error") open(message.text);
    if (message.kind === "answered") {
      show(message.exchange);
      open("Answered. Ask another.");
    }
  };
  model.on("msg:custom", heard);
  model.send({ kind: "hello" });
  if (exchanges.length) show(exchanges[0]);
  return () => model.off("msg:custom", heard);
}

export default { render };
