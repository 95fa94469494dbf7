//! The writer's statements: put, acknowledge, delete, inside one transaction.
//!
//! A [`Work`] is one transaction's worth of changes. What the outside may see of it (counts, the
//! recent cache, the hub) is collected in [`Staged`] and used only after COMMIT; a mark takes the
//! part of a refused job back together with its savepoint.

use std::sync::Arc;

use r2d2_sqlite::rusqlite::types::{ToSqlOutput, ValueRef};
use r2d2_sqlite::rusqlite::{self, CachedStatement, Connection, OptionalExtension, Row, params};

use super::JobError;
use super::recent::Change;
use super::row::{self, NewRow, Put, State};

/// How long an id stays reserved after its message's end.
pub(super) const RESERVATION_MS: i64 = 24 * 3_600_000;

/// Messages that one commit acknowledges of a large `up_to`.
const ACK_SLICE_MESSAGES: usize = 500;

const REMOVED_EXPIRED: i64 = 1;
const REMOVED_DELETED: i64 = 2;

/// The one row of table `tally`, without the epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Tally {
    pub(super) sequence: i64,
    pub(super) stored: i64,
    pub(super) queued: i64,
    pub(super) expired_undelivered: i64,
    pub(super) walked_to: i64,
}

/// What a transaction will have done once it is committed.
#[derive(Debug, Default)]
pub(super) struct Staged {
    pub(super) totals: Totals,
    pub(super) changes: Vec<Change>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    pub(super) tally: Tally,
    pub(super) accepted: u64,
    pub(super) repeated: u64,
    pub(super) acknowledged: u64,
    pub(super) deleted: u64,
    pub(super) expired: u64,
}

/// A point to which a refused job's part of [`Staged`] is taken back.
pub(super) struct Mark {
    totals: Totals,
    changes: usize,
}

impl Staged {
    pub(super) fn new(tally: Tally) -> Staged {
        Staged {
            totals: Totals {
                tally,
                ..Totals::default()
            },
            changes: Vec::new(),
        }
    }

    pub(super) fn mark(&self) -> Mark {
        Mark {
            totals: self.totals,
            changes: self.changes.len(),
        }
    }

    pub(super) fn take_back(&mut self, mark: Mark) {
        self.totals = mark.totals;
        self.changes.truncate(mark.changes);
    }
}

/// Why a job's statements stopped.
#[derive(Debug)]
pub(super) enum Fault {
    /// The job is refused; the transaction goes on without it.
    Refused(JobError),
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Fault {
        Fault::Sqlite(error)
    }
}

/// One open transaction of the writer.
pub(super) struct Work<'c> {
    pub(super) connection: &'c Connection,
    insert: CachedStatement<'c>,
    pub(super) times: Times,
    pub(super) staged: Staged,
}

/// Read once per transaction, so that its messages share one time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub(super) now_ms: i64,
    /// By which messages expire; see [`super::clock`].
    pub(super) expiry_now_ms: i64,
    pub(super) retention_ms: i64,
}

