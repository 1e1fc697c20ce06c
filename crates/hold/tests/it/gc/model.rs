//! The rules of the collection as a small machine, all of whose states are visited: no promised blob is lost, and two rounds leave
//! no garbage. Each rule left out is found to lose a blob.
//!
//! One blob, two pushes, one account whose server may be down, a store whose DELETE may come to effect late, a process that is killed and
//! loses power. Times are relative and capped, which makes the states finite.

use std::collections::{HashSet, VecDeque};

/// How long a push takes at most, and the grace period.
const PUSH: u8 = 1;
const GRACE: u8 = 2;
/// Older is not told apart.
const OLD: u8 = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Row {
    None,
    Condemned(u8),
    /// The store is being asked.
    Deleting,
    /// It was asked, and may still do it.
    Held,
}

/// What the reading of the account saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Seen {
    NotYet,
    Unreadable,
    Named,
    Nothing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct State {
    stored: bool,
    row: Row,
    /// What a power failure leaves of it.
    synced: Row,
    /// A DELETE that timed out, and may still come to effect.
    late: bool,
    /// Age of the promise that each push has, if it has one.
    pushes: [Option<u8>; 2],
    record: bool,
    is_up: bool,
    /// A run: whether the condemnation was old enough when it began, and what it saw.
    run: Option<(bool, Seen)>,
}

const START: State = State {
    stored: false,
    row: Row::None,
    synced: Row::None,
    late: false,
    pushes: [None; 2],
    record: false,
    is_up: true,
    run: None,
};

/// A rule that is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Without {
    Nothing,
    /// A promise lifts the condemnation.
    Touch,
    /// An upload lifts it.
    TouchByUpload,
    /// What was condemned goes only on a second reading.
    SecondReading,
    /// That begins longer after it than a push takes, not as long.
    LaterReading,
    /// Ages start anew after a power failure.
    AgesAnew,
    /// An account that cannot be read keeps everything.
    UnreadKeeps,
    /// A blob that is being deleted is absent to promises.
    DeletingIsAbsent,
    /// And cannot be sent meanwhile.
    DeletingIsLocked,
    /// The row is synced before the store is asked.
    SyncedDeleting,
    /// It stays for as long as the DELETE may come to effect.
    Hold,
    /// A deletion that was cut off is not begun again.
    NotResumed,
    /// Ages go by uptime: a clock that is set makes nothing old.
    Uptime,
}

impl Without {
    const RULES: [Self; 12] = [
        Self::Touch,
        Self::TouchByUpload,
        Self::SecondReading,
        Self::LaterReading,
        Self::AgesAnew,
        Self::UnreadKeeps,
        Self::DeletingIsAbsent,
        Self::DeletingIsLocked,
        Self::SyncedDeleting,
        Self::Hold,
        Self::NotResumed,
        Self::Uptime,
    ];
}

impl State {
    /// A manifest stands whose blob was promised, and nobody can pull it.
    fn is_lost(&self) -> bool {
        self.record && !self.stored
    }

    fn is_leaving(&self) -> bool {
        matches!(self.row, Row::Deleting | Row::Held)
    }

    /// Lifts the condemnation; what a run saw of it counts no more.
    fn lifted(mut self) -> Self {
        if matches!(self.row, Row::Condemned(_)) {
            self.row = Row::None;
            if let Some((old, _)) = &mut self.run {
                *old = false;
            }
        }
        self
    }

    fn next(self, without: Without) -> Vec<Self> {
        let mut next = Vec::new();
        for push in 0..2 {
            self.client(push, without, &mut next);
        }
        if self.record {
            next.push(Self {
                record: false,
                ..self
            });
        }
        next.push(Self {
            is_up: !self.is_up,
            ..self
        });
        self.collection(without, &mut next);
        self.faults(without, &mut next);
        next.push(self.later());
        next
    }

    fn client(self, push: usize, without: Without, next: &mut Vec<Self>) {
        let with = |mut state: Self, age| {
            state.pushes[push] = age;
            state
        };
        match self.pushes[push] {
            None => {
                // HEAD, mount.
                let absent = self.is_leaving() && without != Without::DeletingIsAbsent;
                if self.stored && !absent {
                    let touched = if without == Without::Touch {
                        self
                    } else {
                        self.lifted()
                    };
                    next.push(with(touched, Some(0)));
                }
                // Upload. Publishing an object that is there copies nothing.
                if !self.is_leaving() || without == Without::DeletingIsLocked {
                    let touched = if without == Without::TouchByUpload {
                        self
                    } else {
                        self.lifted()
                    };
                    next.push(with(
                        Self {
                            stored: true,
                            ..touched
                        },
                        Some(0),
                    ));
                }
            }
            Some(_) => {
                next.push(with(Self { record: true, ..self }, None));
                next.push(with(self, None));
            }
        }
    }

