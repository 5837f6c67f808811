/**
 * A client for test_everwire_js.py, in Node.js: sends numbered messages to an echo and checks what comes back.
 *
 *     node everwire_js_peer.mjs MODULE CLASS URL COUNT SEED
 *
 * It prints one line of JSON: how many messages came back in order, and how the WebSocket ended.
 */

const [module, name, url, count, seed] = process.argv.slice(2);
const ours = await import(module);
const ws = new ours[name](url);
ws.binaryType = "arraybuffer";

/** Numbers that look random, the same for each seed (a linear congruential generator). */
let state = Number(seed);
const random = below => (state = (state * 1103515245 + 12345) % 2147483648) % below;

/** Every other message is binary; each begins with its number, and is as long as chance has it. */
const message = number => {
    const text = `${number} ${"x".repeat(random(10) ? random(300) : random(5000))}`;
    return number % 2 ? text : new TextEncoder().encode(text);
};

const total = Number(count), seen = { received: 0, wrong: null };
let sent = 0;
const more = () => {
    for (let i = 0; i < 50 && sent < total; i++) ws.send(message(sent++));
};
ws.onopen = () => {
    console.log("open");
    more();
};
ws.onmessage = ({ data }) => {
    const text = typeof data === "string" ? data : new TextDecoder().decode(data);
    const number = Number(text.split(" ", 1)[0]);
    if (number !== seen.received || (typeof data === "string") !== Boolean(number % 2)) seen.wrong ??= [seen.received, text.slice(0, 20)];
    seen.received++;
    if (seen.received === total) ws.close(3000, "done");
    else if (sent - seen.received < 25) more();
};
ws.onclose = ({ code, reason, wasClean }) => {
    const left = ws.bufferedAmount;
    console.log(JSON.stringify({ ...seen, code, reason, wasClean, left, transport: ws.transport }));
};
