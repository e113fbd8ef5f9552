//! The packet filter by netlink: operations become one batch that the kernel takes whole or not at all.

use std::io;

use netlink_packet_core::{
    DefaultNla, NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_REQUEST, NetlinkDeserializable, NetlinkMessage,
    NetlinkPayload, NetlinkSerializable,
};
use netlink_packet_netfilter::nftables::{
    Bitwise, ChainAttribute, ChainMessage, Cmp, DataAttribute, ExpressionAttribute, Expressions, Hook as HookAttribute,
    Immediate, InetHookNumber, ListAttribute, Meta, MetaKey, NfTablesMessage, Operator, Payload, Register,
    RuleAttribute, RuleMessage, TableAttribute, TableMessage, Verdict as VerdictCode, VerdictAttribute,
};
use netlink_packet_netfilter::none::ControlMessage;
use netlink_packet_netfilter::{NetfilterHeader, NetfilterMessage, NetfilterProtoFamily};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};
use nix::sys::socket::{setsockopt, sockopt::ReceiveTimeout};
use nix::sys::time::{TimeVal, TimeValLike};

use crate::core::firewall::{Chain, Hook, Match, Op, Rule, Verdict, Written};
use crate::core::subnet::Subnet;
use crate::error::NetError;
use crate::limits::{NETLINK_WAIT, NFT_REPLY_BYTES};

// linux/netfilter.h, linux/netfilter/nf_tables.h: what the packet crate leaves to its callers.
const NFNL_SUBSYS_NFTABLES: u16 = 10;
const NF_DROP: u32 = 0;
const NF_ACCEPT: u32 = 1;
const NFPROTO_IPV4: u8 = 2;
const PAYLOAD_NETWORK_HEADER: u32 = 1;
const PAYLOAD_TRANSPORT_HEADER: u32 = 2;
const IPV4_SOURCE_OFFSET: u32 = 12;
const IPV4_DESTINATION_OFFSET: u32 = 16;
const PORT_DESTINATION_OFFSET: u32 = 2;
const IPPROTO_TCP: u8 = 6;
const IPPROTO_UDP: u8 = 17;
const NFTA_CT_DREG: u16 = 1;
const NFTA_CT_KEY: u16 = 2;
const NFT_CT_STATE: u32 = 0;
const CT_ESTABLISHED_OR_RELATED: u32 = 0b110;
const NFTA_REJECT_TYPE: u16 = 1;
const NFTA_REJECT_ICMP_CODE: u16 = 2;
const NFT_REJECT_ICMPX_UNREACH: u32 = 2;
const NFT_REJECT_ICMPX_ADMIN_PROHIBITED: u8 = 3;
const PRIORITY_FILTER: i32 = 0;
const PRIORITY_SOURCE_NAT: i32 = 100;
const LINK_NAME_FIELD_BYTES: usize = 16;

/// Bring all of `ops` into force, or none.
pub(crate) fn apply(table: &str, ops: &[Op]) -> Result<(), NetError> {
    let refused = |index: usize, source| NetError::Rules {
        table: table.to_owned(),
        op: ops.get(index).map_or_else(|| "the batch".to_owned(), |op| Written(table, op).to_string()),
        source,
    };
    let whole = |source| refused(usize::MAX, source);
    let mut socket = Socket::new(NETLINK_NETFILTER).map_err(whole)?;
    socket.bind_auto().map_err(whole)?;
    let wait = TimeVal::seconds(i64::try_from(NETLINK_WAIT.as_secs()).unwrap_or(i64::MAX));
    setsockopt(&socket, ReceiveTimeout, &wait).map_err(|errno| whole(errno.into()))?;
    let sent = socket.send_to(&batch(table, ops), &SocketAddr::new(0, 0), 0).map_err(whole)?;
    debug_assert!(sent > 0);
    // Sequence 0 begins the batch, so operation `n` is number `n + 1`; only the last one asks for an answer.
    let last = u32::try_from(ops.len()).unwrap_or(u32::MAX);
    let mut first_refused: Option<(u32, io::Error)> = None;
    loop {
        let mut bytes = Vec::with_capacity(NFT_REPLY_BYTES);
        socket.recv(&mut bytes, 0).map_err(whole)?;
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let message = NetlinkMessage::<NetfilterMessage>::deserialize(rest)
                .map_err(|error| whole(io::Error::new(io::ErrorKind::InvalidData, error)))?;
            let length = usize::try_from(message.header.length).unwrap_or(usize::MAX).next_multiple_of(4);
            rest = rest.get(length..).unwrap_or_default();
            let number = message.header.sequence_number;
            let NetlinkPayload::Error(answer) = message.payload else { continue };
            if answer.code.is_some() && first_refused.is_none() {
                first_refused = Some((number, answer.to_io()));
            }
            // An error about the batch itself is the only answer there will be.
            if number == last || (number == 0 && answer.code.is_some()) {
                return match first_refused {
                    None => Ok(()),
                    Some((number, source)) => {
                        let index = usize::try_from(number).unwrap_or(usize::MAX).wrapping_sub(1);
                        Err(refused(index, source))
                    }
                };
            }
        }
    }
}

