//! `dns`: how long names are remembered and which of several addresses is taken.

use std::time::Duration;

use serde_json::{Value, json};

use super::duration;
use super::reader::Fields;

/// `dns` of k6, whose defaults are `ttl=5m,select=random,policy=preferIPv4`.
#[derive(Clone, Debug, PartialEq)]
pub struct Dns {
    pub ttl: DnsTtl,
    pub select: DnsSelect,
    pub policy: DnsPolicy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DnsTtl {
    /// `inf`.
    ForEver,
    /// Zero: every connection asks.
    For(Duration),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DnsSelect {
    First,
    RoundRobin,
    Random,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DnsPolicy {
    PreferIpv4,
    PreferIpv6,
    OnlyIpv4,
    OnlyIpv6,
    Any,
}

const SELECTS: [(&str, DnsSelect); 3] = [
    ("first", DnsSelect::First),
    ("roundRobin", DnsSelect::RoundRobin),
    ("random", DnsSelect::Random),
];

const POLICIES: [(&str, DnsPolicy); 5] = [
    ("preferIPv4", DnsPolicy::PreferIpv4),
    ("preferIPv6", DnsPolicy::PreferIpv6),
    ("onlyIPv4", DnsPolicy::OnlyIpv4),
    ("onlyIPv6", DnsPolicy::OnlyIpv6),
    ("any", DnsPolicy::Any),
];

impl Default for Dns {
    fn default() -> Dns {
        Dns {
            ttl: DnsTtl::For(Duration::from_secs(300)),
            select: DnsSelect::Random,
            policy: DnsPolicy::PreferIpv4,
        }
    }
}

impl Dns {
    pub(super) fn to_json(&self) -> Value {
        DnsLayer::from(self.clone()).to_json()
    }
}

/// What one layer says; the rest comes from the layers below.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DnsLayer {
    pub ttl: Option<DnsTtl>,
    pub select: Option<DnsSelect>,
    pub policy: Option<DnsPolicy>,
}

impl DnsLayer {
    /// With what a higher layer says on top.
    pub(super) fn overlaid(self, over: DnsLayer) -> DnsLayer {
        DnsLayer {
            ttl: over.ttl.or(self.ttl),
            select: over.select.or(self.select),
            policy: over.policy.or(self.policy),
        }
    }

    /// What is not said is null.
    pub(super) fn to_json(&self) -> Value {
        let ttl = self.ttl.map(|ttl| match ttl {
            DnsTtl::ForEver => "inf".to_owned(),
            DnsTtl::For(time) => duration::format(time),
        });
        let select = SELECTS.iter().find(|(_, s)| Some(*s) == self.select);
        let policy = POLICIES.iter().find(|(_, p)| Some(*p) == self.policy);
        json!({
            "ttl": ttl,
            "select": select.map(|(name, _)| name),
            "policy": policy.map(|(name, _)| name),
        })
    }

    pub(super) fn complete(self) -> Dns {
        let default = Dns::default();
        Dns {
            ttl: self.ttl.unwrap_or(default.ttl),
            select: self.select.unwrap_or(default.select),
            policy: self.policy.unwrap_or(default.policy),
        }
    }
}

impl From<Dns> for DnsLayer {
    fn from(dns: Dns) -> DnsLayer {
        DnsLayer {
            ttl: Some(dns.ttl),
            select: Some(dns.select),
            policy: Some(dns.policy),
        }
    }
}

impl Fields<'_> {
    /// An object of `ttl`, `select` and `policy`, or `ttl=5m,select=first`.
    pub(super) fn dns(&mut self, key: &str) -> Option<DnsLayer> {
        let parts = self.texts(key)?;
        let mut dns = DnsLayer::default();
        for (name, text) in parts {
            let known = match name.as_str() {
                "ttl" => {
                    dns.ttl = ttl(&text);
                    dns.ttl.is_some()
                }
                "select" => {
                    dns.select = named(&SELECTS, &text);
                    dns.select.is_some()
                }
                "policy" => {
                    dns.policy = named(&POLICIES, &text);
                    dns.policy.is_some()
                }
                _ => {
                    self.problem(&format!("unknown DNS configuration field: {name}"));
                    continue;
                }
            };
            if !known {
                let rule = match name.as_str() {
                    "ttl" => "a duration, 0 or inf",
                    "select" => "first, random or roundRobin",
                    _ => "preferIPv4, preferIPv6, onlyIPv4, onlyIPv6 or any",
                };
                self.problem(&format!(
                    "option '{key}': '{name}' must be {rule}, not '{text}'"
                ));
            }
        }
        Some(dns)
    }
}

fn ttl(text: &str) -> Option<DnsTtl> {
    match text {
        "inf" => Some(DnsTtl::ForEver),
        // k6 takes an empty one for its default.
        "" => Some(Dns::default().ttl),
        _ => duration::parse(text).map(DnsTtl::For),
    }
}

fn named<T: Copy>(table: &[(&str, T)], text: &str) -> Option<T> {
    let known = table
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(text));
    known.map(|(_, value)| *value)
}
