//! JavaScript: a script compiled once, and the runtime that a VU runs it in.
//!
//! Owns everything that knows QuickJS. Knows nothing of schedules, outputs or thresholds.

pub mod error;
mod events;
mod exception;
mod ffi;
pub(crate) mod host;
mod jslib;
mod library;
mod loader;
pub(crate) mod machine;
mod modules;
mod positions;
pub mod program;
mod rejections;
mod remote;
#[cfg(feature = "typescript")]
mod resuming;
mod tagging;
#[cfg(feature = "typescript")]
mod typescript;

pub(crate) use ffi::buffer_bytes;

pub use error::{Location, ScriptError};
pub use library::Bundle;
pub use program::{Compatibility, Program, ScriptSource, VmSettings};
pub use remote::Remote;
pub(crate) use remote::fetch;

/// Why a module of k6's own cannot be imported here; `None` where it can, and for any other name.
pub fn missing_module(name: &str) -> Option<String> {
    let own = name == "k6" || name.starts_with("k6/");
    own.then(|| loader::resolve("/", name).err()).flatten()
}
