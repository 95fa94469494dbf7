//! `GET /api/v1/messages?user=` or `?channel=`: pages and long polls.

use std::time::Duration;

use crate::http::app::App;
use crate::http::call::{Call, Query};
use crate::http::error::ApiError;
use crate::http::json::integer;
use crate::http::messages::{refused, write_message};
use crate::http::reply::{self, Response};
use crate::limits::{PAGE_BYTES_MAX, PAGE_MESSAGES_DEFAULT, PAGE_MESSAGES_MAX, POLL_WAIT_MAX};
use crate::relay::{Feed, From, MailboxBox, Name, Page, PageQuery, Rejected, Sequence};

/// One page; with `wait` held until there is something, the time is over, or the relay stops.
pub(crate) async fn list(app: &App, call: &Call) -> Result<Response, ApiError> {
    let (query, wait) = parse(call.query())?;
    let relay = app.relay()?;
    let ask = async || relay.page(query.clone()).await.map_err(refused);
    let Some(wait) = wait else {
        return Ok(answer(&ask().await?));
    };
    // Watched before it is read, so that nothing falls between.
    let mut watch = relay.watch(&query.feed);
    let mut page = ask().await?;
    if page.messages.is_empty() {
        app.metrics.long_polls.inc();
        let held = Held(app);
        let deadline = tokio::time::sleep(wait);
        tokio::pin!(deadline);
        while page.messages.is_empty() {
            tokio::select! {
                _ = watch.changed() => page = ask().await?,
                () = &mut deadline => break,
                () = app.stop.triggered() => break,
            }
        }
        drop(held);
    }
    Ok(answer(&page))
}

/// A long poll that is being held; counted until it is answered or given up.
struct Held<'a>(&'a App);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.metrics.long_polls.dec();
    }
}

fn parse(query: Query<'_>) -> Result<(PageQuery, Option<Duration>), ApiError> {
    let invalid = |name: &'static str, rule: &'static str| Err(ApiError::invalid_query(name, rule));
    let (after, before) = (cursor(query, "after")?, cursor(query, "before")?);
    let limit = query.integer("limit", 1, PAGE_MESSAGES_MAX as i64)?;
    let wait = query.integer("wait", 0, POLL_WAIT_MAX.as_secs() as i64)?;
    let from = match (after, before) {
        (Some(_), Some(_)) => return invalid("before", "after and before exclude each other"),
        (Some(after), None) => From::After(after),
        (None, Some(before)) => From::Before(before),
        (None, None) => From::Newest,
    };
    if wait.is_some() && after.is_none() {
        return invalid("wait", "wait needs after");
    }
    let waiting_only = match query.get("status")?.as_deref() {
        None => false,
        Some("queued") => true,
        Some(_) => return invalid("status", "status can only be queued"),
    };
    let feed = match feed(query)? {
        Feed::Mailbox { user, which } if waiting_only => match which {
            MailboxBox::All | MailboxBox::Inbox | MailboxBox::Queued => Feed::Mailbox {
                user,
                which: MailboxBox::Queued,
            },
            MailboxBox::Sent => return invalid("box", "status=queued implies box=inbox"),
        },
        Feed::Channel(_) if waiting_only => return invalid("status", "status needs user"),
        feed => feed,
    };
    let limit = limit.map_or(PAGE_MESSAGES_DEFAULT, |limit| limit as usize);
    let wait = wait.map(|seconds| Duration::from_secs(seconds as u64));
    let query = PageQuery {
        feed,
        from,
        limit,
        bytes_max: PAGE_BYTES_MAX,
    };
    Ok((query, wait))
}

/// `user` with its `box` (`all` where missing), or `channel`.
pub(super) fn feed(query: Query<'_>) -> Result<Feed, ApiError> {
    named_feed(query, MailboxBox::All)
}

/// The same with another box where none is named.
pub(crate) fn named_feed(query: Query<'_>, unnamed: MailboxBox) -> Result<Feed, ApiError> {
    let which = query.get("box")?;
    match (query.get("user")?, query.get("channel")?) {
        (Some(user), None) => Ok(Feed::Mailbox {
            user: name("user", &user)?,
            which: which.map_or(Ok(unnamed), |text| mailbox_box(&text))?,
        }),
        (None, Some(channel)) if which.is_none() => Ok(Feed::Channel(name("channel", &channel)?)),
        (None, Some(_)) => Err(ApiError::invalid_query("box", "box needs user")),
        (Some(_), Some(_)) => Err(ApiError::invalid_query(
            "channel",
            "user and channel exclude each other",
        )),
        (None, None) => Err(ApiError::invalid_query(
            "user",
            "user or channel is required",
        )),
    }
}

pub(crate) fn mailbox_box(text: &str) -> Result<MailboxBox, ApiError> {
    match text {
        "all" => Ok(MailboxBox::All),
        "inbox" => Ok(MailboxBox::Inbox),
        "sent" => Ok(MailboxBox::Sent),
        _ => Err(ApiError::invalid_query(
            "box",
            "box must be all, inbox or sent",
        )),
    }
}

/// A sequence to read from.
pub(crate) fn cursor(query: Query<'_>, name: &'static str) -> Result<Option<Sequence>, ApiError> {
    Ok(query.integer(name, 0, i64::MAX)?.map(Sequence))
}

fn name(parameter: &'static str, text: &str) -> Result<Name, ApiError> {
    Name::new(parameter, text).map_err(|error| match error {
        Rejected::Invalid { field, rule } => {
            ApiError::invalid_query(field, format!("{field} {rule}"))
        }
        too_large @ Rejected::TooLarge { field, .. } => {
            ApiError::invalid_query(field, too_large.to_string())
        }
    })
}

fn answer(page: &Page) -> Response {
    let content: usize = page
        .messages
        .iter()
        .map(|message| message.content.len())
        .sum();
    let mut out = Vec::with_capacity(128 + content + 384 * page.messages.len());
    out.extend_from_slice(b"{\"messages\":[");
    for (index, message) in page.messages.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_message(&mut out, message);
    }
    out.extend_from_slice(b"],\"next_after\":");
    integer(&mut out, page.next_after.0);
    out.extend_from_slice(b",\"next_before\":");
    integer(&mut out, page.next_before.0);
    out.extend_from_slice(b",\"has_more\":");
    out.extend_from_slice(if page.has_more { b"true}" } else { b"false}" });
    reply::json_text(out)
}
