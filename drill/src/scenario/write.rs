//! Writes a scenario as a file that reads as the same scenario.

use serde::Serialize;
use toml::{Table, Value, ser::Error};

use super::{Fault, Given, ObjectivesOverride, RecoveryWish, Scenario};

impl Scenario {
    /// The scenario as the text of a file: read again, with the same kinds, it is this scenario. Comments are lost.
    ///
    /// # Errors
    /// If a number is greater than TOML has, which is 2⁶³ - 1.
    pub fn to_toml(&self) -> Result<String, Error> {
        let mut file = Table::new();
        let texts = [
            ("id", &self.id),
            ("title", &self.title),
            ("why", &self.why),
            ("source", &self.source),
        ];
        file.extend(texts.map(|(key, text)| (key.to_owned(), Value::from(text.as_str()))));
        if self.given != Given::default() {
            let mut given = Table::try_from(&self.given)?;
            if !self.given.methods.is_empty() {
                given.remove("backups"); // `methods` says how many
            }
            put(&mut file, "given", &given)?;
        }
        if let Some(roles) = &self.roles {
            put(
                &mut file,
                "operator",
                &Table::from_iter([("roles".to_owned(), Value::try_from(roles)?)]),
            )?;
        }
        if self.recovery != RecoveryWish::default() {
            put(&mut file, "recovery", &self.recovery)?;
        }
        if self.objectives != ObjectivesOverride::default() {
            put(&mut file, "objectives", &self.objectives)?;
        }
        if !self.faults.is_empty() {
            let faults = self.faults.iter().map(fault).collect::<Result<Vec<_>, _>>()?;
            put(&mut file, "fault", &faults)?;
        }
        put(&mut file, "expect", &self.expect)?;
        toml::to_string(&file)
    }
}

fn fault(fault: &Fault) -> Result<Table, Error> {
    let mut table = Table::new();
    put(&mut table, "at", &fault.at)?;
    put(&mut table, "kind", fault.action.kind())?;
    put(&mut table, "target", &fault.target)?;
    table.extend(
        fault
            .files
            .as_ref()
            .map(Table::try_from)
            .transpose()?
            .unwrap_or_default(),
    );
    table.extend(Table::try_from(fault.action.keys())?);
    Ok(table)
}

fn put<T: Serialize + ?Sized>(table: &mut Table, key: &str, value: &T) -> Result<(), Error> {
    table.insert(key.to_owned(), Value::try_from(value)?);
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#[path = "write_tests.rs"]
mod tests;
