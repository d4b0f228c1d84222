// The trained models in a reader's browser: tokenizer, chat template, forward pass, sampling, and the loop that serves
// them from a worker or, where there is none, in slices of the page's own time. Every size is read from the header that
// `explorers/weights.py` writes beside the weights. An explorer gets this text, with `sha256.js` put into
// it, and imports it.

import { sha256 } from "./sha256.js";

/** An error whose message is a sentence for the reader. */
export class ModelError extends Error {}

export const FORMAT = 2; // of header and weights; weights.py has the same
const ROLES = ["system", "user", "assistant"];

// --- tokenizer ------------------------------------------------------------------------------------------------------

// GPT-2's pre-tokeniser. \p{White_Space} and not \s, which in JavaScript has U+FEFF and lacks U+0085.
const WORDS =
  /'(?:s|t|re|ve|m|ll|d)| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;
const SPACES = "[\\p{White_Space}\\x1c-\\x1f]+"; // what Python's str.strip removes
const ENDS = new RegExp(`^${SPACES}|${SPACES}$`, "gu");

/** The text without spaces at its ends, as Python strips it. */
export const strip = (text) => text.replace(ENDS, "");

/** The character that stands for each byte in a byte-level vocabulary. */
function byteCharacters() {
  let next = 256;
  const printable = (byte) => (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(printable(byte) ? byte : next++));
}

/** A byte-level BPE tokenizer from a parsed tokenizer.json; special tokens come from the template alone, never from a text. */
export class Tokenizer {
  constructor({ model, added_tokens: added }, eosId) {
    this.eosId = eosId;
    this.special = new Set(added.map(({ id }) => id));
    const control = new Set(added.map(({ content }) => content));
    const { vocab } = model;
    this.pieces = [];
    for (const [piece, id] of Object.entries(vocab)) this.pieces[id] = piece;
    for (const { id, content } of added) this.pieces[id] = content;
    this.size = this.pieces.length;
    const characters = byteCharacters();
    this.byteOf = new Map(characters.map((character, byte) => [character, byte]));
    this.idOfByte = characters.map((character) => vocab[character] ?? vocab[model.unk_token]);
    this.merges = new Map(); // two ids as one number -> [rank, id of both together]
    model.merges.forEach((merge, rank) => {
      const [left, right] = typeof merge === "string" ? merge.split(" ") : merge;
      if ([left, right, left + right].some((piece) => control.has(piece))) return;
      this.merges.set(vocab[left] * this.size + vocab[right], [rank, vocab[left + right]]);
    });
  }

  /** The tokens of a text in which nothing is special. */
  encode(text) {
    const encoder = new TextEncoder();
    const ids = [];
    for (const [word] of text.matchAll(WORDS)) {
      const parts = Array.from(encoder.encode(word), (byte) => this.idOfByte[byte]).filter((id) => id !== undefined);
      this.#merge(parts).forEach((id) => ids.push(id));
    }
    return ids;
  }

