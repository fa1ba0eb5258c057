// The matrix of questions and agents: only the rows in sight exist, however many there are.
// Knows elements, the selection and the cursor; knows no numbers but a cell's own.

const ROW = 30; // pixels, as page.css has it
const SPARE = 6; // rows above and below those in sight
let selection = { base: [], rows: [], columns: [] };
let cursor = { row: 0, column: 0 };

const grid = () => byId("grid");
const here = () => selection.rows[cursor.row];
const describe = { 1: "right", 0: "wrong" };

function verdictOf(column, q) {
  if (column.first[q] < 0) return { look: "gone", sign: "·", words: "not played" };
  const n = column.samples[q], k = column.hits[q];
  if (n === 1) return column.marks[q] ? { look: "ok", sign: "✓", words: "right" } : { look: "no", sign: "✗", words: "wrong" };
  const look = k === n ? "ok" : k ? "some" : "no";
  return { look, sign: `${k}/${n}`, words: `${k} of ${n} samples right, the first ${describe[column.marks[q]]}` };
}

let drawn = new Map(); // the rows that exist, by their place
let headed = []; // the columns that the head stands for

function showMatrix() {
  const { rows, columns } = selection;
  cursor.row = Math.max(0, Math.min(cursor.row, rows.length - 1));
  cursor.column = Math.max(0, Math.min(cursor.column, columns.length - 1));
  if (columns.length !== headed.length || columns.some((column, place) => column !== headed[place])) buildHead();
  columns.forEach((column, place) => {
    let played = 0, right = 0;
    for (const q of rows) if (column.marks[q] >= 0) {
      played++;
      right += column.marks[q];
    }
    const head = byId(`head-${place}`);
    head.lastChild.textContent = played ? `${Math.round(100 * right / played)}%` : "–";
    head.title = [column.label, `${right} of ${played} right`, column.model, column.mix, column.provenance].join("\n");
  });
  grid().setAttribute("aria-rowcount", rows.length + 1);
  byId("body").style.height = `${rows.length * ROW}px`;
  draw(true);
}

function buildHead() {
  headed = selection.columns;
  const heads = headed.map((column, place) => {
    const head = make("div", { role: "columnheader", className: "cell head", id: `head-${place}` },
      make("span", { className: "name" }, column.label), make("span", { className: "share" }));
    head.setAttribute("aria-colindex", place + 2);
    return head;
  });
  const corner = make("div", { role: "columnheader", className: "cell corner" }, "question",
    make("span", { className: "note" }, "% right of those played"));
  corner.setAttribute("aria-colindex", 1);
  const top = make("div", { role: "row", className: "row top" }, corner, heads);
  top.setAttribute("aria-rowindex", 1);
  grid().setAttribute("aria-colcount", headed.length + 1);
  grid().replaceChildren(make("div", { role: "rowgroup", className: "tops" }, top),
    make("div", { role: "rowgroup", className: "body", id: "body" }));
}

// The rows in sight; `anew` where what they show has changed.
function draw(anew = false) {
  const { rows } = selection, height = grid().clientHeight || 600;
  const first = Math.max(0, Math.floor(grid().scrollTop / ROW) - SPARE);
  const last = Math.min(rows.length, Math.ceil((grid().scrollTop + height) / ROW) + SPARE);
  // The row at the cursor exists even when it was scrolled away: the screen reader's focus is on it.
  const places = new Set(rows.length ? [cursor.row] : []);
  for (let row = first; row < last; row++) places.add(row);
  if (anew) drawn = new Map();
  const kept = new Map([...places].sort((x, y) => x - y).map(row => [row, drawn.get(row) ?? line(row)]));
  if (anew || kept.size !== drawn.size || [...kept.keys()].some(row => !drawn.has(row)))
    byId("body").replaceChildren(...kept.values());
  drawn = kept;
  if (!rows.length) byId("body").append(make("p", { className: "none" }, "No question is left. Take a filter away."));
  point();
}

