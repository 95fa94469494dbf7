//! Which outputs there are: from `--out NAME[=ARGUMENT]` to an output.

use super::{Error, Output, Settings, csv, json};

/// Names of all outputs of this build, ascending; `web-dashboard` is the caller's own.
pub const KNOWN: &[&str] = &[
    "csv",
    #[cfg(feature = "remote-outputs")]
    "experimental-opentelemetry",
    #[cfg(feature = "remote-outputs")]
    "experimental-prometheus-rw",
    #[cfg(feature = "remote-outputs")]
    "influxdb",
    "json",
    #[cfg(feature = "remote-outputs")]
    "opentelemetry",
    "web-dashboard",
];

/// Makes the output that `text` (`NAME` or `NAME=ARGUMENT`) asks for.
///
/// # Errors
/// A name that nobody has, settings that can't be read.
pub fn make(text: &str, settings: &Settings) -> Result<Box<dyn Output>, Error> {
    let (name, argument) = match text.split_once('=') {
        Some((name, argument)) => (name, Some(argument)),
        None => (text, None),
    };
    match name {
        "json" => Ok(json::output(argument)),
        "csv" => csv::output(argument, settings),
        _ => remote(name, argument, settings),
    }
}

#[cfg(feature = "remote-outputs")]
fn remote(
    name: &str,
    argument: Option<&str>,
    settings: &Settings,
) -> Result<Box<dyn Output>, Error> {
    use super::remote::{influxdb, opentelemetry, prometheus};
    match name {
        "influxdb" => influxdb::output(argument, settings),
        "experimental-prometheus-rw" => prometheus::output(argument, settings),
        "opentelemetry" | "experimental-opentelemetry" => {
            opentelemetry::output(name, argument, settings)
        }
        _ => Err(unknown(name)),
    }
}

#[cfg(not(feature = "remote-outputs"))]
fn remote(
    name: &str,
    _argument: Option<&str>,
    _settings: &Settings,
) -> Result<Box<dyn Output>, Error> {
    let remote = ["experimental-prometheus-rw", "influxdb", "opentelemetry"];
    if remote.contains(&name) {
        return Err(Error::Refused {
            output: name.to_owned(),
            reason: "this build has no remote outputs (cargo feature `remote-outputs`)".to_owned(),
        });
    }
    Err(unknown(name))
}

fn unknown(name: &str) -> Error {
    Error::Unknown {
        name: name.to_owned(),
        known: KNOWN.join(", "),
    }
}
