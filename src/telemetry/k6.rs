//! Logs of load commands: k6's formats, places and the file of `console.log`.
//!
//! Lines of the script's console have the target `console`.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Mutex;

use tracing_subscriber::filter::{FilterFn, LevelFilter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::Registry;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

use super::format::{JsonLines, Logfmt, Raw};
use super::{Error, Guard, Redactor};

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// `time="…" level=info msg="…" source=console`.
    Text,
    /// `{"level":"info","msg":"…","source":"console","time":"…"}`.
    Json,
    /// The message alone.
    Raw,
}

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogOutput {
    Stderr,
    Stdout,
    Off,
    /// Appended to a file, from a level on.
    File {
        path: PathBuf,
        level: Option<Level>,
    },
}

/// A level by k6's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level(LevelFilter);

/// All about the logs of one run.
#[derive(Clone, Debug, PartialEq)]
pub struct RunLog {
    /// A `tracing` filter.
    pub filter: String,
    pub format: LogFormat,
    pub output: LogOutput,
    /// File of the script's console lines, which then go nowhere else.
    pub console: Option<PathBuf>,
    /// What no line may show.
    pub redactor: Redactor,
}

impl FromStr for LogOutput {
    type Err = String;

    /// `stderr`, `stdout`, `none` or `file=PATH[,level=LEVEL]`.
    fn from_str(text: &str) -> Result<LogOutput, String> {
        match text {
            "stderr" => return Ok(LogOutput::Stderr),
            "stdout" => return Ok(LogOutput::Stdout),
            "none" => return Ok(LogOutput::Off),
            _ => {}
        }
        if text == "loki" || text.starts_with("loki=") {
            return Err("this version does not push logs to Loki; \
                        write a file and let an agent send it"
                .to_owned());
        }
        if !text.starts_with("file=") {
            return Err(format!("unsupported log output '{text}'"));
        }
        let (mut path, mut level) = (PathBuf::new(), None);
        for part in text.split(',') {
            match part.split_once('=') {
                Some(("file", value)) => path = PathBuf::from(value),
                Some(("level", value)) => level = Some(value.parse()?),
                _ => {
                    let key = part.split('=').next().unwrap_or_default();
                    return Err(format!("unknown logfile config key {key}"));
                }
            }
        }
        if path.as_os_str().is_empty() {
            return Err("filepath must not be empty".to_owned());
        }
        Ok(LogOutput::File { path, level })
    }
}

impl FromStr for Level {
    type Err = String;

    fn from_str(text: &str) -> Result<Level, String> {
        Ok(Level(match text {
            "error" | "fatal" | "panic" => LevelFilter::ERROR,
            "warning" | "warn" => LevelFilter::WARN,
            "info" => LevelFilter::INFO,
            "debug" => LevelFilter::DEBUG,
            "trace" => LevelFilter::TRACE,
            _ => return Err(format!("unknown log level {text}")),
        }))
    }
}

/// Installs the process's subscriber. `to_terminal` writes to stderr or stdout, whichever the
/// output asks for, beside a live display.
///
/// # Errors
/// A filter that cannot be read, a file that cannot be written, a second call.
pub fn start<W>(log: &RunLog, to_terminal: W) -> Result<Guard, Error>
where
    W: for<'w> fmt::MakeWriter<'w> + Send + Sync + 'static,
{
    let separate = log.console.is_some();
    let own = FilterFn::new(move |metadata| !separate || metadata.target() != "console");
    let filter = super::filter(&log.filter)?;
    let main: Option<Lines> = match &log.output {
        LogOutput::Off => None,
        LogOutput::Stderr | LogOutput::Stdout => Some(lines(log, Source::Told, to_terminal)),
        LogOutput::File { path, level } => {
            let lines = lines(log, Source::Told, append(path, 0o600)?);
            Some(match level {
                Some(Level(level)) => lines.with_filter(*level).boxed(),
                None => lines,
            })
        }
    };
    let console: Option<Lines> = match &log.console {
        Some(path) => {
            let lines = lines(log, Source::Left, append(path, 0o644)?);
            let only = FilterFn::new(|metadata| metadata.target() == "console");
            Some(lines.with_filter(only).boxed())
        }
        None => None,
    };
    let layers: Vec<Lines> = [main.map(|main| main.with_filter(own).boxed()), console]
        .into_iter()
        .flatten()
        .collect();
    tracing_subscriber::registry()
        .with(layers.with_filter(filter))
        .try_init()
        .map_err(|_| Error::Started)?;
    super::log_panics();
    Ok(Guard { _file: None })
}

/// One line as the text format writes it, for an error before or after the logs.
pub fn error_line(text: &str) -> String {
    super::format::error_line(text)
}

type Lines = Box<dyn Layer<Registry> + Send + Sync>;

/// Whether console lines say that they are: in a file of their own they need not.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Told,
    Left,
}

fn lines<W>(log: &RunLog, source: Source, writer: W) -> Lines
where
    W: for<'w> fmt::MakeWriter<'w> + Send + Sync + 'static,
{
    let layer = fmt::layer().with_ansi(false).with_writer(writer);
    let redactor = log.redactor.clone();
    match log.format {
        LogFormat::Text => layer.event_format(Logfmt { source, redactor }).boxed(),
        LogFormat::Json => layer.event_format(JsonLines { source, redactor }).boxed(),
        LogFormat::Raw => layer.event_format(Raw { redactor }).boxed(),
    }
}

fn append(path: &Path, mode: u32) -> Result<Mutex<File>, Error> {
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    let file = options.open(path).map_err(|error| Error::File {
        path: path.display().to_string(),
        reason: error.to_string(),
    })?;
    Ok(Mutex::new(file))
}
