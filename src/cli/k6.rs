//! Called through a link named `k6`: k6's commands, texts and exit codes, and nothing of ours.
//!
//! For CI actions, container images and the Kubernetes operator, which start a program of that
//! name. Reports nowhere, judges nothing, knows no built-in script.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser, Subcommand};

use super::exit::Exit;
use super::flags::{GlobalFlags, OptionFlags, RuntimeFlags};
use super::run::{Manner, RunFlags};
use super::{archive, exit_of, inspect, is_broken_pipe, new, run, say, with_causes};
use crate::telemetry::k6::error_line;

/// The version of k6 whose behaviour this is.
pub(crate) const VERSION: &str = "2.2.0";

/// Load tests written in JavaScript
#[derive(Debug, Parser)]
#[command(name = "k6", disable_help_subcommand = true, args_override_self = true)]
struct K6 {
    #[command(flatten)]
    global: GlobalFlags,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a test
    Run(Box<Run>),
    /// Inspect a script or archive
    Inspect(Box<Inspect>),
    /// Create an archive
    Archive(Box<Archive>),
    /// Create a test
    New(new::Args),
    /// Show application version
    Version {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, clap::Args)]
struct Run {
    /// Script file, .tar archive or '-' for stdin
    #[arg(value_name = "FILE")]
    script: Option<String>,
    #[command(flatten)]
    options: OptionFlags,
    #[command(flatten)]
    run: RunFlags,
    #[command(flatten)]
    runtime: RuntimeFlags,
}

#[derive(Debug, clap::Args)]
struct Inspect {
    /// Script file, .tar archive or '-' for stdin
    #[arg(value_name = "FILE")]
    script: String,
    #[command(flatten)]
    wanted: inspect::InspectFlags,
    #[command(flatten)]
    runtime: RuntimeFlags,
}

#[derive(Debug, clap::Args)]
struct Archive {
    /// Script file, .tar archive or '-' for stdin
    #[arg(value_name = "FILE")]
    script: String,
    #[command(flatten)]
    wanted: archive::ArchiveFlags,
    #[command(flatten)]
    options: OptionFlags,
    #[command(flatten)]
    runtime: RuntimeFlags,
}

/// Whether the program was called by this name.
pub(super) fn is_name(program: Option<&OsString>) -> bool {
    let stem = program.map(Path::new).and_then(Path::file_stem);
    stem == Some(OsStr::new("k6"))
}

pub(super) fn main(args: &[OsString]) -> ExitCode {
    match args.get(1).and_then(|arg| arg.to_str()) {
        // As k6 does, and with success.
        None => {
            let _ = K6::command().print_help();
            return Exit::Ok.into();
        }
        Some("--version") => return finish(say(&version()).map_err(Into::into)),
        Some(_) => {}
    }
    let k6 = match K6::try_parse_from(args) {
        Ok(k6) => k6,
        Err(error) if !error.use_stderr() => {
            let _ = error.print();
            return Exit::Ok.into();
        }
        Err(error) => return complain(&usage(&error), Exit::LoadUsage),
    };
    finish(dispatch(k6))
}

fn dispatch(k6: K6) -> anyhow::Result<ExitCode> {
    let global = k6.global;
    match k6.command {
        Command::Run(args) => run::run(run::Args {
            script: Some(args.script.ok_or_else(no_script)?),
            own: Default::default(),
            options: args.options,
            run: args.run,
            runtime: args.runtime,
            global,
            manner: Manner::K6,
        }),
        Command::Inspect(args) => inspect::run(inspect::Args {
            script: Some(args.script),
            compat: Vec::new(),
            no_remote: false,
            wanted: args.wanted,
            runtime: args.runtime,
            global,
            manner: Manner::K6,
        }),
        Command::Archive(args) => archive::run(archive::Args {
            script: args.script,
            wanted: args.wanted,
            options: args.options,
            runtime: args.runtime,
            global,
            manner: Manner::K6,
        }),
        Command::New(args) => new::run(args, Manner::K6),
        Command::Version { json } => {
            say(&if json { version_json() } else { version() })?;
            Ok(Exit::Ok.into())
        }
    }
}

