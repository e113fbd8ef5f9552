use super::*;

const OURSELVES: IpAddr = IpAddr::V4(core::net::Ipv4Addr::new(100, 100, 7, 1));

#[test]
fn resolv_conf_names_three_resolvers_at_most_and_never_us() {
    let text = "# made by dhcp\nsearch example.org\nnameserver 100.100.7.1\n nameserver\t10.0.0.1 # first\n\
                nameserver 10.0.0.1\nnameserver nonsense\nnameserver\nnameserver fd00::53\noptions ndots:2\n\
                nameserver fe80::1%eth0\nnameserver 10.0.0.2\nnameserver 10.0.0.3\n";
    let found: Vec<String> = parse_resolv_conf(text, OURSELVES).iter().map(ToString::to_string).collect();
    assert_eq!(found, ["10.0.0.1:53", "[fd00::53]:53", "10.0.0.2:53"]);
    assert!(parse_resolv_conf("", OURSELVES).is_empty());
}

#[test]
fn reply_must_repeat_number_and_question() {
    let query = b"\x12\x34\x01\x00\0\x01\0\0\0\0\0\0\x01a\0\0\x01\0\x01";
    let mut reply = query.to_vec();
    assert!(!answers(query, &reply), "a query is no reply");
    reply[2] |= 0x80;
    assert!(answers(query, &reply));
    reply[13] = b'A';
    assert!(answers(query, &reply));
    reply[13] = b'b';
    assert!(!answers(query, &reply));
    reply[13] = b'a';
    reply[0] = 0;
    assert!(!answers(query, &reply));
    assert!(!answers(query, &reply[..3]));
    assert!(!answers(&[], &[]));
}
