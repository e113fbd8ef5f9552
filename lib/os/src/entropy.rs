//! Randomness from the kernel: seeds, ids, secrets.

/// Fill `bytes` from the kernel.
///
/// # Panics
/// If the kernel has no entropy source: nothing safe can be done then.
pub fn fill(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the kernel has an entropy source");
}

/// A seed for [`stdx::Rng`].
#[must_use]
pub fn seed() -> u64 {
    let mut bytes = [0; 8];
    fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

/// A random UUID (version 4) in its usual text form.
#[must_use]
pub fn uuid() -> String {
    let mut b = [0u8; 16];
    fill(&mut b);
    b[6] = (b[6] & 0x0f) | 0x40;
    b[8] = (b[8] & 0x3f) | 0x80;
    let hex = hex(&b);
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// A secret of 256 bits as 64 lower-case hexadecimal digits.
#[must_use]
pub fn secret() -> String {
    let mut bytes = [0; 32];
    fill(&mut bytes);
    hex(&bytes)
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes every write");
        text
    })
}

#[cfg(test)]
mod tests;
