/**
 * Page of the inspector: markup, style and script, as texts.
 *
 * The script makes elements and sets their `textContent`: no name is ever markup.
 * Trusted types, which the policy of the page asks for, have the browser refuse the
 * rest.
 *
 * @module
 */

/** The page. `?token` stands for the query with the token. */
export const PAGE = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Rota</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/inspect.css?token">
<script src="/inspect.js?token" defer></script>
</head>
<body>
<header>
  <h1><bdi id="name">Rota</bdi></h1>
  <p id="link" class="pill" data-level="none">connecting</p>
  <dl id="facts"></dl>
</header>
<main>
  <section id="wrong" aria-labelledby="wrong-title">
    <h2 id="wrong-title">What is wrong</h2>
    <ul id="problems" role="status"><li class="calm">Waiting for the loop</li></ul>
  </section>
  <section id="plots" aria-label="Plots of the last minute">
    <figure>
      <figcaption><b>Lag</b> <span id="lag-text"></span></figcaption>
      <svg id="lag" viewBox="0 0 600 60" preserveAspectRatio="none" role="img" aria-labelledby="lag-text"></svg>
    </figure>
    <figure>
      <figcaption><b>Throughput</b> <span id="rate-text"></span></figcaption>
      <svg id="rate" viewBox="0 0 600 60" preserveAspectRatio="none" role="img" aria-labelledby="rate-text"></svg>
    </figure>
  </section>
  <div id="columns">
    <section id="tasks" aria-labelledby="tasks-title">
      <div class="bar">
        <h2 id="tasks-title">Tasks</h2>
        <input id="filter" type="search" placeholder="Filter: name, lock, state" aria-label="Filter the tasks" autocomplete="off" spellcheck="false">
      </div>
      <ul id="rows"></ul>
      <p id="more" class="quiet"></p>
    </section>
    <div id="side">
      <section id="supervisors" aria-labelledby="supervisors-title" hidden>
        <h2 id="supervisors-title">Supervisors</h2>
        <div id="supervisor-list"></div>
      </section>
      <section id="pools" aria-labelledby="pools-title" hidden>
        <h2 id="pools-title">Pools</h2>
        <div id="pool-list"></div>
      </section>
    </div>
  </div>
</main>
<footer class="quiet">
  <p>Keys: <kbd>/</kbd> filter, <kbd>↑</kbd> <kbd>↓</kbd> from task to task, <kbd>Enter</kbd> twice to cancel one. <a id="json" href="/">JSON</a></p>
  <p id="said" role="status"></p>
