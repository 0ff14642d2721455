//! The fixture's service: transformation scripts, their version history, attachments and an audit trail.
//!
//! `writer.rs` is what a writer does, `rows.rs` reads what that leaves, `serves.rs` is what the reference application answers.

use fixtures::enforcement::{REFUSED, TAKEN};

use std::sync::OnceLock;

use fixtures::{SeedPlan, Seeded};
use futures_util::future::BoxFuture;
use reports::text::{bytes, counted};

use super::{
    Credentials, Progress, Rules, Serves, Service, ServiceError, Sizing, StoredHashes, Writes, empty_database,
};
use crate::{
    postgres::Cluster,
    reference::{ReferringTable, fingerprint::sections::Changing},
};

mod rows;
mod serves;
mod writer;

/// Its name.
pub const NAME: &str = "transformations";

/// The service of one drill.
#[derive(Debug, Clone)]
pub struct Transformations {
    /// What is seeded.
    plan: SeedPlan,
    /// What was seeded, once that is done.
    seeded: OnceLock<Seeded>,
}

impl Transformations {
    /// With seed data of that size.
    pub fn new(sizing: Sizing, seed: u64) -> Self {
        let default = SeedPlan::default();
        let plan = match sizing {
            Sizing::Target(bytes) => SeedPlan::for_target_size(bytes, seed),
            Sizing::Numbers {
                scripts,
                versions,
                content_bytes,
            } => SeedPlan {
                seed,
                scripts: scripts.unwrap_or(default.scripts),
                versions_per_script: versions.unwrap_or(default.versions_per_script),
                content_bytes: content_bytes.unwrap_or(default.content_bytes),
                ..default
            },
        };
        Self {
            plan,
            seeded: OnceLock::new(),
        }
    }

    /// What was seeded; nothing before that.
    fn seeded(&self) -> Seeded {
        self.seeded.get().copied().unwrap_or_default()
    }
}

const TABLES: [&str; 5] = [
    "TransformationScripts",
    "TransformationScriptVersions",
    "ScriptAttachments",
    "AuditEvents",
    "__EFMigrationsHistory",
];

const HASHES: StoredHashes = StoredHashes {
    table: "TransformationScriptVersions",
    // `convert_to` and not `"Content"::bytea`, which would read a backslash as an escape.
    counts: r#"SELECT count(*), count(*) FILTER (WHERE sha256(convert_to("Content", 'UTF8')) IS DISTINCT FROM "ContentSha256")
    FROM public."TransformationScriptVersions""#,
    mismatches: r#"SELECT format('script %s version %s', "ScriptId", "VersionNumber"), left("Content", 400)
     FROM public."TransformationScriptVersions"
    WHERE sha256(convert_to("Content", 'UTF8')) IS DISTINCT FROM "ContentSha256" ORDER BY "ScriptId", "VersionNumber" LIMIT 5"#,
};

impl Service for Transformations {
    fn database(&self) -> &str {
        fixtures::DATABASE
    }

    fn create<'a>(
        &'a self,
        cluster: &'a Cluster,
        credentials: &'a Credentials,
    ) -> BoxFuture<'a, Result<(), ServiceError>> {
        Box::pin(async move {
            empty_database(cluster, credentials, self.database()).await?;
            fixtures::migrate(&cluster.connect("postgres", self.database()).await?).await?;
            Ok(())
        })
    }

    fn seed<'a>(
        &'a self,
        cluster: &'a Cluster,
        progress: &'a (dyn Fn(Progress) + Send + Sync),
    ) -> BoxFuture<'a, Result<Vec<(String, u64)>, ServiceError>> {
        Box::pin(async move {
            let connect = || cluster.connect("postgres", self.database());
            let mut loaders = vec![connect().await?, connect().await?];
            let seeded = fixtures::load(&mut loaders, &self.plan, progress).await?;
            let tables = seeded.tables().map(|(table, rows)| (table.to_owned(), rows));
            let _ = self.seeded.set(seeded); // a drill seeds once
            Ok(tables.into())
        })
    }

    fn seed_in_words(&self) -> String {
        format!(
            "{}, {} each, {} a version",
            counted(self.plan.scripts, "script"),
            counted(self.plan.versions_per_script, "version"),
            bytes(self.plan.content_bytes.into())
        )
    }

    fn seed_bytes(&self) -> u64 {
        self.plan.scripts * u64::from(self.plan.versions_per_script) * u64::from(self.plan.content_bytes)
    }

    fn writes(&self) -> Option<&dyn Writes> {
        Some(self)
    }

    fn serves(&self) -> Option<&dyn Serves> {
        Some(self)
    }

    fn probe(&self) -> Option<&str> {
        Some(
            r#"SELECT s."Id", v."Id" FROM "TransformationScripts" s
    JOIN "TransformationScriptVersions" v ON v."ScriptId" = s."Id" AND v."VersionNumber" = s."CurrentVersion" LIMIT 1"#,
        )
    }

    fn tables(&self) -> &[&str] {
        &TABLES
    }

    fn answered_tables(&self) -> &[&str] {
        &fixtures::LIVE_TABLES
    }

    fn changing(&self) -> Changing<'static> {
        &[(
            "TransformationScripts",
            &["CurrentVersion", "IsDeleted", "DeletedAt", "UpdatedAt"],
        )]
    }

    fn stored_hashes(&self) -> Option<&StoredHashes> {
        Some(&HASHES)
    }

    fn rules(&self) -> Option<&Rules> {
        Some(&Rules {
            taken: TAKEN,
            refused: REFUSED,
        })
    }

    fn large_objects(&self) -> Option<&ReferringTable> {
        Some(&ReferringTable {
            table: "ScriptAttachments",
            key: "Id",
            column: "LargeObject",
        })
    }

    fn numbered_table(&self) -> Option<&str> {
        Some(r#""TransformationScripts""#)
    }

    fn stray_write(&self) -> Option<&str> {
        Some(
            r#"INSERT INTO "AuditEvents" ("Kind", "Actor", "OccurredAt") VALUES ('untold-client', 'untold-client', now())"#,
        )
    }
}

/// One with the default seed data, for tests of other rooms.
#[cfg(test)]
pub(crate) fn any() -> &'static Transformations {
    static ANY: std::sync::LazyLock<Transformations> = std::sync::LazyLock::new(|| {
        let numbers = Sizing::Numbers {
            scripts: None,
            versions: None,
            content_bytes: None,
        };
        Transformations::new(numbers, 0)
    });
    &ANY
}
