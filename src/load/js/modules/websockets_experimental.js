// The module `k6/experimental/websockets`: the same as `k6/websockets`, said once.
import { host as shared } from 'dchat:host';
import websockets from 'k6/websockets';

export { WebSocket, Blob } from 'k6/websockets';
export default websockets;

shared.part('sockets').deprecated(
  'k6/experimental/websockets is deprecated and will be removed in a future release. ' +
    'Please use k6/websockets instead.',
);
