"use strict";
// The form knows two films and a number; how they were made stays on the server.

const QUESTIONS = {
  naturalness: "How natural is the movement?",
  realism: "How real does the person look?",
  expression: "How well do mouth and expression fit what is said?",
};
const WORDS = ["bad", "poor", "fair", "good", "excellent"];
const REMEMBERED = "facestream.rating.rater";
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

async function ask(path, said) {
  const reply = await fetch(path, {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(said),
  });
  const body = await reply.json();
  if (!reply.ok) throw new Error(body.error);
  return body;
}

function problem(text) {
  byId("problem").hidden = !text;
  byId("problem").textContent = text || "";
}

async function begin() {
  try {
    const state = await ask("/api/session", { consent: true, rater: remembered() });
    rater = state.rater;
    remember(rater);
    take(state);
  } catch (error) {
    alert(`The session could not begin: ${error.message}`);
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
  ended = new Set();
  for (const film of Object.values(films)) { film.pause(); film.currentTime = 0; }
  await Promise.all(Object.values(films).map((film) => film.readyState >= 3 ? null
    : new Promise((go) => { film.addEventListener("canplay", go, { once: true }); film.addEventListener("error", go, { once: true }); })));
  if (films.left.error || films.right.error) { problem("A film could not be loaded. Reload the page to try again."); return; }
  try { await Promise.all(Object.values(films).map((film) => film.play())); } catch { refresh(); }
}

for (const [side, film] of Object.entries(films)) {
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

function button(step, value, text, label) {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = text;
  made.title = made.ariaLabel = label;
  made.dataset.key = key(step);
  made.dataset.value = value;
  if (!step.side) made.className = "wide";
  made.addEventListener("click", () => { choose(step, value); made.blur(); });
  return made;
}

function cell(step) {
  const made = document.createElement("td");
  made.dataset.cell = key(step);
  WORDS.forEach((word, index) => made.append(button(step, index + 1, String(index + 1), `${step.side}: ${word}`)));
  return made;
}

function draw() {
  const table = document.createElement("table");
  for (const scale of scales) {
    const row = table.insertRow();
    const heading = document.createElement("th");
    heading.textContent = QUESTIONS[scale] || scale;
    row.append(cell({ scale, side: "left" }), heading, cell({ scale, side: "right" }));
  }
  const words = table.insertRow();
  words.className = "scale";
  for (const text of ["1 bad · 5 excellent", "", "1 bad · 5 excellent"]) words.insertCell().textContent = text;
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
  byId("send").disabled = !complete() || sending;
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

document.addEventListener("keydown", (event) => {
  if (byId("rating").hidden || event.ctrlKey || event.altKey || event.metaKey) return;
  const step = steps[Math.min(current, steps.length - 1)];
  const preferences = { ArrowLeft: "left", ArrowRight: "right", ArrowDown: "none" };
  if (/^[1-5]$/.test(event.key) && step.side) choose(step, Number(event.key));
  else if (event.key in preferences) choose({ scale: "preference" }, preferences[event.key]);
  else if (event.key === " ") play();
  else if (event.key === "Enter") send();
  else if (event.key === "Backspace") {
    const last = steps.map((other, index) => chosen[key(other)] === undefined ? -1 : index).reduce((a, b) => Math.max(a, b), -1);
    if (last >= 0) { delete chosen[key(steps[last])]; current = last; refresh(); }
  } else return;
  event.preventDefault();
});

byId("consent").addEventListener("change", () => { byId("begin").disabled = !byId("consent").checked; });
byId("begin").addEventListener("click", begin);
byId("play").addEventListener("click", (event) => { play(); event.currentTarget.blur(); });
byId("send").addEventListener("click", send);
for (const input of document.querySelectorAll('input[name="heard"]')) input.addEventListener("change", () => { hear(); input.blur(); });
show("welcome");
