use super::*;

fn update(new: char, name: &str) -> Update {
    let hash = |c: char| c.to_string().repeat(40);
    Update::parse(&format!("{} {} {name}", hash('a'), hash(new))).unwrap()
}

#[test]
fn choose_takes_main_and_master() {
    for branch in ["main", "master"] {
        assert!(choose(&[update('b', &format!("refs/heads/{branch}"))]).is_ok());
    }
}

#[test]
fn choose_refuses_with_the_command_that_deploys() {
    let cases = [
        (vec![update('b', "refs/heads/feature")], "git push slipway feature:main"),
        (vec![update('b', "refs/tags/v1")], "git push slipway v1^{}:refs/heads/main"),
        (vec![update('0', "refs/heads/main")], "slipway scale web=0, or slipway delete"),
        (vec![update('b', "refs/heads/main"), update('b', "refs/heads/x")], "git push slipway main"),
        (vec![], "git push slipway main"),
    ];
    for (updates, hint) in cases {
        assert_eq!(choose(&updates).unwrap_err().hint, hint);
    }
}

#[test]
fn update_line_is_checked() {
    for bad in ["", "a b refs/heads/main", "x", &format!("{0} {0} HEAD", "a".repeat(40))] {
        assert_eq!(Update::parse(bad), None, "{bad}");
    }
}
