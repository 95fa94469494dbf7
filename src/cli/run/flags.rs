//! The flags of `dchat run`: k6's, and our own.

use std::path::PathBuf;

use anyhow::Context;

use super::progress::Progress;
use crate::cli::flags::{GlobalFlags, OptionFlags, RuntimeFlags, go_bool};
use crate::config::units;
use crate::load::js::VmSettings;
use crate::load::options::{Layer, TagSources};
use crate::load::output::results::{PROBE_URL, ReportTo};
use crate::load::summary::text::Color;
use crate::load::threshold::baseline;
use crate::load::{Beyond, OnException, OwnMetrics};

/// Run a load test: a k6 script, or the built-in relay stress test
#[derive(Debug, clap::Args)]
#[command(
    args_override_self = true,
    after_help = "Exit codes are k6's: 0 ok, 99 thresholds crossed, 100 and 101 setup and teardown timeout,\n\
    103 stopped by live control, 104 invalid options, 105 stopped by a signal, 106 no REST API,\n\
    107 script exception, 108 exec.test.abort, 110 exec.test.fail, 255 anything else.\n\
    Options come from the configuration file, over it the script, over it K6_* variables, over\n\
    them these flags."
)]
pub struct Args {
    /// Script file, .tar archive, '-' for stdin, or a built-in script: relay_stress_test.js,
    /// relay_users.js [default: relay_stress_test.js]
    #[arg(value_name = "SCRIPT")]
    pub(crate) script: Option<String>,
    #[command(flatten)]
    pub(crate) own: OwnFlags,
    #[command(flatten)]
    pub(crate) options: OptionFlags,
    #[command(flatten)]
    pub(crate) run: RunFlags,
    #[command(flatten)]
    pub(crate) runtime: RuntimeFlags,
    #[command(flatten)]
    pub(crate) global: GlobalFlags,
    #[arg(skip)]
    pub(crate) manner: Manner,
}

/// Whose habits a command has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Manner {
    #[default]
    Dchat,
    /// Called through a link named `k6`: no reporting, no verdict, k6's places of output.
    K6,
}

/// k6's flags that only `run` has.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Outputs and the run's end")]
pub(crate) struct RunFlags {
    /// Write samples to json[=FILE[.gz]]; '-' is stdout; repeatable
    #[arg(short, long, value_name = "NAME[=ARG]")]
    out: Vec<String>,
    /// Keep the REST API after the end, until a signal
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool, value_name = "BOOL")]
    linger: Option<bool>,
    /// Write console lines of the script to a file
    #[arg(long, env = "K6_CONSOLE_OUTPUT", value_name = "FILE")]
    pub(crate) console_output: Option<PathBuf>,
    /// Accepted for k6's sake: dchat sends no usage reports
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool, value_name = "BOOL")]
    no_usage_report: Option<bool>,
    /// k6's experimental behaviours: merge-run-tags; repeatable
    #[arg(long, env = "K6_FEATURES", value_name = "LIST", value_delimiter = ',')]
    features: Vec<String>,
}

/// Flags that k6 does not have.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Beyond k6")]
pub(crate) struct OwnFlags {
    /// Report the run to the dchat at URL, or to 'none' [default: one that answers on loopback:7071]
    #[arg(long, env = "DCHAT_REPORT_TO", value_name = "URL")]
    report_to: Option<String>,
    /// Keep the script's text out of the reported run
    #[arg(long)]
    pub(crate) no_store_script: bool,
    /// End with 107 when an iteration threw an exception (always with the built-in scripts)
    #[arg(long)]
    fail_on_exception: bool,
    /// Run that thresholds such as 'p(95) < 1.1 * baseline' compare with: id, URL or summary file
    #[arg(long, value_name = "RUN")]
    baseline: Option<String>,
    /// Fetch no modules from the net
    #[arg(long)]
    pub(crate) no_remote: bool,
    /// Memory of one VU's script at most, such as 64MiB [default: 256MiB]
    #[arg(long, value_name = "BYTES", value_parser = bytes_flag)]
    vu_memory_max: Option<u64>,
}

impl Args {
    /// The options that flags set.
    ///
    /// # Errors
    /// All flags that are wrong, one line each.
    pub(super) fn layer(&self) -> anyhow::Result<Layer> {
        let layer = self.options.layer();
        let mut layer = layer.map_err(|problems| anyhow::anyhow!(problems.join("\n")))?;
        layer.no_thresholds = self.runtime.no_thresholds();
        layer.linger = self.run.linger;
        Ok(layer)
    }