</footer>
</body>
</html>
`;

/** The style. */
export const STYLE = `
:root {
  --paper: #fff; --back: #f4f5f7; --ink: #1c2128; --soft: #5b6572; --line: #dde1e6;
  --bad: #b42318; --bad-back: #fdecea; --warn: #8a5a00; --warn-back: #fff4dc;
  --good: #1a7f4b; --blue: #2563a8;
  color-scheme: light dark;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #1b1f24; --back: #121519; --ink: #e6e9ed; --soft: #9aa4b0; --line: #30363d;
    --bad: #ff8a80; --bad-back: #3a1c1a; --warn: #f0bd5b; --warn-back: #352a12;
    --good: #5fcf94; --blue: #79b2f0;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 1rem; max-width: 90rem; background: var(--back); color: var(--ink);
  font: 15px/1.45 system-ui, sans-serif; overflow-wrap: anywhere;
}
[hidden] { display: none !important; }
h1, h2, p, ul, dl, dd, figure { margin: 0; padding: 0; }
h1 { font-size: 1.25rem; }
h2 { font-size: 1rem; }
ul { list-style: none; }
.quiet { color: var(--soft); font-size: .87rem; }
header { display: flex; flex-wrap: wrap; gap: .4rem .9rem; align-items: center; margin-bottom: .8rem; }
.pill {
  border: 1px solid currentColor; border-radius: 1rem; padding: 0 .7rem; font-size: .87rem; font-weight: 600; color: var(--soft);
}
.pill[data-level=good] { color: var(--good); }
.pill[data-level=error] { color: var(--paper); background: var(--bad); border-color: var(--bad); }
#facts { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; margin-left: auto; font-size: .87rem; color: var(--soft); }
#facts div { display: flex; gap: .35rem; }
#facts dd { color: var(--ink); font-variant-numeric: tabular-nums; font-weight: 600; }
section, figure { background: var(--paper); border: 1px solid var(--line); border-radius: .5rem; padding: .7rem .9rem; }
section#plots { background: none; border: 0; padding: 0; }
#wrong { margin-bottom: .8rem; }
#problems { display: grid; gap: .4rem; margin-top: .4rem; }
#problems li { border-left: .3rem solid var(--line); border-radius: .25rem; padding: .35rem .7rem; }
#problems li[data-level=error] { border-color: var(--bad); background: var(--bad-back); }
#problems li[data-level=warning] { border-color: var(--warn); background: var(--warn-back); }
#problems li[data-level=error] strong { color: var(--bad); }
#problems li[data-level=warning] strong { color: var(--warn); }
#problems li.calm { border-color: var(--good); color: var(--soft); }
#problems .ago { color: var(--soft); font-size: .87rem; white-space: nowrap; }
#problems p { font-size: .9rem; }
.jumps { display: flex; flex-wrap: wrap; gap: .35rem; margin-top: .25rem; }
button {
  font: inherit; font-size: .87rem; color: var(--ink); background: var(--paper); border: 1px solid var(--line);
  border-radius: .3rem; padding: .1rem .6rem; cursor: pointer;
}
button:hover { border-color: var(--soft); }
button:focus-visible, input:focus-visible, a:focus-visible { outline: .16rem solid var(--blue); outline-offset: .1rem; }
button.sure, button.sure:focus-visible { background: var(--bad); border-color: var(--bad); color: var(--paper); }
#plots { display: grid; grid-template-columns: 1fr 1fr; gap: .8rem; margin-bottom: .8rem; }
figcaption { font-size: .87rem; color: var(--soft); font-variant-numeric: tabular-nums; }
figcaption b { color: var(--ink); margin-right: .4rem; }
svg { display: block; width: 100%; height: 3.6rem; margin-top: .3rem; border-bottom: 1px solid var(--line); }
svg .fill { fill: var(--blue); opacity: .75; }
svg .over { fill: var(--bad); }
#columns { display: grid; grid-template-columns: minmax(0, 1fr) minmax(17rem, 24rem); gap: .8rem; align-items: start; }
#columns.alone { grid-template-columns: minmax(0, 1fr); }
#side { display: grid; gap: .8rem; }
.bar { display: flex; flex-wrap: wrap; gap: .4rem 1rem; align-items: center; margin-bottom: .4rem; }
.bar input {
  margin-left: auto; flex: 0 1 16rem; min-width: 9rem; font: inherit; font-size: .9rem; padding: .15rem .5rem;
  color: inherit; background: var(--back); border: 1px solid var(--line); border-radius: .3rem;
}
.row {
  display: grid; grid-template-columns: minmax(8rem, 2fr) minmax(10rem, 3fr) 4.5rem auto; gap: .1rem .8rem;
  align-items: baseline; padding: .2rem .4rem .2rem calc(.4rem + var(--depth, 0) * 1.1rem);
  border-top: 1px solid var(--line); border-left: .25rem solid transparent;
}
.row:focus-within { background: color-mix(in srgb, var(--blue) 10%, transparent); }
.row .name { font-weight: 600; display: flex; flex-wrap: wrap; gap: 0 .45rem; align-items: baseline; min-width: 0; }
.row .name bdi { flex: 0 1 auto; max-width: calc(100% - 1.2rem); display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 3; overflow: hidden; }
.row .dot { flex: none; width: .55rem; height: .55rem; border-radius: 50%; background: var(--line); border: 1px solid var(--soft); }
.row[data-state=running] .dot { background: var(--good); border-color: var(--good); }
.row[data-state=ready] .dot { background: var(--blue); border-color: var(--blue); }
.row[data-state=new] .dot { background: none; }
.row .id { color: var(--soft); font-weight: 400; font-size: .8rem; white-space: nowrap; }
.row .what { color: var(--soft); font-size: .9rem; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.row[data-mark=deadlock] .what, .row:focus-within .what { white-space: normal; }
.row .since { color: var(--soft); font-size: .87rem; text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.row[data-mark=deadlock] { border-left-color: var(--bad); background: var(--bad-back); }
.row[data-mark=deadlock] .dot { background: var(--bad); border-color: var(--bad); }
.row[data-mark=deadlock] .what, .row[data-mark=deadlock] .since { color: var(--ink); }
.row[data-mark=blocked], .row[data-mark=cancelling] { border-left-color: var(--warn); background: var(--warn-back); }
.tag { font-size: .78rem; font-weight: 600; color: var(--warn); }
.row .tag { white-space: nowrap; }
.row[data-mark=deadlock] .tag, .tag[data-level=error] { color: var(--bad); }
.tree { padding-left: .9rem; border-left: 1px solid var(--line); }
.tree li, .top { padding: .12rem 0; }
.tree .down { background: var(--bad-back); border-left: .25rem solid var(--bad); padding-left: .5rem; margin-left: -.25rem; }
.tree .crashed { background: var(--warn-back); border-left: .25rem solid var(--warn); padding-left: .5rem; margin-left: -.25rem; }
.tree .note { display: block; font-size: .87rem; color: var(--soft); }
table { width: 100%; border-collapse: collapse; font-size: .87rem; font-variant-numeric: tabular-nums; margin-bottom: .6rem; }
caption { text-align: left; font-weight: 600; }
td { text-align: right; } th { text-align: left; font-weight: 400; color: var(--soft); }
footer { margin-top: .8rem; }
kbd { border: 1px solid var(--line); border-radius: .2rem; padding: 0 .3rem; background: var(--paper); }
a { color: var(--blue); }
.stale #plots, .stale #columns, .stale #problems li:not(#silence) { opacity: .7; }
@media (max-width: 50rem) {
  body { padding: .6rem; }
  #facts { margin-left: 0; width: 100%; }
  #plots, #columns, #columns.alone { grid-template-columns: minmax(0, 1fr); }
  #plots { gap: .5rem; }
  #side { order: -1; }
  .row { grid-template-columns: minmax(0, 1fr) auto; padding-left: calc(.4rem + min(var(--depth, 0), 5) * .7rem); }
  .row .what { grid-column: 1; }
  .row .since { grid-column: 2; grid-row: 2; }
  .row .name { grid-row: 1; }
  .row button { grid-column: 2; grid-row: 1; padding: .3rem .8rem; }
  button, .bar input { min-height: 2.2rem; }
  .bar input { flex: 1 1 100%; margin-left: 0; }
}
`;

/** The script. */
export const SCRIPT = `"use strict";
const token = new URLSearchParams(location.search).get("token") ?? "";
const query = "?token=" + encodeURIComponent(token);
const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const WINDOW_MS = 60000;

let state = null;      // the last frame, with the last tree
let frameAt = 0;       // when it came
let ended = false;
let connected = false;
let samples = [];
const rows = new Map(); // id of a task: its row

$("json").href = "/state.json" + query;

// -- Small things --

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function name(text) { return make("bdi", "", text); }

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function time(ms) {
  if (ms < 1) return "< 1 ms";
  if (ms < 1000) return Math.round(ms) + " ms";
  if (ms < 60000) return (ms / 1000).toFixed(1) + " s";
  if (ms < 3600000) return Math.floor(ms / 60000) + " min";
  return (ms / 3600000).toFixed(1) + " h";
}

function ago(ms) {
  return ms < 1000 ? "just now" : ms < 60000 ? Math.floor(ms / 1000) + " s ago" : time(ms) + " ago";
}

function number(value) {
  if (value === null) return "–";
  if (value >= 10000) return Math.round(value / 1000).toLocaleString("en") + " k";
  return (Math.round(value * 10) / 10).toLocaleString("en");
}

function plural(count, what) { return count + " " + what + (count === 1 ? "" : "s"); }

/** The time on the clock of the loop, as far as the page knows. */
function loopTime() { return state.timeMs + performance.now() - frameAt; }

// -- Frames --

const source = new EventSource("/events" + query);
source.addEventListener("open", () => { connected = true; showLink(); });
source.addEventListener("error", () => { connected = false; showLink(); });
source.addEventListener("end", () => { ended = true; source.close(); showLink(); });
source.addEventListener("frame", (event) => {
  const frame = JSON.parse(event.data);
  // A new connection may be to another loop, or after a pause.
  if (state !== null && frame.watchedSinceMs !== state.watchedSinceMs) samples = [];
  frame.tree ??= state.tree;
  const isNewTree = state === null || frame.tree !== state.tree;
  state = frame;
  frameAt = performance.now();
  connected = true;
  samples.push(...frame.samples);
  const old = samples.findIndex((sample) => sample.atMs > frame.timeMs - WINDOW_MS);
  samples.splice(0, Math.max(old, 0));
  schedule(isNewTree);
});

let drawing = false;
let treeIsNew = false;
function schedule(isNewTree) {
  treeIsNew ||= isNewTree;
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    const isNew = treeIsNew;
    treeIsNew = false;
    draw(isNew);
  });
}
setInterval(showLink, 250);

