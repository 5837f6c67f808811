// The latest messages of a connection, and the part of them that a filter shows.

const MAX_ENTRIES = 50_000;
const MAX_BYTES = 64 * 1024 * 1024;
const COMPACT = 8192; // entries at the front that are gone before the rest is moved

/** A list that forgets its oldest entries when it gets too long, or too large. */
export class Store {
  constructor() {
    this.nextId = 1;
    this.clear();
  }

  clear() {
    this.entries = [];
    this.head = 0;
    this.bytes = 0;
    this.forgotten = 0;
  }

  get length() {
    return this.entries.length - this.head;
  }

  /** The id of the oldest entry that is still there; ids count up by one. */
  get firstId() {
    return this.nextId - this.length;
  }

  at(index) {
    return this.entries[this.head + index];
  }

  /** The same entries in a list of their own, which more do not change. */
  copy() {
    return Object.assign(new Store(), this, { entries: this.entries.slice(this.head), head: 0 });
  }

  find(id) {
    const index = id - this.firstId;
    return index >= 0 ? this.at(index) : undefined;
  }

  add(entry) {
    entry.id = this.nextId++;
    this.entries.push(entry);
    this.bytes += entry.size;
    while (this.length > 1 && (this.length > MAX_ENTRIES || this.bytes > MAX_BYTES)) {
      this.bytes -= this.entries[this.head].size;
      this.entries[this.head++] = undefined;
      this.forgotten += 1;
    }
    if (this.head >= COMPACT) {
      this.entries.splice(0, this.head);
      this.head = 0;
    }
    return entry;
  }
}

const KINDS = {
  all: () => true,
  sent: (entry) => entry.kind === "sent",
  received: (entry) => entry.kind === "received",
  text: (entry) => entry.kind !== "event" && typeof entry.data === "string",
  binary: (entry) => entry.kind !== "event" && typeof entry.data !== "string",
  event: (entry) => entry.kind === "event",
};

/** What of a store is shown: all of it or what a filter lets through, of now or of when it was paused. */
export class View {
  constructor(store) {
    this.store = store;
    this.frozen = null;
    this.filter("", "all");
  }

  get source() {
    return this.frozen ?? this.store;
  }

  get filtered() {
    return this.words !== "" || this.kind !== "all";
  }

  /** Show only entries of a kind, and with these words in them. */
  filter(words, kind) {
    this.words = words;
    this.needle = words.toLowerCase();
    this.kind = kind;
    this.restart();
  }

  get paused() {
    return this.frozen !== null;
  }

  pause(paused) {
    this.frozen = paused ? this.store.copy() : null;
    this.restart();
  }

  /** The number of entries that came since it was paused. */
  get behind() {
    return this.paused ? this.store.nextId - this.frozen.nextId : 0;
  }

  restart() {
    this.kept = [];
    this.head = 0;
    this.seen = 0;
    this.update();
  }

  /** Take in what came, and let go of what the store forgot. */
  update() {
    if (!this.filtered) return;
    const { source, kept } = this;
    while (this.head < kept.length && kept[this.head].id < source.firstId) this.head += 1;
    if (this.head >= COMPACT) kept.splice(0, this.head), (this.head = 0);
    for (let id = Math.max(this.seen + 1, source.firstId); id < source.nextId; id++) {
      const entry = source.find(id);
      if (this.#shows(entry)) kept.push(entry);
    }
    this.seen = source.nextId - 1;
  }

  get length() {
    return this.filtered ? this.kept.length - this.head : this.source.length;
  }

  at(index) {
    return this.filtered ? this.kept[this.head + index] : this.source.at(index);
  }

  /** The place of an entry; negative if it is not shown. */
  indexOf(id) {
    if (!this.filtered) return Math.max(id - this.source.firstId, -1);
    const found = this.kept.findIndex((entry, index) => index >= this.head && entry.id === id);
    return found < 0 ? found : found - this.head;
  }

  #shows(entry) {
    return KINDS[this.kind](entry) && (this.needle === "" || textOf(entry).toLowerCase().includes(this.needle));
  }
}

/** What the words of a filter are looked for in. */
function textOf(entry) {
  if (entry.kind === "event") return `${entry.title} ${entry.note}`;
  return typeof entry.data === "string" ? entry.data : (entry.data.name ?? "");
}
