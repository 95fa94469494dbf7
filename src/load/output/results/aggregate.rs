//! Samples to seconds: what the reporter sends instead of single samples.
//!
//! Series, in k6's words; "tags" are the sample's own without those of the whole run:
//! - `http_reqs`, `http_req_failed`, `http_req_duration`: by `name` (see `names`), `method`,
//!   `status`, `error_code`, `group`, `scenario` and the script's own tags;
//! - the six phases `http_req_blocked` … `http_req_receiving`: by `scenario` only;
//! - everything else (`vus`, `iterations`, `checks`, `group_duration`, custom metrics …): by all
//!   tags of the sample, `check` and `group` among them.
//!
//! `url`, `ip`, `proto`, `tls_version`, `error` and `expected_response` are left out everywhere.
//! Beyond [`SERIES_MAX`] series a metric's further tag sets are folded into one series of that
//! metric with the tag `folded`, so that totals stay right. Pure; the clock is the samples' own.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::names::Names;
use crate::histogram::Histogram;
use crate::load::metrics::{
    Container, HttpSample, Metric, MetricId, MetricKind, Registry, TagSet, builtin, sample::Value,
};

/// Series of one run before further tag sets are folded.
pub(super) const SERIES_MAX: usize = 500;
/// Tags that no series keeps.
const LEFT_OUT: [&str; 8] = [
    "url",
    "ip",
    "proto",
    "tls_version",
    "error",
    "expected_response",
    "vu",
    "iter",
];
/// Tag sets remembered, so that a sample costs one look-up; beyond it they are looked at anew.
const REMEMBERED_MAX: usize = 16_384;

/// Tags of a series by name, shared by its points.
pub(super) type SeriesTags = Arc<BTreeMap<Arc<str>, Arc<str>>>;

/// One second of one series, as `POST /api/v1/runs/{id}/samples` takes it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Point {
    /// Unix second.
    pub(super) t: i64,
    #[serde(serialize_with = "write_text")]
    pub(super) metric: Arc<str>,
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    #[serde(serialize_with = "write_tags")]
    pub(super) tags: SeriesTags,
    pub(super) count: u64,
    pub(super) sum: f64,
    pub(super) min: f64,
    pub(super) max: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hist: Option<String>,
}

#[derive(Debug)]
struct Series {
    metric: Arc<str>,
    kind: MetricKind,
    tags: SeriesTags,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct SeriesIndex(u32);

/// What one second of one series adds up to.
#[derive(Debug)]
struct Bucket {
    count: u64,
    sum: f64,
    min: f64,
    max: f64,
    histogram: Option<Histogram>,
}

/// The series of one request.
#[derive(Clone, Copy, Debug)]
struct HttpSeries {
    requests: SeriesIndex,
    failed: SeriesIndex,
    duration: SeriesIndex,
    /// In the order of [`PHASES`].
    phases: [SeriesIndex; 6],
}

const PHASES: [MetricId; 6] = [
    builtin::HTTP_REQ_BLOCKED,
    builtin::HTTP_REQ_CONNECTING,
    builtin::HTTP_REQ_TLS_HANDSHAKING,
    builtin::HTTP_REQ_SENDING,
    builtin::HTTP_REQ_WAITING,
    builtin::HTTP_REQ_RECEIVING,
];

#[derive(Debug)]
pub(super) struct Aggregate {
    registry: Registry,
    /// Tags that every sample of the run has.
    run_tags: BTreeMap<String, String>,
    names: Names,
    metrics: HashMap<MetricId, Metric>,
    series: Vec<Series>,
    index: HashMap<(MetricId, SeriesTags), SeriesIndex>,
    /// By the address of a shared tag set, which the entry keeps alive.
    http: HashMap<(usize, Arc<str>), (HttpSeries, TagSet)>,
    plain: HashMap<(MetricId, usize), (SeriesIndex, TagSet)>,
    seconds: BTreeMap<i64, HashMap<SeriesIndex, Bucket>>,
    folded: u64,
}

impl Aggregate {
    pub(super) fn new(registry: Registry, run_tags: BTreeMap<String, String>) -> Aggregate {
        Aggregate {
            registry,
            run_tags,
            names: Names::default(),
            metrics: HashMap::new(),
            series: Vec::new(),
            index: HashMap::new(),
            http: HashMap::new(),
            plain: HashMap::new(),
            seconds: BTreeMap::new(),
            folded: 0,
        }
    }

    /// Adds one container to its second, unix time.
    pub(super) fn add(&mut self, second: i64, container: &Container) {
        match &container.value {
            Value::Http(sample) => self.add_http(second, sample),
            Value::One {
                metric,
                value,
                tags,
            } => {
                if let Some(series) = self.plain_series(*metric, tags) {
                    self.record(second, series, *value);
                }
            }
        }
    }

    /// Tag sets that were folded because there were too many series.
    pub(super) fn folded(&self) -> u64 {
        self.folded
    }

