//! The tiers of the configuration.

/// One tier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tier {
    /// Its name, as crew records have it.
    pub name: String,
    /// Bytes that a member may keep.
    pub quota_bytes: u64,
    /// Whether what its members push is said to be scanned at once.
    pub scan_on_push: bool,
}

/// All tiers, the lowest rank first. None: the hold sets no limits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tiers {
    all: Vec<Tier>,
    new_crew: usize,
    plankowner: Option<usize>,
}

impl Tiers {
    /// `all` in order of rank; `new_crew` is the tier of who joins, else the lowest, and `plankowner` that of members who joined before
    /// there were tiers, else that of who joins. `None` if one of these is no tier of `all`.
    #[must_use]
    pub fn new(all: Vec<Tier>, new_crew: Option<&str>, plankowner: Option<&str>) -> Option<Self> {
        let rank = |name: &str| all.iter().position(|tier| tier.name == name);
        let new_crew = match new_crew {
            Some(name) => rank(name)?,
            None => 0,
        };
        let plankowner = match plankowner {
            Some(name) => Some(rank(name)?),
            None => None,
        };
        Some(Self {
            all,
            new_crew,
            plankowner,
        })
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// All of them, the lowest rank first.
    #[must_use]
    pub fn all(&self) -> &[Tier] {
        &self.all
    }

    /// The tier of that rank, counted from 0; beyond the end, the last one. `None` if there are no tiers.
    #[must_use]
    pub fn of_rank(&self, rank: usize) -> Option<&Tier> {
        self.all.get(rank).or(self.all.last())
    }

    /// The tier that new members get. `None` if there are no tiers.
    #[must_use]
    pub fn of_newcomer(&self) -> Option<&Tier> {
        self.all.get(self.new_crew)
    }

    /// The tier of a member whose record names `name`. Without a name it is a plankowner: who joins while there are tiers has one in the
    /// record. A name that no tier has any more counts like a newcomer's.
    #[must_use]
    pub fn of_member(&self, name: Option<&str>) -> Option<&Tier> {
        match name {
            None | Some("") => match self.plankowner {
                Some(rank) => self.all.get(rank),
                None => self.of_newcomer(),
            },
            Some(name) => self
                .all
                .iter()
                .find(|tier| tier.name == name)
                .or_else(|| self.of_newcomer()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tiers(new_crew: Option<&str>, plankowner: Option<&str>) -> Option<Tiers> {
        let tier = |name: &str, quota_bytes| Tier {
            name: name.to_owned(),
            quota_bytes,
            scan_on_push: false,
        };
        let all = vec![tier("deckhand", 5), tier("bosun", 50), tier("quartermaster", 100)];
        Tiers::new(all, new_crew, plankowner)
    }

    fn name(tier: Option<&Tier>) -> &str {
        tier.map_or("none", |tier| &tier.name)
    }

    #[test]
    fn a_member_has_the_tier_of_the_record_or_the_default() {
        for (new_crew, plankowner, without, newcomer) in [
            (None, None, "deckhand", "deckhand"),
            (Some("bosun"), None, "bosun", "bosun"),
            (Some("bosun"), Some("quartermaster"), "quartermaster", "bosun"),
        ] {
            let tiers = tiers(new_crew, plankowner).expect("good");
            assert_eq!(name(tiers.of_member(None)), without);
            assert_eq!(name(tiers.of_member(Some(""))), without);
            assert_eq!(name(tiers.of_newcomer()), newcomer);
            assert_eq!(name(tiers.of_member(Some("gone"))), newcomer);
            assert_eq!(name(tiers.of_member(Some("deckhand"))), "deckhand");
        }
        assert_eq!(tiers(Some("admiral"), None), None);
        assert_eq!(tiers(None, Some("admiral")), None);
    }

    #[test]
    fn a_rank_beyond_the_end_is_the_last_tier() {
        let tiers = tiers(None, None).expect("good");
        let ranks = [0, 1, 2, 3, usize::MAX];
        let names = ranks.map(|rank| name(tiers.of_rank(rank)).to_owned());
        assert_eq!(
            names,
            [
                "deckhand",
                "bosun",
                "quartermaster",
                "quartermaster",
                "quartermaster"
            ]
        );
        let none = Tiers::default();
        assert_eq!(
            (none.of_rank(0), none.of_newcomer(), none.of_member(None)),
            (None, None, None)
        );
    }
}
