//! What bad input gets: what failed, why, and what to do; an exit code; and the old release still serves.

use testbed::{App, Cluster};

use crate::{ANSWER, shared};

const GOOD: [(&str, &str); 3] = [
    (
        "server.py",
        "import os, http.server\nhttp.server.HTTPServer(('', int(os.environ['PORT'])), http.server.SimpleHTTPRequestHandler).serve_forever()\n",
    ),
    ("requirements.txt", ""),
    ("Procfile", "web: python3 server.py\n"),
];

/// A pushed app that answers.
fn good<'a>(cluster: &'a Cluster, name: &str) -> App<'a> {
    let app = App::from_files(cluster, name, &GOOD);
    let out = app.push();
    assert_eq!(out.code, 0, "{out}");
    let _ = cluster.wait_answer(name, ANSWER);
    app
}

/// Push a change that must be refused with these words; the old release still serves.
fn refused(cluster: &Cluster, app: &App<'_>, files: &[(&str, &str)], words: &[&str]) {
    app.change(files);
    let out = app.push();
    let said = out.failed();
    for word in words {
        assert!(said.contains(word), "the refusal names {word:?}:\n{said}");
    }
    assert!(said.contains("[remote rejected]") || said.contains("rejected"), "git itself says no:\n{said}");
    let answer = cluster.get(&app.name).unwrap();
    assert_eq!(answer.status, 200, "the old release still serves: {}", answer.body);
}

#[test]
fn cluster_bad_pushes_are_refused_and_the_old_release_serves() {
    let cluster = shared();
    let app = good(&cluster, "steadfast");
    refused(
        &cluster,
        &app,
        &[("requirements.txt", "no-such-package-of-anyone==99.99\n")],
        &["no-such-package-of-anyone", "still serves"],
    );
    refused(&cluster, &app, &[("requirements.txt", ""), ("Procfile", "worker: python3 server.py\n")], &["web"]);
    refused(&cluster, &app, &[("Procfile", "this is no Procfile\n")], &["Procfile"]);
    refused(
        &cluster,
        &app,
        &[("Procfile", "web: sh -c 'echo I fall over; exit 3'\n")],
        &["exited with code 3", "I fall over", "still serves"],
    );
    let _ = app.slipway_here(&["delete", "--yes"]).ok();
}

#[test]
fn cluster_app_on_the_wrong_port_is_told_so() {
    let cluster = shared();
    let app = good(&cluster, "deaf");
    refused(&cluster, &app, &[("Procfile", "web: python3 -m http.server 9999\n")], &["PORT", "8080", "still serves"]);
    let _ = app.slipway_here(&["delete", "--yes"]).ok();
}

#[test]
fn cluster_unknown_source_says_what_was_looked_for() {
    let cluster = shared();
    let app = App::from_files(&cluster, "nothing", &[("notes.txt", "no code here\n")]);
    let said = app.push().failed();
    for word in ["requirements.txt", "package.json", "go.mod", "index.html", "notes.txt"] {
        assert!(said.contains(word), "{word}:\n{said}");
    }
    let _ = app.slipway_here(&["delete", "--yes"]).ok();
}

#[test]
fn cluster_other_branches_and_tags_get_the_right_command() {
    let cluster = shared();
    let app = App::from_files(&cluster, "branches", &[("index.html", "x\n")]);
    let said = app.git(&["push", "slipway", "main:feature"]).failed();
    assert!(said.contains("git push slipway feature:main"), "{said}");
    let _ = app.git(&["tag", "v1"]).ok();
    let said = app.git(&["push", "slipway", "v1"]).failed();
    assert!(said.contains("refs/heads/main"), "{said}");
    assert_eq!(app.push().code, 0);
    let said = app.git(&["push", "slipway", ":main"]).failed();
    assert!(said.contains("cannot be deleted"), "{said}");
    app.change(&[("index.html", "y\n")]);
    let said = app.git(&["push", "slipway", "main", "main:other"]).failed();
    assert!(said.contains("one is deployed at a time"), "{said}");
    let _ = app.slipway_here(&["delete", "--yes"]).ok();
}

