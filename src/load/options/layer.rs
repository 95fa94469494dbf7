//! One source of options (script, environment, command line), and how layers become one.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value};

use super::reader::Fields;
use super::scenario::{Executor, Scenario, Stage};
use super::{Options, TimeUnit};
use crate::load::threshold::{Aggregation, Threshold};

/// Options of k6 that decide where load goes or how much: refused rather than ignored, because a
/// test that ignores them may hit the wrong machine.
const REFUSED: [&str; 7] = [
    "blacklistIPs",
    "blockHostnames",
    "executionSegment",
    "executionSegmentSequence",
    "hosts",
    "rps",
    "tlsAuth",
];
/// Options of k6 that this version reads over, with a warning.
const IGNORED: [&str; 10] = [
    "compatibilityMode",
    "dns",
    "features",
    "httpDebug",
    "localIPs",
    "metricSamplesBufferSize",
    "paused",
    "systemTags",
    "tlsCipherSuites",
    "tlsVersion",
];
/// Options for Grafana's cloud, which k6 itself ignores in local runs.
const SILENT: [&str; 3] = ["cloud", "ext", "linger"];

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
                $(if over.$field.is_some() { self.$field = over.$field; })+
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
}

/// Variables of the environment and the options they set.
const VARIABLES: [(&str, &str); 23] = [
    ("K6_VUS", "vus"),
    ("K6_DURATION", "duration"),
    ("K6_ITERATIONS", "iterations"),
    ("K6_STAGES", "stages"),
    ("K6_TAGS", "tags"),
    ("K6_SETUP_TIMEOUT", "setupTimeout"),
    ("K6_TEARDOWN_TIMEOUT", "teardownTimeout"),
    ("K6_NO_SETUP", "noSetup"),
    ("K6_NO_TEARDOWN", "noTeardown"),
    ("K6_NO_THRESHOLDS", "noThresholds"),
    ("K6_MAX_REDIRECTS", "maxRedirects"),
    ("K6_USER_AGENT", "userAgent"),
    ("K6_THROW", "throw"),
    ("K6_DISCARD_RESPONSE_BODIES", "discardResponseBodies"),
    ("K6_INSECURE_SKIP_TLS_VERIFY", "insecureSkipTLSVerify"),
    ("K6_NO_CONNECTION_REUSE", "noConnectionReuse"),
    ("K6_NO_VU_CONNECTION_REUSE", "noVUConnectionReuse"),
    ("K6_NO_COOKIES_RESET", "noCookiesReset"),
    ("K6_BATCH", "batch"),
    ("K6_BATCH_PER_HOST", "batchPerHost"),
    ("K6_MIN_ITERATION_DURATION", "minIterationDuration"),
    ("K6_SUMMARY_TREND_STATS", "summaryTrendStats"),
    ("K6_SUMMARY_TIME_UNIT", "summaryTimeUnit"),
];

impl Layer {
    /// Reads the script's `options`, as JSON.
    pub(super) fn from_script(
        json: Option<&str>,
        problems: &mut Vec<String>,
        warnings: &mut Vec<String>,
    ) -> Layer {
        let value = json.map_or(Ok(Value::Null), serde_json::from_str);
        let object = match value {
            Ok(Value::Null) => return Layer::default(),
            Ok(Value::Object(object)) => object,
            _ => {
                problems.push("the script's options are not an object".to_owned());
                return Layer::default();
            }
        };
        let mut fields = Fields::new(&object, String::new(), problems);
        let mut layer = Layer::read_plain(&mut fields);
        if let Some(scenarios) = fields.value("scenarios") {
            layer.scenarios = read_scenarios(scenarios, &mut fields);
        }
        SILENT.iter().for_each(|key| fields.ignore(key));
        for key in fields.unread() {
            if REFUSED.contains(&key.as_str()) {
                fields.problem(&format!(
                    "option '{key}' is not in this version; without it the load would go elsewhere"
                ));
            } else if IGNORED.contains(&key.as_str()) {
                warnings.push(format!(
                    "option '{key}' is not in this version and is ignored"
                ));
            } else {
                warnings.push(format!("unknown option '{key}' is ignored"));
            }
        }
        layer
    }

    /// Reads `K6_*` variables; others, and empty ones, are not looked at.
    pub(super) fn from_environment(
        environment: impl IntoIterator<Item = (String, String)>,
        problems: &mut Vec<String>,
    ) -> Layer {
        let mut object = Map::new();
        for (name, text) in environment {
            if let Some((_, key)) = VARIABLES.iter().find(|(variable, _)| *variable == name)
                && !text.is_empty()
            {
                object.insert((*key).to_owned(), Value::String(text));
            }
        }
        let place = "K6_* environment: ".to_owned();
        Layer::read_plain(&mut Fields::new(&object, place, problems))
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
        if given.len() > 1 {
            problems.push(format!("{layer}: use only one of {}", given.join(" and ")));
        }
    }

    /// This layer with a higher one on top; `warnings` hears of scenarios that it replaces.
    pub(super) fn overlaid(mut self, over: Layer, name: &str, warnings: &mut Vec<String>) -> Layer {
        let shapes = over.duration.is_some()
            || over.iterations.is_some()
            || over.stages.is_some()
            || over.scenarios.is_some();
        // Scenarios have VUs of their own: a count alone means that many VUs, one iteration each.
        let vus_alone = over.vus.is_some() && self.scenarios.is_some();
        if shapes || vus_alone {
            if self.scenarios.is_some() {
                warnings.push(format!(
                    "the {name} replaces the script's scenarios entirely"
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

    /// Fills in defaults and turns shortcuts into the scenario that they stand for.
    pub(super) fn complete(self, problems: &mut Vec<String>) -> Options {
        let summary_time_unit = self.summary_time_unit.as_deref().filter(|t| !t.is_empty());
        let unit = summary_time_unit.and_then(TimeUnit::parse);
        if let (Some(text), None) = (summary_time_unit, unit) {
            problems.push(format!(
                "option 'summaryTimeUnit' must be s, ms or us, not '{text}'"
            ));
        }
        let stats = ["avg", "min", "med", "max", "p(90)", "p(95)"];
        Options {
            scenarios: match self.scenarios {
                Some(scenarios) => scenarios,
                None => vec![self.shortcut(problems)],
            },
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
            summary_trend_stats: self.summary_trend_stats.unwrap_or_else(|| {
                stats
                    .iter()
                    .filter_map(|stat| super::parse_stat(stat))
                    .collect()
            }),
            summary_time_unit: unit,
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
            Executor::PerVuIterations {
                vus: 1,
                iterations: 1,
                max_duration: Scenario::MAX_DURATION_DEFAULT,
            }
        };
        problems.extend(executor.problems());
        Scenario::shortcut(executor)
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
    // An empty object is as good as none.
    (!object.is_empty()).then_some(scenarios)
}
