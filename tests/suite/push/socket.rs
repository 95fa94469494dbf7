//! WebSocket frames, their order, errors and close codes.

use std::time::Duration;

use crate::support::ws::Socket;
use crate::support::*;

fn sequence(message: &Value) -> i64 {
    message["sequence"].as_i64().unwrap()
}

fn post(recipient: &str, content: &str) -> Value {
    json!({"type": "message", "sender": "ann", "recipient": recipient, "content": content})
}

#[test]
fn subscribed_names_target_cursor_and_epoch() {
    let relay = Relay::start();
    let sent = relay.accept_from("a", "bob", "x");
    let mut socket = relay.socket();
    let answer = socket.subscribe(json!({"user": "bob", "ref": {"n": [1, "x"]}}));
    assert_eq!(answer["after"], sent["sequence"], "live from now");
    assert_eq!(answer["epoch"], relay.status()["epoch"]);
    assert_eq!(answer["user"], "bob");
    assert_eq!(answer["ref"], json!({"n": [1, "x"]}));
    let answer = socket.subscribe(json!({"channel": "red", "after": 0}));
    assert_eq!(
        (&answer["channel"], &answer["after"]),
        (&json!("red"), &json!(0))
    );
    assert_eq!(answer.get("ref"), None);
}

#[test]
fn stored_messages_come_first_then_live_ones_each_for_its_target() {
    let relay = Relay::start();
    relay.accept_from("ann", "bob", "stored");
    let mut socket = relay.socket();
    socket.subscribe(json!({"user": "bob", "after": 0}));
    let frame = socket.next_of("message");
    assert_eq!(frame["for"], json!({"user": "bob"}));
    assert_eq!(frame["message"]["content"], "stored");
    socket.subscribe(json!({"channel": "red"}));
    relay.accept(json!({"sender": "ann", "channel": "red", "content": "live"}));
    let frame = socket.next_of("message");
    assert_eq!(frame["for"], json!({"channel": "red"}));
    assert_eq!(frame["message"]["content"], "live");
    relay.accept_from("ann", "bob", "live too");
    assert_eq!(socket.next_of("message")["message"]["content"], "live too");
}

#[test]
fn posted_frame_is_durable_when_it_is_accepted() {
    let mut relay = Relay::start();
    let mut socket = relay.socket();
    let mut frame = post("bob", "hello");
    frame["id"] = json!("m1");
    frame["ref"] = json!(7);
    frame["mood"] = json!("good");
    socket.send(frame.clone());
    let answer = socket.next_of("accepted");
    assert_eq!(
        (&answer["message_id"], &answer["ref"]),
        (&json!("m1"), &json!(7))
    );
    assert_eq!(
        (&answer["duplicate"], &answer["status"]),
        (&json!(false), &json!("queued"))
    );
    socket.send(frame);
    assert_eq!(socket.next_of("accepted")["duplicate"], true);
    relay.restart();
    let stored = relay.message("m1");
    assert_eq!(stored["mood"], "good");
    assert!(
        stored.get("type").is_none() && stored.get("ref").is_none(),
        "{stored}"
    );
}

#[test]
fn frames_of_one_socket_are_answered_in_order() {
    let relay = Relay::start();
    let mut socket = relay.socket();
    for n in 0..300 {
        let mut frame = match n % 5 {
            4 => json!({"type": "ping"}),
            3 => json!({"type": "nonsense"}),
            _ => post("bob", "x"),
        };
        frame["ref"] = json!(n);
        socket.send(frame);
    }
    let mut last = 0;
    for n in 0..300 {
        let answer = socket.next();
        assert_eq!(answer["ref"], n, "{answer}");
        if answer["type"] == "accepted" {
            assert!(sequence(&answer) > last);
            last = sequence(&answer);
        }
    }
    assert_eq!(relay.all("user=bob").len(), 180);
}

#[test]
fn acknowledgement_follows_the_posts_before_it() {
    let relay = Relay::start();
    let mut socket = relay.socket();
    for n in 0..10 {
        let mut frame = post("bob", "x");
        frame["id"] = json!(format!("m{n}"));
        socket.send(frame);
    }
    socket.send(json!({"type": "ack", "user": "bob", "ids": ["m0", "m9"], "ref": "a"}));
    for _ in 0..10 {
        socket.next_of("accepted");
    }
    let answer = socket.next_of("acked");
    assert_eq!(
        (&answer["acknowledged"], &answer["ref"]),
        (&json!(2), &json!("a"))
    );
    assert_eq!(relay.message("m9")["status"], "delivered");
    socket.send(json!({"type": "ack", "user": "bob", "up_to": sequence(&relay.message("m5"))}));
    assert_eq!(socket.next_of("acked")["acknowledged"], 5);
}

