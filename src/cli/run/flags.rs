//! The flags of `dchat run`, which are k6's as far as they are there.

use std::io::{self, IsTerminal};
use std::path::PathBuf;

use anyhow::Context;
use clap::{ArgAction, ValueEnum};

use super::progress::Progress;
use crate::config::units;
use crate::load::js::VmSettings;
use crate::load::options::{Layer, Stage, TimeUnit, duration, parse_stage, parse_stat};
use crate::load::output::results::ReportTo;
use crate::load::summary::text::{Color, Detail};
use crate::load::threshold::Aggregation;
use crate::telemetry::LogFormat;

/// Run a load test: a k6 script, or the built-in relay stress test
#[derive(Debug, clap::Args)]
#[command(
    args_override_self = true,
    after_help = "Exit codes are k6's: 0 ok, 99 thresholds crossed, 100 and 101 setup and teardown timeout,\n\
    104 invalid options, 105 stopped by a signal, 107 script exception, 108 exec.test.abort,\n\
    110 exec.test.fail, 255 anything else.\n\
    Options come from the script, over them K6_* variables, over them these flags."
)]
pub struct Args {
    /// Script file, '-' for stdin, or a built-in script: relay_stress_test.js, relay_users.js
    /// [default: relay_stress_test.js]
    #[arg(value_name = "SCRIPT")]
    pub script: Option<String>,
    /// Number of virtual users
    #[arg(short = 'u', long, value_name = "N")]
    vus: Option<u32>,
    /// Length of the run, such as 30s or 1m30s
    #[arg(short, long, value_name = "TIME", value_parser = duration_flag)]
    duration: Option<std::time::Duration>,
    /// Iterations in all, shared by the VUs
    #[arg(short, long, value_name = "N")]
    iterations: Option<u64>,
    /// A ramp TIME:VUS, such as 30s:10; repeat it, or separate several by commas
    #[arg(short, long = "stage", value_name = "TIME:VUS", value_parser = stage_flag, value_delimiter = ',')]
    stages: Vec<Stage>,
    /// A variable KEY=VALUE for the script's __ENV; repeatable
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = pair_flag)]
    pub env: Vec<(String, String)>,
    /// Give the script the system's environment too
    #[arg(long, env = "K6_INCLUDE_SYSTEM_ENV_VARS", default_value_t = true, action = ArgAction::Set, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub include_system_env_vars: bool,
    /// Write samples to json[=FILE[.gz]]; '-' is stdout; repeatable
    #[arg(short, long, env = "K6_OUT", value_name = "NAME[=ARG]")]
    pub out: Vec<String>,
    /// A tag KEY=VALUE of every sample; repeatable; replaces the script's options.tags
    #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = pair_flag)]
    tags: Vec<(String, String)>,
    /// Report the run to the dchat at URL, or to 'none' [default: one that answers on loopback:7071]
    #[arg(long, env = "DCHAT_REPORT_TO", value_name = "URL")]
    report_to: Option<String>,
    /// Keep the script's text out of the reported run
    #[arg(long)]
    pub no_store_script: bool,
    /// Don't show progress
    #[arg(short, long)]
    quiet: bool,
    /// Log more
    #[arg(short, long)]
    verbose: bool,
    /// How log lines look
    #[arg(long, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    log_format: Format,
    /// No colours
    #[arg(long, env = "K6_NO_COLOR", value_parser = clap::builder::FalseyValueParser::new())]
    no_color: bool,
    /// Ignore the script's thresholds
    #[arg(long)]
    no_thresholds: bool,
    /// Don't run setup()
    #[arg(long)]
    no_setup: bool,
    /// Don't run teardown()
    #[arg(long)]
    no_teardown: bool,
    /// Write the end-of-test summary as JSON to a file
    #[arg(long, env = "K6_SUMMARY_EXPORT", value_name = "FILE")]
    pub summary_export: Option<PathBuf>,
    /// What the end-of-test summary shows
    #[arg(long, env = "K6_SUMMARY_MODE", value_enum, default_value_t = Mode::Compact, value_name = "MODE")]
    summary_mode: Mode,
    /// Figures of trends in the summary: avg, min, med, max, count, p(N)
    #[arg(long, value_name = "LIST", value_parser = stat_flag, value_delimiter = ',')]
    summary_trend_stats: Vec<(String, Aggregation)>,
    /// Unit of times in the summary: s, ms or us
    #[arg(long, value_name = "UNIT", value_parser = ["s", "ms", "us"])]
    summary_time_unit: Option<String>,
    /// Redirects that a request follows at most
    #[arg(long, value_name = "N")]
    max_redirects: Option<u32>,
    /// User-Agent of requests
    #[arg(long, value_name = "TEXT")]
    user_agent: Option<String>,
    /// Failed requests throw in the script
    #[arg(short = 'w', long)]
    throw: bool,
    /// Don't keep response bodies
    #[arg(long)]
    discard_response_bodies: bool,
    /// Accept any TLS certificate
    #[arg(long)]
    insecure_skip_tls_verify: bool,
    /// A new connection for every request
    #[arg(long)]
    no_connection_reuse: bool,
    /// New connections for every iteration
    #[arg(long)]
    no_vu_connection_reuse: bool,
    /// Requests of one http.batch() in parallel
    #[arg(long, value_name = "N")]
    batch: Option<usize>,
    /// Of these, to one host
    #[arg(long, value_name = "N")]
    batch_per_host: Option<usize>,
    /// Shortest iteration; shorter ones wait
    #[arg(long, value_name = "TIME", value_parser = duration_flag)]
    min_iteration_duration: Option<std::time::Duration>,
    /// Memory of one VU's script at most, such as 64MiB [default: 256MiB]
    #[arg(long, value_name = "BYTES", value_parser = bytes_flag)]
    vu_memory_max: Option<u64>,
}

