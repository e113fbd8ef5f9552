//! A datagram in, a reply out: the authority for `*.internal`.
//!
//! | name | A, AAAA | SRV |
//! |---|---|---|
//! | `SERVICE.internal`, `_SERVICE._tcp.internal` | every instance that takes requests | each with its port |
//! | `leader.SERVICE.internal` | the oldest of them | it |
//! | `INSTANCE.SERVICE.internal` | that one, draining or not | it |
//!
//! Questions are read here and not by the packet crate, which writes the replies: a name that is not ours goes on
//! whatever its type, a type we never heard of has a right answer, too, and the crate (0.13) looks for the version and
//! the extended code of EDNS in the wrong bits.

use core::net::{IpAddr, SocketAddr};

use api::discovery::InstanceState;
use simple_dns::rdata::{A, AAAA, RData, SOA, SRV};
use simple_dns::{CLASS, Label, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, ResourceRecord, TYPE};
use types::{JobId, ServiceName};

use crate::core::registry::{Entry, Registry};
use crate::limits::{
    DNS_ANSWERS_MAX, DNS_LABEL_BYTES_MAX, DNS_NAME_BYTES_MAX, DNS_TTL_SECONDS, DNS_UDP_BYTES_MAX, DNS_UDP_BYTES_PLAIN,
};

/// The top of our names.
pub const ZONE: &str = "internal";

const HEADER_BYTES: usize = 12;
const QUESTION_BYTES_MIN: usize = 5;
const RECORD_BYTES_MIN: usize = 11;
const CLASS_IN: u16 = 1;
const CLASS_ANY: u16 = 255;
const TYPE_OPT: u16 = 41;
const TYPE_IXFR: u16 = 251;
const TYPE_AXFR: u16 = 252;
/// The high bits of the code for an EDNS version that is not spoken here (RFC 6891 6.1.3).
const BAD_VERSION_HIGH: u8 = 1;

/// How the question came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// An answer that is too long is cut, and says so.
    Udp,
    /// Up to 65,535 bytes.
    Tcp,
}

/// What is to be done with a datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Send this back.
    Reply(Vec<u8>),
    /// The name is not ours: ask the host's resolvers.
    Forward,
    /// Say nothing.
    Drop(&'static str),
}

/// Answer one datagram.
#[must_use]
pub fn answer(registry: &Registry, datagram: &[u8], transport: Transport) -> Outcome {
    let Some(header) = Header::read(datagram) else { return Outcome::Drop("it is shorter than a header") };
    if header.is_reply() {
        // Answering replies is how two servers talk for ever.
        return Outcome::Drop("it is a reply");
    }
    if header.opcode() != 0 {
        return header_only(header, RCODE::NotImplemented);
    }
    // Sections that cannot fit are not even looked for, so that no room is made for them.
    let fits = header.sections_fit(datagram.len());
    let Some(asked) = Asked::read(datagram).filter(|_| fits && header.questions == 1) else {
        return header_only(header, RCODE::FormatError);
    };
    if !matches!(asked.class, CLASS_IN | CLASS_ANY) || matches!(asked.kind, TYPE_AXFR | TYPE_IXFR) {
        return header_only(header, RCODE::Refused);
    }
    let Some(labels) = asked.inside_zone() else { return Outcome::Forward };
    let Ok(edns) = Edns::read(datagram, asked.end, header.records) else {
        return header_only(header, RCODE::FormatError);
    };
    let mut reply = Reply::new(header, &asked, edns);
    if edns.is_some_and(|edns| edns.version > 0) {
        reply.code_high = BAD_VERSION_HIGH;
        return reply.finish(transport);
    }
    match resolve(registry, &labels) {
        Found::Nothing => reply.refuse(RCODE::NameError, transport),
        Found::Entries(mut entries) => {
            // The client's own random number decides who comes first, so that load spreads.
            let first = usize::from(header.id).checked_rem(entries.len()).unwrap_or(0);
            entries.rotate_left(first);
            entries.truncate(DNS_ANSWERS_MAX);
            reply.add(&asked, &entries);
            reply.finish(transport)
        }
    }
}

