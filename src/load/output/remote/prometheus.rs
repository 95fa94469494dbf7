//! `experimental-prometheus-rw`: Prometheus remote write 1.0 (protobuf, snappy).
//!
//! Counters become `k6_NAME_total`, gauges `k6_NAME`, rates `k6_NAME_rate`, trends one gauge for
//! each of their statistics or one native histogram. Values are those since the start of the run.

mod config;
mod histogram;
mod message;

use std::time::SystemTime;

use bytes::Bytes;
use prost::Message as _;

use self::config::{Config, Figure};
use self::histogram::NativeHistogram;
use self::message::{Label, Sample, TimeSeries, WriteRequest};
use super::post::Parcel;
use super::series::{SeriesMap, SeriesTags};
use super::{Exporter, RemoteOutput, When};
use crate::histogram::Histogram;
use crate::load::metrics::{Metric, MetricId, MetricKind, Registry, SampleBatch, ValueKind};
use crate::load::output::{Error, Output, RunStart, Settings};
use crate::load::threshold::Aggregation;

const NAME: &str = "experimental-prometheus-rw";
/// Bits of the NaN that tells Prometheus that a series has ended.
const STALE: u64 = 0x7ff0_0000_0000_0002;
/// Series of one request at most.
const REQUEST_SERIES_MAX: usize = 10_000;

/// # Errors
/// A setting that can't be read.
pub(in crate::load::output) fn output(
    argument: Option<&str>,
    settings: &Settings,
) -> Result<Box<dyn Output>, Error> {
    let setup = config::read(argument, settings)?;
    let config = setup.config;
    let make = Box::new(move |run: &RunStart| {
        Box::new(Series {
            registry: run.registry.clone(),
            started_wall: run.started_wall,
            config,
            series: SeriesMap::new(),
        }) as Box<dyn Exporter>
    });
    let output = RemoteOutput::new(NAME, setup.description, setup.door, setup.pace, make);
    Ok(Box::new(output))
}

/// What a series has come to.
#[derive(Debug)]
enum Measure {
    Sum(f64),
    Last(f64),
    Share { trues: u64, total: u64 },
    Trend(Box<Histogram>),
    Native(Box<NativeHistogram>),
}

#[derive(Debug)]
struct Slot {
    metric: Metric,
    measure: Measure,
    latest_ms: i64,
    changed: bool,
}

struct Series {
    registry: Registry,
    started_wall: SystemTime,
    config: Config,
    series: SeriesMap<Slot>,
}

impl Exporter for Series {
    fn add(&mut self, batch: &SampleBatch) {
        for container in batch {
            let at_ms = unix_ms(self.started_wall + container.at);
            let (registry, native) = (&self.registry, self.config.native);
            let make = |id| slot(registry, id, native);
            self.series.add(container, make, |slot, value| {
                slot.measure.add(value, slot.metric.contains);
                // One sample for each millisecond: remote write refuses repeated times.
                if at_ms > slot.latest_ms {
                    slot.latest_ms = at_ms;
                    slot.changed = true;
                }
            });
        }
    }

    fn parcels(&mut self, when: When) -> Vec<Parcel> {
        let mut fresh = Vec::new();
        let mut ended = Vec::new();
        let stale = when == When::End && self.config.stale_markers;
        let now_ms = unix_ms(SystemTime::now()) + 1;
        for (tags, _, slot) in self.series.iter_mut() {
            if slot.changed {
                slot.changed = false;
                fresh.extend(series_of(tags, slot, &self.config));
            }
            if stale {
                ended.extend(
                    series_of(tags, slot, &self.config)
                        .into_iter()
                        .map(|series| TimeSeries {
                            samples: vec![Sample {
                                value: f64::from_bits(STALE),
                                timestamp: now_ms,
                            }],
                            histograms: Vec::new(),
                            ..series
                        }),
                );
            }
        }
        let requests = fresh
            .chunks(REQUEST_SERIES_MAX)
            .chain(ended.chunks(REQUEST_SERIES_MAX));
        requests.map(|series| parcel(series.to_vec())).collect()
    }

    fn lost(&self) -> u64 {
        self.series.refused()
    }
}

