/**
 * What a page may do with a WebSocket. Each scene takes a class and returns what can be seen of it, as JSON:
 * the browser's own class and ours must not differ. `at(path)` is the URL of a WebSocket of the peer.
 */

const at = path => new URL(path, location.href).href.replace(/^http/, "ws");

/** What is thrown, as its name and class. */
const thrown = run => {
    try {
        run();
        return "nothing";
    } catch (error) {
        return [error.name, error instanceof DOMException];
    }
};

/** A WebSocket, once it is open. */
const opened = (Class, path, protocols) => new Promise((resolve, reject) => {
    const ws = new Class(at(path), protocols ?? []);
    ws.binaryType = "arraybuffer";
    ws.onopen = () => resolve(ws);
    ws.onerror = reject;
});

const next = ws => new Promise(resolve => ws.addEventListener("message", resolve, { once: true }));

const ended = ws => new Promise(resolve => ws.addEventListener("close", event => {
    const { code, reason, wasClean } = event;
    resolve({ code, reason, wasClean, class: event.constructor.name });
}));

/** The types of the events until it is closed, and the states in which they came. */
const diary = ws => {
    const seen = [];
    for (const type of ["open", "message", "error", "close"])
        ws.addEventListener(type, event => seen.push([event.type, event.constructor.name, ws.readyState]));
    return ended(ws).then(() => seen);
};

const describe = data => typeof data === "string" ? data
    : data instanceof Blob ? data.text().then(text => ["blob", data.size, text])
    : [data.constructor.name, ...new Uint8Array(data)];

