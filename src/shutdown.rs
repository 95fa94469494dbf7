//! Stop signals and the phases of the drain.
//!
//! A leaf: it knows nothing of what is drained. [`Signal`] is handed to whoever must stop; tests
//! make their own and trigger it. The signal task lives as long as the process: there is nothing
//! to end it for.

use std::fmt;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio_util::sync::CancellationToken;

/// Exit code when a second signal cuts the drain short; the same as for a passed drain deadline.
const EXIT_DRAIN_CUT: i32 = 5;

/// A request to stop, seen by everybody who holds a clone. It is never taken back.
#[derive(Clone, Debug, Default)]
pub struct Signal {
    token: CancellationToken,
}

impl Signal {
    /// A signal that only [`Signal::trigger`] raises.
    pub fn new() -> Signal {
        Signal::default()
    }

    /// Raises the signal. Repeats change nothing.
    pub fn trigger(&self) {
        self.token.cancel();
    }

    pub fn is_triggered(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Returns once the signal is raised, at once if it was before. Cancellation safe.
    pub async fn triggered(&self) {
        self.token.cancelled().await;
    }
}

/// Listens for SIGTERM and SIGINT (Ctrl-C elsewhere): the first one raises the returned signal,
/// the second one ends the process at once with exit code 5. Call it inside a runtime, once.
pub fn on_stop_signals() -> std::io::Result<Signal> {
    let signal = Signal::new();
    let raised = signal.clone();
    let mut stops = Stops::listen()?;
    tokio::spawn(async move {
        let name = stops.next().await;
        tracing::info!(signal = name, "stopping; a second signal exits at once");
        raised.trigger();
        let name = stops.next().await;
        tracing::warn!(signal = name, "second signal: exiting at once");
        process::exit(EXIT_DRAIN_CUT);
    });
    Ok(signal)
}

/// Where a drain is. Later phases never go back to earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// Serving.
    Running,
    /// Readiness fails, no connection is accepted, requests finish, sockets close.
    Connections,
    /// The writer works off its queue, checkpoints and closes.
    Storage,
    /// Nothing is open any more.
    Done,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::Running => "running",
            Phase::Connections => "connections",
            Phase::Storage => "storage",
            Phase::Done => "done",
        })
    }
}

/// The phase of one server's drain, shared with whoever reports it.
#[derive(Clone, Debug)]
pub struct Phases(Arc<AtomicU8>);

impl Phases {
    pub fn new() -> Phases {
        Phases(Arc::new(AtomicU8::new(Phase::Running as u8)))
    }

    pub fn enter(&self, phase: Phase) {
        let before = self.0.fetch_max(phase as u8, Ordering::AcqRel);
        assert!(before <= phase as u8, "a drain never goes back");
    }

    pub fn current(&self) -> Phase {
        match self.0.load(Ordering::Acquire) {
            0 => Phase::Running,
            1 => Phase::Connections,
            2 => Phase::Storage,
            _ => Phase::Done,
        }
    }
}

impl Default for Phases {
    fn default() -> Self {
        Phases::new()
    }
}

#[cfg(unix)]
struct Stops {
    term: tokio::signal::unix::Signal,
    int: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Stops {
    fn listen() -> std::io::Result<Stops> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Stops {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.term.recv() => "SIGTERM",
            _ = self.int.recv() => "SIGINT",
        }
    }
}

#[cfg(not(unix))]
struct Stops;

#[cfg(not(unix))]
impl Stops {
    fn listen() -> std::io::Result<Stops> {
        Ok(Stops)
    }

    async fn next(&mut self) -> &'static str {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        "Ctrl-C"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn triggered_signal_reaches_every_clone() {
        let signal = Signal::new();
        let clone = signal.clone();
        assert!(!clone.is_triggered());
        signal.trigger();
        clone.triggered().await;
        assert!(clone.is_triggered());
    }

    #[test]
    fn phases_go_forward() {
        let phases = Phases::new();
        phases.enter(Phase::Connections);
        phases.clone().enter(Phase::Storage);
        assert_eq!(phases.current(), Phase::Storage);
    }
}
