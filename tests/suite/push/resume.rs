//! Subscribers that come back with their cursors while the relay is loaded and killed.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::support::sse::Events;
use crate::support::ws::Socket;
use crate::support::*;

const POSTERS: u64 = 8;
/// Messages that a subscriber reads before it leaves and comes back.
const VISIT: usize = 40;

/// What a subscriber has seen, in the order in which it came.
#[derive(Default)]
struct Seen(Vec<i64>);

impl Seen {
    fn cursor(&self) -> i64 {
        self.0.last().copied().unwrap_or(0)
    }
}

/// Posts to bob until the relay is gone; counts what was answered with 200.
fn keep_posting(addr: SocketAddr, accepted: &AtomicU64, enough: u64) {
    let mut client = Client::to(addr);
    let body = json!({"sender": "ann", "recipient": "bob", "content": "x"});
    while accepted.load(Ordering::Relaxed) < enough {
        let answer = client
            .request("POST", "/api/v1/messages")
            .json(&body)
            .try_send();
        match answer {
            Ok(answer) if answer.status == 200 => accepted.fetch_add(1, Ordering::Relaxed),
            Ok(answer) => panic!("{}: {}", answer.status, answer.text()),
            Err(_) => return,
        };
    }
}

/// Comes and goes with its cursor until the relay is gone, or all is seen.
fn visit_by_socket(addr: SocketAddr, seen: &mut Seen, done: &AtomicBool) {
    while let Ok(mut socket) = Socket::try_open(addr, "/api/v1/ws", &[]) {
        let subscribe = json!({"type": "subscribe", "user": "bob", "after": seen.cursor()});
        if socket.try_send(subscribe).is_err() {
            return;
        }
        let mut left = VISIT;
        while left > 0 {
            match socket.try_next(Duration::from_millis(500)) {
                Ok(Some(frame)) if frame["type"] == "message" => {
                    seen.0.push(frame["message"]["sequence"].as_i64().unwrap());
                    left -= 1;
                }
                Ok(Some(_)) => {}
                Ok(None) if done.load(Ordering::Relaxed) => return,
                Ok(None) => {}
                Err(_) => return,
            }
        }
    }
}

fn visit_by_stream(addr: SocketAddr, seen: &mut Seen, done: &AtomicBool) {
    loop {
        let cursor = seen.cursor().to_string();
        let headers = [("Last-Event-ID", cursor.as_str())];
        let Ok(mut events) = Events::try_open(addr, "/api/v1/stream?user=bob", &headers) else {
            return;
        };
        let mut left = VISIT;
        while left > 0 {
            match events.try_next(Duration::from_millis(500)) {
                Ok(Some(event)) => {
                    let Some(data) = event.data else { continue };
                    let message: Value = serde_json::from_str(&data).unwrap();
                    seen.0.push(message["sequence"].as_i64().unwrap());
                    left -= 1;
                }
                Ok(None) => break,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    if done.load(Ordering::Relaxed) {
                        return;
                    }
                    // A block may have been cut: come back with the cursor.
                    break;
                }
                Err(_) => return,
            }
        }
    }
}

#[test]
fn subscribers_that_come_back_miss_nothing_through_kills_under_load() {
    let mut relay = Relay::start();
    let (mut by_socket, mut by_stream) = (Seen::default(), Seen::default());
    let mut random = Random::seeded();
    let kills = rounds(3);
    for round in 0..=kills {
        let addr = relay.addr();
        let (accepted, done) = (AtomicU64::new(0), AtomicBool::new(false));
        let last = round == kills;
        let enough = if last { 600 } else { u64::MAX };
        let kill_at = 200 + random.below(600);
        std::thread::scope(|scope| {
            let posters: Vec<_> = (0..POSTERS)
                .map(|_| scope.spawn(|| keep_posting(addr, &accepted, enough)))
                .collect();
            scope.spawn(|| visit_by_socket(addr, &mut by_socket, &done));
            scope.spawn(|| visit_by_stream(addr, &mut by_stream, &done));
            if !last {
                eventually("the load is on", || {
                    (accepted.load(Ordering::Relaxed) >= kill_at).then_some(())
                });
                relay.kill();
            }
            for poster in posters {
                poster.join().unwrap();
            }
            done.store(true, Ordering::Relaxed);
        });
        if !last {
            relay.restart();
        }
    }
    let stored: Vec<i64> = relay
        .all("user=bob")
        .iter()
        .map(|m| m["sequence"].as_i64().unwrap())
        .collect();
    assert!(stored.is_sorted(), "ascending");
    assert_eq!(by_socket.0, stored, "by WebSocket");
    assert_eq!(by_stream.0, stored, "by event stream");
}
