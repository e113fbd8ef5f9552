use super::*;

const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIESipcTay8xfNMdGOIcDMpbcenWU4spQZbx/QLjOL2KG me@laptop";

#[test]
fn parse_gives_the_fingerprint_that_ssh_keygen_prints() {
    let key = parse(&format!("{ED25519} of mine\n")).unwrap();
    assert_eq!(key.fingerprint, "SHA256:qTbkXyROjORut67rhBbboHMlyHs7HgekVh1sRIyZPOU");
    assert_eq!(key.comment, "me@laptop of mine");
    assert_eq!(format!("{} me@laptop", key.public), ED25519);
    assert_eq!(key.id.as_str().len(), 64);
}

#[test]
fn parse_refuses_what_is_no_public_key() {
    let cut = ED25519.replace("KG me@laptop", "");
    let other_type = ED25519.replacen("ssh-ed25519", "ssh-rsa", 1);
    let option = format!("command=\"rm\" {ED25519}");
    let two_lines = format!("{ED25519}\n{ED25519}");
    let cases = [
        ("", "not one line"),
        ("ssh-ed25519", "damaged"),
        ("ssh-ed25519 %%%", "not base64"),
        ("ssh-dss AAAA x", "has type"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----", "private key"),
        (&cut, "damaged"),
        (&other_type, "damaged"),
        (&option, "has type"),
        (&two_lines, "not one line"),
    ];
    for (line, why) in cases {
        let error = parse(line).unwrap_err().message;
        assert!(error.starts_with("key ") && error.contains(why), "{line:?}: {error}");
    }
}

#[test]
fn parse_refuses_short_rsa_keys() {
    let mut blob = Vec::new();
    for part in [b"ssh-rsa".as_slice(), &[1, 0, 1], &[0xff; 128]] {
        blob.extend(u32::try_from(part.len()).unwrap().to_be_bytes());
        blob.extend(part);
    }
    let line = format!("ssh-rsa {}", BASE64.encode(&blob));
    assert!(parse(&line).unwrap_err().message.contains("1024 bits"));
}
