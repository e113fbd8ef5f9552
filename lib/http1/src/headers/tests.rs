use alloc::vec::Vec;

use super::*;

fn sample() -> Headers {
    let mut headers = Headers::new();
    headers.append("Host", "a.example").unwrap();
    headers.append("Accept", "text/html, */*").unwrap();
    headers.append("accept", "b").unwrap();
    headers
}

#[test]
fn get_ignores_case_and_keeps_order() {
    let headers = sample();
    assert_eq!(headers.get_str("hOST"), Some("a.example"));
    assert_eq!(headers.get_all("ACCEPT").collect::<Vec<_>>(), [b"text/html, */*".as_slice(), b"b"]);
    assert_eq!(headers.tokens("accept").count(), 3);
    assert!(headers.lists("accept", "B"));
    assert!(!headers.contains("Accep"));
}

#[test]
fn set_replaces_all_of_that_name() {
    let mut headers = sample();
    headers.set("accept", "x").unwrap();
    assert_eq!(headers.get_all("accept").collect::<Vec<_>>(), [b"x"]);
    assert_eq!(headers.len(), 2);
    assert_eq!(headers.remove("Accept"), 1);
    assert_eq!(headers.len(), 1);
}

#[test]
fn append_refuses_what_could_start_a_line() {
    let mut headers = Headers::new();
    for value in ["a\r\nX: y", "a\nb", "a\0", " a", "a\t", "\x7f"] {
        assert_eq!(headers.append("X", value), Err(Error::HeaderValue), "{value:?}");
        assert_eq!(headers.set("X", value), Err(Error::HeaderValue), "{value:?}");
    }
    for name in ["", "a b", "a:", "a\r", "\u{e9}"] {
        assert_eq!(headers.append(name, "v"), Err(Error::HeaderName), "{name:?}");
    }
    assert!(headers.is_empty());
    headers.append("X", "caf\u{e9} \t b").unwrap();
    headers.append("Empty", "").unwrap();
}
