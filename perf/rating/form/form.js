"use strict";
// The form knows two films and a number; how they were made stays on the server.

const QUESTIONS = {
  naturalness: "How natural is the movement?",
  realism: "How real does the person look?",
  expression: "How well do mouth and expression fit what is said?",
};
const WORDS = ["bad", "poor", "fair", "good", "excellent"];
const REMEMBERED = "facestream.rating.rater";
const NARROWEST = 1100; // CSS pixels: two films of 512 beside each other; README.md asks for it
const byId = (id) => document.getElementById(id);
const films = { left: byId("left"), right: byId("right") };

let rater = null;
let trial = null;
let scales = [];
let steps = []; // what is still to be chosen, in order: {scale, side}, the last {scale: "preference"}
let chosen = {};
let current = 0;
let plays = 0;
let ended = new Set();
let since = 0;
let sending = false;

function show(id) {
  for (const main of document.querySelectorAll("main")) main.hidden = main.id !== id;
  byId("number").textContent = rater ? `number ${rater}` : "";
}

function remember(value) {
  try { localStorage.setItem(REMEMBERED, value); } catch { /* a private window: one sitting then */ }
}

function remembered() {
  try { return localStorage.getItem(REMEMBERED); } catch { return null; }
}

function forget() {
  try { localStorage.removeItem(REMEMBERED); } catch { /* nothing was remembered */ }
}

function welcome() {
  rater = remembered();
  byId("known").hidden = !rater;
  byId("known").querySelector("b").textContent = rater || "";
  byId("consent").checked = false;
  ready();
  show("welcome");
}

function ready() {
  const wide = window.innerWidth >= NARROWEST;
  byId("narrow").hidden = wide;
  byId("narrow").textContent = `This window is ${window.innerWidth} pixels wide, and the films need ${NARROWEST}. ` +
    "Make it wider, zoom out, or take a larger screen: on a small one the films look better than they are.";
  allow("begin", wide && byId("consent").checked);
}

async function ask(path, said) {
  const reply = await fetch(path, {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(said),
  });
  const body = await reply.json().catch(() => ({})); // a proxy's own page, where the server is away
  if (!reply.ok) throw new Error(body.error || `status ${reply.status}`);
  return body;
}

// Firefox gives the keys to nobody while a button that is disabled has the focus.
function allow(id, may) {
  if (!may) byId(id).blur();
  byId(id).disabled = !may;
}

function problem(text) {
  byId("problem").hidden = !text;
  byId("problem").textContent = text || "";
}

async function begin() {
  allow("begin", false); // a second click would make a second rater
  problem("");
  try {
    const state = await ask("/api/session", { consent: true, rater: remembered() });
    rater = state.rater;
    remember(rater);
    take(state);
  } catch (error) {
    problem(`The session could not begin (${error.message}). Try again.`);
    ready();
  }
}

function take(state) {
  if (!state.trial) { trial = null; show("thanks"); return; }
  trial = state.trial;
  scales = state.scales;
  steps = [...scales.flatMap((scale) => [{ scale, side: "left" }, { scale, side: "right" }]), { scale: "preference" }];
  chosen = {};
  current = 0;
  plays = 0;
  since = performance.now();
  byId("progress").max = state.trials;
  byId("progress").value = trial.number;
  byId("count").textContent = `pair ${trial.number + 1} of ${state.trials}`;
  for (const side of ["left", "right"]) films[side].src = trial[side];
  document.querySelector('input[name="heard"][value="left"]').checked = true;
  hear();
  for (const path of trial.soon || []) fetch(path).catch(() => {}); // so that the next pair begins at once
  draw();
  show("rating");
  problem("");
  play();
}

function hear() {
  const side = document.querySelector('input[name="heard"]:checked').value;
  films.left.muted = side !== "left";
  films.right.muted = side !== "right";
}

async function play() {
  window.scrollTo(0, 0); // whoever answers below is to see the films again
  ended = new Set();
  for (const film of Object.values(films)) { film.pause(); film.currentTime = 0; }
  await Promise.all(Object.values(films).map((film) => film.readyState >= 3 ? null
    : new Promise((go) => { film.addEventListener("canplay", go, { once: true }); film.addEventListener("error", go, { once: true }); })));
  if (films.left.error || films.right.error) { problem("A film could not be loaded. Reload the page to try again."); return; }
  try { await Promise.all(Object.values(films).map((film) => film.play())); } catch { refresh(); }
}

for (const [side, film] of Object.entries(films)) {
  film.addEventListener("play", refresh);
  film.addEventListener("ended", () => {
    ended.add(side);
    if (ended.size === 2) { plays += 1; refresh(); }
  });
}

// Both start together, but not to the frame: the one that is not heard runs a little faster or slower until it is beside.
setInterval(() => {
  const heard = films.left.muted ? films.right : films.left;
  const silent = films.left.muted ? films.left : films.right;
  if (heard.paused || silent.paused) return;
  heard.playbackRate = 1;
  const late = heard.currentTime - silent.currentTime;
  silent.playbackRate = Math.abs(late) < 0.01 ? 1 : 1 + Math.max(-0.2, Math.min(0.2, late));
}, 100);

const key = (step) => step.side ? `${step.side}.${step.scale}` : step.scale;

function choose(step, value) {
  chosen[key(step)] = value;
  const open = steps.findIndex((other) => chosen[key(other)] === undefined);
  current = open === -1 ? steps.length : open;
  refresh();
}

