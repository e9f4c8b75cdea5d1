// Forms of the operator's pages: <form data-api="/api/v1/..." data-method="PUT" data-done="/...">
// sends its named inputs as JSON and goes to data-done, or loads the page anew; what is refused
// is said in the form's [role=alert]. data-ask: a question to say yes to first.
const token = document.querySelector('meta[name="csrf-token"]').content;

export async function send(method, address, body) {
  const headers = { "x-csrf-token": token };
  if (body !== undefined) headers["content-type"] = "application/json";
  const response = await fetch(address, {
    method,
    headers,
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const said = response.headers.get("content-type")?.startsWith("application/json")
    ? await response.json()
    : {};
  if (!response.ok) throw new Error(said.message || said.error || `HTTP ${response.status}`);
  return said;
}

function values(form) {
  const found = {};
  for (const field of form.elements) {
    if (!field.name || field.disabled || (field.type === "radio" && !field.checked)) continue;
    const value = field.type === "checkbox" ? field.checked : field.value;
    const [group, name] = field.name.split(".");
    if (name === undefined) found[group] = value;
    else (found[group] ??= {})[name] = value;
  }
  return found;
}

async function submit(form, button) {
  const alert = form.querySelector('[role="alert"]');
  if (form.dataset.ask && !window.confirm(form.dataset.ask)) return;
  if (alert) alert.textContent = "";
  if (button) button.disabled = true;
  try {
    const body = values(form);
    if (button?.name) body[button.name] = button.value;
    const said = await send(form.dataset.method || "POST", form.dataset.api, body);
    const done = form.dataset.done;
    if (done) window.location.assign(done.replace("{id}", encodeURIComponent(said.id ?? "")));
    else window.location.reload();
  } catch (err) {
    if (alert) alert.textContent = err.message;
    if (button) button.disabled = false;
  }
}

document.addEventListener("submit", (event) => {
  if (!event.target.matches("form[data-api]")) return;
  event.preventDefault();
  submit(event.target, event.submitter);
});
