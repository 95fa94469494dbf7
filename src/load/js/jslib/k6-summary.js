// k6-summary: the end-of-test summary as text and as JUnit XML, for handleSummary().
// https://grafana.com/docs/k6/latest/results-output/end-of-test/custom-summary/
const COLOURS = { cyan: 36, green: 32, red: 31, faint: 2 };
const UNITS = { s: [1e-3, 's'], ms: [1, 'ms'], us: [1e3, 'µs'] };

function painter(enabled) {
  return (text, colour) => (enabled && COLOURS[colour] ? `\x1b[${COLOURS[colour]}m${text}\x1b[0m` : text);
}

const rounded = (value, digits) => String(Number(value.toFixed(digits)));

function bytes(value) {
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB', 'EB'];
  if (value < 10) return `${value} B`;
  const power = Math.min(Math.floor(Math.log(value) / Math.log(1000)), units.length - 1);
  const scaled = Math.floor((value / 1000 ** power) * 10 + 0.5) / 10;
  return `${scaled.toFixed(scaled < 10 ? 1 : 0)} ${units[power]}`;
}

// Milliseconds as a person reads them: 1.2µs, 34.5ms, 6.7s, 1m2s, 1h2m3s.
function duration(ms, unit) {
  if (UNITS[unit]) return `${(ms * UNITS[unit][0]).toFixed(2)}${UNITS[unit][1]}`;
  if (ms === 0) return '0s';
  if (ms < 1e-3) return `${Math.trunc(ms * 1e6)}ns`;
  if (ms < 1) return `${rounded(Math.trunc(ms * 1e5) / 100, 2)}µs`;
  if (ms < 1000) return `${rounded(Math.trunc(ms * 100) / 100, 2)}ms`;
  const places = ms > 60000 ? 0 : 2;
  const scale = 10 ** places;
  const seconds = rounded(Math.trunc((ms % 60000) * (scale / 1000)) / scale, places);
  const minutes = Math.trunc(ms / 60000);
  if (minutes < 1) return `${seconds}s`;
  if (minutes < 60) return `${minutes}m${seconds}s`;
  return `${Math.trunc(minutes / 60)}h${minutes % 60}m${seconds}s`;
}

function shown(value, metric, unit) {
  if (metric.type === 'rate') return `${(Math.trunc(value * 1e4) / 100).toFixed(2)}%`;
  if (metric.contains === 'data') return bytes(value);
  if (metric.contains === 'time') return duration(value, unit);
  return rounded(value, 6);
}

// What stands after the dots for metrics that are no trends: the value, and what explains it.
function columns(metric, unit) {
  const { values } = metric;
  if (metric.type === 'counter') {
    const perSecond =
      metric.contains === 'data' ? `${bytes(values.rate)}/s` : `${shown(values.rate, metric, unit)}/s`;
    return [shown(values.count, metric, unit), perSecond];
  }
  if (metric.type === 'gauge')
    return [
      shown(values.value, metric, unit),
      `min=${shown(values.min, metric, unit)}`,
      `max=${shown(values.max, metric, unit)}`,
    ];
  return [shown(values.rate, metric, unit), `✓ ${values.passes}`, `✗ ${values.fails}`];
}

function indentOf(name) {
  return name.includes('{') ? '  ' : '';
}

// `http_req_duration{a:b}` stands as `{ a:b }` below its metric.
function title(name) {
  const brace = name.indexOf('{');
  return brace === -1 ? name : `{ ${name.slice(brace + 1, -1)} }`;
}

function mark(metric, paint) {
  if (!metric.thresholds) return ' ';
  const ok = Object.values(metric.thresholds).every((threshold) => threshold.ok);
  return ok ? paint('✓', 'green') : paint('✗', 'red');
}