function draw(isNew) {
  setText($("name"), state.name);
  drawFacts();
  drawProblems();
  drawPlots();
  if (isNew) drawTasks();
  else updateTimes();
  drawSupervisors();
  drawPools();
  showLink();
}

/** How long nothing has come though something should have; 0 if all is well. */
function silence() {
  if (state === null || ended) return 0;
  const ms = performance.now() - frameAt;
  return ms > 600 + 3 * state.everyMs ? ms : 0;
}

function showLink() {
  const quietMs = silence();
  const link = $("link");
  const [level, text] = ended
    ? ["none", "ended"]
    : state === null
    ? ["none", connected ? "connecting" : "no connection"]
    : !connected
    ? ["error", "no connection"]
    : quietMs > 0
    ? ["error", "no answer for " + time(quietMs)]
    : ["good", "live"];
  link.dataset.level = level;
  setText(link, text);
  document.body.classList.toggle("stale", level !== "good");
  drawSilence(level === "error" && connected ? quietMs : 0);
  const count = state === null ? 0 : state.problems.length;
  const bad = level === "error" ? "● " : count > 0 ? "(" + count + ") " : "";
  const title = bad + (state === null ? "" : state.name + " – ") + "Rota";
  if (document.title !== title) document.title = title;
}

// -- Facts --

