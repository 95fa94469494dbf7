//! `k6/websockets` and `k6/ws` against a server that echoes and one that misbehaves.

mod server;

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_tungstenite::tungstenite::protocol::Message;

use self::server::server;
use crate::support::script::{Ran, Script};
use crate::support::*;

/// Runs one iteration of a script whose checks must all pass; `W` is the server's address.
#[track_caller]
fn all_pass(body: &str) -> Ran {
    let address = format!("W=ws://127.0.0.1:{}", server());
    let text = format!(
        "import {{ check }} from 'k6';\nimport {{ WebSocket, Blob }} from 'k6/websockets';\n\
         import ws from 'k6/ws';\nimport http from 'k6/http';\n{body}"
    );
    let ran = Script::new(&text)
        .args(["-e", &address, "-i", "1"])
        .run()
        .expect(0);
    let checks = ran.metric("checks");
    check(checks["fails"] == 0 && checks["passes"] != 0, || {
        format!("{}\n{}", ran.finished.stdout, ran.finished.stderr)
    });
    check(!ran.finished.stderr.contains("level=error"), || {
        ran.finished.stderr.clone()
    });
    ran
}

fn count(ran: &Ran, metric: &str) -> Value {
    ran.metric(metric)["count"].clone()
}

#[test]
fn websockets_exchange_messages_and_count_them() {
    let ran = all_pass(
        r#"
        export default function () {
          const socket = new WebSocket(`${__ENV.W}/echo`, ['one', 'chosen']);
          const got = [];
          check(socket, { connecting: (s) => s.readyState === 0 && s.binaryType === 'blob' });
          let thrown;
          try { socket.send('early'); } catch (e) { thrown = e.message; }
          check(thrown, { 'send needs an open socket': (t) => t === 'InvalidStateError' });
          socket.onopen = (event) => {
            check(event, { open: (e) => e.type === 'open' && e.target === socket && socket.readyState === 1 });
            check(socket, { protocol: (s) => s.protocol === 'chosen' && s.url.endsWith('/echo') });
            socket.send('text ü');
            socket.send(new Uint8Array([1, 2, 3]).subarray(1));
            socket.send(new Blob(['ab', new Uint8Array([99])]));
            check(socket, { buffered: (s) => s.bufferedAmount === 12 });
            socket.ping();
          };
          socket.addEventListener('pong', () => got.push('pong'));
          socket.addEventListener('message', async (event) => {
            got.push(event.data);
            if (got.filter((one) => one !== 'pong').length < 3) return;
            check(got[0], { text: (t) => t === 'text ü' });
            check(await got[1].bytes(), { view: (b) => b.join() === '2,3' });
            check(await got[2].text(), { blob: (t) => t === 'abc' });
            setTimeout(() => socket.close(1000, 'done'), 50);
          });
          socket.onerror = (event) => check(event, { ['no error ' + event.error]: () => false });
          socket.onclose = (event) => {
            check(got, { ponged: (g) => g.includes('pong') });
            check(event, { closed: (e) => e.code === 1000 && socket.readyState === 3 });
          };
        }"#,
    );
    check_eq(count(&ran, "ws_sessions"), 1.into());
    // Three messages, a ping and the close frame, as k6 counts them.
    check_eq(count(&ran, "ws_msgs_sent"), 5.into());
    check_eq(count(&ran, "ws_msgs_received"), 3.into());
    for trend in ["ws_connecting", "ws_session_duration", "ws_ping"] {
        check(ran.metric(trend)["max"].as_f64().unwrap() > 0.0, || {
            trend.into()
        });
    }
    check(count(&ran, "data_sent").as_f64().unwrap() > 200.0, || {
        "data_sent".into()
    });
}

#[track_caller]
fn check_eq(got: Value, wanted: Value) {
    check(got == wanted, || format!("{got} is not {wanted}"));
}

