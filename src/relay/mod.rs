//! The domain of the relay: accept, fetch, acknowledge, delete, watch.
//!
//! A [`Relay`] is a cheap handle over storage and the hub. Order is store, commit, answer, publish:
//! nothing here answers before its commit, and nothing is pushed that is not durable.
//!
//! Architecture invariant: `relay` knows no HTTP, no SQL and no JSON. It reaches storage through
//! put, get, list from a cursor, ack and delete alone, so that another store can stand behind it.

mod convert;
mod hub;
mod message;
mod page;

use crate::storage::{self, Storage};

pub use hub::Watch;
pub use message::{
    Accepted, Address, Draft, MessageId, Name, NewMessage, Rejected, Sequence, Status,
    StoredMessage,
};
pub use page::{AckTarget, Feed, From, MailboxBox, Page, PageQuery};
pub use storage::StorageStatus as RelayStatus;

#[derive(Clone)]
pub struct Relay {
    storage: Storage,
    hub: hub::Hub,
}

/// Why a call did nothing, by what its caller can do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The id stands for another message. `index` is the item's place in a batch.
    #[error("the id belongs to another message: {field} differs")]
    Conflict {
        index: Option<usize>,
        field: &'static str,
    },
    /// Nothing was stored; soon there will be room again.
    #[error("{what}")]
    Overloaded { what: &'static str },
    /// Nothing was stored, and nothing will be until space is made.
    #[error("{what}")]
    Full { what: &'static str },
    /// Nothing was stored: storage is stopping.
    #[error("storage is stopping")]
    Unavailable,
    /// The commit's sync failed: the message may or may not be there after a restart. The
    /// connection is closed without an answer.
    #[error("the outcome of the commit is unknown: its sync failed")]
    OutcomeUnknown,
    #[error("storage could not do it")]
    Storage(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Whether messages can be made durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    Ok,
    Degraded(&'static str),
}

impl Relay {
    /// Limits and metrics are those that `storage` was opened with.
    pub fn new(storage: Storage) -> Relay {
        let hub = hub::Hub::new();
        let listener = hub.clone();
        storage.on_commit(Box::new(move |rows| convert::publish(&listener, rows)));
        Relay { storage, hub }
    }

    /// Resolves once the message is durable. Dropping the future does not take it back.
    pub async fn post(&self, message: NewMessage) -> Result<Accepted, Error> {
        let id = message.id.clone();
        let put = self.storage.put(convert::new_row(message)).await?;
        Ok(convert::accepted(id, put))
    }

    /// One commit, all or nothing; answers in the order given.
    pub async fn post_batch(&self, messages: Vec<NewMessage>) -> Result<Vec<Accepted>, Error> {
        let ids: Vec<MessageId> = messages.iter().map(|message| message.id.clone()).collect();
        let rows = messages.into_iter().map(convert::new_row).collect();
        let puts = self.storage.put_batch(rows).await?;
        Ok(ids
            .into_iter()
            .zip(puts)
            .map(|(id, put)| convert::accepted(id, put))
            .collect())
    }

    pub async fn get(&self, id: &MessageId) -> Result<Option<StoredMessage>, Error> {
        let row = self.storage.get(id.as_str()).await?;
        Ok(row.map(|row| convert::stored(&row)))
    }

    /// Also what sessions read; a page is a moment's copy and holds nothing open.
    pub async fn page(&self, query: PageQuery) -> Result<Page, Error> {
        let from = query.from;
        let (list, committed) = self.storage.list(convert::list_query(query)).await?;
        Ok(convert::page(list, from, Sequence(committed)))
    }

    /// Marks messages addressed to `user` as delivered; answers how many were not yet.
    pub async fn ack(&self, user: Name, what: AckTarget) -> Result<u64, Error> {
        Ok(match what {
            AckTarget::Ids(ids) => {
                let ids = ids.iter().map(MessageId::shared).collect();
                self.storage.ack_ids(user.shared(), ids).await?
            }
            AckTarget::UpTo(sequence) => self.storage.ack_up_to(user.shared(), sequence.0).await?,
        })
    }

    /// `false` where there is no such message (any more).
    pub async fn delete(&self, id: MessageId) -> Result<bool, Error> {
        Ok(self.storage.delete(id.shared()).await?)
    }

    /// Watch first, then read from storage to the end, then wait: so nothing is missed.
    pub fn watch(&self, feed: &Feed) -> Watch {
        self.hub.watch(feed)
    }

    /// Mailboxes and channels that somebody watches.
    pub fn watched_feeds(&self) -> usize {
        self.hub.watched()
    }

    /// The highest committed sequence: everything up to it can be read.
    pub fn committed(&self) -> Sequence {
        Sequence(self.storage.committed())
    }

    /// Names this database's history of sequences; a restore begins a new one.
    pub fn epoch(&self) -> &str {
        self.storage.epoch()
    }

    pub fn status(&self) -> RelayStatus {
        self.storage.status()
    }

    pub fn health(&self) -> Health {
        match self.storage.trouble() {
            None => Health::Ok,
            Some(reason) => Health::Degraded(reason),
        }
    }
}
