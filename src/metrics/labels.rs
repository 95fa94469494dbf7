//! Label sets, all from small closed sets.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};

/// Labels of answered requests.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct HttpLabels {
    /// Template such as `/api/v1/messages/{id}`, or `none` where no route matched.
    pub route: &'static str,
    pub method: &'static str,
    /// `2xx` and so on.
    pub status: &'static str,
}

/// Labels of request times.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RouteLabels {
    pub route: &'static str,
    pub method: &'static str,
}

/// Why a message was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// Not JSON, or JSON against a rule.
    Invalid,
    TooLarge,
    /// The id is taken by another message.
    Conflict,
    /// The writer's queue or the write-ahead log is at its limit.
    Overloaded,
    /// Disk or configured size.
    Full,
    /// Starting, draining, or the writer is gone.
    Unavailable,
}

impl Refusal {
    pub const ALL: [Refusal; 6] = [
        Refusal::Invalid,
        Refusal::TooLarge,
        Refusal::Conflict,
        Refusal::Overloaded,
        Refusal::Full,
        Refusal::Unavailable,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Refusal::Invalid => "invalid",
            Refusal::TooLarge => "too_large",
            Refusal::Conflict => "conflict",
            Refusal::Overloaded => "overloaded",
            Refusal::Full => "full",
            Refusal::Unavailable => "unavailable",
        }
    }
}

impl EncodeLabelValue for Refusal {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        EncodeLabelValue::encode(&self.as_str(), encoder)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RefusedLabels {
    pub reason: Refusal,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CheckpointLabels {
    /// `passive`, `restart` or `truncate`.
    pub mode: &'static str,
}
