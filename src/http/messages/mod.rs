//! Messages over HTTP: post, batch, read, acknowledge, delete.
//!
//! Parsing happens here, once, into domain types that cannot be invalid (`wire`); answers are
//! written by hand (`answer`), because these are the relay's hot routes.

mod answer;
mod read;
mod wire;

use bytes::Bytes;

use crate::http::app::App;
use crate::http::call::Call;
use crate::http::error::ApiError;
use crate::http::reply::{self, Response};
use crate::limits::{ACK_IDS_MAX, BATCH_MESSAGES_MAX};
use crate::metrics::{Refusal, RefusedLabels};
use crate::relay::{self, Accepted, AckTarget, MessageId, Name, NewMessage, Rejected, Sequence};

use answer::write_accepted;
pub(crate) use answer::{write_accepted_fields, write_message};
pub(crate) use read::{cursor, list, mailbox_box, named_feed};
pub(crate) use wire::Object;

/// Keys of a WebSocket frame that are not fields of its message.
const FRAME_KEYS: [&str; 2] = ["type", "ref"];

/// `POST /api/v1/messages`
pub(crate) async fn post(app: &App, body: &Bytes) -> Result<Response, ApiError> {
    let accepted = async {
        let message = Object::parse(body)?.message(&app.limits, &[])?;
        accept(app, message).await
    };
    let accepted = accepted
        .await
        .inspect_err(|error| count_refused(app, error, 1))?;
    let mut out = Vec::with_capacity(192);
    write_accepted(&mut out, &accepted);
    Ok(reply::json_text(out))
}

/// A message of a WebSocket frame; its `type` and `ref` are not the message's.
pub(crate) fn message_of_frame(app: &App, frame: &Object<'_>) -> Result<NewMessage, ApiError> {
    frame.message(&app.limits, &FRAME_KEYS)
}

/// Durable when it returns `Ok`.
pub(crate) async fn accept(app: &App, message: NewMessage) -> Result<Accepted, ApiError> {
    app.relay()?.post(message).await.map_err(refused)
}

/// `POST /api/v1/messages/batch`
pub(crate) async fn post_batch(app: &App, body: &Bytes) -> Result<Response, ApiError> {
    let mut count = 1;
    let accepted = async {
        let object = Object::parse(body)?;
        let items = object.items("messages")?;
        if items.is_empty() || items.len() > BATCH_MESSAGES_MAX {
            return Err(ApiError::invalid_message(
                "messages",
                format!(
                    "messages has {} items; it must have 1 to {BATCH_MESSAGES_MAX}",
                    items.len()
                ),
            ));
        }
        count = items.len() as u64;
        let messages = items.iter().enumerate().map(|(index, item)| {
            let message = item
                .object()
                .and_then(|object| object.message(&app.limits, &[]));
            message.map_err(|error| error.inside(&format!("messages[{index}]")))
        });
        let messages = messages.collect::<Result<Vec<_>, _>>()?;
        app.relay()?.post_batch(messages).await.map_err(refused)
    };
    let accepted = accepted
        .await
        .inspect_err(|error| count_refused(app, error, count))?;
    let mut out = Vec::with_capacity(16 + 160 * accepted.len());
    out.extend_from_slice(b"{\"results\":[");
    for (index, one) in accepted.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_accepted(&mut out, one);
    }
    out.extend_from_slice(b"]}");
    Ok(reply::json_text(out))
}

/// `GET /api/v1/messages/{id}`
pub(crate) async fn get(app: &App, call: &Call) -> Result<Response, ApiError> {
    let id = stored_id(call)?;
    let message = app.relay()?.get(&id).await.map_err(refused)?;
    let message = message.ok_or_else(|| ApiError::message_not_found(id.as_str()))?;
    let mut out = Vec::with_capacity(message.content.len() + 384);
    write_message(&mut out, &message);
    Ok(reply::json_text(out))
}

/// `DELETE /api/v1/messages/{id}`
pub(crate) async fn delete(app: &App, call: &Call) -> Result<Response, ApiError> {
    let id = stored_id(call)?;
    if app.relay()?.delete(id.clone()).await.map_err(refused)? {
        return Ok(reply::no_content());
    }
    Err(ApiError::message_not_found(id.as_str()))
}

/// `POST /api/v1/messages/ack`
pub(crate) async fn ack(app: &App, body: &Bytes) -> Result<Response, ApiError> {
    let (user, target) = ack_target(&Object::parse(body)?)?;
    let acknowledged = app.relay()?.ack(user, target).await.map_err(refused)?;
    Ok(reply::json_text(format!(
        "{{\"acknowledged\":{acknowledged}}}"
    )))
}