    fn collection(self, without: Without, next: &mut Vec<Self>) {
        match self.run {
            None => {
                let old = match (self.row, without) {
                    (Row::Condemned(_), Without::SecondReading) => true,
                    (Row::Condemned(age), Without::LaterReading) => age >= PUSH,
                    (Row::Condemned(age), _) => age > PUSH,
                    _ => false,
                };
                next.push(Self {
                    run: Some((old, Seen::NotYet)),
                    ..self
                });
            }
            Some((old, Seen::NotYet)) => {
                let seen = match (self.is_up, self.record) {
                    (false, _) if without == Without::UnreadKeeps => Seen::Nothing,
                    (false, _) => Seen::Unreadable,
                    (true, true) => Seen::Named,
                    (true, false) => Seen::Nothing,
                };
                next.push(Self {
                    run: Some((old, seen)),
                    ..self
                });
            }
            Some((_, Seen::Unreadable)) => next.push(Self { run: None, ..self }),
            Some((_, Seen::Named)) => next.push(Self {
                run: None,
                ..self.lifted()
            }),
            Some((old, Seen::Nothing)) => {
                let row = match self.row {
                    Row::None if self.stored => Row::Condemned(0),
                    Row::Condemned(age) if old && age >= GRACE => Row::Deleting,
                    row => row,
                };
                let synced = if row == Row::Deleting && without != Without::SyncedDeleting {
                    row
                } else {
                    self.synced
                };
                next.push(Self {
                    run: None,
                    row,
                    synced,
                    ..self
                });
            }
        }
        if self.row == Row::Deleting {
            // The store answers, or not.
            next.push(Self {
                stored: false,
                row: Row::None,
                late: false,
                ..self
            });
            next.push(Self {
                late: true,
                row: Row::Held,
                ..self
            });
        }
        if self.row == Row::Held && (!self.late || without == Without::Hold) {
            next.push(Self {
                row: Row::None,
                ..self
            });
        }
        if self.late {
            next.push(Self {
                stored: false,
                late: false,
                ..self
            });
            next.push(Self { late: false, ..self });
        }
        next.push(Self {
            synced: self.row,
            ..self
        });
    }

    fn faults(self, without: Without, next: &mut Vec<Self>) {
        // A DELETE that is under way may have been carried out, may never be, or late.
        let restarted = |row| match row {
            Row::Deleting if without != Without::NotResumed => Row::Held,
            row => row,
        };
        let after_power = match self.synced {
            Row::Condemned(_) if without != Without::AgesAnew => Row::Condemned(0),
            row => row,
        };
        for late in [self.late, self.late || self.row == Row::Deleting] {
            // Killed.
            next.push(Self {
                run: None,
                row: restarted(self.row),
                late,
                ..self
            });
            let row = restarted(after_power);
            next.push(Self {
                run: None,
                row,
                synced: row,
                late,
                ..self
            });
        }
        if without == Without::Uptime {
            next.push(Self {
                row: match self.row {
                    Row::Condemned(_) => Row::Condemned(OLD),
                    row => row,
                },
                ..self
            });
        }
    }

    /// Time passes. A push that takes too long is given up.
    fn later(self) -> Self {
        let older = |row| match row {
            Row::Condemned(age) => Row::Condemned((age + 1).min(OLD)),
            row => row,
        };
        Self {
            row: older(self.row),
            synced: older(self.synced),
            pushes: self
                .pushes
                .map(|age| age.filter(|age| *age < PUSH).map(|age| age + 1)),
            ..self
        }
    }

    /// Clients stop, and nothing fails any more: the collection runs twice, a grace period apart.
    fn settled(self) -> Self {
        let mut state = Self {
            pushes: [None; 2],
            is_up: true,
            run: None,
            late: false,
            ..self
        };
        for _ in 0..2 {
            if state.is_leaving() {
                // Given back.
                state.row = Row::None;
            }
            let old = matches!(state.row, Row::Condemned(age) if age > PUSH);
            state = match (state.row, state.record) {
                (_, true) => state.lifted(),
                (Row::None, _) if state.stored => Self {
                    row: Row::Condemned(0),
                    ..state
                },
                (Row::Condemned(age), _) if old && age >= GRACE => Self {
                    stored: false,
                    row: Row::None,
                    ..state
                },
                _ => state,
            };
            for _ in 0..GRACE.max(PUSH + 1) {
                state = state.later();
            }
        }
        let old = matches!(state.row, Row::Condemned(age) if age >= GRACE.max(PUSH + 1));
        if old && !state.record {
            state = Self {
                stored: false,
                row: Row::None,
                ..state
            };
        }
        state
    }
}

/// Steps to the first state in which a blob is lost, or all states.
fn explore(without: Without) -> Result<HashSet<State>, u32> {
    let mut seen = HashSet::from([START]);
    let mut open = VecDeque::from([(START, 0)]);
    while let Some((state, steps)) = open.pop_front() {
        for next in state.next(without) {
            if next.is_lost() {
                return Err(steps + 1);
            }
            if seen.insert(next) {
                open.push_back((next, steps + 1));
            }
        }
    }
    Ok(seen)
}

#[test]
fn no_state_loses_a_promised_blob_and_from_each_two_rounds_leave_no_garbage() {
    let states = explore(Without::Nothing).expect("no blob is lost");
    assert!(states.len() > 1000, "{}", states.len());
    for state in states {
        let settled = state.settled();
        assert_eq!(settled.stored, state.record, "{state:?}");
    }
}

#[test]
fn every_rule_is_needed() {
    for without in Without::RULES {
        let lost = explore(without);
        assert!(lost.is_err(), "nothing is lost without {without:?}");
    }
}