fn finish<T>(result: anyhow::Result<T>) -> ExitCode
where
    T: Into<Done>,
{
    match result {
        Ok(done) => done.into().0,
        Err(error) if is_broken_pipe(&error) => Exit::Ok.into(),
        Err(error) => complain(&with_causes(&error), exit_of(&error)),
    }
}

/// What a command that succeeded ends with.
struct Done(ExitCode);

impl From<()> for Done {
    fn from((): ()) -> Done {
        Done(Exit::Ok.into())
    }
}

impl From<ExitCode> for Done {
    fn from(code: ExitCode) -> Done {
        Done(code)
    }
}

/// One log line on stderr.
fn complain(text: &str, exit: Exit) -> ExitCode {
    use std::io::Write;
    let exit = if exit == Exit::Failed {
        Exit::LoadUsage
    } else {
        exit
    };
    let _ = std::io::stderr().write_all(error_line(text).as_bytes());
    exit.into()
}

fn no_script() -> anyhow::Error {
    anyhow::anyhow!(
        "accepts 1 arg(s), received 0: arg should either be \"-\", if reading script from stdin, \
         or a path to a script file"
    )
}

/// k6's words for a command line that is wrong.
fn usage(error: &clap::Error) -> String {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        _ => String::new(),
    };
    let argument = context(ContextKind::InvalidArg);
    match error.kind() {
        ErrorKind::UnknownArgument if argument.starts_with("--") => {
            format!("unknown flag: {argument}")
        }
        ErrorKind::UnknownArgument if argument.starts_with('-') => {
            let letter = argument.trim_start_matches('-').chars().next();
            format!(
                "unknown shorthand flag: {:?} in {argument}",
                letter.unwrap_or('-')
            )
        }
        ErrorKind::MissingRequiredArgument => "accepts 1 arg(s), received 0".to_owned(),
        ErrorKind::InvalidSubcommand => {
            let name = context(ContextKind::InvalidSubcommand);
            format!("unknown command {name:?} for \"k6\"")
        }
        _ => {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default();
            line.strip_prefix("error: ").unwrap_or(line).to_owned()
        }
    }
}

/// As k6 prints it; in the place of its build stands what this is.
fn version() -> String {
    let (system, processor) = platform();
    let own = env!("CARGO_PKG_VERSION");
    format!("k6 v{VERSION} (dchat/{own}, {system}/{processor})")
}

fn version_json() -> String {
    let (system, processor) = platform();
    serde_json::json!({
        "version": format!("v{VERSION}"),
        "dchat_version": env!("CARGO_PKG_VERSION"),
        "go_os": system,
        "go_arch": processor,
    })
    .to_string()
}

/// Go's names of system and processor, which is what programs look for.
pub(crate) fn platform() -> (&'static str, &'static str) {
    let system = match std::env::consts::OS {
        "macos" => "darwin",
        other => other,
    };
    let processor = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    (system, processor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_consistent() {
        K6::command().debug_assert();
    }

    #[test]
    fn only_the_name_k6_is_k6() {
        for (program, is) in [
            ("k6", true),
            ("/usr/bin/k6", true),
            ("dchat", false),
            ("k6s", false),
        ] {
            assert_eq!(is_name(Some(&OsString::from(program))), is, "{program}");
        }
    }

    #[test]
    fn flags_may_stand_before_and_after_the_command() {
        let words =
            "k6 -q run --address localhost:6565 --paused x.js --no-usage-report --log-format json";
        let k6 = K6::try_parse_from(words.split(' ')).expect("k6 takes it");
        assert!(k6.global.quiet);
        assert_eq!(k6.global.address.as_deref(), Some("localhost:6565"));
    }
}
