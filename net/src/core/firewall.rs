//! The packet filter as values: what must be in force, and the transaction that brings it about.
//!
//! `Display` writes what `nft` would read, so that a test shows the rules and `nft list table` can be compared.

use core::fmt;
use core::net::Ipv4Addr;

use super::subnet::Subnet;

/// Link-local addresses: where clouds keep the credentials of the machine.
const LINK_LOCAL: (Ipv4Addr, u8) = (Ipv4Addr::new(169, 254, 0, 0), 16);

/// What the rules are for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The table, family inet.
    pub table: String,
    /// The bridge of the jobs.
    pub bridge: String,
    /// The addresses of the jobs.
    pub subnet: Subnet,
    /// The resolver's port on the gateway.
    pub dns_port: u16,
    /// TCP ports of the host that jobs may reach.
    pub host_ports: Vec<u16>,
}

/// One step of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Make the table; fine when it is there.
    AddTable,
    /// Remove the table and all in it.
    DeleteTable,
    /// Make a chain.
    AddChain(Chain),
    /// Append a rule.
    AddRule(Rule),
}

/// A list of rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Its name.
    pub name: &'static str,
    /// Where packets come in; none for a chain that others jump to.
    pub hook: Option<Hook>,
}

/// Where packets enter a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// As they come in, before it is known where they go.
    Prerouting,
    /// On their way to the host itself.
    Input,
    /// On their way through the host.
    Forward,
    /// As they leave, where sources are translated.
    SourceNat,
}

/// What a packet must be, all of it, and what is done with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// In which chain.
    pub chain: &'static str,
    /// What it must be.
    pub when: Vec<Match>,
    /// What is done.
    pub then: Verdict,
}

/// One property of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match {
    /// It came in by this interface.
    From(String),
    /// It came in by another.
    NotFrom(String),
    /// It leaves by this interface.
    To(String),
    /// It leaves by another.
    NotTo(String),
    /// It belongs to a connection that was let through, or is an error message about one.
    Established,
    /// It is not IPv4.
    NotIpv4,
    /// Its source is in the network.
    Source(Subnet),
    /// Its source is elsewhere.
    NotSource(Subnet),
    /// Its destination is in the network.
    Destination(Subnet),
    /// Its destination is elsewhere.
    NotDestination(Subnet),
    /// It is for this TCP port.
    Tcp(u16),
    /// It is for this UDP port.
    Udp(u16),
}

/// What is done with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    Accept,
    /// It is gone, silently.
    Drop,
    /// It is gone, and its sender is told that policy forbids it.
    Reject,
    /// Other rules decide; without a verdict the next rule here does.
    Jump(&'static str),
    /// It goes on with the address of the interface it leaves by.
    Masquerade,
}

/// Everything that must be in force, in place of whatever the table held. One transaction.
#[must_use]
pub fn replace(policy: &Policy) -> Vec<Op> {
    // Adding before deleting makes the delete valid whether or not the table was there.
    let mut ops = vec![Op::AddTable, Op::DeleteTable, Op::AddTable];
    ops.extend(chains().map(Op::AddChain));
    ops.extend(rules(policy).into_iter().map(Op::AddRule));
    ops
}

/// Nothing of us in force.
#[must_use]
pub fn remove() -> Vec<Op> {
    vec![Op::AddTable, Op::DeleteTable]
}

fn chains() -> impl Iterator<Item = Chain> {
    let base = |name, hook| Chain { name, hook: Some(hook) };
    let inner = |name| Chain { name, hook: None };
    [
        // Chains that are jumped to must exist before the jump.
        inner("job-to-job"),
        inner("job-to-host"),
        inner("job-out"),
        inner("job-in"),
        base("prerouting", Hook::Prerouting),
        base("input", Hook::Input),
        base("forward", Hook::Forward),
        base("postrouting", Hook::SourceNat),
    ]
    .into_iter()
}

