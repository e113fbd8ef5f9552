use super::*;

const V2_ONLY: &str = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
const HYBRID: &str = "\
31 30 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
32 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct
33 30 0:29 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
34 30 0:29 /docker/x /elsewhere rw - cgroup cgroup rw,memory
35 30 0:30 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer
";

#[test]
fn hierarchies_of_each_layout_are_found() {
    let v2 = Hierarchies::parse(V2_ONLY);
    assert_eq!(v2.v2, Some(PathBuf::from("/sys/fs/cgroup")));
    assert!(v2.v1.is_empty());
    let hybrid = Hierarchies::parse(HYBRID);
    assert_eq!(hybrid.v2, Some(PathBuf::from("/sys/fs/cgroup/unified")));
    assert_eq!(hybrid.v1[&Controller::Cpu], PathBuf::from("/sys/fs/cgroup/cpu,cpuacct"));
    assert_eq!(hybrid.v1[&Controller::Cpuacct], hybrid.v1[&Controller::Cpu]);
    assert_eq!(hybrid.v1[&Controller::Memory], PathBuf::from("/sys/fs/cgroup/memory"));
    assert!(!hybrid.v1.contains_key(&Controller::Pids));
}

fn spec(limits: Limits) -> CgroupSpec {
    CgroupSpec { root: String::from("top"), path: String::from("jobs/one"), limits }
}

/// A v2 tree made of plain files: the kernel's own cannot be had beside v1 controllers.
#[test]
fn v2_limits_are_written_and_handed_down() {
    let dir = testkit::TempDir::new("rt-v2");
    let mount = dir.path().to_owned();
    let leaf = mount.join("top/jobs/one");
    fs::create_dir_all(&leaf).unwrap();
    for folder in ["", "top", "top/jobs"] {
        fs::write(mount.join(folder).join("cgroup.subtree_control"), "").unwrap();
    }
    for file in ["memory.max", "memory.swap.max", "cpu.max", "cpu.weight", "pids.max"] {
        fs::write(leaf.join(file), "").unwrap();
    }
    fs::write(leaf.join("memory.events"), "low 0\noom 2\noom_kill 1\n").unwrap();
    fs::write(leaf.join("cpu.stat"), "usage_usec 7\nnr_throttled 3\nthrottled_usec 9\n").unwrap();
    let controllers = [Controller::Memory, Controller::Cpu, Controller::Pids];
    let hierarchies =
        Hierarchies { v2: Some(mount.clone()), v2_controllers: controllers.into(), ..Hierarchies::default() };
    let limits = Limits {
        memory_bytes: Some(1 << 20),
        cpu_quota: Some(CpuQuota { quota_us: 10, period_us: 1_000 }),
        cpu_weight: Some(50),
        pids: Some(9),
    };
    let group = Cgroup::create_in(&hierarchies, &spec(limits)).unwrap();
    let text = |file: &str| fs::read_to_string(leaf.join(file)).unwrap();
    assert_eq!((text("memory.max"), text("memory.swap.max")), (String::from("1048576"), String::from("0")));
    assert_eq!((text("cpu.max"), text("cpu.weight")), (String::from("10 1000"), String::from("50")));
    assert_eq!(text("pids.max"), "9");
    for folder in ["", "top", "top/jobs"] {
        let handed = fs::read_to_string(mount.join(folder).join("cgroup.subtree_control")).unwrap();
        assert_eq!(handed.len(), "+memory".len().max("+cpu".len()).max("+pids".len()), "{handed}");
    }
    let stats = group.stats();
    assert_eq!((stats.oom_kills, stats.cpu_us, stats.throttled_periods), (Some(1), Some(7), Some(3)));
    assert!(group.oom_notice().unwrap().is_some());
}

#[test]
fn limit_without_controller_is_an_error() {
    let hierarchies = Hierarchies { v2: Some(PathBuf::from("/nowhere")), ..Hierarchies::default() };
    let limits = Limits { pids: Some(1), ..Limits::default() };
    let error = Cgroup::create_in(&hierarchies, &spec(limits)).unwrap_err();
    assert!(matches!(error, CgroupError::ControllerMissing { controller: Controller::Pids }));
}

#[test]
fn names_cannot_leave_the_tree() {
    let hierarchies = Hierarchies { v2: Some(PathBuf::from("/nowhere")), ..Hierarchies::default() };
    for path in ["../x", "/x", "", "a//b", "a/./b"] {
        let spec = CgroupSpec { root: String::from("top"), path: path.to_owned(), limits: Limits::default() };
        let error = Cgroup::create_in(&hierarchies, &spec).unwrap_err();
        assert!(matches!(error, CgroupError::BadName { .. }), "{path}");
    }
}
