use super::*;

fn policy() -> Policy {
    Policy {
        table: "slipway".into(),
        bridge: "slipway0".into(),
        subnet: "100.100.7.0/24".parse().unwrap(),
        dns_port: 53,
        host_ports: vec![80, 443],
    }
}

fn written(ops: &[Op]) -> String {
    ops.iter().map(|op| format!("{}\n", Written("slipway", op))).collect()
}

#[test]
fn rules_in_force_are_these() {
    let expected = r#"add table inet slipway
delete table inet slipway
add table inet slipway
add chain inet slipway job-to-job
add chain inet slipway job-to-host
add chain inet slipway job-out
add chain inet slipway job-in
add chain inet slipway prerouting { type filter hook prerouting priority filter; policy accept; }
add chain inet slipway input { type filter hook input priority filter; policy accept; }
add chain inet slipway forward { type filter hook forward priority filter; policy accept; }
add chain inet slipway postrouting { type nat hook postrouting priority srcnat; policy accept; }
add rule inet slipway prerouting iifname "slipway0" ip daddr 100.100.7.0/24 ip daddr != 100.100.7.1 jump job-to-job
add rule inet slipway job-to-job ct state established,related accept
add rule inet slipway job-to-job reject with icmpx admin-prohibited
add rule inet slipway input iifname "slipway0" jump job-to-host
add rule inet slipway input iifname != "slipway0" iifname != "lo" ip daddr 100.100.7.1 drop
add rule inet slipway job-to-host ct state established,related accept
add rule inet slipway job-to-host meta nfproto != ipv4 drop
add rule inet slipway job-to-host ip saddr != 100.100.7.0/24 drop
add rule inet slipway job-to-host ip daddr 100.100.7.1 udp dport 53 accept
add rule inet slipway job-to-host ip daddr 100.100.7.1 tcp dport 53 accept
add rule inet slipway job-to-host tcp dport 80 accept
add rule inet slipway job-to-host tcp dport 443 accept
add rule inet slipway job-to-host reject with icmpx admin-prohibited
add rule inet slipway forward iifname "slipway0" jump job-out
add rule inet slipway forward oifname "slipway0" jump job-in
add rule inet slipway job-out ct state established,related accept
add rule inet slipway job-out meta nfproto != ipv4 drop
add rule inet slipway job-out ip saddr != 100.100.7.0/24 drop
add rule inet slipway job-out oifname "slipway0" reject with icmpx admin-prohibited
add rule inet slipway job-out ip daddr 169.254.0.0/16 reject with icmpx admin-prohibited
add rule inet slipway job-out accept
add rule inet slipway job-in ct state established,related accept
add rule inet slipway job-in drop
add rule inet slipway postrouting ip saddr 100.100.7.0/24 oifname != "slipway0" masquerade
"#;
    assert_eq!(written(&replace(&policy())), expected);
}

#[test]
fn removal_is_valid_when_nothing_is_there() {
    assert_eq!(written(&remove()), "add table inet slipway\ndelete table inet slipway\n");
}

#[test]
fn every_jump_goes_to_a_chain_made_before_it() {
    let mut made = Vec::new();
    for op in replace(&policy()) {
        match op {
            Op::AddChain(chain) => made.push(chain.name),
            Op::AddRule(rule) => {
                assert!(made.contains(&rule.chain), "{rule}");
                if let Verdict::Jump(target) = rule.then {
                    assert!(made.contains(&target), "{rule}");
                }
            }
            Op::AddTable | Op::DeleteTable => {}
        }
    }
}

#[test]
fn chains_for_jobs_end_with_a_verdict_for_every_packet() {
    let rules = rules(&policy());
    for chain in ["job-to-job", "job-to-host", "job-out", "job-in"] {
        let last = rules.iter().rfind(|rule| rule.chain == chain).unwrap();
        assert!(last.when.is_empty(), "{chain} falls through: {last}");
    }
}
