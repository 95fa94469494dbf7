//! What a run measured, at its end: as data, as text for people, as JSON for programs.

pub mod checks;
pub mod data;
mod format;
pub mod json;
pub mod text;

pub use data::{
    CheckSummary, GroupSummary, MetricSummary, Summary, ThresholdSummary, TrendValues, Values,
};
