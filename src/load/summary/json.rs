//! The summary for programs: what `handleSummary` gets, and the older shape of
//! `--summary-export`.

use md5::{Digest, Md5};
use serde_json::{Map, Value, json};

use super::{GroupSummary, MetricSummary, Summary, Values};
use crate::load::options::Options;
use crate::load::output::json::{contains_name, kind_name, number};

/// What the script may want to know about where its texts go.
#[derive(Clone, Copy, Debug)]
pub struct Terminal {
    pub stdout: bool,
    pub stderr: bool,
    pub no_color: bool,
}

/// The argument of `handleSummary`.
pub fn handle_summary_data(summary: &Summary, options: &Options, terminal: Terminal) -> Value {
    let stats: Vec<&String> = options.summary_trend_stats.iter().map(|(n, _)| n).collect();
    let mut data = json!({
        "root_group": group(&summary.root_group),
        "options": {
            "summaryTrendStats": stats,
            "summaryTimeUnit": options.summary_time_unit.map_or("", |unit| unit.name()),
            "noColor": terminal.no_color,
        },
        "state": {
            "isStdOutTTY": terminal.stdout,
            "isStdErrTTY": terminal.stderr,
            "testRunDurationMs": summary.duration.as_secs_f64() * 1e3,
        },
        "metrics": metrics(summary),
    });
    let setup = summary.setup_data.as_deref();
    if let Some(setup) = setup.and_then(|text| serde_json::from_str::<Value>(text).ok()) {
        data["setup_data"] = setup;
    }
    data
}

/// The file of `--summary-export`: values beside each other, groups and checks by name, and
/// thresholds that say whether they **failed**.
pub fn export(summary: &Summary) -> Value {
    let mut metrics = Map::new();
    for metric in &summary.metrics {
        let mut values = values(&metric.values);
        // The rate of a rate is called value here.
        if let Some(rate) = values
            .remove("rate")
            .filter(|_| matches!(metric.values, Values::Rate { .. }))
        {
            values.insert("value".to_owned(), rate);
        } else if let Values::Counter { per_second, .. } = metric.values {
            values.insert("rate".to_owned(), number(per_second));
        }
        let failed: Map<String, Value> = metric
            .thresholds
            .iter()
            .map(|threshold| (threshold.source.clone(), json!(!threshold.ok)))
            .collect();
        if !failed.is_empty() {
            values.insert("thresholds".to_owned(), Value::Object(failed));
        }
        metrics.insert(metric.name.clone(), Value::Object(values));
    }
    json!({ "root_group": exported_group(&summary.root_group), "metrics": metrics })
}

fn metrics(summary: &Summary) -> Map<String, Value> {
    let metric = |metric: &MetricSummary| {
        let mut object = json!({
            "type": kind_name(metric.kind),
            "contains": contains_name(metric.contains),
            "values": values(&metric.values),
        });
        if !metric.thresholds.is_empty() {
            let thresholds: Map<String, Value> = metric
                .thresholds
                .iter()
                .map(|threshold| (threshold.source.clone(), json!({ "ok": threshold.ok })))
                .collect();
            object["thresholds"] = Value::Object(thresholds);
        }
        object
    };
    summary
        .metrics
        .iter()
        .map(|m| (m.name.clone(), metric(m)))
        .collect()
}

pub(crate) fn values(values: &Values) -> Map<String, Value> {
    let pairs: Vec<(&str, Value)> = match values {
        Values::Counter { count, per_second } => {
            vec![("count", number(*count)), ("rate", number(*per_second))]
        }
        Values::Gauge { value, min, max } => vec![
            ("value", number(*value)),
            ("min", number(*min)),
            ("max", number(*max)),
        ],
        Values::Rate {
            rate,
            passes,
            fails,
        } => vec![
            ("rate", number(*rate)),
            ("passes", json!(passes)),
            ("fails", json!(fails)),
        ],
        Values::Trend(trend) => trend
            .stats
            .iter()
            .map(|(name, value)| (name.as_str(), number(*value)))
            .collect(),
    };
    pairs
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

fn group(group: &GroupSummary) -> Value {
    let checks: Vec<Value> = group
        .checks
        .iter()
        .map(|check| {
            json!({
                "name": check.name,
                "path": check.path,
                "id": id(&check.path),
                "passes": check.passes,
                "fails": check.fails,
            })
        })
        .collect();
    json!({
        "name": group.name,
        "path": group.path,
        "id": id(&group.path),
        "groups": group.groups.iter().map(self::group).collect::<Vec<_>>(),
        "checks": checks,
    })
}

fn exported_group(group: &GroupSummary) -> Value {
    let groups: Map<String, Value> = group
        .groups
        .iter()
        .map(|inner| (inner.name.clone(), exported_group(inner)))
        .collect();
    let checks: Map<String, Value> = group
        .checks
        .iter()
        .map(|check| {
            let value = json!({
                "name": check.name,
                "path": check.path,
                "id": id(&check.path),
                "passes": check.passes,
                "fails": check.fails,
            });
            (check.name.clone(), value)
        })
        .collect();
    json!({
        "name": group.name,
        "path": group.path,
        "id": id(&group.path),
        "groups": groups,
        "checks": checks,
    })
}

/// k6's id of a group or check: the MD5 of its path in hexadecimal.
pub(crate) fn id(path: &str) -> String {
    let digest = Md5::digest(path.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::metrics::{MetricKind, ValueKind};
    use crate::load::summary::ThresholdSummary;

    #[test]
    fn ids_are_md5_of_the_path() {
        assert_eq!(id(""), "d41d8cd98f00b204e9800998ecf8427e");
    }

    #[test]
    fn export_says_true_of_failed_thresholds() {
        let summary = Summary {
            metrics: vec![MetricSummary {
                name: "checks".to_owned(),
                submetric: None,
                kind: MetricKind::Rate,
                contains: ValueKind::Default,
                values: Values::Rate {
                    rate: 0.5,
                    passes: 1,
                    fails: 1,
                },
                thresholds: vec![ThresholdSummary {
                    source: "rate>0.9".to_owned(),
                    value: 0.5,
                    ok: false,
                    abort_on_fail: false,
                }],
            }],
            ..Summary::default()
        };
        let exported = export(&summary);
        let expected = json!({
            "passes": 1, "fails": 1, "value": 0.5, "thresholds": {"rate>0.9": true}
        });
        assert_eq!(exported["metrics"]["checks"], expected);
    }
}
