//! What the summary looks like.

use std::time::Duration;

use super::*;
use crate::load::summary::{CheckSummary, GroupSummary, ThresholdSummary, TrendValues};

fn metric(name: &str, kind: MetricKind, contains: ValueKind, values: Values) -> MetricSummary {
    MetricSummary {
        name: name.to_owned(),
        submetric: None,
        kind,
        contains,
        values,
        thresholds: Vec::new(),
    }
}

#[test]
fn sections_come_in_k6s_order_with_aligned_figures() {
    let trend = |avg: f64, max: f64| {
        Values::Trend(TrendValues {
            stats: vec![("avg".to_owned(), avg), ("max".to_owned(), max)],
            ..TrendValues::default()
        })
    };
    let mut duration = metric(
        "http_req_duration",
        MetricKind::Trend,
        ValueKind::Time,
        trend(140.356, 154.6),
    );
    duration.thresholds = vec![ThresholdSummary {
        source: "p(95)<100".to_owned(),
        value: 148.21,
        ok: false,
        abort_on_fail: false,
    }];
    let mut sub = duration.clone();
    sub.name = "http_req_duration{status:200}".to_owned();
    sub.submetric = Some("status:200".to_owned());
    sub.values = trend(1.5, 2.0);
    sub.thresholds.clear();
    let count = Values::Counter {
        count: 4_900.0,
        per_second: 490.0,
    };
    let rate = Values::Rate {
        rate: 0.75,
        passes: 3,
        fails: 1,
    };
    let summary = Summary {
        duration: Duration::from_secs(10),
        metrics: vec![
            metric("checks", MetricKind::Rate, ValueKind::Default, rate),
            metric(
                "data_sent",
                MetricKind::Counter,
                ValueKind::Data,
                count.clone(),
            ),
            duration,
            sub,
            metric("mine", MetricKind::Counter, ValueKind::Default, count),
        ],
        root_group: GroupSummary {
            checks: vec![CheckSummary {
                name: "is ok".to_owned(),
                path: "::is ok".to_owned(),
                passes: 3,
                fails: 1,
            }],
            ..GroupSummary::default()
        },
        ..Summary::default()
    };
    let style = Style {
        color: Color::Off,
        time_unit: None,
        detail: Detail::Compact,
    };
    let expected = "

  █ THRESHOLDS

    http_req_duration
    ✗ 'p(95)<100' p(95)=148.21ms


  █ TOTAL RESULTS

    checks_total.......................: 4      0.4/s
    checks_succeeded...................: 75.00% 3 out of 4
    checks_failed......................: 25.00% 1 out of 4

    ✗ is ok
      ↳  75% — ✓ 3 / ✗ 1

    CUSTOM
    mine...............................: 4900 490/s

    HTTP
    http_req_duration..................: avg=140.35ms max=154.6ms
      { status:200 }...................: avg=1.5ms    max=2ms

    NETWORK
    data_sent..........................: 4.9 kB 490 B/s
";
    assert_eq!(render(&summary, style), expected);
}

#[test]
fn scenarios_have_blocks_with_their_groups() {
    let count = |count| Values::Counter {
        count,
        per_second: 1.0,
    };
    let mine = |value| {
        metric(
            "mine",
            MetricKind::Counter,
            ValueKind::Default,
            count(value),
        )
    };
    let summary = Summary {
        metrics: vec![mine(3.0)],
        scenarios: vec![BlockSummary {
            name: "left".to_owned(),
            metrics: vec![mine(2.0)],
            groups: vec![BlockSummary {
                name: "deep".to_owned(),
                metrics: vec![mine(1.0)],
                ..BlockSummary::default()
            }],
            ..BlockSummary::default()
        }],
        ..Summary::default()
    };
    let style = Style {
        color: Color::Off,
        time_unit: None,
        detail: Detail::Full,
    };
    let expected = "

  █ TOTAL RESULTS

    CUSTOM
    mine...............................: 3 1/s


  █ SCENARIO: left

    CUSTOM
    mine...............................: 2 1/s

    ↳ GROUP: deep

      CUSTOM
      mine.............................: 1 1/s
";
    assert_eq!(render(&summary, style), expected);
}

#[test]
fn thresholds_of_submetrics_stand_below_their_metric() {
    let threshold = |source: &str, value| ThresholdSummary {
        source: source.to_owned(),
        value,
        ok: true,
        abort_on_fail: false,
    };
    let values = Values::Counter {
        count: 8.0,
        per_second: 2.0,
    };
    let mut whole = metric("hits", MetricKind::Counter, ValueKind::Default, values);
    whole.thresholds = vec![threshold("rate>1", 2.0)];
    let mut part = whole.clone();
    part.name = "hits{a:b}".to_owned();
    part.submetric = Some("a:b".to_owned());
    let summary = Summary {
        metrics: vec![whole, part],
        ..Summary::default()
    };
    let style = Style {
        color: Color::Off,
        time_unit: None,
        detail: Detail::Compact,
    };
    let text = render(&summary, style);
    assert!(
        text.contains("    hits\n    ✓ 'rate>1' rate=2/s\n"),
        "{text}"
    );
    assert!(
        text.contains("\n      {a:b}\n      ✓ 'rate>1' rate=2/s\n"),
        "{text}"
    );
}
