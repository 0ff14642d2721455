//! The command starts. This test is here so that `cargo test --workspace` builds the `drill` command, which the
//! end-to-end tests in `tests/` then start.

use std::process::Command;

#[test]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
fn it_says_its_version() {
    let output = Command::new(env!("CARGO_BIN_EXE_drill"))
        .arg("--version")
        .output()
        .unwrap();
    assert!(output.status.success());
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        format!("drill {}\n", env!("CARGO_PKG_VERSION"))
    );
}
