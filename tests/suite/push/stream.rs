//! Server-sent events.

use crate::support::sse::{Event, Events};
use crate::support::*;

fn sequence(answer: &Value) -> i64 {
    answer["sequence"].as_i64().unwrap()
}

/// The start cursor, which is the first block.
#[track_caller]
fn start_of(events: &mut Events) -> i64 {
    let first = events.next();
    let only_id = Event {
        id: first.id.clone(),
        ..Event::default()
    };
    assert_eq!(first, only_id, "a bare id block comes first");
    first.id.unwrap().parse().unwrap()
}

#[test]
fn stream_begins_with_its_cursor_and_says_how_to_treat_it() {
    let relay = Relay::start();
    let sent = sequence(&relay.accept_from("a", "bob", "x"));
    let mut events = relay.events("/api/v1/stream?user=bob");
    assert_eq!(
        events.head.header("content-type"),
        Some("text/event-stream")
    );
    assert_eq!(events.head.header("cache-control"), Some("no-store"));
    assert_eq!(events.head.header("x-accel-buffering"), Some("no"));
    assert_eq!(start_of(&mut events), sent, "live from now");
    assert_eq!(events.next().retry.as_deref(), Some("2000"));
}

#[test]
fn stored_messages_come_first_then_live_ones_in_order() {
    let relay = Relay::start();
    let mut expected: Vec<i64> = (0..50)
        .map(|n| sequence(&relay.accept_from("a", "bob", &n.to_string())))
        .collect();
    let mut events = relay.events("/api/v1/stream?user=bob&after=0");
    assert_eq!(start_of(&mut events), 0);
    let mut seen: Vec<i64> = (0..50).map(|_| sequence(&events.next_json())).collect();
    for n in 50..60 {
        expected.push(sequence(&relay.accept_from("a", "bob", &n.to_string())));
        seen.push(sequence(&events.next_json()));
    }
    assert_eq!(seen, expected);
}

#[test]
fn event_is_the_stored_message_and_its_id_the_sequence() {
    let relay = Relay::start();
    relay.accept(
        json!({"id": "m", "sender": "a", "recipient": "bob", "content": "x\ny", "mood": 1}),
    );
    let mut events = relay.events("/api/v1/stream?user=bob&after=0");
    let event = loop {
        let event = events.next();
        if event.data.is_some() {
            break event;
        }
    };
    let message: Value = serde_json::from_str(&event.data.unwrap()).unwrap();
    assert_eq!(message, relay.message("m"));
    assert_eq!(event.id.unwrap(), message["sequence"].to_string());
}

#[test]
fn last_event_id_wins_over_after() {
    let relay = Relay::start();
    let sent: Vec<i64> = (0..3)
        .map(|_| sequence(&relay.accept_from("a", "bob", "x")))
        .collect();
    let last = sent[1].to_string();
    let headers = [("Last-Event-ID", last.as_str())];
    let mut events = Events::open(relay.addr(), "/api/v1/stream?user=bob&after=0", &headers);
    assert_eq!(start_of(&mut events), sent[1]);
    assert_eq!(sequence(&events.next_json()), sent[2]);
}

#[test]
fn without_a_cursor_only_what_comes_from_now_on() {
    let relay = Relay::start();
    relay.accept_from("a", "bob", "before");
    let mut events = relay.events("/api/v1/stream?user=bob");
    start_of(&mut events);
    relay.accept_from("a", "bob", "after");
    assert_eq!(events.next_json()["content"], "after");
}

#[test]
fn user_means_addressed_to_the_user_unless_a_box_widens_it() {
    let relay = Relay::start();
    let mut inbox = relay.events("/api/v1/stream?user=bob&after=0");
    let mut all = relay.events("/api/v1/stream?user=bob&after=0&box=all");
    let mut sent = relay.events("/api/v1/stream?user=bob&after=0&box=sent");
    relay.accept_from("bob", "carol", "from bob");
    relay.accept_from("carol", "bob", "to bob");
    assert_eq!(inbox.next_json()["content"], "to bob");
    assert_eq!(all.next_json()["content"], "from bob");
    assert_eq!(all.next_json()["content"], "to bob");
    assert_eq!(sent.next_json()["content"], "from bob");
}

#[test]
fn channel_stream_has_that_channel_only() {
    let relay = Relay::start();
    let mut events = relay.events("/api/v1/stream?channel=red&after=0");
    relay.accept(json!({"sender": "a", "channel": "blue", "content": "1"}));
    relay.accept(json!({"sender": "a", "channel": "red", "content": "2"}));
    assert_eq!(events.next_json()["content"], "2");
}

#[test]
fn wrong_stream_queries_are_refused() {
    let relay = Relay::start();
    for query in [
        "",
        "user=a&channel=b",
        "channel=a&box=all",
        "user=a&after=x",
        "user=a&box=no",
    ] {
        let answer = relay.get(&format!("/api/v1/stream?{query}"));
        answer.refused(400, "INVALID_QUERY");
    }
    let wrong = relay
        .request("GET", "/api/v1/stream?user=a")
        .header("Last-Event-ID", "x")
        .send();
    wrong.refused(400, "INVALID_QUERY");
}

#[test]
fn heartbeat_is_a_comment_with_the_cursor_read_so_far() {
    let relay = Relay::start();
    let mut events = relay.events("/api/v1/stream?user=bob&after=0");
    let sent = sequence(&relay.accept_from("a", "bob", "x"));
    assert_eq!(sequence(&events.next_json()), sent);
    let beat = events.next();
    assert!(beat.comment.is_some() && beat.data.is_none(), "{beat:?}");
    assert_eq!(beat.id, Some(sent.to_string()));
}

#[test]
fn slow_session_is_served_from_storage() {
    let relay = Relay::start();
    let mut slow = relay.events("/api/v1/stream?user=bob&after=0");
    // Far more than the buffers of a connection hold.
    let item = json!({"sender": "a", "recipient": "bob", "content": "x".repeat(40_000)});
    for _ in 0..3 {
        let items = vec![item.clone(); 150];
        relay
            .post("/api/v1/messages/batch", &json!({"messages": items}))
            .expect(200);
    }
    let expected: Vec<i64> = relay.all("user=bob").iter().map(sequence).collect();
    let seen: Vec<i64> = (0..450).map(|_| sequence(&slow.next_json())).collect();
    assert_eq!(seen, expected);
}
