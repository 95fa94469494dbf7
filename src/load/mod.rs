//! The load lab: runs a k6 script against a target and says how it went.
//!
//! Architecture invariant: nothing here imports `relay`, `storage`, `results` or `http`. The lab
//! meets a relay as any stranger does, over the wire.

pub mod archive;
pub mod builtin_scripts;
pub mod client;
pub mod control;
pub mod exceptions;
pub mod executor;
pub mod exit;
pub mod inspect;
pub mod js;
pub mod metrics;
pub mod options;
pub mod output;
mod process;
pub mod request_rate;
pub mod run;
pub mod schedule;
pub mod secrets;
pub mod state;
pub mod summary;
pub mod threshold;
mod tickers;
pub mod vu;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub use self::run::beyond::{Beyond, OnException, OwnMetrics};
pub use self::run::{Begun, Error, RunConfig, SummaryShape, SummaryWanted, run};

use self::metrics::figures::Figures;
use self::state::AbortReason;
use self::summary::Summary;

/// How a run ended, with everything that the summary, the reporter and the verdict are made from.
#[derive(Clone, Debug)]
pub struct RunOutcome {
    pub run_id: Arc<str>,
    pub name: Arc<str>,
    pub started_wall: SystemTime,
    /// From start to end, setup and teardown included.
    pub duration: Duration,
    pub summary: Summary,
    /// `summary` in the shape that `handleSummary` gets, a JSON object.
    pub summary_json: String,
    pub exit_code: u8,
    /// One line that says why `exit_code` is not 0.
    pub failure: Option<String>,
    pub abort: Option<AbortReason>,
    /// `summaryTimeUnit`.
    pub time_unit: Option<options::TimeUnit>,
    /// What `handleSummary` returned: destination (`stdout`, `stderr` or a path) and content.
    pub custom_summary: Option<Vec<(String, Vec<u8>)>>,
    pub figures: RunFigures,
}

/// What only the engine knows about a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunFigures {
    /// Target as known before the run or from its first request, without credentials.
    pub target: Option<String>,
    pub iterations_completed: u64,
    pub iterations_interrupted: u64,
    pub script_exceptions: u64,
    pub vus_leaked: u32,
    /// Samples that the output side could not take in time.
    pub samples_dropped: u64,
    /// What the verdict judges.
    pub totals: Figures,
    /// Processor time of this process ÷ (run time × cores); over 0.8 the figures are suspect.
    pub cpu_share: Option<f64>,
    /// Peak resident set of this process, in bytes.
    pub memory_bytes_max: Option<u64>,
}

/// Thresholds by metric or submetric name.
pub type Thresholds = BTreeMap<String, Vec<String>>;
