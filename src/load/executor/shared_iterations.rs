//! `shared-iterations`: a fixed number of iterations, taken by whichever VU is free.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::Shift;
use crate::load::vu::pool::{IterationSource, VuId};

struct Shared {
    iterations: u64,
    /// May run past `iterations`: every VU asks once too often.
    taken: AtomicU64,
    end: Instant,
}

impl IterationSource for Shared {
    fn next(&self, _vu: VuId, now: Instant) -> bool {
        now < self.end && self.taken.fetch_add(1, Ordering::Relaxed) < self.iterations
    }
}

/// Returns how many iterations there was no time for.
pub(super) async fn run(shift: &Shift, vus: u32, iterations: u64) -> u64 {
    let shared = Arc::new(Shared {
        iterations,
        taken: AtomicU64::new(0),
        end: shift.regular_end.into_std(),
    });
    let source: Arc<dyn IterationSource> = shared.clone();
    shift.work((0..vus).map(|_| source.clone()).collect()).await;
    iterations.saturating_sub(shared.taken.load(Ordering::Relaxed))
}
