//! Options of a run: read from script, environment and flags, layered, validated.
//!
//! Precedence: defaults, configuration file, script, `K6_*` environment, flags. Whoever sets one of `duration`,
//! `iterations`, `stages`, `scenarios` replaces all four of the layers below. All problems are
//! told at once. Pure: nothing here reads the environment or the clock.

mod addresses;
mod complete;
mod dns;
pub mod duration;
mod environment;
mod json;
pub mod layer;
mod layer_json;
mod network;
mod reader;
mod scenario;
mod segment;
mod system_tags;
mod tls;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub use addresses::AddressPool;
pub use dns::{Dns, DnsPolicy, DnsSelect, DnsTtl};
pub use layer::Layer;
pub use network::{HostAddress, HostPatterns, Hosts, HttpDebug, Network};
pub use reader::{parse_stage, parse_stat};
pub use scenario::{Executor, Scenario, Stage, VUS_MAX};
pub use segment::{Fraction, Segment, Sequence};
pub use system_tags::{SystemTag, SystemTags};
pub use tls::{CipherSuite, TlsAuth, TlsVersion, TlsVersions};

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
    /// The run waits after its setup until it is told to begin.
    pub paused: bool,
    /// The run's REST API stays after its end.
    pub linger: bool,
    /// `None`: all of the test.
    pub execution_segment: Option<Segment>,
    /// Holds the segment, where both are given.
    pub execution_segment_sequence: Option<Sequence>,
    /// Requests per second of all VUs together, at least 1.
    pub rps: Option<u64>,
    pub system_tags: SystemTags,
    pub metric_samples_buffer_size: u64,
    pub network: Arc<Network>,
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
#[error("There were problems with the specified script configuration:\n\t- {}", .0.join("\n\t- "))]
pub struct Invalid(pub Vec<String>);

/// Options and what the user should know about how they came about.
#[derive(Debug)]
pub struct Consolidated {
    pub options: Options,
    /// What all layers together say, before shortcuts become scenarios.
    pub layer: Layer,
    pub warnings: Vec<String>,
}

/// Where options come from, from the weakest to the strongest.
#[derive(Debug, Default)]
pub struct Sources<'a> {
    /// The JSON object of the configuration file.
    pub file: Option<&'a serde_json::Map<String, serde_json::Value>>,
    /// `JSON.stringify(options)` of the script.
    pub script: Option<&'a str>,
    /// Variables among which `K6_*` are looked for.
    pub environment: Vec<(String, String)>,
    pub flags: Layer,
    pub tags: TagSources,
}

/// Whose `tags` count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TagSources {
    /// Those of the strongest source that has any.
    #[default]
    Strongest,
    /// All, the stronger over the weaker: k6's feature `merge-run-tags`.
    Merged,
}

/// Layers the sources and checks the result. `exports` are the script's functions.
///
/// # Errors
/// Every problem of every layer and scenario.
pub fn consolidate(sources: Sources<'_>, exports: &[String]) -> Result<Consolidated, Invalid> {
    let mut problems = Vec::new();
    let mut warnings = Vec::new();
    let file = sources
        .file
        .map(|object| Layer::from_object(object, "configuration file: ", &mut problems));
    let script = Layer::from_script(sources.script, &mut problems, &mut warnings);
    let environment = Layer::from_environment(sources.environment, &mut problems);
    let file = file.unwrap_or_default();
    for (name, layer) in [
        ("the configuration file", &file),
        ("the script's options", &script),
        ("the K6_* environment", &environment),
        ("the command line", &sources.flags),
    ] {
        layer.check_shortcuts(name, &mut problems);
    }
    let tags = (sources.tags == TagSources::Merged).then(|| {
        let layers = [&file, &script, &environment, &sources.flags];
        let tags = layers.into_iter().flat_map(|layer| layer.tags.clone());
        tags.flatten().collect()
    });
    let mut merged = file
        .overlaid(script, "script", &mut warnings)
        .overlaid(environment, "env", &mut warnings)
        .overlaid(sources.flags, "cli", &mut warnings);
    if tags.is_some() {
        merged.tags = tags;
    }
    let mut options = merged.clone().complete(&mut problems, &mut warnings);
    if sources.tags == TagSources::Merged {
        let name = "k6_feature_merge_run_tags".to_owned();
        options.tags.insert(name, "true".to_owned());
    }
    for scenario in &options.scenarios {
        if !exports.contains(&scenario.exec) {
            problems.push(format!(
                "scenario '{}': function '{}' is not exported by the script",
                scenario.name, scenario.exec
            ));
        }
    }
    if problems.is_empty() {
        Ok(Consolidated {
            options,
            layer: merged,
            warnings,
        })
    } else {
        Err(Invalid(problems))
    }
}

/// What the script's options say, on their own; unknown ones are passed over.
///
/// # Errors
/// Every problem in them.
pub fn script_layer(script: Option<&str>) -> Result<Layer, Invalid> {
    let mut problems = Vec::new();
    let layer = Layer::from_script(script, &mut problems, &mut Vec::new());
    if problems.is_empty() {
        Ok(layer)
    } else {
        Err(Invalid(problems))
    }
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