function drawFacts() {
  const { loop, tree, own } = state;
  const facts = [
    ["tasks", tree.total - own.length],
    ["ready", loop.ready],
    ["timers", loop.timers],
    ["turns", loop.turns],
  ];
  const list = $("facts");
  if (list.children.length !== facts.length) {
    list.replaceChildren(...facts.map(([key]) => {
      const pair = make("div");
      pair.append(make("dt", "", key), make("dd"));
      return pair;
    }));
  }
  facts.forEach(([, value], index) => setText(list.children[index].lastChild, value.toLocaleString("en")));
}

// -- Problems --

let shown = "";
function drawProblems() {
  const key = JSON.stringify(state.problems.map(({ level, title, details, tasks }) => [level, title, details, tasks]));
  if (key !== shown) {
    shown = key;
    const focused = document.activeElement?.dataset?.jump;
    const list = state.problems.map(problemItem);
    if (list.length === 0) list.push(make("li", "calm", "Nothing: no deadlock, no blocked loop, no child or pool that has failed."));
    const first = $("problems").firstElementChild;
    $("problems").replaceChildren(...(first?.id === "silence" ? [first] : []), ...list);
    if (focused) document.querySelector('[data-jump="' + Number(focused) + '"]')?.focus();
  }
  const items = [...$("problems").children].filter((item) => item.id !== "silence");
  state.problems.forEach(({ atMs, dueMs }, index) => {
    const note = items[index].querySelector(".ago");
    setText(note, dueMs !== null
      ? " in " + Math.ceil(Math.max(dueMs - loopTime(), 0) / 1000) + " s"
      : atMs === null ? "" : " " + ago(loopTime() - atMs));
  });
}

