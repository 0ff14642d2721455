//! Collations, isolation.

use std::fs;

use reports::{CheckId, Phase, Verdict};

use super::{World, fails, passes};
use crate::{
    postgres::TimelineId,
    verify::{
        collations,
        isolation::{self, Production},
    },
};

#[tokio::test(flavor = "multi_thread")]
async fn a_collation_of_another_version_is_named() {
    let world = World::new("collations", &[]).await;
    passes(&collations::check(&world.subject(None)).await);
    world
        .sql("UPDATE pg_database SET datcollversion = '0' WHERE datname = current_database()")
        .await;
    let result = collations::check(&world.subject(None)).await;
    fails(&result, &["database transformations: recorded 0", "REINDEX"]);
    assert_eq!(result.check, CheckId::Collations);
    world
        .sql(
            r#"UPDATE pg_database SET datcollversion = NULL; CREATE COLLATION mine (locale = 'C.UTF-8');
               CREATE INDEX by_mine ON "AuditEvents" ("Actor" COLLATE mine); UPDATE pg_collation SET collversion = '0' WHERE collname = 'mine'"#,
        )
        .await;
    fails(
        &collations::check(&world.subject(None)).await,
        &["collation mine: recorded 0", "REINDEX by_mine"],
    );
    assert_eq!(
        collations::cures(&world.admin).await.unwrap(),
        ["REINDEX INDEX by_mine", "ALTER COLLATION mine REFRESH VERSION"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_would_archive_into_production_is_named() {
    let settings = [
        ("archive_mode", "on"),
        ("archive_command", "cp %p /production/archive/%f"),
        ("wal_level", "logical"),
    ];
    let world = World::new("isolation", &settings).await;
    let production = Production::record("/production/archive".as_ref(), TimelineId(1)).unwrap();
    fails(
        &isolation::check(&world.subject(None), Some(&production)).await,
        &["writes into production's archive: cp %p"],
    );
    let elsewhere = Production::record("/elsewhere".as_ref(), TimelineId(1)).unwrap();
    fails(
        &isolation::check(&world.subject(None), Some(&elsewhere)).await,
        &["it cannot be told where archive_command archives to"],
    );
    world.sql("ALTER SYSTEM SET archive_command = ''").await;
    world.sql("SELECT pg_reload_conf()").await;
    while isolation::check(&world.subject(None), None).await.verdict == Verdict::Fail {
        tokio::task::yield_now().await; // a session takes the new setting over in its own time
    }
    world
        .sql("CREATE SUBSCRIPTION follows CONNECTION 'host=/nowhere' PUBLICATION p WITH (connect = false)")
        .await;
    passes(&isolation::check(&world.subject(None), None).await);
    world.sql("UPDATE pg_subscription SET subenabled = true").await;
    fails(
        &isolation::check(&world.subject(None), None).await,
        &["subscription follows"],
    );
    world.sql("UPDATE pg_subscription SET subenabled = false").await;
}

#[tokio::test]
async fn what_a_restored_cluster_archived_is_named_and_what_the_failed_primary_did_is_not() {
    let archive = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| fs::write(archive.path().join(name), text).unwrap();
    put("000000010000000000000001", "");
    put("00000001000000000000000A.00000028.backup", "");
    put("README", "");
    fs::create_dir(archive.path().join("00000002.history")).unwrap();
    let production = Production::record(archive.path(), TimelineId(1)).unwrap();
    for name in [
        "000000010000000000000002",
        ".000000010000000000000003.tmp",
        "00000001000000000000000B.00000028.backup",
    ] {
        put(name, "the last that the primary archived");
    }
    passes(&production.look_again(Phase::AfterCutover, "restored-1").await);
    put("00000003.history", "");
    put("000000030000000000000003", "");
    put("README", "changed");
    let named = [
        "00000003.history is new",
        "000000030000000000000003 is new",
        "README is changed",
    ];
    fails(&production.look_again(Phase::AfterCutover, "restored-1").await, &named);
    let gone = Production::record(&archive.path().join("nowhere"), TimelineId(1)).unwrap();
    passes(&gone.look_again(Phase::AfterCutover, "restored-1").await);
}
