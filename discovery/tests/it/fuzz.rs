//! Hostile packets: seeded mutation of good ones.

use discovery::core::dns::{Outcome, Transport, answer, question_bytes, server_failure};
use discovery::core::registry::{Entry, Event, Registry};
use stdx::Rng;

const STEPS: u64 = 40_000;

fn registry() -> Registry {
    let mut registry = Registry::new();
    for n in 0..40 {
        let instance = api::discovery::Instance {
            service: "blog-web".parse().unwrap(),
            job: format!("h1-{n}").parse().unwrap(),
            app: None,
            address: format!("100.100.7.{n}:5000"),
            state: api::discovery::InstanceState::Up,
            meta: std::collections::BTreeMap::new(),
        };
        registry.apply(Event::Put(Entry { instance, since: n }));
    }
    registry
}

fn query(name: &str, kind: u8) -> Vec<u8> {
    let mut bytes = vec![7, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    for label in name.split('.') {
        bytes.push(label.len().try_into().unwrap());
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.extend_from_slice(&[0, 0, kind, 0, 1]);
    bytes.extend_from_slice(&[0, 0, 41, 16, 0, 0, 0, 0, 0, 0, 0]);
    bytes
}

fn mutate(rng: &mut Rng, packet: &mut Vec<u8>, other: &[u8]) {
    for _ in 0..=rng.below(4) {
        let at = rng.index(packet.len());
        match rng.below(7) {
            0 => packet.truncate(at),
            1 => packet.extend_from_slice(&other[rng.index(other.len())..]),
            2 => packet.insert(at, 0xc0),
            _ if packet.is_empty() => {}
            3 => packet[at] ^= 1 << rng.below(8),
            4 => packet[at] = 0xff,
            5 => packet[at] = 0,
            _ => packet[at] = packet[at].wrapping_add(1),
        }
    }
}

/// What must hold of any reply to any packet.
fn check(packet: &[u8], outcome: &Outcome, transport: Transport) -> Result<(), String> {
    let Outcome::Reply(reply) = outcome else { return Ok(()) };
    let require = |holds: bool, what: &str| if holds { Ok(()) } else { Err(what.to_owned()) };
    require(reply.len() >= 12, "shorter than a header")?;
    require(reply[..2] == packet[..2], "another number")?;
    require(reply[2] & 0x80 != 0, "not marked as a reply")?;
    require(packet[2] & 0x80 == 0, "a reply was answered")?;
    require(transport == Transport::Tcp || reply.len() <= 1232, "too long for UDP")?;
    let refused = reply[3] & 0xf != 0 && reply[3] & 0xf != 3;
    require(refused || question_bytes(reply) == question_bytes(packet), "another question")
}

#[test]
fn fuzz_dns_packets() {
    let registry = registry();
    let corpus = [
        query("blog-web.internal", 1),
        query("leader.blog-web.internal", 33),
        query("h1-3.blog-web.internal", 255),
        query("_blog-web._tcp.internal", 33),
        query("example.org", 28),
    ];
    testkit::sweep("fuzz_dns_packets", |seed| {
        let mut rng = Rng::new(seed);
        for _ in 0..STEPS / 256 {
            let other = &corpus[rng.index(corpus.len())];
            let mut packet = corpus[rng.index(corpus.len())].clone();
            mutate(&mut rng, &mut packet, other);
            for transport in [Transport::Udp, Transport::Tcp] {
                let outcome = answer(&registry, &packet, transport);
                check(&packet, &outcome, transport)?;
            }
            let _ = server_failure(&packet);
        }
        Ok::<(), String>(())
    });
}

#[test]
fn fuzz_canary_is_caught() {
    let registry = registry();
    let packet = query("blog-web.internal", 1);
    let Outcome::Reply(mut reply) = answer(&registry, &packet, Transport::Udp) else { panic!("no reply") };
    assert_eq!(check(&packet, &Outcome::Reply(reply.clone()), Transport::Udp), Ok(()));
    reply[1] ^= 1;
    assert!(check(&packet, &Outcome::Reply(reply.clone()), Transport::Udp).is_err());
    reply[1] ^= 1;
    reply[14] ^= 1;
    assert!(check(&packet, &Outcome::Reply(reply), Transport::Udp).is_err());
}
