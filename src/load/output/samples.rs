//! Containers as the flat samples that outputs write: a metric, a value, tags, metadata.

use crate::load::metrics::engine::http_figures;
use crate::load::metrics::sample::Value;
use crate::load::metrics::{Container, MetricId};

/// What k6 keeps beside the tags of a sample where `systemTags` asks for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Metadata {
    vu: bool,
    iter: bool,
}

impl Metadata {
    /// By the names of the enabled system tags.
    pub(super) fn of(system_tags: &[&str]) -> Metadata {
        Metadata {
            vu: system_tags.contains(&"vu"),
            iter: system_tags.contains(&"iter"),
        }
    }

    /// Names and values, ascending; of `iter` and `vu` none outside of VUs.
    pub(super) fn pairs(self, container: &Container) -> Vec<(&str, String)> {
        let own = container.metadata.iter().flat_map(|all| all.iter());
        let mut pairs: Vec<(&str, String)> = own
            .map(|(name, value)| (name.as_str(), value.clone()))
            .collect();
        if container.vu > 0 {
            if self.iter {
                pairs.push(("iter", container.iter.to_string()));
            }
            if self.vu {
                pairs.push(("vu", container.vu.to_string()));
            }
        }
        if container.metadata.is_some() {
            pairs.sort();
        }
        pairs
    }
}

/// All tags of a container, ascending by name.
pub(super) fn tags(container: &Container) -> Vec<(&str, &str)> {
    match &container.value {
        Value::Http(sample) => sample.tags.pairs(),
        Value::One { tags, .. } => tags.iter().map(|(k, v)| (&**k, &**v)).collect(),
    }
}

/// The samples that a container stands for.
pub(super) fn figures(container: &Container) -> impl Iterator<Item = (MetricId, f64)> {
    let figures = match &container.value {
        Value::Http(sample) => http_figures(sample),
        Value::One { metric, value, .. } => {
            let mut figures = [None; 9];
            figures[0] = Some((*metric, *value));
            figures
        }
    };
    figures.into_iter().flatten()
}

/// System tags that are on unless `systemTags` says otherwise, ascending.
pub(super) const SYSTEM_TAGS: [&str; 14] = [
    "check",
    "error",
    "error_code",
    "expected_response",
    "group",
    "method",
    "name",
    "proto",
    "scenario",
    "service",
    "status",
    "subproto",
    "tls_version",
    "url",
];
