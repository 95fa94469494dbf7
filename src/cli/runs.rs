//! `dchat runs`: what a relay has stored about load-test runs, and bringing in a run's file.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use serde_json::Value;
use url::Url;
use url::form_urlencoded::byte_serialize;

use super::exit::Exit;
use super::{say, target};
use crate::http_client::Payload;
use crate::load::RunOutcome;
use crate::results::verdict::{Figures, Verdict, judge};

/// Lines of one import call together, in bytes: well below the relay's limit of 8 MiB.
const IMPORT_BYTES: usize = 4 * 1024 * 1024;

/// Stored load-test runs
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show the stored runs, newest first
    List(ListArgs),
    /// Show one run with its verdict, thresholds and checks
    Show(ShowArgs),
    /// Bring in what a run could not deliver (dchat-run-ID.ndjson); repeats are harmless
    Import(ImportArgs),
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    #[command(flatten)]
    target: target::Args,
    /// Runs to show at most
    #[arg(short = 'n', long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=500))]
    limit: u16,
    /// Only runs with this in their name, script, target or id
    #[arg(short, long, value_name = "TEXT")]
    query: Option<String>,
    /// Only runs with this tag
    #[arg(long, value_name = "NAME[=VALUE]")]
    tag: Option<String>,
    /// The relay's own JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct ShowArgs {
    #[command(flatten)]
    target: target::Args,
    /// Id of the run, or 'latest'
    #[arg(value_name = "ID")]
    run: String,
    /// The relay's own JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct ImportArgs {
    #[command(flatten)]
    target: target::Args,
    /// Files to bring in
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let runtime = super::small_runtime()?;
    match args.command {
        Command::List(args) => runtime.block_on(list(args))?,
        Command::Show(args) => runtime.block_on(show(args))?,
        Command::Import(args) => runtime.block_on(import(args))?,
    }
    Ok(Exit::Ok.into())
}

/// The verdict of a run that has just ended, from the same totals that its reporter sends.
pub(crate) fn verdict_of(outcome: &RunOutcome) -> Verdict {
    let totals = &outcome.figures.totals;
    judge(&Figures {
        requests: totals.requests,
        failed: totals.failed,
        p95_ms: totals.p95_ms,
        p99_ms: totals.p99_ms,
        request_seconds: totals.request_seconds,
        iterations: totals.iterations,
        iteration_seconds: totals.iteration_seconds,
        vus_max: totals.vus_max,
        duration_seconds: totals.duration_seconds,
        messages: totals.messages,
        best_per_second: totals.best_per_second,
        offered_iterations_per_second: totals.offered_iterations_per_second,
    })
}

async fn list(args: ListArgs) -> anyhow::Result<()> {
    let mut path = format!("/api/v1/runs?limit={}", args.limit);
    for (name, value) in [("q", &args.query), ("tag", &args.tag)] {
        if let Some(value) = value {
            let value: String = byte_serialize(value.as_bytes()).collect();
            let _ = write!(path, "&{name}={value}");
        }
    }
    let page = get(&args.target.open(), &path).await?;
    if args.json {
        say(&serde_json::to_string_pretty(&page)?)?;
        return Ok(());
    }
    let runs = page["runs"].as_array().map_or(&[][..], Vec::as_slice);
    if runs.is_empty() {
        say("no runs")?;
        return Ok(());
    }
    say(&format!(
        "{:<36}  {:<20}  {:<8}  {:<8}  {:>4}  NAME",
        "RUN", "STARTED (UTC)", "STATE", "VERDICT", "EXIT"
    ))?;
    for run in runs {
        say(&format!(
            "{:<36}  {:<20}  {:<8}  {:<8}  {:>4}  {}",
            text(&run["run_id"]),
            time(&run["started_at"]),
            text(&run["state"]),
            text(&run["verdict"]),
            text(&run["exit_code"]),
            printable(&text(&run["name"])),
        ))?;
    }
    if page["has_more"] == Value::Bool(true) {
        say("… more; see --limit and --query")?;
    }
    Ok(())
}

async fn show(args: ShowArgs) -> anyhow::Result<()> {
    let page_base = args.target.url.clone();
    let target = args.target.open();
    let run_id = if args.run == "latest" {
        let page = get(&target, "/api/v1/runs?limit=1").await?;
        let id = page["runs"][0]["run_id"].as_str();
        id.context("no run is stored there")?.to_owned()
    } else {
        byte_serialize(args.run.as_bytes()).collect()
    };
    let run = get(&target, &format!("/api/v1/runs/{run_id}")).await?;
    if args.json {
        say(&serde_json::to_string_pretty(&run)?)?;
    } else {
        say(render(&run, &page_base).trim_end())?;
    }
    Ok(())
}

async fn import(args: ImportArgs) -> anyhow::Result<()> {
    let target = args.target.open();
    for file in &args.files {
        let mut total = Imported::default();
        let mut lines = BufReader::new(
            std::fs::File::open(file)
                .with_context(|| format!("{} cannot be opened", file.display()))?,
        );
        loop {
            let chunk = next_lines(&mut lines)
                .with_context(|| format!("{} cannot be read", file.display()))?;
            if chunk.is_empty() {
                break;
            }
            total.add(&send(&target, file, chunk).await?);
        }
        say(&format!(
            "{}: {} batches, {} points, {} known before; run {}",
            file.display(),
            total.batches,
            total.points,
            total.duplicates,
            total.runs.join(", "),
        ))?;
    }
    Ok(())
}

#[derive(Default)]
struct Imported {
    runs: Vec<String>,
    batches: u64,
    points: u64,
    duplicates: u64,
}

