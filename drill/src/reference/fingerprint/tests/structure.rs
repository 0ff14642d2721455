//! The structure of the seeded tables changes: by the service, which is right, or by nobody, which is not.

use std::sync::Arc;

use super::*;
use crate::reference::{Reading, Record, Scope, content, fingerprint::record::Detail};

impl Seeded {
    /// What is true of it now, as a record says it; what the ledger answers for is not summed up.
    async fn record(&self) -> Arc<Record> {
        let tables = fixtures::schema::TABLES.iter();
        let reading = Reading {
            answered_elsewhere: tables
                .filter(|table| **table != "__EFMigrationsHistory")
                .map(|table| (fixtures::DATABASE.to_owned(), qualified("public", table)))
                .collect(),
            ..Reading::default()
        };
        Arc::new(Record::for_tests(content::read(&self.cluster, &reading).await.unwrap()))
    }
}

fn truth(before: &Arc<Record>, after: Option<&Arc<Record>>) -> Truth {
    Truth {
        home: fixtures::DATABASE.to_owned(),
        scope: Scope::Cluster,
        before: vec![Arc::clone(before)],
        after: after.map(Arc::clone).into_iter().collect(),
        backup: None,
    }
}

#[tokio::test]
async fn a_column_that_the_service_changed_is_not_held_against_a_restore() {
    let mut seeded = Seeded::new("fingerprint-structure").await;
    let first = seeded.record().await;
    // A migration as services carry it out: it leaves a row of its own in a table without an integer key.
    seeded
        .run(
            r#"ALTER TABLE "TransformationScripts" ADD COLUMN "Extra" int DEFAULT 7;
               INSERT INTO "__EFMigrationsHistory" VALUES ('0006_extra', '8')"#,
        )
        .await;
    let gained = seeded.record().await;
    seeded.truth = Some(truth(&gained, None));
    let check = seeded.fingerprint(&History::default()).await;
    assert_eq!(check.verdict, Verdict::Pass, "a column more: {check:?}");

    seeded
        .run(
            r#"ALTER TABLE "AuditEvents" DROP COLUMN "Actor"; DROP TABLE "Odd";
               ALTER TABLE "ScriptAttachments" ALTER COLUMN "FileName" TYPE varchar(300)"#,
        )
        .await;
    let check = seeded.fingerprint(&History::default()).await;
    let all = ["AuditEvents", "Odd", "ScriptAttachments"];
    let named = |text: &str| all.iter().all(|table| text.contains(table));
    assert!(
        check.verdict == Verdict::Fail && named(&check.actual),
        "the record has them as seeded: {check:?}"
    );
    let lost = seeded.record().await;
    for truth in [truth(&lost, None), truth(&gained, Some(&lost))] {
        seeded.truth = Some(truth);
        let check = seeded.fingerprint(&History::default()).await;
        assert_eq!(check.verdict, Verdict::Pass, "{check:?}");
        let told = "Not covered: seeded rows of tables that the service gave other columns since: ";
        let rest = check.detail.split_once(told).map(|(_, rest)| rest);
        assert!(rest.is_some_and(named), "{check:?}");
    }

    // Nobody can know more than what was recorded: a record from before the migration knows nothing of it.
    seeded.truth = Some(truth(&first, None));
    let tables = content_fingerprint::check_tables(&seeded.subject()).await;
    assert_eq!(tables.verdict, Verdict::Fail, "{tables:?}");
    assert!(
        tables
            .actual
            .contains(r#""public"."__EFMigrationsHistory": 6 rows, 5 expected"#),
        "{tables:?}"
    );
}

#[tokio::test]
async fn a_check_without_a_record_says_so_and_one_with_names_what_it_left_out() {
    let mut seeded = Seeded::new("fingerprint-tables").await;
    let check = content_fingerprint::check_tables(&seeded.subject()).await;
    assert_eq!(
        (check.verdict, check.detail.as_str()),
        (
            Verdict::Unknown,
            "nothing was recorded before the point that was reached"
        )
    );
    seeded
        .run("CREATE TABLE changing AS SELECT 1 AS a; CREATE UNLOGGED TABLE scratch AS SELECT 1 AS a; CREATE TABLE kept AS SELECT 1 AS a")
        .await;
    let before = seeded.record().await;
    seeded.run("INSERT INTO changing VALUES (2)").await;
    let after = seeded.record().await;
    seeded.run("INSERT INTO changing VALUES (3); DELETE FROM scratch").await;
    seeded.truth = Some(truth(&before, Some(&after)));
    let check = content_fingerprint::check_tables(&seeded.subject()).await;
    assert_eq!(check.verdict, Verdict::Pass, "{check:?}");
    assert_eq!(
        check.detail,
        r#"Not covered: changed by the service about then: transformations."public"."changing"; unlogged, so that no backup brings its rows back: transformations."public"."scratch""#
    );
    seeded.run("DELETE FROM kept").await;
    let check = content_fingerprint::check_tables(&seeded.subject()).await;
    assert_eq!(
        (check.verdict, check.actual.as_str()),
        (
            Verdict::Fail,
            r#"differs: transformations."public"."kept": 0 rows, 1 expected"#
        )
    );
}

#[tokio::test]
async fn a_reference_by_ranges_of_keys_names_the_ranges() {
    let mut seeded = Seeded::new("fingerprint-ranges").await;
    for recorded in &mut seeded.reference.sections {
        let Detail::Rows(rows) = &recorded.detail else { continue };
        let mut sums: std::collections::BTreeMap<i64, Sums> = std::collections::BTreeMap::new();
        for (key, hash) in rows {
            let range = sums.entry(key >> 10).or_default();
            *range = range.plus(Sums::of(*hash));
        }
        recorded.detail = Detail::Ranges {
            shift: 10,
            sums: sums.into_iter().collect(),
        };
    }
    assert_eq!(seeded.fingerprint(&History::default()).await.verdict, Verdict::Pass);
    seeded.run(r#"DELETE FROM "AuditEvents" WHERE "Id" = 5"#).await;
    let check = seeded.fingerprint(&History::default()).await;
    assert_eq!(check.actual, "differs: AuditEvents (799 rows, 800 expected)");
    let told = "AuditEvents: keys 0 to 1023 differ (799 rows, 800 expected).";
    assert!(check.detail.starts_with(told), "{check:?}");
}
