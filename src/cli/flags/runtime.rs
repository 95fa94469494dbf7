//! k6's flags about how a script is loaded and summed up; `run`, `archive` and `inspect` take them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::ValueEnum;

use super::go_bool;
use crate::load::js::Compatibility;
use crate::load::summary::text::Detail;

#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Script and summary")]
pub(crate) struct RuntimeFlags {
    /// A variable KEY=VALUE for the script's __ENV; repeatable
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = variable)]
    pub(crate) env: Vec<(String, String)>,
    /// Give the script the system's environment too [default: true for run, else false]
    #[arg(long, env = "K6_INCLUDE_SYSTEM_ENV_VARS", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool, value_name = "BOOL")]
    include_system_env_vars: Option<bool>,
    /// 'base' has no 'global' beside globalThis
    #[arg(long, env = "K6_COMPATIBILITY_MODE", value_enum, default_value_t = CompatibilityMode::Extended, value_name = "MODE")]
    compatibility_mode: CompatibilityMode,
    /// What the script file is [default: seen from its content]
    #[arg(
        short = 't',
        long = "type",
        env = "K6_TYPE",
        value_enum,
        value_name = "TYPE"
    )]
    pub(crate) test_type: Option<TestType>,
    /// Ignore the script's thresholds
    #[arg(long, env = "K6_NO_THRESHOLDS", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool, value_name = "BOOL")]
    no_thresholds: Option<bool>,
    /// What the end-of-test summary shows
    #[arg(long, env = "K6_SUMMARY_MODE", value_enum, default_value_t = Mode::Compact, value_name = "MODE")]
    pub(crate) summary_mode: Mode,
    /// Write the end-of-test summary as JSON to a file
    #[arg(long, env = "K6_SUMMARY_EXPORT", value_name = "FILE")]
    pub(crate) summary_export: Option<PathBuf>,
    /// Give --summary-export and handleSummary() k6's newer shape
    #[arg(long, env = "K6_NEW_MACHINE_READABLE_SUMMARY", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool, value_name = "BOOL")]
    pub(crate) new_machine_readable_summary: Option<bool>,
    /// Only 'none': dchat writes no traces of its own
    #[arg(long, env = "K6_TRACES_OUTPUT", default_value = "none", value_parser = ["none"], value_name = "WHERE")]
    traces_output: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TestType {
    Js,
    Archive,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum CompatibilityMode {
    Base,
    Extended,
    /// The older name for 'extended' with types stripped.
    #[value(hide = true)]
    ExperimentalEnhanced,
}

/// How much the summary shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    Compact,
    /// With the phases of requests and the durations of groups
    Full,
    Disabled,
}

/// Whether the system's environment is a script's by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SystemEnvironment {
    Included,
    Left,
}

impl RuntimeFlags {
    pub(crate) fn compatibility(&self) -> Compatibility {
        match self.compatibility_mode {
            CompatibilityMode::Base => Compatibility::Base,
            CompatibilityMode::Extended | CompatibilityMode::ExperimentalEnhanced => {
                Compatibility::Extended
            }
        }
    }

    /// `__ENV`: the system's variables where they are wanted, and `-e` over them.
    pub(crate) fn environment(&self, by_default: SystemEnvironment) -> BTreeMap<String, String> {
        let wanted = self
            .include_system_env_vars
            .unwrap_or(by_default == SystemEnvironment::Included);
        let mut env = BTreeMap::new();
        if wanted {
            env.extend(
                std::env::vars_os()
                    .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))),
            );
        }
        env.extend(self.env.iter().cloned());
        env
    }

    pub(crate) fn no_thresholds(&self) -> Option<bool> {
        self.no_thresholds
    }

    pub(crate) fn summary_off(&self) -> bool {
        self.summary_mode == Mode::Disabled
    }

    pub(crate) fn detail(&self) -> Detail {
        match self.summary_mode {
            Mode::Full => Detail::Full,
            Mode::Compact | Mode::Disabled => Detail::Compact,
        }
    }
}

/// `KEY=VALUE`; a key alone is an empty value, as in k6.
fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    let letters = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    let mut bytes = name.bytes();
    let valid =
        bytes.next().is_some_and(letters) && bytes.all(|b| letters(b) || b.is_ascii_digit());
    if valid {
        Ok((name.to_owned(), value.to_owned()))
    } else {
        Err(format!("invalid environment variable name '{name}'"))
    }
}
