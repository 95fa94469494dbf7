//! TLS and HTTP/2: what is agreed on, who is trusted, what a server gets shown, and how it fails.
//!
//! The certificates in `tests/data/tls` are of a test authority whose key is gone; they are good
//! for `localhost`, `127.0.0.1` and `*.example.test`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use h2::Reason;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio_rustls::server::TlsStream;

use crate::support::*;

fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/tls")
        .join(name)
}

fn pem(name: &str) -> Value {
    json!(std::fs::read_to_string(data(name)).unwrap())
}

fn certificates(name: &str) -> Vec<CertificateDer<'static>> {
    let all = CertificateDer::pem_file_iter(data(name)).unwrap();
    all.collect::<Result<_, _>>().unwrap()
}

/// A TLS server on a thread of its own until the test ends.
struct Secure {
    addr: SocketAddr,
}

static NEWEST: &[&SupportedProtocolVersion] = &[&TLS13];
static BOTH: &[&SupportedProtocolVersion] = &[&TLS12, &TLS13];

#[derive(Clone, Copy)]
struct Terms {
    alpn: &'static [&'static [u8]],
    versions: &'static [&'static SupportedProtocolVersion],
    /// Whoever has no certificate of the authority is sent away.
    closed: bool,
}

static OPEN: Terms = Terms {
    alpn: &[b"h2", b"http/1.1"],
    versions: BOTH,
    closed: false,
};

impl Secure {
    fn start(terms: Terms) -> Secure {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(certificates("ca.pem"));
        let verifier = WebPkiClientVerifier::builder(Arc::new(roots));
        let verifier = if terms.closed {
            verifier
        } else {
            verifier.allow_unauthenticated()
        };
        let key = PrivateKeyDer::from_pem_file(data("server.key")).unwrap();
        let mut config = ServerConfig::builder_with_protocol_versions(terms.versions)
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(certificates("server.pem"), key)
            .unwrap();
        config.alpn_protocols = terms.alpn.iter().map(|name| name.to_vec()).collect();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = { runtime }.enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::from_std(listener).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    let acceptor = acceptor.clone();
                    tokio::spawn(async move {
                        if let Ok(stream) = acceptor.accept(stream).await {
                            serve(stream).await;
                        }
                    });
                }
            });
        });
        Secure { addr }
    }

    fn url(&self) -> String {
        format!("https://localhost:{}", self.addr.port())
    }

    /// A script that trusts the authority, with `U` and `http`.
    fn script(&self, options: Value, body: &str) -> Script {
        Script::new(&format!(
            "import http from 'k6/http';\nimport {{ check }} from 'k6';\nconst U = '{}';\n\
             export const options = {options};\nexport default function () {{\n{body}\n}}",
            self.url()
        ))
        .env("SSL_CERT_FILE", data("ca.pem").to_str().unwrap())
    }
}

/// Says who has come, by either protocol.
async fn serve(stream: TlsStream<TcpStream>) {
    let session = stream.get_ref().1;
    let client = session.peer_certificates().map(<[_]>::to_vec);
    let name = client.map_or_else(String::new, |chain| {
        let (_, certificate) = x509_parser::parse_x509_certificate(&chain[0]).unwrap();
        certificate.subject().to_string()
    });
    if session.alpn_protocol() == Some(b"h2") {
        return serve_http2(stream, name).await;
    }
    let mut stream = stream;
    let mut buffer = vec![0; 16_384];
    while let Ok(1..) = stream.read(&mut buffer).await {
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}",
            name.len()
        );
        if stream.write_all(head.as_bytes()).await.is_err() {
            break;
        }
    }
}

async fn serve_http2(stream: TlsStream<TcpStream>, name: String) {
    let Ok(mut connection) = h2::server::handshake(stream).await else {
        return;
    };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let path = request.uri().path().to_owned();
        match path.as_str() {
            "/reset" => respond.send_reset(Reason::ENHANCE_YOUR_CALM),
            "/refused" => respond.send_reset(Reason::REFUSED_STREAM),
            "/goaway" => connection.abrupt_shutdown(Reason::INADEQUATE_SECURITY),
            "/end" => return,
            _ => {
                let name = name.clone();
                tokio::spawn(async move { echo(request, respond, name).await });
            }
        }
    }
}

