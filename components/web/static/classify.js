// The consumer's page: images in, predictions out, one after the other, a few at a time.
import { shrunk, thumbnail } from "./shrink.js";
import { drawHeat } from "./heat.js";

const token = document.querySelector('meta[name="csrf-token"]').content;
const status = document.getElementById("status");
const results = document.getElementById("results");
const drop = document.getElementById("drop");
const AT_ONCE = 2;
const MOST_TRIES = 30; // of a model that is being started: a minute and a half
const KEPT = 30;
const HISTORY = "visionloop-history";
const waiting = [];
const problems = [];
let running = 0;
let done = 0;
let total = 0;

function percent(share) {
  return `${(100 * share).toFixed(1)}%`;
}

const pause = (ms) => new Promise((go) => setTimeout(go, ms));

// --- asking

async function ask(address, image, headers = {}) {
  for (let tries = 1; ; tries += 1) {
    let response;
    try {
      response = await fetch(address, {
        method: "POST",
        headers: { "x-csrf-token": token, "content-type": image.type, ...headers },
        body: image,
      });
    } catch {
      throw new Error("the server does not answer; is your connection up?");
    }
    const isJson = response.headers.get("content-type")?.startsWith("application/json");
    const said = isJson ? await response.json() : {};
    if (response.ok) return said;
    const isWaking = said.error === "Waking" && tries < MOST_TRIES;
    if (!isWaking) throw new Error(said.message || said.error || `the server says ${response.status}`);
    status.textContent = "The model is being started. Your image is sent again by itself.";
    await pause(1000 * Number(response.headers.get("retry-after") || 3));
  }
}

// --- results

function bar({ label, probability }) {
  const row = document.createElement("li");
  const name = document.createElement("span");
  const meter = document.createElement("progress");
  const figure = document.createElement("span");
  name.textContent = label;
  meter.max = 1;
  meter.value = probability;
  meter.setAttribute("aria-label", label);
  figure.textContent = percent(probability);
  row.append(name, meter, figure);
  return row;
}

function show(image, file, said) {
  const card = document.getElementById("result").content.cloneNode(true).firstElementChild;
  const picture = card.querySelector("img");
  picture.src = URL.createObjectURL(image);
  picture.alt = `${file.name || "your image"}: ${said.label}`;
  card.querySelector("h3").textContent = `${said.label}, ${percent(said.confidence)}`;
  card.querySelector(".bars").append(...said.probabilities.slice(0, 8).map(bar));
  card.querySelector(".facts").textContent =
    `model version ${said.model_version}, ${said.latency_ms.toFixed(0)} ms, ${file.name || "pasted image"}`;
  if (said.is_drift) {
    const notice = card.querySelector(".notice");
    notice.hidden = false;
    notice.textContent = "Images lately look unlike those the model learned from; be wary of its answers.";
  }
  card.querySelector(".explain").addEventListener("click", (event) => explain(card, image, event.target));
  listen(card, image, said);
  results.prepend(card);
}

async function explain(card, image, button) {
  const canvas = card.querySelector("canvas");
  const text = card.querySelector(".explained");
  if (!button.dataset.ready) {
    button.disabled = true;
    text.hidden = false;
    text.textContent = "Covering one place after another …";
    try {
      const said = await ask("/api/v1/predictions?explain=true", image);
      const picture = card.querySelector("img");
      await picture.decode(); // its size is known only then
      const isClear = drawHeat(canvas, picture, said.explanation);
      button.dataset.ready = "yes";
      text.textContent = isClear
        ? "Warm: covering this place makes the model less sure. Cool: more sure. Grey: not looked at."
        : "The model stays as sure whichever place is covered: no single one decides. Grey: not looked at.";
    } catch (err) {
      text.textContent = err.message;
      button.disabled = false;
      return;
    }
    button.disabled = false;
  }
  const isShown = canvas.hidden;
  canvas.hidden = !isShown;
  text.hidden = !isShown;
  button.setAttribute("aria-pressed", String(isShown));
}

