// A client of one channel, over any of the ways to a hub: it connects, subscribes, keeps its position in the log,
// and when its connection is lost comes back with that position and gets what it missed.

import { TRANSPORTS } from "./wires.js";

const BACKOFF = [100, 200, 400, 800, 1600]; // milliseconds
const GRACE = 10_000; // milliseconds beyond the interval of pings in which nothing at all may come
const REFUSED = (code) => (code >= 3500 && code < 4000) || (code >= 4500 && code < 5000);
const SAID_SOON = 250; // milliseconds in which a bare connection hears that it cannot have what it missed
const UNRECOVERED = 4410; // how a bare WebSocket is told that what it missed is gone

/**
 * States: "closed", "connecting", "open", "cut" (by a person, until they reconnect), "waiting" (to try again), "failed".
 *
 * It calls `on.changed(client)`, `on.publication(client, {offset, epoch, data, recovered})` and
 * `on.subscribed(client, {recovering, recovered, count, offset, epoch})`, `on.lost(client, why)`,
 * `on.presence(client, "join" or "leave", info)`, if that is there; `on.tip()` says where the log is, for bare connections.
 */
export class Client {
  state = "closed";
  position = null; // {offset, epoch} of the last publication that came, or where it began; null: there is no log
  id = null; // the connection's, as the hub calls it
  problem = "";
  #wire = null;
  #number = 0; // of the last command
  #asked = new Map();
  #failures = 0;
  #timer;
  #silence;
  #ping = 0; // milliseconds
  #pong = false;
  #bare = null; // of a bare connection: whether it is back, and where the log was then
  #told = false; // whether it was told already that what it missed is gone

  constructor(name, transport, on) {
    Object.assign(this, { name, transport, on, channel: "", token: "" });
  }

  get kind() {
    return TRANSPORTS[this.transport];
  }

  /** Whether it can send commands. */
  get talks() {
    return this.state === "open" && this.kind.speaks === "commands";
  }

  connect(channel, token) {
    Object.assign(this, { channel, token, position: null });
    this.#failures = 0;
    this.#open();
  }

  close() {
    this.#drop();
    this.#become("closed");
  }

  /** Lose the connection without a word, and stay away. */
  cut() {
    this.#drop();
    this.#become("cut");
  }

  /** Come back, with the position that it has; also over another transport. */
  reconnect(transport = this.transport) {
    this.#drop();
    this.transport = transport;
    this.#failures = 0;
    this.#open();
  }

  /** Send a command; what is answered, or an error with the hub's words. */
  ask(name, request) {
    if (!this.talks) return Promise.reject(new Error("not connected"));
    return new Promise((resolve, reject) => this.#wire.send(this.#command(name, request, resolve, reject)));
  }

  /** A command as text. Its answer is handled at once: what comes right after it may build on it. */
  #command(name, request, resolve, reject = (error) => this.#failed(error)) {
    const id = ++this.#number;
    this.#asked.set(id, { resolve: (reply) => resolve(reply[name] ?? {}), reject });
    return JSON.stringify({ id, [name]: request });
  }