function problemItem(problem) {
  const item = make("li");
  item.dataset.level = problem.level;
  const head = make("p");
  const title = make("strong");
  title.append(name(problem.title));
  head.append(title, make("span", "ago"));
  item.append(head);
  for (const detail of problem.details) {
    const line = make("p");
    line.append(name(detail));
    item.append(line);
  }
  const jumps = make("div", "jumps");
  for (const { id, name: text } of problem.tasks) {
    if (!isListed(id)) continue;
    const jump = make("button", "", "Show ");
    jump.type = "button";
    jump.dataset.jump = id;
    jump.append(name(text.length > 40 ? text.slice(0, 40) + "…" : text));
    jump.addEventListener("click", () => goTo(id));
    jumps.append(jump);
  }
  if (jumps.children.length > 0) item.append(jumps);
  return item;
}

function isListed(id) { return state.tree.tasks.some((task) => task.id === id); }

function goTo(id) {
  $("filter").value = "";
  filterRows();
  const row = rows.get(id);
  row?.element.scrollIntoView({ block: "center" });
  row?.button.focus();
}

/** While nothing comes, this is the news. */
function drawSilence(ms) {
  const list = $("problems");
  let item = $("silence");
  if (ms === 0) { item?.remove(); return; }
  if (item === null) {
    item = make("li");
    item.id = "silence";
    item.dataset.level = "error";
    item.append(make("strong", "", "The loop does not answer"));
    const ran = state.tree.tasks.filter((task) => task.state !== "waiting" && !state.own.includes(task.id));
    const line = make("p", "", "It is blocked by a step that does not end, or its process was stopped. What follows is as it was.");
    if (ran.length > 0) {
      line.append(" Running or ready then: ");
      ran.slice(0, 5).forEach((task, index) => line.append(index === 0 ? "" : ", ", name(task.name.slice(0, 60))));
    }
    item.append(line);
    list.querySelector(".calm")?.remove();
    shown = "";
    list.prepend(item);
  }
}

// -- Plots --

function drawPlots() {
  const lags = samples.map((sample) => sample.lagMs);
  const lag = lags.at(-1) ?? 0;
  const lagMax = Math.max(...lags, 0);
  const all = state.lag;
  const spread = all === null || all.p50 === null ? "" : ", median " + time(all.p50) + ", p99 " + time(all.p99);
  setText($("lag-text"), "now " + time(lag) + spread + ", at most " + time(Math.max(lagMax, all?.max ?? 0)));
  const blockedMs = state.blockedMs;
  plot($("lag"), samples.map((sample) => sample.lagMs), Math.max(lagMax, 20), (value) => value >= blockedMs);
  const rates = samples.map((sample) => sample.overMs > 0 ? sample.steps / sample.overMs * 1000 : 0);
  // Of the last second: those of a single sample jump about.
  const [overMs, steps, ends] = samples.filter(({ atMs }) => atMs > state.timeMs - 1000)
    .reduce(([a, b, c], sample) => [a + sample.overMs, b + sample.steps, c + sample.ended], [0, 0, 0]);
  const perSecond = (count) => number(overMs > 0 ? Math.round(count / overMs * 1000) : 0);
  setText($("rate-text"), perSecond(steps) + " steps/s, " + perSecond(ends) + " tasks ended/s");
  plot($("rate"), rates, Math.max(...rates, 10), () => false);
}

