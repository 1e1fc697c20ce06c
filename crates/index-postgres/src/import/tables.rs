//! The tables that are copied: all but those of search, which are made anew, and of leases.

/// What a column has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Integer,
    /// None is written as -1, which nothing of ours counts to.
    MaybeInteger,
    Text,
    MaybeText,
    Bytes,
    /// 0 or 1 in the file.
    Flag,
}

use Kind::{Bytes, Flag, Integer, MaybeInteger, MaybeText, Text};

/// A table of both databases: its name, how many of its columns are its key, its columns.
pub(super) struct Table {
    pub(super) name: &'static str,
    pub(super) key: usize,
    columns: &'static [(&'static str, Kind)],
}

impl Table {
    pub(super) fn kinds(&self) -> impl Iterator<Item = &'static Kind> {
        self.columns.iter().map(|(_, kind)| kind)
    }

    fn names(&self) -> Vec<&'static str> {
        self.columns.iter().map(|(name, _)| *name).collect()
    }

    /// Rows of the file in the order of their key, those behind a key only with `is_behind`.
    pub(super) fn select_page(&self, is_behind: bool, rows: i64) -> String {
        let (names, key) = (self.names().join(", "), self.names()[..self.key].join(", "));
        let behind = if is_behind {
            format!(" WHERE ({key}) > ({})", vec!["?"; self.key].join(", "))
        } else {
            String::new()
        };
        format!(
            "SELECT {names} FROM {}{behind} ORDER BY {key} LIMIT {rows}",
            self.name
        )
    }

    /// All rows of the database.
    pub(super) fn select_all(&self) -> String {
        format!("SELECT {} FROM {}", self.names().join(", "), self.name)
    }

    /// Puts rows in, a column a parameter.
    pub(super) fn insert(&self) -> String {
        let names = self.names().join(", ");
        let arrays: Vec<String> = self
            .kinds()
            .enumerate()
            .map(|(place, kind)| {
                let of = match kind {
                    Integer | MaybeInteger => "bigint",
                    Text | MaybeText => "text",
                    Bytes => "bytea",
                    Flag => "boolean",
                };
                format!("${}::{of}[]", place + 1)
            })
            .collect();
        let values: Vec<String> = self
            .columns
            .iter()
            .map(|(name, kind)| match kind {
                MaybeInteger => format!("nullif(j.{name}, -1)"),
                _ => format!("j.{name}"),
            })
            .collect();
        format!(
            "INSERT INTO {} ({names}) SELECT {} FROM unnest({}) AS j({names})",
            self.name,
            values.join(", "),
            arrays.join(", ")
        )
    }
}

