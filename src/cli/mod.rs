//! Command line: one file per command. Parses, starts telemetry, dispatches, maps errors to exit
//! codes.
//!
//! The only module that uses `anyhow` and the only one that writes to stdout. Errors are printed
//! once, as one chain on stderr; a reader that closes our stdout early is success.

pub mod archive;
pub mod config;
pub mod demo;
pub mod exit;
mod flags;
pub mod inspect;
mod k6;
pub mod new;
pub mod relay;
pub mod run;
pub mod runs;
mod script;
pub mod send;
pub mod status;
pub mod tail;
pub mod target;
pub mod wait;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::exit::Exit;

/// A durable message relay with SQLite inside, and its own load lab.
#[derive(Debug, Parser)]
#[command(
    name = "dchat",
    version,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    after_help = "Start with 'dchat demo', or with 'dchat relay' and, beside it, 'dchat run'.\n\
                  '--role relay' with the relay's flags is the same as 'dchat relay'."
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the relay: API, WebSocket, metrics and results viewer on one port
    #[command(visible_alias = "serve")]
    Relay(relay::Args),
    /// Show what a running relay says about itself
    Status(status::Args),
    /// Wait until a relay is ready; for scripts and CI
    Wait(wait::Args),
    /// Send one message; a 200 means that it is on the relay's disk
    Send(send::Args),
    /// Print the messages of a mailbox or channel as they arrive; resumes after a lost connection
    Tail(tail::Args),
    /// Run a load test: a k6 script, or the built-in relay stress test
    Run(Box<run::Args>),
    /// Show a script's options and what they need, as JSON
    Inspect(Box<inspect::Args>),
    /// Pack a script with all its files and options into one .tar, which run takes
    Archive(Box<archive::Args>),
    /// Write a script to a file, for editing
    New(new::Args),
    /// List, show and import stored load-test runs
    Runs(runs::Args),
    /// Start a relay, run a 30-second stress test against it, then serve the results page
    Demo(demo::Args),
    /// Show or check the relay's configuration
    Config(config::Args),
}

/// Runs the command that `args` name, the first being the program, and returns its exit code.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    if k6::is_name(args.first()) {
        return k6::main(&args);
    }
    let args = with_role_as_command(args);
    let load_command = is_load_command(&args);
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            let asked_for_text = !error.use_stderr();
            // Nothing can be done about a closed stream.
            let _ = error.print();
            return match (asked_for_text, load_command) {
                (true, _) => Exit::Ok.into(),
                (false, true) => Exit::LoadUsage.into(),
                (false, false) => Exit::Usage.into(),
            };
        }
    };
    let result = match cli.command {
        Command::Relay(args) => relay::run(args),
        Command::Status(args) => status::run(args),
        Command::Wait(args) => wait::run(args),
        Command::Send(args) => send::run(args),
        Command::Tail(args) => tail::run(args),
        Command::Run(args) => run::run(*args),
        Command::Inspect(args) => inspect::run(*args),
        Command::Archive(args) => archive::run(*args),
        Command::New(args) => new::run(args, run::Manner::Dchat),
        Command::Runs(args) => runs::run(args),
        Command::Demo(args) => demo::run(args),
        Command::Config(args) => config::run(args),
    };
    match result {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => Exit::Ok.into(),
        Err(error) => {
            complain(&error);
            exit_of(&error).into()
        }
    }
}

/// An error that carries its exit code through `anyhow`.
#[derive(Debug, thiserror::Error)]
#[error("{source}")]
pub struct Coded {
    pub exit: Exit,
    source: anyhow::Error,
}

impl Coded {
    /// Wraps `error` so that the process ends with `exit`; one that has a code keeps it.
    pub fn wrap(exit: Exit, error: impl Into<anyhow::Error>) -> anyhow::Error {
        let error = error.into();
        if error.is::<Coded>() {
            return error;
        }
        anyhow::Error::new(Coded {
            exit,
            source: error,
        })
    }
}

/// Prints `dchat: error` with the chain of causes on stderr.
fn complain(error: &anyhow::Error) {
    let _ = writeln!(io::stderr(), "dchat: {}", with_causes(error));
}

/// An error and its causes in one text.
fn with_causes(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        // Wrappers often repeat what they wrap.
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

fn exit_of(error: &anyhow::Error) -> Exit {
    error
        .downcast_ref::<Coded>()
        .map_or(Exit::Failed, |coded| coded.exit)
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
    })
}

/// `K6_*`, among which options are looked for.
pub(crate) fn k6_variables() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
        .filter(|(name, _)| name.starts_with("K6_"))
        .collect()
}

/// Writes one line to stdout at once, so that a program that reads it need not wait.
pub(crate) fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// A runtime for a command that only waits for the network.
pub(crate) fn small_runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

/// `dchat --role relay FLAGS` is `dchat relay FLAGS`. Any other role is left for clap to refuse.
fn with_role_as_command(mut args: Vec<OsString>) -> Vec<OsString> {
    let role = OsString::from("relay");
    if let Some(at) = args.iter().skip(1).position(|a| a == "--role=relay") {
        args.remove(at + 1);
    } else if let Some(at) = args.iter().skip(1).position(|a| a == "--role") {
        if args.get(at + 2) != Some(&role) {
            return args;
        }
        args.drain(at + 1..at + 3);
    } else {
        return args;
    }
    args.insert(1.min(args.len()), role);
    args
}

/// Whether usage errors get k6's code.
fn is_load_command(args: &[OsString]) -> bool {
    args.get(1)
        .and_then(|a| a.to_str())
        .is_some_and(|a| matches!(a, "run" | "new" | "demo" | "inspect" | "archive" | "worker"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<OsString> {
        text.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn role_relay_is_the_relay_command_with_all_its_flags() {
        let expected = words("dchat relay --port 7071");
        assert_eq!(
            with_role_as_command(words("dchat --role relay --port 7071")),
            expected
        );
        assert_eq!(
            with_role_as_command(words("dchat --port 7071 --role=relay")),
            expected
        );
        let other = words("dchat --role cook");
        assert_eq!(with_role_as_command(other.clone()), other);
    }
}
