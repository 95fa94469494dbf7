//! `dchat config`: the effective configuration, and a check of a file before it is used.

use std::path::PathBuf;
use std::process::ExitCode;

use super::exit::Exit;
use super::{Coded, relay, say};
use crate::config::{self, show};

/// Show or check the relay's configuration
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Print the effective configuration, commented; it is the reference of all keys
    Show(Box<relay::Args>),
    /// Check a configuration file; exit 0 or 2
    Check {
        #[arg(value_name = "FILE", default_value = "dchat.toml")]
        file: PathBuf,
    },
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::Show(args) => {
            let config = args.resolve()?;
            say(show::render(&config).trim_end())?;
        }
        Command::Check { file } => {
            let flags = config::Flags {
                config: Some(file.clone()),
                ..config::Flags::default()
            };
            let cwd = std::env::current_dir()?;
            // Only the file is under test: variables of this shell must not hide its mistakes.
            let home = |name: &str| match name {
                "HOME" => std::env::var(name).ok(),
                _ => None,
            };
            config::resolve(&flags, &home, &cwd).map_err(|e| Coded::wrap(Exit::Usage, e))?;
            say(&format!("{} is valid", file.display()))?;
        }
    }
    Ok(Exit::Ok.into())
}
