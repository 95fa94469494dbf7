//! Virtual users: worker threads, VUs on coroutine stacks, and the pool that executors draw from.
//!
//! Executors know only [`pool`]; how a VU runs a script is nobody else's business.

pub mod pool;
pub mod settings;

pub use settings::VuSettings;
