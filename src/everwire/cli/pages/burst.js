// Many messages in a row: as fast as the connection takes them, or one each interval.

const HIGH_WATER = 1024 * 1024; // bytes in bufferedAmount at which to wait
const SLICE = 6; // milliseconds of sending before the page gets its turn
const PACE = 4; // milliseconds that timers wait at the least

export const LIMITS = { count: [1, 1_000_000], size: [1, 16 * 1024 * 1024], interval: [0, 60_000] };

export class Burst {
  /** `count` messages of `size` bytes, `interval` milliseconds apart; 0 is as fast as bufferedAmount allows. */
  constructor(session, { count, size, interval, binary }) {
    Object.assign(this, { session, count, size, interval, binary });
    this.filler = binary ? null : "abcdefghijklmnopqrstuvwxyz ".repeat(Math.ceil(size / 27));
    this.sent = 0;
    this.running = false;
    this.channel = new MessageChannel();
    this.channel.port1.onmessage = () => this.#turn();
  }

  start() {
    this.running = true;
    this.session.burst = this;
    this.startedAt = performance.now();
    this.#turn();
  }

  cancel() {
    if (this.running) this.#end();
  }

  /** Milliseconds since the start, up to the end. */
  get duration() {
    return (this.endedAt ?? performance.now()) - this.startedAt;
  }

  #turn() {
    if (!this.running) return;
    const begun = performance.now();
    const due = this.interval ? Math.floor((begun - this.startedAt) / this.interval) + 1 : this.count;
    while (this.sent < Math.min(due, this.count) && this.session.socket.bufferedAmount < HIGH_WATER) {
      this.session.sendNow(this.#message(this.sent));
      this.sent += 1;
      if (performance.now() - begun > SLICE) break;
    }
    if (this.sent >= this.count) this.#end();
    else if (this.interval || this.session.socket.bufferedAmount >= HIGH_WATER) {
      // A timer that comes late, as in a tab in the background, sends all that is due by then.
      setTimeout(() => this.#turn(), Math.max(this.interval, PACE));
    } else this.channel.port2.postMessage(null);
  }

  /** Each message begins with its number, so that it can be told from the others when it comes back. */
  #message(number) {
    if (!this.binary) return `${number} ${this.filler}`.slice(0, this.size);
    const bytes = new Uint8Array(this.size);
    for (let at = 0; at < Math.min(4, this.size); at++) bytes[at] = number >>> (8 * at);
    return bytes;
  }

  #end() {
    this.running = false;
    this.endedAt = performance.now();
    this.channel.port1.close();
    this.session.changed(this.session);
  }
}
