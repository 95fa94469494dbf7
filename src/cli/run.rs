//! `dchat run`: a k6 script against a target, with k6's flags, summary and exit codes.
//!
//! The summary goes to stdout, everything else to stderr.

mod dashboard;
mod flags;
mod progress;
mod report;

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::sync::Arc;

use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

pub use self::flags::Args;
pub(crate) use self::flags::{Manner, RunFlags};

use self::dashboard::{Dashboard, Wanted};
use self::progress::LiveLine;

use super::exit::Exit;
use super::flags::SystemEnvironment;
use super::{Coded, k6, k6_variables, script};
use crate::load::js::{Remote, ScriptSource, VmSettings};
use crate::load::options::{Layer, TagSources};
use crate::load::output::results::{ReportTo, Reporter, ReporterConfig};
use crate::load::output::{self, Output};
use crate::load::secrets::Secrets;
use crate::load::summary::json::Terminal;
use crate::load::summary::text::Detail;
use crate::load::{self, RunConfig, SummaryShape, SummaryWanted, builtin_scripts, exit};
use crate::telemetry;

/// The output whose argument is not for an output.
const DASHBOARD: &str = "web-dashboard";

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let other = |error: anyhow::Error| Coded::wrap(Exit::LoadUsage, error);
    let line = LiveLine::new(args.progress());
    let log = args.global.log(args.run.console_output.clone());
    let to = line.clone().to(&log.output);
    let _log =
        telemetry::k6::start(&log, move || to.clone()).map_err(|error| other(error.into()))?;
    let mut begin = Begin::new(&args).map_err(other)?;
    begin.source.secrets = secrets(&args, log.redactor).map_err(other)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        // Aggregation and reporting; VUs have threads of their own.
        .worker_threads(1)
        .enable_all()
        .build()?;
    let code = runtime.block_on(drive(args, line, begin))?;
    // A leaked VU or a slow DNS lookup must not hold up the exit.
    runtime.shutdown_background();
    Ok(ExitCode::from(code))
}

/// What flags, environment and files say, read before anything starts.
struct Begin {
    source: ScriptSource,
    options_json: Option<String>,
    env: BTreeMap<String, String>,
    file: Option<Map<String, Value>>,
    flags: Layer,
    tags: TagSources,
    /// Names and arguments of outputs.
    out: Vec<String>,
    outputs: Vec<Box<dyn Output>>,
}

impl Begin {
    fn new(args: &Args) -> anyhow::Result<Begin> {
        let kind = args.runtime.test_type;
        let remote = match args.own.no_remote {
            true => Remote::Forbidden,
            false => Remote::allowed(),
        };
        let mut found = script::find(args.script.as_deref(), kind, args.manner, &remote)?;
        found.source.remote = remote;
        found.source.compatibility = args.runtime.compatibility();
        let mut env = found.env;
        env.extend(args.runtime.environment(SystemEnvironment::Included));
        let flags = args.layer()?;
        let file = args.global.config_file();
        let file = file.map_err(|error| Coded::wrap(Exit::LoadConfig, error))?;
        let out = args.out(file.as_ref());
        let tags = args.tag_sources(file.as_ref())?;
        if args.global.profiling_enabled {
            tracing::warn!("--profiling-enabled: dchat has no pprof addresses");
        }
        let mut file = file;
        if args.manner == Manner::K6 {
            // The weakest source of all: everything else may say otherwise.
            let agent = format!("Grafana k6/{}", k6::VERSION);
            let file = file.get_or_insert_default();
            file.entry("userAgent").or_insert(agent.into());
        }
        Ok(Begin {
            source: found.source,
            options_json: found.options_json,
            env,
            flags,
            tags,
            outputs: outputs(args, &out)?,
            out,
            file,
        })
    }
}

/// What `--secret-source` names; every value that a script gets is kept out of the logs.
fn secrets(args: &Args, redactor: telemetry::Redactor) -> anyhow::Result<Arc<Secrets>> {
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let told = move |secret: &str| redactor.add(secret);
    let secrets = Secrets::new(&args.global.secret_source, &variables, told)?;
    Ok(Arc::new(secrets))
}

