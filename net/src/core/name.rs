//! Names that follow from what they name, so that nothing has to be remembered.

use core::net::Ipv4Addr;

use types::JobId;

/// The longest interface name Linux takes.
pub const LINK_NAME_BYTES_MAX: usize = 15;

/// What every veth of ours begins with.
pub const VETH_PREFIX: &str = "sv";

/// The name of a job's interface inside its own namespace.
pub const JOB_LINK: &str = "eth0";

/// A hardware address.
pub type Mac = [u8; 6];

/// Which end of a wire a hardware address is for. The value is part of the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The bridge itself.
    Bridge = 0x10,
    /// The host's end of a job's veth.
    Host = 0x11,
    /// The job's end.
    Job = 0x12,
}

/// The name of the host's end of a job's veth: 60 bits of a hash over bridge and job, so that several
/// clusters on one machine do not meet. 14 bytes.
#[must_use]
pub fn veth(bridge: &str, job: &JobId) -> String {
    let mut hash = Fnv::new();
    hash.write(bridge.as_bytes());
    hash.write(&[0]);
    hash.write(job.as_str().as_bytes());
    let mut name = String::from(VETH_PREFIX);
    let mut bits = hash.finish();
    for _ in 0..12 {
        let digit = b"abcdefghijklmnopqrstuvwxyz234567"[usize::try_from(bits & 31).unwrap_or(0)];
        name.push(char::from(digit));
        bits >>= 5;
    }
    debug_assert!(name.len() <= LINK_NAME_BYTES_MAX, "{name} is too long for a link");
    name
}

/// The hardware address of one end of the wire to `address`: locally administered, and the address can be read back.
#[must_use]
pub fn mac(end: End, address: Ipv4Addr) -> Mac {
    let [a, b, c, d] = address.octets();
    [0x02, end as u8, a, b, c, d]
}

/// The address that [`mac`] was given, if it was made by it for that end.
#[must_use]
pub fn address_of(end: End, mac: &[u8]) -> Option<Ipv4Addr> {
    match *mac {
        [0x02, kind, a, b, c, d] if kind == end as u8 => Some(Ipv4Addr::new(a, b, c, d)),
        _ => None,
    }
}

/// FNV-1a with a final mix; the names are no secret, they only have to spread.
struct Fnv(u64);

impl Fnv {
    fn new() -> Fnv {
        Fnv(0xcbf2_9ce4_8422_2325)
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(self) -> u64 {
        let mixed = (self.0 ^ (self.0 >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
        mixed ^ (mixed >> 32)
    }
}

#[cfg(test)]
mod tests;
