//! `csv[=FILE[.gz]|fileName=..,saveInterval=..,timeFormat=..]`: a row for every sample.
//!
//! Columns: metric, time, value, every enabled system tag, then all other tags and the metadata
//! as `name=value` joined by `&`.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::buffer::BatchWriter;
use super::file::{FileOutput, Sink, Target};
use super::json::time::{rfc3339, rfc3339_nanos};
use super::samples::{self, Metadata};
use super::settings::{Settings, pairs};
use super::{Error, Output, RunStart};
use crate::load::metrics::{Container, MetricId, Registry, SampleBatch};
use crate::load::options::duration;

/// How times are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TimeFormat {
    Unix,
    UnixMilli,
    UnixMicro,
    UnixNano,
    Rfc3339,
    Rfc3339Nano,
}

impl TimeFormat {
    const NAMES: &'static str = "unix, unix_milli, unix_micro, unix_nano, rfc3339 or rfc3339_nano";

    fn parse(text: &str) -> Option<TimeFormat> {
        Some(match text {
            "unix" => TimeFormat::Unix,
            "unix_milli" => TimeFormat::UnixMilli,
            "unix_micro" => TimeFormat::UnixMicro,
            "unix_nano" => TimeFormat::UnixNano,
            "rfc3339" => TimeFormat::Rfc3339,
            "rfc3339_nano" => TimeFormat::Rfc3339Nano,
            _ => return None,
        })
    }

    fn write(self, time: SystemTime) -> String {
        let since = time
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        match self {
            TimeFormat::Unix => since.as_secs().to_string(),
            TimeFormat::UnixMilli => since.as_millis().to_string(),
            TimeFormat::UnixMicro => since.as_micros().to_string(),
            TimeFormat::UnixNano => since.as_nanos().to_string(),
            TimeFormat::Rfc3339 => rfc3339(time),
            TimeFormat::Rfc3339Nano => rfc3339_nanos(time),
        }
    }
}

/// `argument` is what follows `csv=`; over the `K6_CSV_*` variables.
///
/// # Errors
/// A setting that can't be read.
pub(super) fn output(
    argument: Option<&str>,
    settings: &Settings,
) -> Result<Box<dyn Output>, Error> {
    let mut settings = settings.of("csv");
    let mut period = settings.duration("K6_CSV_SAVE_INTERVAL", Duration::from_secs(1));
    let mut format = settings.parsed(
        "K6_CSV_TIME_FORMAT",
        TimeFormat::Unix,
        TimeFormat::NAMES,
        TimeFormat::parse,
    );
    let mut file = settings.text("K6_CSV_FILENAME");
    match argument.filter(|text| !text.is_empty()) {
        Some(text) if text.contains('=') => {
            for (name, value) in pairs(text, '=').unwrap_or_default() {
                match name.as_str() {
                    "fileName" => file = Some(value),
                    "saveInterval" => match duration::parse(&value) {
                        Some(parsed) if !parsed.is_zero() => period = parsed,
                        _ => settings.problem(format!("saveInterval '{value}' is no duration")),
                    },
                    "timeFormat" => match TimeFormat::parse(&value) {
                        Some(parsed) => format = parsed,
                        None => settings.problem(format!(
                            "timeFormat must be {}, not '{value}'",
                            TimeFormat::NAMES
                        )),
                    },
                    _ => settings.problem(format!(
                        "unknown key '{name}'\nhint: fileName, saveInterval or timeFormat"
                    )),
                }
            }
        }
        Some(path) => file = Some(path.to_owned()),
        None => {}
    }
    settings.finish()?;
    let target = match file.as_deref() {
        Some("-") => Target::Stdout,
        Some(path) => Target::File(path.to_owned()),
        None => Target::File("file.csv".to_owned()),
    };
    let rows = Box::new(move |sink, run: &RunStart| {
        Rows::begin(sink, run, format).map(|rows| Box::new(rows) as Box<dyn BatchWriter>)
    });
    Ok(Box::new(FileOutput::new("csv", target, period, rows)))
}