function button(step, value, text, label) { // label: what a screen reader says, and the tooltip
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = text;
  made.title = made.ariaLabel = label;
  made.dataset.key = key(step);
  made.dataset.value = value;
  if (!step.side) made.className = "wide";
  made.addEventListener("click", (event) => { choose(step, value); leave(event); });
  return made;
}

// What was clicked gives the keys back to the form; what was pressed by a key (detail 0) keeps the focus.
function leave(event) {
  if (event.detail > 0) event.currentTarget.blur();
}

function cell(step) {
  const made = document.createElement("td");
  made.dataset.cell = key(step);
  const asked = QUESTIONS[step.scale] || step.scale;
  WORDS.forEach((word, index) => made.append(button(step, index + 1, String(index + 1), `${step.side}, ${word}: ${asked}`)));
  return made;
}

function draw() {
  const table = document.createElement("table");
  const words = table.insertRow();
  words.className = "scale";
  const told = WORDS.map((word, index) => `${index + 1} ${word}`).join(" · ");
  for (const text of [told, "", told]) words.insertCell().textContent = text;
  for (const scale of scales) {
    const row = table.insertRow();
    const heading = document.createElement("th");
    heading.textContent = QUESTIONS[scale] || scale;
    row.append(cell({ scale, side: "left" }), heading, cell({ scale, side: "right" }));
  }
  const row = table.insertRow();
  const heading = document.createElement("th");
  heading.textContent = "Which one is better as a whole?";
  const step = { scale: "preference" };
  const left = row.insertCell(), right = document.createElement("td");
  left.append(button(step, "left", "← left", "the left one"));
  heading.append(document.createElement("br"), button(step, "none", "↓ no difference", "no difference"));
  right.append(button(step, "right", "right →", "the right one"));
  for (const made of [left, heading, right]) made.dataset.cell = "preference";
  row.append(heading, right);
  byId("questions").replaceChildren(table);
  refresh();
}

function complete() {
  return plays > 0 && steps.every((step) => chosen[key(step)] !== undefined);
}

function refresh() {
  const now = current < steps.length ? key(steps[current]) : "";
  for (const made of document.querySelectorAll("#questions button"))
    made.ariaPressed = String(String(chosen[made.dataset.key]) === made.dataset.value);
  for (const made of document.querySelectorAll("#questions [data-cell]"))
    made.classList.toggle("current", made.dataset.cell === now && made.tagName === "TD");
  for (const row of document.querySelectorAll("#questions tr"))
    row.classList.toggle("current", Boolean(row.querySelector(`[data-cell="${now}"]`)));
  const blocked = films.left.paused && !films.left.ended && plays === 0;
  byId("hint").textContent = plays === 0
    ? (blocked ? "Press play to watch." : "Watch to the end; you may answer meanwhile.")
    : now === "preference" ? "← ↓ → choose" : now ? "1 to 5 choose, backspace goes back" : "";
  allow("send", complete() && !sending);
}

async function send() {
  if (!complete() || sending) return;
  sending = true;
  refresh();
  const ratings = { left: {}, right: {} };
  for (const scale of scales) for (const side of ["left", "right"]) ratings[side][scale] = chosen[`${side}.${scale}`];
  const said = { rater, trial: trial.number, ratings, preference: chosen.preference, plays,
    seconds: Math.min(Math.round((performance.now() - since) / 100) / 10, 86400) };
  try {
    const state = await ask("/api/answer", said);
    sending = false;
    take(state);
  } catch (error) {
    sending = false;
    problem(`The answer could not be kept (${error.message}). It is still here: try again.`);
    refresh();
  }
}

// Keys for the whole page. A control that has the focus keeps its own: space and enter press a button, arrows change a radio.
function taken(event) {
  if (event.target.matches("button")) return event.key === " " || event.key === "Enter";
  return event.target.matches("input") && (event.key === " " || event.key.startsWith("Arrow"));
}

function back() {
  const last = steps.findLastIndex((step) => chosen[key(step)] !== undefined);
  if (last >= 0) { delete chosen[key(steps[last])]; current = last; refresh(); }
}

function meaning(name) {
  const preference = { ArrowLeft: "left", ArrowRight: "right", ArrowDown: "none" }[name];
  if (preference) return () => choose({ scale: "preference" }, preference);
  if (/^[1-5]$/.test(name)) return () => { if (steps[current]?.side) choose(steps[current], Number(name)); };
  return { " ": play, Enter: send, Backspace: back }[name];
}

document.addEventListener("keydown", (event) => {
  if (byId("rating").hidden || event.ctrlKey || event.altKey || event.metaKey || taken(event)) return;
  const act = meaning(event.key);
  if (!act) return;
  event.preventDefault();
  if (event.repeat) return; // a key that is held answers once
  act();
  if (act !== play && act !== send) document.querySelector("#questions tr.current")?.scrollIntoView({ block: "nearest" });
});

for (const made of document.querySelectorAll(".other")) made.addEventListener("click", () => { forget(); welcome(); });
byId("consent").addEventListener("change", ready);
window.addEventListener("resize", () => { if (!byId("welcome").hidden) ready(); });
byId("begin").addEventListener("click", begin);
byId("play").addEventListener("click", (event) => { play(); leave(event); });
byId("send").addEventListener("click", (event) => { send(); leave(event); });
for (const input of document.querySelectorAll('input[name="heard"]')) {
  input.addEventListener("change", hear);
  input.addEventListener("click", leave);
}
welcome();
