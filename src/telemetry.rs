//! Log formats, filters and files; the panic hook.
//!
//! A leaf. [`start`] installs the process's one subscriber and is called once, by the command that
//! runs; the returned [`Guard`] must live as long as the process, because dropping it flushes and
//! closes the log file. Log lines never carry tokens, message contents or values of `-e`.

mod format;
pub mod k6;
mod redact;

use std::io::IsTerminal;
use std::path::PathBuf;

use tracing_appender::non_blocking::WorkerGuard;
use tracing_appender::rolling::{self, Rotation};
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

use self::format::{Journal, Logfmt};
use self::k6::Source;

pub use self::redact::Redactor;

/// How log lines look on stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people; with syslog priorities when stderr is the journal.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Where log lines go and which ones.
#[derive(Clone, Debug, PartialEq)]
pub struct LogConfig {
    /// A `tracing` filter: a level, or `target=level` parts separated by commas.
    pub filter: String,
    pub format: LogFormat,
    /// Directory of the daily rolling files; `None`: stderr only.
    pub dir: Option<PathBuf>,
    /// Daily files kept in `dir`.
    pub keep_files: usize,
}

impl Default for LogConfig {
    fn default() -> LogConfig {
        LogConfig {
            filter: "info".to_owned(),
            format: LogFormat::Text,
            dir: None,
            keep_files: 14,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("log filter '{filter}' is not understood: {reason}\nhint: try 'info' or 'dchat=debug'")]
    Filter { filter: String, reason: String },
    #[error("cannot write log files in {dir}: {reason}")]
    Directory { dir: String, reason: String },
    #[error("cannot write the log file {path}: {reason}")]
    File { path: String, reason: String },
    #[error("logging has already been started in this process")]
    Started,
}

/// Flushes and closes the log file when dropped. Keep it until the process ends.
#[derive(Debug)]
#[must_use = "dropping the guard closes the log file"]
pub struct Guard {
    _file: Option<WorkerGuard>,
}

/// Installs the subscriber and the panic hook; load commands have [`k6::start`] instead.
///
/// # Errors
/// An unreadable filter, a log directory that cannot be written, or a second call.
pub fn start(config: &LogConfig) -> Result<Guard, Error> {
    let (file_layer, guard) = match &config.dir {
        Some(dir) => {
            let failed = |reason: String| Error::Directory {
                dir: dir.display().to_string(),
                reason,
            };
            std::fs::create_dir_all(dir).map_err(|e| failed(e.to_string()))?;
            let file = rolling::Builder::new()
                .rotation(Rotation::DAILY)
                .filename_prefix("dchat")
                .filename_suffix("log")
                .max_log_files(config.keep_files)
                .build(dir)
                .map_err(|e| failed(e.to_string()))?;
            let (writer, guard) = tracing_appender::non_blocking(file);
            let layer = match config.format {
                LogFormat::Json => fmt::layer().json().with_writer(writer).boxed(),
                LogFormat::Text => fmt::layer()
                    .with_ansi(false)
                    .with_writer(writer)
                    .event_format(Logfmt {
                        source: Source::Told,
                        redactor: Redactor::default(),
                    })
                    .boxed(),
            };
            (
                Some(layer.with_filter(filter(&config.filter)?)),
                Some(guard),
            )
        }
        None => (None, None),
    };
    let stderr = fmt::layer().with_writer(std::io::stderr);
    let stderr = match config.format {
        LogFormat::Json => stderr.json().boxed(),
        // The journal sets this for services whose stderr it reads.
        LogFormat::Text if std::env::var_os("JOURNAL_STREAM").is_some() => {
            stderr.event_format(Journal).boxed()
        }
        LogFormat::Text => stderr
            .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
            .boxed(),
    };
    tracing_subscriber::registry()
        .with(file_layer)
        .with(stderr.with_filter(filter(&config.filter)?))
        .try_init()
        .map_err(|_| Error::Started)?;
    log_panics();
    Ok(Guard { _file: guard })
}

/// Whether `filter` would be accepted by [`start`].
///
/// # Errors
/// What is wrong with it.
pub fn check_filter(filter: &str) -> Result<(), Error> {
    match EnvFilter::builder().parse(filter) {
        Ok(_) => Ok(()),
        Err(error) => Err(Error::Filter {
            filter: filter.to_owned(),
            reason: error.to_string(),
        }),
    }
}

fn filter(text: &str) -> Result<EnvFilter, Error> {
    EnvFilter::builder()
        .parse(text)
        .map_err(|error| Error::Filter {
            filter: text.to_owned(),
            reason: error.to_string(),
        })
}

/// Panics reach the log file too, with the place they came from.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        let text = panic
            .payload()
            .downcast_ref::<&str>()
            .map(|s| (*s).to_owned())
            .or_else(|| panic.payload().downcast_ref::<String>().cloned());
        tracing::error!(
            thread = std::thread::current().name().unwrap_or("unnamed"),
            place = place.as_deref().unwrap_or("unknown"),
            "panic: {}",
            text.as_deref().unwrap_or("no message")
        );
    }));
}
