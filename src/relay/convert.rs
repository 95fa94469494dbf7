//! Between the domain's messages and storage's rows. Texts are shared, not copied.

use super::Error;
use super::hub::Hub;
use super::message::{
    Accepted, Address, MessageId, Name, NewMessage, Sequence, Status, StoredMessage,
};
use super::page::{Feed, From, MailboxBox, Page, PageQuery};
use crate::storage;

pub(super) fn new_row(message: NewMessage) -> storage::NewRow {
    let (recipient, channel) = match message.address {
        Address::Nobody => (None, None),
        Address::Recipient(user) => (Some(user.shared()), None),
        Address::Channel(channel) => (None, Some(channel.shared())),
    };
    storage::NewRow {
        id: message.id.shared(),
        sender: message.sender.shared(),
        recipient,
        channel,
        content: message.content,
        timestamp_ms: message.timestamp_ms,
        ttl_ms: message.ttl_ms,
        extras: message.extras,
    }
}

pub(super) fn accepted(message_id: MessageId, put: storage::Put) -> Accepted {
    Accepted {
        message_id,
        status: match put.state {
            storage::State::Queued => Status::Queued,
            storage::State::Delivered => Status::Delivered,
            storage::State::Expired => Status::Expired,
            storage::State::Deleted => Status::Deleted,
        },
        sequence: Sequence(put.sequence),
        received_at_ms: put.received_at_ms,
        duplicate: put.duplicate,
    }
}

pub(super) fn stored(row: &storage::Row) -> StoredMessage {
    let address = match (&row.recipient, &row.channel) {
        (Some(user), _) => Address::Recipient(Name::stored(user.clone())),
        (None, Some(channel)) => Address::Channel(Name::stored(channel.clone())),
        (None, None) => Address::Nobody,
    };
    StoredMessage {
        id: MessageId::stored(row.id.clone()),
        sequence: Sequence(row.sequence),
        sender: Name::stored(row.sender.clone()),
        address,
        content: row.content.clone(),
        timestamp_ms: row.timestamp_ms,
        received_at_ms: row.received_at_ms,
        expires_at_ms: row.expires_at_ms,
        status: match row.delivered_at_ms {
            None => Status::Queued,
            Some(_) => Status::Delivered,
        },
        delivered_at_ms: row.delivered_at_ms,
        extras: row.extras.clone(),
    }
}

pub(super) fn list_query(query: PageQuery) -> storage::ListQuery {
    let (owner, list) = match query.feed {
        Feed::Channel(channel) => (channel, storage::List::Channel),
        Feed::Mailbox { user, which } => (
            user,
            match which {
                MailboxBox::All => storage::List::All,
                MailboxBox::Inbox => storage::List::Inbox,
                MailboxBox::Sent => storage::List::Sent,
                MailboxBox::Queued => storage::List::Queued,
            },
        ),
    };
    storage::ListQuery {
        owner: owner.shared(),
        list,
        from: match query.from {
            From::After(sequence) => storage::Cursor::After(sequence.0),
            From::Before(sequence) => storage::Cursor::Before(sequence.0),
            From::Newest => storage::Cursor::Before(i64::MAX),
        },
        limit: query.limit,
        bytes_max: query.bytes_max,
    }
}

/// `committed` was read before the page was.
pub(super) fn page(rows: storage::Rows, from: From, committed: Sequence) -> Page {
    let (empty_after, empty_before) = match from {
        From::After(cursor) | From::Before(cursor) => (cursor, cursor),
        From::Newest => (committed, Sequence(0)),
    };
    Page {
        next_after: rows
            .rows
            .last()
            .map_or(empty_after, |row| Sequence(row.sequence)),
        next_before: rows
            .rows
            .first()
            .map_or(empty_before, |row| Sequence(row.sequence)),
        has_more: rows.has_more,
        messages: rows.rows.iter().map(|row| stored(row)).collect(),
    }
}

/// Tells the hub what one commit has added, in the order of its sequences.
pub(super) fn publish(hub: &Hub, rows: &mut dyn Iterator<Item = &storage::Row>) {
    if hub.is_idle() {
        return;
    }
    for row in rows {
        hub.publish_sent(&row.sender, row.sequence);
        if let Some(recipient) = &row.recipient {
            hub.publish_addressed(recipient, row.sequence);
        }
        if let Some(channel) = &row.channel {
            hub.publish_channel(channel, row.sequence);
        }
    }
}

impl std::convert::From<storage::JobError> for Error {
    fn from(error: storage::JobError) -> Error {
        match error {
            storage::JobError::Conflict { index, field } => Error::Conflict { index, field },
            storage::JobError::Overloaded { what } => Error::Overloaded { what },
            storage::JobError::Full { what } => Error::Full { what },
            storage::JobError::Unavailable => Error::Unavailable,
            storage::JobError::OutcomeUnknown => Error::OutcomeUnknown,
            other @ storage::JobError::Sqlite(_) => Error::Storage(Box::new(other)),
        }
    }
}
