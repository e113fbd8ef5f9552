//! Public SSH keys: who may push.

use api::controller::{Deleted, NewSshKey};
use api::objects::SSH_KEYS;
use api::serve::Call;
use data_encoding::{BASE64, BASE64_NOPAD, HEXLOWER};
use sha2::{Digest as _, Sha256};
use types::app::SshKey;
use types::{ApiError, Code, KeyId};

use crate::persist::{Change, json, now_text};
use crate::state::Controller;

/// Key types that OpenSSH still accepts by default.
const TYPES: [&str; 7] = [
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];

/// A line longer than this is no key: the largest RSA key in use has about 3,000 bytes.
const LINE_BYTES_MAX: usize = 16 * 1024;

/// OpenSSH refuses shorter RSA keys.
const RSA_BITS_MIN: usize = 2_048;

fn invalid(why: &str) -> ApiError {
    ApiError::invalid("key", why).hint("give the line of a public key file, such as ~/.ssh/id_ed25519.pub")
}

/// A line of a public key file as a key.
pub(crate) fn parse(line: &str) -> Result<SshKey, ApiError> {
    let line = line.trim();
    if line.contains("PRIVATE KEY") {
        return Err(invalid("is a private key: keep it to yourself and give the .pub file"));
    }
    if line.is_empty() || line.len() > LINE_BYTES_MAX || line.chars().any(|c| c.is_control() && c != '\t') {
        return Err(invalid("is not one line of a public key file"));
    }
    let mut words = line.splitn(3, char::is_whitespace);
    let (kind, text) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    if !TYPES.contains(&kind) {
        return Err(invalid(&format!("has type {:?}, which is none of {}", shorten(kind), TYPES.join(", "))));
    }
    let blob = BASE64.decode(text.as_bytes()).or_else(|_| BASE64_NOPAD.decode(text.as_bytes()));
    let blob = blob.map_err(|_| invalid("is damaged: its second word is not base64"))?;
    check_blob(kind, &blob)?;
    let digest = Sha256::digest(&blob);
    Ok(SshKey {
        id: KeyId::parse(&HEXLOWER.encode(&digest)).expect("a digest in hexadecimal is an id"),
        fingerprint: format!("SHA256:{}", BASE64_NOPAD.encode(&digest)),
        public: format!("{kind} {}", BASE64.encode(&blob)),
        comment: words.next().unwrap_or("").trim().chars().take(200).collect(),
        created_at: Some(now_text()),
    })
}

fn shorten(text: &str) -> String {
    text.chars().take(40).collect()
}

/// The blob is strings with their lengths before them (RFC 4253, 6.6); the first one repeats the type.
fn check_blob(kind: &str, blob: &[u8]) -> Result<(), ApiError> {
    let damaged = || invalid("is damaged: its content does not fit its type");
    let (name, mut rest) = string(blob).ok_or_else(damaged)?;
    if name != kind.as_bytes() {
        return Err(damaged());
    }
    let mut last: &[u8] = &[];
    let mut fields = 0;
    while !rest.is_empty() {
        (last, rest) = string(rest).ok_or_else(damaged)?;
        fields += 1;
    }
    let wanted = match kind {
        "ssh-ed25519" => 1,
        "sk-ecdsa-sha2-nistp256@openssh.com" => 3,
        _ => 2,
    };
    if fields != wanted || (kind == "ssh-ed25519" && last.len() != 32) {
        return Err(damaged());
    }
    let bits = last.iter().skip_while(|byte| **byte == 0).count() * 8;
    if kind == "ssh-rsa" && bits < RSA_BITS_MIN {
        return Err(invalid(&format!("is an RSA key of {bits} bits; at least {RSA_BITS_MIN} are needed")));
    }
    Ok(())
}

fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

pub(crate) fn create(controller: &Controller, new: &NewSshKey) -> Result<SshKey, ApiError> {
    let key = parse(&new.key)?;
    let (key, _) = controller.writer.commit(|| {
        if let Some(row) = SSH_KEYS.get(&controller.store, &[key.id.as_str()])? {
            return Ok((Change::new(), row.value));
        }
        let change = Change::new().with(|txn| SSH_KEYS.put_in(txn, &[key.id.as_str()], &key));
        Ok((change.tell(None, "key", key.id.as_str(), json(&key)), key.clone()))
    })?;
    Ok(key)
}

pub(crate) fn list(controller: &Controller) -> Result<Vec<SshKey>, ApiError> {
    let (mut rows, _) = SSH_KEYS.list(&controller.store, &[])?;
    rows.sort_by_key(|row| std::cmp::Reverse(row.created));
    Ok(rows.into_iter().map(|row| row.value).collect())
}

/// The key of that id or fingerprint, with or without `SHA256:`.
fn find(controller: &Controller, text: &str) -> Result<SshKey, ApiError> {
    let missing = || ApiError::new(Code::NotFound, format!("key {text:?} is not registered")).hint("slipway key add");
    let fingerprint = text.strip_prefix("SHA256:").map(|rest| rest.trim_end_matches('='));
    let id = match fingerprint {
        Some(rest) => HEXLOWER.encode(&BASE64_NOPAD.decode(rest.as_bytes()).map_err(|_| missing())?),
        None => text.to_owned(),
    };
    if id.contains('/') {
        return Err(missing());
    }
    Ok(SSH_KEYS.get(&controller.store, &[&id])?.ok_or_else(missing)?.value)
}

pub(crate) fn one(controller: &Controller, call: &Call) -> Result<SshKey, ApiError> {
    find(controller, call.param(0))
}

pub(crate) fn delete(controller: &Controller, call: &Call) -> Result<Deleted, ApiError> {
    let (id, _) = controller.writer.commit(|| {
        let key = find(controller, call.param(0))?;
        let change = Change::new().with(|txn| txn.delete(&SSH_KEYS.key(&[key.id.as_str()])));
        Ok((change.tell(None, "key_deletion", key.id.as_str(), json(&key)), key.id))
    })?;
    Ok(Deleted { id: id.to_string(), ..Deleted::default() })
}

#[cfg(test)]
mod tests;
