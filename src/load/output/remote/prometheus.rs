//! `experimental-prometheus-rw`: Prometheus remote write 1.0 (protobuf, snappy).
//!
//! Counters become `k6_NAME_total`, gauges `k6_NAME`, rates `k6_NAME_rate`, trends one gauge for
//! each of their statistics or one native histogram. Values are those since the start of the run.

mod histogram;
mod message;

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use hyper::header::HeaderMap;
use prost::Message as _;
use url::Url;

use self::histogram::NativeHistogram;
use self::message::{Label, Sample, TimeSeries, WriteRequest};
use super::post::{Door, Parcel, Protocol, add_header, basic};
use super::series::{SeriesMap, SeriesTags};
use super::sigv4::Signer;
use super::tls;
use super::{Exporter, Pace, RemoteOutput, When};
use crate::histogram::Histogram;
use crate::load::metrics::{Metric, MetricId, MetricKind, Registry, SampleBatch, ValueKind};
use crate::load::options::parse_stat;
use crate::load::output::settings::{Settings, pairs};
use crate::load::output::{Error, Output, RunStart};
use crate::load::threshold::Aggregation;

const NAME: &str = "experimental-prometheus-rw";
/// Bits of the NaN that tells Prometheus that a series has ended.
const STALE: u64 = 0x7ff0_0000_0000_0002;
/// Series of one request at most.
const REQUEST_SERIES_MAX: usize = 10_000;

/// A figure of a trend, with what its series' name ends in.
#[derive(Clone, Debug, PartialEq)]
struct Stat {
    suffix: String,
    figure: Figure,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Figure {
    Sum,
    Of(Aggregation),
}

/// How series are made from samples.
#[derive(Clone, Debug)]
struct Config {
    stats: Vec<Stat>,
    native: bool,
    stale_markers: bool,
    labels: Vec<(String, String)>,
}

/// `argument` is what follows the name: the endpoint, over `K6_PROMETHEUS_RW_SERVER_URL`.
///
/// # Errors
/// A setting that can't be read.
pub(in crate::load::output) fn output(
    argument: Option<&str>,
    settings: &Settings,
) -> Result<Box<dyn Output>, Error> {
    let mut settings = settings.of(NAME);
    let variable = |name: &str| format!("K6_PROMETHEUS_RW_{name}");
    let default = "http://localhost:9090/api/v1/write";
    let address = settings.text(&variable("SERVER_URL"));
    let text = argument.filter(|text| !text.is_empty());
    let text = text.or(address.as_deref()).unwrap_or(default).to_owned();
    let url = Url::parse(&text)
        .ok()
        .filter(|url| url.has_host())
        .unwrap_or_else(|| {
            settings.problem(format!("'{text}' is no http or https address"));
            Url::parse(default).expect("a constant")
        });
    let config = Config {
        stats: settings.parsed(
            &variable("TREND_STATS"),
            stats("p(99)").expect("a constant"),
            "a list of count, sum, min, max, avg, med, p(N)",
            stats,
        ),
        native: settings.flag(&variable("TREND_AS_NATIVE_HISTOGRAM"), false),
        stale_markers: settings.flag(&variable("STALE_MARKERS"), false),
        labels: settings.parsed(&variable("LABELS"), Vec::new(), "a=1,b=2", |text| {
            pairs(text, '=')
        }),
    };
    let period = settings.duration(&variable("PUSH_INTERVAL"), Duration::from_secs(5));
    let headers = headers(&mut settings);
    let wanted = tls::Wanted {
        insecure: settings.flag(&variable("INSECURE_SKIP_TLS_VERIFY"), false),
        certificate: settings.text(&variable("CLIENT_CERTIFICATE")),
        key: settings.text(&variable("CLIENT_CERTIFICATE_KEY")),
        only_tls13: settings.parsed(
            &variable("TLS_MINIMUM_VERSION"),
            true,
            "1.2 or 1.3",
            |text| match text {
                "1.2" => Some(false),
                "1.3" => Some(true),
                _ => None,
            },
        ),
        authority: None,
    };
    let signer = signer(&mut settings);
    let tls = tls::config(&wanted).map_err(|problem| settings.problem(problem));
    settings.finish()?;
    let mut door = Door::new(
        url,
        headers,
        "application/x-protobuf",
        tls.ok(),
        Protocol::Http,
    );
    door.signer = signer;
    let pace = Pace {
        period,
        concurrency: 1,
    };
    let description = format!("Prometheus remote write ({text})");
    let make = Box::new(move |run: &RunStart| {
        Box::new(Series {
            registry: run.registry.clone(),
            started_wall: run.started_wall,
            config,
            series: SeriesMap::new(),
        }) as Box<dyn Exporter>
    });
    let output = RemoteOutput::new(NAME, description, door, pace, make);
    Ok(Box::new(output))
}

fn headers(settings: &mut Settings) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut given: Vec<(String, String)> = vec![
        ("content-encoding".to_owned(), "snappy".to_owned()),
        (
            "x-prometheus-remote-write-version".to_owned(),
            "0.1.0".to_owned(),
        ),
    ];
    let variable = |name: &str| format!("K6_PROMETHEUS_RW_{name}");
    given.extend(settings.parsed(
        &variable("HTTP_HEADERS"),
        Vec::new(),
        "key1:value1,key2:value2",
        |text| pairs(text, ':'),
    ));
    given.extend(settings.prefixed(&variable("HEADERS_")));
    let mut authorize = |value: String| given.push(("authorization".to_owned(), value));
    if let Some(user) = settings.text(&variable("USERNAME")) {
        let password = settings.text(&variable("PASSWORD")).unwrap_or_default();
        authorize(basic(&user, &password));
    }
    if let Some(token) = settings.text(&variable("BEARER_TOKEN")) {
        authorize(format!("Bearer {token}"));
    }
    for (name, value) in given {
        if add_header(&mut headers, &name, &value).is_none() {
            settings.problem(format!("header '{name}' is none that HTTP allows"));
        }
    }
    headers
}

