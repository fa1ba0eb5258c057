// All trajectories of one question side by side, round beside round, the steps that differ marked.
// Knows elements and rows; the column at the cursor is what the others are compared with.

let picked = new Map(); // which sample of a column is looked at, by its number
let opening = 0;

// The words that the search looks for stand out.
function marked(text) {
  const wanted = state.q.toLowerCase(), lower = text.toLowerCase(), pieces = [];
  if (!wanted || lower.length !== text.length) return [text];
  let from = 0;
  for (let place = lower.indexOf(wanted); place >= 0; place = lower.indexOf(wanted, from)) {
    pieces.push(text.slice(from, place), make("mark", {}, text.slice(place, place + wanted.length)));
    from = place + wanted.length;
  }
  return [...pieces, text.slice(from)];
}

const part = (step, label) => step?.find(([name]) => name === label)?.[1];
const act = step => (part(step, "Action") ?? part(step, "Reply") ?? part(step, "As written") ?? "").trim().toLowerCase();

// How a round stands to the same round of the compared one.
function difference(steps, other, round) {
  if (!other || steps === other || !steps[round]) return "";
  if (!other[round]) return "further";
  if (act(steps[round]) !== act(other[round])) return "action";
  return part(steps[round], "Observation") === part(other[round], "Observation") ? "same" : "observation";
}
const SAID = { same: "= same step", action: "≠ other action", observation: "≠ other observation", further: "≠ further round" };

async function openQuestion(q) {
  const mine = ++opening, base = selection.columns[cursor.column];
  state.open = table.questions.id[q];
  writeAddress();
  const columns = [base, ...selection.columns.filter(column => column !== base)]
    .filter(column => column && column.first[q] >= 0);
  const rows = columns.map(column => column.first[q] + Math.min(picked.get(column.number) ?? 0, column.samples[q] - 1));
  const steps = await Promise.all(rows.map(row => rounds(table, row)));
  if (mine !== opening) return; // the reader has moved on
  const panel = byId("panel"), wasHidden = panel.hidden, { scrollLeft } = panel;
  panel.hidden = false;
  panel.replaceChildren(heading(q), make("div", { className: "sheet" }, sheet(q, columns, rows, steps)));
  panel.scrollTop = 0;
  panel.scrollLeft = scrollLeft;
  if (wasHidden) bringIntoSight(); // the matrix has become lower
  say(`${plural(columns.length, "trajectory", "trajectories")} of ${state.open}, below the matrix`);
  document.body.dataset.opened = state.open; // the tests wait for it
}

function heading(q) {
  const { id, text, gold, task, type, popularity } = table.questions;
  const close = make("button", { type: "button", id: "close", title: "Close (Escape)" }, "Close");
  close.addEventListener("click", closePanel);
  const back = make("button", { type: "button", title: "Question before (k)", ariaLabel: "Question before (k)" }, "↑ k");
  back.addEventListener("click", () => moveTo(cursor.row - 1, cursor.column));
  const next = make("button", { type: "button", title: "Next question (j)", ariaLabel: "Next question (j)" }, "↓ j");
  next.addEventListener("click", () => moveTo(cursor.row + 1, cursor.column));
  const kind = [id[q], task[q], type[q], popularity[q]].filter(Boolean).join(" · ");
  return make("div", { className: "asked" },
    make("h2", { id: "asked" }, marked(text[q] || id[q])),
    make("p", {}, kind, gold[q] ? [" · gold answer: ", make("b", {}, marked(gold[q]))] : ""),
    make("div", { className: "tools" }, back, next, close));
}

function sheet(q, columns, rows, steps) {
  const heads = columns.map((column, place) => {
    const { sign, words } = verdictOf(column, q);
    const head = make("th", { scope: "col" }, column.label, place ? null : make("span", { className: "base" }, "compared with"));
    if (column.samples[q] > 1) head.append(samplePicker(q, column, words));
    head.dataset.verdict = sign;
    return head;
  });
  const facts = rows.map(row => make("td", {}, fact(row)));
  const most = Math.max(0, ...steps.map(each => each?.length ?? 0));
  const lines = [...Array(most).keys()].map(round => make("tr", {},
    make("th", { scope: "row" }, `Round ${round + 1}`),
    steps.map(each => each?.[round] ? stepCell(each, steps[0], round) : make("td", { className: "over" }))));
  if (!most) lines.push(make("tr", {}, make("th", { scope: "row" }, "Rounds"),
    make("td", { colSpan: columns.length, className: "over" }, "This page holds no trajectories of this question.")));
  return make("table", {}, make("caption", { className: "unseen" }, "Trajectories side by side"),
    make("thead", {}, make("tr", {}, make("td"), heads)),
    make("tbody", {}, make("tr", { className: "facts" }, make("th", { scope: "row" }, "Answer"), facts), lines));
}

function samplePicker(q, column, words) {
  const select = make("select", {}, [...Array(column.samples[q]).keys()].map(sample => {
    const row = column.first[q] + sample;
    return make("option", { value: sample }, `sample ${table.rows.sample[row]}: ${describe[table.rows.correct[row]]}`);
  }));
  select.value = Math.min(picked.get(column.number) ?? 0, column.samples[q] - 1);
  select.setAttribute("aria-label", `Sample of ${column.label}; ${words}`);
  select.addEventListener("change", () => { picked.set(column.number, Number(select.value)); openQuestion(q); });
  return select;
}

function fact(row) {
  const { correct, answer, state: ended, rounds, searches, tokens, usd, seconds } = table.rows;
  const verdict = make("b", { className: correct[row] ? "ok" : "no" }, correct[row] ? "✓ right" : "✗ wrong");
  const cost = [plural(rounds[row], "round"), plural(searches[row], "search", "searches"), tokens[row] ? plural(tokens[row], "token") : null,
    usd[row] ? `$${usd[row].toPrecision(3)}` : null, seconds[row] ? `${seconds[row]} s` : null, ended[row]];
  return [verdict, " ", make("span", { className: "answer" }, marked(answer[row] ?? "(none given)")),
    make("div", { className: "note" }, cost.filter(Boolean).join(" · "))];
}

function stepCell(steps, other, round) {
  const how = difference(steps, other, round);
  return make("td", { className: how }, how ? make("span", { className: "how" }, SAID[how]) : null,
    make("dl", {}, steps[round].flatMap(([label, text]) => [make("dt", {}, label),
      make("dd", { className: label === "Observation" ? "told" : label === "Thought" ? "" : "code" }, marked(text))])));
}

function closePanel() {
  opening++;
  state.open = "";
  byId("panel").hidden = true;
  writeAddress();
  draw();
  grid().focus();
  say("Trajectories closed");
}
