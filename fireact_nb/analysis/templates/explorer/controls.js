// The column of filters: search, slices, chips, one agent's episodes, which agents are shown.
// Knows elements and the state; counts come from filters.js. All text goes in as text, never as HTML.

function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter(child => child !== null));
  return element;
}
const byId = id => document.getElementById(id);
const percent = value => (100 * value).toFixed(1);
const plural = (count, word, many = word + "s") => `${count.toLocaleString("en")} ${count === 1 ? word : many}`;

function choose(name, label, values, empty) {
  const options = values.map(each => [each].flat()).map(([value, text = value]) => make("option", { value }, text));
  const select = make("select", { id: name }, empty === null ? null : make("option", { value: "" }, empty), options);
  select.addEventListener("change", () => change({ [name]: select.value }));
  return make("label", {}, make("span", {}, label), select);
}

function number(name, label) {
  const input = make("input", { id: name, type: "number", min: 0, inputMode: "numeric" });
  input.setAttribute("aria-label", label);
  input.addEventListener("input", () => change({ [name]: input.value }));
  return input;
}

function group(title, ...children) {
  return make("fieldset", {}, make("legend", {}, title), children);
}

function buildControls() {
  const { questions, columns, rows } = table, labels = columns.map(each => each.label);
  const search = make("input", { id: "q", type: "search", placeholder: "Search  ( / )", autocomplete: "off" });
  search.setAttribute("aria-label", "Search in questions, answers and trajectories");
  let typing;
  search.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => { state.q = search.value; seek(); }, 150); // not for every letter
  });
  const slices = SLICES.flatMap(name => {
    const values = [...new Set(questions[name])].filter(Boolean);
    return values.length > 1 ? [choose(name, name, values, "all")] : [];
  });
  const most = Math.max(...columns.map(each => each.most));
  const missing = make("input", { id: "missing", type: "checkbox" });
  missing.addEventListener("change", () => change({ missing: missing.checked ? "wrong" : "" }));
  const sort = [["hard", "fewest right first"], ["easy", "most right first"],
    ["split", "most divided first"], ["dear", "most tokens first"]];
  byId("controls").append(
    make("div", { className: "search" }, search, make("progress", { id: "progress", max: 1, hidden: true })),
    ...(slices.length ? [group("Slice", slices)] : []),
    group("How many of the agents shown are right", make("div", { id: "histogram" })),
    group("Questions where", make("div", { id: "chips" })),
    group("Questions that one agent alone got right", make("div", { id: "alone" })),
    group("Episodes of one agent",
      choose("who", "agent", labels, "any agent shown"),
      ...(most > 1 ? [choose("hits", "samples right", [...Array(most + 1).keys()].map(String), "any")] : []),
      make("div", { className: "range" }, "rounds", number("low", "at least so many rounds"), "to", number("high", "at most so many rounds")),
      make("div", { className: "range" }, "tokens", number("cheap", "at least so many tokens"), "to", number("dear", "at most so many tokens")),
      choose("ended", "ended", [...new Set(rows.state)], "any way")),
    group("Order", choose("sort", "rows", sort, "as in the table")),
    buildAgents(missing));
}

function buildAgents(missing) {
  const boxes = table.columns.map(column => {
    const box = make("input", { type: "checkbox", value: column.label });
    box.addEventListener("change", () => {
      const labels = [...byId("agents").querySelectorAll("input:checked")].map(each => each.value);
      if (labels.length) change({ show: labels });
      else box.checked = true; // a matrix without agents shows nothing
    });
    return make("label", { className: "box" }, box, make("span", {}, column.label));
  });
  const all = make("button", { type: "button" }, "Show all");
  all.addEventListener("click", () => change({ show: table.columns.map(each => each.label) }));
  return group("Agents shown, and chosen among", make("div", { id: "agents" }, boxes),
    ...(table.columns.length > MANY ? [all] : []),
    make("label", { className: "box" }, missing, make("span", {}, "what was not played counts as wrong")));
}

function chip(value, text, count, title = "") {
  const button = make("button", { type: "button", className: "chip", title },
    make("span", {}, text), make("span", { className: "number" }, String(count)));
  button.dataset.chip = value;
  button.setAttribute("aria-pressed", String(state.chip === value));
  return button;
}

// Counts of every chip over the questions that pass all other filters, in one pass.
function showChips({ base, columns }) {
  const couple = pair(), of = new Map(), add = key => of.set(key, (of.get(key) ?? 0) + 1);
  for (const q of base) {
    const { right, played, only } = tally(columns, q);
    if (!played) continue;
    add(`k:${right}`);
    if (right === played) add("all");
    if (!right) add("none");
    if (right && right < played) add("mixed");
    if (only) add(`only:${only.label}`);
    for (const side of "ab") if (passesChip(side, columns, couple, q)) add(side);
  }
  const count = key => of.get(key) ?? 0, [a, b] = couple;
  const chips = [chip("all", "all right", count("all")), chip("none", "all wrong", count("none")),
    chip("mixed", "they disagree", count("mixed"))];
  if (a !== b) chips.push(
    chip("a", "A right, B wrong", count("a"), `A: ${a.label}; B: ${b.label}`),
    chip("b", "B right, A wrong", count("b"), `A: ${a.label}; B: ${b.label}`));
  refill(byId("chips"), chips);
  refill(byId("alone"), columns.map(({ label }) => {
    const button = chip(`only:${label}`, label, count(`only:${label}`));
    button.setAttribute("aria-label", `only ${label} right: ${count(`only:${label}`)}`);
    return button;
  }));
  const highest = Math.max(1, ...columns.map((_, k) => count(`k:${k}`)), count(`k:${columns.length}`));
  refill(byId("histogram"), [...Array(columns.length + 1).keys()].map(k => {
    const bar = make("span", { className: "bar" }), button = make("button", { type: "button",
      title: `${k} of ${columns.length} right: ${plural(count(`k:${k}`), "question")}` }, bar, String(k));
    bar.style.height = `${Math.round(44 * count(`k:${k}`) / highest)}px`;
    button.dataset.chip = `k:${k}`;
    button.setAttribute("aria-label", button.title);
    button.setAttribute("aria-pressed", String(state.chip === `k:${k}`));
    return button;
  }));
}

// New children, with the focus kept on the one that means the same.
function refill(parent, children) {
  const held = parent.contains(document.activeElement) ? document.activeElement.dataset.chip : null;
  parent.replaceChildren(...children);
  if (held !== null) children.find(child => child.dataset.chip === held)?.focus();
}

function showControls(selected) {
  for (const name of [...SLICES, "who", "hits", "low", "high", "cheap", "dear", "ended", "sort", "q", "implicit", "control"]) {
    const input = byId(name);
    if (input && input.value !== state[name]) input.value = state[name];
  }
  byId("missing").checked = state.missing === "wrong";
  const labels = new Set(selected.columns.map(each => each.label));
  for (const box of byId("agents").querySelectorAll("input")) box.checked = labels.has(box.value);
  showChips(selected);
}
