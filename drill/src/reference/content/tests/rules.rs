//! Which record decides.

use super::*;
use crate::reference::fingerprint::Sums;

const DATABASE: &str = "transformations";

/// A database with tables, each with so many rows; none: too large to be read.
fn content(tables: &[(&str, Option<i64>)]) -> Content {
    let rows = |rows: Option<i64>| rows.map_or(Rows::TooLarge, |rows| Rows::Sums((0..rows).map(Sums::of).sum()));
    let tables = tables.iter().map(|(name, count)| {
        let table = Table {
            columns: Vec::new(),
            kind: TableKind::Plain,
            rows: rows(*count),
        };
        ((*name).to_owned(), table)
    });
    with(Database {
        tables: tables.collect(),
        ..Database::default()
    })
}

fn with(database: Database) -> Content {
    Content {
        databases: [(DATABASE.to_owned(), database)].into(),
    }
}

fn objects(hashes: &[(u32, i64)]) -> Content {
    with(Database {
        large_objects: LargeObjects::Read(hashes.iter().copied().collect()),
        ..Database::default()
    })
}

/// What is said of a table `t` that has one row now.
fn said(before: &[&[(&str, Option<i64>)]], after: &[&[(&str, Option<i64>)]]) -> &'static str {
    let (before, after): (Vec<_>, Vec<_>) = (
        before.iter().map(|it| content(it)).collect(),
        after.iter().map(|it| content(it)).collect(),
    );
    let (before, after): (Vec<_>, Vec<_>) = (before.iter().collect(), after.iter().collect());
    let found = content(&[("t", Some(1))]);
    let differences = compare(&truth(Scope::Cluster, &before, &after), &found);
    let said = [
        (differences.alike.tables == 1, "alike"),
        (!differences.wrong.is_empty(), "wrong"),
        (!differences.changed.is_empty(), "changed"),
        (!differences.not_compared.is_empty(), "not compared"),
        (!differences.unknown_to_records.is_empty(), "in no record"),
    ];
    let said: Vec<_> = said.into_iter().filter(|(holds, _)| *holds).collect();
    assert_eq!(said.len(), 1, "{differences:?}");
    said[0].1
}

#[test]
fn where_both_sides_agree_it_must_be_so_and_where_they_differ_the_service_changed_it() {
    let (one, two): (&[_], &[_]) = (&[("t", Some(1))], &[("t", Some(2))]);
    assert_eq!(said(&[one], &[one]), "alike");
    assert_eq!(said(&[two], &[two]), "wrong");
    assert_eq!(said(&[one], &[two]), "changed");
    assert_eq!(said(&[two], &[one]), "changed");
    assert_eq!(said(&[], &[]), "in no record");
    assert_eq!(
        said(&[two], &[]),
        "wrong",
        "without a later record the earlier one decides"
    );
    assert_eq!(said(&[one, two], &[one, two]), "alike", "the nearest on either side");
    assert_eq!(said(&[&[]], &[]), "in no record");
    assert_eq!(said(&[&[]], &[one]), "changed", "made between the two");
    assert_eq!(said(&[two], &[&[]]), "changed", "dropped between the two");
    assert_eq!(
        said(&[&[], two], &[]),
        "in no record",
        "dropped before, whatever was there earlier"
    );
}

#[test]
fn a_table_that_was_too_large_for_a_record_is_as_the_records_around_it_say() {
    let (one, two, large): (&[_], &[_], &[_]) = (&[("t", Some(1))], &[("t", Some(2))], &[("t", None)]);
    assert_eq!(said(&[large, one], &[one]), "alike");
    assert_eq!(said(&[large, two], &[large, two]), "wrong");
    assert_eq!(said(&[large, two], &[one]), "changed");
    assert_eq!(
        said(&[large, two], &[]),
        "not compared",
        "it may have been changed since"
    );
    assert_eq!(said(&[two], &[large]), "not compared");
    assert_eq!(said(&[large], &[one]), "not compared");
    assert_eq!(said(&[large, &[]], &[large]), "not compared", "never read");
}

#[test]
fn a_table_that_is_gone_is_wrong_and_a_database_is_one_line() {
    let recorded = content(&[("t", Some(1)), ("u", Some(1))]);
    let held = |found: &Content| compare(&truth(Scope::Cluster, &[&recorded], &[]), found).wrong;
    let without = content(&[("t", Some(1))]);
    assert_eq!(held(&without), ["transformations.u: is not there, with its 1 row"]);
    assert_eq!(
        held(&Content::default()),
        ["database transformations is not there, with its 2 tables"]
    );
}

#[test]
fn a_large_object_that_no_record_knows_belongs_to_a_row_or_is_extra() {
    let recorded = objects(&[(1, 1), (2, 2)]);
    let later = objects(&[(1, 1), (3, 3)]);
    let held = |scope, after: &[&Content], found: &Content| compare(&truth(scope, &[&recorded], after), found);
    let live = objects(&[(1, 1), (2, 2), (9, 9)]);
    assert_eq!(
        held(Scope::Cluster, &[], &live).wrong,
        ["transformations, large object 9: was not there"]
    );
    assert_eq!(
        held(Scope::Source, &[], &live).wrong,
        Vec::<String>::new(),
        "it is written to"
    );
    assert_eq!(held(Scope::Cluster, &[&later], &live).wrong, Vec::<String>::new());
    let mut referred = live.clone();
    referred.databases.get_mut(DATABASE).unwrap().referred = [9].into();
    assert_eq!(held(Scope::Cluster, &[], &referred).wrong, Vec::<String>::new());

    let other = objects(&[(1, 7)]);
    let differences = held(Scope::Cluster, &[&later], &other);
    assert_eq!(
        differences.wrong,
        ["transformations, large object 1: is not what it was"]
    );
    assert_eq!(differences.changed, ["transformations, large object 2"]);
}
