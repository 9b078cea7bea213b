"use strict";
(() => {
  const words = new Intl.Collator(undefined, { numeric: true });
  const tables = [...document.querySelectorAll("table.sortable")];

  function sortBy(table, column) {
    const heading = table.tHead.rows[0].cells[column];
    const descending = heading.getAttribute("aria-sort") === "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const value = (row) => row.cells[column].dataset.value;
    const rows = [...table.tBodies[0].rows];
    const numbers = rows.every((row) => !Number.isNaN(Number(value(row))));
    rows.sort((a, b) => numbers ? value(a) - value(b) : words.compare(value(a), value(b)));
    table.tBodies[0].append(...(descending ? rows.reverse() : rows));
  }

  function filter(wanted) {
    const rows = tables.flatMap((table) => [...table.tBodies[0].rows]);
    for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
    const shown = rows.filter((row) => !row.hidden).length;
    document.getElementById("found").textContent = wanted ? `${shown} found` : "";
  }

  for (const table of tables)
    [...table.tHead.rows[0].cells].forEach((heading, column) =>
      heading.querySelector("button")?.addEventListener("click", () => sortBy(table, column)));
  document.getElementById("search")?.addEventListener("input", (event) => filter(event.target.value.toLowerCase()));
})();
