// The workloads of timers_bench.ts for another runtime: node timers.mjs SIZE ROUNDS [due].
// Prints nanoseconds per timer, one number a round.
const size = Number(process.argv[2]);
const rounds = Number(process.argv[3]);
const onlyDue = process.argv[4] === "due";
const nothing = () => {};
const turn = () => new Promise((resolve) => setImmediate(resolve));

function delays() {
  let state = 12_345;
  return Array.from({ length: size }, () => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    return 10_000 + state % 90_001;
  });
}

async function createAndCancel() {
  const delaysMs = delays();
  const timers = new Array(size);
  const startMs = performance.now();
  for (let n = 0; n < size; n++) timers[n] = setTimeout(nothing, delaysMs[n]);
  const createdMs = performance.now();
  for (let n = 0; n < size; n++) clearTimeout(timers[n]);
  await turn();
  const cancelledMs = performance.now();
  return [createdMs - startMs, cancelledMs - createdMs];
}

async function due() {
  let ran = 0;
  let over;
  const all = new Promise((resolve) => over = resolve);
  const callback = () => {
    if (++ran === size) over();
  };
  for (let n = 0; n < size; n++) setTimeout(callback, 1 + n % 20);
  const untilMs = performance.now() + 60;
  while (performance.now() < untilMs);
  const startMs = performance.now();
  await all;
  return performance.now() - startMs;
}

async function measureDue() {
  const figures = [];
  for (let n = 0; n < rounds; n++) figures.push(await due() * 1e6 / size);
  return { due: figures };
}

async function measureCreateAndCancel() {
  const figures = { create: [], cancel: [] };
  // Small sizes are summed up until a figure stands for at least 100,000 timers.
  const repeat = Math.max(1, Math.ceil(Math.min(100_000, size * 1_000) / size));
  if (rounds > 1) { for (let n = 0; n < repeat; n++) await createAndCancel(); }
  for (let round = 0; round < rounds; round++) {
    let create = 0;
    let cancel = 0;
    for (let n = 0; n < repeat; n++) {
      const [createMs, cancelMs] = await createAndCancel();
      create += createMs;
      cancel += cancelMs;
    }
    figures.create.push(create * 1e6 / (size * repeat));
    figures.cancel.push(cancel * 1e6 / (size * repeat));
  }
  return figures;
}

const measure = onlyDue ? measureDue : measureCreateAndCancel;
console.log(JSON.stringify(await measure()));
