/**
 * WebSockets where WebSockets are blocked: classes with the interface of the browser's WebSocket that ride on
 * plain HTTP requests. The server lets them in with everwire's TunnelMiddleware; the hub has it built in.
 *
 *     import { FallbackWebSocket } from "/everwire.js";
 *     const ws = new FallbackWebSocket("wss://example.com/chat");
 *
 * No dependencies, no build step; in browsers, and wherever else there are fetch, EventTarget and Blob.
 */

const CONNECTING = 0, OPEN = 1, CLOSING = 2, CLOSED = 3;
const TEXT = 0x74, BINARY = 0x62, CLOSE = 0x63, NEXT = 0x6e, PING = 0x70; // the letters t b c n p
const BATCH = 1 << 18; // bytes of messages in one request; a single message may be larger
const OPEN_TIMEOUT = 20_000;
const CLOSE_TIMEOUT = 10_000;
const ACK_DELAY = 5000; // ms for which a message of a stream stays unacknowledged at most
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const HANDLERS = ["open", "message", "error", "close"];

const encoder = new TextEncoder();
const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const CloseEventClass = globalThis.CloseEvent ?? class CloseEvent extends Event {
    constructor(type, { code = 0, reason = "", wasClean = false, ...init } = {}) {
        super(type, init);
        Object.defineProperties(this, {
            code: { value: code, enumerable: true },
            reason: { value: reason, enumerable: true },
            wasClean: { value: wasClean, enumerable: true },
        });
    }
};

/** Runs a function in a task of its own, after those asked for before: so promises settle between two events. */
const later = globalThis.setImmediate ?? (() => {
    const { port1, port2 } = new MessageChannel(), waiting = [];
    port1.onmessage = () => waiting.shift()();
    return run => {
        waiting.push(run);
        port2.postMessage(0);
    };
})();

const fail = (name, message) => {
    throw new DOMException(message, name);
};

const sleep = ms => new Promise(resolve => setTimeout(resolve, ms));

const fromBase64 = text => Uint8Array.from(atob(text), letter => letter.charCodeAt(0));

/** A name or key that nobody can guess; crypto.randomUUID would need a secure context. */
const secret = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), byte =>
    byte.toString(16).padStart(2, "0")).join("");

/** A record: its kind, the length of its payload, its payload. */
const record = (kind, payload) => {
    const frame = new DataView(new ArrayBuffer(5));
    frame.setUint8(0, kind);
    frame.setUint32(1, payload.size ?? payload.length);
    return [frame, payload];
};

/** The payload of a close; 1005: none. */
const closing = (code, reason) => {
    if (code === 1005) return new Uint8Array();
    return Uint8Array.of(code >> 8, code & 255, ...encoder.encode(reason));
};

/** The body of an answer as it comes. */
async function* pieces(response) {
    if (!response.body) return void (yield new Uint8Array(await response.arrayBuffer()));
    const reader = response.body.getReader();
    try {
        for (let piece; !(piece = await reader.read()).done;) yield piece.value;
    } finally {
        reader.cancel().catch(() => {});
    }
}

/** Takes a body of records apart as it comes. */
class RecordReader {
    #left = new Uint8Array();

