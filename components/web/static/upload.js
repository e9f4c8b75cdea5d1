// The page that uploads a data set: a file a request, those that are there already left out,
// so that a broken upload is gone on with by choosing the same folder again.
const token = document.querySelector('meta[name="csrf-token"]').content;
const element = (id) => document.getElementById(id);
const form = element("upload");
const alertBox = form.querySelector('[role="alert"]');
const AT_ONCE = 4;
const MOST_TRIES = 3;
const MOST_NAMED = 20;
const IMAGE = /\.(jpe?g|png|webp|bmp|gif|tiff?)$/i;
let paused = false;

async function ask(method, address, body, type = "application/json") {
  const response = await fetch(`/api/v1/datasets${address}`, {
    method,
    headers: body === undefined ? { "x-csrf-token": token } : { "x-csrf-token": token, "content-type": type },
    body,
  });
  const said = await response.json().catch(() => ({}));
  if (response.ok) return said;
  const err = new Error(said.message || `HTTP ${response.status}`);
  err.status = response.status;
  err.wait = Number(response.headers.get("retry-after")) || 1;
  throw err;
}

// Of a chosen folder its own name goes, unless it is the class itself.
function place(file, className) {
  const parts = file.webkitRelativePath.split("/").filter(Boolean);
  if (parts.length > 2) parts.shift();
  return parts.length > 1 ? parts.join("/") : `${className}/${file.name}`;
}

function chosen() {
  const className = element("class").value.trim();
  const found = [];
  const leftOut = [];
  for (const file of [...element("folder").files, ...element("files").files]) {
    const path = place(file, className);
    if (file.name.startsWith(".")) continue;
    if (!IMAGE.test(file.name)) leftOut.push(`${path}: no image`);
    else if (path.startsWith("/")) leftOut.push(`${file.name}: in no class; name the class above`);
    else found.push({ path, file });
  }
  return { found, leftOut };
}

function tellChosen() {
  const { found, leftOut } = chosen();
  const classes = new Set(found.map(({ path }) => path.slice(0, path.lastIndexOf("/"))));
  element("chosen").textContent =
    `${found.length} images of ${classes.size} classes chosen` + (leftOut.length ? `; ${leftOut.length} files are left out.` : ".");
}

async function put(name, dataset, path, file) {
  if (file.size > dataset.direct_bytes && dataset.uploads) {
    const { url, fields } = await ask("POST", `/${name}/uploads`, JSON.stringify({ path }));
    const body = new FormData();
    for (const [key, value] of Object.entries(fields)) body.append(key, value);
    body.append("file", file);
    const response = await fetch(url, { method: "POST", body });
    if (!response.ok) throw Object.assign(new Error("storage refuses it"), { status: response.status, wait: 1 });
    return;
  }
  if (file.size > dataset.most_bytes) {
    throw Object.assign(new Error(`larger than ${dataset.most_bytes >> 20} MB`), { status: 413 });
  }
  await ask("POST", `/${name}/files?path=${encodeURIComponent(path)}`, file, "application/octet-stream");
}

// Tries again what may go well the next time; says what never will.
async function bring(name, dataset, path, file) {
  for (let tries = 1; ; tries += 1) {
    try {
      await put(name, dataset, path, file);
      return "";
    } catch (err) {
      const isFinal = err.status && err.status < 500 && err.status !== 429;
      if (isFinal || tries === MOST_TRIES) return `${path}: ${err.message}`;
      await new Promise((go) => setTimeout(go, 1000 * (err.wait ?? 1) * tries));
    }
  }
}

function progress(done, total) {
  const bar = element("bar");
  bar.hidden = false;
  bar.querySelector("span").textContent = `${done} of ${total} images`;
  bar.querySelector("progress").max = total || 1;
  bar.querySelector("progress").value = done;
}

async function upload(name) {
  const dataset = await ask("POST", "", JSON.stringify({ name }));
  const { found, leftOut } = chosen();
  const there = new Map(dataset.files.map(({ path, size }) => [path, size]));
  const todo = found.filter(({ path, file }) => there.get(path) !== file.size);
  let done = found.length - todo.length;
  progress(done, found.length);
  const work = async () => {
    while (todo.length && !paused) {
      const { path, file } = todo.shift();
      const problem = await bring(name, dataset, path, file);
      if (problem) leftOut.push(problem);
      done += 1;
      progress(done, found.length);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return leftOut;
}

function rows(table, lines) {
  table.replaceChildren(
    ...lines.map(([folder, images]) => {
      const row = document.createElement("tr");
      const head = document.createElement("th");
      head.scope = "row";
      head.textContent = folder;
      const cell = document.createElement("td");
      cell.className = "number";
      cell.textContent = images;
      row.append(head, cell);
      return row;
    }),
  );
}

function tellHeld(dataset, leftOut) {
  element("held").hidden = false;
  const classes = Object.entries(dataset.classes);
  element("held-state").textContent =
    `${dataset.name} holds ${dataset.count} images in ${classes.length} folders` + (dataset.is_complete ? " and is complete." : "; it is open.");
  rows(element("held").querySelector("tbody"), classes);
  const list = element("left-out");
  list.hidden = !leftOut.length;
  const named = leftOut.slice(0, MOST_NAMED);
  if (leftOut.length > MOST_NAMED) named.push(`and ${leftOut.length - MOST_NAMED} more`);
  list.querySelector("ul").replaceChildren(
    ...named.map((text) => Object.assign(document.createElement("li"), { textContent: text })),
  );
  const complete = element("complete");
  complete.hidden = dataset.is_complete || !dataset.count;
  complete.dataset.name = dataset.name;
  complete.dataset.count = dataset.count;
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const name = element("name").value.trim();
  alertBox.textContent = "";
  paused = false;
  element("send").disabled = true;
  element("stop").hidden = false;
  try {
    const leftOut = await upload(name);
    tellHeld(await ask("GET", `/${name}`), leftOut);
    if (paused) element("chosen").textContent = "Paused; upload again to go on.";
  } catch (err) {
    alertBox.textContent = err.message;
  }
  element("send").disabled = false;
  element("stop").hidden = true;
});

element("stop").addEventListener("click", () => {
  paused = true;
});

element("complete").addEventListener("click", async ({ target }) => {
  const { name, count } = target.dataset;
  if (!window.confirm(`Complete ${name} with ${count} images? It never changes after that.`)) return;
  try {
    tellHeld(await ask("POST", `/${name}/complete`, JSON.stringify({ files: Number(count) })), []);
  } catch (err) {
    alertBox.textContent = err.message;
  }
});

for (const id of ["folder", "files", "class"]) element(id).addEventListener("change", tellChosen);