fn slot(registry: &Registry, id: MetricId, native: bool) -> Option<Slot> {
    let metric = registry.get(id)?;
    let measure = match metric.kind {
        MetricKind::Counter => Measure::Sum(0.0),
        MetricKind::Gauge => Measure::Last(0.0),
        MetricKind::Rate => Measure::Share { trues: 0, total: 0 },
        MetricKind::Trend if native => Measure::Native(Box::default()),
        MetricKind::Trend => Measure::Trend(Box::default()),
    };
    Some(Slot {
        metric,
        measure,
        latest_ms: 0,
        changed: false,
    })
}

impl Measure {
    fn add(&mut self, value: f64, contains: ValueKind) {
        match self {
            Measure::Sum(sum) => *sum += value,
            Measure::Last(last) => *last = value,
            Measure::Share { trues, total } => {
                *trues += u64::from(value != 0.0);
                *total += 1;
            }
            Measure::Trend(histogram) => histogram.record(value),
            Measure::Native(histogram) => histogram.record(base_unit(value, contains)),
        }
    }
}

/// Prometheus counts times in seconds.
fn base_unit(value: f64, contains: ValueKind) -> f64 {
    match contains {
        ValueKind::Time => value / 1e3,
        ValueKind::Data | ValueKind::Default => value,
    }
}

fn series_of(tags: &SeriesTags, slot: &Slot, config: &Config) -> Vec<TimeSeries> {
    let sample = |value| Sample {
        value,
        timestamp: slot.latest_ms,
    };
    let one = |suffix: &str, value| TimeSeries {
        labels: labels(&slot.metric.name, suffix, tags, config),
        samples: vec![sample(value)],
        histograms: Vec::new(),
    };
    match &slot.measure {
        Measure::Sum(sum) => vec![one("total", *sum)],
        Measure::Last(last) => vec![one("", *last)],
        Measure::Share { trues, total } => {
            vec![one("rate", *trues as f64 / (*total).max(1) as f64)]
        }
        Measure::Trend(histogram) => {
            let stats = config.stats.iter();
            stats
                .map(|stat| {
                    let value = figure(histogram, stat.figure);
                    one(&stat.suffix, base_unit(value, slot.metric.contains))
                })
                .collect()
        }
        Measure::Native(histogram) => {
            let unit = match slot.metric.contains {
                ValueKind::Time => "seconds",
                ValueKind::Data => "bytes",
                ValueKind::Default => "",
            };
            vec![TimeSeries {
                labels: labels(&slot.metric.name, unit, tags, config),
                samples: Vec::new(),
                histograms: vec![histogram.message(slot.latest_ms)],
            }]
        }
    }
}

fn figure(histogram: &Histogram, figure: Figure) -> f64 {
    match figure {
        Figure::Sum => histogram.sum(),
        Figure::Of(Aggregation::Count) => histogram.count() as f64,
        Figure::Of(Aggregation::Avg) => histogram.mean(),
        Figure::Of(Aggregation::Min) => histogram.min(),
        Figure::Of(Aggregation::Max) => histogram.max(),
        Figure::Of(Aggregation::Med) => histogram.quantile(0.5),
        Figure::Of(Aggregation::Percentile(percent)) => histogram.quantile(percent / 100.0),
        // No statistic of a trend, so none that `parse_stat` gives.
        Figure::Of(Aggregation::Rate | Aggregation::Value) => 0.0,
    }
}

/// Ascending by name, as remote write demands; tags win over static labels.
fn labels(metric: &str, suffix: &str, tags: &SeriesTags, config: &Config) -> Vec<Label> {
    let underscore = if suffix.is_empty() { "" } else { "_" };
    let mut labels = vec![Label {
        name: "__name__".to_owned(),
        value: format!("k6_{metric}{underscore}{suffix}"),
    }];
    let label = |name: &str, value: &str| Label {
        name: name.to_owned(),
        value: value.to_owned(),
    };
    labels.extend(
        tags.pairs()
            .into_iter()
            .map(|(name, value)| label(name, value)),
    );
    for (name, value) in &config.labels {
        if !value.is_empty() && !labels.iter().any(|known| known.name == *name) {
            labels.push(label(name, value));
        }
    }
    labels.sort_by(|a, b| a.name.cmp(&b.name));
    labels
}

fn parcel(timeseries: Vec<TimeSeries>) -> Parcel {
    let message = WriteRequest { timeseries }.encode_to_vec();
    let mut encoder = snap::raw::Encoder::new();
    let body = encoder.compress_vec(&message);
    Parcel {
        // Only messages over 4 GiB can't be compressed.
        body: Bytes::from(body.expect("a request has a bounded number of series")),
        samples: 0,
    }
}

fn unix_ms(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}
