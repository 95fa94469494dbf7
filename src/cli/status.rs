//! `dchat status`: what a running relay says about itself, for people or as JSON.

use std::fmt::Write;
use std::process::ExitCode;

use serde_json::Value;

use super::exit::Exit;
use super::{say, target};

/// Show what a running relay says about itself
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    target: target::Args,
    /// The relay's own JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let target = args.target.open();
    let answer = super::small_runtime()?.block_on(target.get("/api/v1/status"))?;
    if !answer.status.is_success() {
        return Err(target::refusal(&answer));
    }
    let status: Value = serde_json::from_slice(&answer.body)?;
    if args.json {
        say(&serde_json::to_string_pretty(&status)?)?;
    } else {
        say(render(&status).trim_end())?;
    }
    Ok(Exit::Ok.into())
}

/// Scalars first, then one block per object, names aligned. It knows no field by name, so that a
/// newer relay's figures show too.
fn render(status: &Value) -> String {
    let mut out = String::new();
    let mut blocks = Vec::new();
    block(&mut out, "", status, &mut blocks);
    let mut next = 0;
    while next < blocks.len() {
        let (name, value) = blocks[next];
        // Writing to a String cannot fail.
        let _ = writeln!(out, "\n{name}");
        block(&mut out, "  ", value, &mut blocks);
        next += 1;
    }
    out
}

fn block<'v>(
    out: &mut String,
    indent: &str,
    value: &'v Value,
    blocks: &mut Vec<(&'v str, &'v Value)>,
) {
    let Value::Object(fields) = value else {
        return;
    };
    let scalar = |v: &Value| !v.is_object();
    let width = fields
        .iter()
        .filter(|(_, v)| scalar(v))
        .map(|(name, _)| name.len())
        .max()
        .unwrap_or(0);
    for (name, value) in fields {
        if scalar(value) {
            let _ = writeln!(out, "{indent}{name:width$}  {}", plain(name, value));
        } else {
            blocks.push((name, value));
        }
    }
}

/// A value as people read it: sizes and times get their unit.
fn plain(name: &str, value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        Value::Array(items) => items
            .iter()
            .map(|item| plain("", item))
            .collect::<Vec<_>>()
            .join(", "),
        Value::Number(number) => {
            let bytes = name.ends_with("_bytes") || name.contains("_bytes_");
            match number.as_u64() {
                Some(n) if bytes && n >= 10_240 => format!("{n} ({})", approximate(n)),
                _ => number.to_string(),
            }
        }
        other => other.to_string(),
    }
}

fn approximate(bytes: u64) -> String {
    let mut size = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if size < 1024.0 {
            return format!("{size:.1} {unit}");
        }
        size /= 1024.0;
    }
    format!("{size:.1} TiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_come_first_and_objects_become_blocks() {
        let status = serde_json::json!({
            "version": "1", "limits": {"x_bytes": 65536, "deep": {"y": null}}, "role": "relay"
        });
        let expected =
            "version  1\nrole     relay\n\nlimits\n  x_bytes  65536 (64.0 KiB)\n\ndeep\n  y  -\n";
        assert_eq!(render(&status), expected);
    }
}
