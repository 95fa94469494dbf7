//! The load lab: runs a k6 script against a target and says how it went.
//!
//! Architecture invariant: nothing here imports `relay`, `storage`, `results` or `http`. The lab
//! meets a relay as any stranger does, over the wire.

pub mod js;
pub mod metrics;
pub mod state;
pub mod vu;