fn batch(table: &str, ops: &[Op]) -> Vec<u8> {
    let edge = |message| {
        let header = NetfilterHeader::new(NetfilterProtoFamily::Unspec, 0, NFNL_SUBSYS_NFTABLES);
        NetlinkMessage::from(NetfilterMessage::new(header, message))
    };
    let mut messages = vec![edge(ControlMessage::BatchBegin)];
    messages.extend(ops.iter().map(|op| message(table, op)));
    if let Some(last) = messages.last_mut().filter(|_| !ops.is_empty()) {
        last.header.flags |= NLM_F_ACK;
    }
    messages.push(edge(ControlMessage::BatchEnd));
    let mut bytes = Vec::new();
    for (number, mut message) in messages.into_iter().enumerate() {
        message.header.flags |= NLM_F_REQUEST;
        message.header.sequence_number = u32::try_from(number).unwrap_or(u32::MAX);
        append(&mut bytes, message);
    }
    bytes
}

fn append<M: NetlinkSerializable + NetlinkDeserializable>(bytes: &mut Vec<u8>, mut message: NetlinkMessage<M>)
where
    NetlinkMessage<M>: From<M>,
{
    message.finalize();
    let start = bytes.len();
    bytes.resize(start + message.buffer_len().next_multiple_of(4), 0);
    message.serialize(&mut bytes[start..]);
}

fn message(table: &str, op: &Op) -> NetlinkMessage<NetfilterMessage> {
    let named = || TableMessage { attributes: vec![TableAttribute::Name(table.to_owned())] };
    let (inner, flags) = match op {
        Op::AddTable => (NfTablesMessage::NewTable(named()), NLM_F_CREATE),
        Op::DeleteTable => (NfTablesMessage::DeleteTable(named()), 0),
        Op::AddChain(chain) => (NfTablesMessage::NewChain(chain_message(table, *chain)), NLM_F_CREATE),
        Op::AddRule(rule) => (NfTablesMessage::NewRule(rule_message(table, rule)), NLM_F_CREATE | NLM_F_APPEND),
    };
    let header = NetfilterHeader::new(NetfilterProtoFamily::Inet, 0, 0);
    let mut message = NetlinkMessage::from(NetfilterMessage::new(header, inner));
    message.header.flags = flags;
    message
}

fn chain_message(table: &str, chain: Chain) -> ChainMessage {
    let mut attributes = vec![ChainAttribute::Table(table.to_owned()), ChainAttribute::Name(chain.name.to_owned())];
    if let Some(hook) = chain.hook {
        let (kind, number, priority) = match hook {
            Hook::Prerouting => ("filter", InetHookNumber::PreRouting, PRIORITY_FILTER),
            Hook::Input => ("filter", InetHookNumber::LocalIn, PRIORITY_FILTER),
            Hook::Forward => ("filter", InetHookNumber::Forward, PRIORITY_FILTER),
            Hook::SourceNat => ("nat", InetHookNumber::PostRouting, PRIORITY_SOURCE_NAT),
        };
        attributes.push(ChainAttribute::Policy(NF_ACCEPT));
        attributes.push(ChainAttribute::Type(kind.to_owned()));
        attributes.push(ChainAttribute::Hook(vec![
            HookAttribute::Number(number.into()),
            HookAttribute::Priority(priority.cast_unsigned()),
        ]));
    }
    ChainMessage { attributes }
}

fn rule_message(table: &str, rule: &Rule) -> RuleMessage {
    let mut expressions: Vec<Expressions> = rule.when.iter().flat_map(match_expressions).collect();
    expressions.push(verdict_expression(rule.then));
    // An expression without attributes has a name only; the kernel refuses an empty nest.
    let list = expressions.into_iter().map(|expression| match expression {
        Expressions::Other { expression_type, attributes } if attributes.is_empty() => {
            ListAttribute::Element(vec![ExpressionAttribute::Name(expression_type)])
        }
        other => other.into(),
    });
    RuleMessage {
        attributes: vec![
            RuleAttribute::Table(table.to_owned()),
            RuleAttribute::Chain(rule.chain.to_owned()),
            RuleAttribute::Expressions(list.collect()),
        ],
    }
}

