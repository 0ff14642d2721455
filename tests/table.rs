//! Reading a run's CSV files, the way others' scripts do: by the names of the columns.

use std::{collections::BTreeMap, path::Path};

/// One row: column to cell.
pub type Row = BTreeMap<String, String>;

/// The column names of a table, in their order.
pub fn header(run_dir: &Path, table: &str) -> Vec<String> {
    let mut reader = csv::Reader::from_path(run_dir.join(table)).unwrap();
    reader.headers().unwrap().iter().map(str::to_owned).collect()
}

/// Every row of a table.
pub fn rows(run_dir: &Path, table: &str) -> Vec<Row> {
    let mut reader = csv::Reader::from_path(run_dir.join(table)).unwrap();
    reader.deserialize().map(Result::unwrap).collect()
}

/// The only row of a table.
pub fn row(run_dir: &Path, table: &str) -> Row {
    let mut rows = rows(run_dir, table);
    assert_eq!(rows.len(), 1, "{table} has other than one row");
    rows.remove(0)
}
