//! One layer of options as `inspect` prints and archives keep them: k6's keys in k6's order, `null`
//! where nothing is said. [`Layer::from_script`] reads it again.

use std::time::Duration;

use serde_json::{Value, json};

use super::duration::format;
use super::json::{stages_json, thresholds_json};
use super::layer::Layer;
use super::network::HttpDebug;

impl Layer {
    pub fn to_json(&self) -> Value {
        let time = |duration: Option<Duration>| duration.map(format);
        let scenarios = self.scenarios.as_ref().map(|list| {
            let entries = list.iter().map(|s| (s.name.clone(), s.to_full_json()));
            Value::Object(entries.collect())
        });
        let networks = self.blacklist_ips.as_ref().map(|list| {
            let texts = list.iter().map(ToString::to_string);
            texts.collect::<Vec<String>>()
        });
        let suites = self.tls_cipher_suites.as_ref().map(|list| {
            let names = list.iter().map(|suite| suite.name);
            names.collect::<Vec<&str>>()
        });
        let certificates = self.tls_auth.as_ref().map(|list| {
            let entries = list.iter().map(|auth| {
                json!({
                    "cert": auth.cert,
                    "key": auth.key,
                    "password": auth.password,
                    "domains": auth.domains,
                })
            });
            entries.collect::<Vec<Value>>()
        });
        let stats = self.summary_trend_stats.as_ref().map(|list| {
            let names = list.iter().map(|(name, _)| name.as_str());
            names.collect::<Vec<&str>>()
        });
        let debug = self.http_debug.map(|debug| match debug {
            HttpDebug::Off => "",
            HttpDebug::Headers => "headers",
            HttpDebug::Full => "full",
        });
        json!({
            "paused": self.paused,
            "vus": self.vus,
            "duration": time(self.duration),
            "iterations": self.iterations,
            "stages": self.stages.as_deref().map(stages_json),
            "scenarios": scenarios,
            "executionSegment": self.execution_segment.map(|segment| segment.to_string()),
            "executionSegmentSequence":
                self.execution_segment_sequence.as_ref().map(ToString::to_string),
            "noSetup": self.no_setup,
            "setupTimeout": time(self.setup_timeout),
            "noTeardown": self.no_teardown,
            "teardownTimeout": time(self.teardown_timeout),
            "handleSummaryTimeout": time(self.handle_summary_timeout),
            "rps": self.rps,
            "dns": self.dns.clone().unwrap_or_default().to_json(),
            "maxRedirects": self.max_redirects,
            "userAgent": self.user_agent,
            "batch": self.batch,
            "batchPerHost": self.batch_per_host,
            "httpDebug": debug,
            "insecureSkipTLSVerify": self.insecure_skip_tls_verify,
            "tlsCipherSuites": suites,
            "tlsVersion": self.tls_versions.map(|versions| versions.to_json()),
            "tlsAuth": certificates,
            "throw": self.throw,
            "thresholds": self.thresholds.as_ref().map(thresholds_json),
            "blacklistIPs": networks,
            "blockHostnames": self.block_hostnames.as_ref().map(|names| names.to_json()),
            "hosts": self.hosts.as_ref().map(|hosts| hosts.to_json()),
            "noConnectionReuse": self.no_connection_reuse,
            "noVUConnectionReuse": self.no_vu_connection_reuse,
            "minIterationDuration": time(self.min_iteration_duration),
            "ext": null,
            "summaryTrendStats": stats,
            "summaryTimeUnit": self.summary_time_unit,
            "systemTags": self.system_tags.map(|tags| tags.names()),
            "tags": self.tags,
            "metricSamplesBufferSize": self.metric_samples_buffer_size,
            "noCookiesReset": self.no_cookies_reset,
            "discardResponseBodies": self.discard_response_bodies,
            "features": null,
        })
    }

    /// With the defaults that k6 fills in before it derives scenarios.
    pub fn with_defaults(mut self) -> Layer {
        let minute = Some(Duration::from_secs(60));
        let dns = self.dns.take().unwrap_or_default().complete();
        self.dns = Some(dns.into());
        self.setup_timeout = self.setup_timeout.or(minute);
        self.teardown_timeout = self.teardown_timeout.or(minute);
        self.handle_summary_timeout = self
            .handle_summary_timeout
            .or(Some(Duration::from_secs(120)));
        self.system_tags = Some(self.system_tags.unwrap_or_default());
        let stats = self.summary_trend_stats.take();
        self.summary_trend_stats = Some(stats.unwrap_or_else(super::complete::trend_stats_default));
        self
    }
}