/// Requests are signed where all three variables are there.
fn signer(settings: &mut Settings) -> Option<Signer> {
    let names = ["REGION", "ACCESS_KEY", "SECRET_KEY"];
    let names = names.map(|name| format!("K6_PROMETHEUS_RW_SIGV4_{name}"));
    match names.each_ref().map(|name| settings.text(name)) {
        [Some(region), Some(access_key), Some(secret_key)] => Some(Signer {
            region,
            access_key,
            secret_key,
            service: "aps",
        }),
        [None, None, None] => None,
        _ => {
            settings.problem(format!("{} belong together", names.join(", ")));
            None
        }
    }
}

fn stats(text: &str) -> Option<Vec<Stat>> {
    let parts = text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty());
    let stats: Option<Vec<Stat>> = parts
        .map(|part| {
            if part == "sum" {
                let suffix = part.to_owned();
                let figure = Figure::Sum;
                return Some(Stat { suffix, figure });
            }
            let (name, figure) = parse_stat(part)?;
            // `p(99.9)` ends a name as `p999`.
            let suffix = name.replace(['(', ')', '.'], "");
            let figure = Figure::Of(figure);
            Some(Stat { suffix, figure })
        })
        .collect();
    stats.filter(|stats| !stats.is_empty())
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
        MetricKind::Trend => Measure::Trend(Box::new(Histogram::new())),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_name_their_series() {
        let suffixes: Vec<String> = stats("p(99),p(99.9),sum,avg")
            .expect("all are known")
            .into_iter()
            .map(|stat| stat.suffix)
            .collect();
        assert_eq!(suffixes, ["p99", "p999", "sum", "avg"]);
        assert_eq!(stats("p(200)"), None);
        assert_eq!(stats(""), None);
    }
}
