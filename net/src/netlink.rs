//! rtnetlink behind blocking calls: the only place that knows it and its runtime.
//!
//! A socket belongs to the network namespace of the thread that opened it, so a [`Netlink`] speaks for one
//! namespace for good, from whatever thread it is used.

use std::fmt::Display;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::rc::Rc;

use futures_util::TryStreamExt;
use futures_util::future::{try_join, try_join5};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::AddressAttribute;
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, BridgeStpState, In6AddrGenMode, InfoBridgePort, InfoData, InfoKind, InfoVeth,
    LinkAttribute, LinkInfo, LinkMessage,
};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{RouteAttribute, RouteMessage};
use nix::errno::Errno;
use rtnetlink::{Handle, LinkBridge, LinkBridgePort, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder};
use tokio::runtime::{Builder, Runtime};

use crate::core::name::{JOB_LINK, Mac};
use crate::error::NetError;

/// The kernel gives every namespace's loopback the first index.
pub(crate) const LOOPBACK_INDEX: u32 = 1;

/// What there is to know of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) kind: Option<InfoKind>,
    pub(crate) controller: Option<u32>,
    pub(crate) mac: Vec<u8>,
    pub(crate) mtu: u32,
    pub(crate) alias: String,
}

/// An address on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) index: u32,
    pub(crate) address: Ipv4Addr,
    pub(crate) prefix: u8,
}

/// One end of a new wire.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wire<'a> {
    pub(crate) name: &'a str,
    pub(crate) mac: Mac,
    pub(crate) job_mac: Mac,
    pub(crate) bridge: u32,
    pub(crate) mtu: u32,
    pub(crate) netns: BorrowedFd<'a>,
}

/// The host's end of a wire, as it is to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Port<'a> {
    pub(crate) index: u32,
    pub(crate) name: &'a str,
    pub(crate) alias: &'a str,
    pub(crate) bridge: u32,
    pub(crate) job: Ipv4Addr,
    pub(crate) job_mac: Mac,
}

/// The job's end of a wire, as it is to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Inside {
    pub(crate) address: Ipv4Addr,
    pub(crate) prefix: u8,
    pub(crate) gateway: Ipv4Addr,
    pub(crate) gateway_mac: Mac,
}

/// A conversation with the kernel about the links, addresses and routes of one namespace.
///
/// The kernel takes the requests of one socket in their order, so a batch is sent as a whole and its answers are
/// awaited together. When one request of a batch fails, later ones may have been done.
pub(crate) struct Netlink {
    handle: Handle,
    runtime: Rc<Runtime>,
}

impl Netlink {
    /// Speak for the namespace that this thread is in now.
    pub(crate) fn open() -> Result<Netlink, NetError> {
        let refused = |source| NetError::Netlink { action: "open", subject: "a route socket".into(), source };
        let runtime = Builder::new_current_thread().enable_io().build().map_err(refused)?;
        Netlink::connect(Rc::new(runtime))
    }

    /// Speak for the namespace that this thread is in now, with the runtime of another conversation.
    pub(crate) fn beside(&self) -> Result<Netlink, NetError> {
        Netlink::connect(Rc::clone(&self.runtime))
    }

    fn connect(runtime: Rc<Runtime>) -> Result<Netlink, NetError> {
        let refused = |source| NetError::Netlink { action: "open", subject: "a route socket".into(), source };
        let handle = {
            let _entered = runtime.enter();
            let (connection, handle, _) = rtnetlink::new_connection().map_err(refused)?;
            runtime.spawn(connection);
            handle
        };
        Ok(Netlink { handle, runtime })
    }

    fn wait<T>(
        &self,
        action: &'static str,
        subject: impl Display,
        request: impl Future<Output = Result<T, rtnetlink::Error>>,
    ) -> Result<T, NetError> {
        self.runtime.block_on(named(action, subject, request))
    }

    /// Every interface.
    pub(crate) fn links(&self) -> Result<Vec<Link>, NetError> {
        let found: Vec<LinkMessage> = self.wait("list", "links", self.handle.link().get().execute().try_collect())?;
        Ok(found.into_iter().map(link).collect())
    }

