"use strict";
// Tables: sort by a click on a header, filter by text, copy as CSV or LaTeX. Figures: hover text at once. No library.

for (const part of document.querySelectorAll(".tabular")) {
  const body = part.querySelector("tbody");
  const rows = [...body.rows];
  const heads = [...part.querySelectorAll("thead tr:last-child th")]; // a row of headings above them may name groups
  const shown = part.querySelector("[data-shown]");
  const filter = part.querySelector("[data-filter]");
  const choices = [...part.querySelectorAll("[data-choose]")].map((select) => { // a column's values to pick from
    const column = heads.findIndex((head) => head.textContent.trim() === select.dataset.choose);
    return { select, values: rows.map((row) => row.cells[column].firstChild?.textContent.trim() ?? "") };
  });
  for (const { select, values } of choices) {
    if (select.options.length > 1) continue; // the page names them
    const known = [...new Set(values)].filter(Boolean);
    for (const value of known) select.add(new Option(value));
    select.closest("label").hidden = known.length < 2;
  }
  const texts = rows.map((row) => row.textContent.toLowerCase());

  const key = (row, column) => {
    const cell = row.cells[column];
    return "v" in cell.dataset ? Number(cell.dataset.v) : cell.textContent.trim();
  };
  const compare = (a, b) => {
    const numbers = [a, b].map((value) => typeof value === "number");
    if (numbers[0] && numbers[1]) return a - b;
    if (numbers[0] !== numbers[1]) return null; // a cell without a number goes last, whatever the direction
    return a.localeCompare(b, "en", { numeric: true });
  };
  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const numeric = head.classList.contains("n");
      const before = head.getAttribute("aria-sort");
      const up = before ? before === "descending" : !numeric; // numbers: the largest first
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const keyed = rows.map((row, index) => ({ row, index, value: key(row, column) }));
      keyed.sort((a, b) => {
        const order = compare(a.value, b.value);
        if (order === null) return typeof a.value === "number" ? -1 : 1;
        return (up ? order : -order) || a.index - b.index;
      });
      body.append(...keyed.map((item) => item.row));
    });
  });

  const apply = () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let visible = 0;
    rows.forEach((row, index) => {
      row.hidden = !words.every((word) => texts[index].includes(word))
        || choices.some(({ select, values }) => select.value && values[index] !== select.value);
      visible += !row.hidden;
    });
    shown.textContent = visible < rows.length ? `${visible} of ${rows.length} rows` : `${rows.length} rows`;
  };
  if (filter) { // a short table has none
    filter.addEventListener("input", apply);
    for (const { select } of choices) select.addEventListener("change", apply);
    apply();
  }

  const fold = part.querySelector("[data-fold]"); // columns of details: without scripts all of them are shown
  const above = [...part.querySelectorAll('thead.grouped tr:first-child > *')].map((cell) => ({ cell, span: cell.colSpan }));
  const folded = (yes) => {
    part.classList.toggle("folded", yes);
    let place = 0;
    for (const { cell, span } of above) { // a heading spans the columns that are shown
      const own = heads.slice(place, (place += span)).filter((head) => !(yes && head.classList.contains("detail"))).length;
      cell.hidden = own === 0;
      cell.colSpan = own || span;
    }
    fold.textContent = yes ? "All columns" : "Fewer columns";
    fold.setAttribute("aria-pressed", String(!yes));
  };
  if (fold) {
    fold.hidden = false;
    fold.addEventListener("click", () => folded(!part.classList.contains("folded")));
    folded(true);
    addEventListener("beforeprint", () => folded(false));
  }

  for (const button of part.querySelectorAll("[data-copy]")) {
    button.addEventListener("click", async () => {
      const source = part.querySelector(`[data-text="${button.dataset.copy}"]`);
      const label = button.textContent;
      let done;
      try {
        await navigator.clipboard.writeText(source.value);
        done = true;
      } catch {
        source.hidden = false; // opened from a file some browsers have no clipboard: the old way
        source.select();
        done = document.execCommand("copy");
        source.hidden = done;
      }
      button.textContent = done ? "Copied" : "Select and copy below";
      setTimeout(() => { button.textContent = label; }, 1500);
    });
  }
}

const tip = document.createElement("div");
tip.id = "tip";
tip.hidden = true;
tip.setAttribute("role", "tooltip");
document.body.append(tip);
for (const point of document.querySelectorAll("svg.plot .point")) {
  const title = point.querySelector("title");
  const text = title.textContent;
  title.remove(); // else the browser shows it too, later
  const show = (event) => {
    tip.textContent = text;
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    const left = Math.min(event.clientX + 14, innerWidth - box.width - 8);
    const above = event.clientY - box.height - 12;
    tip.style.left = `${Math.max(8, left)}px`;
    tip.style.top = `${above > 8 ? above : event.clientY + 16}px`;
  };
  point.addEventListener("pointerenter", show);
  point.addEventListener("pointermove", show);
  point.addEventListener("pointerleave", () => { tip.hidden = true; });
}