/// That we could not find out: for a question that went on and came to nothing.
#[must_use]
pub fn server_failure(datagram: &[u8]) -> Option<Vec<u8>> {
    let header = Header::read(datagram)?;
    let asked = Asked::read(datagram)?;
    let mut reply = Reply::new(header, &asked, None);
    *reply.packet.rcode_mut() = RCODE::ServerFailure;
    reply.packet.remove_flags(PacketFlag::AUTHORITATIVE_ANSWER);
    reply.packet.build_bytes_vec().ok()
}

/// The bytes of the first question, name and all; `None` when there is none.
#[must_use]
pub fn question_bytes(datagram: &[u8]) -> Option<&[u8]> {
    Header::read(datagram).filter(|header| header.questions == 1)?;
    let asked = Asked::read(datagram)?;
    datagram.get(HEADER_BYTES..asked.end)
}

/// What a name stands for.
enum Found<'a> {
    /// There is no such name.
    Nothing,
    /// There is; perhaps nobody is behind it.
    Entries(Vec<&'a Entry>),
}

fn resolve<'a>(registry: &'a Registry, labels: &[String]) -> Found<'a> {
    let service = |text: &str| ServiceName::parse(text).ok().filter(|service| registry.knows(service));
    let every = |service: &ServiceName| Found::Entries(registry.up(service).collect());
    match labels {
        // The zone itself, and a name that others hang under.
        [] => Found::Entries(Vec::new()),
        [protocol] if protocol == "_tcp" => Found::Entries(Vec::new()),
        [name] => service(name).as_ref().map_or(Found::Nothing, every),
        [name, protocol] if protocol == "_tcp" => {
            let service = name.strip_prefix('_').and_then(service);
            service.as_ref().map_or(Found::Nothing, every)
        }
        [word, name] if word == "leader" => service(name).map_or(Found::Nothing, |service| {
            // A service whose every instance drains has no leader, but the name stands.
            Found::Entries(registry.leader(&service).into_iter().collect())
        }),
        [word, name] => {
            let entry = service(name)
                .and_then(|service| JobId::parse(word).ok().and_then(|job| registry.instance(&service, &job)));
            entry.map_or(Found::Nothing, |entry| Found::Entries(vec![entry]))
        }
        _ => Found::Nothing,
    }
}

#[derive(Clone, Copy)]
struct Header {
    id: u16,
    flags: u16,
    questions: u16,
    records: usize,
}

impl Header {
    fn read(datagram: &[u8]) -> Option<Header> {
        let head = datagram.get(..HEADER_BYTES)?;
        let field = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
        let records = [6, 8, 10].into_iter().map(|at| usize::from(field(at))).sum();
        Some(Header { id: field(0), flags: field(2), questions: field(4), records })
    }

    fn is_reply(self) -> bool {
        self.flags & 0x8000 != 0
    }

    fn opcode(self) -> u16 {
        self.flags >> 11 & 0xf
    }

    fn sections_fit(self, bytes: usize) -> bool {
        HEADER_BYTES + usize::from(self.questions) * QUESTION_BYTES_MIN + self.records * RECORD_BYTES_MIN <= bytes
    }
}

/// A question.
struct Asked<'a> {
    labels: Vec<&'a [u8]>,
    kind: u16,
    class: u16,
    /// Where it ends.
    end: usize,
}

impl<'a> Asked<'a> {
    /// The first name of a packet has nothing before it to point back to, so a pointer here is an error.
    fn read(datagram: &'a [u8]) -> Option<Asked<'a>> {
        let mut labels = Vec::new();
        let mut at = HEADER_BYTES;
        loop {
            let length = usize::from(*datagram.get(at)?);
            at += 1;
            if length == 0 {
                break;
            }
            if length > DNS_LABEL_BYTES_MAX {
                return None;
            }
            labels.push(datagram.get(at..at + length)?);
            at += length;
            if at - HEADER_BYTES >= DNS_NAME_BYTES_MAX {
                return None;
            }
        }
        let tail = datagram.get(at..at + 4)?;
        let field = |at: usize| u16::from_be_bytes([tail[at], tail[at + 1]]);
        Some(Asked { labels, kind: field(0), class: field(2), end: at + 4 })
    }

    /// The labels before the zone in lower case; `None` when the name is elsewhere. A label that is no text is
    /// nobody's name, but inside the zone it is ours to say so.
    fn inside_zone(&self) -> Option<Vec<String>> {
        let (last, rest) = self.labels.split_last()?;
        let lower = |label: &&[u8]| String::from_utf8_lossy(label).to_ascii_lowercase();
        last.eq_ignore_ascii_case(ZONE.as_bytes()).then(|| rest.iter().map(lower).collect())
    }

    fn name(&self) -> Name<'a> {
        let labels: Vec<Label<'a>> = self.labels.iter().map(|label| Label::new_unchecked(*label)).collect();
        Name::new_with_labels(&labels)
    }

