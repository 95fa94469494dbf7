//! What runs do beyond k6: baselines of thresholds, exceptions that fail a run.

use std::collections::BTreeMap;

use crate::load::threshold::Threshold;
use crate::load::threshold::baseline::{self, Baseline};

/// Flags of a run that k6 does not have.
#[derive(Clone, Debug, Default)]
pub struct Beyond {
    /// The run that relative thresholds compare with.
    pub baseline: Option<baseline::Source>,
    pub on_exception: OnException,
    pub own_metrics: OwnMetrics,
}

/// What an uncaught exception of an iteration does to the exit code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnException {
    /// Nothing, as in k6, unless the script is one that the binary carries.
    #[default]
    Count,
    /// 107 at the end.
    Fail,
}

/// Whether arrival rates also measure from when their iterations were due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OwnMetrics {
    #[default]
    On,
    /// Exactly k6's metrics.
    Off,
}

/// Replaces what is relative to a baseline by the limit that it comes to. A threshold without one
/// is left out, and `warnings` hears of it.
///
/// # Errors
/// The baseline can't be read.
pub(super) async fn resolve(
    thresholds: &mut BTreeMap<String, Vec<Threshold>>,
    source: Option<&baseline::Source>,
    warnings: &mut Vec<String>,
) -> Result<(), baseline::Error> {
    if !thresholds.values().flatten().any(|t| t.relative) {
        return Ok(());
    }
    let baseline = match source {
        Some(source) => Some(Baseline::read(source).await?),
        None => None,
    };
    for (metric, list) in thresholds.iter_mut() {
        let mut kept = Vec::new();
        for mut threshold in std::mem::take(list) {
            if threshold.relative {
                let figure = match &baseline {
                    Some(baseline) => baseline.figure(metric, threshold.aggregation).await,
                    None => None,
                };
                let Some(figure) = figure else {
                    let reason = match &baseline {
                        Some(_) => "the baseline has no such figure",
                        None => "there is no baseline; name one with --baseline",
                    };
                    let name = threshold.name();
                    warnings.push(format!(
                        "the threshold '{name}' of '{metric}' is skipped: {reason}"
                    ));
                    continue;
                };
                threshold.limit *= figure;
                threshold.relative = false;
            }
            kept.push(threshold);
        }
        *list = kept;
    }
    thresholds.retain(|_, list| !list.is_empty());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn thresholds_without_a_baseline_are_skipped_with_a_warning() {
        let parse = |text| Threshold::parse(text).expect("an expression");
        let mut thresholds = BTreeMap::from([
            ("a".to_owned(), vec![parse("avg<baseline"), parse("avg<5")]),
            ("b".to_owned(), vec![parse("max<2*baseline")]),
        ]);
        let mut warnings = Vec::new();
        let resolved = resolve(&mut thresholds, None, &mut warnings).await;
        assert!(resolved.is_ok());
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert_eq!(thresholds.len(), 1);
        assert_eq!(thresholds["a"][0].source, "avg<5");
    }
}
