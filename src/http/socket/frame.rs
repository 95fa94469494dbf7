//! Frames of the WebSocket: what clients ask, and what the relay writes.

use crate::http::call::RequestId;
use crate::http::error::ApiError;
use crate::http::json::{integer, string};
use crate::http::messages::{Object, mailbox_box, rejected, write_accepted_fields, write_message};
use crate::relay::{Accepted, Feed, MailboxBox, Name, Sequence, StoredMessage};

/// What a client wants, its fields checked only as far as the type goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Auth,
    Subscribe,
    Unsubscribe,
    Message,
    Ack,
    Ping,
}

impl Kind {
    pub(super) fn of(frame: &Object<'_>) -> Result<Kind, ApiError> {
        let text = frame.text("type")?;
        Ok(match text.as_deref() {
            Some("message") => Kind::Message,
            Some("ack") => Kind::Ack,
            Some("subscribe") => Kind::Subscribe,
            Some("unsubscribe") => Kind::Unsubscribe,
            Some("ping") => Kind::Ping,
            Some("auth") => Kind::Auth,
            Some(other) => {
                let message = format!("type {other:?} is not known");
                return Err(ApiError::invalid_message("type", message));
            }
            None => return Err(ApiError::invalid_message("type", "type is required")),
        })
    }
}

/// The raw `ref` of a frame, given back in its answer.
pub(super) fn reference(frame: &Object<'_>) -> Option<String> {
    frame.raw("ref").map(|raw| raw.get().to_owned())
}

/// Which feed a `subscribe` or `unsubscribe` means; without a box what is addressed to the user.
pub(super) fn feed(frame: &Object<'_>) -> Result<Feed, ApiError> {
    let which = frame.text("box")?;
    match (frame.text("user")?, frame.text("channel")?) {
        (Some(user), None) => Ok(Feed::Mailbox {
            user: Name::new("user", &user).map_err(rejected)?,
            which: match which {
                Some(which) => mailbox_box(&which).map_err(|_| {
                    ApiError::invalid_message("box", "box must be all, inbox or sent")
                })?,
                None => MailboxBox::Inbox,
            },
        }),
        (None, Some(channel)) if which.is_none() => Ok(Feed::Channel(
            Name::new("channel", &channel).map_err(rejected)?,
        )),
        (None, Some(_)) => Err(ApiError::invalid_message("box", "box needs user")),
        _ => Err(ApiError::invalid_message(
            "user",
            "exactly one of user and channel is required",
        )),
    }
}

/// Where a `subscribe` begins.
pub(super) fn after(frame: &Object<'_>) -> Result<Option<Sequence>, ApiError> {
    match frame.integer("after")? {
        Some(after) if after < 0 => Err(ApiError::invalid_message(
            "after",
            format!("after is {after}; a sequence is not negative"),
        )),
        after => Ok(after.map(Sequence)),
    }
}

/// Two feeds are one target whatever their box: subscribing again restarts it.
pub(super) fn same_target(a: &Feed, b: &Feed) -> bool {
    match (a, b) {
        (Feed::Mailbox { user: a, .. }, Feed::Mailbox { user: b, .. }) => a == b,
        (Feed::Channel(a), Feed::Channel(b)) => a == b,
        _ => false,
    }
}

/// `{"type":kind,"ref":…}` with more fields to come, or none.
pub(super) fn begin(kind: &str, reference: Option<&str>) -> Vec<u8> {
    let mut out = Vec::with_capacity(192);
    out.extend_from_slice(b"{\"type\":");
    string(&mut out, kind);
    if let Some(raw) = reference {
        out.extend_from_slice(b",\"ref\":");
        out.extend_from_slice(raw.as_bytes());
    }
    out
}

pub(super) fn plain(kind: &str, reference: Option<&str>) -> Vec<u8> {
    let mut out = begin(kind, reference);
    out.push(b'}');
    out
}

pub(super) fn accepted(accepted: &Accepted, reference: Option<&str>) -> Vec<u8> {
    let mut out = begin("accepted", reference);
    out.push(b',');
    write_accepted_fields(&mut out, accepted);
    out.push(b'}');
    out
}

pub(super) fn acked(count: u64, reference: Option<&str>) -> Vec<u8> {
    let mut out = begin("acked", reference);
    out.extend_from_slice(b",\"acknowledged\":");
    integer(&mut out, i64::try_from(count).unwrap_or(i64::MAX));
    out.push(b'}');
    out
}

pub(super) fn error(error: &ApiError, reference: Option<&str>, request_id: &RequestId) -> Vec<u8> {
    let mut out = begin("error", reference);
    out.push(b',');
    error.write_fields(&mut out, request_id);
    out.push(b'}');
    out
}

pub(super) fn subscribed(
    feed: &Feed,
    after: Sequence,
    epoch: &str,
    reference: Option<&str>,
) -> Vec<u8> {
    let mut out = begin("subscribed", reference);
    out.push(b',');
    write_target(&mut out, feed);
    out.extend_from_slice(b",\"after\":");
    integer(&mut out, after.0);
    out.extend_from_slice(b",\"epoch\":");
    string(&mut out, epoch);
    out.push(b'}');
    out
}

pub(super) fn unsubscribed(feed: &Feed, reference: Option<&str>) -> Vec<u8> {
    let mut out = begin("unsubscribed", reference);
    out.push(b',');
    write_target(&mut out, feed);
    out.push(b'}');
    out
}

pub(super) fn message(feed: &Feed, message: &StoredMessage) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.content.len() + 448);
    out.extend_from_slice(b"{\"type\":\"message\",\"for\":{");
    write_target(&mut out, feed);
    out.extend_from_slice(b"},\"message\":");
    write_message(&mut out, message);
    out.push(b'}');
    out
}

fn write_target(out: &mut Vec<u8>, feed: &Feed) {
    let (key, name) = match feed {
        Feed::Mailbox { user, .. } => ("user", user),
        Feed::Channel(channel) => ("channel", channel),
    };
    string(out, key);
    out.push(b':');
    string(out, name.as_str());
}
