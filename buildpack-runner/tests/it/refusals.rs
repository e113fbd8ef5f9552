//! What bad apps get, and what a build promises to good ones, on the smallest layers.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use testkit::TempDir;
use types::stack::{BuildRequest, LayerName};

use crate::job::{Bench, Outcome};
use crate::root::request;

/// An app from `path: content` pairs; scripts are executable.
fn app(files: &[(&str, &str)]) -> TempDir {
    let dir = TempDir::new("app");
    for (path, content) in files {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        let mode = if content.starts_with("#!") { 0o755 } else { 0o644 };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
    dir
}

#[track_caller]
fn refused(outcome: &Outcome, code: &str, exit: i32, words: &[&str]) {
    let failure = outcome.failure();
    assert_eq!(failure.code, code, "{}", outcome.told);
    assert_eq!(outcome.code, Some(exit), "{}", outcome.told);
    for word in words {
        assert!(outcome.told.contains(word), "{word:?} is not in: {}", outcome.told);
    }
}

#[test]
fn root_apps_that_cannot_be_built_are_told_why() {
    if !testkit::root::granted("root_apps_that_cannot_be_built_are_told_why") {
        return;
    }
    let bench = Bench::new();
    let build = |files: &[(&str, &str)], env: &[(&str, &str)]| bench.build(app(files).path(), &request(env), &[]);
    refused(&build(&[("Gemfile", "")], &[]), "no-buildpack", 66, &["Python", "package.json", "looks like Ruby"]);
    let pages = ("index.html", "hi");
    let outcome = build(&[pages, ("Procfile", "worker run\n")], &[]);
    refused(&outcome, "procfile-invalid", 71, &["line 1 of the Procfile", "there is no colon", "web: python app.py"]);
    let outcome = build(&[pages], &[("BUILDPACK_URL", "./gone")]);
    refused(&outcome, "buildpack-unavailable", 67, &["./gone has no bin/compile"]);
    let outcome = build(&[pages], &[("BUILDPACK_URL", "go")]);
    refused(&outcome, "detect-failed", 68, &["go does not fit", "no go.mod"]);
    let outcome = build(&[pages, ("Staticfile", "root: gone\n")], &[]);
    refused(
        &outcome,
        "compile-failed",
        69,
        &["the folder gone is not there", "\"Preparing the web server\" (exit code 1)"],
    );
    let limits = [("TEST_SLUG_BYTES_MAX", "1000")];
    let large = app(&[pages, ("large.bin", &"x".repeat(2000))]);
    refused(
        &bench.build(large.path(), &request(&[]), &limits),
        "slug-too-large",
        73,
        &["large.bin (2.0 KB)", ".slugignore"],
    );
}

/// A buildpack of the app; `compile` is the body of its script.
fn with_pack<'a>(compile: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut files = vec![(".buildpacks", "./pack\n"), ("pack/bin/compile", compile)];
    files.extend(more);
    files
}

#[test]
fn root_app_without_web_is_refused_unless_it_says_so() {
    if !testkit::root::granted("root_app_without_web_is_refused_unless_it_says_so") {
        return;
    }
    let bench = Bench::new();
    let files = with_pack("#!/bin/bash\n", &[("Procfile", "worker: sleep 1\n")]);
    let app = app(&files);
    let outcome = bench.build(app.path(), &request(&[]), &[]);
    refused(&outcome, "no-web", 72, &["has no web, only worker", "SLIPWAY_NO_WEB=1"]);
    let outcome = bench.build(app.path(), &request(&[("SLIPWAY_NO_WEB", "1")]), &[]);
    assert_eq!(outcome.built().process_types.keys().collect::<Vec<_>>(), ["worker"]);
}

#[test]
fn root_failed_compile_leaves_the_cache_of_the_last_good_one() {
    if !testkit::root::granted("root_failed_compile_leaves_the_cache_of_the_last_good_one") {
        return;
    }
    let bench = Bench::new();
    let compile = "#!/bin/bash\nset -e\n[ -f \"$2/n\" ] && cat \"$2/n\"\necho kept >\"$2/n\"\n\
                   if [ -f \"$3/FAIL\" ]; then echo half >\"$2/n\"; echo '-----> Breaking'; kill -9 $$; fi\n";
    let files = with_pack(compile, &[("Procfile", "web: true\n")]);
    let app = app(&files);
    let build = |env: &[(&str, &str)]| bench.build(app.path(), &request(env), &[]);
    assert!(!build(&[]).told.contains("kept"));
    refused(&build(&[("FAIL", "1")]), "compile-failed", 69, &["kept", "step \"Breaking\"", "killed by SIGKILL"]);
    assert!(build(&[]).told.contains("kept\n"), "the cache is what the good build left");
    assert!(!bench.cache().join("other/work").exists());
}

