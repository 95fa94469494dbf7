//! `dchat send`: one message from the shell, safe to repeat.

use std::io::Read;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::{Value, json};

use super::exit::Exit;
use super::{say, target};
use crate::config::units::parse_duration;

/// Send one message; a 200 means that it is on the relay's disk
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    target: target::Args,
    /// Mailbox that the message is for
    #[arg(long, value_name = "USER", conflicts_with = "channel")]
    to: Option<String>,
    /// Channel that the message is for
    #[arg(long, value_name = "CHANNEL")]
    channel: Option<String>,
    /// Sender; by default the user that runs the command
    #[arg(long, value_name = "USER", env = "DCHAT_USER")]
    from: Option<String>,
    /// Own id and idempotency key; by default a new UUIDv7
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Drop the message when it has waited this long
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    ttl: Option<Duration>,
    /// Repeat the same id until the relay has answered, for this long
    #[arg(long, default_value = "30s", value_name = "TIME", value_parser = parse_duration)]
    timeout: Duration,
    /// Print the relay's answer as JSON
    #[arg(long)]
    json: bool,
    /// Content; '-' or nothing reads standard input
    content: Option<String>,
}

/// First pause between two attempts; doubles up to two seconds.
const PAUSE: Duration = Duration::from_millis(100);

/// Exit 0 when the message is durable, 1 when it was refused or no answer came in time.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let message = message(&args)?;
    let target = args.target.open();
    let answer = super::small_runtime()?.block_on(deliver(&target, &message, args.timeout))?;
    if args.json {
        say(&answer.to_string())?;
    } else {
        let text = |key: &str| answer.get(key).map_or("-".to_owned(), |v| v.to_string());
        let repeated = answer.get("duplicate") == Some(&Value::Bool(true));
        say(&format!(
            "{} sequence {}{}",
            text("message_id").trim_matches('"'),
            text("sequence"),
            if repeated { " (stored before)" } else { "" }
        ))?;
    }
    Ok(Exit::Ok.into())
}

fn message(args: &Args) -> anyhow::Result<Value> {
    let content = match args.content.as_deref() {
        Some(text) if text != "-" => text.to_owned(),
        _ => {
            let mut text = String::new();
            std::io::stdin()
                .read_to_string(&mut text)
                .context("standard input is not UTF-8 text")?;
            text
        }
    };
    let user = || {
        std::env::var("USER")
            .or_else(|_| std::env::var("USERNAME"))
            .ok()
    };
    let sender = args
        .from
        .clone()
        .or_else(user)
        .context("there is no sender\nhint: name one with --from, or set DCHAT_USER")?;
    let id = match &args.id {
        Some(id) => id.clone(),
        // An id of our own makes a repeat after a lost answer harmless.
        None => uuid::Uuid::now_v7().to_string(),
    };
    let mut message = json!({"id": id, "sender": sender, "content": content});
    if let Some(to) = &args.to {
        message["recipient"] = json!(to);
    }
    if let Some(channel) = &args.channel {
        message["channel"] = json!(channel);
    }
    if let Some(ttl) = args.ttl {
        message["ttl_seconds"] = json!(ttl.as_secs());
    }
    Ok(message)
}

/// Posts until the relay has answered for good: 503 and lost connections are tried again.
async fn deliver(
    target: &target::Target,
    message: &Value,
    timeout: Duration,
) -> anyhow::Result<Value> {
    let begun = Instant::now();
    let mut pause = PAUSE;
    loop {
        let failure = match target.post("/api/v1/messages", message).await {
            Ok(answer) if answer.status.is_success() => {
                return Ok(serde_json::from_slice(&answer.body)?);
            }
            Ok(answer) if answer.status.as_u16() == 503 => target::refusal(&answer),
            Ok(answer) => return Err(target::refusal(&answer)),
            Err(error) => target.explain(error),
        };
        if begun.elapsed() + pause >= timeout {
            return Err(failure);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(2));
    }
}