  #merge(parts) {
    for (;;) {
      let best = null;
      let place = -1;
      for (let i = 0; i + 1 < parts.length; i++) {
        const merge = this.merges.get(parts[i] * this.size + parts[i + 1]);
        if (merge && (best === null || merge[0] < best[0])) [best, place] = [merge, i];
      }
      if (best === null) return parts;
      parts.splice(place, 2, best[1]);
    }
  }

  /** The tokens of a conversation in Zephyr's template; with `open`, up to where the assistant's next answer begins. */
  encodeChat(messages, open = false) {
    const ids = [];
    let text = "";
    const flush = () => {
      this.encode(text).forEach((id) => ids.push(id));
      text = "";
    };
    for (const { role, content } of messages) {
      if (!ROLES.includes(role)) throw new ModelError(`There is no role “${role}” in this chat template.`);
      text += `<|${role}|>\n${content}`;
      flush();
      ids.push(this.eosId);
      text = "\n";
    }
    if (open) text += "<|assistant|>\n";
    flush();
    return ids;
  }

  #bytes(id) {
    return Uint8Array.from(this.pieces[id], (character) => this.byteOf.get(character) ?? 63);
  }

  /** Turns token ids, one at a time, into the text that each completes; call without an id at the end. Special tokens have no text. */
  decoder() {
    const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
    return (id) => {
      if (id === undefined) return decoder.decode();
      return this.special.has(id) ? "" : decoder.decode(this.#bytes(id), { stream: true });
    };
  }

  decode(ids) {
    const next = this.decoder();
    return ids.map((id) => next(id)).join("") + next();
  }

  /** A token as it is shown by itself: a special one by its name. */
  shown(id) {
    return this.special.has(id) ? this.pieces[id] : new TextDecoder("utf-8", { ignoreBOM: true }).decode(this.#bytes(id));
  }
}

// --- weights --------------------------------------------------------------------------------------------------------

/**
 * The tensors that a header lists, as float32: name -> values. One of integers has a scale for each row, then the upper
 * 8 bits of all values, then the bits below them as one stream.
 */
function readTensors(list, bytes) {
  const tensors = new Map();
  for (const { name, shape, dtype, offset } of list) {
    const count = shape.reduce((product, n) => product * n, 1);
    const rows = dtype === "float32" ? 0 : shape[0];
    const floats = new Float32Array(bytes.slice(offset, offset + 4 * (rows || count)).buffer);
    if (!rows) {
      tensors.set(name, floats);
      continue;
    }
    const below = Number(dtype.replace("int", "")) - 8;
    const upper = new Int8Array(bytes.buffer, bytes.byteOffset + offset + 4 * rows, count);
    const stream = bytes.subarray(offset + 4 * rows + count);
    const values = new Float32Array(count);
    const width = count / rows;
    for (let row = 0, i = 0, bit = 0; row < rows; row++) {
      for (const end = i + width; i < end; i++, bit += below) {
        const lower = ((stream[bit >> 3] | (stream[(bit >> 3) + 1] << 8)) >> (bit & 7)) & ((1 << below) - 1);
        values[i] = ((upper[i] << below) | lower) * floats[row];
      }
    }
    tensors.set(name, values);
  }
  return tensors;
}

/** The tensors of a model with a LoRA adapter merged in: W + scale · B A; `lora_B` is stored transposed, rank by rank. */
function withAdapter(tensors, adapter, scale) {
  const merged = new Map(tensors);
  for (const [name, a] of adapter) {
    if (!name.endsWith(".lora_A")) continue;
    const b = adapter.get(name.replace(/A$/, "B"));
    const place = name.replace(/lora_A$/, "weight");
    const weight = tensors.get(place)?.slice();
    if (!weight || !b) throw new ModelError(`The weights file has an adapter for ${place} and not the weights it changes.`);
    const rank = Math.sqrt((a.length * b.length) / weight.length);
    const [outputs, inputs] = [b.length / rank, a.length / rank];
    for (let k = 0; k < rank; k++) {
      for (let row = 0; row < outputs; row++) {
        const factor = scale * b[k * outputs + row];
        for (let i = 0; i < inputs; i++) weight[row * inputs + i] += factor * a[k * inputs + i];
      }
    }
    merged.set(place, weight);
  }
  return merged;
}

/** Header and bytes that belong together, checked, or a ModelError. */
export function checkWeights(header, bytes) {
  if (header.format !== FORMAT)
    throw new ModelError(`The weights file has format ${header.format} and this page reads format ${FORMAT}: reload the page.`);
  const [is, should] = [bytes.length, header.bytes].map((n) => n.toLocaleString("en-GB"));
  if (bytes.length < header.bytes) throw new ModelError(`The weights file is cut short: ${is} of ${should} bytes arrived. Try again.`);
  if (bytes.length !== header.bytes || sha256(bytes) !== header.sha256)
    throw new ModelError("The weights file is not the one its header describes (its SHA-256 differs): reload the page and try again.");
}

/** The bytes of a weights file as the offsets in its header count them: checked, then inflated. */
export async function unpack(header, bytes) {
  checkWeights(header, bytes);
  if (typeof DecompressionStream === "undefined")
    throw new ModelError("This browser cannot unpack the weights: it lacks DecompressionStream, which browsers have had since 2023.");
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** The models of one weights file, unpacked, each made when it is first asked for, and those of files that rest on it. */
export class Weights {
  #parts = new Map(); // name -> {on, scale, tensors}
  #merged = new Map(); // name -> its tensors, those below it merged in
  #made = new Map();

  constructor(header, bytes) {
    this.header = header;
    this.tokenizer = new Tokenizer(header.tokenizer, header.eos_token_id);
    this.#add(header, bytes);
  }

  /** Checkpoints, of a file that was written with this one. */
  extend(header, bytes) {
    if (header.rests_on !== this.header.sha256)
      throw new ModelError("These checkpoints belong to other models than those that are loaded: reload the page.");
    this.#add(header, bytes);
  }

  #add(header, bytes) {
    for (const { name, on, scale, tensors } of header.models) this.#parts.set(name, { on, scale, tensors: readTensors(tensors, bytes) });
  }

  /** One more model, of the adapter of another: what it changes counts `factor` times (ExPO's 1 + a). */
  derive(name, from, factor) {
    const part = this.#part(from);
    this.#parts.set(name, { ...part, scale: factor * part.scale });
  }

  #part(name) {
    const part = this.#parts.get(name);
    if (!part) throw new ModelError(`The weights file has no model “${name}”.`);
    return part;
  }

  #tensors(name) {
    if (!this.#merged.has(name)) {
      const { on, tensors, scale } = this.#part(name);
      this.#merged.set(name, on === null ? tensors : withAdapter(this.#tensors(on), tensors, scale));
    }
    return this.#merged.get(name);
  }

  model(name) {
    if (!this.#made.has(name)) this.#made.set(name, new Model(this.header.config, this.#tensors(name)));
    return this.#made.get(name);
  }
}

