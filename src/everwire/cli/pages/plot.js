// The latest round trips as a drawing: for each frame a line from the shortest to the longest, a dot at the median.

import { formatDuration } from "./format.js";
import { Trace } from "./measure.js";

const WIDTH = 640, HEIGHT = 160, TOP = 8, BOTTOM = HEIGHT - 6;
const STEPS = [1, 2, 5, 10];

/** The smallest round number that is not below a value. */
function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return power * STEPS.find((step) => step * power >= value * 0.999);
}

export class Plot {
  constructor(svg) {
    svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    this.svg = svg;
    this.ranges = svg.querySelector(".ranges");
    this.line = svg.querySelector(".line");
    this.dots = svg.querySelector(".dots");
    this.labels = [...document.querySelectorAll(".plot .scale")];
    this.empty = document.querySelector(".plot .empty");
  }

  draw(points) {
    this.empty.hidden = points.length > 0;
    const top = points.length ? roundUp(Math.max(...points.map((point) => point.high), 0.1)) : 1;
    const x = (index) => (((index + Trace.size - points.length + 0.5) / Trace.size) * WIDTH).toFixed(1);
    const y = (ms) => (BOTTOM - (ms / top) * (BOTTOM - TOP)).toFixed(1);
    let ranges = "", dots = "", line = "";
    points.forEach(({ low, mid, high }, index) => {
      ranges += `M${x(index)} ${y(low)}V${y(high)}`;
      dots += `M${x(index)} ${y(mid)}h0`;
      line += `${index ? "L" : "M"}${x(index)} ${y(mid)}`;
    });
    this.ranges.setAttribute("d", ranges);
    this.dots.setAttribute("d", dots);
    this.line.setAttribute("d", line);
    this.labels.forEach((label, index) => (label.textContent = points.length ? formatScale((top * (2 - index)) / 2) : ""));
  }

  describe(words) {
    this.svg.setAttribute("aria-label", words);
  }
}

const formatScale = (ms) => (ms === 0 ? "0" : ms < 1000 ? `${Number(ms.toPrecision(3))} ms` : formatDuration(ms));
