//! Defaults, and the scenario that shortcuts stand for.

use std::sync::Arc;
use std::time::Duration;

use super::layer::Layer;
use super::network::Network;
use super::scenario::{Executor, Scenario};
use super::{Options, TimeUnit};
use crate::load::threshold::Aggregation;

const EMPTY: &str =
    "`{}` was explicitly set to an empty value, running the script with 1 iteration in 1 VU";
/// What runs where nothing is said.
const ONCE: Executor = Executor::PerVuIterations {
    vus: 1,
    iterations: 1,
    max_duration: Scenario::MAX_DURATION_DEFAULT,
};

/// Columns of trends in the summary where nothing else is said.
pub(super) fn trend_stats_default() -> Vec<(String, Aggregation)> {
    let names = ["avg", "min", "med", "max", "p(90)", "p(95)"];
    names.into_iter().filter_map(super::parse_stat).collect()
}

impl Layer {
    /// Fills in defaults and turns shortcuts into the scenario that they stand for.
    pub(super) fn complete(
        mut self,
        problems: &mut Vec<String>,
        warnings: &mut Vec<String>,
    ) -> Options {
        let network = Arc::new(self.take_network());
        self.check_segment(problems);
        let summary_time_unit = self.summary_time_unit.as_deref().filter(|t| !t.is_empty());
        let unit = summary_time_unit.and_then(TimeUnit::parse);
        if let (Some(text), None) = (summary_time_unit, unit) {
            problems.push(format!(
                "option 'summaryTimeUnit' must be s, ms or us, not '{text}'"
            ));
        }
        Options {
            scenarios: self.all_scenarios(problems, warnings),
            thresholds: self.thresholds.unwrap_or_default(),
            tags: self.tags.unwrap_or_default(),
            setup_timeout: self.setup_timeout.unwrap_or(Duration::from_secs(60)),
            teardown_timeout: self.teardown_timeout.unwrap_or(Duration::from_secs(60)),
            handle_summary_timeout: self
                .handle_summary_timeout
                .unwrap_or(Duration::from_secs(120)),
            no_setup: self.no_setup.unwrap_or(false),
            no_teardown: self.no_teardown.unwrap_or(false),
            no_thresholds: self.no_thresholds.unwrap_or(false),
            max_redirects: self.max_redirects.unwrap_or(10),
            user_agent: self
                .user_agent
                .unwrap_or_else(|| concat!("dchat/", env!("CARGO_PKG_VERSION")).to_owned()),
            throw: self.throw.unwrap_or(false),
            discard_response_bodies: self.discard_response_bodies.unwrap_or(false),
            insecure_skip_tls_verify: self.insecure_skip_tls_verify.unwrap_or(false),
            no_connection_reuse: self.no_connection_reuse.unwrap_or(false),
            no_vu_connection_reuse: self.no_vu_connection_reuse.unwrap_or(false),
            no_cookies_reset: self.no_cookies_reset.unwrap_or(false),
            batch: self.batch.unwrap_or(20).max(1),
            batch_per_host: self.batch_per_host.unwrap_or(6).max(1),
            min_iteration_duration: self.min_iteration_duration,
            summary_trend_stats: self.summary_trend_stats.unwrap_or_else(trend_stats_default),
            summary_time_unit: unit,
            paused: self.paused.unwrap_or(false),
            linger: self.linger.unwrap_or(false),
            execution_segment: self.execution_segment,
            execution_segment_sequence: self.execution_segment_sequence,
            rps: self
                .rps
                .and_then(|rate| u64::try_from(rate).ok())
                .filter(|rate| *rate > 0),
            system_tags: self.system_tags.unwrap_or_default(),
            metric_samples_buffer_size: self.metric_samples_buffer_size.unwrap_or(1_000),
            network,
        }
    }

    /// The scenarios, or the one that shortcuts make. VUs alone win over scenarios, as in k6.
    fn all_scenarios(
        &mut self,
        problems: &mut Vec<String>,
        warnings: &mut Vec<String>,
    ) -> Vec<Scenario> {
        let shaped = self.duration.is_some() || self.iterations.is_some() || self.stages.is_some();
        let vus_alone = self.vus.filter(|_| !shaped);
        let scenarios = self.scenarios.take();
        if let (Some(vus), Some(_)) = (vus_alone, &scenarios) {
            warnings.push(format!("`vus={vus}` overrides scenarios configuration"));
        } else if let Some(scenarios) = scenarios {
            if !scenarios.is_empty() {
                return scenarios;
            }
            warnings.push(EMPTY.replace("{}", "scenarios"));
        } else if self.stages.as_ref().is_some_and(Vec::is_empty)
            && self.duration.is_none()
            && self.iterations.is_none()
        {
            warnings.push(EMPTY.replace("{}", "stages"));
            return vec![Scenario::shortcut(ONCE)];
        }
        vec![self.shortcut(problems)]
    }

    fn take_network(&mut self) -> Network {
        Network {
            hosts: self.hosts.take().unwrap_or_default(),
            dns: self.dns.take().unwrap_or_default().complete(),
            blacklist_ips: self.blacklist_ips.take().unwrap_or_default(),
            block_hostnames: self.block_hostnames.take().unwrap_or_default(),
            local_ips: self.local_ips.take(),
            tls_auth: self.tls_auth.take().unwrap_or_default(),
            tls_versions: self.tls_versions.take().unwrap_or_default(),
            tls_cipher_suites: self.tls_cipher_suites.take(),
            http_debug: self.http_debug.take().unwrap_or_default(),
        }
    }

    fn check_segment(&self, problems: &mut Vec<String>) {
        if let (Some(segment), Some(sequence)) =
            (&self.execution_segment, &self.execution_segment_sequence)
            && !sequence.segments().any(|part| part == *segment)
        {
            problems.push(format!(
                "option 'executionSegment': {segment} is no part of the sequence {sequence}"
            ));
        }
    }

    fn shortcut(&self, problems: &mut Vec<String>) -> Scenario {
        let vus = self.vus.unwrap_or(1);
        let stages = self.stages.as_ref().filter(|list| !list.is_empty());
        let executor = if let Some(iterations) = self.iterations {
            Executor::SharedIterations {
                vus,
                iterations,
                max_duration: self.duration.unwrap_or(Scenario::MAX_DURATION_DEFAULT),
            }
        } else if let Some(stages) = stages {
            Executor::RampingVus {
                start_vus: vus,
                stages: stages.clone(),
                graceful_ramp_down: Scenario::GRACEFUL_STOP_DEFAULT,
            }
        } else if let Some(duration) = self.duration {
            Executor::ConstantVus { vus, duration }
        } else if self.vus.is_some() {
            Executor::SharedIterations {
                vus,
                iterations: u64::from(vus),
                max_duration: Scenario::MAX_DURATION_DEFAULT,
            }
        } else {
            ONCE
        };
        problems.extend(executor.problems());
        Scenario::shortcut(executor)
    }
}
