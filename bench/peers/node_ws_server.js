// ws, the WebSocket library of Node.js.
const { readFileSync } = require("node:fs");
const http = require("node:http");
const https = require("node:https");
const { WebSocketServer } = require("ws");

const [port, ...rest] = process.argv.slice(2);
const at = rest.indexOf("--tls");
const server = at < 0 ? http.createServer() : https.createServer({ cert: readFileSync(rest[at + 1]), key: readFileSync(rest[at + 2]) });
const sockets = new WebSocketServer({
  server,
  maxPayload: 2 ** 26,
  perMessageDeflate: rest.includes("--deflate") ? { threshold: 0 } : false,
});

sockets.on("connection", (ws, request) => {
  const fan = request.url === "/fan";
  ws.on("message", (data, binary) => {
    for (const to of fan ? sockets.clients : [ws]) to.send(data, { binary });
  });
});
server.listen({ port: +port, host: "127.0.0.1", backlog: 4096 });