// Marks the cursor and the open question in the rows that exist.
function point() {
  for (const [row, element] of drawn) {
    element.classList.toggle("current", row === cursor.row);
    element.classList.toggle("open", table.questions.id[selection.rows[row]] === state.open);
  }
  const before = byId("body").querySelector(".at"), cell = byId(`cell-${cursor.row}-${cursor.column}`);
  if (before !== cell) {
    before?.classList.remove("at");
    before?.removeAttribute("aria-selected");
    cell?.classList.add("at");
    cell?.setAttribute("aria-selected", "true");
  }
  if (cell) grid().setAttribute("aria-activedescendant", cell.id);
  else grid().removeAttribute("aria-activedescendant");
}

function line(row) {
  const q = selection.rows[row], questions = table.questions, text = questions.text[q];
  const head = make("div", { role: "rowheader", className: "cell question", title: `${questions.id[q]}\n${text}` },
    text || questions.id[q]);
  head.setAttribute("aria-colindex", 1);
  const where = found.get(q);
  const cells = selection.columns.map((column, place) => {
    const { look, sign, words } = verdictOf(column, q), answer = table.rows.answer[column.first[q]];
    const hit = where?.has(column.number) ?? false, cell = document.createElement("div");
    cell.className = `cell ${look}${hit ? " hit" : ""}`;
    cell.id = `cell-${row}-${place}`;
    cell.role = "gridcell";
    cell.ariaColIndex = place + 2;
    cell.ariaLabel = `${words}${hit ? ", search hit" : ""}, ${column.label}`
      + (column.first[q] < 0 ? "" : `, answer ${answer ?? "none"}`);
    cell.title = `${column.label}: ${words}\n${answer ?? ""}`;
    cell.textContent = sign;
    return cell;
  });
  const element = make("div", { role: "row", className: "row" }, head, cells);
  element.setAttribute("aria-rowindex", row + 2);
  element.style.top = `${row * ROW}px`;
  return element;
}

// Move the cursor; the open question goes with it.
function moveTo(row, column) {
  const { rows, columns } = selection;
  if (!rows.length) return;
  cursor = { row: Math.max(0, Math.min(row, rows.length - 1)), column: Math.max(0, Math.min(column, columns.length - 1)) };
  state.at = columns[cursor.column].label;
  bringIntoSight();
  if (state.open) openQuestion(here());
  else writeAddress();
}

function bringIntoSight() {
  const box = grid(), head = box.firstChild.offsetHeight, top = cursor.row * ROW;
  if (top < box.scrollTop) box.scrollTop = top;
  else if (top + ROW + head > box.scrollTop + box.clientHeight) box.scrollTop = top + ROW + head - box.clientHeight;
  draw();
  const cell = byId(`cell-${cursor.row}-${cursor.column}`), corner = box.querySelector(".corner").offsetWidth;
  if (!cell) return;
  if (cell.offsetLeft - corner < box.scrollLeft) box.scrollLeft = cell.offsetLeft - corner;
  else if (cell.offsetLeft + cell.offsetWidth > box.scrollLeft + box.clientWidth)
    box.scrollLeft = cell.offsetLeft + cell.offsetWidth - box.clientWidth;
}

// After a filter: back to the question that was looked at, if it is still there.
function keepCursor(q, label) {
  const row = selection.rows.indexOf(q), column = selection.columns.findIndex(each => each.label === label);
  cursor = { row: row < 0 ? Math.min(cursor.row, selection.rows.length - 1) : row, column: Math.max(0, column) };
}

function watchMatrix() {
  let waiting = false;
  const soon = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; draw(); });
  };
  grid().addEventListener("scroll", soon, { passive: true });
  new ResizeObserver(soon).observe(grid());
  grid().addEventListener("click", event => {
    const cell = event.target.closest("[role=gridcell], [role=rowheader]"), row = cell?.parentElement;
    if (!row) return;
    state.open = table.questions.id[selection.rows[row.getAttribute("aria-rowindex") - 2]];
    const column = Number(cell.getAttribute("aria-colindex")) - 2;
    moveTo(row.getAttribute("aria-rowindex") - 2, column < 0 ? cursor.column : column);
  });
}
