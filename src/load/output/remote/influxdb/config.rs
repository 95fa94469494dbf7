//! Settings of the `influxdb` output: the address, over `K6_INFLUXDB_*` variables.

use std::time::Duration;

use url::Url;

use crate::load::options::duration;
use crate::load::output::Error;
use crate::load::output::settings::{Settings, parse_flag};

/// What a tag becomes that is written as a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FieldKind {
    Text,
    Int,
    Float,
    Bool,
}

/// Everything that can be set.
#[derive(Clone, Debug)]
pub(super) struct Config {
    pub(super) address: Url,
    pub(super) database: String,
    pub(super) username: Option<String>,
    pub(super) password: Option<String>,
    pub(super) insecure: bool,
    pub(super) period: Duration,
    pub(super) concurrency: usize,
    pub(super) precision: Precision,
    pub(super) retention: Option<String>,
    pub(super) consistency: Option<String>,
    pub(super) fields: Vec<(String, FieldKind)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Precision {
    pub(super) name: &'static str,
    pub(super) nanos: u128,
}

const PRECISIONS: [Precision; 6] = [
    Precision {
        name: "ns",
        nanos: 1,
    },
    Precision {
        name: "u",
        nanos: 1_000,
    },
    Precision {
        name: "ms",
        nanos: 1_000_000,
    },
    Precision {
        name: "s",
        nanos: 1_000_000_000,
    },
    Precision {
        name: "m",
        nanos: 60_000_000_000,
    },
    Precision {
        name: "h",
        nanos: 3_600_000_000_000,
    },
];

/// `argument` is what follows `influxdb=`; over the variables.
///
/// # Errors
/// Everything that can't be read.
pub(super) fn read(argument: Option<&str>, mut settings: Settings) -> Result<Config, Error> {
    let default = "http://localhost:8086".to_owned();
    let address = settings.text("K6_INFLUXDB_ADDR").unwrap_or(default);
    let text = argument.filter(|text| !text.is_empty()).unwrap_or(&address);
    let mut url = Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .unwrap_or_else(|| {
            settings.problem(format!("'{text}' is no http or https address"));
            Url::parse("http://localhost:8086").expect("a constant")
        });
    let mut config = Config {
        address: url.clone(),
        database: settings
            .text("K6_INFLUXDB_DB")
            .unwrap_or_else(|| "k6".to_owned()),
        username: settings.text("K6_INFLUXDB_USERNAME"),
        password: settings.text("K6_INFLUXDB_PASSWORD"),
        insecure: settings.flag("K6_INFLUXDB_INSECURE", false),
        period: settings.duration("K6_INFLUXDB_PUSH_INTERVAL", Duration::from_secs(1)),
        concurrency: settings.count("K6_INFLUXDB_CONCURRENT_WRITES", 4),
        precision: settings.parsed(
            "K6_INFLUXDB_PRECISION",
            PRECISIONS[0],
            "ns, u, ms, s, m or h",
            precision,
        ),
        retention: settings.text("K6_INFLUXDB_RETENTION"),
        consistency: settings.text("K6_INFLUXDB_CONSISTENCY"),
        fields: settings.parsed(
            "K6_INFLUXDB_TAGS_AS_FIELDS",
            fields("vu:int,iter:int,url").expect("a constant"),
            "names with an optional type, as in vu:int,url",
            fields,
        ),
    };
    if argument.is_some() {
        overlay(&mut config, &mut url, &mut settings);
    }
    settings.finish()?;
    Ok(config)
}

/// What the address itself says: user, database (its last segment) and queries.
fn overlay(config: &mut Config, url: &mut Url, settings: &mut Settings) {
    if !url.username().is_empty() {
        config.username = Some(decoded(url.username()));
        config.password = url.password().map(decoded);
    }
    for (name, value) in url.query_pairs() {
        match &*name {
            "insecure" => config.insecure = parse_flag(&value).unwrap_or(config.insecure),
            "precision" => config.precision = precision(&value).unwrap_or(config.precision),
            "retention" => config.retention = Some(value.into_owned()),
            "consistency" => config.consistency = Some(value.into_owned()),
            "pushInterval" => config.period = duration::parse(&value).unwrap_or(config.period),
            "concurrentWrites" => {
                config.concurrency = value.parse().unwrap_or(config.concurrency).max(1);
            }
            "tagsAsFields" => config.fields = fields(&value).unwrap_or_default(),
            "payload_size" | "db" => {}
            _ => settings.problem(format!("unknown query '{name}' in the address")),
        }
    }
    let path = url.path().to_owned();
    let (prefix, database) = path.rsplit_once('/').unwrap_or(("", ""));
    if !database.is_empty() {
        config.database = decoded(database);
    }
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_path(prefix);
    config.address = url.clone();
}

fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text)
        .decode_utf8_lossy()
        .into_owned()
}

fn precision(text: &str) -> Option<Precision> {
    let name = match text.trim_start_matches('1') {
        "us" | "µs" => "u",
        "n" => "ns",
        other => other,
    };
    PRECISIONS.into_iter().find(|known| known.name == name)
}

fn fields(text: &str) -> Option<Vec<(String, FieldKind)>> {
    let parts = text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let (name, kind) = part.split_once(':').unwrap_or((part, "string"));
            let kind = match kind {
                "string" => FieldKind::Text,
                "int" => FieldKind::Int,
                "float" => FieldKind::Float,
                "bool" => FieldKind::Bool,
                _ => return None,
            };
            Some((name.to_owned(), kind))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_names_database_prefix_and_user() {
        let settings = Settings::default();
        let config = read(
            Some("http://me:pw@h:1/proxy/mydb?precision=ms"),
            settings.of("x"),
        );
        let config = config.expect("all is well");
        assert_eq!(config.database, "mydb");
        assert_eq!(config.address.as_str(), "http://h:1/proxy");
        assert_eq!(config.username.as_deref(), Some("me"));
        assert_eq!(config.precision.name, "ms");
        let config = read(Some("http://h:1/proxy/"), settings.of("x")).expect("all is well");
        assert_eq!(
            (config.database.as_str(), config.address.path()),
            ("k6", "/proxy")
        );
    }
}
