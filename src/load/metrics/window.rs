//! A metric judged window by window: every complete window with samples has to hold.
//!
//! Samples of several threads come a little out of order, so that a window stays open for a
//! moment after its end. Only open windows keep samples; closed ones leave their worst figure.

use std::collections::VecDeque;
use std::time::Duration;

use super::MetricKind;
use super::engine::SinkRef;
use super::sink::Sink;
use crate::load::threshold::{Aggregation, Operator};

/// How long samples may come after the end of their window; batches are sent every 50 ms.
const LATE_MAX: Duration = Duration::from_secs(1);

/// What has to hold in every window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    pub length: Duration,
    pub aggregation: Aggregation,
    pub operator: Operator,
    pub limit: f64,
}

#[derive(Debug)]
pub struct Windowed {
    pub(super) of: SinkRef,
    kind: MetricKind,
    rule: Rule,
    /// Number and samples, ascending.
    open: VecDeque<(u64, Sink)>,
    /// Windows below this number are closed.
    closed_below: u64,
    closed: Judged,
}

/// How the windows so far ended.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Judged {
    pub windows: u64,
    pub failed: u64,
    /// When the first failed one began.
    pub first_failed: Option<Duration>,
    /// The figure that is furthest on the wrong side, or least far on the right one.
    pub worst: Option<f64>,
}

impl Windowed {
    pub(super) fn new(of: SinkRef, kind: MetricKind, rule: Rule) -> Windowed {
        Windowed {
            of,
            kind,
            rule,
            open: VecDeque::new(),
            closed_below: 0,
            closed: Judged::default(),
        }
    }

    /// `at` counts from the run's start.
    pub(super) fn add(&mut self, at: Duration, sample: f64) {
        let number = self.number(at);
        if number < self.closed_below {
            return;
        }
        let place = self.open.partition_point(|(open, _)| *open < number);
        if self.open.get(place).is_none_or(|(open, _)| *open != number) {
            self.open.insert(place, (number, Sink::new(self.kind)));
        }
        self.open[place].1.add(sample);
        let over = self.number(at.saturating_sub(LATE_MAX));
        while let Some((number, sink)) = self.open.pop_front_if(|(number, _)| *number < over) {
            self.rule.judge(&mut self.closed, number, &sink);
            self.closed_below = number + 1;
        }
    }

    /// All windows that are complete at `elapsed`.
    pub fn judged(&self, elapsed: Duration) -> Judged {
        let mut judged = self.closed;
        let complete = self.number(elapsed);
        for (number, sink) in self.open.iter().take_while(|(n, _)| *n < complete) {
            self.rule.judge(&mut judged, *number, sink);
        }
        judged
    }

    fn number(&self, at: Duration) -> u64 {
        let number = at.as_nanos() / self.rule.length.as_nanos().max(1);
        u64::try_from(number).unwrap_or(u64::MAX)
    }
}

impl Rule {
    fn judge(&self, judged: &mut Judged, number: u64, sink: &Sink) {
        let figure = sink
            .aggregate(self.aggregation, self.length)
            .expect("binding checked the aggregation against the type");
        judged.windows += 1;
        if !self.operator.holds(figure, self.limit) {
            judged.failed += 1;
            let begins = self.length.as_secs_f64() * number as f64;
            let begins = Duration::try_from_secs_f64(begins).unwrap_or_default();
            judged.first_failed.get_or_insert(begins);
        }
        let worse = |known: f64| match self.operator {
            Operator::Less | Operator::LessOrEqual => figure > known,
            Operator::Greater | Operator::GreaterOrEqual => figure < known,
            Operator::Equal | Operator::NotEqual => !self.operator.holds(figure, self.limit),
        };
        if judged.worst.is_none_or(worse) {
            judged.worst = Some(figure);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::metrics::builtin;

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    fn below(limit: f64) -> Windowed {
        let rule = Rule {
            length: seconds(10.0),
            aggregation: Aggregation::Max,
            operator: Operator::Less,
            limit,
        };
        let of = SinkRef::Metric(builtin::HTTP_REQ_DURATION);
        Windowed::new(of, MetricKind::Trend, rule)
    }

    #[test]
    fn every_complete_window_with_samples_is_judged() {
        let mut windowed = below(500.0);
        for (at, value) in [
            (1.0, 100.0),
            (12.0, 700.0),
            (9.9, 200.0),
            (45.0, 300.0),
            (58.0, 900.0),
        ] {
            windowed.add(seconds(at), value);
        }
        let judged = windowed.judged(seconds(59.0));
        assert_eq!((judged.windows, judged.failed), (3, 1));
        assert_eq!(judged.first_failed, Some(seconds(10.0)));
        assert_eq!(judged.worst, Some(700.0));
        assert_eq!(windowed.judged(seconds(60.0)).failed, 2);
    }

    #[test]
    fn no_window_is_no_failure() {
        let mut windowed = below(1.0);
        windowed.add(seconds(2.0), 5.0);
        assert_eq!(windowed.judged(seconds(9.0)), Judged::default());
    }

    #[test]
    fn closed_windows_keep_no_samples() {
        let mut windowed = below(500.0);
        for second in 0..1_000 {
            windowed.add(seconds(f64::from(second)), 1.0);
        }
        assert!(windowed.open.len() <= 2);
        assert_eq!(windowed.judged(seconds(1_000.0)).windows, 100);
    }
}
