// The period of the best plan and the proven bound over time: the gap between them closes.

import { seconds } from "./figures.js";

const SVG = "http://www.w3.org/2000/svg";
const LEFT = 70, TOP = 12, BOTTOM = 190, HEIGHT = 220, NARROWEST = 280;

function element(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

// A value holds until the next one: steps, not slopes.
function steps(points, key, x, y) {
  const known = points.filter((point) => point[key] !== null);
  if (!known.length) return "";
  let path = `M${x(known[0].wall_s)} ${y(known[0][key])}`;
  for (const point of known.slice(1)) path += `H${x(point.wall_s)}V${y(point[key])}`;
  return `${path}H${x(points[points.length - 1].wall_s)}`;
}

export function drawCurve(svg, points) {
  svg.replaceChildren();
  // One unit is one pixel, so that the labels can be read on a phone too.
  const width = Math.max(NARROWEST, svg.clientWidth);
  const right = width - 10;
  svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
  const known = points.filter((point) => point.period_s !== null);
  if (!known.length) return;
  const last = points[points.length - 1];
  const bounds = points.map((point) => point.bound_s).filter((value) => value !== null);
  const high = Math.max(...known.map((point) => point.period_s), ...bounds);
  // The first plan may be far worse than the rest: what matters happens below it.
  const top = Math.min(high, Math.max(3 * last.period_s, last.bound_s ?? 0)) * 1.05;
  const end = Math.max(last.wall_s, 0.1) * 1.02;
  const x = (value) => (LEFT + (value / end) * (right - LEFT)).toFixed(1);
  const y = (value) => (BOTTOM - (Math.min(value, top) / top) * (BOTTOM - TOP)).toFixed(1);
  svg.append(element("path", { class: "axis", fill: "none", d: `M${LEFT} ${TOP}V${BOTTOM}H${right}` }));
  if (last.bound_s !== null) {
    const height = Math.max(0, y(last.bound_s) - y(last.period_s));
    const box = { class: "between", x: LEFT, y: y(last.period_s), width: right - LEFT, height };
    svg.append(element("rect", box));
    svg.append(element("path", { class: "bound", d: steps(points, "bound_s", x, y) }));
  }
  svg.append(element("path", { class: "period", d: steps(points, "period_s", x, y) }));
  for (const value of [0, top / 2.1, top / 1.05]) {
    const text = { x: LEFT - 8, y: Number(y(value)) + 4, "text-anchor": "end" };
    svg.append(element("text", text, seconds(value)));
  }
  svg.append(element("text", { x: right, y: BOTTOM + 20, "text-anchor": "end" }, `${last.wall_s.toFixed(1)} s`));
  svg.append(element("text", { x: LEFT, y: BOTTOM + 20 }, "0 s"));
}
