//! The same id again: duplicates and conflicts, also after an end of life.

use crate::support::*;

const POST: &str = "/api/v1/messages";

fn first(id: &str) -> Value {
    json!({"id": id, "sender": "alice", "recipient": "bob", "content": "hello"})
}

#[test]
fn repeated_id_returns_first_sequence() {
    let relay = Relay::start();
    let one = relay.accept(first("m"));
    let two = relay.accept(first("m"));
    assert_eq!(one["duplicate"], false);
    assert_eq!(two["duplicate"], true);
    for key in ["message_id", "sequence", "received_at", "status"] {
        assert_eq!(one[key], two[key], "{key}");
    }
    assert_eq!(relay.page("user=bob&after=0").len(), 1);
}

#[test]
fn repeat_tells_the_current_status() {
    let relay = Relay::start();
    relay.accept(first("m"));
    relay
        .post(
            "/api/v1/messages/ack",
            &json!({"user": "bob", "ids": ["m"]}),
        )
        .expect(200);
    assert_eq!(relay.accept(first("m"))["status"], "delivered");
}

#[test]
fn same_id_with_another_sender_recipient_channel_or_content_conflicts() {
    let relay = Relay::start();
    relay.accept(first("m"));
    for change in [
        json!({"sender": "mallory"}),
        json!({"recipient": "carol"}),
        json!({"recipient": null}),
        json!({"recipient": null, "channel": "room"}),
        json!({"content": "hello!"}),
    ] {
        let mut body = first("m");
        body.as_object_mut()
            .unwrap()
            .extend(change.as_object().unwrap().clone());
        relay.post(POST, &body).refused(409, "CONFLICT");
    }
    assert_eq!(relay.message("m")["content"], "hello");
}

#[test]
fn timestamp_ttl_and_other_fields_are_not_compared() {
    let relay = Relay::start();
    let one = relay.accept(first("m"));
    let mut body = first("m");
    body["timestamp"] = json!(99);
    body["ttl_seconds"] = json!(5);
    body["mood"] = json!("new");
    let two = relay.accept(body);
    assert_eq!(two["duplicate"], true);
    assert_eq!(two["sequence"], one["sequence"]);
    let stored = relay.message("m");
    assert_eq!(stored["timestamp"], Value::Null);
    assert_eq!(stored["expires_at"], Value::Null);
    assert_eq!(stored.get("mood"), None);
}

#[test]
fn ids_are_one_name_space_for_all_senders() {
    let relay = Relay::start();
    relay.accept(json!({"id": "x", "sender": "alice", "channel": "room", "content": "hi"}));
    let body = json!({"id": "x", "sender": "bob", "channel": "room", "content": "hi"});
    relay.post(POST, &body).refused(409, "CONFLICT");
}

#[test]
fn id_that_the_relay_assigned_is_reserved_too() {
    let relay = Relay::start();
    let answer = relay.accept_from("alice", "bob", "hello");
    let mut body = first("");
    body["id"] = answer["message_id"].clone();
    let again = relay.accept(body);
    assert_eq!(again["duplicate"], true);
    assert_eq!(again["sequence"], answer["sequence"]);
}

#[test]
fn id_of_a_deleted_message_stays_reserved() {
    let relay = Relay::start();
    let one = relay.accept(first("m"));
    relay.delete("/api/v1/messages/m").expect(204);
    let again = relay.accept(first("m"));
    assert_eq!(again["duplicate"], true);
    assert_eq!(again["status"], "deleted");
    assert_eq!(again["sequence"], one["sequence"]);
    relay
        .get("/api/v1/messages/m")
        .refused(404, "MESSAGE_NOT_FOUND");
    assert_eq!(relay.page("user=bob&after=0"), [] as [Value; 0]);
}

#[test]
fn id_of_an_expired_message_stays_reserved() {
    let relay = Relay::start();
    let mut body = first("m");
    body["ttl_seconds"] = json!(1);
    let one = relay.accept(body.clone());
    eventually("the message expires", || {
        (relay.get("/api/v1/messages/m").status == 404).then_some(())
    });
    let again = relay.accept(body);
    assert_eq!(again["duplicate"], true);
    assert_eq!(again["status"], "expired");
    assert_eq!(again["sequence"], one["sequence"]);
    relay
        .get("/api/v1/messages/m")
        .refused(404, "MESSAGE_NOT_FOUND");
}

#[test]
fn duplicates_survive_a_restart() {
    let mut relay = Relay::start();
    let one = relay.accept(first("m"));
    relay.restart();
    let two = relay.accept(first("m"));
    assert_eq!(two["duplicate"], true);
    assert_eq!(two["sequence"], one["sequence"]);
    assert_eq!(two["received_at"], one["received_at"]);
}

#[test]
fn of_concurrent_posts_with_one_id_exactly_one_is_first() {
    let relay = Relay::start();
    let answers: Vec<Value> = std::thread::scope(|scope| {
        let posts: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| relay.accept(first("race"))))
            .collect();
        posts.into_iter().map(|post| post.join().unwrap()).collect()
    });
    let firsts = answers
        .iter()
        .filter(|answer| answer["duplicate"] == false)
        .count();
    assert_eq!(firsts, 1, "{answers:?}");
    assert!(
        answers
            .iter()
            .all(|answer| answer["sequence"] == answers[0]["sequence"])
    );
    assert_eq!(relay.page("user=bob&after=0").len(), 1);
}