impl<'c> Work<'c> {
    pub(super) fn new(
        connection: &'c Connection,
        times: Times,
        tally: Tally,
    ) -> rusqlite::Result<Work<'c>> {
        Ok(Work {
            connection,
            insert: connection.prepare_cached(INSERT)?,
            times,
            staged: Staged::new(tally),
        })
    }

    /// Its first statement is the only one that can conflict, so it needs no savepoint.
    pub(super) fn put(&mut self, new: &NewRow) -> Result<Put, Fault> {
        if let Some(put) = self.insert(new)? {
            return Ok(put);
        }
        match self.existing(new)? {
            Some(put) => {
                self.staged.totals.repeated += 1;
                Ok(put)
            }
            // What held the id is past its reservation and was taken away.
            None => Ok(self.insert(new)?.expect("the id is free now")),
        }
    }

    /// All or nothing by the caller's savepoint; a refusal names the item.
    pub(super) fn put_all(&mut self, rows: &[NewRow]) -> Result<Vec<Put>, Fault> {
        let mut puts = Vec::with_capacity(rows.len());
        for (index, row) in rows.iter().enumerate() {
            puts.push(self.put(row).map_err(|fault| match fault {
                Fault::Refused(JobError::Conflict { field, .. }) => {
                    Fault::Refused(JobError::Conflict {
                        index: Some(index),
                        field,
                    })
                }
                other => other,
            })?);
        }
        Ok(puts)
    }

    /// Those of `ids` that are addressed to `user` and still wait.
    pub(super) fn ack_ids(&mut self, user: &str, ids: &[Arc<str>]) -> Result<u64, Fault> {
        let mut statement = self.connection.prepare_cached(ACK_ID)?;
        let Times {
            now_ms,
            expiry_now_ms,
            retention_ms,
        } = self.times;
        let mut acknowledged = 0;
        for id in ids {
            let taken: Option<(i64, i64)> = statement
                .query_row(
                    params![
                        Id::new(id),
                        user,
                        now_ms,
                        now_ms + retention_ms,
                        expiry_now_ms
                    ],
                    |row| Ok((row.get(0)?, row.get(1)?)),
                )
                .optional()?;
            if let Some((sequence, expires_at_ms)) = taken {
                acknowledged += 1;
                self.delivered(sequence, expires_at_ms);
            }
        }
        Ok(acknowledged)
    }

    /// One commit's share of an acknowledgement up to a sequence; `true`: there is more.
    pub(super) fn ack_up_to(&mut self, user: &str, up_to: i64) -> Result<(u64, bool), Fault> {
        let mut statement = self.connection.prepare_cached(ACK_UP_TO)?;
        let Times {
            now_ms,
            expiry_now_ms,
            retention_ms,
        } = self.times;
        let taken = statement
            .query_map(
                params![
                    user,
                    up_to,
                    now_ms,
                    now_ms + retention_ms,
                    expiry_now_ms,
                    ACK_SLICE_MESSAGES as i64
                ],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )?
            .collect::<rusqlite::Result<Vec<(i64, i64)>>>()?;
        drop(statement);
        for (sequence, expires_at_ms) in &taken {
            self.delivered(*sequence, *expires_at_ms);
        }
        Ok((taken.len() as u64, taken.len() == ACK_SLICE_MESSAGES))
    }

    pub(super) fn delete(&mut self, id: &str) -> Result<bool, Fault> {
        let Some(found) = self.find(id)? else {
            return Ok(false);
        };
        if found.removed.is_some() || found.has_expired(self.times) {
            return Ok(false);
        }
        self.remove(&found, REMOVED_DELETED)?;
        self.staged.totals.deleted += 1;
        Ok(true)
    }

    /// Turns a message into a reservation of its id.
    pub(super) fn expire(&mut self, found: &Found) -> rusqlite::Result<()> {
        self.remove(found, REMOVED_EXPIRED)?;
        self.staged.totals.expired += 1;
        if found.waits() {
            self.staged.totals.tally.expired_undelivered += 1;
        }
        Ok(())
    }

    /// Takes a row away with its id. The caller has seen that the reservation is over.
    pub(super) fn erase(&mut self, sequence: i64) -> rusqlite::Result<()> {
        let mut statement = self
            .connection
            .prepare_cached("DELETE FROM message WHERE sequence = ?1")?;
        statement.execute([sequence])?;
        Ok(())
    }

    /// `None`: the id is taken.
    fn insert(&mut self, new: &NewRow) -> rusqlite::Result<Option<Put>> {
        let Times {
            now_ms,
            retention_ms,
            ..
        } = self.times;
        let sequence = self.staged.totals.tally.sequence + 1;
        let delivered_at_ms = new.recipient.is_none().then_some(now_ms);
        let expires_at_ms = new.ttl_ms.map(|ttl_ms| now_ms + ttl_ms);
        let inserted = self.insert.execute(params![
            sequence,
            Id::new(&new.id),
            new.sender.as_ref(),
            new.recipient.as_deref(),
            new.channel.as_deref(),
            new.timestamp_ms,
            now_ms,
            expires_at_ms,
            delivered_at_ms,
            new.content.as_ref(),
            new.extras.as_deref(),
        ])?;
        if inserted == 0 {
            return Ok(None);
        }
        let waits = delivered_at_ms.is_none();
        self.staged.totals.tally.sequence = sequence;
        self.staged.totals.tally.stored += 1;
        self.staged.totals.tally.queued += i64::from(waits);
        self.staged.totals.accepted += 1;
        self.staged.changes.push(Change::Added(Arc::new(row::Row {
            sequence,
            id: new.id.clone(),
            sender: new.sender.clone(),
            recipient: new.recipient.clone(),
            channel: new.channel.clone(),
            content: new.content.clone(),
            timestamp_ms: new.timestamp_ms,
            received_at_ms: now_ms,
            expires_at_ms: expires_at_ms.or(delivered_at_ms.map(|at| at + retention_ms)),
            delivered_at_ms,
            extras: new.extras.clone(),
        })));
        Ok(Some(Put {
            sequence,
            received_at_ms: now_ms,
            state: if waits {
                State::Queued
            } else {
                State::Delivered
            },
            duplicate: false,
        }))
    }

    /// The answer to a repeat, or `None` after taking away a row whose reservation is over.
    fn existing(&mut self, new: &NewRow) -> Result<Option<Put>, Fault> {
        let found = self.find(&new.id)?.expect("the insertion met this id");
        if found.reserved_until_ms(self.times) <= self.times.expiry_now_ms {
            if found.removed.is_none() {
                self.expire(&found)?;
            }
            self.erase(found.sequence)?;
            return Ok(None);
        }
        if let Some(field) = found.differs(new) {
            return Err(Fault::Refused(JobError::Conflict { index: None, field }));
        }
        let state = match found.removed {
            Some(REMOVED_DELETED) => State::Deleted,
            Some(_) => State::Expired,
            None if found.has_expired(self.times) => State::Expired,
            None if found.waits() => State::Queued,
            None => State::Delivered,
        };
        Ok(Some(Put {
            sequence: found.sequence,
            received_at_ms: found.received_at_ms,
            state,
            duplicate: true,
        }))
    }

    fn find(&self, id: &str) -> rusqlite::Result<Option<Found>> {
        let mut statement = self.connection.prepare_cached(FIND)?;
        statement.query_row([Id::new(id)], Found::read).optional()
    }

    fn remove(&mut self, found: &Found, removed: i64) -> rusqlite::Result<()> {
        let reserved_until_ms = found
            .ends_at_ms(self.times)
            .unwrap_or(found.received_at_ms + self.times.retention_ms)
            + RESERVATION_MS;
        let digest = digest(&found.content);
        let mut statement = self.connection.prepare_cached(REMOVE)?;
        statement.execute(params![found.sequence, removed, reserved_until_ms, digest])?;
        drop(statement);
        self.staged.totals.tally.stored -= 1;
        self.staged.totals.tally.queued -= i64::from(found.waits());
        self.staged.changes.push(Change::Removed {
            sequence: found.sequence,
        });
        Ok(())
    }

    fn delivered(&mut self, sequence: i64, expires_at_ms: i64) {
        self.staged.totals.tally.queued -= 1;
        self.staged.totals.acknowledged += 1;
        self.staged.changes.push(Change::Delivered {
            sequence,
            delivered_at_ms: self.times.now_ms,
            expires_at_ms,
        });
    }
}

