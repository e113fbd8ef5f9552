//! A range of IPv4 addresses.

use core::fmt;
use core::net::Ipv4Addr;
use core::str::FromStr;

/// An IPv4 network such as `100.100.7.0/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subnet {
    base: u32,
    prefix: u8,
}

/// Why a text is not a subnet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("subnet {text:?} is not valid: use an IPv4 network such as 100.100.7.0/24")]
pub struct SubnetError {
    /// What it was.
    pub text: String,
}

impl Subnet {
    /// The network of `prefix` bits that `address` is in; `None` when there are not 0 to 32 bits.
    #[must_use]
    pub fn of(address: Ipv4Addr, prefix: u8) -> Option<Subnet> {
        (prefix <= 32).then(|| Subnet { base: address.to_bits() & mask(prefix), prefix })
    }

    /// The first address, which names the network.
    #[must_use]
    pub fn base(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.base)
    }

    /// How many bits name the network.
    #[must_use]
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// The mask as an address.
    #[must_use]
    pub fn mask(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(mask(self.prefix))
    }

    /// The first address that may stand on an interface: the bridge's.
    #[must_use]
    pub fn gateway(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.base | 1)
    }

    /// The last address: the broadcast address.
    #[must_use]
    pub fn last(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.base | !mask(self.prefix))
    }

    /// Whether the address is inside.
    #[must_use]
    pub fn contains(self, address: Ipv4Addr) -> bool {
        address.to_bits() & mask(self.prefix) == self.base
    }

    /// Whether the two have addresses in common.
    #[must_use]
    pub fn overlaps(self, other: Subnet) -> bool {
        self.contains(other.base()) || other.contains(self.base())
    }
}

fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base(), self.prefix)
    }
}

impl FromStr for Subnet {
    type Err = SubnetError;

    /// Refuses a text with host bits set: `100.100.7.9/24` is an address, not a network.
    fn from_str(text: &str) -> Result<Subnet, SubnetError> {
        let parsed = text.split_once('/').and_then(|(address, prefix)| {
            let address: Ipv4Addr = address.parse().ok()?;
            let subnet = Subnet::of(address, prefix.parse().ok()?)?;
            (subnet.base() == address).then_some(subnet)
        });
        parsed.ok_or_else(|| SubnetError { text: text.chars().take(40).collect() })
    }
}

#[cfg(test)]
mod tests;
