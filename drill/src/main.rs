//! The `drill` command. Everything is in the library; see `drill::cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    drill::cli::main()
}