function listen(card, image, said) {
  const form = card.querySelector("form");
  const other = form.querySelector(".other");
  const wrong = form.querySelector(".wrong");
  const choice = form.querySelector("select");
  for (const { label } of said.probabilities) {
    if (label !== said.label) choice.add(new Option(label, label));
  }
  form.querySelector(".right").addEventListener("click", () => report(form, image, said, said.label));
  wrong.addEventListener("click", () => {
    other.hidden = !other.hidden;
    wrong.setAttribute("aria-expanded", String(!other.hidden));
    if (!other.hidden) choice.focus();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    report(form, image, said, choice.value);
  });
}

async function report(form, image, said, label) {
  const thanks = form.querySelector(".thanks");
  const fields = form.querySelector("fieldset");
  fields.disabled = true;
  try {
    await ask(`/api/v1/feedback?said=${encodeURIComponent(label)}`, image, { "x-receipt": said.receipt });
    thanks.className = "thanks good";
    thanks.textContent = `Thank you. People will look at it; you said ${label}.`;
  } catch (err) {
    thanks.className = "thanks bad";
    thanks.textContent = err.message;
    fields.disabled = false;
  }
}

// --- history of this visit: this tab's, gone when it is closed

function remembered() {
  try {
    return JSON.parse(sessionStorage.getItem(HISTORY)) || [];
  } catch {
    return [];
  }
}

async function remember(image, file, said) {
  const entry = { name: file.name || "pasted image", label: said.label, confidence: said.confidence, picture: await thumbnail(image) };
  try {
    sessionStorage.setItem(HISTORY, JSON.stringify([entry, ...remembered()].slice(0, KEPT)));
  } catch {
    // The browser keeps nothing, or has no room: the results above stay.
  }
}

function showHistory() {
  const entries = remembered();
  document.getElementById("earlier").hidden = !entries.length;
  document.getElementById("history").replaceChildren(
    ...entries.map((entry) => {
      const row = document.createElement("li");
      const picture = document.createElement("img");
      picture.src = entry.picture;
      picture.alt = "";
      const words = document.createElement("div");
      const name = document.createElement("span");
      words.textContent = `${entry.label}, ${percent(entry.confidence)}`;
      name.textContent = entry.name;
      words.append(name);
      row.append(picture, words);
      return row;
    }),
  );
}

// --- images come in

function add(files) {
  const images = [...files];
  if (!images.length) return;
  if (!running && !waiting.length) {
    problems.length = 0;
    done = 0;
    total = 0;
  }
  total += images.length;
  waiting.push(...images);
  while (running < AT_ONCE && waiting.length) work();
}

async function work() {
  running += 1;
  while (waiting.length) {
    const file = waiting.shift();
    tell();
    try {
      const image = await shrunk(file, Number(drop.dataset.maxMb) * 2 ** 20);
      const said = await ask("/api/v1/predictions", image);
      show(image, file, said);
      await remember(image, file, said);
    } catch (err) {
      problems.push(`${file.name || "pasted image"}: ${err.message}`);
    }
    done += 1;
    tell();
  }
  running -= 1;
}

function tell() {
  const isDone = done === total;
  const good = done - problems.length;
  const words = isDone ? `${good} of ${total} classified.` : `Classifying ${done + 1} of ${total} …`;
  const lines = problems.map((problem) => {
    const line = document.createElement("span");
    line.className = "bad line";
    line.textContent = problem;
    return line;
  });
  status.replaceChildren(words, ...lines);
}

for (const id of ["choose", "photo"]) {
  document.getElementById(id).addEventListener("change", (event) => {
    add(event.target.files);
    event.target.value = "";
  });
}
for (const name of ["dragover", "dragenter"]) {
  drop.addEventListener(name, (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
}
drop.addEventListener("dragleave", () => drop.classList.remove("over"));
drop.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  add(event.dataTransfer.files);
});
document.addEventListener("paste", (event) => add(event.clipboardData.files));
document.getElementById("forget").addEventListener("click", () => {
  sessionStorage.removeItem(HISTORY);
  showHistory();
});
showHistory();
