//! One value of a scenario file, and everything it can be read as.

use std::time::Duration;

use toml::{Spanned, de::DeValue};

use super::{
    Named, Place, ScenarioError,
    named::hint,
    reader::{Source, Table},
};

/// One value with its key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item<'t> {
    source: Source<'t>,
    key: &'t str,
    value: &'t Spanned<DeValue<'t>>,
}

impl<'t> Item<'t> {
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
    pub(super) fn wrong_type(&self, expected: &'static str) -> ScenarioError {
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
            expected,
            found,
        }
    }

    /// The error for a value that means nothing.
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

    /// A string that says something.
    pub(super) fn text(self) -> Result<String, ScenarioError> {
        match self.string()? {
            text if text.trim().is_empty() => Err(self.bad("it must not be empty")),
            text => Ok(text.to_owned()),
        }
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
            .ok_or_else(|| match most {
                u64::MAX => self.bad(format!("it must be {least} or more")),
                _ => self.bad(format!("it must be from {least} to {most}")),
            })
    }

    /// A whole number of either sign, in decimal.
    pub(super) fn integer_text(self) -> Result<String, ScenarioError> {
        let number = self.value().as_integer().ok_or_else(|| self.wrong_type("an integer"))?;
        i64::from_str_radix(number.as_str(), number.radix())
            .map(|number| number.to_string())
            .map_err(|_| self.bad("it does not fit 64 bits"))
    }

    /// A whole number that fits 32 bits.
    pub(super) fn count(self, least: u32) -> Result<u32, ScenarioError> {
        let number = self.integer(u64::from(least), u64::from(u32::MAX))?;
        u32::try_from(number).map_err(|_| self.bad("it is too large"))
    }

    /// A duration such as `1h 30min`.
    pub(super) fn duration(self) -> Result<Duration, ScenarioError> {
        let text = self
            .value()
            .as_str()
            .ok_or_else(|| self.wrong_type("a duration such as \"1h 30min\""))?;
        humantime::parse_duration(text)
            .map_err(|error| self.bad(format!("{error}; write a duration such as \"1h 30min\" or \"2s\"")))
    }

    /// One of several names.
    pub(super) fn choice<T: Named>(self) -> Result<T, ScenarioError> {
        self.one_of(T::ALL, T::name)
    }

    /// One of several names of a type of another crate.
    pub(super) fn one_of<'n, T: Copy>(self, all: &[T], name: impl Fn(T) -> &'n str) -> Result<T, ScenarioError> {
        let text = self.string()?;
        all.iter()
            .copied()
            .find(|value| name(*value) == text)
            .ok_or_else(|| self.bad(hint(text, all.iter().map(|value| name(*value)))))
    }

    /// Bytes written as hexadecimal digits; blanks between them are allowed.
    pub(super) fn hex(self) -> Result<Vec<u8>, ScenarioError> {
        let digits: String = self.string()?.split_whitespace().collect();
        if digits.is_empty() {
            return Err(self.bad("it must hold at least one byte"));
        }
        hex::decode(digits).map_err(|error| self.bad(format!("{error}; write two hexadecimal digits a byte")))
    }

    /// A list; each entry goes by the list's key.
    pub(super) fn list(self) -> Result<Vec<Self>, ScenarioError> {
        let array = self.value().as_array().ok_or_else(|| self.wrong_type("a list"))?;
        Ok(array.iter().map(|value| Self { value, ..self }).collect())
    }

    /// A list, or one value in place of a list of one.
    pub(super) fn one_or_more(self) -> Result<Vec<Self>, ScenarioError> {
        if !self.value().is_array() {
            return Ok(vec![self]);
        }
        match self.list()? {
            list if list.is_empty() => Err(self.bad("the list must not be empty")),
            list => Ok(list),
        }
    }

    /// A table, which errors call `name`.
    pub(super) fn table(self, name: &str) -> Result<Table<'t>, ScenarioError> {
        let table = self.value().as_table().ok_or_else(|| self.wrong_type("a table"))?;
        Ok(Table::new(self.source, name, self.start(), table))
    }
}
