//! The resolver on loopback, with resolvers of the host behind it that the test plays.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;

use discovery::core::registry::{Entry, Event};
use discovery::resolver::Options;
use discovery::{Resolver, View};
use os::signal::Shutdown;

use crate::world::{LIMIT, instance, loopback};

struct World {
    view: View,
    resolver: Resolver,
    client: UdpSocket,
    shutdown: Shutdown,
}

impl World {
    fn start(upstreams: Vec<SocketAddr>) -> World {
        let (view, shutdown) = (View::fixed(), Shutdown::new());
        let options = Options {
            listen: loopback(),
            resolv_conf: PathBuf::from("/nonexistent/resolv.conf"),
            upstreams,
            view: view.clone(),
            shutdown: shutdown.clone(),
        };
        let resolver = Resolver::start(options).unwrap();
        World { view, resolver, client: socket(), shutdown }
    }

    fn ask(&self, query: &[u8]) -> Vec<u8> {
        self.client.send_to(query, self.resolver.address()).unwrap();
        receive(&self.client).0
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.shutdown.ask();
    }
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind(loopback()).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    socket
}

fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = [0; 4096];
    let (length, from) = socket.recv_from(&mut buffer).unwrap();
    (buffer[..length].to_vec(), from)
}

fn query(number: u8, name: &str) -> Vec<u8> {
    let mut bytes = vec![0xab, number, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        bytes.push(label.len().try_into().unwrap());
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.extend_from_slice(&[0, 0, 1, 0, 1]);
    bytes
}

/// The question as a reply with `code`.
fn reply(query: &[u8], code: u8) -> Vec<u8> {
    let mut bytes = query.to_vec();
    bytes[2] |= 0x80;
    bytes[3] = code;
    bytes
}

fn code(reply: &[u8]) -> u8 {
    reply[3] & 0xf
}

fn over_tcp(address: SocketAddr, queries: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    for query in queries {
        stream.write_all(&u16::try_from(query.len()).unwrap().to_be_bytes()).unwrap();
        stream.write_all(query).unwrap();
    }
    queries.iter().map(|_| read_message(&mut stream)).collect()
}

fn read_message(stream: &mut TcpStream) -> Vec<u8> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut message = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut message).unwrap();
    message
}

#[test]
fn resolver_answers_our_names_over_udp_and_tcp_as_they_change() {
    let world = World::start(Vec::new());
    let asked = query(1, "blog-web.internal");
    assert_eq!(code(&world.ask(&asked)), 3);
    world.view.apply([Event::Put(Entry { instance: instance("blog-web", "h1-a"), since: 1 })], 1);
    let answer = world.ask(&asked);
    assert_eq!((code(&answer), &answer[answer.len() - 4..]), (0, &[127, 0, 0, 1][..]));
    let answers = over_tcp(world.resolver.address(), &[asked.clone(), query(2, "none.internal"), asked]);
    assert_eq!(answers[0], answer);
    assert_eq!(code(&answers[1]), 3);
    assert_eq!(answers[2], answer);
}

#[test]
fn other_names_go_to_the_hosts_resolver_under_another_number() {
    let upstream = socket();
    let world = World::start(vec![upstream.local_addr().unwrap()]);
    let asked = query(7, "example.org");
    world.client.send_to(&asked, world.resolver.address()).unwrap();
    let (seen, from) = receive(&upstream);
    assert_eq!(seen[2..], asked[2..]);
    // Neither a stranger nor a wrong number nor another question is believed.
    socket().send_to(&reply(&seen, 5), from).unwrap();
    let mut wrong = reply(&seen, 5);
    wrong[0] ^= 1;
    upstream.send_to(&wrong, from).unwrap();
    let mut other = query(7, "example.net");
    other[..2].copy_from_slice(&seen[..2]);
    upstream.send_to(&reply(&other, 5), from).unwrap();
    upstream.send_to(&reply(&seen, 3), from).unwrap();
    assert_eq!(receive(&world.client).0, reply(&asked, 3));
}

