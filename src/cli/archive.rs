//! `dchat archive`: a test with all its files in one tar, which `run` takes.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;

use super::exit::Exit;
use super::flags::{GlobalFlags, OptionFlags, RuntimeFlags, SystemEnvironment};
use super::k6::platform;
use super::run::Manner;
use super::{Coded, script};
use crate::load::archive::{self, Parts};
use crate::load::inspect::Loaded;
use crate::load::js::{Remote, VmSettings};
use crate::load::options::Sources;
use crate::telemetry::k6;

/// Pack a script and all its files and options into one .tar that can be run elsewhere
#[derive(Debug, clap::Args)]
#[command(args_override_self = true)]
pub struct Args {
    /// Script file, .tar archive or '-' for stdin
    #[arg(value_name = "SCRIPT")]
    pub(crate) script: String,
    #[command(flatten)]
    pub(crate) wanted: ArchiveFlags,
    #[command(flatten)]
    pub(crate) options: OptionFlags,
    #[command(flatten)]
    pub(crate) runtime: RuntimeFlags,
    #[command(flatten)]
    pub(crate) global: GlobalFlags,
    #[arg(skip)]
    pub(crate) manner: Manner,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ArchiveFlags {
    /// File to write; '-' is stdout
    #[arg(short = 'O', long, default_value = "archive.tar", value_name = "FILE")]
    archive_out: String,
    /// Keep all variables out of the archive
    #[arg(long)]
    exclude_env_vars: bool,
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let failed = |error: anyhow::Error| Coded::wrap(Exit::LoadUsage, error);
    let log = args.global.log(None);
    let _log = k6::start(&log, io::stderr).map_err(|error| failed(error.into()))?;
    match pack(&args).map_err(failed)? {
        Ok(bytes) => write(&args.wanted.archive_out, &bytes).map_err(failed)?,
        Err(error) => {
            tracing::error!("{error}");
            return Ok(ExitCode::from(error.exit() as u8));
        }
    }
    Ok(Exit::Ok.into())
}

/// The archive; inside, what a run of the script would have failed with.
fn pack(args: &Args) -> anyhow::Result<Result<Vec<u8>, crate::load::Error>> {
    let mut found = script::find(
        Some(&args.script),
        args.runtime.test_type,
        args.manner,
        &Remote::allowed(),
    )?;
    let file = args.global.config_file();
    let file = file.map_err(|error| Coded::wrap(Exit::LoadConfig, error))?;
    let layer = args.options.layer();
    let flags = layer.map_err(|problems| anyhow::anyhow!(problems.join("\n")))?;
    found.source.compatibility = args.runtime.compatibility();
    let mut env = found.env;
    env.extend(args.runtime.environment(SystemEnvironment::Left));
    let (text, kept) = (found.source.text.clone(), env.clone());
    let loaded = match Loaded::load(found.source, env, &VmSettings::default()) {
        Ok(loaded) => loaded,
        Err(error) => return Ok(Err(error)),
    };
    let sources = Sources {
        file: file.as_ref(),
        script: found.options_json.as_deref(),
        environment: super::k6_variables(),
        flags,
        ..Sources::default()
    };
    let plan = match loaded.plan(sources) {
        Ok(plan) => plan,
        Err(error) => return Ok(Err(error)),
    };
    plan.warnings
        .iter()
        .for_each(|text| tracing::warn!("{text}"));
    let parts = Parts {
        main: loaded.program.main(),
        script: &text,
        files: &loaded.program.files(),
        options: plan.layer.with_defaults().to_json(),
        env: if args.wanted.exclude_env_vars {
            Default::default()
        } else {
            kept
        },
        system: platform().0,
    };
    let mut bytes = Vec::new();
    archive::write(&mut bytes, &parts)?;
    Ok(Ok(bytes))
}

fn write(path: &str, bytes: &[u8]) -> anyhow::Result<()> {
    if path == "-" {
        let mut out = io::stdout().lock();
        out.write_all(bytes)?;
        out.flush()?;
        return Ok(());
    }
    std::fs::write(path, bytes).with_context(|| format!("{path} can't be written"))
}
