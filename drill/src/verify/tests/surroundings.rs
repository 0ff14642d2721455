//! Collations, isolation.

use std::path::PathBuf;

use reports::CheckId;

use super::{World, fails, passes};
use crate::verify::{collations, isolation};

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
    let archive = PathBuf::from("/production/archive");
    fails(
        &isolation::check(&world.subject(None), Some(&archive)).await,
        &["writes into production's archive: cp %p"],
    );
    let elsewhere = PathBuf::from("/elsewhere");
    let result = isolation::check(&world.subject(None), Some(&elsewhere)).await;
    passes(&result);
    assert!(result.detail.contains("archives elsewhere"), "{result:#?}");
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