/// A row of any state, as the writer needs it; columns in the order of [`Found::COLUMNS`].
pub(super) struct Found {
    pub(super) sequence: i64,
    sender: String,
    recipient: Option<String>,
    channel: Option<String>,
    pub(super) received_at_ms: i64,
    expires_at_ms: Option<i64>,
    delivered_at_ms: Option<i64>,
    pub(super) removed: Option<i64>,
    /// Content, or a removed message's digest.
    content: Vec<u8>,
}

macro_rules! found_columns {
    () => {
        "sequence, sender, recipient, channel, received_at_ms, expires_at_ms, delivered_at_ms, \
         removed, content"
    };
}
pub(super) use found_columns;

impl Found {
    pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Found> {
        Ok(Found {
            sequence: row.get(0)?,
            sender: row.get(1)?,
            recipient: row.get(2)?,
            channel: row.get(3)?,
            received_at_ms: row.get(4)?,
            expires_at_ms: row.get(5)?,
            delivered_at_ms: row.get(6)?,
            removed: row.get(7)?,
            content: row.get_ref(8)?.as_bytes()?.to_vec(),
        })
    }

    /// Expires by walking the sequence order: delivered on receipt, no ttl of its own.
    pub(super) fn expires_by_walking(&self) -> bool {
        self.removed.is_none() && self.expires_at_ms.is_none() && self.delivered_at_ms.is_some()
    }

    fn waits(&self) -> bool {
        self.removed.is_none() && self.delivered_at_ms.is_none()
    }

    fn ends_at_ms(&self, times: Times) -> Option<i64> {
        ends_at_ms(self.expires_at_ms, self.delivered_at_ms, times.retention_ms)
    }

    fn has_expired(&self, times: Times) -> bool {
        self.ends_at_ms(times)
            .is_some_and(|at| at <= times.expiry_now_ms)
    }