export const scenes = {
    constants: Class => [Class, Class.prototype].map(place =>
        ["CONNECTING", "OPEN", "CLOSING", "CLOSED"].map(name => {
            const { value, writable, enumerable } = Object.getOwnPropertyDescriptor(owner(place, name), name);
            return [name, value, writable, enumerable];
        })),

    attributes: Class => ["url", "readyState", "bufferedAmount", "extensions", "protocol", "binaryType",
        "onopen", "onmessage", "onerror", "onclose", "send", "close"].map(name => {
        const { get, set, value, enumerable } = Object.getOwnPropertyDescriptor(owner(Class.prototype, name), name);
        return [name, typeof get, typeof set, typeof value, enumerable];
    }),

    "a new one": async Class => {
        const ws = new Class(at("/echo?a=%20b"));
        const said = [
            ws.url === at("/echo?a=%20b"), ws.readyState, ws.bufferedAmount, ws.extensions, ws.protocol,
            ws.binaryType, ws.onopen, ws.onmessage, ws.onerror, ws.onclose,
            ws instanceof EventTarget, Object.prototype.toString.call(ws), Class.length,
        ];
        await new Promise(resolve => ws.onopen = resolve);
        ws.close();
        return said;
    },

    "URLs": async Class => {
        const found = [];
        for (const url of ["", "ws:", "ftp://x/", "mailto:x", "ws://x/#", "ws://x/#a", "http://x/#b", "//[", "ws://a b/"])
            found.push([url, thrown(() => new Class(url).close())]);
        for (const url of ["/echo", "echo?x", location.href, at("/ä"), new URL(at("/echo"))]) {
            const ws = new Class(url);
            found.push(ws.url);
            ws.close();
        }
        return [found, thrown(() => new Class()), thrown(() => Class(at("/")))];
    },

    "subprotocols": Class => [
        "", " ", "a b", "a,b", "ü", "a/b", "(a)", [""], ["a", "a"], ["a", "A"], ["a", "b"], "a", [], undefined, null, 7, {},
    ].map(protocols => thrown(() => new Class(at("/echo"), protocols).close())),

    "a subprotocol that is chosen": async Class => {
        const found = [];
        for (const protocols of [[], ["chat.v1"], "chat.v0", ["x", "chat.v0", "chat.v1"]]) {
            const ws = await opened(Class, "/echo", protocols);
            found.push([ws.protocol, ws.extensions.length >= 0]);
            ws.close();
            await ended(ws);
        }
        return found;
    },

    "a subprotocol that is not taken": Class => diary(new Class(at("/echo"), ["other"])),

    "text": async Class => {
        const ws = await opened(Class, "/echo"), found = [];
        for (const text of ["", "hello", "Grüße, 你好, 👋🏽", "\0\x7f\u2028\r\n\n", "lone \ud800 surrogate", "a".repeat(70_000)]) {
            ws.send(text);
            const { data, origin, lastEventId, source, ports } = await next(ws);
            found.push([data.length, data.slice(0, 99), origin === new URL(at("/")).origin, lastEventId, source, ports.length]);
        }
        ws.close();
        return found;
    },

    "what is no text": async Class => {
        const ws = await opened(Class, "/echo"), found = [], bytes = Uint8Array.of(0, 1, 254, 255);
        const sent = [
            bytes, bytes.buffer, bytes.subarray(1, 3), new Uint16Array(bytes.buffer), new DataView(bytes.buffer, 1, 2),
            new Uint8Array(), new Blob(["a", "b"]), new Blob(), 7, null, undefined, {}, [1, 2], true, new Date(0).getTime(),
        ];
        for (const type of ["arraybuffer", "blob"]) {
            ws.binaryType = type;
            for (const data of sent) {
                ws.send(data);
                found.push(await describe((await next(ws)).data));
            }
        }
        found.push(thrown(() => ws.send()), thrown(() => ws.send(Symbol())));
        ws.close();
        return found;
    },

    "what is changed after it was sent": async Class => {
        const ws = await opened(Class, "/echo"), bytes = Uint8Array.of(1, 2, 3);
        ws.send(bytes);
        bytes.fill(9);
        const { data } = await next(ws);
        ws.close();
        return describe(data);
    },

    "blobs and text in order": async Class => {
        const ws = await opened(Class, "/echo"), found = [];
        for (let i = 0; i < 20; i++) ws.send(i % 3 ? `${i}` : new Blob([`${i}`]));
        const all = new Promise(resolve => ws.onmessage = ({ data }) => {
            found.push(typeof data === "string" ? data : new TextDecoder().decode(data));
            if (found.length === 20) resolve();
        });
        await all;
        ws.close();
        return found;
    },

    "binaryType": async Class => {
        const ws = await opened(Class, "/echo"), found = [];
        for (const type of ["blob", "x", "arraybuffer", "", null]) {
            ws.binaryType = type;
            found.push(ws.binaryType);
        }
        ws.close();
        return found;
    },

    "the URL's query": async Class => {
        const ws = new Class(at("/query?x=1&y=%20&z=ä&&"));
        const { data } = await next(ws);
        ws.close();
        return data;
    },

    "one message at a time": async Class => {
        const ws = new Class(at("/count?to=300")), found = [];
        while (found.length < 300) found.push(await new Promise(resolve => ws.onmessage = ({ data }) => resolve(data)));
        ws.close();
        return found;
    },

    "sending too early": async Class => {
        const ws = new Class(at("/echo"));
        const found = thrown(() => ws.send("x"));
        ws.close();
        return found;
    },

    "sending too late": async Class => {
        const ws = await opened(Class, "/echo");
        ws.close();
        const found = [ws.readyState, ws.bufferedAmount];
        ws.send("äb");
        ws.send(new Uint8Array(10));
        ws.send(new Blob(["abc"]));
        found.push(ws.bufferedAmount);
        await ended(ws);
        ws.send("x");
        return [...found, ws.readyState, ws.bufferedAmount];
    },

    "bufferedAmount": async Class => {
        const ws = await opened(Class, "/echo");
        const found = [ws.bufferedAmount];
        ws.send("äöü");
        ws.send(new Uint8Array(10));
        found.push(ws.bufferedAmount);
        await next(ws);
        await next(ws);
        for (let tries = 0; ws.bufferedAmount && tries < 100; tries++) await new Promise(resolve => setTimeout(resolve, 10));
        found.push(ws.bufferedAmount);
        ws.close();
        return found;
    },

    "codes and reasons that cannot be": Class => {
        const ws = new Class(at("/echo"));
        const found = [0, 999, 1001, 1005, 1006, 2999, 5000, -1, 70000, NaN, "x", null, {}, 65536 + 1000].map(code =>
            [String(code), thrown(() => ws.close(code))]);
        found.push(thrown(() => ws.close(1000, "x".repeat(124))), thrown(() => ws.close(1000, "ä".repeat(62))));
        found.push(ws.readyState);
        ws.close();
        return found;
    },

    "closing": async Class => {
        const found = [];
        for (const how of [[], [1000], [1000, "done"], [3000, "ä".repeat(61)], [4999, ""], [3000.4], ["3001"]]) {
            const ws = await opened(Class, "/echo"), seen = diary(ws), end = ended(ws);
            ws.close(...how);
            const state = ws.readyState;
            ws.close(3333);
            const { code, wasClean } = await end;
            found.push([how, state, code, wasClean, await seen, ws.readyState]);
        }
        return found;
    },

    "closing at once": async Class => {
        const ws = new Class(at("/echo")), seen = diary(ws), end = ended(ws);
        ws.close(3000, "x");
        return [ws.readyState, await end, await seen];
    },

    "closing after sending": async Class => {
        const ws = await opened(Class, "/echo"), seen = [];
        for (let i = 0; i < 100; i++) ws.send(`${i}`);
        ws.onmessage = ({ data }) => seen.push(data);
        ws.close();
        await ended(ws);
        return seen; // what comes after close() was called is not told
    },

    "the server closes": async Class => {
        const found = [];
        for (const [code, reason] of [[1000, ""], [1000, "done"], [1011, "x"], [3000, "adiós, 再见 👋"], [4999, ""]]) {
            const ws = new Class(at(`/close/x?code=${code}&reason=${encodeURIComponent(reason)}`));
            found.push(await Promise.all([ended(ws), diary(ws)]));
        }
        return found;
    },

    "the last words of the server": async Class => {
        const ws = new Class(at("/count?to=50&close=3000")), seen = [];
        ws.onmessage = ({ data }) => seen.push(data);
        return [await ended(ws), seen];
    },

    "refused": async Class => {
        const ws = new Class(at("/refuse"));
        return [await Promise.all([ended(ws), diary(ws)]), ws.protocol, ws.bufferedAmount];
    },

    "nobody there": async Class => {
        const ws = new Class("ws://127.0.0.1:9/");
        return Promise.all([ended(ws), diary(ws)]);
    },

    "handlers": async Class => {
        const ws = await opened(Class, "/echo"), seen = [], first = () => seen.push("first");
        ws.onopen = null;
        ws.onmessage = first;
        ws.addEventListener("message", () => seen.push("listener"));
        const found = [ws.onmessage === first];
        ws.onmessage = function (event) {
            seen.push(["second", this === ws, event.target === ws, event.currentTarget === ws]);
        };
        ws.send("1");
        await next(ws);
        await new Promise(resolve => setTimeout(resolve));
        for (const value of [7, "x", undefined, {}]) {
            ws.onmessage = value;
            found.push(typeof ws.onmessage, ws.onmessage === value);
        }
        ws.onmessage = { handleEvent: () => seen.push("never") };
        ws.send("2");
        await next(ws);
        ws.onmessage = null;
        ws.onmessage = () => seen.push("last");
        ws.send("3");
        await next(ws);
        await new Promise(resolve => setTimeout(resolve));
        ws.close();
        return [found, seen];
    },

    "an event that goes nowhere else": async Class => {
        const ws = await opened(Class, "/echo");
        ws.send("x");
        const event = await next(ws);
        ws.close();
        return [event.bubbles, event.cancelable, event.composed, event.type, Object.prototype.toString.call(event)];
    },
};

/** Where in its chain of prototypes an object has an attribute. */
function owner(object, name) {
    while (!Object.hasOwn(object, name)) object = Object.getPrototypeOf(object);
    return object;
}

/** What a scene shows of a class. */
export const play = async (name, Class) => {
    const late = new Promise(resolve => setTimeout(resolve, 10_000, "takes too long"));
    return JSON.parse(JSON.stringify(await Promise.race([scenes[name](Class), late]) ?? null));
};
