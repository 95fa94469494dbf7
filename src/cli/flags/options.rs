//! k6's flags that set options of a test; `run` and `archive` take them.
//!
//! They are read as text and checked together, so that all that is wrong with them is told at
//! once. What they mean is for `load::options` to say.

use serde_json::{Map, Value};

use super::go_bool;
use crate::load::options::Layer;

#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Options of the test (also from the script and K6_* variables)")]
pub(crate) struct OptionFlags {
    /// Number of virtual users
    #[arg(short = 'u', long, value_name = "N", allow_hyphen_values = true)]
    vus: Option<String>,
    /// Length of the run, such as 30s or 1m30s
    #[arg(short, long, value_name = "TIME", allow_hyphen_values = true)]
    duration: Option<String>,
    /// Iterations in all, shared by the VUs
    #[arg(short, long, value_name = "N", allow_hyphen_values = true)]
    iterations: Option<String>,
    /// A ramp TIME:VUS, such as 30s:10; repeat it, or separate several by commas
    #[arg(short, long = "stage", value_name = "TIME:VUS")]
    stages: Vec<String>,
    /// The part of the test that this machine runs, such as 1/4:1/2 or 25%
    #[arg(long, value_name = "FROM:TO")]
    execution_segment: Option<String>,
    /// Boundaries of all machines' parts, such as 0,1/4,1/2,1
    #[arg(long, value_name = "LIST")]
    execution_segment_sequence: Option<String>,
    /// Begin only when told through the REST API (--address)
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool, value_name = "BOOL")]
    paused: Option<bool>,
    /// Don't run setup()
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool, value_name = "BOOL")]
    no_setup: Option<bool>,
    /// Don't run teardown()
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool, value_name = "BOOL")]
    no_teardown: Option<bool>,
    /// Redirects that a request follows at most [default: 10]
    #[arg(long, value_name = "N")]
    max_redirects: Option<String>,
    /// Requests of one http.batch() in parallel [default: 20]
    #[arg(long, value_name = "N")]
    batch: Option<String>,
    /// Of these, to one host [default: 6]
    #[arg(long, value_name = "N")]
    batch_per_host: Option<String>,
    /// Requests per second of all VUs together at most
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    rps: Option<String>,
    /// User-Agent of requests
    #[arg(long, value_name = "TEXT")]
    user_agent: Option<String>,
    /// Log requests and responses, with '=full' their bodies too
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "headers", value_name = "WHAT")]
    http_debug: Option<String>,
    /// Accept any TLS certificate
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool, value_name = "BOOL")]
    insecure_skip_tls_verify: Option<bool>,
    /// A new connection for every request
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool, value_name = "BOOL")]
    no_connection_reuse: Option<bool>,
    /// New connections for every iteration
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool, value_name = "BOOL")]
    no_vu_connection_reuse: Option<bool>,
    /// Shortest iteration; shorter ones wait
    #[arg(long, value_name = "TIME")]
    min_iteration_duration: Option<String>,
    /// Failed requests throw in the script
    #[arg(short = 'w', long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool, value_name = "BOOL")]
    throw: Option<bool>,
    /// A network that must not be called, such as 10.0.0.0/8; repeatable
    #[arg(long, value_name = "CIDR")]
    blacklist_ip: Vec<String>,
    /// A host that must not be called, with an optional leading '*'; repeatable
    #[arg(long, value_name = "PATTERN")]
    block_hostnames: Vec<String>,
    /// Figures of trends in the summary: avg, min, med, max, count, p(N)
    #[arg(long, value_name = "LIST")]
    summary_trend_stats: Vec<String>,
    /// Unit of times in the summary: s, ms or us
    #[arg(long, value_name = "UNIT")]
    summary_time_unit: Option<String>,
    /// Only these system tags on samples, such as status,method,url
    #[arg(long, value_name = "LIST")]
    system_tags: Vec<String>,
    /// A tag KEY=VALUE of every sample; repeatable; replaces the script's options.tags
    #[arg(long = "tag", value_name = "KEY=VALUE")]
    tags: Vec<String>,
    /// Don't keep response bodies
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool, value_name = "BOOL")]
    discard_response_bodies: Option<bool>,
    /// Addresses that VUs connect from, such as 192.168.0.10-192.168.0.25,10.0.0.0/27
    #[arg(long, value_name = "LIST")]
    local_ips: Option<String>,
    /// How names are resolved [default: ttl=5m,select=random,policy=preferIPv4]
    #[arg(long, value_name = "LIST")]
    dns: Option<String>,
}

impl OptionFlags {
    /// The options that flags set.
    ///
    /// # Errors
    /// All flags that are wrong, one line each.
    pub(crate) fn layer(&self) -> Result<Layer, Vec<String>> {
        let mut problems = Vec::new();
        let mut object = Map::new();
        for (_, key, value) in self.given() {
            object.insert(key.to_owned(), value);
        }
        if let Some(tags) = self.tag_object(&mut problems) {
            object.insert("tags".to_owned(), tags);
        }
        let mut wrong = Vec::new();
        let layer = Layer::from_object(&object, "", &mut wrong);
        problems.extend(wrong.into_iter().map(|text| self.with_flag_names(text)));
        if problems.is_empty() {
            Ok(layer)
        } else {
            Err(problems)
        }
    }

