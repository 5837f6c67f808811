// One client as people see it: how it comes, how it is, what came, and a button that cuts its connection.

import { formatCount, formatTime, h } from "./format.js";
import { TRANSPORTS } from "./wires.js";

const SHOWN = 200; // lines
const STATES = {
  closed: "Not connected", connecting: "Connecting", open: "Live", cut: "Cut off", waiting: "Lost: trying again", failed: "Refused",
};

export class Pane {
  constructor(node, client, cursor) {
    Object.assign(this, { node, client, cursor });
    const find = (name) => node.querySelector(`.${name}`);
    this.state = find("state");
    this.cut = find("cut");
    this.outcome = find("outcome");
    this.where = find("where");
    this.list = find("came");
    this.empty = find("none");
    this.select = find("transport");
    for (const [name, { label, hidden }] of Object.entries(TRANSPORTS)) {
      if (!hidden) this.select.append(h("option", { value: name, selected: name === client.transport }, label));
    }
    this.select.addEventListener("change", () => this.#choose(this.select.value));
    this.cut.addEventListener("click", () => (client.state === "cut" ? client.reconnect() : client.cut()));
  }

  /** Another transport, from where it is. */
  #choose(transport) {
    const { client } = this;
    if (["closed", "cut", "failed"].includes(client.state)) client.transport = transport;
    else client.reconnect(transport);
  }

  clear() {
    this.list.replaceChildren();
    this.outcome.textContent = "";
    this.outcome.className = "outcome";
  }

  draw() {
    const { state, problem, position } = this.client;
    this.node.dataset.state = state;
    const words = problem && state !== "open" ? `${STATES[state]}: ${problem}` : STATES[state];
    if (this.state.textContent !== words) this.state.textContent = this.state.title = words;
    this.cut.textContent = state === "cut" ? "Reconnect" : "Cut the connection";
    this.cut.className = state === "cut" ? "cut primary" : "cut stop";
    this.cut.disabled = state === "closed" || state === "failed";
    this.where.textContent = position ? `offset ${formatCount(position.offset)} · epoch ${position.epoch}` : "–";
    this.empty.hidden = this.list.childElementCount > 0;
  }

  subscribed({ recovering, recovered, count, offset, epoch }) {
    const over = this.client.kind.label;
    if (!epoch) {
      this.#note(`Subscribed over ${over}: the channel has no history, nothing can be recovered`, "bad");
      return;
    }
    if (!recovering) {
      this.#note(`Subscribed over ${over}, from offset ${formatCount(offset)} on`, "good");
      return;
    }
    const messages = `${formatCount(count)} ${count === 1 ? "message" : "messages"}`;
    this.outcome.textContent = `recovered: ${recovered}`;
    this.outcome.className = recovered ? "outcome good" : "outcome bad";
    this.#note(
      recovered
        ? `Back over ${over}: recovered, ${count ? messages : "nothing was missed"}`
        : `Back over ${over}: what was missed is gone; it goes on from offset ${formatCount(offset)}`,
      recovered ? "good" : "bad",
    );
  }

  publication({ offset, data, recovered }) {
    const text = typeof data === "string" ? data : JSON.stringify(data);
    const mark = recovered ? h("span", { className: "mark" }, "recovered") : null;
    const number = h("span", { className: "offset" }, offset === undefined ? "–" : String(offset));
    this.#add(h("li", { className: recovered ? "recovered" : "live" }, number, h("span", { className: "data", title: text }, text), mark));
  }

  lost(why) {
    this.#note(`Lost: ${why}`, "bad");
  }

  wasCut() {
    this.#note("Cut off here", "bad");
  }

  #note(words, kind) {
    this.#add(h("li", { className: `event ${kind}` }, h("time", {}, formatTime(Date.now())), h("span", { className: "words" }, words)));
  }

  #add(line) {
    const { list } = this, box = list.parentElement;
    const follows = box.scrollHeight - box.scrollTop - box.clientHeight < 40;
    list.append(line);
    while (list.childElementCount > SHOWN) list.firstElementChild.remove();
    this.empty.hidden = true;
    if (follows) box.scrollTop = box.scrollHeight;
  }
}
