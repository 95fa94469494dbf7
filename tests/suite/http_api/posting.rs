//! One message in: fields, rules, content types, what is given back.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::support::*;

const POST: &str = "/api/v1/messages";
const DAY_MS: i64 = 86_400_000;

fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_millis() as i64
}

#[test]
fn answer_has_the_five_fields_and_a_uuid_v7() {
    let relay = Relay::start();
    let before = now_ms();
    let answer = relay.accept_from("alice", "bob", "hello");
    let after = now_ms();
    let mut keys: Vec<&String> = answer.as_object().unwrap().keys().collect();
    keys.sort();
    let expected = [
        "duplicate",
        "message_id",
        "received_at",
        "sequence",
        "status",
    ];
    assert_eq!(keys, expected);
    let id = answer["message_id"].as_str().unwrap();
    assert_eq!(id.len(), 36, "{id}");
    assert_eq!(id.as_bytes()[14], b'7', "version 7: {id}");
    assert_eq!(answer["status"], "queued");
    assert_eq!(answer["duplicate"], false);
    assert!(answer["sequence"].as_i64().unwrap() >= 1);
    let received = answer["received_at"].as_i64().unwrap();
    assert!(
        (before..=after).contains(&received),
        "{before} <= {received} <= {after}"
    );
}

#[test]
fn stored_message_has_every_field_absent_ones_null() {
    let relay = Relay::start();
    relay.accept(json!({"id": "m1", "sender": "alice", "recipient": "bob", "content": "hi"}));
    let message = relay.message("m1");
    for (key, value) in [
        ("message_id", json!("m1")),
        ("id", json!("m1")),
        ("sender", json!("alice")),
        ("recipient", json!("bob")),
        ("channel", Value::Null),
        ("content", json!("hi")),
        ("timestamp", Value::Null),
        ("expires_at", Value::Null),
        ("status", json!("queued")),
        ("delivered_at", Value::Null),
    ] {
        assert_eq!(message.get(key), Some(&value), "{key} of {message}");
    }
    assert!(
        message["sequence"].is_i64() && message["received_at"].is_i64(),
        "{message}"
    );
}

#[test]
fn timestamp_of_the_sender_is_kept_and_never_orders() {
    let relay = Relay::start();
    let late = json!({"sender": "a", "recipient": "b", "content": "1", "timestamp": 2_000});
    let early = json!({"sender": "a", "recipient": "b", "content": "2", "timestamp": -7});
    relay.accept(late);
    relay.accept(early);
    let page = relay.page("user=b&after=0");
    let kept: Vec<&Value> = page.iter().map(|message| &message["timestamp"]).collect();
    assert_eq!(kept, [&json!(2_000), &json!(-7)]);
}

#[test]
fn message_with_nobody_to_wait_for_is_delivered_at_once() {
    let relay = Relay::start();
    let plain = relay.accept(json!({"sender": "a", "content": "x"}));
    let channel = relay.accept(json!({"sender": "a", "channel": "room", "content": "x"}));
    for answer in [plain, channel] {
        assert_eq!(answer["status"], "delivered");
        let message = relay.message(answer["message_id"].as_str().unwrap());
        let delivered = message["delivered_at"]
            .as_i64()
            .expect("delivered_at is set");
        assert_eq!(
            message["expires_at"],
            delivered + 30 * DAY_MS,
            "retention: {message}"
        );
    }
}

#[test]
fn ttl_counts_from_receipt() {
    let relay = Relay::start();
    let answer =
        relay.accept(json!({"sender": "a", "recipient": "b", "content": "x", "ttl_seconds": 3600}));
    let message = relay.message(answer["message_id"].as_str().unwrap());
    let received = message["received_at"].as_i64().unwrap();
    assert_eq!(message["expires_at"], received + 3_600_000);
}

#[test]
fn longest_ttl_is_accepted() {
    let relay = Relay::start();
    relay.accept(json!({"sender": "a", "content": "x", "ttl_seconds": 3_153_600_000_u64}));
}

#[test]
fn expired_message_is_gone_everywhere() {
    let relay = Relay::start();
    relay.accept(
        json!({"id": "brief", "sender": "a", "recipient": "b", "content": "x", "ttl_seconds": 1}),
    );
    eventually("the message expires", || {
        (relay.get("/api/v1/messages/brief").status == 404).then_some(())
    });
    relay
        .get("/api/v1/messages/brief")
        .refused(404, "MESSAGE_NOT_FOUND");
    assert_eq!(relay.page("user=b&after=0"), [] as [Value; 0]);
    assert_eq!(relay.page("user=b&status=queued"), [] as [Value; 0]);
}

