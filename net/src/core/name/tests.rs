use std::collections::BTreeSet;

use super::*;

fn job(text: &str) -> JobId {
    JobId::parse(text).unwrap()
}

#[test]
fn veth_name_fits_and_depends_on_bridge_and_job_alone() {
    let name = veth("slipway0", &job("host1-7f3c"));
    assert_eq!(name, veth("slipway0", &job("host1-7f3c")));
    assert_ne!(name, veth("slipway1", &job("host1-7f3c")));
    assert!(name.len() <= LINK_NAME_BYTES_MAX && name.starts_with(VETH_PREFIX), "{name}");
}

#[test]
fn veth_names_of_many_jobs_differ() {
    let names: BTreeSet<String> = (0..20_000).map(|n| veth("slipway0", &job(&format!("host1-{n}")))).collect();
    assert_eq!(names.len(), 20_000);
}

#[test]
fn mac_gives_its_address_back_for_its_own_end_only() {
    let address = Ipv4Addr::new(100, 100, 7, 5);
    let host = mac(End::Host, address);
    assert_eq!(address_of(End::Host, &host), Some(address));
    assert_eq!(address_of(End::Job, &host), None);
    assert_eq!(address_of(End::Host, &host[..5]), None);
    // Locally administered, and not a group address.
    assert_eq!(host[0] & 3, 2);
}
