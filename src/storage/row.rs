//! What goes into storage and what comes out: rows, lists, answers.

use std::sync::Arc;

/// A message to store; checked by the domain before it comes here.
#[derive(Clone, Debug)]
pub struct NewRow {
    pub id: Arc<str>,
    pub sender: Arc<str>,
    /// At most one of `recipient` and `channel`.
    pub recipient: Option<Arc<str>>,
    pub channel: Option<Arc<str>>,
    pub content: Arc<str>,
    pub timestamp_ms: Option<i64>,
    pub ttl_ms: Option<i64>,
    pub extras: Option<Arc<str>>,
}

impl NewRow {
    /// What the row weighs in the writer's queue, in bytes.
    pub(super) fn bytes(&self) -> usize {
        weigh(
            [&self.id, &self.sender, &self.content],
            [&self.recipient, &self.channel, &self.extras],
        )
    }
}

impl Row {
    /// What the row weighs in memory, in bytes.
    pub(super) fn bytes(&self) -> usize {
        weigh(
            [&self.id, &self.sender, &self.content],
            [&self.recipient, &self.channel, &self.extras],
        )
    }
}

/// The struct, the allocations' heads and the queue's or cache's entry.
const ROW_OVERHEAD_BYTES: usize = 256;

fn weigh(texts: [&Arc<str>; 3], optional: [&Option<Arc<str>>; 3]) -> usize {
    let optional = optional.into_iter().flatten();
    ROW_OVERHEAD_BYTES
        + texts
            .into_iter()
            .chain(optional)
            .map(|text| text.len())
            .sum::<usize>()
}

/// A stored message that is neither expired nor deleted.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub sequence: i64,
    pub id: Arc<str>,
    pub sender: Arc<str>,
    pub recipient: Option<Arc<str>>,
    pub channel: Option<Arc<str>>,
    pub content: Arc<str>,
    pub timestamp_ms: Option<i64>,
    pub received_at_ms: i64,
    /// Resolved: also where it follows from the retention.
    pub expires_at_ms: Option<i64>,
    /// `None`: it waits for its recipient.
    pub delivered_at_ms: Option<i64>,
    pub extras: Option<Arc<str>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Queued,
    Delivered,
    Expired,
    Deleted,
}

/// The answer to one stored or repeated message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Put {
    pub sequence: i64,
    pub received_at_ms: i64,
    pub state: State,
    pub duplicate: bool,
}

/// Which messages of an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    Channel,
    /// Sent by or addressed to the owner, each once.
    All,
    Inbox,
    Sent,
    /// Addressed to the owner and not acknowledged.
    Queued,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cursor {
    /// The oldest above.
    After(i64),
    /// The newest below.
    Before(i64),
}

#[derive(Clone, Debug)]
pub struct ListQuery {
    pub owner: Arc<str>,
    pub list: List,
    pub from: Cursor,
    pub limit: usize,
    /// The page ends once its rows weigh this much; it holds at least one if there is one.
    pub bytes_max: usize,
}

/// Ascending by sequence; `has_more` in the direction read.
#[derive(Clone, Debug)]
pub struct Rows {
    pub rows: Vec<Arc<Row>>,
    pub has_more: bool,
}
