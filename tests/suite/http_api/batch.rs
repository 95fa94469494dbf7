//! All or nothing for up to 1,000 messages.

use crate::support::*;

const BATCH: &str = "/api/v1/messages/batch";

fn item(n: usize) -> Value {
    json!({"id": format!("m{n}"), "sender": "alice", "recipient": "bob", "content": format!("{n}")})
}

fn batch(items: impl IntoIterator<Item = Value>) -> Value {
    json!({"messages": items.into_iter().collect::<Vec<_>>()})
}

#[test]
fn answers_stand_in_the_order_of_the_items() {
    let relay = Relay::start();
    let answer = relay
        .post(BATCH, &batch((0..50).map(item)))
        .expect(200)
        .json();
    let results = answer["results"].as_array().unwrap();
    assert_eq!(results.len(), 50);
    let mut last = 0;
    for (n, result) in results.iter().enumerate() {
        assert_eq!(result["message_id"], format!("m{n}"));
        assert_eq!(result["duplicate"], false);
        assert_eq!(result["status"], "queued");
        let sequence = result["sequence"].as_i64().unwrap();
        assert!(sequence > last);
        last = sequence;
    }
    let stored = relay.page("user=bob&after=0");
    assert_eq!(stored.len(), 50);
    assert_eq!(stored[17]["content"], "17");
}

#[test]
fn one_to_a_thousand_messages_are_taken() {
    let relay = Relay::start();
    relay.post(BATCH, &batch((0..1).map(item))).expect(200);
    relay.post(BATCH, &batch((0..1000).map(item))).expect(200);
    assert_eq!(relay.all("user=bob").len(), 1000);
    let empty = relay.post(BATCH, &batch([]));
    assert_eq!(empty.status, 400, "{}", empty.text());
    let many = relay.post(BATCH, &batch((0..1001).map(item)));
    assert!(matches!(many.status, 400 | 413), "{}", many.text());
    assert_eq!(many.json()["field"], "messages");
}

#[test]
fn one_invalid_item_refuses_all_and_is_named() {
    let relay = Relay::start();
    let mut items: Vec<Value> = (0..20).map(item).collect();
    items[17]["content"] = json!("");
    let error = relay
        .post(BATCH, &batch(items))
        .refused(400, "INVALID_MESSAGE");
    assert_eq!(error["field"], "messages[17].content");
    assert_eq!(relay.page("user=bob&after=0"), [] as [Value; 0]);
}

#[test]
fn one_item_too_large_refuses_all_and_is_named() {
    let relay = Relay::setup().limit("content_bytes_max", "100B").start();
    let mut items: Vec<Value> = (0..3).map(item).collect();
    items[2]["content"] = json!("x".repeat(101));
    let error = relay.post(BATCH, &batch(items)).refused(413, "TOO_LARGE");
    assert_eq!(error["field"], "messages[2].content");
    assert_eq!(relay.page("user=bob&after=0"), [] as [Value; 0]);
}

#[test]
fn one_conflicting_item_refuses_all_and_is_named() {
    let relay = Relay::start();
    relay.accept(json!({"id": "m3", "sender": "carol", "recipient": "bob", "content": "first"}));
    let error = relay
        .post(BATCH, &batch((0..5).map(item)))
        .refused(409, "CONFLICT");
    let field = error["field"].as_str().unwrap();
    assert!(field.starts_with("messages[3]"), "{field}");
    assert_eq!(relay.page("user=bob&after=0").len(), 1);
}

#[test]
fn duplicate_stored_or_earlier_in_the_batch_is_no_error() {
    let relay = Relay::start();
    let stored = relay.accept(item(1));
    let answer = relay
        .post(BATCH, &batch([item(0), item(1), item(0)]))
        .expect(200)
        .json();
    let results = answer["results"].as_array().unwrap();
    assert_eq!(results[0]["duplicate"], false);
    assert_eq!(results[1]["duplicate"], true);
    assert_eq!(results[1]["sequence"], stored["sequence"]);
    assert_eq!(results[2]["duplicate"], true);
    assert_eq!(results[2]["sequence"], results[0]["sequence"]);
    assert_eq!(relay.page("user=bob&after=0").len(), 2);
}

#[test]
fn same_id_with_two_contents_in_one_batch_conflicts() {
    let relay = Relay::start();
    let mut other = item(0);
    other["content"] = json!("different");
    relay
        .post(BATCH, &batch([item(0), other]))
        .refused(409, "CONFLICT");
    relay
        .get("/api/v1/messages/m0")
        .refused(404, "MESSAGE_NOT_FOUND");
}

#[test]
fn batch_body_may_be_8_mib_and_no_more() {
    let relay = Relay::start();
    let big = |n: usize| {
        let mut message = item(n);
        message["content"] = json!("x".repeat(60_000));
        message
    };
    relay.post(BATCH, &batch((0..130).map(big))).expect(200);
    relay
        .post(BATCH, &batch((200..340).map(big)))
        .refused(413, "TOO_LARGE");
    assert_eq!(relay.all("user=bob").len(), 130);
}

#[test]
fn what_is_no_batch_is_refused() {
    let relay = Relay::start();
    for body in [
        "[]",
        "{}",
        r#"{"messages":{}}"#,
        r#"{"messages":[1]}"#,
        "null",
        "7",
    ] {
        let answer = relay.post_text(BATCH, body);
        assert_eq!(answer.status, 400, "{body}: {}", answer.text());
    }
    let error = relay
        .post_text(BATCH, "{\"messages\":[\n{]}")
        .refused(400, "INVALID_JSON");
    let message = error["message"].as_str().unwrap();
    assert!(
        message.contains("line 2") && message.contains("column"),
        "{message}"
    );
}
