// Just enough of a page to draw an explorer in node: elements, events, and the model that a widget's script is given.

class Element {
  constructor(tag) {
    Object.assign(this, { tag, children: [], attributes: {}, dataset: {}, listeners: {}, own: "" });
  }
  set textContent(text) {
    this.children = [];
    this.own = String(text);
  }
  get textContent() {
    return this.own + this.children.map((child) => child.textContent).join("");
  }
  append(...children) {
    this.children.push(...children.map((child) => (child instanceof Element ? child : Object.assign(new Element("#text"), { own: child }))));
  }
  replaceChildren(...children) {
    this.children = [];
    this.own = "";
    this.append(...children);
  }
  setAttribute(name, value) {
    this.attributes[name] = String(value);
  }
  addEventListener(event, call) {
    (this.listeners[event] ??= []).push(call);
  }
  fire(event, details = {}) {
    (this.listeners[event] ?? []).forEach((call) => call({ preventDefault() {}, ...details }));
  }
  focus() {
    this.fire("focus");
  }
  /** All elements below that have this tag, or this class if it begins with a full stop. */
  all(wanted) {
    const own = wanted.startsWith(".") ? (this.className ?? "").split(" ").includes(wanted.slice(1)) : this.tag === wanted;
    return [...(own ? [this] : []), ...this.children.flatMap((child) => child.all(wanted))];
  }
}

globalThis.document = {
  createElement: (tag) => new Element(tag),
  createElementNS: (_, tag) => new Element(tag),
};

/** An element to draw into. */
export const page = () => new Element("main");

/**
 * A model with these values; `sent` holds what the script sent, `hear` delivers a message from the kernel, and
 * `listening` counts who would hear of one or of a changed value.
 */
export function makeModel(values) {
  let listeners = [];
  const tell = (event, ...message) => listeners.filter(([name]) => name === event).forEach(([, call]) => call(...message));
  return {
    sent: [],
    get: (name) => values[name],
    set(name, value) {
      values[name] = value;
      tell(`change:${name}`);
    },
    save_changes() {},
    on: (event, call) => listeners.push([event, call]),
    off(event, call) {
      listeners = listeners.filter(([name, known]) => name !== event || known !== call);
    },
    send(message) {
      this.sent.push(message);
    },
    hear: (message, buffers) => tell("msg:custom", message, buffers),
    listening: () => listeners.length,
  };
}
