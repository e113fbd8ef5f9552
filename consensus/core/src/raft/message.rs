//! What the machine hears and says.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use super::membership::{Change, Membership};

/// One member of the group, for life: an id is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(pub u64);

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// What the shell calls a question (a proposal or a read), to know the answer by. Unique per member and run.
pub type RequestId = u64;

/// What an entry carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// Nothing: a new leader's first entry, which lets it commit what came before.
    Blank,
    /// A command for the state machine.
    Command(Arc<[u8]>),
    /// The members from this entry on.
    Membership(Arc<Membership>),
}

impl Payload {
    /// Roughly how many bytes it takes in memory and on the wire.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Payload::Blank => 16,
            Payload::Command(bytes) => 16 + bytes.len(),
            Payload::Membership(membership) => 16 + 128 * membership.members.len(),
        }
    }
}

/// One place in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The term of the leader that made it.
    pub term: u64,
    /// Its place; the first is 1.
    pub index: u64,
    /// What it carries.
    pub payload: Payload,
}

/// What a member must not forget: whom it follows and whom it voted for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HardState {
    /// The latest term it has seen.
    pub term: u64,
    /// Its vote in that term.
    pub vote: Option<MemberId>,
}

/// What a snapshot replaces: the log up to and with `index`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotMeta {
    /// The last entry that it includes.
    pub index: u64,
    /// The term of that entry.
    pub term: u64,
    /// The members at that entry.
    pub membership: Arc<Membership>,
}

/// From one member to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Who says it.
    pub from: MemberId,
    /// To whom.
    pub to: MemberId,
    /// The sender's term; of a pre-vote and a granted answer to it, the term that would begin.
    pub term: u64,
    /// What it says.
    pub body: Body,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Would you vote for me? Changes nothing in the one asked (thesis 9.6).
    PreVote {
        /// The asker's last entry.
        last_index: u64,
        /// Its term.
        last_term: u64,
    },
    /// The answer.
    PreVoteReply {
        /// Whether it would.
        granted: bool,
    },
    /// Vote for me.
    Vote {
        /// The candidate's last entry.
        last_index: u64,
        /// Its term.
        last_term: u64,
        /// The leader asked for it, so nobody needs to protect that leader.
        transfer: bool,
    },
    /// The answer.
    VoteReply {
        /// Whether the vote was given.
        granted: bool,
    },
    /// Entries, or none: a heartbeat.
    Append {
        /// The entry before the first one sent.
        prev_index: u64,
        /// Its term.
        prev_term: u64,
        /// What the leader knows to be committed.
        commit: u64,
        /// The leader's count of heartbeat rounds; echoed, it proves that the leader led after it.
        round: u64,
        /// What to append.
        entries: Vec<Entry>,
    },
    /// The log agrees with the leader's.
    AppendReply {
        /// Up to here it agrees.
        matched: u64,
        /// Up to here it agrees and is on disk.
        durable: u64,
        /// The round heard last.
        round: u64,
    },
    /// The log does not hold the entry before those sent.
    AppendMismatch {
        /// That entry.
        prev_index: u64,
        /// The last place where the logs can agree ...
        hint_index: u64,
        /// ... and its term.
        hint_term: u64,
        /// The round heard last.
        round: u64,
    },
    /// A piece of a snapshot.
    Snapshot {
        /// Of which.
        meta: SnapshotMeta,
        /// Where the piece begins.
        offset: u64,
        /// The piece.
        bytes: Arc<[u8]>,
        /// Whether it is the last.
        last: bool,
    },
    /// A piece arrived.
    SnapshotReply {
        /// Of the snapshot up to this entry.
        index: u64,
        /// Where the piece began that this answers; an answer to another one comes too late.
        got: u64,
        /// The byte wanted next.
        offset: u64,
        /// The snapshot is installed.
        installed: bool,
    },
    /// Stand for election at once: the leader hands over to you.
    TransferNow,
    /// From which index on may I read?
    ReadRequest {
        /// The asker's question.
        id: RequestId,
    },
    /// From here on.
    ReadReply {
        /// The asker's question.
        id: RequestId,
        /// What must be applied before the read.
        index: u64,
    },
}

