//! The reporter: an output that sends a run's per-second aggregates to a dchat's runs API.
//!
//! `add` only adds to the current second (`aggregate`), so that it never holds up the load; one
//! task takes out what is complete twice a second and delivers it (`delivery`). Where the
//! results go is decided once, in `start`: an explicit address, or a dchat that answers on
//! loopback port 7071; never the target merely because it is the target. A relay that is lost
//! during the run costs nothing but a file (`dchat-run-ID.ndjson`) for `dchat runs import`.
//! Neither changes the run's exit code. Never sent: values of `-e`, credentials in URLs, and with
//! `--no-store-script` the script's text. Answers may bring orders of live control, which the run
//! follows where it can.

mod aggregate;
mod bodies;
mod delivery;
mod names;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use hyper::Method;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use url::Url;

use self::aggregate::Aggregate;
use self::bodies::{
    FinishBody, ReportBody, bytes_of, finish_body, registration, without_credentials,
};
pub(crate) use self::names::Names;

use self::delivery::{Delivery, Failure, now_ms};
use super::{Error, Output, OutputFuture, RunStart};
use crate::http_client::Client;
use crate::load::RunOutcome;
use crate::load::metrics::SampleBatch;
use crate::load::state::RunState;

/// Where a dchat is looked for when nobody says where results go.
pub const PROBE_URL: &str = "http://127.0.0.1:7071";
/// Loopback answers in a millisecond, or there is nobody.
const PROBE_TIMEOUT: Duration = Duration::from_millis(500);
/// Time that the start of a run waits for its registration.
const REGISTER_TIMEOUT: Duration = Duration::from_secs(2);
/// How often complete seconds are looked for.
const TICK: Duration = Duration::from_millis(500);
/// A second is complete when it has been over for this long: samples arrive every 50 ms.
const LATE_MS: i64 = 300;
/// A run that has nothing to say sends an empty batch after this, long before it counts as lost.
const ALIVE_EVERY: Duration = Duration::from_secs(20);
/// Time that the end of a run waits for a relay that took everything so far, and for one that
/// did not answer last.
const END_WAIT: Duration = Duration::from_secs(10);
const END_WAIT_LOST: Duration = Duration::from_secs(3);
/// Pause between attempts at the end.
const END_RETRY: Duration = Duration::from_millis(250);

/// Where a run is reported to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReportTo {
    /// Nowhere: no probe, no file.
    Off,
    /// A dchat that answers on loopback port 7071, asked once; without one nowhere.
    Probe,
    /// This one; what it doesn't take goes into a file.
    Url(Url),
    /// A server that lives as long as this run: whoever started it says where its page is.
    Dashboard(Url),
}

#[derive(Clone, Debug)]
pub struct ReporterConfig {
    pub report_to: ReportTo,
    /// Whether the script's text is stored with the run (`--no-store-script`).
    pub store_script: bool,
    /// Where `dchat-run-ID.ndjson` goes when something could not be delivered.
    pub directory: PathBuf,
}

/// See the module's header.
#[derive(Debug)]
pub struct Reporter {
    config: ReporterConfig,
    active: Option<Active>,
}

#[derive(Debug)]
struct Active {
    base: Url,
    started_ms: i64,
    aggregate: Arc<Mutex<Aggregate>>,
    offset_ms: i64,
    end: Option<oneshot::Sender<End>>,
    task: Option<JoinHandle<()>>,
}

/// What the task needs to end a run; `finish` is the body of that call without times.
/// What the log hears of the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    All,
    Failures,
}

#[derive(Debug)]
struct End {
    finish: FinishBody,
}

impl Reporter {
    pub fn new(config: ReporterConfig) -> Reporter {
        Reporter {
            config,
            active: None,
        }
    }

    fn is_dashboard(&self) -> bool {
        matches!(self.config.report_to, ReportTo::Dashboard(_))
    }

