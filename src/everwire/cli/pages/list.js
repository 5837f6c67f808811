// The list of messages: only the rows in view are elements, so that it stays as fast at 50,000 entries as at ten.

import { formatDuration, formatSize, formatTime, h, hexLine } from "./format.js";

const ROW = 30; // pixels, as --row in the style
const SPARE = 4; // rows above and below the ones in view
const SHOWN = 400; // characters of a text that a row can show at most
const MARKS = { sent: ["↑", "Sent"], received: ["↓", "Received"], event: ["i", ""], bad: ["!", "Problem"] };

export class List {
  /** `select` is called with the entry that the reader chose. */
  constructor(log, jump, select) {
    this.log = log;
    this.jump = jump;
    this.select = select;
    this.space = log.appendChild(h("div", { className: "space", role: "presentation" }));
    this.rows = [];
    this.view = null;
    // The newest message stays in view until the reader scrolls up to an older one.
    this.following = true;
    log.addEventListener("scroll", () => this.#onScroll());
    log.addEventListener("click", (event) => this.#onClick(event));
    log.addEventListener("keydown", (event) => this.#onKey(event));
    jump.addEventListener("click", () => this.toEnd());
    new ResizeObserver(() => this.view && this.draw()).observe(log);
  }

  /** Show another view, at its end. */
  show(session) {
    this.session = session;
    this.view = session.view;
    this.first = undefined;
    this.toEnd();
  }

  toEnd() {
    this.following = true;
    this.draw();
  }

  draw() {
    const { view, log } = this;
    view.update();
    const { length } = view, first = length ? view.at(0).id : 0;
    this.space.style.height = `${length * ROW}px`;
    if (this.following) log.scrollTop = length * ROW;
    else if (first > this.first) log.scrollTop -= this.#forgotten(first) * ROW; // what one reads stays where it is
    this.first = first;
    this.length = length;
    this.#drawRows();
    this.jump.hidden = this.following;
  }

  #forgotten(first) {
    // With a filter fewer rows may be gone than entries; the distance is then an upper bound that hurts nobody.
    return this.view.filtered ? 0 : first - this.first;
  }

  #drawRows() {
    const { view, log, rows } = this, { length } = view;
    const start = Math.max(Math.floor(log.scrollTop / ROW) - SPARE, 0);
    const end = Math.min(Math.ceil((log.scrollTop + log.clientHeight) / ROW) + SPARE, length);
    while (rows.length < end - start) rows.push(new Row(this.space));
    while (rows.length > Math.max(end - start, 0)) rows.pop().node.remove();
    const selected = this.session.selected;
    rows.forEach((row, index) => row.draw(view.at(start + index), start + index, length, selected));
    const current = rows.find((row) => row.entry === selected);
    if (current) log.setAttribute("aria-activedescendant", current.node.id);
    else log.removeAttribute("aria-activedescendant");
  }

  #onScroll() {
    const atEnd = this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < ROW;
    // A list that shrinks is no reader who scrolls up.
    if (atEnd) this.following = true;
    else if (this.length === this.view.length && this.log.scrollTop < this.position) this.following = false;
    this.position = this.log.scrollTop;
    this.jump.hidden = this.following;
    this.#drawRows();
  }

  #onClick(event) {
    const node = event.target.closest(".row");
    const row = node && this.rows.find((each) => each.node === node);
    if (row) this.select(row.entry);
  }

  #onKey(event) {
    const { length } = this.view, page = Math.max(Math.floor(this.log.clientHeight / ROW) - 1, 1);
    if (length === 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    const selected = this.session.selected, at = selected ? this.view.indexOf(selected.id) : -1;
    const from = at < 0 ? length : at;
    const targets = { ArrowUp: from - 1, ArrowDown: from + 1, PageUp: from - page, PageDown: from + page, Home: 0, End: length - 1 };
    if (!(event.key in targets)) return;
    event.preventDefault();
    const index = Math.min(Math.max(targets[event.key], 0), length - 1);
    this.#reveal(index);
    this.select(this.view.at(index));
  }

  #reveal(index) {
    const { log } = this, top = index * ROW;
    this.following = index === this.view.length - 1;
    if (top < log.scrollTop) log.scrollTop = top;
    else if (top + ROW > log.scrollTop + log.clientHeight) log.scrollTop = top + ROW - log.clientHeight;
  }
}

class Row {
  constructor(parent) {
    this.mark = h("span", { ariaHidden: "true" });
    this.spoken = h("span", { className: "visually-hidden" });
    this.time = h("time");
    this.data = h("span", { className: "data" });
    this.size = h("span", { className: "size" });
    this.rtt = h("span", { className: "rtt" });
    const arrow = h("span", { className: "arrow" }, this.mark, this.spoken);
    this.node = h("div", { role: "option" }, arrow, this.time, this.data, this.size, this.rtt);
    parent.append(this.node);
  }

  draw(entry, index, length, selected) {
    if (this.index !== index) this.node.style.transform = `translateY(${index * ROW}px)`;
    this.index = index;
    const chosen = String(entry === selected);
    if (this.node.ariaSelected !== chosen) this.node.ariaSelected = chosen;
    this.node.ariaSetSize = length;
    this.node.ariaPosInSet = index + 1;
    if (this.entry === entry) return;
    this.entry = entry;
    const event = entry.kind === "event", binary = !event && typeof entry.data !== "string";
    [this.mark.textContent, this.spoken.textContent] = MARKS[entry.bad ? "bad" : entry.kind];
    this.node.id = `entry-${entry.id}`;
    this.node.className = `row ${entry.kind}${entry.bad ? " bad" : ""}${binary ? " binary" : ""}`;
    this.time.textContent = formatTime(entry.at);
    this.time.dateTime = new Date(entry.at).toISOString();
    this.data.replaceChildren(...(event ? describeEvent(entry) : describeData(entry.data)));
    this.size.textContent = event ? "" : formatSize(entry.size);
    this.rtt.textContent = entry.rtt === undefined ? "" : formatDuration(entry.rtt);
  }
}

const note = (words) => h("span", { className: "note" }, words);

const describeEvent = ({ title, note: words }) => (words ? [title, " ", note(words)] : [title]);

function describeData(data) {
  if (typeof data === "string") return data === "" ? [note("empty message")] : [data.slice(0, SHOWN)];
  if (data instanceof Blob) return [note(`Blob${data.type ? `, ${data.type}` : ""}`), data.name ? ` ${data.name}` : ""];
  return data.length === 0 ? [note("empty binary message")] : [hexLine(data)];
}