    /// The end of the id's reservation; of a message that waits for its recipient: never.
    fn reserved_until_ms(&self, times: Times) -> i64 {
        let until = match self.removed {
            Some(_) => self.expires_at_ms,
            None => self.ends_at_ms(times).map(|at| at + RESERVATION_MS),
        };
        until.unwrap_or(i64::MAX)
    }

    /// The first of the compared fields in which `new` is another message.
    fn differs(&self, new: &NewRow) -> Option<&'static str> {
        let same_content = match self.removed {
            None => self.content == new.content.as_bytes(),
            Some(_) => self.content == digest(new.content.as_bytes()),
        };
        if self.sender != *new.sender {
            Some("sender")
        } else if self.recipient.as_deref() != new.recipient.as_deref() {
            Some("recipient")
        } else if self.channel.as_deref() != new.channel.as_deref() {
            Some("channel")
        } else if !same_content {
            Some("content")
        } else {
            None
        }
    }
}

/// When a message that is not removed expires: by the column, else by the retention from its
/// delivery, else never.
pub(super) fn ends_at_ms(
    expires_at_ms: Option<i64>,
    delivered_at_ms: Option<i64>,
    retention_ms: i64,
) -> Option<i64> {
    expires_at_ms.or(delivered_at_ms.map(|at| at + retention_ms))
}

/// An id as it stands in its column. Two different ids never share a form, so ids stay one name
/// space.
pub(super) enum Id<'a> {
    /// A canonical UUID: lower case with hyphens.
    Uuid([u8; 16]),
    Text(&'a str),
}

impl<'a> Id<'a> {
    pub(super) fn new(id: &'a str) -> Id<'a> {
        let canonical = id.len() == 36 && !id.bytes().any(|byte| byte.is_ascii_uppercase());
        match uuid::Uuid::try_parse(id) {
            Ok(uuid) if canonical => Id::Uuid(uuid.into_bytes()),
            _ => Id::Text(id),
        }
    }
}

impl rusqlite::ToSql for Id<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Id::Uuid(bytes) => ValueRef::Blob(bytes),
            Id::Text(text) => ValueRef::Text(text.as_bytes()),
        }))
    }
}

/// Back from the column.
pub(super) fn id_text(value: ValueRef<'_>) -> rusqlite::Result<Arc<str>> {
    match value {
        ValueRef::Blob(bytes) => {
            let uuid =
                uuid::Uuid::from_slice(bytes).map_err(rusqlite::types::FromSqlError::other)?;
            let mut text = uuid::Uuid::encode_buffer();
            Ok((*uuid.hyphenated().encode_lower(&mut text)).into())
        }
        other => Ok(other.as_str()?.into()),
    }
}

/// 128-bit FNV-1a: stable over versions, and enough to tell a repeat from a conflict.
fn digest(content: &[u8]) -> [u8; 16] {
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let fold = |hash: u128, byte: &u8| (hash ^ u128::from(*byte)).wrapping_mul(PRIME);
    content.iter().fold(OFFSET, fold).to_be_bytes()
}

const INSERT: &str = "INSERT INTO message (sequence, id, sender, recipient, channel, timestamp_ms, \
    received_at_ms, expires_at_ms, delivered_at_ms, content, extras) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) ON CONFLICT (id) DO NOTHING";

const FIND: &str = concat!("SELECT ", found_columns!(), " FROM message WHERE id = ?1");

const ACK_ID: &str = "UPDATE message SET delivered_at_ms = ?3, \
    expires_at_ms = coalesce(expires_at_ms, ?4) \
    WHERE id = ?1 AND recipient = ?2 AND delivered_at_ms IS NULL AND removed IS NULL \
    AND (expires_at_ms IS NULL OR expires_at_ms > ?5) RETURNING sequence, expires_at_ms";

const ACK_UP_TO: &str = "UPDATE message SET delivered_at_ms = ?3, \
    expires_at_ms = coalesce(expires_at_ms, ?4) \
    WHERE sequence IN (SELECT sequence FROM message INDEXED BY message_queued \
        WHERE recipient = ?1 AND delivered_at_ms IS NULL AND removed IS NULL AND sequence <= ?2 \
        AND (expires_at_ms IS NULL OR expires_at_ms > ?5) ORDER BY sequence LIMIT ?6) \
    RETURNING sequence, expires_at_ms";

const REMOVE: &str = "UPDATE message SET removed = ?2, expires_at_ms = ?3, content = ?4, \
    extras = NULL, timestamp_ms = NULL WHERE sequence = ?1";
