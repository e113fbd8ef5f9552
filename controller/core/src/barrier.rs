//! The zero-drop barrier: how many jobs a deployment must leave up, and how many it may have at once.
//!
//! A job counts as up only in state `Up`, which the host gives it after every live router has reported the
//! revision at which the instance was registered. So what is counted here is what traffic can really reach.

/// How far a strategy may go from the wanted count, and how fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Jobs started or stopped in one step, per process type.
    pub batch: u32,
    /// Jobs beyond the larger of the old and the new count.
    pub surge: u32,
    /// Jobs missing from the smaller of the old and the new count.
    pub unavailable: u32,
    /// Whether old and new jobs may be there at the same time beyond the count.
    pub overlap: Overlap,
    /// Whether process types move together or one after the other.
    pub types: Types,
}

/// When a stopped job makes room for the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overlap {
    /// When it is draining: requests in flight end on the old release while the new one starts.
    Allowed,
    /// When it has ended: the two must never run side by side.
    Forbidden,
}

/// Whether process types move together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Types {
    /// All at the same time.
    Together,
    /// In the order of their names.
    OneAfterAnother,
}

/// The fewest jobs that may be asked for or up while `before` become `after`.
#[must_use]
pub fn floor(pace: &Pace, before: u32, after: u32) -> u32 {
    before.min(after).saturating_sub(pace.unavailable)
}

/// The most jobs that may be asked for while `before` become `after`.
#[must_use]
pub fn ceiling(pace: &Pace, before: u32, after: u32) -> u32 {
    before.max(after).saturating_add(pace.surge)
}

/// How many leaving jobs may be left after one step down, given that `up` of the coming ones carry traffic.
/// Never more than one batch goes, and never so many that fewer than the floor remain.
#[must_use]
pub fn step_down(pace: &Pace, before: u32, after: u32, leaving: u32, up: u32) -> u32 {
    let keep = floor(pace, before, after).saturating_sub(up);
    leaving.saturating_sub(pace.batch).max(keep).min(leaving)
}

/// How many coming jobs may be asked for after one step up beside `leaving` old ones.
#[must_use]
pub fn step_up(pace: &Pace, before: u32, after: u32, leaving: u32, coming: u32) -> u32 {
    let room = ceiling(pace, before, after).saturating_sub(leaving);
    coming.saturating_add(pace.batch).min(after).min(room).max(coming)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Pace =
        Pace { batch: 1, surge: 1, unavailable: 0, overlap: Overlap::Allowed, types: Types::OneAfterAnother };

    #[test]
    fn step_down_without_up_jobs_stops_nothing() {
        assert_eq!(step_down(&ONE, 3, 3, 3, 0), 3);
        assert_eq!(step_down(&ONE, 3, 3, 3, 1), 2);
    }

    #[test]
    fn step_up_never_passes_the_ceiling() {
        assert_eq!(step_up(&ONE, 3, 3, 3, 0), 1);
        assert_eq!(step_up(&ONE, 3, 3, 3, 1), 1);
        assert_eq!(step_up(&Pace { batch: 9, surge: 2, ..ONE }, 3, 3, 3, 0), 2);
    }

    #[test]
    fn step_down_to_nothing_is_free() {
        assert_eq!(step_down(&Pace { batch: u32::MAX, ..ONE }, 5, 0, 5, 0), 0);
    }
}
