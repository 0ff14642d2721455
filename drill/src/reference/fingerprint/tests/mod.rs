//! On a real PostgreSQL 16: what was done to the rows, and what the two checks of content say about it.

mod rows;
mod structure;

use fixtures::{Credentials, SeedPlan};
use rand::{SeedableRng as _, rngs::StdRng};
use reports::{CheckResult, Phase, Verdict};
use tokio_postgres::Client;

use super::{record::Reference, *};
use crate::{
    errors::chain,
    ledger::{History, Operation, OperationKind},
    postgres::{Cluster, ClusterOptions, Request, Storage, WorkDir, locate},
    reference::Truth,
    service::transformations,
    verify::{
        Subject,
        content_fingerprint::{self, Against},
        content_hash,
    },
};

/// A seeded database, with a table that holds every kind of type without a hash.
struct Seeded {
    cluster: Cluster,
    admin: Client,
    credentials: Credentials,
    reference: Reference,
    truth: Option<Truth>,
    _work: WorkDir,
}

const ODD_TYPES: &str = r#"
    SET ROLE app_admin;
    CREATE DOMAIN document AS json; CREATE TYPE pair AS (a int, b point); CREATE TYPE mood AS ENUM ('fair', 'foul');
    CREATE TABLE "Odd" (id int PRIMARY KEY, "A json" json, d document, a json[], p point, c pair, r int4range, m mood,
                        x text[], v varchar(9), o oid, f float8, b bytea, n name, g int GENERATED ALWAYS AS (id * 2) STORED);
    INSERT INTO "Odd" SELECT g, '{"a": 1}', '[2]', ARRAY['3'::json], '(4,5)', '(6,"(7,8)")', '[9,10)', 'fair',
                             '{x,y}', 'v', 11, 0.1, '\x0c', 'n' FROM generate_series(1, 3) AS g;
    RESET ROLE"#;

impl Seeded {
    async fn new(name: &str) -> Self {
        let work = WorkDir::create(Storage::Memory, name).unwrap();
        let installation = match locate(&Request::default(), &|message: &str| eprintln!("{message}")).await {
            Ok(installation) => installation,
            Err(error) => panic!("these tests need a PostgreSQL 16: {}", chain(&error)),
        };
        let options = ClusterOptions {
            name: "restored".into(),
            durable: false,
            ..ClusterOptions::default()
        };
        let mut cluster = Cluster::create(&installation, &work, &options).await.unwrap();
        cluster.start().await.unwrap();
        let credentials = Credentials::generate(&mut StdRng::seed_from_u64(1));
        let postgres = cluster.connect("postgres", "postgres").await.unwrap();
        fixtures::create_roles(&postgres, &credentials).await.unwrap();
        fixtures::create_database(&postgres, fixtures::DATABASE).await.unwrap();
        let mut loaders = vec![cluster.connect("postgres", fixtures::DATABASE).await.unwrap()];
        fixtures::migrate(&loaders[0]).await.unwrap();
        // More than 1,024 versions, so that there are several ranges of keys.
        let plan = SeedPlan {
            scripts: 800,
            ..SeedPlan::default()
        };
        fixtures::load(&mut loaders, &plan, &|_| {}).await.unwrap();
        let admin = loaders.remove(0);
        admin.batch_execute(ODD_TYPES).await.unwrap();
        let config = cluster.config("postgres", fixtures::DATABASE);
        let reference = content_fingerprint::of_seed(&config, transformations::any())
            .await
            .unwrap();
        Self {
            cluster,
            admin,
            credentials,
            reference,
            truth: None,
            _work: work,
        }
    }

    fn subject(&self) -> Subject<'_> {
        Subject {
            cluster: &self.cluster,
            name: "restored-1",
            phase: Phase::Restored,
            service: transformations::any(),
            credentials: &self.credentials,
            truth: self.truth.as_ref(),
        }
    }

    async fn fingerprint(&self, history: &History) -> CheckResult {
        content_fingerprint::check(
            &self.subject(),
            Against::Seed {
                reference: &self.reference,
                history,
            },
        )
        .await
    }

    async fn run(&self, sql: &str) {
        self.admin
            .batch_execute(sql)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {}", chain(&error)));
    }

    /// Does something to the database, checks, and takes it back; what the check says must contain all of `telling`.
    async fn caught(&self, damage: &str, repair: &str, telling: &[&str]) {
        self.run(damage).await;
        let check = self.fingerprint(&History::default()).await;
        assert_eq!(check.verdict, Verdict::Fail, "{damage}: {check:?}");
        let said = format!("{}: {}", check.actual, check.detail);
        for text in telling {
            assert!(said.contains(text), "{damage}: {text:?} is not in {said}");
        }
        self.run(repair).await;
        let check = self.fingerprint(&History::default()).await;
        assert_eq!(check.verdict, Verdict::Pass, "{repair}: {check:?}");
    }
}

/// Undone by running it again.
const SWAP: &str = r#"
    UPDATE "TransformationScriptVersions" v SET "Content" = o."Content", "ContentSha256" = o."ContentSha256"
      FROM "TransformationScriptVersions" o WHERE v."Id" IN (7, 1207) AND o."Id" = 1214 - v."Id""#;

