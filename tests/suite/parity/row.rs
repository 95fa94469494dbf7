//! One row: what is run, and what must come of it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::target::Target;
use crate::support::*;

/// Longest run of a row.
const PATIENCE: Duration = Duration::from_secs(60);

/// In all texts `${TARGET}` and `${TARGET_WS}` are the test's servers and `${TAKEN}` is an address
/// that is in use; scripts find the first two in `__ENV`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    name: String,
    source: String,
    /// Why the row does not hold today; one that holds must not have it.
    gap: Option<String>,
    /// Lines of the script; its name is `script.js` unless said otherwise.
    #[serde(default)]
    script: Vec<String>,
    name_of_script: Option<String>,
    /// Further files beside it, by name.
    #[serde(default)]
    files: BTreeMap<String, Vec<String>>,
    /// Flags of `run`; or a whole command line instead, and one that comes before.
    #[serde(default)]
    args: Vec<String>,
    command: Option<Vec<String>>,
    before: Option<Vec<String>>,
    /// Run through a link of this name.
    link: Option<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    stdin: Option<String>,

    code: Count,
    iterations: Option<Count>,
    dropped: Option<Count>,
    requests: Option<Count>,
    /// Passes and fails.
    checks: Option<[u64; 2]>,
    /// Values in the exported summary, by metric and name.
    #[serde(default)]
    metrics: BTreeMap<String, BTreeMap<String, Value>>,
    /// What stdout, stderr and written files contain, and what they don't.
    #[serde(default)]
    prints: Vec<String>,
    #[serde(default)]
    prints_not: Vec<String>,
    #[serde(default)]
    says: Vec<String>,
    #[serde(default)]
    says_not: Vec<String>,
    #[serde(default)]
    wrote: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    wrote_not: BTreeMap<String, Vec<String>>,
}

/// An exact number, or the least and the most.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Count {
    Exact(f64),
    Between([f64; 2]),
}

impl Count {
    fn holds(&self, seen: f64) -> bool {
        match self {
            Count::Exact(wanted) => seen == *wanted,
            Count::Between([least, most]) => (*least..=*most).contains(&seen),
        }
    }
}

pub fn read(text: &str) -> Vec<Row> {
    serde_json::from_str(text).unwrap()
}

impl Row {
    /// Runs the row; says what is different, if anything is.
    pub fn difference(&self, target: &Target) -> Option<String> {
        let dir = tempfile::tempdir().unwrap();
        self.write_files(dir.path());
        if let Some(before) = &self.before {
            self.invocation(dir.path(), before, target).run();
        }
        let command = match &self.command {
            Some(command) => command.clone(),
            None => self.run_command(target),
        };
        let mut invocation = self.invocation(dir.path(), &command, target);
        if let Some(stdin) = &self.stdin {
            invocation = invocation.stdin(stdin.as_str());
        }
        let finished = invocation.within(PATIENCE).run();
        let differences = self.differences(&finished, dir.path());
        let (name, source) = (&self.name, &self.source);
        match (differences.is_empty(), &self.gap) {
            (true, None) | (false, Some(_)) => return None,
            (true, Some(gap)) => return Some(format!("{name} holds; its gap is closed: {gap}")),
            (false, None) => {}
        }
        let differences = differences.join("; ");
        let (stdout, stderr) = (&finished.stdout, &finished.stderr);
        Some(format!(
            "{name} ({source}): {differences}\nstdout: {stdout}\nstderr: {stderr}"
        ))
    }

    fn write_files(&self, dir: &Path) {
        if !self.script.is_empty() {
            std::fs::write(dir.join(self.script_name()), self.script.join("\n")).unwrap();
        }
        for (name, lines) in &self.files {
            std::fs::write(dir.join(name), lines.join("\n")).unwrap();
        }
    }

    fn script_name(&self) -> &str {
        self.name_of_script.as_deref().unwrap_or("script.js")
    }

    fn run_command(&self, target: &Target) -> Vec<String> {
        let own = ["run", "--report-to", "none", "--quiet", "--no-color"];
        let own = own.into_iter().chain(["--summary-export", "summary.json"]);
        let mut command: Vec<String> = own.map(str::to_owned).collect();
        for (name, value) in target.variables() {
            command.extend(["-e".to_owned(), format!("{name}={value}")]);
        }
        command.extend(self.args.iter().cloned());
        command.push(self.script_name().to_owned());
        command
    }

