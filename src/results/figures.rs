//! The totals that a verdict is made of: as the client measured them, or from the stored series.
//!
//! The client's are exact, so they win; a run that was lost, is still running, or comes from
//! another reporter is judged from its series, whose percentiles are good to 1 %.

use serde::{Deserialize, Serialize};

use super::series::Kind;
use super::verdict::Figures;
use crate::histogram::Histogram;
use crate::storage::runs::{Point, SeriesRow};

/// Template of the relay's call that accepts one message, as reporters name it.
const MESSAGES_NAME: &str = "/api/v1/messages";
/// Width of the window in which the best sustained rate is sought, in seconds.
const WINDOW_SECONDS: i64 = 10;

/// [`Figures`] as they stand in the `finish` call and in the file, key by key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Totals {
    pub requests: u64,
    pub failed: u64,
    pub p95_ms: Option<f64>,
    pub p99_ms: Option<f64>,
    pub request_seconds: f64,
    pub iterations: u64,
    pub iteration_seconds: f64,
    pub vus_max: u32,
    pub duration_seconds: f64,
    pub messages: u64,
    pub best_per_second: f64,
    pub offered_iterations_per_second: Option<f64>,
}

impl Totals {
    pub fn figures(&self) -> Figures {
        Figures {
            requests: self.requests,
            failed: self.failed,
            p95_ms: self.p95_ms,
            p99_ms: self.p99_ms,
            request_seconds: self.request_seconds,
            iterations: self.iterations,
            iteration_seconds: self.iteration_seconds,
            vus_max: self.vus_max,
            duration_seconds: self.duration_seconds,
            messages: self.messages,
            best_per_second: self.best_per_second,
            offered_iterations_per_second: self.offered_iterations_per_second,
        }
    }
}

/// What a series contributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Requests,
    /// Requests that hand one message to a relay.
    Messages,
    Failed,
    Duration,
    Blocked,
    Iterations,
    IterationDuration,
    Vus,
}

/// Adds up [`Figures`] from stored points.
#[derive(Debug)]
pub(super) struct FiguresFromSeries {
    roles: Vec<(i64, Role)>,
    figures: Figures,
    durations: Histogram,
    /// Per second since the first one seen: requests and messages.
    seconds: std::collections::BTreeMap<i64, (f64, f64)>,
}

impl FiguresFromSeries {
    /// Picks the series that matter.
    pub(super) fn new(series: &[SeriesRow]) -> FiguresFromSeries {
        let roles = series
            .iter()
            .filter_map(|row| Some((row.series_key, role_of(row)?)))
            .collect();
        FiguresFromSeries {
            roles,
            figures: Figures::default(),
            durations: Histogram::new(),
            seconds: std::collections::BTreeMap::new(),
        }
    }

    pub(super) fn series_keys(&self) -> Vec<i64> {
        self.roles.iter().map(|(key, _)| *key).collect()
    }

    pub(super) fn add(&mut self, series_key: i64, second: i64, point: &Point) {
        let roles = self.roles.iter();
        let Some(&(_, role)) = roles.clone().find(|(key, _)| *key == series_key) else {
            return;
        };
        let figures = &mut self.figures;
        match role {
            Role::Requests | Role::Messages => {
                let messages = if role == Role::Messages {
                    point.sum
                } else {
                    0.0
                };
                figures.requests += point.sum as u64;
                figures.messages += messages as u64;
                let counts = self.seconds.entry(second).or_default();
                counts.0 += point.sum;
                counts.1 += messages;
            }
            Role::Failed => figures.failed += point.sum as u64,
            Role::Duration => {
                figures.request_seconds += point.sum / 1_000.0;
                if let Some(histogram) = &point.histogram {
                    self.durations.merge(histogram);
                }
            }
            Role::Blocked => figures.request_seconds += point.sum / 1_000.0,
            Role::Iterations => figures.iterations += point.sum as u64,
            Role::IterationDuration => figures.iteration_seconds += point.sum / 1_000.0,
            Role::Vus => {
                let vus = point.max.unwrap_or_default().max(0.0) as u32;
                figures.vus_max = figures.vus_max.max(vus);
            }
        }
    }

