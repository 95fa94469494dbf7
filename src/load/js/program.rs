//! A script with everything it imports, read and compiled once and shared by all worker threads.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::ScriptError;
use crate::load::metrics::Registry;

/// A script's text and where it came from.
#[derive(Clone, Debug)]
pub struct ScriptSource {
    /// File that relative imports and `open()` start from; a bare name for a built-in script.
    pub path: PathBuf,
    pub text: String,
}

/// Limits of one VU's JavaScript machine.
#[derive(Clone, Debug)]
pub struct VmSettings {
    /// Heap of one VU; past it the script sees an out-of-memory error.
    pub memory_bytes_max: usize,
    /// Size of one VU's stack; only touched pages cost memory.
    pub stack_bytes: usize,
}

impl VmSettings {
    pub const MEMORY_BYTES_DEFAULT: usize = 256 * 1024 * 1024;
    pub const STACK_BYTES_DEFAULT: usize = 512 * 1024;
}

/// A compiled script. Immutable; shared by `Arc`.
pub struct Program {
    options_json: Option<String>,
    exports: Vec<String>,
}

impl Program {
    /// Reads and compiles the script and its imports, and runs the init code once as VU 0.
    /// Blocking: call it before the run or on a blocking thread.
    ///
    /// # Errors
    /// Whatever is wrong with the script, with file, line and column.
    pub fn load(
        source: ScriptSource,
        env: Arc<BTreeMap<String, String>>,
        registry: &Registry,
        settings: &VmSettings,
    ) -> Result<Program, ScriptError> {
        let _ = (source, env, registry, settings);
        unimplemented!()
    }

    /// `JSON.stringify(options)` of the script, if it exports options.
    pub fn options_json(&self) -> Option<&str> {
        self.options_json.as_deref()
    }

    /// Names of the exported functions: `default`, `setup`, scenario functions and so on.
    pub fn exports(&self) -> &[String] {
        &self.exports
    }
}