fn match_expressions(when: &Match) -> Vec<Expressions> {
    use Operator::{Equal, NotEqual};
    match when {
        Match::From(link) => vec![meta(MetaKey::Iifname), cmp(Equal, link_name(link))],
        Match::NotFrom(link) => vec![meta(MetaKey::Iifname), cmp(NotEqual, link_name(link))],
        Match::To(link) => vec![meta(MetaKey::Oifname), cmp(Equal, link_name(link))],
        Match::NotTo(link) => vec![meta(MetaKey::Oifname), cmp(NotEqual, link_name(link))],
        Match::Established => {
            let state = Expressions::Other {
                expression_type: "ct".to_owned(),
                attributes: vec![number(NFTA_CT_DREG, Register::Reg1.into()), number(NFTA_CT_KEY, NFT_CT_STATE)],
            };
            let mask = CT_ESTABLISHED_OR_RELATED.to_ne_bytes().to_vec();
            vec![state, bitwise(mask), cmp(NotEqual, vec![0; 4])]
        }
        Match::NotIpv4 => vec![meta(MetaKey::Nfproto), cmp(NotEqual, vec![NFPROTO_IPV4])],
        Match::Source(net) => address(IPV4_SOURCE_OFFSET, Equal, *net),
        Match::NotSource(net) => address(IPV4_SOURCE_OFFSET, NotEqual, *net),
        Match::Destination(net) => address(IPV4_DESTINATION_OFFSET, Equal, *net),
        Match::NotDestination(net) => address(IPV4_DESTINATION_OFFSET, NotEqual, *net),
        Match::Tcp(port) => destination_port(IPPROTO_TCP, *port),
        Match::Udp(port) => destination_port(IPPROTO_UDP, *port),
    }
}

/// In a table of family inet an IPv4 field means nothing until the packet is known to be IPv4.
fn address(offset: u32, operator: Operator, net: Subnet) -> Vec<Expressions> {
    let mut expressions = vec![meta(MetaKey::Nfproto), cmp(Operator::Equal, vec![NFPROTO_IPV4])];
    expressions.push(payload(PAYLOAD_NETWORK_HEADER, offset, 4));
    if net.prefix() < 32 {
        expressions.push(bitwise(net.mask().octets().to_vec()));
    }
    expressions.push(cmp(operator, net.base().octets().to_vec()));
    expressions
}

fn destination_port(protocol: u8, port: u16) -> Vec<Expressions> {
    vec![
        meta(MetaKey::L4Proto),
        cmp(Operator::Equal, vec![protocol]),
        payload(PAYLOAD_TRANSPORT_HEADER, PORT_DESTINATION_OFFSET, 2),
        cmp(Operator::Equal, port.to_be_bytes().to_vec()),
    ]
}

fn verdict_expression(verdict: Verdict) -> Expressions {
    let code = |attributes| {
        Expressions::Immediate(vec![
            Immediate::DestinationRegister(Register::Verdict),
            Immediate::Data(DataAttribute::Verdict(attributes)),
        ])
    };
    match verdict {
        Verdict::Accept => code(vec![VerdictAttribute::Code(VerdictCode::Other(NF_ACCEPT))]),
        Verdict::Drop => code(vec![VerdictAttribute::Code(VerdictCode::Other(NF_DROP))]),
        Verdict::Jump(chain) => {
            code(vec![VerdictAttribute::Code(VerdictCode::Jump), VerdictAttribute::Chain(chain.to_owned())])
        }
        Verdict::Reject => Expressions::Other {
            expression_type: "reject".to_owned(),
            attributes: vec![
                number(NFTA_REJECT_TYPE, NFT_REJECT_ICMPX_UNREACH),
                DefaultNla::new(NFTA_REJECT_ICMP_CODE, vec![NFT_REJECT_ICMPX_ADMIN_PROHIBITED]),
            ],
        },
        Verdict::Masquerade => Expressions::Other { expression_type: "masq".to_owned(), attributes: Vec::new() },
    }
}

fn meta(key: MetaKey) -> Expressions {
    Expressions::Meta(vec![Meta::Key(key), Meta::DestinationRegister(Register::Reg1)])
}

fn payload(base: u32, offset: u32, bytes: u32) -> Expressions {
    Expressions::Payload(vec![
        Payload::DestinationRegister(Register::Reg1),
        Payload::Base(base),
        Payload::Offset(offset),
        Payload::Len(bytes),
    ])
}

fn bitwise(mask: Vec<u8>) -> Expressions {
    let length = mask.len();
    Expressions::Bitwise(vec![
        Bitwise::SourceRegister(Register::Reg1),
        Bitwise::DestinationRegister(Register::Reg1),
        Bitwise::Length(u32::try_from(length).unwrap_or(0)),
        Bitwise::Mask(DataAttribute::Value(mask)),
        Bitwise::Xor(DataAttribute::Value(vec![0; length])),
    ])
}

fn cmp(operator: Operator, value: Vec<u8>) -> Expressions {
    Expressions::Cmp(vec![
        Cmp::SourceRegister(Register::Reg1),
        Cmp::Op(operator),
        Cmp::Data(DataAttribute::Value(value)),
    ])
}

/// The kernel compares the whole field, so that a name is not mistaken for a prefix of another.
fn link_name(name: &str) -> Vec<u8> {
    let mut field = name.as_bytes().to_vec();
    field.resize(LINK_NAME_FIELD_BYTES, 0);
    field
}

fn number(kind: u16, value: u32) -> DefaultNla {
    DefaultNla::new(kind, value.to_be_bytes().to_vec())
}
