//! The verdict: how a run went, as four rows that say their figure, their limit and what follows.
//!
//! Pure: figures in, text out; the terminal and the page show the same words. The limits are
//! those of the load-testing guide that the project starts from ("Interpreting results"):
//! p95 < 500 ms, p99 < 1 s, errors < 1 %, throughput > 100/s, a warning below 50/s. Throughput is
//! judged only against what the load offered: ten patient users can't overload anything.
//! It changes no exit code.

use std::fmt::Write as _;

/// p95 of a good run stays below this.
pub const P95_LIMIT_MS: f64 = 500.0;
/// p99 of a good run stays below this.
pub const P99_LIMIT_MS: f64 = 1_000.0;
/// Share of failed requests that a good run stays below.
pub const ERRORS_LIMIT: f64 = 0.01;
/// A good relay takes more than this, where that much was offered.
pub const THROUGHPUT_GOOD: f64 = 100.0;
/// Less than this although more was offered is a warning.
pub const THROUGHPUT_WARNING: f64 = 50.0;
/// What one request takes on a healthy relay, in seconds: turns the scripts' pauses into an offer.
const REQUEST_SECONDS_HEALTHY: f64 = 0.010;
/// A run that is shorter says nothing about throughput, in seconds.
const RUN_SECONDS_MIN: f64 = 10.0;
/// A load that offers less than this many times what was reached is simply not larger.
const OFFER_MARGIN: f64 = 1.25;

/// Totals of one run; see `load::metrics::figures`, which tracks the same fields.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    pub requests: u64,
    pub failed: u64,
    pub p95_ms: Option<f64>,
    pub p99_ms: Option<f64>,
    /// Sum over all requests of the time from wanting a connection to the last byte.
    pub request_seconds: f64,
    pub iterations: u64,
    /// Sum of the iterations' durations.
    pub iteration_seconds: f64,
    pub vus_max: u32,
    /// From the first measurement to the last.
    pub duration_seconds: f64,
    /// Messages posted one by one; 0: throughput is judged by requests.
    pub messages: u64,
    /// Best mean rate over ten seconds, of messages if there were any, else of requests.
    pub best_per_second: f64,
    /// Iterations that open-model executors were asked to start; `None` where VUs set the pace.
    pub offered_iterations_per_second: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Good,
    Warning,
    /// Says nothing about the relay: the load was too small for it.
    NotReached,
    /// Nothing was measured.
    Unknown,
}

impl Status {
    /// The word for tables, JSON and the list of runs.
    pub fn word(self) -> &'static str {
        match self {
            Status::Good => "good",
            Status::Warning => "warning",
            Status::NotReached => "not_reached",
            Status::Unknown => "unknown",
        }
    }

    pub fn parse(word: &str) -> Option<Status> {
        let all = [
            Status::Good,
            Status::Warning,
            Status::NotReached,
            Status::Unknown,
        ];
        all.into_iter().find(|status| status.word() == word)
    }
}

/// One judged figure, as texts with their units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub name: &'static str,
    pub figure: String,
    pub limit: &'static str,
    pub status: Status,
    /// What the status means here, in words.
    pub text: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The worst of the rows; a row that was not reached doesn't count.
    pub overall: Status,
    /// p95, p99, errors, throughput.
    pub rows: [Row; 4],
}

/// Judges a run by its totals.
pub fn judge(figures: &Figures) -> Verdict {
    let rows = [
        latency("p95", figures.p95_ms, P95_LIMIT_MS, "< 500 ms"),
        latency("p99", figures.p99_ms, P99_LIMIT_MS, "< 1 s"),
        errors(figures),
        throughput(figures),
    ];
    let any = |status| rows.iter().any(|row: &Row| row.status == status);
    let overall = if any(Status::Warning) {
        Status::Warning
    } else if any(Status::Good) {
        Status::Good
    } else {
        Status::Unknown
    };
    Verdict { overall, rows }
}

