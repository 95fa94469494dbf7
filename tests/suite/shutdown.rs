//! The ordered end: drain, deadline, signals, exit codes of a stopping relay.

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::http::{connect, read_response};
use crate::support::*;

/// A POST whose body is sent but for its last byte, so that it stays in flight.
fn begin_post(relay: &Relay) -> TcpStream {
    let body = br#"{"id":"slow","sender":"a","recipient":"b","content":"x"}"#;
    let mut stream = connect(relay.addr()).unwrap();
    let head = format!(
        "POST /api/v1/messages HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n\r\n",
        relay.addr(),
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&body[..body.len() - 1]).unwrap();
    // The relay has begun with it when another request of the same process is answered.
    relay.get("/health").expect(200);
    stream
}

#[track_caller]
fn stops_listening(relay: &Relay) {
    eventually("no connection is accepted", || {
        TcpStream::connect(relay.addr()).is_err().then_some(())
    });
}

#[test]
fn stopped_relay_ends_0_and_has_kept_everything() {
    let mut relay = Relay::start();
    for n in 0..20 {
        relay.accept_from("a", "b", &n.to_string());
    }
    relay.stop();
    let wal = relay.dir().join("messages.db-wal");
    let wal_bytes = std::fs::metadata(wal).map_or(0, |file| file.len());
    assert_eq!(wal_bytes, 0, "the last checkpoint empties the log");
    relay.restart();
    assert_eq!(relay.all("user=b").len(), 20);
}

#[test]
fn interrupt_stops_like_terminate() {
    let mut relay = Relay::start();
    relay.process().interrupt();
    assert_eq!(relay.ended(), 0);
}

#[test]
fn request_in_flight_is_finished_and_answered() {
    let mut relay = Relay::start();
    let mut stream = begin_post(&relay);
    relay.terminate();
    stops_listening(&relay);
    stream.write_all(b"}").unwrap();
    let answer = read_response(&mut BufReader::new(stream), false).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(relay.ended(), 0);
    relay.restart();
    assert_eq!(relay.message("slow")["content"], "x");
}

#[test]
fn long_poll_is_answered_at_once_with_an_empty_page() {
    let mut relay = Relay::start();
    let sequence = relay.accept_from("a", "b", "x")["sequence"].clone();
    let started = Instant::now();
    let url = format!("/api/v1/messages?user=b&after={sequence}&wait=50");
    let mut stream = connect(relay.addr()).unwrap();
    write!(
        stream,
        "GET {url} HTTP/1.1\r\nHost: {}\r\n\r\n",
        relay.addr()
    )
    .unwrap();
    eventually("the poll is held", || {
        (relay.status()["connections"]["long_polls"] == 1).then_some(())
    });
    relay.terminate();
    let answer = read_response(&mut BufReader::new(stream), false)
        .unwrap()
        .expect(200)
        .json();
    assert_eq!(answer["messages"], json!([]));
    assert_eq!(answer["next_after"], sequence);
    assert_eq!(relay.ended(), 0);
    assert!(started.elapsed() < Duration::from_secs(30));
}

#[test]
fn streams_end_and_sockets_close_with_1001() {
    let mut relay = Relay::start();
    let mut events = relay.events("/api/v1/stream?user=b");
    let mut socket = relay.socket();
    socket.subscribe(json!({"user": "b"}));
    relay.terminate();
    assert_eq!(socket.closed_with(), 1001);
    while events.try_next(SOON).unwrap().is_some() {}
    assert_eq!(relay.ended(), 0);
}

#[test]
fn peers_that_take_nothing_do_not_hold_the_drain() {
    let mut relay = Relay::start();
    let mut socket = relay.socket();
    socket.send(json!({"type": "subscribe", "user": "bob", "after": 0}));
    let stream = relay.events("/api/v1/stream?user=bob&after=0");
    // Far more than the buffers of both connections hold.
    let item = json!({"sender": "a", "recipient": "bob", "content": "x".repeat(60_000)});
    for _ in 0..4 {
        let items = vec![item.clone(); 120];
        relay
            .post("/api/v1/messages/batch", &json!({"messages": items}))
            .expect(200);
    }
    let started = Instant::now();
    relay.stop();
    assert!(
        started.elapsed() < Duration::from_secs(7),
        "{:?}",
        started.elapsed()
    );
    drop(stream);
}

#[test]
fn idle_connections_do_not_hold_the_drain() {
    let mut relay = Relay::start();
    let mut used = relay.client();
    used.get("/health").expect(200);
    let mut unused = connect(relay.addr()).unwrap();
    let started = Instant::now();
    relay.stop();
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(unused.read(&mut [0; 1]).unwrap_or(0), 0);
}

#[test]
fn request_on_an_old_connection_is_draining_or_closed() {
    let mut relay = Relay::start();
    let _slow = begin_post(&relay);
    let mut client = relay.client();
    client.get("/ready").expect(200);
    relay.terminate();
    stops_listening(&relay);
    // The connection is idle, so it is closed; a request that crosses the close is refused.
    if let Ok(answer) = client.request("GET", "/ready").try_send() {
        answer.refused(503, "DRAINING");
    }
}

#[test]
fn drain_that_takes_too_long_ends_5_and_says_what_was_open() {
    let mut relay = Relay::setup().limit("drain_timeout", "1s").start();
    let _slow = begin_post(&relay);
    let started = Instant::now();
    relay.terminate();
    assert_eq!(relay.ended(), 5);
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "{:?}",
        started.elapsed()
    );
    let stderr = relay.stderr();
    assert!(stderr.contains("still open: 1 connection"), "{stderr}");
}

#[test]
fn second_signal_ends_at_once() {
    let mut relay = Relay::setup().limit("drain_timeout", "10m").start();
    let _slow = begin_post(&relay);
    relay.terminate();
    stops_listening(&relay);
    relay.terminate();
    assert_eq!(relay.ended(), 5);
}

#[test]
fn refused_start_leaves_no_lock_behind() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let setup = Relay::setup();
    let refused = dchat(["relay", "--port", &port, "--data-dir"])
        .arg(setup.dir())
        .run();
    assert_eq!(refused.code, 3);
    setup.start().get("/ready").expect(200);
}
