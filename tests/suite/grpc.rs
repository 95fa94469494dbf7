//! `k6/net/grpc` against a small HTTP/2 server that knows one service.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use h2::RecvStream;
use h2::server::SendResponse;
use hyper::http::{HeaderMap, HeaderValue, Request, Response};
use prost::Message;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use crate::support::script::{Ran, Script};
use crate::support::*;

const PROTO: &str = r#"
syntax = "proto3";
package hello;
import "google/protobuf/timestamp.proto";
service Greeter {
  rpc Say (Question) returns (Answer);
  rpc Count (Question) returns (stream Answer);
  rpc Sum (stream Question) returns (Answer);
  rpc Chat (stream Question) returns (stream Answer);
}
message Question { string name = 1; int64 number = 2; google.protobuf.Timestamp at = 3; double share = 4; }
message Answer {
  string message = 1; int64 total = 2; bool final = 3; repeated string words = 4;
  Question about = 5; google.protobuf.Timestamp at = 6; optional string maybe = 7;
}
"#;

#[derive(Clone, PartialEq, Message)]
struct Question {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(int64, tag = "2")]
    number: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Answer {
    #[prost(string, tag = "1")]
    message: String,
    #[prost(int64, tag = "2")]
    total: i64,
}

fn pem(name: &str) -> String {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/tls");
    std::fs::read_to_string(format!("{dir}/{name}")).unwrap()
}

/// TLS that takes only clients of the test authority.
fn acceptor() -> TlsAcceptor {
    let chain = |name: &str| {
        let text = pem(name);
        let all = CertificateDer::pem_slice_iter(text.as_bytes()).map(Result::unwrap);
        all.collect::<Vec<_>>()
    };
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(chain("ca.pem"));
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build();
    let key = PrivateKeyDer::from_pem_slice(pem("server.key").as_bytes()).unwrap();
    let mut config = ServerConfig::builder()
        .with_client_cert_verifier(verifier.unwrap())
        .with_single_cert(chain("server.pem"), key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

/// Starts the server; it lives as long as the test's process.
fn server(tls: Option<TlsAcceptor>) -> SocketAddr {
    let (told, address) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async move {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            told.send(listener.local_addr().unwrap()).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                match tls.clone() {
                    None => tokio::task::spawn_local(talk(stream)),
                    Some(tls) => tokio::task::spawn_local(async move {
                        if let Ok(stream) = tls.accept(stream).await {
                            talk(stream).await;
                        }
                    }),
                };
            }
        });
    });
    address.recv().unwrap()
}

async fn talk(stream: impl AsyncRead + AsyncWrite + Unpin + 'static) {
    let Ok(mut connection) = h2::server::handshake(stream).await else {
        return;
    };
    while let Some(Ok((request, respond))) = connection.accept().await {
        tokio::task::spawn_local(serve(request, respond));
    }
}

async fn serve(request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    let path = request.uri().path().to_owned();
    let mine = request.headers().get("x-mine").cloned();
    let binary = request.headers().get("raw-bin").cloned();
    let authority = request.uri().authority().map(ToString::to_string);
    let mut inbox = Inbox {
        body: request.into_body(),
        buffer: BytesMut::new(),
    };
    let mut head = Response::builder().header("content-type", "application/grpc");
    if let Some(mine) = mine {
        head = head.header("x-back", mine);
    }
    if let Some(binary) = binary {
        head = head.header("back-bin", binary);
    }
    let first = match path.as_str() {
        "/hello.Greeter/Chat" | "/hello.Greeter/Sum" => None,
        path if path.starts_with("/grpc.reflection.v1.") => return unimplemented(&mut respond),
        path if path.starts_with("/grpc.reflection.") => None,
        _ => inbox.next().await,
    };
    let question = first
        .as_ref()
        .map(|bytes| Question::decode(&**bytes).unwrap());
    let question = question.unwrap_or_default();
    match question.name.as_str() {
        "silence" => return std::future::pending().await,
        "reset" => return respond.send_reset(h2::Reason::INTERNAL_ERROR),
        "missing" => {
            let head = head.header("grpc-status", "5");
            let head = head.header("grpc-message", "no such name: 100%25");
            let _ = respond.send_response(head.body(()).unwrap(), true);
            return;
        }
        "web" => {
            let page = Response::builder().status(502).body(()).unwrap();
            let _ = respond.send_response(page, true);
            return;
        }
        _ => {}
    }
    let Ok(mut out) = respond.send_response(head.body(()).unwrap(), false) else {
        return;
    };
    let mut answer = |message: &str, total: i64| {
        let answer = Answer {
            message: message.to_owned(),
            total,
        };
        let _ = out.send_data(framed(&answer.encode_to_vec()), false);
    };
    match path.as_str() {
        "/hello.Greeter/Say" if question.name == "large" => answer(&"x".repeat(5 << 20), 0),
        "/hello.Greeter/Say" if question.name == "authority" => {
            answer(&authority.unwrap_or_default(), 0);
        }
        "/hello.Greeter/Say" => answer(&format!("hello {}", question.name), question.number),
        "/hello.Greeter/Count" => (1..=question.number).for_each(|n| answer("", n)),
        "/hello.Greeter/Sum" => {
            let mut total = 0;
            while let Some(bytes) = inbox.next().await {
                total += Question::decode(&*bytes).unwrap().number;
            }
            answer("sum", total);
        }
        "/hello.Greeter/Chat" => {
            while let Some(bytes) = inbox.next().await {
                let question = Question::decode(&*bytes).unwrap();
                answer(&question.name, question.number);
            }
        }
        "/grpc.health.v1.Health/Check" => {
            let _ = out.send_data(framed(&[8, 1]), false);
        }
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo" => {
            while let Some(asked) = inbox.next().await {
                let _ = out.send_data(framed(&reflected(&asked)), false);
            }
        }
        _ => {}
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    trailers.insert("x-trailer", HeaderValue::from_static("t"));
    let _ = out.send_trailers(trailers);
}

