// Which questions are shown, and the numbers over them.
// Knows the table and the state; knows no element.

const SLICES = ["task", "split", "type", "popularity"];
// Questions in whose trajectories the search found its text, with the columns; see searchAll.
let found = new Map();

// -1 not played; with missing = wrong, 0.
const mark = (column, q) => column.marks[q] < 0 && state.missing === "wrong" ? 0 : column.marks[q];

function tally(columns, q) {
  let right = 0, played = 0, only = null;
  for (const column of columns) {
    const verdict = mark(column, q);
    if (verdict < 0) continue;
    played++;
    if (verdict) {
      right++;
      only = column;
    }
  }
  return { right, played, only: right === 1 ? only : null };
}

function passesChip(chip, columns, [a, b], q) {
  if (!chip) return true;
  if (chip === "a") return mark(a, q) === 1 && mark(b, q) === 0;
  if (chip === "b") return mark(a, q) === 0 && mark(b, q) === 1;
  const { right, played, only } = tally(columns, q);
  if (!played) return false;
  if (chip === "all") return right === played;
  if (chip === "none") return right === 0;
  if (chip === "mixed") return right > 0 && right < played;
  if (chip.startsWith("k:")) return right === Number(chip.slice(2));
  return only !== null && only.label === chip.slice("only:".length);
}

const within = (value, low, high) =>
  (low === "" || value >= Number(low)) && (high === "" || value <= Number(high));

// Whether one agent's episode is as asked; of any shown agent when none is named.
function passesAgent(columns, q) {
  const { who, hits, low, high, cheap, dear, ended } = state;
  if (hits + low + high + cheap + dear + ended === "" && !who) return true;
  const rows = table.rows;
  return (who ? [table.byLabel.get(who)] : columns).some(column => {
    const row = column.first[q];
    return row >= 0 && (hits === "" || column.hits[q] === Number(hits))
      && within(rows.rounds[row], low, high) && within(rows.tokens[row], cheap, dear)
      && (ended === "" || rows.state[row] === ended);
  });
}

function passesText(q) {
  if (!state.q) return true;
  return found.has(q) || matches(table.questions, q, state.q.toLowerCase());
}

const matches = (questions, q, wanted) => questions.id[q].toLowerCase().includes(wanted)
  || questions.text[q].toLowerCase().includes(wanted)
  || questions.gold[q].toLowerCase().includes(wanted);

// The questions shown, and those that would be without the chip: its counts are taken over them.
function select() {
  const columns = shown(), couple = pair(), base = [], questions = table.questions;
  for (let q = 0; q < questions.id.length; q++) {
    if (SLICES.every(name => !state[name] || questions[name][q] === state[name])
      && passesAgent(columns, q) && passesText(q)) base.push(q);
  }
  const rows = base.filter(q => passesChip(state.chip, columns, couple, q));
  return { base, rows: sorted(rows, columns), columns };
}

function sorted(rows, columns) {
  if (!state.sort) return rows;
  const keys = new Map(rows.map(q => {
    const { right, played } = tally(columns, q), share = played ? right / played : 0;
    let tokens = 0;
    for (const column of columns)
      if (column.first[q] >= 0) tokens += table.rows.tokens[column.first[q]];
    return [q, { hard: share, easy: -share, split: Math.abs(share - 0.5), dear: -tokens }[state.sort] ?? 0];
  }));
  return [...rows].sort((x, y) => keys.get(x) - keys.get(y) || x - y);
}

// What choosing among the shown agents could reach, over the questions that all of them played.
function reach({ rows, columns }) {
  const common = rows.filter(q => columns.every(column => mark(column, q) >= 0));
  const right = column => common.reduce((sum, q) => sum + mark(column, q), 0);
  const each = columns.map(column => ({ column, score: wilson(right(column), common.length) }));
  const best = each.reduce((x, y) => (y.score?.value > (x?.score?.value ?? -1) ? y : x), null);
  const oracle = common.map(q => Math.max(...columns.map(column => mark(column, q))));
  const implicit = table.byLabel.get(state.implicit) ?? columns.find(column => column.chooses);
  return {
    common, each, best,
    random: mean(common.map(q => columns.reduce((sum, column) => sum + mark(column, q), 0) / columns.length)),
    oracle: mean(oracle),
    implicit: implicit ? chooses(implicit, common) : null,
    control: control(columns, common, oracle),
  };
}

// An agent that chooses its method by itself: its score, and what it chose.
function chooses(column, common) {
  const played = common.filter(q => mark(column, q) >= 0);
  const counts = [0, 0, 0]; // explorer.py: cot, react, reflexion
  for (const q of played) if (column.first[q] >= 0) counts[table.rows.method[column.first[q]]]++;
  const right = played.reduce((sum, q) => sum + mark(column, q), 0);
  return { column, score: wilson(right, played.length), counts };
}

// As many tries of one agent as there are agents: how much of the oracle is only more tries.
function control(columns, common, oracle) {
  const chosen = table.byLabel.get(state.control);
  const column = chosen ?? table.columns.reduce((x, y) => (y.most > (x?.most ?? 1) ? y : x), null);
  if (!column) return null;
  const k = Math.min(columns.length, column.most), values = [], beyond = [];
  common.forEach((q, place) => {
    if (column.samples[q] < k) return;
    const value = passAt(k, column.samples[q], column.hits[q]);
    values.push(value);
    beyond.push(oracle[place] - value);
  });
  return { column, k, wanted: columns.length, score: mean(values), beyond: mean(beyond) };
}

// The paired test: over the questions shown that both played.
function compare(rows) {
  const [a, b] = pair(), counts = { both: 0, a: 0, b: 0, none: 0 }, differences = [];
  for (const q of rows) {
    const x = mark(a, q), y = mark(b, q);
    if (x < 0 || y < 0) continue;
    counts[x ? (y ? "both" : "a") : y ? "b" : "none"]++;
    differences.push(y - x);
  }
  return { a, b, counts, difference: mean(differences), p: mcnemar(counts.a, counts.b) };
}

// Look for the text in every trajectory, a chunk at a time; `tell` hears how far it is.
let searching = 0;
async function searchAll(text, tell) {
  const mine = ++searching, wanted = text.toLowerCase(), hits = new Map(), rows = table.rows;
  const add = row => {
    const q = rows.question[row];
    hits.set(q, (hits.get(q) ?? new Set()).add(rows.column[row]));
  };
  if (wanted) rows.answer.forEach((answer, row) => { if (answer?.toLowerCase().includes(wanted)) add(row); });
  found = new Map(hits);
  tell(0, !table.chunks.length || !wanted);
  for (let number = 0; wanted && number < table.chunks.length; number++) {
    const part = await (unpacked.get(number) ?? whole.then(() => unpack("chunk" + number)));
    if (mine !== searching) return; // the reader has typed on
    part.forEach((steps, place) => {
      if (steps?.some(step => step.some(([, words]) => words.toLowerCase().includes(wanted))))
        add(table.chunks[number] + place);
    });
    found = hits;
    tell((number + 1) / table.chunks.length, number + 1 === table.chunks.length);
  }
}
