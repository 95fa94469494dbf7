//! The metrics engine: every sample into the sinks of its metric and of matching submetrics.
//!
//! Runs on the output side, one call per batch. The cost per sample counts in the load engine's
//! processor budget: sinks are dense by metric id, and which submetrics a tag set matches is
//! found once per shared set (they are interned, so the address is the key; the cache keeps a
//! clone alive so that no address is used twice).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::breakdown::{Breakdown, BreakdownRow, RowIndex};
use super::figures::FiguresTracker;
use super::sample::{Container, HttpSample, Value};
use super::sink::Sink;
use super::submetric::Submetric;
use super::window::{Rule, Windowed};
use super::{MetricId, MetricKind, Registry, TagSet, builtin};
use crate::load::summary::blocks::Blocks;
use crate::load::summary::checks::{CheckIndex, Checks};
use crate::load::threshold::Aggregation;

/// Tag sets whose matches are remembered; beyond that the cache starts afresh.
const CACHED_SETS_MAX: usize = 16_384;

/// Names one sink of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SinkRef {
    Metric(MetricId),
    /// Place among the submetrics, in order of creation.
    Submetric(usize),
}

/// Names one windowed judgement of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowRef(usize);

#[derive(Debug)]
pub struct Engine {
    registry: Registry,
    /// By metric id; `None` until the first sample or threshold.
    sinks: Vec<Option<Sink>>,
    submetrics: Vec<Submetric>,
    matches: HashMap<usize, Matched>,
    checks: Checks,
    totals: FiguresTracker,
    /// Figures of groups and scenarios, where the summary is to show them.
    blocks: Option<Blocks>,
    breakdown: Breakdown,
    /// Of thresholds with a `window`; usually none.
    windows: Vec<Windowed>,
}

/// What is known of one shared tag set.
#[derive(Debug)]
struct Matched {
    /// Keeps the set's address taken.
    _alive: TagSet,
    /// Places of the submetrics whose shared tags match, with their metrics.
    submetrics: Box<[(MetricId, usize)]>,
    /// The check that a sample of `checks` with this set belongs to, once seen.
    check: Option<CheckIndex>,
    /// Name of the last request with this set, and its row of the breakdown.
    row: Option<(Option<Arc<str>>, RowIndex)>,
}

impl Engine {
    pub fn new(registry: Registry) -> Engine {
        Engine {
            registry,
            sinks: Vec::new(),
            submetrics: Vec::new(),
            matches: HashMap::new(),
            checks: Checks::default(),
            totals: FiguresTracker::default(),
            blocks: None,
            breakdown: Breakdown::default(),
            windows: Vec::new(),
        }
    }

    /// Keeps figures of every group and scenario too.
    pub fn keep_blocks(&mut self) {
        self.blocks = Some(Blocks::new(self.registry.clone()));
    }

    pub fn blocks(&self) -> Option<&Blocks> {
        self.blocks.as_ref()
    }

    /// Makes sure that the metric has a sink, so that it stands in the summary even when empty.
    pub fn ensure(&mut self, metric: MetricId, kind: MetricKind) {
        let index = metric.0 as usize;
        if self.sinks.len() <= index {
            self.sinks.resize_with(index + 1, || None);
        }
        self.sinks[index].get_or_insert_with(|| Sink::new(kind));
    }

    /// Adds a submetric, or finds the one of that metric and suffix. Only samples that come later
    /// count in it.
    pub fn add_submetric(
        &mut self,
        metric: MetricId,
        kind: MetricKind,
        suffix: &str,
        tags: Vec<(String, String)>,
    ) -> SinkRef {
        self.ensure(metric, kind);
        let known = |sub: &Submetric| sub.metric == metric && sub.suffix == suffix;
        if let Some(index) = self.submetrics.iter().position(known) {
            return SinkRef::Submetric(index);
        }
        let sink = Sink::new(kind);
        self.submetrics
            .push(Submetric::new(metric, suffix, tags, sink));
        self.matches.clear();
        SinkRef::Submetric(self.submetrics.len() - 1)
    }

    /// Aggregates one batch.
    pub fn add(&mut self, batch: &[Container]) {
        for container in batch {
            self.totals.add(container);
            if !self.windows.is_empty() {
                self.add_windows(container);
            }
            if let Some(blocks) = &mut self.blocks {
                blocks.add(container);
            }
            match &container.value {
                Value::Http(sample) => self.add_http(sample),
                Value::One {
                    metric,
                    value,
                    tags,
                } => self.add_one(*metric, *value, tags),
            }
        }
    }

    /// Requests by name, scenario and status.
    pub fn breakdown(&self) -> Vec<BreakdownRow> {
        self.breakdown.rows()
    }

