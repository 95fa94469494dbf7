//! What a run measured, at its end: as data, as text for people, as JSON for programs.

pub mod blocks;
pub mod checks;
pub mod data;
mod format;
pub mod json;
pub mod machine;
mod section;
pub mod text;

pub use data::{
    BlockSummary, CheckSummary, GroupSummary, MetricSummary, Summary, ThresholdSummary,
    TrendValues, Values,
};