fn unimplemented(respond: &mut SendResponse<Bytes>) {
    let head = Response::builder()
        .header("content-type", "application/grpc")
        .header("grpc-status", "12")
        .body(());
    let _ = respond.send_response(head.unwrap(), true);
}

fn framed(message: &[u8]) -> Bytes {
    let mut wire = BytesMut::new();
    wire.put_u8(0);
    wire.put_u32(message.len() as u32);
    wire.put_slice(message);
    wire.freeze()
}

struct Inbox {
    body: RecvStream,
    buffer: BytesMut,
}

impl Inbox {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if self.buffer.len() >= 5 {
                let size = u32::from_be_bytes(self.buffer[1..5].try_into().unwrap()) as usize;
                if self.buffer.len() >= 5 + size {
                    let mut message = self.buffer.split_to(5 + size);
                    return Some(message.split_off(5).freeze());
                }
            }
            let part = self.body.data().await?.ok()?;
            let _ = self.body.flow_control().release_capacity(part.len());
            self.buffer.extend_from_slice(&part);
        }
    }
}

/// Field `number` of a message, length-delimited.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    prost::encoding::encode_varint(bytes.len() as u64, &mut out);
    out.extend_from_slice(bytes);
    out
}

/// Answers of the reflection service: the list of services, else files by symbol or name.
fn reflected(asked: &[u8]) -> Vec<u8> {
    let list = asked.first() == Some(&(7 << 3 | 2));
    if list {
        return field(6, &field(1, &field(1, b"hello.Greeter")));
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("hello.proto"), PROTO).unwrap();
    let set = protox::compile(["hello.proto"], [dir.path()]).unwrap();
    let wanted = if asked.ends_with(b"timestamp.proto") {
        "google/protobuf/timestamp.proto"
    } else {
        "hello.proto"
    };
    let file = set.file.iter().find(|file| file.name() == wanted).unwrap();
    field(4, &field(1, &file.encode_to_vec()))
}

fn script(body: &str) -> Script {
    script_at(server(None), body)
}

fn script_at(server: SocketAddr, body: &str) -> Script {
    let address = format!("G={server}");
    let text = format!(
        "import grpc, {{ Client, Stream, StatusOK }} from 'k6/net/grpc';\n\
         import {{ check }} from 'k6';\nconst client = new Client();\n{body}"
    );
    Script::new(&text)
        .file("hello.proto", PROTO)
        .args(["-e", &address])
        .within(Duration::from_secs(30))
}

