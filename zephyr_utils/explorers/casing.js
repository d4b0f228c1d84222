// The package's truecaser in a reader's browser: the same words, features, scores, protected spans and decisions as
// `zephyr_utils/truecasing`, function by function, letter for letter in what comes out. Patterns, thresholds and tables
// of bytes come with the model, from the Python modules themselves (`casing.py`); here is what they are used for.
//
// A text is UTF-8, as in Python: an array of bytes, and a string with a character for each byte, which the patterns
// read. Imports nothing.

/** An error whose message is a sentence for the reader. */
export class CasingError extends Error {}

export const FORMAT = "zephyr-handbook truecaser 4"; // of model and rules; what else it may be is not known here
const [OTHER, WORD] = [0, 1];
const [NEWLINE, SPACE, EXCLAMATION, QUOTE, STOP, SLASH, COLON, EQUALS, QUESTION, UNDERSCORE, BACKTICK] = [10, 32, 33, 34, 46, 47, 58, 61, 63, 95, 96];
const BLANK = " \t\n\r\f\v";

// --- text and bytes ---

/** A string with a character for each byte. */
function rawOf(bytes) {
  const parts = [];
  for (let at = 0; at < bytes.length; at += 8192) parts.push(String.fromCharCode(...bytes.subarray(at, at + 8192)));
  return parts.join("");
}

const asciiLower = (raw) => raw.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());

function stripEnd(raw, marks) {
  let end = raw.length;
  while (end > 0 && marks.includes(raw[end - 1])) end--;
  return raw.slice(0, end);
}

const wordsOf = (raw) => raw.split(/[ \t\n\r\f\v]+/).filter(Boolean);

