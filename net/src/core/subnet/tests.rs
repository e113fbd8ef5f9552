use super::*;

#[test]
fn subnet_text_round_trips_and_names_its_addresses() {
    let subnet: Subnet = "100.100.7.0/24".parse().unwrap();
    assert_eq!(subnet.to_string(), "100.100.7.0/24");
    assert_eq!(subnet.gateway(), Ipv4Addr::new(100, 100, 7, 1));
    assert_eq!(subnet.last(), Ipv4Addr::new(100, 100, 7, 255));
    assert_eq!(subnet.mask(), Ipv4Addr::new(255, 255, 255, 0));
    assert!(subnet.contains(Ipv4Addr::new(100, 100, 7, 200)));
    assert!(!subnet.contains(Ipv4Addr::new(100, 100, 8, 1)));
}

#[test]
fn subnet_text_that_is_no_network_is_refused() {
    for text in ["", "100.100.7.0", "100.100.7.9/24", "1.2.3.4/33", "1.2.3.4/-1", "a/24", "::/64", "1.2.3.0/24/24"] {
        assert!(text.parse::<Subnet>().is_err(), "{text} was taken");
    }
    assert!("0.0.0.0/0".parse::<Subnet>().is_ok());
}

#[test]
fn subnets_overlap_when_one_holds_the_other() {
    let parse = |text: &str| text.parse::<Subnet>().unwrap();
    assert!(parse("10.0.0.0/8").overlaps(parse("10.3.0.0/16")));
    assert!(parse("10.3.0.0/16").overlaps(parse("10.0.0.0/8")));
    assert!(!parse("10.3.0.0/16").overlaps(parse("10.4.0.0/16")));
}
