//! `tests/scripts/*.txt`: what goes in, and everything that comes out.

use crate::rig::Rig;

#[test]
fn scripts_give_their_traces() {
    testkit::script::run_sessions("tests/scripts", |_| {
        let mut rig = Rig::new(1);
        move |commands: &str| {
            commands.lines().filter(|line| !line.starts_with('#')).for_each(|line| rig.command(line));
            rig.take_trace()
        }
    });
}
