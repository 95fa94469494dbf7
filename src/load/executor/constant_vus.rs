//! `constant-vus`: a fixed number of VUs that iterate until the duration is over.

use std::sync::Arc;
use std::time::Instant;

use super::Shift;
use crate::load::vu::pool::{IterationSource, VuId};

/// Iterations until an instant.
struct Until {
    end: Instant,
}

impl IterationSource for Until {
    fn next(&self, _vu: VuId, now: Instant) -> bool {
        now < self.end
    }
}

pub(super) async fn run(shift: &Shift, vus: u32) {
    let source: Arc<dyn IterationSource> = Arc::new(Until {
        end: shift.regular_end.into_std(),
    });
    shift.work((0..vus).map(|_| source.clone()).collect()).await;
}