    async fn begin(&mut self, run: &RunStart) {
        let (base, explicit) = match &self.config.report_to {
            ReportTo::Off => return,
            ReportTo::Url(url) | ReportTo::Dashboard(url) => (url.clone(), true),
            ReportTo::Probe => match probe().await {
                Some(url) => (url, false),
                None => {
                    tracing::info!(
                        "no dchat on {PROBE_URL}: this run is not stored (start 'dchat relay', or name one with --report-to)"
                    );
                    return;
                }
            },
        };
        let register = registration(run, self.config.store_script);
        let started_ms = register.started_at;
        let mut delivery = Delivery::new(base.clone(), register, &self.config.directory);
        match delivery.register(REGISTER_TIMEOUT).await {
            Ok(()) if self.is_dashboard() => {}
            Ok(()) => tracing::info!("results: {}", delivery.page()),
            Err(Failure::Later(reason)) if explicit => {
                tracing::warn!(
                    reason,
                    "the results relay does not answer; results are kept until it does"
                );
            }
            Err(failure) => {
                tracing::warn!(reason = %failure, "results are not stored: {} takes no runs", without_credentials(&base));
                return;
            }
        }
        let aggregate = Aggregate::new(run.registry.clone(), run.tags.clone());
        let aggregate = Arc::new(Mutex::new(aggregate));
        let (end, ended) = oneshot::channel();
        let offset_ms = delivery.offset_ms();
        let said = if self.is_dashboard() {
            Said::Failures
        } else {
            Said::All
        };
        let state = run.state.clone();
        let task = tokio::spawn(work(delivery, aggregate.clone(), ended, said, state));
        self.active = Some(Active {
            base,
            started_ms,
            aggregate,
            offset_ms,
            end: Some(end),
            task: Some(task),
        });
    }
}

impl Output for Reporter {
    fn describe(&self) -> String {
        match (&self.active, &self.config.report_to) {
            (_, ReportTo::Dashboard(url)) => format!("web dashboard ({url})"),
            (Some(active), _) => format!("results ({})", without_credentials(&active.base)),
            (None, ReportTo::Url(url)) => format!("results ({})", without_credentials(url)),
            (None, _) => "results (none)".to_owned(),
        }
    }

    fn start<'a>(&'a mut self, run: &'a RunStart) -> OutputFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            self.begin(run).await;
            Ok(())
        })
    }

    fn add(&mut self, batch: &Arc<SampleBatch>) {
        let Some(active) = &self.active else { return };
        let origin_ms = active.started_ms + active.offset_ms;
        let mut aggregate = lock(&active.aggregate);
        for container in batch.iter() {
            let at_ms = origin_ms + container.at.as_millis() as i64;
            aggregate.add(at_ms.div_euclid(1_000), container);
        }
    }

    fn stop<'a>(&'a mut self, outcome: &'a RunOutcome) -> OutputFuture<'a, ()> {
        Box::pin(async move {
            let Some(active) = &mut self.active else {
                return;
            };
            let (Some(end), Some(task)) = (active.end.take(), active.task.take()) else {
                return;
            };
            let finish = finish_body(outcome);
            // The task ends only after this, so that it is there to receive.
            let _ = end.send(End { finish });
            if task.await.is_err() {
                tracing::error!("the reporter failed; the end of this run is not stored");
            }
        })
    }
}

/// Delivers complete seconds until the run ends, then everything.
async fn work(
    mut delivery: Delivery,
    aggregate: Arc<Mutex<Aggregate>>,
    mut ended: oneshot::Receiver<End>,
    said: Said,
    state: Arc<RunState>,
) {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut said_lost = !delivery.is_registered();
    let mut last_push = Instant::now();
    let end = loop {
        tokio::select! {
            end = &mut ended => break end,
            _ = tick.tick() => {}
        }
        let complete = (now_ms() + delivery.offset_ms() - LATE_MS).div_euclid(1_000);
        let points = lock(&aggregate).take_before(complete);
        if !points.is_empty() || last_push.elapsed() >= ALIVE_EVERY {
            delivery.push(&points).await;
            last_push = Instant::now();
        }
        if !delivery.has_pending() {
            continue;
        }
        // Dropping the delivery half way is safe: what was not answered is sent again.
        let delivered = tokio::select! {
            end = &mut ended => break end,
            delivered = delivery.deliver() => delivered,
        };
        say_changes(&delivered, &mut said_lost);
        for order in delivery.take_orders() {
            if let Err(error) = state.obey(order, None) {
                tracing::warn!("live control: {error}");
            }
        }
    };
    // A run that failed before its end was known leaves its samples behind as they are.
    let Ok(end) = end else { return };
    let (rest, folded) = {
        let mut aggregate = lock(&aggregate);
        (aggregate.take_before(i64::MAX), aggregate.folded())
    };
    if !rest.is_empty() {
        delivery.push(&rest).await;
    }
    conclude(&mut delivery, end, folded, said_lost, said).await;
}

