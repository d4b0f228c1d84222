// Predictions on a page: a choice is kept in this browser, unfolds the output below it, and counts in the page's score.
// Without this script the choices are plain radio buttons and every output can be unfolded by hand.
(() => {
  const page = location.pathname.split("/").pop();
  const boxes = [...document.querySelectorAll(".admonition.predict fieldset")].map((fieldset) => {
    const radios = [...fieldset.querySelectorAll("input[type=radio]")];
    return { fieldset, radios, key: radios[0].name, right: rightChoice(radios) };
  });

  /** The place of the right choice: known from the start, or from the explanation of the run. */
  function rightChoice(radios) {
    const known = radios.find((radio) => radio.parentElement.classList.contains("predict-right"));
    if (known) return known.value;
    const key = radios[0].name.replace(/^predict-/, "predict-key-");
    const settled = [...document.querySelectorAll(".predict-settled")].find((line) => line.classList.contains(key));
    return settled?.className.match(/predict-is-(\d+)/)?.[1];
  }

  const place = (key) => `zephyr-handbook:${page}:${key}`;
  // A browser may refuse storage; a choice then lasts as long as the page is open.
  const session = new Map();
  function kept(key) {
    try {
      return localStorage.getItem(place(key));
    } catch {
      return session.get(key) ?? null;
    }
  }
  function keep(key, value) {
    session.set(key, value);
    try {
      localStorage.setItem(place(key), value);
    } catch {} // kept for this session alone
  }
  function forget(key) {
    session.delete(key);
    try {
      localStorage.removeItem(place(key));
    } catch {} // was kept for this session alone
  }

  /** The folded output of the first code cell after the question, within three cells. */
  function outputBelow(fieldset) {
    let cell = fieldset.closest("div.cell");
    for (let further = 0; cell && further < 3; further += 1) {
      cell = nextCell(cell);
      const folded = cell?.querySelector("details.hide.below-input");
      if (folded) return folded;
    }
    return null;
  }
  function nextCell(cell) {
    const cells = [...document.querySelectorAll("div.cell")];
    return cells[cells.indexOf(cell) + 1] ?? null;
  }

  function score() {
    const counted = boxes.filter(({ key, right }) => right !== undefined && kept(key) !== null);
    return `${counted.filter(({ key, right }) => kept(key) === right).length} of ${counted.length}`;
  }

  function verdict({ key, right, radios }) {
    const chosen = kept(key);
    if (right === undefined) return "Now compare it with the output below.";
    if (chosen === right) return `Right. On this page so far: ${score()}.`;
    const letter = radios[Number(right)].nextSibling.textContent.trim().slice(0, 1);
    return `It was ${letter}. The box below says why. On this page so far: ${score()}.`;
  }

  for (const box of boxes) {
    const { fieldset, radios, key } = box;
    const button = document.createElement("button");
    button.type = "button";
    const said = document.createElement("p");
    said.setAttribute("role", "status");
    const show = (first) => {
      const chosen = kept(key);
      for (const radio of radios) {
        radio.disabled = chosen !== null;
        if (chosen === radio.value) radio.checked = true;
        if (chosen === null) radio.checked = false;
      }
      button.textContent = chosen === null ? "Choose" : "Choose again";
      said.textContent = chosen === null ? "" : verdict(box);
      const output = outputBelow(fieldset);
      if (first && output && chosen !== null) output.open = true;
    };
    button.addEventListener("click", () => {
      if (kept(key) !== null) {
        forget(key);
        show(false);
        radios[0].focus();
        return;
      }
      const chosen = radios.find((radio) => radio.checked);
      if (!chosen) {
        said.textContent = "Pick one of the choices first.";
        return;
      }
      keep(key, chosen.value);
      show(true);
    });
    fieldset.append(button, said);
    show(true);
  }
  document.documentElement.dataset.lessons = "ready"; // a browser test waits for this
})();
