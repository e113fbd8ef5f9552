use std::collections::BTreeMap;

use stdx::Instant;
use types::stack::Pack;

use super::ignore::{Ignore, Kind};
use super::line::{self, Line};
use super::phases::{Phases, duration, size, summary};
use super::procfile::{self, Reason};
use super::reference::{self, Reference};
use super::release;

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn procfile_of_every_usual_form_is_read() {
    let text = "\u{feff}# my app\r\nweb: gunicorn app:app --bind :$PORT\r\n\r\nworker:python w.py\nweb-2 : x: y\n";
    let expected = map(&[("web", "gunicorn app:app --bind :$PORT"), ("worker", "python w.py"), ("web-2", "x: y")]);
    assert_eq!(procfile::parse(text), Ok(expected));
}

#[test]
fn procfile_error_names_the_line_and_the_reason() {
    let error = |text: &str| procfile::parse(text).map_err(|e| (e.line, e.reason)).expect_err("wrong");
    assert_eq!(error("web: a\n\nworker python"), (3, Reason::NoColon));
    assert_eq!(error("we b: a"), (1, Reason::Type));
    assert_eq!(error("web:  "), (1, Reason::NoCommand));
    assert_eq!(error("web: a\nweb: b"), (2, Reason::Twice));
    assert_eq!(error("web: a\u{0}b"), (1, Reason::Control));
    let told = procfile::parse("web gunicorn").expect_err("wrong").to_string();
    assert_eq!(told, "line 1 of the Procfile, \"web gunicorn\": there is no colon");
}

#[test]
fn reference_of_every_form_is_told_apart() {
    let parse = |text: &str| reference::parse(text);
    assert_eq!(parse("heroku/nodejs"), Ok(Reference::FirstParty(Pack::Nodejs)));
    assert_eq!(parse("./build/pack/"), Ok(Reference::InRepo("build/pack".to_owned())));
    assert_eq!(parse("tools/pack"), Ok(Reference::InRepo("tools/pack".to_owned())));
    assert_eq!(parse("."), Ok(Reference::InRepo(String::new())));
    let git =
        |url: &str, commit: Option<&str>| Ok(Reference::Git { url: url.to_owned(), commit: commit.map(str::to_owned) });
    assert_eq!(parse("https://git.test/pack#v2"), git("https://git.test/pack", Some("v2")));
    assert_eq!(parse("git@git.test:a/pack.git"), git("git@git.test:a/pack.git", None));
    assert_eq!(parse("https://x.test/p.tgz?a=b"), Ok(Reference::Tarball("https://x.test/p.tgz?a=b".to_owned())));
    for wrong in
        ["../pack", "/etc/pack", "a/../../b", "file:///etc", "perl", "--upload-pack=x", "https://g.test/p#-x", ""]
    {
        assert!(parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn release_with_tabs_quotes_and_lists_is_read() {
    let text = "---\naddons:\n  - postgres\nconfig_vars:\n\tPATH: /app/bin\ndefault_process_types:\n  web: \"run \\\"x\\\": y\"\n  \
                worker: 'it''s'\nother: 1\n";
    let release = release::parse(text);
    assert_eq!(release.process_types, map(&[("web", "run \"x\": y"), ("worker", "it's")]));
    assert_eq!(release.config_vars, map(&[("PATH", "/app/bin")]));
    assert_eq!(release::parse(""), release::Release::default());
}

#[test]
fn ignore_patterns_match_as_in_git() {
    let ignore = Ignore::parse("# c\n*.psd\n/test\ndocs/\na/**/z\n!keep\n");
    assert!(ignore.matches("x/y.psd", Kind::File));
    assert!(ignore.matches("test", Kind::Folder) && !ignore.matches("x/test", Kind::Folder));
    assert!(ignore.matches("x/docs", Kind::Folder) && !ignore.matches("x/docs", Kind::File));
    assert!(ignore.matches("a/z", Kind::File) && ignore.matches("a/b/c/z", Kind::File));
    assert!(!ignore.matches("keep", Kind::File));
    assert!(!Ignore::parse("/\n//").matches("a", Kind::Folder));
}

#[test]
fn lines_of_buildpacks_are_understood_through_colours() {
    assert_eq!(line::parse(b"-----> Installing dependencies..."), Line::Step("Installing dependencies".to_owned()));
    assert_eq!(line::parse(b"\x1b[1;33m----->\x1b[0m Node"), Line::Step("Node".to_owned()));
    assert_eq!(line::parse(b"       Cache hit: same"), Line::Cache("hit: same".to_owned()));
    assert_eq!(line::parse(b"       Cache cleared"), Line::Other);
    assert_eq!(line::parse(b"\xff\xfe"), Line::Other);
}

#[test]
fn phases_add_up_and_are_told() {
    let mut phases = Phases::begin(Instant::from_nanos(1_500_000), "a");
    phases.cache("miss: new");
    phases.enter(Instant::from_nanos(3_400_000), "bb");
    let (phases, total) = phases.end(Instant::from_millis(2_900));
    assert_eq!(phases.iter().map(|phase| phase.millis).collect::<Vec<_>>(), [1, 2_897]);
    assert_eq!(total, 2_898);
    assert_eq!(
        summary(&phases, total),
        ["a             1 ms   cache miss: new", "bb           2.8 s", "total        2.8 s"]
    );
    assert_eq!((duration(125_000), size(34_150_000)), ("2 min 05 s".to_owned(), "34.1 MB".to_owned()));
}

#[test]
fn phases_of_an_endless_printer_are_bounded() {
    let mut phases = Phases::begin(Instant::from_millis(0), "a");
    for i in 1..1_000 {
        phases.enter(Instant::from_millis(i), "step");
    }
    let (phases, total) = phases.end(Instant::from_millis(1_000));
    assert_eq!((phases.len(), total), (40, 1_000));
    assert_eq!(phases[39].name, "more");
}
