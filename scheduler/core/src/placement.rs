//! Which host: those that qualify, spread over zones, then hosts, then the least loaded, then by lot.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use types::AppId;
use types::host::Capacity;
use types::job::JobSpec;

use crate::cell::{Cell, HostIx, Standing, host_ports, need};
use crate::desired::Template;
use crate::draft::Draft;
use crate::limits::CANDIDATES_MAX;

/// Where the jobs of one group stand. A new one goes where the fewest are.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    hosts: BTreeMap<HostIx, u32>,
    zones: BTreeMap<String, u32>,
}

impl Counts {
    pub(crate) fn add(&mut self, cell: &Cell, host: HostIx) {
        *self.hosts.entry(host).or_insert(0) += 1;
        *self.zones.entry(cell.zone_of(host).to_string()).or_insert(0) += 1;
    }

    pub(crate) fn on(&self, host: HostIx) -> u32 {
        self.hosts.get(&host).copied().unwrap_or(0)
    }

    fn in_zone(&self, zone: &str) -> u32 {
        self.zones.get(zone).copied().unwrap_or(0)
    }
}

/// Why no host could take a job: how many were refused for what. Each host counts once, for its first reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    /// Hosts in all.
    pub hosts: u32,
    /// Absent.
    pub absent: u32,
    /// Being emptied.
    pub draining: u32,
    /// Without the tags.
    pub tags: u32,
    /// A volume of the job is elsewhere.
    pub volume: u32,
    /// Another app listens on the port.
    pub port: u32,
    /// Too little memory left.
    pub memory: u32,
    /// Too little CPU left.
    pub cpu: u32,
    /// As many jobs as it takes.
    pub jobs: u32,
    /// The most memory that a refused host has left.
    pub memory_left_bytes: u64,
    /// What the job wants.
    pub wanted: Capacity,
}

#[derive(Clone, Copy)]
enum Fault {
    Absent,
    Draining,
    Tags,
    Volume,
    Port,
    Memory { left: u64 },
    Cpu,
    Jobs,
}

impl Refusal {
    fn count(&mut self, fault: Fault) {
        let of = match fault {
            Fault::Absent => &mut self.absent,
            Fault::Draining => &mut self.draining,
            Fault::Tags => &mut self.tags,
            Fault::Volume => &mut self.volume,
            Fault::Port => &mut self.port,
            Fault::Memory { left } => {
                self.memory_left_bytes = self.memory_left_bytes.max(left);
                &mut self.memory
            }
            Fault::Cpu => &mut self.cpu,
            Fault::Jobs => &mut self.jobs,
        };
        *of += 1;
        self.hosts += 1;
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MIB: u64 = 1 << 20;
        if self.hosts == 0 {
            return f.write_str("no host has joined");
        }
        let mut parts: Vec<String> = Vec::new();
        let mut part = |count: u32, text: &str| {
            if count > 0 {
                parts.push(alloc::format!("{count} {text}"));
            }
        };
        part(self.absent, "absent");
        part(self.draining, "draining");
        part(self.tags, "without the tags");
        part(self.volume, "without its volume");
        part(self.port, "with the port taken");
        let (wanted, left) = (self.wanted.memory_bytes / MIB, self.memory_left_bytes / MIB);
        let memory = alloc::format!("with too little memory ({wanted} MiB wanted, {left} MiB left)");
        part(self.memory, &memory);
        part(self.cpu, &alloc::format!("with too little CPU ({} thousandths of a core wanted)", self.wanted.cpu_milli));
        part(self.jobs, "with as many jobs as they take");
        write!(f, "none of {} hosts can take it: {}", self.hosts, parts.join(", "))
    }
}

/// The host for one more job, or why there is none.
pub(crate) fn choose(draft: &mut Draft<'_>, template: &Template, counts: &Counts) -> Result<HostIx, Refusal> {
    let cell = draft.cell;
    let mut zones: Vec<(u32, u64, &Vec<HostIx>)> = Vec::with_capacity(cell.zones().len());
    for (zone, hosts) in cell.zones() {
        zones.push((counts.in_zone(zone), draft.rng.next_u64(), hosts));
    }
    zones.sort_unstable_by_key(|(count, lot, _)| (*count, *lot));
    let mut refusal = Refusal { wanted: need(&template.spec.resources), ..Refusal::default() };
    for (_, _, hosts) in zones {
        if let Some(host) = best_of(draft, template, counts, hosts, &mut refusal) {
            return Ok(host);
        }
    }
    Err(refusal)
}

