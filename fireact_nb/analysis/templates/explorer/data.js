// The data of the page: unpacked from base64 and zlib, the table at once, trajectories when asked for.
// Knows how explorer.py packs them; knows no filter and no element but the packed ones.

async function unpack(id) {
  const packed = document.getElementById(id).textContent;
  const bytes = Uint8Array.fromBase64 ? Uint8Array.fromBase64(packed)
    : Uint8Array.from(atob(packed), letter => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return JSON.parse(await new Response(stream).text());
}

// columns: label, chooses, ... and for each question the first of its rows and how many there are.
// marks: 1 right, 0 wrong, -1 not played, of the first sample. hits: samples that are right.
function readTable(table) {
  const count = table.questions.id.length, { question, column, correct } = table.rows;
  for (const each of table.columns) {
    each.first = new Int32Array(count).fill(-1);
    each.samples = new Int32Array(count);
    each.hits = new Int32Array(count);
    each.marks = new Int8Array(count).fill(-1);
    each.most = 0;
  }
  for (let row = 0; row < question.length; row++) {
    const each = table.columns[column[row]], q = question[row];
    if (each.first[q] < 0) {
      each.first[q] = row;
      each.marks[q] = correct[row];
    }
    each.samples[q]++;
    each.hits[q] += correct[row];
    each.most = Math.max(each.most, each.samples[q]);
  }
  table.columns.forEach((each, number) => { each.number = number; });
  table.byLabel = new Map(table.columns.map(each => [each.label, each]));
  table.byId = new Map(table.questions.id.map((id, number) => [id, number]));
  return table;
}

// Chunks that were looked at last stay unpacked; all of a large study would not fit.
const unpacked = new Map();
const whole = document.readyState === "loading"
  ? new Promise(done => document.addEventListener("DOMContentLoaded", done)) : Promise.resolve();

function chunk(number) {
  if (!unpacked.has(number)) {
    unpacked.set(number, whole.then(() => unpack("chunk" + number))); // they stand behind the script
    if (unpacked.size > 12) unpacked.delete(unpacked.keys().next().value);
  }
  return unpacked.get(number);
}

// The rounds of a row: lists of [label, text]; null where the page holds no trajectory.
async function rounds(table, row) {
  let number = table.chunks.length - 1;
  while (number >= 0 && table.chunks[number] > row) number--;
  return number < 0 ? null : (await chunk(number))[row - table.chunks[number]];
}
