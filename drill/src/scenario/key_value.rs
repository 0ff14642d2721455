//! One value of a scenario file, and what TOML can have there; `de.rs` makes types of it.

use toml::{Spanned, de::DeValue};

use super::{
    Place, ScenarioError,
    table::{Source, Table},
};

/// One value with its key.
#[derive(Debug, Clone, Copy)]
pub(super) struct KeyValue<'t> {
    source: Source<'t>,
    key: &'t str,
    value: &'t Spanned<DeValue<'t>>,
}

impl<'t> KeyValue<'t> {
    /// The value of `key`.
    pub(super) fn new(source: Source<'t>, key: &'t str, value: &'t Spanned<DeValue<'t>>) -> Self {
        Self { source, key, value }
    }

    /// Its key.
    pub(super) fn key(&self) -> &'t str {
        self.key
    }

    /// Its value as TOML has it.
    pub(super) fn value(&self) -> &'t DeValue<'t> {
        self.value.get_ref()
    }

    /// Where the value begins.
    pub(super) fn start(&self) -> usize {
        self.value.span().start
    }

    /// Its place.
    pub(super) fn place(&self) -> Place {
        self.source.place(self.start())
    }

    /// The error for a value of another type.
    pub(super) fn wrong_type(&self, expected: impl Into<String>) -> ScenarioError {
        let found = match self.value() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a number with a point",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        ScenarioError::WrongType {
            place: self.place(),
            key: self.key.to_owned(),
            expected: expected.into(),
            found,
        }
    }

    /// The error for a value that is not valid.
    pub(super) fn bad(&self, problem: impl Into<String>) -> ScenarioError {
        let value = match self.value() {
            DeValue::String(text) => text.to_string(),
            _ => self.source.text.get(self.value.span()).unwrap_or_default().to_owned(),
        };
        ScenarioError::BadValue {
            place: self.place(),
            key: self.key.to_owned(),
            value,
            problem: problem.into(),
        }
    }

    /// A string.
    pub(super) fn string(self) -> Result<&'t str, ScenarioError> {
        self.value().as_str().ok_or_else(|| self.wrong_type("a string"))
    }

    /// `true` or `false`.
    pub(super) fn boolean(self) -> Result<bool, ScenarioError> {
        self.value().as_bool().ok_or_else(|| self.wrong_type("true or false"))
    }

    /// A whole number from `least` to `most`.
    pub(super) fn integer(self, least: u64, most: u64) -> Result<u64, ScenarioError> {
        let number = self.value().as_integer().ok_or_else(|| self.wrong_type("an integer"))?;
        u64::from_str_radix(number.as_str(), number.radix())
            .ok()
            .filter(|number| (least..=most).contains(number))
            .ok_or_else(|| self.bad(out_of(least, most)))
    }

    /// A whole number of either sign.
    pub(super) fn signed(self) -> Result<i128, ScenarioError> {
        let number = self.value().as_integer().ok_or_else(|| self.wrong_type("an integer"))?;
        i128::from_str_radix(number.as_str(), number.radix()).map_err(|_| self.bad("it does not fit 64 bits"))
    }

    /// A list; each entry goes by the list's key.
    pub(super) fn list(self) -> Result<Vec<Self>, ScenarioError> {
        let array = self.value().as_array().ok_or_else(|| self.wrong_type("a list"))?;
        Ok(array.iter().map(|value| Self { value, ..self }).collect())
    }

    /// A table, which errors call `name`.
    pub(super) fn table(self, name: &str) -> Result<Table<'t>, ScenarioError> {
        let table = self.value().as_table().ok_or_else(|| self.wrong_type("a table"))?;
        Ok(Table::new(self.source, name, self.start(), table))
    }
}

/// What is wrong with a number that is not from `least` to `most`.
pub(super) fn out_of(least: u64, most: u64) -> String {
    match most {
        u64::MAX => format!("it must be {least} or more"),
        _ => format!("it must be from {least} to {most}"),
    }
}
