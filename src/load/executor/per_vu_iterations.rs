//! `per-vu-iterations`: every VU runs the same number of iterations.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::Shift;
use crate::load::vu::pool::{IterationSource, VuId};

/// One VU's own iterations.
struct Own {
    left: AtomicU64,
    end: Instant,
}

impl IterationSource for Own {
    fn next(&self, _vu: VuId, now: Instant) -> bool {
        let take = |left: u64| left.checked_sub(1);
        now < self.end
            && self
                .left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
                .is_ok()
    }
}

/// Returns how many iterations there was no time for.
pub(super) async fn run(shift: &Shift, vus: u32, iterations: u64) -> u64 {
    let own: Vec<Arc<Own>> = (0..vus)
        .map(|_| {
            Arc::new(Own {
                left: AtomicU64::new(iterations),
                end: shift.regular_end.into_std(),
            })
        })
        .collect();
    let sources = own
        .iter()
        .map(|own| own.clone() as Arc<dyn IterationSource>);
    shift.work(sources.collect()).await;
    own.iter().map(|own| own.left.load(Ordering::Relaxed)).sum()
}
