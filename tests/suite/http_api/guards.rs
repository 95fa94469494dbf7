//! Open mode: Host, Origin, Sec-Fetch-Site, and the loopback rule.

use crate::support::ws::Socket;
use crate::support::*;
use tokio_tungstenite::tungstenite::Error;

/// Every kind of route but the two probes that stay open to all.
const GUARDED: [&str; 6] = [
    "/",
    "/metrics",
    "/openapi.json",
    "/api/v1/status",
    "/api/v1/messages?user=a",
    "/api/v1/runs",
];

#[test]
fn foreign_host_is_forbidden_everywhere_but_on_the_probes() {
    let relay = Relay::start();
    for path in GUARDED {
        for host in [
            "evil.example",
            "evil.example:7071",
            "10.1.2.3",
            "localhost.evil.example",
        ] {
            let answer = relay.request("GET", path).header("Host", host).send();
            answer.refused(403, "FORBIDDEN");
        }
    }
    for path in ["/health", "/ready"] {
        relay
            .request("GET", path)
            .header("Host", "evil.example")
            .send()
            .expect(200);
    }
}

#[test]
fn loopback_names_are_allowed_hosts() {
    let relay = Relay::start();
    let port = relay.addr().port();
    for host in ["localhost", "127.0.0.1", "[::1]", "LOCALHOST", "127.0.0.9"] {
        for host in [host.to_owned(), format!("{host}:{port}")] {
            let answer = relay
                .request("GET", "/api/v1/status")
                .header("Host", &host)
                .send();
            assert_eq!(answer.status, 200, "{host}: {}", answer.text());
        }
    }
}

#[test]
fn foreign_origin_is_forbidden() {
    let relay = Relay::start();
    let other_port = format!("http://{}:1", relay.addr().ip());
    let body = br#"{"sender":"a","content":"x"}"#;
    for origin in ["http://evil.example", "null", "file://", &other_port] {
        let get = relay
            .request("GET", "/api/v1/status")
            .header("Origin", origin)
            .send();
        get.refused(403, "FORBIDDEN");
        let post = relay
            .request("POST", "/api/v1/messages")
            .header("Origin", origin);
        post.body("text/plain", body)
            .send()
            .refused(403, "FORBIDDEN");
        relay
            .request("GET", "/health")
            .header("Origin", origin)
            .send()
            .expect(200);
    }
    assert_eq!(relay.page("user=a"), [] as [Value; 0]);
}

#[test]
fn own_origin_is_allowed() {
    let relay = Relay::start();
    let origin = relay.url();
    relay
        .request("GET", "/api/v1/status")
        .header("Origin", &origin)
        .send()
        .expect(200);
}

#[test]
fn cross_site_fetch_is_forbidden() {
    let relay = Relay::start();
    let ask = |path: &str, site: &str| {
        relay
            .request("GET", path)
            .header("Sec-Fetch-Site", site)
            .send()
    };
    for path in GUARDED {
        ask(path, "cross-site").refused(403, "FORBIDDEN");
    }
    ask("/health", "cross-site").expect(200);
    for site in ["same-origin", "none"] {
        ask("/api/v1/status", site).expect(200);
    }
}

#[test]
fn web_page_elsewhere_cannot_open_a_socket_or_stream() {
    let relay = Relay::start();
    for headers in [
        [("Origin", "http://evil.example")],
        [("Sec-Fetch-Site", "cross-site")],
        [("Host", "evil.example")],
    ] {
        match Socket::try_open(relay.addr(), "/api/v1/ws", &headers).map(|_| ()) {
            Err(error) => match *error {
                Error::Http(answer) => assert_eq!(answer.status(), 403, "{headers:?}"),
                other => panic!("{headers:?}: {other}"),
            },
            Ok(()) => panic!("{headers:?} was let in"),
        }
        let (name, value) = headers[0];
        let stream = relay
            .request("GET", "/api/v1/stream?user=a")
            .header(name, value)
            .send();
        stream.refused(403, "FORBIDDEN");
    }
}

#[test]
fn no_answer_allows_other_origins_to_read_it() {
    let relay = Relay::start();
    for path in ["/health", "/api/v1/status", "/metrics"] {
        let answer = relay.get(path);
        assert_eq!(answer.header("access-control-allow-origin"), None, "{path}");
    }
}

#[test]
fn open_said_in_words_takes_any_host_but_no_foreign_origin() {
    let relay = Relay::with(["--open"]).start();
    let named = relay
        .request("GET", "/api/v1/status")
        .header("Host", "relay.lan:7071");
    named.send().expect(200);
    let foreign = relay
        .request("GET", "/api/v1/status")
        .header("Origin", "http://evil.example");
    foreign.send().refused(403, "FORBIDDEN");
}

#[test]
fn address_off_loopback_needs_open_in_words() {
    let setup = Relay::with(["--bind", "0.0.0.0"]);
    let mut process = setup.spawn();
    let code = process.ended_within(SOON);
    assert_ne!(code, 0);
    let stderr = process.stderr();
    assert!(
        stderr.contains("0.0.0.0") && stderr.contains("--open"),
        "{stderr}"
    );
    assert!(
        !setup.dir().join("messages.db").exists(),
        "nothing was opened"
    );
}
