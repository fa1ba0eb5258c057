// What the reader has chosen: one object, mirrored in the address, so that a link brings it back.
// Knows the table; knows no element.

const EMPTY = {
  task: "", split: "", type: "", popularity: "", // slices
  chip: "", // all | none | mixed | only:LABEL | k:NUMBER | a | b (right there and wrong in the other)
  who: "", hits: "", low: "", high: "", cheap: "", dear: "", ended: "", // of one agent's episodes
  q: "", sort: "", show: [], a: "", b: "", implicit: "", control: "",
  missing: "", // "wrong": what was not played counts as wrong
  open: "", at: "", theme: "",
};
const MANY = 12; // so many agents are shown at first

let table; // set once, by start.js
let state = { ...EMPTY };

function readAddress() {
  const given = new URLSearchParams(location.hash.slice(1)), found = { ...EMPTY, show: [] };
  for (const name of Object.keys(EMPTY)) {
    if (name === "show") found.show = given.getAll(name).filter(label => table.byLabel.has(label));
    else found[name] = given.get(name) ?? "";
  }
  for (const name of ["a", "b", "who", "implicit", "control", "at"])
    if (found[name] && !table.byLabel.has(found[name])) found[name] = "";
  for (const name of ["hits", "low", "high", "cheap", "dear"]) if (isNaN(found[name])) found[name] = "";
  if (!table.byId.has(found.open)) found.open = "";
  return found;
}

function writeAddress() {
  const given = new URLSearchParams();
  for (const [name, value] of Object.entries(state))
    for (const each of [value].flat()) if (each !== "") given.append(name, each);
  history.replaceState(null, "", "#" + given); // no step back for every letter typed
}

function shown() {
  return state.show.length ? table.columns.filter(each => state.show.includes(each.label))
    : table.columns.slice(0, MANY);
}

// The two columns of the paired test; the first two that are shown, unless others were chosen.
function pair() {
  const here = shown(), a = table.byLabel.get(state.a) ?? here[0];
  return [a, table.byLabel.get(state.b) ?? here.find(each => each !== a) ?? a];
}
