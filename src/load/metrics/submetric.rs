//! Parts of a metric: the samples that carry certain tags.

use super::sample::HttpSample;
use super::sink::Sink;
use super::{MetricId, TagSet};

/// A metric restricted to samples with all of some tags, with a sink of its own.
#[derive(Debug)]
pub struct Submetric {
    pub metric: MetricId,
    /// As written between the braces, trimmed.
    pub suffix: String,
    /// Tags of the shared set.
    shared: Vec<(String, String)>,
    /// The two tags that may differ in every request.
    name: Option<String>,
    url: Option<String>,
    pub sink: Sink,
}

impl Submetric {
    pub fn new(
        metric: MetricId,
        suffix: &str,
        tags: Vec<(String, String)>,
        sink: Sink,
    ) -> Submetric {
        let mut submetric = Submetric {
            metric,
            suffix: suffix.to_owned(),
            shared: Vec::new(),
            name: None,
            url: None,
            sink,
        };
        for (name, value) in tags {
            match name.as_str() {
                "name" => submetric.name = Some(value),
                "url" => submetric.url = Some(value),
                _ => submetric.shared.push((name, value)),
            }
        }
        submetric
    }

    /// Whether the shared tags match; the answer holds for every sample with this set.
    pub fn matches_shared(&self, tags: &TagSet) -> bool {
        self.shared
            .iter()
            .all(|(name, value)| tags.get(name).is_some_and(|own| **own == **value))
    }

    /// Whether `name` and `url` match as well. Samples that are no requests carry them, if at
    /// all, in the shared set.
    pub fn matches_request(&self, tags: &TagSet, request: Option<&HttpSample>) -> bool {
        let carries = |wanted: &Option<String>, name: &str| {
            wanted.as_ref().is_none_or(|wanted| {
                let own = match (request, name) {
                    (Some(sample), "name") => sample.tags.name.as_ref(),
                    (Some(sample), _) => sample.tags.url.as_ref(),
                    (None, _) => None,
                };
                own.or_else(|| tags.get(name))
                    .is_some_and(|own| **own == **wanted)
            })
        };
        carries(&self.name, "name") && carries(&self.url, "url")
    }
}
