//! Each row of the error table that is not another module's promise.
//!
//! `backpressure` reaches 503 `OVERLOADED` and a really full disk, `shutdown` 503 `DRAINING`,
//! `results_api` `INVALID_RUN` and `RUN_NOT_FOUND`. 401, 403 by role, 429 and 409 for a knob
//! have no code yet that could answer them.

use std::io::{Read, Write};

use crate::support::http::connect;
use crate::support::*;

const POST: &str = "/api/v1/messages";

#[test]
fn broken_json_is_told_with_line_and_column() {
    let relay = Relay::start();
    let error = relay.post_text(POST, "{\"sender\":\"a\",\n  \"content\" \"x\"}");
    let error = error.refused(400, "INVALID_JSON");
    let message = error["message"].as_str().unwrap();
    assert!(
        message.contains("line 2") && message.contains("column 13"),
        "{message}"
    );
}

#[test]
fn what_is_no_json_is_refused() {
    let relay = Relay::start();
    for body in [
        &b""[..],
        b"{",
        b"{\"sender\":\"a\",\"content\":\"x\"} trailing",
        b"{\"sender\":\"a\",\"content\":\"\xff\"}",
        b"{\"sender\":\"a\",\"content\":\"\\ud800\"}",
        b"{\"sender\":\"a\",\"content\":\"x\",\"extra\":\"\xc3\x28\"}",
        b"{\"sender\":\"a\",\"content\":\"x\",}",
        b"{sender:\"a\"}",
    ] {
        let answer = relay.post_text(POST, body);
        assert_eq!(answer.status, 400, "{}", String::from_utf8_lossy(body));
        answer.refused(400, "INVALID_JSON");
    }
}

#[test]
fn duplicate_top_level_keys_are_invalid_json() {
    let relay = Relay::start();
    for body in [
        r#"{"sender":"a","sender":"b","content":"x"}"#,
        r#"{"sender":"a","content":"x","note":1,"note":2}"#,
        r#"{"sender":"a","\u0073ender":"b","content":"x"}"#,
    ] {
        relay.post_text(POST, body).refused(400, "INVALID_JSON");
    }
}

#[test]
fn json_that_is_no_object_is_no_message() {
    let relay = Relay::start();
    for body in ["[]", "null", "\"text\"", "17", "true"] {
        let answer = relay.post_text(POST, body);
        assert_eq!(answer.status, 400, "{body}: {}", answer.text());
    }
}

#[test]
fn deep_nesting_is_refused_not_fatal() {
    let relay = Relay::start();
    let deep = format!(
        r#"{{"sender":"a","content":"x","deep":{}"#,
        "[".repeat(100_000)
    );
    let answer = relay.post_text(POST, deep);
    assert!(matches!(answer.status, 400 | 413), "{}", answer.status);
    relay.get("/health").expect(200);
}

#[test]
fn unknown_path_is_not_found_whatever_the_method() {
    let relay = Relay::start();
    for path in [
        "/nothing",
        "/api/v1/nothing",
        "/api/v2/messages",
        "/api/v1/messages/a/b",
    ] {
        for method in ["GET", "POST", "DELETE", "PUT"] {
            relay.request(method, path).send().refused(404, "NOT_FOUND");
        }
    }
}

#[test]
fn known_path_with_another_method_is_405_with_allow() {
    let relay = Relay::start();
    for (method, path, allowed) in [
        ("PUT", "/api/v1/messages", &["GET", "POST"][..]),
        ("DELETE", "/api/v1/messages", &["GET", "POST"]),
        ("POST", "/api/v1/messages/some-id", &["GET", "DELETE"]),
        ("PATCH", "/api/v1/messages/some-id", &["GET", "DELETE"]),
        ("PUT", "/api/v1/messages/batch", &["POST"]),
        ("PUT", "/api/v1/messages/ack", &["POST"]),
        ("POST", "/health", &["GET"]),
        ("POST", "/ready", &["GET"]),
        ("DELETE", "/metrics", &["GET"]),
        ("POST", "/api/v1/status", &["GET"]),
        ("POST", "/openapi.json", &["GET"]),
        ("POST", "/api/v1/stream?user=a", &["GET"]),
        ("PUT", "/api/v1/runs", &["GET", "POST"]),
    ] {
        let answer = relay.request(method, path).send();
        answer.refused(405, "METHOD_NOT_ALLOWED");
        let allow = answer.header("allow").unwrap_or_default();
        let named: Vec<&str> = allow.split(',').map(str::trim).collect();
        for wanted in allowed {
            assert!(named.contains(wanted), "{method} {path}: Allow: {allow}");
        }
        assert!(!named.contains(&method), "{method} {path}: Allow: {allow}");
    }
}

#[test]
fn slow_body_is_request_timeout() {
    let relay = Relay::setup().limit("body_timeout", "300ms").start();
    let head = format!(
        "POST {POST} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: 40\r\n\r\n{{\"sender\"",
        relay.addr()
    );
    relay.raw(head).refused(408, "REQUEST_TIMEOUT");
    assert_eq!(relay.page("user=a"), [] as [Value; 0]);
}

