// The same connection as programs, with the address and subprotocols of the form.

import { h } from "./format.js";

// JSON's strings are strings of Python and of JavaScript, too.
const quote = (text) => JSON.stringify(text);

const join = (...lines) => lines.filter((line) => line !== null).join("\n") + "\n";

function client({ address, subprotocols }) {
  const list = subprotocols.length ? `, subprotocols=[${subprotocols.map(quote).join(", ")}]` : "";
  return join(
    "import asyncio",
    "import everwire",
    "",
    "",
    "async def main():",
    `    uri = ${quote(address)}`,
    `    async with everwire.connect(uri${list}) as ws:`,
    '        await ws.send("Hello, wire!")',
    "        print(await ws.recv())",
    "",
    "",
    "asyncio.run(main())",
  );
}

function server({ address, subprotocols }) {
  const room = /\/room\b/.test(address);
  const handler = room
    ? [
        "room = everwire.Topic()",
        "",
        "",
        "async def handle(ws):",
        "    room.add(ws)",
        "    async for message in ws:",
        "        room.publish(message)",
      ]
    : ["async def handle(ws):", "    async for message in ws:", "        await ws.send(message)"];
  return join(
    "import asyncio",
    "import everwire",
    "",
    room ? null : "",
    ...handler,
    "",
    "",
    "async def main():",
    "    async with everwire.serve(",
    "        handle,",
    '        "127.0.0.1",',
    "        8765,",
    subprotocols.length ? `        subprotocols=[${subprotocols.map(quote).join(", ")}],` : null,
    `        origins=["same", ${quote(location.origin)}],  # this page`,
    "    ) as server:",
    '        print("Serving ws://127.0.0.1:8765")',
    "        await server.serve_forever()",
    "",
    "",
    "asyncio.run(main())",
  );
}

function browserApi({ address, subprotocols }) {
  const list = subprotocols.length ? `, [${subprotocols.map(quote).join(", ")}]` : "";
  return join(
    "import asyncio",
    "import everwire",
    "",
    "",
    "async def main():",
    "    closed = asyncio.Event()",
    `    url = ${quote(address)}`,
    `    socket = everwire.WebSocket(url${list})`,
    "",
    "    def on_message(event):",
    "        print(event.data)",
    "        socket.close()",
    "",
    '    socket.onopen = lambda event: socket.send("Hello, wire!")',
    "    socket.onmessage = on_message",
    "    socket.onclose = lambda event: closed.set()",
    "    await closed.wait()",
    "",
    "",
    "asyncio.run(main())",
  );
}

function javascript({ address, subprotocols }) {
  const list = subprotocols.length ? `, [${subprotocols.map(quote).join(", ")}]` : "";
  return join(
    `const socket = new WebSocket(${quote(address)}${list});`,
    "",
    "socket.onopen = () => socket.send(\"Hello, wire!\");",
    "socket.onmessage = (event) => console.log(event.data);",
    "socket.onclose = (event) => {",
    "  console.log(event.code, event.reason);",
    "};",
  );
}

/** What there is a program for: its label, what makes it. */
export const SNIPPETS = {
  client: ["Client", client],
  server: ["Server", server],
  browser: ["Browser's API", browserApi],
  javascript: ["JavaScript", javascript],
};

const TOKENS =
  /("(?:[^"\\]|\\.)*")|(#.*|\/\/.*)|\b(async|await|def|with|as|for|in|import|const|new|class|lambda|print|return)\b|(\d+)/g;

/** A program as nodes, its strings, comments and keywords in elements of their own. */
export function highlight(code) {
  const nodes = [];
  let last = 0;
  for (const match of code.matchAll(TOKENS)) {
    nodes.push(code.slice(last, match.index));
    const kind = ["string", "comment", "keyword", "number"].find((_, index) => match[index + 1] !== undefined);
    nodes.push(h("span", { className: kind }, match[0]));
    last = match.index + match[0].length;
  }
  return [...nodes, code.slice(last)];
}
