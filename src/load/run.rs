//! One test run as a sequence of phases.
//!
//! 1. `prepare`: compile the script, consolidate options, bind thresholds. Errors end it here.
//! 2. outputs start; from here on everything ends in an outcome.
//! 3. VUs are initialised, `setup` runs, executors run, `teardown` runs (also after an abort).
//! 4. The end, in an order that tests hold fixed: executors done, channel closed, outputs
//!    flushed, thresholds final, outputs stopped, summary, exit code.
//!
//! Runs on a tokio runtime of at least one thread; VUs have worker threads of their own.

pub mod beyond;
mod end;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::beyond::{Beyond, OnException};
use super::control::Stage;
use super::control::server::{self, Server, Surface};
use super::executor::{self, Crew};
use super::exit::Exit;
use super::js::{Program, ScriptError, ScriptSource, VmSettings};
use super::metrics::{Engine, Registry, SampleBatch, SampleSink, TagSet, builtin};
use super::options::{self, Layer, Options, Scenario};
use super::output::manager::{CHANNEL_BATCHES_MAX, Manager};
use super::output::{self, Output, RunStart};
use super::request_rate::RequestRate;
use super::schedule::Demand;
use super::schedule::segment::Stripe;
use super::schedule::share::{self, Share};
use super::state::{AbortReason, RunState};
use super::summary::json::Terminal;
use super::threshold::baseline;
use super::threshold::{Evaluator, SetupError};
use super::vu::VuSettings;
use super::vu::pool::VuPool;
use super::{RunOutcome, Thresholds, builtin_scripts, process, schedule, tickers};

/// Everything that a run is given.
pub struct RunConfig {
    /// UUIDv7.
    pub run_id: Arc<str>,
    pub source: ScriptSource,
    /// Takes the place of the options that the script exports: an archive has its own.
    pub options_json: Option<String>,
    /// `__ENV`.
    pub env: BTreeMap<String, String>,
    /// Variables among which `K6_*` options are looked for.
    pub environment: Vec<(String, String)>,
    /// The JSON configuration file.
    pub file: Option<serde_json::Map<String, serde_json::Value>>,
    pub flags: Layer,
    /// Whether tags of all sources count, or the strongest's alone.
    pub tags: options::TagSources,
    pub outputs: Vec<Box<dyn Output>>,
    pub vm: VmSettings,
    /// Worker threads for VUs.
    pub workers: usize,
    /// Where the load goes as far as it is known before the first request.
    pub target: Option<String>,
    pub terminal: Terminal,
    /// Whether `handleSummary` is called.
    pub summary: SummaryWanted,
    pub beyond: Beyond,
    /// Where the REST API listens, if anywhere.
    pub address: Option<String>,
    pub summary_shape: SummaryShape,
    /// Cancelled by the first SIGINT or SIGTERM.
    pub stop: CancellationToken,
    /// Told once when the outputs have started.
    pub begun: Box<dyn FnOnce(Begun) + Send>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SummaryWanted {
    No,
    Compact,
    /// With the blocks of groups and scenarios.
    Full,
}

/// What `handleSummary` is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SummaryShape {
    Usual,
    /// `--new-machine-readable-summary`.
    MachineReadable,
}

