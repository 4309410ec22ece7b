// The page of `stagewright serve`. Names and messages come from files: they are only ever set as text.

import { drawCurve } from "./curve.js";
import { percent, seconds } from "./figures.js";

const at = (id) => document.getElementById(id);
const FINISHED = ["done", "failed", "cancelled"];
let shownJob = null;
let stream = null;

async function call(method, path, body, headers = {}) {
  const options = { method, headers: { ...headers } };
  if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers["Content-Type"] = "application/json";
  }
  const answer = await fetch(path, options);
  if (answer.status === 401) {
    at("sign-in").hidden = false;
    at("main").hidden = true;
  }
  if (!answer.ok) throw new Error(await problem(answer));
  return answer.json();
}

async function problem(answer) {
  try {
    const { message, place, hint } = (await answer.json()).error;
    return [place ? `${place}: ${message}` : message, hint].filter(Boolean).join(". ");
  } catch {
    return `The service answers ${answer.status}.`;
  }
}

function tell(id, text) {
  at(id).textContent = text;
  at(id).hidden = !text;
}

// What to plan

function addProfile(name, text) {
  const item = document.createElement("li");
  const row = document.createElement("div");
  row.className = "row";
  const nameField = document.createElement("input");
  nameField.value = name;
  nameField.placeholder = "name, as the cluster calls it";
  nameField.setAttribute("aria-label", "Name of the profile");
  const remove = document.createElement("button");
  remove.type = "button";
  remove.className = "quiet";
  remove.textContent = "Remove";
  remove.addEventListener("click", () => item.remove());
  row.append(nameField, remove);
  const textField = document.createElement("textarea");
  textField.rows = 3;
  textField.spellcheck = false;
  textField.value = text;
  textField.setAttribute("aria-label", "Text of the profile");
  item.append(row, textField);
  at("profiles").append(item);
  return nameField;
}

async function takeProfiles(files) {
  for (const file of files) addProfile(file.name, await file.text());
}

async function takeCluster(files) {
  if (files.length) at("cluster").value = await files[0].text();
}

function acceptFiles(zone, input, take) {
  at(input).addEventListener("change", async (event) => {
    await take(event.target.files);
    event.target.value = "";
  });
  for (const kind of ["dragover", "dragleave", "drop"]) {
    at(zone).addEventListener(kind, (event) => {
      event.preventDefault();
      at(zone).classList.toggle("over", kind === "dragover");
      if (kind === "drop") take(event.dataTransfer.files);
    });
  }
}

function asked() {
  const profiles = {};
  for (const item of at("profiles").children) {
    const name = item.querySelector("input").value.trim();
    if (name) profiles[name] = item.querySelector("textarea").value;
  }
  if (!Object.keys(profiles).length) throw new Error("Add a profile first.");
  if (!at("cluster").value.trim()) throw new Error("Describe the cluster first.");
  const constraints = { use_all: at("use-all").checked || null };
  if (at("use-memory").checked) constraints.memory = { use: true };
  if (at("max-stages").value.trim()) constraints.max_stages = number("max-stages");
  const problem = { cluster: at("cluster").value, profiles, constraints };
  const bandwidths = at("bandwidth").value.split(/[\s,;]+/).filter(Boolean).map(Number);
  if (bandwidths.some(Number.isNaN)) throw new Error("The bandwidth is not a number.");
  if (bandwidths.length) problem.bandwidths_bytes_per_s = bandwidths;
  const search = { time_limit_s: number("time-limit") };
  return { problem, planner: at("planner").value, search };
}

function number(id) {
  const value = Number(at(id).value);
  const label = document.querySelector(`label[for="${id}"]`).textContent;
  if (!at(id).value.trim() || Number.isNaN(value)) throw new Error(`${label}: expected a number.`);
  return value;
}

async function ask(event) {
  event.preventDefault();
  tell("ask-error", "");
  at("plan").disabled = true;
  try {
    const job = await call("POST", "/v1/jobs", asked(), { "Idempotency-Key": newKey() });
    follow(job.id);
    at("result").focus();
  } catch (error) {
    tell("ask-error", error.message);
  } finally {
    at("plan").disabled = false;
  }
}

function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// The result

function follow(id) {
  stream?.close();
  shownJob = id;
  history.replaceState(null, "", `#${id}`);
  const points = [];
  let attempt = 0;
  tell("job-error", "");
  at("picture").hidden = true;
  at("notes").replaceChildren();
  drawCurve(at("curve"), points);
  const source = new EventSource(`/v1/jobs/${id}/events`);
  stream = source;
  source.addEventListener("progress", (event) => {
    const point = JSON.parse(event.data);
    if (point.attempt !== attempt) points.length = 0;
    attempt = point.attempt;
    points.push(point);
    drawCurve(at("curve"), points);
  });
  source.addEventListener("state", (event) => {
    const job = JSON.parse(event.data);
    if (FINISHED.includes(job.state)) source.close();
    show(job);
  });
  source.addEventListener("error", () => {
    if (source.readyState === EventSource.CLOSED) tell("job-error", "There is no such job any more.");
  });
}

