// The ways to a hub: each carries lines of JSON (or bare payloads) from it, and most of them commands to it.
// A wire has `send(text)` and `cut()`; it calls `on.open()`, `on.text(text)` and, once, `on.end({code, reason})`.

import { FallbackWebSocket, PollingWebSocket } from "../everwire.js";

const at = (path, parameters = {}) => {
  const url = new URL(path, new URL(".", location.href));
  for (const [name, value] of Object.entries(parameters)) if (value) url.searchParams.set(name, value);
  return url;
};

/** A wire that ends once, however often it is told to. */
class Wire {
  over = false;

  constructor(on) {
    this.on = on;
  }

  text(text) {
    if (!this.over) this.on.text(text);
  }

  end(code, reason) {
    if (this.over) return;
    this.over = true;
    this.release();
    this.on.end({ code, reason });
  }

  /** Cut it, and hear no more of it. */
  cut() {
    this.over = true;
    this.release();
  }

  release() {}
}

/** A WebSocket, or a class with its interface. */
class SocketWire extends Wire {
  constructor(on, url, kind = WebSocket) {
    super(on);
    url.protocol = url.protocol.replace("http", "ws");
    this.socket = new kind(url.href);
    this.socket.onopen = () => this.over || on.open();
    this.socket.onmessage = ({ data }) => this.text(data);
    this.socket.onclose = ({ code, reason }) => this.end(code, reason);
  }

  /** What it rides on, where that is not a WebSocket. */
  get transport() {
    return this.socket.transport;
  }

  send(text) {
    // One that closes has an end to come, which tells of what was not answered.
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(text);
  }

  release() {
    this.socket.close();
  }
}

/** Commands by POST, beside a stream that brings the replies. */
class EmulatedWire extends Wire {
  session = null;
  sending = Promise.resolve();

  /** Its name at the hub, as the connect reply has it. */
  name({ session, node }) {
    this.session = { session, node };
  }

  send(text) {
    const body = JSON.stringify({ ...this.session, data: text });
    // One after the other: commands are handled in the order in which they come.
    this.sending = this.sending.then(async () => {
      if (this.over) return;
      try {
        const { ok, status } = await fetch(at("emulation"), { method: "POST", body });
        if (!ok) this.end(1006, `a command was answered with ${status}`);
      } catch {
        this.end(1006, "a command did not get through");
      }
    });
  }
}

/** The body of one long response, a line for each frame. */
class StreamWire extends EmulatedWire {
  constructor(on, first) {
    super(on);
    this.stop = new AbortController();
    this.read(first);
  }

  async read(first) {
    try {
      const response = await fetch(at("connection/http_stream"), { method: "POST", body: first, signal: this.stop.signal });
      if (!response.ok) return this.end(1006, `answered with ${response.status}`);
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let left = "", piece; !(piece = await reader.read()).done;) {
        const lines = (left + piece.value).split("\n");
        left = lines.pop();
        for (const line of lines) if (line) this.text(line);
      }
      return this.end(1006, "the stream ended");
    } catch {
      return this.end(1006, "the stream broke off");
    }
  }

  release() {
    this.stop.abort();
  }
}

/** Server-sent events. An EventSource would come back by itself: here that is the client's to do. */
class EventsWire extends EmulatedWire {
  constructor(on, url) {
    super(on);
    this.source = new EventSource(url);
    this.source.onopen = () => this.over || on.open();
    this.source.onmessage = (event) => this.event(event);
    this.source.onerror = () =>
      this.end(1006, this.source.readyState === EventSource.CLOSED ? "refused" : "the stream broke off");
  }

  event({ data }) {
    this.text(data);
  }

  release() {
    this.source.close();
  }
}

/** Bare payloads as server-sent events, each with its position; and news of what cannot be recovered. */
class RawEventsWire extends EventsWire {
  constructor(on, url) {
    super(on, url);
    this.source.addEventListener("unrecovered", ({ data }) => this.over || on.unrecovered(JSON.parse(data)));
  }

  event({ data, lastEventId }) {
    const [offset, epoch] = lastEventId.split(",");
    if (!this.over) this.on.payload(data, epoch ? { offset: Number(offset), epoch } : null);
  }
}

const rawUrl = ({ channel, token, since }) =>
  at(`connection/raw/${encodeURIComponent(channel)}`, { token, since: since && `${since.offset},${since.epoch}` });

/**
 * By name: what people call it, what it speaks, and how it is opened.
 *
 * `commands`: the client protocol; `first` is the connect command, for those wires that take it with their request.
 * `pushes`: the client protocol one way; all is in `first`, the connect request.
 * `payloads`: nothing but what was published; `first` says which channel, and since when.
 */
export const TRANSPORTS = {
  websocket: { label: "WebSocket", speaks: "commands", open: (on) => new SocketWire(on, at("connection/websocket")) },
  http_stream: { label: "HTTP streaming", speaks: "commands", asks: true, open: (on, first) => new StreamWire(on, first) },
  sse: {
    label: "Server-sent events", speaks: "commands", asks: true,
    open: (on, first) => new EventsWire(on, at("connection/sse", { cf_connect: first })),
  },
  long_poll: {
    label: "Long polling", speaks: "commands",
    open: (on) => new SocketWire(on, at("connection/websocket"), PollingWebSocket),
  },
  fallback: {
    label: "The best that works", speaks: "commands", hidden: true,
    open: (on) => new SocketWire(on, at("connection/websocket"), FallbackWebSocket),
  },
  uni_sse: {
    label: "Events, one way", speaks: "pushes",
    open: (on, first) => new EventsWire(on, at("connection/uni_sse", { cf_connect: first })),
  },
  raw_websocket: { label: "Bare WebSocket", speaks: "payloads", open: (on, first) => new SocketWire(on, rawUrl(first)) },
  raw_sse: { label: "Bare EventSource", speaks: "payloads", open: (on, first) => new RawEventsWire(on, rawUrl(first)) },
};
