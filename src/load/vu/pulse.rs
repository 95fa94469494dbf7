//! Whether a worker thread still turns its event loop.
//!
//! A script can hold its thread where QuickJS asks no interrupt handler, inside one built-in call
//! (a search of one long string in another). Nothing can take the thread back; but the run must end
//! all the same, so the pool stops waiting for a worker whose pulse stands still.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// How often a live worker beats.
const BEAT_EVERY: Duration = Duration::from_millis(100);
/// A pulse that stands still for so long is given up. Above a VU's grace of one second, and above
/// what a starved thread on a busy machine needs.
pub(super) const STUCK_AFTER: Duration = Duration::from_secs(3);

/// Shared by a worker and the pool.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    beats: AtomicU64,
    stuck: AtomicBool,
}

impl Pulse {
    /// Beats until it is dropped; runs on the worker.
    pub(super) async fn beat(&self) {
        let mut interval = tokio::time::interval(BEAT_EVERY);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            self.beats.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits for `answer` as long as the worker beats; `None` once it is found stuck.
    pub(super) async fn unless_stuck<F: Future>(&self, answer: F) -> Option<F::Output> {
        let mut answer = pin!(answer);
        let mut seen = self.beats.load(Ordering::Relaxed);
        loop {
            if let Ok(output) = tokio::time::timeout(STUCK_AFTER, &mut answer).await {
                return Some(output);
            }
            let now = self.beats.load(Ordering::Relaxed);
            if now == seen {
                if !self.stuck.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        "a script holds its worker thread in one built-in call; its virtual users are left behind"
                    );
                }
                return None;
            }
            seen = now;
        }
    }

    /// Whether somebody has waited for the worker in vain.
    pub(super) fn is_stuck(&self) -> bool {
        self.stuck.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waits_while_it_beats_and_not_longer() {
        let pulse = Pulse::default();
        let slow = tokio::time::sleep(STUCK_AFTER * 5);
        tokio::select! {
            answered = pulse.unless_stuck(slow) => assert!(answered.is_some()),
            () = pulse.beat() => unreachable!("it beats for ever"),
        }
        assert!(!pulse.is_stuck());
        assert!(
            pulse
                .unless_stuck(std::future::pending::<()>())
                .await
                .is_none()
        );
        assert!(pulse.is_stuck());
    }
}
