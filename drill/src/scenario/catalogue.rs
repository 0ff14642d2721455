//! The catalogue, which is part of the binary, and what people select from it.

use std::path::{Path, PathBuf};

use include_dir::{Dir, include_dir};

use super::{Scenario, ScenarioError, Vocabulary, load, named::hint, parse};

static CATALOGUE: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../scenarios");

/// Every scenario of the catalogue, sorted by group, then id. `words` holds the names that they may use.
pub fn all(words: &Vocabulary<'_>) -> Result<Vec<Scenario>, ScenarioError> {
    let mut files = Vec::new();
    collect(&CATALOGUE, &mut files);
    let scenarios = files
        .into_iter()
        .map(|(path, text)| scenario_of(path, text, words))
        .collect::<Result<_, _>>()?;
    sorted(scenarios)
}

/// The scenario with that id.
pub fn find<'a>(scenarios: &'a [Scenario], name: &str) -> Result<&'a Scenario, ScenarioError> {
    scenarios
        .iter()
        .find(|scenario| scenario.id == name)
        .ok_or_else(|| ScenarioError::NotFound {
            what: "scenario",
            name: name.to_owned(),
            hint: hint(name, scenarios.iter().map(|scenario| scenario.id.as_str())),
        })
}

/// The scenarios that `selectors` mean, in their order and each once.
///
/// A selector is an id of the catalogue, a `GROUP/` of it, or a path to a file: whatever ends in `.toml` or has a
/// slash elsewhere. `words` holds the names that scenarios may use.
pub fn resolve(selectors: &[String], words: &Vocabulary<'_>) -> Result<Vec<Scenario>, ScenarioError> {
    let catalogue = all(words)?;
    let mut chosen: Vec<Scenario> = Vec::new();
    for selector in selectors {
        for scenario in selected(&catalogue, selector, words)? {
            match chosen.iter().find(|other| other.id == scenario.id) {
                None => chosen.push(scenario),
                Some(same) if same.path == scenario.path => {}
                Some(other) => return Err(duplicate(other, &scenario)),
            }
        }
    }
    Ok(chosen)
}

fn selected(catalogue: &[Scenario], selector: &str, words: &Vocabulary<'_>) -> Result<Vec<Scenario>, ScenarioError> {
    let is_file = Path::new(selector)
        .extension()
        .is_some_and(|extension| extension == "toml");
    match selector.strip_suffix('/') {
        Some(group) if !group.contains('/') => {
            let members: Vec<Scenario> = catalogue
                .iter()
                .filter(|scenario| scenario.group == group)
                .cloned()
                .collect();
            if members.is_empty() {
                let mut groups: Vec<&str> = catalogue.iter().map(|scenario| scenario.group.as_str()).collect();
                groups.dedup();
                let hint = hint(group, groups);
                return Err(ScenarioError::NotFound {
                    what: "group",
                    name: group.to_owned(),
                    hint,
                });
            }
            Ok(members)
        }
        _ if is_file || selector.contains('/') => Ok(vec![load(Path::new(selector), words)?]),
        _ => Ok(vec![find(catalogue, selector)?.clone()]),
    }
}

fn collect<'a>(dir: &'a Dir<'a>, into: &mut Vec<(&'a Path, &'a str)>) {
    for file in dir.files() {
        if file.path().extension().is_some_and(|extension| extension == "toml")
            && let Some(text) = file.contents_utf8()
        {
            into.push((file.path(), text));
        }
    }
    for below in dir.dirs() {
        collect(below, into);
    }
}

/// Reads a file of the catalogue, which must be named after its scenario and stand in a group's folder.
pub(super) fn scenario_of(path: &Path, text: &str, words: &Vocabulary<'_>) -> Result<Scenario, ScenarioError> {
    let group = path
        .parent()
        .map(|parent| parent.display().to_string())
        .unwrap_or_default();
    let scenario = parse(text, path, &group, words)?;
    if group.is_empty() || group.contains('/') || path.file_stem().is_none_or(|stem| stem != scenario.id.as_str()) {
        return Err(ScenarioError::Misplaced {
            path: PathBuf::from(path),
            id: scenario.id,
        });
    }
    Ok(scenario)
}

/// Sorts by group, then id, and refuses an id that stands twice.
pub(super) fn sorted(mut scenarios: Vec<Scenario>) -> Result<Vec<Scenario>, ScenarioError> {
    scenarios.sort_by(|a, b| (&a.id, &a.path).cmp(&(&b.id, &b.path)));
    if let Some([first, second]) = scenarios.array_windows().find(|[first, second]| first.id == second.id) {
        return Err(duplicate(first, second));
    }
    scenarios.sort_by(|a, b| (&a.group, &a.id).cmp(&(&b.group, &b.id)));
    Ok(scenarios)
}

fn duplicate(first: &Scenario, second: &Scenario) -> ScenarioError {
    ScenarioError::DuplicateId {
        id: first.id.clone(),
        first: first.path.clone(),
        second: second.path.clone(),
    }
}
