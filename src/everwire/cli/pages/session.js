// One connection of the page: it opens, sends, receives, closes and comes back; what it measures and remembers.

import { explainClose, explainFailure, worthRetrying } from "./codes.js";
import { byteLength } from "./format.js";
import { Histogram, Rate, Trace } from "./measure.js";
import { Store, View } from "./store.js";

const MAX_PENDING = 4096; // messages that an answer is awaited for
const SEARCHED = 256; // of these, the oldest, in which an answer is looked for
const OVERDUE = 10_000; // milliseconds after which the oldest gives way to another
const COMPARED = 64 * 1024; // bytes up to which binary messages are compared in full

let made = 0;

export class Session {
  /** `changed` is called after each change of what there is to see. */
  constructor(address, changed) {
    this.number = ++made;
    this.address = address;
    this.subprotocols = "";
    this.binaryType = "arraybuffer";
    this.reconnect = true;
    this.changed = changed;
    this.store = new Store();
    this.view = new View(this.store);
    this.selected = null;
    this.burst = null;
    this.socket = null;
    this.outbox = [];
    this.attempts = 0;
    this.#setState("closed", "Not connected");
    this.reset();
  }

  get isOpen() {
    return this.socket?.readyState === WebSocket.OPEN;
  }

  /** Whether there is neither a connection nor an attempt at one. */
  get isIdle() {
    return this.state === "closed" || this.state === "failed";
  }

  /** Forget the messages and the figures. */
  reset() {
    this.store.clear();
    this.view.pause(this.view.paused);
    this.selected = null;
    this.totals = { sent: { count: 0, size: 0 }, received: { count: 0, size: 0 } };
    this.rates = { sent: new Rate(), received: new Rate() };
    this.roundTrips = new Histogram();
    this.trace = new Trace();
    this.#forgetPending();
    this.changed(this);
  }

