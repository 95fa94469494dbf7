//! JavaScript: a script compiled once, and the runtime that a VU runs it in.
//!
//! Owns everything that knows QuickJS. Knows nothing of schedules, outputs or thresholds.

pub mod error;
pub mod program;

pub use error::{Location, ScriptError};
pub use program::{Program, ScriptSource, VmSettings};
