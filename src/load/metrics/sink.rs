//! What a metric's samples add up to: k6's four sinks.

use std::time::Duration;

use super::MetricKind;
use crate::histogram::Histogram;
use crate::load::summary::{TrendValues, Values};
use crate::load::threshold::Aggregation;

/// The aggregate of one metric or submetric over the run so far.
#[derive(Clone, Debug, PartialEq)]
pub enum Sink {
    Counter {
        sum: f64,
        samples: u64,
    },
    Gauge {
        value: f64,
        min: f64,
        max: f64,
        samples: u64,
    },
    Rate {
        trues: u64,
        total: u64,
    },
    Trend(Histogram),
}

impl Sink {
    pub fn new(kind: MetricKind) -> Sink {
        match kind {
            MetricKind::Counter => Sink::Counter {
                sum: 0.0,
                samples: 0,
            },
            MetricKind::Gauge => Sink::Gauge {
                value: 0.0,
                min: 0.0,
                max: 0.0,
                samples: 0,
            },
            MetricKind::Rate => Sink::Rate { trues: 0, total: 0 },
            MetricKind::Trend => Sink::Trend(Histogram::new()),
        }
    }

    pub fn add(&mut self, sample: f64) {
        match self {
            Sink::Counter { sum, samples } => {
                *sum += sample;
                *samples += 1;
            }
            Sink::Gauge {
                value,
                min,
                max,
                samples,
            } => {
                *value = sample;
                *min = if *samples == 0 {
                    sample
                } else {
                    min.min(sample)
                };
                *max = if *samples == 0 {
                    sample
                } else {
                    max.max(sample)
                };
                *samples += 1;
            }
            Sink::Rate { trues, total } => {
                *trues += u64::from(sample != 0.0);
                *total += 1;
            }
            Sink::Trend(histogram) => histogram.record(sample),
        }
    }

    /// Whether no sample has arrived yet.
    pub fn is_empty(&self) -> bool {
        match self {
            Sink::Counter { samples, .. } | Sink::Gauge { samples, .. } => *samples == 0,
            Sink::Rate { total, .. } => *total == 0,
            Sink::Trend(histogram) => histogram.is_empty(),
        }
    }

    /// One figure as thresholds name it. `elapsed` is the run's time so far, for a counter's rate.
    /// `None` for an aggregation that this type does not have.
    pub fn aggregate(&self, aggregation: Aggregation, elapsed: Duration) -> Option<f64> {
        match (self, aggregation) {
            (Sink::Counter { sum, .. }, Aggregation::Count) => Some(*sum),
            (Sink::Counter { sum, .. }, Aggregation::Rate) => Some(per_second(*sum, elapsed)),
            (Sink::Gauge { value, .. }, Aggregation::Value) => Some(*value),
            (Sink::Rate { trues, total }, Aggregation::Rate) => Some(share(*trues, *total)),
            (Sink::Trend(histogram), _) => trend_figure(histogram, aggregation),
            _ => None,
        }
    }

    /// Final values. `stats` is `summaryTrendStats` with k6's names.
    pub fn values(&self, elapsed: Duration, stats: &[(String, Aggregation)]) -> Values {
        match self {
            Sink::Counter { sum, .. } => Values::Counter {
                count: *sum,
                per_second: per_second(*sum, elapsed),
            },
            Sink::Gauge {
                value, min, max, ..
            } => Values::Gauge {
                value: *value,
                min: *min,
                max: *max,
            },
            Sink::Rate { trues, total } => Values::Rate {
                rate: share(*trues, *total),
                passes: *trues,
                fails: total - trues,
            },
            Sink::Trend(histogram) => Values::Trend(TrendValues {
                count: histogram.count(),
                avg: histogram.mean(),
                min: histogram.min(),
                med: histogram.quantile(0.5),
                max: histogram.max(),
                p90: histogram.quantile(0.9),
                p95: histogram.quantile(0.95),
                p99: histogram.quantile(0.99),
                stats: stats
                    .iter()
                    .map(|(name, stat)| {
                        let figure = trend_figure(histogram, *stat).unwrap_or_default();
                        (name.clone(), figure)
                    })
                    .collect(),
            }),
        }
    }
}

fn trend_figure(histogram: &Histogram, aggregation: Aggregation) -> Option<f64> {
    Some(match aggregation {
        Aggregation::Avg => histogram.mean(),
        Aggregation::Min => histogram.min(),
        Aggregation::Max => histogram.max(),
        Aggregation::Med => histogram.quantile(0.5),
        Aggregation::Percentile(percent) => histogram.quantile(percent / 100.0),
        Aggregation::Count => histogram.count() as f64,
        Aggregation::Rate | Aggregation::Value => return None,
    })
}

fn per_second(sum: f64, elapsed: Duration) -> f64 {
    if elapsed.is_zero() {
        0.0
    } else {
        sum / elapsed.as_secs_f64()
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sink(kind: MetricKind, samples: &[f64]) -> Sink {
        let mut sink = Sink::new(kind);
        samples.iter().for_each(|sample| sink.add(*sample));
        sink
    }

    #[test]
    fn counter_rate_divides_by_the_runs_time() {
        let counter = sink(MetricKind::Counter, &[1.0, 2.0, 3.0]);
        let elapsed = Duration::from_secs(4);
        assert_eq!(counter.aggregate(Aggregation::Count, elapsed), Some(6.0));
        assert_eq!(counter.aggregate(Aggregation::Rate, elapsed), Some(1.5));
        assert_eq!(counter.aggregate(Aggregation::Avg, elapsed), None);
    }

    #[test]
    fn gauge_keeps_the_last_value_and_its_range() {
        let gauge = sink(MetricKind::Gauge, &[-3.0, 7.0, 5.0]);
        let values = gauge.values(Duration::ZERO, &[]);
        assert_eq!(
            values,
            Values::Gauge {
                value: 5.0,
                min: -3.0,
                max: 7.0
            }
        );
    }

    #[test]
    fn any_non_zero_sample_is_a_rates_pass() {
        let rate = sink(MetricKind::Rate, &[1.0, 0.0, 5.0, 0.0]);
        assert_eq!(rate.aggregate(Aggregation::Rate, Duration::ZERO), Some(0.5));
        let empty = Sink::new(MetricKind::Rate);
        assert_eq!(
            empty.aggregate(Aggregation::Rate, Duration::ZERO),
            Some(0.0)
        );
    }

    #[test]
    fn trend_stats_come_in_the_order_asked_for() {
        let trend = sink(MetricKind::Trend, &[1.0, 2.0, 3.0, 4.0]);
        let stats = [
            ("p(25)".to_owned(), Aggregation::Percentile(25.0)),
            ("count".to_owned(), Aggregation::Count),
        ];
        let Values::Trend(values) = trend.values(Duration::ZERO, &stats) else {
            panic!("a trend has trend values");
        };
        assert_eq!(values.stats[0], ("p(25)".to_owned(), 1.75));
        assert_eq!(values.stats[1], ("count".to_owned(), 4.0));
        assert_eq!(values.med, 2.5);
    }
}
