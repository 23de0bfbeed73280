// The administrator's page: buttons, and a look at the server now and then.

const path = document.body.dataset.path;
const element = (id) => document.getElementById(id);

async function post(action, body) {
  const response = await fetch(`${path}/${action}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  const value = await response.json();
  if (!response.ok) throw new Error(value.found || "This did not work. Load the page again.");
  return value;
}

async function attempt(work) {
  try {
    element("notice").hidden = true;
    await work();
    await refresh();
  } catch (error) {
    element("notice-text").textContent = error.message;
    element("notice").hidden = false;
  }
}

async function refresh() {
  const response = await fetch(path);
  if (!response.ok) throw new Error("The server does not answer. What is shown may be old.");
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  element("readers").replaceWith(page.getElementById("readers"));
}

function tell(name, value) {
  element("fresh-text").textContent = `The link of ${name}:`;
  element("fresh-link").value = location.origin + value.path;
  element("fresh").hidden = false;
  element("fresh-link").focus();
  element("fresh-link").select();
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-do]");
  if (!button) return;
  const { do: action, reader, name } = button.dataset;
  const question = action === "link"
    ? `Give ${name} a new link? The older one stops working at once.`
    : `Exclude ${name}? The link stops working at once; the answers stay. A new link lets them in again.`;
  if (!confirm(question)) return;
  attempt(async () => {
    const value = await post(action, { reader: Number(reader) });
    if (value.path) tell(name, value);
  });
});

element("add").addEventListener("submit", (event) => {
  event.preventDefault();
  const form = new FormData(event.target);
  const years = form.get("years");
  const name = form.get("name");
  attempt(async () => {
    tell(name, await post("add", { name, group: form.get("group"), years: years === "" ? null : Number(years) }));
    event.target.reset();
  });
});

element("copy").addEventListener("click", () => {
  element("fresh-link").select();
  if (navigator.clipboard) navigator.clipboard.writeText(element("fresh-link").value).catch(() => {});
  element("copy").textContent = "Copied";
  setTimeout(() => { element("copy").textContent = "Copy"; }, 1500);
});

setInterval(() => {
  const busy = document.activeElement && element("readers").contains(document.activeElement);
  if (!document.hidden && !busy) refresh().catch(() => {});
}, 15000);
