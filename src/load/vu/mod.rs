//! Virtual users: worker threads, VUs on coroutine stacks, and the pool that executors draw from.
//!
//! Executors know only [`pool`]; how a VU runs a script is nobody else's business.

mod call;
pub(crate) mod coroutine;
mod hooks;
mod life;
pub mod pool;
mod pulse;
pub mod settings;
mod worker;

pub use settings::VuSettings;