async fn drive(args: Args, line: LiveLine, begin: Begin) -> anyhow::Result<u8> {
    let (source, mut outputs) = (begin.source, begin.outputs);
    let stop = CancellationToken::new();
    let signals = tokio::spawn(watch_signals(Signals::listen()?, stop.clone()));
    let (begun, progress) =
        progress::display(args.progress(), line, source.path.display().to_string());
    let color = args.color();
    let run_id: Arc<str> = uuid::Uuid::now_v7().to_string().into();
    let k6_variables = k6_variables();
    let wanted = dashboard_wanted(&begin.out, &k6_variables).map_err(not_started)?;
    let dashboard = match wanted {
        Some(wanted) => Some(
            Dashboard::start(wanted, &run_id)
                .await
                .map_err(not_started)?,
        ),
        None => None,
    };
    if let Some(dashboard) = &dashboard {
        outputs.push(reporter(&args, ReportTo::Dashboard(dashboard.url()))?);
    }
    let config = RunConfig {
        run_id: run_id.clone(),
        target: target(&source, &begin.env),
        source,
        options_json: begin.options_json,
        environment: k6_variables,
        env: begin.env,
        file: begin.file,
        flags: begin.flags,
        tags: begin.tags,
        outputs,
        vm: VmSettings {
            memory_bytes_max: args.vu_memory_max(),
            ..VmSettings::default()
        },
        workers: args.workers(),
        terminal: Terminal {
            stdout: io::stdout().is_terminal(),
            stderr: io::stderr().is_terminal(),
            no_color: color == load::summary::text::Color::Off,
        },
        summary: if args.runtime.summary_off() {
            SummaryWanted::No
        } else {
            match args.runtime.detail() {
                Detail::Compact => SummaryWanted::Compact,
                Detail::Full => SummaryWanted::Full,
            }
        },
        summary_shape: if args.runtime.new_machine_readable_summary == Some(true) {
            SummaryShape::MachineReadable
        } else {
            SummaryShape::Usual
        },
        beyond: args.beyond().map_err(not_started)?,
        address: args.global.address.clone(),
        stop,
        begun,
    };
    let result = load::run(config).await;
    progress.finish().await;
    if let Some(dashboard) = dashboard
        && let Err(error) = dashboard.finish(&run_id).await
    {
        tracing::error!("{error:#}");
    }
    signals.abort();
    match result {
        Ok(outcome) => {
            let Err(error) = report::write(&outcome, &args, color) else {
                return Ok(outcome.exit_code);
            };
            // Whoever closes our stdout early still gets the run's own exit code.
            if super::is_broken_pipe(&error) {
                return Ok(outcome.exit_code);
            }
            tracing::error!("{error:#}");
            Ok(match outcome.exit_code {
                0 => exit::Exit::Other as u8,
                code => code,
            })
        }
        Err(error) => {
            let code = error.exit();
            if code == exit::Exit::Signal {
                return Ok(code as u8);
            }
            tracing::error!("{error}");
            Ok(code as u8)
        }
    }
}

/// Where the load goes as far as that is known beforehand, without credentials.
fn target(source: &ScriptSource, env: &BTreeMap<String, String>) -> Option<String> {
    let builtin = builtin_scripts::contains(&source.text);
    let text = match env.get("RELAY_URL") {
        Some(url) => url.as_str(),
        None if builtin => builtin_scripts::TARGET_DEFAULT,
        None => return None,
    };
    let mut url = url::Url::parse(text).ok()?;
    let _ = url.set_username("");
    let _ = url.set_password(None);
    Some(url.to_string())
}

fn outputs(args: &Args, out: &[String]) -> anyhow::Result<Vec<Box<dyn Output>>> {
    let mut outputs: Vec<Box<dyn Output>> = Vec::new();
    let variables = std::env::vars_os();
    let settings = output::Settings::new(
        variables.filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))),
    );
    for text in out
        .iter()
        .filter(|text| text.split('=').next() != Some(DASHBOARD))
    {
        outputs.push(output::kinds::make(text, &settings)?);
    }
    let report_to = args.report_to()?;
    if report_to != ReportTo::Off {
        outputs.push(reporter(args, report_to)?);
    }
    Ok(outputs)
}

fn reporter(args: &Args, report_to: ReportTo) -> anyhow::Result<Box<dyn Output>> {
    Ok(Box::new(Reporter::new(ReporterConfig {
        report_to,
        store_script: !args.own.no_store_script,
        directory: std::env::current_dir()?,
    })))
}

fn dashboard_wanted(
    out: &[String],
    k6_variables: &[(String, String)],
) -> anyhow::Result<Option<Wanted>> {
    let out = out.iter().find_map(|text| match text.split_once('=') {
        Some((DASHBOARD, argument)) => Some(Some(argument)),
        None if text == DASHBOARD => Some(None),
        _ => None,
    });
    Wanted::read(k6_variables, out)
}

fn not_started(error: anyhow::Error) -> anyhow::Error {
    Coded::wrap(Exit::LoadUsage, error)
}

/// The signals that stop a run.
struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    fn listen() -> io::Result<Signals> {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            Ok(Signals {
                interrupt: signal(SignalKind::interrupt())?,
                terminate: signal(SignalKind::terminate())?,
            })
        }
        #[cfg(not(unix))]
        Ok(Signals {})
    }

    async fn next(&mut self) {
        #[cfg(unix)]
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
        #[cfg(not(unix))]
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// The first signal ends the run in order, the second one at once.
async fn watch_signals(mut signals: Signals, stop: CancellationToken) {
    signals.next().await;
    tracing::warn!(
        "stopping: running iterations are interrupted, teardown runs; a second signal exits at once"
    );
    stop.cancel();
    signals.next().await;
    std::process::exit(exit::Exit::Signal as i32);
}
