//! The wall clock, and when it may be trusted to let messages expire.
//!
//! A clock that is wrong for a minute must not delete a year of messages. Nothing expires while
//! the clock is before the newest message, or within an hour after it has jumped by more than an
//! hour against the steady clock; then a clock that has run evenly is taken as right.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Both the smallest jump that raises doubt and how long the doubt lasts, in milliseconds.
const DOUBT_MS: i64 = 3_600_000;

/// Where time comes from; tests bring their own.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Moment + Send + Sync>);

#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Unix time, in milliseconds.
    pub wall_ms: i64,
    /// A clock that nobody sets and that runs through a suspend, in milliseconds from any origin.
    pub steady_ms: i64,
}

impl Clock {
    pub fn new(read: impl Fn() -> Moment + Send + Sync + 'static) -> Clock {
        Clock(Arc::new(read))
    }

    /// The machine's.
    pub fn system() -> Clock {
        Clock::new(|| Moment {
            wall_ms: wall_ms(),
            steady_ms: steady_ms(),
        })
    }

    pub(super) fn read(&self) -> Moment {
        (self.0)()
    }
}

fn wall_ms() -> i64 {
    match std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH) {
        Ok(since) => since.as_millis() as i64,
        Err(before) => -(before.duration().as_millis() as i64),
    }
}

#[cfg(target_os = "linux")]
fn steady_ms() -> i64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    time.tv_sec * 1_000 + time.tv_nsec / 1_000_000
}

#[cfg(not(target_os = "linux"))]
fn steady_ms() -> i64 {
    use std::sync::OnceLock;
    use std::time::Instant;

    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    ORIGIN.get_or_init(Instant::now).elapsed().as_millis() as i64
}

/// The time by which messages expire: the wall clock, or the last trusted moment while held.
pub(super) struct ExpiryClock {
    clock: Clock,
    held: AtomicBool,
    held_at_ms: AtomicI64,
    state: Mutex<State>,
}

struct State {
    last: Moment,
    jumped_at_steady_ms: Option<i64>,
}

impl ExpiryClock {
    pub(super) fn new(clock: Clock, newest_received_ms: i64) -> ExpiryClock {
        let last = clock.read();
        let expiry = ExpiryClock {
            clock,
            held: AtomicBool::new(false),
            held_at_ms: AtomicI64::new(last.wall_ms),
            state: Mutex::new(State {
                last,
                jumped_at_steady_ms: None,
            }),
        };
        expiry.observe(newest_received_ms);
        expiry
    }

    pub(super) fn wall_ms(&self) -> i64 {
        self.clock.read().wall_ms
    }

    /// What expires at or before this has expired.
    pub(super) fn now_ms(&self) -> i64 {
        let wall_ms = self.wall_ms();
        if self.held() {
            wall_ms.min(self.held_at_ms.load(Ordering::Relaxed))
        } else {
            wall_ms
        }
    }

    pub(super) fn held(&self) -> bool {
        self.held.load(Ordering::Acquire)
    }

    /// Called often; compares the two clocks since the last call.
    pub(super) fn observe(&self, newest_received_ms: i64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.read();
        let (wall, steady) = (
            now.wall_ms - state.last.wall_ms,
            now.steady_ms - state.last.steady_ms,
        );
        if (wall - steady).abs() > DOUBT_MS {
            state.jumped_at_steady_ms = Some(now.steady_ms);
        }
        if state
            .jumped_at_steady_ms
            .is_some_and(|at| now.steady_ms - at > DOUBT_MS)
        {
            state.jumped_at_steady_ms = None;
        }
        let hold = state.jumped_at_steady_ms.is_some() || now.wall_ms < newest_received_ms;
        if hold != self.held() {
            if hold {
                self.held_at_ms.store(state.last.wall_ms, Ordering::Relaxed);
                tracing::warn!(
                    wall_ms = now.wall_ms,
                    newest_received_ms,
                    "the clock jumped or is before the newest message: nothing expires for now"
                );
            } else {
                tracing::info!("the clock is trusted again: messages expire");
            }
            self.held.store(hold, Ordering::Release);
        }
        state.last = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    /// A clock whose wall and steady time a test sets.
    fn settable() -> (Clock, Arc<[AtomicI64; 2]>) {
        let hands = Arc::new([AtomicI64::new(1_000 * HOUR), AtomicI64::new(0)]);
        let read = hands.clone();
        let clock = Clock::new(move || Moment {
            wall_ms: read[0].load(Ordering::Relaxed),
            steady_ms: read[1].load(Ordering::Relaxed),
        });
        (clock, hands)
    }

    fn advance(hands: &[AtomicI64; 2], wall: i64, steady: i64) {
        hands[0].fetch_add(wall, Ordering::Relaxed);
        hands[1].fetch_add(steady, Ordering::Relaxed);
    }

    #[test]
    fn a_jump_holds_expiry_until_the_clock_ran_evenly_for_an_hour() {
        let (clock, hands) = settable();
        let expiry = ExpiryClock::new(clock, 0);
        let before = expiry.now_ms();
        advance(&hands, 24 * HOUR, 100);
        expiry.observe(0);
        assert!(expiry.held());
        assert_eq!(before, expiry.now_ms());
        advance(&hands, HOUR + 1, HOUR + 1);
        expiry.observe(0);
        assert!(!expiry.held());
        assert_eq!(1_000 * HOUR + 25 * HOUR + 1, expiry.now_ms());
    }

    #[test]
    fn a_suspend_is_no_jump_and_a_clock_before_the_newest_message_holds() {
        let (clock, hands) = settable();
        let expiry = ExpiryClock::new(clock, 0);
        advance(&hands, 8 * HOUR, 8 * HOUR);
        expiry.observe(0);
        assert!(!expiry.held());
        expiry.observe(2_000 * HOUR);
        assert!(expiry.held());
    }
}