    /// The interface of that name.
    pub(crate) fn link(&self, name: &str) -> Result<Option<Link>, NetError> {
        let request = self.handle.link().get().match_name(name.to_owned()).execute();
        match self.wait("find link", name, request.try_collect::<Vec<LinkMessage>>()) {
            Ok(found) => Ok(found.into_iter().next().map(link)),
            Err(error) if is(&error, &[Errno::ENODEV]) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Every IPv4 address.
    pub(crate) fn addresses(&self) -> Result<Vec<Address>, NetError> {
        let mut request = self.handle.address().get();
        request.message_mut().header.family = AddressFamily::Inet;
        let found: Vec<_> = self.wait("list", "addresses", request.execute().try_collect())?;
        let known = found.into_iter().filter_map(|message| {
            let local = message.attributes.iter().find_map(|attribute| match attribute {
                AddressAttribute::Local(IpAddr::V4(address)) => Some(*address),
                _ => None,
            })?;
            Some(Address { index: message.header.index, address: local, prefix: message.header.prefix_len })
        });
        Ok(known.collect())
    }

    /// The interface of the preferred default route.
    pub(crate) fn default_route(&self) -> Result<Option<u32>, NetError> {
        let every = RouteMessageBuilder::<Ipv4Addr>::new().build();
        let found: Vec<RouteMessage> =
            self.wait("list", "routes", self.handle.route().get(every).execute().try_collect())?;
        let default = found.iter().filter(|route| route.header.destination_prefix_length == 0).filter_map(|route| {
            let metric = route.attributes.iter().find_map(|attribute| match attribute {
                RouteAttribute::Priority(metric) => Some(*metric),
                _ => None,
            });
            let index = route.attributes.iter().find_map(|attribute| match attribute {
                RouteAttribute::Oif(index) => Some(*index),
                _ => None,
            })?;
            Some((metric.unwrap_or(0), index))
        });
        Ok(default.min().map(|(_, index)| index))
    }

    /// A bridge that floods nothing by itself and forgets nothing.
    pub(crate) fn add_bridge(&self, name: &str, mac: Mac, mtu: u32) -> Result<(), NetError> {
        let message = LinkBridge::new(name)
            .stp_state(BridgeStpState::Disabled)
            .mcast_snooping(false)
            .address(mac.to_vec())
            .mtu(mtu)
            .build();
        self.wait("add bridge", name, self.handle.link().add(message).execute())
    }

    /// Both ends of a wire: the host's on the bridge, the job's in its namespace. Neither is up yet.
    pub(crate) fn add_wire(&self, wire: Wire<'_>) -> Result<(), NetError> {
        let peer = LinkMessageBuilder::<LinkUnspec>::new()
            .name(JOB_LINK)
            .address(wire.job_mac.to_vec())
            .mtu(wire.mtu)
            .setns_by_fd(wire.netns.as_raw_fd())
            .build();
        let message = LinkMessageBuilder::<LinkVeth>::new_with_info_kind(InfoKind::Veth)
            .name(wire.name)
            .address(wire.mac.to_vec())
            .mtu(wire.mtu)
            .controller(wire.bridge)
            .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
            .build();
        self.wait("add veth", wire.name, self.handle.link().add(message).execute())
    }

    /// Make the bridge port say nothing to other ports and believe nothing it hears, bring it up, and write down
    /// who is behind it: for the bridge by hardware address, for the host by address. No question is ever asked and
    /// no answer believed.
    pub(crate) fn set_port(&self, port: Port<'_>) -> Result<(), NetError> {
        let Port { index, name, alias, bridge, job, job_mac } = port;
        let flags = [
            InfoBridgePort::Isolated(true),
            InfoBridgePort::Learning(false),
            InfoBridgePort::Locked(true),
            InfoBridgePort::UnicastFlood(false),
            InfoBridgePort::MulticastFlood(false),
            InfoBridgePort::BroadcastFlood(false),
        ];
        let seal = flags.into_iter().fold(LinkBridgePort::new(index), |message, flag| message.append_info_data(flag));
        let raise = LinkUnspec::new_with_index(index).alias(alias).up();
        let neighbours = self.handle.neighbours();
        let entry = neighbours
            .add_bridge(index, &job_mac)
            // `Noarp` is a static entry; `Permanent` would make the address the bridge's own.
            .state(NeighbourState::Noarp)
            .flags(NeighbourFlags::Controller)
            .replace();
        let neighbour = neighbours.add(bridge, job.into()).link_layer_address(&job_mac).replace();
        let batch = try_join5(
            named("seal bridge port", name, self.handle.link().change(seal.build()).execute()),
            self.without_link_local(index, name),
            named("raise", name, self.handle.link().change(raise.build()).execute()),
            named("add forwarding entry behind", name, entry.execute()),
            named("add neighbour", job, neighbour.execute()),
        );
        self.runtime.block_on(batch).map(drop)
    }

    /// In the job's namespace: loopback up, and the job's end of the wire.
    pub(crate) fn set_inside(&self, inside: Inside) -> Result<(), NetError> {
        let Inside { address, prefix, gateway, gateway_mac } = inside;
        let raise = |index| self.handle.link().change(LinkUnspec::new_with_index(index).up().build()).execute();
        let found = self.handle.link().get().match_name(JOB_LINK.to_owned()).execute();
        let first = try_join(
            named("raise", "lo", raise(LOOPBACK_INDEX)),
            named("find link", JOB_LINK, found.try_collect::<Vec<LinkMessage>>()),
        );
        let ((), links) = self.runtime.block_on(first)?;
        let index = links.first().map_or(0, |link| link.header.index);

        // The gateway is a neighbour by decree, not by address: hence `onlink`.
        let route = RouteMessageBuilder::<Ipv4Addr>::new().gateway(gateway).output_interface(index).onlink().build();
        let neighbour = self.handle.neighbours().add(index, gateway.into()).link_layer_address(&gateway_mac).replace();
        let batch = try_join5(
            self.without_link_local(index, JOB_LINK),
            named("add address", address, self.handle.address().add(index, address.into(), prefix).replace().execute()),
            named("raise", JOB_LINK, raise(index)),
            named("add neighbour", gateway, neighbour.execute()),
            named("add default route", gateway, self.handle.route().add(route).execute()),
        );
        self.runtime.block_on(batch).map(drop)
    }

    /// No address of its own making: jobs speak IPv4 only.
    async fn without_link_local(&self, index: u32, name: &str) -> Result<(), NetError> {
        let none = AfSpecUnspec::Inet6(vec![AfSpecInet6::AddrGenMode(In6AddrGenMode::None)]);
        let message =
            LinkUnspec::new_with_index(index).append_extra_attribute(LinkAttribute::AfSpecUnspec(vec![none])).build();
        match named("set address mode of", name, self.handle.link().change(message).execute()).await {
            // A kernel without IPv6 makes no such address.
            Err(error) if is(&error, &[Errno::EAFNOSUPPORT, Errno::EOPNOTSUPP]) => Ok(()),
            result => result,
        }
    }

    pub(crate) fn raise(&self, index: u32, name: &str) -> Result<(), NetError> {
        let message = LinkUnspec::new_with_index(index).up().build();
        self.wait("raise", name, self.handle.link().change(message).execute())
    }

    pub(crate) fn set_alias(&self, index: u32, name: &str, alias: &str) -> Result<(), NetError> {
        let message = LinkUnspec::new_with_index(index).alias(alias).build();
        self.wait("set alias of", name, self.handle.link().change(message).execute())
    }

    /// Set what a bridge that was already there may have otherwise.
    pub(crate) fn set_mac_and_mtu(&self, index: u32, name: &str, mac: Mac, mtu: u32) -> Result<(), NetError> {
        let message = LinkUnspec::new_with_index(index).address(mac.to_vec()).mtu(mtu).build();
        self.wait("set address and MTU of", name, self.handle.link().change(message).execute())
    }

    /// Remove the interface; fine when it is gone.
    pub(crate) fn remove(&self, name: &str) -> Result<(), NetError> {
        let message = LinkUnspec::new_with_name(name).build();
        match self.wait("remove link", name, self.handle.link().del_with_message(message).execute()) {
            Err(error) if is(&error, &[Errno::ENODEV]) => Ok(()),
            result => result,
        }
    }

    /// Remove the interface of that index; fine when it is gone.
    pub(crate) fn remove_index(&self, index: u32) -> Result<(), NetError> {
        match self.wait("remove link", index, self.handle.link().del(index).execute()) {
            Err(error) if is(&error, &[Errno::ENODEV]) => Ok(()),
            result => result,
        }
    }

    /// Put the address on the interface; fine when it is there.
    pub(crate) fn add_address(&self, index: u32, address: Ipv4Addr, prefix: u8) -> Result<(), NetError> {
        let request = self.handle.address().add(index, address.into(), prefix).replace();
        self.wait("add address", format_args!("{address}/{prefix}"), request.execute())
    }

    pub(crate) fn remove_neighbour(&self, index: u32, address: Ipv4Addr) -> Result<(), NetError> {
        let mut message = NeighbourMessage::default();
        message.header.family = AddressFamily::Inet;
        message.header.ifindex = index;
        message.attributes.push(NeighbourAttribute::Destination(NeighbourAddress::Inet(address)));
        match self.wait("remove neighbour", address, self.handle.neighbours().del(message).execute()) {
            Err(error) if is(&error, &[Errno::ENOENT, Errno::ENODEV, Errno::ENXIO]) => Ok(()),
            result => result,
        }
    }
}

/// A request whose failure says what was tried, and on what.
async fn named<T>(
    action: &'static str,
    subject: impl Display,
    request: impl Future<Output = Result<T, rtnetlink::Error>>,
) -> Result<T, NetError> {
    request.await.map_err(|error| NetError::Netlink {
        action,
        subject: subject.to_string(),
        source: kernel_error(error),
    })
}

fn link(message: LinkMessage) -> Link {
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        kind: None,
        controller: None,
        mac: Vec::new(),
        mtu: 0,
        alias: String::new(),
    };
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::IfAlias(alias) => link.alias = alias,
            LinkAttribute::Controller(index) => link.controller = Some(index),
            LinkAttribute::Address(mac) => link.mac = mac,
            LinkAttribute::Mtu(mtu) => link.mtu = mtu,
            LinkAttribute::LinkInfo(facts) => {
                link.kind = facts.into_iter().find_map(|fact| match fact {
                    LinkInfo::Kind(kind) => Some(kind),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    link
}

fn kernel_error(error: rtnetlink::Error) -> io::Error {
    match error {
        rtnetlink::Error::NetlinkError(answer) => answer.to_io(),
        other => io::Error::other(other),
    }
}

/// Whether the kernel answered with one of these.
pub(crate) fn is(error: &NetError, errnos: &[Errno]) -> bool {
    let NetError::Netlink { source, .. } = error else { return false };
    source.raw_os_error().is_some_and(|code| errnos.contains(&Errno::from_raw(code)))
}