#[test]
fn root_buildpack_gets_what_the_interface_promises() {
    if !testkit::root::granted("root_buildpack_gets_what_the_interface_promises") {
        return;
    }
    let bench = Bench::new();
    let first = "#!/bin/bash\nset -e\necho \"user $(id -u) in $PWD stack $STACK commit $SOURCE_VERSION build $REQUEST_ID\"\n\
        echo \"config [$SECRET] [$(cat \"$3/SECRET\")] from $1\"\n[ ! -e \"$1/notes.psd\" ] && echo ignored\n\
        mkdir -p \"$1/.profile.d\" && echo 'export FROM_PROFILE=profile' >\"$1/.profile.d/a.sh\"\n\
        echo 'export FROM_FIRST=exported' >export\nln -s \"$1\" /app/build\n(sleep 1000 &)\nchmod -x bin/* 2>/dev/null || true\n";
    let files = [
        (".buildpacks", "./one\n./two\n"),
        (".slugignore", "*.psd\n"),
        ("notes.psd", "x"),
        ("one/bin/compile", first),
        ("two/bin/detect", "#!/bin/bash\necho \"Second $FROM_FIRST\"\n"),
        ("two/bin/compile", "#!/bin/bash\nmkfifo \"$1/pipe\"\nprintf 'no end'\n"),
        (
            "two/bin/release",
            "#!/bin/bash\nprintf 'config_vars:\\n  A: b\\ndefault_process_types:\\n\\tweb: ignored\\n\\tdefault: echo\\n'\n",
        ),
        ("Procfile", "web: echo $FROM_PROFILE $HOME $PWD $0\nfail: exit 7\n"),
        (".profile", "export FROM_APP=\"$FROM_PROFILE app\"\n"),
    ];
    let outcome = bench.build(app(&files).path(), &request(&[("SECRET", "s3cret")]), &[]);
    let built = outcome.built();
    for wanted in [
        "user 1000 in /build/packs/0 stack slipway commit abc build b1",
        "config [] [s3cret] from /build/source",
        "ignored",
        "-----> Second exported app detected",
        "no end\n-----> Discovering",
        "Default types for the buildpack -> default",
        "1 entries are neither files, folders nor links and were left out, e.g. pipe",
    ] {
        assert!(outcome.told.contains(wanted), "{wanted:?} is not in: {}", outcome.told);
    }
    assert_eq!(built.process_types["web"], "echo $FROM_PROFILE $HOME $PWD $0");
    assert_eq!(built.process_types["default"], "echo");
    assert_eq!(built.default_env["A"], "b");
    assert_eq!(built.buildpacks, ["./one", "Second exported"]);
    assert_eq!(
        bench.command(&outcome, &["echo $FROM_APP in $PWD as $(id -un)"]),
        ("profile app in /app as app\n".to_owned(), Some(0))
    );
    assert_eq!(bench.command(&outcome, &["printf", "%s|", "a b", "$HOME"]), ("a b|$HOME|".to_owned(), Some(0)));
    assert_eq!(bench.command(&outcome, &["exit 7"]).1, Some(7));
}

#[test]
fn root_endless_compile_is_stopped() {
    if !testkit::root::granted("root_endless_compile_is_stopped") {
        return;
    }
    let bench = Bench::new();
    let files =
        with_pack("#!/bin/bash\necho '-----> Hanging'\nsleep 1000 & sleep 1000\n", &[("Procfile", "web: true\n")]);
    let outcome = bench.build(app(&files).path(), &request(&[]), &[("TEST_SECONDS_MAX", "1")]);
    refused(&outcome, "limit-reached", 70, &["stopped in step \"Hanging\"", "longer than a build may"]);
}

#[test]
fn root_dependency_in_c_is_built_with_the_compilers_that_it_asks_for() {
    if !testkit::root::granted("root_dependency_in_c_is_built_with_the_compilers_that_it_asks_for") {
        return;
    }
    let bench = Bench::new();
    let setup = "from setuptools import Extension, setup\nsetup(name='fast', version='1', ext_modules=[Extension('fast', ['fast.c'])])\n";
    let c = "#include <Python.h>\nstatic struct PyModuleDef m = {PyModuleDef_HEAD_INIT, \"fast\", 0, -1, 0};\n\
             PyMODINIT_FUNC PyInit_fast(void) { return PyModule_Create(&m); }\n";
    let files = [("setup.py", setup), ("fast.c", c), ("Procfile", "web: python -c 'import fast'\n")];
    let outcome = bench.build(app(&files).path(), &request(&[]), &[]);
    assert_eq!(outcome.built().layers_run, [LayerName::Run, LayerName::Python]);
    assert_eq!(bench.command(&outcome, &["python -c 'import fast; print(fast.__name__)'"]).0, "fast\n");
}

#[test]
fn root_request_and_archive_that_cannot_be_read_are_refused() {
    if !testkit::root::granted("root_request_and_archive_that_cannot_be_read_are_refused") {
        return;
    }
    let bench = Bench::new();
    let outcome = bench.build_bytes(b"{\"app\":\n");
    refused(&outcome, "bad-request", 64, &["is not a line of JSON"]);
    let outcome =
        bench.build_bytes(b"{}\nthis is no archive, and long enough to be seen as one: ".repeat(20).as_slice());
    refused(&outcome, "bad-request", 64, &["cannot be unpacked"]);
    let mut tar = tar::Builder::new(b"{}\n".to_vec());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    tar.append_link(&mut header, "out", Path::new("/etc")).unwrap();
    let mut header = tar::Header::new_gnu();
    header.set_size(1);
    header.set_mode(0o644);
    tar.append_data(&mut header, "out/passwd", &b"x"[..]).unwrap();
    let outcome = bench.build_bytes(&tar.into_inner().unwrap());
    refused(&outcome, "bad-request", 64, &[]);
}

/// So that a request without anything is what a build may get.
#[test]
fn request_may_be_empty() {
    assert_eq!(serde_json::from_str::<BuildRequest>("{}").unwrap(), BuildRequest::default());
}
