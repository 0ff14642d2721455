//! `[expect]`: how a drill must go and end.

use reports::{CheckId, Outcome, Step, event::ExpectedAnswer};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::key_types::{AtLeast, Between, Text, via};
use super::schema;

/// How a drill of this scenario must end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename = "[expect]")]
pub struct Expect {
    /// Its outcome.
    #[schemars(schema_with = "schema::outcome")]
    pub outcome: Outcome,
    /// The checks that must notice the damage; an empty list: none may. Absent: the scenario does not say.
    #[serde(default)]
    #[schemars(schema_with = "schema::checks")]
    pub detected_by: Option<Vec<CheckId>>,
    /// Whether the checks in `detected_by` are all that may notice anything.
    #[serde(default)]
    pub only: bool,
    /// How many backups must be rejected as unusable.
    pub rejected: Option<u32>,
    /// How often a restore must be begun (step 6).
    pub tries: Option<u32>,
    /// Texts that must occur among the findings, as reports display them: "critical: …".
    #[serde(default, deserialize_with = "texts")]
    #[schemars(with = "Vec<Text>")]
    pub findings: Vec<String>,
    /// At least so many commits must be acknowledged.
    #[serde(default, deserialize_with = "via::<AtLeast<1>, _, _>")]
    #[schemars(with = "Option<AtLeast<1>>")]
    pub least_commits: Option<u64>,
    /// The step at which a drill must end that does not end in a recovery.
    #[serde(default, deserialize_with = "step")]
    #[schemars(with = "Option<Between<1, 14>>")]
    pub at_step: Option<Step>,
    /// What the cluster in service at the end must answer.
    #[serde(default, rename = "answer", deserialize_with = "answers")]
    #[schemars(with = "Vec<Answer>")]
    pub answers: Vec<ExpectedAnswer>,
}

fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let texts = Vec::<Text>::deserialize(deserializer)?;
    Ok(texts.into_iter().map(String::from).collect())
}

fn step<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Step>, D::Error> {
    let number = Between::<1, 14>::deserialize(deserializer)?.get();
    Ok(Step::ALL.into_iter().find(|step| u64::from(step.number()) == number))
}

/// A statement, and what it must answer.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename = "[[expect.answer]]")]
struct Answer {
    /// The statement, run as superuser at the end.
    sql: Text,
    /// In which database. Absent: the application's.
    database: Option<Text>,
    /// The one value of its one row, as text.
    is: String,
}

fn answers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<ExpectedAnswer>, D::Error> {
    let answers = Vec::<Answer>::deserialize(deserializer)?;
    let answers = answers.into_iter().map(|answer| ExpectedAnswer {
        sql: answer.sql.into(),
        database: answer.database.map(String::from).unwrap_or_default(),
        is: answer.is,
    });
    Ok(answers.collect())
}
