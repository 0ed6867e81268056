// Talks to the API as any other client does: submits, waits, shows. Texts go in as texts, never as HTML.

const WAIT_SECONDS = 20;
const RETRY_MS = 2000;
const find = (id) => document.getElementById(id);
const form = find("submit");

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

async function call(path, options) {
  const response = await fetch(path, options);
  const document = response.status === 204 ? null : await response.json();
  if (response.ok) return document;
  const lines = (document.errors ?? []).map((error) => `${error.pointer}: ${error.detail}`);
  throw new Error(lines.length ? lines.join("\n") : `${document.title}: ${document.detail}`);
}

async function loadPipelines() {
  const { pipelines } = await call("/v1/pipelines");
  const options = pipelines.map((each) => element("option", { value: each.name, title: each.description }, each.name));
  find("pipeline").replaceChildren(...options);
  find("pipeline").value = "analyze";
}

async function submit(event) {
  event.preventDefault();
  const body = new FormData(form);
  if (!body.get("callback_url")) body.delete("callback_url");
  const button = form.querySelector("button");
  button.disabled = true;
  find("problem").textContent = "";
  try {
    const job = await call("/v1/jobs", { method: "POST", body });
    form.reset();
    find("pipeline").value = job.pipeline;
    showChosen();
    follow(job);
  } catch (error) {
    find("problem").textContent = error.message;
  } finally {
    button.disabled = false;
  }
}

async function follow(job) {
  const card = find("job-template").content.firstElementChild.cloneNode(true);
  find("jobs").prepend(card);
  card.querySelector(".cancel").addEventListener("click", () => cancel(card, job));
  show(card, job);
  while (!["done", "failed", "canceled"].includes(job.status)) {
    try {
      job = await call(`${job.links.self}?wait=${WAIT_SECONDS}`);
      show(card, job);
    } catch (error) {
      find("problem").textContent = error.message;
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }
}

async function cancel(card, job) {
  try {
    show(card, await call(job.links.cancel, { method: "POST" }));
  } catch (error) {
    find("problem").textContent = error.message;
  }
}

function show(card, job) {
  card.querySelector(".pipeline").textContent = job.pipeline ?? "steps";
  showStatus(card.querySelector("h2 .status"), job);
  const link = card.querySelector(".self");
  link.href = job.links.self;
  link.textContent = job.id;
  card.querySelector("progress").value = job.progress.percent;
  card.querySelector(".cancel").hidden = Boolean(job.completed_at);
  card.querySelector(".images").replaceChildren(...job.images.map(image));
}

function image(each) {
  const section = find("image-template").content.firstElementChild.cloneNode(true);
  section.querySelector(".name").textContent = each.name ?? `Image ${each.id}`;
  showStatus(section.querySelector(".status"), each);
  section.querySelector(".error").textContent = each.error ? `${each.error.code}: ${each.error.detail}` : "";
  section.querySelector(".artifacts").append(...each.artifacts.map(artifact));
  section.querySelector(".results").append(...Object.entries(each.results).map(([step, data]) => result(step, data)));
  return section;
}

function showStatus(place, each) {
  place.textContent = each.status;
  place.dataset.status = each.status;
}

function artifact(each) {
  const about = `${each.name} · ${each.bytes.toLocaleString()} bytes`;
  const link = element("a", { href: each.url, target: "_blank", rel: "noopener" }, about);
  const picture = each.media_type.startsWith("image/") && each.media_type !== "image/svg+xml";
  const shown = picture ? [element("img", { src: each.url, alt: each.name, loading: "lazy" })] : [];
  return element("figure", {}, ...shown, element("figcaption", {}, link));
}

function result(step, data) {
  const rows = Object.entries(data).map(([name, value]) =>
    element("tr", {}, element("th", {}, name.replaceAll("_", " ")), element("td", {}, ...readable(name, value))));
  return element("details", { open: step === "metadata" }, element("summary", {}, step), element("table", {}, ...rows));
}

function readable(name, value) {
  if (name === "dominant_colors") return value.flatMap(swatch);
  if (Array.isArray(value)) return [value.every(isPlain) ? value.join(", ") : `${value.length} entries`];
  if (value !== null && typeof value === "object") {
    const lines = Object.entries(value).map(([key, inner]) => `${key}: ${JSON.stringify(inner)}`);
    return [lines.join(", ") || "none"];
  }
  return [String(value ?? "none")];
}

function isPlain(value) {
  return value === null || typeof value !== "object";
}

function swatch(colour) {
  const square = element("span", { className: "swatch", title: colour });
  square.style.backgroundColor = colour;
  return [square, `${colour} `];
}

function showChosen() {
  const names = [...find("file").files].map((file) => file.name);
  find("chosen").textContent = names.length ? names.join(", ") : "Drop images here, or click to choose";
}

for (const type of ["dragover", "dragleave", "drop"]) {
  find("drop").addEventListener(type, (event) => {
    event.preventDefault();
    find("drop").classList.toggle("over", type === "dragover");
    if (type === "drop") {
      find("file").files = event.dataTransfer.files;
      showChosen();
    }
  });
}
find("file").addEventListener("change", showChosen);
form.addEventListener("submit", submit);
loadPipelines().catch((error) => { find("problem").textContent = error.message; });
