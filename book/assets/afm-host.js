// Shows anywidgets on a page without a kernel: from the state that the executed notebook keeps of each widget.
// A widget's own code draws it and reacts to the reader; what would need Python says so.
// A classic script: browsers load no module from a page that was opened as a file.
(async () => {
  const parts = (kind) =>
    [...document.querySelectorAll(`script[type="application/vnd.jupyter.widget-${kind}+json"]`)].map((script) => ({
      script,
      content: JSON.parse(script.textContent),
    }));

  /** The model an anywidget expects: values, and listeners for "change:NAME" and "change". */
  function makeModel(values) {
    const listeners = new Map();
    let changed = [];
    const notify = (event, ...details) => [...(listeners.get(event) ?? [])].forEach((call) => call(...details));
    const model = {
      get: (name) => values[name],
      set(name, value) {
        if (values[name] === value) return;
        values[name] = value;
        changed.push(name);
      },
      save_changes() {
        const names = changed;
        changed = []; // first: a listener may set and save again
        names.forEach((name) => notify(`change:${name}`, model, values[name]));
        if (names.length) notify("change", model);
      },
      on(event, call) {
        listeners.set(event, (listeners.get(event) ?? new Set()).add(call));
      },
      off(event, call) {
        if (call) listeners.get(event)?.delete(call);
        else listeners.delete(event);
      },
      send() {}, // nobody listens: there is no kernel
    };
    return model;
  }

  /** Import a widget's module and initialise its model: once, however many views the page has of it. */
  async function start({ _esm, _css, ...values }) {
    if (_css) {
      const style = document.createElement("style");
      style.textContent = _css;
      document.head.append(style);
    }
    const url = URL.createObjectURL(new Blob([_esm], { type: "text/javascript" }));
    const loaded = (await import(url)).default;
    URL.revokeObjectURL(url);
    const widget = typeof loaded === "function" ? await loaded() : loaded;
    const model = makeModel(values);
    await widget.initialize?.({ model });
    return { widget, model };
  }

  const FAILED_NOTE = "This figure could not start in your browser; the text below says what it shows.";
  const FILE_NOTE =
    "This figure could not start: the page was opened as a file, and this browser runs no modules there. " +
    "Serve the folder of the site instead (python3 -m http.server), and open the address that it prints.";

  function say(element, text) {
    element.className = "afm-note";
    element.textContent = text;
  }

  const states = Object.assign({}, ...parts("state").map(({ content }) => content.state));
  const started = new Map();

  async function show({ script, content }) {
    const element = document.createElement("div");
    script.after(element);
    const id = content.model_id;
    const state = states[id]?.state;
    if (!state?._esm) {
      say(element, "This control needs a running kernel: open the notebook in Jupyter or Colab.");
      element.dataset.afm = "needs-kernel";
      return;
    }
    try {
      if (!started.has(id)) started.set(id, start(state));
      const { widget, model } = await started.get(id);
      await widget.render?.({ model, el: element });
      element.dataset.afm = "mounted";
    } catch (error) {
      console.error("afm-host:", error);
      say(element, location.protocol === "file:" ? FILE_NOTE : FAILED_NOTE);
      element.dataset.afm = "failed";
    }
  }

  await Promise.all(parts("view").map(show));
  document.documentElement.dataset.afmHost = "ready"; // a browser test waits for this
})();
