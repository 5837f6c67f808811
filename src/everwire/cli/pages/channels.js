// The page of channels: a publisher, two clients side by side, the log as a drawing, who is there and what is kept.

import { Client } from "./client.js";
import { $, formatCount, formatTime, h } from "./format.js";
import { Cursor, Lanes, Log } from "./lanes.js";
import { toggleTheme } from "./memory.js";
import { Pane } from "./pane.js";

const HISTORY = 50, COMINGS = 4; // lines
const NAMES = 100;
const SOON = 100, LOOK_AGAIN = 2000; // milliseconds
const insecure = document.body.dataset.hub === "insecure";

const log = new Log();
const panes = [];

// ---- drawing, once a frame

let due = false;

function changed() {
  if (due) return;
  due = true;
  if (document.hidden) setTimeout(draw, SOON);
  else requestAnimationFrame(draw);
}

function draw() {
  due = false;
  for (const pane of panes) pane.draw();
  lanes.draw();
  const { state, problem } = publisher, idle = isIdle();
  document.body.dataset.state = state === "cut" ? "waiting" : state;
  const words = { closed: "Not connected", connecting: "Connecting", open: "Connected", waiting: "Reconnecting", failed: "Refused" }[state];
  if ($("status").textContent !== words) $("status").textContent = words;
  $("problem").textContent = state === "failed" || state === "waiting" ? problem : "";
  $("fields").disabled = !idle;
  $("toggle").textContent = idle ? "Connect" : "Disconnect";
  $("toggle").className = idle ? "primary" : "stop";
  for (const id of ["publish", "read"]) $(id).disabled = !publisher.talks;
}

// ---- the page's own connection: it publishes, and knows where the log is and who is there

const names = new Map(); // by the ids that connections had

function named(client) {
  if (client.id) names.set(client.id, client.name);
  if (names.size > NAMES) names.delete(names.keys().next().value);
  changed();
}

const isIdle = () => ["closed", "failed"].includes(publisher.state);

const publisher = new Client("This page", "fallback", {
  changed: named,
  publication: (_, publication) => publication.epoch && log.column(publication),
  subscribed(_, position) {
    log.reach(position);
    for (const { client } of panes) if (client.state === "closed") client.connect(publisher.channel, publisher.token);
    look();
  },
  lost() {},
  presence(_, what, info) {
    const words = `${nameOf(info)} ${what === "join" ? "came" : "left"}`;
    $("comings").prepend(h("li", { className: what }, h("time", {}, formatTime(Date.now())), ` ${words}`));
    while ($("comings").childElementCount > COMINGS) $("comings").lastElementChild.remove();
    lookSoon();
  },
});

function addPane(name, transport) {
  const node = $("pane").content.cloneNode(true).firstElementChild;
  node.setAttribute("aria-label", `Client ${name}`);
  node.querySelector(".badge").textContent = name;
  node.querySelector(".boxed").setAttribute("aria-label", `What came to client ${name}`);
  $("clients").append(node);
  const cursor = new Cursor(log);
  let before = "closed";
  const client = new Client(`Client ${name}`, transport, {
    tip: () => log.tip,
    changed() {
      if (client.state === "cut" && before !== "cut") pane.wasCut();
      before = client.state;
      named(client);
    },
    publication(_, publication) {
      cursor.publication(publication);
      pane.publication(publication);
    },
    subscribed(_, outcome) {
      cursor.subscribed(outcome);
      pane.subscribed(outcome);
      lookSoon();
    },
    lost: (_, why) => pane.lost(why),
  });
  const pane = new Pane(node, client, cursor);
  panes.push(pane);
  return { name, cursor, client };
}

function connect() {
  log.clear();
  shownTip = undefined;
  for (const { cursor } of panes) cursor.clear();
  for (const pane of panes) pane.clear();
  for (const id of ["comings", "kept"]) $(id).replaceChildren();
  publisher.connect($("channel").value.trim(), $("token").value.trim());
}

function follow(channel) {
  if (channel === publisher.channel) return;
  disconnect();
  $("channel").value = channel;
  connect();
}

function disconnect() {
  pace(0);
  for (const { client } of [...panes, { client: publisher }]) client.close();
  showPresence({});
}

