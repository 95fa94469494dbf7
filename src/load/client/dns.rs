//! Host names to addresses, remembered per worker thread for five minutes (k6's `dns.ttl`).
//!
//! IPv4 first (`preferIPv4`), and of several addresses one at random would be k6's choice; the
//! first is ours, which is the same for all the names of one machine.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use url::Host;

use super::Failure;

const TTL: Duration = Duration::from_secs(300);
/// Names remembered.
const NAMES_MAX: usize = 1_024;

#[derive(Debug, Default)]
pub(crate) struct Dns {
    known: RefCell<HashMap<String, (IpAddr, Instant)>>,
}

impl Dns {
    pub(crate) async fn resolve(&self, host: Host<&str>, port: u16) -> Result<SocketAddr, Failure> {
        let name = match host {
            Host::Ipv4(address) => return Ok((address, port).into()),
            Host::Ipv6(address) => return Ok((address, port).into()),
            Host::Domain(name) => name,
        };
        if let Some((address, at)) = self.known.borrow().get(name)
            && at.elapsed() < TTL
        {
            return Ok((*address, port).into());
        }
        let found = tokio::net::lookup_host((name, port)).await;
        let addresses: Vec<IpAddr> = match found {
            Ok(found) => found.map(|address| address.ip()).collect(),
            Err(_) => return Err(Failure::lookup()),
        };
        let preferred = addresses.iter().find(|address| address.is_ipv4());
        let address = *preferred
            .or(addresses.first())
            .ok_or_else(Failure::lookup)?;
        let mut known = self.known.borrow_mut();
        if known.len() >= NAMES_MAX {
            known.clear();
        }
        known.insert(name.to_owned(), (address, Instant::now()));
        Ok((address, port).into())
    }
}