  #become(state, problem = "") {
    this.state = state;
    this.problem = problem;
    this.on.changed(this);
  }

  #drop() {
    clearTimeout(this.#timer);
    clearTimeout(this.#silence);
    const wire = this.#wire;
    this.#wire = null;
    this.id = null;
    for (const { reject } of this.#asked.values()) reject(new Error("the connection was lost"));
    this.#asked.clear();
    wire?.cut();
  }

  // ---- beginning

  #open() {
    const { speaks, asks, open } = this.kind;
    this.#become("connecting");
    this.#number = this.#ping = 0;
    const on = {
      open: () => this.#opened(),
      text: (text) => this.#text(text),
      payload: (data, position) => this.#payload(data, position),
      unrecovered: (position) => this.#joined({ ...position, was_recovering: true, recovered: false }),
      end: (end) => this.#ended(end),
    };
    if (speaks === "commands" && asks) {
      this.#wire = open(on, this.#first());
    } else if (speaks === "commands") {
      this.#wire = open(on);
    } else if (speaks === "pushes") {
      this.#wire = open(on, JSON.stringify({ ...this.#who(), subs: { [this.channel]: this.#where() } }));
    } else {
      this.#bare = { back: this.position !== null && !this.#told, tip: this.on.tip() };
      this.position ??= this.#bare.tip;
      this.#wire = open(on, { channel: this.channel, token: this.token, since: this.position });
    }
  }

  #who() {
    return { token: this.token || undefined, name: "page" };
  }

  #first() {
    return this.#command("connect", this.#who(), (result) => this.#connected(result));
  }

  #opened() {
    const { speaks, asks } = this.kind;
    if (speaks === "commands" && !asks) this.#wire.send(this.#first());
    else if (speaks === "payloads") this.#timer = setTimeout(() => this.#begun(), SAID_SOON);
  }

  /** A bare connection is told nothing, but at once if it cannot have what it missed. */
  #begun() {
    clearTimeout(this.#timer);
    if (this.state !== "connecting") return;
    const { back, tip } = this.#bare, same = tip !== null && tip.epoch === this.position.epoch;
    const missed = same ? Math.max(tip.offset - this.position.offset, 0) : 0;
    this.#joined({ ...this.position, was_recovering: back, recovered: back }, missed);
  }

  #where() {
    return this.position ? { recover: true, ...this.position } : {};
  }

  #connected({ client, ping = 0, pong = false, session, node }) {
    this.id = client;
    this.#ping = ping * 1000;
    this.#pong = pong;
    this.#wire.name?.({ session, node });
    this.on.changed(this);
    const how = { recoverable: true, positioned: true, join_leave: this.on.presence !== undefined };
    const request = { channel: this.channel, ...how, ...this.#where() };
    this.#wire.send(this.#command("subscribe", request, (result) => this.#joined(result)));
  }

  /** A command that it cannot do without was refused, or did not get through, of which it hears otherwise. */
  #failed({ code, temporary, message }) {
    if (temporary) this.#ended({ code, reason: message });
    else if (code) this.#refuse(message);
  }

  /** The subscription has begun: with what was missed, or with word that it cannot be had. */
  #joined({ offset = 0, epoch = "", was_recovering = false, recovered = false, publications = [] }, missed = publications.length) {
    clearTimeout(this.#timer);
    this.#failures = 0;
    this.#told = false;
    // Where it was, if it has come back: what was missed moves it on. Without a log there is none.
    this.position = epoch ? { offset, epoch } : null;
    this.#become("open");
    this.on.subscribed(this, { recovering: was_recovering, recovered, count: recovered ? missed : 0, offset, epoch });
    for (const each of publications) this.#show(each.data, { offset: each.offset ?? 0, epoch }, was_recovering);
    this.on.changed(this);
  }

  // ---- what comes

  #text(text) {
    this.#hear();
    if (this.kind.speaks === "payloads") {
      // One message is one step in the log: whoever would miss one is closed instead.
      this.#payload(text, this.position && { ...this.position, offset: this.position.offset + 1 });
      return;
    }
    for (const line of text.split("\n")) {
      if (this.#wire && line) this.#frame(JSON.parse(line));
    }
  }

  #frame(frame) {
    if (this.kind.speaks === "pushes") {
      this.#push(frame);
    } else if (frame.id) {
      const asked = this.#asked.get(frame.id);
      this.#asked.delete(frame.id);
      const { code, message, temporary } = frame.error ?? {};
      if (frame.error) asked?.reject(Object.assign(new Error(`${message} (${code})`), { code, temporary }));
      else asked?.resolve(frame);
    } else if (frame.push) {
      this.#push(frame.push);
    } else if (this.#pong) {
      this.#wire.send("{}");
    }
  }

  #push({ channel, connect, pub, join, leave, unsubscribe, disconnect }) {
    if (connect) {
      const { client, ping = 0, subs = {} } = connect;
      this.id = client;
      this.#ping = ping * 1000;
      if (subs[this.channel]) this.#joined(subs[this.channel]);
      else this.#refuse("not subscribed: the hub allows it to those who ask by themselves only");
    } else if (disconnect) {
      this.#ended(disconnect);
    } else if (channel !== this.channel) {
      return;
    } else if (pub) {
      this.#show(pub.data, this.position && { offset: pub.offset ?? 0, epoch: this.position.epoch }, false);
      this.on.changed(this);
    } else if (join || leave) {
      this.on.presence(this, join ? "join" : "leave", (join ?? leave).info);
    } else if (unsubscribe) {
      this.#ended({ code: unsubscribe.code >= 2500 ? 3010 : 3503, reason: unsubscribe.reason });
    }
  }

  #payload(data, position) {
    this.#hear();
    this.#begun();
    const { tip } = this.#bare, missed = position && tip && position.epoch === tip.epoch && position.offset <= tip.offset;
    this.#show(parse(data), position, missed);
    this.on.changed(this);
  }

  #show(data, position, recovered) {
    this.position = position;
    this.on.publication(this, { ...position, data, recovered: Boolean(recovered) });
  }

  /** Where pings are agreed on, silence means that the connection is gone. */
  #hear() {
    clearTimeout(this.#silence);
    if (this.#ping) this.#silence = setTimeout(() => this.#ended({ code: 1006, reason: "no ping came" }), this.#ping + GRACE);
  }

  // ---- the end

  #refuse(problem) {
    this.#drop();
    this.#become("failed", problem);
  }

  #ended({ code, reason }) {
    const was = this.state, words = `${reason || "no reason given"} (${code})`;
    if (REFUSED(code)) return this.#refuse(words);
    this.#drop();
    if (code === UNRECOVERED) {
      const [, offset, epoch] = /(\d+),(\S+)$/.exec(reason) ?? [];
      this.on.subscribed(this, { recovering: true, recovered: false, count: 0, offset: Number(offset), epoch });
      this.position = { offset: Number(offset), epoch };
      this.#told = true;
    } else if (was === "open") this.on.lost(this, words);
    const delay = BACKOFF[Math.min(this.#failures, BACKOFF.length - 1)] * (0.75 + Math.random() / 2);
    this.#failures += 1;
    this.#timer = setTimeout(() => this.#open(), code === UNRECOVERED ? 0 : delay);
    return this.#become("waiting", words);
  }
}

const parse = (text) => {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
};
