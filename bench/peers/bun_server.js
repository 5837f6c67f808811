// Bun: uWebSockets (C++) called from JavaScript. Its publish leaves the sender out.
const [port, ...rest] = process.argv.slice(2);
const deflate = rest.includes("--deflate");
const at = rest.indexOf("--tls");
const tls = at < 0 ? undefined : { cert: Bun.file(rest[at + 1]), key: Bun.file(rest[at + 2]) };

Bun.serve({
  port: +port,
  hostname: "127.0.0.1",
  tls,
  fetch(request, server) {
    const fan = new URL(request.url).pathname === "/fan";
    return server.upgrade(request, { data: { fan } }) ? undefined : new Response("WebSocket only", { status: 426 });
  },
  websocket: {
    maxPayloadLength: 2 ** 26,
    backpressureLimit: 2 ** 28,
    idleTimeout: 0,
    perMessageDeflate: deflate,
    open(ws) {
      if (ws.data.fan) ws.subscribe("all");
    },
    message(ws, message) {
      if (ws.data.fan) ws.publish("all", message);
      ws.send(message, deflate);
    },
  },
});
