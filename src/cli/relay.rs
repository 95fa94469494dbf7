//! `dchat relay`: the server until a stop signal.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;

use super::exit::Exit;
use super::{Coded, say};
use crate::config::{self, Config, Flags};
use crate::server::{self, Server};
use crate::shutdown;
use crate::telemetry::{self, LogFormat};

/// Run the relay
#[derive(Debug, Default, clap::Args)]
pub struct Args {
    /// Configuration file; by default ./dchat.toml, the user's or /etc/dchat/dchat.toml
    #[arg(long, env = "DCHAT_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Directory of messages.db and runs.db; by default $STATE_DIRECTORY, an existing ./dchat-data,
    /// or ~/.local/share/dchat
    #[arg(long, env = "DCHAT_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Address to listen on, may be repeated [default: 127.0.0.1 and ::1]
    #[arg(
        long,
        env = "DCHAT_BIND",
        value_name = "ADDRESS",
        value_delimiter = ','
    )]
    pub bind: Vec<IpAddr>,
    /// Port of API, WebSocket, metrics and viewer; 0 takes a free one [default: 7071]
    #[arg(short, long, env = "DCHAT_PORT")]
    pub port: Option<u16>,
    /// Let anyone who can reach the relay act for any user; needed off loopback
    #[arg(long, env = "DCHAT_OPEN", num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    pub open: Option<bool>,
    /// Set a limit, may be repeated; 'dchat config show' lists all with their meaning
    #[arg(long = "limit", value_name = "NAME=VALUE")]
    pub limits: Vec<String>,
    /// Level of log lines, or target=level parts separated by commas [default: info]
    #[arg(long = "log-level", env = "DCHAT_LOG_LEVEL", value_name = "FILTER")]
    pub log_filter: Option<String>,
    /// Form of log lines [default: text]
    #[arg(long, env = "DCHAT_LOG_FORMAT", value_enum)]
    pub log_format: Option<Format>,
    /// Write daily log files into this directory too
    #[arg(long, env = "DCHAT_LOG_DIR", value_name = "DIR")]
    pub log_dir: Option<PathBuf>,
    /// Daily log files kept [default: 14]
    #[arg(long, env = "DCHAT_LOG_KEEP_FILES", value_name = "COUNT")]
    pub log_keep_files: Option<usize>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Format {
    Text,
    Json,
}

impl Args {
    /// Merges these flags with environment, file and defaults.
    ///
    /// # Errors
    /// Exit code 2 with what cannot be used and where it was said.
    pub(crate) fn resolve(self) -> anyhow::Result<Config> {
        let flags = Flags {
            config: self.config,
            data_dir: self.data_dir,
            bind: self.bind,
            port: self.port,
            open: self.open,
            limits: self.limits,
            log_filter: self.log_filter,
            log_format: self.log_format.map(|format| match format {
                Format::Text => LogFormat::Text,
                Format::Json => LogFormat::Json,
            }),
            log_dir: self.log_dir,
            log_keep_files: self.log_keep_files,
        };
        let cwd = std::env::current_dir()?;
        let env = |name: &str| std::env::var(name).ok();
        config::resolve(&flags, &env, &cwd).map_err(|e| Coded::wrap(Exit::Usage, e))
    }
}

/// Serves until SIGTERM or SIGINT has been obeyed, or storage failed.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let config = args.resolve()?;
    // Kept to the end: the last lines of the drain go to the file too.
    let _log = telemetry::start(&config.log).map_err(|e| Coded::wrap(Exit::Refused, e))?;
    let runtime = runtime()?;
    let ended = runtime.block_on(async {
        let stop = shutdown::on_stop_signals()?;
        let server = match Server::bind(config.server) {
            Ok(server) => server,
            Err(error) => return Ok(Err(error)),
        };
        announce(server.local_addrs());
        Ok::<_, io::Error>(server.run(stop).await)
    })?;
    Ok(match ended {
        Ok(_) => Exit::Ok.into(),
        Err(error) => report(&error),
    })
}

/// The runtime of a server process.
pub(crate) fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .thread_name("relay")
        .enable_all()
        .build()
}

/// One line per address, the main one first. A closed stdout must not stop a relay.
pub(crate) fn announce(addresses: &[SocketAddr]) {
    for address in addresses {
        let _ = say(&format!("listening on http://{address}"));
    }
}

/// Prints a server error with its hint; the exit code is the error's own.
pub(crate) fn report(error: &server::Error) -> ExitCode {
    let mut text = format!("dchat: {error}");
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    if let Some(hint) = error.hint() {
        text.push_str("\nhint: ");
        text.push_str(&hint);
    }
    let _ = writeln!(io::stderr(), "{text}");
    ExitCode::from(error.exit_code())
}