/// What a progress display needs to know.
#[derive(Clone, Debug)]
pub struct Begun {
    pub state: Arc<RunState>,
    pub options: Arc<Options>,
    /// What this instance does of each scenario; one that it has no part of is left out.
    pub scenarios: Vec<Scenario>,
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
    #[error(transparent)]
    Baseline(#[from] baseline::Error),
    #[error(transparent)]
    Address(#[from] server::Error),
}

impl Error {
    pub fn exit(&self) -> Exit {
        match self {
            Error::Script(error) => Exit::of_script(error),
            Error::Options(_) | Error::Thresholds(_) => Exit::InvalidConfig,
            Error::Output(_) | Error::Baseline(_) => Exit::Other,
            Error::Address(_) => Exit::Address,
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
    let server = match &config.address {
        Some(address) => Some(Server::bind(address).await?),
        None => None,
    };
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
        scenarios: prepared
            .shares
            .iter()
            .map(|share| share.scenario.clone())
            .collect(),
        vus_max: prepared.demand.possible,
        regular,
        longest,
        outputs: descriptions,
        warnings: prepared.warnings.clone(),
    });
    let stop_watch = tickers::abort_on(config.stop, state.clone());
    let linger = prepared.options.linger;
    let mut live = Live::start(prepared, state.clone(), start, pool, wires, manager);
    if config.beyond.on_exception == OnException::Fail {
        live.on_exception = OnException::Fail;
    }
    let api = server.map(|server| tokio::spawn(server.serve(live.surface())));
    live.run_phases().await;
    let wanted = (config.summary, config.summary_shape);
    let outcome = live.conclude(config.terminal, wanted).await;
    if linger && !state.cancelled.is_cancelled() {
        tracing::info!("the test is done, but --linger is on: waiting for Ctrl-C");
        state.cancelled.cancelled().await;
    }
    stop_watch.abort();
    if let Some(api) = api {
        api.abort();
    }
    Ok(outcome)
}

/// What is known once script and options are good.
struct Prepared {
    program: Arc<Program>,
    options: Arc<Options>,
    warnings: Vec<String>,
    registry: Registry,
    engine: Engine,
    evaluator: Evaluator,
    /// What this instance does of each scenario.
    shares: Vec<Share>,
    demand: Demand,
    /// Our VUs among all of the test's.
    vus: Stripe,
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
    let sources = options::Sources {
        file: config.file.as_ref(),
        script: config.options_json.as_deref().or(program.options_json()),
        environment: config.environment.clone(),
        flags: config.flags.clone(),
        tags: config.tags,
    };
    let consolidated = options::consolidate(sources, program.exports())?;
    let mut options = consolidated.options;
    if options.no_thresholds {
        options.thresholds.clear();
    }
    let mut warnings = consolidated.warnings;
    let baseline = config.beyond.baseline.as_ref();
    beyond::resolve(&mut options.thresholds, baseline, &mut warnings).await?;
    let stripe = share::stripe(&options).map_err(|text| options::Invalid(vec![text]))?;
    let shares = share::shares(&options.scenarios, &stripe);
    let mut engine = Engine::new(registry.clone());
    if config.summary == SummaryWanted::Full {
        engine.keep_blocks();
    }
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
        demand: schedule::demand(&shares),
        vus: stripe,
        shares,
        options: Arc::new(options),
        warnings,
        registry,
        engine,
        evaluator,
    })
}

