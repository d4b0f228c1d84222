// What drawings share: elements with attributes, and the numbers of an axis. `common.py` puts this text into the script of
// each explorer that imports it.

export const minus = (text) => text.replace("-", "\u2212");

const node = (create) => (tag, attributes = {}, ...children) => {
  const element = create(tag);
  Object.entries(attributes).forEach(([name, value]) => element.setAttribute(name, value));
  element.append(...children);
  return element;
};
export const html = node((tag) => document.createElement(tag));
export const svg = node((tag) => document.createElementNS("http://www.w3.org/2000/svg", tag));

/** Round numbers between low and high, at most about five. */
export function ticks(low, high) {
  const rough = (high - low) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
  const first = Math.ceil(low / step);
  return Array.from({ length: Math.floor(high / step) - first + 1 }, (_, n) => Number(((first + n) * step).toPrecision(6)));
}

/** The range of values with a little room, never empty. */
export function range(values) {
  const [low, high] = [Math.min(0, ...values), Math.max(0, ...values)];
  const room = 0.06 * (high - low) || 1;
  return [low - room, high + room];
}
