//! The bridge, its uplink, and the debt of settings that were changed on it.

use std::collections::BTreeSet;

use netlink_packet_route::link::InfoKind;

use crate::core::name::{End, mac};
use crate::core::subnet::Subnet;
use crate::error::NetError;
use crate::limits::MTU_DEFAULT;
use crate::netlink::{Link, Netlink};
use crate::options::Options;
use crate::sysctl::{self, Forwarding};

/// The bridge's alias says which interfaces did not forward before we came; they are set back in the end.
const DEBT: &str = "slipway, forwarding was off on:";

/// The interface towards the internet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Uplink {
    pub(crate) name: String,
    pub(crate) mtu: u32,
}

/// The uplink that was asked for, else the one of the default route, if there is one.
pub(crate) fn find_uplink(netlink: &Netlink, options: &Options) -> Result<Option<Uplink>, NetError> {
    if let Some(name) = &options.uplink {
        let link = netlink
            .link(name)?
            .ok_or_else(|| NetError::Option { option: "uplink", why: format!("there is no interface {name}") })?;
        return Ok(Some(Uplink { name: link.name, mtu: link.mtu }));
    }
    let Some(index) = netlink.default_route()? else { return Ok(None) };
    let link = netlink.links()?.into_iter().find(|link| link.index == index);
    Ok(link.map(|link| Uplink { name: link.name, mtu: link.mtu }))
}

/// What jobs' packets may measure.
pub(crate) fn mtu(uplink: Option<&Uplink>) -> u32 {
    uplink.map_or(MTU_DEFAULT, |uplink| uplink.mtu)
}

/// Make or adopt the bridge with its address. Its index.
pub(crate) fn ensure(netlink: &Netlink, options: &Options, mtu: u32) -> Result<u32, NetError> {
    let name = &options.bridge;
    let gateway = options.gateway();
    let address = mac(End::Bridge, gateway);
    let found = netlink.link(name)?;
    refuse_overlap(netlink, options.subnet, found.as_ref())?;
    let index = match found {
        Some(link) if link.kind != Some(InfoKind::Bridge) => return Err(NetError::NotABridge { name: name.clone() }),
        Some(link) => {
            if link.mac != address || link.mtu != mtu {
                netlink.set_mac_and_mtu(link.index, name, address, mtu)?;
            }
            link.index
        }
        None => {
            netlink.add_bridge(name, address, mtu)?;
            let made = netlink.link(name)?.ok_or_else(|| NetError::NotABridge { name: name.clone() })?;
            made.index
        }
    };
    sysctl::disable_ipv6(name)?;
    sysctl::refuse_shortcuts(name)?;
    netlink.add_address(index, gateway, options.subnet.prefix())?;
    netlink.raise(index, name)?;
    Ok(index)
}

fn refuse_overlap(netlink: &Netlink, subnet: Subnet, bridge: Option<&Link>) -> Result<(), NetError> {
    let own = bridge.map(|link| link.index);
    for found in netlink.addresses()?.into_iter().filter(|found| Some(found.index) != own) {
        let Some(other) = Subnet::of(found.address, found.prefix) else { continue };
        if subnet.overlaps(other) {
            let links = netlink.links()?;
            let link = links.into_iter().find(|link| link.index == found.index);
            return Err(NetError::Overlap { subnet, other, link: link.map_or_else(String::new, |link| link.name) });
        }
    }
    Ok(())
}

/// Let packets pass between bridge and uplink. To be called once the rules are in force.
pub(crate) fn forward(netlink: &Netlink, bridge: &str, uplink: Option<&Uplink>) -> Result<(), NetError> {
    sysctl::set_forwarding(bridge, Forwarding::On)?;
    let Some(Uplink { name: uplink, .. }) = uplink else { return Ok(()) };
    let links = netlink.links()?;
    // When another network of ours switched it on, whoever is torn down last switches it off.
    let owed_by_other = links.iter().any(|link| link.name != bridge && debts(&link.alias).contains(uplink));
    if (sysctl::forwarding(uplink) == Forwarding::Off || owed_by_other)
        && let Some(own) = links.iter().find(|link| link.name == bridge)
    {
        let mut owed = debts(&own.alias);
        if owed.insert(uplink.clone()) {
            netlink.set_alias(own.index, bridge, &alias(&owed))?;
        }
    }
    sysctl::set_forwarding(uplink, Forwarding::On)
}

/// Remove the bridge and set back what was changed for it.
pub(crate) fn remove(netlink: &Netlink, bridge: &str) -> Result<(), NetError> {
    let links = netlink.links()?;
    let Some(own) = links.iter().find(|link| link.name == bridge) else { return Ok(()) };
    let owed_by_others: BTreeSet<String> =
        links.iter().filter(|link| link.name != bridge).flat_map(|link| debts(&link.alias)).collect();
    for uplink in debts(&own.alias).difference(&owed_by_others) {
        if links.iter().any(|link| link.name == *uplink) {
            sysctl::set_forwarding(uplink, Forwarding::Off)?;
        }
    }
    netlink.remove(bridge)
}

fn debts(alias: &str) -> BTreeSet<String> {
    let listed = alias.strip_prefix(DEBT).unwrap_or_default();
    listed.split_whitespace().map(str::to_owned).collect()
}

fn alias(owed: &BTreeSet<String>) -> String {
    owed.iter().fold(DEBT.to_owned(), |text, link| format!("{text} {link}"))
}
