// The module `k6/secrets`: only its default export, as in k6.
import { host as shared } from 'dchat:host';

const host = shared.part('secrets');

const source = (name) => ({
  get: async (key) => {
    const known = host.known(name, String(key));
    if (known !== undefined) return known;
    // Where nothing else runs yet, waiting is all there is to do.
    return host.away() ? shared.pending((id) => host.fetch(id, name, String(key))) : host.wait(name, String(key));
  },
});

export default { ...source('default'), source: (name) => source(String(name)) };
