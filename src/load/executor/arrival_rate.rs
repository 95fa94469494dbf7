//! `constant-arrival-rate` and `ramping-arrival-rate`: iterations that start by the clock, however
//! long the ones before them take.
//!
//! An iteration that is due with no VU free does not start and counts in `dropped_iterations`;
//! then, up to `maxVUs`, another VU is made in the background, one at a time. VUs go back to the
//! roster from their own threads, so that the loop waits for nothing but the next due time.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use super::Shift;
use super::crew::RunningVu;
use super::pace::{self, Pace};
use crate::load::metrics::{Container, SampleBatch, builtin, sample};
use crate::load::schedule::arrival::Timetable;
use crate::load::vu::pool::{Activation, IterationSource, VuId};

/// Dropped iterations that are reported at once, and the time after which fewer are.
const REPORT_DROPPED: usize = 256;
const REPORT_EVERY: Duration = Duration::from_millis(100);

/// How many VUs a scenario begins with, and how many it may come to have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Staff {
    pub(super) pre_allocated: u32,
    pub(super) max: u32,
}

/// Idle VUs, the one that has waited longest first.
#[derive(Default)]
struct Roster(Mutex<VecDeque<VuId>>);

impl Roster {
    fn add(&self, vu: VuId) {
        let mut idle = self.0.lock().unwrap_or_else(|e| e.into_inner());
        idle.push_back(vu);
    }

    fn take(&self) -> Option<VuId> {
        let mut idle = self.0.lock().unwrap_or_else(|e| e.into_inner());
        idle.pop_front()
    }
}

/// Gives a VU one iteration for each time it is sent to work.
struct Once {
    wanted: AtomicBool,
    roster: Arc<Roster>,
}

impl IterationSource for Once {
    fn next(&self, _vu: VuId, _now: std::time::Instant) -> bool {
        self.wanted.swap(false, Ordering::Relaxed)
    }

    fn returned(&self, vu: VuId) {
        self.roster.add(vu);
    }
}

/// One VU of this scenario.
struct Hand {
    source: Arc<Once>,
    running: Option<Box<dyn RunningVu>>,
}

/// Runs the scenario; on a thread of its own where the crew has real VUs.
pub(super) async fn run(
    shift: Arc<Shift>,
    started: Instant,
    timetable: Timetable,
    staff: Staff,
    rate: watch::Receiver<Option<f64>>,
) {
    let work = Work {
        started,
        timetable,
        staff_left: staff.max.saturating_sub(staff.pre_allocated),
        staff,
        rate,
        roster: Arc::default(),
        hands: HashMap::new(),
        growing: None,
        dropped: Vec::new(),
        reported: Instant::now(),
        said_insufficient: false,
        shift,
    };
    if !work.shift.crew.wants_threads() {
        return work.run(Pace::Tokio).await;
    }
    let runtime = tokio::runtime::Handle::current();
    let (done, is_done) = tokio::sync::oneshot::channel();
    let body = move || {
        let _entered = runtime.enter();
        pace::block_on(|pace| work.run(pace));
        let _ = done.send(());
    };
    let name = "arrivals".to_owned();
    match std::thread::Builder::new().name(name).spawn(body) {
        // A panic drops the sender, and is told by the thread's own message.
        Ok(_) => drop(is_done.await),
        Err(error) => tracing::error!("no thread for an arrival rate: {error}"),
    }
}

struct Work {
    shift: Arc<Shift>,
    started: Instant,
    timetable: Timetable,
    staff: Staff,
    /// VUs that may still be made.
    staff_left: u32,
    rate: watch::Receiver<Option<f64>>,
    roster: Arc<Roster>,
    hands: HashMap<VuId, Hand>,
    growing: Option<JoinHandle<Option<VuId>>>,
    dropped: SampleBatch,
    reported: Instant,
    said_insufficient: bool,
}

