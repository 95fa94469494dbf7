//! `constant-vus` and `ramping-vus`: a number of VUs that follows stages, until live control sets
//! another.
//!
//! VU slot `k` is wanted while the ramp is above `k`, so low slots stay and high ones come and
//! go. Each slot is a task that walks its own intervals:
//!
//! | slot | at the interval's begin | at its end | VU came back | grace over |
//! |---|---|---|---|---|
//! | idle | takes a VU: working | – | – | – |
//! | working | – | gate shut: leaving | takes a VU again | – |
//! | leaving | gate open: working | – | idle | interrupted: idle when back |
//!
//! Another number from live control replaces what is left of the walk: slots below it work to the
//! end, the others leave.

use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::Shift;
use super::crew::RunningVu;
use crate::load::schedule::segment::Stripe;
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

/// What all slots of one scenario know.
#[derive(Clone)]
struct Ramp {
    shift: Arc<Shift>,
    started: Instant,
    /// For VUs that the ramp, or live control, no longer wants.
    grace: Duration,
    /// Another number of VUs, once somebody has set it.
    wanted: watch::Receiver<Option<u32>>,
    /// Our share of it.
    vus: Stripe,
}

/// One place in the ramp, and the VU that fills it.
struct Slot {
    ramp: Ramp,
    /// From 0.
    place: u32,
    gate: Arc<Gate>,
    working: Option<(VuId, Box<dyn RunningVu>)>,
}

/// `steps` are in VUs of this instance, and so is everything but what live control asks for.
pub(super) async fn run(
    shift: &Arc<Shift>,
    started: Instant,
    steps: &[Step],
    grace: Duration,
    vus: &Stripe,
) {
    let state = shift.crew.state();
    let knob = state.control.register_vus(shift.context.name.clone());
    let ramp = Ramp {
        shift: shift.clone(),
        started,
        grace,
        wanted: knob.value.clone(),
        vus: vus.clone(),
    };
    let end = shift.regular_end - started;
    let mut tasks = JoinSet::new();
    let mut slots: u32 = 0;
    for intervals in intervals(steps, end) {
        let mut slot = Slot::new(&ramp, slots);
        slots += 1;
        // Taken here, in order, so that the lowest slots get the lowest VUs.
        if let Some(first) = intervals.first().filter(|first| first.from.is_zero()) {
            slot.gate.open_until(started + first.until);
            slot.fill(shift.regular_end).await;
        }
        tasks.spawn(slot.live(intervals));
    }
    let mut wanted = knob.value.clone();
    loop {
        tokio::select! {
            ended = tasks.join_next() => match ended {
                Some(ended) => ended.expect("waiting for a VU does not panic"),
                None => break,
            },
            Some(more) = ramp.more(&mut wanted, slots) => {
                let crew = shift.crew.clone();
                tasks.spawn(async move { crew.extend(more).await });
                for place in slots..slots + more {
                    tasks.spawn(Slot::new(&ramp, place).live(Vec::new()));
                }
                slots += more;
            }
        }
    }
}

impl Ramp {
    /// Waits until live control sets a number; how many slots that is beyond `slots`. `None` once
    /// nobody can.
    async fn more(&self, wanted: &mut watch::Receiver<Option<u32>>, slots: u32) -> Option<u32> {
        wanted.changed().await.ok()?;
        let vus = wanted.borrow_and_update().unwrap_or_default();
        Some(self.vus.scale_vus(vus).saturating_sub(slots))
    }
}

impl Slot {
    fn new(ramp: &Ramp, place: u32) -> Slot {
        let gate = Gate {
            open_until: Mutex::new(ramp.started.into_std()),
        };
        Slot {
            ramp: ramp.clone(),
            place,
            gate: Arc::new(gate),
            working: None,
        }
    }

    /// Walks the intervals; from live control's first word on it obeys that.
    async fn live(mut self, intervals: Vec<Interval>) {
        let (regular_end, hard_end) = (self.ramp.shift.regular_end, self.ramp.shift.hard_end);
        let mut wanted = self.ramp.wanted.clone();
        let cancelled = self.ramp.shift.crew.state().cancelled.clone();
        // A slot that live control has made is wanted from the start.
        let mut steered = wanted.borrow_and_update().is_some();
        if !steered {
            tokio::select! {
                () = self.walk(&intervals) => {}
                Ok(()) = wanted.changed() => steered = true,
            }
        }
        while !cancelled.is_cancelled() && Instant::now() < regular_end {
            let vus = steered.then(|| wanted.borrow_and_update().unwrap_or_default());
            let is_wanted = vus.is_some_and(|vus| self.place < self.ramp.vus.scale_vus(vus));
            let until = if is_wanted {
                regular_end
            } else {
                Instant::now()
            };
            self.gate.open_until(until);
            let hard_end = (until + self.ramp.grace).min(hard_end);
            tokio::select! {
                () = cancelled.cancelled() => {}
                () = sleep_until(regular_end) => {}
                Ok(()) = wanted.changed() => steered = true,
                () = self.settle(until, hard_end) => {}
            }
        }
        self.leave(hard_end, None).await;
    }

    /// Works until `until`, then leaves, then waits for ever. Cancellation safe.
    async fn settle(&mut self, until: Instant, hard_end: Instant) {
        self.stay(until).await;
        self.leave(hard_end, None).await;
        std::future::pending().await
    }

    async fn walk(&mut self, intervals: &[Interval]) {
        let cancelled = self.ramp.shift.crew.state().cancelled.clone();
        let (started, hard_end) = (self.ramp.started, self.ramp.shift.hard_end);
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
                (until + self.ramp.grace).min(hard_end)
            } else {
                hard_end
            };
            let next = intervals.get(index + 1).map(|next| started + next.from);
            self.leave(hard_end, next).await;
        }
        self.leave(hard_end, None).await;
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
    /// `next`, when it is wanted again. Cancellation safe.
    async fn leave(&mut self, hard_end: Instant, next: Option<Instant>) {
        let Some((_, running)) = &mut self.working else {
            return;
        };
        let crew = self.ramp.shift.crew.clone();
        let next = next.unwrap_or(hard_end + Duration::from_secs(86_400));
        tokio::select! {
            biased;
            () = crew.finish(&mut **running, hard_end) => self.vacate(),
            () = sleep_until(next) => {}
        }
    }

    async fn fill(&mut self, until: Instant) {
        if let Some(vu) = self.ramp.shift.crew.take(until).await {
            let activation = self.ramp.shift.activation(self.gate.clone());
            let running = self.ramp.shift.crew.activate(vu, activation);
            self.working = Some((vu, running));
        }
    }

    fn vacate(&mut self) {
        if let Some((vu, _)) = self.working.take() {
            let shift = &self.ramp.shift;
            shift.crew.give_back(vu, &shift.context);
        }
    }
}