    fn wants(&self, kind: TYPE) -> bool {
        self.kind == u16::from(kind) || self.kind == u16::from(QTYPE::ANY)
    }
}

/// What the client says of itself beyond the question (RFC 6891).
#[derive(Clone, Copy)]
struct Edns {
    bytes: usize,
    version: u8,
}

/// A record that cannot be read, or EDNS twice.
struct Malformed;

impl Edns {
    /// Look for it in the `records` after the question.
    fn read(datagram: &[u8], mut at: usize, records: usize) -> Result<Option<Edns>, Malformed> {
        let mut found = None;
        for _ in 0..records {
            at = skip_name(datagram, at).ok_or(Malformed)?;
            let fixed = datagram.get(at..at + 10).ok_or(Malformed)?;
            let field = |at: usize| u16::from_be_bytes([fixed[at], fixed[at + 1]]);
            at += 10 + usize::from(field(8));
            if at > datagram.len() {
                return Err(Malformed);
            }
            if field(0) == TYPE_OPT && found.replace(Edns { bytes: usize::from(field(2)), version: fixed[5] }).is_some()
            {
                return Err(Malformed);
            }
        }
        Ok(found)
    }

    /// Append ours to a finished reply.
    fn write(reply: &mut Vec<u8>, code_high: u8) {
        let [high, low] = u16::try_from(DNS_UDP_BYTES_MAX).unwrap_or(u16::MAX).to_be_bytes();
        reply.extend_from_slice(&[0, 0, TYPE_OPT.to_be_bytes()[1], high, low, code_high, 0, 0, 0, 0, 0]);
        let count = u16::from_be_bytes([reply[10], reply[11]]).saturating_add(1).to_be_bytes();
        reply[10..12].copy_from_slice(&count);
    }
}

/// Where the name at `at` ends. A pointer ends it and is not followed.
fn skip_name(datagram: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *datagram.get(at)? {
            0 => return Some(at + 1),
            length if length >= 0xc0 => return Some(at + 2),
            length if usize::from(length) <= DNS_LABEL_BYTES_MAX => at += 1 + usize::from(length),
            _ => return None,
        }
    }
}

struct Reply<'a> {
    packet: Packet<'a>,
    /// What the client told of itself.
    edns: Option<Edns>,
    /// The bits of the code that have no room in the header.
    code_high: u8,
}

