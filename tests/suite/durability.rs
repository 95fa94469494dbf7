//! What is acknowledged survives kill, crash and restart, once and in order.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::support::ws::Socket;
use crate::support::*;

/// Connections that post at the same time.
const CONNECTIONS: usize = 64;
const USERS: usize = 8;

/// What the relay has answered with 200: id to sequence.
type Ledger = BTreeMap<String, i64>;

fn message(id: &str, user: usize) -> Value {
    json!({"id": id, "sender": "ledger", "recipient": format!("u{user}"), "content": id})
}

/// Posts one message after the other until the relay is gone; returns what was answered, and the
/// one message whose answer never came.
fn post_until_killed(
    addr: SocketAddr,
    name: &str,
    answered: &AtomicU64,
) -> (Ledger, Option<String>) {
    let mut client = Client::to(addr);
    let mut ledger = Ledger::new();
    for n in 0.. {
        let id = format!("{name}-{n}");
        let body = message(&id, n % USERS);
        match client
            .request("POST", "/api/v1/messages")
            .json(&body)
            .try_send()
        {
            Ok(answer) => {
                let answer = answer.expect(200).json();
                ledger.insert(id, answer["sequence"].as_i64().unwrap());
                answered.fetch_add(1, Ordering::Relaxed);
            }
            Err(_) => return (ledger, Some(id)),
        }
    }
    (ledger, None)
}

/// Every acknowledged message is there exactly once, under its sequence, in ascending mailboxes.
#[track_caller]
fn check_ledger(relay: &Relay, ledger: &Ledger) {
    let mut stored = BTreeMap::new();
    for user in 0..USERS {
        let mut last = 0;
        for message in relay.all(&format!("user=u{user}&box=inbox")) {
            let sequence = message["sequence"].as_i64().unwrap();
            assert!(sequence > last, "u{user}: {sequence} after {last}");
            last = sequence;
            let id = message["id"].as_str().unwrap().to_owned();
            assert_eq!(message["content"], id);
            let earlier = stored.insert(id, sequence);
            assert_eq!(earlier, None, "stored twice: {message}");
        }
    }
    for (id, sequence) in ledger {
        assert_eq!(stored.get(id), Some(sequence), "{id} was answered with 200");
    }
}

#[test]
fn acknowledged_messages_survive_kills_under_load() {
    let mut relay = Relay::start();
    let mut random = Random::seeded();
    let mut ledger = Ledger::new();
    for round in 0..rounds(20) {
        let addr = relay.addr();
        let answered = AtomicU64::new(0);
        let kill_at = 50 + random.below(500);
        let mut in_doubt = Vec::new();
        std::thread::scope(|scope| {
            let posters: Vec<_> = (0..CONNECTIONS)
                .map(|n| {
                    let (name, answered) = (format!("r{round}c{n}"), &answered);
                    scope.spawn(move || post_until_killed(addr, &name, answered))
                })
                .collect();
            eventually("the load is on", || {
                (answered.load(Ordering::Relaxed) >= kill_at).then_some(())
            });
            relay.kill();
            for poster in posters {
                let (own, unanswered) = poster.join().unwrap();
                ledger.extend(own);
                in_doubt.extend(unanswered);
            }
        });
        relay.restart();
        // The same id sent again settles every doubt.
        let mut client = relay.client();
        for id in in_doubt {
            let n: usize = id.rsplit('-').next().unwrap().parse().unwrap();
            let answer = client
                .post("/api/v1/messages", &message(&id, n % USERS))
                .expect(200);
            ledger.insert(id, answer.json()["sequence"].as_i64().unwrap());
        }
    }
    check_ledger(&relay, &ledger);
}

