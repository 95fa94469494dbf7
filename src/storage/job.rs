//! What the writer can be asked for, and how each request is answered.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::JobError;
use super::messages::{Fault, Work};
use super::row::{NewRow, Put};

/// Where an answer goes. A waiter that has gone away is normal: what was stored stays.
pub(super) type Answer<T> = oneshot::Sender<Result<T, JobError>>;

pub(super) enum Job {
    Put(NewRow, Answer<Put>),
    /// One commit, all or nothing.
    PutAll(Vec<NewRow>, Answer<Vec<Put>>),
    AckIds {
        user: Arc<str>,
        ids: Vec<Arc<str>>,
        answer: Answer<u64>,
    },
    /// One slice; the answer's flag says that there is more.
    AckUpTo {
        user: Arc<str>,
        up_to: i64,
        answer: Answer<(u64, bool)>,
    },
    Delete(Arc<str>, Answer<bool>),
    /// Upkeep and checkpoints have something to look at; changes nothing itself.
    Tick,
}

/// A job's result while its commit is still to come.
pub(super) enum Done {
    Put(Put),
    PutAll(Vec<Put>),
    AckIds(u64),
    AckUpTo((u64, bool)),
    Delete(bool),
    Tick,
}

impl Job {
    /// Whether it adds messages.
    pub(super) fn is_post(&self) -> bool {
        matches!(self, Job::Put(..) | Job::PutAll(..))
    }

    /// What the job weighs in the queue, in bytes.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Job::Put(row, _) => row.bytes(),
            Job::PutAll(rows, _) => rows.iter().map(NewRow::bytes).sum(),
            Job::AckIds { ids, .. } => ids.iter().map(|id| 64 + id.len()).sum(),
            Job::AckUpTo { .. } | Job::Delete(..) | Job::Tick => 64,
        }
    }

    /// A job of several rows runs in a savepoint of its own.
    pub(super) fn needs_savepoint(&self) -> bool {
        matches!(
            self,
            Job::PutAll(..) | Job::AckIds { .. } | Job::AckUpTo { .. }
        )
    }

    pub(super) fn run(&self, work: &mut Work<'_>) -> Result<Done, Fault> {
        Ok(match self {
            Job::Put(row, _) => Done::Put(work.put(row)?),
            Job::PutAll(rows, _) => Done::PutAll(work.put_all(rows)?),
            Job::AckIds { user, ids, .. } => Done::AckIds(work.ack_ids(user, ids)?),
            Job::AckUpTo { user, up_to, .. } => Done::AckUpTo(work.ack_up_to(user, *up_to)?),
            Job::Delete(id, _) => Done::Delete(work.delete(id)?),
            Job::Tick => Done::Tick,
        })
    }

    pub(super) fn answer(self, result: Result<Done, JobError>) {
        fn send<T>(answer: Answer<T>, result: Result<T, JobError>) {
            let _ = answer.send(result);
        }
        match (self, result) {
            (Job::Put(_, answer), Ok(Done::Put(put))) => send(answer, Ok(put)),
            (Job::PutAll(_, answer), Ok(Done::PutAll(puts))) => send(answer, Ok(puts)),
            (Job::AckIds { answer, .. }, Ok(Done::AckIds(count))) => send(answer, Ok(count)),
            (Job::AckUpTo { answer, .. }, Ok(Done::AckUpTo(slice))) => send(answer, Ok(slice)),
            (Job::Delete(_, answer), Ok(Done::Delete(was))) => send(answer, Ok(was)),
            (Job::Tick, _) => {}
            (job, Err(error)) => job.refuse(error),
            (_, Ok(_)) => unreachable!("a job's result is of the job's own kind"),
        }
    }

    pub(super) fn refuse(self, error: JobError) {
        match self {
            Job::Put(_, answer) => drop(answer.send(Err(error))),
            Job::PutAll(_, answer) => drop(answer.send(Err(error))),
            Job::AckIds { answer, .. } => drop(answer.send(Err(error))),
            Job::AckUpTo { answer, .. } => drop(answer.send(Err(error))),
            Job::Delete(_, answer) => drop(answer.send(Err(error))),
            Job::Tick => {}
        }
    }
}