/// Whether that very host can take one more job.
pub(crate) fn accepts(draft: &Draft<'_>, template: &Template, host: HostIx) -> Result<(), Refusal> {
    let mut refusal = Refusal { wanted: need(&template.spec.resources), ..Refusal::default() };
    fault(draft, template, host).map_or(Ok(()), |fault| {
        refusal.count(fault);
        Err(refusal)
    })
}

fn best_of(
    draft: &mut Draft<'_>,
    template: &Template,
    counts: &Counts,
    hosts: &[HostIx],
    refusal: &mut Refusal,
) -> Option<HostIx> {
    if hosts.len() > CANDIDATES_MAX {
        // Among many hosts a random few are nearly as good as all, and cost the same whatever the cell's size.
        let start: Vec<HostIx> = (0..CANDIDATES_MAX).map(|_| hosts[draft.rng.index(hosts.len())]).collect();
        let mut ignored = Refusal::default();
        if let Some(found) = least(draft, template, counts, &start, &mut ignored) {
            return Some(found);
        }
    }
    least(draft, template, counts, hosts, refusal)
}

fn least(
    draft: &mut Draft<'_>,
    template: &Template,
    counts: &Counts,
    hosts: &[HostIx],
    refusal: &mut Refusal,
) -> Option<HostIx> {
    let mut best: Option<((u32, u64, u64), HostIx)> = None;
    for host in hosts {
        if let Some(fault) = fault(draft, template, *host) {
            refusal.count(fault);
            continue;
        }
        let load = load(draft.held(*host), draft.cell.host(*host).capacity());
        let rank = (counts.on(*host), load, draft.rng.next_u64());
        if best.is_none_or(|(least, _)| rank < least) {
            best = Some((rank, *host));
        }
    }
    best.map(|(_, host)| host)
}

fn fault(draft: &Draft<'_>, template: &Template, ix: HostIx) -> Option<Fault> {
    let host = draft.cell.host(ix);
    let spec: &JobSpec = &template.spec;
    match host.standing(draft.now) {
        Standing::Open => {}
        Standing::Draining => return Some(Fault::Draining),
        Standing::Doubtful { .. } | Standing::Lost => return Some(Fault::Absent),
    }
    if !host.has_tags(&template.tags) {
        return Some(Fault::Tags);
    }
    let elsewhere = |home: &types::HostId| *home != host.id;
    if spec.volumes.iter().any(|mount| draft.volume_home(&mount.volume).is_some_and(elsewhere)) {
        return Some(Fault::Volume);
    }
    if port_fault(draft, spec, ix, &spec.app) {
        return Some(Fault::Port);
    }
    let left = crate::cell::subtract(host.capacity(), draft.held(ix));
    let need = need(&spec.resources);
    if need.memory_bytes > left.memory_bytes {
        return Some(Fault::Memory { left: left.memory_bytes });
    }
    if need.cpu_milli > left.cpu_milli {
        return Some(Fault::Cpu);
    }
    (need.jobs > left.jobs).then_some(Fault::Jobs)
}

fn port_fault(draft: &Draft<'_>, spec: &JobSpec, host: HostIx, app: &AppId) -> bool {
    // Jobs of one app share a port (SO_REUSEPORT), or its next release could never come up beside the last.
    host_ports(spec).iter().any(|port| draft.port_taken(host, *port, app))
}

/// The fullest dimension, in thousandths.
fn load(held: Capacity, capacity: Capacity) -> u64 {
    let part = |held: u64, of: u64| held.saturating_mul(1_000).checked_div(of).unwrap_or(0);
    part(held.memory_bytes, capacity.memory_bytes)
        .max(part(held.cpu_milli, capacity.cpu_milli))
        .max(part(held.jobs, capacity.jobs))
}
