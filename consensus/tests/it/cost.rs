//! What a write costs, end to end. Prints; the bound is far above what is measured, so that only a blunder fails.

use std::time::Duration;

use crate::cluster::Member;

/// User and system time of this process, client and member together.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

#[test]
fn cost_of_a_put_is_bounded() {
    let member = Member::start();
    let client = member.client();
    client.put("warm", b"up", None).unwrap();
    let (start, before) = (os::clock::now(), cpu());
    const PUTS: u32 = 500;
    for n in 0..PUTS {
        client.put(&format!("k/{n}"), &[b'x'; 256], None).unwrap();
    }
    let (wall, spent) = (os::clock::now().since(start) / PUTS, (cpu() - before) / PUTS);
    println!("put: {wall:?} wall, {spent:?} CPU of all tests that ran meanwhile");
    assert!(wall < Duration::from_millis(500), "a put takes {wall:?}");
}
