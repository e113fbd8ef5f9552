use alloc::string::ToString;

use super::Lsn;

#[test]
fn lsn_text_comes_back_the_same() {
    for (text, value) in [("0/0", 0), ("16/B374D848", 0x16_B374_D848), ("FFFFFFFF/FFFFFFFF", u64::MAX)] {
        assert_eq!(text.parse(), Ok(Lsn(value)));
        assert_eq!(Lsn(value).to_string(), text);
    }
    assert_eq!("0/a".parse(), Ok(Lsn(10)));
}

#[test]
fn lsn_order_is_by_both_halves() {
    let [a, b, c] = ["0/FFFFFFFF", "1/0", "1/1"].map(|text| text.parse::<Lsn>().unwrap());
    assert!(a < b && b < c);
    assert_eq!((a.behind(c), c.behind(a)), (2, 0));
}

#[test]
fn lsn_malformed_is_refused() {
    for text in
        ["", "/", "1", "1/", "/1", "+1/0", "1/-1", "1/2/3", "123456789/0", "0/123456789", "g/0", " 0/0", "0/\u{e9}"]
    {
        assert!(text.parse::<Lsn>().is_err(), "{text:?}");
    }
}
