//! The formats that reports come in.

use std::fmt;
use std::str::FromStr;

/// A format of a report. Its name on the command line is in brackets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Format {
    /// Markdown, one page (`md`).
    Md,
    /// Four tables (`csv`).
    Csv,
    /// One page that needs nothing else (`html`).
    Html,
    /// The evidence itself, with its manifest (`json`).
    Json,
    /// JUnit XML for CI (`junit`).
    Junit,
}

impl Format {
    /// All formats; what a run writes unless it is told otherwise.
    pub const ALL: &'static [Self] = &[Self::Md, Self::Csv, Self::Html, Self::Json, Self::Junit];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Md => "md",
            Self::Csv => "csv",
            Self::Html => "html",
            Self::Json => "json",
            Self::Junit => "junit",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A name that is no format's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no report format {name:?}; there are md, csv, html, json and junit")]
pub struct UnknownFormat {
    /// The name.
    pub name: String,
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.iter().copied().find(|format| format.name() == name);
        known.ok_or_else(|| UnknownFormat { name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::Format;

    #[test]
    fn names_read_back() {
        for &format in Format::ALL {
            assert_eq!(format.to_string().parse(), Ok(format));
        }
        assert!("pdf".parse::<Format>().is_err());
    }
}
