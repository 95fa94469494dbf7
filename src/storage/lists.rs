//! The readers' statements: one message by id, one page of a list.
//!
//! A list is one index or the ordered merge of several (see `schema.sql`): each is read lazily and
//! only as far as the page needs. What has expired but is not swept yet is skipped here.

use std::sync::Arc;
use std::time::Instant;

use r2d2_sqlite::rusqlite::{self, CachedStatement, Connection, OptionalExtension, params};

use super::messages::{Id, ends_at_ms, id_text};
use super::row::{Cursor, List, ListQuery, Row};

/// By what a reader decides what is still there, and how long it may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    pub(super) expiry_now_ms: i64,
    pub(super) retention_ms: i64,
    pub(super) until: Instant,
}

/// A part of a page, from one read transaction.
#[derive(Debug)]
pub(super) struct Slice {
    /// Ascending.
    pub(super) rows: Vec<Arc<Row>>,
    pub(super) more: bool,
    /// The last sequence looked at, shown or not.
    pub(super) scanned_to: i64,
}

pub(super) fn get(
    connection: &Connection,
    id: &str,
    view: &View,
) -> rusqlite::Result<Option<Arc<Row>>> {
    let mut statement = connection.prepare_cached(GET)?;
    let row = statement
        .query_row([Id::new(id)], |row| read(row, view))
        .optional()?;
    Ok(row.filter(|row| is_alive(row, view)).map(Arc::new))
}

pub(super) fn list(
    connection: &Connection,
    query: &ListQuery,
    view: &View,
) -> rusqlite::Result<Slice> {
    // One snapshot for all parts of a merge.
    let snapshot = connection.unchecked_transaction()?;
    let slice = merge(&snapshot, query, view)?;
    snapshot.finish()?;
    Ok(slice)
}

fn merge(connection: &Connection, query: &ListQuery, view: &View) -> rusqlite::Result<Slice> {
    let (texts, cursor, forward) = match query.from {
        Cursor::After(cursor) => (forward(query.list), cursor, true),
        Cursor::Before(cursor) => (backward(query.list), cursor, false),
    };
    let mut statements = texts
        .iter()
        .map(|sql| connection.prepare_cached(sql))
        .collect::<rusqlite::Result<Vec<CachedStatement<'_>>>>()?;
    let mut parts = statements
        .iter_mut()
        .map(|statement| Part::start(statement, &query.owner, cursor, view))
        .collect::<rusqlite::Result<Vec<Part<'_>>>>()?;
    let mut slice = Slice {
        rows: Vec::new(),
        more: false,
        scanned_to: cursor,
    };
    let mut bytes = 0;
    while let Some(row) = next(&mut parts, forward, view)? {
        if row.sequence == slice.scanned_to {
            // Sent to oneself: it stands in two parts.
            continue;
        }
        let alive = is_alive(&row, view);
        let full = slice.rows.len() == query.limit || bytes >= query.bytes_max;
        if (alive && full) || Instant::now() > view.until {
            slice.more = true;
            break;
        }
        slice.scanned_to = row.sequence;
        if alive {
            bytes += row.bytes();
            slice.rows.push(Arc::new(row));
        }
    }
    if !forward {
        slice.rows.reverse();
    }
    Ok(slice)
}

/// One index of a merge, with its next row read ahead.
struct Part<'s> {
    rows: rusqlite::Rows<'s>,
    head: Option<Row>,
}

impl<'s> Part<'s> {
    fn start(
        statement: &'s mut CachedStatement<'_>,
        owner: &str,
        cursor: i64,
        view: &View,
    ) -> rusqlite::Result<Part<'s>> {
        let mut part = Part {
            rows: statement.query(params![owner, cursor])?,
            head: None,
        };
        part.advance(view)?;
        Ok(part)
    }

    /// Gives the head out and reads the next.
    fn advance(&mut self, view: &View) -> rusqlite::Result<Option<Row>> {
        let next = self.rows.next()?.map(|row| read(row, view)).transpose()?;
        Ok(std::mem::replace(&mut self.head, next))
    }
}