    pub(super) fn finish(mut self) -> Figures {
        if !self.durations.is_empty() {
            self.figures.p95_ms = Some(self.durations.quantile(0.95));
            self.figures.p99_ms = Some(self.durations.quantile(0.99));
        }
        self.figures.best_per_second = self.best_per_second();
        let ends = self
            .seconds
            .first_key_value()
            .zip(self.seconds.last_key_value());
        self.figures.duration_seconds =
            ends.map_or(0.0, |((first, _), (last, _))| (last - first + 1) as f64);
        self.figures
    }

    fn best_per_second(&self) -> f64 {
        let messages = self.figures.messages > 0;
        let count = |counts: &(f64, f64)| if messages { counts.1 } else { counts.0 };
        let (Some((&first, _)), Some((&last, _))) = (
            self.seconds.first_key_value(),
            self.seconds.last_key_value(),
        ) else {
            return 0.0;
        };
        let sum = |from: i64, to: i64| -> f64 {
            self.seconds.range(from..=to).map(|(_, c)| count(c)).sum()
        };
        if last - first + 1 < WINDOW_SECONDS {
            return sum(first, last) / (last - first + 1) as f64;
        }
        // Windows begin at seconds that have something: others can't be better.
        self.seconds
            .keys()
            .filter(|start| **start + WINDOW_SECONDS - 1 <= last)
            .map(|start| sum(*start, start + WINDOW_SECONDS - 1) / WINDOW_SECONDS as f64)
            .fold(0.0, f64::max)
    }
}

fn role_of(row: &SeriesRow) -> Option<Role> {
    let is = |kind: Kind| row.kind == kind.word();
    match row.metric.as_str() {
        "http_reqs" if is(Kind::Counter) => {
            let tags = super::series::read_tags(&row.tags);
            let tag = |name: &str| tags.get(name).map(String::as_str);
            let message = tag("method") == Some("POST") && tag("name") == Some(MESSAGES_NAME);
            Some(if message {
                Role::Messages
            } else {
                Role::Requests
            })
        }
        "http_req_failed" if is(Kind::Rate) => Some(Role::Failed),
        "http_req_duration" if is(Kind::Trend) => Some(Role::Duration),
        "http_req_blocked" if is(Kind::Trend) => Some(Role::Blocked),
        "iterations" if is(Kind::Counter) => Some(Role::Iterations),
        "iteration_duration" if is(Kind::Trend) => Some(Role::IterationDuration),
        "vus" if is(Kind::Gauge) => Some(Role::Vus),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(series_key: i64, metric: &str, kind: Kind, tags: &str) -> SeriesRow {
        SeriesRow {
            series_key,
            metric: metric.into(),
            tags: tags.into(),
            kind: kind.word().into(),
        }
    }

    fn point(count: u64, sum: f64) -> Point {
        Point {
            count,
            sum,
            ..Point::default()
        }
    }

    #[test]
    fn figures_come_from_the_stored_series() {
        let posts = r#"{"method":"POST","name":"/api/v1/messages"}"#;
        let rows = [
            series(1, "http_reqs", Kind::Counter, posts),
            series(2, "http_reqs", Kind::Counter, r#"{"method":"GET"}"#),
            series(3, "http_req_duration", Kind::Trend, "{}"),
            series(4, "vus", Kind::Gauge, "{}"),
            series(5, "my_counter", Kind::Counter, "{}"),
        ];
        let mut adding = FiguresFromSeries::new(&rows);
        assert_eq!(adding.series_keys(), [1, 2, 3, 4]);
        let mut durations = Histogram::new();
        (1..=100).for_each(|ms| durations.record(f64::from(ms)));
        for second in 100..120 {
            let rate = if second >= 110 { 60.0 } else { 5.0 };
            adding.add(1, second, &point(1, rate));
            adding.add(2, second, &point(1, 7.0));
            let trend = Point {
                sum: durations.sum(),
                histogram: Some(durations.clone()),
                ..point(100, 0.0)
            };
            adding.add(3, second, &trend);
            let vus = Point {
                max: Some(second as f64),
                ..point(1, 0.0)
            };
            adding.add(4, second, &vus);
        }
        let figures = adding.finish();
        assert_eq!((figures.requests, figures.messages), (650 + 140, 650));
        assert_eq!(figures.best_per_second, 60.0);
        assert_eq!(figures.vus_max, 119);
        assert!((figures.request_seconds - 101.0).abs() < 1e-6);
        let p95 = figures.p95_ms.expect("there were requests");
        assert!((p95 - 95.0).abs() < 1.5, "{p95}");
    }
}
