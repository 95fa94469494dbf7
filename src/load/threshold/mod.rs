//! Thresholds: expressions over metrics that decide a run's exit code, and may end it early.

pub mod baseline;
pub mod evaluate;
pub mod parse;

pub use evaluate::{Crossed, Evaluator, SetupError, Verdict};
pub use parse::{Aggregation, Operator, ParseError, Selector, Threshold};
