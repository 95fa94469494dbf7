//! What happens at a beat while a run is under way: `vus` gauges, thresholds, the stop signal.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::metrics::{Container, Engine, SampleBatch, TagSet, builtin, sample};
use super::state::{AbortReason, RunState};
use super::threshold::{Crossed, Evaluator};

/// k6's period of the `vus` and `vus_max` gauges.
const GAUGE_PERIOD: Duration = Duration::from_secs(1);
/// k6's period of evaluating thresholds for `abortOnFail`.
const THRESHOLD_PERIOD: Duration = Duration::from_secs(2);

/// Reports the numbers of active and initialised VUs every second, until aborted.
pub(super) fn gauges(
    state: Arc<RunState>,
    samples: mpsc::Sender<SampleBatch>,
    tags: TagSet,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut beat = beat(GAUGE_PERIOD);
        loop {
            beat.tick().await;
            let gauge = |metric, value: u32| Container {
                at: state.started.elapsed(),
                vu: 0,
                iter: 0,
                metadata: None,
                value: sample::Value::One {
                    metric,
                    value: f64::from(value),
                    tags: tags.clone(),
                },
            };
            let batch = vec![
                gauge(builtin::VUS, state.vus_active.load(Ordering::Relaxed)),
                gauge(
                    builtin::VUS_MAX,
                    state.vus_initialized.load(Ordering::Relaxed),
                ),
            ];
            if samples.send(batch).await.is_err() {
                return;
            }
        }
    })
}

/// Ends the run when a threshold with `abortOnFail` is crossed.
pub(super) fn thresholds(
    evaluator: Arc<Evaluator>,
    engine: Arc<Mutex<Engine>>,
    state: Arc<RunState>,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut beat = beat(THRESHOLD_PERIOD);
        loop {
            beat.tick().await;
            let elapsed = state.started.elapsed();
            let crossed = {
                let engine = engine.lock().unwrap_or_else(|e| e.into_inner());
                evaluator.crossed(&engine, elapsed)
            };
            if crossed != Crossed::None {
                state.control.taint();
            }
            if crossed == Crossed::Aborting {
                state.abort(AbortReason::Threshold);
                return;
            }
        }
    })
}

/// Turns the stop signal into an abort of the run.
pub(super) fn abort_on(stop: CancellationToken, state: Arc<RunState>) -> JoinHandle<()> {
    tokio::spawn(async move {
        stop.cancelled().await;
        state.abort(AbortReason::Signal);
    })
}

/// A beat whose first tick comes after one period.
fn beat(period: Duration) -> tokio::time::Interval {
    let mut beat = tokio::time::interval_at(tokio::time::Instant::now() + period, period);
    beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
    beat
}
