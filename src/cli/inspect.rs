//! `dchat inspect`: what a script's options are and what they need.

mod compat;
mod imports;

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::Value;

use super::exit::Exit;
use super::flags::{GlobalFlags, RuntimeFlags, SystemEnvironment};
use super::run::Manner;
use super::{Coded, say, script};
use crate::load;
use crate::load::inspect::{Loaded, Plan};
use crate::load::js::{Remote, VmSettings};
use crate::load::options::{Layer, Sources, duration};
use crate::telemetry::k6;

/// Show a script's options as JSON
#[derive(Debug, clap::Args)]
#[command(args_override_self = true)]
pub struct Args {
    /// Script file, .tar archive or '-' for stdin
    #[arg(value_name = "SCRIPT", required_unless_present = "compat")]
    pub(crate) script: Option<String>,
    /// Instead say for each script, also those in directories, what dchat does not support
    #[arg(long, value_name = "PATH", num_args = 1.., conflicts_with = "script")]
    pub(crate) compat: Vec<PathBuf>,
    /// Fetch no modules from the net
    #[arg(long)]
    pub(crate) no_remote: bool,
    #[command(flatten)]
    pub(crate) wanted: InspectFlags,
    #[command(flatten)]
    pub(crate) runtime: RuntimeFlags,
    #[command(flatten)]
    pub(crate) global: GlobalFlags,
    #[arg(skip)]
    pub(crate) manner: Manner,
}

#[derive(Debug, clap::Args)]
pub(crate) struct InspectFlags {
    /// Consolidate all options, and add the VUs and the time that they need
    #[arg(long)]
    execution_requirements: bool,
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let failed = |error: anyhow::Error| Coded::wrap(Exit::LoadUsage, error);
    let log = args.global.log(None);
    let _log = k6::start(&log, std::io::stderr).map_err(|error| failed(error.into()))?;
    let remote = match args.no_remote {
        true => Remote::Forbidden,
        false => Remote::allowed(),
    };
    if !args.compat.is_empty() {
        let env = args.runtime.environment(SystemEnvironment::Included);
        let all = compat::run(&args.compat, &env, &remote).map_err(failed)?;
        return Ok(match all {
            true => Exit::Ok.into(),
            false => ExitCode::from(load::exit::Exit::ScriptException as u8),
        });
    }
    let found = script::find(
        args.script.as_deref(),
        args.runtime.test_type,
        args.manner,
        &remote,
    );
    let mut found = found.map_err(failed)?;
    found.source.remote = remote;
    found.source.compatibility = args.runtime.compatibility();
    let mut env = found.env;
    env.extend(args.runtime.environment(SystemEnvironment::Left));
    let file = args.global.config_file();
    let file = file.map_err(|error| Coded::wrap(Exit::LoadConfig, error))?;
    let json = Loaded::load(found.source, env, &VmSettings::default()).and_then(|loaded| {
        if !args.wanted.execution_requirements {
            return Ok(loaded
                .script_layer(found.options_json.as_deref())?
                .to_json());
        }
        let sources = Sources {
            file: file.as_ref(),
            script: found.options_json.as_deref(),
            environment: super::k6_variables(),
            flags: Layer::default(),
            ..Sources::default()
        };
        loaded.plan(sources).map(requirements)
    });
    match json {
        Ok(json) => say(&serde_json::to_string_pretty(&json)?)?,
        Err(error) => {
            tracing::error!("{error}");
            return Ok(ExitCode::from(error.exit() as u8));
        }
    }
    Ok(Exit::Ok.into())
}

/// Options with their scenarios derived, `totalDuration` and `maxVUs`.
fn requirements(plan: Plan) -> Value {
    for warning in &plan.warnings {
        tracing::warn!("{warning}");
    }
    let mut layer = plan.layer.with_defaults();
    layer.scenarios = Some(plan.options.scenarios);
    let mut json = layer.to_json();
    json["totalDuration"] = duration::format(plan.total_duration).into();
    json["maxVUs"] = plan.vus_max.into();
    json
}