    /// Takes out all seconds before `end`, ascending.
    pub(super) fn take_before(&mut self, end: i64) -> Vec<Point> {
        let later = self.seconds.split_off(&end);
        let taken = std::mem::replace(&mut self.seconds, later);
        let mut points = Vec::new();
        for (second, buckets) in taken {
            let mut buckets: Vec<_> = buckets.into_iter().collect();
            buckets.sort_unstable_by_key(|(series, _)| series.0);
            points.extend(
                buckets
                    .into_iter()
                    .map(|(series, bucket)| self.point(second, series, bucket)),
            );
        }
        points
    }

    fn add_http(&mut self, second: i64, sample: &HttpSample) {
        let series = self.http_series(sample);
        let timings = &sample.timings;
        let phases = [
            timings.blocked,
            timings.connecting,
            timings.tls_handshaking,
            timings.sending,
            timings.waiting,
            timings.receiving,
        ];
        self.record(second, series.requests, 1.0);
        if let Some(failed) = sample.failed {
            self.record(second, series.failed, f64::from(u8::from(failed)));
        }
        let milliseconds = |time: std::time::Duration| time.as_secs_f64() * 1_000.0;
        self.record(second, series.duration, milliseconds(timings.duration()));
        for (series, phase) in series.phases.into_iter().zip(phases) {
            self.record(second, series, milliseconds(phase));
        }
    }

    fn record(&mut self, second: i64, series: SeriesIndex, value: f64) {
        let is_trend = self.series[series.0 as usize].kind == MetricKind::Trend;
        let bucket = self
            .seconds
            .entry(second)
            .or_default()
            .entry(series)
            .or_insert_with(|| Bucket {
                count: 0,
                sum: 0.0,
                min: f64::INFINITY,
                max: f64::NEG_INFINITY,
                histogram: is_trend.then(Histogram::new),
            });
        // JSON has no NaN and no infinity.
        if !value.is_finite() {
            return;
        }
        bucket.count += 1;
        bucket.sum = (bucket.sum + value).clamp(f64::MIN, f64::MAX);
        bucket.min = bucket.min.min(value);
        bucket.max = bucket.max.max(value);
        if let Some(histogram) = &mut bucket.histogram {
            histogram.record(value);
        }
    }

    fn point(&self, second: i64, series: SeriesIndex, bucket: Bucket) -> Point {
        let of = &self.series[series.0 as usize];
        let empty = bucket.count == 0;
        Point {
            t: second,
            metric: of.metric.clone(),
            kind: kind_word(of.kind),
            tags: of.tags.clone(),
            count: bucket.count,
            sum: bucket.sum,
            min: if empty { 0.0 } else { bucket.min },
            max: if empty { 0.0 } else { bucket.max },
            // Stored at 1 % anyway, and a tenth of the size on the wire.
            hist: bucket
                .histogram
                .filter(|histogram| !histogram.is_empty())
                .map(|histogram| histogram.coarse().to_wire()),
        }
    }

    fn http_series(&mut self, sample: &HttpSample) -> HttpSeries {
        let tags = &sample.tags;
        let name = self.names.of(tags.name.as_ref(), tags.url.as_ref());
        let key = (tags.shared.address(), name);
        if let Some((series, _)) = self.http.get(&key) {
            return *series;
        }
        let mut kept = self.kept(&tags.shared);
        let scenario = kept.get("scenario").cloned();
        let phase_tags: Arc<BTreeMap<_, _>> = Arc::new(
            scenario
                .map(|s| ("scenario".into(), s))
                .into_iter()
                .collect(),
        );
        kept.insert("name".into(), key.1.clone());
        let kept = Arc::new(kept);
        let series = HttpSeries {
            requests: self.find(builtin::HTTP_REQS, &kept),
            failed: self.find(builtin::HTTP_REQ_FAILED, &kept),
            duration: self.find(builtin::HTTP_REQ_DURATION, &kept),
            phases: PHASES.map(|phase| self.find(phase, &phase_tags)),
        };
        if self.http.len() >= REMEMBERED_MAX {
            self.http.clear();
        }
        self.http.insert(key, (series, tags.shared.clone()));
        series
    }

    /// `None` for a metric that the registry doesn't know, which would be a mistake of ours.
    fn plain_series(&mut self, metric: MetricId, tags: &TagSet) -> Option<SeriesIndex> {
        let key = (metric, tags.address());
        if let Some((series, _)) = self.plain.get(&key) {
            return Some(*series);
        }
        self.metric(metric)?;
        let kept = Arc::new(self.kept(tags));
        let series = self.find(metric, &kept);
        if self.plain.len() >= REMEMBERED_MAX {
            self.plain.clear();
        }
        self.plain.insert(key, (series, tags.clone()));
        Some(series)
    }

    /// The sample's tags without what is left out, empty ones, and those of the whole run.
    fn kept(&self, tags: &TagSet) -> BTreeMap<Arc<str>, Arc<str>> {
        tags.iter()
            .filter(|(name, value)| {
                let of_run = self.run_tags.get(&***name).is_some_and(|v| **v == ***value);
                !LEFT_OUT.contains(&&***name) && !value.is_empty() && !of_run
            })
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }

