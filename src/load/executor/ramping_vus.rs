//! `ramping-vus`: a number of VUs that follows stages.
//!
//! VU slot `k` is wanted while the ramp is above `k`, so low slots stay and high ones come and
//! go. Each slot is a task that walks its own intervals:
//!
//! | slot | at the interval's begin | at its end | VU came back | grace over |
//! |---|---|---|---|---|
//! | idle | takes a VU: working | – | – | – |
//! | working | – | gate shut: leaving | takes a VU again | – |
//! | leaving | gate open: working | – | idle | interrupted: idle when back |

use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::Shift;
use super::crew::RunningVu;
use crate::load::schedule::{Interval, Step, intervals};
use crate::load::vu::pool::{IterationSource, VuId};

/// Lets iterations begin until an instant that can be moved.
struct Gate {
    open_until: Mutex<std::time::Instant>,
}

impl Gate {
    fn open_until(&self, end: Instant) {
        *self.open_until.lock().unwrap_or_else(|e| e.into_inner()) = end.into_std();
    }
}

impl IterationSource for Gate {
    fn next(&self, _vu: VuId, now: std::time::Instant) -> bool {
        now < *self.open_until.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// One place in the ramp, and the VU that fills it.
struct Slot {
    shift: Arc<Shift>,
    gate: Arc<Gate>,
    working: Option<(VuId, Box<dyn RunningVu>)>,
}

pub(super) async fn run(
    shift: Arc<Shift>,
    started: Instant,
    steps: &[Step],
    graceful_ramp_down: Duration,
) {
    let end = shift.regular_end - started;
    let mut tasks = tokio::task::JoinSet::new();
    for intervals in intervals(steps, end) {
        let mut slot = Slot {
            shift: shift.clone(),
            gate: Arc::new(Gate {
                open_until: Mutex::new(started.into_std()),
            }),
            working: None,
        };
        // Taken here, in order, so that the lowest slots get the lowest VUs.
        if let Some(first) = intervals.first().filter(|first| first.from.is_zero()) {
            slot.gate.open_until(started + first.until);
            slot.fill(shift.regular_end).await;
        }
        tasks.spawn(async move {
            slot.walk(&intervals, started, graceful_ramp_down).await;
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("waiting for a VU does not panic");
    }
}

impl Slot {
    async fn walk(&mut self, intervals: &[Interval], started: Instant, grace: Duration) {
        let cancelled = self.shift.crew.state().cancelled.clone();
        for (index, interval) in intervals.iter().enumerate() {
            let (from, until) = (started + interval.from, started + interval.until);
            tokio::select! {
                () = cancelled.cancelled() => break,
                () = sleep_until(from) => {}
            }
            self.gate.open_until(until);
            tokio::select! {
                () = cancelled.cancelled() => break,
                () = self.stay(until) => {}
            }
            let hard_end = if interval.ramps_down {
                (until + grace).min(self.shift.hard_end)
            } else {
                self.shift.hard_end
            };
            let next = intervals.get(index + 1).map(|next| started + next.from);
            self.leave(hard_end, next).await;
        }
        self.leave(self.shift.hard_end, None).await;
    }

    /// Keeps the slot filled until `until`. Cancellation safe.
    async fn stay(&mut self, until: Instant) {
        while Instant::now() < until {
            match &mut self.working {
                None => self.fill(until).await,
                Some((_, running)) => tokio::select! {
                    () = sleep_until(until) => return,
                    () = running.done() => self.vacate(),
                },
            }
        }
    }

    /// Waits for the VU to come back by itself, interrupts it at `hard_end`; returns early at
    /// `next`, when it is wanted again.
    async fn leave(&mut self, hard_end: Instant, next: Option<Instant>) {
        let Some((_, running)) = &mut self.working else {
            return;
        };
        let crew = self.shift.crew.clone();
        let next = next.unwrap_or(hard_end + Duration::from_secs(86_400));
        tokio::select! {
            biased;
            () = crew.finish(&mut **running, hard_end) => self.vacate(),
            () = sleep_until(next) => {}
        }
    }

    async fn fill(&mut self, until: Instant) {
        if let Some(vu) = self.shift.crew.take(until).await {
            let activation = self.shift.activation(self.gate.clone());
            let running = self.shift.crew.activate(vu, activation);
            self.working = Some((vu, running));
        }
    }

    fn vacate(&mut self) {
        if let Some((vu, _)) = self.working.take() {
            self.shift.crew.give_back(vu);
        }
    }
}
