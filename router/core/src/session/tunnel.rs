//! After 101: bytes both ways, nobody's business what they mean.

use alloc::vec::Vec;

use http1::ResponseHead;
use stdx::Instant;

use super::answer::Fault;
use super::{Effect, Phase, Session, Side, Upstream};

impl Session {
    pub(super) fn begin_tunnel(&mut self, now: Instant, mut head: ResponseHead, effects: &mut Vec<Effect>) {
        let agreed = http1::upgrade_protocol(&head).map(<[u8]>::to_ascii_lowercase);
        let offered = self.offered_upgrade();
        let Some(protocol) = offered.filter(|offered| agreed == Some(offered.to_ascii_lowercase().into_bytes())) else {
            // A backend that changes protocol unasked would speak to the client past this router.
            return self.answer(now, Fault::Invalid, effects);
        };
        http1::strip_hop_by_hop(&mut head.headers);
        head.headers.remove("content-length");
        head.version = http1::Version::Http11;
        let mut add = |name, value: &str| head.headers.append(name, value).expect("a literal or a parsed value");
        add("Connection", "Upgrade");
        add("Upgrade", &protocol);
        http1::encode_response(&head, self.down.out());
        if let Some(record) = &mut self.record {
            record.status = 101;
        }
        self.keeps = false;
        self.enter(now, Phase::Tunnel);
    }

    pub(super) fn tunnel_step(&mut self, effects: &mut Vec<Effect>) -> bool {
        self.down.pass_all(&self.up.input);
        self.up.pass_all(&self.down.input);
        let up_done = self.up.eof && self.up.input.is_empty() && self.down.is_flushed();
        let down_done = self.down.eof && self.down.input.is_empty() && self.up.is_flushed();
        let broken = self.exchange.as_ref().is_some_and(|exchange| exchange.reset);
        if broken || (up_done && down_done) {
            let now = self.activity;
            self.let_go(now, super::Reuse::Close, effects);
            self.write_record(now, effects);
            self.close(effects);
            return false;
        }
        // One that has closed its side is told so once, when it has got all that was sent.
        if up_done && !core::mem::replace(&mut self.closed_down, true) {
            effects.push(Effect::ShutdownWrite(Side::Down));
        }
        if down_done && !core::mem::replace(&mut self.closed_up, true) {
            effects.push(Effect::ShutdownWrite(Side::Up));
        }
        false
    }

    pub(super) fn count_tunnel(&mut self, side: Side, n: usize) {
        if self.phase == Phase::Tunnel
            && self.upstream == Upstream::Open
            && let Some(record) = &mut self.record
        {
            match side {
                Side::Down => record.bytes_out += n as u64,
                Side::Up => record.bytes_in += n as u64,
            }
        }
    }
}
