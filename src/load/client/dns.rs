//! Host names to addresses: the script's `hosts` and block lists first, then the system's resolver
//! with answers remembered per worker thread (`dns`).
//!
//! Connections that want the same name at once share one look-up.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Mutex;
use url::Host;

use super::Failure;
use crate::load::options::{DnsPolicy, DnsSelect, DnsTtl, Network};

/// Names remembered.
const NAMES_MAX: usize = 1_024;

pub(crate) struct Dns {
    network: Arc<Network>,
    known: RefCell<HashMap<String, Rc<Name>>>,
    random: Cell<u64>,
}

/// One name: its addresses, which may be looked up right now, and whose turn it is.
#[derive(Default)]
struct Name {
    addresses: Mutex<Option<(Rc<[IpAddr]>, Instant)>>,
    turn: Cell<usize>,
}

impl Dns {
    pub(crate) fn new(network: Arc<Network>) -> Dns {
        let mut seed = [0; 8];
        // Without random bytes the choice of addresses is the same in each run.
        let _ = getrandom::fill(&mut seed);
        Dns {
            network,
            known: RefCell::default(),
            random: Cell::new(u64::from_ne_bytes(seed) | 1),
        }
    }

    /// Where to connect to for `host`, by k6's order: blocked names, `hosts`, the resolver, and
    /// then the blacklist.
    pub(crate) async fn resolve(&self, host: Host<&str>, port: u16) -> Result<SocketAddr, Failure> {
        let network = &self.network;
        if let Host::Domain(name) = &host
            && let Some(pattern) = network.block_hostnames.find(name)
        {
            return Err(Failure::blocked_host(name, pattern));
        }
        let mapped = match (network.hosts.is_empty(), &host) {
            (true, _) => None,
            (false, Host::Domain(name)) => network.hosts.lookup(name, port),
            (false, Host::Ipv4(ip)) => network.hosts.lookup(&ip.to_string(), port),
            (false, Host::Ipv6(ip)) => network.hosts.lookup(&ip.to_string(), port),
        };
        let remote: SocketAddr = match (mapped, host) {
            (Some(mapped), _) => (mapped.ip, mapped.port.unwrap_or(port)).into(),
            (None, Host::Ipv4(ip)) => (ip, port).into(),
            (None, Host::Ipv6(ip)) => (ip, port).into(),
            (None, Host::Domain(name)) => (self.address_of(name).await?, port).into(),
        };
        match network.blacklisted(remote.ip()) {
            Some(range) => Err(Failure::blacklisted(remote.ip(), &range)),
            None => Ok(remote),
        }
    }

    async fn address_of(&self, name: &str) -> Result<IpAddr, Failure> {
        let known = self.entry(name);
        let addresses = if self.network.dns.ttl == DnsTtl::For(std::time::Duration::ZERO) {
            self.look_up(name).await?
        } else {
            let mut slot = known.addresses.lock().await;
            match &*slot {
                Some((addresses, at)) if self.is_fresh(*at) => addresses.clone(),
                _ => {
                    let addresses = self.look_up(name).await?;
                    *slot = Some((addresses.clone(), Instant::now()));
                    addresses
                }
            }
        };
        self.select(&known, &addresses)
            .ok_or_else(|| Failure::lookup(name))
    }

    fn entry(&self, name: &str) -> Rc<Name> {
        let mut known = self.known.borrow_mut();
        if let Some(entry) = known.get(name) {
            return entry.clone();
        }
        if known.len() >= NAMES_MAX {
            known.clear();
        }
        let entry = Rc::new(Name::default());
        known.insert(name.to_owned(), entry.clone());
        entry
    }

    fn is_fresh(&self, at: Instant) -> bool {
        match self.network.dns.ttl {
            DnsTtl::ForEver => true,
            DnsTtl::For(ttl) => at.elapsed() < ttl,
        }
    }

    /// What the system knows, reduced to what the policy allows.
    async fn look_up(&self, name: &str) -> Result<Rc<[IpAddr]>, Failure> {
        let found = tokio::net::lookup_host((name, 0)).await;
        let found = found.map_err(|error| Failure::lookup_error(name, &error))?;
        let mut addresses: Vec<IpAddr> = Vec::new();
        for ip in found.map(|address| address.ip()) {
            if !addresses.contains(&ip) {
                addresses.push(ip);
            }
        }
        Ok(allowed(self.network.dns.policy, &addresses).into())
    }

    fn select(&self, name: &Name, addresses: &[IpAddr]) -> Option<IpAddr> {
        if addresses.len() < 2 {
            return addresses.first().copied();
        }
        let index = match self.network.dns.select {
            DnsSelect::First => 0,
            DnsSelect::RoundRobin => {
                let turn = name.turn.get();
                name.turn.set(turn.wrapping_add(1));
                turn
            }
            DnsSelect::Random => self.next_random() as usize,
        };
        Some(addresses[index % addresses.len()])
    }

    /// Xorshift: which server a VU talks to needs no better one.
    fn next_random(&self) -> u64 {
        let mut state = self.random.get();
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        self.random.set(state);
        state >> 16
    }
}

fn allowed(policy: DnsPolicy, addresses: &[IpAddr]) -> Vec<IpAddr> {
    let (four, six): (Vec<IpAddr>, Vec<IpAddr>) =
        addresses.iter().partition(|address| address.is_ipv4());
    match policy {
        DnsPolicy::Any => addresses.to_vec(),
        DnsPolicy::OnlyIpv4 => four,
        DnsPolicy::OnlyIpv6 => six,
        DnsPolicy::PreferIpv4 if four.is_empty() => six,
        DnsPolicy::PreferIpv4 => four,
        DnsPolicy::PreferIpv6 if six.is_empty() => four,
        DnsPolicy::PreferIpv6 => six,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policy_and_selection_follow_the_options() {
        let ip = |text: &str| -> IpAddr { text.parse().expect("an address") };
        let both = [ip("10.0.0.1"), ip("::1"), ip("10.0.0.2")];
        assert_eq!(
            allowed(DnsPolicy::PreferIpv4, &both),
            [ip("10.0.0.1"), ip("10.0.0.2")]
        );
        assert_eq!(allowed(DnsPolicy::OnlyIpv6, &both), [ip("::1")]);
        assert_eq!(allowed(DnsPolicy::PreferIpv6, &both[..1]), [ip("10.0.0.1")]);
        let mut network = Network::default();
        network.dns.select = DnsSelect::RoundRobin;
        let dns = Dns::new(Arc::new(network));
        let name = Name::default();
        let picks: Vec<_> = (0..4).map(|_| dns.select(&name, &both)).collect();
        assert_eq!(picks[0], picks[3]);
        assert_ne!(picks[0], picks[1]);
    }
}
