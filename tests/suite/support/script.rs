//! A k6 script run by `dchat run` in a directory of its own.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::command::{Finished, Invocation, dchat};
use super::process::{ExitCode, Process};

/// A script that is about to run; reports nowhere unless told.
#[must_use]
pub struct Script {
    dir: TempDir,
    invocation: Invocation,
    name: &'static str,
}

/// A script that has run.
pub struct Ran {
    dir: TempDir,
    pub finished: Finished,
}

impl Script {
    pub fn new(text: &str) -> Script {
        Script::named("script.js", text)
    }

    /// As [`Script::new`] under another file name.
    pub fn named(name: &'static str, text: &str) -> Script {
        let dir = tempfile::tempdir().expect("the temporary directory is writable");
        std::fs::write(dir.path().join(name), text).expect("it was just made");
        let invocation = dchat(["run", "--report-to", "none", "--quiet", "--no-color"])
            .arg("--summary-export")
            .arg("summary.json")
            .within_dir(dir.path());
        Script {
            dir,
            invocation,
            name,
        }
    }

    /// A further file beside the script.
    pub fn file(self, name: &str, text: &str) -> Script {
        let path = self.dir.path().join(name);
        let directory = path.parent().expect("the path has our directory in it");
        std::fs::create_dir_all(directory).expect("the directory is ours");
        std::fs::write(path, text).expect("the directory is ours");
        self
    }

    pub fn args<'a>(mut self, args: impl IntoIterator<Item = &'a str>) -> Script {
        for arg in args {
            self.invocation = self.invocation.arg(arg);
        }
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Script {
        self.invocation = self.invocation.env(name, value);
        self
    }

    pub fn within(mut self, patience: Duration) -> Script {
        self.invocation = self.invocation.within(patience);
        self
    }

    #[track_caller]
    pub fn run(self) -> Ran {
        let finished = self.invocation.arg(self.name).run();
        Ran {
            dir: self.dir,
            finished,
        }
    }

    /// Starts it; keep the directory as long as it runs.
    #[track_caller]
    pub fn spawn(self) -> (Process, TempDir) {
        (self.invocation.arg(self.name).spawn(), self.dir)
    }
}

impl Ran {
    #[track_caller]
    pub fn expect(mut self, code: ExitCode) -> Ran {
        self.finished = self.finished.expect(code);
        self
    }

    /// Checks that stderr contains every one of `parts`.
    #[track_caller]
    pub fn says(mut self, parts: &[&str]) -> Ran {
        self.finished = self.finished.says(parts);
        self
    }

    /// Checks that stdout contains every one of `parts`.
    #[track_caller]
    pub fn prints(mut self, parts: &[&str]) -> Ran {
        self.finished = self.finished.prints(parts);
        self
    }

    /// Checks that the script made checks, that none failed and that nothing was logged as error.
    #[track_caller]
    pub fn all_checks_pass(self) -> Ran {
        let ran = self.expect(0);
        let summary = ran.summary();
        let checks = summary["root_group"]["checks"].as_object();
        let failed: Vec<&String> = checks
            .into_iter()
            .flatten()
            .filter(|(_, check)| check["fails"] != 0)
            .map(|(name, _)| name)
            .collect();
        let stderr = &ran.finished.stderr;
        super::check(failed.is_empty() && !stderr.contains("level=error"), || {
            format!("failed: {failed:?}\n{stderr}")
        });
        super::check(checks.is_some_and(|checks| !checks.is_empty()), || {
            format!("no checks were made\n{stderr}")
        });
        ran
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    #[track_caller]
    pub fn text(&self, name: &str) -> String {
        match std::fs::read_to_string(self.path(name)) {
            Ok(text) => text,
            Err(error) => panic!("{name}: {error}\n{}", self.finished.stderr),
        }
    }

    /// There were checks, and none failed; exceptions may have been logged.
    #[track_caller]
    pub fn checks_hold(&self) {
        let checks = self.metric("checks");
        let all = checks["fails"] == 0 && checks["passes"].as_u64().unwrap_or_default() > 0;
        super::check(all, || {
            let names = self.summary()["root_group"]["checks"].to_string();
            format!("{names}\n{}", self.finished.stderr)
        });
    }

    /// What `--summary-export` wrote.
    #[track_caller]
    pub fn summary(&self) -> Value {
        serde_json::from_str(&self.text("summary.json")).expect("the summary is JSON")
    }

    /// The values of one metric in the exported summary.
    #[track_caller]
    pub fn metric(&self, name: &str) -> Value {
        let summary = self.summary();
        summary["metrics"][name].clone()
    }
}
