// What is measured of a connection: round trips and rates, in bounded memory however long it lasts.

const STEP = Math.log(1.01);
const BUCKETS = 2400; // 0.1 microseconds times 1.01 to this power is more than half an hour

/** Durations in milliseconds: their number, their maximum, and percentiles that are exact to one in a hundred. */
export class Histogram {
  constructor() {
    this.count = 0;
    this.min = Infinity;
    this.max = 0;
    this.buckets = new Uint32Array(BUCKETS);
  }

  add(ms) {
    const bucket = Math.round(Math.log(Math.max(ms, 1e-4) / 1e-4) / STEP);
    this.buckets[Math.min(bucket, BUCKETS - 1)] += 1;
    this.count += 1;
    this.min = Math.min(this.min, ms);
    this.max = Math.max(this.max, ms);
  }

  /** The duration that this share (0 to 1) of all is no longer than; null while there are none. */
  percentile(share) {
    if (this.count === 0) return null;
    let left = Math.max(Math.ceil(share * this.count), 1), bucket = 0;
    while ((left -= this.buckets[bucket]) > 0) bucket += 1;
    return Math.min(Math.max(1e-4 * Math.exp(bucket * STEP), this.min), this.max);
  }
}

const POINTS = 160;
const MOST_IN_A_POINT = 1000; // while the page is hidden there are no frames

/** The latest round trips as points to draw, one for all that ended within a frame. */
export class Trace {
  constructor() {
    this.points = [];
    this.open = [];
  }

  add(ms) {
    this.open.push(ms);
    if (this.open.length >= MOST_IN_A_POINT) this.close();
  }

  /** Make a point of what was added since the last call; whether there was any. */
  close() {
    if (this.open.length === 0) return false;
    const sorted = this.open.sort((a, b) => a - b);
    this.points.push({ low: sorted[0], mid: sorted[sorted.length >> 1], high: sorted.at(-1) });
    if (this.points.length > POINTS) this.points.shift();
    this.open = [];
    return true;
  }

  static get size() {
    return POINTS;
  }
}

const WINDOW = 1000; // milliseconds

/** Messages and bytes a second, over about the last second. */
export class Rate {
  constructor() {
    this.samples = [];
  }

  /** Note the totals at a time; the rates since about a second ago. */
  sample(now, count, size) {
    this.samples.push({ now, count, size });
    while (this.samples.length > 2 && this.samples[1].now <= now - WINDOW) this.samples.shift();
    const [first] = this.samples, seconds = (now - first.now) / 1000;
    if (seconds <= 0) return { count: 0, size: 0 };
    return { count: (count - first.count) / seconds, size: (size - first.size) / seconds };
  }
}
