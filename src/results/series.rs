//! Series of points: what comes in, and what a chart or a table asks for.
//!
//! A point is one second of a metric with one set of tags. By type, `count` and `sum` mean:
//! counter: additions and their total; gauge: readings and their sum; rate: samples and how many
//! of them were true; trend: values and their sum, with a histogram. A query merges all series
//! whose tags contain the given ones and cuts time into steps; percentiles of a step and of the
//! whole window come from merged histograms, never from averaged percentiles.

use std::collections::BTreeMap;

use super::run::{RunId, Tags};
use crate::histogram::Histogram;
use crate::storage::runs::Point;

/// Steps that are chosen where the query names none, in seconds.
const STEPS: [i64; 12] = [1, 2, 5, 10, 15, 30, 60, 120, 300, 900, 3_600, 86_400];
/// Steps of one series that a chosen step width leads to at most: about a chart's pixels.
const STEPS_CHOSEN_MAX: i64 = 1_200;
/// Steps that an explicit step width may lead to.
pub const STEPS_MAX: i64 = 20_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Rate,
    Trend,
}

impl Kind {
    pub fn word(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Rate => "rate",
            Kind::Trend => "trend",
        }
    }

    pub fn parse(word: &str) -> Option<Kind> {
        [Kind::Counter, Kind::Gauge, Kind::Rate, Kind::Trend]
            .into_iter()
            .find(|kind| kind.word() == word)
    }
}

/// One second of one series, as a reporter sends it.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Unix time in which the samples ended.
    pub second: i64,
    pub metric: String,
    pub kind: Kind,
    pub tags: Tags,
    pub count: u64,
    pub sum: f64,
    pub min: Option<f64>,
    pub max: Option<f64>,
    pub histogram: Option<Histogram>,
}

/// What a reporter sends at once; `(run, source, batch)` is stored once.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    pub run_id: RunId,
    pub source: String,
    pub batch: u64,
    pub samples: Vec<Sample>,
}

/// A series of a run, without its points.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    pub metric: String,
    pub kind: String,
    pub tags: Tags,
}

#[derive(Clone, Debug, PartialEq)]
pub struct SeriesQuery {
    pub run_id: RunId,
    /// Empty: every metric of the run.
    pub metrics: Vec<String>,
    /// Series count if they have all of these.
    pub tags: Tags,
    /// Unix milliseconds; missing: the run's start, its end.
    pub from_ms: Option<i64>,
    pub to_ms: Option<i64>,
    /// Seconds; missing: so that a chart has enough.
    pub step: Option<i64>,
}

/// One step, or a whole window.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Unix second in which the step begins.
    pub second: i64,
    pub count: u64,
    pub sum: f64,
    pub min: Option<f64>,
    pub max: Option<f64>,
    /// p50, p90, p95, p99 of a trend.
    pub percentiles: Option<[f64; 4]>,
}

impl Step {
    fn of(second: i64, point: &Point) -> Step {
        let percentiles = point
            .histogram
            .as_ref()
            .map(|histogram| [0.50, 0.90, 0.95, 0.99].map(|p| histogram.quantile(p)));
        Step {
            second,
            count: point.count,
            sum: point.sum,
            min: point.min,
            max: point.max,
            percentiles,
        }
    }
}

/// One metric over the window asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricSteps {
    pub metric: String,
    pub kind: String,
    /// How many series went into it.
    pub series: usize,
    /// Ascending; steps without a point are missing.
    pub steps: Vec<Step>,
    /// Everything in the window, merged.
    pub window: Step,
}

#[derive(Clone, Debug, PartialEq)]
pub struct SeriesAnswer {
    /// Whole seconds, both included.
    pub from_second: i64,
    pub to_second: i64,
    pub step: i64,
    /// By metric.
    pub metrics: Vec<MetricSteps>,
}

/// Merges points into steps, for several metrics at once.
#[derive(Debug)]
pub(super) struct Stepper {
    pub(super) step: i64,
    /// Metric of each series asked for.
    pub(super) metric_of: BTreeMap<i64, usize>,
    pub(super) bins: Vec<BTreeMap<i64, Point>>,
}

impl Stepper {
    pub(super) fn add(&mut self, series_key: i64, second: i64, point: &Point) {
        let metric = self.metric_of[&series_key];
        let begin = second.div_euclid(self.step) * self.step;
        self.bins[metric].entry(begin).or_default().merge(point);
    }
}

/// The steps of one metric and the window's total.
pub(super) fn steps(from_second: i64, bins: &BTreeMap<i64, Point>) -> (Vec<Step>, Step) {
    let mut whole = Point::default();
    let steps = bins
        .iter()
        .map(|(second, point)| {
            whole.merge(point);
            Step::of(*second, point)
        })
        .collect();
    (steps, Step::of(from_second, &whole))
}

/// The narrowest step that leads to no more steps than a chart needs.
pub(super) fn chosen_step(from_second: i64, to_second: i64) -> i64 {
    let seconds = to_second.saturating_sub(from_second);
    STEPS
        .into_iter()
        .find(|step| seconds / step <= STEPS_CHOSEN_MAX)
        .unwrap_or(STEPS[STEPS.len() - 1])
}

/// Tags as they are stored: a JSON object of strings, names ascending.
pub(super) fn write_tags(tags: &Tags) -> String {
    let pairs = tags
        .iter()
        .map(|(name, value)| (name.clone(), serde_json::Value::from(value.as_str())));
    serde_json::Value::Object(pairs.collect()).to_string()
}

/// Reads what [`write_tags`] wrote; damaged text has no tags.
pub(super) fn read_tags(text: &str) -> Tags {
    serde_json::from_str(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_merge_histograms_not_percentiles() {
        let mut stepper = Stepper {
            step: 10,
            metric_of: BTreeMap::from([(7, 0), (8, 0)]),
            bins: vec![BTreeMap::new()],
        };
        let trend = |values: &[f64]| {
            let mut histogram = Histogram::new();
            values.iter().for_each(|value| histogram.record(*value));
            Point {
                count: values.len() as u64,
                sum: values.iter().sum(),
                min: values.iter().copied().reduce(f64::min),
                max: values.iter().copied().reduce(f64::max),
                histogram: Some(histogram),
            }
        };
        stepper.add(7, 21, &trend(&[1.0, 2.0, 3.0]));
        stepper.add(8, 29, &trend(&[100.0]));
        stepper.add(7, 30, &trend(&[5.0]));
        let (steps, window) = steps(20, &stepper.bins[0]);
        assert_eq!(steps.len(), 2);
        assert_eq!((steps[0].second, steps[0].count), (20, 4));
        assert_eq!(steps[0].percentiles.map(|p| p[0]), Some(2.5));
        assert_eq!((window.count, window.max), (5, Some(100.0)));
    }

    #[test]
    fn step_grows_with_the_window() {
        assert_eq!(chosen_step(0, 420), 1);
        assert_eq!(chosen_step(0, 3_600), 5);
        assert_eq!(chosen_step(0, 90 * 86_400), 86_400);
    }

    #[test]
    fn tags_come_back() {
        let tags = Tags::from([("b".into(), "\"<x>".into()), ("a".into(), "1".into())]);
        let text = write_tags(&tags);
        assert!(text.starts_with(r#"{"a":"#), "{text}");
        assert_eq!(read_tags(&text), tags);
    }
}
