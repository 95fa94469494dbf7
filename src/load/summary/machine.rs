//! The summary of `--new-machine-readable-summary`, by the published schema of k6-summary 1.0.0.

use std::time::SystemTime;

use serde_json::{Map, Value, json};

use super::blocks::flat;
use super::section::Section;
use super::text::Detail;
use super::{MetricSummary, Summary, Values};
use crate::load::metrics::{MetricKind, ValueKind};
use crate::load::output::json::{contains_name, kind_name, number, rfc3339_nanos};

const SCHEMA_VERSION: &str = "1.0.0";
/// k6's version whose summary this is.
const K6_VERSION: &str = "2.2.0";

/// Makes the summary; `script` is the script's name and `now` the time of its making.
pub fn summary(summary: &Summary, script: &str, detail: Detail, now: SystemTime) -> Value {
    let mut metrics: Vec<(Section, Value)> = summary
        .metrics
        .iter()
        .filter_map(|metric| Some((Section::of(&metric.name, detail)?, self::metric(metric))))
        .collect();
    metrics.sort_by_key(|(section, _)| *section);
    let metrics: Vec<Value> = metrics.into_iter().map(|(_, metric)| metric).collect();
    let mut results = Map::new();
    if let Some(checks) = checks(summary) {
        results.insert("checks".to_owned(), checks);
    }
    results.insert("metrics".to_owned(), Value::Array(metrics));
    json!({
        "config": {
            "duration": summary.duration.as_secs_f64(),
            "execution": "local",
            "script": script,
        },
        "metadata": {
            "generatedAt": rfc3339_nanos(now),
            "k6Version": K6_VERSION,
        },
        "results": results,
        "version": SCHEMA_VERSION,
    })
}

fn checks(summary: &Summary) -> Option<Value> {
    let Values::Rate {
        rate,
        passes,
        fails,
    } = summary.metric("checks")?.values
    else {
        return None;
    };
    let total = passes + fails;
    let rated = |name: &str, rate: f64, matches: u64| {
        json!({
            "contains": contains_name(ValueKind::Default),
            "name": name,
            "type": kind_name(MetricKind::Rate),
            "values": { "matches": matches, "rate": number(rate), "total": total },
        })
    };
    let counted = json!({
        "contains": contains_name(ValueKind::Default),
        "name": "checks_total",
        "type": kind_name(MetricKind::Counter),
        "values": { "count": total },
    });
    let failed = if total == 0 {
        0.0
    } else {
        fails as f64 / total as f64
    };
    let results: Vec<Value> = flat(&summary.root_group.all_checks())
        .iter()
        .map(|check| json!({"fails": check.fails, "name": check.name, "passes": check.passes}))
        .collect();
    Some(json!({
        "metrics": [
            counted,
            rated("checks_failed", failed, fails),
            rated("checks_succeeded", rate, passes),
        ],
        "results": results,
    }))
}

fn metric(metric: &MetricSummary) -> Value {
    json!({
        "contains": contains_name(metric.contains),
        "name": metric.name,
        "type": kind_name(metric.kind),
        "values": values(&metric.values),
    })
}

fn values(values: &Values) -> Value {
    match values {
        Values::Counter { count, .. } => json!({ "count": number(*count) }),
        Values::Gauge { value, min, max } => {
            json!({ "max": number(*max), "min": number(*min), "value": number(*value) })
        }
        Values::Rate {
            rate,
            passes,
            fails,
        } => json!({ "matches": passes, "rate": number(*rate), "total": passes + fails }),
        Values::Trend(trend) => {
            // The schema knows these alone; which of them are there is `summaryTrendStats`.
            let known = ["avg", "max", "med", "min", "p(90)", "p(95)"];
            let pairs = known.into_iter().filter_map(|name| {
                let found = trend.stats.iter().find(|(stat, _)| stat == name);
                found.map(|(_, value)| (name.to_owned(), number(*value)))
            });
            Value::Object(pairs.collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::summary::TrendValues;

    #[test]
    fn values_have_the_names_of_the_schema() {
        let rate = Values::Rate {
            rate: 0.25,
            passes: 1,
            fails: 3,
        };
        assert_eq!(
            values(&rate),
            json!({"matches": 1, "rate": 0.25, "total": 4})
        );
        let trend = Values::Trend(TrendValues {
            stats: vec![("p(99)".to_owned(), 3.0), ("avg".to_owned(), 2.0)],
            ..TrendValues::default()
        });
        assert_eq!(values(&trend), json!({"avg": 2}));
    }
}
