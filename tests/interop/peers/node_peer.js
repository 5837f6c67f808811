// A peer with ws, the WebSocket library of Node.js. What it can be told to do is described in control.py.
"use strict";

const crypto = require("node:crypto");
const fs = require("node:fs");
const http = require("node:http");
const https = require("node:https");
const net = require("node:net");
const readline = require("node:readline");
const { WebSocket, WebSocketServer } = require("ws");

const WHOLE = 1 << 16;

const NAMES = {
    server_no_context_takeover: "serverNoContextTakeover",
    client_no_context_takeover: "clientNoContextTakeover",
    server_max_window_bits: "serverMaxWindowBits",
    client_max_window_bits: "clientMaxWindowBits",
};

function deflate(compression) {
    if (compression === undefined || compression === null) return false;
    const options = { threshold: 0 };
    for (const [name, value] of Object.entries(compression)) options[NAMES[name]] = value;
    return options;
}

function unpack({ text, bytes, times = 1 }) {
    if (text !== undefined) return text.repeat(times);
    const unit = Buffer.from(bytes, "base64");
    return times === 1 ? unit : Buffer.concat(Array(times).fill(unit));
}

function report({ data, binary }) {
    if (data.length > WHOLE) {
        const sha256 = crypto.createHash("sha256").update(data).digest("hex");
        return { kind: binary ? "bytes" : "text", size: data.length, sha256 };
    }
    return binary ? { bytes: data.toString("base64") } : { text: data.toString() };
}

// Values that come, for those who wait for them.
class Queue {
    constructor() {
        this.values = [];
        this.waiting = [];
    }

    put(value) {
        if (this.waiting.length) this.waiting.shift()(value);
        else this.values.push(value);
    }

    get() {
        if (this.values.length) return this.values.shift();
        return new Promise((resolve) => this.waiting.push(resolve));
    }
}

class Peer {
    constructor(ws) {
        this.ws = ws;
        this.messages = new Queue();
        this.pongs = new Queue();
        this.ended = new Promise((resolve) => {
            ws.on("close", (code, reason) => resolve({ code, reason: reason.toString() }));
        });
        ws.on("message", (data, binary) => this.messages.put({ data, binary }));
        ws.on("pong", (data) => this.pongs.put(data.toString()));
        ws.on("error", (error) => this.messages.put({ error }));
        ws.on("close", (code) => this.messages.put({ error: new Error(`the connection is closed: ${code}`) }));
    }

    send(data, options) {
        return new Promise((resolve, reject) => {
            this.ws.send(data, options, (error) => (error ? reject(error) : resolve()));
        });
    }
}

class Session {
    constructor() {
        this.peers = [];
        this.accepted = new Queue();
        this.servers = [];
    }

    describe(peer, extensions) {
        this.peers.push(peer);
        return { name: this.peers.length - 1, subprotocol: peer.ws.protocol || null, extensions };
    }

    async connect({ uri, subprotocols, compression, origin, ca }) {
        const ws = new WebSocket(uri, subprotocols ?? [], {
            perMessageDeflate: deflate(compression),
            origin,
            ca: ca ? fs.readFileSync(ca) : undefined,
            maxPayload: 0,
        });
        let extensions = "";
        ws.on("upgrade", (response) => (extensions = response.headers["sec-websocket-extensions"] ?? ""));
        const opened = new Promise((resolve, reject) => {
            ws.on("open", resolve);
            ws.on("error", reject);
        });
        const peer = new Peer(ws);
        await opened;
        return this.describe(peer, extensions);
    }

    async listen({ subprotocols, compression, cert, key }) {
        const tls = cert ? { cert: fs.readFileSync(cert), key: fs.readFileSync(key) } : undefined;
        const listening = tls ? https.createServer(tls) : http.createServer();
        const server = new WebSocketServer({
            server: listening,
            perMessageDeflate: deflate(compression),
            maxPayload: 0,
            handleProtocols: (offered) => (subprotocols ?? []).find((each) => offered.has(each)) ?? false,
        });
        this.servers.push(server, listening);
        server.on("connection", (ws) => this.accepted.put(new Peer(ws)));
        await new Promise((resolve) => listening.listen(0, "127.0.0.1", resolve));
        return { port: listening.address().port };
    }

    async accept() {
        return this.describe(await this.accepted.get(), "");
    }

    async send({ name, messages }) {
        const peer = this.peers[name];
        await Promise.all(messages.map((message) => peer.send(unpack(message), {})));
        return {};
    }

    async send_fragments({ name, parts }) {
        const peer = this.peers[name];
        await Promise.all(
            parts.map((part, i) =>
                peer.send(unpack(part), { fin: i === parts.length - 1, binary: part.bytes !== undefined }),
            ),
        );
        return {};
    }

    async receive({ name, count }) {
        const messages = [];
        for (let i = 0; i < count; i++) {
            const message = await this.peers[name].messages.get();
            if (message.error) throw message.error;
            messages.push(report(message));
        }
        return { messages };
    }

    async ping({ name, data }) {
        const { ws, pongs } = this.peers[name];
        ws.ping(data);
        while ((await pongs.get()) !== data);
        return {};
    }

    async close({ name, code, reason }) {
        const { ws, ended } = this.peers[name];
        ws.close(code, reason);
        await ended;
        return {};
    }

    ended({ name }) {
        return this.peers[name].ended;
    }

    end() {
        for (const { ws } of this.peers) ws.terminate();
        for (const server of this.servers) {
            for (const ws of server.clients ?? []) ws.terminate();
            server.close();
        }
    }
}

const control = net.createServer((socket) => {
    const session = new Session();
    socket.on("error", () => {});
    socket.on("close", () => session.end());
    readline.createInterface({ input: socket }).on("line", async (line) => {
        const { id, do: what, ...args } = JSON.parse(line);
        let answer;
        try {
            answer = await session[what](args);
        } catch (error) {
            answer = { error: String(error) };
        }
        if (!socket.destroyed) socket.write(`${JSON.stringify({ id, ...answer })}\n`);
    });
});
control.listen(0, "127.0.0.1", () => console.log(`port ${control.address().port}`));

// The end of standard input is the end of the test session.
process.stdin.on("end", () => process.exit(0)).resume();
