//! Options about where connections go: `hosts`, `blockHostnames`, `blacklistIPs`, `localIPs`.
//!
//! Patterns are k6's: an exact name, or one that begins with `*`, optionally with a port. Names
//! are compared in lower case. Pure values; who connects asks them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::{Value, json};

use super::addresses::AddressPool;
use super::dns::Dns;
use super::reader::Fields;
use super::tls::{CipherSuite, TlsAuth, TlsVersions};

/// How requests and responses are logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HttpDebug {
    #[default]
    Off,
    /// Without bodies.
    Headers,
    Full,
}

/// Everything that decides how connections are made. Shared by all VUs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Network {
    pub hosts: Hosts,
    pub dns: Dns,
    pub blacklist_ips: Vec<IpNet>,
    pub block_hostnames: HostPatterns,
    /// Addresses that VUs connect from; VU `n` (from 0) takes `get(n)`.
    pub local_ips: Option<AddressPool>,
    /// Client certificates, in the script's order.
    pub tls_auth: Vec<TlsAuth>,
    pub tls_versions: TlsVersions,
    /// `None`: what the TLS library offers by default.
    pub tls_cipher_suites: Option<Vec<CipherSuite>>,
    pub http_debug: HttpDebug,
}

impl Network {
    /// The network of the blacklist that `address` is in.
    pub fn blacklisted(&self, address: IpAddr) -> Option<IpNet> {
        let address = address.to_canonical();
        let listed = self.blacklist_ips.iter();
        listed.copied().find(|net| net.contains(&address))
    }
}

/// Where a host of `hosts` really is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostAddress {
    pub ip: IpAddr,
    /// `None` keeps the port of the URL.
    pub port: Option<u16>,
}

/// `hosts`: names, with or without a port, to addresses.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hosts {
    patterns: HostPatterns,
    addresses: BTreeMap<String, HostAddress>,
}

impl Hosts {
    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty()
    }

    /// The address for a host: an entry `host:port` comes before one without a port.
    pub fn lookup(&self, host: &str, port: u16) -> Option<HostAddress> {
        if self.is_empty() {
            return None;
        }
        let with_port = self.patterns.find(&format!("{host}:{port}"));
        let pattern = with_port.or_else(|| self.patterns.find(host))?;
        self.addresses.get(pattern).copied()
    }

    pub(super) fn to_json(&self) -> Value {
        let texts = self.addresses.iter().map(|(name, address)| {
            let text = match address.port {
                Some(port) => std::net::SocketAddr::new(address.ip, port).to_string(),
                None => address.ip.to_string(),
            };
            (name.clone(), json!(text))
        });
        Value::Object(texts.collect())
    }
}

/// Host names, exact or with a leading `*`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HostPatterns(Vec<String>);

impl HostPatterns {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The pattern that fits: an exact one first, then the longest with a `*`.
    pub fn find(&self, name: &str) -> Option<&str> {
        let name = name.to_ascii_lowercase();
        if let Some(exact) = self.0.iter().find(|pattern| **pattern == name) {
            return Some(exact);
        }
        let fits = |pattern: &&String| {
            let end = pattern.strip_prefix('*');
            end.is_some_and(|end| name.ends_with(end))
        };
        self.0
            .iter()
            .filter(fits)
            .max_by_key(|pattern| pattern.len())
            .map(String::as_str)
    }

    pub(super) fn to_json(&self) -> Value {
        json!(self.0)
    }
}

