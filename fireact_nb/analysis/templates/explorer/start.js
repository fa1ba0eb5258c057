// Begins: reads the table and the address, wires keys and buttons, and shows everything.

function say(text) {
  byId("live").textContent = text;
}

// One change of the state, and all that follows from it.
function change(what) {
  const q = here(), at = state.at;
  Object.assign(state, what);
  refresh(q, at);
  if (what.show && state.open) openQuestion(table.byId.get(state.open)); // other agents beside it
}

function refresh(q, at) {
  const begun = performance.now();
  selection = select();
  keepCursor(q, at);
  showControls(selection);
  showSummary(selection);
  showMatrix();
  writeAddress();
  const count = `${selection.rows.length.toLocaleString("en")} of ${plural(table.questions.id.length, "question")}`;
  byId("count").textContent = `${count}, ${selection.columns.length} of ${plural(table.columns.length, "agent")}`;
  say(`${count} shown`);
  document.body.dataset.took = performance.now() - begun; // for the benchmark
}

function seek() {
  const progress = byId("progress");
  document.body.dataset.searched = "";
  let shownAt = -Infinity;
  searchAll(state.q, (part, done) => {
    progress.hidden = done;
    progress.value = part;
    if (done || performance.now() > shownAt + 500) { // what is found so far, now and then
      refresh(here(), state.at);
      shownAt = performance.now();
    }
    if (done) document.body.dataset.searched = state.q || "nothing";
    if (done && state.open) openQuestion(table.byId.get(state.open)); // its marks follow
  });
}

// -- export ----------------------------------------------------------------------------------------

// As outcomes.py does: what a spreadsheet would run as a formula gets a quote before it.
function csvCell(value) {
  const text = String(value ?? ""), safe = /^'*[=+\-@\t\r]/.test(text) && !/^-?\d/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

function csv() {
  const { questions, rows } = table, { columns } = selection;
  const lines = [["question_id", "task", "split", "type", "popularity", "question", "gold", "right", "played",
    ...columns.flatMap(({ label }) => [`${label}: correct`, `${label}: right samples`, `${label}: samples`, `${label}: answer`])]];
  for (const q of selection.rows) {
    const { right, played } = tally(columns, q);
    lines.push([...["id", "task", "split", "type", "popularity", "text", "gold"].map(name => questions[name][q]), right, played,
      ...columns.flatMap(column => column.first[q] < 0 ? ["", "", "", ""]
        : [column.marks[q], column.hits[q], column.samples[q], rows.answer[column.first[q]]])]);
  }
  return lines.map(line => line.map(csvCell).join(",") + "\n").join("");
}

function exportRows() {
  const link = make("a", { download: "explorer.csv",
    href: URL.createObjectURL(new Blob(["\ufeff", csv()], { type: "text/csv" })) }); // the mark tells Excel it is UTF-8
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  say(`${plural(selection.rows.length, "row")} exported`);
}

// -- keys ------------------------------------------------------------------------------------------

const KEYS = [
  ["j, ↓ / k, ↑", "next question / question before"],
  ["→ / ←", "next agent / agent before; the others are compared with it"],
  ["Page Down / Page Up, End / Home", "a screen of rows, last / first row"],
  ["Enter, Space or a click", "open the trajectories of the question"],
  ["Escape", "close them; leave the search"],
  ["/", "search in questions, answers and trajectories"],
  ["a / b", "take the agent at the cursor as A / B of the paired test"],
  ["o", "only questions that the agent at the cursor alone got right, and back"],
  ["x", "take all filters away"],
  ["e", "export the rows shown as CSV"],
  ["t", "theme: as the system says, light, dark"],
  ["?", "this help"],
];

const MOVES = {
  ArrowDown: [1, 0], ArrowUp: [-1, 0], ArrowRight: [0, 1], ArrowLeft: [0, -1],
  Home: [-Infinity, 0], End: [Infinity, 0], j: [1, 0], k: [-1, 0],
};

const column = () => selection.columns[cursor.column];
const ACTIONS = {
  "/": () => { byId("filters").open = true; byId("q").focus(); byId("q").select(); },
  "?": () => byId("keys").showModal(),
  a: () => pick("a"),
  b: () => pick("b"),
  o: () => change({ chip: state.chip === `only:${column().label}` ? "" : `only:${column().label}` }),
  x: () => { change({ ...EMPTY, show: state.show, a: state.a, b: state.b, at: state.at, open: state.open,
    implicit: state.implicit, control: state.control, theme: state.theme, missing: state.missing }); seek(); },
  e: exportRows,
  t: turnTheme,
  Enter: open, " ": open,
};

function pick(side) {
  change({ [side]: column().label });
  say(`${side.toUpperCase()} is ${column().label}. ${byId("verdict").textContent}`);
}

function open() {
  if (here() === undefined) return;
  openQuestion(here());
  draw();
}

function press(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || byId("keys").open) return;
  const writing = event.target.closest?.("input:not([type=checkbox]), select, textarea");
  if (event.key === "Escape") {
    if (writing) grid().focus();
    else if (state.open) closePanel();
    return;
  }
  if (writing) {
    if (event.key === "Enter" && event.target.id === "q") grid().focus();
    return;
  }
  const inGrid = event.target === grid() || event.target === document.body, letter = /^[a-z/?]$/.test(event.key);
  // Elsewhere arrows scroll, and Enter and Space press what has the focus.
  if (!inGrid && !letter) return;
  const page = Math.max(1, Math.floor(grid().clientHeight / ROW) - 6);
  const move = MOVES[event.key] ?? { PageDown: [page, 0], PageUp: [-page, 0] }[event.key];
  if (move) moveTo(cursor.row + move[0], cursor.column + move[1]);
  else if (ACTIONS[event.key]) ACTIONS[event.key]();
  else return;
  event.preventDefault();
}