#[test]
fn acknowledged_batches_survive_a_kill_whole() {
    let mut relay = Relay::start();
    let addr = relay.addr();
    let answered = AtomicU64::new(0);
    let batch = |name: &str| -> Value {
        let items = (0..100).map(|n| message(&format!("{name}-{n}"), n % USERS));
        json!({"messages": items.collect::<Vec<_>>()})
    };
    let mut begun = Vec::new();
    std::thread::scope(|scope| {
        let posters: Vec<_> = (0..4)
            .map(|poster| {
                let (answered, batch) = (&answered, &batch);
                scope.spawn(move || {
                    let mut client = Client::to(addr);
                    for n in 0.. {
                        let name = format!("p{poster}b{n}");
                        let request = client.request("POST", "/api/v1/messages/batch");
                        if request.json(&batch(&name)).try_send().is_err() {
                            return n;
                        }
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                    0
                })
            })
            .collect();
        eventually("the load is on", || {
            (answered.load(Ordering::Relaxed) >= 20).then_some(())
        });
        relay.kill();
        for (poster, thread) in posters.into_iter().enumerate() {
            begun.push((poster, thread.join().unwrap()));
        }
    });
    relay.restart();
    let stored: usize = (0..USERS)
        .map(|user| relay.all(&format!("user=u{user}")).len())
        .sum();
    assert_eq!(stored % 100, 0, "all or nothing");
    for (poster, last) in begun {
        for n in 0..last {
            relay.message(&format!("p{poster}b{n}-0"));
            relay.message(&format!("p{poster}b{n}-99"));
        }
    }
}

#[test]
fn posts_accepted_by_a_socket_survive_a_kill() {
    let mut relay = Relay::start();
    let mut socket: Socket = relay.socket();
    for n in 0..200 {
        let mut frame = message(&format!("s-{n}"), 0);
        frame["type"] = json!("message");
        socket.send(frame);
    }
    let accepted: Vec<Value> = (0..120).map(|_| socket.next_of("accepted")).collect();
    relay.kill();
    relay.restart();
    for answer in accepted {
        let id = answer["message_id"].as_str().unwrap();
        assert_eq!(relay.message(id)["sequence"], answer["sequence"]);
    }
}

#[test]
fn acknowledgements_and_deletes_survive_a_kill() {
    let mut relay = Relay::start();
    for n in 0..3 {
        relay.accept(message(&format!("m{n}"), 0));
    }
    relay
        .post(
            "/api/v1/messages/ack",
            &json!({"user": "u0", "ids": ["m0"]}),
        )
        .expect(200);
    relay.delete("/api/v1/messages/m1").expect(204);
    let acked = relay.message("m0");
    relay.kill();
    relay.restart();
    assert_eq!(relay.message("m0"), acked);
    relay
        .get("/api/v1/messages/m1")
        .refused(404, "MESSAGE_NOT_FOUND");
    assert_eq!(relay.message("m2")["status"], "queued");
    let waiting = relay.page("user=u0&status=queued");
    assert_eq!(waiting.len(), 1);
}

#[test]
fn message_reads_the_same_after_a_restart() {
    let mut relay = Relay::start();
    relay.accept(json!({
        "id": "whole", "sender": "é", "recipient": "🦀", "content": "\u{0}\"\\\n", "timestamp": -1,
        "ttl_seconds": 3600, "extra": {"deep": [1, null, 1.5e300]}, "flag": false,
    }));
    let before = relay.get("/api/v1/messages/whole").expect(200).text();
    relay.kill();
    relay.restart();
    assert_eq!(
        relay.get("/api/v1/messages/whole").expect(200).text(),
        before
    );
    relay.stop();
    relay.restart();
    assert_eq!(
        relay.get("/api/v1/messages/whole").expect(200).text(),
        before
    );
}

#[test]
fn epoch_and_sequence_go_on_after_a_kill() {
    let mut relay = Relay::start();
    let epoch = relay.status()["epoch"].clone();
    let before = relay.accept(message("a", 0));
    relay.kill();
    relay.restart();
    assert_eq!(relay.status()["epoch"], epoch);
    let after = relay.accept(message("b", 0));
    assert!(after["sequence"].as_i64() > before["sequence"].as_i64());
}

#[test]
fn database_of_a_newer_version_is_refused_untouched() {
    let mut relay = Relay::start();
    relay.accept(message("a", 0));
    relay.stop();
    let file = relay.dir().join("messages.db");
    let version = |sql: &str| {
        let run = command(peer("sqlite3"), [&file]).arg(sql).run().expect(0);
        run.stdout.trim().to_owned()
    };
    let own = version("PRAGMA user_version");
    version("PRAGMA user_version = 1000");
    let mut refused = Relay::setup().in_dir(relay.dir()).spawn();
    assert_eq!(refused.ended_within(SOON), 3);
    let stderr = refused.stderr();
    assert!(
        stderr.contains("messages.db") && stderr.contains("newer"),
        "{stderr}"
    );
    version(&format!("PRAGMA user_version = {own}"));
    relay.restart();
    assert_eq!(relay.message("a")["content"], "a");
}

#[test]
fn file_that_is_no_database_of_ours_is_refused_untouched() {
    let setup = Relay::setup();
    std::fs::create_dir_all(setup.dir()).unwrap();
    let file = setup.dir().join("messages.db");
    std::fs::write(&file, "my own notes, not a database").unwrap();
    let mut refused = setup.spawn();
    assert_eq!(refused.ended_within(SOON), 3);
    assert!(
        refused.stderr().contains("messages.db"),
        "{}",
        refused.stderr()
    );
    assert_eq!(
        std::fs::read_to_string(file).unwrap(),
        "my own notes, not a database"
    );
}
