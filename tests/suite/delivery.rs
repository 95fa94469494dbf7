//! Mailboxes and channels: order, cursors, acks, expiry, what `queued` and `delivered` mean.

use crate::support::*;

const ACK: &str = "/api/v1/messages/ack";

#[test]
fn message_waits_until_any_device_of_its_recipient_acknowledges() {
    let relay = Relay::start();
    relay.accept(json!({"id": "m", "sender": "a", "recipient": "bob", "content": "x"}));
    // Reading and pushing deliver nothing by themselves.
    relay.page("user=bob&after=0");
    let mut phone = relay.socket();
    phone.subscribe(json!({"user": "bob", "after": 0}));
    phone.next_of("message");
    let mut laptop = relay.events("/api/v1/stream?user=bob&after=0");
    laptop.next_json();
    assert_eq!(relay.message("m")["status"], "queued");
    phone.send(json!({"type": "ack", "user": "bob", "ids": ["m"]}));
    assert_eq!(phone.next_of("acked")["acknowledged"], 1);
    assert_eq!(relay.message("m")["status"], "delivered");
    // Each device keeps its own cursor: the laptop may read it again.
    assert_eq!(relay.page("user=bob&after=0").len(), 1);
    let again = relay
        .post(ACK, &json!({"user": "bob", "ids": ["m"]}))
        .expect(200)
        .json();
    assert_eq!(again["acknowledged"], 0);
}

#[test]
fn mailbox_order_is_the_order_of_acceptance_for_every_reader() {
    let relay = Relay::start();
    let addr = relay.addr();
    let mut socket = relay.socket();
    socket.subscribe(json!({"user": "bob", "after": 0}));
    std::thread::scope(|scope| {
        for sender in 0..8 {
            scope.spawn(move || {
                let mut client = Client::to(addr);
                for n in 0..50 {
                    let body = json!({
                        "sender": format!("s{sender}"), "recipient": "bob", "content": n.to_string(),
                    });
                    client.post("/api/v1/messages", &body).expect(200);
                }
            });
        }
    });
    let stored = relay.all("user=bob");
    assert_eq!(stored.len(), 400);
    for sender in 0..8 {
        let own = stored
            .iter()
            .filter(|message| message["sender"] == format!("s{sender}"));
        let order: Vec<String> = own
            .map(|m| m["content"].as_str().unwrap().to_owned())
            .collect();
        let expected: Vec<String> = (0..50).map(|n| n.to_string()).collect();
        assert_eq!(order, expected, "of one sender as it was sent");
    }
    let pushed: Vec<Value> = (0..400)
        .map(|_| socket.next_of("message")["message"]["sequence"].clone())
        .collect();
    let sequences: Vec<Value> = stored
        .iter()
        .map(|message| message["sequence"].clone())
        .collect();
    assert_eq!(pushed, sequences);
}

#[test]
fn mailboxes_and_channels_of_one_name_are_apart() {
    let relay = Relay::start();
    relay.accept(json!({"sender": "a", "recipient": "red", "content": "to the user"}));
    relay.accept(json!({"sender": "a", "channel": "red", "content": "to the channel"}));
    assert_eq!(relay.page("user=red&after=0")[0]["content"], "to the user");
    assert_eq!(
        relay.page("channel=red&after=0")[0]["content"],
        "to the channel"
    );
    assert_eq!(relay.page("channel=red&after=0").len(), 1);
}

#[test]
fn plain_post_is_in_its_senders_list_alone() {
    let relay = Relay::start();
    relay.accept(json!({"sender": "ann", "content": "note"}));
    assert_eq!(relay.page("user=ann").len(), 1);
    assert_eq!(relay.page("user=ann&box=sent").len(), 1);
    assert_eq!(relay.page("user=ann&box=inbox"), [] as [Value; 0]);
}

#[test]
fn message_to_oneself_stands_once_in_the_list() {
    let relay = Relay::start();
    relay.accept_from("ann", "ann", "note");
    for query in [
        "user=ann",
        "user=ann&box=inbox",
        "user=ann&box=sent",
        "user=ann&after=0",
    ] {
        assert_eq!(relay.page(query).len(), 1, "{query}");
    }
}

#[test]
fn own_ttl_counts_on_after_delivery() {
    let relay = Relay::start();
    relay.accept(
        json!({"id": "m", "sender": "a", "recipient": "b", "content": "x", "ttl_seconds": 3600}),
    );
    let before = relay.message("m")["expires_at"].clone();
    relay
        .post(ACK, &json!({"user": "b", "ids": ["m"]}))
        .expect(200);
    assert_eq!(relay.message("m")["expires_at"], before);
}

#[test]
fn delivered_messages_go_after_their_retention_and_waiting_ones_stay() {
    let relay = Relay::setup().limit("retention", "1s").start();
    relay.accept(json!({"id": "waits", "sender": "a", "recipient": "b", "content": "x"}));
    relay.accept(json!({"id": "acked", "sender": "a", "recipient": "b", "content": "x"}));
    relay.accept(json!({"id": "channel", "sender": "a", "channel": "c", "content": "x"}));
    relay
        .post(ACK, &json!({"user": "b", "ids": ["acked"]}))
        .expect(200);
    eventually("the delivered ones expire", || {
        let gone = |id: &str| relay.get(&format!("/api/v1/messages/{id}")).status == 404;
        (gone("acked") && gone("channel")).then_some(())
    });
    assert_eq!(relay.message("waits")["status"], "queued");
    let left: Vec<Value> = relay.all("user=b");
    assert_eq!(left.len(), 1);
    eventually("they are removed, not only hidden", || {
        (relay.status()["messages"]["stored"] == 1).then_some(())
    });
    assert_eq!(relay.status()["messages"]["expired_undelivered"], 0);
}

#[test]
fn what_expires_undelivered_is_counted() {
    let relay = Relay::start();
    for n in 0..3 {
        let mut message = json!({"sender": "a", "recipient": "b", "content": "x"});
        if n < 2 {
            message["ttl_seconds"] = json!(1);
        }
        relay.accept(message);
    }
    eventually("two expire", || {
        (relay.status()["messages"]["expired_undelivered"] == 2).then_some(())
    });
    assert_eq!(relay.status()["messages"]["queued"], 1);
}

#[test]
fn expired_message_is_not_pushed_on_replay() {
    let relay = Relay::start();
    relay.accept(
        json!({"id": "brief", "sender": "a", "recipient": "b", "content": "x", "ttl_seconds": 1}),
    );
    relay.accept_from("a", "b", "stays");
    eventually("it expires", || {
        (relay.get("/api/v1/messages/brief").status == 404).then_some(())
    });
    let mut socket = relay.socket();
    socket.subscribe(json!({"user": "b", "after": 0}));
    assert_eq!(socket.next_of("message")["message"]["content"], "stays");
}
