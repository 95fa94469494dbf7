//! `opentelemetry`: OTLP metrics over gRPC or HTTP with protobuf bodies, the official messages.
//!
//! Counters become monotonic sums, gauges gauges, trends histograms with the SDKs' default
//! boundaries, rates one counter whose attribute `condition` is `zero` or `nonzero`. All values
//! are cumulative since the start of the run.

mod config;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric as Message,
    NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, metric::Data, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;

use self::config::Config;
use super::post::{Door, Parcel};
use super::series::{SeriesMap, SeriesTags};
use super::{Exporter, Pace, RemoteOutput, When};
use crate::load::metrics::{Metric, MetricId, MetricKind, Registry, SampleBatch, ValueKind};
use crate::load::output::{Error, Output, RunStart, Settings};

/// Upper bounds of the buckets of histograms; the last bucket has none.
const BOUNDS: [f64; 15] = [
    0.0, 5.0, 10.0, 25.0, 50.0, 75.0, 100.0, 250.0, 500.0, 750.0, 1_000.0, 2_500.0, 5_000.0,
    7_500.0, 10_000.0,
];

/// # Errors
/// A setting that can't be read.
pub(in crate::load::output) fn output(
    name: &str,
    argument: Option<&str>,
    settings: &Settings,
) -> Result<Box<dyn Output>, Error> {
    let config = config::read(name, argument, settings)?;
    let door = Door::new(
        config.url.clone(),
        config.headers.clone(),
        "application/x-protobuf",
        config.tls.clone(),
        config.protocol,
    );
    let pace = Pace {
        period: config.period,
        concurrency: 1,
    };
    let description = format!("{name} ({})", config.description);
    let make = Box::new(move |run: &RunStart| {
        Box::new(Metrics {
            registry: run.registry.clone(),
            started_wall: run.started_wall,
            config,
            series: SeriesMap::new(),
            changed: false,
        }) as Box<dyn Exporter>
    });
    Ok(Box::new(RemoteOutput::new(
        name,
        description,
        door,
        pace,
        make,
    )))
}

/// What a series has come to.
#[derive(Debug)]
enum Measure {
    Sum(f64),
    Last(f64),
    Rate { zero: u64, nonzero: u64 },
    Trend(Box<Trend>),
}

#[derive(Debug, Default)]
struct Trend {
    count: u64,
    sum: f64,
    min: f64,
    max: f64,
    buckets: [u64; BOUNDS.len() + 1],
}

impl Trend {
    fn record(&mut self, value: f64) {
        self.min = if self.count == 0 {
            value
        } else {
            self.min.min(value)
        };
        self.max = if self.count == 0 {
            value
        } else {
            self.max.max(value)
        };
        self.count += 1;
        self.sum += value;
        // A bound belongs to the bucket below it.
        self.buckets[BOUNDS.partition_point(|bound| *bound < value)] += 1;
    }
}

struct Metrics {
    registry: Registry,
    started_wall: SystemTime,
    config: Config,
    series: SeriesMap<Measure>,
    changed: bool,
}

impl Exporter for Metrics {
    fn add(&mut self, batch: &SampleBatch) {
        for container in batch {
            self.changed = true;
            let registry = &self.registry;
            self.series.add(container, |id| measure(registry, id), add);
        }
    }

    fn parcels(&mut self, _when: When) -> Vec<Parcel> {
        if !std::mem::take(&mut self.changed) {
            return Vec::new();
        }
        let times = Times {
            start: unix_nanos(self.started_wall),
            now: unix_nanos(SystemTime::now()),
        };
        let mut metrics: BTreeMap<MetricId, Vec<(&SeriesTags, &Measure)>> = BTreeMap::new();
        for (tags, id, measure) in self.series.iter_mut() {
            metrics.entry(id).or_default().push((tags, measure));
        }
        let messages = metrics.into_iter().flat_map(|(id, series)| {
            let metric = self.registry.get(id);
            metric.map_or_else(Vec::new, |metric| {
                messages(&metric, &series, times, &self.config)
            })
        });
        let request = ExportMetricsServiceRequest {
            resource_metrics: vec![ResourceMetrics {
                resource: Some(resource(&self.config)),
                scope_metrics: vec![ScopeMetrics {
                    scope: Some(InstrumentationScope {
                        name: "k6".to_owned(),
                        ..InstrumentationScope::default()
                    }),
                    metrics: messages.collect(),
                    schema_url: String::new(),
                }],
                schema_url: String::new(),
            }],
        };
        vec![Parcel {
            body: Bytes::from(request.encode_to_vec()),
            samples: 0,
        }]
    }

    fn lost(&self) -> u64 {
        self.series.refused()
    }
}

fn measure(registry: &Registry, id: MetricId) -> Option<Measure> {
    Some(match registry.get(id)?.kind {
        MetricKind::Counter => Measure::Sum(0.0),
        MetricKind::Gauge => Measure::Last(0.0),
        MetricKind::Rate => Measure::Rate {
            zero: 0,
            nonzero: 0,
        },
        MetricKind::Trend => Measure::Trend(Box::default()),
    })
}

fn add(measure: &mut Measure, value: f64) {
    match measure {
        Measure::Sum(sum) => *sum += value,
        Measure::Last(last) => *last = value,
        Measure::Rate { zero, nonzero } => {
            *(if value == 0.0 { zero } else { nonzero }) += 1;
        }
        Measure::Trend(trend) => trend.record(value),
    }
}

