use std::io::Write;
use std::os::unix::net::UnixStream;

use api::attach::{Frame, Stream, write_frame};

use super::Client;

#[test]
fn frames_cut_anywhere_are_read_whole() {
    let frames = [
        Frame::Bytes(Stream::Stdin, b"typed".to_vec()),
        Frame::Resize { rows: 40, columns: 132 },
        Frame::Signal(2),
        Frame::Bytes(Stream::Stdin, Vec::new()),
        Frame::Error("left".to_owned()),
    ];
    let mut bytes = Vec::new();
    for frame in &frames {
        write_frame(&mut bytes, frame).unwrap();
    }
    for cut in 0..bytes.len() {
        let (mut near, far) = UnixStream::pair().unwrap();
        let mut client = Client::new(far).unwrap();
        let mut got = Vec::new();
        for part in [&bytes[..cut], &bytes[cut..]] {
            near.write_all(part).unwrap();
            client.fill();
            got.extend(std::iter::from_fn(|| client.take_frame()));
        }
        assert_eq!(got, frames, "cut at {cut}");
    }
}

#[test]
fn peer_that_sends_no_frames_is_gone() {
    for bad in [&[9u8][..], &[3, 0, 0xff, 0xff, 0xff, 0xff], &[3, 7, 0, 0, 0, 0]] {
        let (mut near, far) = UnixStream::pair().unwrap();
        let mut client = Client::new(far).unwrap();
        near.write_all(bad).unwrap();
        client.fill();
        assert_eq!(client.take_frame(), None);
        assert!(client.is_gone, "{bad:?}");
    }
}