function plot(svg, values, max, isOver) {
  if (svg.children.length === 0) {
    for (const kind of ["fill", "over"]) {
      const path = document.createElementNS(SVG, "path");
      path.setAttribute("class", kind);
      svg.append(path);
    }
  }
  const end = state.timeMs;
  let [fill, over] = ["", ""];
  values.forEach((value, index) => {
    const { atMs, overMs } = samples[index];
    const x = (at) => (600 - (end - at) / WINDOW_MS * 600).toFixed(1);
    const y = (60 - Math.min(value / max, 1) * 58 - (value > 0 ? 1 : 0)).toFixed(1);
    const bar = "M" + x(Math.max(atMs - overMs, end - WINDOW_MS)) + " 60V" + y + "H" + x(atMs) + "V60Z";
    if (isOver(value)) over += bar;
    else fill += bar;
  });
  svg.children[0].setAttribute("d", fill);
  svg.children[1].setAttribute("d", over);
}

// -- Tasks --

function drawTasks() {
  const own = new Set(state.own);
  const list = $("rows");
  const tasks = state.tree.tasks.filter((task) => !own.has(task.id));
  const blocked = new Set(state.blocks.map((block) => block.task?.id));
  const focused = document.activeElement;
  const left = new Set(rows.keys());
  let after = null;
  for (const task of tasks) {
    left.delete(task.id);
    let row = rows.get(task.id);
    if (row === undefined) {
      row = makeRow(task.id);
      rows.set(task.id, row);
    }
    updateRow(row, task, blocked.has(task.id));
    const place = after === null ? list.firstElementChild : after.nextElementSibling;
    // Rows that leave make room first: a row that is moved would lose the focus.
    if (place !== row.element) {
      if (place !== null && left.has(Number(place.dataset.id))) dropUntil(row.element, place, left);
      if ((after === null ? list.firstElementChild : after.nextElementSibling) !== row.element) {
        list.insertBefore(row.element, after === null ? list.firstElementChild : after.nextElementSibling);
      }
    }
    after = row.element;
  }
  for (const id of left) dropRow(id);
  if (focused && !focused.isConnected && wanted !== null) {
    (rows.get(wanted)?.button ?? $("filter")).focus({ preventScroll: true });
  }
  wanted = null;
  drawMore(tasks.length, own);
  filterRows();
  updateTimes();
}

let wanted = null; // id of the row that gets the focus of one that has gone

function dropUntil(element, place, left) {
  while (place !== null && place !== element && left.has(Number(place.dataset.id))) {
    const next = place.nextElementSibling;
    const id = Number(place.dataset.id);
    left.delete(id);
    dropRow(id);
    place = next;
  }
}

function dropRow(id) {
  const { element, button } = rows.get(id);
  if (document.activeElement === button || wanted === id) wanted = neighbour(element);
  element.remove();
  rows.delete(id);
}

/** Id of the row below that is shown, or above; -1 if there is none. */
function neighbour(element) {
  for (const way of ["nextElementSibling", "previousElementSibling"]) {
    for (let other = element[way]; other !== null; other = other[way]) {
      if (!other.hidden) return Number(other.dataset.id);
    }
  }
  return -1;
}

function makeRow(id) {
  const element = make("li", "row");
  element.dataset.id = id;
  const head = make("span", "name");
  const label = name("");
  const tag = make("span", "tag");
  const dot = make("span", "dot");
  head.append(dot, label, make("span", "id", "#" + id), tag);
  const what = make("span", "what");
  const since = make("span", "since");
  const button = make("button", "", "Cancel");
  button.type = "button";
  // The second click of a double click is no answer.
  button.addEventListener("click", (event) => { if (event.detail < 2) press(row); });
  button.addEventListener("blur", () => relax(row));
  element.append(head, what, since, button);
  const row = { id, element, dot, label, tag, what, since, button, task: null, sure: false };
  return row;
}

function updateRow(row, task, isBlocker) {
  row.task = task;
  const { element } = row;
  const mark = task.ring !== null ? "deadlock" : task.cancelling > 0 ? "cancelling" : isBlocker ? "blocked" : "";
  if (element.dataset.mark !== mark) element.dataset.mark = mark;
  if (element.dataset.state !== task.state) element.dataset.state = task.state;
  element.style.setProperty("--depth", Math.min(task.depth, 8));
  setText(row.label, task.name);
  setText(row.tag, mark === "deadlock" ? "deadlocked" : mark === "cancelling" ? "being cancelled" : mark === "blocked" ? "blocked the loop" : "");
  row.dot.title = task.state;
  describe(row.what, task);
  if (!row.sure) row.button.setAttribute("aria-label", "Cancel task " + task.name.slice(0, 60));
}

