use std::net::{Ipv4Addr, TcpListener};

use super::{advice, listening};

#[test]
fn own_listener_is_found() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let found = listening(i32::try_from(std::process::id()).unwrap());
    assert!(found.contains(&listener.local_addr().unwrap()), "{found:?}");
}

#[test]
fn advice_names_what_is_wrong() {
    let at = |text: &str| [text.parse().unwrap()].into_iter().collect();
    assert!(advice(8080, &at("127.0.0.1:8080")).contains("nobody else can reach it"));
    assert!(advice(8080, &at("0.0.0.0:3000")).contains("listens on 0.0.0.0:3000 and not on port 8080"));
    assert!(advice(8080, &at("0.0.0.0:8080")).is_empty());
    assert!(advice(8080, &at("[::]:8080")).is_empty());
    assert!(advice(8080, &std::collections::BTreeSet::new()).contains("no port"));
}
