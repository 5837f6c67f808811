// The page: its connections as tabs, the form, the figures, and what is drawn of them once a frame.

import { Composer } from "./composer.js";
import { showDetails } from "./details.js";
import { $, copy, formatCount, formatDuration, formatSize, h, save } from "./format.js";
import { List } from "./list.js";
import { Plot } from "./plot.js";
import { Session } from "./session.js";
import { SNIPPETS, highlight } from "./snippets.js";
import { arrowKeys } from "./tabs.js";
import { forget, recent, remember, toggleTheme } from "./memory.js";

const SPEAK_EVERY = 2000, SAMPLE_EVERY = 250; // milliseconds
const EXAMPLES = ["echo", "room"];

const sessions = [];
let current = null;

const here = (path) => new URL(path, location.href.replace(/^http/, "ws")).href.replace(/[?#].*/, "");

// ---- drawing: once for all that happens within a frame, and not at every frame while messages pour in

const BETWEEN = 30; // milliseconds
let due = false, drawnAt = 0;

function changed(session) {
  if (due || (session !== current && session.drawnState === session.state)) return;
  due = true;
  const early = drawnAt + BETWEEN - performance.now();
  if (document.hidden || early > 0) setTimeout(drawSoon, Math.max(early, 0));
  else drawSoon();
}

function drawSoon() {
  if (document.hidden) draw();
  else requestAnimationFrame(draw);
}

function draw() {
  due = false;
  drawnAt = performance.now();
  drawTabs();
  drawState();
  drawFigures();
  composer.update();
  list.draw();
  $("empty").hidden = current.store.length > 0;
  $("no-match").hidden = current.store.length === 0 || current.view.length > 0;
  $("behind").textContent = current.view.behind ? `${formatCount(current.view.behind)} new` : "";
  drawDetails();
}

let drawnEntry = null;

function drawDetails() {
  const entry = current.selected;
  if (entry === drawnEntry) return;
  drawnEntry = entry;
  if (entry?.notable) inspect("details");
  if (entry) showDetails($("details"), entry);
  else $("details").replaceChildren(h("p", { className: "note" }, "Choose a message to see all of it."));
}

function drawState() {
  const { state, status } = current, idle = current.isIdle, toggle = $("toggle");
  if (document.body.dataset.state === "connecting" && state === "open") $("text").focus();
  document.body.dataset.state = state;
  if ($("status").textContent !== status) $("status").textContent = status;
  $("fields").disabled = !idle;
  toggle.textContent = idle ? "Connect" : state === "open" ? "Disconnect" : "Cancel";
  toggle.className = idle ? "primary" : "stop";
  const { protocol, extensions } = (state === "open" && current.negotiated) || {};
  $("compression").textContent = extensions === undefined ? "–" : extensions.includes("permessage-deflate") ? "deflate" : "off";
  $("compression").title = extensions ?? "";
  $("subprotocol").textContent = protocol === undefined ? "–" : protocol || "none";
}

function drawFigures() {
  for (const name of ["sent", "received"]) {
    const { count, size } = current.totals[name];
    $(name).textContent = count ? `${formatCount(count)} · ${formatSize(size)}` : "0";
    pulse(name, count);
  }
  $("buffered").textContent = formatSize(current.socket?.bufferedAmount ?? 0);
  const trips = current.roundTrips;
  for (const [id, share] of [["p50", 0.5], ["p95", 0.95], ["max", 1]]) {
    const value = trips.percentile(share);
    $(id).textContent = value === null ? "–" : formatDuration(share === 1 ? trips.max : value);
  }
  if (current.trace.close() || drawFigures.of !== current.trace) plot.draw(current.trace.points);
  drawFigures.of = current.trace;
}

/** Once in a while: the rates, and what a screen reader says. */
function sample() {
  const now = performance.now();
  for (const name of ["sent", "received"]) {
    const { count, size } = current.totals[name], rate = current.rates[name].sample(now, count, size);
    $(`${name}-rate`).textContent = rate.count >= 0.5 ? `${formatCount(Math.round(rate.count))}/s · ${formatSize(rate.size)}/s` : "";
  }
  $("buffered").textContent = formatSize(current.socket?.bufferedAmount ?? 0);
  if (current.burst?.running) composer.update();
}

let spokenId = 0; // of the entries of this connection, up to which one they were said

function speak() {
  const { store, roundTrips } = current;
  if (roundTrips.count) {
    const [p50, p95] = [0.5, 0.95].map((share) => formatDuration(roundTrips.percentile(share)));
    plot.describe(`${formatCount(roundTrips.count)} round trips: half took up to ${p50}, 95 % up to ${p95}`);
  } else plot.describe("No round trips yet");
  let received = 0, last = null, event = null;
  for (let id = Math.max(spokenId + 1, store.firstId); id < store.nextId; id++) {
    const entry = store.find(id);
    if (entry.kind === "received") (received += 1), (last = entry);
    else if (entry.kind === "event") event = entry;
  }
  spokenId = store.nextId - 1;
  const words = [];
  if (event) words.push(event.title);
  if (received === 1 && typeof last.data === "string") words.push(`Received: ${last.data.slice(0, 200)}`);
  else if (received) words.push(`${formatCount(received)} ${received === 1 ? "message" : "messages"} received`);
  if (words.length) $("spoken").replaceChildren(h("p", {}, words.join(". ")));
}

const still = matchMedia("(prefers-reduced-motion: reduce)");
const pulsed = { sent: 0, received: 0 };

function pulse(name, count) {
  const span = $("span"), more = count > pulsed[name];
  pulsed[name] = count;
  if (!more || span.childElementCount >= 4 || document.hidden || still.matches) return;
  const node = span.appendChild(h("span", { className: `pulse ${name}` }));
  const frames = [
    { transform: "none", opacity: 0 },
    { opacity: 1, offset: 0.2 },
    { opacity: 1, offset: 0.8 },
    { transform: "translateX(100%)", opacity: 0 },
  ];
  const options = { duration: 480, easing: "ease-in-out", direction: name === "sent" ? "normal" : "reverse" };
  node.animate(frames, options).onfinish = () => node.remove();
}

// ---- the connections

function add(address) {
  const session = new Session(address, changed);
  sessions.push(session);
  show(session);
}

function show(session) {
  current = session;
  $("url").value = session.address;
  $("subprotocols").value = session.subprotocols;
  $("binary-type").value = session.binaryType;
  $("reconnect").checked = session.reconnect;
  $("filter").value = session.view.words;
  $("filter-kind").value = session.view.kind;
  spokenId = session.store.nextId - 1;
  drawPause();
  for (const name of ["sent", "received"]) pulsed[name] = session.totals[name].count;
  document.body.dataset.state = session.state;
  drawTabs();
  drawCode();
  list.show(session);
  changed(session);
}

const labelOf = ({ address }) => {
  try {
    const { host, pathname } = new URL(address);
    return host === location.host ? pathname : host + pathname.replace(/^\/$/, "");
  } catch {
    return address || "New";
  }
};

function drawTabs() {
  const tabs = $("tabs");
  while (tabs.childElementCount < sessions.length) {
    const parts = [h("span", { className: "dot" }), h("span", { className: "name" })];
    const tab = h("button", { type: "button", role: "tab", "aria-controls": "panel" }, ...parts);
    tab.onclick = () => show(sessions[[...tabs.children].indexOf(tab)]);
    tabs.append(tab);
  }
  while (tabs.childElementCount > sessions.length) tabs.lastElementChild.remove();
  sessions.forEach((session, index) => {
    const tab = tabs.children[index], selected = session === current, name = labelOf(session);
    tab.id = `tab-${session.number}`;
    tab.dataset.state = session.drawnState = session.state;
    tab.ariaSelected = String(selected);
    tab.tabIndex = selected ? 0 : -1;
    if (tab.lastChild.textContent !== name) tab.lastChild.textContent = tab.title = name;
    if (selected) $("panel").setAttribute("aria-labelledby", tab.id);
  });
  $("tab-close").hidden = sessions.length === 1;
}

function remove(session) {
  if (sessions.length === 1) return;
  const index = sessions.indexOf(session);
  if (!session.isIdle) session.close();
  sessions.splice(index, 1);
  show(sessions[Math.min(index, sessions.length - 1)]);
  $("tabs").children[sessions.indexOf(current)].focus();
}

function connect() {
  current.reset();
  current.open();
  if (current.state === "connecting") remember(current.address);
  drawRecent();
}

function drawRecent() {
  const addresses = recent();
  $("recent").replaceChildren(...addresses.map((address) => h("option", { value: address })));
  $("forget").hidden = addresses.length === 0;
}

// ---- details and code

let program = "client";

function drawCode() {
  const subprotocols = current.subprotocols.split(/[\s,]+/).filter(Boolean);
  const code = SNIPPETS[program][1]({ address: current.address, subprotocols });
  $("snippet").replaceChildren(...highlight(code));
  for (const button of document.querySelectorAll("#code .segments button")) button.ariaPressed = String(button.dataset.program === program);
}

function inspect(name) {
  for (const each of ["details", "code"]) {
    const tab = $(`show-${each}`), selected = each === name;
    tab.ariaSelected = String(selected);
    tab.tabIndex = selected ? 0 : -1;
    $(each).hidden = !selected;
  }
  $("copy").hidden = name !== "code";
}

function select(entry) {
  current.selected = entry;
  inspect("details");
  changed(current);
  $("inspector").scrollIntoView({ block: "nearest" });
}

// ---- exporting

async function exportJson() {
  const { source } = current.view, messages = [];
  for (let index = 0; index < source.length; index++) messages.push(await exported(source.at(index)));
  const { address, totals, store } = current;
  const all = { address, exported: new Date().toISOString(), totals, forgotten: store.forgotten, messages };
  save(new Blob([JSON.stringify(all, null, 2)], { type: "application/json" }), "everwire-messages.json");
}

async function exported({ kind, at, data, size, rtt, title, note }) {
  const time = new Date(at).toISOString();
  if (kind === "event") return { time, event: title, note };
  const common = { time, direction: kind, size, ...(rtt === undefined ? {} : { round_trip_ms: rtt }) };
  if (typeof data === "string") return { ...common, text: data };
  if (data instanceof Blob && size > 1024 * 1024) return { ...common, name: data.name, hex: null };
  const bytes = data instanceof Blob ? new Uint8Array(await data.arrayBuffer()) : data;
  return { ...common, hex: Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("") };
}

// ---- wiring

const composer = new Composer(() => current);
const list = new List($("log"), $("jump"), select);
const plot = new Plot($("plot"));

$("connection").addEventListener("submit", (event) => {
  event.preventDefault();
  if (current.isIdle) connect();
  else current.close();
});
$("url").addEventListener("input", () => {
  current.address = $("url").value.trim();
  drawTabs();
  drawCode();
});
$("subprotocols").addEventListener("input", () => {
  current.subprotocols = $("subprotocols").value;
  drawCode();
});
$("binary-type").addEventListener("change", () => (current.binaryType = $("binary-type").value));
$("reconnect").addEventListener("change", () => (current.reconnect = $("reconnect").checked));
$("forget").addEventListener("click", () => {
  forget();
  drawRecent();
});
for (const button of document.querySelectorAll("[data-example]")) {
  button.addEventListener("click", () => {
    const address = here(button.dataset.example);
    if (!current.isIdle) add(address);
    current.address = $("url").value = address;
    drawCode();
    connect();
  });
}

$("tab-add").addEventListener("click", () => {
  add(here("echo"));
  $("url").focus();
});
$("tab-close").addEventListener("click", () => remove(current));
arrowKeys($("tabs"), (index) => show(sessions[index]), () => remove(current));
arrowKeys(document.querySelector("#inspector [role=tablist]"), (index) => inspect(["details", "code"][index]));
for (const name of ["details", "code"]) $(`show-${name}`).addEventListener("click", () => inspect(name));

for (const [name, [label]] of Object.entries(SNIPPETS)) {
  const button = h("button", { type: "button" }, label);
  button.dataset.program = name;
  button.addEventListener("click", () => {
    program = name;
    drawCode();
  });
  document.querySelector("#code .segments").append(button);
}
$("copy").addEventListener("click", () => copy($("snippet").textContent, $("copy")));

function drawPause() {
  $("pause").ariaPressed = String(current.view.paused);
  $("pause").textContent = current.view.paused ? "Resume" : "Pause";
}

$("pause").addEventListener("click", () => {
  current.view.pause(!current.view.paused);
  drawPause();
  list.show(current);
  changed(current);
});
function filter() {
  current.view.filter($("filter").value, $("filter-kind").value);
  list.show(current);
  changed(current);
}
$("filter").addEventListener("input", filter);
$("filter-kind").addEventListener("change", filter);
$("clear").addEventListener("click", () => current.reset());
$("export").addEventListener("click", exportJson);
$("theme").addEventListener("click", toggleTheme);

add(here(EXAMPLES.find((name) => location.hash === `#${name}`) ?? "echo"));
drawRecent();
setInterval(sample, SAMPLE_EVERY);
setInterval(speak, SPEAK_EVERY);
