//! `json[=FILE[.gz]]`: one JSON object a line, in exactly k6's shape.
//!
//! The first time a metric is seen it is described by a `Metric` line; every sample is a `Point`
//! line with its tags ascending by name.

mod time;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::sync::Arc;
use std::time::SystemTime;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value as Json, json};

use self::time::rfc3339_nanos;
use super::buffer::{BatchWriter, Buffer};
use super::{Error, Output, OutputFuture, RunStart};
use crate::load::metrics::engine::http_figures;
use crate::load::metrics::sample::Value;
use crate::load::metrics::{Container, MetricId, MetricKind, Registry, SampleBatch, ValueKind};
use crate::load::threshold::Selector;
use crate::load::{RunOutcome, Thresholds};

/// Where the lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    Stdout,
    File(String),
}

/// See the module's header.
#[derive(Debug)]
pub struct JsonOutput {
    target: Target,
    buffer: Option<Buffer>,
}

impl JsonOutput {
    /// `argument` is what follows `json=`; nothing or `-` is stdout.
    pub fn new(argument: Option<&str>) -> JsonOutput {
        let target = match argument {
            None | Some("" | "-") => Target::Stdout,
            Some(path) => Target::File(path.to_owned()),
        };
        JsonOutput {
            target,
            buffer: None,
        }
    }

    fn open(&self) -> io::Result<Box<dyn Sink>> {
        Ok(match &self.target {
            Target::Stdout => Box::new(BufWriter::new(io::stdout())),
            Target::File(path) => {
                let file = BufWriter::new(File::create(path)?);
                if path.ends_with(".gz") {
                    Box::new(GzEncoder::new(file, Compression::default()))
                } else {
                    Box::new(file)
                }
            }
        })
    }
}

impl Output for JsonOutput {
    fn describe(&self) -> String {
        match &self.target {
            Target::Stdout => "json (stdout)".to_owned(),
            Target::File(path) => format!("json ({path})"),
        }
    }

    fn start<'a>(&'a mut self, run: &'a RunStart) -> OutputFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let failed = |source| Error::File {
                path: match &self.target {
                    Target::Stdout => "stdout".to_owned(),
                    Target::File(path) => path.clone(),
                },
                source,
            };
            let lines = Lines::new(
                self.open().map_err(failed)?,
                run.registry.clone(),
                run.thresholds.clone(),
                run.started_wall,
            );
            self.buffer = Some(Buffer::start("json", Box::new(lines)).map_err(failed)?);
            Ok(())
        })
    }

    fn add(&mut self, batch: &Arc<SampleBatch>) {
        if let Some(buffer) = &mut self.buffer {
            buffer.add(batch);
        }
    }

    fn stop<'a>(&'a mut self, _outcome: &'a RunOutcome) -> OutputFuture<'a, ()> {
        Box::pin(async move {
            let Some(buffer) = self.buffer.take() else {
                return;
            };
            let Ok(written) = tokio::task::spawn_blocking(|| buffer.finish()).await else {
                return;
            };
            if let Err(error) = written.result {
                tracing::error!(output = self.describe(), %error, "the output is not complete");
            }
            if written.lost > 0 {
                tracing::error!(
                    output = self.describe(),
                    lost = written.lost,
                    "the output was too slow and is not complete"
                );
            }
        })
    }
}

/// A file that can be ended, as compressed ones must be.
trait Sink: Write + Send {
    fn end(self: Box<Self>) -> io::Result<()>;
}

impl<W: Write + Send> Sink for BufWriter<W> {
    fn end(mut self: Box<Self>) -> io::Result<()> {
        self.flush()
    }
}

impl<W: Write + Send> Sink for GzEncoder<W> {
    fn end(self: Box<Self>) -> io::Result<()> {
        self.finish()?.flush()
    }
}

/// Turns containers into lines.
struct Lines {
    out: Box<dyn Sink>,
    registry: Registry,
    thresholds: Thresholds,
    started_wall: SystemTime,
    /// Names of the metrics described so far, by id.
    seen: Vec<Option<Arc<str>>>,
    line: Vec<u8>,
}

impl Lines {
    fn new(
        out: Box<dyn Sink>,
        registry: Registry,
        thresholds: Thresholds,
        started_wall: SystemTime,
    ) -> Lines {
        Lines {
            out,
            registry,
            thresholds,
            started_wall,
            seen: Vec::new(),
            line: Vec::new(),
        }
    }

    fn container(&mut self, container: &Container) -> io::Result<()> {
        let time = rfc3339_nanos(self.started_wall + container.at);
        let mut tags = Vec::with_capacity(256);
        match &container.value {
            Value::Http(sample) => {
                write_tags(&mut tags, sample.tags.pairs().into_iter())?;
                for (metric, value) in http_figures(sample).into_iter().flatten() {
                    self.point(metric, value, &time, &tags)?;
                }
                Ok(())
            }
            Value::One {
                metric,
                value,
                tags: set,
            } => {
                write_tags(&mut tags, set.iter().map(|(k, v)| (&**k, &**v)))?;
                self.point(*metric, *value, &time, &tags)
            }
        }
    }

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

fn write_tags<'t>(
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
    use std::time::Duration;

    use super::*;
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
        let sink = Box::new(BufWriter::new(out.clone()));
        let started = SystemTime::UNIX_EPOCH + Duration::from_millis(1_709_208_000_500);
        let mut lines = Box::new(Lines::new(sink, Registry::new(), thresholds, started));
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
