// What is sent: a text, JSON, bytes in hex, a file, or a burst of messages.

import { Burst, LIMITS } from "./burst.js";
import { $, formatCount, formatSize, h, parseHex } from "./format.js";

const MAX_HISTORY = 100;
const PLACEHOLDERS = { text: "Say something", json: '{"type": "hello"}', hex: "Bytes: 68 65 6c 6c 6f" };
const KEYS = {
  text: [["Enter", "sends,"], ["Shift + Enter", "is a new line,"], ["↑", "brings back what you sent"]],
  json: [["Ctrl + Enter", "sends;"], ["", "it is checked first"]],
  hex: [["Enter", "sends;"], ["", "spaces, commas, colons and 0x are ignored"]],
  file: [["", "Sent as one binary message, a Blob"]],
  burst: [["", "0 ms: as fast as bufferedAmount allows"]],
};

export class Composer {
  /** `current` gives the connection that is shown. */
  constructor(current) {
    this.current = current;
    this.text = $("text");
    this.hint = $("hint");
    this.file = null;
    this.history = [];
    this.recalled = 0;
    this.#listen();
    this.#showKind();
  }

  get kind() {
    return document.querySelector("[name=kind]:checked").value;
  }

  #listen() {
    $("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.send();
    });
    this.text.addEventListener("keydown", (event) => this.#onKey(event));
    this.text.addEventListener("input", () => this.hint.className && this.showHint());
    for (const radio of document.querySelectorAll("[name=kind]")) radio.addEventListener("change", () => this.#showKind());
    $("format").addEventListener("click", () => this.#try(() => (this.text.value = JSON.stringify(this.#json(), null, 2))));
    $("file").addEventListener("change", () => this.#take($("file").files[0]));
    this.#listenForDrops();
  }

  #listenForDrops() {
    const holds = (event) => event.dataTransfer?.types.includes("Files");
    addEventListener("dragover", (event) => {
      if (!holds(event)) return;
      event.preventDefault();
      document.body.classList.add("dropping");
    });
    addEventListener("dragleave", (event) => event.relatedTarget ?? document.body.classList.remove("dropping"));
    addEventListener("drop", (event) => {
      document.body.classList.remove("dropping");
      if (!holds(event)) return;
      event.preventDefault();
      document.querySelector("[name=kind][value=file]").checked = true;
      this.#showKind();
      this.#take(event.dataTransfer.files[0]);
    });
  }

  #take(file) {
    if (!file) return;
    this.file = file;
    $("file-name").textContent = `${file.name} · ${formatSize(file.size)}${file.type ? ` · ${file.type}` : ""}`;
    this.showHint();
    this.update();
  }

  #showKind() {
    const { kind } = this, typed = kind in PLACEHOLDERS;
    this.text.hidden = !typed;
    $("drop").hidden = kind !== "file";
    $("burst").hidden = kind !== "burst";
    $("format").hidden = kind !== "json";
    this.showHint();
    this.update();
  }

  showHint(problem = "") {
    this.hint.className = problem ? "bad" : "";
    this.text.ariaInvalid = problem ? "true" : "false";
    if (problem) this.hint.textContent = problem;
    else this.hint.replaceChildren(...KEYS[this.kind].flatMap(([key, words]) => [key ? h("kbd", {}, key) : "", ` ${words} `]));
  }

  /** Show what the connection's state allows. */
  update() {
    const session = this.current(), { kind } = this, burst = session?.burst, running = burst?.running ?? false;
    const open = session?.state === "open";
    this.text.placeholder = open ? PLACEHOLDERS[kind] : "Not connected";
    $("send").disabled = !open;
    $("send").textContent = running && kind === "burst" ? "Stop" : "Send";
    $("send").className = running && kind === "burst" ? "stop" : "primary";
    const progress = $("burst-progress");
    progress.hidden = kind !== "burst" || !burst;
    if (kind !== "burst" || !burst || this.hint.className) return;
    progress.value = burst.sent / burst.count;
    this.hint.textContent = describe(burst);
  }

  send() {
    const session = this.current();
    if (!session.isOpen) return this.showHint("Not connected: press Connect first.");
    if (this.kind === "burst") return this.#toggleBurst(session);
    return this.#try(() => {
      session.send(this.#data());
      if (this.kind !== "file") this.#clearText();
    });
  }

  #try(action) {
    try {
      this.showHint();
      action();
    } catch (error) {
      this.showHint(error.message);
    }
  }

  #data() {
    if (this.kind === "text") return this.text.value;
    if (this.kind === "hex") return parseHex(this.text.value);
    if (this.kind === "file") {
      if (this.file === null) throw new Error("Choose a file first, or drop one here.");
      return this.file;
    }
    this.#json();
    return this.text.value;
  }

  #json() {
    const source = this.text.value;
    if (source.trim() === "") throw new Error("Type some JSON first: an object, a list, a string in quotes, a number.");
    try {
      return JSON.parse(source);
    } catch (error) {
      const at = /position (\d+)/.exec(error.message)?.[1];
      if (at !== undefined) this.text.setSelectionRange(Number(at), Number(at) + 1);
      throw new Error(`This is no JSON: ${error.message}`);
    }
  }

  #clearText() {
    const source = this.text.value;
    if (source && this.history.at(-1) !== source) this.history.push(source);
    if (this.history.length > MAX_HISTORY) this.history.shift();
    this.recalled = this.history.length;
    this.text.value = "";
    if (document.activeElement !== this.text) this.text.focus();
  }

  #toggleBurst(session) {
    if (session.burst?.running) return session.burst.cancel();
    const [count, size, interval] = ["count", "size", "interval"].map((name) => {
      const value = $(`burst-${name}`).valueAsNumber, [least, most] = LIMITS[name];
      return value >= least && value <= most ? value : null;
    });
    if ([count, size, interval].includes(null)) return this.showHint("A number is missing, or over its limit.");
    this.showHint();
    const options = { count: Math.floor(count), size: Math.floor(size), interval };
    return new Burst(session, { ...options, binary: $("burst-kind").value === "binary" }).start();
  }

  #onKey(event) {
    if (event.isComposing) return;
    const unedited = this.text.value === "" || this.text.value === this.history[this.recalled];
    const newLine = event.shiftKey || (this.kind === "json" && !event.ctrlKey && !event.metaKey);
    if (event.key === "Enter" && !newLine) {
      event.preventDefault();
      this.send();
    } else if ((event.key === "ArrowUp" || event.key === "ArrowDown") && unedited && this.history.length) {
      event.preventDefault();
      this.#recall(event.key === "ArrowUp" ? -1 : 1);
    }
  }

  #recall(step) {
    const next = this.recalled + step;
    if (next < 0 || next > this.history.length) return;
    this.recalled = next;
    this.text.value = this.history[next] ?? "";
  }
}

function describe(burst) {
  const rate = burst.duration > 0 ? `${formatCount(Math.round((burst.sent / burst.duration) * 1000))}/s` : "";
  const done = `${formatCount(burst.sent)} of ${formatCount(burst.count)} sent`;
  return `${done}${rate ? ` · ${rate}` : ""}${burst.running || burst.sent === burst.count ? "" : " · stopped"}`;
}