#[test]
fn other_fields_come_back_byte_for_byte() {
    let relay = Relay::start();
    let number = "1.00000000000000000000000000000000000001";
    let nested = r#"{"b":1,  "a":[1e400,"\u00e9"],"b":2}"#;
    let body = format!(
        r#"{{"id":"x","sender":"a","content":"c","precise":{number},"nested":{nested},"type":"text"}}"#
    );
    relay.post_text(POST, body).expect(200);
    let text = relay.get("/api/v1/messages/x").expect(200).text();
    assert!(text.contains(&format!("\"precise\":{number}")), "{text}");
    assert!(text.contains(&format!("\"nested\":{nested}")), "{text}");
    assert!(text.contains(r#""type":"text""#), "{text}");
}

#[test]
fn names_that_the_relay_sets_are_ignored() {
    let relay = Relay::start();
    let answer = relay.accept(json!({
        "sender": "a", "recipient": "b", "content": "c", "message_id": "forged", "sequence": 999_999,
        "status": "delivered", "received_at": 1, "expires_at": 2, "delivered_at": 3,
    }));
    assert_ne!(answer["message_id"], "forged");
    let text = relay.get(&format!(
        "/api/v1/messages/{}",
        answer["message_id"].as_str().unwrap()
    ));
    let text = text.expect(200).text();
    assert_eq!(text.matches("\"sequence\"").count(), 1, "{text}");
    let message: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(message["sequence"], answer["sequence"]);
    assert_eq!(message["status"], "queued");
    assert_eq!(message["delivered_at"], Value::Null);
}

#[test]
fn null_equals_absent() {
    let relay = Relay::start();
    let answer = relay.accept(json!({
        "id": null, "sender": "a", "recipient": null, "channel": "c", "content": "x",
        "timestamp": null, "ttl_seconds": null,
    }));
    assert_eq!(answer["message_id"].as_str().unwrap().len(), 36);
    let body = json!({"sender": null, "content": "x"});
    let error = relay.post(POST, &body).refused(400, "INVALID_MESSAGE");
    assert_eq!(error["field"], "sender");
}

#[test]
fn names_take_128_scalars_of_any_script() {
    let relay = Relay::start();
    let name = "é𝄞".repeat(64);
    relay.accept(json!({"sender": name, "recipient": name, "id": name, "content": "\u{0}\n🦀"}));
    let encoded: String = name.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let message = relay.message(&encoded);
    assert_eq!(message["recipient"], name);
    assert_eq!(message["content"], "\u{0}\n🦀");
    assert_eq!(relay.page(&format!("user={encoded}&after=0")).len(), 1);
}

#[test]
fn ids_in_paths_are_decoded_exactly_once() {
    let relay = Relay::start();
    for (id, path) in [
        ("a/b", "a%2Fb"),
        ("50%", "50%25"),
        ("a%2Fb", "a%252Fb"),
        ("a b", "a%20b"),
    ] {
        relay.accept(json!({"id": id, "sender": "a", "content": id}));
        assert_eq!(relay.message(path)["content"], id);
    }
}

#[test]
fn each_broken_rule_names_its_field() {
    let relay = Relay::start();
    let long = "x".repeat(129);
    let mut client = relay.client();
    for (field, change) in [
        ("sender", json!({"sender": ""})),
        ("sender", json!({"sender": 5})),
        ("sender", json!({"sender": long})),
        ("sender", json!({"sender": "a\u{7}b"})),
        ("sender", json!({"sender": "a\u{85}b"})),
        ("recipient", json!({"recipient": ""})),
        ("recipient", json!({"recipient": long})),
        ("recipient", json!({"recipient": ["a"]})),
        ("channel", json!({"channel": "tab\there"})),
        ("channel", json!({"channel": true})),
        ("id", json!({"id": ""})),
        ("id", json!({"id": long})),
        ("id", json!({"id": 17})),
        ("content", json!({"content": ""})),
        ("content", json!({"content": null})),
        ("content", json!({"content": {"text": "x"}})),
        ("timestamp", json!({"timestamp": "yesterday"})),
        ("timestamp", json!({"timestamp": 1.5})),
        ("ttl_seconds", json!({"ttl_seconds": 0})),
        ("ttl_seconds", json!({"ttl_seconds": -1})),
        ("ttl_seconds", json!({"ttl_seconds": 1.5})),
        ("ttl_seconds", json!({"ttl_seconds": "60"})),
        ("ttl_seconds", json!({"ttl_seconds": 3_153_600_001_u64})),
    ] {
        let mut body = json!({"sender": "a", "content": "c"});
        body.as_object_mut()
            .unwrap()
            .extend(change.as_object().unwrap().clone());
        let error = client.post(POST, &body).refused(400, "INVALID_MESSAGE");
        assert_eq!(error["field"], field, "{body} -> {error}");
    }
}

#[test]
fn recipient_and_channel_exclude_each_other() {
    let relay = Relay::start();
    let body = json!({"sender": "a", "recipient": "b", "channel": "c", "content": "x"});
    let error = relay.post(POST, &body).refused(400, "INVALID_MESSAGE");
    assert!(
        error["field"] == "channel" || error["field"] == "recipient",
        "{error}"
    );
}

#[test]
fn more_than_16_other_fields_are_refused() {
    let relay = Relay::start();
    let mut body = json!({"sender": "a", "content": "c"});
    for n in 0..16 {
        body[format!("extra{n}")] = json!(n);
    }
    relay.accept(body.clone());
    body["extra16"] = json!(16);
    relay.post(POST, &body).refused(400, "INVALID_MESSAGE");
}

#[test]
fn other_fields_above_8_kib_are_refused() {
    let relay = Relay::start();
    let body = |bytes: usize| json!({"sender": "a", "content": "c", "note": "n".repeat(bytes)});
    relay.accept(body(8 * 1024 - 64));
    let answer = relay.post(POST, &body(8 * 1024 + 1));
    assert!(
        matches!(answer.status, 400 | 413),
        "{}: {}",
        answer.status,
        answer.text()
    );
}

#[test]
fn content_above_its_limit_is_413_with_both_numbers() {
    let relay = Relay::setup().limit("content_bytes_max", "1KiB").start();
    let body = |bytes: usize| json!({"sender": "a", "content": "x".repeat(bytes)});
    relay.accept(body(1024));
    let error = relay.post(POST, &body(1025)).refused(413, "TOO_LARGE");
    assert_eq!(error["field"], "content");
    assert_eq!(error["message"], "content is 1025 bytes; the limit is 1024");
}

#[test]
fn content_limit_is_64_kib_by_default() {
    let relay = Relay::start();
    // Every byte escaped: the body is six times its content.
    let escaped = "\\u0041".repeat(65_536);
    let body = format!(r#"{{"sender":"a","content":"{escaped}"}}"#);
    relay.post_text(POST, body).expect(200);
    let body = json!({"sender": "a", "content": "x".repeat(65_537)});
    relay.post(POST, &body).refused(413, "TOO_LARGE");
}

#[test]
fn body_is_json_under_the_types_that_plain_clients_send() {
    let relay = Relay::start();
    let body = br#"{"sender":"a","content":"x"}"#;
    relay.request("POST", POST).untyped(body).send().expect(200);
    for kind in [
        "application/json",
        "application/json; charset=utf-8",
        "APPLICATION/JSON",
        "text/plain",
        "text/plain;charset=UTF-8",
        "application/x-www-form-urlencoded",
    ] {
        relay
            .request("POST", POST)
            .body(kind, body)
            .send()
            .expect(200);
    }
    for kind in [
        "text/html",
        "application/xml",
        "multipart/form-data; boundary=x",
    ] {
        let answer = relay.request("POST", POST).body(kind, body).send();
        answer.refused(415, "UNSUPPORTED_MEDIA_TYPE");
    }
}

#[test]
fn chunked_body_is_accepted() {
    let relay = Relay::start();
    let answer = relay
        .request("POST", POST)
        .header("Transfer-Encoding", "chunked")
        .body(
            "application/json",
            b"e\r\n{\"sender\":\"a\",\r\n10\r\n \"content\": \"x\"}\r\n0\r\n\r\n",
        )
        .send();
    answer.expect(200);
}

#[test]
fn sequence_ascends_strictly_over_the_whole_relay() {
    let relay = Relay::start();
    let mut client = relay.client();
    let mut last = 0;
    for n in 0..20 {
        let body = json!({"sender": "a", "recipient": format!("user{}", n % 3), "content": "x"});
        let answer = client.post(POST, &body).expect(200).json();
        let sequence = answer["sequence"].as_i64().unwrap();
        assert!(sequence > last, "{sequence} > {last}");
        last = sequence;
    }
}