    * feed(bytes) {
        let data = bytes;
        if (this.#left.length) {
            data = new Uint8Array(this.#left.length + bytes.length);
            data.set(this.#left);
            data.set(bytes, this.#left.length);
        }
        let at = 0;
        for (let length; data.length - at >= 5; at += 5 + length) {
            length = new DataView(data.buffer, data.byteOffset + at).getUint32(1);
            if (data.length - at - 5 < length) break;
            yield [data[at], data.slice(at + 5, at + 5 + length)];
        }
        this.#left = data.slice(at);
    }
}

/** Takes server-sent events apart (HTML standard, section 9.2.6), as far as tunnels make use of them. */
class EventReader {
    #decoder = new TextDecoder();
    #left = "";

    * feed(bytes) {
        const events = (this.#left + this.#decoder.decode(bytes, { stream: true })).split("\n\n");
        this.#left = events.pop();
        for (const event of events) {
            const [, kind, data] = /^event: (.)\ndata: (.*)$/s.exec(event) ?? [];
            if (kind === "t") yield [TEXT, encoder.encode(JSON.parse(data))];
            else if (kind) yield [kind.charCodeAt(0), /[bc]/.test(kind) ? fromBase64(data) : encoder.encode(data)];
        }
    }
}

/**
 * A WebSocket inside of requests. It tells its owner by `opened`, `received` and `closed`.
 *
 * One request at a time is held for what comes; one at a time brings what goes. Both are repeated when they
 * fail: the numbers of the messages see to it that none is lost and none comes twice.
 */
class Tunnel {
    buffered = 0;
    extensions = "";
    protocol = "";
    #owner;
    #url;
    #modes; // the way that what comes takes, and those that are tried after it
    #timeout; // ms until a stream that has not begun to come is given up for the next way
    #head = { key: secret() };
    #limits = { poll_timeout: 25, timeout: 40, max_backlog: 1 << 20 };
    #over = false;
    #stops = new Set(); // end the requests that are under way
    #timer; // until it must be open, or closed
    #contact = Date.now(); // when the server was heard of last
    #open = false;
    #refused = false; // whether polls are answered with a refusal
    #proven = false; // whether this way has worked
    #received = 0; // the number of the last message that came
    #unacknowledged = 0; // bytes
    #ackTimer;
    #ackDue = false;
    #queue = []; // what the server has not confirmed yet
    #seq = 1; // the number of the first message in the queue
    #sending = false;
    #batch = BATCH; // bytes: less where requests tend to fail, since a server may see nothing of one that is cut
    #closing = null; // [code, reason] once close() was called
    #mute = false; // whether the server takes nothing any more, and is about to say why

    constructor(owner, url, protocols, modes, timeout = 5000) {
        this.#owner = owner;
        this.#modes = [...modes];
        this.#timeout = timeout;
        this.#url = `${url.replace(/^ws/, "http")}${url.includes("?") ? "&" : "?"}tunnel=${secret()}`;
        this.#timer = setTimeout(() => this.#end(1006, "", false), OPEN_TIMEOUT);
        this.#begin(protocols);
    }

    get transport() {
        return this.#modes[0];
    }

    send(kind, payload, size) {
        if (this.#over || this.#mute) return;
        this.buffered += size;
        this.#queue.push({ kind, payload, size });
        this.#flush();
    }

    close(code, reason) {
        this.#closing = [code, reason];
        clearTimeout(this.#timer);
        this.#timer = setTimeout(() => this.#end(1006, "", false), CLOSE_TIMEOUT);
        this.send(CLOSE, closing(code, reason), 0);
    }

    /** End at once, and tell nobody. */
    abandon() {
        this.#over = true;
        clearTimeout(this.#timer);
        clearTimeout(this.#ackTimer);
        for (const stop of this.#stops) stop.abort();
        globalThis.removeEventListener?.("pagehide", this.#leave);
    }

    #end(code, reason, wasClean) {
        if (this.#over) return;
        this.abandon();
        this.#owner.closed(code, reason, wasClean);
    }

    async #fetch(head, records, signal) {
        const body = new Blob([`${JSON.stringify({ ...this.#head, ...head })}\n`, ...records]);
        return fetch(this.#url, {
            // Bytes have no content type: a request to another origin needs no preflight.
            method: "POST", body: await body.arrayBuffer(), signal,
            cache: "no-store", credentials: "include", redirect: "error",
        });
    }

    /** Send a request; the status of the answer, and what it says if that is good. */
    async #ask(head, records, milliseconds) {
        const stop = new AbortController(), timer = setTimeout(() => stop.abort(), milliseconds);
        this.#stops.add(stop);
        try {
            const response = await this.#fetch(head, records, stop.signal);
            return { status: response.status, ok: response.ok, answer: response.ok ? await response.json() : null };
        } finally {
            clearTimeout(timer);
            this.#stops.delete(stop);
        }
    }

    /** Wait before what failed is done again; end it all if the server has not been heard of for long. */
    async #pause(failures) {
        if (Date.now() - this.#contact > this.#limits.timeout * 1000) this.#end(1006, "", false);
        else await sleep(Math.min(25 * 2 ** failures, 5000) * (0.5 + Math.random() / 2));
    }

    async #begin(protocols) {
        for (let tries = 0; tries < 2 && !this.#over; tries++) {
            try {
                const head = { op: "open", protocols, as: this.#modes[0] };
                const { ok, answer } = await this.#ask(head, [], OPEN_TIMEOUT);
                if (!ok) break;
                const { protocol, node, ...limits } = answer;
                // A subprotocol that was not asked for fails a WebSocket, too (RFC 6455, section 4.1).
                if (protocol ? !protocols.includes(protocol) : protocols.length) break;
                this.#limits = limits;
                this.#head.node = node; // other nodes pass on to it what they get
                this.protocol = protocol;
                this.#contact = Date.now();
                globalThis.addEventListener?.("pagehide", this.#leave);
                return this.#receive();
            } catch {
                if (!this.#over) await sleep(250);
            }
        }
        this.#end(1006, "", false);
    }

    #opened() {
        this.#proven = true;
        if (this.#open || this.#over) return;
        this.#open = true;
        clearTimeout(this.#timer);
        this.#owner.opened();
    }

    // What comes

    async #receive() {
        for (let poll = 1, failures = 0, unbegun = 0; !this.#over && !this.#refused; poll++) {
            const as = this.#modes[0], before = this.#contact;
            if (as === "long_poll") this.#opened();
            try {
                await this.#follow(poll, as);
                failures = 0;
            } catch {
                failures = this.#contact > before ? 0 : failures + 1;
            }
            // It may be a proxy that keeps back what streams.
            unbegun = this.#contact > before ? 0 : unbegun + 1;
            if (this.#modes.length > 1 && unbegun >= (this.#proven ? 3 : 1)) {
                this.#modes.shift();
                this.#proven = false;
                unbegun = failures = 0;
            } else if (failures && !this.#over) await this.#pause(failures);
        }
    }

    /** Send a poll and take what it brings. */
    async #follow(poll, as) {
        const patience = (this.#limits.poll_timeout + 10) * 1000;
        const stop = new AbortController(), abort = () => stop.abort();
        let timer = setTimeout(abort, as === "long_poll" ? patience : this.#timeout);
        this.#stops.add(stop);
        try {
            const response = await this.#fetch({ op: "poll", poll, as, ack: this.#received }, [], stop.signal);
            if ([400, 403, 404].includes(response.status)) {
                // The server does not know this tunnel any more. If we have closed it, that answer tells.
                this.#refused = true;
                if (!this.#closing) this.#end(1006, "", false);
                return;
            }
            if (!response.ok) throw new Error(`the answer is ${response.status}`);
            const reader = as === "sse" ? new EventReader() : new RecordReader();
            let next = this.#received + 1;
            for await (const bytes of pieces(response)) {
                for (const [kind, payload] of reader.feed(bytes)) {
                    this.#contact = Date.now();
                    this.#opened();
                    if (kind === NEXT) next = Number(strict.decode(payload));
                    else if (kind === PING) this.#acknowledge();
                    else this.#take(next++, kind, payload, as);
                }
                clearTimeout(timer);
                timer = setTimeout(abort, patience);
            }
        } finally {
            clearTimeout(timer);
            this.#stops.delete(stop);
            abort(); // what is still to come of the answer
        }
    }

    #take(number, kind, payload, as) {
        if (number > this.#received + 1) throw new Error("a message is missing");
        if (number <= this.#received || this.#over) return;
        this.#received = number;
        if (kind === CLOSE) {
            const code = payload.length ? payload[0] << 8 | payload[1] : 1005;
            this.#end(code, strict.decode(payload.subarray(2)), true);
            this.#ask({ op: "send", ack: number }, [], CLOSE_TIMEOUT).catch(() => {}); // it may forget us
            return;
        }
        this.#owner.received(kind === TEXT ? strict.decode(payload) : payload.buffer);
        if (as === "long_poll") return; // the next poll acknowledges it
        this.#unacknowledged += payload.length;
        if (this.#unacknowledged > this.#limits.max_backlog / 4) this.#acknowledge();
        else this.#ackTimer ??= setTimeout(() => this.#acknowledge(), ACK_DELAY);
    }

    #acknowledge() {
        this.#ackDue = true;
        this.#flush();
    }

    // What goes

    async #flush() {
        if (this.#sending) return;
        this.#sending = true;
        await null; // what is sent in one go, goes in one request
        for (let failures = 0; this.#open && !this.#over && (this.#queue.length || this.#ackDue);) {
            try {
                await this.#deliver();
                failures = 0;
            } catch {
                if (!this.#over) await this.#pause(failures++);
            }
        }
        this.#sending = false;
    }

    async #deliver() {
        const head = { op: "send", seq: this.#seq, ack: this.#received }, records = [];
        let bytes = 0;
        for (const { kind, payload, size } of this.#queue) {
            if (records.length && bytes + size > this.#batch) break;
            records.push(...record(kind, payload));
            bytes += size;
        }
        clearTimeout(this.#ackTimer);
        this.#ackTimer = undefined;
        this.#unacknowledged = 0;
        const patience = (this.#limits.poll_timeout + 10) * 1000 + bytes / 8;
        this.#ackDue = false;
        const batch = this.#batch;
        this.#batch = Math.max(Math.min(batch, bytes) / 4, 1024);
        const { status, ok, answer } = await this.#ask(head, records, patience);
        this.#batch = Math.min(2 * batch, BATCH);
        if (status === 404) return this.#end(...this.#closing ?? [1006, ""], this.#closing !== null);
        if (status === 400) {
            this.#mute = true;
            this.#queue = [];
            return;
        }
        if (!ok) throw new Error(`the answer is ${status}`);
        this.#contact = Date.now();
        for (; this.#seq <= answer.received; this.#seq++) {
            const { kind, size } = this.#queue.shift();
            this.buffered -= size;
            if (kind === CLOSE) this.#end(...this.#closing, true);
        }
    }

    /** The page is left: say so, as a browser does for a WebSocket (1001). */
    #leave = () => {
        const head = { ...this.#head, op: "send", seq: this.#seq, ack: this.#received };
        const queued = this.#queue.flatMap(({ kind, payload }) => record(kind, payload));
        const body = [`${JSON.stringify(head)}\n`, ...queued, ...record(CLOSE, closing(1001, ""))];
        navigator.sendBeacon?.(this.#url, new Blob(body));
        this.#end(1006, "", false);
    };
}

/** The browser's own WebSocket, told about as a tunnel tells. */
class Native {
    transport = "websocket";
    #ws;
    #opened = false;
    #timer;

    constructor(owner, WebSocket, url, protocols, timeout) {
        const ws = this.#ws = new WebSocket(url, protocols);
        ws.binaryType = "arraybuffer";
        ws.onopen = () => {
            clearTimeout(this.#timer);
            this.#opened = true;
            owner.opened();
        };
        ws.onmessage = ({ data }) => owner.received(data);
        ws.onclose = ({ code, reason, wasClean }) => {
            clearTimeout(this.#timer);
            if (this.#opened) owner.closed(code, reason, wasClean);
            else owner.blocked();
        };
        this.#timer = setTimeout(() => {
            this.abandon();
            owner.blocked();
        }, timeout);
    }

    get buffered() {
        return this.#ws.bufferedAmount;
    }

    get protocol() {
        return this.#ws.protocol;
    }

    get extensions() {
        return this.#ws.extensions;
    }

    send(kind, payload) {
        this.#ws.send(kind === TEXT ? strict.decode(payload) : payload);
    }

    close(code, reason) {
        if (code === 1005) this.#ws.close();
        else this.#ws.close(code, reason);
    }

    abandon() {
        clearTimeout(this.#timer);
        this.#ws.onopen = this.#ws.onmessage = this.#ws.onclose = null;
        this.#ws.close();
    }
}

/** What all classes here have in common: the interface of WebSocket (WHATWG WebSockets standard). */
class Base extends EventTarget {
    #url;
    #origin;
    #link; // a Tunnel or a Native
    #state = CONNECTING;
    #binaryType = "blob";
    #lost = 0; // bytes that were sent too late
    #handlers = {};

    constructor(url, protocols, given, connect) {
        super();
        if (!given) throw new TypeError("A WebSocket needs a URL.");
        const offered = protocols?.[Symbol.iterator] && typeof protocols === "object"
            ? Array.from(protocols, String) : [String(protocols)];
        this.#url = webSocketURL(url);
        this.#origin = new URL(this.#url).origin;
        if (offered.some(each => !TOKEN.test(each)) || new Set(offered).size !== offered.length)
            fail("SyntaxError", `The subprotocols ${offered} are not distinct tokens.`);
        this.#link = connect(this.#owner, this.#url, offered);
    }

    get url() {
        return this.#url;
    }

    get readyState() {
        return this.#state;
    }

    get bufferedAmount() {
        return this.#lost + this.#link.buffered;
    }

    get extensions() {
        return this.#state === CONNECTING ? "" : this.#link.extensions;
    }

    get protocol() {
        return this.#state === CONNECTING ? "" : this.#link.protocol;
    }

    get binaryType() {
        return this.#binaryType;
    }

    set binaryType(value) {
        if (["blob", "arraybuffer"].includes(String(value))) this.#binaryType = String(value);
    }

    /** Not of WebSocket: what it rides on, `"websocket"`, `"http_stream"`, `"sse"` or `"long_poll"`. */
    get transport() {
        return this.#link.transport;
    }

    send(data) {
        if (!arguments.length) throw new TypeError("send needs data");
        if (this.#state === CONNECTING) fail("InvalidStateError", "It is still connecting.");
        let kind = BINARY, payload = data;
        if (data instanceof ArrayBuffer) payload = new Uint8Array(data.slice(0));
        else if (ArrayBuffer.isView(data))
            payload = new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice();
        else if (!(data instanceof Blob)) [kind, payload] = [TEXT, encoder.encode(`${data}`)];
        const size = payload.size ?? payload.length;
        if (this.#state === OPEN) this.#link.send(kind, payload, size);
        else this.#lost += size;
    }

    close(code, reason) {
        if (code !== undefined) {
            code = Math.min(Math.max(Math.round(Number(code)) || 0, 0), 65535);
            if (code !== 1000 && !(code >= 3000 && code <= 4999))
                fail("InvalidAccessError", `The code must be 1000 or from 3000 to 4999, and is ${code}.`);
        }
        const text = reason === undefined ? "" : String(reason);
        if (encoder.encode(text).length > 123) fail("SyntaxError", "The reason is over 123 bytes.");
        if (this.#state >= CLOSING) return;
        const opened = this.#state === OPEN;
        this.#state = CLOSING;
        if (opened) this.#link.close(code ?? (text ? 1000 : 1005), text);
        else {
            this.#link.abandon();
            this.#close(1006, "", false);
        }
    }

    #owner = {
        opened: () => later(() => {
            if (this.#state !== CONNECTING) return;
            this.#state = OPEN;
            this.dispatchEvent(new Event("open"));
        }),
        received: data => later(() => {
            if (this.#state !== OPEN) return;
            const blob = typeof data !== "string" && this.#binaryType === "blob";
            const init = { data: blob ? new Blob([data]) : data, origin: this.#origin };
            this.dispatchEvent(new MessageEvent("message", init));
        }),
        closed: (code, reason, wasClean) => this.#close(code, reason, wasClean),
        replace: link => this.#state === CONNECTING && (this.#link = link()),
    };

    #close(code, reason, wasClean) {
        later(() => {
            if (this.#state === CLOSED) return;
            const failed = !wasClean;
            this.#state = CLOSED;
            if (failed) this.dispatchEvent(new Event("error"));
            this.dispatchEvent(new CloseEventClass("close", { code, reason, wasClean }));
        });
    }

    static {
        const constants = { CONNECTING, OPEN, CLOSING, CLOSED };
        for (const [name, value] of Object.entries(constants))
            for (const place of [Base, Base.prototype]) Object.defineProperty(place, name, { value, enumerable: true });
        for (const type of HANDLERS) {
            Object.defineProperty(Base.prototype, `on${type}`, {
                get() {
                    return this.#handlers[type]?.handler ?? null;
                },
                set(value) {
                    const known = this.#handlers[type];
                    const handler = typeof value === "function" || (typeof value === "object" && value) ? value : null;
                    if (known && handler) known.handler = handler;
                    else if (known) {
                        this.removeEventListener(type, known.listener);
                        delete this.#handlers[type];
                    } else if (handler) {
                        const made = this.#handlers[type] = { handler };
                        made.listener = event => typeof made.handler === "function" && made.handler.call(this, event);
                        this.addEventListener(type, made.listener);
                    }
                },
                enumerable: true,
                configurable: true,
            });
        }
        Object.defineProperty(Base.prototype, Symbol.toStringTag, { value: "WebSocket", configurable: true });
        for (const name of ["url", "readyState", "bufferedAmount", "extensions", "protocol", "binaryType", "send", "close"])
            Object.defineProperty(Base.prototype, name, { enumerable: true });
    }
}

/** Connects by a tunnel in which messages come in one way. */
const tunneled = way => (owner, url, protocols) => new Tunnel(owner, url, protocols, [way]);

/** The URL of a WebSocket, from what a constructor is given. */
function webSocketURL(given) {
    let url;
    try {
        url = new URL(String(given), globalThis.document?.baseURI ?? globalThis.location?.href);
    } catch {
        fail("SyntaxError", `The URL '${given}' is invalid.`);
    }
    const scheme = { "http:": "ws:", "https:": "wss:" }[url.protocol] ?? url.protocol;
    if (scheme !== "ws:" && scheme !== "wss:") fail("SyntaxError", `The scheme of '${given}' is not ws, wss, http or https.`);
    if (url.href.includes("#")) fail("SyntaxError", `The URL '${given}' has a fragment.`);
    return scheme + url.href.slice(url.protocol.length);
}

/** Each message, or a few at a time, is the answer to a request: what gets through wherever HTTP does. */
export class PollingWebSocket extends Base {
    constructor(url, protocols = []) {
        super(url, protocols, arguments.length, tunneled("long_poll"));
    }
}

/** Messages come as server-sent events: for proxies that pass on nothing but those as they come. */
export class EventSourceWebSocket extends Base {
    constructor(url, protocols = []) {
        super(url, protocols, arguments.length, tunneled("sse"));
    }
}

/** Messages come as the body of one long answer. */
export class StreamingWebSocket extends Base {
    constructor(url, protocols = []) {
        super(url, protocols, arguments.length, tunneled("http_stream"));
    }
}

/**
 * A real WebSocket where one can be opened, else a tunnel: as a stream, as server-sent events or by polling.
 *
 * What worked is remembered for the page's session, by host: see `FallbackWebSocket.remember`.
 */
export class FallbackWebSocket extends Base {
    /** Milliseconds that a WebSocket may take to open, and a stream to begin to come. */
    static timeout = 5000;
    /** Milliseconds for which a host is not tried with a WebSocket again when a tunnel was needed. */
    static remember = 600_000;
    /** The ways in which messages may come in a tunnel, best first. */
    static transports = ["http_stream", "sse", "long_poll"];
    /** The class that is tried first; null: none. */
    static WebSocket = globalThis.WebSocket ?? null;

    constructor(url, protocols = []) {
        super(url, protocols, arguments.length, connectSomehow);
    }
}

function connectSomehow(owner, url, protocols) {
    const { timeout, transports, WebSocket } = FallbackWebSocket, host = new URL(url).host;
    const known = memory.get(host);
    const native = WebSocket && !transports.includes(known);
    const tunnel = () => {
        const modes = native || !known ? transports : transports.slice(transports.indexOf(known));
        let opened = false;
        const watch = {
            ...owner,
            opened() {
                opened = true;
                memory.set(host, link.transport);
                owner.opened();
            },
            closed(...how) {
                if (!opened) memory.delete(host);
                owner.closed(...how);
            },
        };
        const link = new Tunnel(watch, url, protocols, modes, timeout);
        return link;
    };
    if (!native) return tunnel();
    const watch = { ...owner, blocked: () => owner.replace(tunnel) };
    return new Native(watch, WebSocket, url, protocols, timeout);
}

/** What worked for which host, for as long as the tab is open. */
const memory = {
    kept: {},
    get(host) {
        let kept = this.kept[host];
        try {
            kept ??= JSON.parse(sessionStorage.getItem(`everwire:${host}`));
        } catch { /* there is no storage here, or it holds what is not ours */ }
        return kept && Date.now() - kept.at < FallbackWebSocket.remember ? kept.transport : undefined;
    },
    set(host, transport) {
        this.kept[host] = { transport, at: Date.now() };
        try {
            sessionStorage.setItem(`everwire:${host}`, JSON.stringify(this.kept[host]));
        } catch { /* then only as long as the page is */ }
    },
    delete(host) {
        delete this.kept[host];
        try {
            sessionStorage.removeItem(`everwire:${host}`);
        } catch { /* as above */ }
    },
};
