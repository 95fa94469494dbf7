//! Executors under paused time, with VUs whose iterations only take time.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::load::control::Order;
use crate::load::metrics::{SampleBatch, sample};
use crate::load::options::{Scenario, Stage};
use crate::load::schedule::segment::Stripe;
use crate::load::schedule::{self, share};
use crate::load::state::RunState;
use crate::load::vu::pool::VuId;

/// Begin and end of each VU's times at work, in milliseconds.
type AtWork = BTreeMap<u32, Vec<(u64, u64)>>;

/// Iterations that take `length`, counted; when each VU was at work.
struct Sleepers {
    length: Duration,
    origin: Instant,
    complete: Arc<AtomicU64>,
    interrupted: Arc<AtomicU64>,
    at_work: Arc<Mutex<AtWork>>,
}

struct Sleeper {
    interrupted: CancellationToken,
    task: JoinHandle<()>,
    done: bool,
}

impl Vus for Sleepers {
    fn activate(&self, vu: VuId, activation: Activation) -> Box<dyn RunningVu> {
        let interrupted = CancellationToken::new();
        let token = interrupted.clone();
        let (length, origin) = (self.length, self.origin);
        let (complete, cut) = (self.complete.clone(), self.interrupted.clone());
        let at_work = self.at_work.clone();
        let task = tokio::spawn(async move {
            let from = origin.elapsed().as_millis() as u64;
            while !token.is_cancelled() && activation.source.next(vu, Instant::now().into_std()) {
                tokio::select! {
                    () = tokio::time::sleep(length) => complete.fetch_add(1, Ordering::Relaxed),
                    () = token.cancelled() => cut.fetch_add(1, Ordering::Relaxed),
                };
            }
            let until = origin.elapsed().as_millis() as u64;
            let mut at_work = at_work.lock().expect("no panic");
            at_work.entry(vu.0).or_default().push((from, until));
            drop(at_work);
            activation.source.returned(vu);
        });
        Box::new(Sleeper {
            interrupted,
            task,
            done: false,
        })
    }

    fn init(&self, _: u32) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + '_>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn are_real(&self) -> bool {
        false
    }
}

impl RunningVu for Sleeper {
    fn interrupt(&self) {
        self.interrupted.cancel();
    }

    fn done(&mut self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {
            if !self.done {
                (&mut self.task).await.expect("sleepers do not panic");
                self.done = true;
            }
        })
    }
}

struct Ran {
    complete: u64,
    interrupted: u64,
    dropped: f64,
    ended_ms: u64,
    at_work: BTreeMap<u32, Vec<(u64, u64)>>,
}

/// Runs scenarios whose iterations take `length_ms`; the run is cancelled after `cancel_ms`.
async fn ran(scenarios: Vec<Scenario>, length_ms: u64, cancel_ms: Option<u64>) -> Ran {
    let orders = cancel_ms.map(|ms| (ms, Order::Stop));
    steered(scenarios, length_ms, orders.as_slice()).await
}

/// The same with orders of live control at their milliseconds.
async fn steered(scenarios: Vec<Scenario>, length_ms: u64, orders: &[(u64, Order)]) -> Ran {
    let origin = Instant::now();
    let sleepers = Sleepers {
        length: Duration::from_millis(length_ms),
        origin,
        complete: Arc::default(),
        interrupted: Arc::default(),
        at_work: Arc::default(),
    };
    let (complete, interrupted) = (sleepers.complete.clone(), sleepers.interrupted.clone());
    let at_work = sleepers.at_work.clone();
    let state = Arc::new(RunState::new());
    let (samples, mut received) = mpsc::channel::<SampleBatch>(16);
    let shares = share::shares(&scenarios, &Stripe::whole());
    let count = schedule::demand(&shares).planned;
    let crew = Arc::new(Crew::new(Arc::new(sleepers), count, state.clone(), samples));
    for &(ms, order) in orders {
        let state = state.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            state.obey(order, None).expect("a knob");
        });
    }
    let mut tasks = tokio::task::JoinSet::new();
    for share in shares {
        tasks.spawn(run(share, crew.clone(), origin, TagSet::default(), None));
    }
    tasks.join_all().await;
    assert_eq!(state.vus_active.load(Ordering::Relaxed), 0);
    drop(crew);
    let mut dropped = 0.0;
    while let Some(batch) = received.recv().await {
        for container in batch {
            if let sample::Value::One { value, .. } = container.value {
                dropped += value;
            }
        }
    }
    let at_work = at_work.lock().expect("no panic").clone();
    Ran {
        complete: complete.load(Ordering::Relaxed),
        interrupted: interrupted.load(Ordering::Relaxed),
        dropped,
        ended_ms: origin.elapsed().as_millis() as u64,
        at_work,
    }
}

fn scenario(executor: Executor, graceful_stop: u64) -> Scenario {
    Scenario {
        graceful_stop: Duration::from_secs(graceful_stop),
        ..Scenario::shortcut(executor)
    }
}

