//! Figures of each group and each scenario, for `--summary-mode full`.
//!
//! As in k6: samples of a scenario that is not `default` count in that scenario's block; those
//! with a group count in that group's block, which stands inside of its scenario's.

use std::collections::BTreeMap;

use super::checks::Checks;
use super::{BlockSummary, CheckSummary, MetricSummary};
use crate::load::metrics::engine::http_figures;
use crate::load::metrics::sample::{Container, Value};
use crate::load::metrics::sink::Sink;
use crate::load::metrics::{MetricId, Registry, TagSet, builtin};
use crate::load::threshold::Aggregation;

/// Blocks that are kept; a script that makes up group names gets no more.
const BLOCKS_MAX: usize = 1_000;

/// All blocks of a run.
#[derive(Debug)]
pub struct Blocks {
    registry: Registry,
    root: Block,
    scenarios: BTreeMap<String, Block>,
    count: usize,
}

/// What the samples of one group or scenario came to.
#[derive(Debug, Default)]
struct Block {
    sinks: BTreeMap<MetricId, Sink>,
    checks: Checks,
    groups: BTreeMap<String, Block>,
}

impl Blocks {
    pub fn new(registry: Registry) -> Blocks {
        Blocks {
            registry,
            root: Block::default(),
            scenarios: BTreeMap::new(),
            count: 0,
        }
    }

    pub fn add(&mut self, container: &Container) {
        let (tags, one, http);
        let samples: &[Option<(MetricId, f64)>] = match &container.value {
            Value::Http(sample) => {
                tags = &sample.tags.shared;
                http = http_figures(sample);
                &http
            }
            Value::One {
                metric,
                value,
                tags: own,
            } => {
                tags = own;
                one = [Some((*metric, *value))];
                &one
            }
        };
        let scenario = tags
            .get("scenario")
            .map(|name| &**name)
            .filter(|name| *name != "default");
        let group = tags
            .get("group")
            .map(|path| &**path)
            .filter(|path| !path.is_empty());
        let (registry, count) = (&self.registry, &mut self.count);
        let mut block = match scenario {
            Some(name) => {
                let Some(block) = child(&mut self.scenarios, name, count) else {
                    return;
                };
                block.add(samples, tags, registry);
                block
            }
            None => &mut self.root,
        };
        let Some(path) = group else {
            return;
        };
        for name in path.trim_start_matches("::").split("::") {
            let Some(inner) = child(&mut block.groups, name, count) else {
                return;
            };
            block = inner;
        }
        block.add(samples, tags, registry);
    }

    /// Groups outside of scenarios, and scenarios, both ascending by name.
    pub fn summaries(&self, scale: Scale<'_>) -> (Vec<BlockSummary>, Vec<BlockSummary>) {
        let of = |blocks: &BTreeMap<String, Block>| {
            let each = blocks.iter();
            each.map(|(name, block)| block.summary(name, &self.registry, scale))
                .collect()
        };
        (of(&self.root.groups), of(&self.scenarios))
    }
}

/// What turns sinks into figures.
#[derive(Clone, Copy, Debug)]
pub struct Scale<'s> {
    pub duration: std::time::Duration,
    pub trend_stats: &'s [(String, Aggregation)],
}

fn child<'b>(
    blocks: &'b mut BTreeMap<String, Block>,
    name: &str,
    count: &mut usize,
) -> Option<&'b mut Block> {
    if !blocks.contains_key(name) {
        if *count >= BLOCKS_MAX {
            return None;
        }
        *count += 1;
        blocks.insert(name.to_owned(), Block::default());
    }
    blocks.get_mut(name)
}

impl Block {
    fn add(&mut self, samples: &[Option<(MetricId, f64)>], tags: &TagSet, registry: &Registry) {
        for &(metric, value) in samples.iter().flatten() {
            if metric == builtin::CHECKS {
                let check = self.checks.index(tags);
                self.checks.count(check, value != 0.0);
            }
            if let Some(sink) = self.sinks.get_mut(&metric) {
                sink.add(value);
            } else if let Some(known) = registry.get(metric) {
                let mut sink = Sink::new(known.kind);
                sink.add(value);
                self.sinks.insert(metric, sink);
            }
        }
    }

    fn summary(&self, name: &str, registry: &Registry, scale: Scale<'_>) -> BlockSummary {
        let mut metrics: Vec<MetricSummary> = self
            .sinks
            .iter()
            .filter_map(|(id, sink)| {
                let metric = registry.get(*id)?;
                Some(MetricSummary {
                    name: metric.name.to_string(),
                    submetric: None,
                    kind: metric.kind,
                    contains: metric.contains,
                    values: sink.values(scale.duration, scale.trend_stats),
                    thresholds: Vec::new(),
                })
            })
            .collect();
        metrics.sort_by(|a, b| a.name.cmp(&b.name));
        let groups = self.groups.iter();
        BlockSummary {
            name: name.to_owned(),
            metrics,
            checks: flat(&self.checks.root().all_checks()),
            groups: groups
                .map(|(name, block)| block.summary(name, registry, scale))
                .collect(),
        }
    }
}

/// Checks by name alone, in the order of their first appearance.
pub(super) fn flat(checks: &[&CheckSummary]) -> Vec<CheckSummary> {
    let mut flat: Vec<CheckSummary> = Vec::new();
    for check in checks {
        match flat.iter_mut().find(|known| known.name == check.name) {
            Some(known) => {
                known.passes += check.passes;
                known.fails += check.fails;
            }
            None => flat.push((*check).clone()),
        }
    }
    flat
}
