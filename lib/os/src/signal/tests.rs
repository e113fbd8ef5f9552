use super::*;

#[test]
fn shutdown_wakes_who_waits() {
    let shutdown = Shutdown::new();
    assert!(!shutdown.wait_for(Duration::from_millis(1)));
    let asker = shutdown.clone();
    let thread = crate::thread::spawn("asker", move || asker.ask()).unwrap();
    shutdown.wait();
    thread.join().unwrap();
    assert!(shutdown.asked() && shutdown.wait_for(Duration::ZERO));
}

#[test]
fn wait_readable_tells_the_descriptor_from_the_end() {
    let shutdown = Shutdown::new();
    let (reader, mut writer) = UnixStream::pair().unwrap();
    assert!(!shutdown.wait_readable(reader.as_fd(), Duration::from_millis(1)));
    writer.write_all(b"x").unwrap();
    assert!(shutdown.wait_readable(reader.as_fd(), Duration::from_secs(5)));
    shutdown.ask();
    assert!(!shutdown.wait_readable(reader.as_fd(), Duration::from_secs(5)));
}