/// In an order in which no row points at one that is not there yet.
pub(super) static TABLES: [Table; 23] = [
    Table {
        name: "account",
        key: 1,
        columns: &[
            ("id", Integer),
            ("did", Text),
            ("handle", Text),
            ("pds", Text),
            ("signing_key", Text),
            ("status", Integer),
            ("status_at", Integer),
            ("taken_down", Flag),
            ("rev", Text),
            ("head_seen", Text),
            ("data", Bytes),
            ("proof", Integer),
            ("coverage", Integer),
            ("repositories", Integer),
        ],
    },
    Table {
        name: "repository",
        key: 1,
        columns: &[
            ("id", Integer),
            ("account", Integer),
            ("name", Text),
            ("tags", Integer),
            ("fallback_tags", Integer),
            ("manifests", Integer),
            ("referrers", Integer),
            ("stars", Integer),
            ("pulls", Integer),
            ("pushes", Integer),
            ("last_pull", Integer),
            ("listed", Flag),
            ("pushed_at", Integer),
            ("newest_tag", Text),
            ("kind", Integer),
            ("title", Text),
            ("summary", Text),
            ("licence", Text),
            ("platforms", Text),
            ("picture", Bytes),
            ("picture_type", Text),
            ("config", Bytes),
            ("config_hold", Text),
        ],
    },
    Table {
        name: "repository_hold",
        key: 2,
        columns: &[("repository", Integer), ("hold", Text), ("manifests", Integer)],
    },
    Table {
        name: "config",
        key: 1,
        columns: &[
            ("digest", Bytes),
            ("title", Text),
            ("summary", Text),
            ("licence", Text),
            ("labels", Text),
            ("platform", Text),
        ],
    },
    Table {
        name: "config_wanted",
        key: 1,
        columns: &[
            ("repository", Integer),
            ("account", Integer),
            ("digest", Bytes),
            ("due", Integer),
            ("attempts", Integer),
        ],
    },
    Table {
        name: "manifest",
        key: 1,
        columns: &[
            ("id", Integer),
            ("account", Integer),
            ("repository", Integer),
            ("digest", Bytes),
            ("odd_rkey", Text),
            ("cid", Bytes),
            ("blob", Bytes),
            ("size", Integer),
            ("media_type", Text),
            ("artifact_type", MaybeText),
            ("kind", Integer),
            ("hold", Text),
            ("subject", Bytes),
            ("config", Bytes),
            ("layers", Integer),
            ("content_size", Integer),
            ("annotations", Text),
            ("claimed_at", Integer),
            ("pushed_at", Integer),
        ],
    },
    Table {
        name: "child",
        key: 2,
        columns: &[
            ("manifest", Integer),
            ("position", Integer),
            ("account", Integer),
            ("digest", Bytes),
            ("media_type", Text),
            ("size", Integer),
            ("os", Text),
            ("architecture", Text),
            ("variant", Text),
            ("os_version", Text),
            ("attestation", Flag),
        ],
    },
    Table {
        name: "tag",
        key: 3,
        columns: &[
            ("repository", Integer),
            ("name", Text),
            ("odd_rkey", Text),
            ("account", Integer),
            ("cid", Bytes),
            ("digest", Bytes),
            ("claimed_at", Integer),
            ("moved_at", Integer),
            ("shown", Integer),
            ("version", Text),
        ],
    },
    Table {
        name: "page",
        key: 2,
        columns: &[
            ("account", Integer),
            ("rkey", Text),
            ("cid", Bytes),
            ("repository", Text),
            ("description", Text),
            ("summary", Text),
            ("picture", Bytes),
            ("picture_type", Text),
            ("updated_at", Integer),
        ],
    },
    Table {
        name: "profile",
        key: 2,
        columns: &[
            ("account", Integer),
            ("rkey", Text),
            ("cid", Bytes),
            ("default_hold", Text),
            ("auto_remove_untagged", Flag),
        ],
    },
    Table {
        name: "star",
        key: 2,
        columns: &[
            ("account", Integer),
            ("rkey", Text),
            ("cid", Bytes),
            ("owner", Text),
            ("repository", Text),
            ("given_at", Integer),
        ],
    },
    Table {
        name: "captain",
        key: 2,
        columns: &[
            ("account", Integer),
            ("rkey", Text),
            ("cid", Bytes),
            ("owner", Text),
            ("is_public", Flag),
            ("allow_all_crew", Flag),
            ("region", Text),
            ("successor", Text),
            ("deployed_at", Integer),
        ],
    },
    Table {
        name: "crew",
        key: 2,
        columns: &[
            ("account", Integer),
            ("rkey", Text),
            ("cid", Bytes),
            ("member", Text),
            ("role", Text),
            ("permissions", Text),
            ("tier", Text),
            ("added_at", Integer),
        ],
    },
    Table {
        name: "stats",
        key: 2,
        columns: &[
            ("account", Integer),
            ("rkey", Text),
            ("cid", Bytes),
            ("owner", Text),
            ("repository", Text),
            ("pulls", Integer),
            ("pushes", Integer),
            ("carried_pulls", Integer),
            ("carried_pushes", Integer),
            ("last_pull", Integer),
            ("updated_at", Integer),
        ],
    },
    Table {
        name: "scan",
        key: 2,
        columns: &[
            ("account", Integer),
            ("rkey", Text),
            ("cid", Bytes),
            ("owner", Text),
            ("digest", Bytes),
            ("critical", Integer),
            ("high", Integer),
            ("medium", Integer),
            ("low", Integer),
            ("total", Integer),
            ("scanner", Text),
            ("scanned_at", Integer),
            ("sbom", Bytes),
            ("report", Bytes),
        ],
    },
    Table {
        name: "unusable",
        key: 3,
        columns: &[
            ("account", Integer),
            ("collection", Integer),
            ("rkey", Text),
            ("cid", Bytes),
        ],
    },
    Table {
        name: "takedown",
        key: 3,
        columns: &[
            ("did", Text),
            ("repository", Text),
            ("source", Text),
            ("applies", Flag),
            ("at", Integer),
        ],
    },
    Table {
        name: "source",
        key: 1,
        columns: &[("name", Text), ("epoch", Integer), ("cursor", MaybeInteger)],
    },
    Table {
        name: "work",
        key: 1,
        columns: &[
            ("did", Text),
            ("lane", Integer),
            ("due", Integer),
            ("claimed_until", Integer),
            ("again", Flag),
            ("attempts", Integer),
        ],
    },
    Table {
        name: "discovery",
        key: 1,
        columns: &[
            ("list", Text),
            ("cursor", Text),
            ("finished_at", Integer),
            ("accounts", Integer),
        ],
    },
    Table {
        name: "tag_move",
        key: 1,
        columns: &[
            ("id", Integer),
            ("repository", Integer),
            ("tag", Text),
            ("digest_before", Bytes),
            ("digest_after", Bytes),
            ("at", Integer),
            ("rev", Text),
        ],
    },
    Table {
        name: "pull_day",
        key: 2,
        columns: &[("repository", Integer), ("day", Integer), ("pulls", Integer)],
    },
    Table {
        name: "handle_past",
        key: 1,
        columns: &[("handle", Text), ("did", Text), ("until", Integer)],
    },
];

