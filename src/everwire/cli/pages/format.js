// Numbers, times and bytes as people read them, and the making of elements.

const encoder = new TextEncoder();
const scratch = new Uint8Array(16 * 1024);

/** The size of a text on the wire, in bytes of UTF-8. */
export function byteLength(text) {
  if (text.length * 3 > scratch.length) return encoder.encode(text).length;
  return encoder.encodeInto(text, scratch).written;
}

export const formatCount = (count) => count.toLocaleString("en");

export function formatSize(bytes) {
  if (bytes < 1024) return `${Math.round(bytes)} B`;
  const power = Math.min(Math.floor(Math.log2(bytes) / 10), 3);
  const value = bytes / 1024 ** power;
  return `${value.toFixed(value < 100 && !Number.isInteger(value) ? 1 : 0)} ${["", "KiB", "MiB", "GiB"][power]}`;
}

/** A duration in milliseconds. */
export function formatDuration(ms) {
  return ms < 10 ? `${ms.toFixed(2)} ms` : ms < 1000 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(2)} s`;
}

export function formatTime(stamp) {
  const date = new Date(stamp);
  const [hours, minutes, seconds] = [date.getHours(), date.getMinutes(), date.getSeconds()].map(twoDigits);
  return `${hours}:${minutes}:${seconds}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}

const twoDigits = (number) => String(number).padStart(2, "0");

export const hexOf = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(" ");

const asciiOf = (bytes) =>
  Array.from(bytes, (byte) => (byte > 31 && byte < 127 ? String.fromCharCode(byte) : "·")).join("");

/** The beginning of binary data on one line: its bytes in hex, then as ASCII. */
export function hexLine(bytes) {
  const part = bytes.subarray(0, 24);
  return `${hexOf(part)}${bytes.length > part.length ? " …" : ""}  ${asciiOf(part)}`;
}

/** Lines of an offset, bytes in hex, and the same as ASCII. */
export function hexDump(bytes, width) {
  const lines = [];
  for (let at = 0; at < bytes.length; at += width) {
    const part = bytes.subarray(at, at + width);
    const offset = at.toString(16).padStart(4, "0");
    lines.push(`${offset}  ${hexOf(part).padEnd(width * 3 - 1)}  ${asciiOf(part)}`);
  }
  return lines.join("\n");
}

/** The bytes of hex digits, which may have spaces, commas, colons and 0x between them. */
export function parseHex(source) {
  const digits = source.replace(/0x|[\s,:]/gi, "");
  if (/[^0-9a-f]/i.test(digits)) throw new Error("Hex digits only: 0 to 9 and a to f. Switch to Text to send letters.");
  if (digits.length % 2) throw new Error("Each byte has two hex digits: one digit is missing or too many.");
  return Uint8Array.from(digits.match(/../g) ?? [], (byte) => parseInt(byte, 16));
}

/** An element: `h("p", {className: "note"}, "text", child)`; names with a dash are attributes. */
export function h(name, properties = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key.includes("-") || key === "role" || key === "for") node.setAttribute(key, value);
    else node[key] = value;
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

export const $ = (id) => document.getElementById(id);

/** Have the browser save data as a file. */
export function save(data, name) {
  const address = URL.createObjectURL(data);
  h("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

/** Copy a text; a button says for a moment that it is done. */
export async function copy(text, button) {
  const label = button.textContent;
  let done = "Copied";
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Browsers keep the clipboard from pages that came over plain HTTP from another machine.
    done = copyBySelection(text) ? done : "Not allowed";
  }
  button.textContent = done;
  setTimeout(() => (button.textContent = label), 1500);
}

function copyBySelection(text) {
  const area = h("textarea", { value: text, className: "visually-hidden" });
  document.body.append(area);
  const focused = document.activeElement;
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  focused?.focus();
  return done;
}
