use std::time::Duration;

use super::*;

#[test]
fn line_quotes_what_would_mislead_and_leaves_out_what_is_not() {
    let record = Record {
        method: "GET".into(),
        path: "/a=b".into(),
        host: String::new(),
        status: 502,
        service: Duration::from_micros(1234),
        connect: None,
        bytes_out: 7,
        bytes_in: 0,
        request_id: "id".into(),
        code: Some("backend_closed"),
        backend: None,
    };
    let mut line = String::new();
    format_line(&mut line, "T", &record);
    format_line(&mut line, "T", &Record { connect: Some(Duration::from_millis(2)), code: None, ..record });
    assert_eq!(
        line,
        "time=T level=info target=router::access msg=request method=GET path=\"/a=b\" host=\"\" status=502 \
         service_ms=1.23 bytes=7 request_id=id code=backend_closed\n\
         time=T level=info target=router::access msg=request method=GET path=\"/a=b\" host=\"\" status=502 \
         service_ms=1.23 connect_ms=2.00 bytes=7 request_id=id\n"
    );
}
