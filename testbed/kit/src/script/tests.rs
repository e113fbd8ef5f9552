use super::*;
use crate::TempDir;

#[test]
fn script_blocks_share_a_session() {
    let dir = TempDir::new("script");
    fs::write(dir.path().join("sum.txt"), "add 1\nadd 2\n----\n3\n\nadd 4\n----\n7\n").unwrap();
    run_sessions(dir.path(), |stem| {
        assert_eq!(stem, "sum");
        let mut total = 0;
        move |commands: &str| {
            for line in commands.lines() {
                total += line.strip_prefix("add ").unwrap().parse::<u32>().unwrap();
            }
            total.to_string()
        }
    });
}

#[test]
#[should_panic(expected = "the trace differs")]
fn script_wrong_trace_fails() {
    let dir = TempDir::new("script");
    fs::write(dir.path().join("wrong.txt"), "say\n----\nno\n").unwrap();
    run(dir.path(), |_| "yes".into());
}

#[test]
fn script_blank_lines_are_escaped() {
    assert_eq!(escape("a\n\nb\n"), "a\n.\nb");
    let blocks = parse("a\n----\nx\n.\ny\n\n\nb\n----\n");
    assert_eq!(blocks.len(), 2);
    assert_eq!((blocks[0].trace.as_str(), blocks[1].line, blocks[1].trace.as_str()), ("x\n.\ny", 8, ""));
}