fn ramping(start_vus: u32, stages: &[(u64, u32)], ramp_down: u64, stop: u64) -> Scenario {
    let stages = stages.iter().map(|&(seconds, target)| Stage {
        duration: Duration::from_secs(seconds),
        target,
    });
    scenario(
        Executor::RampingVus {
            start_vus,
            stages: stages.collect(),
            graceful_ramp_down: Duration::from_secs(ramp_down),
        },
        stop,
    )
}

#[tokio::test(start_paused = true)]
async fn shared_iterations_are_all_done_and_no_more() {
    let executor = Executor::SharedIterations {
        vus: 3,
        iterations: 10,
        max_duration: Duration::from_secs(60),
    };
    let ran = ran(vec![scenario(executor, 30)], 1_000, None).await;
    assert_eq!((ran.complete, ran.interrupted, ran.dropped), (10, 0, 0.0));
    assert_eq!(ran.ended_ms, 4_000);
}

#[tokio::test(start_paused = true)]
async fn iterations_without_time_are_dropped() {
    let max_duration = Duration::from_millis(2_500);
    let shared = Executor::SharedIterations {
        vus: 2,
        iterations: 10,
        max_duration,
    };
    let shared = ran(vec![scenario(shared, 30)], 1_000, None).await;
    assert_eq!((shared.complete, shared.dropped), (6, 4.0));
    let own = Executor::PerVuIterations {
        vus: 2,
        iterations: 10,
        max_duration,
    };
    let own = ran(vec![scenario(own, 30)], 1_000, None).await;
    assert_eq!((own.complete, own.dropped), (6, 14.0));
    assert_eq!(own.ended_ms, 3_000);
}

#[tokio::test(start_paused = true)]
async fn graceful_stop_waits_then_interrupts() {
    let executor = Executor::ConstantVus {
        vus: 2,
        duration: Duration::from_secs(5),
    };
    let patient = ran(vec![scenario(executor.clone(), 30)], 2_000, None).await;
    assert_eq!((patient.complete, patient.interrupted), (6, 0));
    assert_eq!(patient.ended_ms, 6_000);
    let hasty = ran(vec![scenario(executor, 0)], 2_000, None).await;
    assert_eq!((hasty.complete, hasty.interrupted), (4, 2));
    assert_eq!(hasty.ended_ms, 5_000);
}

#[tokio::test(start_paused = true)]
async fn cancelling_interrupts_at_once_and_drops_nothing() {
    let executor = Executor::PerVuIterations {
        vus: 2,
        iterations: 50,
        max_duration: Duration::from_secs(60),
    };
    let ran = ran(vec![scenario(executor, 30)], 1_000, Some(1_500)).await;
    assert_eq!((ran.complete, ran.interrupted, ran.dropped), (2, 2, 0.0));
    assert_eq!(ran.ended_ms, 1_500);
}

#[tokio::test(start_paused = true)]
async fn ramp_down_waits_for_running_iterations() {
    let patient = ran(
        vec![ramping(3, &[(3, 3), (0, 1), (6, 1)], 30, 0)],
        2_000,
        None,
    )
    .await;
    assert_eq!(patient.at_work[&1], [(0, 9_000)]);
    assert_eq!(patient.at_work[&2], [(0, 4_000)]);
    assert_eq!(patient.at_work[&3], [(0, 4_000)]);
    let hasty = ran(
        vec![ramping(3, &[(3, 3), (0, 1), (6, 1)], 0, 0)],
        2_000,
        None,
    )
    .await;
    assert_eq!(hasty.at_work[&3], [(0, 3_000)]);
    // Two by the ramp down, the last one by the end, which cuts an iteration in half: one that
    // ended at that very instant might count either way.
    assert_eq!(hasty.interrupted, 3);
}

#[tokio::test(start_paused = true)]
async fn vu_that_is_wanted_again_goes_on_within_its_grace() {
    let stages = [(3, 2), (0, 1), (1, 1), (0, 2), (4, 2)];
    let ran = ran(vec![ramping(2, &stages, 30, 30)], 1_700, None).await;
    // Down at 3 s, wanted again at 4 s; the iteration of 3.4 s has ended before the gate opened.
    assert_eq!(ran.at_work[&2].len(), 2);
    let long = self::ran(vec![ramping(2, &stages, 30, 30)], 4_400, None).await;
    // An iteration that spans the gap keeps its VU at work throughout.
    assert_eq!(long.at_work[&2].len(), 1);
}

#[tokio::test(start_paused = true)]
async fn scenarios_run_side_by_side_from_their_start_time() {
    let constant = |start: u64| Scenario {
        start_time: Duration::from_secs(start),
        ..scenario(
            Executor::ConstantVus {
                vus: 1,
                duration: Duration::from_secs(2),
            },
            1,
        )
    };
    let ran = ran(vec![constant(0), constant(1), constant(5)], 500, None).await;
    assert_eq!(ran.complete, 12);
    assert_eq!(ran.ended_ms, 7_000);
    assert_eq!(ran.at_work[&1], [(0, 2_000), (5_000, 7_000)]);
}