struct Rows {
    out: csv::Writer<SinkWriter>,
    registry: Registry,
    names: Vec<Option<Arc<str>>>,
    started_wall: SystemTime,
    format: TimeFormat,
    /// Enabled system tags with a column of their own, ascending.
    columns: Vec<&'static str>,
    metadata: Metadata,
}

impl Rows {
    fn begin(sink: Box<dyn Sink>, run: &RunStart, format: TimeFormat) -> io::Result<Rows> {
        let mut columns: Vec<&'static str> = run.system_tags.to_vec();
        columns.retain(|name| !matches!(*name, "vu" | "iter"));
        columns.sort_unstable();
        let mut out = csv::WriterBuilder::new().from_writer(SinkWriter(sink));
        let before = ["metric_name", "timestamp", "metric_value"];
        let header = before.into_iter().chain(columns.iter().copied());
        out.write_record(header.chain(["extra_tags", "metadata"]))?;
        Ok(Rows {
            out,
            registry: run.registry.clone(),
            names: Vec::new(),
            started_wall: run.started_wall,
            format,
            columns,
            metadata: Metadata::of(&run.system_tags),
        })
    }

    fn container(&mut self, container: &Container) -> io::Result<()> {
        let time = self.format.write(self.started_wall + container.at);
        let tags = samples::tags(container);
        let value_of = |column: &str| {
            let found = tags.binary_search_by(|(name, _)| (*name).cmp(column));
            found.map_or("", |index| tags[index].1)
        };
        let extra: Vec<String> = tags
            .iter()
            .filter(|(name, _)| !samples::SYSTEM_TAGS.contains(name))
            .filter(|(name, _)| !self.columns.contains(name))
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let metadata = self.metadata.pairs(container);
        let metadata: Vec<String> = metadata.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let (extra, metadata) = (extra.join("&"), metadata.join("&"));
        for (metric, value) in samples::figures(container) {
            let Some(name) = self.name(metric) else {
                continue;
            };
            let value = format!("{value:.6}");
            let before = [&*name, time.as_str(), value.as_str()];
            let columns = self.columns.iter().map(|column| value_of(column));
            let row = before.into_iter().chain(columns);
            self.out
                .write_record(row.chain([extra.as_str(), metadata.as_str()]))?;
        }
        Ok(())
    }

    fn name(&mut self, id: MetricId) -> Option<Arc<str>> {
        let index = id.0 as usize;
        if self.names.len() <= index {
            self.names.resize(index + 1, None);
        }
        if self.names[index].is_none() {
            self.names[index] = self.registry.get(id).map(|metric| metric.name);
        }
        self.names[index].clone()
    }
}

impl BatchWriter for Rows {
    fn write(&mut self, batch: &SampleBatch) -> io::Result<()> {
        batch
            .iter()
            .try_for_each(|container| self.container(container))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        let sink = self.out.into_inner().map_err(|error| error.into_error())?;
        sink.0.end()
    }
}

/// The csv library writes into anything that is `Write`, which a boxed sink is not by itself.
struct SinkWriter(Box<dyn Sink>);

impl io::Write for SinkWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_in_six_formats() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_nanos(951_827_696_120_000_001);
        for (name, text) in [
            ("unix", "951827696"),
            ("unix_milli", "951827696120"),
            ("unix_micro", "951827696120000"),
            ("unix_nano", "951827696120000001"),
            ("rfc3339", "2000-02-29T12:34:56Z"),
            ("rfc3339_nano", "2000-02-29T12:34:56.120000001Z"),
        ] {
            let format = TimeFormat::parse(name).expect("a known name");
            assert_eq!(format.write(time), text);
        }
        assert_eq!(TimeFormat::parse("iso"), None);
    }

    #[test]
    fn wrong_settings_name_themselves() {
        let refused = output(
            Some("fileName=a.csv,timeFormat=iso,colour=red"),
            &Settings::default(),
        );
        let text = refused.err().expect("two are wrong").to_string();
        assert!(
            text.contains("timeFormat") && text.contains("colour"),
            "{text}"
        );
    }
}
