//! Reads a scenario file.

use std::{
    fs,
    path::{Path, PathBuf},
};

use reports::Role;
use schemars::JsonSchema;
use serde::Deserialize;
use toml::de::DeTable;

use super::{
    Fault, Given, RecoveryWish, Scenario, ScenarioError, Text, Vocabulary,
    key_value::KeyValue,
    rules, schema,
    table::{Source, Table},
};

/// Reads a user's file.
pub fn load(path: &Path, words: &Vocabulary<'_>) -> Result<Scenario, ScenarioError> {
    let text = fs::read_to_string(path).map_err(|source| ScenarioError::Read {
        path: path.to_owned(),
        source,
    })?;
    parse(&text, path, "", words)
}

/// Reads a scenario from `text`, which came from `path` and belongs to `group` (empty outside the catalogue). `words` holds the
/// names that it may use.
pub fn parse(text: &str, path: &Path, group: &str, words: &Vocabulary<'_>) -> Result<Scenario, ScenarioError> {
    let file = path.display().to_string();
    let source = Source { file: &file, text };
    let document = DeTable::parse(text).map_err(|error| ScenarioError::Syntax {
        place: source.place(error.span().map_or(0, |span| span.start)),
        message: error.message().replace('\n', "; "),
    })?;

    let mut top = Table::new(source, "the file", 0, document.get_ref());
    let Id(id) = top.need("id")?.read()?;
    let title: Text = top.need("title")?.read()?;
    let why: Text = top.need("why")?.read()?;
    let origin: Text = top.need("source")?.read()?;
    let given = top.take("given");
    let operator = top.take("operator");
    let recovery = top.take("recovery");
    let objectives = top.maybe("objectives")?;
    let faults = match top.take("fault") {
        Some(item) => read_faults(item, words)?,
        None => Vec::new(),
    };
    let expect = top.need("expect")?;
    let scenario = Scenario {
        id,
        title: title.into(),
        why: why.into(),
        source: origin.into(),
        group: group.to_owned(),
        given: given
            .map(|item| read_given(item, words))
            .transpose()?
            .unwrap_or_default(),
        objectives: objectives.unwrap_or_default(),
        faults: faults.iter().map(|(fault, _)| fault.clone()).collect(),
        roles: operator
            .map(KeyValue::read::<Operator>)
            .transpose()?
            .and_then(|operator| operator.roles),
        recovery: recovery.map(RecoveryWish::read).transpose()?.unwrap_or_default(),
        expect: expect.read()?,
        path: PathBuf::from(path),
        text: text.to_owned(),
    };
    top.finish()?;

    let places = rules::Places {
        given: given.map_or(0, |item| item.start()),
        operator: operator.map_or(0, |item| item.start()),
        recovery: recovery.map_or(0, |item| item.start()),
        faults: faults.iter().map(|(_, start)| *start).collect(),
        expect: expect.start(),
    };
    rules::check(&scenario, words, source, &places)?;
    Ok(scenario)
}

/// Names the drill and its directory: small letters, digits and `-` between them.
#[derive(Deserialize, JsonSchema)]
#[serde(try_from = "Text")]
#[schemars(extend("pattern" = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"))]
pub(super) struct Id(String);

impl TryFrom<Text> for Id {
    type Error = &'static str;

    fn try_from(text: Text) -> Result<Self, Self::Error> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if text.chars().all(plain) && !text.starts_with('-') && !text.ends_with('-') {
            Ok(Self(text.into()))
        } else {
            Err("an id names a directory; use small letters, digits and `-` between them")
        }
    }
}

/// Reads `[given]`. `methods` says also how many backups there are.
fn read_given(item: KeyValue<'_>, words: &Vocabulary<'_>) -> Result<Given, ScenarioError> {
    let mut given: Given = item.read()?;
    for (key, named) in [("backup", &given.backup), ("methods", &given.methods)] {
        if let Some((unknown, advice)) = words.unknown_system(named) {
            let item = item.table("[given]")?.need(key)?;
            return Err(item.bad(format!("there is no backup system {unknown:?}; {advice}")));
        }
    }
    if !given.methods.is_empty() {
        let mut table = item.table("[given]")?;
        let methods = table.need("methods")?;
        if table.take("backup").is_some() || table.take("backups").is_some() {
            return Err(methods.bad("it names the system of each backup; remove `backup` and `backups`"));
        }
        given.backups = u32::try_from(given.methods.len()).unwrap_or(u32::MAX);
    }
    Ok(given)
}

/// Who recovers.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename = "[operator]")]
pub(super) struct Operator {
    /// The roles that the operator holds; absent: all that a recovery needs.
    #[serde(default)]
    #[schemars(schema_with = "schema::roles")]
    roles: Option<Vec<Role>>,
}

/// The faults, each with the offset at which it begins.
fn read_faults(item: KeyValue<'_>, words: &Vocabulary<'_>) -> Result<Vec<(Fault, usize)>, ScenarioError> {
    let list = item
        .list()
        .map_err(|_| item.wrong_type("a list of tables, each beginning with [[fault]]"))?;
    let numbered = (1..).zip(list);
    numbered
        .map(|(number, item)| Ok((Fault::read(item, number, words.kinds)?, item.start())))
        .collect()
}
