//! `json[=FILE[.gz]]`: one JSON object a line, in exactly k6's shape.
//!
//! The first time a metric is seen it is described by a `Metric` line; every sample is a `Point`
//! line with its tags ascending by name.

pub(super) mod time;

use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::{Value as Json, json};

pub(crate) use self::time::rfc3339_nanos;
use super::Output;
use super::buffer::BatchWriter;
use super::file::{FileOutput, Sink, Target};
use super::samples::{self, Metadata};
use crate::load::Thresholds;
use crate::load::metrics::{Container, MetricId, MetricKind, Registry, SampleBatch, ValueKind};
use crate::load::threshold::Selector;

/// How often lines reach the file, as in k6.
const FLUSH_PERIOD: Duration = Duration::from_millis(200);

/// `argument` is what follows `json=`; nothing or `-` is stdout.
pub(super) fn output(argument: Option<&str>) -> Box<dyn Output> {
    let target = match argument {
        None | Some("" | "-") => Target::Stdout,
        Some(path) => Target::File(path.to_owned()),
    };
    let format = Box::new(|sink, run: &super::RunStart| {
        Ok(Box::new(Lines::new(sink, run)) as Box<dyn BatchWriter>)
    });
    Box::new(FileOutput::new("json", target, FLUSH_PERIOD, format))
}

/// Turns containers into lines.
struct Lines {
    out: Box<dyn Sink>,
    registry: Registry,
    thresholds: Thresholds,
    started_wall: SystemTime,
    metadata: Metadata,
    /// Names of the metrics described so far, by id.
    seen: Vec<Option<Arc<str>>>,
    line: Vec<u8>,
}

impl Lines {
    fn new(out: Box<dyn Sink>, run: &super::RunStart) -> Lines {
        Lines {
            out,
            registry: run.registry.clone(),
            thresholds: run.thresholds.clone(),
            started_wall: run.started_wall,
            metadata: Metadata::of(&run.system_tags),
            seen: Vec::new(),
            line: Vec::new(),
        }
    }

    fn container(&mut self, container: &Container) -> io::Result<()> {
        let time = rfc3339_nanos(self.started_wall + container.at);
        let mut tags = Vec::with_capacity(256);
        write_object(&mut tags, samples::tags(container).into_iter())?;
        let metadata = self.metadata.pairs(container);
        if !metadata.is_empty() {
            tags.extend_from_slice(b",\"metadata\":");
            write_object(&mut tags, metadata.iter().map(|(k, v)| (*k, v.as_str())))?;
        }
        samples::figures(container)
            .try_for_each(|(metric, value)| self.point(metric, value, &time, &tags))
    }

    /// `tags` is the object of tags, followed by that of metadata if there is any.
    fn point(&mut self, metric: MetricId, value: f64, time: &str, tags: &[u8]) -> io::Result<()> {
        let Some(name) = self.name(metric)? else {
            return Ok(());
        };
        self.line.clear();
        self.line.extend_from_slice(b"{\"metric\":");
        serde_json::to_writer(&mut self.line, &*name)?;
        write!(
            self.line,
            ",\"type\":\"Point\",\"data\":{{\"time\":\"{time}\",\"value\":"
        )?;
        write_number(&mut self.line, value)?;
        self.line.extend_from_slice(b",\"tags\":");
        self.line.extend_from_slice(tags);
        self.line.extend_from_slice(b"}}\n");
        self.out.write_all(&self.line)
    }

    /// The metric's name; describes it in a line of its own when it is new.
    fn name(&mut self, id: MetricId) -> io::Result<Option<Arc<str>>> {
        let index = id.0 as usize;
        if let Some(Some(name)) = self.seen.get(index) {
            return Ok(Some(name.clone()));
        }
        let Some(metric) = self.registry.get(id) else {
            return Ok(None);
        };
        let line = json!({
            "type": "Metric",
            "data": {
                "name": &*metric.name,
                "type": kind_name(metric.kind),
                "contains": contains_name(metric.contains),
                "thresholds": self.thresholds.get(&*metric.name).cloned().unwrap_or_default(),
                "submetrics": self.submetrics(&metric.name),
            },
            "metric": &*metric.name,
        });
        serde_json::to_writer(&mut self.out, &line)?;
        self.out.write_all(b"\n")?;
        if self.seen.len() <= index {
            self.seen.resize(index + 1, None);
        }
        self.seen[index] = Some(metric.name.clone());
        Ok(Some(metric.name))
    }

    fn submetrics(&self, metric: &str) -> Json {
        let mut names: Vec<&str> = self.thresholds.keys().map(String::as_str).collect();
        // The one submetric that k6 always has.
        let always = "http_req_duration{expected_response:true}";
        if !names.contains(&always) {
            names.push(always);
        }
        let list: Vec<Json> = names
            .into_iter()
            .filter_map(|name| {
                let selector = Selector::parse(name).ok()?;
                let suffix = selector.suffix.filter(|_| selector.metric == metric)?;
                let tags: serde_json::Map<String, Json> = selector
                    .tags
                    .into_iter()
                    .map(|(name, value)| (name, Json::from(value)))
                    .collect();
                Some(json!({"name": name, "suffix": suffix, "tags": tags}))
            })
            .collect();
        if list.is_empty() {
            Json::Null
        } else {
            Json::from(list)
        }
    }
}

