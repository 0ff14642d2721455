//! Enums whose values have a name in scenario files.
//!
//! One macro writes the enum, the list of its values, its `Display` and its serde and schemars implementations, so that a
//! value's name stands in one place.

/// A value that has a name in scenario files.
pub trait Named: Copy + 'static {
    /// Every value, in the order in which they are listed.
    const ALL: &'static [Self];

    /// The name as it stands in a file.
    fn name(self) -> &'static str;
}

/// Declares an enum together with its names.
macro_rules! named {
    ($(#[$about:meta])* pub enum $enum:ident { $($(#[$doc:meta])+ $variant:ident = $name:literal,)+ }) => {
        $(#[$about])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash,
            serde::Serialize, serde::Deserialize, schemars::JsonSchema,
        )]
        pub enum $enum {
            $($(#[$doc])+ #[serde(rename = $name)] $variant,)+
        }

        impl $crate::scenario::Named for $enum {
            const ALL: &'static [Self] = &[$(Self::$variant,)+];

            fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }

        impl std::fmt::Display for $enum {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad($crate::scenario::Named::name(*self))
            }
        }
    };
}
pub(crate) use named;

/// More names than these are no help to anybody.
const MANY: usize = 30;

/// Ends an error about `wrong`: the one of `known` that was probably meant; else all of them, or of many the three that come
/// nearest.
pub(crate) fn hint<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let mut known: Vec<&str> = known.into_iter().collect();
    if let Some(near) = nearest(wrong, known.iter().copied()) {
        return format!("did you mean `{near}`?");
    }
    let mut are = "known are";
    if known.len() > MANY {
        known.sort_by(|a, b| strsim::jaro_winkler(b, wrong).total_cmp(&strsim::jaro_winkler(a, wrong)));
        known.truncate(3);
        are = "the nearest are";
    }
    match known.as_slice() {
        [] => "nothing is known here".to_owned(),
        [only] => format!("known is `{only}`"),
        several => format!("{are} {}", quoted(several)),
    }
}

/// Names as a sentence lists them: `a`, `b` and `c`.
pub(super) fn quoted(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.as_slice() {
        [others @ .., last] if !others.is_empty() => format!("{} and {last}", others.join(", ")),
        quoted => quoted.concat(),
    }
}

/// The name that `wrong` was probably meant to be, if one is near enough.
pub(crate) fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wrong = wrong.to_lowercase().replace('_', "-");
    known
        .into_iter()
        .map(|name| {
            (
                strsim::damerau_levenshtein(&wrong, &name.to_lowercase().replace('_', "-")),
                name,
            )
        })
        .filter(|(distance, name)| match name.len().max(wrong.len()) {
            0..=5 => *distance <= 1,
            length => *distance <= length.div_ceil(3).min(4),
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::hint;

    #[test]
    fn few_names_are_all_told_and_of_many_the_nearest() {
        assert_eq!(hint("tabel", ["table", "json"]), "did you mean `table`?");
        assert_eq!(hint("x", ["table", "json"]), "known are `table` and `json`");
        let many: Vec<String> = (0..40).map(|number| format!("archive-lost-in-room-{number}")).collect();
        let known = many
            .iter()
            .map(String::as_str)
            .chain(["drop-table", "drop-index", "drop-schema"]);
        let told = hint("drop-everything", known);
        assert_eq!(told, "the nearest are `drop-table`, `drop-index` and `drop-schema`");
    }
}