fn next(parts: &mut [Part<'_>], forward: bool, view: &View) -> rusqlite::Result<Option<Row>> {
    let rank = |part: &&mut Part<'_>| {
        let sequence = part.head.as_ref().map_or(i64::MAX, |row| row.sequence);
        if forward { sequence } else { -sequence }
    };
    let first = parts
        .iter_mut()
        .filter(|part| part.head.is_some())
        .min_by_key(rank);
    match first {
        None => Ok(None),
        Some(part) => part.advance(view),
    }
}

fn is_alive(row: &Row, view: &View) -> bool {
    row.expires_at_ms.is_none_or(|at| at > view.expiry_now_ms)
}

/// In the order of [`columns`].
fn read(row: &rusqlite::Row<'_>, view: &View) -> rusqlite::Result<Row> {
    let text = |index: usize| -> rusqlite::Result<Option<Arc<str>>> {
        Ok(row.get_ref(index)?.as_str_or_null()?.map(Arc::from))
    };
    let delivered_at_ms = row.get(8)?;
    Ok(Row {
        sequence: row.get(0)?,
        id: id_text(row.get_ref(1)?)?,
        sender: row.get_ref(2)?.as_str()?.into(),
        recipient: text(3)?,
        channel: text(4)?,
        timestamp_ms: row.get(5)?,
        received_at_ms: row.get(6)?,
        expires_at_ms: ends_at_ms(row.get(7)?, delivered_at_ms, view.retention_ms),
        delivered_at_ms,
        content: row.get_ref(9)?.as_str()?.into(),
        extras: text(10)?,
    })
}

macro_rules! columns {
    () => {
        "sequence, id, sender, recipient, channel, timestamp_ms, received_at_ms, expires_at_ms, \
         delivered_at_ms, content, extras"
    };
}

const GET: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM message WHERE id = ?1 AND removed IS NULL"
);

macro_rules! part {
    ($index:literal, $owner:literal, forward) => {
        part!($index, $owner, " AND sequence > ?2 ORDER BY sequence")
    };
    ($index:literal, $owner:literal, backward) => {
        part!($index, $owner, " AND sequence < ?2 ORDER BY sequence DESC")
    };
    ($index:literal, $owner:literal, $tail:literal) => {
        concat!(
            "SELECT ",
            columns!(),
            " FROM message INDEXED BY ",
            $index,
            " WHERE removed IS NULL AND ",
            $owner,
            $tail
        )
    };
}

const SENT: [&str; 2] = [
    part!("message_sent", "sender = ?1", forward),
    part!("message_sent", "sender = ?1", backward),
];
const QUEUED: [&str; 2] = [
    part!(
        "message_queued",
        "recipient = ?1 AND delivered_at_ms IS NULL",
        forward
    ),
    part!(
        "message_queued",
        "recipient = ?1 AND delivered_at_ms IS NULL",
        backward
    ),
];
const TAKEN: [&str; 2] = [
    part!(
        "message_taken",
        "recipient = ?1 AND delivered_at_ms IS NOT NULL",
        forward
    ),
    part!(
        "message_taken",
        "recipient = ?1 AND delivered_at_ms IS NOT NULL",
        backward
    ),
];
const CHANNEL: [&str; 2] = [
    part!("message_channel", "channel = ?1", forward),
    part!("message_channel", "channel = ?1", backward),
];

fn forward(list: List) -> Vec<&'static str> {
    parts(list).iter().map(|part| part[0]).collect()
}

fn backward(list: List) -> Vec<&'static str> {
    parts(list).iter().map(|part| part[1]).collect()
}

fn parts(list: List) -> &'static [[&'static str; 2]] {
    match list {
        List::Channel => &[CHANNEL],
        List::All => &[SENT, QUEUED, TAKEN],
        List::Inbox => &[QUEUED, TAKEN],
        List::Sent => &[SENT],
        List::Queued => &[QUEUED],
    }
}