/** Name of a wait, such as "Queue #3.get". */
function waitName({ kind, target }) {
  if (target === null || kind === "task") return target ?? kind;
  const [owner, method] = kind.split(".");
  return method !== undefined && target.startsWith(owner) ? target + "." + method : kind + " of " + target;
}

function describe(element, task) {
  const parts = task.waits.map((wait) => {
    const what = waitName(wait);
    const holders = wait.heldBy.slice(0, 3).map((holder) => holder.name);
    const more = wait.holders - holders.length;
    if (more > 0) holders.push(more + " more");
    const by = wait.kind.endsWith(".acquire") ? ", held by " : ", by ";
    return what + (holders.length === 0 || wait.kind === "task" ? "" : by + holders.join(", "));
  });
  let text = parts.length === 0 ? task.state : "waits for " + parts.join(" and ");
  const place = task.place ?? task.madeAt;
  if (place !== null) text += " · " + (task.place === null ? "made " : "") + "at " + place.file.split("/").at(-1) + ":" + place.line;
  if (task.hidden !== null) text += " · " + plural(task.hidden.tasks, "more task") + " under it: " + kinds(task.hidden);
  setText(element, text);
  if (element.title !== text) element.title = text;
}

function kinds({ waitingFor }) {
  return Object.entries(waitingFor).sort(([, a], [, b]) => b - a).slice(0, 5)
    .map(([kind, count]) => count + " wait for " + kind).join(", ");
}

function updateTimes() {
  const now = loopTime();
  for (const { task, since } of rows.values()) {
    const wait = task.waits[0];
    // Waits that began before the page was opened were not timed.
    setText(since, wait === undefined
      ? ""
      : wait.sinceMs === null
      ? "> " + time(Math.max(now - state.watchedSinceMs, 1))
      : time(Math.max(now - wait.sinceMs, 0)));
  }
}

function drawMore(count, own) {
  const { tree } = state;
  const more = tree.total - own.size - count;
  setText($("more"), more > 0
    ? plural(more, "more task") + ", not listed" + (tree.hidden === null ? "" : ": " + kinds(tree.hidden))
    : count === 0 ? "No tasks." : "");
}

function filterRows() {
  const text = $("filter").value.trim().toLowerCase();
  for (const { element, task } of rows.values()) {
    const all = (element.textContent + " " + task.state).toLowerCase();
    element.hidden = text !== "" && !all.includes(text);
  }
}
$("filter").addEventListener("input", filterRows);

// -- Cancelling --

function press(row) {
  if (!row.sure) {
    row.sure = true;
    row.button.className = "sure";
    setText(row.button, "Sure?");
    row.button.setAttribute("aria-label", "Press again to cancel task " + row.task.name.slice(0, 60));
    return;
  }
  relax(row);
  cancel(row.id, row.task.name.slice(0, 60));
}

function relax(row) {
  if (!row.sure) return;
  row.sure = false;
  row.button.className = "";
  setText(row.button, "Cancel");
  row.button.setAttribute("aria-label", "Cancel task " + row.task.name.slice(0, 60));
}

async function cancel(id, label) {
  let text;
  try {
    const response = await fetch("/tasks/" + id + "/cancel", {
      method: "POST",
      headers: { authorization: "Bearer " + token },
    });
    text = (await response.json()).message;
  } catch {
    text = "no connection";
  }
  setText($("said"), label + ": " + text);
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.key === "/" && document.activeElement !== $("filter")) {
    event.preventDefault();
    $("filter").focus();
    return;
  }
  const row = document.activeElement?.closest?.(".row");
  if (event.key === "Enter" && event.repeat && row) { event.preventDefault(); return; }
  if (event.key === "Escape" && row) { relax(rows.get(Number(row.dataset.id))); return; }
  const isInList = row || document.activeElement === $("filter");
  if (!isInList || !["ArrowDown", "ArrowUp", "Home", "End"].includes(event.key)) return;
  if (!row && event.key !== "ArrowDown") return;
  const all = [...$("rows").children].filter((element) => !element.hidden);
  const at = all.indexOf(row);
  const next = event.key === "Home" ? 0 : event.key === "End" ? all.length - 1 : event.key === "ArrowDown" ? at + 1 : at - 1;
  event.preventDefault();
  if (next < 0) $("filter").focus();
  else all[next]?.querySelector("button").focus();
});