#[test]
fn next_resolver_is_asked_when_one_refuses_or_is_not_there() {
    let (refusing, answering) = (socket(), socket());
    let nobody = socket().local_addr().unwrap();
    let addresses = [&refusing, &answering].map(|socket| socket.local_addr().unwrap());
    let world = World::start(vec![nobody, addresses[0], addresses[1]]);
    let asked = query(7, "example.org");
    world.client.send_to(&asked, world.resolver.address()).unwrap();
    let (seen, from) = receive(&refusing);
    refusing.send_to(&reply(&seen, 5), from).unwrap();
    let (seen, from) = receive(&answering);
    answering.send_to(&reply(&seen, 0), from).unwrap();
    assert_eq!(receive(&world.client).0, reply(&asked, 0));
}

#[test]
fn failure_is_told_when_no_resolver_is_left() {
    let nobody = socket().local_addr().unwrap();
    for upstreams in [Vec::new(), vec![nobody]] {
        let world = World::start(upstreams);
        let answer = world.ask(&query(9, "example.org"));
        assert_eq!((answer[1], code(&answer)), (9, 2));
        let answers = over_tcp(world.resolver.address(), &[query(8, "example.org")]);
        assert_eq!((answers[0][1], code(&answers[0])), (8, 2));
    }
}

#[test]
fn one_client_cannot_use_up_all_forwards() {
    let upstream = socket();
    let world = World::start(vec![upstream.local_addr().unwrap()]);
    for number in 0..=64 {
        world.client.send_to(&query(number, "slow.example"), world.resolver.address()).unwrap();
    }
    // The last one is refused at once, while the others wait.
    let (answer, _) = receive(&world.client);
    assert_eq!((answer[1], code(&answer)), (64, 2));
    let (mut seen, mut from) = receive(&upstream);
    for _ in 1..64 {
        (seen, from) = receive(&upstream);
    }
    upstream.send_to(&reply(&seen, 0), from).unwrap();
    assert_eq!(code(&receive(&world.client).0), 0);
}

#[test]
fn tcp_questions_are_forwarded_over_tcp() {
    let upstream = TcpListener::bind(loopback()).unwrap();
    let world = World::start(vec![upstream.local_addr().unwrap()]);
    os::thread::spawn("upstream", move || {
        let (mut stream, _) = upstream.accept().unwrap();
        let seen = read_message(&mut stream);
        let answer = reply(&seen, 3);
        stream.write_all(&u16::try_from(answer.len()).unwrap().to_be_bytes()).unwrap();
        stream.write_all(&answer).unwrap();
    })
    .unwrap();
    let asked = query(3, "example.org");
    assert_eq!(over_tcp(world.resolver.address(), std::slice::from_ref(&asked)), [reply(&asked, 3)]);
}

#[test]
fn silent_tcp_connections_of_one_client_are_few() {
    let world = World::start(Vec::new());
    let mut held: Vec<TcpStream> = (0..8).map(|_| TcpStream::connect(world.resolver.address()).unwrap()).collect();
    // Proven taken in, one after the other.
    for (number, stream) in (0..).zip(&mut held) {
        let asked = query(number, "none.internal");
        stream.write_all(&u16::try_from(asked.len()).unwrap().to_be_bytes()).unwrap();
        stream.write_all(&asked).unwrap();
        assert_eq!(read_message(stream)[1], number);
    }
    let mut ninth = TcpStream::connect(world.resolver.address()).unwrap();
    ninth.set_read_timeout(Some(LIMIT)).unwrap();
    assert_eq!(ninth.read(&mut [0]).unwrap(), 0, "closed unanswered");
    // And UDP goes on.
    assert_eq!(code(&world.ask(&query(1, "none.internal"))), 3);
}

#[test]
fn a_jobs_configuration_names_the_resolver_and_searches_our_zone() {
    let text = Resolver::client_config("100.100.7.1".parse().unwrap());
    let parsed = discovery::core::upstream::parse_resolv_conf(&text, loopback().ip());
    assert_eq!(parsed, ["100.100.7.1:53".parse().unwrap()]);
    assert!(text.lines().any(|line| line == "search internal"));
}