// --- forward pass ---------------------------------------------------------------------------------------------------

/** out = W x for W of rows × x.length; four rows at once, so that each x[i] is read once for the four. */
function multiply(out, weight, x, rows) {
  const columns = x.length;
  let row = 0;
  for (; row + 3 < rows; row += 4) {
    const first = row * columns;
    const [second, third, fourth] = [first + columns, first + 2 * columns, first + 3 * columns];
    let a = 0;
    let b = 0;
    let c = 0;
    let d = 0;
    for (let i = 0; i < columns; i++) {
      const value = x[i];
      a += weight[first + i] * value;
      b += weight[second + i] * value;
      c += weight[third + i] * value;
      d += weight[fourth + i] * value;
    }
    out[row] = a;
    out[row + 1] = b;
    out[row + 2] = c;
    out[row + 3] = d;
  }
  for (; row < rows; row++) {
    let sum = 0;
    for (let i = 0, at = row * columns; i < columns; i++) sum += weight[at + i] * x[i];
    out[row] = sum;
  }
}

function normalise(out, x, weight, epsilon) {
  let sum = 0;
  for (let i = 0; i < x.length; i++) sum += x[i] * x[i];
  const factor = 1 / Math.sqrt(sum / x.length + epsilon);
  for (let i = 0; i < x.length; i++) out[i] = x[i] * factor * weight[i];
}