#[test]
fn params_set_headers_cookies_tags_and_jar() {
    all_pass(
        r#"
        export default function () {
          const jar = new http.CookieJar();
          jar.set(__ENV.W.replace('ws:', 'http:'), 'mine', 'yes');
          const socket = new WebSocket(`${__ENV.W}/seen`, null, {
            headers: { 'X-Mine': 'set' }, tags: { own: 'tag' }, jar, compression: 'deflate',
          });
          socket.onmessage = (event) => {
            check(event.data, {
              agent: (t) => t.includes('user-agent=') && !t.includes('user-agent=;'),
              header: (t) => t.includes('x-mine=set;'),
              cookie: (t) => t.includes('cookie=mine=yes;'),
              deflate: (t) => t.includes('sec-websocket-extensions=permessage-deflate;'),
            });
            check(jar.cookiesForURL(__ENV.W.replace('ws:', 'http:')), { kept: (c) => c.fresh[0] === '1' });
            socket.close();
          };
          const refused = (f) => { try { f(); } catch (e) { return e.message; } };
          check(null, {
            option: () => refused(() => new WebSocket(__ENV.W, null, { nope: 1 })) === "unknown WebSocket's option nope",
            scheme: () => refused(() => new WebSocket('http://x')).includes('scheme ws or wss, but got "http"'),
            compression: () => refused(() => new WebSocket(__ENV.W, null, { compression: 'br' })).includes("'br'"),
            binaryType: () => refused(() => { socket.binaryType = 'x'; }).includes('unknown binaryType x'),
            code: () => refused(() => socket.close(999)).includes('999 is neither'),
          });
        }"#,
    );
}

#[test]
fn samples_carry_the_system_tags_that_are_wanted() {
    let address = format!("W=ws://127.0.0.1:{}", server());
    let tags = |flags: &[&str]| {
        let ran = Script::new(
            r#"
            import { WebSocket } from 'k6/websockets';
            export default function () {
              const socket = new WebSocket(`${__ENV.W}/echo`, 'chosen', { tags: { own: 'tag' } });
              socket.onopen = () => socket.close();
            }"#,
        )
        .args(["-e", &address, "-i", "1", "--out", "json=out.json"])
        .args(flags.iter().copied())
        .run()
        .expect(0);
        let text = ran.text("out.json");
        let mut lines = text
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        let point = lines.find(|line| line["type"] == "Point" && line["metric"] == "ws_sessions");
        point.unwrap()["data"]["tags"].clone()
    };
    let all = tags(&[]);
    let url = all["url"].as_str().unwrap();
    check(
        url.starts_with("ws://127.0.0.1:") && url.ends_with("/echo"),
        || url.into(),
    );
    check_eq(all["name"].clone(), url.into());
    check_eq(all["status"].clone(), "101".into());
    check_eq(all["subproto"].clone(), "chosen".into());
    check_eq(all["own"].clone(), "tag".into());
    check_eq(all["ip"].clone(), Value::Null);
    let some = tags(&["--system-tags", "status,ip"]);
    let wanted = serde_json::json!({ "status": "101", "ip": "127.0.0.1", "own": "tag" });
    check_eq(some, wanted);
}

#[test]
fn pings_of_the_server_are_answered_and_seen() {
    all_pass(
        r#"
        export default function () {
          const socket = new WebSocket(`${__ENV.W}/ping`);
          let pinged = false;
          socket.onping = () => { pinged = true; };
          socket.onmessage = (event) => {
            check(event.data, { ponged: (t) => t === 'ponged' && pinged });
            socket.close();
          };
        }"#,
    );
}

