//! `inspect --compat PATH…`: for each script, what dchat does not support.
//!
//! Each script is loaded as a run would load it, on a thread of its own and not longer than
//! [`LOAD_MAX`]; nothing of it runs but its init code.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::imports;
use crate::cli::say;
use crate::load::archive;
use crate::load::inspect::Loaded;
use crate::load::js::{Remote, ScriptError, ScriptSource, VmSettings, missing_module};
use crate::load::options::{Layer, Sources};
use crate::load::{self};

/// Longest time for the init code of one script.
const LOAD_MAX: Duration = Duration::from_secs(20);
/// Files looked at in all: more is a wrong directory.
const FILES_MAX: usize = 10_000;

/// What is to be said about one file.
#[derive(Debug, PartialEq, Eq)]
enum Finding {
    Supported,
    /// Exports nothing that could be run on its own: a module of other scripts.
    NoTest,
    Lacking(Vec<String>),
}

/// Says what it finds; whether all scripts are supported.
pub(super) fn run(
    paths: &[PathBuf],
    env: &BTreeMap<String, String>,
    remote: &Remote,
) -> anyhow::Result<bool> {
    let mut files = Vec::new();
    for path in paths {
        // A file that was named is a script whatever it is called.
        if path.is_dir() {
            collect(path, &mut files)?;
        } else {
            files.push(path.clone());
        }
    }
    let (mut supported, mut lacking, mut modules) = (0_usize, 0_usize, 0_usize);
    for file in &files {
        let name = file.display();
        match look(file, env, remote) {
            Finding::Supported => {
                supported += 1;
                say(&format!("{name}: supported"))?;
            }
            Finding::NoTest => {
                modules += 1;
                say(&format!("{name}: no test, for other scripts to import"))?;
            }
            Finding::Lacking(texts) => {
                lacking += 1;
                say(&format!("{name}: not supported"))?;
                for text in texts {
                    say(&format!("  - {}", text.trim().replace('\n', "\n    ")))?;
                }
            }
        }
    }
    say(&format!(
        "{} files: {supported} supported, {lacking} not, {modules} without a test",
        files.len()
    ))?;
    Ok(lacking == 0)
}

/// Scripts below a directory, in order of their names; hidden ones and `node_modules` are left.
fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(directory)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<_>>()?;
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with('.') || name == "node_modules" {
            continue;
        }
        let extension = path.extension().unwrap_or_default();
        if path.is_dir() && !path.is_symlink() {
            collect(&path, files)?;
        } else if ["js", "mjs", "cjs", "ts", "tar"]
            .iter()
            .any(|known| extension == *known)
        {
            anyhow::ensure!(
                files.len() < FILES_MAX,
                "there are more than {FILES_MAX} scripts\nhint: name smaller directories"
            );
            files.push(path);
        }
    }
    Ok(())
}

fn look(path: &Path, env: &BTreeMap<String, String>, remote: &Remote) -> Finding {
    let (source, options) = match read(path) {
        Ok(read) => read,
        Err(text) => return Finding::Lacking(vec![text]),
    };
    let source = ScriptSource {
        remote: remote.clone(),
        ..source
    };
    let imported: BTreeSet<String> = imports::of(&source.text).into_iter().collect();
    let mut lacking: Vec<String> = imported
        .iter()
        .filter_map(|name| missing_module(name))
        .collect();
    match load(source, options, env.clone()) {
        Loading::Fine => {}
        Loading::NoTest if lacking.is_empty() => return Finding::NoTest,
        Loading::NoTest => {}
        Loading::Failed(text) => {
            // The first missing module is what loading fails with too.
            let told = lacking.iter().any(|missing| {
                let line = missing.lines().next().unwrap_or(missing);
                text.contains(line)
            });
            if !told {
                lacking.push(text);
            }
        }
    }
    if lacking.is_empty() {
        Finding::Supported
    } else {
        Finding::Lacking(lacking)
    }
}

fn read(path: &Path) -> Result<(ScriptSource, Option<String>), String> {
    let bytes = std::fs::read(path).map_err(|error| format!("it can't be read: {error}"))?;
    if archive::is_archive(&bytes) {
        let archived = archive::read(&bytes).map_err(|error| error.to_string())?;
        return Ok((archived.source, Some(archived.options_json)));
    }
    let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
    Ok((ScriptSource::new(path, text), None))
}

/// What came of loading a script.
enum Loading {
    Fine,
    NoTest,
    Failed(String),
}

/// Loads the script and checks its options, as a run without flags would.
fn load(source: ScriptSource, options: Option<String>, env: BTreeMap<String, String>) -> Loading {
    let (done, result) = mpsc::channel();
    let work = move || {
        // Nobody waits any more where it took too long.
        let _ = done.send(load_here(source, options.as_deref(), env));
    };
    // The thread of a script that never returns ends with the process.
    let spawned = thread::Builder::new().name("compat".to_owned()).spawn(work);
    let too_long = || {
        let seconds = LOAD_MAX.as_secs();
        Loading::Failed(format!("its init code did not end within {seconds}s"))
    };
    match spawned {
        Ok(_) => result.recv_timeout(LOAD_MAX).unwrap_or_else(|_| too_long()),
        Err(error) => Loading::Failed(format!("no thread for it: {error}")),
    }
}

fn load_here(
    source: ScriptSource,
    options: Option<&str>,
    env: BTreeMap<String, String>,
) -> Loading {
    let loaded = match Loaded::load(source, env, &VmSettings::default()) {
        Ok(loaded) => loaded,
        Err(load::Error::Script(ScriptError::NoExports)) => return Loading::NoTest,
        Err(error) => return Loading::Failed(error.to_string()),
    };
    let has_default = loaded
        .program
        .exports()
        .iter()
        .any(|name| name == "default");
    if !has_default && options.is_none() && loaded.program.options_json().is_none() {
        return Loading::NoTest;
    }
    let sources = Sources {
        script: options,
        flags: Layer::default(),
        ..Sources::default()
    };
    match loaded.plan(sources) {
        Ok(_) => Loading::Fine,
        Err(error) => Loading::Failed(error.to_string()),
    }
}
