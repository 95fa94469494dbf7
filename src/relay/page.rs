//! What can be listed, from where, and what a page of it looks like.

use super::message::{MessageId, Name, Sequence, StoredMessage};

/// A list of messages that grows only at its end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Feed {
    Mailbox { user: Name, which: MailboxBox },
    Channel(Name),
}

/// Which messages of a user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MailboxBox {
    /// Sent by the user or addressed to the user, each once.
    #[default]
    All,
    Inbox,
    Sent,
    /// Addressed to the user and not acknowledged yet.
    Queued,
}

/// The end of a feed at which a page starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// The oldest messages above this sequence.
    After(Sequence),
    /// The newest messages below this sequence.
    Before(Sequence),
    Newest,
}

#[derive(Clone, Debug)]
pub struct PageQuery {
    pub feed: Feed,
    pub from: From,
    /// 1 to [`crate::limits::PAGE_MESSAGES_MAX`]; the edge has checked it.
    pub limit: usize,
    /// The page ends once its messages weigh this much; it holds at least one if there is one.
    pub bytes_max: usize,
}

/// Ascending by sequence. May hold fewer messages than asked for: only `has_more` counts.
#[derive(Clone, Debug)]
pub struct Page {
    pub messages: Vec<StoredMessage>,
    /// The last sequence of the page; of an empty page the cursor given, else the highest
    /// committed sequence.
    pub next_after: Sequence,
    /// The first sequence of the page; of an empty page the cursor given, else 0.
    pub next_before: Sequence,
    /// There is more in the direction read: `After`: newer, otherwise older.
    pub has_more: bool,
}

/// Which of a user's messages an acknowledgement means.
#[derive(Clone, Debug)]
pub enum AckTarget {
    Ids(Vec<MessageId>),
    UpTo(Sequence),
}