#[test]
fn ends_of_sockets_give_the_errors_of_k6() {
    all_pass(
        r#"
        function end(path) {
          return new Promise((done) => {
            const socket = new WebSocket(path.startsWith('ws:') ? path : `${__ENV.W}${path}`);
            const seen = { error: null };
            socket.onerror = (event) => { seen.error = event.error; };
            socket.onclose = (event) => done({ ...seen, code: event.code, reason: event.reason });
          });
        }
        export default async function () {
          check(await end('/close'), {
            'a code of its own': (e) => e.code === 4001 && e.reason === 'enough' && e.error === 'websocket: close 4001: enough',
          });
          check(await end('/bye'), { 'going away is no error': (e) => e.code === 1001 && e.error === null });
          check(await end('/eof'), {
            'no close frame': (e) => e.code === 1006 && e.error === 'websocket: close 1006 (abnormal closure): unexpected EOF',
          });
          check(await end('/reset'), { 'a reset is no error, as in k6': (e) => e.error === null && e.code === undefined });
          check(await end('/refuse'), { 'no upgrade': (e) => e.error === 'websocket: bad handshake' && e.code === undefined });
          check(await end('ws://127.0.0.1:9/'), {
            'nobody there': (e) => e.error === 'dial tcp 127.0.0.1:9: connect: connection refused',
          });
          check(await end('ws://nowhere.invalid/'), { 'no such host': (e) => e.error.includes('no such host') });
        }"#,
    );
}

#[test]
fn a_handler_that_throws_ends_its_socket_and_iteration() {
    let address = format!("W=ws://127.0.0.1:{}", server());
    let ran = Script::new(
        r#"
        import { WebSocket } from 'k6/websockets';
        export default function () {
          const socket = new WebSocket(`${__ENV.W}/echo`);
          socket.onopen = () => { throw new Error('my fault'); };
        }"#,
    )
    .args(["-e", &address, "-i", "2"])
    .run()
    .expect(0)
    .says(&["my fault"]);
    check_eq(count(&ran, "iterations"), 2.into());
}

#[test]
fn a_flood_waits_for_the_script_and_hurts_nobody() {
    let address = format!("W=ws://127.0.0.1:{}", server());
    let ran = Script::new(
        r#"
        import { WebSocket } from 'k6/websockets';
        import { sleep } from 'k6';
        export const options = { scenarios: {
          flooded: { executor: 'per-vu-iterations', vus: 1, exec: 'flooded' },
          others: { executor: 'per-vu-iterations', vus: 1, iterations: 20, exec: 'others' },
        } };
        export function flooded() {
          const socket = new WebSocket(`${__ENV.W}/flood`);
          let got = 0;
          socket.onopen = () => sleep(1);
          socket.onmessage = () => { if (++got === 5000) socket.close(); };
        }
        export function others() { sleep(0.01); }
        "#,
    )
    .args(["-e", &address])
    .within(Duration::from_secs(30))
    .run()
    .expect(0);
    check_eq(count(&ran, "iterations"), 21.into());
    check(count(&ran, "ws_msgs_received") == 5000, || {
        count(&ran, "ws_msgs_received").to_string()
    });
}

#[test]
fn an_open_socket_ends_with_its_scenario() {
    let address = format!("W=ws://127.0.0.1:{}", server());
    let ran = Script::new(
        r#"
        import { WebSocket } from 'k6/websockets';
        import ws from 'k6/ws';
        export const options = { scenarios: {
          events: { executor: 'constant-vus', vus: 2, duration: '1s', gracefulStop: '0s' },
          blocking: { executor: 'constant-vus', vus: 2, duration: '1s', gracefulStop: '0s', exec: 'blocking' },
        } };
        export default function () { new WebSocket(`${__ENV.W}/mute`); }
        export function blocking() { ws.connect(`${__ENV.W}/mute`, () => {}); }
        "#,
    )
    .args(["-e", &address])
    .within(Duration::from_secs(20))
    .run()
    .expect(0);
    check_eq(count(&ran, "ws_sessions"), 4.into());
    check(
        ran.metric("iterations").is_null() || count(&ran, "iterations") == 0,
        || "they were cut off".into(),
    );
}

