//! `dchat new`: writes a script to start from.

use std::path::PathBuf;
use std::process::ExitCode;

use super::run::Manner;
use super::{Coded, exit::Exit, say};
use crate::load::builtin_scripts;

/// k6's templates, in our words.
const TEMPLATES: [(&str, &str); 2] = [
    ("minimal", include_str!("templates/minimal.js")),
    ("protocol", include_str!("templates/protocol.js")),
];

/// Write a script to a file, for editing
#[derive(Debug, clap::Args)]
pub struct Args {
    /// File to write
    #[arg(default_value = "script.js", value_name = "FILE")]
    file: PathBuf,
    /// Overwrite the file if it exists
    #[arg(short, long)]
    force: bool,
    /// What to write: minimal, protocol, the name of a built-in script, or a file of yours
    /// [default: relay_stress_test.js; as k6: minimal]
    #[arg(long, value_name = "NAME")]
    template: Option<String>,
    /// Project of Grafana Cloud to name in the script
    #[arg(long, value_name = "ID")]
    project_id: Option<String>,
}

pub(crate) fn run(args: Args, manner: Manner) -> anyhow::Result<ExitCode> {
    let failed = |error: anyhow::Error| Coded::wrap(Exit::LoadUsage, error);
    let default = match manner {
        Manner::Dchat => builtin_scripts::DEFAULT,
        Manner::K6 => "minimal",
    };
    let name = args.template.as_deref().unwrap_or(default);
    let path = args.file.display();
    if args.file.exists() && !args.force {
        return Err(failed(anyhow::anyhow!(
            "{path} already exists\nhint: overwrite it with --force"
        )));
    }
    let text = template(name).map_err(failed)?;
    let text = with_project(&text, args.project_id.as_deref());
    // In one step, so that a full disk leaves no half a script behind an error message.
    std::fs::write(&args.file, text)
        .map_err(|error| failed(anyhow::anyhow!("{path} can't be written: {error}")))?;
    match manner {
        Manner::Dchat => say(&format!("wrote {path}; run it with: dchat run {path}"))?,
        Manner::K6 => say(&format!("New script created: {path} ({name} template)."))?,
    }
    Ok(Exit::Ok.into())
}

fn template(name: &str) -> anyhow::Result<String> {
    if let Some((_, text)) = TEMPLATES.iter().find(|(known, _)| *known == name) {
        return Ok((*text).to_owned());
    }
    if name == "browser" {
        anyhow::bail!("there is no browser here: k6/browser is not part of dchat");
    }
    if let Some(text) = builtin_scripts::text(name) {
        return Ok(text.to_owned());
    }
    let known = TEMPLATES.iter().map(|(name, _)| *name);
    let known: Vec<&str> = known.chain(builtin_scripts::names()).collect();
    std::fs::read_to_string(name).map_err(|error| {
        anyhow::anyhow!(
            "template '{name}' can't be read: {error}\nhint: there are {}, or a path of yours",
            known.join(", ")
        )
    })
}

/// The place of `cloud` options, filled or taken out. Your own templates may have it too.
fn with_project(text: &str, project: Option<&str>) -> String {
    const PLACE: &str = "  // {{cloud}}\n";
    let cloud = project.map(|id| {
        let id = id.replace(['\\', '\''], "");
        format!("  cloud: {{ projectID: '{id}' }},\n")
    });
    text.replace(PLACE, &cloud.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_there_and_the_project_is_filled_in() {
        for name in ["minimal", "protocol", builtin_scripts::DEFAULT] {
            let text = template(name).expect(name);
            assert!(!with_project(&text, None).contains("{{"), "{name}");
        }
        let text = with_project(&template("minimal").expect("there"), Some("12"));
        assert!(text.contains("projectID: '12'"));
    }
}