/// k6's log formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    Compact,
    /// With the phases of requests and the durations of groups
    Full,
    Disabled,
}

impl Args {
    /// The options that flags set.
    pub(super) fn layer(&self) -> Layer {
        let set = |flag: bool| flag.then_some(true);
        Layer {
            vus: self.vus,
            duration: self.duration,
            iterations: self.iterations,
            stages: some_unless_empty(&self.stages),
            tags: (!self.tags.is_empty()).then(|| self.tags.iter().cloned().collect()),
            no_setup: set(self.no_setup),
            no_teardown: set(self.no_teardown),
            no_thresholds: set(self.no_thresholds),
            max_redirects: self.max_redirects,
            user_agent: self.user_agent.clone(),
            throw: set(self.throw),
            discard_response_bodies: set(self.discard_response_bodies),
            insecure_skip_tls_verify: set(self.insecure_skip_tls_verify),
            no_connection_reuse: set(self.no_connection_reuse),
            no_vu_connection_reuse: set(self.no_vu_connection_reuse),
            batch: self.batch,
            batch_per_host: self.batch_per_host,
            min_iteration_duration: self.min_iteration_duration,
            summary_trend_stats: some_unless_empty(&self.summary_trend_stats),
            summary_time_unit: self.summary_time_unit.clone(),
            ..Layer::default()
        }
    }

    /// `none`, a URL, or the default: a dchat on loopback, asked once.
    pub(super) fn report_to(&self) -> anyhow::Result<ReportTo> {
        Ok(match self.report_to.as_deref() {
            None | Some("") => ReportTo::Probe,
            Some("none") => ReportTo::Off,
            Some(text) => {
                let url = url::Url::parse(text)
                    .with_context(|| format!("--report-to '{text}' is no URL"))?;
                anyhow::ensure!(
                    matches!(url.scheme(), "http" | "https"),
                    "--report-to '{text}' is no http or https URL"
                );
                ReportTo::Url(url)
            }
        })
    }

    pub(super) fn vu_memory_max(&self) -> usize {
        self.vu_memory_max
            .and_then(|bytes| usize::try_from(bytes).ok())
            .unwrap_or(VmSettings::MEMORY_BYTES_DEFAULT)
    }

    /// One worker thread for each core.
    pub(super) fn workers(&self) -> usize {
        std::thread::available_parallelism().map_or(1, usize::from)
    }

    pub(super) fn log_filter(&self) -> &'static str {
        if self.verbose {
            "info,dchat=debug,console=debug"
        } else {
            // The server behind a dashboard is no news to the user of a run.
            "info,dchat::server=warn,dchat::shutdown=warn"
        }
    }

    pub(super) fn log_format(&self) -> LogFormat {
        match self.log_format {
            Format::Text => LogFormat::Logfmt,
            Format::Json => LogFormat::Json,
        }
    }

    pub(super) fn color(&self) -> Color {
        let wanted = !self.no_color && std::env::var_os("NO_COLOR").is_none();
        if wanted && io::stdout().is_terminal() {
            Color::Ansi
        } else {
            Color::Off
        }
    }

    pub(super) fn progress(&self) -> Progress {
        if self.quiet {
            Progress::Off
        } else if io::stderr().is_terminal() {
            Progress::Line
        } else {
            Progress::Plain
        }
    }

    pub(super) fn summary_off(&self) -> bool {
        self.summary_mode == Mode::Disabled
    }

    pub(super) fn detail(&self) -> Detail {
        match self.summary_mode {
            Mode::Full => Detail::Full,
            Mode::Compact | Mode::Disabled => Detail::Compact,
        }
    }

    pub(super) fn time_unit(&self) -> Option<TimeUnit> {
        self.summary_time_unit.as_deref().and_then(TimeUnit::parse)
    }
}

fn some_unless_empty<T: Clone>(list: &[T]) -> Option<Vec<T>> {
    (!list.is_empty()).then(|| list.to_vec())
}

fn duration_flag(text: &str) -> Result<std::time::Duration, String> {
    duration::parse(text).ok_or_else(|| "not a duration such as 30s or 1m30s".to_owned())
}

fn stage_flag(text: &str) -> Result<Stage, String> {
    parse_stage(text).ok_or_else(|| "not a ramp such as 30s:10".to_owned())
}

fn stat_flag(text: &str) -> Result<(String, Aggregation), String> {
    parse_stat(text)
        .ok_or_else(|| "not one of avg, min, med, max, count, p(0) to p(100)".to_owned())
}

fn bytes_flag(text: &str) -> Result<u64, String> {
    units::parse_bytes(text)
}

fn pair_flag(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        // `-e NAME` passes the system's own variable, as in k6.
        None if !text.is_empty() => Ok((text.to_owned(), std::env::var(text).unwrap_or_default())),
        _ => Err("not KEY=VALUE".to_owned()),
    }
}
