use api::store::wire::RangeRequest;

use super::*;

#[test]
fn body_empty_is_no_fields() {
    assert_eq!(parse::<RangeRequest>(b" \n"), Ok(RangeRequest::default()));
}

#[test]
fn body_cut_off_says_so() {
    assert_eq!(parse::<RangeRequest>(b"{\"key\":"), Err(Denial::invalid("unexpected EOF")));
}

#[test]
fn body_with_url_safe_base64_is_refused_with_the_place() {
    let Err(denial) = parse::<RangeRequest>(br#"{"key":"_-8="}"#) else { panic!("accepted") };
    assert_eq!((denial.code, denial.status()), (3, 400));
    assert_eq!(denial.message, "illegal base64 data at input byte 0");
}

#[test]
fn body_takes_both_spellings_numbers_and_unknown_fields() {
    let snake = parse::<RangeRequest>(br#"{"key":"YQ==","range_end":"Yg==","limit":3,"sort_order":2,"x":{}}"#);
    let camel = parse::<RangeRequest>(br#"{"key":"YQ==","rangeEnd":"Yg==","limit":"3","sortOrder":"DESCEND"}"#);
    assert!(snake.is_ok());
    assert_eq!(snake, camel);
}
