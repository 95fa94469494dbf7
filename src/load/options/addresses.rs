//! `localIPs`: a pool of addresses that VUs connect from, by index.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// Addresses, ranges `first-last` and networks, in the order given.
#[derive(Clone, Debug, PartialEq)]
pub struct AddressPool {
    blocks: Vec<Block>,
    count: u128,
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Block {
    first: IpAddr,
    count: u128,
}

#[derive(Debug, thiserror::Error, PartialEq)]
pub enum AddressError {
    #[error("{0} is not a valid IP, IP range or CIDR")]
    Unreadable(String),
    #[error("mixed IP range format: {0}")]
    Mixed(String),
    #[error("negative IP range: {0}")]
    Negative(String),
}

impl AddressPool {
    /// Reads `192.168.0.10-192.168.0.15,10.0.0.0/27,fd00::1`. Of an IPv4 network larger than two
    /// addresses the first and the last are left out.
    pub fn parse(text: &str) -> Result<AddressPool, AddressError> {
        let mut blocks = Vec::new();
        for part in text.split(',') {
            blocks.push(block(part.trim())?);
        }
        let count = blocks
            .iter()
            .fold(0_u128, |sum, block| sum.saturating_add(block.count));
        Ok(AddressPool {
            blocks,
            count,
            text: text.to_owned(),
        })
    }

    /// The address of an index; after the last the first comes again.
    pub fn get(&self, index: u64) -> IpAddr {
        let mut rest = u128::from(index) % self.count;
        for block in &self.blocks {
            if rest < block.count {
                return after(block.first, rest);
            }
            rest -= block.count;
        }
        self.blocks[0].first
    }

    /// As it was given.
    pub fn text(&self) -> &str {
        &self.text
    }
}

fn block(text: &str) -> Result<Block, AddressError> {
    let unreadable = || AddressError::Unreadable(text.to_owned());
    if let Some((first, last)) = text.split_once('-') {
        let first: IpAddr = first.trim().parse().map_err(|_| unreadable())?;
        let last: IpAddr = last.trim().parse().map_err(|_| unreadable())?;
        if first.is_ipv4() != last.is_ipv4() {
            return Err(AddressError::Mixed(text.to_owned()));
        }
        let (from, to) = (number(first), number(last));
        if to < from {
            return Err(AddressError::Negative(text.to_owned()));
        }
        return Ok(Block {
            first,
            count: (to - from).saturating_add(1),
        });
    }
    if text.contains('/') {
        let network: IpNet = text.parse().map_err(|_| unreadable())?;
        let (from, to) = (number(network.network()), number(network.broadcast()));
        let count = (to - from).saturating_add(1);
        return Ok(if network.addr().is_ipv4() && count > 2 {
            Block {
                first: after(network.network(), 1),
                count: count - 2,
            }
        } else {
            Block {
                first: network.network(),
                count,
            }
        });
    }
    Ok(Block {
        first: text.parse().map_err(|_| unreadable())?,
        count: 1,
    })
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    }
}

fn after(first: IpAddr, steps: u128) -> IpAddr {
    match first {
        IpAddr::V4(first) => {
            let steps = u32::try_from(steps).unwrap_or(u32::MAX);
            Ipv4Addr::from(u32::from(first).saturating_add(steps)).into()
        }
        IpAddr::V6(first) => Ipv6Addr::from(u128::from(first).saturating_add(steps)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_in_order_and_begin_again() {
        let pool = AddressPool::parse("10.0.0.5-10.0.0.6,192.168.0.0/30,fd00::1").expect("valid");
        let got: Vec<String> = (0..6).map(|i| pool.get(i).to_string()).collect();
        let expected = [
            "10.0.0.5",
            "10.0.0.6",
            "192.168.0.1",
            "192.168.0.2",
            "fd00::1",
            "10.0.0.5",
        ];
        assert_eq!(got, expected);
    }

    #[test]
    fn wrong_ranges_are_told_apart() {
        for (text, error) in [
            (
                "10.0.0.9-10.0.0.1",
                AddressError::Negative("10.0.0.9-10.0.0.1".to_owned()),
            ),
            (
                "10.0.0.9-fd00::1",
                AddressError::Mixed("10.0.0.9-fd00::1".to_owned()),
            ),
            ("", AddressError::Unreadable(String::new())),
            (
                "10.0.0.0/99",
                AddressError::Unreadable("10.0.0.0/99".to_owned()),
            ),
        ] {
            assert_eq!(AddressPool::parse(text), Err(error));
        }
    }
}