#[test]
fn a_socket_that_is_cut_off_says_goodbye() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("W=ws://{}", listener.local_addr().unwrap());
    let (told, codes) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let told = told.clone();
            std::thread::spawn(move || {
                let mut socket = tokio_tungstenite::tungstenite::accept(stream).unwrap();
                while let Ok(message) = socket.read() {
                    if let Message::Close(frame) = message {
                        let _ = told.send(u16::from(frame.unwrap().code));
                    }
                }
            });
        }
    });
    Script::new(
        r#"
        import { WebSocket } from 'k6/websockets';
        export const options = { scenarios: { all: { executor: 'constant-vus', vus: 2, duration: '1s', gracefulStop: '0s' } } };
        export default function () { new WebSocket(__ENV.W); }
        "#,
    )
    .args(["-e", &address])
    .run()
    .expect(0);
    for _ in 0..2 {
        let code = codes.recv_timeout(Duration::from_secs(10));
        assert_eq!(code, Ok(1000));
    }
}

#[test]
fn ws_connect_blocks_until_closed_and_returns_the_upgrade() {
    let ran = all_pass(
        r#"
        export default function () {
          const order = [];
          let ticks = 0;
          const response = ws.connect(`${__ENV.W}/echo`, { headers: { 'X-Mine': 'a' }, tags: { own: 'b' } }, (socket) => {
            socket.on('open', () => { order.push('open'); socket.send('hi'); socket.ping(); });
            socket.on('message', (text) => { order.push(text); socket.sendBinary(new Uint8Array([7]).buffer); });
            socket.on('binaryMessage', (data) => order.push(new Uint8Array(data)[0]));
            socket.on('pong', () => order.push('pong'));
            socket.on('error', (e) => order.push(e.error()));
            socket.on('close', (code) => order.push(`close ${code}`));
            socket.setInterval(() => { ticks += 1; }, 20);
            socket.setTimeout(() => socket.close(), 150);
          });
          order.push('returned');
          const said = order.join();
          check(order, {
            [said]: (o) => o[0] === 'open' && o.includes('hi') && o.includes(7) && o.includes('pong'),
            end: (o) => o.slice(-2).join() === 'close 1001,returned',
            ticks: () => ticks >= 4 && ticks <= 8,
          });
          check(response, {
            response: (r) => r.status === 101 && r.error === '' && r.url.endsWith('/echo') && r.body === '',
            headers: (r) => r.headers['Sec-Websocket-Accept'].length === 28,
          });
        }"#,
    );
    check_eq(count(&ran, "ws_sessions"), 1.into());
    check_eq(count(&ran, "ws_msgs_sent"), 2.into());
    check_eq(count(&ran, "ws_msgs_received"), 2.into());
}

#[test]
fn ws_connect_tells_how_its_socket_ended() {
    let ran = all_pass(
        r#"
        function end(path) {
          const seen = { error: null };
          seen.response = ws.connect(path.startsWith('ws:') ? path : `${__ENV.W}${path}`, (socket) => {
            socket.on('error', (e) => { seen.error = e.error(); });
            socket.on('close', (code) => { seen.code = code; });
          });
          return seen;
        }
        export default function () {
          check(end('/close'), { own: (e) => e.code === 4001 && e.error === 'websocket: close 4001: enough' });
          check(end('/bye'), { bye: (e) => e.code === 1001 && e.error === null });
          check(end('/eof'), { eof: (e) => e.code === 1006 && e.error.includes('unexpected EOF') });
          check(end('/refuse').response, {
            refused: (r) => r.status === 418 && r.headers['X-Why'] === 'tea' && r.body === 'short',
          });
          check(end('ws://127.0.0.1:9').response, {
            nobody: (r) => r.status === 0 && r.error === 'dial tcp 127.0.0.1:9: connect: connection refused',
          });
          const refused = (f) => { try { f(); } catch (e) { return e.message; } };
          check(null, {
            timer: () => {
              let text;
              ws.connect(`${__ENV.W}/bye`, (s) => { text = refused(() => s.setTimeout(() => {}, 0)); });
              return text === 'setTimeout requires a >0 timeout parameter, received 0.00';
            },
            throws: () => refused(() => ws.connect(`${__ENV.W}/echo`, () => { throw new Error('mine'); })) === 'mine',
            arguments: () => refused(() => ws.connect('ws://x')) === 'invalid number of arguments to ws.connect',
          });
        }"#,
    );
    // Also those that never opened.
    check_eq(count(&ran, "ws_sessions"), 7.into());
}

