// papaparse: CSV text to rows and back, without the parts that need a browser.
// https://www.papaparse.com/docs
const GUESSES = [',', '\t', '|', ';', '\x1e', '\x1f'];

function guessNewline(text, quote) {
  const bare = text
    .slice(0, 1024 * 1024)
    .replace(new RegExp(`${escaped(quote)}[^]*?${escaped(quote)}`, 'g'), '');
  const carriages = bare.split('\r');
  const lines = bare.split('\n');
  const lonely = lines.length > 1 && lines[0].length < carriages[0].length;
  if (carriages.length === 1 || lonely) return '\n';
  const pairs = carriages.filter((piece) => piece[0] === '\n').length;
  return pairs >= carriages.length / 2 ? '\r\n' : '\r';
}

const escaped = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');

function guessDelimiter(text, config) {
  let best = ',';
  let bestSpread = Infinity;
  let bestFields = 0;
  for (const delimiter of config.delimitersToGuess ?? GUESSES) {
    const { rows } = split(text, { ...config, delimiter, preview: 10 });
    const counts = rows.filter((row) => row.length > 1 || row[0] !== '').map((row) => row.length);
    if (counts.length === 0) continue;
    const average = counts.reduce((sum, count) => sum + count, 0) / counts.length;
    const spread = counts.slice(1).reduce((sum, count, index) => sum + Math.abs(count - counts[index]), 0);
    if (average > 1.99 && (spread < bestSpread || (spread === bestSpread && average > bestFields))) {
      best = delimiter;
      bestSpread = spread;
      bestFields = average;
    }
  }
  return { delimiter: best, found: bestFields > 0 };
}

// Rows of fields; quotes may hold delimiters, line breaks and doubled quotes.
function split(text, { delimiter, newline, quote, escape, comments, preview }) {
  const rows = [];
  const errors = [];
  let row = [];
  let at = 0;
  const done = () => preview > 0 && rows.length >= preview;
  const endRow = () => {
    rows.push(row);
    row = [];
  };
  while (at < text.length && !done()) {
    if (row.length === 0 && comments && text.startsWith(comments, at)) {
      const end = text.indexOf(newline, at);
      at = end === -1 ? text.length : end + newline.length;
      continue;
    }
    if (quote !== '' && text[at] === quote) {
      let value = '';
      let from = at + 1;
      for (;;) {
        const close = text.indexOf(quote, from);
        if (close === -1) {
          errors.push({
            type: 'Quotes',
            code: 'MissingQuotes',
            message: 'Quoted field unterminated',
            row: rows.length,
            index: at,
          });
          value += text.slice(from);
          from = text.length;
          break;
        }
        if (escape === quote && text[close + 1] === quote) {
          value += text.slice(from, close + 1);
          from = close + 2;
        } else if (escape !== quote && text[close - 1] === escape) {
          value += text.slice(from, close - 1) + quote;
          from = close + 1;
        } else {
          value += text.slice(from, close);
          from = close + 1;
          const spaces = /^[ \t]*/.exec(text.slice(from, from + 64))[0].length;
          const after = from + spaces;
          if (after >= text.length || text.startsWith(delimiter, after) || text.startsWith(newline, after)) {
            from = after;
            break;
          }
          errors.push({
            type: 'Quotes',
            code: 'InvalidQuotes',
            message: 'Trailing quote on quoted field is malformed',
            row: rows.length,
            index: at,
          });
          value += quote;
        }
      }
      row.push(value);
      at = from;
    } else {
      const comma = text.indexOf(delimiter, at);
      const line = text.indexOf(newline, at);
      const end = Math.min(comma === -1 ? text.length : comma, line === -1 ? text.length : line);
      row.push(text.slice(at, end));
      at = end;
    }
    if (text.startsWith(delimiter, at)) {
      at += delimiter.length;
      if (at >= text.length) row.push('');
      else if (text.startsWith(newline, at)) {
        row.push('');
        endRow();
        at += newline.length;
      }
      if (at >= text.length && row.length > 0) endRow();
    } else {
      endRow();
      if (text.startsWith(newline, at)) {
        at += newline.length;
        // A line break at the very end begins one more, empty row.
        if (at >= text.length) rows.push(['']);
      }
    }
  }
  if (row.length > 0 && !done()) endRow();
  return { rows: preview > 0 ? rows.slice(0, preview) : rows, errors, cursor: at };
}

const NUMBER = /^\s*-?(\d+\.?|\.\d+|\d+\.\d+)([eE][-+]?\d+)?\s*$/;
// A whole ISO 8601 time, to the minute at least, with its zone.
const TIME = /^\d{4}-[01]\d-[0-3]\dT[0-2]\d:[0-5]\d(:[0-5]\d(\.\d+)?)?([+-][0-2]\d:[0-5]\d|Z)$/;

function typed(value) {
  if (value === 'true' || value === 'TRUE') return true;
  if (value === 'false' || value === 'FALSE') return false;
  if (NUMBER.test(value) && Math.abs(Number(value)) < 2 ** 53) return Number(value);
  if (TIME.test(value)) return new Date(value);
  return value === '' ? null : value;
}

const wanted = (setting, field) =>
  typeof setting === 'function'
    ? setting(field)
    : setting !== null && typeof setting === 'object'
      ? setting[field]
      : setting;

function isEmpty(row, skip) {
  return skip === 'greedy' ? row.join('').trim() === '' : row.length === 1 && row[0] === '';
}

