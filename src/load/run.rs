//! One test run as a sequence of phases.
//!
//! 1. `prepare`: compile the script, consolidate options, bind thresholds. Errors end it here.
//! 2. outputs start; from here on everything ends in an outcome.
//! 3. VUs are initialised, `setup` runs, executors run, `teardown` runs (also after an abort).
//! 4. The end, in an order that tests hold fixed: executors done, channel closed, outputs
//!    flushed, thresholds final, outputs stopped, summary, exit code.
//!
//! Runs on a tokio runtime of at least one thread; VUs have worker threads of their own.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::executor::{self, Crew};
use super::exit::Exit;
use super::js::{Program, ScriptError, ScriptSource, VmSettings};
use super::metrics::{Engine, Registry, SampleBatch, SampleSink, TagSet, builtin};
use super::options::{self, Layer, Options};
use super::output::manager::{CHANNEL_BATCHES_MAX, Manager};
use super::output::{self, Output, RunStart};
use super::state::{AbortReason, RunState};
use super::summary::Summary;
use super::summary::json::{Terminal, handle_summary_data};
use super::threshold::{Evaluator, SetupError};
use super::vu::VuSettings;
use super::vu::pool::VuPool;
use super::{RunFigures, RunOutcome, Thresholds, builtin_scripts, process, schedule, tickers};