    /// Requests that the breakdown has no row for.
    pub fn breakdown_folded(&self) -> u64 {
        self.breakdown.folded()
    }

    /// Judges `which`, a sink of this engine, window by window as well.
    pub fn add_window(&mut self, which: SinkRef, kind: MetricKind, rule: Rule) -> WindowRef {
        self.windows.push(Windowed::new(which, kind, rule));
        WindowRef(self.windows.len() - 1)
    }

    pub fn window(&self, which: WindowRef) -> &Windowed {
        &self.windows[which.0]
    }

    fn add_windows(&mut self, container: &Container) {
        let at = container.at;
        let (figures, one, shared, request) = match &container.value {
            Value::Http(sample) => {
                let shared = &sample.tags.shared;
                (http_figures(sample), None, shared, Some(&**sample))
            }
            Value::One {
                metric,
                value,
                tags,
            } => (Default::default(), Some((*metric, *value)), tags, None),
        };
        let value_of = |wanted: MetricId| {
            let mut all = figures.iter().flatten().copied().chain(one);
            all.find(|(id, _)| *id == wanted).map(|(_, value)| value)
        };
        for window in &mut self.windows {
            let value = match window.of {
                SinkRef::Metric(metric) => value_of(metric),
                SinkRef::Submetric(index) => {
                    let submetric = &self.submetrics[index];
                    value_of(submetric.metric).filter(|_| {
                        submetric.matches_shared(shared)
                            && submetric.matches_request(shared, request)
                    })
                }
            };
            if let Some(value) = value {
                window.add(at, value);
            }
        }
    }

    /// The sink of `which`, which must have come from this engine.
    pub fn sink(&self, which: SinkRef) -> &Sink {
        match which {
            SinkRef::Metric(metric) => self.sinks[metric.0 as usize]
                .as_ref()
                .expect("a metric that was referred to has a sink"),
            SinkRef::Submetric(index) => &self.submetrics[index].sink,
        }
    }

    /// The sink of a metric that has got samples or thresholds.
    pub fn metric(&self, metric: MetricId) -> Option<&Sink> {
        self.sinks.get(metric.0 as usize)?.as_ref()
    }

    pub fn submetrics(&self) -> &[Submetric] {
        &self.submetrics
    }

    pub fn checks(&self) -> &Checks {
        &self.checks
    }

    /// Totals for the verdict.
    pub fn totals(&self) -> &FiguresTracker {
        &self.totals
    }

    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Sum of a counter so far; 0 while it has no samples.
    pub fn counter(&self, metric: MetricId) -> f64 {
        self.metric(metric)
            .and_then(|sink| sink.aggregate(Aggregation::Count, Duration::ZERO))
            .unwrap_or_default()
    }

    fn add_http(&mut self, sample: &HttpSample) {
        let figures = http_figures(sample);
        for &(metric, value) in figures.iter().flatten() {
            self.add_to_metric(metric, value);
        }
        let shared = &sample.tags.shared;
        let matched = matched(&mut self.matches, &self.submetrics, shared);
        let row = match &matched.row {
            Some((name, row)) if *name == sample.tags.name => *row,
            _ => {
                let row = self.breakdown.index(sample);
                matched.row = Some((sample.tags.name.clone(), row));
                row
            }
        };
        let duration = sample.timings.duration().as_secs_f64() * 1e3;
        self.breakdown.count(row, sample, duration);
        for &(metric, index) in &matched.submetrics {
            let submetric = &mut self.submetrics[index];
            let figure = figures.iter().flatten().find(|(id, _)| *id == metric);
            if let Some(&(_, value)) = figure
                && submetric.matches_request(shared, Some(sample))
            {
                submetric.sink.add(value);
            }
        }
    }

    fn add_one(&mut self, metric: MetricId, value: f64, tags: &TagSet) {
        self.add_to_metric(metric, value);
        if metric == builtin::GROUP_DURATION
            && let Some(path) = tags.get("group")
        {
            self.checks.see_group(path);
        }
        let matched = matched(&mut self.matches, &self.submetrics, tags);
        if metric == builtin::CHECKS {
            let check = *matched.check.get_or_insert_with(|| self.checks.index(tags));
            self.checks.count(check, value != 0.0);
        }
        for &(of, index) in &matched.submetrics {
            let submetric = &mut self.submetrics[index];
            if of == metric && submetric.matches_request(tags, None) {
                submetric.sink.add(value);
            }
        }
    }

    fn add_to_metric(&mut self, metric: MetricId, value: f64) {
        if let Some(Some(sink)) = self.sinks.get_mut(metric.0 as usize) {
            sink.add(value);
            return;
        }
        // The first sample of a metric: look its type up, once.
        if let Some(known) = self.registry.get(metric) {
            self.ensure(metric, known.kind);
            self.add_to_metric(metric, value);
        }
    }
}