/// An echo behind TLS whose certificate is of the test authority.
fn secure_server() -> u16 {
    let (told, port) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(async move {
            let chain = CertificateDer::pem_file_iter(tls_file("server.pem")).unwrap();
            let key = PrivateKeyDer::from_pem_file(tls_file("server.key")).unwrap();
            let config = ServerConfig::builder()
                .with_no_client_auth()
                .with_single_cert(chain.map(Result::unwrap).collect(), key);
            let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config.unwrap()));
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            told.send(listener.local_addr().unwrap().port()).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let Ok(stream) = acceptor.accept(stream).await else {
                    continue;
                };
                let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
                while let Some(Ok(message)) = socket.next().await {
                    if message.is_text() {
                        socket.send(message).await.unwrap();
                    }
                }
            }
        });
    });
    port.recv().unwrap()
}

fn tls_file(name: &str) -> String {
    format!("{}/tests/data/tls/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn sockets_over_tls_check_their_server() {
    let address = format!("W=wss://localhost:{}", secure_server());
    let run = |trust: &str| {
        Script::new(
            r#"
            import { WebSocket } from 'k6/websockets';
            export default function () {
              const socket = new WebSocket(__ENV.W);
              socket.onopen = () => socket.send('secret');
              socket.onmessage = (event) => { console.log('got ' + event.data); socket.close(); };
              socket.onerror = (event) => console.log('error ' + event.error);
            }"#,
        )
        .args(["-e", &address, "-i", "1"])
        .env("SSL_CERT_FILE", &tls_file(trust))
        .run()
        .expect(0)
    };
    run("ca.pem").says(&["got secret"]);
    run("client.pem").says(&["error", "x509"]);
}

#[test]
fn round_trips_are_measured_by_a_key_of_the_messages() {
    let ran = all_pass(
        r#"
        export default function () {
          const socket = new WebSocket(`${__ENV.W}/echo`, null, { roundTrip: 'ref' });
          let left = 3;
          socket.onopen = () => { for (const ref of [1, 2, 3]) socket.send(JSON.stringify({ ref })); };
          socket.onmessage = () => { check(1, { one: () => true }); if (--left === 0) socket.close(); };
        }"#,
    );
    check(
        ran.metric("ws_round_trip")["max"].as_f64().unwrap() > 0.0,
        || ran.summary().to_string(),
    );
}

#[test]
fn the_experimental_name_warns_once() {
    let ran = Script::new(
        "import { WebSocket } from 'k6/experimental/websockets';\nimport { setTimeout } from 'k6/timers';\n\
         export default function () { if (!WebSocket || !setTimeout) throw new Error('no'); }",
    )
    .args(["-u", "3", "-i", "3"])
    .run()
    .expect(0);
    let warnings = ran
        .finished
        .stderr
        .matches("Please use k6/websockets instead")
        .count();
    check(warnings == 1, || ran.finished.stderr.clone());
}

#[test]
fn the_relay_script_measures_its_round_trip() {
    let relay = Relay::start();
    let ran = dchat([
        "run",
        "--report-to",
        "none",
        "-u",
        "2",
        "-d",
        "3s",
        "relay_websocket.js",
    ])
    .arg("-e")
    .arg(format!("RELAY_URL={}", relay.url()))
    .run()
    .expect(0);
    check(ran.stdout.contains("relay_round_trip"), || {
        ran.stdout.clone()
    });
}
