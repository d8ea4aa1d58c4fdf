// A row of four cells, unmasked one by one: what a masked-diffusion model says, and the shares in the table itself.

const names = Object.keys(data.labels), sizes = names.map((name) => data.labels[name].length);
const known = new Map(); // column -> code, in the order in which they became known
let drawn = 0;

/** Return the row of `data.learned` for the known cells; 0 stands for a masked one. */
const place = (cells) => sizes.reduce((sum, size, j) => sum * (size + 1) + (cells.has(j) ? cells.get(j) + 1 : 0), 0);

/** Return the shares of each label of a column among the table's rows with the known cells, and their number. */
function shares(column, cells) {
  const rows = data.rows.filter((row) => [...cells].every(([j, code]) => j === column || row[j] === code));
  return { count: rows.length, shares: data.labels[names[column]].map((_, code) => rows.filter((row) => row[column] === code).length / rows.length) };
}

const without = (column) => new Map([...known].filter(([j]) => j !== column));
const learned = (column, cells) => data.learned[names[column]][place(cells)];

const buttons = names.map((name, column) => {
  const cell = make("section", "", { className: "cell" });
  cell.append(make("h2", name));
  id("cells").append(cell);
  return data.labels[name].map((label, code) => {
    const button = make("button", "", { type: "button" });
    button.append(make("span", label), make("span"), make("i"), make("i"));
    button.addEventListener("click", () => {
      if (known.get(column) === code) known.delete(column);
      else known.set(column, code);
      redraw();
    });
    cell.append(button);
    return button;
  });
});

press("clear", () => known.clear());
press("next", () => {
  const order = names.map((_, j) => j);
  if (id("order").value === "backward") order.reverse();
  const column = order.find((j) => !known.has(j));
  if (column === undefined) return;
  let left = Math.atan2(...normal(2, 31 + drawn++)) / (2 * Math.PI) + 0.5; // uniform
  const code = learned(column, known).findIndex((share) => (left -= share) < 0);
  known.set(column, code < 0 ? sizes[column] - 1 : code);
});

page(() => {
  let off = 0;
  buttons.forEach((each, column) => {
    const cells = without(column), real = shares(column, cells), model = learned(column, cells);
    each[0].parentElement.classList.toggle("known", known.has(column));
    each.forEach((button, code) => {
      const [, numbers, exact, amber] = button.children, percent = (one) => `${Math.round(100 * one)} %`;
      const [share, p] = [real.count ? real.shares[code] : 0, model[code]];
      button.setAttribute("aria-pressed", known.get(column) === code);
      button.setAttribute("aria-label", `${names[column]} ${data.labels[names[column]][code]}: ${percent(share)} in the table, ${percent(p)} learned`);
      numbers.textContent = real.count ? `${percent(share)} · ${percent(p)}` : `– · ${percent(p)}`;
      exact.style.width = `${100 * share}%`;
      amber.style.width = `${100 * p}%`;
      if (real.count > 30 && !known.has(column)) off = Math.max(off, Math.abs(share - p));
    });
  });
  const before = new Map(), sums = [0, 0];
  id("terms").replaceChildren(...[...known].map(([column, code]) => {
    const terms = [Math.log(shares(column, before).shares[code]), Math.log(learned(column, before)[code])], row = make("tr");
    before.set(column, code);
    terms.forEach((term, k) => { sums[k] += term; });
    const label = make("th", `${names[column]} = ${data.labels[names[column]][code]}`, { scope: "row" });
    row.append(label, ...terms.map((term) => make("td", Number.isFinite(term) ? term.toFixed(3).replace("-", "−") : "−∞")));
    return row;
  }));
  ["exact", "learned"].forEach((side, k) => { id(`${side}-sum`).textContent = Number.isFinite(sums[k]) ? sums[k].toFixed(3).replace("-", "−") : "−∞"; });
  window.lab = { known: [...known], sums, names };
  const rows = data.rows.filter((row) => [...known].every(([j, code]) => row[j] === code)).length;
  if (!known.size) return `Nothing is known: the bars are the shares among all ${data.rows.length} rows. The table has ${names.length} columns; the network was trained with random cells masked.`;
  if (known.size === names.length) return `The row is complete, and ${rows} of ${data.rows.length} rows of the table are equal to it. Its log-likelihood is ${sums[1].toFixed(2).replace("-", "−")} nats by the network.`;
  return `${known.size} of ${names.length} cells are known; ${rows} rows of the table have them. ${off ? `The network's shares differ from theirs by at most ${Math.round(100 * off)} points of a hundred.` : "That is too few to compare with."}`;
});
