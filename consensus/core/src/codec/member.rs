//! Raft's own records.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{DecodeError, Reader, Writer};
use crate::raft::{Entry, HardState, Member, MemberId, Membership, Payload, SnapshotMeta, Standing};

/// Write an entry.
pub fn encode_entry(entry: &Entry, out: &mut Writer) {
    out.number(entry.index);
    out.number(entry.term);
    match &entry.payload {
        Payload::Blank => out.tag(0),
        Payload::Command(bytes) => {
            out.tag(1);
            out.bytes(bytes);
        }
        Payload::Membership(membership) => {
            out.tag(2);
            encode_membership(membership, out);
        }
    }
}

/// Read an entry.
///
/// # Errors
/// If it is none.
pub fn decode_entry(bytes: &[u8]) -> Result<Entry, DecodeError> {
    let mut reader = Reader::new(bytes);
    let index = reader.number()?;
    let term = reader.number()?;
    let payload = match reader.tag()? {
        0 => Payload::Blank,
        1 => Payload::Command(reader.shared()?),
        2 => Payload::Membership(Arc::new(decode_membership(&mut reader)?)),
        tag => return Err(DecodeError::Tag(tag)),
    };
    reader.finish()?;
    Ok(Entry { term, index, payload })
}

/// Write a hard state.
pub fn encode_hard_state(state: &HardState, out: &mut Writer) {
    out.number(state.term);
    match state.vote {
        None => out.tag(0),
        Some(MemberId(id)) => {
            out.tag(1);
            out.number(id);
        }
    }
}

/// Read a hard state.
///
/// # Errors
/// If it is none.
pub fn decode_hard_state(bytes: &[u8]) -> Result<HardState, DecodeError> {
    let mut reader = Reader::new(bytes);
    let term = reader.number()?;
    let vote = match reader.tag()? {
        0 => None,
        1 => Some(MemberId(reader.number()?)),
        tag => return Err(DecodeError::Tag(tag)),
    };
    reader.finish()?;
    Ok(HardState { term, vote })
}

/// Write what a snapshot replaces.
pub fn encode_meta(meta: &SnapshotMeta, out: &mut Writer) {
    out.number(meta.index);
    out.number(meta.term);
    encode_membership(&meta.membership, out);
}

/// Read what a snapshot replaces.
///
/// # Errors
/// If it is none.
pub fn decode_meta(reader: &mut Reader<'_>) -> Result<SnapshotMeta, DecodeError> {
    let index = reader.number()?;
    let term = reader.number()?;
    let membership = Arc::new(decode_membership(reader)?);
    Ok(SnapshotMeta { index, term, membership })
}

fn encode_membership(membership: &Membership, out: &mut Writer) {
    let texts = |texts: &[String], out: &mut Writer| {
        out.count(texts.len());
        texts.iter().for_each(|text| out.bytes(text.as_bytes()));
    };
    out.count(membership.members.len());
    for (MemberId(id), member) in &membership.members {
        out.number(*id);
        out.tag(match member.standing {
            Standing::Voter => 0,
            Standing::Learner => 1,
        });
        out.bytes(member.name.as_bytes());
        texts(&member.peer_urls, out);
        texts(&member.client_urls, out);
    }
}

fn decode_membership(reader: &mut Reader<'_>) -> Result<Membership, DecodeError> {
    let members: Vec<(MemberId, Member)> = reader.list(|reader| {
        let id = MemberId(reader.number()?);
        let standing = match reader.tag()? {
            0 => Standing::Voter,
            1 => Standing::Learner,
            tag => return Err(DecodeError::Tag(tag)),
        };
        let name = reader.text()?;
        let peer_urls = reader.list(Reader::text)?;
        let client_urls = reader.list(Reader::text)?;
        Ok((id, Member { standing, name, peer_urls, client_urls }))
    })?;
    Ok(Membership { members: members.into_iter().collect::<BTreeMap<_, _>>() })
}
