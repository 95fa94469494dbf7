//! `dchat demo`: a relay, a 30-second stress run against it, and the results page.
//!
//! The load runs in a child process of the same binary, as it would on another machine: the relay
//! is measured from outside, and the two do not share an allocator or a runtime.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use tokio::process::Command;

use super::relay::{self, announce, report, runtime};
use super::{Coded, exit::Exit, say};
use crate::config::PORT;
use crate::load;
use crate::server::{self, Server};
use crate::shutdown;
use crate::telemetry;

/// Start a relay, run a 30-second stress test against it, then serve the results page
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Data directory [default: a directory of the demo's own]
    #[arg(long, env = "DCHAT_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Port [default: 7071, or a free one when that is taken]
    #[arg(short, long, env = "DCHAT_PORT")]
    port: Option<u16>,
    /// End after the run, with the run's exit code
    #[arg(long)]
    exit: bool,
    /// Length of the run in seconds
    #[arg(long, default_value_t = 30, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(3..=3600))]
    seconds: u32,
}

/// VUs at the top of the ramp, as in the stress test's own stages.
const VUS: u32 = 100;

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let data_dir = match args.data_dir {
        Some(dir) => dir,
        None => demo_data_dir()?,
    };
    let port = match args.port {
        Some(port) => port,
        None => default_port_or_free(),
    };
    let config = relay::Args {
        data_dir: Some(data_dir),
        port: Some(port),
        // The run's own lines are what a person wants to see here.
        log_filter: Some(std::env::var("DCHAT_LOG_LEVEL").unwrap_or_else(|_| "warn".to_owned())),
        ..relay::Args::default()
    }
    .resolve()?;
    let _log = telemetry::start(&config.log).map_err(|e| Coded::wrap(Exit::Refused, e))?;
    say(&format!(
        "data directory {}",
        config.server.data_dir.display()
    ))?;
    runtime()?.block_on(async {
        let server = match Server::bind(config.server) {
            Ok(server) => server,
            Err(error) => return Ok(report(&error)),
        };
        announce(server.local_addrs());
        let Some(&address) = server.local_addrs().first() else {
            anyhow::bail!("the relay has no address");
        };
        let signal = shutdown::on_stop_signals()?;
        let stop = shutdown::Signal::new();
        let serving = tokio::spawn(server.run(stop.clone()));
        let outcome = tokio::select! {
            code = load(address, args.seconds) => Some(code),
            // The child got the same Ctrl-C and ends by itself; a SIGTERM was for us alone, and
            // dropping the child's handle ends it.
            () = signal.triggered() => None,
        };
        if outcome.is_some() && !args.exit {
            say(&format!(
                "\nresults: http://{address}/   (Ctrl-C ends the demo)"
            ))?;
            signal.triggered().await;
        }
        stop.trigger();
        let ended = serving.await.context("the relay's task ended")?;
        conclude(ended, outcome, args.exit)
    })
}

/// The run's exit code with `--exit`; a relay that failed wins over it.
fn conclude(
    ended: Result<server::Ended, server::Error>,
    outcome: Option<anyhow::Result<u8>>,
    exit: bool,
) -> anyhow::Result<ExitCode> {
    if let Err(error) = ended {
        return Ok(report(&error));
    }
    match outcome {
        Some(Ok(code)) if exit => Ok(ExitCode::from(code)),
        Some(Err(error)) => Err(error),
        // Stopped by a signal before the run was over, as k6 says it.
        None if exit => Ok(ExitCode::from(load::exit::Exit::Signal as u8)),
        Some(Ok(_)) | None => Ok(Exit::Ok.into()),
    }
}

/// Runs the stress test in a child process and returns its exit code.
async fn load(relay: SocketAddr, seconds: u32) -> anyhow::Result<u8> {
    let program = std::env::current_exe().context("this program's own path is unknown")?;
    let url = format!("http://{relay}");
    let target = crate::http_client::Client::new();
    wait_until_ready(&target, &url).await?;
    let ramp = (seconds / 6).max(1);
    let plateau = seconds - 2 * ramp;
    let stage = |length: u32, vus: u32| format!("{length}s:{vus}");
    let status = Command::new(program)
        .arg("run")
        .args(["--stage", &stage(ramp, VUS)])
        .args(["--stage", &stage(plateau, VUS)])
        .args(["--stage", &stage(ramp, 0)])
        .args(["--report-to", &url])
        .args(["--env", &format!("RELAY_URL={url}")])
        .args(["--tag", "from=demo"])
        .arg("relay_stress_test.js")
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .status()
        .await
        .context("the load could not be started")?;
    // Killed by a signal: k6's code for it.
    Ok(status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .unwrap_or(load::exit::Exit::Signal as u8))
}

/// Storage opens beside the listener; the load must not meet 503.
async fn wait_until_ready(client: &crate::http_client::Client, url: &str) -> anyhow::Result<()> {
    let ready = url::Url::parse(&format!("{url}/ready"))?;
    for _ in 0..600 {
        let answer = client
            .request(hyper::Method::GET, &ready, None, Duration::from_secs(5))
            .await;
        if answer.is_ok_and(|a| a.status.is_success()) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    anyhow::bail!("the relay was not ready within 30 s")
}

/// `~/.local/share/dchat-demo`, beside the relay's own default.
fn demo_data_dir() -> anyhow::Result<PathBuf> {
    let base = std::env::var_os("XDG_DATA_HOME")
        .map(PathBuf::from)
        .filter(|dir| dir.is_absolute())
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/share")))
        .context("there is no home directory to keep data in\nhint: name one with --data-dir")?;
    Ok(base.join("dchat-demo"))
}

/// 7071 if nobody listens there, else 0. The answer may be out of date when the relay binds; it
/// then refuses to start with the address in its message.
fn default_port_or_free() -> u16 {
    match TcpListener::bind((IpAddr::V4(Ipv4Addr::LOCALHOST), PORT)) {
        Ok(_) => PORT,
        Err(_) => {
            let _ = say(&format!("port {PORT} is taken; using a free one"));
            0
        }
    }
}
