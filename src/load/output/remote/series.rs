//! Aggregates by series: one slot for each metric under each set of tags.
//!
//! Bounded: past [`SERIES_MAX`] new series are refused and their samples counted.

use std::collections::HashMap;
use std::sync::Arc;

use crate::load::metrics::sample::Value;
use crate::load::metrics::{Container, MetricId, TagSet};
use crate::load::output::samples;

/// Series that an output keeps; above it a script makes up names or URLs without end.
pub(super) const SERIES_MAX: usize = 100_000;

/// The tags of a series; those of requests keep `name` and `url` apart, as samples do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct SeriesTags {
    shared: TagSet,
    name: Option<Arc<str>>,
    url: Option<Arc<str>>,
}

impl SeriesTags {
    fn of(container: &Container) -> SeriesTags {
        match &container.value {
            Value::Http(sample) => SeriesTags {
                shared: sample.tags.shared.clone(),
                name: sample.tags.name.clone(),
                url: sample.tags.url.clone(),
            },
            Value::One { tags, .. } => SeriesTags {
                shared: tags.clone(),
                name: None,
                url: None,
            },
        }
    }

    /// Names and values without empty values, ascending by name.
    pub(super) fn pairs(&self) -> Vec<(&str, &str)> {
        let own = [("name", &self.name), ("url", &self.url)];
        let own = own
            .into_iter()
            .filter_map(|(k, v)| Some((k, &**v.as_ref()?)));
        let shared = self.shared.iter().map(|(k, v)| (&**k, &**v));
        let mut pairs: Vec<(&str, &str)> = shared.chain(own).collect();
        pairs.retain(|(_, value)| !value.is_empty());
        pairs.sort_unstable();
        pairs
    }
}

/// All series of one output, with a slot of type `S` each.
#[derive(Debug)]
pub(super) struct SeriesMap<S> {
    by_tags: HashMap<SeriesTags, Vec<(MetricId, S)>>,
    series: usize,
    refused: u64,
}

impl<S> SeriesMap<S> {
    pub(super) fn new() -> SeriesMap<S> {
        SeriesMap {
            by_tags: HashMap::new(),
            series: 0,
            refused: 0,
        }
    }

    /// Adds every sample of a container to its slot; `make` makes a slot for a new series.
    pub(super) fn add(
        &mut self,
        container: &Container,
        mut make: impl FnMut(MetricId) -> Option<S>,
        mut add: impl FnMut(&mut S, f64),
    ) {
        let slots = self.by_tags.entry(SeriesTags::of(container)).or_default();
        for (metric, value) in samples::figures(container) {
            if let Some((_, slot)) = slots.iter_mut().find(|(known, _)| *known == metric) {
                add(slot, value);
            } else if self.series >= SERIES_MAX {
                if self.refused == 0 {
                    tracing::warn!(
                        "more than {SERIES_MAX} series: new ones are left out\n\
                         hint: group URLs with the tag 'name'"
                    );
                }
                self.refused += 1;
            } else if let Some(mut slot) = make(metric) {
                add(&mut slot, value);
                slots.push((metric, slot));
                self.series += 1;
            }
        }
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&SeriesTags, MetricId, &mut S)> {
        self.by_tags.iter_mut().flat_map(|(tags, slots)| {
            let each = slots.iter_mut();
            each.map(move |(metric, slot)| (tags, *metric, slot))
        })
    }

    /// Samples of series that were refused.
    pub(super) fn refused(&self) -> u64 {
        self.refused
    }
}
