use std::net::{Ipv4Addr, TcpListener};

use super::{advice, holder, listening, must_hold};

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

#[test]
fn a_port_is_held_by_who_listens_and_nobody_else() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let own = i32::try_from(std::process::id()).unwrap();
    assert_eq!(must_hold(port, &[1, own]), Ok(()));
    let refused = must_hold(port, &[]).unwrap_err();
    assert!(
        refused.contains(&format!("port {port} is taken by ")) && refused.contains(&format!("(pid {own})")),
        "{refused}"
    );
    assert_eq!(holder(port).unwrap().pid, Some(own));
    drop(listener);
    assert_eq!(holder(port), None);
}
