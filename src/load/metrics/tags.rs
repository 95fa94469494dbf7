//! Tags of samples. A tag set is immutable, sorted by name and shared.
//!
//! Tags of low cardinality (scenario, group, method, status, a script's own) are interned once per
//! worker thread, so that a sample carries one pointer and equal sets compare by pointer. `url`
//! and `name` may differ in every request; they travel beside the set and are never interned.

use std::collections::HashMap;
use std::sync::Arc;

/// An immutable set of `(name, value)`, ascending by name, names unique.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct TagSet(Arc<[(Arc<str>, Arc<str>)]>);

impl TagSet {
    /// Builds a set; of repeated names the last wins.
    pub fn new<K: Into<Arc<str>>, V: Into<Arc<str>>>(
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> TagSet {
        let sorted: std::collections::BTreeMap<Arc<str>, Arc<str>> = pairs
            .into_iter()
            .map(|(k, v)| (k.into(), v.into()))
            .collect();
        TagSet(sorted.into_iter().collect())
    }

    pub fn get(&self, name: &str) -> Option<&Arc<str>> {
        self.0
            .binary_search_by(|(k, _)| (**k).cmp(name))
            .ok()
            .map(|index| &self.0[index].1)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<str>)> {
        self.0.iter().map(|(k, v)| (k, v))
    }

    /// This set with more tags, which win over its own.
    pub fn with<K: Into<Arc<str>>, V: Into<Arc<str>>>(
        &self,
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> TagSet {
        let own = self.0.iter().map(|(k, v)| (k.clone(), v.clone()));
        TagSet::new(own.chain(pairs.into_iter().map(|(k, v)| (k.into(), v.into()))))
    }

    /// This set without one name.
    pub fn without(&self, name: &str) -> TagSet {
        let others = self.0.iter().filter(|(known, _)| **known != *name);
        TagSet(others.cloned().collect())
    }

    /// Address of the shared set: equal for clones, so a cheap cache key while one clone lives.
    pub fn address(&self) -> usize {
        Arc::as_ptr(&self.0).cast::<()>() as usize
    }
}

/// Tags of one HTTP sample: a shared set, and the two that may differ in every request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestTags {
    /// Everything but `name` and `url`.
    pub shared: TagSet,
    pub name: Option<Arc<str>>,
    pub url: Option<Arc<str>>,
}

impl RequestTags {
    /// All tags with `name` and `url`, ascending by name.
    pub fn pairs(&self) -> Vec<(&str, &str)> {
        let own = [("name", &self.name), ("url", &self.url)];
        let own = own
            .into_iter()
            .filter_map(|(name, value)| Some((name, &**value.as_ref()?)));
        let mut pairs: Vec<(&str, &str)> = self
            .shared
            .iter()
            .map(|(k, v)| (&**k, &**v))
            .chain(own)
            .collect();
        pairs.sort_unstable();
        pairs
    }
}

/// Worker-local interner: equal sets become one allocation. At most `TagInterner::SETS_MAX` sets
/// are remembered; past that sets are still correct, only no longer shared.
#[derive(Debug, Default)]
pub struct TagInterner {
    sets: HashMap<TagSet, ()>,
}

impl TagInterner {
    pub const SETS_MAX: usize = 16_384;

    pub fn intern(&mut self, set: TagSet) -> TagSet {
        if let Some((known, ())) = self.sets.get_key_value(&set) {
            return known.clone();
        }
        if self.sets.len() < Self::SETS_MAX {
            self.sets.insert(set.clone(), ());
        }
        set
    }
}
