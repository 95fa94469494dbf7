//! Commands run to their end: `dchat(["config", "show"]).run().expect(0).stdout`.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::check;
use super::process::{ExitCode, Process};

/// Longest run of a command unless [`Invocation::within`] says otherwise.
const COMMAND_PATIENCE: Duration = Duration::from_secs(90);

/// The binary under test with these arguments, in a clean environment.
pub fn dchat<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Invocation {
    command(env!("CARGO_BIN_EXE_dchat"), args)
}

/// Any program; `DCHAT_*` of the caller's environment does not reach it.
pub fn command<A: AsRef<OsStr>>(
    program: impl AsRef<OsStr>,
    args: impl IntoIterator<Item = A>,
) -> Invocation {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("DCHAT_") {
            command.env_remove(name);
        }
    }
    command.env_remove("STATE_DIRECTORY").env_remove("RUST_LOG");
    Invocation {
        command,
        stdin: None,
        patience: COMMAND_PATIENCE,
    }
}

/// A program that nobody here wrote: in `.venv/bin` of the repository, else on the `PATH`.
#[track_caller]
pub fn peer(name: &str) -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(".venv/bin")
        .join(name);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::iter::once(own)
        .chain(std::env::split_paths(&path).map(|dir| dir.join(name)))
        .find(|file| file.is_file());
    found.unwrap_or_else(|| panic!("{name} is missing; ./tests/run installs it"))
}

#[must_use]
pub struct Invocation {
    command: Command,
    stdin: Option<Vec<u8>>,
    patience: Duration,
}

/// A command that has ended.
#[derive(Debug)]
pub struct Finished {
    pub code: ExitCode,
    pub stdout: String,
    pub stderr: String,
}

impl Invocation {
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// The working directory.
    pub fn within_dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.command.current_dir(dir);
        self
    }

    pub fn stdin(mut self, text: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(text.into());
        self
    }

    /// The deadline of [`Invocation::run`].
    pub fn within(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    #[track_caller]
    pub fn run(self) -> Finished {
        let patience = self.patience;
        let mut process = self.spawn();
        let code = process.ended_within(patience);
        Finished {
            code,
            stdout: process.stdout(),
            stderr: process.stderr(),
        }
    }

    #[track_caller]
    pub fn spawn(mut self) -> Process {
        if self.stdin.is_some() {
            self.command.stdin(Stdio::piped());
        }
        let mut process = Process::spawn(self.command);
        if let Some(bytes) = self.stdin {
            let mut pipe = process.stdin().expect("stdin is piped");
            // A command may end without having read its input.
            let _ = pipe.write_all(&bytes);
        }
        process
    }
}

impl Finished {
    #[track_caller]
    pub fn expect(self, code: ExitCode) -> Finished {
        check(self.code == code, || {
            format!(
                "expected exit code {code}, got {}\nstdout:\n{}\nstderr:\n{}",
                self.code, self.stdout, self.stderr
            )
        });
        self
    }

    /// Checks that stderr contains every one of `parts`.
    #[track_caller]
    pub fn says(self, parts: &[&str]) -> Finished {
        for part in parts {
            check(self.stderr.contains(part), || {
                format!("stderr should contain {part:?}:\n{}", self.stderr)
            });
        }
        self
    }

    /// Checks that stdout contains every one of `parts`.
    #[track_caller]
    pub fn prints(self, parts: &[&str]) -> Finished {
        for part in parts {
            check(self.stdout.contains(part), || {
                format!("stdout should contain {part:?}:\n{}", self.stdout)
            });
        }
        self
    }
}
