//! `GET /api/v1/stream`: server-sent events of a mailbox or channel.
//!
//! The stream is pulled by the connection: a slow reader is served at its own pace, and one that
//! takes nothing is closed by the connection's clock. A drain ends the stream.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::stream;
use hyper::header::HeaderName;

use crate::http::app::{App, Subscriber};
use crate::http::call::Call;
use crate::http::error::ApiError;
use crate::http::json::integer;
use crate::http::messages::{cursor, named_feed, write_message};
use crate::http::reply::{self, Response};
use crate::http::subscription::Subscription;
use crate::limits::STREAM_HEARTBEAT;
use crate::relay::{MailboxBox, Sequence, StoredMessage};

/// Names the start cursor first, then what is stored, then what comes.
pub(crate) fn open(app: &App, call: &Call) -> Result<Response, ApiError> {
    let query = call.query();
    let feed = named_feed(query, MailboxBox::Inbox)?;
    let after = match last_event_id(call)? {
        Some(last) => Some(last),
        None => cursor(query, "after")?,
    };
    let place = app.subscriber()?;
    let subscription = Subscription::start(app, feed, after)?;
    app.metrics.event_streams.inc();
    let events = Events {
        app: app.clone(),
        subscription,
        begun: false,
        _place: place,
    };
    Ok(reply::event_stream(stream::unfold(
        events,
        async |mut events| {
            let bytes = events.next().await?;
            Some((Ok::<_, Infallible>(bytes), events))
        },
    )))
}

/// What a browser sends when it comes back; it wins over `after`.
fn last_event_id(call: &Call) -> Result<Option<Sequence>, ApiError> {
    let Some(text) = call
        .header(HeaderName::from_static("last-event-id"))
        .filter(|text| !text.is_empty())
    else {
        return Ok(None);
    };
    match text.parse() {
        Ok(sequence) if sequence >= 0 => Ok(Some(Sequence(sequence))),
        _ => Err(ApiError::invalid_query(
            "Last-Event-ID",
            format!("Last-Event-ID is {text:?}; it must be a sequence"),
        )),
    }
}

struct Events {
    app: App,
    subscription: Subscription,
    begun: bool,
    _place: Subscriber,
}

impl Events {
    /// The next bytes; `None` at a drain, or when storage cannot be read: the client comes back.
    async fn next(&mut self) -> Option<Bytes> {
        if !self.begun {
            self.begun = true;
            let start = self.subscription.cursor();
            return Some(format!("id: {start}\n\nretry: 2000\n\n").into());
        }
        let stop = self.app.stop.clone();
        loop {
            if stop.is_triggered() {
                return None;
            }
            if self.subscription.is_behind() {
                let messages = self.subscription.read().await.ok()?;
                if !messages.is_empty() {
                    return Some(events(&messages));
                }
                continue;
            }
            tokio::select! {
                () = stop.triggered() => return None,
                () = self.subscription.grown() => {}
                () = tokio::time::sleep(STREAM_HEARTBEAT) => {
                    let cursor = self.subscription.cursor();
                    return Some(format!(": alive\nid: {cursor}\n\n").into());
                }
            }
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.app.metrics.event_streams.dec();
    }
}

fn events(messages: &[StoredMessage]) -> Bytes {
    let content: usize = messages.iter().map(|message| message.content.len()).sum();
    let mut out = Vec::with_capacity(content + 420 * messages.len());
    for message in messages {
        out.extend_from_slice(b"id: ");
        integer(&mut out, message.sequence.0);
        // JSON text holds no line break.
        out.extend_from_slice(b"\ndata: ");
        write_message(&mut out, message);
        out.extend_from_slice(b"\n\n");
    }
    out.into()
}
