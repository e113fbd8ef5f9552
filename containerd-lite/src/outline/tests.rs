use std::path::PathBuf;

use runtime::{MountKind, UserNamespace};
use types::JobId;
use types::job::{Isolation, PlatformAccess};

use super::{Place, environment, outline};
use crate::test_spec;

fn place() -> Place {
    Place {
        layers: vec![PathBuf::from("/layers/a")],
        upper: PathBuf::from("/scratch/upper"),
        work: PathBuf::from("/scratch/work"),
        binary: PathBuf::from("/bin/slipway"),
        run_dir: PathBuf::from("/run/x"),
        user_base: 0x4000_0000,
        volumes: vec![("/cache".to_owned(), PathBuf::from("/volumes/cache"))],
        files: vec![("/etc/hosts".to_owned(), PathBuf::from("/files/hosts"))],
        cgroup_root: "slipway".to_owned(),
    }
}

fn job() -> JobId {
    JobId::parse("h-0123456789abcdef").unwrap()
}

#[test]
fn tenant_sees_nothing_of_the_platform_and_is_nobody_outside() {
    let spec = outline(&job(), &test_spec(), &place());
    assert_eq!(spec.user_namespace, UserNamespace::Private { host_base: 0x4000_0000, size: 65_536 });
    let sources: Vec<_> = spec
        .mounts
        .iter()
        .filter_map(|mount| match &mount.kind {
            MountKind::Bind { source, .. } => Some(source.to_str().unwrap()),
            _ => None,
        })
        .collect();
    assert_eq!(sources, ["/volumes/cache", "/files/hosts"]);
    assert!(spec.cgroup.unwrap().limits.memory_bytes.is_some());
    assert!(spec.program.capabilities.inheritable.is_empty());
}

#[test]
fn platform_job_has_the_binary_the_sockets_and_only_what_it_asked_for() {
    let mut wanted = test_spec();
    wanted.isolation = Isolation::Platform;
    wanted.platform = PlatformAccess::Sockets;
    wanted.capabilities = vec!["CAP_NET_BIND_SERVICE".to_owned()];
    let spec = outline(&job(), &wanted, &place());
    assert_eq!(spec.user_namespace, UserNamespace::Host);
    let binary = spec.mounts.iter().find(|mount| mount.target.ends_with("slipway") && mount.flags.read_only);
    assert!(binary.is_some());
    assert!(spec.mounts.iter().any(|mount| mount.target.as_os_str() == "/run/slipway"));
    assert_eq!(spec.program.capabilities.effective, ["CAP_NET_BIND_SERVICE"]);
}

#[test]
fn host_has_the_last_word_in_the_environment() {
    let mut spec = test_spec();
    spec.env.insert("SLIPWAY_JOB".to_owned(), "forged".to_owned());
    spec.env.insert("PATH".to_owned(), "/app/bin".to_owned());
    let env = environment(&job(), &spec);
    assert_eq!(env["SLIPWAY_JOB"], "h-0123456789abcdef");
    assert_eq!(env["PATH"], "/app/bin");
    assert_eq!(env["HOSTNAME"], "web-01234567");
}
