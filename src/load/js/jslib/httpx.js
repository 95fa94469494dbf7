// httpx: a session around k6/http with a base address, headers, tags and timeout of its own.
// https://grafana.com/docs/k6/latest/javascript-api/jslib/httpx/
import http from 'k6/http';

export class Request {
  constructor(method, url, body = null, params = {}) {
    this.method = method;
    this.url = url;
    this.body = body;
    this.params = params;
  }
}

const kind = (method) =>
  class extends Request {
    constructor(url, body = null, params = {}) {
      super(method, url, body, params);
    }
  };
export const Get = kind('GET');
export const Post = kind('POST');
export const Put = kind('PUT');
export const Patch = kind('PATCH');
export const Delete = kind('DELETE');
export const Options = kind('OPTIONS');
export const Head = kind('HEAD');
export const Trace = kind('TRACE');

const isAddress = (url) => /^[a-z][a-z0-9+.-]*:\/\//i.test(url);

export class Httpx {
  constructor({ baseURL = '', headers = {}, tags = {}, ...params } = {}) {
    this.baseURL = baseURL;
    this.headers = { ...headers };
    this.tags = { ...tags };
    this.params = params;
  }

  setBaseUrl(url) {
    this.baseURL = url;
  }

  addHeader(name, value) {
    this.headers[name] = value;
  }

  addHeaders(headers) {
    Object.assign(this.headers, headers);
  }

  clearHeader(name) {
    delete this.headers[name];
  }

  addTag(name, value) {
    this.tags[name] = value;
  }

  addTags(tags) {
    Object.assign(this.tags, tags);
  }

  clearTag(name) {
    delete this.tags[name];
  }

  address(url) {
    return typeof url === 'string' && !isAddress(url) ? this.baseURL + url : url;
  }

  // The session's settings with those of one call over them.
  settings(params) {
    const own = params ?? {};
    return {
      ...this.params,
      ...own,
      headers: { ...this.headers, ...own.headers },
      tags: { ...this.tags, ...own.tags },
    };
  }

  request(method, url, body = null, params = {}) {
    return http.request(method, this.address(url), body, this.settings(params));
  }

  asyncRequest(method, url, body = null, params = {}) {
    return http.asyncRequest(method, this.address(url), body, this.settings(params));
  }

  batch(requests, params = {}) {
    const one = (request) => {
      const { method, url, body, params: own } = typeof request === 'string' ? new Get(request) : request;
      const tags = { ...params.tags, ...own?.tags };
      const headers = { ...params.headers, ...own?.headers };
      return [method, this.address(url), body, this.settings({ ...params, ...own, headers, tags })];
    };
    if (Array.isArray(requests)) return http.batch(requests.map(one));
    return http.batch(
      Object.fromEntries(Object.entries(requests).map(([name, request]) => [name, one(request)])),
    );
  }
}

for (const method of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'HEAD', 'TRACE']) {
  const name = method.toLowerCase();
  const capital = method[0] + name.slice(1);
  Httpx.prototype[name] = function (url, body = null, params = {}) {
    return this.request(method, url, body, params);
  };
  Httpx.prototype[`async${capital}`] = function (url, body = null, params = {}) {
    return this.asyncRequest(method, url, body, params);
  };
}

export default { Httpx, Request, Get, Post, Put, Patch, Delete, Options, Head, Trace };