async fn echo(
    request: hyper::http::Request<h2::RecvStream>,
    mut respond: h2::server::SendResponse<Bytes>,
    name: String,
) {
    let (head, mut body) = request.into_parts();
    let mut length = 0;
    while let Some(Ok(part)) = body.data().await {
        length += part.len();
        let _ = body.flow_control().release_capacity(part.len());
    }
    let text = json!({
        "method": head.method.as_str(),
        "authority": head.uri.authority().map(|authority| authority.as_str()),
        "target": head.uri.path_and_query().map(|path| path.as_str()),
        "mine": head.headers.get("x-mine").map(|value| value.to_str().unwrap()),
        "length": length,
        "name": name,
        "filler": "x".repeat(if head.uri.path() == "/large" { 3 << 20 } else { 0 }),
    });
    let answer = hyper::http::Response::builder()
        .status(201)
        .header("x-back", "b")
        .body(())
        .unwrap();
    if let Ok(mut stream) = respond.send_response(answer, false) {
        let _ = stream.send_data(text.to_string().into(), true);
    }
}

#[test]
fn http2_is_spoken_where_the_server_can() {
    let server = Secure::start(OPEN);
    let ran = server
        .script(
            json!({}),
            r#"
          const r = http.post(`${U}/a/b?c=1`, 'x'.repeat(200000), { headers: { 'X-Mine': 'm', Host: 'other.test' } });
          check(r, {
            proto: (r) => r.proto === 'HTTP/2.0' && r.status_text === '201 Created' && r.headers['X-Back'] === 'b',
            sent: (r) => r.json('method') === 'POST' && r.json('target') === '/a/b?c=1' && r.json('mine') === 'm',
            host: (r) => r.json('authority') === 'other.test',
            body: (r) => r.json('length') === 200000,
            tls: (r) => r.tls_version === http.TLS_1_3 && r.tls_cipher_suite === 'TLS_AES_256_GCM_SHA384'
              || r.tls_cipher_suite === 'TLS_AES_128_GCM_SHA256',
            ocsp: (r) => r.ocsp.status === 'unknown' && r.ocsp.produced_at === 0,
            timings: (r) => r.timings.tls_handshaking > 0 && r.timings.waiting > 0,
            large: () => http.get(`${U}/large`).body.length > 3 << 20,
            reused: () => { const t = http.get(U).timings; return t.connecting === 0 && t.tls_handshaking === 0; },
            ip: (r) => r.remote_ip === '127.0.0.1',
          });
          const many = http.batch(Array.from({ length: 20 }, (_, i) => `${U}/${i}`));
          check(many, { batch: (m) => m.every((r, i) => r.json('target') === `/${i}`) });"#,
        )
        .args(["--out", "json=out.json"])
        .run()
        .all_checks_pass();
    let out = ran.text("out.json");
    assert!(out.contains(r#""proto":"HTTP/2.0""#) && out.contains(r#""tls_version":"tls1.3""#));
}

#[test]
fn http2_failures_have_their_codes_and_the_session_is_replaced() {
    let server = Secure::start(OPEN);
    server
        .script(
            json!({}),
            r#"
          const code = (path) => { const r = http.get(U + path); return `${r.error_code} ${r.error}`; };
          check(null, {
            stream: () => code('/reset') === '1642 http2: stream error with http2 ErrCode ENHANCE_YOUR_CALM',
            refused: () => code('/refused') === '1638 http2: stream error with http2 ErrCode REFUSED_STREAM',
            goaway: () => code('/goaway') === '1623 http2: received GoAway with http2 ErrCode INADEQUATE_SECURITY',
            after: () => http.get(U).status === 201,
            // An end of file, or a reset where our bytes met the closed socket.
            end: () => /^(1000|1220) /.test(code('/end')),
            'after that': () => http.get(U).status === 201,
          }) || console.log(code('/reset'), code('/refused'), code('/goaway'), code('/end'));"#,
        )
        .run()
        .all_checks_pass();
}

#[test]
fn http1_is_spoken_where_the_server_cannot_do_better() {
    let server = Secure::start(Terms {
        alpn: &[b"http/1.1"],
        ..OPEN
    });
    server
        .script(
            json!({ "tlsVersion": "tls1.2", "tlsCipherSuites": ["TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305"] }),
            r#"
          check(http.get(U), {
            proto: (r) => r.proto === 'HTTP/1.1' && r.status === 200,
            tls: (r) => r.tls_version === 'tls1.2' && r.tls_cipher_suite === 'TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305',
            again: () => http.get(U).timings.tls_handshaking === 0,
          });"#,
        )
        .run()
        .all_checks_pass();
}

#[test]
fn strangers_are_not_trusted_unless_the_script_says_so() {
    let server = Secure::start(OPEN);
    let port = server.addr.port();
    let wrong = format!(
        r#"
        const code = (url) => {{ const r = http.get(url); return `${{r.error_code}} ${{r.error}}`; }};
        check(null, {{ name: () => code('https://stranger.test:{port}/') === "1311 x509: certificate doesn't match hostname" }});"#
    );
    let hosts = json!({ "hosts": { "stranger.test": "127.0.0.1" } });
    server.script(hosts, &wrong).run().all_checks_pass();
    let unknown = r#"check(http.get(U), { code: (r) => r.error_code === 1310 && r.error === 'x509: unknown authority' });"#;
    let ran = server
        .script(json!({}), unknown)
        .env("SSL_CERT_FILE", "/dev/null")
        .run()
        .all_checks_pass();
    ran.says(&["tls: failed to verify certificate: x509: certificate signed by unknown authority"]);
    let any = "check(http.get(U), { status: (r) => r.status === 201 && r.error === '' });";
    server
        .script(json!({ "insecureSkipTLSVerify": true }), any)
        .env("SSL_CERT_FILE", "/dev/null")
        .run()
        .all_checks_pass();
}

#[test]
fn versions_that_do_not_meet_are_a_clear_failure() {
    let server = Secure::start(Terms {
        versions: NEWEST,
        ..OPEN
    });
    let old = "const r = http.get(U); check(r, { alert: (r) => r.error_code === 1010 && \
               r.error === 'remote error: tls: protocol version not supported' }) || console.log(r.error);";
    let options = json!({ "tlsVersion": { "max": "tls1.2" } });
    server.script(options, old).run().all_checks_pass();
    let ancient = "check(http.get(U), { none: (r) => r.error_code === 1300 });";
    let options = json!({ "tlsVersion": { "min": "tls1.0", "max": "tls1.1" } });
    server.script(options, ancient).run().all_checks_pass();
}

#[test]
fn client_certificates_are_shown_by_domain() {
    let server = Secure::start(Terms {
        closed: true,
        ..OPEN
    });
    let port = server.addr.port();
    let hosts = json!({ "a.example.test": "127.0.0.1", "b.example.test": "127.0.0.1" });
    let certificates = json!([
        { "cert": pem("client.pem"), "key": pem("client.key"), "domains": ["a.example.test"] },
        { "cert": pem("other.pem"), "key": pem("other.key"), "domains": ["*.example.test"] },
    ]);
    let body = format!(
        r#"
        check(null, {{
          exact: () => http.get('https://a.example.test:{port}/').json('name') === 'CN=client',
          wildcard: () => http.get('https://b.example.test:{port}/').json('name') === 'CN=other',
        }});"#
    );
    let options = json!({ "hosts": hosts, "tlsAuth": certificates });
    server.script(options, &body).run().all_checks_pass();
    let none = "const r = http.get(U); check(r, { refused: (r) => r.status === 0 && r.error_code === 1010 && \
                r.error === 'remote error: tls: certificate required' }) || console.log(r.error_code, r.error);";
    server.script(json!({}), none).run().all_checks_pass();
}