/// Everything that a run is given.
pub struct RunConfig {
    /// UUIDv7.
    pub run_id: Arc<str>,
    pub source: ScriptSource,
    /// `__ENV`.
    pub env: BTreeMap<String, String>,
    /// Variables among which `K6_*` options are looked for.
    pub environment: Vec<(String, String)>,
    pub flags: Layer,
    pub outputs: Vec<Box<dyn Output>>,
    pub vm: VmSettings,
    /// Worker threads for VUs.
    pub workers: usize,
    /// Where the load goes as far as it is known before the first request.
    pub target: Option<String>,
    pub terminal: Terminal,
    /// Whether `handleSummary` is called.
    pub summary: SummaryWanted,
    /// Cancelled by the first SIGINT or SIGTERM.
    pub stop: CancellationToken,
    /// Told once when the outputs have started.
    pub begun: Box<dyn FnOnce(Begun) + Send>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SummaryWanted {
    Yes,
    No,
}

/// What a progress display needs to know.
#[derive(Clone, Debug)]
pub struct Begun {
    pub state: Arc<RunState>,
    pub options: Arc<Options>,
    pub vus_max: u32,
    /// Start to end of all scenarios, without and with graceful stops.
    pub regular: Duration,
    pub longest: Duration,
    /// One line for each output.
    pub outputs: Vec<String>,
    pub warnings: Vec<String>,
}

/// Why a run did not begin.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Script(#[from] ScriptError),
    #[error(transparent)]
    Options(#[from] options::Invalid),
    #[error("{}", lines(.0))]
    Thresholds(Vec<SetupError>),
    #[error(transparent)]
    Output(#[from] output::Error),
}

impl Error {
    pub fn exit(&self) -> Exit {
        match self {
            Error::Script(error) => Exit::of_script(error),
            Error::Options(_) | Error::Thresholds(_) => Exit::InvalidConfig,
            Error::Output(_) => Exit::Other,
        }
    }
}

fn lines(errors: &[SetupError]) -> String {
    let texts = errors.iter().map(|error| match error {
        SetupError::Parse { source, .. } => format!("{error}: {source}"),
        SetupError::UnknownMetric { .. } => error.to_string(),
    });
    texts.collect::<Vec<_>>().join("\n")
}

/// Runs a test from start to summary.
///
/// # Errors
/// Everything that is known before the first output has started; later failures are part of the
/// outcome.
pub async fn run(config: RunConfig) -> Result<RunOutcome, Error> {
    let prepared = prepare(&config.source, &config.env, &config).await?;
    let state = Arc::new(RunState::new());
    let start = run_start(&config, &prepared, &state);
    let wires = Wires::new();
    let pool = start_pool(&prepared, &state, &start, &wires, &config)?;
    let descriptions = config.outputs.iter().map(|o| o.describe()).collect();
    let not_begun = RunOutcome::not_begun(&start);
    let manager = match Manager::start(config.outputs, &start, &not_begun).await {
        Ok(manager) => manager,
        Err(error) => {
            pool.stop().await;
            return Err(error.into());
        }
    };
    let (regular, longest) = schedule::longest(&prepared.options.scenarios);
    (config.begun)(Begun {
        state: state.clone(),
        options: prepared.options.clone(),
        vus_max: prepared.vus_max,
        regular,
        longest,
        outputs: descriptions,
        warnings: prepared.warnings.clone(),
    });
    let stop_watch = tickers::abort_on(config.stop, state.clone());
    let mut live = Live::start(prepared, state, start, pool, wires, manager);
    live.run_phases().await;
    stop_watch.abort();
    Ok(live.conclude(config.terminal, config.summary).await)
}

/// What is known once script and options are good.
struct Prepared {
    program: Arc<Program>,
    options: Arc<Options>,
    warnings: Vec<String>,
    registry: Registry,
    engine: Engine,
    evaluator: Evaluator,
    vus_max: u32,
}

async fn prepare(
    source: &ScriptSource,
    env: &BTreeMap<String, String>,
    config: &RunConfig,
) -> Result<Prepared, Error> {
    let registry = Registry::new();
    let (source, env) = (source.clone(), Arc::new(env.clone()));
    let (own_registry, vm) = (registry.clone(), config.vm.clone());
    let loading =
        tokio::task::spawn_blocking(move || Program::load(source, env, &own_registry, &vm));
    let program = loading
        .await
        .map_err(|_| ScriptError::Vm("loading the script panicked".to_owned()))??;
    let consolidated = options::consolidate(
        program.options_json(),
        config.environment.iter().cloned(),
        config.flags.clone(),
        program.exports(),
    )?;
    let mut options = consolidated.options;
    if options.no_thresholds {
        options.thresholds.clear();
    }
    let mut engine = Engine::new(registry.clone());
    let evaluator =
        Evaluator::bind(&options.thresholds, &registry, &mut engine).map_err(Error::Thresholds)?;
    // The one submetric that k6 always has.
    engine.add_submetric(
        builtin::HTTP_REQ_DURATION,
        super::metrics::MetricKind::Trend,
        "expected_response:true",
        vec![("expected_response".to_owned(), "true".to_owned())],
    );
    Ok(Prepared {
        program: Arc::new(program),
        vus_max: schedule::vus_max(&options.scenarios),
        options: Arc::new(options),
        warnings: consolidated.warnings,
        registry,
        engine,
        evaluator,
    })
}

fn run_start(config: &RunConfig, prepared: &Prepared, state: &Arc<RunState>) -> RunStart {
    let name = config.source.path.file_name();
    let name = name.map_or_else(|| "script".into(), |name| name.to_string_lossy());
    let sources = prepared.options.thresholds.iter().map(|(metric, list)| {
        let sources = list.iter().map(|threshold| threshold.source.clone());
        (metric.clone(), sources.collect())
    });
    RunStart {
        run_id: config.run_id.clone(),
        name: name.into(),
        script_text: config.source.text.as_str().into(),
        options_json: prepared.options.to_json().to_string().into(),
        thresholds: sources.collect::<Thresholds>(),
        tags: prepared.options.tags.clone(),
        target: config.target.clone(),
        started_wall: state.started_wall,
        registry: prepared.registry.clone(),
        state: state.clone(),
    }
}

/// A run under way.
struct Live {
    program: Arc<Program>,
    options: Arc<Options>,
    state: Arc<RunState>,
    start: RunStart,
    run_tags: TagSet,
    vus_max: u32,
    pool: Arc<VuPool>,
    engine: Arc<Mutex<Engine>>,
    evaluator: Arc<Evaluator>,
    /// Gone when the channel is to close.
    samples: Option<mpsc::Sender<SampleBatch>>,
    samples_dropped: Arc<AtomicU64>,
    pump: Option<JoinHandle<Manager>>,
    gauges: JoinHandle<()>,
    setup_data: Option<Arc<str>>,
    failure: Option<Failure>,
    /// Whether the script is one that the binary carries.
    builtin: bool,
    cpu_before: Option<Duration>,
}

/// Why the exit code is not 0.
struct Failure {
    exit: Exit,
    text: String,
}

/// The one channel from VUs to outputs.
struct Wires {
    samples: mpsc::Sender<SampleBatch>,
    received: mpsc::Receiver<SampleBatch>,
    dropped: Arc<AtomicU64>,
}

impl Wires {
    fn new() -> Wires {
        let (samples, received) = mpsc::channel(CHANNEL_BATCHES_MAX);
        Wires {
            samples,
            received,
            dropped: Arc::new(AtomicU64::new(0)),
        }
    }
}

fn start_pool(
    prepared: &Prepared,
    state: &Arc<RunState>,
    start: &RunStart,
    wires: &Wires,
    config: &RunConfig,
) -> Result<VuPool, ScriptError> {
    let options = &prepared.options;
    VuPool::start(
        prepared.program.clone(),
        Arc::new(vu_settings(options, &tag_set(options), config.vm.clone())),
        state.clone(),
        SampleSink::new(wires.samples.clone(), wires.dropped.clone()),
        start.options_json.clone(),
        config.workers,
    )
}

/// Tags of the whole run.
fn tag_set(options: &Options) -> TagSet {
    TagSet::new(options.tags.iter().map(|(k, v)| (k.as_str(), v.as_str())))
}

impl Live {
    fn start(
        prepared: Prepared,
        state: Arc<RunState>,
        start: RunStart,
        pool: VuPool,
        wires: Wires,
        manager: Manager,
    ) -> Live {
        let run_tags = tag_set(&prepared.options);
        let engine = Arc::new(Mutex::new(prepared.engine));
        let pump = tokio::spawn(manager.pump(wires.received, engine.clone()));
        let gauges = tickers::gauges(state.clone(), wires.samples.clone(), run_tags.clone());
        Live {
            program: prepared.program,
            options: prepared.options,
            state,
            run_tags,
            vus_max: prepared.vus_max,
            pool: Arc::new(pool),
            engine,
            evaluator: Arc::new(prepared.evaluator),
            samples: Some(wires.samples),
            samples_dropped: wires.dropped,
            pump: Some(pump),
            gauges,
            setup_data: None,
            failure: None,
            builtin: builtin_scripts::contains(&start.script_text),
            start,
            cpu_before: process::cpu_time(),
        }
    }

    async fn run_phases(&mut self) {
        if let Err(error) = self.pool.init(self.vus_max).await {
            return self.script_failed(&error);
        }
        if let Err(error) = self.setup().await {
            return self.script_failed(&error);
        }
        self.execute().await;
        if let Err(error) = self.teardown().await {
            self.script_failed(&error);
        }
    }

    async fn setup(&mut self) -> Result<(), ScriptError> {
        if self.options.no_setup || !self.exports("setup") {
            return Ok(());
        }
        self.setup_data = tokio::select! {
            data = self.pool.call_setup(self.options.setup_timeout) => data?,
            () = self.state.cancelled.cancelled() => {
                return Err(ScriptError::Interrupted { what: "setup" });
            }
        };
        Ok(())
    }

    /// Runs all scenarios; thresholds are watched meanwhile.
    async fn execute(&mut self) {
        let watch = tickers::thresholds(
            self.evaluator.clone(),
            self.engine.clone(),
            self.state.clone(),
        );
        let samples = self.samples.clone();
        let crew = Arc::new(Crew::new(
            self.pool.clone(),
            self.vus_max,
            self.state.clone(),
            samples.expect("the channel closes after the executors"),
        ));
        let origin = Instant::now();
        let mut scenarios = tokio::task::JoinSet::new();
        for scenario in &self.options.scenarios {
            scenarios.spawn(executor::run(
                scenario.clone(),
                crew.clone(),
                origin,
                self.run_tags.clone(),
                self.setup_data.clone(),
            ));
        }
        scenarios.join_all().await;
        watch.abort();
    }

    /// Also after an abort, so that what `setup` made is cleaned up.
    async fn teardown(&mut self) -> Result<(), ScriptError> {
        if self.options.no_teardown || !self.exports("teardown") {
            return Ok(());
        }
        let data = self.setup_data.clone();
        self.pool
            .call_teardown(data, self.options.teardown_timeout)
            .await
    }

    async fn conclude(mut self, terminal: Terminal, wanted: SummaryWanted) -> RunOutcome {
        let duration = self.state.started.elapsed();
        self.pool.drain().await;
        self.gauges.abort();
        // Cancelled or not: what matters is that its end of the channel is gone.
        let _ = (&mut self.gauges).await;
        self.samples = None;
        let pump = self.pump.take().expect("a run is concluded once");
        let manager = pump.await.expect("outputs do not panic");
        let mut outcome = self.outcome(duration, terminal);
        manager.stop(&outcome).await;
        if wanted == SummaryWanted::Yes && self.exports("handleSummary") {
            outcome.custom_summary = self.handle_summary(&outcome.summary_json).await;
        }
        if let Ok(pool) = Arc::try_unwrap(self.pool) {
            pool.stop().await;
        }
        outcome
    }

    /// What the script's own summary says; an exception in it is logged and changes nothing else.
    async fn handle_summary(&self, data: &str) -> Option<Vec<(String, Vec<u8>)>> {
        let limit = self.options.handle_summary_timeout;
        match self.pool.call_handle_summary(data.to_owned(), limit).await {
            Ok(files) => Some(files),
            Err(error) => {
                tracing::error!("handleSummary failed, the default summary follows: {error}");
                None
            }
        }
    }

    fn outcome(&mut self, duration: Duration, terminal: Terminal) -> RunOutcome {
        let engine = self.engine.lock().unwrap_or_else(|e| e.into_inner());
        let verdicts = self.evaluator.finish(&engine, duration);
        let summary = Summary::collect(
            &engine,
            &verdicts,
            duration,
            &self.options.summary_trend_stats,
            self.setup_data.as_deref().map(str::to_owned),
        );
        let figures = self.figures(&engine, duration);
        drop(engine);
        let failure = self.failure.take().or_else(|| self.late_failure(&summary));
        RunOutcome {
            run_id: self.start.run_id.clone(),
            name: self.start.name.clone(),
            started_wall: self.state.started_wall,
            duration,
            summary_json: handle_summary_data(&summary, &self.options, terminal).to_string(),
            summary,
            exit_code: failure.as_ref().map_or(Exit::Ok, |failure| failure.exit) as u8,
            failure: failure.map(|failure| failure.text),
            abort: self.state.abort_reason().cloned(),
            custom_summary: None,
            figures,
        }
    }

    /// Reasons that show only when all is over, in the order in which they came about.
    fn late_failure(&self, summary: &Summary) -> Option<Failure> {
        if let Some(reason) = self.state.abort_reason() {
            return Some(Failure {
                exit: Exit::of_abort(reason),
                text: match reason {
                    AbortReason::Signal => "the run was stopped by a signal".to_owned(),
                    AbortReason::Script(text) => format!("test aborted: {text}"),
                    AbortReason::Threshold => {
                        "thresholds with abortOnFail have been crossed".to_owned()
                    }
                    AbortReason::Failed(text) => text.clone(),
                },
            });
        }
        if let Some(text) = self.state.marked_failed.get() {
            return Some(Failure {
                exit: Exit::MarkedFailed,
                text: format!("the script marked the test as failed: {text}"),
            });
        }
        let crossed: Vec<&str> = summary
            .metrics
            .iter()
            .filter(|metric| metric.thresholds.iter().any(|threshold| !threshold.ok))
            .map(|metric| metric.name.as_str())
            .collect();
        if crossed.is_empty() {
            return None;
        }
        Some(Failure {
            exit: Exit::Thresholds,
            text: format!(
                "thresholds on metrics '{}' have been crossed",
                crossed.join(", ")
            ),
        })
    }

    fn figures(&self, engine: &Engine, duration: Duration) -> RunFigures {
        let percentile = |p: f64| match engine.metric(builtin::HTTP_REQ_DURATION) {
            Some(super::metrics::sink::Sink::Trend(trend)) if !trend.is_empty() => {
                Some(trend.quantile(p))
            }
            _ => None,
        };
        let mut totals =
            engine
                .totals()
                .figures(duration, percentile(0.95), percentile(0.99), None);
        totals.vus_max = totals.vus_max.max(self.vus_max);
        let cpu = process::cpu_time().zip(self.cpu_before);
        let cpu_share = cpu.map(|(now, before)| {
            let used = now.saturating_sub(before).as_secs_f64();
            used / (duration.as_secs_f64().max(1e-3) * process::cores() as f64)
        });
        RunFigures {
            target: self.start.target.clone(),
            iterations_completed: self.state.iterations_completed.load(Ordering::Relaxed),
            iterations_interrupted: self.state.iterations_interrupted.load(Ordering::Relaxed),
            script_exceptions: self.state.script_exceptions.load(Ordering::Relaxed),
            vus_leaked: self.state.vus_leaked.load(Ordering::Relaxed),
            samples_dropped: self.samples_dropped.load(Ordering::Relaxed),
            totals,
            cpu_share,
            memory_bytes_max: process::memory_bytes_max(),
        }
    }

    fn exports(&self, name: &str) -> bool {
        self.program.exports().iter().any(|export| export == name)
    }

    /// Keeps the first failure; an abort that came before it wins (its call was interrupted).
    fn script_failed(&mut self, error: &ScriptError) {
        let interrupted = matches!(
            error,
            ScriptError::Interrupted { .. } | ScriptError::Aborted(_)
        );
        if interrupted && self.state.abort_reason().is_some() {
            return;
        }
        if self.builtin {
            // The script is ours: its text says it all, and its stack would only hide that.
            let text = error.headline();
            tracing::error!("{}", text.strip_prefix("Error: ").unwrap_or(&text));
        } else {
            tracing::error!("{error}");
        }
        if self.failure.is_none() && self.state.abort_reason().is_none() {
            self.failure = Some(Failure {
                exit: Exit::of_script(error),
                text: error.headline(),
            });
        }
        self.state.abort(AbortReason::Failed(error.headline()));
    }
}

impl RunOutcome {
    /// The outcome that outputs are stopped with when another one failed to start.
    fn not_begun(start: &RunStart) -> RunOutcome {
        RunOutcome {
            run_id: start.run_id.clone(),
            name: start.name.clone(),
            started_wall: SystemTime::now(),
            duration: Duration::ZERO,
            summary: Summary::default(),
            summary_json: "{}".to_owned(),
            exit_code: Exit::Other as u8,
            failure: Some("an output could not be started".to_owned()),
            abort: None,
            custom_summary: None,
            figures: RunFigures::default(),
        }
    }
}

fn vu_settings(options: &Options, run_tags: &TagSet, vm: VmSettings) -> VuSettings {
    VuSettings {
        user_agent: options.user_agent.as_str().into(),
        redirects_max: options.max_redirects,
        throw: options.throw,
        discard_response_bodies: options.discard_response_bodies,
        insecure_skip_tls_verify: options.insecure_skip_tls_verify,
        no_connection_reuse: options.no_connection_reuse,
        no_vu_connection_reuse: options.no_vu_connection_reuse,
        no_cookies_reset: options.no_cookies_reset,
        batch_max: options.batch,
        batch_per_host_max: options.batch_per_host,
        min_iteration_duration: options.min_iteration_duration,
        run_tags: run_tags.clone(),
        vm,
    }
}
