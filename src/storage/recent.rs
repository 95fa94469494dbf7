//! The newest messages, in memory, bounded in bytes.
//!
//! A message is mostly read right after it was stored: by id, by the sessions that push it and by
//! polls. Those reads are answered from here, without a reader connection and without leaving the
//! task. Only the writer changes it, after COMMIT and before the answers, so that whoever got an
//! answer sees its effect; what is not here is in the file.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, PoisonError, RwLock};

use super::row::{Cursor, List, ListQuery, Row, Rows};

/// About 40,000 small messages: half a second to a second of the highest rate.
pub(super) const RECENT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Entries looked at for one list; beyond that the indexes of the file are quicker.
const SCAN_MAX: usize = 512;

/// What one commit changes here, in its order.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Added(Arc<Row>),
    Delivered {
        sequence: i64,
        delivered_at_ms: i64,
        expires_at_ms: i64,
    },
    Removed {
        sequence: i64,
    },
}

pub(super) struct Recent {
    inner: RwLock<Inner>,
    bytes_max: usize,
}

struct Inner {
    /// Ascending by sequence; a removed message stays as its sequence alone.
    rows: VecDeque<Slot>,
    by_id: HashMap<Arc<str>, i64>,
    bytes: usize,
    /// Every message above this sequence is in `rows`.
    complete_above: i64,
}

struct Slot {
    sequence: i64,
    bytes: usize,
    row: Option<Arc<Row>>,
}

impl Recent {
    /// Empty; `committed` is the sequence up to which messages are in the file alone.
    pub(super) fn new(bytes_max: usize, committed: i64) -> Recent {
        Recent {
            inner: RwLock::new(Inner {
                rows: VecDeque::new(),
                by_id: HashMap::new(),
                bytes: 0,
                complete_above: committed,
            }),
            bytes_max,
        }
    }

    pub(super) fn apply(&self, changes: &[Change]) {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        for change in changes {
            match change {
                Change::Added(row) => inner.add(row),
                Change::Delivered {
                    sequence,
                    delivered_at_ms,
                    expires_at_ms,
                } => inner.deliver(*sequence, *delivered_at_ms, *expires_at_ms),
                Change::Removed { sequence } => inner.remove(*sequence),
            }
        }
        inner.shrink(self.bytes_max);
    }

    /// `None`: look into the file.
    pub(super) fn get(&self, id: &str) -> Option<Arc<Row>> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        let sequence = *inner.by_id.get(id)?;
        inner.rows[inner.position(sequence)?].row.clone()
    }

    /// A page forward whose messages are all here. `None`: look into the file.
    pub(super) fn list(&self, query: &ListQuery, expiry_now_ms: i64) -> Option<Rows> {
        let Cursor::After(after) = query.from else {
            return None;
        };
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        if after < inner.complete_above {
            return None;
        }
        let start = inner.rows.partition_point(|slot| slot.sequence <= after);
        if inner.rows.len() - start > SCAN_MAX {
            return None;
        }
        let (mut rows, mut bytes) = (Vec::new(), 0);
        for row in inner
            .rows
            .range(start..)
            .filter_map(|slot| slot.row.as_ref())
        {
            if belongs(row, query) && row.expires_at_ms.is_none_or(|at| at > expiry_now_ms) {
                if rows.len() == query.limit || bytes >= query.bytes_max {
                    return Some(Rows {
                        rows,
                        has_more: true,
                    });
                }
                bytes += row.bytes();
                rows.push(row.clone());
            }
        }
        Some(Rows {
            rows,
            has_more: false,
        })
    }
}

fn belongs(row: &Row, query: &ListQuery) -> bool {
    let owner = query.owner.as_ref();
    let sent = || row.sender.as_ref() == owner;
    let addressed = || row.recipient.as_deref() == Some(owner);
    match query.list {
        List::Channel => row.channel.as_deref() == Some(owner),
        List::All => sent() || addressed(),
        List::Inbox => addressed(),
        List::Sent => sent(),
        List::Queued => addressed() && row.delivered_at_ms.is_none(),
    }
}