function turnTheme() {
  const themes = ["", "light", "dark"];
  state.theme = themes[(themes.indexOf(state.theme) + 1) % 3];
  writeAddress();
  showTheme();
}

function showTheme() {
  document.documentElement.dataset.theme = state.theme;
  byId("theme").textContent = `Theme: ${state.theme || "auto"}`;
}

function buildHelp() {
  const close = make("button", { type: "button" }, "Close");
  close.addEventListener("click", () => byId("keys").close());
  byId("keys").append(make("h2", { id: "keys-title" }, "Keys and terms"),
    make("dl", {}, KEYS.flatMap(([keys, what]) => [make("dt", {}, keys), make("dd", {}, what)])),
    ...[
      "Every number is over the questions below that all agents shown have played, and follows the filters. A cell with several samples counts by its first; k/n says how many were right.",
      "Random: what asking one of the agents at random is expected to score. Best fixed: the agent that is right most often; chosen on the same questions it is a little optimistic. Implicit: an agent that was trained on several methods and chooses by itself. Oracle: at least one agent is right. pass@k: the same agent asked again, as often as there are agents, so that one sees how much of the oracle is only more tries.",
      "Intervals: Wilson's for one agent; for means and differences the percentiles of a bootstrap over questions, by their Cornish-Fisher expansion. McNemar's test is exact and two-sided; looking at many pairs, expect small p by chance.",
      "The address holds all you have chosen: copy it to show somebody else the same view of this file.",
    ].map(text => make("p", {}, text)), close);
}

function wire() {
  document.addEventListener("keydown", press);
  document.addEventListener("click", event => {
    const button = event.target.closest("[data-chip]");
    if (button) change({ chip: state.chip === button.dataset.chip ? "" : button.dataset.chip });
  });
  byId("export").addEventListener("click", exportRows);
  byId("theme").addEventListener("click", turnTheme);
  byId("help").addEventListener("click", () => byId("keys").showModal());
  byId("skip").addEventListener("click", event => { event.preventDefault(); grid().focus(); });
  window.addEventListener("hashchange", follow); // a link inside the same page
  watchMatrix();
}

function follow() {
  state = readAddress();
  showTheme();
  const q = table.byId.get(state.open);
  refresh(q, state.at);
  if (q === here() || q === undefined) moveTo(cursor.row, cursor.column); // and with it the open question
  else openQuestion(q); // which the filters leave out
  if (q === undefined) byId("panel").hidden = true;
  if (state.q) seek();
}

async function start() {
  table = readTable(await unpack("table"));
  if (matchMedia("(max-width: 800px)").matches) byId("filters").open = false;
  buildControls();
  buildSummary();
  buildHelp();
  wire();
  follow();
  document.body.dataset.loaded = performance.now();
}
start();
