//! The default system call filter: an allow-list in the manner of Docker's profile, for programs without privileges.
//! What is not listed fails with EPERM; `clone3` fails with ENOSYS, so that libc falls back to `clone`, whose flags a
//! filter can read; another architecture's calls kill.

#[cfg(test)]
mod tests;

mod profile;
use std::collections::BTreeMap;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen as Len, SeccompCmpOp as Op, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, sock_filter,
};

/// Bytes of one instruction.
const INSTRUCTION_BYTES: usize = 8;
/// `CLONE_NEW*`, all of them (Docker's mask).
const CLONE_SPACES: u64 = 0x7e02_0000;
const AF_ALG: u64 = 38;
const AF_VSOCK: u64 = 40;
/// `personality(2)` values that only ask or set the usual ones.
const PERSONALITIES: [u64; 5] = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

#[cfg(target_arch = "x86_64")]
const ARCH: TargetArch = TargetArch::x86_64;
#[cfg(target_arch = "aarch64")]
const ARCH: TargetArch = TargetArch::aarch64;

/// The default filters, in the order of installation.
pub(crate) fn compile() -> Result<Vec<BpfProgram>, BackendError> {
    let errno = |number: i32| SeccompAction::Errno(number.cast_unsigned());
    let allowed = SeccompFilter::new(rules()?, errno(libc::EPERM), SeccompAction::Allow, ARCH)?;
    let hidden = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    // Installed last: of two filters that answer an errno the later one's counts.
    let hidden = SeccompFilter::new(hidden, SeccompAction::Allow, errno(libc::ENOSYS), ARCH)?;
    Ok(vec![allowed.try_into()?, hidden.try_into()?])
}

fn rules() -> Result<BTreeMap<i64, Vec<SeccompRule>>, BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = profile::allowed().map(|call| (call, Vec::new())).collect();
    let only = |argument, operator, value| -> Result<SeccompRule, BackendError> {
        SeccompRule::new(vec![SeccompCondition::new(argument, Len::Dword, operator, value)?])
    };
    rules.insert(libc::SYS_clone, vec![only(0, Op::MaskedEq(CLONE_SPACES), 0)?]);
    // The kernel's crypto and the hypervisor's sockets are a large surface that no program here needs.
    let not = |value| SeccompCondition::new(0, Len::Dword, Op::Ne, value);
    rules.insert(libc::SYS_socket, vec![SeccompRule::new(vec![not(AF_ALG)?, not(AF_VSOCK)?])?]);
    let personalities = PERSONALITIES.iter().map(|value| only(0, Op::Eq, *value));
    rules.insert(libc::SYS_personality, personalities.collect::<Result<_, _>>()?);
    Ok(rules)
}

/// Filters as bytes for the channel to the init stage.
pub(crate) fn encode(programs: &[BpfProgram]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for program in programs {
        bytes.extend_from_slice(&u64::try_from(program.len()).unwrap_or_default().to_le_bytes());
        for one in program {
            bytes.extend_from_slice(&one.code.to_le_bytes());
            bytes.extend_from_slice(&[one.jt, one.jf]);
            bytes.extend_from_slice(&one.k.to_le_bytes());
        }
    }
    bytes
}

/// The reverse of [`encode`].
pub(crate) fn decode(bytes: &[u8]) -> Vec<Vec<sock_filter>> {
    let (chunks, _) = bytes.as_chunks::<INSTRUCTION_BYTES>();
    let mut chunks = chunks.iter();
    let mut programs = Vec::new();
    while let Some(length) = chunks.next() {
        let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or_default();
        let one = |chunk: &[u8; INSTRUCTION_BYTES]| sock_filter {
            code: u16::from_le_bytes([chunk[0], chunk[1]]),
            jt: chunk[2],
            jf: chunk[3],
            k: u32::from_le_bytes([chunk[4], chunk[5], chunk[6], chunk[7]]),
        };
        programs.push(chunks.by_ref().take(length).map(one).collect());
    }
    programs
}
