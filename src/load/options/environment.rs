//! `K6_*` variables and the options they set.

use serde_json::{Map, Value};

use super::layer::Layer;

/// Variables of the environment and the options they set.
const VARIABLES: [(&str, &str); 41] = [
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
    ("K6_HANDLE_SUMMARY_TIMEOUT", "handleSummaryTimeout"),
    ("K6_THRESHOLDS", "thresholds"),
    ("K6_PAUSED", "paused"),
    ("K6_LINGER", "linger"),
    ("K6_EXECUTION_SEGMENT", "executionSegment"),
    ("K6_EXECUTION_SEGMENT_SEQUENCE", "executionSegmentSequence"),
    ("K6_RPS", "rps"),
    ("K6_HOSTS", "hosts"),
    ("K6_DNS", "dns"),
    ("K6_BLACKLIST_IPS", "blacklistIPs"),
    ("K6_BLOCK_HOSTNAMES", "blockHostnames"),
    ("K6_LOCAL_IPS", "localIPs"),
    ("K6_HTTP_DEBUG", "httpDebug"),
    ("K6_TLSAUTH", "tlsAuth"),
    ("K6_TLS_VERSION", "tlsVersion"),
    ("K6_TLS_CIPHER_SUITES", "tlsCipherSuites"),
    ("K6_SYSTEM_TAGS", "systemTags"),
    ("K6_METRIC_SAMPLES_BUFFER_SIZE", "metricSamplesBufferSize"),
];

impl Layer {
    /// Reads `K6_*` variables; others, and empty ones, are not looked at. Lists and objects may
    /// be JSON.
    pub(super) fn from_environment(
        environment: impl IntoIterator<Item = (String, String)>,
        problems: &mut Vec<String>,
    ) -> Layer {
        let mut object = Map::new();
        for (name, text) in environment {
            if let Some((_, key)) = VARIABLES.iter().find(|(variable, _)| *variable == name)
                && !text.is_empty()
            {
                object.insert((*key).to_owned(), json_or_text(text));
            }
        }
        Layer::from_object(&object, "K6_* environment: ", problems)
    }
}

fn json_or_text(text: String) -> Value {
    if !text.starts_with(['{', '[']) {
        return Value::String(text);
    }
    serde_json::from_str(&text).unwrap_or(Value::String(text))
}
