//! What can go wrong with a script, told with file, line and column.

use std::fmt;
use std::time::Duration;

/// A failure of a script, or of the machine that runs it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ScriptError {
    /// The script, or a module that it imports, is not valid JavaScript.
    #[error("SyntaxError: {message}\n\tat {at}")]
    Syntax { at: Location, message: String },
    /// Uncaught exception. `message` begins with the error's name; `stack` has one frame a line.
    #[error("{message}{}", Indented(stack))]
    Exception { message: String, stack: String },
    /// An import or `open()` names something that is not there, or may not be reached.
    #[error("{message}{}", Indented(stack))]
    NotFound { message: String, stack: String },
    /// The script exports nothing that could be run.
    #[error("no exported functions in script\nhint: write `export default function () {{ ... }}`")]
    NoExports,
    /// `setup` or `teardown` is exported and can't be called.
    #[error("exported '{0}' must be a function")]
    NotAFunction(&'static str),
    /// `exec.test.abort(message)`.
    #[error("test aborted: {0}")]
    Aborted(String),
    /// The call did not return in time.
    #[error("{what}() took longer than its limit of {}s\nhint: raise {what}Timeout in the options", limit.as_secs_f64())]
    Timeout { what: &'static str, limit: Duration },
    /// The run was interrupted while the script ran.
    #[error("{what}() was interrupted")]
    Interrupted { what: &'static str },
    /// A VU could not be given a runtime: memory, address space or threads are exhausted.
    #[error("cannot create a virtual user: {0}")]
    Vm(String),
}

impl ScriptError {
    /// Message without the stack, one line.
    pub fn headline(&self) -> String {
        match self {
            ScriptError::Syntax { message, .. } => format!("SyntaxError: {message}"),
            ScriptError::Exception { message, .. } | ScriptError::NotFound { message, .. } => {
                message.clone()
            }
            other => other.to_string(),
        }
    }
}

/// A place in a script; line and column count from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    pub file: String,
    pub line: u32,
    pub column: u32,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// A stack as k6 prints it: each frame on a line of its own, indented by a tab.
struct Indented<'a>(&'a str);

impl fmt::Display for Indented<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for frame in self.0.lines().map(str::trim).filter(|l| !l.is_empty()) {
            write!(f, "\n\t{frame}")?;
        }
        Ok(())
    }
}