/** A Mistral- or Llama-shaped decoder. */
export class Model {
  constructor(config, tensors) {
    this.config = config;
    const need = (name, length) => {
      const values = tensors.get(name);
      if (values?.length !== length) throw new ModelError(`The weights file does not hold ${name} in the size that its header names.`);
      return values;
    };
    const { hidden_size: width, intermediate_size: inner, head_dim: head, vocab_size: vocabulary } = config;
    const [queries, groups] = [config.num_attention_heads * head, config.num_key_value_heads * head];
    this.embedding = need("embed_tokens.weight", vocabulary * width);
    this.head = config.tie_word_embeddings ? this.embedding : need("lm_head.weight", vocabulary * width);
    this.norm = need("norm.weight", width);
    this.layers = Array.from({ length: config.num_hidden_layers }, (_, n) => {
      const own = (name, length) => need(`layers.${n}.${name}.weight`, length);
      return {
        before: own("input_layernorm", width),
        q: own("self_attn.q_proj", queries * width),
        k: own("self_attn.k_proj", groups * width),
        v: own("self_attn.v_proj", groups * width),
        o: own("self_attn.o_proj", width * queries),
        after: own("post_attention_layernorm", width),
        gate: own("mlp.gate_proj", inner * width),
        up: own("mlp.up_proj", inner * width),
        down: own("mlp.down_proj", width * inner),
      };
    });
  }
}

/** A model reading one text: its key-value cache and the tokens it holds. */
export class Session {
  constructor(model) {
    this.model = model;
    this.ids = [];
    const { config, layers } = model;
    const { hidden_size: width, head_dim: head, rope_theta: theta } = config;
    const [queries, groups] = [config.num_attention_heads * head, config.num_key_value_heads * head];
    const floats = (length) => new Float32Array(length);
    this.cache = layers.map(() => [floats(0), floats(0)]);
    this.x = floats(width);
    this.normed = floats(width);
    this.q = floats(queries);
    this.attended = floats(queries);
    this.added = floats(width);
    this.gate = floats(config.intermediate_size);
    this.up = floats(config.intermediate_size);
    this.logits = floats(config.vocab_size);
    this.scores = floats(config.max_position_embeddings);
    this.groups = groups;
    this.frequencies = Float32Array.from({ length: head / 2 }, (_, i) => theta ** ((-2 * i) / head));
  }

  /** Keep what the cache shares with these tokens; returns how many of them it holds. */
  rewind(ids) {
    let same = 0;
    while (same < ids.length && this.ids[same] === ids[same]) same++;
    this.ids.length = same;
    return same;
  }

  #turn(vector, start, heads, position) {
    const { head_dim: head } = this.model.config;
    const half = head / 2;
    for (let i = 0; i < half; i++) {
      // float32, as PyTorch has the angle
      const angle = Math.fround(position * this.frequencies[i]);
      const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
      for (let h = 0, at = start + i; h < heads; h++, at += head) {
        const [first, second] = [vector[at], vector[at + half]];
        vector[at] = first * cos - second * sin;
        vector[at + half] = second * cos + first * sin;
      }
    }
  }

  #room(layer, position) {
    const size = (position + 1) * this.groups;
    if (this.cache[layer][0].length >= size) return this.cache[layer];
    const longest = this.model.config.max_position_embeddings * this.groups;
    this.cache[layer] = this.cache[layer].map((old) => {
      const grown = new Float32Array(Math.min(longest, Math.max(2 * old.length, 64 * this.groups, size)));
      grown.set(old);
      return grown;
    });
    return this.cache[layer];
  }

  #attend(keys, values, position) {
    const { head_dim: head, num_attention_heads: heads, num_key_value_heads: shared } = this.model.config;
    const { q, scores, attended, groups } = this;
    const scale = 1 / Math.sqrt(head);
    for (let h = 0; h < heads; h++) {
      const [own, group] = [h * head, Math.floor((h * shared) / heads) * head];
      let highest = -Infinity;
      for (let t = 0, at = group; t <= position; t++, at += groups) {
        let sum = 0;
        for (let i = 0; i < head; i++) sum += q[own + i] * keys[at + i];
        scores[t] = sum * scale;
        if (scores[t] > highest) highest = scores[t];
      }
      let total = 0;
      for (let t = 0; t <= position; t++) total += scores[t] = Math.exp(scores[t] - highest);
      attended.fill(0, own, own + head);
      for (let t = 0, at = group; t <= position; t++, at += groups) {
        const share = scores[t] / total;
        for (let i = 0; i < head; i++) attended[own + i] += share * values[at + i];
      }
    }
  }

  /** Read one more token; returns the logits of the next (the same array at each call), or null if they are not wanted. */
  feed(id, wanted = true) {
    const { config, embedding, head, norm, layers } = this.model;
    const { hidden_size: width, rms_norm_eps: epsilon, head_dim, num_attention_heads, num_key_value_heads } = config;
    const { x, normed, q, attended, added, gate, up, groups } = this;
    const position = this.ids.length;
    if (position >= config.max_position_embeddings) throw new ModelError(`The text fills the models' context of ${position} tokens.`);
    x.set(embedding.subarray(id * width, (id + 1) * width));
    layers.forEach((layer, n) => {
      const [keys, values] = this.#room(n, position);
      const [key, value] = [keys, values].map((all) => all.subarray(position * groups, (position + 1) * groups));
      normalise(normed, x, layer.before, epsilon);
      multiply(q, layer.q, normed, q.length);
      multiply(key, layer.k, normed, groups);
      multiply(value, layer.v, normed, groups);
      this.#turn(q, 0, num_attention_heads, position);
      this.#turn(key, 0, num_key_value_heads, position);
      this.#attend(keys, values, position);
      multiply(added, layer.o, attended, width);
      for (let i = 0; i < width; i++) x[i] += added[i];
      normalise(normed, x, layer.after, epsilon);
      multiply(gate, layer.gate, normed, gate.length);
      multiply(up, layer.up, normed, up.length);
      for (let i = 0; i < gate.length; i++) gate[i] *= up[i] / (1 + Math.exp(-gate[i])); // SiLU(gate) · up
      multiply(added, layer.down, gate, width);
      for (let i = 0; i < width; i++) x[i] += added[i];
    });
    this.ids.push(id);
    if (!wanted) return null;
    normalise(normed, x, norm, epsilon);
    multiply(this.logits, head, normed, config.vocab_size);
    return this.logits;
  }
}