/// The samples that one round trip stands for; times in milliseconds.
pub fn http_figures(sample: &HttpSample) -> [Option<(MetricId, f64)>; 9] {
    let t = &sample.timings;
    let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
    let failed = sample
        .failed
        .map(|failed| (builtin::HTTP_REQ_FAILED, f64::from(u8::from(failed))));
    [
        Some((builtin::HTTP_REQS, 1.0)),
        Some((builtin::HTTP_REQ_DURATION, ms(t.duration()))),
        Some((builtin::HTTP_REQ_BLOCKED, ms(t.blocked))),
        Some((builtin::HTTP_REQ_CONNECTING, ms(t.connecting))),
        Some((builtin::HTTP_REQ_TLS_HANDSHAKING, ms(t.tls_handshaking))),
        Some((builtin::HTTP_REQ_SENDING, ms(t.sending))),
        Some((builtin::HTTP_REQ_WAITING, ms(t.waiting))),
        Some((builtin::HTTP_REQ_RECEIVING, ms(t.receiving))),
        failed,
    ]
}

/// A free function so that the rest of the engine can be borrowed beside its answer.
fn matched<'m>(
    matches: &'m mut HashMap<usize, Matched>,
    submetrics: &[Submetric],
    tags: &TagSet,
) -> &'m mut Matched {
    if matches.len() >= CACHED_SETS_MAX && !matches.contains_key(&tags.address()) {
        matches.clear();
    }
    matches.entry(tags.address()).or_insert_with(|| Matched {
        _alive: tags.clone(),
        submetrics: submetrics
            .iter()
            .enumerate()
            .filter(|(_, submetric)| submetric.matches_shared(tags))
            .map(|(index, submetric)| (submetric.metric, index))
            .collect(),
        check: None,
        row: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::metrics::{RequestTags, Timings};

    fn http(status: &str, name: &str, waiting_ms: u64) -> Container {
        Container {
            at: Duration::ZERO,
            vu: 1,
            iter: 0,
            metadata: None,
            value: Value::Http(Box::new(HttpSample {
                timings: Timings {
                    waiting: Duration::from_millis(waiting_ms),
                    ..Timings::default()
                },
                failed: Some(status != "200"),
                tags: RequestTags {
                    shared: TagSet::new([("status", status)]),
                    name: Some(name.into()),
                    url: Some(name.into()),
                },
            })),
        }
    }

    #[test]
    fn one_round_trip_feeds_nine_metrics_and_matching_submetrics() {
        let mut engine = Engine::new(Registry::new());
        let tag = |k: &str, v: &str| vec![(k.to_owned(), v.to_owned())];
        let duration = builtin::HTTP_REQ_DURATION;
        let ok = engine.add_submetric(
            duration,
            MetricKind::Trend,
            "status:200",
            tag("status", "200"),
        );
        let named = engine.add_submetric(duration, MetricKind::Trend, "name:/a", tag("name", "/a"));
        engine.add(&[
            http("200", "/a", 10),
            http("500", "/a", 30),
            http("200", "/b", 20),
        ]);
        let count = |which| match engine.sink(which) {
            Sink::Trend(histogram) => (histogram.count(), histogram.max()),
            other => panic!("{other:?}"),
        };
        assert_eq!(count(SinkRef::Metric(duration)), (3, 30.0));
        assert_eq!(count(ok), (2, 20.0));
        assert_eq!(count(named), (2, 30.0));
        assert_eq!(engine.counter(builtin::HTTP_REQS), 3.0);
        assert_eq!(
            engine.metric(builtin::HTTP_REQ_FAILED),
            Some(&Sink::Rate { trues: 1, total: 3 })
        );
    }

    #[test]
    fn checks_are_counted_per_group_and_name() {
        let mut engine = Engine::new(Registry::new());
        let check = |group: &str, name: &str, value: f64| Container {
            at: Duration::ZERO,
            vu: 1,
            iter: 0,
            metadata: None,
            value: Value::One {
                metric: builtin::CHECKS,
                value,
                tags: TagSet::new([("group", group), ("check", name)]),
            },
        };
        engine.add(&[
            check("::a::b", "deep", 1.0),
            check("", "flat", 0.0),
            check("", "flat", 1.0),
        ]);
        let root = engine.checks().root();
        assert_eq!(root.checks[0].name, "flat");
        assert_eq!((root.checks[0].passes, root.checks[0].fails), (1, 1));
        assert_eq!(root.groups[0].groups[0].checks[0].path, "::a::b::deep");
    }
}
