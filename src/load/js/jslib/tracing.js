// What the instrumentations of k6/http share: requests with further headers.
import http from 'k6/http';

// Where the parameters stand among the arguments of each function.
const PLACES = {
  get: 1,
  head: 1,
  post: 2,
  put: 2,
  patch: 2,
  del: 2,
  options: 2,
  request: 3,
  asyncRequest: 3,
};
const originals = Object.fromEntries(Object.keys(PLACES).map((name) => [name, http[name]]));
const batch = http.batch;

const withHeaders = (params, headers) => ({ ...params, headers: { ...params?.headers, ...headers } });

// Functions of k6/http that add what `headersOf(url, params)` gives to every request; `around`
// gets the headers and the call.
export function wrapped(headersOf, around = (_, call) => call()) {
  const functions = {};
  for (const [name, place] of Object.entries(PLACES)) {
    functions[name] = (...args) => {
      const url = place === 3 ? args[1] : args[0];
      const headers = headersOf(String(url), args[place]);
      const own = [...args];
      while (own.length < place) own.push(null);
      own[place] = withHeaders(args[place], headers);
      return around(headers, () => originals[name](...own));
    };
  }
  functions.delete = functions.del;
  functions.batch = (requests) => {
    const one = (request) => {
      const list = Array.isArray(request)
        ? request
        : typeof request === 'object' && request !== null && 'url' in request
          ? [request.method ?? 'GET', request.url, request.body ?? null, request.params]
          : ['GET', request];
      const [method, url, body = null, params] = list;
      return [method, url, body, withHeaders(params, headersOf(String(url), params))];
    };
    const all = Array.isArray(requests)
      ? requests.map(one)
      : Object.fromEntries(Object.entries(requests).map(([name, request]) => [name, one(request)]));
    return batch(all);
  };
  return functions;
}

export function instrument(functions) {
  for (const name of [...Object.keys(PLACES), 'batch']) http[name] = functions[name];
}
