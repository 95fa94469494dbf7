//! Random options: nothing panics, and what is valid survives being written and read again.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

/// Names of options, of their parts, and a few that are none.
const KEYS: [&str; 49] = [
    "vus",
    "duration",
    "iterations",
    "stages",
    "scenarios",
    "thresholds",
    "tags",
    "setupTimeout",
    "noSetup",
    "maxRedirects",
    "userAgent",
    "throw",
    "batch",
    "minIterationDuration",
    "summaryTrendStats",
    "summaryTimeUnit",
    "paused",
    "executionSegment",
    "executionSegmentSequence",
    "rps",
    "hosts",
    "dns",
    "blacklistIPs",
    "blockHostnames",
    "httpDebug",
    "tlsAuth",
    "tlsVersion",
    "tlsCipherSuites",
    "systemTags",
    "localIPs",
    "linger",
    "executor",
    "startTime",
    "gracefulStop",
    "exec",
    "env",
    "rate",
    "timeUnit",
    "preAllocatedVUs",
    "maxVUs",
    "startVUs",
    "target",
    "threshold",
    "abortOnFail",
    "min",
    "max",
    "ttl",
    "window",
    "nonsense",
];

const TEXTS: [&str; 30] = [
    "",
    "5",
    "-5",
    "1e9",
    "30s",
    "1m2.5s",
    "-1s",
    "9999999999999999h",
    "0.0000001ms",
    "true",
    "constant-vus",
    "ramping-vus",
    "constant-arrival-rate",
    "per-vu-iterations",
    "rate>0.5",
    "p(95)<1 ms",
    "a=b,c=d",
    "1/3:2/3",
    "0,1/3,1",
    "99999999999999999999/3",
    "10.0.0.0/33",
    "::1",
    "127.0.0.1:80",
    "*.a.b",
    "tls1.2",
    "TLS_AES_128_GCM_SHA256",
    "inf",
    "full",
    "10s:5,20s:7",
    "\u{0}é\u{1F600}",
];

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (0_i64..100).prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        prop::sample::select(&TEXTS[..]).prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            object(inner).prop_map(Value::from),
        ]
    })
}

fn object(inner: impl Strategy<Value = Value>) -> impl Strategy<Value = Map<String, Value>> {
    let key = prop_oneof![
        9 => prop::sample::select(&KEYS[..]).prop_map(str::to_owned),
        1 => ".{0,6}",
    ];
    prop::collection::vec((key, inner), 0..8).prop_map(Map::from_iter)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_options_are_read_or_refused_without_a_panic(options in object(value())) {
        let text = Value::Object(options.clone()).to_string();
        let sources = Sources {
            file: Some(&options),
            script: Some(&text),
            ..Sources::default()
        };
        match consolidate(sources, &["default".to_owned()]) {
            Ok(consolidated) => {
                let _ = consolidated.options.to_json();
                let _ = consolidated.layer.with_defaults().to_json();
            }
            Err(Invalid(problems)) => prop_assert!(!problems.is_empty()),
        }
    }

    #[test]
    fn any_variables_and_texts_are_read_or_refused_without_a_panic(
        name in prop::sample::select(vec![
            "K6_VUS", "K6_STAGES", "K6_DNS", "K6_HOSTS", "K6_TAGS", "K6_LOCAL_IPS",
            "K6_THRESHOLDS", "K6_TLSAUTH", "K6_EXECUTION_SEGMENT", "K6_RPS", "K6_BLACKLIST_IPS",
        ]),
        text in prop_oneof![".{0,30}", prop::sample::select(&TEXTS[..]).prop_map(str::to_owned)],
    ) {
        let sources = Sources {
            environment: vec![(name.to_owned(), text)],
            ..Sources::default()
        };
        let _ = consolidate(sources, &["default".to_owned()]);
    }

    #[test]
    fn valid_options_are_the_same_when_written_and_read_again(options in object(value())) {
        let text = Value::Object(options).to_string();
        let Ok(mut layer) = script_layer(Some(&text)) else {
            return Ok(());
        };
        // A delay without an abort, and a set of no known tag, mean nothing and are not kept.
        for threshold in layer.thresholds.iter_mut().flatten().flat_map(|(_, list)| list) {
            if !threshold.abort_on_fail {
                threshold.delay_abort = Duration::ZERO;
            }
        }
        layer.system_tags = layer.system_tags.filter(|tags| !tags.names().is_empty());
        let dns = layer.dns.take().unwrap_or_default();
        layer.dns = Some(dns);
        let written = layer.to_json().to_string();
        prop_assert_eq!(script_layer(Some(&written)).expect(&written), layer);
    }

    #[test]
    fn any_duration_is_the_same_when_written_and_read_again(nanos in 0_u64..1 << 49) {
        let duration = Duration::from_nanos(nanos);
        let text = duration::format(duration);
        let read = duration::parse(&text).expect(&text);
        // Reading goes through a float: over a day a nanosecond may be lost.
        let lost = read.abs_diff(duration);
        prop_assert!(lost <= Duration::from_nanos(100), "{} is {:?}", text, read);
    }
}
