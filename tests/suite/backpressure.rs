//! Every limit of the relay that refuses or slows instead of growing: queue, disk, sockets.

use std::io::Read;
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::support::http::{connect, read_response};
use crate::support::sse::Events;
use crate::support::*;

const POST: &str = "/api/v1/messages";

/// A metric's value, summed over its labels.
fn metric(relay: &Relay, name: &str) -> f64 {
    let text = relay.get("/metrics").expect(200).text();
    let lines = text.lines().filter(|line| {
        line.strip_prefix(name)
            .is_some_and(|rest| rest.starts_with([' ', '{']))
    });
    lines
        .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
        .sum()
}

/// Far more than the buffers of one connection hold.
fn fill_mailbox(relay: &Relay) {
    let item = json!({"sender": "a", "recipient": "bob", "content": "x".repeat(60_000)});
    for _ in 0..4 {
        let items = vec![item.clone(); 120];
        relay
            .post("/api/v1/messages/batch", &json!({"messages": items}))
            .expect(200);
    }
}

#[test]
fn full_queue_refuses_and_stores_nothing_of_what_it_refused() {
    let relay = Relay::setup().limit("queue_jobs_max", "1").start();
    let addr = relay.addr();
    let (accepted, refused) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let mut client = Client::to(addr);
                let body = json!({"sender": "a", "recipient": "b", "content": "x"});
                while refused.load(Ordering::Relaxed) < 20 {
                    let answer = client.post(POST, &body);
                    if answer.status == 200 {
                        accepted.fetch_add(1, Ordering::Relaxed);
                    } else {
                        answer.refused(503, "OVERLOADED");
                        assert!(answer.header("retry-after").is_some());
                        refused.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let stored = relay.all("user=b").len() as u64;
    assert_eq!(stored, accepted.load(Ordering::Relaxed));
    let counted = relay.status()["messages"]["refused"]["overloaded"].as_u64();
    assert_eq!(counted, Some(refused.load(Ordering::Relaxed)));
}

#[test]
fn connection_above_the_limit_is_told_and_closed() {
    let relay = Relay::setup().limit("connections_max", "4").start();
    let held: Vec<TcpStream> = (0..4).map(|_| connect(relay.addr()).unwrap()).collect();
    let refused = eventually("the fifth is refused", || {
        let stream = connect(relay.addr()).ok()?;
        read_response(&mut std::io::BufReader::new(stream), false).ok()
    });
    assert_eq!(refused.status, 503);
    assert!(refused.header("retry-after").is_some());
    drop(held);
    eventually("there is room again", || {
        Client::try_get(relay.addr(), "/health").filter(|answer| answer.status == 200)
    });
    assert!(metric(&relay, "dchat_connections_refused_total") >= 1.0);
}

#[test]
fn subscriber_above_the_limit_is_overload() {
    let relay = Relay::setup().limit("subscribers_max", "2").start();
    let stream = relay.events("/api/v1/stream?user=a");
    let _socket = relay.socket();
    let refused = relay.get("/api/v1/stream?user=a");
    refused.refused(503, "OVERLOADED");
    assert!(refused.header("retry-after").is_some());
    drop(stream);
    eventually("the place is given back", || {
        Events::try_open(relay.addr(), "/api/v1/stream?user=a", &[])
            .ok()
            .filter(|events| events.head.status == 200)
    });
}

#[test]
fn subscription_above_the_limit_of_a_socket_is_refused() {
    let relay = Relay::start();
    let mut socket = relay.socket();
    for n in 0..64 {
        socket.subscribe(json!({"user": format!("u{n}")}));
    }
    socket.send(json!({"type": "subscribe", "user": "one-more"}));
    assert_eq!(socket.next_of("error")["error"], "OVERLOADED");
    socket.subscribe(json!({"user": "u7", "after": 0}));
    socket.send(json!({"type": "unsubscribe", "user": "u7"}));
    socket.next_of("unsubscribed");
    socket.subscribe(json!({"user": "one-more"}));
}

#[test]
fn idle_connection_is_closed_by_its_clock() {
    let relay = Relay::setup().limit("idle_timeout", "1s").start();
    let mut silent = connect(relay.addr()).unwrap();
    assert_eq!(
        silent.read(&mut [0; 1]).unwrap(),
        0,
        "closed without a word"
    );
    eventually("it is counted", || {
        (metric(&relay, "dchat_connections_timed_out_total") >= 1.0).then_some(())
    });
}

#[test]
fn socket_that_takes_nothing_is_closed_and_the_relay_goes_on() {
    let relay = Relay::setup().limit("socket_stall_max", "500ms").start();
    let mut socket = relay.socket();
    socket.send(json!({"type": "subscribe", "user": "bob", "after": 0}));
    fill_mailbox(&relay);
    eventually("the stalled socket is closed", || {
        (metric(&relay, "dchat_websockets") == 0.0).then_some(())
    });
    assert!(metric(&relay, "dchat_subscribers_stalled_total") >= 1.0);
    assert_eq!(relay.all("user=bob").len(), 480, "nothing is lost by it");
}

#[test]
fn stream_that_takes_nothing_is_closed_and_the_relay_goes_on() {
    let relay = Relay::setup().limit("socket_stall_max", "500ms").start();
    let stalled = relay.events("/api/v1/stream?user=bob&after=0");
    fill_mailbox(&relay);
    eventually("the stalled stream is closed", || {
        (metric(&relay, "dchat_event_streams") == 0.0).then_some(())
    });
    drop(stalled);
    assert_eq!(relay.all("user=bob").len(), 480);
}

#[test]
fn configured_size_is_507_until_something_is_deleted() {
    let relay = Relay::setup().limit("database_bytes_max", "1MiB").start();
    let content = "x".repeat(40_000);
    let mut ids = Vec::new();
    let refused = loop {
        let answer = relay.post(
            POST,
            &json!({"sender": "a", "recipient": "b", "content": content}),
        );
        if answer.status != 200 {
            break answer;
        }
        ids.push(answer.json()["message_id"].as_str().unwrap().to_owned());
        assert!(ids.len() < 2_000, "1 MiB holds no 80 MB");
    };
    refused.refused(507, "STORAGE_FULL");
    relay.message(&ids[0]);
    let ack = json!({"user": "b", "ids": [ids[0]]});
    assert_eq!(
        relay.post("/api/v1/messages/ack", &ack).expect(200).json()["acknowledged"],
        1
    );
    for id in &ids {
        relay.delete(&format!("{POST}/{id}")).expect(204);
    }
    eventually("there is room again", || {
        let answer = relay.post(POST, &json!({"sender": "a", "content": "x"}));
        (answer.status == 200).then_some(())
    });
}

/// A file system of its own, unmounted when dropped. Only root can mount one.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Option<SmallDisk> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("not run: only root can mount a small file system");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let mounted = command("mount", ["-t", "tmpfs", "-o", "size=100m", "none"])
            .arg(dir.path())
            .run();
        if mounted.code != 0 {
            eprintln!("not run: this machine mounts no tmpfs: {}", mounted.stderr);
            return None;
        }
        Some(SmallDisk(dir))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        command("umount", ["-l"]).arg(self.0.path()).run();
    }
}

