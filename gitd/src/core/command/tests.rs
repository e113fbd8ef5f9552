use super::*;

#[test]
fn command_of_git_clients_is_understood() {
    for text in [
        "git-receive-pack '/hello.git'",
        "git-receive-pack 'hello.git'",
        "git-receive-pack '/hello'",
        "git receive-pack '/hello.git'",
        "git-receive-pack \"hello\"",
        "git-receive-pack hello.git",
    ] {
        let command = parse(text).unwrap();
        assert_eq!((command.verb, command.app.as_str()), (Verb::ReceivePack, "hello"), "{text}");
    }
    assert_eq!(parse("git-upload-pack '/a.git'").unwrap().verb, Verb::UploadPack);
}

#[test]
fn command_that_is_anything_else_is_refused() {
    assert_eq!(parse(""), Err(CommandError::NoShell));
    for text in ["bash", "bash -c id", "git-shell", "scp -t x", "git-receive-pack2 'a'", "GIT-RECEIVE-PACK 'a'"] {
        assert_eq!(parse(text), Err(CommandError::NotGit), "{text}");
    }
    for path in
        ["../etc", "'a'; id", "a b", "$(id)", "`id`", "a\nb", "''", "/", "a/b", "-a", "--upload-pack=x", "a.git.git"]
    {
        assert_eq!(parse(&format!("git-receive-pack {path}")), Err(CommandError::NoApp), "{path}");
    }
}

#[test]
fn fuzz_command_gives_an_app_name_or_a_refusal() {
    let seeds = ["git-receive-pack '/hello.git'", "git upload-pack \"a-b\"", "git-upload-pack x"];
    let mut rng = stdx::Rng::new(11);
    let mut accepted = 0;
    for _ in 0..200_000 {
        let mut bytes = seeds[rng.index(seeds.len())].as_bytes().to_vec();
        for _ in 0..=rng.index(4) {
            let at = rng.index(bytes.len().max(1)).min(bytes.len().saturating_sub(1));
            match rng.index(3) {
                0 if !bytes.is_empty() => drop(bytes.remove(at)),
                1 => bytes.insert(at.min(bytes.len()), u8::try_from(rng.below(256)).unwrap()),
                _ if !bytes.is_empty() => bytes[at] = b"'\"/.;$`| \n\0ag-"[rng.index(14)],
                _ => {}
            }
        }
        if let Ok(command) = parse(&String::from_utf8_lossy(&bytes)) {
            accepted += 1;
            assert!(command.app.as_str().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'));
        }
    }
    // A fuzzer that never gets through tests nothing.
    assert!(accepted > 1_000, "only {accepted} inputs were accepted");
}
