//! Checks against real clusters: a healthy one passes, a damaged one fails and the damage is named.

mod indexes;
mod inventory;
mod structure;
mod surroundings;
mod wal;

use fixtures::{Credentials, SeedPlan};
use rand::{SeedableRng as _, rngs::StdRng};
use reports::{CheckResult, Phase, Verdict};
use tokio_postgres::Client;

use super::Subject;
use crate::{
    postgres::{Cluster, ClusterOptions, Request, Silent, Storage, WorkDir, locate},
    reference::{Reading, Record, SharedLog, Truth},
    service::{Service as _, transformations},
};

/// A seeded cluster of its own.
pub(super) struct World {
    pub(super) cluster: Cluster,
    pub(super) credentials: Credentials,
    pub(super) admin: Client,
    pub(super) work: WorkDir,
}

impl World {
    pub(super) async fn new(name: &str, settings: &[(&str, &str)]) -> Self {
        let installation = locate(&Request::default(), &Silent).await.unwrap();
        let work = WorkDir::create(Storage::Memory, name).unwrap();
        let settings = settings
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let options = ClusterOptions {
            settings,
            durable: false,
            ..ClusterOptions::default()
        };
        let mut cluster = Cluster::create(&installation, &work, &options).await.unwrap();
        cluster.start().await.unwrap();
        let credentials = Credentials::generate(&mut StdRng::seed_from_u64(1));
        let admin = cluster.connect("postgres", "postgres").await.unwrap();
        fixtures::create_roles(&admin, &credentials).await.unwrap();
        fixtures::create_database(&admin, fixtures::DATABASE).await.unwrap();
        let database = cluster.connect("postgres", fixtures::DATABASE).await.unwrap();
        fixtures::migrate(&database).await.unwrap();
        let mut loaders = [database];
        fixtures::load(&mut loaders, &plan(), &|_| ()).await.unwrap();
        let [admin] = loaders;
        Self {
            cluster,
            credentials,
            admin,
            work,
        }
    }

    /// What is true of it now.
    pub(super) async fn truth(&self) -> Truth {
        let reading = Reading {
            system_rows: true,
            large_objects: transformations::any().large_objects().copied(),
            ..Reading::default()
        };
        let record = Record::take(&self.cluster, "now", &reading, None).await.unwrap();
        let log = SharedLog::of(transformations::any().database());
        log.with(|log| {
            log.add(record);
            log.last(self.cluster.recorded_identifier())
        })
    }

    pub(super) fn subject<'a>(&'a self, truth: Option<&'a Truth>) -> Subject<'a> {
        Subject {
            cluster: &self.cluster,
            name: "source",
            phase: Phase::Source,
            service: transformations::any(),
            credentials: &self.credentials,
            truth,
        }
    }

    pub(super) async fn sql(&self, sql: &str) {
        self.admin.batch_execute(sql).await.unwrap();
    }

    /// Carries out what a check says would cure what it found; it must say something.
    pub(super) async fn cure<T: Statement>(&self, statements: Vec<T>) {
        assert!(!statements.is_empty());
        for statement in statements {
            self.sql(statement.text()).await;
        }
    }

    pub(super) async fn restart(&mut self) {
        self.cluster.start().await.unwrap();
        self.admin = self.cluster.connect("postgres", fixtures::DATABASE).await.unwrap();
    }
}

/// A statement, with or without the database that it belongs to: here it is the service's.
pub(super) trait Statement {
    fn text(&self) -> &str;
}

impl Statement for String {
    fn text(&self) -> &str {
        self
    }
}

impl Statement for (String, String) {
    fn text(&self) -> &str {
        assert_eq!(self.0, fixtures::DATABASE);
        &self.1
    }
}

pub(super) fn plan() -> SeedPlan {
    SeedPlan {
        scripts: 300,
        ..SeedPlan::default()
    }
}

#[track_caller]
pub(super) fn passes(result: &CheckResult) {
    assert_eq!(result.verdict, Verdict::Pass, "{result:#?}");
}

#[track_caller]
pub(super) fn fails(result: &CheckResult, names: &[&str]) {
    assert_eq!(result.verdict, Verdict::Fail, "{result:#?}");
    for name in names {
        assert!(
            result.detail.contains(name) || result.actual.contains(name),
            "{name} is not named: {result:#?}"
        );
    }
}
