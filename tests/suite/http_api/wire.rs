//! HTTP/1.1 as plain clients, proxies and load generators speak it.

use std::io::{BufReader, Read, Write};

use crate::support::http::{connect, read_response};
use crate::support::*;

#[test]
fn pipelined_requests_are_answered_in_order() {
    let relay = Relay::start();
    let mut stream = connect(relay.addr()).unwrap();
    let mut requests = String::new();
    for n in 0..50 {
        let body = json!({"id": format!("m{n}"), "sender": "a", "content": "x"}).to_string();
        requests.push_str(&format!(
            "POST /api/v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ));
    }
    stream.write_all(requests.as_bytes()).unwrap();
    let mut reader = BufReader::new(stream);
    for n in 0..50 {
        let answer = read_response(&mut reader, false)
            .unwrap()
            .expect(200)
            .json();
        assert_eq!(answer["message_id"], format!("m{n}"));
    }
}

#[test]
fn expectation_of_a_continue_is_met() {
    let relay = Relay::start();
    let mut stream = connect(relay.addr()).unwrap();
    let body = br#"{"sender":"a","content":"x"}"#;
    let head = format!(
        "POST /api/v1/messages HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).unwrap();
    assert!(
        interim.starts_with(b"HTTP/1.1 100"),
        "{}",
        String::from_utf8_lossy(&interim)
    );
    stream.write_all(body).unwrap();
    read_response(&mut BufReader::new(stream), false)
        .unwrap()
        .expect(200);
}

#[test]
fn refused_expectation_is_answered_without_the_body() {
    let relay = Relay::start();
    let head = "POST /api/v1/messages HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n\
                Content-Length: 99999999\r\n\r\n";
    relay.raw(head).refused(413, "TOO_LARGE");
}

#[test]
fn old_clients_without_a_host_may_still_probe() {
    let relay = Relay::start();
    relay.raw("GET /health HTTP/1.0\r\n\r\n").expect(200);
    relay
        .raw("GET /api/v1/status HTTP/1.0\r\n\r\n")
        .refused(403, "FORBIDDEN");
    relay
        .raw("GET /api/v1/status HTTP/1.0\r\nHost: localhost\r\n\r\n")
        .expect(200);
}

#[test]
fn target_may_be_in_absolute_form() {
    let relay = Relay::start();
    let request = format!(
        "GET {}/health HTTP/1.1\r\nHost: {}\r\n\r\n",
        relay.url(),
        relay.addr()
    );
    assert_eq!(relay.raw(request).expect(200).json()["service"], "dchat");
}

#[test]
fn head_with_very_many_fields_is_refused_not_fatal() {
    let relay = Relay::start();
    let fields = "X-A: b\r\n".repeat(2_000);
    let answer = relay.raw(format!(
        "GET /health HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n"
    ));
    assert_eq!(answer.status, 431);
    relay.get("/health").expect(200);
}

#[test]
fn body_that_ends_early_stores_nothing() {
    let relay = Relay::start();
    let mut stream = connect(relay.addr()).unwrap();
    let head = "POST /api/v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60\r\n\r\n";
    let body = r#"{"sender":"a","content":"x"}"#;
    write!(stream, "{head}{body}").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 400"),
        "{answer}"
    );
    assert_eq!(relay.page("user=a"), [] as [Value; 0]);
}

#[test]
fn assets_never_leave_their_directory() {
    let relay = Relay::start();
    for path in [
        "/assets/../Cargo.toml",
        "/assets/..%2fCargo.toml",
        "/assets/.git",
        "/assets/none.js",
    ] {
        let answer = relay.get(path);
        assert_eq!(answer.status, 404, "{path}: {}", answer.text());
    }
}

#[test]
fn two_hundred_connections_at_once_are_served() {
    let relay = Relay::start();
    let mut clients: Vec<Client> = (0..200).map(|_| relay.client()).collect();
    for client in &mut clients {
        client.get("/health").expect(200);
    }
    for client in &mut clients {
        client.get("/ready").expect(200);
    }
    assert!(relay.status()["connections"]["open"].as_u64() >= Some(200));
}
