//! Messages and acceptances as JSON text.

use crate::http::json::{integer, integer_or_null, string, string_or_null};
use crate::relay::{Accepted, Address, StoredMessage};

/// `{"message_id","status","sequence","received_at","duplicate"}`
pub(crate) fn write_accepted(out: &mut Vec<u8>, accepted: &Accepted) {
    out.push(b'{');
    write_accepted_fields(out, accepted);
    out.push(b'}');
}

/// The same without the braces, for a frame that has keys of its own.
pub(crate) fn write_accepted_fields(out: &mut Vec<u8>, accepted: &Accepted) {
    out.extend_from_slice(b"\"message_id\":");
    string(out, accepted.message_id.as_str());
    out.extend_from_slice(b",\"status\":");
    string(out, accepted.status.as_str());
    out.extend_from_slice(b",\"sequence\":");
    integer(out, accepted.sequence.0);
    out.extend_from_slice(b",\"received_at\":");
    integer(out, accepted.received_at_ms);
    out.extend_from_slice(b",\"duplicate\":");
    out.extend_from_slice(if accepted.duplicate {
        b"true"
    } else {
        b"false"
    });
}

/// A stored message with its extra fields, absent ones as `null`.
pub(crate) fn write_message(out: &mut Vec<u8>, message: &StoredMessage) {
    let (recipient, channel) = match &message.address {
        Address::Nobody => (None, None),
        Address::Recipient(user) => (Some(user.as_str()), None),
        Address::Channel(channel) => (None, Some(channel.as_str())),
    };
    out.extend_from_slice(b"{\"message_id\":");
    string(out, message.id.as_str());
    out.extend_from_slice(b",\"id\":");
    string(out, message.id.as_str());
    out.extend_from_slice(b",\"sequence\":");
    integer(out, message.sequence.0);
    out.extend_from_slice(b",\"sender\":");
    string(out, message.sender.as_str());
    out.extend_from_slice(b",\"recipient\":");
    string_or_null(out, recipient);
    out.extend_from_slice(b",\"channel\":");
    string_or_null(out, channel);
    out.extend_from_slice(b",\"content\":");
    string(out, &message.content);
    out.extend_from_slice(b",\"timestamp\":");
    integer_or_null(out, message.timestamp_ms);
    out.extend_from_slice(b",\"received_at\":");
    integer(out, message.received_at_ms);
    out.extend_from_slice(b",\"expires_at\":");
    integer_or_null(out, message.expires_at_ms);
    out.extend_from_slice(b",\"status\":");
    string(out, message.status.as_str());
    out.extend_from_slice(b",\"delivered_at\":");
    integer_or_null(out, message.delivered_at_ms);
    if let Some(extras) = &message.extras {
        // The text of an object that is never empty: without its braces it continues this one.
        out.push(b',');
        out.extend_from_slice(&extras.as_bytes()[1..extras.len() - 1]);
    }
    out.push(b'}');
}