/// Who acknowledges what, of a request or a frame.
pub(crate) fn ack_target(object: &Object<'_>) -> Result<(Name, AckTarget), ApiError> {
    let user = object.text("user")?;
    let user = user.ok_or_else(|| ApiError::invalid_message("user", "user is required"))?;
    let user = Name::new("user", &user).map_err(rejected)?;
    let target = match (object.has("ids"), object.integer("up_to")?) {
        (true, None) => AckTarget::Ids(ack_ids(object)?),
        (false, Some(up_to)) if up_to >= 0 => AckTarget::UpTo(Sequence(up_to)),
        (false, Some(up_to)) => {
            return Err(ApiError::invalid_message(
                "up_to",
                format!("up_to is {up_to}; a sequence is not negative"),
            ));
        }
        _ => {
            return Err(ApiError::invalid_message(
                "ids",
                "exactly one of ids and up_to is required",
            ));
        }
    };
    Ok((user, target))
}

fn ack_ids(object: &Object<'_>) -> Result<Vec<MessageId>, ApiError> {
    let items = object.items("ids")?;
    if items.is_empty() || items.len() > ACK_IDS_MAX {
        return Err(ApiError::invalid_message(
            "ids",
            format!(
                "ids has {} items; it must have 1 to {ACK_IDS_MAX}",
                items.len()
            ),
        ));
    }
    let ids = items.iter().enumerate().map(|(index, item)| {
        let field = || format!("ids[{index}]");
        let text = item.text().map_err(|error| error.field(field()))?;
        MessageId::new(&text).map_err(|error| rejected(error).field(field()))
    });
    ids.collect()
}

/// An id that no message can have belongs to no message.
fn stored_id(call: &Call) -> Result<MessageId, ApiError> {
    let given = call.parameter();
    MessageId::new(given).map_err(|_| ApiError::message_not_found(given))
}

/// A value that the domain refuses.
pub(crate) fn rejected(error: Rejected) -> ApiError {
    match error {
        Rejected::Invalid { field, rule } => {
            ApiError::invalid_message(field, format!("{field} {rule}"))
        }
        Rejected::TooLarge {
            field,
            bytes,
            limit,
        } => ApiError::too_large(field, bytes, limit).field(field),
    }
}

/// A call that the domain did not do.
pub(crate) fn refused(error: relay::Error) -> ApiError {
    match error {
        relay::Error::Conflict { index, field } => {
            let message = format!("the id belongs to another message: its {field} differs");
            let conflict = ApiError::conflict(message).field(field);
            match index {
                Some(index) => conflict.inside(&format!("messages[{index}]")),
                None => conflict,
            }
        }
        relay::Error::Overloaded { what } => ApiError::overloaded(what),
        relay::Error::Full { what } => ApiError::storage_full(what),
        error @ relay::Error::Unavailable => ApiError::storage_unavailable(error.to_string()),
        relay::Error::OutcomeUnknown => ApiError::outcome_unknown(),
        error @ relay::Error::Storage(_) => {
            ApiError::storage_unavailable("messages.db cannot be used").caused_by(error)
        }
    }
}

/// Counts messages that were not taken, by reason.
pub(crate) fn count_refused(app: &App, error: &ApiError, messages: u64) {
    let reason = match error.status().as_u16() {
        409 => Refusal::Conflict,
        413 => Refusal::TooLarge,
        507 => Refusal::Full,
        503 if error.is_overload() => Refusal::Overloaded,
        500.. => Refusal::Unavailable,
        _ => Refusal::Invalid,
    };
    let labels = RefusedLabels { reason };
    app.metrics
        .messages_refused
        .get_or_create(&labels)
        .inc_by(messages);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_of_the_domain_have_their_statuses() {
        let table = [
            (
                relay::Error::Overloaded { what: "the queue" },
                503,
                "OVERLOADED",
            ),
            (relay::Error::Full { what: "the disk" }, 507, "STORAGE_FULL"),
            (relay::Error::Unavailable, 503, "STORAGE_UNAVAILABLE"),
            (
                relay::Error::Storage("disk I/O error".into()),
                503,
                "STORAGE_UNAVAILABLE",
            ),
            (
                relay::Error::Conflict {
                    index: Some(17),
                    field: "content",
                },
                409,
                "messages[17].content",
            ),
        ];
        let request_id = crate::http::call::RequestIds::new().next();
        for (error, status, part) in table {
            let error = refused(error);
            let mut text = Vec::new();
            error.write_fields(&mut text, &request_id);
            let text = String::from_utf8(text).expect("errors are text");
            assert_eq!(error.status().as_u16(), status, "{text}");
            assert!(text.contains(part), "{text}");
            assert!(
                !text.contains("disk I/O"),
                "causes are logged, not sent: {text}"
            );
        }
    }

    #[test]
    fn commit_of_unknown_outcome_is_not_answered() {
        assert!(refused(relay::Error::OutcomeUnknown).is_unanswered());
    }
}
