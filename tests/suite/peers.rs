//! Strangers' programs against the built binary: Locust, promtool, sqlite3.
//!
//! A peer that is missing fails its test, with the sentence that says what installs it. The page
//! in a real browser is `viewer`'s.

use std::path::Path;
use std::time::Duration;

use crate::support::*;

/// Checks both database files with the sqlite3 of the system, another build than the one inside.
#[track_caller]
fn check_integrity(dir: &Path) {
    for file in ["messages.db", "runs.db"] {
        let report = command(peer("sqlite3"), [dir.join(file)])
            .arg("PRAGMA integrity_check; PRAGMA foreign_key_check;")
            .run()
            .expect(0);
        assert_eq!(report.stdout.trim(), "ok", "{file}");
    }
}

#[test]
fn locust_with_50_users_sees_no_failure() {
    let mut relay = Relay::start();
    let out = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/load/locustfile.py");
    let locust = command(
        peer("locust"),
        ["--headless", "-u", "50", "-r", "50", "-t", "10s"],
    )
    .arg("-f")
    .arg(script)
    .arg("--host")
    .arg(relay.url())
    .arg("--csv")
    .arg(out.path().join("out"))
    .arg("--only-summary")
    .within(Duration::from_secs(120))
    .run()
    .expect(0);
    let stats = std::fs::read_to_string(out.path().join("out_stats.csv")).unwrap();
    let failures = std::fs::read_to_string(out.path().join("out_failures.csv")).unwrap();
    assert_eq!(
        failures.lines().count(),
        1,
        "only the head line: {failures}"
    );
    for name in [
        "POST,/api/v1/messages (chat)",
        "POST,/api/v1/messages (heavy)",
        "POST,/api/v1/messages (burst)",
        "GET,/api/v1/messages?user=[user]",
        "/api/v1/status",
        "/health",
    ] {
        assert!(
            stats.contains(name),
            "{name} did not run:\n{stats}\n{}",
            locust.stderr
        );
    }
    relay.stop();
    check_integrity(relay.dir());
}

#[test]
fn promtool_finds_nothing_wrong_with_the_metrics() {
    let relay = Relay::start();
    relay.accept_from("a", "b", "x");
    relay
        .post("/api/v1/messages", &json!({}))
        .refused(400, "INVALID_MESSAGE");
    relay.get("/nothing").refused(404, "NOT_FOUND");
    let page = relay.get("/metrics").expect(200).body;
    let report = command(peer("promtool"), ["check", "metrics"])
        .stdin(page)
        .run()
        .expect(0);
    assert_eq!((report.stdout.as_str(), report.stderr.as_str()), ("", ""));
}

#[test]
fn databases_are_whole_after_a_kill_under_load() {
    let mut relay = Relay::start();
    let addr = relay.addr();
    std::thread::scope(|scope| {
        for n in 0..8 {
            scope.spawn(move || {
                let body = json!({"sender": "a", "recipient": format!("u{n}"), "content": "x"});
                let mut client = Client::to(addr);
                let post = |client: &mut Client| {
                    client
                        .request("POST", "/api/v1/messages")
                        .json(&body)
                        .try_send()
                };
                while post(&mut client).is_ok_and(|answer| answer.status == 200) {}
            });
        }
        eventually("the load is on", || {
            (relay.status()["messages"]["accepted"].as_u64()? > 200).then_some(())
        });
        relay.kill();
    });
    check_integrity(relay.dir());
}
