use super::*;

const OURSELVES: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn shown(upstreams: &mut Upstreams) -> Vec<String> {
    upstreams.list().iter().map(ToString::to_string).collect()
}

#[test]
fn resolvers_are_those_of_the_file_and_stay_while_it_is_away() {
    let folder = testkit::TempDir::new("upstreams");
    let file = folder.path().join("resolv.conf");
    std::fs::write(&file, "nameserver 10.0.0.1\nnameserver 127.0.0.1\n").unwrap();
    let mut upstreams = Upstreams::new(file.clone(), Vec::new(), OURSELVES);
    assert_eq!(shown(&mut upstreams), ["10.0.0.1:53"]);

    std::fs::write(&file, "nameserver 10.0.0.2\n").unwrap();
    assert_eq!(shown(&mut upstreams), ["10.0.0.1:53"], "it is not read with every question");
    upstreams.read_at = None;
    assert_eq!(shown(&mut upstreams), ["10.0.0.2:53"]);

    std::fs::remove_file(&file).unwrap();
    upstreams.read_at = None;
    assert_eq!(shown(&mut upstreams), ["10.0.0.2:53"]);
}

#[test]
fn told_resolvers_go_before_the_file() {
    let told = vec!["10.9.9.9:5353".parse().unwrap()];
    let mut upstreams = Upstreams::new(PathBuf::from("/nonexistent/resolv.conf"), told, OURSELVES);
    assert_eq!(shown(&mut upstreams), ["10.9.9.9:5353"]);
}
