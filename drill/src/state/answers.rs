//! What the cluster that is in service at the end answers to the scenario's statements (`[[expect.answer]]`).
//!
//! What was answered is evidence; whether it is what was expected is judged with all the rest.

use std::time::Duration;

use reports::{
    Outcome, What,
    event::ExpectedAnswer,
    text::{bytes, counted, lasting},
};
use tokio_postgres::SimpleQueryMessage;

use super::Drill;
use crate::{errors::chain, postgres::Cluster, values};

/// How long one statement may take, with its connection.
const PATIENCE: Duration = Duration::from_secs(10);
/// A longer answer is cut short in the evidence, and is then none that was expected.
const LONGEST: usize = 1_000;

/// Asks every statement of the scenario's and records what was answered. After an outcome that leaves no cluster in
/// service, nothing is asked.
pub async fn ask(drill: &Drill, outcome: Outcome) {
    let cluster = match outcome {
        Outcome::NotRecovered | Outcome::Refused => return,
        Outcome::FalseAlarm => &drill.estate.source,
        _ => drill.estate.restored.as_ref().unwrap_or(&drill.estate.source),
    };
    for (number, expected) in (1..).zip(&drill.desk.scenario.expect.answers) {
        let began = drill.desk.recorder.offset();
        let answered = tokio::time::timeout(
            PATIENCE,
            answered(cluster, expected, drill.estate.site.service.database()),
        )
        .await;
        drill.desk.recorder.external_since("ask the cluster in service", began);
        let answered = answered.unwrap_or_else(|_| Err(format!("no answer within {}", lasting(PATIENCE))));
        let (answer, problem) = match answered {
            Ok(answer) if answer == expected.is || values::are_shown() => (Some(answer), String::new()),
            // It may be the value of a row, and need not be what somebody wrote into the scenario.
            Ok(_) => (None, "it answered something else (--show-values tells what)".to_owned()),
            Err(problem) => (None, problem),
        };
        drill.desk.recorder.record(What::Answered {
            number,
            cluster: cluster.name().to_owned(),
            answer,
            problem,
        });
    }
}

/// The one value of the one row, or why there is none.
async fn answered(cluster: &Cluster, expected: &ExpectedAnswer, applications: &str) -> Result<String, String> {
    let database = match expected.database.as_str() {
        "" => applications,
        named => named,
    };
    let client = cluster.connect("postgres", database).await;
    let client = client.map_err(|error| chain(&error))?;
    let messages = client
        .simple_query(&expected.sql)
        .await
        .map_err(|error| chain(&error))?;
    let rows: Vec<Vec<Option<&str>>> = messages
        .iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|column| row.get(column)).collect()),
            _ => None,
        })
        .collect();
    the_one_value(&rows)
}

fn the_one_value(rows: &[Vec<Option<&str>>]) -> Result<String, String> {
    match rows {
        [] => Err("it answered no row".to_owned()),
        [row] => match row.as_slice() {
            [Some(value)] if value.chars().count() > LONGEST => {
                let cut: String = value.chars().take(LONGEST).collect();
                Ok(format!("{cut}… ({})", bytes(value.len() as u64)))
            }
            [Some(value)] => Ok((*value).to_owned()),
            [None] => Err("it answered NULL".to_owned()),
            columns => Err(format!(
                "its row has {}, and one value is compared",
                counted(columns.len(), "column")
            )),
        },
        several => Err(format!(
            "it answered {}, and one value is compared",
            counted(several.len(), "row")
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::the_one_value;

    #[test]
    fn only_one_value_of_one_row_is_an_answer() {
        assert_eq!(the_one_value(&[vec![Some("")]]), Ok(String::new()));
        assert_eq!(the_one_value(&[vec![Some("t")]]), Ok("t".to_owned()));
        let none: [&[Vec<Option<&str>>]; 5] = [
            &[],
            &[vec![]],
            &[vec![None]],
            &[vec![Some("t"), Some("t")]],
            &[vec![Some("t")], vec![Some("t")]],
        ];
        for rows in none {
            assert!(the_one_value(rows).is_err(), "{rows:?}");
        }
        let long = "x".repeat(1_001);
        assert_ne!(the_one_value(&[vec![Some(&long)]]).as_deref(), Ok(&*long));
    }
}
