//! `dchat new`: writes the built-in stress test out for editing.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use super::{Coded, exit::Exit, say};
use crate::load::builtin_scripts;

/// Write the built-in stress test to a file, for editing
#[derive(Debug, clap::Args)]
pub struct Args {
    /// File to write
    #[arg(default_value = "script.js", value_name = "FILE")]
    file: PathBuf,
    /// Overwrite the file if it exists
    #[arg(short, long)]
    force: bool,
    /// Which built-in script to write
    #[arg(long, default_value = builtin_scripts::DEFAULT, value_name = "NAME")]
    template: String,
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let failed = |error: anyhow::Error| Coded::wrap(Exit::LoadUsage, error);
    let Some(text) = builtin_scripts::text(&args.template) else {
        let known: Vec<&str> = builtin_scripts::names().collect();
        return Err(failed(anyhow::anyhow!(
            "no built-in script is called '{}'\nhint: there are {}",
            args.template,
            known.join(", ")
        )));
    };
    let path = args.file.display();
    let mut options = OpenOptions::new();
    options.write(true);
    if args.force {
        options.create(true).truncate(true);
    } else {
        options.create_new(true);
    }
    let mut file = options.open(&args.file).map_err(|error| {
        failed(match error.kind() {
            std::io::ErrorKind::AlreadyExists => {
                anyhow::anyhow!("{path} already exists\nhint: overwrite it with --force")
            }
            _ => anyhow::anyhow!("{path} can't be written: {error}"),
        })
    })?;
    file.write_all(text.as_bytes())?;
    say(&format!("wrote {path}; run it with: dchat run {path}"))?;
    Ok(Exit::Ok.into())
}
