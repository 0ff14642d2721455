//! Reads `[expect]`: how a drill must go and end.

use reports::{CheckId, Outcome, Step, event::ExpectedAnswer};

use super::{Expect, ScenarioError, item::Item};

pub(super) const OUTCOMES: [(Outcome, &str); 7] = [
    (Outcome::Recovered, "recovered"),
    (Outcome::RecoveredRpoMissed, "recovered-rpo-missed"),
    (Outcome::RecoveredRtoMissed, "recovered-rto-missed"),
    (Outcome::RecoveredBothMissed, "recovered-both-missed"),
    (Outcome::NotRecovered, "not-recovered"),
    (Outcome::Refused, "refused"),
    (Outcome::FalseAlarm, "false-alarm"),
];

pub(super) fn read(item: Item<'_>) -> Result<Expect, ScenarioError> {
    let mut table = item.table("[expect]")?;
    let expect = Expect {
        outcome: table
            .need("outcome", |item| item.one_of(&OUTCOMES, |(_, name)| name))?
            .0,
        detected_by: table.maybe("detected_by", |item| {
            item.list()?
                .into_iter()
                .map(|item| item.one_of(CheckId::ALL, CheckId::id))
                .collect()
        })?,
        only: table.maybe("only", Item::boolean)?.unwrap_or(false),
        rejected: table.maybe("rejected", |item| item.count(0))?,
        tries: table.maybe("tries", |item| item.count(0))?,
        findings: table
            .maybe("findings", |item| item.list()?.into_iter().map(Item::text).collect())?
            .unwrap_or_default(),
        least_commits: table.maybe("least_commits", |item| item.integer(1, u64::MAX))?,
        at_step: table.maybe("at_step", at_step)?,
        answers: table
            .maybe("answer", |item| item.list()?.into_iter().map(answer).collect())?
            .unwrap_or_default(),
    };
    table.finish()?;
    Ok(expect)
}

fn at_step(item: Item<'_>) -> Result<Step, ScenarioError> {
    let number = item.integer(1, 14)?;
    let step = Step::ALL.into_iter().find(|step| u64::from(step.number()) == number);
    step.ok_or_else(|| item.bad("there are fourteen steps"))
}

fn answer(item: Item<'_>) -> Result<ExpectedAnswer, ScenarioError> {
    let mut table = item.table("[[expect.answer]]")?;
    let answer = ExpectedAnswer {
        sql: table.need("sql", Item::text)?,
        database: table
            .maybe("database", Item::text)?
            .unwrap_or_else(|| fixtures::DATABASE.to_owned()),
        is: table.need("is", |item| Ok(item.string()?.to_owned()))?,
    };
    table.finish()?;
    Ok(answer)
}