/// What can happen to the machine.
#[derive(Clone, Debug)]
pub enum Event {
    /// A peer said something.
    Message(Message),
    /// A client wants a command in the log.
    Propose {
        /// The question.
        id: RequestId,
        /// The command.
        command: Arc<[u8]>,
    },
    /// Someone wants the members changed.
    ProposeMembership {
        /// The question.
        id: RequestId,
        /// The change.
        change: Change,
    },
    /// A client wants a linearizable read (or proof that this member leads).
    Read {
        /// The question.
        id: RequestId,
    },
    /// The log is on disk up to and with this entry.
    Persisted {
        /// The entry.
        index: u64,
        /// Its term: late news of an entry that was replaced since is told apart by it.
        term: u64,
    },
    /// The state up to `index` is in a durable snapshot: the log before it may go.
    Compact {
        /// The last entry in the snapshot.
        index: u64,
    },
    /// The answer to [`Effect::ReadSnapshot`].
    SnapshotChunk {
        /// Whom it is for.
        to: MemberId,
        /// Of which snapshot.
        meta: SnapshotMeta,
        /// Where it begins.
        offset: u64,
        /// The piece.
        bytes: Arc<[u8]>,
        /// Whether it is the last.
        last: bool,
    },
    /// A snapshot from the leader is durable and loaded.
    SnapshotInstalled {
        /// Which.
        meta: SnapshotMeta,
    },
    /// Hand leadership to `to`, or to the member that is furthest.
    Transfer {
        /// To whom.
        to: Option<MemberId>,
    },
    /// Time has passed.
    Tick,
}

/// What the shell must do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Make it durable before the next effect is executed.
    SaveState(HardState),
    /// Write behind what was written before; the first entry replaces its own index and all after it.
    /// Sync when it suits, then say [`Event::Persisted`].
    Append(Vec<Entry>),
    /// Send, or lose.
    Send(Message),
    /// The entry is committed: apply it, once, in order.
    Apply {
        /// The entry.
        entry: Entry,
        /// The local proposal that it answers.
        proposal: Option<RequestId>,
    },
    /// The read may be served from the applied state as it is now.
    ReadReady {
        /// The question.
        id: RequestId,
    },
    /// The proposal or the read came to nothing.
    Reject {
        /// The question.
        id: RequestId,
        /// Why.
        reason: Reason,
    },
    /// Read the latest snapshot from `offset` and answer with [`Event::SnapshotChunk`].
    ReadSnapshot {
        /// For whom.
        to: MemberId,
        /// From which byte.
        offset: u64,
    },
    /// Keep a piece of a snapshot; after the last one verify it, make it durable, replace the state by it
    /// and the log by nothing, and answer with [`Event::SnapshotInstalled`].
    WriteSnapshot {
        /// Of which.
        meta: SnapshotMeta,
        /// Where it begins.
        offset: u64,
        /// The piece.
        bytes: Arc<[u8]>,
        /// Whether it is the last.
        last: bool,
    },
    /// Who leads has changed, as far as this member knows.
    Leader {
        /// In this term.
        term: u64,
        /// The leader; itself if it is this member.
        leader: Option<MemberId>,
    },
}

/// Why a question came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// This member does not lead; perhaps that one does. Nothing was written.
    NotLeader(Option<MemberId>),
    /// Too much is waiting to be committed. Nothing was written.
    Busy,
    /// Leadership is being handed over. Nothing was written.
    Transferring,
    /// Another membership change is not committed yet, or this term has committed nothing yet.
    ChangePending,
    /// The change makes no sense for the members there are.
    BadChange,
    /// The entry was replaced by another leader's: it was not and will not be applied.
    Replaced,
    /// Whether it was or will be applied is not known here.
    Unknown,
}