// --- sampling -------------------------------------------------------------------------------------------------------

/** Numbers from 0 to 1, the same for the same seed (mulberry32). */
export function seeded(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Logits as log-probabilities, in nats. */
export function logProbs(logits) {
  const highest = logits.reduce((a, b) => Math.max(a, b), -Infinity);
  const total = logits.reduce((sum, value) => sum + Math.exp(value - highest), 0);
  return Float64Array.from(logits, (value) => value - highest - Math.log(total));
}

/** The next token: at temperature 0 the likeliest, else drawn from the smallest set of tokens whose share reaches `topP`. */
export function sample(logits, { temperature, topP = 1 }, random) {
  if (temperature <= 0) return logits.indexOf(logits.reduce((a, b) => Math.max(a, b), -Infinity));
  const shares = logProbs(Float64Array.from(logits, (value) => value / temperature)).map(Math.exp);
  const order = Array.from(shares.keys());
  if (topP < 1) order.sort((a, b) => shares[b] - shares[a] || a - b);
  let kept = 0;
  let count = 0;
  while (count < order.length && (count === 0 || topP >= 1 || kept < topP)) kept += shares[order[count++]];
  let left = random() * kept;
  for (let i = 0; i < count - 1; i++) if ((left -= shares[order[i]]) < 0) return order[i];
  return order[count - 1];
}

// --- serving --------------------------------------------------------------------------------------------------------

const SLICE = 12; // milliseconds between two moments at which messages are read and the page may draw

function pause() {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel(); // setTimeout would wait 4 ms each time
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(0);
  });
}

/** Calls `perSlice` and pauses whenever a slice of time is used up; says whether to go on. */
function slicer(perSlice, wanted) {
  let started = performance.now();
  return async () => {
    if (performance.now() - started >= SLICE) {
      perSlice();
      await pause();
      started = performance.now();
    }
    return wanted();
  };
}

const OUT_OF_CONTEXT = (tokens, context) =>
  `The conversation takes ${tokens} tokens with the answer, and the models read at most ${context}: shorten the question, or begin a new conversation.`;

