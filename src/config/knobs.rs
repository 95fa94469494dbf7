//! The limits an operator can change, as one table: name, meaning, type, range, place.
//!
//! The table drives the `[limits]` section of `dchat.toml`, `DCHAT_*` variables,
//! `--limit NAME=VALUE`, and `dchat config show`, so that none of the four can lag behind.

use std::time::Duration;

use super::units::{format_bytes, format_duration, parse_bytes, parse_duration};
use crate::limits::Limits;

/// Where a knob lives in [`Limits`], which is also its type.
enum Place {
    Bytes(fn(&mut Limits) -> &mut u64),
    Size(fn(&mut Limits) -> &mut usize),
    Count(fn(&mut Limits) -> &mut usize),
    Time(fn(&mut Limits) -> &mut Duration),
}

/// One limit that configuration may change.
pub struct Knob {
    pub name: &'static str,
    pub meaning: &'static str,
    place: Place,
    /// Smallest and largest value: bytes, a count, or milliseconds.
    range: (u64, u64),
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const SECOND: u64 = 1_000;
const DAY: u64 = 86_400 * SECOND;

macro_rules! knobs {
    ($($name:ident: $kind:ident, $low:expr, $high:expr, $meaning:literal;)+) => {
        /// Every knob, in the order in which `config show` prints them.
        pub const KNOBS: &[Knob] = &[
            $(Knob {
                name: stringify!($name),
                meaning: $meaning,
                place: Place::$kind(|limits| &mut limits.$name),
                range: ($low, $high),
            },)+
        ];
    };
}

knobs! {
    content_bytes_max: Size, 1, 16 * MIB, "longest content of one message";
    body_bytes_max: Size, KIB, 128 * MIB, "largest request body, except the batch and runs calls";
    run_body_bytes_max: Size, KIB, 64 * MIB, "largest request body of the runs calls";
    head_bytes_max: Size, KIB, 256 * KIB, "largest request head; above it 431";
    connections_max: Count, 4, 1_000_000, "open connections, all peers together";
    idle_timeout: Time, SECOND, DAY, "time a connection may idle or take for the first byte of a request";
    head_timeout: Time, 100, 10 * 60 * SECOND, "time from the first byte of a request head to its end";
    body_timeout: Time, 100, 60 * 60 * SECOND, "time for a whole request body";
    queue_jobs_max: Count, 1, 1_000_000, "jobs that may wait for the writer; above it 503 OVERLOADED";
    queue_bytes_max: Size, KIB, 4 * GIB, "bytes that may wait for the writer; above it 503 OVERLOADED";
    commit_jobs_max: Count, 1, 100_000, "jobs of one commit; 1 is one commit per message";
    commit_bytes_max: Size, KIB, GIB, "bytes of one commit";
    readers: Count, 1, 256, "reader connections; each serves one query at a time";
    reader_waiters_max: Count, 1, 1_000_000, "queries that may wait for a reader; above it 503";
    read_transaction_max: Time, 1, 10 * SECOND, "longest read transaction; keeps the WAL short";
    wal_checkpoint_bytes: Bytes, 64 * KIB, GIB, "WAL size from which checkpoints run in the background";
    wal_restart_bytes: Bytes, 64 * KIB, 4 * GIB, "WAL size at which the writer waits so that the WAL restarts";
    wal_truncate_bytes: Bytes, 64 * KIB, 8 * GIB, "WAL size at which the writer truncates it";
    wal_bytes_max: Bytes, 64 * KIB, 16 * GIB, "WAL size at which new messages are refused with OVERLOADED";
    free_disk_floor_bytes: Bytes, 0, 1024 * GIB, "free disk below which new messages get 507; acks and deletes go on";
    database_bytes_max: Bytes, 0, 1024 * GIB, "largest messages.db; 0: the disk alone decides";
    retention: Time, SECOND, 36_500 * DAY, "time a delivered message without a ttl is kept; a waiting one stays";
    subscriptions_per_socket_max: Count, 1, 10_000, "subscriptions of one WebSocket";
    socket_pending_bytes_max: Size, 4 * KIB, 64 * MIB, "bytes that may wait for one slow subscriber";
    socket_stall_max: Time, 100, 60 * 60 * SECOND, "time after which a subscriber that takes nothing is closed";
    subscribers_max: Count, 1, 1_000_000, "open WebSockets and event streams together";
    drain_timeout: Time, 100, 60 * 60 * SECOND, "time of the whole drain after a stop signal";
    runs_retention: Time, SECOND, 36_500 * DAY, "time a stored load-test run is kept";
    runs_max: Count, 1, 100_000, "stored load-test runs; the oldest go first";
    runs_bytes_max: Bytes, MIB, 1024 * GIB, "bytes of all stored load-test runs; the oldest go first";
}

impl Knob {
    /// Parses `text` and puts it into `limits`.
    ///
    /// # Errors
    /// A sentence that names the value and the form or range it must have.
    pub fn set(&self, limits: &mut Limits, text: &str) -> Result<(), String> {
        let number = match self.place {
            Place::Bytes(_) | Place::Size(_) => parse_bytes(text)?,
            Place::Count(_) => text
                .trim()
                .parse()
                .map_err(|_| format!("'{text}' is not a whole number"))?,
            Place::Time(_) => u64::try_from(parse_duration(text)?.as_millis()).unwrap_or(u64::MAX),
        };
        let (low, high) = self.range;
        if !(low..=high).contains(&number) {
            return Err(format!(
                "'{text}' is out of range; it must be {} to {}",
                self.render(low),
                self.render(high)
            ));
        }
        match self.place {
            Place::Bytes(field) => *field(limits) = number,
            Place::Size(field) | Place::Count(field) => {
                *field(limits) = usize::try_from(number).unwrap_or(usize::MAX);
            }
            Place::Time(field) => *field(limits) = Duration::from_millis(number),
        }
        Ok(())
    }