impl BatchWriter for Lines {
    fn write(&mut self, batch: &SampleBatch) -> io::Result<()> {
        batch
            .iter()
            .try_for_each(|container| self.container(container))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        self.out.end()
    }
}

/// k6's name of a metric type.
pub fn kind_name(kind: MetricKind) -> &'static str {
    match kind {
        MetricKind::Counter => "counter",
        MetricKind::Gauge => "gauge",
        MetricKind::Rate => "rate",
        MetricKind::Trend => "trend",
    }
}

/// k6's name of what a metric contains.
pub fn contains_name(contains: ValueKind) -> &'static str {
    match contains {
        ValueKind::Default => "default",
        ValueKind::Time => "time",
        ValueKind::Data => "data",
    }
}

fn write_object<'t>(
    out: &mut Vec<u8>,
    pairs: impl Iterator<Item = (&'t str, &'t str)>,
) -> io::Result<()> {
    out.push(b'{');
    for (index, (name, value)) in pairs.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        serde_json::to_writer(&mut *out, name)?;
        out.push(b':');
        serde_json::to_writer(&mut *out, value)?;
    }
    out.push(b'}');
    Ok(())
}

/// A number as [`write_number`] writes it.
pub(crate) fn number(value: f64) -> Json {
    if value.fract() == 0.0 && value.abs() < 1e15 {
        json!(value as i64)
    } else {
        json!(value)
    }
}

/// As Go writes numbers: whole ones without a point.
fn write_number(out: &mut Vec<u8>, value: f64) -> io::Result<()> {
    if value.fract() == 0.0 && value.abs() < 1e15 {
        write!(out, "{}", value as i64)
    } else {
        serde_json::to_writer(out, &value).map_err(io::Error::from)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::load::metrics::sample::Value;
    use crate::load::metrics::{HttpSample, RequestTags, TagSet, Timings, builtin};

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn lines_of(batch: &SampleBatch, thresholds: Thresholds) -> Vec<String> {
        let out = Shared::default();
        let sink = Box::new(io::BufWriter::new(out.clone()));
        let mut lines = Box::new(Lines {
            out: sink,
            registry: Registry::new(),
            thresholds,
            started_wall: SystemTime::UNIX_EPOCH + Duration::from_millis(1_709_208_000_500),
            metadata: Metadata::of(&[]),
            seen: Vec::new(),
            line: Vec::new(),
        });
        lines.write(batch).expect("memory takes all");
        lines.finish().expect("memory takes all");
        let text = String::from_utf8(out.0.lock().expect("no panic").clone()).expect("text");
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn lines_have_exactly_k6s_shape() {
        let sample = HttpSample {
            timings: Timings {
                waiting: Duration::from_micros(1_500),
                ..Timings::default()
            },
            failed: None,
            tags: RequestTags {
                shared: TagSet::new([("method", "GET"), ("status", "200")]),
                name: Some("http://a/".into()),
                url: Some("http://a/".into()),
            },
        };
        let batch = vec![Container {
            at: Duration::from_nanos(250_000_010),
            vu: 1,
            iter: 0,
            metadata: None,
            value: Value::Http(Box::new(sample)),
        }];
        let thresholds =
            Thresholds::from([("http_req_duration".to_owned(), vec!["p(95)<500".to_owned()])]);
        let lines = lines_of(&batch, thresholds);
        assert_eq!(lines.len(), 16);
        assert_eq!(
            lines[0],
            r#"{"type":"Metric","data":{"name":"http_reqs","type":"counter","contains":"default","thresholds":[],"submetrics":null},"metric":"http_reqs"}"#
        );
        assert_eq!(
            lines[1],
            r#"{"metric":"http_reqs","type":"Point","data":{"time":"2024-02-29T12:00:00.75000001Z","value":1,"tags":{"method":"GET","name":"http://a/","status":"200","url":"http://a/"}}}"#
        );
        assert_eq!(
            lines[2],
            r#"{"type":"Metric","data":{"name":"http_req_duration","type":"trend","contains":"time","thresholds":["p(95)<500"],"submetrics":[{"name":"http_req_duration{expected_response:true}","suffix":"expected_response:true","tags":{"expected_response":"true"}}]},"metric":"http_req_duration"}"#
        );
        assert!(lines[3].contains(r#""value":1.5,"#));
    }

    #[test]
    fn a_metric_is_described_once() {
        let vus = |value| Container {
            at: Duration::ZERO,
            vu: 0,
            iter: 0,
            metadata: None,
            value: Value::One {
                metric: builtin::VUS,
                value,
                tags: TagSet::default(),
            },
        };
        let lines = lines_of(&vec![vus(1.0), vus(2.0)], Thresholds::new());
        assert_eq!(lines.len(), 3);
        assert!(lines[2].ends_with(r#""value":2,"tags":{}}}"#));
    }
}