fn run_start(config: &RunConfig, prepared: &Prepared, state: &Arc<RunState>) -> RunStart {
    let name = config.source.path.file_name();
    let name = name.map_or_else(|| "script".into(), |name| name.to_string_lossy());
    let sources = prepared.options.thresholds.iter().map(|(metric, list)| {
        let sources = list.iter().map(|threshold| threshold.name());
        (metric.clone(), sources.collect())
    });
    RunStart {
        run_id: config.run_id.clone(),
        name: name.into(),
        script_text: config.source.text.as_str().into(),
        options_json: prepared.options.to_json().to_string().into(),
        thresholds: sources.collect::<Thresholds>(),
        tags: prepared.options.tags.clone(),
        system_tags: prepared.options.system_tags.names().into(),
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
    shares: Vec<Share>,
    demand: Demand,
    pool: Arc<VuPool>,
    engine: Arc<Mutex<Engine>>,
    evaluator: Arc<Evaluator>,
    /// Gone when the channel is to close.
    samples: Option<mpsc::Sender<SampleBatch>>,
    samples_dropped: Arc<AtomicU64>,
    pump: Option<JoinHandle<Manager>>,
    /// Closes the channel of samples where a hanging worker keeps its end.
    closing: CancellationToken,
    gauges: JoinHandle<()>,
    failure: Option<Failure>,
    /// Whether the script is one that the binary carries.
    builtin: bool,
    cpu_before: Option<Duration>,
    on_exception: OnException,
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
        Arc::new(vu_settings(prepared, &tag_set(options), config)),
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
        if prepared.options.paused {
            state.control.start_paused();
        }
        let engine = Arc::new(Mutex::new(prepared.engine));
        let closing = CancellationToken::new();
        let pumping = manager.pump(wires.received, engine.clone(), closing.clone());
        let pump = tokio::spawn(pumping);
        let gauges = tickers::gauges(state.clone(), wires.samples.clone(), run_tags.clone());
        Live {
            program: prepared.program,
            options: prepared.options,
            state,
            run_tags,
            shares: prepared.shares,
            demand: prepared.demand,
            pool: Arc::new(pool),
            engine,
            evaluator: Arc::new(prepared.evaluator),
            samples: Some(wires.samples),
            samples_dropped: wires.dropped,
            pump: Some(pump),
            closing,
            gauges,
            failure: None,
            on_exception: match builtin_scripts::contains(&start.script_text) {
                true => OnException::Fail,
                false => OnException::Count,
            },
            builtin: builtin_scripts::contains(&start.script_text),
            start,
            cpu_before: process::cpu_time(),
        }
    }

    /// What the REST API shows of this run.
    fn surface(&self) -> Surface {
        Surface {
            state: self.state.clone(),
            engine: self.engine.clone(),
            options: self.options.clone(),
            pool: Arc::downgrade(&self.pool),
            has_setup: self.exports("setup"),
            has_teardown: self.exports("teardown"),
        }
    }

    async fn run_phases(&mut self) {
        let state = self.state.clone();
        let enter = |stage| state.control.enter(stage);
        enter(Stage::InitVus);
        if let Err(error) = self.pool.init(self.demand.planned).await {
            return self.script_failed(&error);
        }
        enter(Stage::InitDone);
        if state.control.is_paused() {
            enter(Stage::PausedBeforeRun);
            tokio::select! {
                () = state.control.resumed() => {}
                () = state.cancelled.cancelled() => return,
            }
        }
        enter(Stage::Setup);
        if let Err(error) = self.setup().await {
            return self.script_failed(&error);
        }
        enter(Stage::Running);
        self.execute().await;
        enter(Stage::Teardown);
        if let Err(error) = self.teardown().await {
            self.script_failed(&error);
        }
    }

    async fn setup(&mut self) -> Result<(), ScriptError> {
        if self.options.no_setup || !self.exports("setup") {
            return Ok(());
        }
        let data = tokio::select! {
            data = self.pool.call_setup(self.options.setup_timeout) => data?,
            () = self.state.cancelled.cancelled() => {
                return Err(ScriptError::Interrupted { what: "setup" });
            }
        };
        self.state.control.set_setup_data(data);
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
            self.demand.planned,
            self.state.clone(),
            samples.expect("the channel closes after the executors"),
        ));
        let origin = Instant::now();
        let mut scenarios = tokio::task::JoinSet::new();
        for share in &self.shares {
            scenarios.spawn(executor::run(
                share.clone(),
                crew.clone(),
                origin,
                self.run_tags.clone(),
                self.state.control.setup_data(),
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
        let data = self.state.control.setup_data();
        self.pool
            .call_teardown(data, self.options.teardown_timeout)
            .await
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

fn vu_settings(prepared: &Prepared, run_tags: &TagSet, config: &RunConfig) -> VuSettings {
    let options = &prepared.options;
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
        network: options.network.clone(),
        vus: prepared.vus.clone(),
        vu_teardown_timeout: options.teardown_timeout,
        request_rate: options.rps.map(|rps| Arc::new(RequestRate::new(rps))),
        own_metrics: config.beyond.own_metrics,
        system_tags: options.system_tags,
        run_tags: run_tags.clone(),
        vm: config.vm.clone(),
    }
}