    /// Flags that were given: their names, the options' names and values.
    fn given(&self) -> Vec<(&'static str, &'static str, Value)> {
        let text = |value: &Option<String>| value.clone().map(Value::String);
        let flag = |value: Option<bool>| value.map(Value::Bool);
        // Repeated ones add up; each may hold several.
        let list = |values: &[String]| {
            let given = !values.is_empty();
            given.then(|| Value::String(values.join(",")))
        };
        let table = [
            ("vus", "vus", text(&self.vus)),
            ("duration", "duration", text(&self.duration)),
            ("iterations", "iterations", text(&self.iterations)),
            ("stage", "stages", list(&self.stages)),
            (
                "execution-segment",
                "executionSegment",
                text(&self.execution_segment),
            ),
            (
                "execution-segment-sequence",
                "executionSegmentSequence",
                text(&self.execution_segment_sequence),
            ),
            ("paused", "paused", flag(self.paused)),
            ("no-setup", "noSetup", flag(self.no_setup)),
            ("no-teardown", "noTeardown", flag(self.no_teardown)),
            ("max-redirects", "maxRedirects", text(&self.max_redirects)),
            ("batch", "batch", text(&self.batch)),
            ("batch-per-host", "batchPerHost", text(&self.batch_per_host)),
            ("rps", "rps", text(&self.rps)),
            ("user-agent", "userAgent", text(&self.user_agent)),
            ("http-debug", "httpDebug", text(&self.http_debug)),
            (
                "insecure-skip-tls-verify",
                "insecureSkipTLSVerify",
                flag(self.insecure_skip_tls_verify),
            ),
            (
                "no-connection-reuse",
                "noConnectionReuse",
                flag(self.no_connection_reuse),
            ),
            (
                "no-vu-connection-reuse",
                "noVUConnectionReuse",
                flag(self.no_vu_connection_reuse),
            ),
            (
                "min-iteration-duration",
                "minIterationDuration",
                text(&self.min_iteration_duration),
            ),
            ("throw", "throw", flag(self.throw)),
            ("blacklist-ip", "blacklistIPs", list(&self.blacklist_ip)),
            (
                "block-hostnames",
                "blockHostnames",
                list(&self.block_hostnames),
            ),
            (
                "summary-trend-stats",
                "summaryTrendStats",
                list(&self.summary_trend_stats),
            ),
            (
                "summary-time-unit",
                "summaryTimeUnit",
                text(&self.summary_time_unit),
            ),
            ("system-tags", "systemTags", list(&self.system_tags)),
            (
                "discard-response-bodies",
                "discardResponseBodies",
                flag(self.discard_response_bodies),
            ),
            ("local-ips", "localIPs", text(&self.local_ips)),
            ("dns", "dns", text(&self.dns)),
        ];
        let given = table.into_iter();
        given
            .filter_map(|(flag, key, value)| Some((flag, key, value?)))
            .collect()
    }

    /// `--tag`, whose values may hold commas.
    fn tag_object(&self, problems: &mut Vec<String>) -> Option<Value> {
        let mut object = Map::new();
        for tag in &self.tags {
            let why = match tag.split_once('=') {
                _ if tag.is_empty() => "invalid tag, empty string",
                Some(("", _)) => "invalid tag, empty name",
                Some((_, "")) | None => "invalid tag, empty value",
                Some((name, value)) => {
                    object.insert(name.to_owned(), Value::String(value.to_owned()));
                    continue;
                }
            };
            problems.push(format!("error parsing tag '{tag}': {why}"));
        }
        (!object.is_empty()).then_some(Value::Object(object))
    }

    fn with_flag_names(&self, text: String) -> String {
        self.given().iter().fold(text, |text, (flag, key, _)| {
            text.replace(&format!("option '{key}'"), &format!("--{flag}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        options: OptionFlags,
    }

    fn layer(line: &str) -> Result<Layer, Vec<String>> {
        let words = ["x"].into_iter().chain(line.split_whitespace());
        Command::try_parse_from(words)
            .expect("flags are known")
            .options
            .layer()
    }

    #[test]
    fn all_wrong_flags_are_told_at_once_by_their_names() {
        let problems =
            layer("--vus many --execution-segment 3/2 --blacklist-ip x --tag a --dns q=1")
                .expect_err("they are wrong");
        for part in [
            "--vus must be",
            "--execution-segment: ",
            "--blacklist-ip: 'x'",
            "tag 'a'",
            "q",
        ] {
            assert!(problems.iter().any(|p| p.contains(part)), "{problems:?}");
        }
    }

    #[test]
    fn flags_may_repeat_hold_lists_and_be_negated() {
        let layer =
            layer("-s 1s:2,2s:3 --stage 4s:5 --throw=false --paused --http-debug --tag a=b=c,d")
                .expect("they are fine");
        assert_eq!(layer.stages.map(|stages| stages.len()), Some(3));
        assert_eq!((layer.throw, layer.paused), (Some(false), Some(true)));
        let tags = layer.tags.expect("a tag is given");
        assert_eq!(tags.get("a").map(String::as_str), Some("b=c,d"));
    }
}