/// Delivers the rest and the end of the run; what can't be delivered goes into the file.
async fn conclude(delivery: &mut Delivery, end: End, folded: u64, lost: bool, said: Said) {
    let wait = if lost { END_WAIT_LOST } else { END_WAIT };
    let deadline = Instant::now() + wait;
    let mut finish = end.finish;
    finish.report = ReportBody {
        series_folded: folded,
        points_lost: delivery.points_lost(),
        ..finish.report
    };
    if folded > 0 {
        tracing::warn!(
            "more than {} series: {folded} tag sets were folded into one series per metric",
            aggregate::SERIES_MAX
        );
    }
    let reason = loop {
        let sent = async {
            delivery.deliver().await?;
            let sent_at = now_ms();
            finish.sent_at = Some(sent_at);
            delivery.finish(bytes_of(&finish)).await
        };
        match tokio::time::timeout(wait, sent).await {
            Ok(Ok(())) => break None,
            Ok(Err(Failure::Refused(reason))) => break Some(reason),
            Ok(Err(Failure::Later(reason))) if Instant::now() >= deadline => break Some(reason),
            Err(_) => break Some("it does not answer".to_owned()),
            Ok(Err(Failure::Later(_))) => tokio::time::sleep(END_RETRY).await,
        }
    };
    let Some(reason) = reason else {
        if delivery.batches_in_file() == 0 {
            if said == Said::All {
                tracing::info!("results stored: {}", delivery.page());
            }
            return;
        }
        // The oldest batches went into the file during an outage; the rest has arrived.
        say_file(delivery, &finish, "it was gone for too long").await;
        return;
    };
    say_file(delivery, &finish, &reason).await;
}

async fn say_file(delivery: &mut Delivery, finish: &FinishBody, reason: &str) {
    let mut finish = finish.clone();
    // A file is brought in later: its times must not be corrected by the time of sending.
    finish.sent_at = None;
    finish.finished_at += delivery.offset_ms();
    if let Some(file) = delivery.spill_all(&bytes_of(&finish)).await {
        let file = file.display();
        tracing::warn!(
            "the results relay did not take everything ({reason}); the rest is in {file}; bring it in with 'dchat runs import {file}'"
        );
    }
}

fn say_changes(delivered: &Result<(), Failure>, said_lost: &mut bool) {
    match delivered {
        Ok(()) if *said_lost => {
            *said_lost = false;
            tracing::info!("the results relay answers again");
        }
        Err(Failure::Later(reason)) if !*said_lost => {
            *said_lost = true;
            tracing::warn!(
                reason,
                "the results relay does not answer; results are kept until it does"
            );
        }
        Err(Failure::Refused(reason)) if !*said_lost => {
            *said_lost = true;
            tracing::warn!(reason, "the results relay refuses this run");
        }
        _ => {}
    }
}

/// Asks loopback port 7071 once whether a dchat is there.
async fn probe() -> Option<Url> {
    let base = Url::parse(PROBE_URL).ok()?;
    let health = base.join("/health").ok()?;
    let answer = Client::new()
        .request(Method::GET, &health, None, PROBE_TIMEOUT)
        .await
        .ok()?;
    #[derive(serde::Deserialize)]
    struct Health {
        service: String,
    }
    let health: Health = serde_json::from_slice(&answer.body).ok()?;
    (health.service == "dchat").then_some(base)
}

fn lock(aggregate: &Mutex<Aggregate>) -> MutexGuard<'_, Aggregate> {
    aggregate
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}
