//! Options of a run: read from script, environment and flags, layered, validated.
//!
//! Precedence: defaults, script, `K6_*` environment, flags. Whoever sets one of `duration`,
//! `iterations`, `stages`, `scenarios` replaces all four of the layers below. All problems are
//! told at once. Pure: nothing here reads the environment or the clock.

pub mod duration;
mod json;
pub mod layer;
mod reader;
mod scenario;

use std::collections::BTreeMap;
use std::time::Duration;

pub use layer::Layer;
pub use reader::{parse_stage, parse_stat};
pub use scenario::{Executor, Scenario, Stage, VUS_MAX};

use super::threshold::{Aggregation, Threshold};

/// Everything about a run that can be configured, complete and valid.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// In the script's order; never empty.
    pub scenarios: Vec<Scenario>,
    pub thresholds: BTreeMap<String, Vec<Threshold>>,
    pub tags: BTreeMap<String, String>,
    pub setup_timeout: Duration,
    pub teardown_timeout: Duration,
    pub handle_summary_timeout: Duration,
    pub no_setup: bool,
    pub no_teardown: bool,
    pub no_thresholds: bool,
    pub max_redirects: u32,
    pub user_agent: String,
    pub throw: bool,
    pub discard_response_bodies: bool,
    pub insecure_skip_tls_verify: bool,
    pub no_connection_reuse: bool,
    pub no_vu_connection_reuse: bool,
    pub no_cookies_reset: bool,
    pub batch: usize,
    pub batch_per_host: usize,
    pub min_iteration_duration: Option<Duration>,
    pub summary_trend_stats: Vec<(String, Aggregation)>,
    /// `s`, `ms` or `us`; `None` chooses per value.
    pub summary_time_unit: Option<TimeUnit>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeUnit {
    Seconds,
    Milliseconds,
    Microseconds,
}

impl TimeUnit {
    /// As options spell it.
    pub fn name(self) -> &'static str {
        match self {
            TimeUnit::Seconds => "s",
            TimeUnit::Milliseconds => "ms",
            TimeUnit::Microseconds => "us",
        }
    }

    pub fn parse(text: &str) -> Option<TimeUnit> {
        match text {
            "s" => Some(TimeUnit::Seconds),
            "ms" => Some(TimeUnit::Milliseconds),
            "us" => Some(TimeUnit::Microseconds),
            _ => None,
        }
    }
}

/// All that is wrong with the options, one line each.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct Invalid(pub Vec<String>);

/// Options and what the user should know about how they came about.
#[derive(Debug)]
pub struct Consolidated {
    pub options: Options,
    pub warnings: Vec<String>,
}

/// Layers the three sources and checks the result. `exports` are the script's functions.
///
/// # Errors
/// Every problem of every layer and scenario.
pub fn consolidate(
    script_json: Option<&str>,
    environment: impl IntoIterator<Item = (String, String)>,
    flags: Layer,
    exports: &[String],
) -> Result<Consolidated, Invalid> {
    let mut problems = Vec::new();
    let mut warnings = Vec::new();
    let script = Layer::from_script(script_json, &mut problems, &mut warnings);
    let environment = Layer::from_environment(environment, &mut problems);
    for (name, layer) in [
        ("the script's options", &script),
        ("the K6_* environment", &environment),
        ("the command line", &flags),
    ] {
        layer.check_shortcuts(name, &mut problems);
    }
    let merged = script
        .overlaid(environment, "K6_* environment", &mut warnings)
        .overlaid(flags, "command line", &mut warnings);
    let options = merged.complete(&mut problems);
    for scenario in &options.scenarios {
        if !exports.contains(&scenario.exec) {
            problems.push(format!(
                "scenario '{}': function '{}' is not exported by the script",
                scenario.name, scenario.exec
            ));
        }
    }
    if problems.is_empty() {
        Ok(Consolidated { options, warnings })
    } else {
        Err(Invalid(problems))
    }
}

#[cfg(test)]
mod tests;
