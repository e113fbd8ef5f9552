use std::fmt::Write as _;

use api::discovery::Instance;

use super::*;
use crate::core::registry::Event;

fn entry(service: &str, job: &str, address: &str, state: InstanceState, since: u64) -> Entry {
    let instance = Instance {
        service: ServiceName::parse(service).unwrap(),
        job: JobId::parse(job).unwrap(),
        app: None,
        address: address.into(),
        state,
        meta: std::collections::BTreeMap::new(),
    };
    Entry { instance, since }
}

fn registry() -> Registry {
    use InstanceState::{Draining, Up};
    let mut registry = Registry::new();
    registry.apply(Event::Reset(vec![
        entry("blog-web", "h1-a", "100.100.7.2:5000", Up, 9),
        entry("blog-web", "h1-b", "100.100.7.3:5001", Up, 4),
        entry("blog-web", "h1-c", "100.100.7.4:5002", Draining, 2),
        entry("old-web", "h1-d", "100.100.7.5:5000", Draining, 3),
        entry("six", "h1-e", "[fd00::5]:5000", Up, 3),
        entry("odd", "h1-f", "nowhere", Up, 3),
    ]));
    registry
}

fn query(name: &str, kind: u16, class: u16) -> Vec<u8> {
    let mut bytes = vec![0, 2, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.').filter(|label| !label.is_empty()) {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend_from_slice(&kind.to_be_bytes());
    bytes.extend_from_slice(&class.to_be_bytes());
    bytes
}

fn with_edns(mut query: Vec<u8>, bytes: u16, version: u8) -> Vec<u8> {
    query[11] = 1;
    query.extend_from_slice(&[0, 0, 41]);
    query.extend_from_slice(&bytes.to_be_bytes());
    query.extend_from_slice(&[0, version, 0, 0, 0, 0]);
    query
}

fn show(outcome: &Outcome) -> String {
    let bytes = match outcome {
        Outcome::Forward => return "forward".into(),
        Outcome::Drop(why) => return format!("drop: {why}"),
        Outcome::Reply(bytes) => bytes,
    };
    // The packet crate does not read questions for types it does not know.
    let mut bytes = bytes.clone();
    if let Some(question) = question_bytes(&bytes) {
        let end = HEADER_BYTES + question.len();
        bytes[end - 4..end - 2].copy_from_slice(&A_RECORD.to_be_bytes());
    }
    let packet = Packet::parse(&bytes).unwrap();
    assert!(packet.has_flags(PacketFlag::RESPONSE));
    let mut text = format!("{:?}", packet.rcode());
    if packet.has_flags(PacketFlag::TRUNCATION) {
        text.push_str(" cut");
    }
    for record in packet.answers.iter().chain(&packet.additional_records) {
        match &record.rdata {
            RData::A(a) => write!(text, " {}", std::net::Ipv4Addr::from_bits(a.address)).unwrap(),
            RData::AAAA(aaaa) => write!(text, " {}", std::net::Ipv6Addr::from_bits(aaaa.address)).unwrap(),
            RData::SRV(srv) => write!(text, " {}:{}", srv.target, srv.port).unwrap(),
            other => write!(text, " {other:?}").unwrap(),
        }
    }
    if packet.name_servers.iter().any(|record| matches!(record.rdata, RData::SOA(_))) {
        text.push_str(" soa");
    }
    text
}

fn ask(name: &str, kind: u16) -> String {
    show(&answer(&registry(), &query(name, kind, CLASS_IN), Transport::Udp))
}

const A_RECORD: u16 = 1;
const MX: u16 = 15;
const AAAA_RECORD: u16 = 28;
const SRV_RECORD: u16 = 33;
const HTTPS: u16 = 65;
const ANY: u16 = 255;
const UNHEARD_OF: u16 = 40_000;

#[test]
fn names_stand_for_the_instances_they_say() {
    let table = [
        ("blog-web.internal", A_RECORD, "NoError 100.100.7.2 100.100.7.3"),
        ("BLOG-web.InterNAL", A_RECORD, "NoError 100.100.7.2 100.100.7.3"),
        ("leader.blog-web.internal", A_RECORD, "NoError 100.100.7.3"),
        ("h1-a.blog-web.internal", A_RECORD, "NoError 100.100.7.2"),
        ("h1-c.blog-web.internal", A_RECORD, "NoError 100.100.7.4"),
        ("_blog-web._tcp.internal", A_RECORD, "NoError 100.100.7.2 100.100.7.3"),
        (
            "blog-web.internal",
            SRV_RECORD,
            "NoError h1-a.blog-web.internal:5000 h1-b.blog-web.internal:5001 100.100.7.2 100.100.7.3",
        ),
        ("leader.blog-web.internal", SRV_RECORD, "NoError h1-b.blog-web.internal:5001 100.100.7.3"),
        ("six.internal", AAAA_RECORD, "NoError fd00::5"),
        // There is such a name, but nothing of that kind.
        ("six.internal", A_RECORD, "NoError soa"),
        ("blog-web.internal", AAAA_RECORD, "NoError soa"),
        ("blog-web.internal", MX, "NoError soa"),
        ("blog-web.internal", HTTPS, "NoError soa"),
        ("blog-web.internal", UNHEARD_OF, "NoError soa"),
        ("old-web.internal", A_RECORD, "NoError soa"),
        ("leader.old-web.internal", A_RECORD, "NoError soa"),
        ("odd.internal", A_RECORD, "NoError soa"),
        ("internal", A_RECORD, "NoError soa"),
        ("_tcp.internal", A_RECORD, "NoError soa"),
        // There is no such name.
        ("shop-web.internal", A_RECORD, "NameError soa"),
        ("leader.shop-web.internal", A_RECORD, "NameError soa"),
        ("h1-z.blog-web.internal", A_RECORD, "NameError soa"),
        ("h1-d.blog-web.internal", A_RECORD, "NameError soa"),
        ("a.leader.blog-web.internal", A_RECORD, "NameError soa"),
        ("blog-web._tcp.internal", A_RECORD, "NameError soa"),
        ("blog web.internal", UNHEARD_OF, "NameError soa"),
        // Not ours.
        ("example.org", A_RECORD, "forward"),
        ("example.org", UNHEARD_OF, "forward"),
        ("internal.example.org", A_RECORD, "forward"),
        ("notinternal", A_RECORD, "forward"),
        ("", A_RECORD, "forward"),
    ];
    for (name, kind, expected) in table {
        assert_eq!(ask(name, kind), expected, "{name} {kind}");
    }
    assert!(ask("blog-web.internal", ANY).contains("100.100.7.2"));
}

#[test]
fn what_is_no_question_is_refused_or_dropped() {
    let good = query("blog-web.internal", A_RECORD, CLASS_IN);
    type Change<'a> = &'a dyn Fn(&mut Vec<u8>);
    let table: [(&str, Change<'_>, &str); 11] = [
        ("empty", &|q| q.clear(), "drop: it is shorter than a header"),
        ("half a header", &|q| q.truncate(11), "drop: it is shorter than a header"),
        ("a reply", &|q| q[2] |= 0x80, "drop: it is a reply"),
        ("an update", &|q| q[2] |= 5 << 3, "NotImplemented"),
        ("no question", &|q| q.truncate(12), "FormatError"),
        ("none counted", &|q| q[5] = 0, "FormatError"),
        ("two counted", &|q| q[5] = 2, "FormatError"),
        ("a cut name", &|q| q.truncate(15), "FormatError"),
        ("a pointer", &|q| q[12] = 0xc0, "FormatError"),
        ("sections that cannot be", &|q| q[6] = 0xff, "FormatError"),
        ("a cut class", &|q| q.truncate(q.len() - 1), "FormatError"),
    ];
    for (what, change, expected) in table {
        let mut datagram = good.clone();
        change(&mut datagram);
        assert_eq!(show(&answer(&registry(), &datagram, Transport::Udp)), expected, "{what}");
    }
    let refused = |kind, class| show(&answer(&registry(), &query("blog-web.internal", kind, class), Transport::Udp));
    assert_eq!(refused(TYPE_AXFR, CLASS_IN), "Refused");
    assert_eq!(refused(A_RECORD, 3), "Refused");
}

#[test]
fn answers_start_where_the_clients_number_says() {
    let mut datagram = query("blog-web.internal", A_RECORD, CLASS_IN);
    datagram[1] = 3;
    let shown = show(&answer(&registry(), &datagram, Transport::Udp));
    assert_eq!(shown, "NoError 100.100.7.3 100.100.7.2");
}

#[test]
fn long_answer_is_cut_over_udp_and_whole_over_tcp() {
    let mut registry = Registry::new();
    for n in 0..100 {
        let job = format!("h1-{n}");
        registry.apply(Event::Put(entry("big", &job, &format!("10.0.0.{n}:80"), InstanceState::Up, n)));
    }
    let plain = query("big.internal", A_RECORD, CLASS_IN);
    assert_eq!(show(&answer(&registry, &plain, Transport::Udp)), "NoError cut");
    let Outcome::Reply(whole) = answer(&registry, &plain, Transport::Tcp) else { panic!("no reply") };
    assert_eq!(Packet::parse(&whole).unwrap().answers.len(), 100);

    for (offered, limit) in [(4096, DNS_UDP_BYTES_MAX), (100, DNS_UDP_BYTES_PLAIN)] {
        let Outcome::Reply(bytes) = answer(&registry, &with_edns(plain.clone(), offered, 0), Transport::Udp) else {
            panic!("no reply")
        };
        assert!(bytes.len() <= limit);
        let packet = Packet::parse(&bytes).unwrap();
        assert_eq!(packet.opt().map(|opt| opt.udp_packet_size), Some(1232));
    }
    let Outcome::Reply(bytes) = answer(&registry, &with_edns(plain.clone(), 4096, 1), Transport::Udp) else {
        panic!("no reply")
    };
    assert_eq!(bytes[bytes.len() - 6..], [1, 0, 0, 0, 0, 0], "the high bits of BADVERS");
    let mut twice = with_edns(with_edns(plain, 4096, 0), 4096, 0);
    twice[11] = 2;
    assert_eq!(show(&answer(&registry, &twice, Transport::Udp)), "FormatError");
}

#[test]
fn failure_repeats_the_question() {
    let datagram = query("example.org", UNHEARD_OF, CLASS_IN);
    let reply = server_failure(&datagram).unwrap();
    assert_eq!(question_bytes(&reply), question_bytes(&datagram));
    assert_eq!(reply[3] & 0xf, 2);
    assert_eq!(server_failure(&datagram[..14]), None);
}
