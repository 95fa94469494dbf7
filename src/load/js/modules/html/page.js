// What a Response of `k6/http` can do with a page: search it, send its form, follow its link.
import { encodeQuery, host, parse } from 'dchat:selection';
import { join, resolve, split } from 'dchat:uri';

export function html(response, selector) {
  const { body } = response;
  if (body === null || body === undefined)
    throw new Error(
      "the body is null so we can't transform it to HTML - this likely was because of a request error getting the response",
    );
  const page = parse(typeof body === 'string' ? body : host.decoded(body), response.url);
  return selector === undefined ? page : page.find(String(selector));
}

/** Sends the page's form as a browser would, with `fields` instead of what stands in it. */
export function submitForm(response, given, request) {
  const { formSelector = 'form', submitSelector = '[type="submit"]', fields, params } = given ?? {};
  const form = html(response, formSelector);
  if (form.size() === 0)
    throw new Error(`no form found for selector '${formSelector}' in response '${response.url}'`);
  const method = form.attr('method', 'GET').toUpperCase();
  const action = form.attr('action');
  const address = action === undefined ? response.url : resolve(response.url, action);
  const values = form.serializeObject();
  const submit = form.find(submitSelector);
  const name = submit.attr('name');
  const value = submit.val();
  if (name !== undefined && value !== undefined) values[name] = value;
  Object.assign(values, fields);
  if (method !== 'GET') return request(method, address, values, params);
  for (const key of Object.keys(values)) values[key] = String(values[key]);
  const query = encodeQuery(values);
  const parts = { ...split(address), query: query === '' ? undefined : query };
  return request('GET', join(parts), null, params);
}

export function clickLink(response, given, request) {
  const { selector = 'a[href]', params } = given ?? {};
  const link = html(response, selector);
  if (link.size() === 0)
    throw new Error(`no element found for selector '${selector}' in response '${response.url}'`);
  const href = link.attr('href');
  if (href === undefined)
    throw new Error(
      `no valid href attribute value found on element '${selector}' in response '${response.url}'`,
    );
  return request('GET', resolve(response.url, href), null, params);
}