#[test]
fn slow_head_gets_at_most_a_bare_status_and_a_close() {
    let relay = Relay::setup().limit("head_timeout", "300ms").start();
    let mut stream = connect(relay.addr()).unwrap();
    stream
        .write_all(b"GET /health HTTP/1.1\r\nHost: 127.")
        .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("the relay closes");
    let answer = String::from_utf8_lossy(&answer);
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 408"),
        "{answer}"
    );
}

#[test]
fn broken_head_gets_at_most_a_bare_status_and_a_close() {
    let relay = Relay::start();
    for head in [
        "GARBAGE\r\n\r\n",
        "GET  HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nbad header\r\n\r\n",
    ] {
        let mut stream = connect(relay.addr()).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("the relay closes");
        let answer = String::from_utf8_lossy(&answer);
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 400"),
            "{head:?}: {answer}"
        );
    }
    relay.get("/health").expect(200);
}

#[test]
fn body_above_its_limit_is_too_large_however_it_is_framed() {
    let relay = Relay::setup().limit("body_bytes_max", "4KiB").start();
    let body = json!({"sender": "a", "content": "x".repeat(5_000)}).to_string();
    relay.post_text(POST, &body).refused(413, "TOO_LARGE");
    let chunked = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let answer = relay
        .request("POST", POST)
        .header("Transfer-Encoding", "chunked")
        .body("application/json", chunked.as_bytes())
        .send();
    answer.refused(413, "TOO_LARGE");
    assert_eq!(relay.page("user=a"), [] as [Value; 0]);
}

#[test]
fn announced_body_above_its_limit_is_refused_before_it_is_sent() {
    let relay = Relay::start();
    let head = format!(
        "POST {POST} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: 99999999\r\n\r\n",
        relay.addr()
    );
    relay.raw(head).refused(413, "TOO_LARGE");
}

#[test]
fn other_media_types_are_unsupported() {
    let relay = Relay::start();
    let body = br#"{"sender":"a","content":"x"}"#;
    let answer = relay
        .request("POST", POST)
        .body("application/cbor", body)
        .send();
    answer.refused(415, "UNSUPPORTED_MEDIA_TYPE");
}

#[test]
fn head_above_16_kib_is_431() {
    let relay = Relay::start();
    let filler = "x".repeat(17 * 1024);
    let answer = relay
        .request("GET", "/api/v1/status")
        .header("X-Filler", &filler)
        .send();
    answer.refused(431, "HEADERS_TOO_LARGE");
    let answer = relay
        .request("GET", &format!("/api/v1/messages?user={filler}"))
        .send();
    answer.refused(431, "HEADERS_TOO_LARGE");
    let fits = "x".repeat(15 * 1024);
    relay
        .request("GET", "/api/v1/status")
        .header("X-Filler", &fits)
        .send()
        .expect(200);
}

#[test]
fn below_the_free_disk_floor_posts_are_507_and_the_rest_goes_on() {
    let mut relay = Relay::start();
    for id in ["kept", "deleted"] {
        relay.accept(json!({"id": id, "sender": "a", "recipient": "b", "content": "x"}));
    }
    relay.stop();
    // More than any disk that this runs on has free.
    relay.restart_with(["--limit", "free_disk_floor_bytes=1000GiB"]);
    let message = json!({"sender": "a", "recipient": "b", "content": "y"});
    relay.post(POST, &message).refused(507, "STORAGE_FULL");
    let batch = json!({"messages": [message]});
    relay
        .post("/api/v1/messages/batch", &batch)
        .refused(507, "STORAGE_FULL");
    assert_eq!(relay.page("user=b&after=0").len(), 2);
    relay.delete("/api/v1/messages/deleted").expect(204);
    let ack = json!({"user": "b", "ids": ["kept"]});
    assert_eq!(
        relay.post("/api/v1/messages/ack", &ack).expect(200).json()["acknowledged"],
        1
    );
    let health = relay.get("/health").expect(503).json();
    assert_eq!(health["status"], "degraded");
    assert!(
        !health["reason"].as_str().unwrap_or_default().is_empty(),
        "{health}"
    );
    relay.get("/ready").expect(200);
}

#[test]
fn request_id_of_an_error_is_new_each_time() {
    let relay = Relay::start();
    let one = relay.get("/nothing").refused(404, "NOT_FOUND");
    let two = relay.get("/nothing").refused(404, "NOT_FOUND");
    assert_ne!(one["request_id"], two["request_id"]);
}

#[test]
fn connection_stays_usable_after_an_error() {
    let relay = Relay::start();
    let mut client = relay.client();
    client.get("/nothing").refused(404, "NOT_FOUND");
    client
        .post(POST, &json!({}))
        .refused(400, "INVALID_MESSAGE");
    client.get("/health").expect(200);
}