/** How many of some ascending numbers are below a value. */
export function below(sorted, value) {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The spans sorted, and those that touch made one. */
function merged(spans) {
  spans.sort((one, other) => one[0] - other[0] || one[1] - other[1]);
  const result = [];
  for (const [start, end] of spans) {
    const last = result[result.length - 1];
    if (last && start <= last[1]) last[1] = Math.max(end, last[1]);
    else result.push([start, end]);
  }
  return result;
}

/** Answers whether a place lies in one of some sorted, disjoint spans. */
function membership(spans) {
  const starts = spans.map(([start]) => start);
  return (place) => {
    const before = below(starts, place + 1) - 1;
    return before >= 0 && place < spans[before][1];
  };
}

/** A pattern, tried at a place, searched for from one on, or found wherever it is. */
class Pattern {
  constructor([source, flags]) {
    Object.assign(this, { source, sticky: new RegExp(source, `${flags}y`), global: new RegExp(source, `${flags}g`) });
  }
  match(text, at = 0) {
    this.sticky.lastIndex = at;
    return this.sticky.exec(text);
  }
  search(text, from = 0) {
    this.global.lastIndex = from;
    return this.global.exec(text);
  }
  all(text) {
    this.global.lastIndex = 0;
    return [...text.matchAll(this.global)];
  }
}

// --- the model ---

/** What a rule is in JSON, made usable: `[source, flags]`, tables of bytes in hexadecimal digits, and anything else. */
function usable(rule) {
  if (typeof rule === "string" && /^[0-9a-f]{256}$/.test(rule)) return Uint8Array.from(rule, (digit) => parseInt(digit, 16));
  if (Array.isArray(rule)) {
    const isPattern = rule.length === 2 && typeof rule[0] === "string" && (rule[1] === "" || rule[1] === "i");
    return isPattern ? new Pattern(rule) : rule.map(usable);
  }
  if (!rule || typeof rule !== "object") return rule;
  return Object.fromEntries(Object.entries(rule).map(([name, value]) => [name, usable(value)]));
}

/** Whole numbers in groups of seven bits (LEB128). */
export function numbers(bytes) {
  const found = [];
  let [value, place] = [0, 1];
  for (const byte of bytes) {
    value += (byte & 127) * place;
    place *= 128;
    if (byte < 128) {
      found.push(value);
      [value, place] = [0, 1];
    }
  }
  return found;
}

/**
 * The truecaser in a file that `pack_truecaser` made.
 * @throws {CasingError} the file is of another version, or cut short.
 */
export function readModel(bytes) {
  const cut = new CasingError("The truecaser’s file was cut short.");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const parts = {};
  let header = null;
  let at = 4;
  try {
    at += view.getUint32(0, true);
    header = JSON.parse(new TextDecoder().decode(bytes.subarray(4, at)));
  } catch {
    throw cut;
  }
  if (header.format !== FORMAT) throw new CasingError("The truecaser’s file is of another version than this page.");
  for (const [name, size] of Object.entries(header.sizes)) parts[name] = bytes.subarray(at, (at += size));
  if (at !== bytes.length) throw cut;
  // A copy begins at a multiple of what its entries take.
  const whole = (part) => new Uint32Array(part.slice().buffer); // all machines with browsers are little-endian
  const rules = usable(header.rules);
  const weights = new Int8Array(2 ** rules.features.TABLE_BITS);
  const signed = new Int8Array(parts.weights.slice().buffer);
  let [place, n] = [0, 0];
  for (const gap of numbers(parts.gaps)) weights[(place += gap)] = signed[n++];
  const keys = whole(parts.keys);
  const entries = new Map();
  for (let entry = 1; 2 * entry < keys.length; entry++) entries.set(`${keys[2 * entry + 1]},${keys[2 * entry]}`, entry);
  const counts = numbers(parts.counts);
  const [form, openingForm, inside, capital] = [0, 1, 2, 3].map((first) => counts.filter((_, n) => n % 4 === first));
  const [certain, common, stops] = [0, 1, 2].map((bit) => parts.flags.map((flags) => (flags >> bit) & 1));
  const lexicon = { entries, bucket: parts.buckets, certain, common, stops, form, openingForm, inside, capital };
  const [values, mixers] = [whole(parts.values), whole(parts.mixers)];
  return { rules, lexicon, weights, step: Math.fround(header.step), values, mixers, numberHashes: numberHashes(rules.words) };
}

// --- what must not be touched (blocks.py, code_lines.py, front_matter.py, protect.py) ---

/** Blocks of code, maths and markup that may cross lines. */
function blockSpans({ OPENING, TILDE_END, CLOSING }, message) {
  const lowered = asciiLower(message);
  const read = {}; // no such mark begins before here, as far as was asked
  const first = (mark, start, stop) => {
    const begin = Math.max(start, read[mark] ?? 0);
    const found = begin < stop ? lowered.slice(begin, stop).indexOf(mark) : -1;
    read[mark] = found >= 0 ? begin + found : Math.max(begin, stop - mark.length + 1);
    return found >= 0 ? begin + found : -1;
  };
  const blockEnd = (opening) => {
    const [kind, name] = Object.entries(opening.groups).find(([, text]) => text !== undefined);
    const start = opening.index + opening[0].length;
    if (kind === "fence") {
      const place = message.indexOf("```", start);
      return place < 0 ? message.length : place + 3;
    }
    if (kind === "tilde") {
      const closing = TILDE_END.search(lowered, start);
      return closing ? closing.index + closing[0].length : message.length;
    }
    const [pattern, least, most] = CLOSING[kind];
    const mark = pattern.replace("%b", () => asciiLower(name));
    const place = first(mark, start + least, start + most + mark.length);
    return place < 0 ? null : place + mark.length;
  };
  const spans = [];
  let at = 0;
  for (let opening = OPENING.search(message, at); opening; opening = OPENING.search(message, at)) {
    const end = blockEnd(opening);
    if (end !== null) spans.push([opening.index, end]);
    at = end ?? opening.index + 1;
  }
  return spans;
}

/** Whether a message is JSON as a whole. Python gives up on lists a thousand deep and on numbers of 4,300 digits; this does not. */
function isJson(message) {
  const last = stripEnd(message, BLANK).slice(-1);
  if (!/^[{[]/.test(message) || (last !== "}" && last !== "]")) return false;
  try {
    JSON.parse(asciiLower(message));
    return true;
  } catch {
    return false;
  }
}

/** Lines that are code by themselves, among those that hold a trigger, and blocks of code. */
function codeLineSpans(rules, raw, bytes, hits) {
  const { MAX_LINE, ENOUGH, BESIDE, CODE_LINE, CODE_LINE_END, PLAIN, COMMAND, PERHAPS, COMMENT, INDENTED, FENCE } = rules;
  const [BLANK_LINE, PROSE, REMARK, INSET] = [rules._BLANK, rules._PROSE, rules._COMMENT, rules._INDENTED];
  const breaks = [];
  bytes.forEach((byte, at) => (byte === NEWLINE || byte === 0) && breaks.push(at));
  const closes = (line) => bytes[breaks[line]] === 0;
  const span = (first, last) => [breaks[first - 1] + 1, breaks[last]];
  const textOf = (line) => {
    const [start, end] = span(line, line);
    return raw.slice(start, end - (end > start && bytes[end - 1] === 13 ? 1 : 0));
  };
  const fits = (pattern, text) => text.length <= MAX_LINE && pattern.match(text) !== null;
  const isCode = (text) => {
    if (text.length > MAX_LINE) return false;
    const last = stripEnd(text, BLANK).slice(-1);
    return CODE_LINE.match(text) !== null || (last !== "" && "{};".includes(last) && CODE_LINE_END.search(text.slice(-210)) !== null);
  };
  const kindOf = (line) => {
    const text = textOf(line);
    if (!stripEnd(text, BLANK)) return BLANK_LINE;
    if (fits(FENCE, text)) return PROSE;
    if (fits(COMMENT, text)) return REMARK;
    if (fits(PLAIN, text) || isCode(text)) return rules._PLAIN;
    if (fits(PERHAPS, text)) return rules._PERHAPS;
    return fits(INDENTED, text) ? INSET : PROSE;
  };
  const block = (first, last) => {
    const kinds = new Map();
    for (let line = first; line <= last; line++) kinds.set(line, kindOf(line));
    const counted = [...kinds.keys()].filter((line) => rules._POINTS[kinds.get(line)]);
    const points = counted.reduce((sum, line) => sum + rules._POINTS[kinds.get(line)], 0);
    let [begin, end] = [counted[0], counted[counted.length - 1]];
    const inside = [...kinds.values()].slice(begin - first, end - first + 1);
    const beside = inside.filter((kind) => kind === REMARK || kind === INSET).length;
    if (points < ENOUGH || beside > BESIDE * counted.length) return null;
    const commented = inside.includes(REMARK);
    while (begin > first && (kinds.get(begin - 1) === REMARK || (commented && kinds.get(begin - 1) === BLANK_LINE))) begin--;
    while (kinds.get(begin) === BLANK_LINE) begin++;
    while (end < last && [REMARK, INSET].includes(kinds.get(end + 1))) end++;
    return span(begin, end);
  };
  const spans = [];
  for (const line of new Set(hits.map((hit) => below(breaks, hit)))) if (isCode(textOf(line))) spans.push(span(line, line));
  let done = 0; // lines that were looked at already
  for (let line = 1; line < breaks.length; line++) {
    const [start, end] = [breaks[line - 1], breaks[line]];
    if (end - start <= 3 || !rules._MAY_OPEN[bytes[start + 1]] || rules._ENDS_PROSE[bytes[end - 1]]) continue;
    const text = textOf(line);
    if (!fits(PLAIN, text)) continue;
    if (line > done) {
      let [first, last] = [line, line]; // of the run without prose that this line stands in
      while (first - 1 > done && !closes(first - 1) && kindOf(first - 1) !== PROSE) first--;
      while (!closes(last) && kindOf(last + 1) !== PROSE) last++;
      done = last;
      const found = block(first, last);
      if (found) spans.push(found);
    }
    if (fits(COMMAND, text)) spans.push(span(line, line));
  }
  return spans;
}

/** YAML between two lines of three hyphens, in an enclosed message. */
function frontMatterSpans({ OPENING, CLOSING, KEY, BESIDE, SENTENCE_END }, raw) {
  const blockEnd = (at, opensMessage) => {
    let hasKey = false;
    while (at < raw.length) {
      const closing = CLOSING.match(raw, at);
      if (closing) return hasKey ? [at + closing[0].length, true] : [at - 1, false];
      const isKey = KEY.match(raw, at) !== null;
      if (!isKey && !BESIDE.match(raw, at)) break;
      const next = raw.indexOf("\n", at);
      const end = next < 0 ? raw.length - 1 : next;
      if (!opensMessage && SENTENCE_END.search(raw.slice(Math.max(at, end - 8), end))) break;
      hasKey ||= isKey;
      if (next < 0) break;
      at = end + 1;
    }
    return [at - 1, false];
  };
  const spans = [];
  let at = 0;
  for (let opening = OPENING.search(raw); opening; opening = OPENING.search(raw, at)) {
    const [end, isBlock] = blockEnd(opening.index + opening[0].length, opening.index === 0);
    if (isBlock) spans.push([opening.index + 1, end]);
    at = end;
  }
  return spans;
}

/** Places of the triggers, with the bounds of the token that each stands in: `[place, left, right]`. */
function triggers({ _KIND, _LETTER, _WORD, _OPENS_MATHS, _SPACE, _INSIDE, _SOMETIMES, _ALONE }, bytes) {
  const size = bytes.length;
  const hits = [];
  for (let at = 1; at < size - 1; at++) {
    const kind = _KIND[bytes[at]];
    if (kind < _SOMETIMES) continue;
    const [before, after] = [bytes[at - 1], bytes[at + 1]];
    const [here, next] = String.fromCharCode(bytes[at], after);
    const [letterBefore, letterAfter] = [_LETTER[before], _LETTER[after]];
    const beyond = _LETTER[bytes[Math.min(at + 2, size - 1)]];
    let hit = kind >= _ALONE;
    if (here === "#") hit = hit && letterAfter;
    if (here === "\\") hit = hit && (_WORD[after] || _OPENS_MATHS[after]);
    if (here === "<") hit = hit && (letterAfter || next === "/" || next === "!");
    if (here === "&") hit = hit && (letterAfter || next === "#");
    if (here === "$") hit = hit && !_SPACE[after];
    if (here === ".") hit ||= letterAfter;
    if (here === "/") hit ||= letterBefore || letterAfter;
    if (here === ":") hit ||= letterAfter || next === "/" || next === "\\";
    if (here === "-") hit ||= (next === "-" && beyond) || (letterAfter && before === SPACE);
    if (here === "]") hit ||= next === "(" || next === ":";
    if (here === "(") hit ||= letterBefore;
    if (here === "~") hit ||= next === "~";
    if (hit) hits.push(at);
  }
  if (!hits.length) return [];
  const gaps = [];
  let until = -1; // where a dash or a quotation mark ends, of three bytes
  bytes.forEach((byte, at) => {
    if (byte === 0xe2) until = at + 2;
    if (at <= until || !(_KIND[byte] & _INSIDE)) gaps.push(at);
  });
  return hits.map((at) => {
    const following = below(gaps, at);
    return [at, gaps[following - 1] + 1, gaps[following]];
  });
}

/** Answers about the runs of bytes without blanks in which triggers stand; those about the latest are kept. */
function makeTokens(ABBREVIATION, raw) {
  let joined = [-1, null];
  let opening = [-1, -1];
  return {
    joined(start, end) {
      if (joined[0] !== start) {
        const token = stripEnd(raw.slice(start, end), ".-%+~");
        const found = ABBREVIATION.match(token);
        joined = [start, found?.[0].length === token.length ? null : [start, start + token.length]];
      }
      return joined[1];
    },
    openingEnd(start, end) {
      if (opening[0] !== start) opening = [start, start + /^[~.]*/.exec(raw.slice(start, end))[0].length];
      return opening[1];
    },
  };
}

/** The span that the trigger at a byte opens or stands in, if it does. */
function opened(rules, raw, bytes, [at, start, end], tokens) {
  const { AT, JOINERS, NEEDS_WORD_BEFORE, NEEDS_NOTHING_BEFORE, SIGNS_BEFORE_EQUALS, SCHEMES, SCHEME_BYTES, OPEN_SCHEMES, _WORD } = rules;
  const byte = bytes[at];
  const wordBefore = at > start && _WORD[bytes[at - 1]];
  const wordAfter = at + 1 < end && _WORD[bytes[at + 1]];
  if (JOINERS.includes(byte) && (byte === UNDERSCORE || (wordBefore && wordAfter))) return tokens.joined(start, end);
  if (!AT[byte]) return null;
  if (byte === COLON) {
    const scheme = raw.slice(Math.max(start, at - SCHEME_BYTES - 1), at);
    if (!SCHEMES.match(scheme)) return null;
    if (!"/\\".includes(raw[at + 1]) && !OPEN_SCHEMES.includes(asciiLower(scheme))) return null;
  } else if (NEEDS_WORD_BEFORE.includes(byte)) {
    if (byte === EQUALS && SIGNS_BEFORE_EQUALS.includes(bytes[at - 1])) {
      start = at - 1;
      while (start > 0 && at - start < 60 && (_WORD[bytes[start - 1]] || (bytes[start - 1] === SPACE && start === at - 1))) start--;
    } else if (!wordBefore) return null;
  } else if (NEEDS_NOTHING_BEFORE.includes(byte)) {
    if (at > start && (byte !== SLASH || at > tokens.openingEnd(start, end))) return null;
  } else start = at;
  const match = AT[byte].match(raw, at);
  return match && [start, at + match[0].length];
}

/** The bytes between zero bytes; zero bytes of their own become another control character. */
function enclosed(bytes) {
  const joined = new Uint8Array(bytes.length + 2);
  joined.set(bytes, 1);
  for (let at = joined.indexOf(0, 1); at < bytes.length + 1; at = joined.indexOf(0, at)) joined[at] = 1;
  return joined;
}

/** The spans of an enclosed message that truecasing never alters, sorted and disjoint. */
function protectedRanges({ rules }, joined) {
  const raw = rawOf(joined.subarray(0, -1)); // so that its end is the message's
  const message = raw.slice(1);
  const hits = triggers(rules.protect, joined);
  const spans = codeLineSpans(rules.code_lines, raw, joined, hits.map(([at]) => at));
  spans.push(...frontMatterSpans(rules.front_matter, `${raw}\0`));
  if (isJson(message)) spans.push([1, raw.length]);
  if (hits.some(([at]) => rules.protect._BLOCKISH[joined[at]]))
    spans.push(...blockSpans(rules.blocks, message).map(([start, end]) => [start + 1, end + 1]));
  const tokens = makeTokens(rules.protect.ABBREVIATION, raw);
  let covered = 0;
  for (const hit of hits) {
    const span = hit[0] >= covered ? opened(rules.protect, raw, joined, hit, tokens) : null;
    if (!span) continue;
    spans.push(span);
    covered = span[1];
  }
  return merged(spans);
}

export const protectedBytes = (model, bytes) => protectedRanges(model, enclosed(bytes)).map(([start, end]) => [start - 1, end - 1]);

// --- words and their features (words.py, features.py, reading.py) ---

/** The hash of the bytes from start up to end, as `[upper, lower]` half; polynomial, modulo 2 ** 64. */
function hash({ values, rules }, bytes, start, end) {
  const [baseHigh, baseLow] = rules.words.BASE;
  const [c, d] = [baseLow & 0xffff, baseLow >>> 16];
  let [high, low] = [0, 0];
  for (let at = end - 1; at >= start; at--) {
    const [a, b] = [low & 0xffff, low >>> 16];
    const [ac, ad, bc] = [a * c, a * d, b * c];
    const middle = (ac >>> 16) + (ad & 0xffff) + (bc & 0xffff);
    const carried = b * d + (ad >>> 16) + (bc >>> 16) + (middle >>> 16);
    high = (carried + Math.imul(high, baseLow) + Math.imul(low, baseHigh)) >>> 0;
    low = ((middle << 16) | (ac & 0xffff)) >>> 0;
    const sum = low + values[2 * bytes[at]];
    low = sum >>> 0;
    high = (high + values[2 * bytes[at] + 1] + (sum > 0xffffffff ? 1 : 0)) >>> 0;
  }
  return [high, low];
}

/** The hashes that numbers share: for each length the length and one, times a constant. */
function numberHashes({ MIX }) {
  const factor = (BigInt(MIX[0]) << 32n) | BigInt(MIX[1]);
  const products = [0n, 1n, 2n, 3n, 4n, 5n].map((length) => BigInt.asUintN(64, (length + 1n) * factor));
  return products.map((product) => [Number(product >> 32n), Number(product & 0xffffffffn)]);
}

/** Latin-1 capitals, typographic quotation marks and symbols, in place. */
function readBeyondAscii({ _SYMBOL_LEADS }, joined, lower, upper, kind, hashed) {
  const size = joined.length;
  const goesOn = (at) => (joined[at] & 0xc0) === 0x80;
  for (let at = 0; at < size; at++) {
    const lead = joined[at];
    if (lead < 0xc2) continue;
    if (_SYMBOL_LEADS.includes(lead)) {
      kind[at] = OTHER;
      const more = lead === 0xf0 ? 3 : lead === 0xc2 ? 1 : 2;
      for (let n = 1; n <= more && goesOn(at + n); n++) kind[at + n] = OTHER;
    }
    const second = joined[at + 1];
    if (lead === 0xc3) {
      if (second >= 0x80 && second <= 0x9e && second !== 0x97) {
        lower[at + 1] += 32;
        hashed[at + 1] += 32;
        upper[at + 1] = 1;
      }
      if (second === 0x97 || second === 0xb7) kind[at] = kind[at + 1] = OTHER;
    }
    const plain = lead === 0xe2 && second === 0x80 ? { 0x98: 39, 0x99: 39, 0x9c: QUOTE, 0x9d: QUOTE }[joined[at + 2]] : undefined;
    if (plain) {
      hashed[at] = plain;
      hashed[at + 1] = hashed[at + 2] = 0;
    }
  }
}

/** The words of an enclosed message: arrays with one entry a word, and the bytes they were read from. */
function splitWords(model, joined) {
  const { _CLASS, _IS_UPPER, BOUNDARY } = model.rules.words;
  const [lower, upper, kind] = [joined.slice(), new Uint8Array(joined.length), new Uint8Array(joined.length)];
  joined.forEach((byte, at) => {
    kind[at] = _CLASS[byte];
    upper[at] = _IS_UPPER[byte];
    lower[at] += 32 * _IS_UPPER[byte];
  });
  const hashed = lower.slice();
  readBeyondAscii(model.rules.words, joined, lower, upper, kind, hashed);
  const words = { lower, hashed, upper, start: [], end: [], digits: [], word: [], gap: [], breaks: [], endsSentence: [] };
  let gap = 0; // where the one before the next word begins
  let [breaks, ends] = [false, false]; // what it holds
  for (let at = 0; at < joined.length; at++) {
    const byte = joined[at];
    if (kind[at] !== WORD) {
      breaks ||= byte === NEWLINE || byte === 0;
      ends ||= byte === STOP || byte === EXCLAMATION || byte === QUESTION;
      continue;
    }
    const start = at;
    let digits = true;
    for (; kind[at] === WORD; at++) digits &&= lower[at] < COLON;
    words.start.push(start);
    words.end.push(at);
    words.digits.push(digits);
    words.word.push(digits ? model.numberHashes[Math.min(at - start, 5)] : hash(model, hashed, start, at));
    words.gap.push(hash(model, hashed, gap, start)[0]);
    words.breaks.push(breaks);
    words.endsSentence.push(breaks || ends);
    gap = at--;
    breaks = ends = false;
  }
  if (words.gap.length) words.gap[0] = (words.gap[0] ^ BOUNDARY[0]) >>> 0;
  return words;
}

/** Two small numbers for each word: the kind of its line, and its state within the line. */
function lineKinds({ _ENDING, _OPENING }, { lower, hashed, start, end, breaks }) {
  const limit = lower.length - 1;
  const running = (counts) => {
    const sums = new Uint32Array(lower.length + 1);
    for (let at = 0; at < lower.length; at++) sums[at + 1] = sums[at] + (counts(at) ? 1 : 0);
    return sums;
  };
  const bold = running((at) => at > 0 && lower[at] === 42 && lower[at - 1] === 42);
  const quotes = running((at) => hashed[at] === QUOTE);
  const colons = running((at) => lower[at] === COLON);
  const [kinds, states] = [[], []];
  for (let opens = 0, next; opens < start.length; opens = next) {
    next = opens + 1;
    while (next < start.length && !breaks[next]) next++;
    const closes = end[next - 1];
    const mark = lower[Math.min(closes, limit)];
    const before = lower[start[opens] - 1];
    const further = before === 0 ? 0 : lower[Math.max(start[opens] - 2, 0)];
    const size = [2, 3, 4, 6, 9, 14].filter((least) => least <= next - opens).length;
    const kind = (size * 6 + Math.max(_ENDING[mark] - 1, 0)) * 16 + _OPENING[before] * 4 + _OPENING[further];
    const last = colons[Math.min(closes + (mark === 0 ? 0 : 1), limit) + 1];
    for (let n = opens; n < next; n++) {
      const since = (sums) => sums[start[n]] - sums[start[opens]];
      const labels = since(colons) === 0 && last > colons[start[n]];
      kinds.push(kind);
      states.push((since(bold) & 1) + 2 * (since(quotes) & 1) + 4 * (labels ? 1 : 0) + 8 * Math.min(n - opens, 3));
    }
  }
  return [kinds, states];
}

/** Log-odds of a capital (of float32) of a word, by its number. */
function makeScores(model, words, entry) {
  const { EDGE, EDGE_BUCKET, _MIX, _SHIFTS } = model.rules.features;
  const { mixers, weights, step } = model;
  const { start, end, endsSentence, gap, hashed } = words;
  const [kinds, states] = lineKinds(model.rules.features, words);
  const [word, bucket] = [words.word.map(([high]) => high), entry.map((n) => model.lexicon.bucket[n])];
  const further = (value, column, key) => Math.imul(((value ^ (value >>> _SHIFTS[0])) + Math.imul(column, key)) | 0, _MIX);
  const of = (number, one, two, three) => {
    let value = Math.imul(one, mixers[number]);
    if (two !== undefined) value = further(value, two, mixers[40]);
    if (three !== undefined) value = further(value, three, mixers[41]);
    return weights[Math.imul(value ^ (value >>> _SHIFTS[1]), _MIX) >>> _SHIFTS[2]];
  };
  const piece = (from, to) => hash(model, hashed, from, to)[0];
  const summed = (n) => {
    const [w, g, b, kind, state] = [word[n], gap[n], bucket[n], kinds[n], states[n]];
    const [before, after, before2, after2] = [word[n - 1] ?? EDGE, word[n + 1] ?? EDGE, word[n - 2] ?? EDGE, word[n + 2] ?? EDGE];
    const [gapBefore, gapAfter] = [gap[n - 1] ?? EDGE, gap[n + 1] ?? EDGE];
    const [bBefore, bAfter] = [bucket[n - 1] ?? EDGE_BUCKET, bucket[n + 1] ?? EDGE_BUCKET];
    const starts = endsSentence[n] ? 1 : 0;
    const [suffix3, suffix2] = [piece(Math.max(end[n] - 3, start[n]), end[n]), piece(Math.max(end[n] - 2, start[n]), end[n])];
    const prefix3 = piece(start[n], Math.min(start[n] + 3, end[n]));
    const near = bBefore * 32 + b;
    let sum = of(0, g) + of(1, w) + of(2, w, g) + of(3, before, w) + of(4, w, after) + of(5, before, g) + of(6, after, gapAfter);
    sum += of(7, before2, before) + of(8, after, after2) + of(9, g, gapBefore, before) + of(10, suffix3, starts);
    sum += of(11, prefix3, Math.min(end[n] - start[n], 12)) + of(12, suffix2, b, starts) + of(13, b, g) + of(14, near, bAfter, starts);
    sum += of(15, g, gapAfter, b) + of(16, kind, b) + of(17, kind, state, starts) + of(18, state, near) + of(19, before, after);
    sum += of(20, bucket[n - 2] ?? EDGE_BUCKET, near) + of(21, near, bAfter, bucket[n + 2] ?? EDGE_BUCKET) + of(22, before, b);
    return sum + of(23, after, b) + of(24, suffix3, before);
  };
  const known = new Array(word.length);
  return (n) => (known[n] ??= Math.fround(summed(n) * step));
}

/** The words of a message, what the corpus knows of them, and which of them may be touched. */
function readMessage(model, bytes, spans) {
  const words = splitWords(model, enclosed(bytes));
  const { lower, upper } = words;
  const { lexicon } = model;
  const entry = words.word.map(([high, low]) => lexicon.entries.get(`${high},${low}`) ?? 0);
  let nearest = 0; // of the spans
  const before = (n) => (n ? lower[words.end[n - 1]] : 0); // the byte right behind the word before
  const numbered = (n) => n > 0 && words.digits[n - 1] && words.breaks[n - 1] && ![EXCLAMATION, QUESTION].includes(before(n));
  return {
    ...words,
    entry,
    count: entry.length,
    score: makeScores(model, words, entry),
    free: words.start.map((place, n) => {
      while (nearest < spans.length && spans[nearest][1] < place) nearest++;
      return !words.digits[n] && !(nearest < spans.length && spans[nearest][0] + 1 < words.end[n]);
    }),
    isLower: (n) => !upper.subarray(words.start[n], words.end[n]).includes(1),
    listed: (n) => (words.breaks[n] && ![EXCLAMATION, STOP, QUESTION].includes(before(n))) || numbered(n),
    behindAbbreviation: (n) => n > 0 && lexicon.stops[entry[n - 1]] === 1 && before(n) === STOP,
  };
}

// --- lower case on purpose (styles.py) ---

/** Of a message in lower case, the spans where that is no evidence of a fault. */
function deliberateSpans(styles, raw) {
  const { QUOTED_FRAGMENT, BEHIND_SHORTENED, FACTORIAL, HANDLE_ENDS, HANDLE, HANDLE_BYTES } = styles;
  const spans = [QUOTED_FRAGMENT, ...BEHIND_SHORTENED, FACTORIAL].flatMap((pattern) =>
    pattern.all(raw).map((match) => [match.index, match.index + match[0].length]),
  );
  for (const mark of HANDLE_ENDS.flatMap((pattern) => pattern.all(raw))) {
    const from = Math.max(0, mark.index - HANDLE_BYTES);
    const found = raw.slice(from, mark.index).lastIndexOf("\n");
    const line = found < 0 ? 0 : from + found + 1;
    const opening = line || mark.index < HANDLE_BYTES ? HANDLE.match(raw, line) : null;
    if (!opening || line + opening[0].length !== mark.index + mark[0].length - 1) continue;
    const end = raw.indexOf("\n", line);
    spans.push([line, end < 0 ? raw.length : end]);
  }
  return merged(spans);
}

/** Whether a line opens with a term and what it means. The word that is taken up again may be so in any case. */
function opensWithTerm({ TERM }, line) {
  const [word] = /^[a-z][\w'/&-]*/.exec(line) ?? [""];
  const anyCase = word.replace(/[a-z]/gi, (letter) => `[${letter.toLowerCase()}${letter.toUpperCase()}]`);
  return new RegExp(TERM.source.replace("\\k<word>", () => anyCase), "y").test(line);
}

/** Answers whether the lower-case letter at a byte of a message is style rather than a fault. */
function makeStyle(styles, raw) {
  const { LINE_BYTES, LONGEST_FRAGMENT, LONGEST_BY_LINE, LINE_OPENING, AUTHOR, HANDLE, NAME, BY_LINE, END_MARK } = styles;
  let chat = null;
  const isChat = () => (chat ??= NAME.all(raw).length >= 2);
  const isNoSentence = (line, numbered) => {
    if (AUTHOR.match(line) || opensWithTerm(styles, line)) return true;
    const words = wordsOf(line).length;
    if (BY_LINE.match(line) && words <= LONGEST_BY_LINE) return true;
    return !numbered && words <= LONGEST_FRAGMENT && !END_MARK.search(line.slice(-12));
  };
  return (place) => {
    const before = raw.slice(Math.max(0, place - LINE_BYTES), place);
    const [line] = raw.slice(place, place + LINE_BYTES).split("\n", 1);
    const breakBefore = before.lastIndexOf("\n");
    const head = before.slice(breakBefore + 1);
    if (styles.SHORTENED.search(head.slice(-40))) return true;
    if (styles.TITLE_BEFORE.search(head.slice(-8)) && styles.STATED.match(line)) return true;
    if (head.endsWith('"') && !styles.QUOTED_SENTENCE.match(line)) return true;
    if (breakBefore < 0 && place > LINE_BYTES) return false; // the line begins too far back to tell
    if (HANDLE.match(head + line) || (isChat() && NAME.match(head + line))) return true;
    const opening = LINE_OPENING.match(head);
    return opening !== null && isNoSentence(line, Boolean(opening.groups.number));
  };
}

// --- which case a message has (detect.py, starts.py) ---

/** Whether the first bytes leave it open that the whole message is in one case. */
function maybeWhole({ _UPPER, _LOWER, HEAD }, bytes) {
  const has = (table, from, to) => bytes.subarray(from, to).some((byte) => table[byte]);
  return bytes.length > 0 && ![[1, 25], [25, 81], [81, HEAD]].some(([from, to]) => has(_UPPER, from, to) && has(_LOWER, from, to));
}

/** The label by counting letters alone, and whether the signs of programming languages are too many for prose. */
function oneCase({ _UPPER, _LOWER, _CODE_SIGN, STRAY, MIN_SHOUTED, CODE_SIGNS, ...detect }, bytes) {
  let [upper, lower, signs] = [0, 0, 0];
  for (const byte of bytes) {
    upper += _UPPER[byte];
    lower += _LOWER[byte];
    signs += _CODE_SIGN[byte];
  }
  let label = detect.OK;
  if (lower && upper - (_UPPER[bytes[0]] ?? 0) <= STRAY * (upper + lower)) {
    label = /^[ \t\n\r\f\v]*[a-z]/.test(rawOf(bytes.subarray(0, 64))) ? detect.LOWER : detect.CAPITALIZED;
  } else if (upper >= MIN_SHOUTED && lower <= STRAY * (upper + lower)) label = detect.UPPER;
  return [label, label !== detect.OK && signs > CODE_SIGNS * (upper + lower)];
}

/** The code of the case that the whole message is in. */
function wholeLabel(model, bytes, raw) {
  const { detect } = model.rules;
  let [label, code] = oneCase(detect, bytes);
  const hidden = label === detect.OK && bytes.length > detect.HEAD && detect.HIDING.search(raw);
  const spans = code || hidden ? protectedBytes(model, bytes) : [];
  if (spans.length) {
    const blanked = bytes.slice();
    for (const [start, end] of spans) blanked.fill(SPACE, start, end);
    [label, code] = oneCase(detect, blanked);
  }
  const few = label === detect.UPPER && detect.FUNCTION_WORDS.all(raw).length < detect.MIN_FUNCTION_WORDS;
  return code || few ? detect.OK : label;
}

/** Lower-case letters that may open a sentence in mid-message, as places in it, ascending. */
function sentenceCandidates({ starts }, bytes, raw) {
  const { _LOWER, _SPACE, _ENDABLE, _BEFORE_BLANK } = starts;
  const goesOn = (byte) => (byte >= 97 && byte <= 122) || (byte >= 9 && byte <= 13) || byte === SPACE || byte === QUOTE;
  const last = bytes.length - 1;
  const found = new Set();
  for (let at = 0; at + 2 <= last; at++) {
    const [here, one, two] = [bytes[at], bytes[at + 1], bytes[at + 2]];
    const before = bytes[Math.max(at - 1, 0)];
    if (here === NEWLINE) {
      const further = bytes[Math.max(at - 2, 0)];
      const fence = before === BACKTICK && further === BACKTICK;
      if (!goesOn(one) || !(fence || (_SPACE[before] && _BEFORE_BLANK[further]))) continue;
    } else {
      const ends = here === STOP || here === EXCLAMATION || here === QUESTION;
      if (!ends || !(one === SPACE || (one >= 9 && one <= 13)) || !goesOn(two) || !_ENDABLE[before]) continue;
    }
    let after = at + 1;
    for (let n = 0; n < 4; n++) after += _SPACE[bytes[Math.min(after, last)]];
    if (bytes[Math.min(after, last)] === QUOTE) after++;
    if (after <= last && _LOWER[bytes[after]]) found.add(after);
  }
  return [...found].sort((one, other) => one - other).filter((place) => plausible(starts, raw, place));
}

function plausible({ LIST_LETTER, ITEM, NOT_A_START, PARAGRAPH, MIN_WORDS }, raw, place) {
  const before = raw.slice(Math.max(0, place - 24), place);
  if (LIST_LETTER.match(raw.slice(place, place + 8))) return false;
  const mark = stripEnd(before, ' \t\r\n"').slice(-1);
  if (mark && ".!?".includes(mark) && !ITEM.search(before)) return NOT_A_START.search(before) === null;
  if (before.endsWith('"') || !(PARAGRAPH.search(before) || ITEM.search(before))) return false;
  const line = wordsOf(raw.slice(place, place + 4000).split("\n", 1)[0]);
  return line.length >= MIN_WORDS && ".!?".includes(line[line.length - 1].slice(-1));
}

// --- evidence and repair (evidence.py, recase.py) ---

/** What is gathered about a message. */
class Evidence {
  constructor({ rules }) {
    Object.assign(this, { rules: rules.evidence, known: 0, total: 0, against: 0, shout: 0, positions: [] });
  }
  count({ digits, entry }) {
    digits.forEach((isNumber, n) => {
      if (isNumber) return;
      this.total++;
      if (entry[n] > 0) this.known++;
    });
  }
  /** Add up what speaks against the case that a message has, were it read without its case. */
  weigh(lexicon, reading, deliberate) {
    const { LONE_I, NAME_WEIGHT, NAME_LIMIT } = this.rules;
    const { count, word, entry, free, score, start, endsSentence } = reading;
    const isDeliberate = membership(deliberate);
    const seen = new Set();
    for (let n = 0; n < count; n++) {
      if (free[n] && score(n) < -1) this.shout -= score(n);
      const pronoun = word[n][0] === LONE_I[0] && word[n][1] === LONE_I[1];
      if (!free[n] || n === 0 || (reading.listed(n) && !pronoun) || !reading.isLower(n) || !(score(n) > 1)) continue;
      if (isDeliberate(start[n] - 1)) continue;
      const ended = endsSentence[n] && !reading.behindAbbreviation(n);
      if (ended || pronoun || lexicon.certain[entry[n]]) {
        this.against += score(n);
        continue;
      }
      const key = word[n].join();
      if (!seen.has(key)) this.against += Math.fround(Math.fround(NAME_WEIGHT) * Math.min(score(n), NAME_LIMIT));
      seen.add(key); // a repetition is no further evidence
    }
  }
  spoken() {
    return this.known >= this.rules.KNOWN * Math.max(this.total, 1);
  }
  believed(upper) {
    const [sum, least] = upper ? [this.shout, this.rules.SHOUT_EVIDENCE] : [this.against, this.rules.EVIDENCE];
    Object.assign(this, { sum, least });
    return this.spoken() && sum >= least;
  }
}

/** Bytes that carry the case bit of the capital letters of a word. */
function capitalPlaces({ lexicon }, { lower, start, end, entry, endsSentence }, n) {
  const form = endsSentence[n] ? lexicon.openingForm[entry[n]] : lexicon.form[entry[n]];
  const places = [];
  for (let bit = 0; bit < 32; bit++) {
    if (!((form >>> bit) & 1)) continue;
    let place = start[n] + bit;
    if (lower[place] === 0xc3) place++; // a Latin-1 letter carries its case in the second byte
    const letter = lower[place];
    const latin = lower[place - 1] === 0xc3 && letter >= 0xa0 && letter <= 0xbe && letter !== 0xb7;
    if (place < end[n] && ((letter >= 97 && letter <= 122) || latin)) places.push(place - 1);
  }
  return places;
}

/** Gather evidence and edits of a wholly faulty message; only a shouted one loses capitals. */
function recase(model, reading, evidence, shouted, deliberate) {
  if (!reading.count) return;
  evidence.count(reading);
  evidence.weigh(model.lexicon, reading, deliberate);
  const { upper, start, end, free, score } = reading;
  for (let n = 0; n < reading.count; n++) {
    const wanted = new Set(free[n] && score(n) > 0 ? capitalPlaces(model, reading, n) : []);
    for (const place of wanted) if (!upper[place + 1]) evidence.positions.push(place);
    if (!shouted || !free[n]) continue;
    for (let place = start[n] - 1; place < end[n] - 1; place++) if (upper[place + 1] && !wanted.has(place)) evidence.positions.push(place);
  }
}

/** Gather the lower-case sentence starts among some places that the model is sure of and that are not so on purpose. */
function repairStarts(model, reading, places, raw, evidence) {
  if (!reading.count) return;
  const { SURE, SURE_LISTED, KNOWN_SENTENCE, KNOWN_BEHIND_UNKNOWN } = model.rules.recase;
  const { start, entry, digits, endsSentence } = reading;
  evidence.count(reading);
  const [known, total, sentence] = [[0], [0], []];
  for (let n = 0; n < reading.count; n++) {
    if (endsSentence[n]) {
      known.push(0);
      total.push(0);
    }
    sentence.push(known.length - 1);
    if (digits[n]) continue;
    total[total.length - 1]++;
    known[known.length - 1] += model.lexicon.common[entry[n]];
  }
  const wordAt = new Map(start.map((place, n) => [place - 1, n]));
  const onPurpose = makeStyle(model.rules.styles, raw);
  for (const place of places) {
    const n = wordAt.get(place);
    if (n === undefined || !reading.free[n] || !reading.isLower(n) || reading.behindAbbreviation(n)) continue;
    const share = known[sentence[n]] / Math.max(total[sentence[n]], 1);
    if (share < (entry[n] > 0 ? KNOWN_SENTENCE : KNOWN_BEHIND_UNKNOWN)) continue;
    if (reading.score(n) < (reading.listed(n) ? SURE_LISTED : SURE) || onPurpose(place)) continue;
    evidence.positions.push(...capitalPlaces(model, reading, n));
  }
}

/**
 * The fault of a message and the bytes whose case bit is to be flipped, ascending: `{ label, positions, reading, spared }`;
 * the words as they were read, and the evidence on a message that is in one case throughout and is left so.
 */
export function repair(model, bytes, spans) {
  const { detect, styles } = model.rules;
  const raw = rawOf(bytes);
  const reading = readMessage(model, bytes, spans);
  let spared = null;
  const result = (label, positions) => {
    positions.sort((one, other) => one - other);
    return { label: detect.LABELS[label], positions, reading, spared };
  };
  const label = maybeWhole(detect, bytes) ? wholeLabel(model, bytes, raw) : detect.OK;
  if (label !== detect.OK) {
    const whole = new Evidence(model);
    const shouted = label === detect.UPPER;
    recase(model, reading, whole, shouted, deliberateSpans(styles, raw));
    if (whole.believed(shouted)) return result(label, whole.positions);
    spared = whole;
  }
  const starts = new Evidence(model);
  repairStarts(model, reading, sentenceCandidates(model.rules, bytes, raw), raw, starts);
  if (!starts.positions.length || !starts.spoken()) return result(detect.OK, []);
  return result(detect.SENTENCE, starts.positions);
}
