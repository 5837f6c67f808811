// Why a connection closed, or never opened, in words (RFC 6455, section 7.4; IANA's registry of close codes).

const CODES = {
  1000: ["normal closure", "The work is done."],
  1001: ["going away", "The server is shutting down, or the page was left."],
  1002: ["protocol error", "One side broke the WebSocket protocol: a frame that is not allowed where it came."],
  1003: ["unsupported data", "The other side does not take this kind of message: binary where it wants text, say."],
  1005: ["no status", "The connection was closed properly, but without a code."],
  1006: [
    "abnormal closure",
    "The connection was lost without a goodbye: the server crashed or was killed, the network went away, " +
      "or a proxy cut a connection that was silent for too long. No code was sent; the browser made this one up.",
  ],
  1007: ["invalid payload", "Text that is not UTF-8, or data that does not decompress."],
  1008: ["policy violation", "A rule of the other side was broken; often who may connect, or how fast one may send."],
  1009: [
    "message too big",
    "A message was over the limit of the other side. everwire serve takes 1 MiB unless it is started with --max-size.",
  ],
  1010: ["extension missing", "The server did not agree to an extension that is needed."],
  1011: ["internal error", "The server failed: its log says why. everwire also uses it when a ping is not answered."],
  1012: ["service restart", "The server restarts; connect again."],
  1013: ["try again later", "The server is overloaded, or this client fell too far behind; connect again later."],
  1014: ["bad gateway", "A proxy got no valid answer from the server behind it."],
  1015: ["TLS handshake failed", "For example, the certificate is not valid."],
};

const WORTH_RETRYING = new Set([1001, 1005, 1006, 1011, 1012, 1013, 1014]);

/** Whether a new connection is likely to fare better. */
export const worthRetrying = (code) => WORTH_RETRYING.has(code);

/** The name and the meaning of a close code. */
export function meaningOf(code) {
  if (code in CODES) return CODES[code];
  if (code >= 4000) return ["private use", "A code of this application: its documentation says what it means."];
  if (code >= 3000) return ["registered", "A code that a library or framework has registered with IANA."];
  return ["reserved", "A code that no standard defines."];
}

/** What is to be said of the end of a connection: a title, facts about it and what it usually means. */
export function explainClose({ code, reason, wasClean }, asked) {
  const [name, meaning] = meaningOf(code);
  const by = asked ? "this page" : wasClean ? "the server" : null;
  return {
    title: `Closed with ${code} (${name})${by ? ` by ${by}` : ""}`,
    note: (reason ? `“${reason}” · ` : "") + meaning,
    bad: !asked && code !== 1000,
    notable: true,
    facts: [
      ["Who closed", by ?? "nobody: it was lost"],
      ["Code", `${code}, ${name}`],
      ["Reason", reason || "none was given"],
      ["Closing handshake", wasClean ? "completed" : "did not take place"],
    ],
    text: meaning,
  };
}

/** The causes of a failure that a browser does not tell a page, the likeliest first for this address. */
export function explainFailure(address, subprotocols) {
  const url = new URL(address);
  const secure = url.protocol === "wss:", causes = [];
  if (!secure && location.protocol === "https:") {
    causes.push("This page came over https, and browsers let such a page open wss:// addresses only (mixed content).");
  }
  if (url.host !== location.host) {
    causes.push(
      `The server refused this page's origin, ${location.origin}, with status 403. An everwire server is told ` +
        `to accept it with origins=["same", "${location.origin}"], or everwire serve --origins ${location.origin}.`,
    );
  }
  causes.push(`Nothing listens at ${url.host}, or a firewall keeps the page from it.`);
  causes.push(`The server is there, but ${url.pathname} is no WebSocket (404) or wants a password or token (401).`);
  causes.push(
    secure
      ? `${url.host} speaks no TLS (try ws://), or its certificate is not trusted: open https://${url.host} once to see.`
      : `${url.host} speaks TLS only: try wss://.`,
  );
  if (subprotocols.length) {
    causes.push(`The server accepts none of the subprotocols ${subprotocols.join(", ")}: a browser then gives up.`);
  }
  return {
    title: "Could not connect",
    note: "Nothing answers there, or the server refused: a browser does not tell a page which.",
    bad: true,
    notable: true,
    facts: [["Address", address]],
    text: "A browser does not tell a page why, so that pages cannot explore networks. Its console (F12) does. Likely:",
    causes,
  };
}
