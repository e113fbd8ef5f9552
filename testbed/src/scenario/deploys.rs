//! Deploys in a row under steady load: no request may fail. Then a rollback: how soon traffic moves.

use std::time::Duration;

use crate::cluster::HTTP_PORT;
use crate::load::{Load, Seen};
use crate::{App, Cluster, say};

/// What came of it.
#[derive(Clone, Debug)]
pub struct Report {
    /// Deploys done.
    pub deploys: u32,
    /// What the load saw.
    pub seen: Seen,
    /// The slowest deploy.
    pub slowest: Duration,
    /// From the command to the last answer of the release that was left.
    pub rollback: Duration,
}

const SERVER: &str = r#"
import os, http.server, socketserver
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = ("release %s\n" % os.environ.get("RELEASE", "first")).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 128
Server(("", int(os.environ["PORT"])), Handler).serve_forever()
"#;

/// Make an app that says which release answers.
///
/// # Panics
/// If it cannot be pushed.
#[must_use]
pub fn release_app<'a>(cluster: &'a Cluster, name: &str) -> App<'a> {
    let files = [("server.py", SERVER), ("requirements.txt", ""), ("Procfile", "web: python3 server.py\n")];
    let app = App::from_files(cluster, name, &files);
    let pushed = app.push();
    assert_eq!(pushed.code, 0, "{pushed}");
    app
}

/// Deploy `deploys` times under `rate` requests a second.
///
/// # Panics
/// If a deploy fails.
#[must_use]
pub fn run(cluster: &Cluster, deploys: u32, rate: u32) -> Report {
    let app = release_app(cluster, "steady");
    let _ = cluster.wait_answer("steady", Duration::from_secs(30));
    let load = Load::start(&cluster.net, HTTP_PORT, "steady.slipway.localhost", 8, rate);
    let mut slowest = Duration::ZERO;
    for n in 1..=deploys {
        let out = app.slipway_here(&["env", "set", &format!("RELEASE={n}")]);
        assert_eq!(out.code, 0, "{out}");
        slowest = slowest.max(out.took);
        say(&format!("deploy {n} in {:.1} s, {} requests so far", out.took.as_secs_f64(), load.sent()));
    }
    let now = cluster.get("steady").map(|answer| answer.body).unwrap_or_default();
    assert_eq!(now, format!("release {deploys}\n"), "the last release answers");
    let rollback = time_rollback(cluster, &app, &now);
    Report { deploys, seen: load.stop(), slowest, rollback }
}

/// From the command's start to the first answer of the older release.
fn time_rollback(cluster: &Cluster, app: &App<'_>, before: &str) -> Duration {
    let start = os::clock::now();
    std::thread::scope(|scope| {
        let command = scope.spawn(|| app.slipway_here(&["rollback"]));
        let moved = os::clock::wait_for(Duration::from_secs(60), || {
            let answer = cluster.get(&app.name).ok()?;
            (answer.status == 200 && answer.body != before).then(|| os::clock::now().since(start))
        });
        let out = command.join().unwrap();
        assert_eq!(out.code, 0, "{out}");
        moved.expect("traffic moves after a rollback")
    })
}