/** One answer token by token under two models: [{id, text, policy, reference, likely: {policy, reference}}], log-probabilities in nats. */
async function scoreAnswer({ tokenizer, policy, reference, messages, answer, shown, slice }) {
  const open = tokenizer.encodeChat(messages, true);
  const ids = tokenizer.encodeChat([...messages, { role: "assistant", content: answer }]);
  // As TRL counts: the answer begins after the generation prompt and runs to the template's last line break.
  let begins = 0;
  while (begins < open.length && open[begins] === ids[begins]) begins++;
  const context = policy.model.config.max_position_embeddings;
  if (ids.length > context) throw new ModelError(OUT_OF_CONTEXT(ids.length, context));
  const likeliest = (values) =>
    Array.from(values.keys())
      .sort((a, b) => values[b] - values[a] || a - b)
      .slice(0, shown)
      .map((token) => ({ text: tokenizer.shown(token), share: Math.exp(values[token]) }));
  const read = async (session) => {
    const rows = [];
    for (let n = session.rewind(ids.slice(0, begins - 1)); n + 1 < ids.length; n++) {
      const logits = session.feed(ids[n], n + 1 >= begins);
      if (logits) {
        const values = logProbs(logits);
        rows.push({ logProb: values[ids[n + 1]], likely: likeliest(values) });
      }
      if (!(await slice())) return null;
    }
    return rows;
  };
  const rows = { policy: await read(policy), reference: await read(reference) };
  if (!rows.policy || !rows.reference) return null;
  return ids.slice(begins).map((token, n) => ({
    id: token,
    text: tokenizer.shown(token),
    policy: rows.policy[n].logProb,
    reference: rows.reference[n].logProb,
    likely: { policy: rows.policy[n].likely, reference: rows.reference[n].likely },
  }));
}

/**
 * Receives messages {id, kind, ...} and posts what they lead to; a page talks to it through `connect`.
 *
 * load: {header, bytes}; extend: the same, for adapters that rest on those models.
 * derive: {name, from, factor}, as `Weights.derive` has it.
 * answer: {models, conversations, temperature, topP, seed, longest}: a token of each model in turn, posted as
 *   {kind: "progress", pieces}; its result is {answers: [{text, ended, tokens}]}.
 * score: {policy, reference, messages, answers, shown}: its result is {answers}, each as `scoreAnswer` has it.
 * stop: ends what runs, whose result is null.
 */
