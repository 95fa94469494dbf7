//! What a run is: its id, its state, how it is registered and how it ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::figures::Totals;
use super::verdict::Status;

/// A run that has neither finished nor sent anything for this long counts as lost.
pub const LOST_AFTER: Duration = Duration::from_secs(60);

/// A run's UUID in its canonical text form. The client makes it (version 7), so that a repeated
/// registration is recognised.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RunId(Arc<str>);

impl RunId {
    /// `None` unless the text is a UUID.
    pub fn parse(text: &str) -> Option<RunId> {
        let uuid = uuid::Uuid::try_parse(text).ok()?;
        Some(RunId(uuid.hyphenated().to_string().into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// When a version 7 id was made, unix milliseconds.
    pub(super) fn made_at_ms(&self) -> Option<i64> {
        let uuid = uuid::Uuid::try_parse(&self.0).ok()?;
        let (seconds, nanos) = uuid.get_timestamp()?.to_unix();
        Some(seconds as i64 * 1_000 + i64::from(nanos) / 1_000_000)
    }

    pub(super) fn text(&self) -> Arc<str> {
        self.0.clone()
    }
}

/// Names and values that describe a run or a series; names ascend.
pub type Tags = BTreeMap<String, String>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Running,
    /// To its planned end, thresholds crossed or not.
    Finished,
    /// Ended before its time: a signal, an abort, a script that failed.
    Aborted,
    /// Silent for [`LOST_AFTER`]; data that comes late make it `Running` again.
    Lost,
}

impl State {
    pub fn word(self) -> &'static str {
        match self {
            State::Running => "running",
            State::Finished => "finished",
            State::Aborted => "aborted",
            State::Lost => "lost",
        }
    }
}

/// A moment on a client's clock, with what is needed to put it on ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientTime {
    /// The moment, unix milliseconds; `None`: now.
    pub at_ms: Option<i64>,
    /// When the client sent it. Without it `at_ms` is taken as it is (a file brought in later).
    pub sent_at_ms: Option<i64>,
}

impl ClientTime {
    /// The moment on our clock, which reads `now_ms`; the way here counts as nothing.
    pub fn corrected(self, now_ms: i64) -> i64 {
        match (self.at_ms, self.sent_at_ms) {
            (None, _) => now_ms,
            (Some(at), None) => at,
            (Some(at), Some(sent)) => now_ms.saturating_sub(sent.saturating_sub(at)),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Registration {
    pub run_id: RunId,
    pub name: String,
    pub script_name: Option<String>,
    /// URL without credentials.
    pub target: Option<String>,
    pub tags: Tags,
    pub started: ClientTime,
    /// JSON object: script, options, thresholds, host, as the client sent them.
    pub document: String,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct End {
    pub finished: ClientTime,
    pub exit_code: Option<i64>,
    pub aborted: bool,
    pub target: Option<String>,
    /// The client's totals; without them they are taken from the stored series.
    pub totals: Option<Totals>,
    /// JSON object: summary, thresholds, checks, as the client sent them.
    pub document: String,
}

/// What the list shows of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    pub run_id: String,
    pub name: String,
    pub script_name: Option<String>,
    pub target: Option<String>,
    pub tags: Tags,
    pub state: State,
    /// Unix milliseconds on the relay's clock, as all times here.
    pub started_at_ms: i64,
    pub finished_at_ms: Option<i64>,
    /// When it last sent anything.
    pub seen_at_ms: i64,
    pub exit_code: Option<i64>,
    /// `None` while it has not finished.
    pub verdict: Option<Status>,
    pub pinned: bool,
    /// About what it occupies in the file.
    pub bytes: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_one_spelling() {
        let id = RunId::parse("0192F0C4-8A3B-7D10-8AAA-0123456789AB").expect("a uuid");
        assert_eq!(id.as_str(), "0192f0c4-8a3b-7d10-8aaa-0123456789ab");
        assert_eq!(RunId::parse("run-1"), None);
    }

    #[test]
    fn client_clocks_are_corrected_by_the_time_of_sending() {
        let hour_ahead = ClientTime {
            at_ms: Some(3_600_000 + 1_000),
            sent_at_ms: Some(3_600_000 + 61_000),
        };
        assert_eq!(hour_ahead.corrected(62_000), 2_000);
        let from_file = ClientTime {
            at_ms: Some(5),
            sent_at_ms: None,
        };
        assert_eq!(from_file.corrected(99), 5);
        assert_eq!(ClientTime::default().corrected(99), 99);
    }
}