    /// The value in force, as text that [`Knob::set`] reads back, quoted for TOML where needed.
    pub fn show(&self, limits: &Limits) -> String {
        let mut limits = limits.clone();
        match self.place {
            Place::Bytes(field) => format!("\"{}\"", self.render(*field(&mut limits))),
            Place::Size(field) => format!("\"{}\"", self.render(*field(&mut limits) as u64)),
            Place::Count(field) => field(&mut limits).to_string(),
            Place::Time(field) => format!("\"{}\"", format_duration(*field(&mut limits))),
        }
    }

    fn render(&self, number: u64) -> String {
        match self.place {
            Place::Bytes(_) | Place::Size(_) => format_bytes(number),
            Place::Count(_) => number.to_string(),
            Place::Time(_) => format_duration(Duration::from_millis(number)),
        }
    }
}

/// The knob of that name.
///
/// # Errors
/// A sentence with the nearest name.
pub fn knob(name: &str) -> Result<&'static Knob, String> {
    if let Some(found) = KNOBS.iter().find(|knob| knob.name == name) {
        return Ok(found);
    }
    let nearest = KNOBS
        .iter()
        .min_by_key(|knob| distance(knob.name, name))
        .map_or("", |knob| knob.name);
    Err(format!(
        "there is no limit '{name}'\nhint: did you mean '{nearest}'? 'dchat config show' lists all"
    ))
}

/// Edit distance by insertions, deletions and substitutions.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.bytes().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_knob_shows_text_that_it_reads_back() {
        let defaults = Limits::default();
        for knob in KNOBS {
            let mut limits = defaults.clone();
            let shown = knob.show(&defaults);
            let result = knob.set(&mut limits, shown.trim_matches('"'));
            assert_eq!(result, Ok(()), "{}: {shown}", knob.name);
            assert_eq!(limits, defaults, "{}", knob.name);
        }
    }

    #[test]
    fn unknown_limit_names_the_nearest() {
        let error = knob("content_byte_max").err().unwrap_or_default();
        assert!(error.contains("content_bytes_max"), "{error}");
    }

    #[test]
    fn out_of_range_value_names_the_range() {
        let mut limits = Limits::default();
        let knob = &KNOBS[0];
        let error = knob.set(&mut limits, "0").err().unwrap_or_default();
        assert!(error.contains("1 to 16MiB"), "{error}");
    }
}
