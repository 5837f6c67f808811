// One entry in full: a text as it is or as JSON to fold, binary data in hex or as the image that it is, an event in words.

import { copy, formatCount, formatDuration, formatSize, formatTime, h, hexDump, hexOf, save } from "./format.js";

const SHOWN_TEXT = 64 * 1024, SHOWN_BYTES = 4096, SHOWN_CHILDREN = 200;
const LARGEST_JSON = 1024 * 1024, LARGEST_IMAGE = 8 * 1024 * 1024, IMAGE_PIXELS = 320;
const IMAGES = [["image/png", /^89 50 4e 47 0d 0a 1a 0a/], ["image/jpeg", /^ff d8 ff/], ["image/gif", /^47 49 46 38/],
  ["image/webp", /^52 49 46 46 .. .. .. .. 57 45 42 50/]];

/** Draw an entry into a node. */
export function showDetails(node, entry) {
  if (entry.kind === "event") return node.replaceChildren(...eventDetails(entry));
  const content = h("div", { className: "content" });
  node.replaceChildren(heading(entry), content);
  if (typeof entry.data === "string") showText(content, entry.data);
  else showBinary(content, entry.data);
  return undefined;
}

function heading(entry) {
  const way = entry.kind === "sent" ? "Sent" : "Received", text = typeof entry.data === "string";
  const facts = [text ? "text" : "binary", formatSize(entry.size), `at ${formatTime(entry.at)}`];
  if (entry.rtt !== undefined) facts.push(`${formatDuration(entry.rtt)} there and back`);
  const button = h("button", { type: "button", className: "text" }, text ? "Copy" : "Save");
  button.onclick = () => (text ? copy(entry.data, button) : save(new Blob([entry.data]), entry.data.name ?? "message.bin"));
  return h("div", { className: "heading" }, h("p", {}, h("strong", {}, way), ` ${facts.join(" · ")}`), button);
}

function* eventDetails({ title, bad, text, facts = [], causes, at }) {
  yield h("p", { className: bad ? "title bad" : "title" }, title);
  if (text) yield h("p", {}, text);
  if (causes) yield h("ul", {}, ...causes.map((cause) => h("li", {}, cause)));
  const rows = [["Time", formatTime(at)], ...facts];
  yield h("dl", { className: "facts" }, ...rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

const cut = (shown, all, unit) => h("p", { className: "note" }, `The first ${formatCount(shown)} of ${formatCount(all)} ${unit}.`);

// ---- text

function showText(node, text) {
  const raw = () => {
    const parts = [h("pre", { tabIndex: 0, ariaLabel: "Message", role: "region" }, text.slice(0, SHOWN_TEXT))];
    if (text.length > SHOWN_TEXT) parts.push(cut(SHOWN_TEXT, text.length, "characters"));
    return parts;
  };
  const value = parse(text);
  if (value === undefined) return node.replaceChildren(...(text ? raw() : [h("p", { className: "note" }, "An empty message.")]));
  const views = { Tree: () => [h("div", { className: "tree" }, branch(null, value, true))], Raw: raw };
  return choose(node, views);
}

/** The object or array that a text is the JSON of; other JSON is as readable as it is. */
function parse(text) {
  if (text.length > LARGEST_JSON || !/^\s*[[{]/.test(text)) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Several views of the same, one at a time, with a button for each. */
function choose(node, views) {
  const body = h("div"), buttons = Object.keys(views).map((name) => h("button", { type: "button" }, name));
  const pick = (button) => {
    for (const each of buttons) each.ariaPressed = String(each === button);
    body.replaceChildren(...views[button.textContent]());
  };
  for (const button of buttons) button.onclick = () => pick(button);
  node.replaceChildren(h("div", { className: "segments", role: "group", ariaLabel: "View" }, ...buttons), body);
  pick(buttons[0]);
}

/** A value of JSON, its children made only when it is unfolded. */
function branch(key, value, open = false) {
  const label = key === null ? [] : [h("span", { className: "key" }, typeof key === "string" ? JSON.stringify(key) : `${key}`), ": "];
  if (value === null || typeof value !== "object") {
    const shown = h("span", { className: value === null ? "null" : typeof value }, JSON.stringify(value));
    return h("div", { className: "leaf" }, ...label, shown);
  }
  const array = Array.isArray(value), count = array ? value.length : Object.keys(value).length;
  const brief = array ? `[ ${count} ]` : `{ ${count} }`;
  const node = h("details", {}, h("summary", {}, ...label, h("span", { className: "brief" }, brief)));
  const fill = () => {
    const entries = array ? [...value.slice(0, SHOWN_CHILDREN).entries()] : Object.entries(value).slice(0, SHOWN_CHILDREN);
    node.append(...entries.map(([name, child]) => branch(name, child)));
    if (count > SHOWN_CHILDREN) node.append(cut(SHOWN_CHILDREN, count, "values"));
  };
  node.addEventListener("toggle", () => node.open && fill(), { once: true });
  node.open = open;
  return node;
}

// ---- binary

async function showBinary(node, data) {
  const size = data.size ?? data.length;
  if (size === 0) return node.replaceChildren(h("p", { className: "note" }, "An empty binary message."));
  const blob = data instanceof Blob ? data : null;
  let bytes;
  try {
    bytes = blob ? new Uint8Array(await blob.slice(0, SHOWN_BYTES).arrayBuffer()) : data.subarray(0, SHOWN_BYTES);
  } catch {
    return node.replaceChildren(h("p", { className: "note" }, "The file cannot be read any more: it was moved or changed."));
  }
  const width = node.clientWidth > 560 ? 16 : 8;
  const hex = () => {
    const parts = [h("pre", { tabIndex: 0, className: "hex", role: "region", ariaLabel: "Bytes" }, hexDump(bytes, width))];
    if (size > bytes.length) parts.push(cut(bytes.length, size, "bytes"));
    return parts;
  };
  const type = IMAGES.find(([, magic]) => magic.test(hexOf(bytes.subarray(0, 12))))?.[0];
  if (!type || size > LARGEST_IMAGE) return node.replaceChildren(...hex());
  return choose(node, { Image: () => [picture(blob ?? new Blob([data]), type)], Hex: hex });
}

/** An image, drawn by the browser's decoder of bitmaps: of these types none can hold a script. */
function picture(blob, type) {
  const canvas = h("canvas", { className: "picture", role: "img", ariaLabel: `An image, ${type}`, width: 1, height: 1 });
  const caption = h("figcaption", { className: "note" }, type);
  createImageBitmap(new Blob([blob], { type })).then(
    (image) => {
      const scale = Math.min(1, IMAGE_PIXELS / Math.max(image.width, image.height));
      canvas.width = Math.max(Math.round(image.width * scale), 1);
      canvas.height = Math.max(Math.round(image.height * scale), 1);
      canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
      caption.textContent = `${type}, ${image.width} × ${image.height} pixels`;
      image.close();
    },
    () => (caption.textContent = `It begins like ${type}, but is none that this browser can read.`),
  );
  return h("figure", {}, canvas, caption);
}
