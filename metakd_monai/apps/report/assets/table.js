"use strict";
(() => {
  const table = document.getElementById("cohort");
  const body = table.tBodies[0];
  const headings = [...table.tHead.rows[0].cells];
  const words = new Intl.Collator(undefined, { numeric: true });

  function sortBy(column) {
    const heading = headings[column];
    const descending = heading.getAttribute("aria-sort") === "ascending";
    for (const other of headings) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const value = (row) => row.cells[column].dataset.value;
    const rows = [...body.rows].sort((a, b) => words.compare(value(a), value(b)));
    if (rows.every((row) => !Number.isNaN(Number(value(row))))) rows.sort((a, b) => value(a) - value(b));
    body.append(...(descending ? rows.reverse() : rows));
  }

  function filter(event) {
    const wanted = event.target.value.toLowerCase();
    let shown = 0;
    for (const row of body.rows) {
      row.hidden = !row.textContent.toLowerCase().includes(wanted);
      shown += !row.hidden;
    }
    document.getElementById("found").textContent = wanted ? `${shown} found` : "";
  }

  headings.forEach((heading, column) => heading.querySelector("button")?.addEventListener("click", () => sortBy(column)));
  document.getElementById("search").addEventListener("input", filter);
})();
