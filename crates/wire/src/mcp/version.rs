//! Versions of the protocol, and which of them have a method.
//! A version is never guessed: an unknown one is `None`.

use std::fmt;

/// A version of the protocol that is spoken here, oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// Only what a request without a version header is taken for.
    V2025_03_26,
    /// Elicitation, structured output, no batches.
    V2025_06_18,
    /// The last one with `initialize`; core tasks.
    V2025_11_25,
    /// Stateless.
    V2026_07_28,
}

impl Version {
    /// Every version, oldest first.
    pub const ALL: [Self; 4] = [Self::V2025_03_26, Self::V2025_06_18, Self::V2025_11_25, Self::V2026_07_28];

    /// The version called `name`, exactly.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.as_str() == name)
    }

    /// Its name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
            Self::V2026_07_28 => "2026-07-28",
        }
    }

    /// The era it belongs to.
    pub const fn era(self) -> Era {
        match self {
            Self::V2025_03_26 | Self::V2025_06_18 | Self::V2025_11_25 => Era::Legacy,
            Self::V2026_07_28 => Era::Modern,
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// How a connection works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Era {
    /// `initialize` first, then a session.
    Legacy,
    /// Each request stands alone and says its version.
    Modern,
}

/// The versions that have a method: one unbroken stretch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Eras {
    first: Version,
    last: Version,
}

impl Eras {
    /// From `first` on.
    pub(super) const fn since(first: Version) -> Self {
        Self { first, last: Version::V2026_07_28 }
    }

    /// Up to `last`, which is included.
    pub(super) const fn until(self, last: Version) -> Self {
        Self { last, ..self }
    }

    /// Whether `version` is one of them.
    pub fn include(self, version: Version) -> bool {
        (self.first..=self.last).contains(&version)
    }

    /// Whether some version of `era` is one of them.
    pub fn include_era(self, era: Era) -> bool {
        self.first.era() == era || self.last.era() == era
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_known_by_its_exact_name() {
        for version in Version::ALL {
            assert_eq!(Version::parse(version.as_str()), Some(version));
        }
        for name in ["", "2024-11-05", "2025-06-18 ", "2026-7-28", "draft"] {
            assert_eq!(Version::parse(name), None);
        }
        assert!(Version::ALL.is_sorted());
    }

    #[test]
    fn a_stretch_of_versions_includes_its_ends() {
        let tasks = Eras::since(Version::V2025_11_25).until(Version::V2025_11_25);
        assert_eq!(Version::ALL.map(|version| tasks.include(version)), [false, false, true, false]);
        assert!(tasks.include_era(Era::Legacy) && !tasks.include_era(Era::Modern));
        assert!(Eras::since(Version::V2025_03_26).include_era(Era::Modern));
    }
}
