//! Durable messages per second through storage alone, without HTTP.
//!
//! `cargo bench --bench writer -- [--seconds N] [--tasks N] [--users N] [--stored N] [--dir DIR]`
//! runs, in one sitting: posts with ascending ids, the same with random ids, one commit per
//! message, and batches of 100; `--stored N` puts N messages into the file first. Prints one line
//! each: rate, p50, p99, mean batch, largest WAL.

#![allow(clippy::print_stdout, reason = "a bench prints its figures")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dchat::limits::Limits;
use dchat::metrics::Metrics;
use dchat::storage::{NewRow, Storage};

struct Plan {
    seconds: u64,
    tasks: usize,
    users: u64,
    stored: u64,
    dir: PathBuf,
}

fn main() {
    let plan = Plan::from_args();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    println!(
        "{} tasks, {} users, {} stored, {} s each",
        plan.tasks, plan.users, plan.stored, plan.seconds
    );
    for (name, commit_jobs_max, batch, ids) in [
        ("ascending ids", 512, 1, Ids::Ascending),
        ("random ids", 512, 1, Ids::Random),
        ("one commit per message", 1, 1, Ids::Ascending),
        ("batches of 100", 512, 100, Ids::Ascending),
    ] {
        let limits = Limits {
            commit_jobs_max,
            ..Limits::default()
        };
        let dir = tempfile::tempdir_in(&plan.dir).expect("a directory");
        let line = runtime.block_on(run(&plan, dir.path(), limits, batch, ids));
        println!("{name:<24} {line}");
    }
}

#[derive(Clone, Copy)]
enum Ids {
    Ascending,
    Random,
}

async fn run(plan: &Plan, dir: &Path, limits: Limits, batch: usize, ids: Ids) -> String {
    let storage = Storage::open(dir, Arc::new(limits), Arc::new(Metrics::new())).expect("it opens");
    let users = plan.users;
    for first in (0..plan.stored).step_by(1_000) {
        let rows = (first..first + 1_000).map(|n| row(n, users, Ids::Ascending));
        storage.put_batch(rows.collect()).await.expect("stored");
    }
    let before = storage.status();
    let stop = Arc::new(AtomicBool::new(false));
    let start = Instant::now();
    let tasks: Vec<_> = (0..plan.tasks as u64)
        .map(|task| {
            let (storage, stop) = (storage.clone(), stop.clone());
            tokio::spawn(async move {
                let mut waits = Vec::new();
                let mut n = task * 7_919;
                while !stop.load(Ordering::Relaxed) {
                    let begin = Instant::now();
                    if batch == 1 {
                        n += 1;
                        storage.put(row(n, users, ids)).await.expect("stored");
                    } else {
                        let rows = (0..batch as u64).map(|i| row(n + i, users, ids)).collect();
                        n += batch as u64;
                        storage.put_batch(rows).await.expect("stored");
                    }
                    waits.push(begin.elapsed());
                }
                waits
            })
        })
        .collect();
    let mut wal_max = 0;
    while start.elapsed() < Duration::from_secs(plan.seconds) {
        tokio::time::sleep(Duration::from_millis(50)).await;
        wal_max = wal_max.max(storage.status().wal_bytes);
    }
    stop.store(true, Ordering::Relaxed);
    let mut waits = Vec::new();
    for task in tasks {
        waits.extend(task.await.expect("no panic"));
    }
    let seconds = start.elapsed().as_secs_f64();
    let after = storage.status();
    tokio::task::spawn_blocking(move || storage.close())
        .await
        .expect("no panic");
    waits.sort_unstable();
    let at = |share: f64| waits[(waits.len() as f64 * share) as usize].as_secs_f64() * 1e3;
    let messages = (after.messages_accepted - before.messages_accepted) as f64;
    let commits = (after.commits - before.commits) as f64;
    format!(
        "{:>8.0} messages/s  p50 {:.2} ms  p99 {:.2} ms  {:.1} messages a commit  WAL {:.0} MiB  {:.0} bytes a message",
        messages / seconds,
        at(0.5),
        at(0.99),
        messages / commits,
        wal_max as f64 / (1 << 20) as f64,
        after.database_bytes as f64 / after.messages_stored as f64,
    )
}

fn row(n: u64, users: u64, ids: Ids) -> NewRow {
    // Spreads neighbours over all users.
    let spread = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let id = match ids {
        Ids::Ascending => uuid::Uuid::now_v7(),
        Ids::Random => uuid::Uuid::new_v4(),
    };
    NewRow {
        id: id.to_string().into(),
        sender: format!("user-{}", spread % users).into(),
        recipient: Some(format!("user-{}", (spread >> 32) % users).into()),
        channel: None,
        content: "x".repeat(100).into(),
        timestamp_ms: Some(1_700_000_000_000),
        ttl_ms: None,
        extras: None,
    }
}

impl Plan {
    fn from_args() -> Plan {
        let mut plan = Plan {
            seconds: 5,
            tasks: 64,
            users: 1_000,
            stored: 0,
            dir: std::env::temp_dir(),
        };
        let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
        while let Some(flag) = args.next() {
            let value = args.next().expect("a value after the flag");
            let number = || value.parse().expect("a number");
            match flag.as_str() {
                "--seconds" => plan.seconds = number(),
                "--tasks" => plan.tasks = number() as usize,
                "--users" => plan.users = number(),
                "--stored" => plan.stored = number(),
                "--dir" => plan.dir = value.clone().into(),
                other => panic!("unknown flag {other}"),
            }
        }
        plan
    }
}
