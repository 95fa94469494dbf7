// WebSocket load on a dchat relay: every user opens a socket, subscribes to a mailbox of its own,
// sends itself messages and measures how long each takes to come back.
//
//   dchat run relay_websocket.js              (or: k6 run relay_websocket.js)
//   dchat run -e RELAY_URL=http://other:7071 relay_websocket.js
//   dchat run --vus 50 --duration 2m -e MESSAGES=20 relay_websocket.js
//
// Only k6's own API is used, so the file runs unchanged on k6. Edit it freely.

import { WebSocket } from 'k6/websockets';
import { check } from 'k6';
import { Counter, Rate, Trend } from 'k6/metrics';

const RELAY_URL = (__ENV.RELAY_URL || 'http://localhost:7071').replace(/\/+$/, '');
const SOCKET_URL = `${RELAY_URL.replace(/^http/, 'ws')}/api/v1/ws`;
// Messages of one iteration, and the pause between one's arrival and the next.
const MESSAGES = Number(__ENV.MESSAGES || 10);
const PAUSE_MS = Number(__ENV.PAUSE_MS || 100);
// Longest time until a message must be back.
const PATIENCE_MS = 10000;

// From sending a message until the relay has pushed it to its recipient.
const roundTrip = new Trend('relay_round_trip', true);
// From sending a message until the relay says that it is on disk.
const accepted = new Trend('relay_accepted', true);
const errors = new Rate('errors');
const lost = new Counter('messages_lost');

export const options = {
  vus: 10,
  duration: '30s',
  thresholds: {
    relay_round_trip: ['p(95)<500'],
    errors: ['rate<0.01'],
    messages_lost: ['count==0'],
  },
};

export default function () {
  const user = `socket-user-${__VU}-${__ITER}`;
  const socket = new WebSocket(SOCKET_URL, null, {
    headers: __ENV.TOKEN ? { Authorization: `Bearer ${__ENV.TOKEN}` } : {},
    tags: { name: '/api/v1/ws' },
  });
  let sent = 0;
  let sentAt = 0;
  let patience;
  let expected = false;

  const send = () => {
    sent += 1;
    sentAt = Date.now();
    expected = true;
    socket.send(
      JSON.stringify({
        type: 'message',
        ref: sent,
        sender: user,
        recipient: user,
        content: `message ${sent} of ${user}`,
        timestamp: sentAt,
      }),
    );
    clearTimeout(patience);
    patience = setTimeout(() => {
      lost.add(1);
      socket.close(1000);
    }, PATIENCE_MS);
  };

  const arrived = (message) => {
    roundTrip.add(Date.now() - sentAt);
    expected = false;
    clearTimeout(patience);
    const ok = check(message, {
      'message comes back as it was sent': (m) => m.content === `message ${sent} of ${user}`,
    });
    errors.add(!ok);
    socket.send(JSON.stringify({ type: 'ack', user, ids: [message.message_id] }));
    if (sent < MESSAGES) setTimeout(send, PAUSE_MS);
    else socket.close(1000);
  };

  socket.onopen = () => socket.send(JSON.stringify({ type: 'subscribe', user }));
  socket.onmessage = (event) => {
    const frame = JSON.parse(event.data);
    if (frame.type === 'subscribed') send();
    else if (frame.type === 'accepted') accepted.add(Date.now() - sentAt);
    else if (frame.type === 'message') arrived(frame.message);
    else if (frame.type === 'error') {
      errors.add(true);
      console.error(`the relay refused: ${event.data}`);
      socket.close(1000);
    }
  };
  socket.onerror = (event) => {
    errors.add(true);
    console.error(`the socket failed: ${event.error}`);
  };
  socket.onclose = () => {
    clearTimeout(patience);
    // Closed by the relay (a drain) before the message was back.
    if (expected) errors.add(true);
  };
}