#[cfg(test)]
mod tests {
    use super::TABLES;

    /// Tables that are made anew or not copied.
    const NOT_COPIED: [&str; 2] = ["lease", "search"];

    /// Columns that say what is in those.
    const MADE_ANEW: [&str; 2] = ["search_hash", "search_tier"];

    #[test]
    fn every_column_of_every_table_is_copied() {
        let made = concat!(
            include_str!("../../migrations/0001_index.sql"),
            include_str!("../../migrations/0002_configs.sql")
        );
        let added: Vec<(&str, &str)> = made
            .lines()
            .filter_map(|line| line.strip_prefix("ALTER TABLE ")?.split_once(" ADD COLUMN "))
            .filter_map(|(table, rest)| Some((table, rest.split(' ').next()?)))
            .collect();
        let mut tables = 0;
        for table in made.split("CREATE TABLE ").skip(1) {
            let (name, rest) = table.split_once(" (").unwrap();
            if NOT_COPIED.contains(&name) {
                continue;
            }
            let mut columns: Vec<&str> = rest
                .lines()
                .skip(1)
                .map(str::trim)
                .take_while(|line| !line.starts_with(')'))
                .filter(|line| line.starts_with(|first: char| first.is_ascii_lowercase()))
                .filter_map(|line| line.split(' ').next())
                .chain(
                    added
                        .iter()
                        .filter(|(table, _)| *table == name)
                        .map(|(_, column)| *column),
                )
                .filter(|column| !MADE_ANEW.contains(column))
                .collect();
            columns.sort_unstable();
            let copied = TABLES.iter().find(|copied| copied.name == name);
            let mut copied = copied.unwrap_or_else(|| panic!("{name} is not copied")).names();
            copied.sort_unstable();
            assert_eq!(copied, columns, "{name}");
            tables += 1;
        }
        assert_eq!(tables, TABLES.len());
    }
}