export function makeServer(post) {
  let weights = null;
  let latest = 0; // of the requests that take long: a later one ends an earlier
  const sessions = new Map();

  const session = (name) => {
    if (!sessions.has(name)) sessions.set(name, new Session(weights.model(name)));
    return sessions.get(name);
  };

  async function answer({ id, models, conversations, temperature, topP, seed, longest }) {
    const { tokenizer, header } = weights;
    const context = header.config.max_position_embeddings;
    const runs = models.map((name, n) => {
      const prompt = tokenizer.encodeChat(conversations[n], true);
      if (prompt.length + longest > context) throw new ModelError(OUT_OF_CONTEXT(prompt.length + longest, context));
      return { prompt, session: session(name), text: "", piece: "", tokens: 0, ended: false, next: tokenizer.decoder(), random: seeded(seed) };
    });
    const report = () => {
      if (runs.some(({ piece }) => piece)) post({ kind: "progress", id, pieces: runs.map(({ piece }) => piece) });
      runs.forEach((run) => {
        run.text += run.piece;
        run.piece = "";
      });
    };
    const slice = slicer(report, () => latest === id);
    for (const run of runs) {
      // The last token is always read again: its logits begin the answer.
      for (let n = run.session.rewind(run.prompt.slice(0, -1)); n < run.prompt.length; n++) {
        run.logits = run.session.feed(run.prompt[n], n + 1 === run.prompt.length);
        if (!(await slice())) return null;
      }
    }
    const unfinished = (run) => !run.ended && run.tokens < longest;
    for (let left = runs; left.length; left = left.filter(unfinished)) {
      for (const run of left) {
        const token = sample(run.logits, { temperature, topP }, run.random);
        run.tokens++;
        run.ended = token === tokenizer.eosId;
        if (!run.ended) run.piece += run.next(token);
        if (unfinished(run)) run.logits = run.session.feed(token);
        else run.piece += run.next();
        if (!(await slice())) return null;
      }
    }
    report();
    return { answers: runs.map(({ text, ended, tokens }) => ({ text: strip(text), ended, tokens })) };
  }

  async function score({ id, policy, reference, messages, answers, shown }) {
    const scored = [];
    for (const text of answers) {
      const both = { policy: session(policy), reference: session(reference) };
      const slice = slicer(() => {}, () => latest === id);
      const tokens = await scoreAnswer({ tokenizer: weights.tokenizer, ...both, messages, answer: text, shown, slice });
      if (!tokens) return null;
      scored.push(tokens);
    }
    return { answers: scored };
  }

  async function add({ kind, header, bytes }) {
    const unpacked = await unpack(header, bytes);
    if (kind === "load") {
      weights = new Weights(header, unpacked);
      sessions.clear();
    } else {
      weights.extend(header, unpacked);
    }
    return { models: header.models.map(({ name }) => name) };
  }

  const derive = ({ name, from, factor }) => weights.derive(name, from, factor);
  const kinds = { load: add, extend: add, derive, answer, score, stop: () => null };
  const quick = new Set(["load", "extend", "derive"]);
  return async (message) => {
    const { id, kind } = message;
    if (!quick.has(kind)) latest = id;
    try {
      post({ kind: "done", id, result: await kinds[kind](message) });
    } catch (error) {
      post({ kind: "error", id, text: error instanceof ModelError ? error.message : `The models stopped: ${error.message}` });
    }
  };
}

// --- the page's side ------------------------------------------------------------------------------------------------

const AT_ONCE = 3000; // milliseconds that a worker may take to start
const IN_WORKER = `
const receive = makeServer((message) => postMessage(message));
onmessage = ({ data }) => receive(data);
postMessage({ kind: "ready" });
`;

/** A worker that runs this module's text, or null where none starts. */
function startWorker(source) {
  return new Promise((resolve) => {
    let worker = null;
    const give = (started) => {
      clearTimeout(timer);
      if (!started) worker?.terminate();
      resolve(started);
    };
    const timer = setTimeout(() => give(null), AT_ONCE);
    try {
      const url = URL.createObjectURL(new Blob([source, IN_WORKER], { type: "text/javascript" }));
      worker = new Worker(url, { type: "module" });
      worker.onerror = () => give(null);
      worker.onmessage = () => {
        URL.revokeObjectURL(url);
        give(worker);
      };
    } catch {
      give(null);
    }
  });
}

/**
 * A server of models, in a worker if one starts and else in this thread. `source` is this module's text.
 * `request(message, onProgress)` gives the result or fails with a ModelError.
 */
async function connect(source) {
  const waiting = new Map();
  let number = 0;
  const hear = ({ kind, id, result, text, pieces }) => {
    const { resolve, reject, onProgress } = waiting.get(id) ?? {};
    if (kind === "progress") return onProgress?.(pieces);
    waiting.delete(id);
    return kind === "done" ? resolve?.(result) : reject?.(new ModelError(text));
  };
  const worker = await startWorker(source);
  const receive = worker ? null : makeServer(hear);
  if (worker) {
    worker.onmessage = ({ data }) => hear(data);
    worker.onerror = (event) => waiting.forEach(({ reject }) => reject(new ModelError(`The models stopped: ${event.message}`)));
  }
  return {
    inWorker: Boolean(worker),
    request: (message, onProgress) =>
      new Promise((resolve, reject) => {
        const id = ++number;
        waiting.set(id, { resolve, reject, onProgress });
        if (worker) worker.postMessage({ ...message, id });
        else receive({ ...message, id });
      }),
    close: () => worker?.terminate(),
  };
}

const CACHE = "zephyr-models";

