// Addresses by RFC 3986, which leaves their spelling as it is: what `k6/html` resolves links with.

/** The parts of an address; undefined where one is absent. */
export function split(address) {
  const [, , scheme, , authority, path, , query, , fragment] =
    /^(([^:/?#]+):)?(\/\/([^/?#]*))?([^?#]*)(\?([^#]*))?(#(.*))?$/s.exec(address);
  return { scheme: scheme?.toLowerCase(), authority, path, query, fragment };
}

export function join({ scheme, authority, path, query, fragment }) {
  let address = scheme === undefined ? '' : `${scheme}:`;
  if (authority !== undefined) address += `//${authority}`;
  address += path;
  if (query !== undefined) address += `?${query}`;
  return fragment === undefined ? address : `${address}#${fragment}`;
}

function withoutDots(path) {
  const kept = [];
  const segments = path.split('/');
  segments.forEach((segment, index) => {
    const last = index === segments.length - 1;
    if (segment === '..') {
      if (kept.length > 1) kept.pop();
      if (last) kept.push('');
    } else if (segment === '.') {
      if (last) kept.push('');
    } else kept.push(segment);
  });
  return kept.join('/');
}

/** What may not stand in an address is escaped; what is escaped stays. */
const escaped = (path) => path.replace(/[^!-~]|["<>\\^`{|}]/gu, encodeURIComponent);

/** RFC 3986, section 5.2. */
export function resolve(base, reference) {
  const from = split(base);
  const to = split(reference.trim());
  let { scheme, authority, path, query } = to;
  if (scheme === undefined) {
    scheme = from.scheme;
    if (authority === undefined) {
      authority = from.authority;
      if (path === '') {
        path = from.path;
        query ??= from.query;
      } else if (!path.startsWith('/')) {
        const directory = from.path.slice(0, from.path.lastIndexOf('/') + 1);
        path = (directory === '' && authority !== undefined ? '/' : directory) + path;
      }
    }
  }
  return join({ scheme, authority, path: escaped(withoutDots(path)), query, fragment: to.fragment });
}
