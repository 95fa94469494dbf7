//! Consolidated options as k6 spells them, for `exec.test.options`, outputs and stored runs.

use serde_json::{Map, Value, json};

use super::duration::format;
use super::{Executor, Options, Scenario};

impl Options {
    /// A JSON object. Scenarios' `env` is left out: it may hold secrets.
    pub fn to_json(&self) -> Value {
        let scenarios: Map<String, Value> = self
            .scenarios
            .iter()
            .map(|scenario| (scenario.name.clone(), scenario.to_json()))
            .collect();
        let thresholds: Map<String, Value> = self
            .thresholds
            .iter()
            .map(|(metric, list)| {
                let sources = list.iter().map(|threshold| {
                    if threshold.abort_on_fail {
                        json!({
                            "threshold": threshold.source,
                            "abortOnFail": true,
                            "delayAbortEval": format(threshold.delay_abort),
                        })
                    } else {
                        json!(threshold.source)
                    }
                });
                (metric.clone(), sources.collect())
            })
            .collect();
        let stats: Vec<&String> = self.summary_trend_stats.iter().map(|(n, _)| n).collect();
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
        })
    }
}

impl Scenario {
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
                let stages: Vec<Value> = stages
                    .iter()
                    .map(
                        |stage| json!({"duration": format(stage.duration), "target": stage.target}),
                    )
                    .collect();
                json!({
                    "startVUs": start_vus,
                    "stages": stages,
                    "gracefulRampDown": format(*graceful_ramp_down),
                })
            }
        };
        if let (Value::Object(object), Value::Object(own)) = (&mut object, own) {
            object.extend(own);
        }
        object
    }
}
