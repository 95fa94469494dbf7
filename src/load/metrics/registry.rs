//! Names and types of all metrics of a run: the built-in ones and those that scripts declare.

use std::sync::{Arc, RwLock};

use super::builtin;

/// Index of a metric in its run's registry; built-in metrics have the fixed ids of [`builtin`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MetricId(pub u32);

/// k6's four metric types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    Counter,
    Gauge,
    Rate,
    Trend,
}

/// What a metric's values are, for display only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind {
    Default,
    /// Milliseconds.
    Time,
    /// Bytes.
    Data,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metric {
    pub id: MetricId,
    pub name: Arc<str>,
    pub kind: MetricKind,
    pub contains: ValueKind,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RegistryError {
    #[error(
        "invalid metric name '{0}': 2 to 129 ASCII letters, digits or underscores, not beginning with a digit"
    )]
    Name(String),
    #[error("metric '{name}' already exists with type {existing:?}, not {wanted:?}")]
    Conflict {
        name: String,
        existing: MetricKind,
        wanted: MetricKind,
    },
}

/// All metrics of one run. Cloning shares it; the lock is taken in init code and by outputs that
/// meet a new id, never per sample.
#[derive(Clone, Debug)]
pub struct Registry {
    metrics: Arc<RwLock<Vec<Metric>>>,
}

impl Registry {
    /// A registry that holds the built-in metrics at their fixed ids.
    pub fn new() -> Registry {
        let metrics = builtin::ALL
            .iter()
            .enumerate()
            .map(|(index, &(name, kind, contains))| Metric {
                id: MetricId(index as u32),
                name: name.into(),
                kind,
                contains,
            })
            .collect();
        Registry {
            metrics: Arc::new(RwLock::new(metrics)),
        }
    }

    /// Declares a metric, or finds the one of that name and type.
    ///
    /// # Errors
    /// A name that k6 refuses, or a name that has another type (also a built-in one).
    pub fn declare(
        &self,
        name: &str,
        kind: MetricKind,
        contains: ValueKind,
    ) -> Result<MetricId, RegistryError> {
        if !is_valid_name(name) {
            return Err(RegistryError::Name(name.to_owned()));
        }
        let mut metrics = self.metrics.write().unwrap_or_else(|e| e.into_inner());
        if let Some(known) = metrics.iter().find(|m| &*m.name == name) {
            if known.kind != kind {
                return Err(RegistryError::Conflict {
                    name: name.to_owned(),
                    existing: known.kind,
                    wanted: kind,
                });
            }
            return Ok(known.id);
        }
        let id = MetricId(metrics.len() as u32);
        metrics.push(Metric {
            id,
            name: name.into(),
            kind,
            contains,
        });
        Ok(id)
    }

    pub fn get(&self, id: MetricId) -> Option<Metric> {
        let metrics = self.metrics.read().unwrap_or_else(|e| e.into_inner());
        metrics.get(id.0 as usize).cloned()
    }

    pub fn by_name(&self, name: &str) -> Option<Metric> {
        let metrics = self.metrics.read().unwrap_or_else(|e| e.into_inner());
        metrics.iter().find(|m| &*m.name == name).cloned()
    }

    /// All metrics known now, by id.
    pub fn all(&self) -> Vec<Metric> {
        self.metrics
            .read()
            .unwrap_or_else(|e| e.into_inner())
            .clone()
    }
}

impl Default for Registry {
    fn default() -> Registry {
        Registry::new()
    }
}

/// k6's rule: `^[a-zA-Z_][a-zA-Z0-9_]{1,128}$`.
fn is_valid_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    (2..=129).contains(&bytes.len())
        && !bytes[0].is_ascii_digit()
        && bytes
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || *b == b'_')
}
