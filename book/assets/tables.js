// On a phone, a table that is wider than the page, or whose words are squeezed to narrow columns, becomes a list: a row is
// a block and each cell names its column (`book.css`). Without this script such a table scrolls in its own box.
(() => {
  const phone = matchMedia("(max-width: 767px)");
  const TALL = 170; // pixels, about seven lines
  const TABLES = ".bd-article table:not([data-afm] table, .stacked table, :has([colspan], [rowspan]))";

  function fits(table, box) {
    if (table.offsetWidth > box.clientWidth) return false;
    const cells = [...table.tBodies].flatMap((body) => [...body.rows].flatMap((row) => [...row.cells]));
    return table.tHead.rows[0].cells.length < 3 || cells.every((cell) => cell.offsetHeight < TALL);
  }

  function list(table) {
    const names = [...table.tHead.rows[0].cells].map((cell) => cell.textContent.trim());
    for (const body of table.tBodies) {
      for (const row of body.rows) {
        [...row.cells].forEach((cell, place) => {
          if (place > 0 && names[place]) cell.dataset.label = names[place];
        });
      }
    }
    table.classList.add("listed");
  }

  // A box that is folded has no width yet; it is seen when it unfolds.
  const boxes = new ResizeObserver((changes) => {
    for (const { target } of changes) {
      for (const table of target.querySelectorAll(":scope > table:not(.listed)")) {
        if (phone.matches && target.clientWidth && table.tHead && !fits(table, target)) list(table);
      }
    }
  });
  for (const table of document.querySelectorAll(TABLES)) boxes.observe(table.parentElement);
})();
