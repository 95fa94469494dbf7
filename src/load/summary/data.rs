//! The end-of-test summary as data: what text, JSON, reporter and verdict are made from.

use std::time::Duration;

use super::blocks::Scale;
use crate::load::metrics::breakdown::BreakdownRow;
use crate::load::metrics::sink::Sink;
use crate::load::metrics::{Engine, Metric, MetricKind, SinkRef, ValueKind, builtin};
use crate::load::threshold::{Aggregation, Verdict};

/// Everything measured, aggregated over the whole run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// From the start of the run to its end, setup and teardown included.
    pub duration: Duration,
    /// Metrics that got samples or thresholds, ascending by name; submetrics follow their parent.
    pub metrics: Vec<MetricSummary>,
    pub root_group: GroupSummary,
    /// What `setup` returned, as JSON.
    pub setup_data: Option<String>,
    /// Groups outside of scenarios, and scenarios; only with `--summary-mode full`.
    pub groups: Vec<BlockSummary>,
    pub scenarios: Vec<BlockSummary>,
    /// Uncaught exceptions of iterations by text, the most frequent first.
    pub exceptions: Vec<(String, u64)>,
    /// Requests by scenario, name and status, in this order.
    pub breakdown: Vec<BreakdownRow>,
    /// Requests that have no row because there were too many different ones.
    pub breakdown_folded: u64,
}

impl Summary {
    /// Collects what the engine aggregated, with the final verdicts on thresholds.
    pub fn collect(
        engine: &Engine,
        verdicts: &[Verdict],
        duration: Duration,
        trend_stats: &[(String, Aggregation)],
        setup_data: Option<String>,
    ) -> Summary {
        let thresholds_of = |sink: SinkRef| -> Vec<ThresholdSummary> {
            let own = verdicts.iter().filter(|verdict| verdict.sink == sink);
            own.map(|verdict| ThresholdSummary {
                source: verdict.source.clone(),
                value: verdict.value,
                ok: verdict.ok,
                abort_on_fail: verdict.abort_on_fail,
            })
            .collect()
        };
        let mut known = engine.registry().all();
        known.sort_by(|a, b| a.name.cmp(&b.name));
        let mut metrics = Vec::new();
        let mut add = |metric: &Metric, suffix: Option<&str>, sink: &Sink, which| {
            let thresholds = thresholds_of(which);
            if thresholds.is_empty() && (sink.is_empty() || says_nothing(engine, metric, sink)) {
                return;
            }
            metrics.push(MetricSummary {
                name: match suffix {
                    Some(suffix) => format!("{}{{{suffix}}}", metric.name),
                    None => metric.name.to_string(),
                },
                submetric: suffix.map(str::to_owned),
                kind: metric.kind,
                contains: metric.contains,
                values: sink.values(duration, trend_stats),
                thresholds,
            });
        };
        for metric in &known {
            if let Some(sink) = engine.metric(metric.id) {
                add(metric, None, sink, SinkRef::Metric(metric.id));
            }
            for (index, submetric) in engine.submetrics().iter().enumerate() {
                if submetric.metric == metric.id {
                    let which = SinkRef::Submetric(index);
                    add(metric, Some(&submetric.suffix), &submetric.sink, which);
                }
            }
        }
        let scale = Scale {
            duration,
            trend_stats,
        };
        let blocks = engine.blocks().map(|blocks| blocks.summaries(scale));
        let (groups, scenarios) = blocks.unwrap_or_default();
        Summary {
            duration,
            metrics,
            root_group: engine.checks().root(),
            setup_data,
            groups,
            scenarios,
            exceptions: Vec::new(),
            breakdown: engine.breakdown(),
            breakdown_folded: engine.breakdown_folded(),
        }
    }

    /// The metric or submetric of exactly this name.
    pub fn metric(&self, name: &str) -> Option<&MetricSummary> {
        self.metrics.iter().find(|metric| metric.name == name)
    }

    /// Whether every threshold passed.
    pub fn thresholds_ok(&self) -> bool {
        self.metrics
            .iter()
            .flat_map(|metric| &metric.thresholds)
            .all(|threshold| threshold.ok)
    }
}

/// Difference at the 99th percentile, in milliseconds, from which on latencies from the schedule
/// are worth a line.
const FROM_SCHEDULE_MS: f64 = 1.0;

/// Whether this is a latency from an arrival rate's schedule that is the same as the plain one.
fn says_nothing(engine: &Engine, metric: &Metric, sink: &Sink) -> bool {
    let plain = match metric.id {
        builtin::ITERATION_DURATION_FROM_SCHEDULE => builtin::ITERATION_DURATION,
        builtin::HTTP_REQ_DURATION_FROM_SCHEDULE => builtin::HTTP_REQ_DURATION,
        _ => return false,
    };
    let late = |sink: &Sink| sink.aggregate(Aggregation::Percentile(99.0), Duration::ZERO);
    let plain = engine.metric(plain).and_then(late).unwrap_or_default();
    late(sink).unwrap_or_default() - plain < FROM_SCHEDULE_MS
}

#[derive(Clone, Debug, PartialEq)]
pub struct MetricSummary {
    /// `http_reqs`, or with the tags of a submetric: `http_reqs{status:200}`.
    pub name: String,
    /// The tag part of a submetric, without braces.
    pub submetric: Option<String>,
    pub kind: MetricKind,
    pub contains: ValueKind,
    pub values: Values,
    pub thresholds: Vec<ThresholdSummary>,
}

/// Final values of a sink.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    Counter {
        count: f64,
        per_second: f64,
    },
    Gauge {
        value: f64,
        min: f64,
        max: f64,
    },
    /// `rate` is passes / (passes + fails), 0 when empty.
    Rate {
        rate: f64,
        passes: u64,
        fails: u64,
    },
    Trend(TrendValues),
}

/// A trend's figures. The usual percentiles are always there, so that readers need not search.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TrendValues {
    pub count: u64,
    pub avg: f64,
    pub min: f64,
    pub med: f64,
    pub max: f64,
    pub p90: f64,
    pub p95: f64,
    pub p99: f64,
    /// `summaryTrendStats` in their order, by k6's names (`avg`, `p(95)`, …).
    pub stats: Vec<(String, f64)>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ThresholdSummary {
    /// The expression as written.
    pub source: String,
    /// The figure that was compared.
    pub value: f64,
    pub ok: bool,
    pub abort_on_fail: bool,
}

/// One group with its checks; the root group has an empty name and path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupSummary {
    pub name: String,
    /// `::a::b`.
    pub path: String,
    pub groups: Vec<GroupSummary>,
    pub checks: Vec<CheckSummary>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckSummary {
    pub name: String,
    /// The group's path, `::` and the name.
    pub path: String,
    pub passes: u64,
    pub fails: u64,
}

impl GroupSummary {
    /// Checks of this group and of all groups inside of it.
    pub fn all_checks(&self) -> Vec<&CheckSummary> {
        let mut checks: Vec<&CheckSummary> = self.checks.iter().collect();
        for group in &self.groups {
            checks.extend(group.all_checks());
        }
        checks
    }
}

/// What one group or scenario came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BlockSummary {
    pub name: String,
    /// Ascending by name, without submetrics and thresholds.
    pub metrics: Vec<MetricSummary>,
    pub checks: Vec<CheckSummary>,
    pub groups: Vec<BlockSummary>,
}
