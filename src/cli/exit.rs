//! The exit codes, in one table.
//!
//! `run`, `new` and `demo` use k6's numbers, because CI pipelines know them; every other command
//! uses the first six.

use std::process::ExitCode;

/// What a command ends with. The number is the process's exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Ok = 0,
    /// The command could not do what was asked.
    Failed = 1,
    /// Unknown flag, missing argument, unusable configuration.
    Usage = 2,
    /// The relay refused to start: port or directory taken, database from a newer version.
    Refused = 3,
    /// A sync failed or the writer ended: restart the relay; what was answered 200 is kept.
    StorageFailed = 4,
    /// The drain took longer than `drain_timeout`.
    DrainDeadline = 5,
    /// A load command's configuration file or options can't be used.
    LoadConfig = 104,
    /// A load command's usage error; k6 gives 255 to everything without a code of its own.
    LoadUsage = 255,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}