#[tokio::test]
async fn what_the_workload_may_change_is_not_held_against_anybody() {
    let seeded = Seeded::new("fingerprint-touched").await;
    let touches = |key| Operation {
        invoked_ns: 1,
        key,
        kind: OperationKind::AddVersion,
        ..Operation::UNKNOWN
    };
    let history = History {
        operations: [3, 12, 3, 900].map(touches).to_vec(),
        ..History::default()
    };
    let work = r#"
        UPDATE "TransformationScripts" SET "CurrentVersion" = 77 WHERE "Id" IN (3, 12);
        INSERT INTO "TransformationScripts" ("Name", "CurrentVersion", "CreatedAt", "UpdatedAt") VALUES ('live', 1, now(), now());
        INSERT INTO "TransformationScriptVersions" ("ScriptId", "VersionNumber", "Content", "ContentSha256", "CreatedBy", "CreatedAt")
            VALUES (3, 77, 'live', sha256('live'), 'writer', now());
        INSERT INTO "AuditEvents" ("Kind", "Actor", "OccurredAt") VALUES ('live', 'writer', now());
        SELECT lo_from_bytea(0, 'live')"#;
    seeded.run(work).await;
    let honest = seeded.fingerprint(&history).await;
    assert_eq!(honest.verdict, Verdict::Pass, "{honest:?}");
    assert!(
        honest
            .detail
            .contains("Of 2 scripts that the workload may have changed"),
        "{honest:?}"
    );

    let unexplained = seeded.fingerprint(&History::default()).await;
    assert_eq!(unexplained.verdict, Verdict::Fail);
    let named = "TransformationScripts 3 is not what it was; TransformationScripts 12 is not what it was.";
    assert!(unexplained.detail.starts_with(named), "{unexplained:?}");

    let damaged = History {
        damage: vec!["line 9 cannot be read".into()],
        ..History::default()
    };
    let damaged = seeded.fingerprint(&damaged).await;
    assert_eq!(damaged.verdict, Verdict::Unknown, "{damaged:?}");

    seeded
        .run(r#"UPDATE "TransformationScripts" SET "Name" = "Name" || '!' WHERE "Id" = 12"#)
        .await;
    let renamed = seeded.fingerprint(&history).await;
    assert_eq!(renamed.verdict, Verdict::Fail, "{renamed:?}");
    assert!(
        renamed
            .detail
            .starts_with("TransformationScripts, columns that never change 12 is not what it was."),
        "{renamed:?}"
    );
}

async fn hashes(seeded: &Seeded) -> CheckResult {
    content_hash::check(&seeded.subject()).await.unwrap()
}

#[tokio::test]
async fn content_without_its_hash_is_named_by_script_and_version() {
    let seeded = Seeded::new("content-hash").await;
    let honest = hashes(&seeded).await;
    assert_eq!(honest.verdict, Verdict::Pass, "{honest:?}");
    assert!(!honest.detail.contains("by 0 parallel workers"), "{honest:?}");
    // A backslash and a character of several bytes are content like any other.
    seeded
        .run(
            r#"UPDATE "TransformationScriptVersions" SET "Content" = E'\\x41 \\ ä',
        "ContentSha256" = sha256(convert_to(E'\\x41 \\ ä', 'UTF8')) WHERE "ScriptId" = 2 AND "VersionNumber" = 1"#,
        )
        .await;
    assert_eq!(hashes(&seeded).await.verdict, Verdict::Pass);
    seeded.run(r#"UPDATE "TransformationScriptVersions" SET "Content" = "Content" || ' ' WHERE "ScriptId" IN (5, 40) AND "VersionNumber" = 1"#).await;
    let changed = hashes(&seeded).await;
    assert_eq!(changed.verdict, Verdict::Fail, "{changed:?}");
    assert!(
        changed.detail.starts_with("script 5 version 1; script 40 version 1."),
        "{changed:?}"
    );
    seeded.run(r#"TRUNCATE "TransformationScripts" CASCADE"#).await;
    assert_eq!(hashes(&seeded).await.verdict, Verdict::Unknown);
}

/// Why there is a second sum: PostgreSQL's hash of a row is linear in the hashes of its columns.
#[tokio::test]
async fn a_plain_sum_of_hashes_does_not_see_a_swap() {
    let seeded = Seeded::new("fingerprint-swap").await;
    let read = async || {
        let config = seeded.cluster.config("postgres", fixtures::DATABASE);
        let reference = content_fingerprint::of_seed(&config, transformations::any())
            .await
            .unwrap();
        let versions = reference
            .sections
            .iter()
            .find(|it| it.section.name == "TransformationScriptVersions");
        versions.unwrap().total
    };
    let before = read().await;
    seeded.run(SWAP).await;
    let after = read().await;
    assert_eq!((before.rows, before.hashes), (after.rows, after.hashes));
    assert_ne!(before.products, after.products);
}

#[test]
fn sums_do_not_depend_on_how_they_are_put_together() {
    let hashes = [i64::MIN, -1, 0, 1, i64::MAX, 0x1234_5678_9abc_def0];
    let sums: Sums = hashes.into_iter().map(Sums::of).sum();
    let (first, last) = hashes.split_at(2);
    let of = |hashes: &[i64]| hashes.iter().rev().copied().map(Sums::of).sum::<Sums>();
    assert_eq!(of(last).plus(of(first)), sums);
    assert_eq!(Sums::of(-1).products, 4_294_967_295_u64.wrapping_neg());
}
