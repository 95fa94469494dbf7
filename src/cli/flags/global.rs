//! k6's flags of every load command: logs, progress, configuration file, REST API.

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::Context;
use serde_json::{Map, Value};

use super::go_bool;
use crate::load::summary::text::Color;
use crate::telemetry::Redactor;
use crate::telemetry::k6::{LogFormat, LogOutput, RunLog};

#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Logs, progress, configuration")]
pub(crate) struct GlobalFlags {
    /// Serve k6's REST API there, such as localhost:6565 [default: off]
    #[arg(
        short,
        long,
        env = "K6_ADDRESS",
        global = true,
        value_name = "HOST:PORT"
    )]
    pub(crate) address: Option<String>,
    /// JSON file of options [default: k6/config.json in the user's configuration directory]
    #[arg(short, long, env = "K6_CONFIG", global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How log lines look: text, json or raw
    #[arg(
        long,
        env = "K6_LOG_FORMAT",
        global = true,
        default_value = "text",
        value_name = "FORMAT"
    )]
    log_format: String,
    /// Where log lines go: stderr, stdout, none or file=PATH[,level=LEVEL]
    #[arg(long, env = "K6_LOG_OUTPUT", global = true, default_value = "stderr", value_name = "WHERE", value_parser = LogOutput::from_str)]
    log_output: LogOutput,
    /// No colours
    #[arg(long, env = "K6_NO_COLOR", global = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", value_parser = truthy, value_name = "BOOL")]
    no_color: bool,
    /// Don't show progress
    #[arg(short, long, global = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", value_parser = go_bool, value_name = "BOOL")]
    pub(crate) quiet: bool,
    /// Log more
    #[arg(short, long, global = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", value_parser = go_bool, value_name = "BOOL")]
    verbose: bool,
    /// Where k6/secrets come from: file=PATH, mock=NAME=VALUE,… or url=urlTemplate=ADDRESS; repeatable
    #[arg(long, env = "K6_SECRET_SOURCE", global = true, value_name = "SOURCE")]
    pub(crate) secret_source: Vec<String>,
    /// Add profiling addresses to the REST API
    #[arg(long, global = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", value_parser = go_bool, value_name = "BOOL")]
    pub(crate) profiling_enabled: bool,
}

impl GlobalFlags {
    /// Logging as the flags want it; `console` is the file of `--console-output`.
    pub(crate) fn log(&self, console: Option<PathBuf>) -> RunLog {
        let filter = if self.verbose {
            "info,dchat=debug,console=debug"
        } else {
            "info"
        };
        RunLog {
            filter: filter.to_owned(),
            format: match self.log_format.as_str() {
                "json" => LogFormat::Json,
                "raw" => LogFormat::Raw,
                // k6 takes anything else for text.
                _ => LogFormat::Text,
            },
            output: self.log_output.clone(),
            console,
            redactor: Redactor::default(),
        }
    }

    pub(crate) fn color(&self) -> Color {
        let wanted = !self.no_color && std::env::var_os("NO_COLOR").is_none();
        if wanted && io::stdout().is_terminal() {
            Color::Ansi
        } else {
            Color::Off
        }
    }

    /// The configuration file's options; `None` where there is no such file and none was named.
    ///
    /// # Errors
    /// A file that was named and is not there, or is no JSON object.
    pub(crate) fn config_file(&self) -> anyhow::Result<Option<Map<String, Value>>> {
        let Some(path) = self.config.clone().or_else(default_config) else {
            return Ok(None);
        };
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.config.is_none() => {
                return Ok(None);
            }
            Err(error) => {
                return Err(error).with_context(|| {
                    format!("couldn't load the configuration from {:?}", path.display())
                });
            }
        };
        let object = serde_json::from_str(&text).with_context(|| {
            format!("couldn't parse the configuration from {:?}", path.display())
        })?;
        Ok(Some(object))
    }
}

/// `k6/config.json` in the user's configuration directory.
fn default_config() -> Option<PathBuf> {
    let directory = |name: &str| {
        let value = std::env::var_os(name).filter(|value| !value.is_empty());
        value.map(PathBuf::from)
    };
    #[cfg(windows)]
    let base = directory("AppData");
    #[cfg(target_os = "macos")]
    let base = directory("HOME").map(|home| home.join("Library/Application Support"));
    #[cfg(not(any(windows, target_os = "macos")))]
    let base =
        directory("XDG_CONFIG_HOME").or_else(|| directory("HOME").map(|home| home.join(".config")));
    base.map(|base| base.join("k6").join("config.json"))
}

/// Any text but an empty or false one: k6 looks only whether `K6_NO_COLOR` is set.
fn truthy(text: &str) -> Result<bool, String> {
    Ok(!text.is_empty() && go_bool(text).unwrap_or(true))
}
