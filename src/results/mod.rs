//! Runs, series and points of load tests: recording them, reading them, judging them.
//!
//! [`Results`] is the only door: `http` calls it, it calls `storage::runs`. It knows no HTTP and
//! no SQL. The verdict is pure and is also used by the command line.

pub mod verdict;

use std::path::Path;

use crate::limits::Limits;

/// A cheap handle on everything stored about load-test runs; every clone means the same file.
#[derive(Clone, Debug)]
pub struct Results {}

impl Results {
    /// Opens or creates `runs.db` in `dir`, whose lock the caller holds. Blocks.
    pub fn open(_dir: &Path, _limits: &Limits) -> Result<Results, Error> {
        unimplemented!()
    }

    /// Writes what is queued and joins the thread; repeatable. Blocks.
    pub fn close(&self) {
        unimplemented!()
    }
}

/// Why `runs.db` does not open.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Error(String);
