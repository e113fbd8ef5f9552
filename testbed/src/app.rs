//! An app under test: a git repository with our remote.

use std::path::{Path, PathBuf};

use crate::cluster::Cluster;
use crate::shell::{self, Output};

/// A git repository whose remote is an app of a cluster.
#[derive(Debug)]
pub struct App<'a> {
    /// The app's name.
    pub name: String,
    /// The repository.
    pub dir: PathBuf,
    cluster: &'a Cluster,
}

impl<'a> App<'a> {
    /// Make the app, from a copy of `examples/EXAMPLE`.
    ///
    /// # Panics
    /// If anything fails.
    #[must_use]
    pub fn from_example(cluster: &'a Cluster, name: &str, example: &str) -> App<'a> {
        let from = shell::root().join("examples").join(example);
        assert!(from.is_dir(), "no example {example}");
        App::make(cluster, name, |dir| {
            let _ = shell::sh("cp", &["-r", &format!("{}/.", from.display()), dir.to_str().unwrap()]).ok();
        })
    }

    /// Make the app from files written here.
    ///
    /// # Panics
    /// If anything fails.
    #[must_use]
    pub fn from_files(cluster: &'a Cluster, name: &str, files: &[(&str, &str)]) -> App<'a> {
        App::make(cluster, name, |dir| write(dir, files))
    }

    fn make(cluster: &'a Cluster, name: &str, fill: impl FnOnce(&Path)) -> App<'a> {
        let dir = cluster.path("repos").join(name);
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        fill(&dir);
        let app = App { name: name.to_owned(), dir, cluster };
        let _ = app.git(&["init", "--quiet", "--initial-branch=main"]).ok();
        app.commit("first");
        let out = app.slipway_here(&["create", name]);
        assert_eq!(out.code, 0, "{out}");
        app
    }

    /// Write files, and commit them.
    ///
    /// # Panics
    /// If anything fails.
    pub fn change(&self, files: &[(&str, &str)]) {
        write(&self.dir, files);
        self.commit("change");
    }

    fn commit(&self, message: &str) {
        let _ = self.git(&["add", "--all"]).ok();
        let who = ["-c", "user.name=testbed", "-c", "user.email=testbed@localhost"];
        let _ = self.git(&[&who[..], &["commit", "--quiet", "--allow-empty", "--message", message]].concat()).ok();
    }

    /// Run git in the repository.
    pub fn git(&self, args: &[&str]) -> Output {
        shell::run(self.cluster.command(Path::new("git")).args(args).current_dir(&self.dir))
    }

    /// `git push slipway main`.
    pub fn push(&self) -> Output {
        self.git(&["push", "slipway", "main"])
    }

    /// Run the command line in the repository, which names the app.
    pub fn slipway_here(&self, args: &[&str]) -> Output {
        shell::run(self.cluster.command(&shell::binary()).args(args).current_dir(&self.dir))
    }
}

fn write(dir: &Path, files: &[(&str, &str)]) {
    for (name, content) in files {
        let path = dir.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        if content.starts_with("#!") {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
    }
}