impl Work {
    async fn run(mut self, pace: Pace) {
        for _ in 0..self.staff.pre_allocated {
            match self.shift.crew.take(self.shift.regular_end).await {
                Some(vu) => self.join(vu),
                None => break,
            }
        }
        let cancelled = self.shift.crew.state().cancelled.clone();
        let mut steered = true;
        loop {
            let due = self.timetable.peek().map(|due| self.started + due);
            let due = due.filter(|due| *due <= self.shift.regular_end);
            tokio::select! {
                biased;
                () = cancelled.cancelled() => break,
                changed = self.rate.changed(), if steered => {
                    // Without a sender there is nobody left who could change it.
                    steered = changed.is_ok();
                    self.steer();
                }
                () = pace.until(due.unwrap_or(self.shift.regular_end)) => match due {
                    Some(due) => self.start(due),
                    None => break,
                }
            }
        }
        self.finish().await;
    }

    fn steer(&mut self) {
        let wanted = *self.rate.borrow_and_update();
        if let Some(count) = wanted {
            self.timetable.set_rate(count, self.started.elapsed());
        }
    }

    /// The iteration that is due now: on a free VU, or dropped.
    fn start(&mut self, due: Instant) {
        self.timetable.advance();
        self.welcome();
        match self.roster.take() {
            Some(vu) => self.send(vu, due),
            None => self.drop_iteration(),
        }
        let late = self.reported.elapsed() >= REPORT_EVERY;
        if self.dropped.len() >= REPORT_DROPPED || (late && !self.dropped.is_empty()) {
            self.report();
        }
    }

    fn send(&mut self, vu: VuId, due: Instant) {
        let hand = self.hands.get_mut(&vu).expect("the roster holds our VUs");
        hand.source.wanted.store(true, Ordering::Relaxed);
        let activation = Activation {
            due: Some(due.into_std()),
            ..self.shift.activation(hand.source.clone())
        };
        hand.running = Some(self.shift.crew.send(vu, activation));
    }

    fn drop_iteration(&mut self) {
        self.dropped.push(Container {
            at: self.shift.crew.state().started.elapsed(),
            vu: 0,
            iter: 0,
            metadata: None,
            value: sample::Value::One {
                metric: builtin::DROPPED_ITERATIONS,
                value: 1.0,
                tags: self.shift.context.tags.clone(),
            },
        });
        if self.growing.is_some() {
            return;
        }
        if self.staff_left > 0 {
            self.staff_left -= 1;
            let crew = self.shift.crew.clone();
            self.growing = Some(tokio::spawn(async move { crew.grow().await }));
        } else if !self.said_insufficient {
            self.said_insufficient = true;
            tracing::warn!(
                executor = self.shift.context.executor,
                scenario = &*self.shift.context.name,
                "Insufficient VUs, reached {} active VUs and cannot initialize more",
                self.hands.len()
            );
        }
    }

    /// Takes in a VU that has been made meanwhile.
    fn welcome(&mut self) {
        let Some(growing) = self.growing.take_if(|growing| growing.is_finished()) else {
            return;
        };
        // It is finished, so that one poll gives its answer.
        match futures_util::FutureExt::now_or_never(growing) {
            Some(Ok(Some(vu))) => self.join(vu),
            _ => self.staff_left += 1,
        }
    }

    fn join(&mut self, vu: VuId) {
        self.shift.crew.count_active(&self.shift.context);
        let source = Arc::new(Once {
            wanted: AtomicBool::new(false),
            roster: self.roster.clone(),
        });
        let running = None;
        self.hands.insert(vu, Hand { source, running });
        self.roster.add(vu);
    }

    fn report(&mut self) {
        self.reported = Instant::now();
        self.shift.crew.try_report(&mut self.dropped);
    }

    /// Waits for running iterations, interrupts those that outlast the graceful stop.
    async fn finish(mut self) {
        if let Some(growing) = self.growing.take()
            && let Ok(Some(vu)) = growing.await
        {
            self.join(vu);
        }
        let mut tasks = JoinSet::new();
        for (vu, hand) in self.hands.drain() {
            let (crew, hard_end) = (self.shift.crew.clone(), self.shift.hard_end);
            let context = self.shift.context.clone();
            let Some(mut running) = hand.running else {
                crew.give_back(vu, &context);
                continue;
            };
            tasks.spawn(async move {
                crew.finish(&mut *running, hard_end).await;
                crew.give_back(vu, &context);
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended.expect("waiting for a VU does not panic");
        }
        self.shift.crew.report(self.dropped).await;
    }
}