/// The verdict as an aligned table under the heading `verdict`, each line ending with a newline.
pub fn render_text(verdict: &Verdict) -> String {
    let width = |of: fn(&Row) -> usize| verdict.rows.iter().map(of).max().unwrap_or(0);
    let figure_width = width(|row| row.figure.chars().count());
    let limit_width = width(|row| row.limit.chars().count());
    let mut text = format!("verdict: {}\n", verdict.overall.word());
    for row in &verdict.rows {
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "  {:<10}  {:>figure_width$}  {:<limit_width$}  {}",
            row.name, row.figure, row.limit, row.text
        );
    }
    text
}

fn latency(name: &'static str, value: Option<f64>, limit_ms: f64, limit: &'static str) -> Row {
    let Some(value) = value else {
        return unknown(name, limit);
    };
    let (status, text) = if value < limit_ms {
        (Status::Good, "good".to_owned())
    } else {
        (Status::Warning, "warning: cause unknown".to_owned())
    };
    Row {
        name,
        figure: milliseconds(value),
        limit,
        status,
        text,
    }
}

fn errors(figures: &Figures) -> Row {
    if figures.requests == 0 {
        return unknown("errors", "< 1 %");
    }
    let share = figures.failed as f64 / figures.requests as f64;
    let (status, text) = if share < ERRORS_LIMIT {
        (Status::Good, "good".to_owned())
    } else {
        (
            Status::Warning,
            format!(
                "warning: {} of {} requests failed; cause unknown",
                figures.failed, figures.requests
            ),
        )
    };
    Row {
        name: "errors",
        figure: format!("{:.2} %", share * 100.0),
        limit: "< 1 %",
        status,
        text,
    }
}

fn throughput(figures: &Figures) -> Row {
    let limit = "> 100/s";
    if figures.requests == 0 {
        return unknown("throughput", limit);
    }
    let best = figures.best_per_second;
    let offered = offered_per_second(figures).max(best);
    let what = if figures.messages > 0 {
        "messages"
    } else {
        "requests"
    };
    let (status, text) = if best > THROUGHPUT_GOOD {
        (Status::Good, "good".to_owned())
    } else if figures.duration_seconds < RUN_SECONDS_MIN {
        (
            Status::NotReached,
            format!("not judged: the run was shorter than {RUN_SECONDS_MIN:.0} s"),
        )
    } else if best < THROUGHPUT_WARNING
        && offered >= THROUGHPUT_WARNING
        && offered >= best * OFFER_MARGIN
    {
        (
            Status::Warning,
            format!("warning: {}/s {what} offered; cause unknown", rate(offered)),
        )
    } else if offered >= THROUGHPUT_GOOD && offered >= best * OFFER_MARGIN {
        (
            Status::NotReached,
            format!("between warning and good (offered {}/s)", rate(offered)),
        )
    } else {
        (
            Status::NotReached,
            format!("not reached by this load (offered {}/s)", rate(offered)),
        )
    };
    Row {
        name: "throughput",
        figure: format!("{}/s {what}", rate(best)),
        limit,
        status,
        text,
    }
}

/// What the load would have sent to a relay that answers at once: the open-model rate where there
/// is one, else all VUs at the pace that the script's own pauses allow.
fn offered_per_second(figures: &Figures) -> f64 {
    if figures.iterations == 0 {
        return 0.0;
    }
    let iterations = figures.iterations as f64;
    let counted = if figures.messages > 0 {
        figures.messages
    } else {
        figures.requests
    };
    let per_iteration = counted as f64 / iterations;
    if let Some(offered) = figures.offered_iterations_per_second {
        return offered * per_iteration;
    }
    let pause = ((figures.iteration_seconds - figures.request_seconds) / iterations).max(0.0);
    let requests = figures.requests as f64 / iterations;
    let fastest_iteration = pause + requests * REQUEST_SECONDS_HEALTHY;
    f64::from(figures.vus_max) * per_iteration / fastest_iteration
}

fn unknown(name: &'static str, limit: &'static str) -> Row {
    Row {
        name,
        figure: "—".to_owned(),
        limit,
        status: Status::Unknown,
        text: "nothing measured".to_owned(),
    }
}