    fn invocation(&self, dir: &Path, args: &[String], target: &Target) -> Invocation {
        let args = args.iter().map(|text| target.filled(text));
        let binary = Path::new(env!("CARGO_BIN_EXE_dchat"));
        let mut invocation = match &self.link {
            Some(name) => {
                let link = dir.join(name);
                if !link.exists() {
                    std::os::unix::fs::symlink(binary, &link).unwrap();
                }
                command(&link, args)
            }
            None => command(binary, args),
        };
        // A configuration of the user's own must not change what rows see.
        invocation = invocation.env("XDG_CONFIG_HOME", dir.join("none"));
        for (name, value) in &self.env {
            invocation = invocation.env(name, target.filled(value));
        }
        invocation.within_dir(dir)
    }

    fn differences(&self, finished: &Finished, dir: &Path) -> Vec<String> {
        let mut differences = Vec::new();
        if !self.code.holds(f64::from(finished.code)) {
            differences.push(format!("code is {}, not {:?}", finished.code, self.code));
        }
        let summary = std::fs::read(dir.join("summary.json")).ok();
        let summary: Value = summary
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        self.compare_counts(&summary["metrics"], &mut differences);
        let texts = [
            ("stdout", &finished.stdout, &self.prints, &self.prints_not),
            ("stderr", &finished.stderr, &self.says, &self.says_not),
        ];
        for (place, text, wanted, unwanted) in texts {
            compare_text(place, text, wanted, unwanted, &mut differences);
        }
        for (file, wanted) in &self.wrote {
            let bytes = std::fs::read(dir.join(file)).unwrap_or_default();
            let text = String::from_utf8_lossy(&bytes);
            let before = differences.len();
            compare_text(file, &text, wanted, &[], &mut differences);
            if differences.len() > before {
                let shown: String = text.chars().take(2_000).collect();
                differences.push(format!("{file} is {shown}"));
            }
        }
        for (file, unwanted) in &self.wrote_not {
            let bytes = std::fs::read(dir.join(file)).unwrap_or_default();
            let text = String::from_utf8_lossy(&bytes);
            compare_text(file, &text, &[], unwanted, &mut differences);
        }
        differences
    }

    fn compare_counts(&self, metrics: &Value, differences: &mut Vec<String>) {
        let counts = [
            ("iterations", &self.iterations),
            ("dropped_iterations", &self.dropped),
            ("http_reqs", &self.requests),
        ];
        for (metric, wanted) in counts {
            let seen = metrics[metric]["count"].as_f64().unwrap_or_default();
            if let Some(wanted) = wanted.as_ref().filter(|wanted| !wanted.holds(seen)) {
                differences.push(format!("{metric} is {seen}, not {wanted:?}"));
            }
        }
        if let Some([passes, fails]) = self.checks {
            let count = |name: &str| metrics["checks"][name].as_u64().unwrap_or_default();
            let seen = [count("passes"), count("fails")];
            if seen != [passes, fails] {
                differences.push(format!("checks are {seen:?}, not {:?}", [passes, fails]));
            }
        }
        for (metric, values) in &self.metrics {
            for (name, wanted) in values {
                let seen = &metrics[metric][name];
                if !alike(seen, wanted) {
                    differences.push(format!("{metric}.{name} is {seen}, not {wanted}"));
                }
            }
        }
    }
}

/// Numbers as floats, everything else as it is.
fn alike(seen: &Value, wanted: &Value) -> bool {
    match (seen.as_f64(), wanted.as_f64()) {
        (Some(seen), Some(wanted)) => (seen - wanted).abs() < 1e-9,
        _ => seen == wanted,
    }
}

fn compare_text(
    place: &str,
    text: &str,
    wanted: &[String],
    unwanted: &[String],
    differences: &mut Vec<String>,
) {
    for part in wanted.iter().filter(|part| !text.contains(part.as_str())) {
        differences.push(format!("{place} lacks {part:?}"));
    }
    for part in unwanted.iter().filter(|part| text.contains(part.as_str())) {
        differences.push(format!("{place} has {part:?}"));
    }
}