#[derive(Clone, Copy, Debug)]
struct Times {
    start: u64,
    now: u64,
}

/// The messages of one metric: one, or two where rates are a pair of counters.
fn messages(
    metric: &Metric,
    series: &[(&SeriesTags, &Measure)],
    times: Times,
    config: &Config,
) -> Vec<Message> {
    let name = format!("{}{}", config.prefix, metric.name);
    let message = |name: String, data| Message {
        name,
        unit: match metric.contains {
            ValueKind::Time => "ms",
            ValueKind::Data => "By",
            ValueKind::Default => "",
        }
        .to_owned(),
        data: Some(data),
        ..Message::default()
    };
    let sum = |points: Vec<NumberDataPoint>| {
        Data::Sum(Sum {
            data_points: points,
            aggregation_temporality: AggregationTemporality::Cumulative as i32,
            is_monotonic: true,
        })
    };
    let number = |tags: &SeriesTags, extra, value| NumberDataPoint {
        attributes: attributes(tags, extra),
        start_time_unix_nano: times.start,
        time_unix_nano: times.now,
        value: Some(value),
        ..NumberDataPoint::default()
    };
    let double = number_data_point::Value::AsDouble;
    let int =
        |count: u64| number_data_point::Value::AsInt(i64::try_from(count).unwrap_or(i64::MAX));
    match metric.kind {
        MetricKind::Counter => {
            let points = series.iter().filter_map(|(tags, measure)| match measure {
                Measure::Sum(value) => Some(number(tags, None, double(*value))),
                _ => None,
            });
            vec![message(name, sum(points.collect()))]
        }
        MetricKind::Gauge => {
            let points = series.iter().filter_map(|(tags, measure)| match measure {
                Measure::Last(value) => Some(number(tags, None, double(*value))),
                _ => None,
            });
            let data_points = points.collect();
            vec![message(name, Data::Gauge(Gauge { data_points }))]
        }
        MetricKind::Rate => {
            let rates = series.iter().filter_map(|(tags, measure)| match measure {
                Measure::Rate { zero, nonzero } => Some((*tags, *zero, *nonzero)),
                _ => None,
            });
            if config.single_counter_for_rate {
                let points = rates.flat_map(|(tags, zero, nonzero)| {
                    [("nonzero", nonzero), ("zero", zero)]
                        .into_iter()
                        .filter(|(_, count)| *count > 0)
                        .map(move |(condition, count)| number(tags, Some(condition), int(count)))
                });
                return vec![message(name, sum(points.collect()))];
            }
            let rates: Vec<(&SeriesTags, u64, u64)> = rates.collect();
            let each = |count: fn(u64, u64) -> u64| {
                let points = rates.iter();
                let points = points.map(|(tags, z, n)| number(tags, None, int(count(*z, *n))));
                sum(points.collect())
            };
            vec![
                message(format!("{name}.occurred"), each(|_, nonzero| nonzero)),
                message(
                    format!("{name}.total"),
                    each(|zero, nonzero| zero + nonzero),
                ),
            ]
        }
        MetricKind::Trend => {
            let points = series.iter().filter_map(|(tags, measure)| match measure {
                Measure::Trend(trend) => Some(histogram_point(tags, trend, times)),
                _ => None,
            });
            let data = Data::Histogram(Histogram {
                data_points: points.collect(),
                aggregation_temporality: AggregationTemporality::Cumulative as i32,
            });
            vec![message(name, data)]
        }
    }
}

fn histogram_point(tags: &SeriesTags, trend: &Trend, times: Times) -> HistogramDataPoint {
    HistogramDataPoint {
        attributes: attributes(tags, None),
        start_time_unix_nano: times.start,
        time_unix_nano: times.now,
        count: trend.count,
        sum: Some(trend.sum),
        bucket_counts: trend.buckets.to_vec(),
        explicit_bounds: BOUNDS.to_vec(),
        min: Some(trend.min),
        max: Some(trend.max),
        ..HistogramDataPoint::default()
    }
}

fn attributes(tags: &SeriesTags, condition: Option<&str>) -> Vec<KeyValue> {
    let condition = condition.map(|value| ("condition", value));
    let pairs = tags.pairs().into_iter().chain(condition);
    pairs.map(|(name, value)| attribute(name, value)).collect()
}

fn attribute(name: &str, value: &str) -> KeyValue {
    KeyValue {
        key: name.to_owned(),
        value: Some(AnyValue {
            value: Some(Any::StringValue(value.to_owned())),
        }),
        ..KeyValue::default()
    }
}

fn resource(config: &Config) -> Resource {
    let own = config.resource.iter();
    Resource {
        attributes: own.map(|(name, value)| attribute(name, value)).collect(),
        ..Resource::default()
    }
}

fn unix_nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    let nanos = since.unwrap_or(Duration::ZERO).as_nanos();
    u64::try_from(nanos).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_belong_to_the_bucket_below() {
        let mut trend = Trend::default();
        for value in [0.0, 5.0, 5.1, 20_000.0] {
            trend.record(value);
        }
        assert_eq!(trend.buckets[..3], [1, 1, 1]);
        assert_eq!(trend.buckets[15], 1);
        assert_eq!((trend.count, trend.min, trend.max), (4, 0.0, 20_000.0));
    }
}