function show(job) {
  const finished = FINISHED.includes(job.state);
  at("nothing").hidden = true;
  at("job").hidden = false;
  at("state").textContent = sentence(job);
  at("period").textContent = seconds(job.period_s);
  at("bound").textContent = seconds(job.bound_s);
  at("gap").textContent = percent(job.gap);
  at("throughput").textContent = job.period_s ? `${(1 / job.period_s).toPrecision(4)} /s` : "–";
  at("notes").replaceChildren(...[...job.notes, ...(job.error?.notes ?? [])].map(item));
  tell("job-error", job.error ? [job.error.message, job.error.hint].filter(Boolean).join(". ") : "");
  at("cancel").hidden = finished;
  at("cancel").disabled = job.cancel_asked;
  at("curve-figure").hidden = job.kind !== "plan";
  offer(job, finished);
  if (finished) refreshJobs();
}

function item(text) {
  const element = document.createElement("li");
  element.textContent = text;
  return element;
}

function sentence(job) {
  const what = `${job.name}: ${job.layers} layers on ${job.gpus} GPUs, ${job.planner}`;
  if (job.state === "queued") return `${what}. Waiting.`;
  if (job.state === "running") return `${what}. Searching.`;
  if (job.state === "failed") return `${what}. Failed.`;
  const proofs = {
    optimal: "Proven optimal: no plan has a shorter period.",
    infeasible: "Proven: no plan satisfies all the demands.",
    feasible: job.bound_s === null ? "A plan, with no proof." : "The best plan found in the time.",
  };
  const end = job.state === "cancelled" ? "Stopped. " : "";
  return `${what}. ${end}${proofs[job.status] ?? "No plan."}`;
}

const OFFERS = { "get-plan": "plan", "get-report": "report", "get-trace": "trace", "get-svg": "svg", "get-package": "package" };

function offer(job, finished) {
  const has = finished && job.has_plan;
  for (const [link, path] of Object.entries(OFFERS)) {
    at(link).hidden = !has;
    if (has) at(link).href = `/v1/jobs/${job.id}/${path}`;
    else at(link).removeAttribute("href");
  }
  at("picture").hidden = !has;
  if (!has) return;
  const frame = document.createElement("iframe");
  frame.title = "Report of the plan";
  frame.setAttribute("sandbox", "allow-scripts allow-popups allow-downloads allow-modals");
  frame.src = `/v1/jobs/${job.id}/report`;
  at("shown").replaceChildren(frame);
}

async function cancel() {
  at("cancel").disabled = true;
  try {
    await call("DELETE", `/v1/jobs/${shownJob}`);
  } catch (error) {
    tell("job-error", error.message);
  }
}

// The latest jobs

async function refreshJobs() {
  const { jobs } = await call("GET", "/v1/jobs?most=20");
  at("main").hidden = false;
  at("jobs").replaceChildren(...jobs.map(line));
}

function line(job) {
  const row = document.createElement("tr");
  const open = document.createElement("button");
  open.type = "button";
  open.textContent = job.name;
  open.addEventListener("click", () => follow(job.id));
  const cells = [open, job.gpus, job.state, seconds(job.period_s), percent(job.gap)];
  cells.forEach((content, column) => {
    const cell = document.createElement("td");
    cell.append(content instanceof Node ? content : String(content));
    if (column > 2) cell.className = "number";
    row.append(cell);
  });
  return row;
}

async function fillIn() {
  const example = await call("GET", "/static/example.json");
  at("profiles").replaceChildren();
  for (const [name, text] of Object.entries(example.profiles)) addProfile(name, text);
  at("cluster").value = example.cluster;
  at("bandwidth").value = example.bandwidth;
}

acceptFiles("profile-drop", "profile-files", takeProfiles);
acceptFiles("cluster-drop", "cluster-file", takeCluster);
at("add-profile").addEventListener("click", () => addProfile("", "").focus());
at("example").addEventListener("click", fillIn);
at("ask").addEventListener("submit", ask);
at("cancel").addEventListener("click", cancel);
try {
  await refreshJobs();
  if (/^#[0-9a-f]{32}$/.test(location.hash)) follow(location.hash.slice(1));
  setInterval(() => refreshJobs().catch(() => {}), 5000);
} catch (error) {
  if (at("sign-in").hidden) {
    at("main").hidden = false;
    tell("ask-error", error.message);
  }
}
