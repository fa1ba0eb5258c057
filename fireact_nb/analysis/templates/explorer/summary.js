// The numbers above the matrix: what choosing among the agents could reach, and the paired test.
// Knows what filters.js computed; knows no rows.

const interval = each => `${percent(each.value)} [${percent(each.low)}, ${percent(each.high)}]`;
const probability = p => (p < 0.0001 ? "p < 0.0001" : `p = ${p.toFixed(p < 0.01 ? 4 : 3)}`);

function scale(score, low = 0, high = 1) {
  const place = value => `${100 * (value - low) / (high - low)}%`;
  const reach = make("span", { className: "reach" }), dot = make("span", { className: "dot" });
  reach.style.left = place(score.low);
  reach.style.width = `${100 * (score.high - score.low) / (high - low)}%`;
  dot.style.left = place(score.value);
  const line = make("span", { className: "scale" }, reach, dot);
  line.setAttribute("aria-hidden", "true");
  if (low < 0) line.classList.add("around");
  return line;
}

function strategy(key, name, score, note, around = false) {
  const row = make("tr", {}, make("th", { scope: "row" }, name),
    make("td", { className: "value" }, score ? (around && score.value > 0 ? "+" : "") + interval(score) : "–"),
    make("td", {}, score ? scale(score, around ? -1 : 0) : ""), make("td", { className: "note" }, note));
  row.dataset.number = key;
  if (score) Object.assign(row.dataset, { value: score.value, low: score.low, high: score.high, n: score.n });
  return row;
}

function showSummary(selected) {
  const { common, best, random, oracle, implicit, control } = reach(selected);
  const asked = selected.rows.length, rest = asked - common.length;
  const chosen = implicit && common.length ? [["CoT", 0], ["ReAct", 1], ["Reflexion", 2]]
    .filter(([, method]) => implicit.counts[method])
    .map(([name, method]) => `${name} ${Math.round(100 * implicit.counts[method] / common.length)}%`).join(", ") : "";
  const rows = [
    strategy("random", "random", random, "one agent at random, expected"),
    strategy("best", "best fixed", best?.score, best ? `${best.column.label}; chosen on these questions` : ""),
    ...(implicit ? [strategy("implicit", "implicit", implicit.score, `${implicit.column.label}: ${chosen}`)] : []),
    strategy("oracle", `oracle of ${selected.columns.length}`, oracle, "at least one of them is right"),
    ...(control ? [
      strategy("control", `pass@${control.k}`, control.score, `${control.column.label}: the same agent again`
        + (control.k < control.wanted ? `; only ${control.k} samples for ${control.wanted} agents` : "")
        + (control.score && control.score.n < common.length ? `; ${plural(control.score.n, "question")}` : "")),
      strategy("beyond", "oracle − control", control.beyond, "paired; above 0: they complement each other", true),
    ] : []),
  ];
  const caption = `Exact match, % [95% interval], ${plural(common.length, "question")}`
    + (rest ? `; ${rest.toLocaleString("en")} more below were not played by all of these agents` : "")
    // Questions picked by who was right are no sample of what the agents can do.
    + (state.chip || state.hits ? ". Picked by outcome: this describes the pick" : "");
  byId("numbers").replaceChildren(make("caption", {}, caption),
    make("thead", {}, make("tr", {}, ["choice", "% right", "0 to 100", "of"].map(head => make("th", { scope: "col" }, head)))),
    make("tbody", {}, rows));
  showPair(selected);
}

// Once: the choices of agents, and a place for what comes of them.
function buildSummary() {
  const labels = table.columns.map(each => each.label), repeats = table.columns.filter(each => each.most > 1);
  const cell = key => make("td", { id: `pair-${key}` });
  byId("summary").append(
    make("table", { id: "numbers" }),
    make("div", { className: "pair", role: "group", "aria-label": "Two agents, paired" },
      make("div", { className: "sides" }, choose("a", "A", labels, null), choose("b", "B", labels, null),
        table.columns.some(each => each.chooses) ? choose("implicit", "implicit", labels, "first that chooses") : null,
        repeats.length > 1 ? choose("control", "control", repeats.map(each => each.label), "most samples") : null),
      make("table", { className: "square" }, make("caption", { className: "unseen" }, "Questions that A and B got right"), make("tbody", {},
        make("tr", {}, make("td"), make("th", { scope: "col" }, "B right"), make("th", { scope: "col" }, "B wrong")),
        make("tr", {}, make("th", { scope: "row" }, "A right"), cell("both"), cell("a")),
        make("tr", {}, make("th", { scope: "row" }, "A wrong"), cell("b"), cell("none")))),
      make("p", { id: "verdict" })));
}

function showPair({ rows }) {
  const { a, b, counts, difference, p } = compare(rows), verdict = byId("verdict");
  byId("a").value = a.label;
  byId("b").value = b.label;
  for (const [key, count] of Object.entries(counts)) byId(`pair-${key}`).textContent = count;
  verdict.textContent = difference
    ? `B − A: ${difference.value > 0 ? "+" : ""}${interval(difference)} points, ${plural(difference.n, "question")}. `
      + `McNemar's exact test: ${probability(p)}.`
    : "No question shown was played by both.";
  Object.assign(verdict.dataset, { p, ...(difference ?? { value: "", low: "", high: "", n: 0 }) });
}