#[test]
fn error_is_told_and_the_socket_stays_open() {
    let relay = Relay::start();
    let mut socket = relay.socket();
    let mut refused = |text: &str, code: &str| {
        socket.send_text(text);
        let answer = socket.next_of("error");
        assert_eq!(answer["error"], code, "{text}: {answer}");
        assert!(
            answer["code"].is_i64() && answer["message"].is_string(),
            "{answer}"
        );
        answer
    };
    refused("{", "INVALID_JSON");
    refused("[]", "INVALID_MESSAGE");
    refused(r#"{"type":"dance"}"#, "INVALID_MESSAGE");
    refused(r#"{"type":"subscribe"}"#, "INVALID_MESSAGE");
    refused(
        r#"{"type":"subscribe","user":"a","channel":"b"}"#,
        "INVALID_MESSAGE",
    );
    refused(
        r#"{"type":"subscribe","user":"a","after":-1}"#,
        "INVALID_MESSAGE",
    );
    refused(r#"{"type":"ack","user":"a"}"#, "INVALID_MESSAGE");
    let answer = refused(
        r#"{"type":"message","sender":"a","ref":[1]}"#,
        "INVALID_MESSAGE",
    );
    assert_eq!(
        (&answer["field"], &answer["ref"]),
        (&json!("content"), &json!([1]))
    );
    socket.send(json!({"type": "ping"}));
    socket.next_of("pong");
}

#[test]
fn subscribing_again_restarts_at_the_new_cursor() {
    let relay = Relay::start();
    let first = sequence(&relay.accept_from("a", "bob", "1"));
    let mut socket = relay.socket();
    socket.subscribe(json!({"user": "bob", "after": 0}));
    assert_eq!(sequence(&socket.next_of("message")["message"]), first);
    socket.subscribe(json!({"user": "bob", "after": 0}));
    assert_eq!(sequence(&socket.next_of("message")["message"]), first);
    let second = sequence(&relay.accept_from("a", "bob", "2"));
    assert_eq!(
        sequence(&socket.next_of("message")["message"]),
        second,
        "and only once"
    );
    assert_eq!(socket.try_next(Duration::from_millis(200)).unwrap(), None);
}

#[test]
fn unsubscribed_target_is_silent() {
    let relay = Relay::start();
    let mut socket = relay.socket();
    socket.subscribe(json!({"user": "bob"}));
    socket.subscribe(json!({"user": "carol"}));
    socket.send(json!({"type": "unsubscribe", "user": "bob"}));
    assert_eq!(socket.next_of("unsubscribed")["user"], "bob");
    relay.accept_from("a", "bob", "unheard");
    relay.accept_from("a", "carol", "heard");
    assert_eq!(socket.next_of("message")["message"]["content"], "heard");
}

#[test]
fn box_widens_a_subscription() {
    let relay = Relay::start();
    let mut socket = relay.socket();
    socket.subscribe(json!({"user": "bob", "box": "sent"}));
    relay.accept_from("a", "bob", "to bob");
    relay.accept_from("bob", "a", "from bob");
    assert_eq!(socket.next_of("message")["message"]["content"], "from bob");
}

#[test]
fn socket_sees_its_own_posts() {
    let relay = Relay::start();
    let mut socket = relay.socket();
    socket.subscribe(json!({"user": "bob"}));
    socket.send(post("bob", "to myself"));
    let kinds = [socket.next(), socket.next()].map(|frame| frame["type"].clone());
    assert!(
        kinds.contains(&json!("accepted")) && kinds.contains(&json!("message")),
        "{kinds:?}"
    );
}

#[test]
fn auth_is_welcome_where_there_are_no_tokens() {
    let relay = Relay::start();
    let mut socket = relay.socket();
    socket.send(json!({"type": "auth", "token": "any", "ref": 1}));
    assert_eq!(socket.next_of("authenticated")["ref"], 1);
}

#[test]
fn binary_frame_is_1003() {
    let relay = Relay::start();
    let mut socket = relay.socket();
    socket.send_binary(b"\x00\x01");
    assert_eq!(socket.closed_with(), 1003);
}

#[test]
fn frame_above_the_body_limit_is_1009() {
    let relay = Relay::setup().limit("body_bytes_max", "4KiB").start();
    let mut socket = relay.socket();
    // The relay may close before it has taken everything.
    let _ = socket.try_send(post("bob", &"x".repeat(10_000)));
    assert_eq!(socket.closed_with(), 1009);
    assert_eq!(relay.page("user=bob"), [] as [Value; 0]);
}

#[test]
fn drain_is_1001_after_the_answers_of_accepted_posts() {
    let mut relay = Relay::start();
    let mut socket = relay.socket();
    socket.send(post("bob", "x"));
    socket.next_of("accepted");
    relay.terminate();
    assert_eq!(socket.closed_with(), 1001);
    assert_eq!(relay.ended(), 0);
}

#[test]
fn plain_get_on_the_socket_route_is_refused() {
    let relay = Relay::start();
    let answer = relay.get("/api/v1/ws");
    assert_eq!(answer.status, 400, "{}", answer.text());
    let unversioned = relay
        .request("GET", "/api/v1/ws")
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
        .send();
    assert_eq!(unversioned.status, 400);
}

#[test]
fn many_sockets_see_one_post() {
    let relay = Relay::start();
    let mut sockets: Vec<Socket> = (0..50).map(|_| relay.socket()).collect();
    for socket in &mut sockets {
        socket.subscribe(json!({"channel": "news"}));
    }
    relay.accept(json!({"sender": "a", "channel": "news", "content": "hear ye"}));
    for socket in &mut sockets {
        assert_eq!(socket.next_of("message")["message"]["content"], "hear ye");
    }
}
