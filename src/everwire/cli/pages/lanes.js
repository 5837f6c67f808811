// The drawing of a channel: its log as a row of cells, and below it each client as a cursor in it: what came live,
// what was recovered, what waits for it, and what it was told is gone.

import { formatCount, h } from "./format.js";

const KEPT = 400; // columns
const CELL = 15, GAP = 9; // pixels of a column, and before an epoch, as in channels.css
const WORDS = { live: "came live", recovered: "recovered", waiting: "waiting", gone: "gone, and told so" };

/** The log as far as the page has heard of it: columns in order, those of an epoch by offset. */
export class Log {
  columns = [];
  tip = null;
  #known = new Map();
  #epochs = [];

  clear() {
    this.columns = [];
    this.tip = null;
    this.#known.clear();
    this.#epochs = [];
  }

  /** Hear where the log is. */
  reach({ offset, epoch }) {
    if (!epoch) return;
    if (!this.#epochs.includes(epoch)) this.#epochs.push(epoch);
    if (this.#epochs.at(-1) !== epoch) return;
    if (this.tip?.epoch !== epoch || this.tip.offset < offset) this.tip = { offset, epoch };
  }

  /** The column of a publication, which is made if it is new. */
  column({ offset, epoch }) {
    this.reach({ offset, epoch });
    const key = `${epoch} ${offset}`, known = this.#known.get(key);
    if (known) return known;
    const age = this.#epochs.indexOf(epoch), column = { offset, epoch, age, key };
    let at = this.columns.length;
    while (at > 0 && after(this.columns[at - 1], column)) at--;
    this.columns.splice(at, 0, column);
    this.#known.set(key, column);
    while (this.columns.length > KEPT) this.#known.delete(this.columns.shift().key);
    return column;
  }

  age(epoch) {
    return this.#epochs.indexOf(epoch);
  }
}

const after = (one, other) => one.age > other.age || (one.age === other.age && one.offset > other.offset);

/** What one client has of the log. */
export class Cursor {
  came = new Map(); // by column: "live" or "recovered"
  begun = null; // where it began: what is before that was never for it
  gone = null; // up to where it was told that what it missed is gone
  at = null;

  constructor(log) {
    this.log = log;
  }

  clear() {
    this.came.clear();
    this.begun = this.gone = this.at = null;
  }

  subscribed({ offset, epoch, recovering, recovered }) {
    if (!epoch) return;
    this.log.reach({ offset, epoch });
    const here = { offset, epoch, age: this.log.age(epoch) };
    this.begun ??= here;
    if (recovering && !recovered) this.gone = here;
  }

  publication({ offset, epoch, recovered }) {
    if (!epoch) return;
    const column = this.log.column({ offset, epoch });
    this.came.set(column.key, recovered ? "recovered" : "live");
    this.at = column;
    if (this.came.size > 2 * KEPT) this.came.delete(this.came.keys().next().value);
  }

  /** What it has of a column: a key of WORDS, or null where it was not there yet. */
  state(column) {
    const came = this.came.get(column.key);
    if (came) return came;
    if (!this.begun || !after(column, this.begun)) return null;
    return this.gone && !after(column, this.gone) ? "gone" : "waiting";
  }

  counts() {
    const counts = { live: 0, recovered: 0, waiting: 0, gone: 0 };
    for (const column of this.log.columns) {
      const state = this.state(column);
      if (state) counts[state] += 1;
    }
    return counts;
  }
}

export class Lanes {
  /** `rows` are of {name, cursor, client}; the first is the log itself, without a cursor. */
  constructor(node, log, rows) {
    Object.assign(this, { node, log, rows });
    this.lanes = rows.map(({ name, cursor }) => {
      const cells = h("div", { className: "cells", role: "img" }), count = h("span", { className: "count" });
      const label = h("span", { className: cursor ? "badge" : "log-name" }, name);
      node.append(h("div", { className: cursor ? "lane" : "lane log-lane" }, label, cells, count));
      return { cells, count };
    });
  }

  draw() {
    const shown = this.#shown(this.lanes[0].cells.clientWidth);
    this.rows.forEach(({ cursor, client }, index) => {
      const { cells, count } = this.lanes[index];
      if (cursor) this.#drawCursor(cells, count, cursor, client, shown);
      else this.#drawLog(cells, count, shown);
    });
  }

  /** The latest columns, as many as there is room for. */
  #shown(room) {
    const { columns } = this.log;
    let first = columns.length;
    for (let left = room - CELL; first > 0 && left >= 0; left -= CELL) {
      first -= 1;
      if (begins(columns, first)) left -= GAP;
    }
    return columns.slice(first);
  }

  #drawLog(cells, count, shown) {
    fill(cells, shown.length);
    shown.forEach((column, index) => {
      const cell = cells.children[index], first = begins(shown, index);
      set(cell, first ? "cell epoch" : "cell", column.offset % 5 === 0 || first || index === 0 ? String(column.offset) : "");
      cell.title = `offset ${column.offset}, epoch ${column.epoch}`;
    });
    const { tip } = this.log;
    count.textContent = tip ? `at ${formatCount(tip.offset)}` : "";
    cells.ariaLabel = tip ? `The log is at offset ${tip.offset} of epoch ${tip.epoch}` : "Nothing was published yet";
  }

  #drawCursor(cells, count, cursor, client, shown) {
    fill(cells, shown.length);
    shown.forEach((column, index) => {
      const state = cursor.state(column), kind = state ?? "before";
      const marks = `${begins(shown, index) ? " epoch" : ""}${column === cursor.at ? " here" : ""}`;
      set(cells.children[index], `cell ${kind}${marks}`, "");
      cells.children[index].title = state ? `${column.offset}: ${WORDS[state]}` : "";
    });
    const counts = cursor.counts();
    const parts = Object.entries(counts).filter(([, value]) => value).map(([name, value]) => `${formatCount(value)} ${WORDS[name]}`);
    cells.ariaLabel = `${client.name}: ${parts.join(", ") || "nothing yet"}`;
    count.textContent = counts.waiting ? `${formatCount(counts.waiting)} behind` : cursor.at ? `at ${formatCount(cursor.at.offset)}` : "";
    count.dataset.behind = String(counts.waiting > 0);
  }
}

/** Whether another epoch begins here. */
const begins = (shown, index) => index > 0 && shown[index - 1].epoch !== shown[index].epoch;

function fill(node, count) {
  while (node.childElementCount < count) node.append(h("span"));
  while (node.childElementCount > count) node.lastElementChild.remove();
}

function set(cell, className, text) {
  if (cell.className !== className) cell.className = className;
  if (cell.textContent !== text) cell.textContent = text;
}
