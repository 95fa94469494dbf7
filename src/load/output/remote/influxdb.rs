//! `influxdb[=URL/DATABASE]`: InfluxDB v1's line protocol over `POST /write`.

mod config;

use std::fmt::Write as _;
use std::time::SystemTime;

use bytes::Bytes;
use hyper::header::HeaderMap;

use self::config::{FieldKind, Precision, read};
use super::post::{Door, Parcel, Protocol, add_header};
use super::tls;
use super::{Exporter, Pace, RemoteOutput, When};
use crate::load::metrics::{Container, Registry, SampleBatch};
use crate::load::output::samples::{self, Metadata};
use crate::load::output::settings::{Settings, parse_flag};
use crate::load::output::{Error, Output, RunStart};

/// Lines of one request at most, in bytes: InfluxDB refuses bodies over 25 MB.
const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Lines that may wait for a slow database, in bytes.
const WAITING_BYTES_MAX: usize = 64 * 1024 * 1024;

/// `argument` is what follows `influxdb=`; over the `K6_INFLUXDB_*` variables.
///
/// # Errors
/// A setting that can't be read.
pub(in crate::load::output) fn output(
    argument: Option<&str>,
    settings: &Settings,
) -> Result<Box<dyn Output>, Error> {
    let config = read(argument, settings.of("influxdb"))?;
    let refused = |reason: String| Error::Refused {
        output: "influxdb".to_owned(),
        reason,
    };
    let mut headers = HeaderMap::new();
    if let Some(user) = &config.username {
        let password = config.password.as_deref().unwrap_or_default();
        let basic = super::post::basic(user, password);
        add_header(&mut headers, "authorization", &basic)
            .ok_or_else(|| refused("user and password can't stand in a header".to_owned()))?;
    }
    let tls = tls::config(&tls::Wanted {
        insecure: config.insecure,
        ..tls::Wanted::default()
    });
    let tls = tls.map_err(refused)?;
    let at = |path: &str| {
        let mut url = config.address.clone();
        let prefix = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{prefix}/{path}"));
        url
    };
    let mut write = at("write");
    {
        let mut query = write.query_pairs_mut();
        query.append_pair("db", &config.database);
        query.append_pair("precision", config.precision.name);
        if let Some(retention) = &config.retention {
            query.append_pair("rp", retention);
        }
        if let Some(consistency) = &config.consistency {
            query.append_pair("consistency", consistency);
        }
    }
    let mut create = at("query");
    create
        .query_pairs_mut()
        .append_pair("q", &format!("CREATE DATABASE {}", config.database));
    let door = |url| {
        let plain = "text/plain; charset=utf-8";
        Door::new(
            url,
            headers.clone(),
            plain,
            Some(tls.clone()),
            Protocol::Http,
        )
    };
    let pace = Pace {
        period: config.period,
        concurrency: config.concurrency,
    };
    let mut shown = config.address.clone();
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    let description = format!("InfluxDBv1 ({})", shown.as_str().trim_end_matches('/'));
    let make = Box::new(move |run: &RunStart| {
        Box::new(Lines {
            registry: run.registry.clone(),
            started_wall: run.started_wall,
            metadata: Metadata::of(&run.system_tags),
            precision: config.precision,
            fields: config.fields,
            bodies: Vec::new(),
            waiting_bytes: 0,
            lost: 0,
        }) as Box<dyn Exporter>
    });
    let door_of_lines = door(write);
    let output = RemoteOutput::new("influxdb", description, door_of_lines, pace, make);
    Ok(Box::new(output.after(door(create))))
}

/// Lines that wait to be sent, in bodies of bounded size.
struct Lines {
    registry: Registry,
    started_wall: SystemTime,
    metadata: Metadata,
    precision: Precision,
    fields: Vec<(String, FieldKind)>,
    bodies: Vec<(String, u64)>,
    waiting_bytes: usize,
    lost: u64,
}

impl Lines {
    fn container(&mut self, container: &Container) {
        let since = (self.started_wall + container.at).duration_since(SystemTime::UNIX_EPOCH);
        let time = since.unwrap_or_default().as_nanos() / self.precision.nanos;
        let metadata = self.metadata.pairs(container);
        let own = metadata.iter().map(|(name, value)| (*name, value.as_str()));
        let (mut tags, mut values) = (String::new(), String::new());
        for (name, value) in samples::tags(container).into_iter().chain(own) {
            match self.fields.iter().find(|(field, _)| field == name) {
                Some((_, kind)) => {
                    let _ = write!(values, ",{}={}", escaped(name), field(value, *kind));
                }
                None if value.is_empty() => {}
                None => {
                    let _ = write!(tags, ",{}={}", escaped(name), escaped(value));
                }
            }
        }
        for (metric, value) in samples::figures(container) {
            let Some(metric) = self.registry.get(metric) else {
                continue;
            };
            if self.waiting_bytes > WAITING_BYTES_MAX {
                self.lost += 1;
                continue;
            }
            let name = escaped(&metric.name);
            let line = format!("{name}{tags} value={value}{values} {time}\n");
            self.waiting_bytes += line.len();
            match self.bodies.last_mut() {
                Some((body, samples)) if body.len() + line.len() <= BODY_BYTES_MAX => {
                    body.push_str(&line);
                    *samples += 1;
                }
                _ => self.bodies.push((line, 1)),
            }
        }
    }
}

impl Exporter for Lines {
    fn add(&mut self, batch: &SampleBatch) {
        batch.iter().for_each(|container| self.container(container));
    }

    fn parcels(&mut self, _when: When) -> Vec<Parcel> {
        self.waiting_bytes = 0;
        let bodies = std::mem::take(&mut self.bodies);
        bodies
            .into_iter()
            .map(|(body, samples)| Parcel {
                body: Bytes::from(body),
                samples,
            })
            .collect()
    }

    fn lost(&self) -> u64 {
        self.lost
    }
}

/// Names and tag values: commas, equal signs and spaces behind a backslash.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            ',' | '=' | ' ' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            _ => out.push(c),
        }
    }
    out
}

fn field(value: &str, kind: FieldKind) -> String {
    match kind {
        FieldKind::Int if value.parse::<i64>().is_ok() => format!("{value}i"),
        FieldKind::Float if value.parse::<f64>().is_ok_and(f64::is_finite) => value.to_owned(),
        FieldKind::Bool if parse_flag(value).is_some() => {
            parse_flag(value).unwrap_or_default().to_string()
        }
        _ => format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_escaped_by_the_line_protocol() {
        assert_eq!(escaped("a b,c=d"), "a\\ b\\,c\\=d");
        assert_eq!(field("7", FieldKind::Int), "7i");
        assert_eq!(field("x\"y", FieldKind::Text), "\"x\\\"y\"");
        assert_eq!(field("x", FieldKind::Int), "\"x\"");
    }
}
