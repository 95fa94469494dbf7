//! The handful of totals that a verdict is made of, tracked while a run goes on.
//!
//! The metrics engine feeds every container to one [`FiguresTracker`]; the terminal and the
//! reporter read the same [`Figures`] from the run's outcome, so that both judge the same numbers.
//! Pure, bounded memory: two small counts per second of the run.

use std::time::Duration;

use super::builtin;
use super::sample::{Container, HttpSample, Value};

/// Seconds of a run that are looked at for the best rate: one week.
const SECONDS_MAX: usize = 604_800;
/// Width of the window in which the best sustained rate is sought, in seconds.
const WINDOW_SECONDS: usize = 10;
/// Path of the relay's call that accepts one message.
const MESSAGES_PATH: &str = "/api/v1/messages";

/// Totals of one run. Rates are per second, times in the unit of their name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    pub requests: u64,
    /// Requests that counted as failed in `http_req_failed`.
    pub failed: u64,
    /// Of `http_req_duration`; `None` without requests.
    pub p95_ms: Option<f64>,
    pub p99_ms: Option<f64>,
    /// Sum over all requests of the time from wanting a connection to the last byte.
    pub request_seconds: f64,
    pub iterations: u64,
    /// Sum of `iteration_duration`.
    pub iteration_seconds: f64,
    pub dropped_iterations: u64,
    pub vus_max: u32,
    pub duration_seconds: f64,
    /// Messages posted one by one to a relay (`POST /api/v1/messages`).
    pub messages: u64,
    /// Best mean rate over ten consecutive seconds, of messages if there were any, else of
    /// requests; over the whole run if that was shorter.
    pub best_per_second: f64,
    /// Iterations that open-model executors were asked to start; `None` where the VUs set the pace.
    pub offered_iterations_per_second: Option<f64>,
}

/// Adds up what [`Figures`] needs beyond the metrics' own sinks.
#[derive(Debug, Default)]
pub struct FiguresTracker {
    totals: Figures,
    /// Requests and messages that ended in each second since the start.
    seconds: Vec<(u32, u32)>,
}

impl FiguresTracker {
    pub fn add(&mut self, container: &Container) {
        match &container.value {
            Value::Http(sample) => self.add_http(container.at, sample),
            Value::One { metric, value, .. } => match *metric {
                builtin::ITERATIONS => self.totals.iterations += *value as u64,
                builtin::ITERATION_DURATION => self.totals.iteration_seconds += value / 1_000.0,
                builtin::DROPPED_ITERATIONS => self.totals.dropped_iterations += *value as u64,
                builtin::VUS => self.totals.vus_max = self.totals.vus_max.max(*value as u32),
                _ => {}
            },
        }
    }

    /// The figures so far. `elapsed` is the time in which VUs ran, without setup and teardown;
    /// percentiles come from the sink of `http_req_duration`.
    pub fn figures(
        &self,
        elapsed: Duration,
        p95_ms: Option<f64>,
        p99_ms: Option<f64>,
        offered_iterations_per_second: Option<f64>,
    ) -> Figures {
        Figures {
            p95_ms,
            p99_ms,
            duration_seconds: elapsed.as_secs_f64(),
            best_per_second: self.best_per_second(elapsed),
            offered_iterations_per_second,
            ..self.totals.clone()
        }
    }

    fn add_http(&mut self, at: Duration, sample: &HttpSample) {
        let timings = &sample.timings;
        // Blocked contains DNS, connecting and TLS.
        let whole = timings.blocked + timings.duration();
        self.totals.requests += 1;
        self.totals.failed += u64::from(sample.failed == Some(true));
        self.totals.request_seconds += whole.as_secs_f64();
        let is_message = is_message_post(sample);
        self.totals.messages += u64::from(is_message);
        let second = at.as_secs() as usize;
        if second < SECONDS_MAX {
            if self.seconds.len() <= second {
                self.seconds.resize(second + 1, (0, 0));
            }
            self.seconds[second].0 += 1;
            self.seconds[second].1 += u32::from(is_message);
        }
    }

    fn best_per_second(&self, elapsed: Duration) -> f64 {
        let messages = self.totals.messages > 0;
        let count = |second: &(u32, u32)| u64::from(if messages { second.1 } else { second.0 });
        let best = self
            .seconds
            .windows(WINDOW_SECONDS)
            .map(|window| window.iter().map(count).sum::<u64>())
            .max();
        match best {
            Some(best) => best as f64 / WINDOW_SECONDS as f64,
            None => {
                let all: u64 = self.seconds.iter().map(count).sum();
                all as f64 / elapsed.as_secs_f64().max(1.0)
            }
        }
    }
}

/// Whether this was a message handed to a relay, by method and path.
fn is_message_post(sample: &HttpSample) -> bool {
    let posted = sample
        .tags
        .shared
        .get("method")
        .is_some_and(|m| &**m == "POST");
    let url = sample.tags.url.as_ref().or(sample.tags.name.as_ref());
    posted && url.is_some_and(|url| path_of(url) == MESSAGES_PATH)
}

/// The path of a URL text, without query and fragment; the text itself if it has no authority.
fn path_of(url: &str) -> &str {
    let rest = match url.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("", |slash| &rest[slash..]),
        None => url,
    };
    rest.split(['?', '#']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::metrics::sample::Timings;
    use crate::load::metrics::{RequestTags, TagSet};

    fn post(at_seconds: u64, url: &str) -> Container {
        let tags = RequestTags {
            shared: TagSet::new([("method", "POST")]),
            name: None,
            url: Some(url.into()),
        };
        let sample = HttpSample {
            timings: Timings {
                waiting: Duration::from_millis(4),
                ..Timings::default()
            },
            failed: Some(false),
            tags,
        };
        Container {
            at: Duration::from_secs(at_seconds),
            vu: 1,
            iter: 0,
            metadata: None,
            value: Value::Http(Box::new(sample)),
        }
    }

    #[test]
    fn best_rate_is_the_best_ten_seconds() {
        let mut tracker = FiguresTracker::default();
        for second in 0..30 {
            let rate = if (10..20).contains(&second) { 50 } else { 5 };
            for _ in 0..rate {
                tracker.add(&post(second, "http://r:1/api/v1/messages?x=1"));
            }
        }
        let figures = tracker.figures(Duration::from_secs(30), Some(4.0), Some(4.0), None);
        assert_eq!(figures.best_per_second, 50.0);
        assert_eq!(figures.messages, 600);
        assert_eq!(figures.requests, 600);
        assert!((figures.request_seconds - 2.4).abs() < 1e-9);
    }

    #[test]
    fn short_run_is_taken_as_a_whole() {
        let mut tracker = FiguresTracker::default();
        for _ in 0..40 {
            tracker.add(&post(0, "http://r:1/other"));
        }
        let figures = tracker.figures(Duration::from_secs(4), None, None, None);
        assert_eq!(figures.messages, 0);
        assert_eq!(figures.best_per_second, 10.0);
    }

    #[test]
    fn only_the_single_post_counts_as_a_message() {
        assert_eq!(path_of("https://a:7/api/v1/messages#f"), MESSAGES_PATH);
        assert_ne!(path_of("https://a:7/api/v1/messages/batch"), MESSAGES_PATH);
        assert_eq!(path_of("https://a"), "");
    }
}