#[test]
fn full_disk_refuses_posts_alone_and_recovers_without_restart() {
    let Some(disk) = SmallDisk::mount() else {
        return;
    };
    let relay = Relay::setup().in_dir(disk.path().join("data")).start();
    relay.accept(json!({"id": "m", "sender": "a", "recipient": "b", "content": "x"}));
    relay.accept(json!({"id": "n", "sender": "a", "recipient": "b", "content": "x"}));
    // Down to the floor of 64 MiB.
    let filler = disk.path().join("filler");
    std::fs::write(&filler, vec![1_u8; 50 << 20]).unwrap();
    let message = json!({"sender": "a", "recipient": "b", "content": "y"});
    eventually("posts are refused", || {
        (relay.post(POST, &message).status == 507).then_some(())
    });
    relay.post(POST, &message).refused(507, "STORAGE_FULL");
    relay.message("m");
    let ack = json!({"user": "b", "ids": ["m"]});
    assert_eq!(
        relay.post("/api/v1/messages/ack", &ack).expect(200).json()["acknowledged"],
        1
    );
    relay.delete("/api/v1/messages/n").expect(204);
    relay.get("/health").expect(503);
    relay.get("/ready").expect(200);
    std::fs::remove_file(filler).unwrap();
    eventually("posts are taken again", || {
        (relay.post(POST, &message).status == 200).then_some(())
    });
    relay.get("/health").expect(200);
}
