use std::collections::BTreeMap;

use super::*;
use crate::spec::{Capabilities, NewPrivileges, Ownership, Seccomp, Upper};

fn spec() -> Spec {
    Spec {
        root: Root::Overlay { layers: vec![PathBuf::from("/l")], upper: Upper::None, ownership: Ownership::Mapped },
        root_access: Access::ReadOnly,
        mounts: Spec::default_mounts(),
        devices: Vec::new(),
        masked_paths: vec![PathBuf::from("/proc/kcore")],
        readonly_paths: vec![PathBuf::from("/proc/sys")],
        hostname: String::from("h"),
        user_namespace: UserNamespace::Private { host_base: 100_000, size: 65_536 },
        network: Network::Private,
        sysctls: BTreeMap::new(),
        cgroup: None,
        oom_score_adj: None,
        owner_exit: OwnerExit::Kill,
        program: Program {
            args: vec![String::from("true")],
            env: Vec::new(),
            cwd: PathBuf::from("/"),
            user: User { uid: 1, gid: 1, groups: Vec::new() },
            capabilities: Capabilities::none(),
            seccomp: Seccomp::Default,
            new_privileges: NewPrivileges::Denied,
            rlimits: Vec::new(),
            umask: 0o022,
        },
    }
}

#[test]
fn plan_hides_before_it_pivots_and_closes_the_root_last() {
    let spec = spec();
    let (steps, sent) = plan(&spec, StdioPlan::Sent, &Facts { hierarchies: None });
    let at = |wanted: &Step| steps.iter().position(|step| step == wanted).unwrap();
    let mask = at(&Step::MaskPath(PathBuf::from("/proc/kcore")));
    assert!(at(&Step::AttachRoot { fd: 0 }) < mask && mask < at(&Step::PivotRoot));
    assert_eq!(steps.last(), Some(&Step::RootReadOnly));
    assert_eq!(sent, [Sent::Root]);
}

#[test]
fn plan_binds_the_hosts_sysfs_where_the_network_is_not_owned() {
    let spec = Spec { network: Network::Host, ..spec() };
    let (steps, sent) = plan(&spec, StdioPlan::Sent, &Facts { hierarchies: None });
    assert!(!steps.iter().any(|step| matches!(step, Step::Sysfs { .. } | Step::LoopbackUp)));
    assert_eq!(sent.len(), 2);
}

#[test]
fn check_refuses_what_cannot_work() {
    let size = WindowSize { rows: 1, columns: 1 };
    assert_eq!(check(&spec(), StdioPlan::Terminal(size)), Ok(()));
    let refused = |change: fn(&mut Spec)| {
        let mut spec = spec();
        change(&mut spec);
        check(&spec, StdioPlan::Terminal(size)).unwrap_err()
    };
    assert!(refused(|spec| spec.mounts.clear()).contains("terminal"));
    assert!(refused(|spec| spec.program.args.clear()).contains("no program"));
    assert!(refused(|spec| spec.program.user.uid = 65_536).contains("65536"));
    assert!(refused(|spec| spec.program.cwd = PathBuf::from("tmp")).contains("absolute"));
    assert!(refused(|spec| spec.masked_paths.push(PathBuf::from("/a/../b"))).contains("plain"));
    assert!(refused(|spec| spec.devices.push(PathBuf::from("../etc/shadow"))).contains("below /dev"));
    assert!(
        refused(|spec| drop(spec.sysctls.insert(String::from("kernel.core_pattern"), String::new())))
            .contains("private")
    );
    assert!(refused(|spec| spec.program.capabilities.ambient.push(String::from("CAP_X"))).contains("CAP_X"));
    assert!(
        refused(|spec| spec.user_namespace = UserNamespace::Private { host_base: 0, size: 2 })
            .contains("private range")
    );
}
