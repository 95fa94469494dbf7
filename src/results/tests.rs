//! Results over a real `runs.db` in a temporary directory.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::atomic::{AtomicI64, Ordering};

use super::*;
use crate::histogram::Histogram;

const START_MS: i64 = 1_700_000_000_000;

fn fixed() -> i64 {
    START_MS
}

fn open(dir: &Path, limits: &Limits, clock: Clock) -> Results {
    Results::open_with_clock(dir, limits, clock).unwrap()
}

fn id(n: u8) -> RunId {
    RunId::parse(&format!("0192f0c4-8a3b-7d10-8aaa-0000000000{n:02x}")).unwrap()
}

fn registration(n: u8) -> Registration {
    Registration {
        run_id: id(n),
        name: format!("run {n}"),
        script_name: Some("relay_stress_test.js".into()),
        target: None,
        tags: Tags::from([("env".into(), format!("e{n}"))]),
        started: ClientTime {
            at_ms: Some(START_MS + i64::from(n)),
            sent_at_ms: None,
        },
        document: r#"{"options":{}}"#.into(),
    }
}

fn duration(second: i64, status: &str, values: &[f64]) -> Sample {
    let mut histogram = Histogram::new();
    values.iter().for_each(|value| histogram.record(*value));
    Sample {
        second,
        metric: "http_req_duration".into(),
        kind: Kind::Trend,
        tags: Tags::from([("status".into(), status.into())]),
        count: values.len() as u64,
        sum: histogram.sum(),
        min: Some(histogram.min()),
        max: Some(histogram.max()),
        histogram: Some(histogram),
    }
}

fn batch(run: u8, batch: u64, samples: Vec<Sample>) -> Batch {
    Batch {
        run_id: id(run),
        source: "a".into(),
        batch,
        samples,
    }
}

fn query(run: u8) -> SeriesQuery {
    SeriesQuery {
        run_id: id(run),
        metrics: Vec::new(),
        tags: Tags::new(),
        from_ms: None,
        to_ms: None,
        step: Some(1),
    }
}

fn end(exit_code: i64, aborted: bool) -> End {
    End {
        finished: ClientTime::default(),
        exit_code: Some(exit_code),
        aborted,
        target: Some("http://x:1".into()),
        totals: None,
        document: "{}".into(),
    }
}

#[tokio::test]
async fn batches_of_one_second_add_up_and_repeats_do_not() {
    let dir = tempfile::tempdir().unwrap();
    let results = open(dir.path(), &Limits::default(), fixed);
    results.register(registration(1)).await.unwrap();
    results.register(registration(1)).await.unwrap();
    let second = START_MS / 1_000;
    let first = batch(1, 1, vec![duration(second, "200", &[1.0, 2.0])]);
    assert!(results.add(first.clone()).await.unwrap());
    assert!(!results.add(first).await.unwrap());
    let more = vec![
        duration(second, "200", &[4.0]),
        duration(second, "500", &[100.0]),
    ];
    assert!(results.add(batch(1, 2, more)).await.unwrap());

    let all = results.series(query(1)).await.unwrap();
    let metric = &all.metrics[0];
    assert_eq!((metric.series, metric.steps.len()), (2, 1));
    assert_eq!(metric.steps[0].count, 4);
    assert_eq!(metric.window.max, Some(100.0));
    let tags = Tags::from([("status".into(), "200".into())]);
    let some = SeriesQuery { tags, ..query(1) };
    let some = results.series(some).await.unwrap();
    let window = &some.metrics[0].window;
    assert_eq!((window.count, window.sum), (3, 7.0));
    assert_eq!(window.percentiles.unwrap()[0], 2.0);
    results.close();
}

#[tokio::test]
async fn runs_survive_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let results = open(dir.path(), &Limits::default(), fixed);
    results.register(registration(1)).await.unwrap();
    let samples = vec![duration(START_MS / 1_000, "200", &[5.0; 40])];
    results.add(batch(1, 1, samples)).await.unwrap();
    results.finish(&id(1), end(99, false)).await.unwrap();
    results.close();
    assert!(matches!(
        results.register(registration(2)).await,
        Err(Error::Unavailable)
    ));

    let results = open(dir.path(), &Limits::default(), fixed);
    let whole = results.whole(&id(1)).await.unwrap();
    assert_eq!(whole.run.state, State::Finished);
    assert_eq!(whole.run.exit_code, Some(99));
    assert_eq!(whole.run.target.as_deref(), Some("http://x:1"));
    assert_eq!(whole.series.len(), 1);
    // Judged from its series: p95 and p99 are good, nothing else was measured.
    assert_eq!(whole.run.verdict, Some(Status::Good));
    assert_eq!(whole.verdict.rows[0].figure, "5.00 ms");
    results.close();
}