impl Imported {
    fn add(&mut self, answer: &Value) {
        let number = |key: &str| answer[key].as_u64().unwrap_or(0);
        self.batches += number("batches");
        self.points += number("points");
        self.duplicates += number("duplicates");
        for run in answer["runs"].as_array().into_iter().flatten() {
            let run = text(run);
            if !self.runs.contains(&run) {
                self.runs.push(run);
            }
        }
    }
}

/// Whole lines, about [`IMPORT_BYTES`] of them; empty at the end.
fn next_lines(lines: &mut impl BufRead) -> std::io::Result<Vec<u8>> {
    let mut chunk = Vec::new();
    while chunk.len() < IMPORT_BYTES {
        if lines.read_until(b'\n', &mut chunk)? == 0 {
            break;
        }
    }
    Ok(chunk)
}

async fn send(target: &target::Target, file: &Path, lines: Vec<u8>) -> anyhow::Result<Value> {
    let payload = Payload {
        bytes: lines.into(),
        content_type: "application/x-ndjson",
    };
    let url = target.at("/api/v1/runs/import")?;
    let answer = target
        .client
        .request(hyper::Method::POST, &url, Some(payload), target::ANSWER_MAX)
        .await
        .map_err(|error| target.explain(error))?;
    if !answer.status.is_success() {
        let refused = format!("{} was refused", file.display());
        return Err(target::refusal(&answer).context(refused));
    }
    Ok(serde_json::from_slice(&answer.body)?)
}

async fn get(target: &target::Target, path: &str) -> anyhow::Result<Value> {
    let answer = target.get(path).await?;
    if !answer.status.is_success() {
        return Err(target::refusal(&answer));
    }
    Ok(serde_json::from_slice(&answer.body)?)
}

fn render(run: &Value, base: &Url) -> String {
    let mut out = String::new();
    let mut line = |name: &str, value: String| {
        if value != "-" {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{name:<10}  {}", printable(&value));
        }
    };
    line("run", text(&run["run_id"]));
    line("name", text(&run["name"]));
    line("state", text(&run["state"]));
    line("started", time(&run["started_at"]));
    line("finished", time(&run["finished_at"]));
    line("exit code", text(&run["exit_code"]));
    line("reason", text(&run["abort"]));
    line("failure", text(&run["failure"]));
    line("target", text(&run["target"]));
    line("tags", pairs(&run["tags"]));
    let id = text(&run["run_id"]);
    if let Ok(page) = base.join(&format!("/?run={id}")) {
        line("page", page.to_string());
    }
    let _ = write!(out, "\n{}", text(&run["judgement"]["text"]));
    let thresholds = run["threshold_verdicts"].as_array();
    if let Some(thresholds) = thresholds.filter(|list| !list.is_empty()) {
        out.push_str("\nthresholds\n");
        for threshold in thresholds {
            let mark = mark(threshold["ok"] == Value::Bool(true));
            let (metric, source) = (text(&threshold["metric"]), text(&threshold["source"]));
            let _ = writeln!(
                out,
                "  {mark} {}  {}",
                printable(&metric),
                printable(&source)
            );
        }
    }
    let checks = run["checks"].as_array();
    if let Some(checks) = checks.filter(|list| !list.is_empty()) {
        out.push_str("\nchecks\n");
        for check in checks {
            let passes = check["passes"].as_u64().unwrap_or(0);
            let fails = check["fails"].as_u64().unwrap_or(0);
            let (mark, name) = (mark(fails == 0), text(&check["name"]));
            let all = passes + fails;
            let _ = writeln!(out, "  {mark} {}  {passes} of {all}", printable(&name));
        }
    }
    out
}

fn mark(ok: bool) -> char {
    if ok { '✓' } else { '✗' }
}

/// Names come from scripts: what could steer the terminal is shown, not obeyed.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn pairs(tags: &Value) -> String {
    let pairs: Vec<String> = tags
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| format!("{name}={}", text(value)))
        .collect();
    if pairs.is_empty() {
        "-".to_owned()
    } else {
        pairs.join(" ")
    }
}

/// Unix milliseconds as `2026-01-31 13:45:07Z`.
fn time(value: &Value) -> String {
    let Some(milliseconds) = value.as_i64() else {
        return "-".to_owned();
    };
    let (days, second) = (
        milliseconds.div_euclid(86_400_000),
        milliseconds.rem_euclid(86_400_000) / 1_000,
    );
    // Days to a civil date: H. Hinnant, "chrono-compatible low-level date algorithms".
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_utc() {
        assert_eq!(time(&0.into()), "1970-01-01 00:00:00Z");
        assert_eq!(time(&1_709_210_096_000_i64.into()), "2024-02-29 12:34:56Z");
        assert_eq!(time(&Value::Null), "-");
    }

    #[test]
    fn chunks_end_at_lines() {
        let long = vec![b'x'; IMPORT_BYTES];
        let mut file = long.clone();
        file.extend_from_slice(b"\nsecond\n");
        let mut reader = std::io::Cursor::new(file);
        let first = next_lines(&mut reader).expect("memory reads");
        assert_eq!(first.len(), IMPORT_BYTES + 1);
        assert_eq!(next_lines(&mut reader).expect("memory reads"), b"second\n");
        assert!(next_lines(&mut reader).expect("memory reads").is_empty());
    }

    #[test]
    fn control_characters_never_reach_the_terminal() {
        let run = serde_json::json!({"name": "\u{1b}[31mred", "judgement": {"text": ""}});
        let base = Url::parse("http://127.0.0.1:7071").expect("an address");
        let shown = render(&run, &base);
        assert!(!shown.contains('\u{1b}'), "{shown:?}");
    }
}
