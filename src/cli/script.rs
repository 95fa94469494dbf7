//! Where a script comes from: a file, stdin, or the binary.

use std::io::{self, Read};
use std::path::PathBuf;

use anyhow::Context;

use crate::load::builtin_scripts;
use crate::load::js::ScriptSource;

/// A file, `-` for stdin, or the name of a built-in script where no such file exists; `None` is
/// the built-in stress test.
///
/// # Errors
/// What can't be found or read.
pub(crate) fn find(argument: Option<&str>) -> anyhow::Result<ScriptSource> {
    let name = argument.unwrap_or(builtin_scripts::DEFAULT);
    if name == "-" {
        let mut text = String::new();
        io::stdin()
            .read_to_string(&mut text)
            .context("the script on stdin can't be read")?;
        // Imports and files are relative to the working directory.
        return Ok(ScriptSource::new("-", text));
    }
    let path = PathBuf::from(name);
    if argument.is_some() && path.exists() {
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("script '{name}' can't be read"))?;
        return Ok(ScriptSource::new(path, text));
    }
    if let Some(text) = builtin_scripts::text(name) {
        return Ok(ScriptSource::new(path, text));
    }
    let known: Vec<&str> = builtin_scripts::names().collect();
    anyhow::bail!(
        "script '{name}' does not exist\nhint: built-in scripts are {}; 'dchat new' writes one out",
        known.join(" and ")
    )
}