impl Inner {
    fn position(&self, sequence: i64) -> Option<usize> {
        self.rows
            .binary_search_by_key(&sequence, |slot| slot.sequence)
            .ok()
    }

    fn add(&mut self, row: &Arc<Row>) {
        let bytes = row.bytes();
        self.bytes += bytes;
        self.by_id.insert(row.id.clone(), row.sequence);
        self.rows.push_back(Slot {
            sequence: row.sequence,
            bytes,
            row: Some(row.clone()),
        });
    }

    fn deliver(&mut self, sequence: i64, delivered_at_ms: i64, expires_at_ms: i64) {
        let Some(position) = self.position(sequence) else {
            return;
        };
        if let Some(row) = &mut self.rows[position].row {
            let row = Arc::make_mut(row);
            row.delivered_at_ms = Some(delivered_at_ms);
            row.expires_at_ms = Some(expires_at_ms);
        }
    }

    fn remove(&mut self, sequence: i64) {
        if let Some(position) = self.position(sequence)
            && let Some(row) = self.rows[position].row.take()
        {
            self.by_id.remove(&row.id);
        }
    }

    fn shrink(&mut self, bytes_max: usize) {
        while self.bytes > bytes_max
            && let Some(slot) = self.rows.pop_front()
        {
            self.bytes -= slot.bytes;
            self.complete_above = slot.sequence;
            if let Some(row) = slot.row {
                self.by_id.remove(&row.id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(sequence: i64, recipient: &str) -> Arc<Row> {
        Arc::new(Row {
            sequence,
            id: format!("id-{sequence}").into(),
            sender: "alice".into(),
            recipient: Some(recipient.into()),
            channel: None,
            content: "hello".into(),
            timestamp_ms: None,
            received_at_ms: 1_000,
            expires_at_ms: None,
            delivered_at_ms: None,
            extras: None,
        })
    }

    fn inbox_after(after: i64) -> ListQuery {
        ListQuery {
            owner: "bob".into(),
            list: List::Inbox,
            from: Cursor::After(after),
            limit: 2,
            bytes_max: usize::MAX,
        }
    }

    fn sequences(rows: &Rows) -> Vec<i64> {
        rows.rows.iter().map(|row| row.sequence).collect()
    }

    #[test]
    fn lists_only_what_is_complete_here() {
        let recent = Recent::new(1 << 20, 10);
        let added = |sequence, to| Change::Added(row(sequence, to));
        recent.apply(&[
            added(11, "bob"),
            added(12, "eve"),
            added(14, "bob"),
            added(15, "bob"),
        ]);
        assert!(recent.list(&inbox_after(9), 0).is_none());
        let page = recent.list(&inbox_after(10), 0).expect("complete");
        assert_eq!((vec![11, 14], true), (sequences(&page), page.has_more));
        recent.apply(&[Change::Removed { sequence: 14 }]);
        let page = recent.list(&inbox_after(10), 0).expect("complete");
        assert_eq!((vec![11, 15], false), (sequences(&page), page.has_more));
        assert!(recent.get("id-14").is_none());
    }

    #[test]
    fn the_oldest_leave_when_bytes_run_out() {
        let bytes = row(1, "bob").bytes();
        let recent = Recent::new(2 * bytes, 0);
        recent.apply(&[1, 2, 3].map(|sequence| Change::Added(row(sequence, "bob"))));
        assert!(recent.get("id-1").is_none());
        assert!(recent.list(&inbox_after(0), 0).is_none());
        assert_eq!(
            vec![2, 3],
            sequences(&recent.list(&inbox_after(1), 0).expect("complete"))
        );
    }

    #[test]
    fn an_acknowledged_message_is_no_longer_queued_here() {
        let recent = Recent::new(1 << 20, 0);
        recent.apply(&[Change::Added(row(1, "bob"))]);
        recent.apply(&[Change::Delivered {
            sequence: 1,
            delivered_at_ms: 5,
            expires_at_ms: 9,
        }]);
        let queued = ListQuery {
            list: List::Queued,
            ..inbox_after(0)
        };
        assert!(recent.list(&queued, 0).expect("complete").rows.is_empty());
        assert_eq!(Some(5), recent.get("id-1").expect("here").delivered_at_ms);
    }
}
