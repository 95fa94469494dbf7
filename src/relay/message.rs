//! What a message is, before and after it is stored.
//!
//! A [`NewMessage`] cannot be invalid: its constructor is the one place where names, content and
//! ttl are checked. Texts are `Arc<str>`, so that a message read once can be handed to many
//! sessions and to the recent cache without copying. Knows no JSON: extra fields are the raw text
//! of an object whose number and size the edge has checked.

use std::fmt;
use std::sync::Arc;

use crate::limits::{self, Limits};

/// A message's place in the one order of the relay; ascends strictly, never used twice.
///
/// 0 is before every message: a cursor of 0 reads from the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence(pub i64);

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A user's or channel's name: 1 to 128 Unicode scalars, no control characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

/// A message's id and idempotency key, under the same rule as a [`Name`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(Arc<str>);

/// A value that the contract refuses; `field` is the name the client used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    #[error("{field} {rule}")]
    Invalid { field: &'static str, rule: String },
    #[error("{field} is {bytes} bytes; the limit is {limit}")]
    TooLarge {
        field: &'static str,
        bytes: usize,
        limit: usize,
    },
}

impl Name {
    /// `field` names the value in the error.
    pub fn new(field: &'static str, text: &str) -> Result<Name, Rejected> {
        check_name(field, text)?;
        Ok(Name(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn shared(&self) -> Arc<str> {
        self.0.clone()
    }

    /// For a text that was checked before it was stored.
    pub(super) fn stored(text: Arc<str>) -> Name {
        Name(text)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl MessageId {
    pub fn new(text: &str) -> Result<MessageId, Rejected> {
        check_name("id", text)?;
        Ok(MessageId(text.into()))
    }

    /// An id of the relay's own: a UUIDv7, which ascends in time and so indexes well.
    pub fn assign() -> MessageId {
        let mut text = uuid::Uuid::encode_buffer();
        let text: &str = uuid::Uuid::now_v7().hyphenated().encode_lower(&mut text);
        MessageId(text.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn shared(&self) -> Arc<str> {
        self.0.clone()
    }

    pub(super) fn stored(text: Arc<str>) -> MessageId {
        MessageId(text)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whom a message is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A plain post: kept and readable by id, in the sender's own list only.
    Nobody,
    /// A user's mailbox; the message waits there until acknowledged.
    Recipient(Name),
    Channel(Name),
}

/// What a client sent, unchecked; an absent field is `None`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Draft<'a> {
    pub id: Option<&'a str>,
    pub sender: Option<&'a str>,
    pub recipient: Option<&'a str>,
    pub channel: Option<&'a str>,
    pub content: Option<&'a str>,
    /// The sender's clock, kept as given.
    pub timestamp_ms: Option<i64>,
    pub ttl_seconds: Option<i64>,
    /// Raw text of a JSON object with the fields beside the contract's; `None` when there are none.
    pub extras: Option<&'a str>,
}

/// A valid message that is not stored yet.
#[derive(Clone, Debug)]
pub struct NewMessage {
    pub(super) id: MessageId,
    pub(super) sender: Name,
    pub(super) address: Address,
    pub(super) content: Arc<str>,
    pub(super) timestamp_ms: Option<i64>,
    pub(super) ttl_ms: Option<i64>,
    pub(super) extras: Option<Arc<str>>,
}

impl NewMessage {
    /// Checks a draft by the contract's table and assigns an id where none was given.
    pub fn new(draft: Draft<'_>, limits: &Limits) -> Result<NewMessage, Rejected> {
        let id = match draft.id {
            Some(id) => MessageId::new(id)?,
            None => MessageId::assign(),
        };
        let sender = Name::new("sender", required("sender", draft.sender)?)?;
        let address = match (draft.recipient, draft.channel) {
            (None, None) => Address::Nobody,
            (Some(user), None) => Address::Recipient(Name::new("recipient", user)?),
            (None, Some(channel)) => Address::Channel(Name::new("channel", channel)?),
            (Some(_), Some(_)) => {
                return Err(invalid("channel", "must not stand together with recipient"));
            }
        };
        let content = required("content", draft.content)?;
        if content.is_empty() {
            return Err(invalid("content", "must not be empty"));
        }
        if content.len() > limits.content_bytes_max {
            return Err(Rejected::TooLarge {
                field: "content",
                bytes: content.len(),
                limit: limits.content_bytes_max,
            });
        }
        Ok(NewMessage {
            id,
            sender,
            address,
            content: content.into(),
            timestamp_ms: draft.timestamp_ms,
            ttl_ms: draft.ttl_seconds.map(ttl_ms).transpose()?,
            extras: draft.extras.map(Arc::from),
        })
    }

    pub fn id(&self) -> &MessageId {
        &self.id
    }

    pub fn sender(&self) -> &Name {
        &self.sender
    }

    pub fn address(&self) -> &Address {
        &self.address
    }
}

/// Where a stored message stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Durable, waits for its recipient.
    Queued,
    Delivered,
    /// Only in the answer to a repeat of its id.
    Expired,
    /// Only in the answer to a repeat of its id.
    Deleted,
}

impl Status {
    /// The contract's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Queued => "queued",
            Status::Delivered => "delivered",
            Status::Expired => "expired",
            Status::Deleted => "deleted",
        }
    }
}

/// A message as it is read back.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredMessage {
    pub id: MessageId,
    pub sequence: Sequence,
    pub sender: Name,
    pub address: Address,
    pub content: Arc<str>,
    pub timestamp_ms: Option<i64>,
    pub received_at_ms: i64,
    /// `None` while the message waits for its recipient without a ttl of its own.
    pub expires_at_ms: Option<i64>,
    /// [`Status::Queued`] or [`Status::Delivered`].
    pub status: Status,
    pub delivered_at_ms: Option<i64>,
    /// Raw text of a JSON object, as it was sent.
    pub extras: Option<Arc<str>>,
}

/// The answer to a post; sent only once the message is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    pub message_id: MessageId,
    pub status: Status,
    pub sequence: Sequence,
    pub received_at_ms: i64,
    /// The id was known: sequence and time are the first post's.
    pub duplicate: bool,
}

fn required<'a>(field: &'static str, value: Option<&'a str>) -> Result<&'a str, Rejected> {
    value.ok_or_else(|| invalid(field, "is required"))
}

fn ttl_ms(seconds: i64) -> Result<i64, Rejected> {
    if seconds < 1 || seconds as u64 > limits::TTL_SECONDS_MAX {
        return Err(invalid(
            "ttl_seconds",
            &format!(
                "must be an integer from 1 to {}, not {seconds}",
                limits::TTL_SECONDS_MAX
            ),
        ));
    }
    Ok(seconds * 1_000)
}

fn check_name(field: &'static str, text: &str) -> Result<(), Rejected> {
    let scalars = text.chars().count();
    if scalars == 0 {
        return Err(invalid(field, "must not be empty"));
    }
    if scalars > limits::NAME_SCALARS_MAX {
        return Err(invalid(
            field,
            &format!(
                "has {scalars} characters; the limit is {}",
                limits::NAME_SCALARS_MAX
            ),
        ));
    }
    if text.chars().any(char::is_control) {
        return Err(invalid(field, "must not contain control characters"));
    }
    Ok(())
}

fn invalid(field: &'static str, rule: &str) -> Rejected {
    Rejected::Invalid {
        field,
        rule: rule.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft<'a>() -> Draft<'a> {
        Draft {
            sender: Some("alice"),
            content: Some("hello"),
            ..Draft::default()
        }
    }

    fn field_of(draft: Draft<'_>) -> &'static str {
        match NewMessage::new(draft, &Limits::default()) {
            Err(Rejected::Invalid { field, .. } | Rejected::TooLarge { field, .. }) => field,
            Ok(_) => "accepted",
        }
    }

    #[test]
    fn every_rule_names_its_field() {
        let long = "é".repeat(129);
        let most = "é".repeat(128);
        let huge = "x".repeat(64 * 1024 + 1);
        let rows: [(&str, Draft<'_>); 13] = [
            ("accepted", draft()),
            (
                "accepted",
                Draft {
                    sender: Some(&most),
                    ..draft()
                },
            ),
            (
                "sender",
                Draft {
                    sender: None,
                    ..draft()
                },
            ),
            (
                "sender",
                Draft {
                    sender: Some(""),
                    ..draft()
                },
            ),
            (
                "sender",
                Draft {
                    sender: Some(&long),
                    ..draft()
                },
            ),
            (
                "sender",
                Draft {
                    sender: Some("a\u{7}"),
                    ..draft()
                },
            ),
            (
                "id",
                Draft {
                    id: Some("a\nb"),
                    ..draft()
                },
            ),
            (
                "channel",
                Draft {
                    recipient: Some("b"),
                    channel: Some("c"),
                    ..draft()
                },
            ),
            (
                "content",
                Draft {
                    content: None,
                    ..draft()
                },
            ),
            (
                "content",
                Draft {
                    content: Some(""),
                    ..draft()
                },
            ),
            (
                "content",
                Draft {
                    content: Some(&huge),
                    ..draft()
                },
            ),
            (
                "ttl_seconds",
                Draft {
                    ttl_seconds: Some(0),
                    ..draft()
                },
            ),
            (
                "ttl_seconds",
                Draft {
                    ttl_seconds: Some(3_153_600_001),
                    ..draft()
                },
            ),
        ];
        for (field, draft) in rows {
            assert_eq!(field, field_of(draft), "{draft:?}");
        }
    }

    #[test]
    fn assigned_ids_ascend() {
        let ids: Vec<MessageId> = (0..1_000).map(|_| MessageId::assign()).collect();
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