#[test]
fn cluster_too_large_a_repository_is_refused_with_its_limit() {
    let cluster = shared();
    let app = App::from_files(&cluster, "large", &[("index.html", "x\n")]);
    // Random bytes do not compress: the pack is as large as they are.
    let make = "head -c 560000000 /dev/urandom > blob.bin";
    let out = testbed::shell::run(cluster.command("sh".as_ref()).args(["-c", make]).current_dir(&app.dir));
    assert_eq!(out.code, 0, "{out}");
    app.change(&[]);
    let said = app.push().failed();
    assert!(said.contains("512 MiB"), "{said}");
    let _ = app.slipway_here(&["delete", "--yes"]).ok();
}

#[test]
fn cluster_names_and_keys_are_checked() {
    let cluster = shared();
    let cases: [(&[&str], &str); 7] = [
        (&["create", "--no-remote", "Not_A_Name"], "lower-case"),
        (&["info", "--app", "nobody"], "nobody"),
        (&["scale", "--app", "nobody", "web=1"], "nobody"),
        (&["key", "remove", "SHA256:nothing"], "SHA256:nothing"),
        (&["env", "set", "--app", "nobody", "A=b"], "nobody"),
        (&["delete", "--yes", "nobody"], "nobody"),
        (&["scal"], "scale"),
    ];
    for (args, word) in cases {
        let said = cluster.slipway(args).failed();
        assert!(said.contains(word), "{args:?}: {said}");
    }
    let _ = cluster.slipway(&["create", "--no-remote", "taken"]).ok();
    let said = cluster.slipway(&["create", "--no-remote", "taken"]).failed();
    assert!(said.contains("taken"), "{said}");
    let _ = cluster.slipway(&["delete", "--yes", "taken"]).ok();
    let _ = cluster.slipway(&["create", "--no-remote", "taken"]).ok();
    let _ = cluster.slipway(&["delete", "--yes", "taken"]).ok();
}

#[test]
fn cluster_unknown_key_and_unknown_app_are_refused_by_ssh() {
    let cluster = shared();
    let app = App::from_files(&cluster, "locked", &[("index.html", "x\n")]);
    let other = cluster.path("home/other-key");
    let _ = testbed::shell::sh("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", other.to_str().unwrap()]).ok();
    let ssh = format!(
        "ssh -F none -i {} -o IdentitiesOnly=yes -o StrictHostKeyChecking=yes -o UserKnownHostsFile={}",
        other.display(),
        cluster.path("home/.ssh/known_hosts").display()
    );
    let mut command = cluster.command("git".as_ref());
    command.args(["push", "slipway", "main"]).env("GIT_SSH_COMMAND", ssh).current_dir(&app.dir);
    let said = testbed::shell::run(&mut command).failed();
    assert!(said.contains("Permission denied"), "{said}");
    let _ = app.git(&["remote", "add", "typo", "ssh://git@localhost:2222/lokced.git"]).ok();
    let said = app.git(&["push", "typo", "main"]).failed();
    assert!(said.contains("lokced") && said.contains("slipway create"), "{said}");
    let mut ssh = cluster.command("ssh".as_ref());
    let known = format!("UserKnownHostsFile={}", cluster.path("home/.ssh/known_hosts").display());
    let key = cluster.path("home/.ssh/id_ed25519");
    ssh.args(["-F", "none", "-o", &known, "-o", "IdentitiesOnly=yes", "-i", key.to_str().unwrap(), "-p", "2222"]);
    for words in [&["git@localhost"][..], &["git@localhost", "id"], &["git@localhost", "git-receive-pack", "'../x'"]] {
        let mut session = cluster.command("ssh".as_ref());
        session.args(ssh.get_args().skip_while(|word| *word != "-F")).args(words);
        let said = testbed::shell::run(&mut session).failed();
        assert!(
            said.contains("no shell here") || said.contains("only git push") || said.contains("names no app"),
            "{said}"
        );
        assert!(!said.contains("uid="), "{said}");
    }
    let _ = app.slipway_here(&["delete", "--yes"]).ok();
}
