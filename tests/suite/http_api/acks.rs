//! Acknowledging and deleting: who changes, what is answered, what goes away.

use crate::support::*;

const ACK: &str = "/api/v1/messages/ack";

fn three(relay: &Relay) -> Vec<Value> {
    ["a", "b", "c"]
        .iter()
        .map(|id| {
            relay.accept(json!({"id": id, "sender": "alice", "recipient": "bob", "content": "x"}))
        })
        .collect()
}

#[test]
fn ack_by_ids_delivers_those_and_no_others() {
    let relay = Relay::start();
    three(&relay);
    let answer = relay
        .post(ACK, &json!({"user": "bob", "ids": ["a", "c"]}))
        .expect(200)
        .json();
    assert_eq!(answer, json!({"acknowledged": 2}));
    let statuses: Vec<Value> = ["a", "b", "c"]
        .iter()
        .map(|id| relay.message(id)["status"].clone())
        .collect();
    assert_eq!(
        statuses,
        [json!("delivered"), json!("queued"), json!("delivered")]
    );
}

#[test]
fn delivered_message_shows_when_and_until_when() {
    let relay = Relay::start();
    three(&relay);
    relay
        .post(ACK, &json!({"user": "bob", "ids": ["a"]}))
        .expect(200);
    let message = relay.message("a");
    let delivered = message["delivered_at"].as_i64().unwrap();
    assert!(delivered >= message["received_at"].as_i64().unwrap());
    assert_eq!(message["expires_at"], delivered + 30 * 86_400_000_i64);
}

#[test]
fn ack_up_to_a_sequence_includes_it() {
    let relay = Relay::start();
    let sent = three(&relay);
    let body = json!({"user": "bob", "up_to": sent[1]["sequence"]});
    assert_eq!(relay.post(ACK, &body).expect(200).json()["acknowledged"], 2);
    assert_eq!(relay.message("b")["status"], "delivered");
    assert_eq!(relay.message("c")["status"], "queued");
}

#[test]
fn repeated_ack_acknowledges_nothing_more() {
    let relay = Relay::start();
    let sent = three(&relay);
    for body in [
        json!({"user": "bob", "ids": ["a", "b", "c"]}),
        json!({"user": "bob", "up_to": sent[2]["sequence"]}),
    ] {
        relay.post(ACK, &body).expect(200);
        assert_eq!(relay.post(ACK, &body).expect(200).json()["acknowledged"], 0);
    }
    let first = relay.message("a");
    relay
        .post(ACK, &json!({"user": "bob", "ids": ["a"]}))
        .expect(200);
    assert_eq!(relay.message("a")["delivered_at"], first["delivered_at"]);
}

#[test]
fn only_the_recipient_acknowledges() {
    let relay = Relay::start();
    let sent = three(&relay);
    for body in [
        json!({"user": "alice", "ids": ["a", "b"]}),
        json!({"user": "mallory", "up_to": sent[2]["sequence"]}),
        json!({"user": "bob", "ids": ["unknown"]}),
    ] {
        assert_eq!(
            relay.post(ACK, &body).expect(200).json()["acknowledged"],
            0,
            "{body}"
        );
    }
    assert_eq!(relay.message("a")["status"], "queued");
}

#[test]
fn ack_removes_nothing_from_lists() {
    let relay = Relay::start();
    three(&relay);
    relay
        .post(ACK, &json!({"user": "bob", "ids": ["a", "b", "c"]}))
        .expect(200);
    assert_eq!(relay.page("user=bob&after=0").len(), 3);
    assert_eq!(relay.page("user=bob&status=queued").len(), 0);
}

#[test]
fn large_up_to_answers_after_the_last_commit() {
    let relay = Relay::start();
    let mut last = Value::Null;
    for round in 0..3 {
        let items: Vec<Value> = (0..1000)
            .map(|n| json!({"sender": "a", "recipient": "bob", "content": format!("{round}.{n}")}))
            .collect();
        let answer = relay
            .post("/api/v1/messages/batch", &json!({"messages": items}))
            .expect(200);
        last = answer.json()["results"][999]["sequence"].clone();
    }
    let answer = relay
        .post(ACK, &json!({"user": "bob", "up_to": last}))
        .expect(200)
        .json();
    assert_eq!(answer["acknowledged"], 3000);
    assert_eq!(relay.page("user=bob&status=queued"), [] as [Value; 0]);
}

#[test]
fn ack_takes_exactly_one_of_ids_and_up_to() {
    let relay = Relay::start();
    let many: Vec<String> = (0..1001).map(|n| n.to_string()).collect();
    for body in [
        json!({"user": "bob"}),
        json!({"user": "bob", "ids": ["a"], "up_to": 1}),
        json!({"user": "bob", "ids": []}),
        json!({"user": "bob", "ids": many}),
        json!({"user": "bob", "ids": "a"}),
        json!({"user": "bob", "ids": [1]}),
        json!({"user": "bob", "up_to": "1"}),
        json!({"user": "bob", "up_to": -1}),
        json!({"user": "", "ids": ["a"]}),
        json!({"ids": ["a"]}),
    ] {
        let answer = relay.post(ACK, &body);
        assert_eq!(answer.status, 400, "{body}: {}", answer.text());
        assert_eq!(answer.json()["error"], "INVALID_MESSAGE", "{body}");
    }
    let thousand: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
    relay
        .post(ACK, &json!({"user": "bob", "ids": thousand}))
        .expect(200);
}

#[test]
fn deleted_message_is_gone_everywhere() {
    let relay = Relay::start();
    three(&relay);
    let answer = relay.delete("/api/v1/messages/b").expect(204);
    assert_eq!(answer.body, b"");
    relay
        .get("/api/v1/messages/b")
        .refused(404, "MESSAGE_NOT_FOUND");
    relay
        .delete("/api/v1/messages/b")
        .refused(404, "MESSAGE_NOT_FOUND");
    for query in [
        "user=bob&after=0",
        "user=alice&after=0",
        "user=bob&status=queued",
    ] {
        let left: Vec<Value> = relay.page(query).iter().map(|m| m["id"].clone()).collect();
        assert_eq!(left, [json!("a"), json!("c")], "{query}");
    }
    let ack = relay
        .post(ACK, &json!({"user": "bob", "ids": ["b"]}))
        .expect(200)
        .json();
    assert_eq!(ack["acknowledged"], 0);
}

#[test]
fn unknown_message_cannot_be_deleted() {
    let relay = Relay::start();
    relay
        .delete("/api/v1/messages/never")
        .refused(404, "MESSAGE_NOT_FOUND");
}

#[test]
fn sequence_of_a_deleted_message_is_not_used_again() {
    let mut relay = Relay::start();
    let sent = three(&relay);
    relay.delete("/api/v1/messages/c").expect(204);
    relay.stop();
    relay.restart();
    let next = relay.accept_from("alice", "bob", "again");
    assert!(
        next["sequence"].as_i64() > sent[2]["sequence"].as_i64(),
        "{next}"
    );
}