// ---- publishing

let number = 0, ticking;

async function publish(data) {
  try {
    await publisher.ask("publish", { channel: publisher.channel, data });
    $("hint").textContent = "";
    return true;
  } catch (error) {
    if (error.code) $("hint").textContent = `Not published: ${error.message}`;
    return false;
  }
}

/** JSON as what it means, anything else as text. */
const meaning = (text) => {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
};

function pace(rate) {
  clearInterval(ticking);
  $("pace").value = String(rate);
  if (rate) ticking = setInterval(() => publisher.talks && publish({ n: ++number }), 1000 / rate);
}

// ---- who is there, which channels, what is kept

const nameOf = ({ client, user }) => names.get(client) ?? (user ? `${user} (${client.slice(0, 8)})` : client.slice(0, 8));

let looking;

function lookSoon() {
  clearTimeout(looking);
  looking = setTimeout(look, SOON);
}

async function look() {
  clearTimeout(looking);
  if (publisher.talks) {
    try {
      showPresence((await publisher.ask("presence", { channel: publisher.channel })).presence ?? {});
    } catch (error) {
      if (error.code) showPresence({}, error.message);
    }
    if (shownTip !== log.tip) await read();
    if (insecure) await lookAtChannels();
  } else showPresence({});
  if (publisher.state !== "closed") looking = setTimeout(look, LOOK_AGAIN);
}

function showPresence(presence, problem = "") {
  const names = Object.values(presence).map(nameOf).sort();
  $("present-count").textContent = names.length ? formatCount(names.length) : "";
  $("present").replaceChildren(...names.map((name) => h("li", {}, name)));
  $("present-none").textContent = problem || (publisher.talks ? "Nobody." : "Not connected.");
  $("present-none").hidden = names.length > 0;
}

/** What the hub has: an insecure one answers its server API without a key. */
async function lookAtChannels() {
  try {
    const response = await fetch("api/channels", { method: "POST", body: "{}", headers: { "Content-Type": "application/json" } });
    const { result } = await response.json();
    const found = Object.entries(result?.channels ?? {}).sort();
    $("channels").replaceChildren(
      ...found.map(([name, { num_clients: count = 0 }]) => {
        const button = h("button", { type: "button", className: "text name", title: "Follow this channel" }, name);
        button.onclick = () => follow(name);
        return h("li", {}, button, ` ${formatCount(count)}`);
      }),
    );
    $("hub-channels").hidden = found.length === 0;
  } catch {
    // The server is away: the connections say so.
  }
}

let shownTip; // where the log was when it was read

async function read() {
  shownTip = log.tip;
  try {
    const request = { channel: publisher.channel, limit: HISTORY, reverse: true };
    const { publications = [], offset = 0, epoch = "" } = await publisher.ask("history", request);
    const rows = publications.map(({ offset: at, data }) => {
      const text = typeof data === "string" ? data : JSON.stringify(data);
      return h("li", {}, h("span", { className: "offset" }, String(at)), h("span", { className: "data", title: text }, text));
    });
    $("kept").replaceChildren(...rows);
    $("kept-note").textContent = rows.length ? `The latest ${formatCount(rows.length)}, up to offset ${offset} of epoch ${epoch}.` : "Nothing is kept yet.";
  } catch (error) {
    if (error.code) $("kept-note").textContent = `Not to be read: ${error.message}`;
  }
}

// ---- wiring

const rows = [["A", "websocket"], ["B", "sse"]].map(([name, transport]) => addPane(name, transport));
const lanes = new Lanes($("lanes"), log, [{ name: "log" }, ...rows]);

$("connection").addEventListener("submit", (event) => {
  event.preventDefault();
  const idle = isIdle();
  disconnect();
  if (idle) connect();
});
$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  if ($("text").value) publish(meaning($("text").value)).then((done) => done && ($("text").value = ""));
});
$("pace").addEventListener("change", () => pace(Number($("pace").value)));
$("read").addEventListener("click", read);
$("theme").addEventListener("click", toggleTheme);
addEventListener("resize", changed);

const asked = new URLSearchParams(location.hash.slice(1)).get("channel");
if (asked) $("channel").value = asked;
draw();