  #forgetPending() {
    this.pending = [];
    this.oldest = 0;
  }

  #setState(state, status) {
    this.state = state;
    this.status = status;
    this.changed(this);
  }

  #note(event) {
    const entry = this.store.add({ kind: "event", at: Date.now(), size: 0, note: "", ...event });
    if (event.notable && (this.selected ?? entry).kind === "event") this.selected = entry;
    this.changed(this);
  }

  // ---- opening and closing

  open() {
    clearTimeout(this.retry);
    this.retry = null;
    this.asked = this.wasOpen = false;
    this.#forgetPending();
    this.outbox.length = 0;
    this.offered = this.subprotocols.split(/[\s,]+/).filter(Boolean);
    try {
      this.socket = new WebSocket(this.address, this.offered);
    } catch (error) {
      const title = "This address or subprotocol cannot be used";
      this.#note({ title, note: error.message, text: error.message, bad: true, notable: true });
      this.#setState("failed", "Not connected");
      return;
    }
    this.socket.binaryType = this.binaryType;
    this.socket.onopen = () => this.#onOpen();
    this.socket.onmessage = (event) => this.#onMessage(event.data);
    this.socket.onclose = (event) => this.#onClose(event);
    this.#setState("connecting", this.attempts ? "Reconnecting…" : "Connecting…");
  }

  #onOpen() {
    const { url, protocol, extensions } = this.socket;
    this.wasOpen = true;
    this.attempts = 0;
    this.negotiated = { protocol, extensions };
    this.#note({
      title: `Connected to ${url}`,
      note: extensions,
      facts: [["Subprotocol", protocol || "none"], ["Extensions", extensions || "none"]],
      text: "",
    });
    this.#setState("open", "Connected");
  }

  #onClose(event) {
    const { wasOpen, asked } = this;
    this.socket = null;
    this.burst?.cancel();
    if (wasOpen || asked) this.#note(explainClose(event, asked));
    else if (this.attempts === 0) this.#note(explainFailure(this.address, this.offered));
    else this.#note({ ...explainFailure(this.address, this.offered), title: `Attempt ${this.attempts} failed` });
    if (!asked && this.reconnect && (wasOpen ? worthRetrying(event.code) : this.attempts > 0)) this.#retryLater();
    else {
      this.attempts = 0;
      this.#setState(wasOpen || asked ? "closed" : "failed", "Not connected");
    }
  }

  /** Twice as long after each failure, up to half a minute, and never all clients of a server at once. */
  #retryLater() {
    this.attempts += 1;
    const delay = Math.min(500 * 2 ** this.attempts, 30_000) * (0.75 + Math.random() / 2);
    this.retry = setTimeout(() => this.open(), delay);
    this.#setState("waiting", `Reconnecting in ${Math.ceil(delay / 1000)} s`);
  }

  close() {
    this.asked = true;
    this.attempts = 0;
    clearTimeout(this.retry);
    this.retry = null;
    this.burst?.cancel();
    if (this.socket === null) return this.#setState("closed", "Not connected");
    if (this.isOpen) this.#transmit();
    this.#setState("closing", "Closing…");
    return this.socket.close(1000);
  }

  // ---- sending

  /** Send a text, bytes (Uint8Array) or a Blob. */
  send(data) {
    this.#remember("sent", data, sizeOf(data));
    // A browser draws what a key press has changed before it delivers what comes from the network, so a message goes
    // out when that is drawn: else its round trip would be that of the screen.
    if (this.outbox.push(data) > 1) return;
    if (document.hidden) this.#transmit();
    else requestAnimationFrame(() => setTimeout(() => this.#transmit()));
  }

  /** Send at once: for a burst, which waits for no frame. */
  sendNow(data) {
    this.#remember("sent", data, sizeOf(data));
    this.outbox.push(data);
    this.#transmit();
  }

  #transmit() {
    for (const data of this.outbox.splice(0)) {
      this.#expect(data, performance.now());
      this.socket?.send(data);
    }
  }

  /** Note when a message was sent; of very many at once only some are timed. */
  #expect(data, at) {
    const { pending } = this, full = pending.length - this.oldest >= MAX_PENDING;
    if (full && at - pending[this.oldest].at > OVERDUE) this.#answered(this.oldest);
    else if (full) return;
    pending.push({ data, at });
  }

  /** Take a message out of those that an answer is awaited for: nearly always it is the oldest. */
  #answered(index) {
    if (index !== this.oldest) return this.pending.splice(index, 1);
    this.pending[this.oldest++] = undefined;
    if (this.oldest < MAX_PENDING) return undefined;
    this.pending.splice(0, this.oldest);
    return (this.oldest = 0);
  }

  // ---- receiving

  #onMessage(received) {
    const now = performance.now();
    const data = received instanceof ArrayBuffer ? new Uint8Array(received) : received;
    const size = sizeOf(data), rtt = this.#takeRoundTrip(data, size, now);
    this.#remember("received", data, size, rtt);
  }

  #takeRoundTrip(data, size, now) {
    const until = Math.min(this.pending.length, this.oldest + SEARCHED);
    for (let index = this.oldest; index < until; index++) {
      if (!isEcho(this.pending[index].data, data, size)) continue;
      const rtt = now - this.pending[index].at;
      this.#answered(index);
      this.roundTrips.add(rtt);
      this.trace.add(rtt);
      return rtt;
    }
    return undefined;
  }

  #remember(kind, data, size, rtt) {
    this.totals[kind].count += 1;
    this.totals[kind].size += size;
    this.store.add({ kind, at: Date.now(), data, size, rtt });
    this.changed(this);
  }
}

const sizeOf = (data) => (typeof data === "string" ? byteLength(data) : (data.size ?? data.length));

/** Whether what was received is what was sent; of Blobs only the sizes can be told without waiting. */
function isEcho(sent, received, size) {
  if (typeof sent === "string" || typeof received === "string") return sent === received;
  if (sizeOf(sent) !== size) return false;
  if (sent instanceof Blob || received instanceof Blob) return true;
  const compared = size > COMPARED ? 64 : size;
  for (let at = 0; at < compared; at++) if (sent[at] !== received[at]) return false;
  return true;
}