/// Three significant digits, with the unit that a person would choose.
fn milliseconds(value: f64) -> String {
    match value {
        v if v >= 9_999.5 => format!("{:.1} s", v / 1_000.0),
        v if v >= 999.5 => format!("{:.2} s", v / 1_000.0),
        v if v >= 99.5 => format!("{v:.0} ms"),
        v if v >= 9.95 => format!("{v:.1} ms"),
        v => format!("{v:.2} ms"),
    }
}

fn rate(value: f64) -> String {
    if value < 9.95 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 100 VUs on the stress script: 2.5 s of pauses, three requests, one of them a message.
    fn stress() -> Figures {
        Figures {
            requests: 30_000,
            failed: 3,
            p95_ms: Some(8.04),
            p99_ms: Some(21.26),
            request_seconds: 90.0,
            iterations: 10_000,
            iteration_seconds: 25_090.0,
            vus_max: 100,
            duration_seconds: 420.0,
            messages: 10_000,
            best_per_second: 39.6,
            offered_iterations_per_second: None,
        }
    }

    #[test]
    fn patient_load_that_cannot_reach_the_limit_is_no_warning() {
        let verdict = judge(&stress());
        assert_eq!(verdict.overall, Status::Good);
        assert_eq!(verdict.rows[3].status, Status::NotReached);
        assert_eq!(
            verdict.rows[3].text,
            "not reached by this load (offered 40/s)"
        );
    }

    #[test]
    fn low_rate_under_a_large_offer_is_a_warning() {
        let figures = Figures {
            best_per_second: 31.0,
            iteration_seconds: 25_000.0,
            request_seconds: 24_990.0,
            ..stress()
        };
        let row = &judge(&figures).rows[3];
        assert_eq!(row.status, Status::Warning);
        assert!(row.text.starts_with("warning: "), "{}", row.text);
    }

    #[test]
    fn open_model_offers_what_was_asked_for() {
        let figures = Figures {
            best_per_second: 10.0,
            iteration_seconds: 25_000.0,
            request_seconds: 25_000.0,
            offered_iterations_per_second: Some(10.0),
            ..stress()
        };
        let row = &judge(&figures).rows[3];
        assert_eq!(row.text, "not reached by this load (offered 10/s)");
    }

    #[test]
    fn short_run_is_not_judged_by_its_rate() {
        let figures = Figures {
            requests: 6,
            messages: 0,
            best_per_second: 6.0,
            iterations: 6,
            iteration_seconds: 0.01,
            duration_seconds: 0.01,
            ..stress()
        };
        let row = &judge(&figures).rows[3];
        assert_eq!(row.status, Status::NotReached);
        assert_eq!(row.text, "not judged: the run was shorter than 10 s");
    }

    #[test]
    fn limits_are_strict() {
        let at = |p95_ms, p99_ms, failed| {
            let figures = Figures {
                p95_ms: Some(p95_ms),
                p99_ms: Some(p99_ms),
                requests: 1_000,
                failed,
                ..stress()
            };
            judge(&figures).rows.map(|row| row.status)
        };
        let good = at(499.9, 999.9, 9);
        assert_eq!(good[..3], [Status::Good; 3]);
        let over = at(500.0, 1_000.0, 10);
        assert_eq!(over[..3], [Status::Warning; 3]);
    }

    #[test]
    fn a_run_without_requests_is_unknown() {
        let verdict = judge(&Figures::default());
        assert_eq!(verdict.overall, Status::Unknown);
        assert!(verdict.rows.iter().all(|r| r.status == Status::Unknown));
    }

    #[test]
    fn table_is_aligned() {
        let text = render_text(&judge(&stress()));
        let expected = "\
verdict: good
  p95               8.04 ms  < 500 ms  good
  p99               21.3 ms  < 1 s     good
  errors             0.01 %  < 1 %     good
  throughput  40/s messages  > 100/s   not reached by this load (offered 40/s)
";
        assert_eq!(text, expected);
    }
}
