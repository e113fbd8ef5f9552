//! A full disk: the push says so, the old release serves, and room makes everything go on.

use testbed::cluster::Options;
use testbed::{App, Cluster};

use crate::ANSWER;

#[test]
fn cluster_full_disk_is_told_and_passes() {
    let mut cluster = Cluster::start(Options { disk_bytes: Some(4_200 << 20) });
    let app = App::from_files(&cluster, "small", &[("index.html", "one\n")]);
    let out = app.push();
    assert_eq!(out.code, 0, "{out}");
    let _ = cluster.wait_answer("small", ANSWER);
    let filler = cluster.path("data/filler");
    let fill = format!("cat /dev/zero > {} 2>/dev/null; true", filler.display());
    let _ = cluster.inside("sh", &["-c", &fill]).ok();
    app.change(&[("index.html", "two\n")]);
    let said = app.push().failed();
    assert!(said.contains("disk"), "{said}");
    let answer = cluster.get("small").unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (200, "one\n"));
    let status = cluster.slipway(&["host", "status"]).ok();
    assert!(status.contains("Warning"), "the host's status warns:\n{status}");
    let _ = cluster.inside("rm", &[filler.to_str().unwrap()]).ok();
    let pushed = os::clock::wait_for(ANSWER, || {
        let out = app.push();
        (out.code == 0).then_some(())
    });
    assert!(pushed.is_some(), "with room again the same push works");
    assert_eq!(cluster.get("small").unwrap().body, "two\n");
    drop(app);
    cluster.purge();
}