export function parse(input, config = {}) {
  let text = String(input);
  if (text.charCodeAt(0) === 0xfeff) text = text.slice(1);
  const quote = config.quoteChar ?? '"';
  const settings = {
    quote,
    escape: config.escapeChar ?? quote,
    newline: config.newline || guessNewline(text, quote || '"'),
    comments: config.comments === true ? '#' : config.comments || null,
    delimitersToGuess: config.delimitersToGuess,
    preview: 0,
  };
  const errors = [];
  let { delimiter } = config;
  if (typeof delimiter === 'function') delimiter = delimiter(text);
  if (!delimiter || ['\r', '\n', '"', '\ufeff'].includes(delimiter)) {
    const guess = guessDelimiter(text, settings);
    delimiter = guess.delimiter;
    if (!guess.found)
      errors.push({
        type: 'Delimiter',
        code: 'UndetectableDelimiter',
        message: "Unable to auto-detect delimiting character; defaulted to ','",
      });
  }
  const preview = config.preview > 0 ? config.preview + (config.header ? 1 : 0) : 0;
  const whole = split(text, { ...settings, delimiter, preview: config.skipEmptyLines ? 0 : preview });
  errors.push(...whole.errors);
  let { rows } = whole;
  if (config.skipEmptyLines) rows = rows.filter((row) => !isEmpty(row, config.skipEmptyLines));
  const truncated = preview > 0 && (rows.length > preview || whole.cursor < text.length);
  if (preview > 0) rows = rows.slice(0, preview);
  const meta = { delimiter, linebreak: settings.newline, aborted: false, truncated, cursor: whole.cursor };

  let fields;
  if (config.header) {
    fields = rows.shift() ?? [];
    if (config.transformHeader)
      fields = fields.map((name, index) => config.transformHeader(name.trim(), index));
    meta.fields = fields;
  }
  const convert = (value, field) => {
    const changed = config.transform ? config.transform(value, field) : value;
    return wanted(config.dynamicTyping, field) && typeof changed === 'string' ? typed(changed) : changed;
  };
  const data = rows.map((row, number) => {
    if (fields === undefined) return row.map(convert);
    const record = {};
    row.forEach((value, index) => {
      if (index < fields.length) record[fields[index]] = convert(value, fields[index]);
      else (record.__parsed_extra ??= []).push(convert(value, '__parsed_extra'));
    });
    if (row.length !== fields.length) {
      const many = row.length > fields.length;
      errors.push({
        type: 'FieldMismatch',
        code: many ? 'TooManyFields' : 'TooFewFields',
        message: `Too ${many ? 'many' : 'few'} fields: expected ${fields.length} fields but parsed ${row.length}`,
        row: number,
      });
    }
    return record;
  });
  const results = { data, errors, meta };
  if (typeof config.step === 'function') {
    let stopped = false;
    const parser = { abort: () => (stopped = true), pause() {}, resume() {} };
    for (const one of data) {
      config.step({ data: one, errors: [], meta }, parser);
      if (stopped) break;
    }
    meta.aborted = stopped;
    const end = { data: [], errors, meta };
    config.complete?.(end);
    return end;
  }
  config.complete?.(results);
  return results;
}

export function unparse(input, config = {}) {
  const quote = config.quoteChar ?? '"';
  const escape = config.escapeChar ?? quote;
  const delimiter = config.delimiter ?? ',';
  const newline = config.newline ?? '\r\n';
  const source = typeof input === 'string' ? JSON.parse(input) : input;
  let fields = config.columns ?? null;
  let rows = Array.isArray(source) ? source : source.data;
  if (!Array.isArray(source)) fields ??= source.fields ?? source.meta?.fields ?? null;
  const objects = rows.length > 0 && !Array.isArray(rows[0]) && typeof rows[0] === 'object';
  if (objects) fields ??= Object.keys(rows[0]);
  const field = (value, column) => {
    if (value === undefined || value === null) return '';
    const text = value instanceof Date ? value.toISOString() : String(value);
    const asked = Array.isArray(config.quotes)
      ? config.quotes[column]
      : typeof config.quotes === 'function'
        ? config.quotes(value, column)
        : config.quotes === true;
    const guarded = config.escapeFormulae && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
    const needed =
      asked ||
      guarded.includes(delimiter) ||
      guarded.includes(quote) ||
      /[\r\n]/.test(guarded) ||
      /^\s|\s$/.test(guarded);
    return needed ? quote + guarded.split(quote).join(escape + quote) + quote : guarded;
  };
  if (config.skipEmptyLines)
    rows = rows.filter((row) => {
      const values = Array.isArray(row) ? row : fields.map((name) => row[name]);
      return values.some((value) => String(value ?? '').trim() !== '');
    });
  const line = (values) => values.map(field).join(delimiter);
  const lines = rows.map((row) => line(Array.isArray(row) ? row : fields.map((name) => row[name])));
  if (fields !== null && fields.length > 0 && config.header !== false) lines.unshift(line(fields));
  return lines.join(newline);
}

export const RECORD_SEP = '\x1e';
export const UNIT_SEP = '\x1f';
export const BYTE_ORDER_MARK = '\ufeff';
export const BAD_DELIMITERS = ['\r', '\n', '"', BYTE_ORDER_MARK];
export default { parse, unparse, RECORD_SEP, UNIT_SEP, BYTE_ORDER_MARK, BAD_DELIMITERS };
