//! Consolidated options as k6 spells them, for `exec.test.options`, outputs and stored runs.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::duration::format;
use super::{Executor, Options, Scenario, Stage};
use crate::load::threshold::Threshold;

impl Options {
    /// A JSON object. Scenarios' `env` is left out: it may hold secrets.
    pub fn to_json(&self) -> Value {
        let scenarios: Map<String, Value> = self
            .scenarios
            .iter()
            .map(|scenario| (scenario.name.clone(), scenario.to_json()))
            .collect();
        let thresholds = thresholds_json(&self.thresholds);
        let stats: Vec<&String> = self.summary_trend_stats.iter().map(|(n, _)| n).collect();
        let networks = self.network.blacklist_ips.iter();
        let blacklist: Vec<String> = networks.map(ToString::to_string).collect();
        json!({
            "scenarios": scenarios,
            "thresholds": thresholds,
            "tags": self.tags,
            "setupTimeout": format(self.setup_timeout),
            "teardownTimeout": format(self.teardown_timeout),
            "maxRedirects": self.max_redirects,
            "userAgent": self.user_agent,
            "batch": self.batch,
            "batchPerHost": self.batch_per_host,
            "throw": self.throw,
            "discardResponseBodies": self.discard_response_bodies,
            "insecureSkipTLSVerify": self.insecure_skip_tls_verify,
            "noConnectionReuse": self.no_connection_reuse,
            "noVUConnectionReuse": self.no_vu_connection_reuse,
            "noCookiesReset": self.no_cookies_reset,
            "minIterationDuration": self.min_iteration_duration.map(format),
            "summaryTrendStats": stats,
            "summaryTimeUnit": self.summary_time_unit.map(|unit| unit.name()),
            "handleSummaryTimeout": format(self.handle_summary_timeout),
            "noSetup": self.no_setup,
            "noTeardown": self.no_teardown,
            "paused": self.paused,
            "executionSegment": self.execution_segment.map(|segment| segment.to_string()),
            "executionSegmentSequence":
                self.execution_segment_sequence.as_ref().map(ToString::to_string),
            "rps": self.rps,
            "hosts": self.network.hosts.to_json(),
            "dns": self.network.dns.to_json(),
            "blacklistIPs": blacklist,
            "blockHostnames": self.network.block_hostnames.to_json(),
            "tlsVersion": self.network.tls_versions.to_json(),
            "systemTags": self.system_tags.names(),
            "metricSamplesBufferSize": self.metric_samples_buffer_size,
        })
    }
}

/// Thresholds by metric; a text where it says everything.
pub(super) fn thresholds_json(thresholds: &BTreeMap<String, Vec<Threshold>>) -> Value {
    let metrics = thresholds.iter().map(|(metric, list)| {
        let entries = list.iter().map(|threshold| {
            if !threshold.abort_on_fail && threshold.window.is_none() {
                return json!(threshold.source);
            }
            let mut entry = json!({ "threshold": threshold.source });
            if threshold.abort_on_fail {
                entry["abortOnFail"] = json!(true);
                entry["delayAbortEval"] = json!(format(threshold.delay_abort));
            }
            if let Some(window) = threshold.window {
                entry["window"] = json!(format(window));
            }
            entry
        });
        (metric.clone(), entries.collect())
    });
    Value::Object(metrics.collect())
}

impl Scenario {
    /// With everything, `env` too: what another machine needs to do the same.
    pub(super) fn to_full_json(&self) -> Value {
        let mut value = self.to_json();
        value["env"] = json!(self.env);
        value
    }

    fn to_json(&self) -> Value {
        let mut object = json!({
            "executor": self.executor.kind(),
            "startTime": format(self.start_time),
            "gracefulStop": format(self.graceful_stop),
            "exec": self.exec,
            "tags": self.tags,
        });
        let own = match &self.executor {
            Executor::SharedIterations {
                vus,
                iterations,
                max_duration,
            }
            | Executor::PerVuIterations {
                vus,
                iterations,
                max_duration,
            } => json!({
                "vus": vus,
                "iterations": iterations,
                "maxDuration": format(*max_duration),
            }),
            Executor::ConstantVus { vus, duration } => json!({
                "vus": vus,
                "duration": format(*duration),
            }),
            Executor::RampingVus {
                start_vus,
                stages,
                graceful_ramp_down,
            } => {
                json!({
                    "startVUs": start_vus,
                    "stages": stages_json(stages),
                    "gracefulRampDown": format(*graceful_ramp_down),
                })
            }
            Executor::ConstantArrivalRate {
                rate,
                time_unit,
                duration,
                pre_allocated_vus,
                max_vus,
            } => json!({
                "rate": rate,
                "timeUnit": format(*time_unit),
                "duration": format(*duration),
                "preAllocatedVUs": pre_allocated_vus,
                "maxVUs": max_vus,
            }),
            Executor::RampingArrivalRate {
                start_rate,
                time_unit,
                stages,
                pre_allocated_vus,
                max_vus,
            } => json!({
                "startRate": start_rate,
                "timeUnit": format(*time_unit),
                "stages": stages_json(stages),
                "preAllocatedVUs": pre_allocated_vus,
                "maxVUs": max_vus,
            }),
        };
        if let (Value::Object(object), Value::Object(own)) = (&mut object, own) {
            object.extend(own);
        }
        object
    }
}

pub(super) fn stages_json(stages: &[Stage]) -> Vec<Value> {
    let stages = stages.iter();
    stages
        .map(|stage| json!({"duration": format(stage.duration), "target": stage.target}))
        .collect()
}
