//! Where the `drill` command is. `cargo test --workspace` builds it (because `drill/tests/` has an integration test) into
//! the directory above the tests' own; `cargo test -p tests` does not, so it is built here when it is missing or older
//! than its sources.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    time::SystemTime,
};

/// What the command is made of, relative to the workspace.
const SOURCES: [&str; 8] = [
    "Cargo.lock",
    "drill/Cargo.toml",
    "drill/embedded",
    "drill/src",
    "fixtures/schema",
    "fixtures/src",
    "reports/src",
    "scenarios",
];

/// The `drill` command, built with the profile of the test that asks.
pub fn path() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let test = env::current_exe().unwrap(); // <target>/<profile>/deps/<test>-<hash>
        let profile = test.ancestors().nth(2).unwrap();
        let binary = profile.join("drill");
        if !is_fresh(&binary) {
            build(profile);
        }
        binary
    })
}

fn workspace() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn is_fresh(binary: &Path) -> bool {
    let built = fs::metadata(binary).and_then(|meta| meta.modified());
    built.is_ok_and(|built| SOURCES.iter().all(|source| newest(&workspace().join(source)) <= built))
}

/// When the youngest file of a tree was last changed.
fn newest(path: &Path) -> SystemTime {
    let changed = fs::metadata(path)
        .and_then(|meta| meta.modified())
        .unwrap_or(SystemTime::UNIX_EPOCH);
    if !path.is_dir() {
        return changed;
    }
    let below = fs::read_dir(path).unwrap().map(|entry| newest(&entry.unwrap().path()));
    below.max().unwrap_or(changed)
}

fn build(profile: &Path) {
    let name = match profile.file_name().and_then(|name| name.to_str()).unwrap() {
        "debug" => "dev",
        other => other,
    };
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args([
        "build",
        "--quiet",
        "--package",
        "drill",
        "--bin",
        "drill",
        "--profile",
        name,
    ]);
    cargo.arg("--target-dir").arg(profile.parent().unwrap());
    let status = cargo.current_dir(workspace()).status().unwrap();
    assert!(status.success(), "cargo could not build the drill command");
}