impl Fields<'_> {
    /// An object of `name[:port]: address[:port]`, or `name=address,…`.
    pub(super) fn hosts(&mut self, key: &str) -> Option<Hosts> {
        let entries = self.texts(key)?;
        let mut hosts = Hosts::default();
        for (name, address) in entries {
            let name = name.to_lowercase();
            if !is_pattern(&name, PortAllowed::Yes) {
                self.problem(&format!("option '{key}': invalid host pattern '{name}'"));
            } else if let Some(address) = host_address(&address) {
                hosts.patterns.0.push(name.clone());
                hosts.addresses.insert(name, address);
            } else {
                self.problem(&format!(
                    "option '{key}': '{address}' of '{name}' is no IP address, with or without port"
                ));
            }
        }
        Some(hosts)
    }

    pub(super) fn host_patterns(&mut self, key: &str) -> Option<HostPatterns> {
        let names = self.list(key, "a list of host names")?;
        let mut patterns = Vec::new();
        for name in names {
            let name = name.to_lowercase();
            if is_pattern(&name, PortAllowed::No) {
                patterns.push(name);
            } else {
                self.problem(&format!(
                    "option '{key}': invalid hostname pattern '{name}'"
                ));
            }
        }
        Some(HostPatterns(patterns))
    }

    /// A list of networks such as `10.0.0.0/8`.
    pub(super) fn networks(&mut self, key: &str) -> Option<Vec<IpNet>> {
        let texts = self.list(key, "a list of networks such as 10.0.0.0/8")?;
        let mut networks = Vec::new();
        for text in texts {
            match text.parse::<IpNet>() {
                Ok(network) => networks.push(network.trunc()),
                Err(_) => self.problem(&format!(
                    "option '{key}': '{text}' is no network such as 10.0.0.0/8"
                )),
            }
        }
        Some(networks)
    }

    pub(super) fn address_pool(&mut self, key: &str) -> Option<AddressPool> {
        let text = self.text(key)?;
        match AddressPool::parse(&text) {
            Ok(pool) => Some(pool),
            Err(error) => {
                self.problem(&format!("option '{key}': {error}"));
                None
            }
        }
    }

    /// `full`, or anything else for headers only, as in k6; empty is off.
    pub(super) fn http_debug(&mut self, key: &str) -> Option<HttpDebug> {
        let text = self.text(key)?;
        Some(match text.as_str() {
            "" => HttpDebug::Off,
            "full" => HttpDebug::Full,
            _ => HttpDebug::Headers,
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum PortAllowed {
    Yes,
    No,
}

/// k6's rule: `*` or `*.` at most at the start, then labels of letters, digits and `-`.
fn is_pattern(name: &str, port: PortAllowed) -> bool {
    let name = match name.rsplit_once(':') {
        Some((host, digits)) if port == PortAllowed::Yes => {
            let plausible = (1..=5).contains(&digits.len());
            if !plausible || !digits.bytes().all(|b| b.is_ascii_digit()) {
                return false;
            }
            host
        }
        _ => name,
    };
    let rest = name
        .strip_prefix('*')
        .map_or(name, |rest| rest.strip_prefix('.').unwrap_or(rest));
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    rest.is_empty() || rest.split('.').all(label)
}

fn host_address(text: &str) -> Option<HostAddress> {
    if let Ok(address) = text.parse::<std::net::SocketAddr>() {
        let port = Some(address.port()).filter(|port| *port != 0);
        return Some(HostAddress {
            ip: address.ip(),
            port,
        });
    }
    let ip = text.parse().ok()?;
    Some(HostAddress { ip, port: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(entries: &[(&str, &str)]) -> Hosts {
        let mut problems = Vec::new();
        let inner: Value = entries
            .iter()
            .map(|(name, address)| ((*name).to_owned(), json!(address)))
            .collect::<serde_json::Map<_, _>>()
            .into();
        let object = serde_json::Map::from_iter([("hosts".to_owned(), inner)]);
        let hosts = Fields::new(&object, String::new(), &mut problems).hosts("hosts");
        assert_eq!(problems, Vec::<String>::new());
        hosts.expect("hosts are given")
    }

    #[test]
    fn entry_with_port_comes_before_the_name_and_the_name_before_the_wildcard() {
        let hosts = hosts(&[
            ("a.test", "10.0.0.1"),
            ("A.test:8443", "10.0.0.2:9443"),
            ("*.test", "10.0.0.3"),
            ("*.deep.test", "10.0.0.4:81"),
        ]);
        let found = |name: &str, port| {
            let address = hosts.lookup(name, port)?;
            Some((address.ip.to_string(), address.port))
        };
        assert_eq!(found("a.test", 80), Some(("10.0.0.1".to_owned(), None)));
        assert_eq!(
            found("a.TEST", 8443),
            Some(("10.0.0.2".to_owned(), Some(9443)))
        );
        assert_eq!(found("b.test", 80), Some(("10.0.0.3".to_owned(), None)));
        assert_eq!(
            found("x.deep.test", 80),
            Some(("10.0.0.4".to_owned(), Some(81)))
        );
        assert_eq!(found("other.example", 80), None);
    }

    #[test]
    fn patterns_follow_k6s_rule() {
        for good in [
            "*",
            "*.a.b",
            "*a.b",
            "a-b.c",
            "x:80",
            "*.x:65535",
            "1.2.3.4",
        ] {
            assert!(is_pattern(good, PortAllowed::Yes), "{good}");
        }
        for bad in [
            "a.*.b", "-a", "a-", "a..b", "a_b", "x:port", "x:123456", "ä.de",
        ] {
            assert!(!is_pattern(bad, PortAllowed::Yes), "{bad}");
        }
        assert!(!is_pattern("x:80", PortAllowed::No));
    }
}
