//! The effective configuration as a commented `dchat.toml`; it is also the reference of all keys.

use std::fmt::Write;

use super::Config;
use super::knobs::KNOBS;
use crate::limits::Limits;
use crate::telemetry::LogFormat;

/// Text that, saved as `dchat.toml`, gives the same configuration again.
pub fn render(config: &Config) -> String {
    let server = &config.server;
    let mut out = String::new();
    let origin = match &config.file {
        Some(path) => format!("read from {}", path.display()),
        None => "no dchat.toml found".to_owned(),
    };
    let bind = match server.bind.as_slice() {
        [] => "# bind = [\"127.0.0.1\", \"::1\"]".to_owned(),
        said => format!(
            "bind = [{}]",
            said.iter()
                .map(|a| format!("\"{a}\""))
                .collect::<Vec<_>>()
                .join(", ")
        ),
    };
    let dir = match &config.log.dir {
        Some(dir) => format!("dir = {}", quoted(&dir.display().to_string())),
        None => "# dir = \"/var/log/dchat\"".to_owned(),
    };
    let format = match config.log.format {
        LogFormat::Json => "json",
        LogFormat::Text => "text",
    };
    // Writing to a String cannot fail.
    let _ = write!(
        out,
        "# Effective configuration of the relay ({origin}).
# Flags win over DCHAT_* variables, those over this file, this file over the defaults.
# Save this output as dchat.toml to change it; 'dchat config check FILE' tries a file.

# Where messages.db and runs.db live. --data-dir, DCHAT_DATA_DIR
data_dir = {data_dir}
# Addresses to listen on; without any: 127.0.0.1 and, where the machine has it, ::1. --bind, DCHAT_BIND
{bind}
# One port for API, WebSocket, metrics and the viewer; 0 takes a free one. --port, DCHAT_PORT
port = {port}
# Anyone who can reach the relay may act for any user; needed off loopback. --open, DCHAT_OPEN
open = {open}

[log]
# A level, or target=level parts separated by commas. --log-level, DCHAT_LOG_LEVEL
filter = {filter}
# text or json. --log-format, DCHAT_LOG_FORMAT
format = \"{format}\"
# Daily rolling files beside stderr. --log-dir, DCHAT_LOG_DIR
{dir}
# Daily files kept. --log-keep-files, DCHAT_LOG_KEEP_FILES
keep_files = {keep}

# Each limit is also --limit NAME=VALUE and DCHAT_NAME (in capitals).
[limits]
",
        data_dir = quoted(&server.data_dir.display().to_string()),
        port = server.port,
        open = server.open,
        filter = quoted(&config.log.filter),
        keep = config.log.keep_files,
    );
    let defaults = Limits::default();
    for knob in KNOBS {
        let value = knob.show(&server.limits);
        let default = knob.show(&defaults);
        let note = if value == default {
            String::new()
        } else {
            format!(" (default {default})")
        };
        let _ = writeln!(out, "# {}{note}\n{} = {value}", knob.meaning, knob.name);
    }
    out
}

/// A TOML string; JSON's escapes are a subset of TOML's.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
