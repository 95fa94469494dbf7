//! Waiting for an instant more exactly than tokio's timers do, which round up to milliseconds.
//!
//! Arrival rates of thousands a second need better: their loop runs on a thread of its own, parked
//! until the next due time. Tests run the same loop under tokio's paused time.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use tokio::time::Instant;

/// How a loop waits.
#[derive(Clone)]
pub(super) enum Pace {
    Tokio,
    Thread(Alarm),
}

impl Pace {
    /// Returns at `at`, or at once if that is past. Cancellation safe.
    pub(super) async fn until(&self, at: Instant) {
        match self {
            Pace::Tokio => tokio::time::sleep_until(at).await,
            Pace::Thread(alarm) => {
                alarm.set(None);
                Ring { alarm, at }.await;
            }
        }
    }
}

/// When the thread of [`block_on`] has to look again, set by whoever waits on it.
#[derive(Clone, Default)]
pub(super) struct Alarm(Arc<Mutex<Option<Instant>>>);

impl Alarm {
    fn set(&self, at: Option<Instant>) {
        *self.0.lock().unwrap_or_else(|e| e.into_inner()) = at;
    }

    fn at(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(|e| e.into_inner())
    }
}

struct Ring<'a> {
    alarm: &'a Alarm,
    at: Instant,
}

impl Future for Ring<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if Instant::now() >= self.at {
            self.alarm.set(None);
            return Poll::Ready(());
        }
        self.alarm.set(Some(self.at));
        Poll::Pending
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs `make(pace)` to its end on this thread, which sleeps in between.
pub(super) fn block_on<F: Future>(make: impl FnOnce(Pace) -> F) -> F::Output {
    let alarm = Alarm::default();
    let mut future = pin!(make(Pace::Thread(alarm.clone())));
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        match alarm.at() {
            None => std::thread::park(),
            Some(at) => {
                let left = at.saturating_duration_since(Instant::now());
                if !left.is_zero() {
                    std::thread::park_timeout(left);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn thread_waits_for_instants_and_for_wakers() {
        let (told, mut hears) = tokio::sync::mpsc::channel::<()>(1);
        let began = Instant::now();
        let waited = block_on(|pace| async move {
            pace.until(began + Duration::from_millis(5)).await;
            let waited = began.elapsed();
            std::thread::spawn(move || told.blocking_send(()));
            tokio::select! {
                biased;
                heard = hears.recv() => assert!(heard.is_some()),
                () = pace.until(began + Duration::from_secs(60)) => panic!("nobody woke us"),
            }
            waited
        });
        assert!(waited >= Duration::from_millis(5));
        assert!(began.elapsed() < Duration::from_secs(30));
    }
}
