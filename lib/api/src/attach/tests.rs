use super::*;

#[test]
fn frames_survive_the_wire() {
    let frames = [
        Frame::Waiting,
        Frame::Attached,
        Frame::Bytes(Stream::Stdout, b"hello".to_vec()),
        Frame::Bytes(Stream::Stdin, Vec::new()),
        Frame::Signal(15),
        Frame::Resize { rows: 24, columns: 80 },
        Frame::Error("no".into()),
        Frame::Exit(42),
    ];
    let mut wire = Vec::new();
    for frame in &frames {
        write_frame(&mut wire, frame).unwrap();
    }
    let mut input = &wire[..];
    for frame in &frames {
        assert_eq!(read_frame(&mut input).unwrap().as_ref(), Some(frame));
    }
    assert_eq!(read_frame(&mut input).unwrap(), None);
}

#[test]
fn long_content_is_split_and_hostile_lengths_are_refused() {
    let content = vec![7; FRAME_BYTES_MAX + 1];
    let mut wire = Vec::new();
    write_bytes(&mut wire, Stream::Stdout, &content).unwrap();
    let mut input = &wire[..];
    let mut got = Vec::new();
    while let Some(Frame::Bytes(Stream::Stdout, part)) = read_frame(&mut input).unwrap() {
        got.extend(part);
    }
    assert_eq!(got, content);
    assert!(read_frame(&mut &[3, 1, 0xff, 0xff, 0xff, 0xff][..]).is_err());
    assert!(read_frame(&mut &[9][..]).is_err());
    assert!(read_frame(&mut &[4, 0][..]).is_err());
}
