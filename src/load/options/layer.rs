//! One source of options (script, environment, command line), and how layers become one.

use std::collections::BTreeMap;
use std::time::Duration;

use ipnet::IpNet;
use serde_json::{Map, Value};

use super::addresses::AddressPool;
use super::dns::DnsLayer;
use super::network::{HostPatterns, Hosts, HttpDebug};
use super::reader::Fields;
use super::scenario::{Scenario, Stage};
use super::segment::{Segment, Sequence};
use super::system_tags::SystemTags;
use super::tls::{CipherSuite, TlsAuth, TlsVersions};
use crate::load::threshold::{Aggregation, Threshold};

/// Options that mean nothing to a local run, which k6 itself ignores in silence.
const SILENT: [&str; 2] = ["cloud", "ext"];
/// Options that k6 takes from flags, environment and configuration file only.
const NOT_IN_SCRIPTS: [&str; 2] = ["localIPs", "linger"];

macro_rules! layer {
    ($($(#[$doc:meta])* $field:ident: $type:ty, $key:literal, $read:ident;)+) => {
        /// What one source says; `None` where it says nothing.
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct Layer {
            pub scenarios: Option<Vec<Scenario>>,
            $($(#[$doc])* pub $field: Option<$type>,)+
        }

        impl Layer {
            fn read_plain(fields: &mut Fields<'_>) -> Layer {
                Layer { scenarios: None, $($field: fields.$read($key),)+ }
            }

            fn overlay_plain(&mut self, over: Layer) {
                if over.scenarios.is_some() { self.scenarios = over.scenarios; }
                let dns = self.dns.take();
                $(if over.$field.is_some() { self.$field = over.$field; })+
                self.dns = match (dns, self.dns.take()) {
                    (Some(dns), Some(over)) => Some(dns.overlaid(over)),
                    (dns, over) => over.or(dns),
                };
            }
        }
    };
}

layer! {
    vus: u32, "vus", count;
    duration: Duration, "duration", duration;
    iterations: u64, "iterations", count;
    stages: Vec<Stage>, "stages", stages;
    thresholds: BTreeMap<String, Vec<Threshold>>, "thresholds", thresholds;
    /// Replaced whole by a higher layer, as in k6.
    tags: BTreeMap<String, String>, "tags", texts;
    setup_timeout: Duration, "setupTimeout", duration;
    teardown_timeout: Duration, "teardownTimeout", duration;
    handle_summary_timeout: Duration, "handleSummaryTimeout", duration;
    no_setup: bool, "noSetup", flag;
    no_teardown: bool, "noTeardown", flag;
    no_thresholds: bool, "noThresholds", flag;
    max_redirects: u32, "maxRedirects", count;
    user_agent: String, "userAgent", text;
    throw: bool, "throw", flag;
    discard_response_bodies: bool, "discardResponseBodies", flag;
    insecure_skip_tls_verify: bool, "insecureSkipTLSVerify", flag;
    no_connection_reuse: bool, "noConnectionReuse", flag;
    no_vu_connection_reuse: bool, "noVUConnectionReuse", flag;
    no_cookies_reset: bool, "noCookiesReset", flag;
    batch: usize, "batch", count;
    batch_per_host: usize, "batchPerHost", count;
    min_iteration_duration: Duration, "minIterationDuration", duration;
    summary_trend_stats: Vec<(String, Aggregation)>, "summaryTrendStats", trend_stats;
    summary_time_unit: String, "summaryTimeUnit", text;
    paused: bool, "paused", flag;
    execution_segment: Segment, "executionSegment", segment;
    execution_segment_sequence: Sequence, "executionSegmentSequence", sequence;
    /// Below 1 is no limit.
    rps: i64, "rps", number;
    hosts: Hosts, "hosts", hosts;
    /// Laid over part by part.
    dns: DnsLayer, "dns", dns;
    blacklist_ips: Vec<IpNet>, "blacklistIPs", networks;
    block_hostnames: HostPatterns, "blockHostnames", host_patterns;
    http_debug: HttpDebug, "httpDebug", http_debug;
    tls_auth: Vec<TlsAuth>, "tlsAuth", tls_auth;
    tls_versions: TlsVersions, "tlsVersion", tls_versions;
    tls_cipher_suites: Vec<CipherSuite>, "tlsCipherSuites", cipher_suites;
    system_tags: SystemTags, "systemTags", system_tags;
    metric_samples_buffer_size: u64, "metricSamplesBufferSize", count;
    local_ips: AddressPool, "localIPs", address_pool;
    linger: bool, "linger", flag;
}

impl Layer {
    /// Reads the script's `options`, as JSON.
    pub(super) fn from_script(
        json: Option<&str>,
        problems: &mut Vec<String>,
        warnings: &mut Vec<String>,
    ) -> Layer {
        let value = json.map_or(Ok(Value::Null), serde_json::from_str);
        let mut object = match value {
            Ok(Value::Null) => return Layer::default(),
            Ok(Value::Object(object)) => object,
            _ => {
                problems.push("the script's options are not an object".to_owned());
                return Layer::default();
            }
        };
        let elsewhere = NOT_IN_SCRIPTS.map(|key| object.remove(key).map(|_| key));
        let mut fields = Fields::new(&object, String::new(), problems);
        let layer = Layer::read(&mut fields);
        SILENT.iter().for_each(|key| fields.ignore(key));
        let unknown = fields.unread();
        let elsewhere = elsewhere.into_iter().flatten().map(str::to_owned);
        for key in unknown.into_iter().chain(elsewhere) {
            warnings.push(format!(
                "There were unknown fields in the options exported in the script: '{key}'"
            ));
        }
        layer
    }

    /// Reads options of another source by the names that they have in scripts; unknown ones are
    /// passed over. `place` begins the text of every problem.
    pub fn from_object(
        object: &Map<String, Value>,
        place: &str,
        problems: &mut Vec<String>,
    ) -> Layer {
        Layer::read(&mut Fields::new(object, place.to_owned(), problems))
    }

    fn read(fields: &mut Fields<'_>) -> Layer {
        let mut layer = Layer::read_plain(fields);
        if let Some(scenarios) = fields.value("scenarios") {
            layer.scenarios = read_scenarios(scenarios, fields);
        }
        layer
    }

    /// Tells of shortcuts that contradict each other within this layer.
    pub(super) fn check_shortcuts(&self, layer: &str, problems: &mut Vec<String>) {
        let mut given = Vec::new();
        let mut note = |present: bool, name| {
            if present {
                given.push(name);
            }
        };
        let stages = self.stages.as_ref().is_some_and(|list| !list.is_empty());
        let scenarios = self.scenarios.is_some();
        note(self.iterations.is_some(), "iterations");
        // With iterations, duration is their maxDuration.
        let own_duration =
            self.duration.is_some() && (self.iterations.is_none() || stages || scenarios);
        note(own_duration, "duration");
        note(stages, "stages");
        note(scenarios, "scenarios");
        if let [first, .., last] = given[..] {
            problems.push(format!(
                "{layer}: using `{first}` and `{last}` options simultaneously is not allowed"
            ));
        }
    }

    /// This layer with a higher one on top; `name` is k6's for the higher one, and `warnings`
    /// hears of scenarios that it replaces.
    pub(super) fn overlaid(mut self, over: Layer, name: &str, warnings: &mut Vec<String>) -> Layer {
        let shapes = over.duration.is_some()
            || over.iterations.is_some()
            || over.stages.is_some()
            || over.scenarios.is_some();
        if shapes {
            if self.scenarios.is_some() {
                warnings.push(format!(
                    "\"{name}\" level configuration overrode scenarios configuration entirely"
                ));
            }
            self.duration = None;
            self.iterations = None;
            self.stages = None;
            self.scenarios = None;
        }
        self.overlay_plain(over);
        self
    }
}

fn read_scenarios(value: &Value, fields: &mut Fields<'_>) -> Option<Vec<Scenario>> {
    let Some(object) = value.as_object() else {
        fields.problem("option 'scenarios' must be an object of scenarios");
        return None;
    };
    let mut scenarios = Vec::new();
    for (name, value) in object {
        let place = format!("scenario '{name}': ");
        match value.as_object() {
            Some(inner) => scenarios.extend(Scenario::read(name, fields.inner(inner, place))),
            None => fields.problem(&format!("{place}must be an object")),
        }
    }
    Some(scenarios)
}
