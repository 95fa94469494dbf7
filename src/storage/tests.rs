//! Storage from its own side: what needs a clock of its own or a look into the file.

use std::sync::atomic::{AtomicI64, Ordering};

use tempfile::TempDir;

use super::*;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// A storage in a temporary directory under a clock that the test moves.
struct Bench {
    dir: TempDir,
    hand: Arc<AtomicI64>,
    limits: Limits,
    storage: Storage,
}

impl Bench {
    fn new(limits: Limits) -> Bench {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let hand = Arc::new(AtomicI64::new(1_700_000_000_000));
        let storage = open(&dir, &limits, &hand);
        Bench {
            dir,
            hand,
            limits,
            storage,
        }
    }

    fn reopen(mut self) -> Bench {
        self.storage.close();
        self.storage = open(&self.dir, &self.limits, &self.hand);
        self
    }

    /// Wall and steady clock together, in steps that raise no doubt; then waits for a sweep.
    async fn pass(&self, ms: i64) {
        self.hand.fetch_add(ms, Ordering::SeqCst);
        let swept = || self.count("SELECT count(*) FROM message WHERE expires_at_ms <= ?1");
        for _ in 0..500 {
            if swept() == 0 {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("the sweep left {} rows", swept());
    }

    fn count(&self, sql: &str) -> i64 {
        let connection = Connection::open(self.dir.path().join("messages.db")).expect("a file");
        let mut statement = connection.prepare(sql).expect("valid SQL");
        let now = self.hand.load(Ordering::SeqCst);
        let parameters: Vec<i64> = vec![now; statement.parameter_count()];
        statement
            .query_row(rusqlite::params_from_iter(parameters), |row| row.get(0))
            .expect("one row")
    }

    async fn inbox(&self, user: &str) -> Vec<i64> {
        self.list(user, List::Inbox).await
    }

    /// Read from the file and, where it is complete, from memory: both must agree.
    async fn list(&self, owner: &str, list: List) -> Vec<i64> {
        let query = ListQuery {
            owner: owner.into(),
            list,
            from: Cursor::After(0),
            limit: 100,
            bytes_max: usize::MAX,
        };
        let sequences = |rows: Rows| rows.rows.iter().map(|row| row.sequence).collect::<Vec<_>>();
        let file = sequences(
            self.storage
                .inner
                .readers
                .list(query.clone())
                .await
                .expect("a list"),
        );
        let (rows, _) = self.storage.list(query).await.expect("a list");
        assert_eq!(file, sequences(rows));
        file
    }
}

fn open(dir: &TempDir, limits: &Limits, hand: &Arc<AtomicI64>) -> Storage {
    let hand = hand.clone();
    let clock = Clock::new(move || {
        let now = hand.load(Ordering::SeqCst);
        Moment {
            wall_ms: now,
            steady_ms: now,
        }
    });
    let metrics = Arc::new(Metrics::new());
    Storage::open_at(dir.path(), Arc::new(limits.clone()), metrics, clock).expect("it opens")
}

fn to(recipient: &str, id: &str) -> NewRow {
    NewRow {
        id: id.into(),
        sender: "alice".into(),
        recipient: Some(recipient.into()),
        channel: None,
        content: "hello".into(),
        timestamp_ms: Some(7),
        ttl_ms: None,
        extras: None,
    }
}

fn plain(id: &str) -> NewRow {
    NewRow {
        recipient: None,
        ..to("nobody", id)
    }
}

#[tokio::test]
async fn a_repeat_answers_the_first_post_and_another_content_conflicts() {
    let bench = Bench::new(Limits::default());
    let first = bench.storage.put(to("bob", "a")).await.expect("stored");
    let again = bench.storage.put(to("bob", "a")).await.expect("repeated");
    assert_eq!((first.sequence, true), (again.sequence, again.duplicate));
    for (field, other) in [
        ("recipient", to("eve", "a")),
        (
            "content",
            NewRow {
                content: "other".into(),
                ..to("bob", "a")
            },
        ),
        (
            "sender",
            NewRow {
                sender: "mallory".into(),
                ..to("bob", "a")
            },
        ),
        ("recipient", plain("a")),
    ] {
        let refused = bench.storage.put(other).await.expect_err("another message");
        assert!(
            matches!(refused, JobError::Conflict { index: None, field: found } if found == field),
            "{refused:?}"
        );
    }
    let status = bench.storage.status();
    assert_eq!(
        (1, 1, 1),
        (
            status.messages_stored,
            status.messages_queued,
            status.messages_repeated
        )
    );
}

#[tokio::test]
async fn a_batch_is_all_or_nothing_and_takes_repeats() {
    let bench = Bench::new(Limits::default());
    bench.storage.put(to("bob", "taken")).await.expect("stored");
    let conflicting = NewRow {
        content: "other".into(),
        ..to("bob", "taken")
    };
    let refused = bench
        .storage
        .put_batch(vec![to("bob", "x"), conflicting])
        .await;
    assert!(matches!(
        refused,
        Err(JobError::Conflict {
            index: Some(1),
            field: "content"
        })
    ));
    assert!(bench.storage.get("x").await.expect("readable").is_none());
    let puts = bench
        .storage
        .put_batch(vec![to("bob", "x"), to("bob", "x"), to("bob", "taken")]);
    let puts = puts.await.expect("stored");
    assert_eq!(
        vec![false, true, true],
        puts.iter().map(|put| put.duplicate).collect::<Vec<_>>()
    );
    assert_eq!((2, 2), (puts[0].sequence, puts[1].sequence));
    assert_eq!(vec![1, 2], bench.inbox("bob").await);
}

#[tokio::test]
async fn acknowledged_messages_stay_in_the_inbox_and_leave_the_queue() {
    let bench = Bench::new(Limits::default());
    for id in ["a", "b", "c"] {
        bench.storage.put(to("bob", id)).await.expect("stored");
    }
    let ids = vec!["b".into(), "missing".into()];
    assert_eq!(
        1,
        bench
            .storage
            .ack_ids("bob".into(), ids.clone())
            .await
            .expect("acked")
    );
    assert_eq!(
        0,
        bench
            .storage
            .ack_ids("bob".into(), ids)
            .await
            .expect("a repeat")
    );
    assert_eq!(
        0,
        bench
            .storage
            .ack_ids("eve".into(), vec!["a".into()])
            .await
            .expect("not hers")
    );
    assert_eq!(vec![1, 3], bench.list("bob", List::Queued).await);
    assert_eq!(vec![1, 2, 3], bench.inbox("bob").await);
    assert_eq!(
        2,
        bench
            .storage
            .ack_up_to("bob".into(), 3)
            .await
            .expect("acked")
    );
    assert_eq!(0, bench.storage.status().messages_queued);
    let row = bench
        .storage
        .get("a")
        .await
        .expect("readable")
        .expect("there");
    assert_eq!(
        row.delivered_at_ms.map(|at| at + 30 * DAY_MS),
        row.expires_at_ms
    );
}

#[tokio::test]
async fn a_large_ack_runs_in_slices() {
    let bench = Bench::new(Limits::default());
    let rows = (0..1_234).map(|n| to("bob", &format!("m{n}"))).collect();
    bench.storage.put_batch(rows).await.expect("stored");
    assert_eq!(
        1_234,
        bench
            .storage
            .ack_up_to("bob".into(), i64::MAX)
            .await
            .expect("acked")
    );
    assert_eq!(0, bench.storage.status().messages_queued);
}

#[tokio::test]
async fn all_merges_sent_and_received_once_in_both_directions() {
    let bench = Bench::new(Limits::default());
    bench
        .storage
        .put(to("alice", "self"))
        .await
        .expect("stored");
    bench.storage.put(to("bob", "out")).await.expect("stored");
    let incoming = NewRow {
        sender: "bob".into(),
        ..to("alice", "in")
    };
    bench.storage.put(incoming).await.expect("stored");
    bench
        .storage
        .ack_ids("alice".into(), vec!["self".into()])
        .await
        .expect("acked");
    assert_eq!(vec![1, 2, 3], bench.list("alice", List::All).await);
    let newest = ListQuery {
        owner: "alice".into(),
        list: List::All,
        from: Cursor::Before(i64::MAX),
        limit: 2,
        bytes_max: usize::MAX,
    };
    let (page, committed) = bench.storage.list(newest).await.expect("a page");
    let sequences: Vec<i64> = page.rows.iter().map(|row| row.sequence).collect();
    assert_eq!((vec![2, 3], true, 3), (sequences, page.has_more, committed));
}

#[tokio::test]
async fn the_id_of_a_deleted_message_stays_reserved_then_is_free() {
    let bench = Bench::new(Limits::default());
    let ttl = |id: &str| NewRow {
        ttl_ms: Some(HOUR_MS),
        ..to("bob", id)
    };
    bench.storage.put(ttl("a")).await.expect("stored");
    assert!(bench.storage.delete("a".into()).await.expect("deleted"));
    assert!(!bench.storage.delete("a".into()).await.expect("gone"));
    assert!(bench.storage.get("a").await.expect("readable").is_none());
    assert!(bench.inbox("bob").await.is_empty());
    let bench = bench.reopen();
    let again = bench.storage.put(ttl("a")).await.expect("reserved");
    assert_eq!(
        (State::Deleted, true, 1),
        (again.state, again.duplicate, again.sequence)
    );
    let other = NewRow {
        content: "other".into(),
        ..ttl("a")
    };
    assert!(matches!(
        bench.storage.put(other).await,
        Err(JobError::Conflict { .. })
    ));
    bench.pass(HOUR_MS + DAY_MS - 1).await;
    assert_eq!(
        State::Deleted,
        bench.storage.put(ttl("a")).await.expect("reserved").state
    );
    bench.pass(1).await;
    assert_eq!(0, bench.count("SELECT count(*) FROM message"));
    let free = bench.storage.put(ttl("a")).await.expect("stored anew");
    assert_eq!(
        (State::Queued, false, 2),
        (free.state, free.duplicate, free.sequence)
    );
}

#[tokio::test]
async fn a_ttl_ends_a_waiting_message_and_nothing_else_does() {
    let bench = Bench::new(Limits::default());
    bench
        .storage
        .put(NewRow {
            ttl_ms: Some(1_000),
            ..to("bob", "short")
        })
        .await
        .expect("stored");
    bench
        .storage
        .put(to("bob", "patient"))
        .await
        .expect("stored");
    bench.storage.put(plain("post")).await.expect("stored");
    bench.hand.fetch_add(1_000, Ordering::SeqCst);
    assert!(
        bench
            .storage
            .get("short")
            .await
            .expect("readable")
            .is_none(),
        "not swept, yet gone"
    );
    assert_eq!(vec![2], bench.inbox("bob").await);
    let late = NewRow {
        ttl_ms: Some(1_000),
        ..to("bob", "short")
    };
    assert_eq!(
        State::Expired,
        bench.storage.put(late).await.expect("reserved").state
    );
    bench.pass(31 * DAY_MS).await;
    let alive = "SELECT count(*) FROM message WHERE removed IS NULL";
    for _ in 0..500 {
        if bench.count(alive) == 1 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(1, bench.count(alive), "the post went by its retention");
    assert_eq!(vec![2], bench.inbox("bob").await);
    let status = bench.storage.status();
    assert_eq!(
        (1, 1, 1),
        (
            status.messages_stored,
            status.messages_queued,
            status.messages_expired_undelivered,
        )
    );
}

#[tokio::test]
async fn counts_and_sequence_survive_a_restart() {
    let bench = Bench::new(Limits::default());
    bench.storage.put(to("bob", "a")).await.expect("stored");
    bench.storage.put(plain("b")).await.expect("stored");
    let epoch = bench.storage.epoch().to_owned();
    let bench = bench.reopen();
    let status = bench.storage.status();
    assert_eq!((2, 1), (status.messages_stored, status.messages_queued));
    assert_eq!(epoch, bench.storage.epoch());
    assert_eq!(
        3,
        bench
            .storage
            .put(plain("c"))
            .await
            .expect("stored")
            .sequence
    );
    assert_eq!(vec![1], bench.inbox("bob").await);
}

#[tokio::test]
async fn close_answers_what_is_queued_and_empties_the_wal() {
    let bench = Bench::new(Limits::default());
    let puts: Vec<_> = (0..200)
        .map(|n| {
            let storage = bench.storage.clone();
            tokio::spawn(async move { storage.put(plain(&format!("m{n}"))).await })
        })
        .collect();
    tokio::task::yield_now().await;
    let storage = bench.storage.clone();
    tokio::task::spawn_blocking(move || storage.close())
        .await
        .expect("no panic");
    let mut stored = 0;
    for put in puts {
        match put.await.expect("no panic") {
            Ok(_) => stored += 1,
            Err(error) => assert!(matches!(error, JobError::Unavailable), "{error:?}"),
        }
    }
    assert!(stored > 0);
    let wal =
        std::fs::metadata(bench.dir.path().join("messages.db-wal")).map_or(0, |wal| wal.len());
    assert_eq!(0, wal);
    assert_eq!(stored, bench.count("SELECT count(*) FROM message"));
    assert!(matches!(
        bench.storage.put(plain("late")).await,
        Err(JobError::Unavailable)
    ));
}

#[tokio::test]
async fn a_full_database_refuses_posts_but_takes_acks_and_deletes_and_recovers() {
    let limits = Limits {
        database_bytes_max: 1024 * 1024,
        ..Limits::default()
    };
    let bench = Bench::new(limits);
    let content: Arc<str> = "x".repeat(60_000).into();
    let large = |id: String| NewRow {
        content: content.clone(),
        ..to("bob", &id)
    };
    let mut stored = 0;
    let refused = loop {
        match bench.storage.put(large(format!("m{stored}"))).await {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
        assert!(stored < 10_000, "it never fills");
    };
    assert!(matches!(refused, JobError::Full { .. }), "{refused:?}");
    assert_eq!(
        1,
        bench
            .storage
            .ack_ids("bob".into(), vec!["m0".into()])
            .await
            .expect("acked")
    );
    assert!(bench.storage.get("m1").await.expect("readable").is_some());
    for n in 0..stored {
        assert!(
            bench
                .storage
                .delete(format!("m{n}").into())
                .await
                .expect("deleted")
        );
    }
    for _ in 0..500 {
        if bench.storage.put(large("after".into())).await.is_ok() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("no room after the deletes");
}

#[tokio::test]
async fn a_full_queue_is_overloaded_at_once() {
    let limits = Limits {
        queue_jobs_max: 0,
        ..Limits::default()
    };
    let bench = Bench::new(limits);
    let refused = bench.storage.put(plain("a")).await;
    assert!(
        matches!(refused, Err(JobError::Overloaded { .. })),
        "{refused:?}"
    );
}

#[test]
fn files_that_are_not_ours_are_refused_and_stay_as_they_are() {
    let refusal = |prepare: &dyn Fn(&Path)| {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("messages.db");
        prepare(&path);
        let before = std::fs::read(&path).expect("it exists");
        let metrics = Arc::new(Metrics::new());
        let error = Storage::open(dir.path(), Arc::new(Limits::default()), metrics).err();
        assert_eq!(before, std::fs::read(&path).expect("it exists"));
        error.expect("refused").to_string()
    };
    let sql = |sql: &'static str| {
        move |path: &Path| {
            let connection = Connection::open(path).expect("a new file");
            connection.execute_batch(sql).expect("valid SQL");
        }
    };
    let text = refusal(&|path| std::fs::write(path, "no database".repeat(100)).expect("written"));
    assert!(
        text.contains("is not a dchat database: it is no SQLite file"),
        "{text}"
    );
    let text = refusal(&sql("CREATE TABLE other (x)"));
    assert!(text.contains("application id is 0x0"), "{text}");
    let text = refusal(&sql(
        "CREATE TABLE t (x); PRAGMA application_id = 0x6463684D; PRAGMA user_version = 9",
    ));
    assert!(
        text.contains("newer dchat (schema 9; this one knows up to 1)"),
        "{text}"
    );
}