// -- Supervisors and pools --

const drawn = { supervisors: "", pools: "" };

function drawSupervisors() {
  const { supervisors } = state;
  $("supervisors").hidden = supervisors.length === 0;
  alone();
  const key = JSON.stringify(supervisors, (name, value) => name === "restartInMs" && value !== null ? Math.ceil(value / 1000) : value);
  if (key === drawn.supervisors) return;
  drawn.supervisors = key;
  $("supervisor-list").replaceChildren(...supervisors.map((supervisor) => {
    const box = make("div");
    box.append(supervisorHead(supervisor, supervisor.name), children(supervisor));
    return box;
  }));
}

function alone() {
  $("columns").classList.toggle("alone", $("supervisors").hidden && $("pools").hidden);
}

function supervisorHead(supervisor, label) {
  const head = make("p", "top");
  const strong = make("b");
  strong.append(name(label));
  const restarts = supervisor.restarts > 0 ? ", " + plural(supervisor.restarts, "restart") : "";
  head.append(strong, make("span", "quiet", " " + supervisor.strategy + ", " + supervisor.state + restarts));
  if (supervisor.error !== null) {
    const error = make("span", "tag");
    error.dataset.level = "error";
    error.append(" ", name(supervisor.error));
    head.append(error);
  }
  return head;
}

function children(supervisor) {
  const list = make("ul", "tree");
  for (const child of supervisor.children) {
    const item = make("li", child.trouble ?? "");
    if (child.supervisor !== null) {
      item.append(supervisorHead(child.supervisor, child.id), children(child.supervisor));
    } else {
      const when = child.restartInMs === null ? "" : " in " + Math.ceil(child.restartInMs / 1000) + " s";
      item.append(name(child.id), make("span", "quiet", " " + child.state + when + (child.restarts > 0 ? ", " + plural(child.restarts, "restart") : "")));
    }
    if (child.trouble !== null && child.lastEnd !== null) {
      const note = make("span", "note");
      note.append(name(child.lastEnd));
      item.append(note);
    }
    list.append(item);
  }
  if (supervisor.hidden > 0) list.append(make("li", "quiet", supervisor.hidden + " more, not listed"));
  return list;
}

function drawPools() {
  const pools = Object.entries(state.pools);
  $("pools").hidden = pools.length === 0;
  alone();
  const key = JSON.stringify(pools);
  if (key === drawn.pools) return;
  drawn.pools = key;
  $("pool-list").replaceChildren(...pools.map(([label, stats]) => {
    const table = make("table");
    const caption = make("caption");
    caption.append(name(label));
    table.append(caption);
    const { workers } = stats;
    const lines = [
      ["workers", workers.busy + " busy, " + workers.idle + " idle" + (workers.starting + workers.stopping > 0 ? ", " + (workers.starting + workers.stopping) + " changing" : "")],
      ["jobs", stats.running + " running, " + stats.queued + " queued"],
      ["ended", stats.done + " done, " + stats.failed + " failed, " + stats.cancelled + " cancelled, " + stats.crashed + " crashed"],
      ["wait", stats.waitMs.p50 === null ? "–" : "median " + time(stats.waitMs.p50) + ", p99 " + time(stats.waitMs.p99)],
      ["run", stats.runMs.p50 === null ? "–" : "median " + time(stats.runMs.p50) + ", p99 " + time(stats.runMs.p99)],
    ];
    for (const [head, text] of lines) {
      const line = table.insertRow();
      line.append(make("th", "", head), make("td", "", text));
    }
    return table;
  }));
}
`;