impl<'a> Reply<'a> {
    fn new(header: Header, asked: &Asked<'a>, edns: Option<Edns>) -> Reply<'a> {
        let mut packet = Packet::new_reply(header.id);
        packet.set_flags(PacketFlag::AUTHORITATIVE_ANSWER | PacketFlag::RECURSION_AVAILABLE);
        let repeated = PacketFlag::RECURSION_DESIRED | PacketFlag::CHECKING_DISABLED;
        packet.set_flags(PacketFlag::from_bits_truncate(header.flags) & repeated);
        let kind = QTYPE::try_from(asked.kind).unwrap_or(QTYPE::TYPE(TYPE::from(asked.kind)));
        let class = if asked.class == CLASS_ANY { QCLASS::ANY } else { QCLASS::CLASS(CLASS::IN) };
        packet.questions.push(Question::new(asked.name(), kind, class, false));
        Reply { packet, edns, code_high: 0 }
    }

    fn add(&mut self, asked: &Asked<'a>, entries: &[&Entry]) {
        let addressed: Vec<(&Entry, SocketAddr)> = entries
            .iter()
            .filter_map(|entry| entry.instance.address.parse().ok().map(|address| (*entry, address)))
            .collect();
        for (_, address) in &addressed {
            self.packet.answers.extend(
                address_record(asked.name(), address.ip()).filter(|record| asked.wants(record.rdata.type_code())),
            );
        }
        if asked.wants(TYPE::SRV) {
            for (entry, address) in &addressed {
                let Some(target) = instance_name(entry) else { continue };
                let srv = SRV { priority: 0, weight: weight(entry), port: address.port(), target: target.clone() };
                self.packet.answers.push(record(asked.name(), RData::SRV(srv)));
                self.packet.additional_records.extend(address_record(target, address.ip()));
            }
        }
    }

    fn refuse(&mut self, code: RCODE, transport: Transport) -> Outcome {
        *self.packet.rcode_mut() = code;
        self.finish(transport)
    }

    /// An answer with nothing in it carries the zone's record, which says for how long that holds (RFC 2308).
    fn finish(&mut self, transport: Transport) -> Outcome {
        if self.packet.answers.is_empty() {
            self.packet.name_servers.push(zone_record());
        }
        let offered = self.edns.map_or(DNS_UDP_BYTES_PLAIN, |edns| edns.bytes);
        let limit = match transport {
            Transport::Udp => offered.clamp(DNS_UDP_BYTES_PLAIN, DNS_UDP_BYTES_MAX),
            Transport::Tcp => usize::from(u16::MAX),
        };
        let whole = self.write();
        if whole.as_ref().is_some_and(|bytes| bytes.len() > limit) {
            // Half an answer would be taken for the whole one; an empty one is asked again over TCP.
            self.packet.answers.clear();
            self.packet.additional_records.clear();
            self.packet.set_flags(PacketFlag::TRUNCATION);
            return self.write().map_or(Outcome::Drop("its answer cannot be written"), Outcome::Reply);
        }
        whole.map_or(Outcome::Drop("its answer cannot be written"), Outcome::Reply)
    }

    fn write(&self) -> Option<Vec<u8>> {
        let mut bytes = self.packet.build_bytes_vec_compressed().ok()?;
        if self.edns.is_some() {
            Edns::write(&mut bytes, self.code_high);
        }
        Some(bytes)
    }
}

/// A refusal that repeats nothing of what could not be read.
fn header_only(header: Header, code: RCODE) -> Outcome {
    let mut packet = Packet::new_reply(header.id);
    *packet.rcode_mut() = code;
    packet.set_flags(PacketFlag::from_bits_truncate(header.flags) & PacketFlag::RECURSION_DESIRED);
    packet.build_bytes_vec().map_or(Outcome::Drop("its refusal cannot be written"), Outcome::Reply)
}

fn record<'a>(name: Name<'a>, rdata: RData<'a>) -> ResourceRecord<'a> {
    ResourceRecord::new(name, CLASS::IN, DNS_TTL_SECONDS, rdata)
}

fn address_record(name: Name<'_>, address: IpAddr) -> Option<ResourceRecord<'_>> {
    Some(match address {
        IpAddr::V4(address) => record(name, RData::A(A { address: address.to_bits() })),
        IpAddr::V6(address) => record(name, RData::AAAA(AAAA { address: address.to_bits() })),
    })
}

/// An instance asked for by its own name is told even while it drains, but last of all.
fn weight(entry: &Entry) -> u16 {
    match entry.instance.state {
        InstanceState::Up => 1,
        InstanceState::Draining => 0,
    }
}

/// `None` when a part is too long for DNS.
fn instance_name(entry: &Entry) -> Option<Name<'static>> {
    let parts = [entry.instance.job.as_str(), entry.instance.service.as_str(), ZONE];
    let fits = parts.iter().all(|part| part.len() <= DNS_LABEL_BYTES_MAX);
    let labels = parts.map(|part| Label::new_unchecked(part.as_bytes().to_vec()));
    fits.then(|| Name::new_with_labels(&labels))
}

fn zone_record() -> ResourceRecord<'static> {
    let soa = SOA {
        mname: Name::new_unchecked("resolver.internal"),
        rname: Name::new_unchecked("hostmaster.internal"),
        serial: 1,
        refresh: 60,
        retry: 60,
        expire: 60,
        minimum: DNS_TTL_SECONDS,
    };
    record(Name::new_unchecked(ZONE), RData::SOA(soa))
}

#[cfg(test)]
mod tests;