/// Runs one iteration whose checks must all pass.
#[track_caller]
fn all_pass(body: &str) -> Ran {
    let ran = script(body).args(["-i", "1"]).run().expect(0);
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
fn unary_calls_answer_with_message_headers_and_trailers() {
    let ran = all_pass(
        r#"
        const methods = client.load([], 'hello.proto');
        export default async function () {
          check(methods, { methods: (m) => m.length === 4 && m[0].full_method === '/hello.Greeter/Say' && m[0].package === 'hello' && m[0].service === 'Greeter' });
          client.connect(__ENV.G, { plaintext: true, timeout: '5s' });
          const raw = new Uint8Array([1, 2, 200]);
          const said = client.invoke('hello.Greeter/Say', { name: 'ü', number: '9007199254740993', share: NaN },
            { metadata: { 'X-Mine': 'yes', 'raw-bin': raw.buffer }, tags: { own: 'tag' } });
          check(said, {
            status: (r) => r.status === StatusOK && r.status === grpc.StatusOK && r.error === null,
            message: (r) => r.message.message === 'hello ü' && r.message.total === '9007199254740993',
            defaults: (r) => r.message.final === false && r.message.words.length === 0,
            absent: (r) => r.message.about === null && r.message.at === null && !('maybe' in r.message),
            headers: (r) => r.headers['x-back'][0] === 'yes' && r.headers['back-bin'] !== undefined,
            trailers: (r) => r.trailers['x-trailer'][0] === 't',
          });
          const later = await client.asyncInvoke('/hello.Greeter/Say', { name: 'b' });
          check(later, { async: (r) => r.message.message === 'hello b' });
          const none = client.invoke('hello.Greeter/Say', {}, { discardResponseMessage: true });
          check(none, { discarded: (r) => r.status === StatusOK && r.message === null });
          check(client.healthCheck(), { health: (h) => h.status === grpc.HealthCheckServing });
          client.close();
          let thrown;
          try { client.invoke('hello.Greeter/Say', {}); } catch (e) { thrown = e.message; }
          check(thrown, { closed: (t) => t === 'no gRPC connection, you must call connect first' });
        }"#,
    );
    check(
        ran.metric("grpc_req_duration")["max"].as_f64().unwrap() > 0.0,
        || ran.summary().to_string(),
    );
    check(count(&ran, "data_sent").as_f64().unwrap() > 200.0, || {
        "data_sent".into()
    });
}

#[test]
fn failed_calls_return_their_status() {
    all_pass(
        r#"
        client.load(['.'], 'hello.proto');
        const refused = (f) => { try { f(); } catch (e) { return e.message; } };
        export default function () {
          check(refused(() => client.connect('127.0.0.1:9', { plaintext: true })), {
            'nobody there': (t) => t.includes('connection error: desc = "transport: error while dialing: dial tcp 127.0.0.1:9: connect: connection refused"'),
          });
          client.connect(__ENV.G, { plaintext: true });
          const say = (name, params) => client.invoke('hello.Greeter/Say', { name }, params);
          check(say('missing'), {
            status: (r) => r.status === grpc.StatusNotFound && r.error.code === 5 && r.error.message === 'no such name: 100%',
          });
          check(say('silence', { timeout: 200 }), { deadline: (r) => r.status === grpc.StatusDeadlineExceeded });
          check(say('reset'), { reset: (r) => r.status === grpc.StatusInternal });
          check(say('web'), { web: (r) => r.status === grpc.StatusUnavailable && r.error.message.includes('502 (Bad Gateway)') });
          check(say('large'), { large: (r) => r.status === grpc.StatusResourceExhausted && r.error.message.includes('larger than max') });
          check(say('fine'), { 'the channel goes on': (r) => r.status === StatusOK });
          check(null, {
            method: () => refused(() => client.invoke('hello.Greeter/None', {})) === 'method "/hello.Greeter/None" not found in file descriptors',
            field: () => refused(() => client.invoke('hello.Greeter/Say', { nope: 1 })).startsWith('unable to serialise request object to protocol buffer: proto: '),
            param: () => refused(() => say('a', { nope: 1 })) === `invalid GRPC's client.invoke() parameters: unknown param: "nope"`,
            connect: () => refused(() => client.connect(__ENV.G, { nope: 1 })) === 'invalid grpc.connect() parameters: unknown connect param: "nope"',
            request: () => refused(() => client.invoke('hello.Greeter/Say')) === 'request cannot be nil',
            load: () => refused(() => client.load([], 'hello.proto')) === 'load must be called in the init context',
          });
          client.connect(__ENV.G, { plaintext: true, authority: 'other.example', maxReceiveSize: 8 << 20 });
          check(say('authority'), { authority: (r) => r.message.message === 'other.example' });
          check(say('large'), { 'received with a larger limit': (r) => r.status === StatusOK && r.message.message.length === 5 << 20 });
        }"#,
    );
}

#[test]
fn streams_send_and_receive_until_they_end() {
    let ran = all_pass(
        r#"
        client.load([], 'hello.proto');
        function talk(method, questions) {
          return new Promise((done) => {
            const seen = { data: [], error: null };
            const stream = new Stream(client, method, { tags: { own: 'tag' } });
            stream.on('data', (message, metadata) => { seen.data.push(message); seen.ts = metadata.ts; });
            stream.on('error', (e) => { seen.error = e; });
            stream.on('end', () => done(seen));
            for (const question of questions) stream.write(question);
            stream.end();
            stream.write({ name: 'after the end' });
          });
        }
        export default async function () {
          client.connect(__ENV.G, { plaintext: true });
          check(await talk('hello.Greeter/Count', [{ number: 100 }]), {
            server: (s) => s.data.length === 100 && s.data[99].total === '100' && s.ts > 1e9 && s.error === null,
          });
          check(await talk('hello.Greeter/Sum', [{ number: 1 }, { number: 2 }, { number: 3 }]), {
            client: (s) => s.data.length === 1 && s.data[0].total === '6',
          });
          check(await talk('/hello.Greeter/Chat', [{ name: 'a' }, { name: 'b' }]), {
            both: (s) => s.data.map((m) => m.message).join() === 'a,b',
          });
          check(await talk('hello.Greeter/Count', [{ name: 'missing' }]), {
            failed: (s) => s.error.code === grpc.StatusNotFound && s.error.message === 'no such name: 100%',
          });
          check(await talk('hello.Greeter/Chat', [{ nope: 1 }]), {
            refused: (s) => s.error.message.includes("can't serialise request object to protocol buffer"),
          });
          let thrown;
          try { new Stream({}, 'x'); } catch (e) { thrown = e.message; }
          check(thrown, { client: (t) => t === "invalid GRPC Stream's client: not a gRPC client" });
        }"#,
    );
    assert_eq!(count(&ran, "grpc_streams"), 5);
    assert_eq!(count(&ran, "grpc_streams_msgs_sent"), 7);
    assert_eq!(count(&ran, "grpc_streams_msgs_received"), 103);
}

#[test]
fn tls_takes_authorities_and_certificates_of_the_script() {
    let ran = script_at(
        server(Some(acceptor())),
        r#"
        client.load([], 'hello.proto');
        const tls = { cacerts: [open('ca.pem')], cert: open('client.pem'), key: open('client.key') };
        const refused = (f) => { try { f(); } catch (e) { return e.message; } };
        export default function () {
          client.connect(__ENV.G, { tls });
          const said = client.invoke('hello.Greeter/Say', { name: 'tls' });
          check(said, { tls: (r) => r.status === StatusOK && r.message.message === 'hello tls' });
          check(refused(() => client.connect(__ENV.G)), {
            stranger: (t) => t.includes('x509') && t.includes('connection error'),
          });
          check(refused(() => client.connect(__ENV.G, { tls: { cert: 1 } })), {
            kind: (t) => t.includes('invalid tls cert value') && t.includes('PEM formatted string'),
          });
        }"#,
    )
    .file("ca.pem", &pem("ca.pem"))
    .file("client.pem", &pem("client.pem"))
    .file("client.key", &pem("client.key"))
    .run()
    .expect(0);
    check(ran.metric("checks")["fails"] == 0, || {
        format!("{}\n{}", ran.finished.stdout, ran.finished.stderr)
    });
}

#[test]
fn reflection_tells_the_services() {
    all_pass(
        r#"
        export default function () {
          client.connect(__ENV.G, { plaintext: true, reflect: true });
          const said = client.invoke('hello.Greeter/Say', { name: 'r', at: '2026-01-02T03:04:05Z' });
          check(said, { reflected: (r) => r.message.message === 'hello r' });
        }"#,
    );
}

#[test]
fn protosets_are_loaded_and_missing_files_named() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("hello.proto"), PROTO).unwrap();
    let set = protox::compile(["hello.proto"], [dir.path()]).unwrap();
    let file = dir.path().join("hello.protoset");
    std::fs::write(&file, set.encode_to_vec()).unwrap();
    let ran = script(
        r#"
        client.loadProtoset(__ENV.SET);
        export default function () {
          client.connect(__ENV.G, { plaintext: true });
          check(client.invoke('hello.Greeter/Say', { name: 's' }), { set: (r) => r.message.message === 'hello s' });
        }"#,
    )
    .args(["-u", "2", "-i", "2", "-e", &format!("SET={}", file.display())])
    .run()
    .expect(0);
    assert_eq!(ran.metric("checks")["passes"], 2);
    script("client.load([], 'nowhere.proto');\nexport default function () {}")
        .run()
        .expect(107)
        .says(&["nowhere.proto"]);
}

#[test]
fn proto_files_are_found_in_all_import_paths() {
    script(
        r#"
        client.load(['.', './deep/..'], './hello.proto');
        client.load(['deep'], '../hello.proto');
        export default function () {
          client.connect(__ENV.G, { plaintext: true });
          check(client.invoke('hello.Greeter/Say', { name: 'p' }), { found: (r) => r.message.message === 'hello p' });
        }"#,
    )
    .run()
    .expect(0);
}

#[test]
fn an_open_stream_ends_with_its_scenario() {
    let ran = script(
        r#"
        client.load([], 'hello.proto');
        export const options = { scenarios: { all: { executor: 'constant-vus', vus: 2, duration: '1s', gracefulStop: '0s' } } };
        export default function () {
          client.connect(__ENV.G, { plaintext: true });
          const stream = new Stream(client, 'hello.Greeter/Chat');
          stream.on('data', () => {});
          stream.write({ name: 'never ended' });
        }"#,
    )
    .run()
    .expect(0);
    assert_eq!(count(&ran, "grpc_streams"), 2);
}
