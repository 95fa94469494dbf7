//! What is written when a run is over: summary, verdict, exported summary, the reason of failure.

use std::fs;
use std::io::{self, Write};
use std::time::SystemTime;

use anyhow::Context;

use super::flags::{Args, Manner};
use crate::cli::runs::verdict_of;
use crate::load::RunOutcome;
use crate::load::exit::Exit;
use crate::load::summary::json::export;
use crate::load::summary::machine;
use crate::load::summary::text::{Color, Style, extras, render};
use crate::results::verdict;

/// Writes everything; the failure's reason comes last, so that it is seen.
pub(super) fn write(outcome: &RunOutcome, args: &Args, color: Color) -> anyhow::Result<()> {
    if let Some(path) = &args.runtime.summary_export {
        let exported = if args.runtime.new_machine_readable_summary == Some(true) {
            let now = SystemTime::now();
            machine::summary(&outcome.summary, &outcome.name, args.runtime.detail(), now)
        } else {
            export(&outcome.summary)
        };
        let text = serde_json::to_vec_pretty(&exported)?;
        fs::write(path, text)
            .with_context(|| format!("--summary-export {} can't be written", path.display()))?;
    }
    if !args.runtime.summary_off() && began(outcome) {
        match &outcome.custom_summary {
            Some(files) => write_custom(files)?,
            None => write_default(outcome, args, color)?,
        }
    }
    // Failing scripts have been logged with their stack where they failed.
    let logged = [
        Exit::ScriptException,
        Exit::SetupTimeout,
        Exit::TeardownTimeout,
    ];
    if let Some(failure) = &outcome.failure
        && !logged.iter().any(|exit| *exit as u8 == outcome.exit_code)
    {
        tracing::error!("{failure}");
    }
    Ok(())
}

/// Whether there is anything to sum up: a run that failed before its first iteration has nothing.
fn began(outcome: &RunOutcome) -> bool {
    outcome.exit_code != Exit::ScriptException as u8
        || outcome.figures.iterations_completed + outcome.figures.iterations_interrupted > 0
}

fn write_default(outcome: &RunOutcome, args: &Args, color: Color) -> io::Result<()> {
    let style = Style {
        color,
        time_unit: outcome.time_unit,
        detail: args.runtime.detail(),
    };
    let mut text = render(&outcome.summary, style);
    if args.manner == Manner::Dchat {
        text.push_str(&extras(&outcome.summary, style));
    }
    // Without requests there is nothing to judge, and k6 judges nothing.
    if args.manner == Manner::Dchat && outcome.figures.totals.requests > 0 {
        text.push('\n');
        for line in verdict::render_text(&verdict_of(outcome)).lines() {
            text.push_str(&format!("  {line}\n"));
        }
    }
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// The script's own summary: texts for stdout and stderr, and files.
fn write_custom(files: &[(String, Vec<u8>)]) -> anyhow::Result<()> {
    for (target, content) in files {
        match target.as_str() {
            "stdout" => {
                io::stdout().lock().write_all(content)?;
                io::stdout().flush()?;
            }
            "stderr" => io::stderr().lock().write_all(content)?,
            path => {
                // One unwritable file must not swallow the others.
                if let Err(error) = fs::write(path, content) {
                    tracing::error!("handleSummary: {path} can't be written: {error}");
                }
            }
        }
    }
    Ok(())
}