function metricLines(data, indent, paint) {
  const unit = data.options?.summaryTimeUnit ?? '';
  const stats = data.options?.summaryTrendStats ?? ['avg', 'min', 'med', 'max', 'p(90)', 'p(95)'];
  const names = Object.keys(data.metrics).sort((a, b) => {
    const [parentA, parentB] = [a.split('{')[0], b.split('{')[0]];
    if (parentA !== parentB) return parentA < parentB ? -1 : 1;
    return a < b ? -1 : a > b ? 1 : 0;
  });
  const width = Math.max(0, ...names.map((name) => indentOf(name).length + title(name).length)) + 3;
  const cells = names.map((name) => {
    const metric = data.metrics[name];
    if (metric.type !== 'trend') return columns(metric, unit);
    return stats.map((stat) => [
      stat,
      stat === 'count' ? String(metric.values[stat] ?? 0) : shown(metric.values[stat] ?? 0, metric, unit),
    ]);
  });
  const isTrend = (index) => data.metrics[names[index]].type === 'trend';
  const trendWidths = stats.map((_, column) =>
    Math.max(0, ...cells.filter((_, index) => isTrend(index)).map((row) => row[column][1].length)),
  );
  const plainWidths = [0, 1].map((column) =>
    Math.max(
      0,
      ...cells
        .filter((row, index) => !isTrend(index) && row[column] !== undefined)
        .map((row) => row[column].length),
    ),
  );
  return names.map((name, index) => {
    const label = indentOf(name) + title(name);
    const dots = '.'.repeat(width - label.length);
    const head = `${indent}${indentOf(name)}${mark(data.metrics[name], paint)} ${title(name)}${paint(`${dots}:`, 'faint')}`;
    if (isTrend(index)) {
      const parts = cells[index].map(
        ([stat, value], column) => `${stat}=${paint(value.padEnd(trendWidths[column]), 'cyan')}`,
      );
      return `${head} ${parts.join(' ')}`.trimEnd();
    }
    const [value, first, second] = cells[index];
    let line = `${head} ${paint(value.padEnd(plainWidths[0]), 'cyan')} ${paint(first.padEnd(plainWidths[1]), 'cyan')}`;
    if (second !== undefined) line += ` ${paint(second, 'cyan')}`;
    return line.trimEnd();
  });
}

function checkLines(group, indent, paint) {
  const lines = [];
  const inner = group.name === '' ? indent : `${indent}  `;
  if (group.name !== '') lines.push(`${indent}█ ${group.name}`, '');
  const checks = Array.isArray(group.checks) ? group.checks : Object.values(group.checks ?? {});
  for (const check of checks) {
    if (check.fails === 0) {
      lines.push(paint(`${inner}✓ ${check.name}`, 'green'));
      continue;
    }
    const percent = Math.floor((100 * check.passes) / (check.passes + check.fails));
    lines.push(
      paint(`${inner}✗ ${check.name}\n${inner} ↳  ${percent}% — ✓ ${check.passes} / ✗ ${check.fails}`, 'red'),
    );
  }
  if (checks.length > 0) lines.push('');
  const groups = Array.isArray(group.groups) ? group.groups : Object.values(group.groups ?? {});
  for (const child of groups) lines.push(...checkLines(child, inner, paint));
  return lines;
}

export function textSummary(data, options = {}) {
  const indent = options.indent ?? ' ';
  const colours = options.enableColors ?? !data.options?.noColor;
  const paint = painter(colours);
  const deep = `${indent}    `;
  const lines = [...checkLines(data.root_group, deep, paint), ...metricLines(data, `${indent}  `, paint)];
  return lines.join('\n');
}

const escapes = { '<': '&lt;', '>': '&gt;', '&': '&amp;', "'": '&apos;', '"': '&quot;' };
const xml = (text) => String(text).replace(/[<>&'"]/g, (character) => escapes[character]);

// One test case per threshold.
export function jUnit(data, options = {}) {
  const name = xml(options.name ?? 'k6 thresholds');
  const cases = [];
  let failures = 0;
  for (const [metricName, metric] of Object.entries(data.metrics)) {
    for (const [expression, { ok }] of Object.entries(metric.thresholds ?? {})) {
      const test = `${xml(metricName)} - ${xml(expression)}`;
      if (ok) {
        cases.push(`<testcase name="${test}" />`);
      } else {
        failures += 1;
        cases.push(`<testcase name="${test}"><failure message="failed" /></testcase>`);
      }
    }
  }
  return (
    '<?xml version="1.0"?>\n' +
    `<testsuites tests="${cases.length}" failures="${failures}">\n` +
    `<testsuite name="${name}" tests="${cases.length}" failures="${failures}">\n` +
    `${cases.join('\n')}\n</testsuite>\n</testsuites>\n`
  );
}

export const humanizeValue = (value, metric, unit) => shown(value, metric, unit);
export default { textSummary, jUnit, humanizeValue };
