//! `dchat tail`: the messages of a mailbox or channel as they arrive.
//!
//! Reads server-sent events and comes back with its cursor after every lost connection, with
//! growing pauses and jitter, so that nothing is skipped and a restarted relay is not stormed.

use std::process::ExitCode;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::exit::Exit;
use super::{say, target};
use crate::http_client::Stream;

/// Print messages as they arrive
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("feed").required(true).args(["user", "channel"])))]
pub struct Args {
    #[command(flatten)]
    target: target::Args,
    /// Mailbox to read
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Channel to read
    #[arg(long, value_name = "CHANNEL")]
    channel: Option<String>,
    /// Begin behind this sequence; 0 is from the start, missing is from now
    #[arg(long, value_name = "SEQUENCE")]
    after: Option<u64>,
    /// Acknowledge each message once it is printed
    #[arg(long, requires = "user")]
    ack: bool,
    /// End after this many messages
    #[arg(short = 'n', long, value_name = "COUNT")]
    count: Option<u64>,
    /// Print each stored message as JSON
    #[arg(long)]
    json: bool,
}

const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(15);
/// Heartbeats come every 15 s; a connection that is silent for longer is dead.
const SILENCE_MAX: Duration = Duration::from_secs(45);

/// Runs until Ctrl-C, or until `--count` messages were printed.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let feed = match (&args.user, &args.channel) {
        (Some(user), _) => format!("user={}", encoded(user)),
        (None, channel) => format!(
            "channel={}",
            encoded(channel.as_deref().unwrap_or_default())
        ),
    };
    let mut reader = Reader {
        cursor: args.after.map(|n| n.to_string()),
        left: args.count,
        user: args.user.filter(|_| args.ack),
        json: args.json,
        feed,
    };
    let target = args.target.open();
    super::small_runtime()?.block_on(async {
        tokio::select! {
            result = reader.follow(&target) => result,
            _ = tokio::signal::ctrl_c() => Ok(()),
        }
    })?;
    Ok(Exit::Ok.into())
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

struct Reader {
    /// Sequence read so far; `None` until the relay has named one.
    cursor: Option<String>,
    left: Option<u64>,
    /// The mailbox to acknowledge for, with `--ack`.
    user: Option<String>,
    json: bool,
    feed: String,
}

impl Reader {
    async fn follow(&mut self, target: &target::Target) -> anyhow::Result<()> {
        let mut pause = PAUSE_MIN;
        let mut connected = false;
        while self.left != Some(0) {
            let mut path = format!("/api/v1/stream?{}", self.feed);
            if let Some(cursor) = &self.cursor {
                path.push_str("&after=");
                path.push_str(cursor);
            }
            let url = target.at(&path)?;
            match target.client.stream(&url, target::ANSWER_MAX).await {
                Ok(stream) if stream.status.is_success() => {
                    connected = true;
                    pause = PAUSE_MIN;
                    self.read(stream, target).await?;
                }
                Ok(stream) if stream.status.as_u16() != 503 => {
                    let answer = target.get(&path).await?;
                    return Err(target::refusal(&answer));
                }
                Ok(_) => {}
                // A wrong address shows at once; a relay that was there will come back.
                Err(error) if !connected => return Err(target.explain(error)),
                Err(_) => {}
            }
            if self.left != Some(0) {
                tokio::time::sleep(jittered(pause)).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
        Ok(())
    }

    /// Prints events until the connection ends or falls silent.
    async fn read(&mut self, mut stream: Stream, target: &target::Target) -> anyhow::Result<()> {
        let mut buffer = Vec::new();
        while let Ok(Some(bytes)) = tokio::time::timeout(SILENCE_MAX, stream.next()).await {
            buffer.extend_from_slice(&bytes);
            while let Some(end) = buffer.windows(2).position(|pair| pair == b"\n\n") {
                let event: Vec<u8> = buffer.drain(..end + 2).collect();
                self.event(&String::from_utf8_lossy(&event), target).await?;
                if self.left == Some(0) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    async fn event(&mut self, event: &str, target: &target::Target) -> anyhow::Result<()> {
        let field = |name: &str| {
            event
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
                .map(str::trim_start)
        };
        if let Some(message) = field("data") {
            let message: Value = serde_json::from_str(message)?;
            say(&if self.json {
                message.to_string()
            } else {
                line(&message)
            })?;
            if let (Some(user), Some(id)) = (&self.user, message.get("message_id")) {
                // A lost acknowledgement leaves the message queued: the promise is at least once.
                let ack = json!({"user": user, "ids": [id]});
                target
                    .post("/api/v1/messages/ack", &ack)
                    .await
                    .map_err(|error| target.explain(error))?;
            }
            self.left = self.left.map(|n| n - 1);
        }
        if let Some(id) = field("id") {
            self.cursor = Some(id.to_owned());
        }
        Ok(())
    }
}

/// `sequence  sender: content`, control characters made harmless for the terminal.
fn line(message: &Value) -> String {
    let text = |key: &str| message.get(key).and_then(Value::as_str).unwrap_or("-");
    let content: String = text("content")
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let sequence = message
        .get("sequence")
        .map_or("-".to_owned(), Value::to_string);
    format!("{sequence}  {}: {content}", text("sender"))
}

/// Between half and all of `pause`, by the clock's low bits: clients that were cut off together
/// must not come back together.
fn jittered(pause: Duration) -> Duration {
    let now = std::time::SystemTime::now();
    let noise = now
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |d| d.subsec_micros() % 1_000);
    pause / 2 + pause / 2 * noise / 1_000
}
