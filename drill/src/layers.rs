//! The rooms (top-level modules) of this crate depend on each other downwards only: this test reads every path in every file,
//! not only those in `use`, and compares them with the map in `lib.rs`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// The map of the rooms in `lib.rs`.
struct Map {
    /// The layer of each room, 0 at the top.
    layers: BTreeMap<String, usize>,
    /// Pairs of rooms in one layer: the first may use the second.
    exceptions: BTreeSet<(String, String)>,
}

impl Map {
    /// Reads the list of layers (the first block of text) and the exceptions (`- [a] → [b]: reason`) from the documentation.
    fn read(lib: &str) -> Self {
        let lines = || lib.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim);
        let in_block = lines().skip_while(|line| *line != "```text").skip(1);
        let mut layers = BTreeMap::new();
        for (layer, line) in in_block.take_while(|line| *line != "```").enumerate() {
            let rooms = line.split("  ").next().unwrap_or_default();
            layers.extend(rooms.split(' ').map(|room| (room.to_owned(), layer)));
        }
        let exceptions = lines().filter_map(|line| {
            let (pair, reason) = line.strip_prefix("- `")?.split_once("`: ")?;
            assert!(!reason.is_empty(), "{pair} needs a reason");
            let (user, used) = pair.split_once(" → ")?;
            Some((user.to_owned(), used.to_owned()))
        });
        Self {
            layers,
            exceptions: exceptions.collect(),
        }
    }
}

/// Every file of the crate, with the path of its module; tests are left out.
fn modules(directory: &Path, module: &[String], found: &mut Vec<(PathBuf, Vec<String>)>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        if name == "tests" || name.ends_with("_tests") || name == "layers" {
            continue;
        }
        let mut inner = module.to_vec();
        if path.is_dir() {
            inner.push(name);
            modules(&path, &inner, found);
        } else if name != "lib" && name != "main" && path.extension().is_some_and(|extension| extension == "rs") {
            if name != "mod" {
                inner.push(name);
            }
            found.push((path, inner));
        }
    }
}

/// The rooms that tokens of a module name: by `crate::room`, `crate::{room, …}`, or as many `super` as lead to the root.
fn rooms_named(tokens: TokenStream, depth: usize, rooms: &mut BTreeSet<String>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut at = 0;
    let mut supers = 0;
    while at < tokens.len() {
        let after_path = is_path_separator(&tokens[at + 1..]);
        match &tokens[at] {
            TokenTree::Punct(mark) if mark.as_char() == '#' && is_for_tests(tokens.get(at + 1)) => {
                at = end_of_item(&tokens, at + 2);
                continue;
            }
            TokenTree::Ident(word) if word == "crate" && after_path => named(tokens.get(at + 3), rooms),
            TokenTree::Ident(word) if word == "super" && after_path => {
                supers += 1;
                if supers == depth {
                    named(tokens.get(at + 3), rooms);
                }
                at += 3; // what follows may be the next `super`
                continue;
            }
            TokenTree::Group(group) => rooms_named(group.stream(), depth, rooms),
            _ => {}
        }
        supers = 0;
        at += 1;
    }
}

fn is_path_separator(tokens: &[TokenTree]) -> bool {
    let is_colon = |token: &TokenTree| matches!(token, TokenTree::Punct(mark) if mark.as_char() == ':');
    tokens.len() > 2 && tokens[..2].iter().all(is_colon)
}

fn is_for_tests(attribute: Option<&TokenTree>) -> bool {
    attribute.is_some_and(|token| token.to_string().replace(' ', "") == "[cfg(test)]")
}

/// The place after the item that begins at `at`: after its first `;` or braces.
fn end_of_item(tokens: &[TokenTree], at: usize) -> usize {
    let ends = |token: &TokenTree| match token {
        TokenTree::Punct(mark) => mark.as_char() == ';',
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        _ => false,
    };
    let item = tokens.iter().skip(at).position(ends);
    item.map_or(tokens.len(), |end| at + end + 1)
}

/// The name behind `crate::`, or the first name of each path in its braces.
fn named(token: Option<&TokenTree>, rooms: &mut BTreeSet<String>) {
    match token {
        Some(TokenTree::Ident(room)) => {
            rooms.insert(room.to_string());
        }
        Some(TokenTree::Group(group)) => {
            let mut is_first = true;
            for token in group.stream() {
                match &token {
                    TokenTree::Ident(room) if is_first => {
                        rooms.insert(room.to_string());
                    }
                    _ => {}
                }
                is_first = matches!(&token, TokenTree::Punct(mark) if mark.as_char() == ',');
            }
        }
        _ => {}
    }
}

#[test]
fn rooms_use_only_what_lies_below_them() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let map = Map::read(&fs::read_to_string(source.join("lib.rs")).unwrap());
    let mut files = Vec::new();
    modules(&source, &[], &mut files);
    assert!(files.len() > 100, "{} files", files.len());
    let mut unused = map.exceptions.clone();
    let mut problems = Vec::new();
    for (path, module) in files {
        let room = &module[0];
        let Some(layer) = map.layers.get(room) else {
            problems.push(format!("{room} is not in the map"));
            continue;
        };
        let tokens: TokenStream = fs::read_to_string(&path).unwrap().parse().unwrap();
        let mut rooms = BTreeSet::new();
        rooms_named(tokens, module.len(), &mut rooms);
        for used in rooms.iter().filter(|used| *used != room) {
            let pair = (room.clone(), used.clone());
            unused.remove(&pair);
            let is_below = map.layers.get(used).is_some_and(|below| below > layer);
            if !is_below && !map.exceptions.contains(&pair) {
                problems.push(format!("{room} uses {used} in {}", path.display()));
            }
        }
    }
    problems.extend(
        unused
            .iter()
            .map(|(user, used)| format!("{user} does not use {used} any more")),
    );
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn every_way_to_name_a_room_is_seen() {
    let text = "use crate::{a::b, c}; fn f() { crate::d::e(); super::super::g::h() } vec![crate::i::J];
                #[cfg(test)] mod tests { use crate::k; } impl crate::l::M for N {}";
    let mut rooms = BTreeSet::new();
    rooms_named(text.parse().unwrap(), 2, &mut rooms);
    let expected = ["a", "c", "d", "g", "i", "l"];
    assert_eq!(rooms.into_iter().collect::<Vec<_>>(), expected);
}
