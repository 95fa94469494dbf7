//! Bodies that a script takes piece by piece: lines, server-sent events, round trips.

use std::time::Duration;

use super::script;
use crate::support::*;

const STREAM: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                        Transfer-Encoding: chunked\r\n\r\n";

fn chunk(stream: &mut std::net::TcpStream, text: &str) {
    raw(stream, format!("{:x}\r\n{text}\r\n", text.len()).as_bytes());
}

#[test]
fn events_come_one_by_one_while_the_server_goes_on() {
    let origin = Origin::start(|seen, stream| {
        raw(stream, STREAM);
        chunk(stream, ": welcome\n\nid: 1\ndata: {\"n\":1}\n\n");
        if seen.target == "/end" {
            chunk(stream, "event: last\ndata: a\nda");
            chunk(stream, "ta: b\n\n");
            raw(stream, b"0\r\n\r\n");
            return After::Keep;
        }
        // Until the client hangs up.
        let _ = std::io::Read::read(stream, &mut [0]);
        After::Close
    });
    let ran = script(
        &origin,
        r#"
        export default function () {
          const all = http.get(`${U}/end`, { responseType: 'stream', tags: { name: 'end' } });
          check(all, { head: (r) => r.status === 200 && r.headers['Content-Type'] === 'text/event-stream' && r.timings.waiting > 0 });
          check([...all.body.events()], {
            events: (e) => JSON.stringify(e) === '[{"type":"message","data":"{\\"n\\":1}","id":"1"},{"type":"last","data":"a\\nb","id":"1"}]',
            'the end is the end': () => all.body.read() === null,
          });
          const open = http.get(`${U}/open`, { responseType: 'stream', tags: { name: 'open' } });
          let first;
          for (const event of open.body.events()) { first = event; break; }
          sleep(0.05);
          open.body.close();
          check(first, { first: (e) => e.data === '{"n":1}' });
          check(null, { 'batches have no streams': () => http.batch([['GET', U, null, { responseType: 'stream' }]])[0].error === 'stream does not belong to ResponseType values' });
        }"#,
    )
    .args(["--out", "json=out.json"])
    .run()
    .all_checks_pass();
    assert_eq!(ran.metric("http_reqs")["count"], 2);
    // The whole stay is the request.
    let long = ran.metric("http_req_receiving")["max"].as_f64().unwrap();
    assert!((50.0..5_000.0).contains(&long), "{long}");
}

#[test]
fn lines_and_pieces_are_read_as_they_come() {
    let origin = Origin::start(|_, stream| {
        raw(stream, STREAM);
        for part in ["one\ntw", "o\r\n", "\nthree"] {
            chunk(stream, part);
            std::thread::sleep(Duration::from_millis(10));
        }
        raw(stream, b"0\r\n\r\n");
        After::Keep
    });
    script(
        &origin,
        r#"
        export default function () {
          const lines = [...http.get(U, { responseType: 'stream' }).body.lines()];
          check(lines, { lines: (l) => JSON.stringify(l) === '["one","two","","three"]' });
          const { body } = http.get(U, { responseType: 'stream' });
          let length = 0;
          for (let piece = body.read(); piece !== null; piece = body.read()) length += piece.byteLength;
          check(length, { bytes: (n) => n === 15 });
        }"#,
    )
    .run()
    .all_checks_pass();
}

#[test]
fn a_stream_that_breaks_or_falls_silent_throws_and_is_a_failed_request() {
    let origin = Origin::start(|seen, stream| {
        raw(stream, STREAM);
        chunk(stream, "data: 1\n\n");
        if seen.target == "/silent" {
            let _ = std::io::Read::read(stream, &mut [0]);
        }
        After::Close
    });
    let ran = script(
        &origin,
        r#"
        function told(path) {
          const r = http.get(U + path, { responseType: 'stream', timeout: 300 });
          try { for (const event of r.body.events()); } catch (e) { return e.message; }
        }
        export default function () {
          check(null, {
            broken: () => told('/broken') === 'unexpected EOF',
            silent: () => told('/silent') === 'request timeout',
            refused: () => http.get('http://127.0.0.1:9/', { responseType: 'stream' }).error_code === 1212,
          });
        }"#,
    )
    .run()
    .all_checks_pass();
    assert_eq!(ran.metric("http_req_failed")["passes"], 3);
}

#[test]
fn round_trips_of_events_are_measured_on_the_relay() {
    let relay = Relay::start();
    let text = format!(
        r#"
        import http from 'k6/http';
        import {{ check }} from 'k6';
        const U = '{}';
        export default function () {{
          const stream = http.get(`${{U}}/api/v1/stream?user=bob`, {{ responseType: 'stream' }});
          const key = 'message 7';
          stream.body.sent(key);
          http.post(`${{U}}/api/v1/messages`, JSON.stringify({{ sender: 'a', recipient: 'bob', content: key }}));
          let found;
          for (const event of stream.body.events({{ roundTrip: 'content' }})) {{
            found = event;
            if (event.data.includes(key)) break;
          }}
          stream.body.close();
          check(found, {{ came: (e) => JSON.parse(e.data).content === key }});
        }}"#,
        relay.url()
    );
    let ran = Script::new(&text).run().all_checks_pass();
    let trip = ran.metric("sse_round_trip");
    assert!(trip["max"].as_f64().unwrap() > 0.0, "{trip}");
}
