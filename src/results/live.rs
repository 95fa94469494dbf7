//! Who is told that a run has changed: a broadcast of "run X has new seconds", never of data.
//!
//! A watcher that falls behind is told that something changed and reads again, so that memory is
//! bounded and nothing is lost.

use tokio::sync::broadcast;

use super::run::RunId;

/// Changes that a slow watcher may be behind before they melt into one.
const CHANGES_MAX: usize = 256;

/// What changed in a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    run_id: Option<RunId>,
    /// First and last second with new points, unix time; `None`: the run itself (state, target,
    /// end), or too much to say.
    pub seconds: Option<(i64, i64)>,
}

impl Change {
    pub(super) fn of_run(run_id: RunId) -> Change {
        Change {
            run_id: Some(run_id),
            seconds: None,
        }
    }

    pub(super) fn of_points(run_id: RunId, seconds: (i64, i64)) -> Change {
        Change {
            run_id: Some(run_id),
            seconds: Some(seconds),
        }
    }
}

#[derive(Debug)]
pub(super) struct Live {
    changes: broadcast::Sender<Change>,
}

impl Live {
    pub(super) fn new() -> Live {
        Live {
            changes: broadcast::Sender::new(CHANGES_MAX),
        }
    }

    pub(super) fn publish(&self, change: Change) {
        // Nobody watching is normal.
        let _ = self.changes.send(change);
    }

    pub(super) fn watch(&self, run_id: RunId) -> Watch {
        Watch {
            run_id,
            changes: self.changes.subscribe(),
        }
    }
}

/// The changes of one run.
#[derive(Debug)]
pub struct Watch {
    run_id: RunId,
    changes: broadcast::Receiver<Change>,
}

impl Watch {
    /// The next change; `None` once the results are closed. Cancellation safe.
    pub async fn next(&mut self) -> Option<Change> {
        loop {
            match self.changes.recv().await {
                Ok(change) if change.run_id.as_ref() == Some(&self.run_id) => return Some(change),
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(_)) => {
                    return Some(Change {
                        run_id: None,
                        seconds: None,
                    });
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}
