//! `rps`: requests per second of all VUs together.
//!
//! Every request takes the next place in a row of equal distances and waits until it has come.
//! Places that nobody took are lost, but for as many as timers may be late.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How far the row may lag behind the clock: tokio's timers round up to milliseconds.
const LAG_MAX: Duration = Duration::from_millis(5);

/// Shared by all VUs of a run.
#[derive(Debug)]
pub struct RequestRate {
    distance: Duration,
    next: Mutex<Option<Instant>>,
}

impl RequestRate {
    /// `per_second` is at least 1.
    pub fn new(per_second: u64) -> RequestRate {
        RequestRate {
            distance: Duration::from_secs(1) / u32::try_from(per_second.max(1)).unwrap_or(u32::MAX),
            next: Mutex::new(None),
        }
    }

    /// Waits for a place.
    pub async fn place(&self) {
        let at = self.take(Instant::now());
        tokio::time::sleep_until(at.into()).await;
    }

    fn take(&self, now: Instant) -> Instant {
        let mut next = self.next.lock().unwrap_or_else(|e| e.into_inner());
        let earliest = now.checked_sub(LAG_MAX).unwrap_or(now);
        let place = next.map_or(now, |next| next.max(earliest));
        *next = Some(place + self.distance);
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_have_equal_distances_and_are_not_saved_up() {
        let rate = RequestRate::new(100);
        let now = Instant::now();
        let ms = Duration::from_millis;
        assert_eq!(rate.take(now), now);
        assert_eq!(rate.take(now), now + ms(10));
        assert_eq!(rate.take(now + ms(3)), now + ms(20));
        // A little late: the row goes on as it was.
        assert_eq!(rate.take(now + ms(33)), now + ms(30));
        // After a pause it begins anew.
        assert_eq!(rate.take(now + ms(500)), now + ms(495));
    }
}
