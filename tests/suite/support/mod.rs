//! What every test stands on: a real relay process, small blocking clients, commands.
//!
//! ```text
//! let mut relay = Relay::start();                          // own process, own directory, port 0, ready
//! let relay = Relay::setup().limit("content_bytes_max", "1KiB").start();   // or .and(["--flag"]), .env(..)
//! relay.accept(json!({"sender":"a","content":"x"}))        // POST one message, 200, the answer
//! relay.accept_from("alice", "bob", "text")                // the same in short
//! relay.get("/health").expect(200).json()
//! relay.post("/api/v1/messages", &json!({})).refused(400, "INVALID_MESSAGE")   // checks the whole error body
//! relay.request("PUT", "/x").header("Host", "h").body("text/plain", b"..").send()
//! relay.client()                                           // a keep-alive connection with the same calls
//! relay.raw(b"GET / HTTP/1.1\r\n\r\n")                     // bytes as they are, on a new connection
//! relay.socket()                                           // WebSocket: send(json), next(), next_of("accepted"), closed_with()
//! relay.events("/api/v1/stream?user=bob&after=0")          // SSE: next() -> Event
//! relay.kill(); relay.restart();                           // SIGKILL; again on the same directory (new port)
//! relay.terminate(); relay.ended() -> exit code; relay.stderr()
//! dchat(["config", "show"]).run().expect(0).stdout         // a command to its end, with a deadline
//! dchat(["relay"]).spawn()                                 // the same, still running: signal, stdout lines
//! Script::new("export default function () {}").args(["-i", "3"]).run().expect(0).metric("iterations")
//! Origin::start(|seen, stream| reply(stream, "200 OK", &[], b"x")).seen()    // a server that answers as told
//! command(peer("chromium"), [..]).run()                    // a stranger's program; missing: fails, ./tests/run installs it
//! eventually("the message is delivered", || Some(..))      // polls with a deadline; tests never sleep
//! rounds(20)                                               // DCHAT_ROUNDS or this
//! Random::seeded()                                         // prints its seed; DCHAT_SEED repeats one
//! ```
//!
//! Everything blocks; for concurrency use `std::thread::scope`. Every child process is killed
//! when its handle is dropped, and its stderr is printed when the test fails.

pub mod command;
pub mod http;
pub mod origin;
pub mod process;
pub mod relay;
pub mod script;
pub mod sse;
pub mod ws;

pub use command::{Finished, Invocation, command, dchat, peer};
pub use http::{Client, Response};
pub use origin::{After, Origin, Seen, raw, reply};
pub use relay::Relay;
pub use script::Script;
pub use serde_json::{Value, json};

use std::time::{Duration, Instant};

/// Longest wait for anything that should happen soon, generous for two busy cores.
pub const SOON: Duration = Duration::from_secs(30);

/// The one assertion of all helpers: `claim` says what was expected and what came instead.
#[track_caller]
pub fn check(holds: bool, claim: impl FnOnce() -> String) {
    assert!(holds, "{}", claim());
}

/// Polls `probe` until it gives a value, at most [`SOON`].
#[track_caller]
pub fn eventually<T>(claim: &str, probe: impl FnMut() -> Option<T>) -> T {
    eventually_within(SOON, claim, probe)
}

/// Polls `probe` until it gives a value, at most `patience`.
#[track_caller]
pub fn eventually_within<T>(
    patience: Duration,
    claim: &str,
    mut probe: impl FnMut() -> Option<T>,
) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = probe() {
            return value;
        }
        check(started.elapsed() < patience, || {
            format!("did not happen within {patience:?}: {claim}")
        });
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Rounds of a slow loop: few by default, `DCHAT_ROUNDS` where it is set.
pub fn rounds(default: usize) -> usize {
    match std::env::var("DCHAT_ROUNDS") {
        Ok(text) => text.parse().expect("DCHAT_ROUNDS is a number"),
        Err(_) => default,
    }
}

/// A small deterministic generator (xorshift64*), seeded from the clock or `DCHAT_SEED`.
pub struct Random(u64);

impl Random {
    pub fn seeded() -> Random {
        let seed = match std::env::var("DCHAT_SEED") {
            Ok(text) => text.parse().expect("DCHAT_SEED is a number"),
            Err(_) => std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .expect("the clock is after 1970")
                .as_nanos() as u64,
        };
        eprintln!("seed: DCHAT_SEED={seed}");
        Random(seed | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number in `0..bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
