// The module `k6/encoding`.
import { host as shared } from 'dchat:host';

const host = shared.part('encoding');

export const b64encode = (input, encoding) => host.encode(input, encoding === undefined ? '' : String(encoding));

export const b64decode = (input, encoding, format) =>
  host.decode(String(input), encoding === undefined ? '' : String(encoding), format === 's');

export default { b64encode, b64decode };