fn arrivals(rate: u64, seconds: u64, pre_allocated_vus: u32, max_vus: u32) -> Executor {
    Executor::ConstantArrivalRate {
        rate,
        time_unit: Duration::from_secs(1),
        duration: Duration::from_secs(seconds),
        pre_allocated_vus,
        max_vus,
    }
}

#[tokio::test(start_paused = true)]
async fn arrival_rate_starts_iterations_by_the_clock() {
    let ran = ran(vec![scenario(arrivals(10, 3, 5, 5), 30)], 250, None).await;
    assert_eq!((ran.complete, ran.dropped), (30, 0.0));
    // The last one begins at 2.9 s.
    assert_eq!(ran.ended_ms, 3_150);
    let begins: Vec<u64> = {
        let mut all: Vec<u64> = ran.at_work.values().flatten().map(|(b, _)| *b).collect();
        all.sort_unstable();
        all
    };
    let expected: Vec<u64> = (0..30).map(|i| i * 100).collect();
    assert_eq!(begins, expected);
}

#[tokio::test(start_paused = true)]
async fn arrivals_without_a_free_vu_are_dropped_while_more_are_made() {
    // One second each at 2/s: two VUs are needed.
    let few = ran(vec![scenario(arrivals(2, 10, 1, 1), 30)], 999, None).await;
    assert_eq!((few.complete, few.dropped), (10, 10.0));
    let more = ran(vec![scenario(arrivals(2, 10, 1, 5), 30)], 999, None).await;
    assert_eq!((more.complete, more.dropped), (19, 1.0));
    assert_eq!(more.at_work.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn arrivals_are_interrupted_after_their_grace() {
    let ran = ran(vec![scenario(arrivals(1, 3, 5, 5), 1)], 1_700, None).await;
    // Begun at 0, 1, 2 s; the last is cut at 4 s, had it not ended at 3.7 s.
    assert_eq!((ran.complete, ran.interrupted), (3, 0));
    let hasty = self::ran(vec![scenario(arrivals(1, 3, 5, 5), 1)], 2_500, None).await;
    assert_eq!((hasty.complete, hasty.interrupted), (2, 1));
    assert_eq!(hasty.ended_ms, 4_000);
}

#[tokio::test(start_paused = true)]
async fn ramping_arrivals_follow_the_area_below_the_rate() {
    let executor = Executor::RampingArrivalRate {
        start_rate: 0,
        time_unit: Duration::from_secs(1),
        stages: vec![Stage {
            duration: Duration::from_secs(8),
            target: 4,
        }],
        pre_allocated_vus: 2,
        max_vus: 2,
    };
    let ran = ran(vec![scenario(executor, 30)], 10, None).await;
    assert_eq!((ran.complete, ran.dropped), (16, 0.0));
    let first = ran.at_work.values().flatten().map(|(b, _)| *b).min();
    assert_eq!(first, Some(2_000));
}

#[tokio::test(start_paused = true)]
async fn cancelled_arrivals_stop_at_once() {
    let ran = ran(vec![scenario(arrivals(10, 60, 5, 5), 30)], 300, Some(950)).await;
    assert_eq!(ran.ended_ms, 950);
    assert_eq!((ran.complete, ran.interrupted), (7, 3));
}

#[tokio::test(start_paused = true)]
async fn changed_rate_holds_to_the_end() {
    let scenarios = vec![scenario(arrivals(1, 10, 5, 5), 30)];
    let orders = [(2_500, Order::Rate(10.0)), (5_500, Order::Rate(0.0))];
    let ran = steered(scenarios, 10, &orders).await;
    // 0, 1, 2 s; then half an iteration is left until 2.55 s: 30 more.
    assert_eq!((ran.complete, ran.dropped), (33, 0.0));
}

#[tokio::test(start_paused = true)]
async fn changed_number_of_vus_holds_to_the_end() {
    let constant = Executor::ConstantVus {
        vus: 2,
        duration: Duration::from_secs(10),
    };
    let orders = [(2_500, Order::Vus(5)), (6_400, Order::Vus(1))];
    let ran = steered(vec![scenario(constant, 30)], 1_000, &orders).await;
    assert_eq!(ran.at_work[&1], [(0, 10_000)]);
    assert_eq!(ran.at_work[&2], [(0, 7_000)]);
    for more in 3..=5 {
        assert_eq!(ran.at_work[&more], [(2_500, 6_500)], "{more}");
    }
    assert_eq!(ran.complete, 10 + 7 + 3 * 4);
}

#[tokio::test(start_paused = true)]
async fn ramp_gives_way_to_live_control() {
    let ramp = ramping(1, &[(4, 1), (0, 3), (4, 3), (0, 0), (4, 0)], 30, 30);
    let orders = [(2_000, Order::Vus(2)), (10_000, Order::Vus(3))];
    let ran = steered(vec![ramp], 500, &orders).await;
    assert_eq!(ran.at_work[&1], [(0, 12_000)]);
    assert_eq!(ran.at_work[&2], [(2_000, 12_000)]);
    assert_eq!(ran.at_work[&3], [(10_000, 12_000)]);
}