fn rules(policy: &Policy) -> Vec<Rule> {
    let Policy { bridge, subnet, .. } = policy;
    let from = || Match::From(bridge.clone());
    let to = || Match::To(bridge.clone());
    let gateway = single(subnet.gateway());
    let rule = |chain, when, then| Rule { chain, when, then };

    let mut rules = vec![
        // Before routing: once it is known that a packet turns round on the bridge, the kernel tells the job of a
        // shorter way, and that message uses up its allowance for the one that says no.
        rule(
            "prerouting",
            vec![from(), Match::Destination(*subnet), Match::NotDestination(gateway)],
            Verdict::Jump("job-to-job"),
        ),
        rule("job-to-job", vec![Match::Established], Verdict::Accept),
        rule("job-to-job", vec![], Verdict::Reject),
        rule("input", vec![from()], Verdict::Jump("job-to-host")),
        // The gateway's address is for jobs and for the host itself, not for the host's neighbours.
        rule(
            "input",
            vec![Match::NotFrom(bridge.clone()), Match::NotFrom("lo".into()), Match::Destination(gateway)],
            Verdict::Drop,
        ),
        // Answers to the router and to health checks.
        rule("job-to-host", vec![Match::Established], Verdict::Accept),
        rule("job-to-host", vec![Match::NotIpv4], Verdict::Drop),
        rule("job-to-host", vec![Match::NotSource(*subnet)], Verdict::Drop),
        rule("job-to-host", vec![Match::Destination(gateway), Match::Udp(policy.dns_port)], Verdict::Accept),
        rule("job-to-host", vec![Match::Destination(gateway), Match::Tcp(policy.dns_port)], Verdict::Accept),
    ];
    rules.extend(policy.host_ports.iter().map(|port| rule("job-to-host", vec![Match::Tcp(*port)], Verdict::Accept)));
    rules.extend([
        rule("job-to-host", vec![], Verdict::Reject),
        rule("forward", vec![from()], Verdict::Jump("job-out")),
        rule("forward", vec![to()], Verdict::Jump("job-in")),
        rule("job-out", vec![Match::Established], Verdict::Accept),
        rule("job-out", vec![Match::NotIpv4], Verdict::Drop),
        rule("job-out", vec![Match::NotSource(*subnet)], Verdict::Drop),
        rule("job-out", vec![to()], Verdict::Reject),
        rule("job-out", vec![Match::Destination(link_local())], Verdict::Reject),
        rule("job-out", vec![], Verdict::Accept),
        rule("job-in", vec![Match::Established], Verdict::Accept),
        rule("job-in", vec![], Verdict::Drop),
        rule("postrouting", vec![Match::Source(*subnet), Match::NotTo(bridge.clone())], Verdict::Masquerade),
    ]);
    rules
}

fn single(address: Ipv4Addr) -> Subnet {
    Subnet::of(address, 32).expect("32 bits name one address")
}

fn link_local() -> Subnet {
    Subnet::of(LINK_LOCAL.0, LINK_LOCAL.1).expect("16 bits are few enough")
}

/// An operation together with the table it is for, as `nft` writes it.
#[derive(Clone, Copy, Debug)]
pub struct Written<'a>(pub &'a str, pub &'a Op);

impl fmt::Display for Written<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Written(table, op) = self;
        match op {
            Op::AddTable => write!(f, "add table inet {table}"),
            Op::DeleteTable => write!(f, "delete table inet {table}"),
            Op::AddChain(chain) => write!(f, "add chain inet {table} {chain}"),
            Op::AddRule(rule) => write!(f, "add rule inet {table} {rule}"),
        }
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        match self.hook {
            None => Ok(()),
            Some(Hook::Prerouting) => f.write_str(" { type filter hook prerouting priority filter; policy accept; }"),
            Some(Hook::Input) => f.write_str(" { type filter hook input priority filter; policy accept; }"),
            Some(Hook::Forward) => f.write_str(" { type filter hook forward priority filter; policy accept; }"),
            Some(Hook::SourceNat) => f.write_str(" { type nat hook postrouting priority srcnat; policy accept; }"),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.chain)?;
        for when in &self.when {
            write!(f, " {when}")?;
        }
        write!(f, " {}", self.then)
    }
}

impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Match::From(link) => write!(f, "iifname \"{link}\""),
            Match::NotFrom(link) => write!(f, "iifname != \"{link}\""),
            Match::To(link) => write!(f, "oifname \"{link}\""),
            Match::NotTo(link) => write!(f, "oifname != \"{link}\""),
            Match::Established => f.write_str("ct state established,related"),
            Match::NotIpv4 => f.write_str("meta nfproto != ipv4"),
            Match::Source(net) => write!(f, "ip saddr {}", Bare(*net)),
            Match::NotSource(net) => write!(f, "ip saddr != {}", Bare(*net)),
            Match::Destination(net) => write!(f, "ip daddr {}", Bare(*net)),
            Match::NotDestination(net) => write!(f, "ip daddr != {}", Bare(*net)),
            Match::Tcp(port) => write!(f, "tcp dport {port}"),
            Match::Udp(port) => write!(f, "udp dport {port}"),
        }
    }
}

/// `nft` writes a network of one address without its 32 bits.
struct Bare(Subnet);

impl fmt::Display for Bare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.prefix() == 32 { self.0.base().fmt(f) } else { self.0.fmt(f) }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Accept => f.write_str("accept"),
            Verdict::Drop => f.write_str("drop"),
            Verdict::Reject => f.write_str("reject with icmpx admin-prohibited"),
            Verdict::Jump(chain) => write!(f, "jump {chain}"),
            Verdict::Masquerade => f.write_str("masquerade"),
        }
    }
}

#[cfg(test)]
mod tests;