#[tokio::test]
async fn silent_run_is_lost_and_late_data_revive_it() {
    static NOW: AtomicI64 = AtomicI64::new(START_MS);
    let dir = tempfile::tempdir().unwrap();
    let results = open(dir.path(), &Limits::default(), || {
        NOW.load(Ordering::Relaxed)
    });
    results.register(registration(1)).await.unwrap();
    NOW.fetch_add(60_000, Ordering::Relaxed);
    assert_eq!(results.run(&id(1)).await.unwrap().state, State::Running);
    NOW.fetch_add(1, Ordering::Relaxed);
    assert_eq!(results.run(&id(1)).await.unwrap().state, State::Lost);
    results.add(batch(1, 1, Vec::new())).await.unwrap();
    assert_eq!(results.run(&id(1)).await.unwrap().state, State::Running);
    results.finish(&id(1), end(105, true)).await.unwrap();
    assert_eq!(results.run(&id(1)).await.unwrap().state, State::Aborted);
    results.close();
}

#[tokio::test]
async fn list_pages_newest_first_and_filters() {
    let dir = tempfile::tempdir().unwrap();
    let results = open(dir.path(), &Limits::default(), fixed);
    for n in [2, 1, 3] {
        results.register(registration(n)).await.unwrap();
    }
    let names =
        |page: RunPage| -> Vec<String> { page.runs.into_iter().map(|run| run.name).collect() };
    let query = ListQuery {
        limit: 2,
        ..ListQuery::default()
    };
    let page = results.list(query.clone()).await.unwrap();
    assert!(page.has_more);
    assert_eq!(names(page), ["run 3", "run 2"]);
    let rest = ListQuery {
        before: Some(Before::Run(id(2))),
        ..query.clone()
    };
    let page = results.list(rest).await.unwrap();
    assert!(!page.has_more);
    assert_eq!(names(page), ["run 1"]);
    let tagged = ListQuery {
        tag: Some(("env".into(), Some("e3".into()))),
        ..query.clone()
    };
    assert_eq!(names(results.list(tagged).await.unwrap()), ["run 3"]);
    let found = ListQuery {
        text: Some("RUN 1".into()),
        ..query
    };
    assert_eq!(names(results.list(found).await.unwrap()), ["run 1"]);
    results.close();
}

#[tokio::test]
async fn retention_keeps_the_newest_runs() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits {
        runs_max: 2,
        ..Limits::default()
    };
    let results = open(dir.path(), &limits, fixed);
    for n in 1..=4 {
        results.register(registration(n)).await.unwrap();
        let samples = vec![duration(START_MS / 1_000, "200", &[1.0])];
        results.add(batch(n, 1, samples)).await.unwrap();
    }
    let all = ListQuery {
        limit: 10,
        ..ListQuery::default()
    };
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        let page = results.list(all.clone()).await.unwrap();
        if page.runs.len() == 2 {
            assert_eq!(page.runs[1].name, "run 3");
            break;
        }
        assert!(std::time::Instant::now() < deadline, "retention is late");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert!(matches!(results.run(&id(1)).await, Err(Error::NotFound)));
    assert!(matches!(
        results.add(batch(1, 2, Vec::new())).await,
        Err(Error::NotFound)
    ));
    results.close();
}

#[tokio::test]
async fn watchers_hear_of_their_run_only() {
    let dir = tempfile::tempdir().unwrap();
    let results = open(dir.path(), &Limits::default(), fixed);
    results.register(registration(1)).await.unwrap();
    results.register(registration(2)).await.unwrap();
    let mut watch = results.watch(id(1));
    let samples = vec![duration(77, "200", &[1.0])];
    results.add(batch(2, 1, samples.clone())).await.unwrap();
    results.add(batch(1, 1, samples)).await.unwrap();
    assert_eq!(watch.next().await.unwrap().seconds, Some((77, 77)));
    results.delete(&id(1)).await.unwrap();
    assert_eq!(watch.next().await.unwrap().seconds, None);
    results.close();
}

#[tokio::test]
async fn low_disk_refuses_new_data() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits {
        free_disk_floor_bytes: u64::MAX,
        ..Limits::default()
    };
    let results = open(dir.path(), &limits, fixed);
    assert!(matches!(
        results.register(registration(1)).await,
        Err(Error::Full { .. })
    ));
    results.close();
}
