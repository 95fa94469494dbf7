//! `dchat wait`: until a relay is ready. What CI wants instead of `sleep 10`.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::exit::Exit;
use super::{say, target};
use crate::config::units::parse_duration;

/// Wait until a relay is ready
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    target: target::Args,
    /// Give up after this time
    #[arg(long, default_value = "30s", value_name = "TIME", value_parser = parse_duration)]
    timeout: Duration,
    /// Say nothing when ready
    #[arg(short, long)]
    quiet: bool,
}

/// Pause between two questions; a relay on a quick disk is ready within it.
const PAUSE: Duration = Duration::from_millis(50);

/// Exit 0 as soon as `/ready` answers 200, 1 at the timeout.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (timeout, quiet, url) = (args.timeout, args.quiet, args.target.url.clone());
    let target = args.target.open();
    super::small_runtime()?.block_on(async {
        let begun = Instant::now();
        let mut last = "it was never asked".to_owned();
        while begun.elapsed() < timeout {
            match tokio::time::timeout(timeout - begun.elapsed(), target.get("/ready")).await {
                Ok(Ok(answer)) if answer.status.is_success() => {
                    if !quiet {
                        say(&format!(
                            "{url} is ready after {:.1} s",
                            begun.elapsed().as_secs_f64()
                        ))?;
                    }
                    return Ok(Exit::Ok.into());
                }
                Ok(Ok(answer)) => last = target::refusal(&answer).to_string(),
                Ok(Err(error)) => last = error.to_string(),
                Err(_) => last = "it did not answer".to_owned(),
            }
            tokio::time::sleep(PAUSE).await;
        }
        let seconds = timeout.as_secs_f64();
        anyhow::bail!("{url} was not ready within {seconds} s: {last}")
    })
}