    /// What `--features`, `K6_FEATURES` or the configuration file switch on.
    ///
    /// # Errors
    /// A feature of k6 that is not here.
    pub(super) fn tag_sources(
        &self,
        file: Option<&serde_json::Map<String, serde_json::Value>>,
    ) -> anyhow::Result<TagSources> {
        let mut names = self.run.features.clone();
        if names.is_empty() {
            let list = file.and_then(|file| file.get("features"));
            let list = list.and_then(|list| list.as_array()).into_iter().flatten();
            names = list
                .filter_map(|name| name.as_str())
                .map(str::to_owned)
                .collect();
        }
        let mut tags = TagSources::Strongest;
        for name in names
            .iter()
            .map(|name| name.trim())
            .filter(|name| !name.is_empty())
        {
            match name {
                "merge-run-tags" => tags = TagSources::Merged,
                "native-histograms" | "freeze-env" => {
                    anyhow::bail!("k6's experimental feature '{name}' is not in this version")
                }
                _ => tracing::warn!("unknown feature '{name}' is ignored"),
            }
        }
        Ok(tags)
    }

    /// `--out`, else `K6_OUT`, else what the configuration file says.
    pub(super) fn out(
        &self,
        file: Option<&serde_json::Map<String, serde_json::Value>>,
    ) -> Vec<String> {
        if !self.run.out.is_empty() {
            return self.run.out.clone();
        }
        if let Ok(list) = std::env::var("K6_OUT")
            && !list.is_empty()
        {
            return list.split(',').map(str::to_owned).collect();
        }
        let list = file
            .and_then(|file| file.get("out"))
            .and_then(|out| out.as_array());
        let texts = list.into_iter().flatten().filter_map(|out| out.as_str());
        texts.map(str::to_owned).collect()
    }

    /// `none`, a URL, or the default: a dchat on loopback, asked once.
    pub(super) fn report_to(&self) -> anyhow::Result<ReportTo> {
        if self.manner == Manner::K6 {
            return Ok(ReportTo::Off);
        }
        Ok(match self.own.report_to.as_deref() {
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

    /// What the run does beyond k6.
    ///
    /// # Errors
    /// A baseline that is neither file, URL nor run.
    pub(super) fn beyond(&self) -> anyhow::Result<Beyond> {
        let baseline = self.own.baseline.as_deref();
        Ok(Beyond {
            baseline: baseline.map(|text| self.baseline(text)).transpose()?,
            on_exception: if self.own.fail_on_exception {
                OnException::Fail
            } else {
                OnException::Count
            },
            own_metrics: match self.manner {
                Manner::Dchat => OwnMetrics::On,
                Manner::K6 => OwnMetrics::Off,
            },
        })
    }

    fn baseline(&self, text: &str) -> anyhow::Result<baseline::Source> {
        let path = PathBuf::from(text);
        if path.exists() {
            return Ok(baseline::Source::File(path));
        }
        let run_id = |text: &str| text.parse::<uuid::Uuid>().is_ok();
        if run_id(text) {
            let base = match self.report_to()? {
                ReportTo::Url(url) => url,
                _ => url::Url::parse(PROBE_URL).expect("a constant"),
            };
            let run_id = text.to_owned();
            return Ok(baseline::Source::Run { base, run_id });
        }
        // The page of a run, `http://relay/?run=ID`, or its place in the runs API.
        let url = url::Url::parse(text).ok();
        let found = url.and_then(|base| {
            let query = base.query_pairs().find(|(name, _)| name == "run");
            let parts = base.path_segments().into_iter().flatten();
            let id = query.map(|(_, id)| id.into_owned());
            let id = id.or_else(|| parts.map(str::to_owned).find(|part| run_id(part)))?;
            Some(baseline::Source::Run { base, run_id: id })
        });
        found.with_context(|| {
            format!("--baseline '{text}' is neither a file, a run's id nor a run's address")
        })
    }

    pub(super) fn vu_memory_max(&self) -> usize {
        self.own
            .vu_memory_max
            .and_then(|bytes| usize::try_from(bytes).ok())
            .unwrap_or(VmSettings::MEMORY_BYTES_DEFAULT)
    }

    /// One worker thread for each core.
    pub(super) fn workers(&self) -> usize {
        std::thread::available_parallelism().map_or(1, usize::from)
    }

    pub(super) fn color(&self) -> Color {
        self.global.color()
    }

    pub(super) fn progress(&self) -> Progress {
        Progress::of(self.manner, self.global.quiet)
    }
}

fn bytes_flag(text: &str) -> Result<u64, String> {
    units::parse_bytes(text)
}