async function stored(url) {
  try {
    const kept = await (await caches.open(CACHE)).match(url);
    return kept && new Uint8Array(await kept.arrayBuffer());
  } catch {
    return null; // no such store on this page: the browser's own cache has to do
  }
}

async function store(url, bytes) {
  try {
    const cache = await caches.open(CACHE);
    for (const { url: other } of await cache.keys()) {
      if (other.replace(/[^/]+$/, "") === url.replace(/[^/]+$/, "") && nameOf(other) === nameOf(url)) await cache.delete(other);
    }
    await cache.put(url, new Response(bytes));
  } catch {
    // the same; or the store is full
  }
}

async function forget(url) {
  try {
    await (await caches.open(CACHE)).delete(url);
  } catch {
    // nothing is stored
  }
}

const nameOf = (url) => url.replace(/^.*\//, "").replace(/-[0-9a-f]+\.bin$/, "").replaceAll("-", " ");

async function answerOf(url, options) {
  let response;
  try {
    response = await fetch(url, options);
  } catch {
    throw new ModelError(`The server of this page did not answer for ${nameOf(url)}: check the connection and try again.`);
  }
  if (!response.ok) throw new ModelError(`The server of this page has no ${nameOf(url)} (answer ${response.status}): build the site again.`);
  return response;
}

/**
 * Header and bytes of a weights file. `address`: of the header, whose `file` lies beside it. `onProgress(received, all)`: bytes.
 * The bytes are not checked here, but where they are loaded: then `keep()` stores them, or `forget()` drops what was stored.
 */
async function download(address, onProgress) {
  const header = await (await answerOf(address, { cache: "no-cache" })).json();
  const url = new URL(header.file, address).href;
  const known = await stored(url);
  if (known?.length === header.bytes) return { header, bytes: known, keep: async () => {}, forget: () => forget(url) };
  const response = await answerOf(url);
  const parts = [];
  let received = 0;
  try {
    const reader = response.body.getReader();
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      parts.push(part.value);
      received += part.value.length;
      onProgress(received, header.bytes);
    }
  } catch {
    throw new ModelError("The connection ended before the weights had arrived: try again.");
  }
  const bytes = new Uint8Array(received);
  parts.reduce((at, part) => (bytes.set(part, at), at + part.length), 0);
  return { header, bytes, keep: () => store(url, bytes), forget: async () => {} };
}

/** The header and the bytes that a kernel sends when it is asked for the file of this name. */
function weightsOfKernel(model, name) {
  return new Promise((resolve) => {
    const hear = (message, buffers) => {
      if (message.kind !== "weights" || message.name !== name) return;
      model.off("msg:custom", hear);
      const [{ buffer, byteOffset, byteLength }] = buffers;
      resolve({ header: message.header, bytes: new Uint8Array(buffer, byteOffset, byteLength), keep() {}, forget() {} });
    };
    model.on("msg:custom", hear);
    model.send({ kind: "weights", name });
  });
}

/**
 * A running server of an explorer's models, and their header. The weights come from the kernel if one answered, and else
 * from the site: `files` lists `{name, address}`, the models and then what rests on them. `source` is this module's text,
 * `onProgress(received, all, name)` counts bytes.
 */
export async function openModels({ model, kernel, source, onProgress }) {
  const root = document.documentElement?.dataset.content_root ?? "./"; // of the site, from this page
  const server = await connect(source);
  const headers = [];
  try {
    for (const { name, address } of model.get("files")) {
      const url = new URL(root + address, document.baseURI).href;
      const file = kernel ? weightsOfKernel(model, name) : download(url, (received, all) => onProgress(received, all, name));
      const { header, bytes, keep, forget: drop } = await file;
      try {
        await server.request({ kind: headers.length ? "extend" : "load", header, bytes });
      } catch (error) {
        await drop();
        throw error;
      }
      await keep();
      headers.push(header);
    }
  } catch (error) {
    server.close();
    throw error;
  }
  return { server, header: headers[0] };
}
