//! Where samples go: the trait that every output implements, and what outputs are told.
//!
//! Outputs run on the output side of the one bounded channel (see `manager`), never on a VU's
//! worker thread. Lifecycle: `describe`, `start`, `add` for each batch, `stop` once.

pub mod buffer;
mod csv;
mod file;
pub mod json;
pub mod kinds;
pub mod manager;
#[cfg(feature = "remote-outputs")]
mod remote;
pub mod results;
mod samples;
mod settings;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

pub use settings::Settings;

use super::metrics::{Registry, SampleBatch};
use super::state::RunState;
use super::{RunOutcome, Thresholds};

/// What a run tells its outputs before the first sample.
#[derive(Clone, Debug)]
pub struct RunStart {
    /// UUIDv7 of the run.
    pub run_id: Arc<str>,
    /// File name of the script without directories, or the built-in script's name.
    pub name: Arc<str>,
    pub script_text: Arc<str>,
    /// Consolidated options as k6 spells them, a JSON object without `-e` values.
    pub options_json: Arc<str>,
    /// Expressions by metric or submetric name.
    pub thresholds: Thresholds,
    /// Tags of the whole run (`--tag`, `options.tags`).
    pub tags: BTreeMap<String, String>,
    /// Names of the enabled system tags, ascending.
    pub system_tags: Arc<[&'static str]>,
    /// Where the load goes as far as it is known before the first request: `RELAY_URL`, or the
    /// default of a built-in script.
    pub target: Option<String>,
    /// Wall clock of the run's start; a container's time is this plus its `at`.
    pub started_wall: SystemTime,
    pub registry: Registry,
    pub state: Arc<RunState>,
}

/// Why an output can't be used. Fatal for outputs that the user named, exit code 255.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("output file {path} can't be written: {source}")]
    File {
        path: String,
        source: std::io::Error,
    },
    #[error("invalid output type '{name}', available types are: {known}")]
    Unknown { name: String, known: String },
    #[error("output '{output}': {reason}")]
    Refused { output: String, reason: String },
}

pub type OutputFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

pub trait Output: Send {
    /// One short line for the run's header, such as `json (results.json)`.
    fn describe(&self) -> String;

    /// Called once before setup. When one output fails, those already started are stopped and the
    /// run does not begin.
    fn start<'a>(&'a mut self, run: &'a RunStart) -> OutputFuture<'a, Result<(), Error>>;

    /// Takes one batch; must neither block nor fail. Keeping the `Arc` keeps the samples.
    fn add(&mut self, batch: &Arc<SampleBatch>);

    /// The last flush, after the final evaluation of thresholds; may wait, within reason.
    fn stop<'a>(&'a mut self, outcome: &'a RunOutcome) -> OutputFuture<'a, ()>;
}
