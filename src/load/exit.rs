//! Exit codes of a run: k6's numbers, in one table.

use super::js::ScriptError;
use super::state::AbortReason;

/// How a run ends as a process. The first error wins; crossed thresholds replace nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Ok = 0,
    /// Thresholds crossed, at the end or with `abortOnFail`.
    Thresholds = 99,
    SetupTimeout = 100,
    TeardownTimeout = 101,
    /// Another limit of time, such as that of a VU's start.
    Timeout = 102,
    /// Stopped through the REST API.
    RestApi = 103,
    /// Options, scenarios or thresholds that can't run.
    InvalidConfig = 104,
    /// SIGINT or SIGTERM.
    Signal = 105,
    /// The REST API could not listen.
    Address = 106,
    /// Syntax error, exception outside of iterations, import or file missing.
    ScriptException = 107,
    /// `exec.test.abort()`.
    ScriptAborted = 108,
    /// `exec.test.fail()`.
    MarkedFailed = 110,
    /// Everything else: unknown flag, script file missing, nothing exported.
    Other = 255,
}

impl Exit {
    pub fn of_script(error: &ScriptError) -> Exit {
        match error {
            ScriptError::Syntax { .. }
            | ScriptError::Exception { .. }
            | ScriptError::NotFound { .. } => Exit::ScriptException,
            ScriptError::NoExports | ScriptError::NotAFunction(_) | ScriptError::Vm(_) => {
                Exit::Other
            }
            ScriptError::Aborted(_) => Exit::ScriptAborted,
            ScriptError::Timeout { what: "setup", .. } => Exit::SetupTimeout,
            ScriptError::Timeout {
                what: "teardown", ..
            } => Exit::TeardownTimeout,
            ScriptError::Timeout { .. } => Exit::Timeout,
            ScriptError::Interrupted { .. } => Exit::Signal,
        }
    }

    pub fn of_abort(reason: &AbortReason) -> Exit {
        match reason {
            AbortReason::Signal => Exit::Signal,
            AbortReason::Control => Exit::RestApi,
            AbortReason::Script(_) => Exit::ScriptAborted,
            AbortReason::Threshold => Exit::Thresholds,
            AbortReason::Failed(_) => Exit::ScriptException,
        }
    }
}