    fn find(&mut self, metric: MetricId, tags: &SeriesTags) -> SeriesIndex {
        if let Some(known) = self.index.get(&(metric, tags.clone())) {
            return *known;
        }
        let is_folded = tags.contains_key("folded");
        if self.series.len() >= SERIES_MAX && !is_folded && !tags.is_empty() {
            self.folded += 1;
            let folded = BTreeMap::from([("folded".into(), "true".into())]);
            return self.find(metric, &Arc::new(folded));
        }
        let described = self.metric(metric).expect("the caller knows the metric");
        let series = SeriesIndex(self.series.len() as u32);
        self.series.push(Series {
            metric: described.name,
            kind: described.kind,
            tags: tags.clone(),
        });
        self.index.insert((metric, tags.clone()), series);
        series
    }

    fn metric(&mut self, id: MetricId) -> Option<Metric> {
        if let Some(known) = self.metrics.get(&id) {
            return Some(known.clone());
        }
        let metric = self.registry.get(id)?;
        self.metrics.insert(id, metric.clone());
        Some(metric)
    }
}

fn write_text<S: Serializer>(text: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}

fn write_tags<S: Serializer>(tags: &SeriesTags, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(tags.iter().map(|(name, value)| (&**name, &**value)))
}

fn kind_word(kind: MetricKind) -> &'static str {
    match kind {
        MetricKind::Counter => "counter",
        MetricKind::Gauge => "gauge",
        MetricKind::Rate => "rate",
        MetricKind::Trend => "trend",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::load::metrics::{RequestTags, Timings};

    fn request(url: &str, status: &str, milliseconds: u64) -> Container {
        let shared = TagSet::new([
            ("method", "GET"),
            ("status", status),
            ("scenario", "default"),
            ("env", "lab"),
            ("proto", "HTTP/1.1"),
            ("group", ""),
        ]);
        let sample = HttpSample {
            timings: Timings {
                waiting: Duration::from_millis(milliseconds),
                ..Timings::default()
            },
            failed: Some(status != "200"),
            tags: RequestTags {
                shared,
                name: Some(url.into()),
                url: Some(url.into()),
            },
        };
        Container {
            at: Duration::ZERO,
            vu: 1,
            iter: 0,
            metadata: None,
            value: Value::Http(Box::new(sample)),
        }
    }

    fn aggregate() -> Aggregate {
        let run_tags = BTreeMap::from([("env".to_owned(), "lab".to_owned())]);
        Aggregate::new(Registry::new(), run_tags)
    }

    #[test]
    fn a_second_holds_one_point_per_series() {
        let mut aggregate = aggregate();
        aggregate.add(100, &request("http://r/m/1", "200", 10));
        aggregate.add(100, &request("http://r/m/2", "200", 30));
        aggregate.add(101, &request("http://r/m/3", "200", 20));
        let points = aggregate.take_before(101);
        assert_eq!(points.len(), 9, "nine metrics of one request");
        let duration = points
            .iter()
            .find(|point| &*point.metric == "http_req_duration")
            .expect("requests have durations");
        assert_eq!((duration.t, duration.count, duration.sum), (100, 2, 40.0));
        assert_eq!(duration.hist.as_deref(), Some("x10,30"));
        let tags: Vec<_> = duration
            .tags
            .iter()
            .map(|(k, v)| format!("{k}={v}"))
            .collect();
        assert_eq!(
            tags,
            [
                "method=GET",
                "name=/m/{id}",
                "scenario=default",
                "status=200"
            ]
        );
        assert_eq!(aggregate.take_before(i64::MAX).len(), 9);
        assert!(aggregate.take_before(i64::MAX).is_empty());
    }

    #[test]
    fn failed_is_a_rate_of_trues() {
        let mut aggregate = aggregate();
        aggregate.add(7, &request("http://r/a", "500", 1));
        aggregate.add(7, &request("http://r/a", "500", 1));
        let points = aggregate.take_before(8);
        let failed = points.iter().find(|p| &*p.metric == "http_req_failed");
        let failed = failed.expect("requests can fail");
        assert_eq!((failed.kind, failed.count, failed.sum), ("rate", 2, 2.0));
        assert_eq!(failed.hist, None);
    }

    #[test]
    fn too_many_series_are_folded_and_totals_stay_right() {
        let mut aggregate = aggregate();
        for n in 0..SERIES_MAX {
            let url = format!("http://r/page{n}x");
            aggregate.add(7, &request(&url, "200", 1));
        }
        assert!(aggregate.folded() > 0);
        let points = aggregate.take_before(8);
        let mut series: Vec<_> = points.iter().map(|p| (&p.metric, &p.tags)).collect();
        series.dedup();
        assert!(series.len() <= SERIES_MAX + 3, "{}", series.len());
        let requests = points.iter().filter(|p| &*p.metric == "http_reqs");
        assert_eq!(requests.map(|p| p.count).sum::<u64>(), SERIES_MAX as u64);
    }
}
